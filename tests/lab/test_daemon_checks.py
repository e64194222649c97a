"""Each daemon's own check refuses a broken file of its kind on the backup, and says so on the page; the daemon there
never stops, and no file of it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import edge
from tests.support.browsing import Browser
from tests.support.edge import Edge, Firewall
from tests.support.testroot import TestRoot
from tests.support.wait import until

MORE_AREAS = """\
  ssh:
    paths: [/etc/ssh]
    check: [sshd, -t, -f, "{stage}/etc/ssh/sshd_config"]
    services: [ssh]
  vrrp:
    paths: [/etc/keepalived]
    check: [keepalived, -t, -f, "{stage}/etc/keepalived/keepalived.conf"]
    services: [keepalived]
"""
MORE_SERVICES = """\
  ssh: {manager: systemd, unit: ssh.service}
  keepalived: {manager: systemd, unit: keepalived.service}
"""
KEEPALIVED = """\
vrrp_instance sync {
    interface sync
    virtual_router_id 77
    priority 100
    virtual_ipaddress {
        10.3.0.77/24
    }
}
"""
"""Of two with the same priority the one that was there before stays MASTER: fw2."""

FW2 = "10.1.0.2"
FETCH = f"import urllib.request; print(urllib.request.urlopen('http://{FW2}/', timeout=5).read().decode())"
RESOLVE = f"""
import socket
asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asked.settimeout(5)
name = b"".join(bytes([len(part)]) + part for part in (b"portal", b"edge", b""))
asked.sendto(b"id" + bytes.fromhex("01000001000000000000") + name + bytes.fromhex("00010001"), ("{FW2}", 53))
print(*asked.recv(512)[-4:], sep=".")
"""
GREET = f"import socket; print(socket.create_connection(('{FW2}', 22), 5).recv(8).decode())"


@dataclass(frozen=True, slots=True)
class Daemon:
    """One kind of daemon, and a slip of its operator.

    Attributes:
        unit: of systemd.
        area: that its files are in.
        path: the file with the slip; ``slip`` is put at its end.
        said: what its own check says of it.
        answers: what a client gets of the one on fw2, by a program in the client; empty: see ``works``.
        got: that.
    """

    unit: str
    area: str
    path: str
    slip: str
    said: str
    answers: str = ""
    got: str = ""


DAEMONS = [
    Daemon(
        *("nginx", "proxy", "/etc/nginx/sites-available/default", "server { lissten 8443; }\n"),
        *('unknown directive "lissten" in /etc/nginx/sites-enabled/default:6', FETCH, "the portal"),
    ),
    Daemon(
        *("unbound", "dns", "/etc/unbound/unbound.conf.d/edge.conf", "    verbositty: 1\n"),
        *("/etc/unbound/unbound.conf.d/edge.conf:6: error: unknown keyword 'verbositty'", RESOLVE, "10.2.0.10"),
    ),
    Daemon(
        *("nftables", "firewall", "/etc/nftables.conf", 'table inet more { chain wan { iif "wan0" drop; }; }\n'),
        "Interface does not exist",
    ),
    Daemon(
        *("ssh", "ssh", "/etc/ssh/sshd_config", "PermitRootLogim no\n"),
        *("Bad configuration option: PermitRootLogim", GREET, "SSH-2.0-"),
    ),
    Daemon(
        *("keepalived", "vrrp", "/etc/keepalived/keepalived.conf", "vrrp_instanze more { }\n"),
        "/etc/keepalived/keepalived.conf: Line 9) Unknown keyword 'vrrp_instanze'",
    ),
]


@pytest.fixture(scope="module")
def kept(testroot: TestRoot, layer: Path) -> Iterator[Edge]:
    """The pair with two daemons more, equal, and all of them running on both."""
    cluster = edge.CLUSTER.replace("services:\n  nginx:", f"{MORE_AREAS}services:\n{MORE_SERVICES}  nginx:")
    with edge.running(testroot, [layer], cluster) as pair:
        for node in reversed(pair.nodes):
            (node.disk / "etc/systemd/system/keepalived.service").unlink()
            node.put("/etc/keepalived/keepalived.conf", KEEPALIVED)
            node.run("systemctl", "daemon-reload")
            node.run("systemctl", "start", "ssh", "keepalived")
            until(lambda: "10.3.0.77" in pair.fw2.addresses(), what="fw2 to be keepalived's MASTER")
            node.do("commit")
        assert pair.sync()["result"] == "unchanged"
        yield pair


def files(node: Firewall) -> dict[str, tuple[int, int, int, bytes]]:
    """All that it has below /etc, but for what syncsrv itself keeps there: which file, when, mode, bytes."""
    found = {}
    for path in sorted((node.disk / "etc").rglob("*")):
        if path.is_file() and not path.is_symlink():
            stat = path.stat()
            found[str(path.relative_to(node.disk))] = (stat.st_ino, stat.st_ctime_ns, stat.st_mode, path.read_bytes())
    return found


def process(node: Firewall, unit: str) -> dict[str, str]:
    """What systemd knows that a stop, a start or a restart would change."""
    names = ("MainPID", "ActiveState", "ActiveEnterTimestampMonotonic", "NRestarts", "ExecMainStartTimestampMonotonic")
    shown = node.run("systemctl", "show", "-p", ",".join(names), unit).stdout
    return dict(line.split("=", 1) for line in shown.splitlines())


def works(pair: Edge, daemon: Daemon) -> Callable[[], bool]:
    """Whether a client gets from fw2 what this daemon is there for."""
    if daemon.answers:
        return lambda: pair.spaces.python("client", daemon.answers).strip() == daemon.got
    if daemon.unit == "keepalived":
        return lambda: "10.3.0.77" in pair.fw2.addresses()
    return lambda: "snat to 10.2.0.254" in pair.fw2.run("nft", "list", "ruleset").stdout


@pytest.mark.parametrize("daemon", DAEMONS, ids=lambda daemon: daemon.unit)
def test_a_slip_is_refused_in_the_daemons_own_words_and_it_goes_on(kept: Edge, daemon: Daemon) -> None:
    fw1, fw2 = kept.nodes
    does = works(kept, daemon)
    assert does()
    before, running, good = files(fw2), process(fw2, daemon.unit), fw1.get(daemon.path)
    assert running["ActiveState"] == "active"
    mode = (fw1.disk / daemon.path.lstrip("/")).stat().st_mode & 0o777
    fw1.append(daemon.path, daemon.slip)
    try:
        fw1.do("commit")
        browser = Browser.of_admin(fw1)
        button = "Synchronize fw2: 1 area, 1 file"
        job = browser.job(browser.open("/changes"), button, **({"force": "lock-out"} if daemon.unit == "ssh" else {}))
        assert f"Failed: Check {daemon.area}" in job.text
        assert daemon.said in job.text
        assert "nothing was changed on this node" in job.text
        for node in kept.nodes:
            overview = Browser.of_admin(node).open("/").text
            assert daemon.said in overview
        assert fw2.status()["sync"]["state"] == "failed"
        assert files(fw2) == before
        assert process(fw2, daemon.unit) == running
        assert does()
    finally:
        fw1.put(daemon.path, good, mode)
    fw1.do("commit")
    assert kept.sync()["result"] == "unchanged"
    assert fw2.status()["sync"]["state"] == "in_sync"
    assert process(fw2, daemon.unit) == running
