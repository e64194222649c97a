"""The web process of a real node: what it is, what it survives, and what takes it down."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsrv.privilege import identity_of
from tests.integration.pair import Node, Pair, make_node
from tests.integration.visitor import Visitor, add_user, page_up
from tests.support.net import accepts, free_port
from tests.support.wait import until
from tests.web.certificates import self_signed

TOP = Path(__file__).parents[2]
VISITED = (
    *("/", "/changes", "/history", "/services", "/vips", "/drift", "/jobs", "/audit", "/settings", "/nothing"),
    *("/healthz", "/metrics", "/static/syncsrv.css", "/static/syncsrv.js", "/api/v1/openapi.json", "/api/v1/status"),
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give rights up or to look into another process")


@pytest.fixture
def node(short_tmp: Path) -> Iterator[Node]:
    made = make_node(short_tmp, "fw1", "master")
    made.start()
    yield made
    made.kill()


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, value in (line.split(":", 1) for line in lines)}


def web_pid(node: Node) -> int:
    (pid,) = until(lambda: node.pids("web"), what="web")
    return pid


def certificate(port: int) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 20) as sock, context.wrap_socket(sock) as tls:
        found = tls.getpeercert(binary_form=True)
    assert found is not None
    return found


def test_both_nodes_of_a_pair_serve_their_page(pair: Pair) -> None:
    for node in (pair.fw1, pair.fw2):
        visitor = page_up(node)
        assert visitor.get("/").status == 303
        login = visitor.get("/login")
        assert login.status == 200
        assert node.name in login.text
        assert "default-src 'none'" in login.headers["content-security-policy"]
        assert login.headers["server"] == "syncsrv"
    add_user(pair.fw1, "alice", "admin")
    visitor = Visitor(pair.fw1)
    visitor.log_in("alice")
    overview = visitor.get("/")
    assert overview.status == 200
    assert "fw2" in overview.text


@as_root
def test_it_has_no_right_no_file_and_no_name_to_reach(node: Node) -> None:
    visitor = page_up(node)
    pid = web_pid(node)
    identity = identity_of("syncsrv-web")
    found = status(pid)
    assert found["Uid"].split() == [str(identity.uid)] * 4
    assert found["Gid"].split() == [str(identity.gid)] * 4
    assert (found["Groups"], found["NoNewPrivs"], int(found["CapEff"], 16)) == ("", "1", 0)
    for task in Path(f"/proc/{pid}/task").iterdir():
        assert "NoNewPrivs:\t1\n" in (task / "status").read_text()
    assert os.readlink(f"/proc/{pid}/root").endswith(" (deleted)")
    assert os.listdir(f"/proc/{pid}/root/") == []
    assert visitor.get("/login").status == 200
    files = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    assert {name for name in files if not re.match(r"(socket|pipe|anon_inode):", name)} == {"/dev/null", str(node.log)}


def test_core_killed_leaves_a_page_that_says_so_and_then_the_same_session_works(node: Node) -> None:
    visitor = page_up(node)
    add_user(node, "alice", "admin")
    visitor.log_in("alice")
    assert visitor.get("/").status == 200
    pid = web_pid(node)
    (core,) = node.pids("core")
    kept = visitor.connect()
    assert visitor.over(kept, "GET", "/").status == 200
    assert node.process is not None
    node.process.send_signal(signal.SIGSTOP)  # no other core yet
    os.kill(core, signal.SIGKILL)
    until(lambda: visitor.get("/healthz").status == 503, what="the page to notice")
    away = visitor.over(kept, "GET", "/")
    assert away.status == 503
    assert "Cannot ask core: it is not running" in away.text
    assert "syncsrv serve" in away.text
    node.process.send_signal(signal.SIGCONT)
    until(lambda: visitor.get("/").status == 200, 30, "the page to have core again")
    kept.close()
    assert node.pids("web") == [pid]


def test_web_killed_is_started_again_and_the_session_is_still_good(node: Node) -> None:
    visitor = page_up(node)
    add_user(node, "alice", "viewer")
    visitor.log_in("alice")
    pid = web_pid(node)
    os.kill(pid, signal.SIGKILL)
    until(lambda: node.pids("web") not in ([], [pid]), 20, "another web")
    assert visitor.get("/").status == 200  # it waited: core holds the listening socket
    assert node.ask("status").status == 0


def test_all_ends_with_serve_and_leaves_the_port_free(node: Node) -> None:
    page_up(node)
    pids = [pid for word in ("core", "door", "web") for pid in node.pids(word)]
    assert node.process is not None
    node.process.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 30, "all to end")
    assert not accepts(node.web)
    node.process.wait(10)
    node.start()
    page_up(node)


def test_a_port_that_is_taken_is_said_and_core_goes_on(short_tmp: Path) -> None:
    made = make_node(short_tmp, "fw1", "master")
    try:
        with socket.create_server(("127.0.0.1", made.web)):
            made.start()
            said = until(lambda: re.findall(r".*cannot serve the page at .*", made.tail()), 20, "the complaint")
            assert f"127.0.0.1:{made.web}: address already in use" in said[0]
            until(lambda: "cannot serve the page" in made.told("status"), 20, "the notice")
            assert made.ask("status").status == 0
        page_up(made)
        assert "cannot serve the page" not in made.told("status")
        assert "Traceback" not in made.log.read_text()
    finally:
        made.kill()


def test_clients_that_mean_no_good_do_not_keep_others_out(node: Node) -> None:
    page_up(node)
    with contextlib.ExitStack() as stack:
        for number in range(200):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", node.web), 5))
            with contextlib.suppress(OSError):  # over the limit
                sock.sendall((b"", b"\x16\x03\x01\x02", b"G", b"\xff" * 50)[number % 4])
        other = Visitor(node, source="127.0.0.2")
        for _ in range(5):
            assert other.get("/healthz").status == 200
    until(lambda: healthy(node), what="the first address to be served again")


def healthy(node: Node) -> bool:
    try:
        return Visitor(node).get("/healthz").status == 200
    except (OSError, http.client.HTTPException):
        return False


def test_a_certificate_of_files_is_taken_over_at_sighup_and_nobody_is_turned_away(node: Node) -> None:
    page_up(node)
    own = certificate(node.web)
    chain, key = self_signed("page")
    (node.etc / "page.crt").write_text(chain)
    (node.etc / "page.key").write_text(key)
    (node.etc / "page.key").chmod(0o600)
    text = (node.etc / "node.yaml").read_text()
    wanted = f"tls: {{cert: {node.etc}/page.crt, key: {node.etc}/page.key}}"
    changed = re.sub(r"tls: auto", wanted, text)
    assert changed != text
    (node.etc / "node.yaml").write_text(changed)
    assert node.process is not None
    node.process.send_signal(signal.SIGHUP)
    seen = {own}

    def taken_over() -> bool:
        seen.add(certificate(node.web))  # fails where one connection is refused or cut
        return ssl.PEM_cert_to_DER_cert(chain) in seen

    until(taken_over, 30, "the new certificate")
    (node.etc / "page.key").write_text("broken")
    node.process.send_signal(signal.SIGHUP)
    until(lambda: "page.key" in node.tail(), 20, "the complaint about it")
    assert certificate(node.web) == ssl.PEM_cert_to_DER_cert(chain)


def test_another_address_is_taken_over_at_sighup(node: Node) -> None:
    page_up(node)
    before, after = node.web, free_port()
    text = (node.etc / "node.yaml").read_text()
    (node.etc / "node.yaml").write_text(text.replace(f"127.0.0.1:{before}", f"127.0.0.1:{after}"))
    assert node.process is not None
    node.process.send_signal(signal.SIGHUP)
    node.web = after
    page_up(node)
    until(lambda: not accepts(before), what="the old address to be let go")


def test_without_tls_it_speaks_http_on_loopback(short_tmp: Path) -> None:
    made = make_node(short_tmp, "fw1", "master")
    text = (made.etc / "node.yaml").read_text()
    (made.etc / "node.yaml").write_text(text.replace("tls: auto", "tls: none"))
    try:
        made.start()
        until(lambda: accepts(made.web), 20, "the page")
        connection = http.client.HTTPConnection("127.0.0.1", made.web, timeout=20)
        connection.request("GET", "/login")
        response = connection.getresponse()
        assert response.status == 200
        assert "__Host-" not in str(response.headers.get("Set-Cookie"))
        connection.close()
    finally:
        made.kill()


@as_root
def test_folders_of_0700_above_run_dir_do_no_harm(short_tmp: Path) -> None:
    closed = short_tmp / "closed"
    closed.mkdir(mode=0o700)
    made = make_node(closed / "node", "fw1", "master")
    try:
        made.start()
        page_up(made)
    finally:
        made.kill()


@as_root
def test_it_opens_no_file_once_it_is_confined(short_tmp: Path) -> None:
    """Watched by strace through log-in, pages, static files, errors, the API and core's restart."""
    made = make_node(short_tmp, "fw1", "master")
    made.write("/etc/hosts.d/a.json", '{"a": 1}\n')
    trace = short_tmp / "trace"
    try:
        made.start()
        page_up(made)
        add_user(made, "alice", "admin")
        assert made.process is not None
        made.process.send_signal(signal.SIGSTOP)
        os.kill(web_pid(made), signal.SIGKILL)
        traced(made, trace)
    finally:
        made.kill()
    calls = trace.read_text()
    confined = calls.index("PR_SET_DUMPABLE")
    assert re.search(r"chroot\(\"\.\"\) += 0", calls)
    later = calls[confined:]
    assert "accept4(" in later  # it did work after it was confined
    assert re.findall(r".*\b(?:open|openat|openat2|execve)\(.*", later) == []


def traced(node: Node, trace: Path) -> None:
    """Start web without its supervisor, under strace, and visit everything."""
    argv = ["strace", "-f", "-o", str(trace), "-e", "trace=open,openat,openat2,chroot,prctl,execve,accept4"]
    argv += [sys.executable, "-Es", "-m", "syncsrv.web.main", "--socket", str(node.home / "run/web.sock"), "web"]
    with node.log.open("ab") as log:
        web = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=TOP)
    try:
        visitor = page_up(node)
        visitor.get("/login")
        visitor.log_in("alice")
        for path in VISITED:
            visitor.get(path)
        assert visitor.get("/").status == 200
    finally:
        (traced_pid,) = (int(pid) for pid in Path(f"/proc/{web.pid}/task/{web.pid}/children").read_text().split())
        os.kill(traced_pid, signal.SIGTERM)
        web.wait(30)
