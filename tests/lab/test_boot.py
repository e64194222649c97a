"""The pair of the lab is one: both boot, do their job, and a sync makes them equal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from syncsrv.version import __version__
from tests.support.edge import CLIENT, SERVER, VIP, VIP6, WAN_VIP, Edge
from tests.support.wait import until

ANSWER = f"""
import socket
listener = socket.create_server(("{SERVER}", 5000))
print("ready", flush=True)
connection, peer = listener.accept()
print(peer[0])
connection.sendall(b"hello")
"""

CALL = f"""
import socket
with socket.create_connection(("{SERVER}", 5000), 5) as connection:
    print(connection.recv(5).decode())
"""


def fetch(address: str) -> str:
    """A program that prints what nginx answers at an address."""
    return f"import urllib.request; print(urllib.request.urlopen('http://{address}/', timeout=5).read().decode())"


def test_both_do_their_job(pair: Edge) -> None:
    for node in pair.nodes:
        assert node.run("systemctl", "is-active", "nginx", "unbound", "nftables").stdout == "active\n" * 3
        assert "10.2.0.254" in node.run("nft", "list", "ruleset").stdout
        assert node.run("hostname").stdout.strip() == node.name
        assert f"syncsrv {__version__} " in node.run("syncsrv", "version").stdout
    for address in (VIP, f"[{VIP6}]"):
        assert pair.spaces.python("client", fetch(address)) == "the portal\n\n"


def test_the_addresses_are_on_one_of_them(pair: Edge) -> None:
    assert {VIP, VIP6, WAN_VIP} <= pair.fw1.addresses()
    assert not {VIP, VIP6, WAN_VIP} & pair.fw2.addresses()


def test_the_client_reaches_the_server_through_nat(pair: Edge) -> None:
    with pair.spaces.start("server", [sys.executable, "-c", ANSWER]) as answering:
        assert answering.stdout is not None
        assert answering.stdout.readline() == "ready\n"
        assert pair.spaces.python("client", CALL) == "hello\n"
        assert answering.stdout.read() == f"{WAN_VIP}\n"
    assert CLIENT in pair.fw1.run("conntrack", "-L").stdout


def test_a_sync_makes_them_equal(pair: Edge) -> None:
    changed = pair.fw1.get("/etc/nginx/sites-available/default").replace("the portal", "the other portal")
    pair.fw1.put("/etc/nginx/sites-available/default", changed)
    until(lambda: any("default" in str(one) for one in pair.fw1.do("log", "-n", "1")["commits"]), what="the commit")
    assert pair.sync()["result"] == "done"
    for path in pair.fw1.disk.glob("etc/nginx/**/*"):
        if path.is_file():
            assert pair.fw2.get(str(path.relative_to(pair.fw1.disk))) == path.read_text(), path
    assert "the other portal" in pair.fw2.run("python3", "-c", fetch("127.0.0.1")).stdout
    for node in pair.nodes:
        assert node.run("systemctl", "--failed", "--no-legend").stdout == ""


def test_a_cable_is_pulled_and_put_in_again(pair: Edge) -> None:
    pair.pull("fw1", "lan")
    until(pair.fw2.serves, what="fw2 to serve")
    assert "portal" in pair.spaces.python("client", fetch(VIP))
    pair.plug("fw1", "lan")
    pair.settle()


def test_a_cable_that_carries_nothing_is_no_pulled_one(pair: Edge) -> None:
    pair.cut("fw1", "lan")
    until(lambda: VIP in pair.fw2.addresses(), what="fw2 to have the address of lan")
    assert "state UP" in pair.fw1.run("ip", "link", "show", "lan").stdout
    assert "portal" in pair.spaces.python("client", fetch(VIP))
    pair.mend("fw1", "lan")
    pair.settle()


def test_the_pair_comes_back_from_a_power_cut(pair: Edge, figure: Callable[[str, str], None]) -> None:
    began_at = time.monotonic()
    pair.fw1.kill()
    until(pair.fw2.serves, what="fw2 to serve")
    figure("fw2 serves after the power cut, at most", f"{time.monotonic() - began_at:.2f} s")
    assert "portal" in pair.spaces.python("client", fetch(VIP))
    began_at = time.monotonic()
    pair.fw1.boot()
    figure("boot until systemd says running", f"{time.monotonic() - began_at:.2f} s")
    pair.settle()
    figure("switching on until fw1 serves again", f"{time.monotonic() - began_at:.2f} s")
