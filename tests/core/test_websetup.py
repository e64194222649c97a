"""What web is given: a socket that listens, a certificate that fits it, the same secret after a restart."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsrv.config.load import load
from syncsrv.control.codec import decode_reply, to_body
from syncsrv.control.connection import Connection
from syncsrv.control.dispatch import Call, Caller
from syncsrv.control.shapes import Status
from syncsrv.control.shapes_page import WebSetup, WebSetupRequest
from syncsrv.control.sockets import local_process
from syncsrv.control.verbs import Door
from syncsrv.core.certificate import TlsError
from syncsrv.core.devices import page_secret
from syncsrv.core.websetup import PageListenError
from syncsrv.errors import SyncsrvError, UsageError
from tests.core.corekit import Node, single
from tests.support.net import free_port

WEB = Caller(Door.WEB, "", via="web")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with single(tmp_path_factory.mktemp("websetup")) as found:
        yield found


def serve_at(node: Node, web: str) -> None:
    """Write another ``web:`` into node.yaml and read it."""
    path = node.etc / "node.yaml"
    before = path.read_text().partition("\nweb:")[0]
    path.write_text(f"{before}\nweb: {web}\n")
    node.core.live.config = load(node.etc)
    node.core.web.refresh()


def setup(node: Node, digest: str = "", listening: str = "") -> tuple[WebSetup, list[int]]:
    """Ask, without a connection."""
    call = Call("web-setup", "r")
    return node.core.web.setup(WebSetupRequest(digest, listening), call), call.reply_fds


def greeted(listener: socket.socket, chain: str, key: str, home: Path, name: str) -> bytes:
    """What a client that trusts nothing but this certificate hears."""
    pem = home / "served.pem"
    pem.write_text(key + chain)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    client = ssl.create_default_context(cadata=chain)
    with socket.socket(listener.family) as dialled:
        dialled.connect(listener.getsockname())
        accepted, _ = listener.accept()

        def serve() -> None:
            with server.wrap_socket(accepted, server_side=True) as wrapped:
                wrapped.sendall(b"hello")

        thread = threading.Thread(target=serve)
        thread.start()
        with client.wrap_socket(dialled, server_hostname=name) as wrapped:
            said = wrapped.recv(5)
        thread.join()
    return said


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_the_socket_that_comes_over_the_connection_takes_tls_with_the_certificate(
    node: Node, host: str, tmp_path: Path
) -> None:
    address = f"{host}:{free_port()}"
    serve_at(node, f'{{listen: "{address}"}}')
    ours, theirs = socket.socketpair()
    node.server.start_socket(theirs, WEB)
    link = Connection(ours, takes_fds=True)
    link.start()
    try:
        answer = link.ask("web-setup", to_body(WebSetupRequest, WebSetupRequest()), deadline_s=10)
        found: WebSetup = decode_reply("web-setup", WebSetup, answer.body)
        assert (found.node, found.cluster, found.listen) == ("fw1", "edge", address)
        (handle,) = answer.fds
        with socket.socket(fileno=handle) as listener:
            assert greeted(listener, found.certificate, found.key, tmp_path, host.strip("[]")) == b"hello"
            assert greeted(listener, found.certificate, found.key, tmp_path, "localhost") == b"hello"
            assert greeted(listener, found.certificate, found.key, tmp_path, "fw1") == b"hello"
        again = link.ask("web-setup", to_body(WebSetupRequest, WebSetupRequest(found.digest, address)), deadline_s=10)
        assert decode_reply("web-setup", WebSetup, again.body) == WebSetup(found.digest)
        assert again.fds == ()
    finally:
        link.close()


def test_a_new_web_gets_the_same_socket_so_that_nobody_is_turned_away(node: Node) -> None:
    serve_at(node, f'{{listen: "127.0.0.1:{free_port()}"}}')
    one, first = setup(node)
    two, second = setup(node)
    assert one == two
    assert os.fstat(first[0]).st_ino == os.fstat(second[0]).st_ino
    for handle in (*first, *second):
        os.close(handle)


def test_an_address_in_use_is_said_in_the_status_and_had_as_soon_as_it_is_free(node: Node) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        address = f"127.0.0.1:{other.getsockname()[1]}"
        serve_at(node, f'{{listen: "{address}"}}')
        with pytest.raises(PageListenError, match=f"cannot serve the page at {address}: address already in use"):
            setup(node)
        status = node.ask("status")
        assert isinstance(status, Status)
        assert any("address already in use" in notice for notice in status.notices)
    found, handles = setup(node)
    assert found.listen == address
    os.close(handles[0])
    assert not any("in use" in notice for notice in node.core.web.notices())


def test_another_address_and_no_tls_on_loopback_take_effect_at_the_next_question(node: Node) -> None:
    serve_at(node, f'{{listen: "127.0.0.1:{free_port()}"}}')
    before, handles = setup(node)
    os.close(handles[0])
    serve_at(node, f'{{listen: "127.0.0.1:{free_port()}", tls: none}}')
    after, handles = setup(node, before.digest, before.listen)
    assert (after.certificate, after.key, after.fingerprint) == ("", "", "")
    assert after.listen != before.listen
    assert after.cookie_secret == before.cookie_secret
    assert len(handles) == 1
    os.close(handles[0])
    with socket.socket() as probe:
        host, port = before.listen.split(":")
        assert probe.connect_ex((host, int(port))) != 0, "nobody listens at the old address"


@pytest.mark.parametrize(("old", "new"), [("127.0.0.1", "0.0.0.0"), ("0.0.0.0", "127.0.0.1"), ("[::1]", "[::]")])
def test_an_address_that_holds_the_old_one_is_had_once_web_has_let_the_old_one_go(
    node: Node, old: str, new: str
) -> None:
    port = free_port()
    serve_at(node, f'{{listen: "{old}:{port}"}}')
    before, handles = setup(node)
    with socket.socket(fileno=handles[0]):
        serve_at(node, f'{{listen: "{new}:{port}"}}')
        after, none = setup(node, before.digest, before.listen)
        assert (after.listen, none) == (f"{new}:{port}", [])
    again, handles = setup(node)
    assert again == after
    os.close(handles[0])


@pytest.mark.parametrize("listening", ["nonsense", "x:y:z", "localhost:1"])
def test_what_web_says_that_is_no_address_is_refused(node: Node, listening: str) -> None:
    serve_at(node, f'{{listen: "127.0.0.1:{free_port()}"}}')
    with pytest.raises(UsageError):
        setup(node, "", listening)


def test_a_certificate_that_cannot_be_used_is_said_and_what_web_has_stays(node: Node, tmp_path: Path) -> None:
    serve_at(node, f'{{listen: "127.0.0.1:{free_port()}", tls: {{cert: {tmp_path}/cert, key: {tmp_path}/key}}}}')
    with pytest.raises(TlsError, match="there is no such file"):
        setup(node)
    assert any("there is no such file" in notice for notice in node.core.web.notices())


def test_the_secret_is_kept_for_the_owner_only_and_made_anew_where_it_is_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "web"
    secret = page_secret(folder)
    assert page_secret(folder) == secret
    assert stat.S_IMODE((folder / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (folder / "secret").write_bytes(b"short")
    assert page_secret(folder) != secret
    assert "made anew" in caplog.text
    (folder / "secret").unlink()
    (folder / "secret").mkdir()
    with pytest.raises(SyncsrvError, match="the secret of the page"):
        page_secret(folder)


@pytest.mark.parametrize("users", [(), (65534,)])
def test_only_root_this_user_and_the_web_user_may_connect(users: tuple[int, ...]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert local_process(ours, Door.WEB, users) == WEB
    if os.geteuid() != 0:
        pytest.skip("only root can start a process of another user")
    name = f"\0syncsrv-test-{os.getpid()}"
    code = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1].replace('@', chr(0))); s.recv(1)"
    )
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen(1)
        argv = ["/usr/bin/env", "python3", "-c", code, name.replace("\0", "@")]
        with subprocess.Popen(argv, user=65534, group=65534, extra_groups=[], cwd="/") as nobody:
            accepted, _ = listener.accept()
            with accepted:
                assert local_process(accepted, Door.WEB, users) == (WEB if users else None)
            assert nobody.wait(10) == 0
