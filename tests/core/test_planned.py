"""What is counted of a plan."""

from __future__ import annotations

from syncsrv.control.shapes_history import AreaCount
from syncsrv.core.planned import counted_by_area
from syncsrv.plan.diff import Change
from syncsrv.plan.tree import Entry, Kind

FILE = Entry(Kind.FILE, 0o644, blob="a" * 40)


def test_every_change_is_counted_whatever_its_area() -> None:
    changes = [
        Change(b"etc/a", "app", FILE, None),
        Change(b"etc/b", "app", None, FILE),
        Change(b"etc/c", "gone", FILE, None),
        Change(b"etc/d", "new", None, FILE),
        Change(b"etc/e", "new", FILE, FILE),
    ]
    assert counted_by_area(changes, ("calm", "app")) == (
        AreaCount("app", 1, 1, 0),
        AreaCount("gone", 1, 0, 0),
        AreaCount("new", 0, 1, 1),
        AreaCount("calm"),
    )
    assert counted_by_area((), ()) == ()
