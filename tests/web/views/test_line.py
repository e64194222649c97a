"""The line: tags and waiting commits from old to new, with a flag where each node stands."""

from __future__ import annotations

from syncsrv.control.shapes_history import LogEntry
from syncsrv.web.views.line import POINTS, Point, line
from tests.web.views.standings import backup, master, peer


def entries(*tags: str) -> tuple[LogEntry, ...]:
    """Commits, oldest first in the call, newest first in the answer; each with the tags that its word names."""
    made = [
        LogEntry(
            f"{at:040x}",
            f"2026-11-2{at % 10}T00:00:00Z",
            "mara",
            f"change {at}",
            "watch",
            "fw1",
            (),
            tuple(tag.split()),
            tagged_at=f"2026-11-30T00:00:{at % 60:02}Z" if tag else "",
        )
        for at, tag in enumerate(tags)
    ]
    return tuple(reversed(made))


def drawn(points: tuple[Point, ...]) -> list[str]:
    """``title[nodes]`` with ``>`` where what follows is ahead."""
    return [
        one.title + "".join(f"[{flag.node}{'?' if flag.lost else ''}]" for flag in one.flags) + ">" * one.ahead
        for one in points
    ]


def test_together_they_stand_at_one_point() -> None:
    found = line(master({"fw2": peer(applied_tag="t2")}), entries("t1", "", "t2"))
    assert drawn(found) == ["t1", "t2[fw1][fw2]>"]


def test_a_backup_stands_behind_and_what_waits_is_new() -> None:
    found = line(master({"fw2": peer("changes_pending", applied_tag="t1")}), entries("t1", "t2", "", ""))
    assert drawn(found) == ["t1[fw2]>", "t2>", "change 2>", "change 3[fw1]>"]
    assert [point.new for point in found] == [False, True, True, True]
    assert [point.is_tag for point in found] == [True, True, False, False]


def test_one_that_has_nothing_stands_before_everything() -> None:
    found = line(master({"fw2": peer("awaiting_first_sync", applied_tag=None)}), entries("", ""))
    assert drawn(found) == ["nothing yet[fw2]>", "change 0>", "change 1[fw1]>"]


def test_one_that_is_lost_is_marked_as_last_known() -> None:
    found = line(master({"fw2": peer("unreachable", applied_tag="t1")}), entries("t1"))
    assert drawn(found) == ["t1[fw1][fw2?]>"]


def test_a_tag_that_is_too_old_to_be_shown_is_still_a_place() -> None:
    found = line(master({"fw2": peer("changes_pending", applied_tag="t0")}), entries("t8", "t9"))
    assert drawn(found)[0] == "older than shown[fw2]>"


def test_many_points_are_folded_and_no_flag_is_lost() -> None:
    found = line(master({"fw2": peer("changes_pending", applied_tag="t1")}), entries("t0", "t1", *[""] * 30))
    assert len(found) <= POINTS
    assert found[0].flags[0].node == "fw2"
    assert found[-1].flags[0].node == "fw1"
    folded = next(point for point in found if point.folded)
    assert folded.title == f"+{folded.folded}"
    assert len(found) - 1 + folded.folded == 31


def test_old_tags_go_first_when_there_are_many() -> None:
    found = line(master({"fw2": peer(applied_tag="t9")}), entries(*(f"t{at}" for at in range(10))))
    assert drawn(found) == ["t5", "t6", "t7", "t8", "t9[fw1][fw2]>"]


def test_on_a_backup() -> None:
    found = line(
        backup("changes_pending", {"fw1": peer("unreachable", "master")}, sync={"applied_tag": "t1"}), entries("t1", "")
    )
    assert drawn(found) == ["t1[fw2]>", "change 1[fw1?]>"]


def test_nothing_known_draws_nothing() -> None:
    assert line(master(), ()) == ()


def test_a_tag_tells_its_own_time_and_a_commit_its_own() -> None:
    found = line(master({"fw2": peer(applied_tag="t1")}), entries("t1", ""))
    assert [point.at for point in found] == ["2026-11-30T00:00:00Z", "2026-11-21T00:00:00Z"]


def test_of_several_tags_at_one_commit_none_vanishes() -> None:
    found = line(
        master({"fw2": peer(applied_tag="sync/000009")}), entries("sync/000008", "sync/000009 sync/000010 mine")
    )
    assert drawn(found) == ["sync/000008", "sync/000010[fw1][fw2]>"]
    assert found[-1].more == ("sync/000009", "mine")


def test_one_that_has_the_newest_tag_in_part_stands_where_the_rest_of_it_is() -> None:
    areas = {"dns": "sync/000005", "firewall": "sync/000005", "web": "sync/000004", "app": "sync/000003"}
    partly = peer("changes_pending", applied_tag="sync/000005", behind=2, areas=areas, lacks=("web",))
    found = line(master({"fw2": partly}), entries("sync/000004", "sync/000005"))
    assert drawn(found) == ["sync/000004[fw2]>", "sync/000005[fw1]>"]
    assert found[0].flags[0].note == "has sync/000005 only in dns, firewall"
    both = {"web": "sync/000005", "dns": "sync/000005"}
    whole = peer("changes_pending", applied_tag="sync/000005", areas=both, lacks=("web",))
    found = line(master({"fw2": whole}), entries("sync/000005", ""))
    assert drawn(found) == ["sync/000005[fw2]>", "change 1[fw1]>"]
    assert found[0].flags[0].note == ""
    fresh = peer("changes_pending", applied_tag="sync/000005", areas={"dns": "sync/000005"}, lacks=("web",))
    assert drawn(line(master({"fw2": fresh}), entries("sync/000005"))) == ["nothing yet[fw2]>", "sync/000005[fw1]>"]


def test_one_that_drifted_stands_apart() -> None:
    drift = tuple(f"/etc/{number}" for number in range(10))
    found = line(master({"fw2": peer("drifted", applied_tag="t2", drift=drift)}), entries("t1", "t2"))
    assert drawn(found) == ["t1", "drifted from t2[fw2]>", "t2[fw1]>"]
    assert found[1].note == "10 files"
    gone = line(master({"fw2": peer("drifted", applied_tag="t0", drift=drift)}), entries("t2"))
    assert drawn(gone) == ["drifted from t0[fw2]>", "t2[fw1]>"]
