"""A change of a VIP's addresses or password on two whole cores: no moment at which one drops what the other sends."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from syncsrv.carp import sets as pure
from syncsrv.carp.auth import Keyring
from syncsrv.carp.packet import Advert
from syncsrv.carp.sets import GRACE_S, Moment
from syncsrv.clock import SystemClock
from syncsrv.control.dispatch import Call, Caller
from syncsrv.control.shapes import Facts, FactsRequest
from syncsrv.control.shapes_failover import Declaration, DeclaredSet
from syncsrv.control.verbs import Door
from syncsrv.core.carp import sets as files
from syncsrv.core.carp.declare import NotAcceptedError
from syncsrv.errors import DeniedError, SyncsrvError, UsageError
from syncsrv.failover import settings as configs
from syncsrv.failover.messages import Apply, Report
from syncsrv.failover.served import served, vip_set
from syncsrv.failover.settings import SetSettings, Settings
from tests.core.carp.carpkit import LAN, PASSWORD, VIPS, WAN, order, process, two_nodes
from tests.core.carp.fakecarp import FakeCarp, master
from tests.core.corekit import Node, Pair
from tests.support.wait import until

OTHER = "battery staple"


def agrees(sender: Settings, receiver: Settings) -> bool:
    """Whether the receiver's process carp accepts each advert that the sender's would make of these settings."""
    theirs = {key.vhid: one for key, one in served(receiver).items()}
    for key, one in served(sender).items():
        signed = Keyring(one.keyring.send).sign(7)
        advert = Advert(key.vhid, 0, 1, 0, 7, signed)
        if key.vhid in theirs and theirs[key.vhid].keyring.verify(advert) is None:
            return False
    return True


@dataclass
class Group:
    """Two cores with their processes carp, and whether those understood each other after each order."""

    pair: Pair
    carps: dict[str, FakeCarp]
    settings: dict[str, Settings]
    broken: list[str]

    def node(self, name: str) -> Node:
        return self.pair.nodes[name]

    def note(self, name: str, order: Apply) -> None:
        """What the process works with from now on."""
        if order.settings is not None:
            self.settings[name] = order.settings
        self.check(f"an order to {name}")

    def check(self, when: str) -> None:
        for one, other in (("fw1", "fw2"), ("fw2", "fw1")):
            if not agrees(self.settings[one], self.settings[other]):
                self.broken.append(f"after {when} {other} drops what {one} sends")

    def look(self, *names: str) -> None:
        """One round of polls, and of what follows from them."""
        for name in names or ("fw1", "fw2"):
            self.node(name).hear()
            self.node(name).core.declaring.look()

    def edit(self, name: str, was: str, now: str) -> None:
        """Save cluster.yaml with something else in it."""
        path = self.node(name).etc / "cluster.yaml"
        text = path.read_text()
        assert was in text
        path.write_text(text.replace(was, now))
        self.node(name).core.record(via="watch")

    def rotate(self, name: str, password: str) -> None:
        """Another password in secrets.yaml."""
        secrets = self.node(name).etc / "secrets.yaml"
        secrets.write_text(f"carp_lan: {password}\n")
        self.node(name).core.reload()

    def wire(self, name: str, key: str = LAN) -> SetSettings:
        found = {files.key_of(vip): vip.wire_set for vip in self.settings[name].vips}
        return found[key]

    def addresses(self, name: str) -> tuple[str, ...]:
        return self.wire(name).addresses

    def facts(self, name: str) -> Facts:
        found = self.node(name).ask("facts", FactsRequest())
        assert isinstance(found, Facts)
        return found

    def troubles(self, name: str) -> str:
        return "\n".join(self.node(name).core.carp.info().troubles)


@pytest.fixture
def group(short_tmp: Path) -> Iterator[Group]:
    with two_nodes(short_tmp) as pair, ExitStack() as stack:
        found = Group(pair, {}, {}, [])
        for name, node in pair.nodes.items():
            carp = stack.enter_context(process(node))
            found.carps[name], found.settings[name] = carp, node.core.carp.settings

            def does(report: Report, told: Apply, name: str = name) -> Report:
                found.note(name, told)
                return report

            carp.does = does
        for node in pair.nodes.values():
            node.core.carp.start()
            until(lambda node=node: node.core.carp.reading.now is not None, what="the first report")  # type: ignore[misc]  # mypy has no type for the default
        found.look()
        found.look()
        yield found
        assert not found.broken


def test_at_first_each_knows_what_the_other_may_send(group: Group) -> None:
    for name, other in (("fw1", "fw2"), ("fw2", "fw1")):
        mine = group.node(name).core.carp.wire_sets
        assert mine.peers[other].declared.keys() == {LAN, WAN}
        assert group.facts(other).accepts[name] == mine_digest(group, name)
    assert group.troubles("fw1") == ""


def mine_digest(group: Group, name: str) -> str:
    return pure.digest(group.node(name).core.carp.wire_sets)


MORE = ("[192.0.2.10/24, ", "[192.0.2.10/24, 192.0.2.11/24, ")


def test_another_address_signs_only_once_the_peer_accepts_it_and_nobody_synchronizes(group: Group) -> None:
    group.edit("fw1", *MORE)
    assert group.settings["fw1"].vips[0].addresses == ("192.0.2.10/24", "192.0.2.11/24", "2001:db8::10/64")
    assert group.addresses("fw1") == ("192.0.2.10", "2001:db8::10"), "the addresses follow at once, the digest waits"
    assert "1@lan: its new addresses or password do not sign yet (since " in group.troubles("fw1")
    assert "accepted by fw2" in group.troubles("fw1")
    group.look("fw1")
    assert group.addresses("fw1") == ("192.0.2.10", "192.0.2.11", "2001:db8::10")
    assert group.addresses("fw2") == ("192.0.2.10", "2001:db8::10")
    assert group.troubles("fw1") == ""
    for _ in range(3):
        group.look()
    assert agrees(group.settings["fw1"], group.settings["fw2"])
    assert agrees(group.settings["fw2"], group.settings["fw1"])


def test_another_password_then_a_sync_by_hand_then_the_old_one_is_forgotten(
    group: Group, long_after: LongAfter
) -> None:
    group.rotate("fw1", OTHER)
    assert group.wire("fw1").password == PASSWORD
    group.look("fw1")
    assert group.wire("fw1").password == OTHER
    group.rotate("fw2", OTHER)
    assert group.wire("fw2").password == PASSWORD, "the other one waits too"
    group.look("fw2")
    assert group.wire("fw2").password == OTHER
    group.look()
    assert PASSWORD in (group.node("fw1").state / files.FILE).read_text()
    for times in (1, 2):  # then it is on no wire; then no peer can have declared it
        long_after.moved_s = times * (GRACE_S + 60)
        group.look()
        group.look()
    for name in ("fw1", "fw2"):
        for vip in group.settings[name].vips:
            assert PASSWORD not in {one.password for one in (vip.wire_set, *vip.accept)}
        assert PASSWORD not in (group.node(name).state / files.FILE).read_text()


class LongAfter:
    """Moves what both cores take for the time since boot."""

    moved_s = 0.0

    def moment(self, clock: Any) -> Moment:
        real = files.moment(SystemClock())
        return replace(real, booted_s=real.booted_s + self.moved_s)


@pytest.fixture
def long_after(group: Group) -> LongAfter:
    found = LongAfter()
    for node in group.pair.nodes.values():
        node.core.carp._sets._at = found.moment
    return found


def test_a_peer_that_is_away_is_waited_for_a_while_and_told_when_it_is_back(group: Group) -> None:
    group.pair.away.add("fw2")
    group.node("fw1").links.hang_up("fw2")
    group.edit("fw1", *MORE)
    group.look("fw1")
    assert group.addresses("fw1") == ("192.0.2.10", "2001:db8::10")
    assert "waiting until they are accepted by fw2" in group.troubles("fw1")
    group.node("fw1").core.declaring.away_s = 0.0
    group.settings["fw2"] = replace(group.settings["fw2"], vips=())  # its machine is off
    group.look("fw1")
    assert group.addresses("fw1") == ("192.0.2.10", "192.0.2.11", "2001:db8::10")
    group.pair.away.clear()
    group.look("fw1")
    group.settings["fw2"] = group.node("fw2").core.carp.settings  # it was told before its process carp began
    group.check("its return")


def test_a_peer_that_was_taken_for_away_and_is_on_the_segment_gets_back_what_it_understands(group: Group) -> None:
    one = group.node("fw1")
    group.pair.away.add("fw2")
    one.links.hang_up("fw2")
    one.core.declaring.away_s = 0.0
    group.edit("fw1", *MORE)
    group.look("fw1")
    assert group.addresses("fw1") == ("192.0.2.10", "192.0.2.11", "2001:db8::10")
    assert group.broken == ["after an order to fw1 fw2 drops what fw1 sends"]
    group.broken.clear()
    one.core.declaring._began_at -= 60
    heard = master(one.core.carp.settings, contested_by="fw2", contested_age_s=0.5)
    group.carps["fw1"].says(vips=(heard,))
    until(lambda: one.core.carp.vips()[0].contested_by == "fw2", what="the report")
    group.look("fw1")
    assert group.addresses("fw1") == ("192.0.2.10", "2001:db8::10")
    group.carps["fw1"].says(vips=(replace(heard, contested_by="", contested_age_s=-1.0),))
    until(lambda: one.core.carp.vips()[0].contested_by == "", what="the report")
    group.look("fw1")
    assert group.addresses("fw1") == ("192.0.2.10", "2001:db8::10"), "it listens still, though it is silent"
    assert "accepted by fw2: cannot reach fw2" in group.troubles("fw1")
    group.pair.away.clear()
    group.look("fw1")
    assert group.addresses("fw1") == ("192.0.2.10", "192.0.2.11", "2001:db8::10")
    group.check("the end")
    assert group.broken == []


def test_what_somebody_ordered_without_waiting_stays(group: Group) -> None:
    one = group.node("fw1")
    group.carps["fw2"].refuses = "no memory"
    group.edit("fw1", *MORE)
    assert order(one, "commit", now=True).done
    one.core.declaring._began_at -= 60
    group.carps["fw1"].says(vips=(master(one.core.carp.settings, contested_by="fw2", contested_age_s=0.5),))
    until(lambda: one.core.carp.vips()[0].contested_by == "fw2", what="the report")
    group.look("fw1")
    assert group.addresses("fw1") == ("192.0.2.10", "192.0.2.11", "2001:db8::10")
    group.broken.clear()


def test_a_peer_that_cannot_accept_is_waited_for_and_said_and_commit_now_does_not_wait(group: Group) -> None:
    group.carps["fw2"].refuses = "no memory"
    group.edit("fw1", *MORE)
    group.look("fw1")
    assert group.addresses("fw1") == ("192.0.2.10", "2001:db8::10")
    assert "cannot accept on fw2 what fw1 may send" in group.troubles("fw1")
    assert group.facts("fw2").accepts == {}, "what is not in force is not said to be"
    reply = order(group.node("fw1"), "commit")
    assert (reply.done, "fw2 has not accepted it" in reply.text) == (False, True)
    assert "--now" in reply.remedy
    assert group.addresses("fw1") == ("192.0.2.10", "2001:db8::10")
    reply = order(group.node("fw1"), "commit", now=True)
    assert reply.done
    assert "fw2 has not accepted that" in reply.text
    assert group.addresses("fw1") == ("192.0.2.10", "192.0.2.11", "2001:db8::10")
    assert group.broken, "which is what was said of it"
    group.broken.clear()
    group.carps["fw2"].refuses = ""
    group.node("fw2").core.declaring.look(hurry=True)
    assert agrees(group.settings["fw1"], group.settings["fw2"])
    group.look("fw1")
    assert group.facts("fw2").accepts["fw1"] == mine_digest(group, "fw1")
    reply = order(group.node("fw1"), "commit")
    assert "nothing is pending" in reply.text


def test_commit_asks_at_once(group: Group) -> None:
    group.edit("fw1", *MORE)
    reply = order(group.node("fw1"), "commit")
    assert reply.done
    assert "1@lan sign with their new addresses and password now" in reply.text
    assert group.addresses("fw1") == ("192.0.2.10", "192.0.2.11", "2001:db8::10")


def test_a_core_that_starts_again_goes_on_where_it_was(group: Group) -> None:
    group.edit("fw1", *MORE)
    node = group.node("fw1")
    again = files.SetsFile(node.state, configs.load(node.state), SystemClock())
    assert again.now == node.core.carp.wire_sets
    assert again.now.own[LAN].pending
    for path in (node.state / files.FILE, node.state / configs.FILE):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((node.state / "carp").stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", ["missing", "not json", "another format"])
def test_a_lost_file_is_made_from_what_the_process_carp_works_with(group: Group, damage: str) -> None:
    group.edit("fw1", *MORE)
    node = group.node("fw1")
    path = node.state / files.FILE
    if damage == "missing":
        path.unlink()
    else:
        path.write_text("{" if damage == "not json" else json.dumps({**json.loads(path.read_text()), "format": 9}))
    before = configs.load(node.state)
    again = files.SetsFile(node.state, before, SystemClock())
    settings = again.dressed(replace(node.core.carp.settings, vips=tuple(
        replace(vip, wire=None, accept=()) for vip in node.core.carp.settings.vips
    )))  # fmt: skip
    assert settings.vips[0].wire_set.addresses == ("192.0.2.10", "2001:db8::10"), "the new one still waits"
    assert agrees(group.settings["fw2"], settings)
    assert agrees(settings, group.settings["fw2"])


def test_what_cannot_be_written_is_not_acknowledged(group: Group) -> None:
    node = group.node("fw2")
    group.edit("fw1", *MORE)
    os.rename(node.state / "carp", node.state / "moved")
    (node.state / "carp").write_text("no directory")
    group.look("fw1")
    assert group.addresses("fw1") == ("192.0.2.10", "2001:db8::10")
    os.unlink(node.state / "carp")
    os.rename(node.state / "moved", node.state / "carp")
    node.core.declaring.look(hurry=True)
    reply = order(group.node("fw1"), "commit")
    assert reply.done
    assert group.addresses("fw1") == ("192.0.2.10", "192.0.2.11", "2001:db8::10")


# -- the verb

PEER = Caller(Door.PEER, "operator", "", node="fw1", via="peer")


def test_nobody_is_shown_a_password(group: Group, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    group.rotate("fw1", OTHER)
    group.look()
    core = group.node("fw1").core
    shown = [*caplog.messages, repr(core.carp.wire_sets), repr(core.carp.settings), repr(group.facts("fw1"))]
    shown += [repr(group.node("fw1").ask("status")), repr(group.carps["fw1"].applied)]
    said = Declaration("x", {LAN: (DeclaredSet(("192.0.2.10",), OTHER + " and much too long"),)})
    with pytest.raises(UsageError) as caught:
        group.node("fw2").ask("accept-also", said, PEER)
    shown += [repr(said), str(caught.value), repr(caught.value.__cause__)]
    for one in shown:
        assert OTHER not in one
        assert PASSWORD not in one


@pytest.mark.parametrize(
    ("sets", "why"),
    [
        ({"lan": (DeclaredSet(("192.0.2.10",), "x"),)}, "is no VIP"),
        ({"0@lan": (DeclaredSet(("192.0.2.10",), "x"),)}, "not 1 to 255"),
        ({LAN: (DeclaredSet(("192.0.2.300",), "x"),)}, "192.0.2.300"),
        ({LAN: (DeclaredSet(("192.0.2.1",), "x"),) * 20}, "too much"),
        ({LAN: (DeclaredSet(("192.0.2.1",) * 100, "x"),)}, "too much"),
        ({f"1@a{number}": () for number in range(300)}, "no declaration"),
    ],
)
def test_what_is_no_declaration_changes_nothing(group: Group, sets: dict[str, Any], why: str) -> None:
    before = group.node("fw2").core.carp.wire_sets
    with pytest.raises(UsageError, match=why):
        group.node("fw2").ask("accept-also", Declaration("x", sets), PEER)
    assert group.node("fw2").core.carp.wire_sets == before


def test_only_a_peer_may_declare(group: Group) -> None:
    said = Declaration("x", {})
    with pytest.raises(DeniedError):
        group.node("fw2").ask("accept-also", said)
    group.pair.power = "viewer"
    group.node("fw1").links.hang_up("fw2")
    with pytest.raises(SyncsrvError, match="operator"):
        group.node("fw1").core.link.call("fw2", "accept-also", {"digest": "x", "sets": {}}, deadline_s=5)


def test_a_process_carp_that_does_not_answer_is_no_yes(group: Group) -> None:
    group.carps["fw2"].mute = True
    node = group.node("fw2")
    said = Declaration("x", {LAN: (DeclaredSet(("192.0.2.99",), "x"),)})
    with pytest.raises(NotAcceptedError, match="what fw1 may send"):
        node.handlers["accept-also"](PEER, said, Call("accept-also", "r"))


def test_one_that_does_not_run_reads_it_when_it_starts(group: Group) -> None:
    group.carps["fw2"].close()
    node = group.node("fw2")
    until(lambda: node.core.carp.reading.absent, what="that it ended")
    said = Declaration("x", {LAN: (DeclaredSet(("192.0.2.99",), "x"),)})
    answer = node.ask("accept-also", said, PEER)
    assert isinstance(answer, Declaration)
    assert answer.digest == mine_digest(group, "fw2")
    stored = configs.load(node.state)
    assert stored is not None
    assert SetSettings(("192.0.2.99",), "x") in stored.vips[0].accept
    assert vip_set(1, stored.vips[0].accept[0]).vhid == 1


def test_a_node_without_vips_takes_part_as_well(short_tmp: Path) -> None:
    with two_nodes(short_tmp) as pair:
        (pair.fw2.etc / "cluster.yaml").write_text((pair.fw2.etc / "cluster.yaml").read_text().replace(VIPS, ""))
        pair.fw2.core.record(via="watch")
        assert not pair.fw2.core.carp.settings.vips
        pair.fw1.hear()
        pair.fw1.core.declaring.look()
        assert pair.fw2.core.carp.wire_sets.peers["fw1"].declared.keys() == {LAN, WAN}
        pair.fw2.hear()
        pair.fw2.core.declaring.look()
