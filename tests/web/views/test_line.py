"""The line: tags and waiting commits from old to new, with a flag where each node stands."""

from __future__ import annotations

from syncsrv.control.shapes import LogEntry
from syncsrv.web.views.line import POINTS, Point, line
from tests.web.views.standings import backup, master, peer


def entries(*tags: str) -> tuple[LogEntry, ...]:
    """Commits, oldest first in the call, newest first in the answer; an empty tag is a commit without one."""
    made = [
        LogEntry(
            f"{at:040x}",
            f"2026-11-2{at % 10}T00:00:00Z",
            "mara",
            f"change {at}",
            "watch",
            "fw1",
            (),
            (tag,) * bool(tag),
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
