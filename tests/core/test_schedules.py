"""The schedules of cluster.yaml: off until an admin turns them on, what they may tag, and what is told of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from syncsrv.clock import booted_s
from syncsrv.config.model import Role
from syncsrv.control.shapes import RollbackRequest, SyncRequest
from syncsrv.control.shapes_page import ScheduleInfo, ScheduleSetRequest, SchedulesReply
from syncsrv.core import schedules
from syncsrv.core.parts import Core
from syncsrv.core.schedules import ChangedScheduleError, HinderedError, NotSynchronizedError, UnknownScheduleError
from syncsrv.core.soak import SoakFile
from syncsrv.core.switches import Switch, Switches
from syncsrv.store.receipts import read_receipts
from syncsrv.store.tags import read_tag
from tests.core.carp.carpkit import VIPS, running
from tests.core.carp.fakecarp import FakeCarp, master, vip
from tests.core.corekit import ALICE, CLUSTER, Node, Pair, pair_of
from tests.support.wait import until

SCHEDULED = CLUSTER + 'schedules: [{do: sync, cron: "0 3 * * *", soak: 1h, owner: bob}]\n'
HOUR_S = 3600.0


class Moved:
    """Monotonic time that is moved by hand; the wall clock stands still."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at

    def utc(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with pair_of(tmp_path, SCHEDULED) as pair:
        pair.fw1.core.people.add("bob", "operator", None, None)
        yield pair


@pytest.fixture
def clock(pair: Pair) -> Moved:
    """Of the master's soak, which begins now."""
    clock = Moved()
    core = pair.fw1.core
    core.soak = SoakFile(pair.fw1.state / "soak-by-hand.json", clock, "boot")
    core.soak.saw(core.recorder.head() or "")
    return clock


def shown(node: Node, name: str = "sync 1") -> ScheduleInfo:
    reply = node.ask("schedules")
    assert isinstance(reply, SchedulesReply)
    return next(one for one in reply.schedules if one.name == name)


def turn(node: Node, on: bool = True, **more: str) -> ScheduleInfo:
    node.ask("schedule-set", ScheduleSetRequest("sync 1", on, **more))
    return shown(node)


def fire(node: Node) -> str:
    """What the timetable does when its time has come."""
    (schedule,) = node.core.cluster.schedules
    return schedules.run(node.core, schedules.digest_of(schedule), schedule)


def edit(pair: Pair, text: str) -> str:
    """Save a file on the master; the commit that has it."""
    pair.fw1.put("/etc/app/app.conf", text)
    return pair.fw1.core.record(via="watch").commit or ""


def newest_tag(node: Node) -> str | None:
    tags, _ = node.core.tags_here()
    return tags[-1].commit if tags else None


def test_it_is_off_until_an_admin_turns_it_on_which_is_recorded_and_outlives_core(pair: Pair) -> None:
    off = shown(pair.fw1)
    assert (off.enabled, off.next_at, off.owner) == (False, None, "bob")
    assert off.when == "0 3 * * * (UTC), what has soaked for 1h"
    pair.fw1.core.timetable.start()
    on = turn(pair.fw1, digest=off.digest)
    assert on.enabled
    assert on.next_at is not None
    assert on.next_at.endswith("T03:00:00Z")
    (receipt,) = read_receipts(pair.fw1.core.store, 5)
    assert {key: receipt.body[key] for key in ("kind", "requested_by", "origin", "reason")} == {
        "kind": "schedule-set",
        "requested_by": "alice",
        "origin": "cli",
        "reason": "sync 1 (0 3 * * *, soak 1h, owner bob) turned on",
    }
    assert Switches(pair.fw1.state / "schedules.json").now().keys() == {off.digest}
    turn(pair.fw1)
    assert len(read_receipts(pair.fw1.core.store, 5)) == 1, "it was on"
    assert turn(pair.fw1, on=False).next_at is None
    assert "turned off" in read_receipts(pair.fw1.core.store, 1)[0].subject
    assert Switches(pair.fw1.state / "schedules.json").now() == {}


def test_only_what_was_shown_is_turned_on(pair: Pair) -> None:
    with pytest.raises(UnknownScheduleError, match="there are sync 1"):
        pair.fw1.ask("schedule-set", ScheduleSetRequest("sync 2", True))
    digest = shown(pair.fw1).digest
    cluster = pair.fw1.etc / "cluster.yaml"
    cluster.write_text(cluster.read_text().replace("soak: 1h", "soak: 1s"))
    pair.fw1.core.record(via="watch")
    with pytest.raises(ChangedScheduleError, match="changed since it was shown"):
        turn(pair.fw1, digest=digest)
    assert not shown(pair.fw1).enabled


def test_one_that_is_changed_or_was_gone_is_off_again(pair: Pair) -> None:
    turn(pair.fw1)
    cluster = pair.fw1.etc / "cluster.yaml"
    before = cluster.read_text()
    cluster.write_text(before.replace("soak: 1h", "soak: 1s"))
    pair.fw1.core.record(via="watch")
    assert not shown(pair.fw1).enabled
    cluster.write_text(before)
    pair.fw1.core.record(via="watch")
    assert not shown(pair.fw1).enabled, "what comes back has to be turned on again"
    turn(pair.fw1)
    cluster.write_text(before + "# nothing of it\n")
    pair.fw1.core.record(via="watch")
    assert shown(pair.fw1).enabled
    cluster.write_text(before.replace("areas:", "areas: ["))
    pair.fw1.core.record(via="watch")
    assert shown(pair.fw1).enabled, "what is broken changes nothing"


def test_what_is_removed_while_it_waits_does_not_fire(pair: Pair) -> None:
    pair.fw1.core.timetable.start()
    turn(pair.fw1)
    cluster = pair.fw1.etc / "cluster.yaml"
    cluster.write_text(cluster.read_text().replace("schedules:", "#schedules:"))
    pair.fw1.core.record(via="watch")
    assert pair.fw1.core.timetable.now() == ()
    with pytest.raises(UnknownScheduleError, match="there are none"):
        turn(pair.fw1)


def test_only_what_soaked_is_tagged_in_the_name_of_the_owner(pair: Pair, clock: Moved) -> None:
    pair.sync()
    first = edit(pair, "two")
    clock.at += HOUR_S / 2
    edit(pair, "three")
    assert fire(pair.fw1) == "nothing to do: nothing on main has soaked for 1h yet"
    assert newest_tag(pair.fw1) != first
    clock.at += HOUR_S / 2
    assert fire(pair.fw1) == "sync/000002: fw2 done (1 changed: /etc/app/app.conf)"
    assert newest_tag(pair.fw1) == first
    assert pair.fw2.text("/etc/app/app.conf") == "two"
    assert pair.fw1.text("/etc/app/app.conf") == "three", "the master's disk is nobody's business"
    tag = read_tag(pair.fw1.core.store, pair.fw1.core.store.ref("refs/tags/sync/000002") or "", "sync/000002")
    assert (tag.requested_by, tag.areas) == ("bob", ("app", "more", "cluster"))
    assert tag.reason == f"scheduled (0 3 * * *): {first[:10]} has soaked for 1h"
    receipt = read_receipts(pair.fw2.core.store, 1)[0]
    assert receipt.body["requested_by"] == "bob via fw1"
    clock.at += HOUR_S
    assert fire(pair.fw1) == "sync/000003: fw2 done (1 changed: /etc/app/app.conf)"
    assert fire(pair.fw1).startswith("sync/000003: fw2 unchanged"), "again is no harm"


def test_what_a_person_tagged_is_never_followed_by_something_older(pair: Pair, clock: Moved) -> None:
    clock.at += HOUR_S
    edit(pair, "two")
    pair.sync()
    assert fire(pair.fw1) == "nothing to do: sync/000001 is newer than what has soaked for 1h"
    assert pair.fw2.text("/etc/app/app.conf") == "two"


def test_what_was_taken_back_before_it_was_due_stays_on_the_master(pair: Pair, clock: Moved) -> None:
    pair.sync()
    clock.at += HOUR_S
    bad = edit(pair, "bad")
    clock.at += HOUR_S
    edit(pair, "one")  # by hand, as it was
    assert fire(pair.fw1) == f"nothing to do: {bad[:10]} has soaked for 1h, but was taken back since by what has not"
    assert pair.fw2.text("/etc/app/app.conf") == "one"
    clock.at += HOUR_S
    assert fire(pair.fw1).startswith("sync/000002: fw2 ")
    worse = edit(pair, "worse")
    edit(pair, "worse still")
    clock.at += HOUR_S
    pair.fw1.do("rollback", RollbackRequest(worse, reason="it was better"))
    pair.fw1.core.record(via="watch")
    assert "was taken back since by what has not" in fire(pair.fw1)
    assert pair.fw2.text("/etc/app/app.conf") == "one"


def test_nothing_soaked_is_said(pair: Pair, clock: Moved) -> None:
    pair.sync()
    assert fire(pair.fw1) == "nothing to do: nothing on main has soaked for 1h yet"


def test_a_first_sync_is_a_persons(pair: Pair, clock: Moved) -> None:
    clock.at += HOUR_S
    with pytest.raises(HinderedError, match="fw2 awaits the first sync, which a person starts"):
        fire(pair.fw1)
    assert newest_tag(pair.fw1) is None


def test_no_guard_is_forced(pair: Pair, clock: Moved) -> None:
    pair.sync()
    pair.fw2.put("/etc/app/app.conf", "edited over there")
    edit(pair, "two")
    clock.at += HOUR_S
    turn(pair.fw1)
    with pytest.raises(NotSynchronizedError, match="fw2 refused"):
        fire(pair.fw1)
    assert pair.fw2.text("/etc/app/app.conf") == "edited over there"
    info = shown(pair.fw1)
    assert info.last_at is not None
    assert info.last_result.startswith("failed: cannot synchronize all backups by schedule: sync/000002: fw2 refused")
    again = Switches(pair.fw1.state / "schedules.json").now()[info.digest]
    assert (again.last_at, again.last_result) == (info.last_at, info.last_result)


def test_a_backup_that_is_away_is_told(pair: Pair, clock: Moved) -> None:
    pair.sync()
    clock.at += HOUR_S
    pair.away.add("fw2")
    pair.fw1.links.close()
    with pytest.raises(NotSynchronizedError, match="fw2 unreachable"):
        fire(pair.fw1)


def test_who_may_not_hinders_it(pair: Pair, clock: Moved) -> None:
    people = pair.fw1.core.people
    people.add("bob", "viewer", None, None)
    with pytest.raises(HinderedError, match="its owner bob is only viewer"):
        fire(pair.fw1)
    assert "bob is only viewer" in shown(pair.fw1).hindrance
    people.remove("bob")
    with pytest.raises(HinderedError, match="its owner bob is no user of this node"):
        fire(pair.fw1)
    people.add("bob", "operator", None, None)
    assert shown(pair.fw1).hindrance == ""


def test_a_running_sync_hinders_it_and_a_service_action_does_not(pair: Pair, clock: Moved) -> None:
    core = pair.fw1.core
    (schedule,) = core.cluster.schedules
    with core.recorder.lock:  # a sync waits for it
        job = pair.fw1.ask("sync", SyncRequest())
        with pytest.raises(HinderedError, match=r"job .* \(sync\) is under way"):
            fire(pair.fw1)
    until(lambda: not core.jobs.running())
    assert job is not None
    assert schedules.standing(core, schedule, busy=True).busy == ()


def test_with_vips_only_the_node_that_serves_runs_it_and_not_on_the_day_of_a_takeover(pair: Pair, clock: Moved) -> None:
    core = pair.fw1.core
    with (pair.fw1.etc / "node.yaml").open("a") as file:
        file.write("\ninterfaces: {lan: eth0, wan: eth1}\n")
    with (pair.fw1.etc / "cluster.yaml").open("a") as file:
        file.write(VIPS.replace("!secret carp_lan", "x"))
    pair.fw1.app.reload()
    core.soak.saw(core.recorder.head() or "")

    def hindered(why: str) -> None:
        with pytest.raises(HinderedError, match=why):
            fire(pair.fw1)
        assert why in shown(pair.fw1).hindrance

    hindered("whether this node holds the VIPs is not known: the carp process was not asked yet")
    lately, long_ago = booted_s() - 60.0, booted_s() - 25 * HOUR_S
    with running(pair.fw1) as carp:
        _becomes(core, carp, long_ago, None)
        hindered("this node is not MASTER of 2@wan")
        _becomes(core, carp, long_ago, lately)
        hindered("this node became MASTER 1min ago, and a schedule waits 1d after that")
        _becomes(core, carp, long_ago, long_ago)
        assert shown(pair.fw1).hindrance == ""
        assert fire(pair.fw1).startswith("nothing to do: nothing on main has soaked")


def _becomes(core: Core, carp: FakeCarp, *since: float | None) -> None:
    """MASTER of a VIP since then, seconds since boot, or BACKUP."""
    settings = core.carp.settings
    vips = tuple(
        vip(settings, number) if at is None else master(settings, number, since_boot_s=at)
        for number, at in enumerate(since)
    )
    carp.says(vips=vips)
    until(lambda: core.carp.reading.now is not None and core.carp.reading.now.vips == vips, what="core to hear of it")


def test_a_backup_runs_none(pair: Pair) -> None:
    info = turn(pair.fw2)
    assert info.enabled
    assert "only the master runs schedules" in info.hindrance
    assert pair.fw2.core.role is Role.BACKUP
    assert [one.name for one in pair.fw2.core.timetable.now()] == []
    with pytest.raises(HinderedError, match="this node is a backup"):
        fire(pair.fw2)


def test_the_timetable_fires_it_and_what_went_wrong_is_a_notice(pair: Pair, clock: Moved) -> None:
    core = pair.fw1.core
    pair.sync()
    edit(pair, "two")
    turn(pair.fw1)
    core.timetable.start()
    core.timetable._scheduler.modify_job("sync 1", next_run_time=datetime.now(UTC) - timedelta(seconds=1))
    until(lambda: shown(pair.fw1).last_result == "nothing to do: nothing on main has soaked for 1h yet")
    core.people.remove("bob")
    core.timetable._scheduler.modify_job("sync 1", next_run_time=datetime.now(UTC) - timedelta(seconds=1))
    until(core.timetable.troubles)
    status = pair.fw1.ask("status")
    assert any("its owner bob is no user" in notice for notice in status.notices)  # type: ignore[attr-defined]  # Status


def test_the_end_of_core_does_not_wait_for_it(pair: Pair, clock: Moved) -> None:
    pair.sync()
    edit(pair, "two")
    clock.at += HOUR_S
    core = pair.fw1.core
    said: list[str] = []
    with core.recorder.lock:  # the job waits for it
        firing = threading.Thread(target=lambda: said.append(fire(pair.fw1)))
        firing.start()
        until(core.jobs.running)
        core.stopping.set()
        firing.join(10)
    assert said[0].startswith("core ended in the middle of job ")
    until(lambda: not core.jobs.running())
    assert fire(pair.fw1) == "nothing was done: core was ending"


@pytest.mark.parametrize("text", ["{", "[]", '{"x": 1}', '{"x": {"strange": "y"}}'])
def test_a_damaged_file_turns_everything_off(tmp_path: Path, text: str) -> None:
    (tmp_path / "schedules.json").write_text(text)
    switches = Switches(tmp_path / "schedules.json")
    assert switches.now() == {}
    switches.set("d", Switch("alice", "now"))
    switches.ran("other", "now", "done")
    assert json.loads((tmp_path / "schedules.json").read_text()).keys() == {"d"}


def test_the_label_of_whoever_turns_it_on_is_kept(pair: Pair) -> None:
    pair.fw1.ask("schedule-set", ScheduleSetRequest("sync 1", True), replace(ALICE, person="carol", origin="192.0.2.7"))
    (switch,) = pair.fw1.core.switches.now().values()
    assert switch.by == "carol"
    assert read_receipts(pair.fw1.core.store, 1)[0].body["origin"] == "192.0.2.7"


def test_a_firing_that_a_guard_refuses_is_a_notice_with_schedule_and_guard(pair: Pair, clock: Moved) -> None:
    core = pair.fw1.core
    pair.sync()
    pair.fw2.put("/etc/app/app.conf", "by hand")
    pair.fw2.core.record(via="watch")
    pair.fw1.hear()
    edit(pair, "two")
    clock.at += HOUR_S
    turn(pair.fw1)
    core.timetable.start()
    core.timetable._scheduler.modify_job("sync 1", next_run_time=datetime.now(UTC) - timedelta(seconds=1))
    until(core.timetable.troubles)
    status = pair.fw1.ask("status")
    (notice,) = [one for one in status.notices if one.startswith("sync 1 ")]  # type: ignore[attr-defined]  # Status
    assert "fw2 refused" in notice
    assert "drift" in notice
    assert "/etc/app/app.conf" in notice
