"""What two nodes' own words, side by side, say of a split brain: the cause, the remedy, and who is deaf."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncsrv.carp.diagnose import Finding, Seen, Segment, View, both_masters, deaf, findings

LAN = "1@lan"
SINCE = "2026-11-23T02:13:04Z"
BOTH = {(LAN, "fw2"): SINCE}
MASTER = View("MASTER", ("192.0.2.10/24",), "x")
BACKUP = replace(MASTER, state="BACKUP")


def hears(view: View, whom: str, seconds: float = 0.5) -> View:
    return replace(view, hears=whom, hears_s=seconds)


def node(name: str, view: View, **segment: object) -> Seen:
    sources = {"fw1": "192.0.2.1", "fw2": "192.0.2.2"}
    return Seen(name, {LAN: view}, {"lan": Segment((sources[name],), **segment)})  # type: ignore[arg-type]  # any field


def told(us: Seen, peer: Seen, both: bool = True) -> str:
    found = findings(us, {"fw2": peer}, BOTH if both else {}, {})
    return "\n".join(map(str, found))


def test_two_well_nodes_say_nothing() -> None:
    assert told(node("fw1", MASTER), node("fw2", hears(BACKUP, "fw1")), both=False) == ""
    assert both_masters(node("fw1", MASTER), node("fw2", BACKUP)) == ()
    assert both_masters(node("fw1", MASTER), node("fw2", MASTER)) == (LAN,)
    assert both_masters(node("fw1", MASTER), Seen("fw2")) == ()


def test_neither_hears_the_other_the_segment_is_cut() -> None:
    said = told(node("fw1", MASTER), node("fw2", MASTER))
    assert f"1@lan: fw1 and fw2 are both MASTER since {SINCE}: neither hears the other" in said
    assert "protocol 112 to 224.0.0.18" in said


def test_who_is_deaf_is_named() -> None:
    assert "fw2 hears fw1, and fw1 does not hear fw2" in told(node("fw1", MASTER), node("fw2", hears(MASTER, "fw1")))
    assert "fw1 hears fw2, and fw2 does not hear fw1" in told(node("fw1", hears(MASTER, "fw2")), node("fw2", MASTER))


@pytest.mark.parametrize("refuser", ["fw1", "fw2"])
def test_addresses_that_differ_are_named_as_the_cause(refuser: str) -> None:
    other = replace(MASTER, addresses=("192.0.2.10/24", "192.0.2.11/24", "2001:db8::1/64"), set_name="y")
    us, peer = node("fw1", MASTER), node("fw2", other)
    if refuser == "fw1":
        us = node("fw1", MASTER, badauth=(("192.0.2.2", 1),))
    else:
        peer = node("fw2", other, badauth=(("192.0.2.1", 1),))
    said = told(us, peer)
    assert f"{refuser} drops what " in said
    assert "(only fw2 has 192.0.2.11, 2001:db8::1)" in said
    assert "SSH" in said
    assert said.count("\n") == 0


def test_sets_that_differ_are_said_before_anything_happens() -> None:
    more = replace(BACKUP, addresses=("192.0.2.11/16",), set_name="y")
    said = told(node("fw1", MASTER), node("fw2", more), both=False)
    assert "1@lan: only fw1 has 192.0.2.10 and only fw2 has 192.0.2.11" in said
    assert "`syncsrv sync`" in said
    said = told(node("fw1", MASTER), node("fw2", replace(BACKUP, set_name="y")), both=False)
    assert "different passwords" in said
    assert "secrets.yaml of both" in said
    assert "the VIP is another one" not in said
    unknown = replace(BACKUP, set_name="")
    assert told(node("fw1", MASTER), node("fw2", unknown), both=False) == ""


def test_a_prefix_length_is_no_difference() -> None:
    assert told(node("fw1", MASTER), node("fw2", replace(BACKUP, addresses=("192.0.2.10/16",))), both=False) == ""


def test_adverts_of_a_peer_that_are_dropped_are_said_once() -> None:
    said = told(node("fw1", BACKUP, badauth=(("192.0.2.2", 1),)), node("fw2", MASTER), both=False)
    assert "fw1 drops what fw2 advertises" in said
    assert "no node of ours" not in said
    assert said.count("\n") == 0


def test_badauth_of_another_vhid_is_not_this_ones() -> None:
    assert told(node("fw1", BACKUP, badauth=(("192.0.2.2", 2),)), node("fw2", MASTER), both=False) == ""


def test_strangers_on_the_segment() -> None:
    strange = node(
        "fw1", MASTER, badauth=(("192.0.2.9", 1),), foreign=(("192.0.2.8", 1), ("192.0.2.7", 7)), vrrp=(1, 9)
    )
    said = told(strange, node("fw2", BACKUP), both=False).split("\n")
    assert len(said) == 3
    assert "192.0.2.9, no node of ours, advertises vhid 1" in said[0]
    assert "192.0.2.8 takes part in vhid 1" in said[1]
    assert "a VRRP router with id 1" in said[2]
    assert "00:00:5e:00:01:01" in said[2]


def test_another_machine_that_answers_for_an_address() -> None:
    clash = replace(MASTER, conflicts=("02:00:00:00:00:01 answers for 192.0.2.10 on eth0 too",))
    said = told(node("fw1", clash), node("fw2", BACKUP), both=False)
    assert "1@lan: 02:00:00:00:00:01 answers for 192.0.2.10 on eth0 too" in said
    assert "find that machine" in said


# -- deafness


def test_a_master_is_deaf_that_is_heard_and_does_not_hear() -> None:
    us, peer = node("fw1", MASTER), node("fw2", hears(MASTER, "fw1"))
    assert deaf(us, peer, LAN, was=False)
    assert not deaf(us, node("fw2", MASTER), LAN, was=False), "the segment is cut: both must serve"
    assert not deaf(us, node("fw2", hears(MASTER, "fw3")), LAN, was=False)
    assert not deaf(us, node("fw2", hears(MASTER, "fw1", 60)), LAN, was=False), "that was long ago"
    assert not deaf(us, node("fw2", hears(BACKUP, "fw1")), LAN, was=False)
    assert not deaf(node("fw1", hears(MASTER, "fw2")), peer, LAN, was=False), "adverts alone decide"
    assert not deaf(Seen("fw1"), peer, LAN, was=True)
    assert not deaf(us, Seen("fw2"), LAN, was=True)


def test_it_stays_down_though_nobody_can_hear_it_now_until_it_hears_or_the_peer_gives_up() -> None:
    us, peer = node("fw1", BACKUP), node("fw2", MASTER)
    assert deaf(us, peer, LAN, was=True)
    assert not deaf(us, peer, LAN, was=False)
    assert not deaf(node("fw1", hears(BACKUP, "fw2")), peer, LAN, was=True)
    assert not deaf(us, node("fw2", BACKUP), LAN, was=True)
    assert not deaf(node("fw1", replace(BACKUP, state="INIT")), peer, LAN, was=True)


def test_who_is_kept_down_by_a_word_says_so() -> None:
    found = findings(node("fw1", BACKUP), {"fw2": node("fw2", MASTER)}, {}, {LAN: "fw2"})
    assert "fw1 does not hear fw2, which is MASTER and did hear fw1" in found[0].reason
    assert isinstance(found[0], Finding)
    assert found[0].remedy.endswith("from fw2 too")
