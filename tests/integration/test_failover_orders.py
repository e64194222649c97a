"""Two cores, each with its real process carp in a network of its own: orders of an operator, and what came of them."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from syncsrv.cli.main import run
from syncsrv.control.shapes import Status
from syncsrv.failover import settings as files
from tests.core.carp.carpkit import LAN, order, two_nodes
from tests.core.corekit import Node, Pair
from tests.support.lab import VIP, VIP6, Lab, lab
from tests.support.netns import needs_lab
from tests.support.speakers import carp_argv, end, start_in
from tests.support.wait import until

pytestmark = [needs_lab, pytest.mark.timeout(120)]

VIPS = f"""\
vips:
  - {{vhid: 1, interface: lan, addresses: ["{VIP}/24", "{VIP6}/64"], password: !secret carp_lan, advbase: 0}}
carp: {{hold_down_s: 0}}
"""


@dataclass
class Two:
    """Both nodes, and the network that they stand in."""

    pair: Pair
    lab: Lab

    def states(self) -> dict[str, str]:
        """Each node's state of the VIP, as its own core knows it."""
        return {name: node.core.carp.vips()[0].state for name, node in self.pair.nodes.items()}

    def become(self, fw1: str, fw2: str) -> None:
        """Wait until both are so; and until only one has the address."""
        try:
            until(lambda: self.states() == {"fw1": fw1, "fw2": fw2}, 15, f"{fw1} and {fw2}")
        except AssertionError as error:
            logs = "".join((node.home / "carp.log").read_text() for node in self.pair.nodes.values())
            raise AssertionError(f"{error}; they are {self.states()}\n{logs}") from None
        until(lambda: len(self.lab.holders(VIP)) == 1, 5, "one holder")

    def hear(self) -> None:
        """Poll each other, as cores do each few seconds."""
        for node in self.pair.nodes.values():
            node.hear()
            for name, heard in node.core.book.now().items():
                if heard.facts is not None:
                    node.core.carp.peer_told(name, heard.facts.sources)


@contextmanager
def process(node: Node, lab: Lab) -> Iterator[None]:
    """Its process carp, with the files that core has written."""
    started = start_in(lab[node.name].path, carp_argv(node.state), node.home / "carp.log")
    try:
        yield
    finally:
        end(started)


@pytest.fixture
def two(short_tmp: Path) -> Iterator[Two]:
    with lab(("fw1", "fw2")) as net, two_nodes(short_tmp, VIPS, (25, 26)) as pair:
        for node in pair.nodes.values():
            node.core.carp.start()
            node.core.carp.tell_ready(True)
        with process(pair.fw1, net), process(pair.fw2, net):
            found = Two(pair, net)
            until(lambda: "UNKNOWN" not in found.states().values(), 15, "both processes")
            found.hear()  # with an advbase of 0 only peers that are known over SSH count
            found.become("MASTER", "BACKUP")
            yield found


def test_orders_move_the_address_and_say_who_has_it(two: Two) -> None:
    one, other = two.pair.fw1, two.pair.fw2
    written = files.load(one.state)
    assert written is not None
    assert set(written.own_peers["fw2"]) >= {two.lab["fw2"].address}

    reply = order(one, "maintenance-on")
    assert (reply.done, reply.taken_by) == (True, {LAN: "fw2"}), reply
    two.become("BACKUP", "MASTER")
    assert two.lab.holders(VIP) == {"fw2"}
    status = one.ask("status")
    assert isinstance(status, Status)
    assert (status.maintenance, status.vips[0].master_node) == (True, "fw2")

    reply = order(other, "maintenance-on")
    assert (reply.done, reply.taken_by) == (True, {LAN: "fw1"}), reply
    assert reply.text.endswith("; fw1 took over although in maintenance itself")
    two.become("MASTER", "BACKUP")
    assert order(other, "maintenance-off").text == f"maintenance is off; this node serves {LAN}"
    two.become("BACKUP", "MASTER")

    reply = order(one, "maintenance-off")
    assert reply.text == f"maintenance is off; this node serves {LAN}"
    two.become("MASTER", "BACKUP")


