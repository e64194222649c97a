"""The status object: a node's own word, its peers' words, always with their age."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

from syncsrv.config.model import Role
from syncsrv.control.codec import encode
from syncsrv.control.shapes import Facts, Pending, Status
from syncsrv.control.shapes_statesync import StateSyncInfo
from syncsrv.core.peers import MISSES, Heard
from syncsrv.core.status import Known, build
from syncsrv.plan.verdict import Situation
from tests.core.test_peers import facts

SEEN = datetime(2026, 11, 23, 2, 13, 4, tzinfo=UTC)

MASTER = Known(
    node="fw1", role=Role.MASTER, cluster="edge", head=None, last_tag="sync/000003", untagged=2,
    situation=Situation("fw1"), areas={"proxy": "sync/000003"}, known_good=None, pending={}, services=(), jobs=(),
    left_out=(), notices=(),
)  # fmt: skip
BACKUP = replace(MASTER, node="fw2", role=Role.BACKUP, situation=Situation("fw2", applied_tag="sync/000003"))


def heard(of: Facts, at: float = 100.0, misses: int = 0) -> Heard:
    return Heard(of, at, SEEN, misses)


def applied(name: str, **more: object) -> Facts:
    situation = replace(Situation(name, applied_tag="sync/000003"), **more)  # type: ignore[arg-type] # its own keywords
    return replace(facts(name), situation=situation)


def test_a_peer_that_was_never_heard_is_unknown_and_has_no_age() -> None:
    status = build(MASTER, {"fw2": Heard()}, 100.0)
    peer = status.peers["fw2"]
    assert (peer.state, peer.reachable, peer.age_s, peer.seen_at) == ("unknown", False, None, None)
    assert status.sync.state == "unknown"


def test_a_peer_that_went_silent_is_unreachable_with_its_age_and_what_was_last_known() -> None:
    peer = build(MASTER, {"fw2": heard(applied("fw2"), misses=MISSES)}, 117.25).peers["fw2"]
    assert (peer.state, peer.reachable, peer.age_s) == ("unreachable", False, 17.2)
    assert peer.seen_at == "2026-11-23T02:13:04Z"
    assert peer.applied_tag == "sync/000003"


def test_what_a_silent_peer_said_of_its_connections_is_not_what_it_has_now() -> None:
    table = StateSyncInfo("conntrackd", "ready", "", "", "multicast", 3780, (), entries=500, age_s=0.5)
    told = replace(applied("fw2"), state_sync=table)
    near = build(MASTER, {"fw2": heard(told)}, 102.0).peers["fw2"].state_sync
    away = build(MASTER, {"fw2": heard(told, misses=MISSES)}, 117.25).peers["fw2"].state_sync
    assert isinstance(near, StateSyncInfo)
    assert isinstance(away, StateSyncInfo)
    assert (near.word, near.age_s, near.entries) == ("ready", 2.5, 500)
    assert (away.word, away.age_s, away.entries) == ("unknown", 17.7, 500)
    assert json.loads(encode(Status, build(MASTER, {}, 100.0)))["state_sync"] == {"engine": "none"}


def test_a_master_says_what_its_backup_has_not() -> None:
    us = replace(MASTER, pending={"fw2": Pending(("proxy",), 2)})
    status = build(us, {"fw2": heard(applied("fw2"))}, 100.0)
    assert status.peers["fw2"].state == "changes_pending"
    assert status.peers["fw2"].behind == 2
    assert (status.sync.state, status.sync.applied_tag) == ("changes_pending", "sync/000003")
    assert status.sync.reason.startswith("fw2: ")


def test_a_masters_word_is_the_worst_of_its_backups() -> None:
    book = {"fw2": heard(applied("fw2")), "fw3": heard(applied("fw3", drift={"proxy": ("/etc/a",)}))}
    status = build(MASTER, book, 100.0)
    assert status.sync.state == "drifted"
    assert status.peers["fw2"].state == "in_sync"
    assert status.peers["fw3"].drift == ("/etc/a",)


def test_a_backup_gives_its_own_word_and_of_its_master_only_whether_it_hears_it() -> None:
    master = replace(facts("fw1"), role="master", pending=Pending(("proxy",), 1))
    status = build(BACKUP, {"fw1": heard(master)}, 100.0)
    assert status.sync.state == "changes_pending"
    assert status.sync.behind == 1
    assert status.peers["fw1"].state == "in_sync"
    silent = build(BACKUP, {"fw1": heard(master, misses=MISSES)}, 100.0)
    assert silent.peers["fw1"].state == "unreachable"


def test_two_masters_are_blocked() -> None:
    other = replace(facts("fw2"), role="master")
    status = build(MASTER, {"fw2": heard(other)}, 100.0)
    assert status.peers["fw2"].state == "blocked"
    assert "master too" in status.peers["fw2"].reason


def test_another_release_blocks_on_both_sides_while_it_is_heard() -> None:
    backup = replace(facts("fw2"), version="9.9")
    master = replace(facts("fw1"), role="master", version="9.9")
    of_backup = build(MASTER, {"fw2": heard(backup)}, 100.0).peers["fw2"]
    of_itself = build(BACKUP, {"fw1": heard(master)}, 100.0).sync
    for one in (of_backup, of_itself):
        assert one.state == "blocked"
        assert "9.9" in one.reason
        assert "--force version" in one.remedy
    assert build(BACKUP, {"fw1": heard(master, misses=MISSES)}, 100.0).sync.state != "blocked"


def test_no_peer_is_standalone_and_a_job_is_syncing() -> None:
    assert build(replace(MASTER, situation=Situation("fw1", peers=0)), {}, 1.0).sync.state == "standalone"
    busy = replace(MASTER, situation=Situation("fw1", job="j1"))
    assert build(busy, {"fw2": heard(applied("fw2"))}, 100.0).sync.state == "syncing"


def test_it_can_be_sent_as_json_whatever_it_holds() -> None:
    status = build(MASTER, {"fw2": heard(applied("fw2", drift={"proxy": ("/etc/ü",)}))}, 100.0)
    assert b'"state":"drifted"' in encode(Status, status)


def test_a_master_that_missed_a_poll_is_not_said_to_answer() -> None:
    master = replace(applied("fw1"), role="master")
    said = [build(BACKUP, {"fw1": heard(master, misses=misses)}, 110.0).peers["fw1"].reason for misses in (0, 1)]
    assert said == ["fw1 is the master and answers", "fw1 is the master and has not answered the last poll"]


def test_a_backup_without_any_master_says_so() -> None:
    other = {"fw1": heard(replace(facts("fw1"), role="backup"))}
    (notice,) = build(BACKUP, other, 100.0).notices
    assert notice.startswith("no node says that it is master: write `role: master` into node.yaml")
    assert build(BACKUP, {"fw1": Heard()}, 100.0).notices == ()
    assert build(BACKUP, {"fw1": heard(replace(facts("fw1"), role="master"))}, 100.0).notices == ()
