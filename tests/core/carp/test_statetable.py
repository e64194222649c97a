"""What is said of the table of connections, here and between two nodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syncsrv.config.load import Configuration, load
from syncsrv.control.shapes_statesync import NoStateSync, StateLinkInfo, StateOrder, StateSyncInfo
from syncsrv.core.carp import statetable
from syncsrv.core.carp.statelinks import Choice
from syncsrv.failover.settings import StateLink, StateSync
from syncsrv.failover.statesync.state import OLD_S, LastOrder, State
from tests.core.carp.carpkit import VIPS

CHOICE = Choice(StateSync("conntrackd", (StateLink("eth2", "10.3.0.1", ""),), "225.0.0.50", 3780, ("127.0.0.1",), 60.0))
ORDER = LastOrder("commit, flush, resync, bulk update", "failed", "no answer", 0.02, 90.0)
SAID = State(
    engine="conntrackd",
    word="ready",
    reason="tables go to and fro",
    remedy="",
    pid=77,
    at_boot_s=99.0,
    entries=500,
    carried=470,
    received=480,
    peer="heard",
    lag=3,
    last_order=ORDER,
    table="received",
    errors={"lost": 2},
)
DONE = StateOrder("commit, flush, resync, bulk update", "done", "", 0.02, 10.0)
READY = StateSyncInfo(
    engine="conntrackd",
    word="ready",
    reason="tables go to and fro",
    remedy="",
    way="multicast",
    port=3780,
    links=(StateLinkInfo("sync", "eth2", "10.3.0.1"),),
    pid=77,
    entries=500,
    carried=470,
    received=480,
    peer="heard",
    lag=3,
    errors={"lost": 2},
    table="received",
    last_order=StateOrder("commit, flush, resync, bulk update", "failed", "no answer", 0.02, 10.0),
    age_s=1.0,
)
DEAD = replace(READY, word="dead", reason="conntrackd ended", remedy="see its log", table="unknown")


def configured(
    directory: Path, state_sync: str = "engine: conntrackd, interface: sync", vips: str = VIPS
) -> Configuration:
    (directory / "node.yaml").write_text("node: fw1\nrole: master\ninterfaces: {lan: eth0, wan: eth1, sync: eth2}\n")
    (directory / "secrets.yaml").write_text("carp_lan: x\n")
    (directory / "secrets.yaml").chmod(0o600)
    (directory / "cluster.yaml").write_text(f"cluster: edge\n{vips}state_sync: {{{state_sync}}}\n")
    return load(directory)


def test_what_the_keeper_says_comes_with_ages(tmp_path: Path) -> None:
    assert statetable.info(configured(tmp_path), CHOICE, SAID, "", 100.0) == READY


@pytest.mark.parametrize(("state_sync", "vips"), [("engine: none", VIPS), ("engine: conntrackd, interface: sync", "")])
def test_none_is_none(tmp_path: Path, state_sync: str, vips: str) -> None:
    assert statetable.info(configured(tmp_path, state_sync, vips), Choice(), None, "", 100.0) == NoStateSync()


@pytest.mark.parametrize(
    ("choice", "found", "why", "word", "reason"),
    [
        (CHOICE, None, "", "unknown", "the carp process has said nothing of conntrackd yet"),
        (CHOICE, None, "cannot tell how", "unknown", "cannot tell how"),
        (
            CHOICE,
            replace(SAID, at_boot_s=60.0),
            "",
            "unknown",
            "the carp process has said nothing of conntrackd for 40 s",
        ),
        (Choice(None, "sync (eth2) has no address", "give it one"), None, "", "off", "sync (eth2) has no address"),
    ],
)
def test_silence_is_never_well(
    tmp_path: Path, choice: Choice, found: State | None, why: str, word: str, reason: str
) -> None:
    said = statetable.info(configured(tmp_path), choice, found, why, 100.0)
    assert isinstance(said, StateSyncInfo)
    assert (said.word, said.reason) == (word, reason)
    assert said.remedy
    assert (said.entries, said.age_s) == ((500, 40.0) if found else (None, None)), "what was counted last has its age"
    assert statetable.own_trouble(said).startswith("open connections are not carried to the other node: ")


def test_a_reading_holds_for_some_seconds(tmp_path: Path) -> None:
    for late_s, word in ((OLD_S, "ready"), (OLD_S + 0.2, "unknown")):
        said = statetable.info(configured(tmp_path), CHOICE, replace(SAID, at_boot_s=100.0 - late_s), "", 100.0)
        assert isinstance(said, StateSyncInfo)
        assert said.word == word


def test_a_peer_that_is_away_is_not_known_to_be_ready() -> None:
    near = statetable.heard(READY, 2.0, reachable=True)
    assert isinstance(near, StateSyncInfo)
    assert (near.word, near.age_s, near.last_order and near.last_order.age_s) == ("ready", 3.0, 12.0)
    away = statetable.heard(READY, 40.0, reachable=False)
    assert isinstance(away, StateSyncInfo)
    assert (away.word, away.age_s, away.entries) == ("unknown", 41.0, 500)
    assert statetable.heard(NoStateSync(), None, reachable=False) == NoStateSync()


def changed(**other: Any) -> StateSyncInfo:
    return replace(READY, **other)


BREAKS = "a failover now breaks open connections"


@pytest.mark.parametrize(
    ("us", "peer", "said"),
    [
        (READY, READY, ()),
        (NoStateSync(), NoStateSync(), ()),
        (READY, changed(word="waiting", table="awaited"), ()),
        (READY, NoStateSync(), (f"fw2 has no state sync: {BREAKS}; cluster.yaml differs, synchronize it",)),
        (
            NoStateSync(),
            READY,
            (f"fw2 has a state sync and this node has none: {BREAKS}; cluster.yaml differs, synchronize it",),
        ),
        (
            READY,
            changed(port=4000, way="unicast"),
            (
                "the state sync of fw2 works with conntrackd by unicast on port 4000, 1 link, this node's with "
                f"conntrackd by multicast on port 3780, 1 link: neither hears the other, and {BREAKS}; "
                "cluster.yaml differs, synchronize it",
            ),
        ),
        (
            READY,
            DEAD,
            (f"{BREAKS}: fw2 does not take this node's: conntrackd ended; see its log",),
        ),
        (
            READY,
            changed(word="off", reason="sync has no address", remedy="give it one", links=()),
            (f"{BREAKS}: fw2 does not take this node's: sync has no address; give it one",),
        ),
        (changed(word="off", links=()), READY, ()),
        (
            READY,
            changed(table="timed out"),
            (f"fw2 waited for the table of connections and did not get all of it: {BREAKS}",),
        ),
    ],
)
def test_what_is_wrong_between_two_nodes(
    us: StateSyncInfo | NoStateSync, peer: StateSyncInfo | NoStateSync, said: tuple[str, ...]
) -> None:
    assert statetable.between(us, "fw2", peer) == said


def test_deaf_is_who_does_not_hear_one_that_runs() -> None:
    alone = changed(word="alone", peer="silent")
    assert statetable.deaf(alone, READY)
    assert statetable.deaf(READY, alone)
    assert not statetable.deaf(READY, READY)
    assert not statetable.deaf(alone, DEAD), "that it is dead is said, and why"
    assert not statetable.deaf(NoStateSync(), alone)


@pytest.mark.parametrize(
    ("carried", "known", "apart"),
    [(500, 480, False), (500, 12, True), (12, 500, False), (150, 0, False), (1000, 501, False), (None, 500, False)],
)
def test_one_that_knows_far_less_than_the_other_carries(carried: int | None, known: int, apart: bool) -> None:
    """What a node has for itself is in its own table alone: a busy VIP is no table that lacks something."""
    sends, takes = changed(entries=9000, carried=carried), changed(entries=known, carried=0)
    assert statetable.far_apart(sends, takes) is apart
    assert statetable.far_apart(takes, sends) is apart
    assert not statetable.far_apart(sends, NoStateSync())
    if apart:
        assert statetable.apart(sends, "fw2", takes).startswith("this node carries 500 connections, and fw2 knows 12: ")
        assert statetable.apart(takes, "fw2", sends).startswith("fw2 carries 500 connections, and this node knows 12: ")


@pytest.mark.parametrize("word", ["dead", "missing", "off", "unknown"])
def test_own_troubles(word: str) -> None:
    said = statetable.own_trouble(changed(word=word, reason="conntrackd ended", remedy="see its log"))
    assert said == "open connections are not carried to the other node: conntrackd ended; see its log"
    assert statetable.own_trouble(changed(word="alone", last_order=DONE)) == "", "that a peer is dead is said elsewhere"
    assert statetable.own_trouble(changed(last_order=None)) == ""


def test_an_order_that_failed_is_a_trouble_until_one_is_done() -> None:
    assert statetable.own_trouble(READY) == (
        "conntrackd did not do what it was told (commit, flush, resync, bulk update), "
        "so connections may be missing here: no answer"
    )
    assert statetable.own_trouble(changed(last_order=DONE)) == ""