def test_maintenance_without_a_peer_stays_on_and_this_node_goes_on(short_tmp: Path) -> None:
    with lab(("fw1", "fw2")) as net, two_nodes(short_tmp, VIPS, (25, 26)) as pair:
        pair.away.add("fw2")
        pair.fw1.core.carp.peer_told("fw2", {"lan": (net["fw2"].address,)})
        pair.fw1.core.carp.start()
        with process(pair.fw1, net):
            until(lambda: pair.fw1.core.carp.holds_any_vip(), 15, "fw1 to serve alone")
            reply = order(pair.fw1, "maintenance-on")
            assert (reply.done, reply.taken_by) == (False, {LAN: ""}), reply
            assert "nobody took 1@lan: fw2 does not answer" in reply.text
            assert net.holders(VIP) == {"fw1"}
            assert pair.fw1.core.carp.intent.maintenance


def test_a_switchover_there_and_back(two: Two) -> None:
    one = two.pair.fw1
    assert order(one, "switchover").taken_by == {LAN: "fw2"}
    two.become("BACKUP", "MASTER")
    assert one.core.carp.demotion().reasons == {"switchover": 214}
    assert order(one, "switchover").text == f"the switchover is taken back; this node serves {LAN}"
    two.become("MASTER", "BACKUP")
    assert order(one, "switchover").taken_by == {LAN: "fw2"}, "and again"


def test_a_disabled_node_takes_nothing_whoever_dies(two: Two) -> None:
    assert order(two.pair.fw1, "disable").taken_by == {LAN: "fw2"}
    two.become("INIT", "MASTER")
    reply = order(two.pair.fw2, "disable")
    assert (reply.done, reply.taken_by) == (False, {LAN: ""}), reply
    assert "failover is disabled on fw1" in reply.text
    until(lambda: two.lab.holders(VIP) == set(), 5, "nobody to have it")
    assert order(two.pair.fw1, "enable").done
    until(lambda: two.states()["fw1"] == "MASTER", 15, "fw1 to serve alone")


def test_another_password_is_named(short_tmp: Path) -> None:
    with lab(("fw1", "fw2")) as net, two_nodes(short_tmp, VIPS, (25, 26)) as pair:
        one, other = pair.fw1, pair.fw2
        pair.away.update(pair.nodes)  # or they would tell each other what to accept
        other.close()
        shutil.rmtree(other.state / "carp", ignore_errors=True)  # it never had the password of fw1
        (other.etc / "secrets.yaml").write_text("carp_lan: another\n")
        other.open()
        for node, peer in ((one, "fw2"), (other, "fw1")):
            node.core.carp.peer_told(peer, {"lan": (net[peer].address,)})
            node.core.carp.start()
        with process(one, net), process(other, net):
            both = [node.core.carp for node in (one, other)]
            until(lambda: all(carp.holds_any_vip() for carp in both), 15, "both to serve: neither hears the other")
            reply = order(one, "switchover")
            assert not reply.done
            said = f"fw2 ({net['fw2'].address}) advertises vhid 1 on eth0 with other addresses or another password"
            assert said in reply.text
            assert one.core.carp.intent.switchover is False


def test_without_core_the_command_line_gives_the_same_orders(two: Two) -> None:
    one = two.pair.fw1
    one.close()

    def vip(*argv: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = run(["--config", str(one.etc), "vip", *argv])
        return status, out.getvalue(), err.getvalue()

    status, out, err = vip()
    assert (status, out.splitlines()[0]) == (0, f"fw1: serves {LAN}")
    assert "core does not answer" in err
    status, out, _ = vip("maintenance", "on")
    assert (status, out.partition("; no receipt")[0]) == (0, f"maintenance is on; fw2 serves {LAN}")
    assert two.lab.holders(VIP) == {"fw2"}
    assert vip()[1].splitlines()[0] == f"fw1: fw2 serves {LAN}"

    one.open()
    one.core.carp.start()
    assert one.core.carp.intent.maintenance, "the next core knows of it"
    until(lambda: one.core.carp.demotion().reasons == {"maintenance": 240}, 5, "its report")
    assert one.core.carp.vips()[0].master_node == "fw2"
