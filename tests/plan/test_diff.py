"""The one comparison that page, plan, drift and read-back share."""

from __future__ import annotations

import pytest

from syncsrv.plan.diff import Change, Difference, compare, deletions, restrict
from syncsrv.plan.tree import ROOT, Entry, Kind, Owner
from tests.plan.trees import areas, directory, file, link

PROXY = areas(proxy=["/etc/nginx"]).area_of


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (None, file(), Difference.ADDED),
        (file(), None, Difference.REMOVED),
        (file("a"), link("a"), Difference.TYPE),
        (file("a"), file("b", mode=0o600), Difference.CHANGED),
        (file("a"), file("a", mode=0o600), Difference.MODE),
        (file("a"), file("a", user=Owner("www-data", 33)), Difference.OWNER),
        (file("a"), Entry(Kind.FILE, 0o644, ROOT, ROOT, file("a").blob, (("user.x", b"1"),)), Difference.XATTR),
    ],
)
def test_the_first_difference_that_holds_is_named(old: Entry | None, new: Entry | None, expected: Difference) -> None:
    (change,) = compare({b"etc/nginx/a": old} if old else {}, {b"etc/nginx/a": new} if new else {}, PROXY)
    assert change.difference is expected


def test_equal_owners_by_name_are_equal_whatever_their_numbers() -> None:
    here, there = file(user=Owner("www-data", 33)), file(user=Owner("www-data", 101))
    assert compare({b"etc/nginx/a": here}, {b"etc/nginx/a": there}, PROXY) == ()
    nameless = file(user=Owner("", 33))
    assert [c.difference for c in compare({b"etc/nginx/a": here}, {b"etc/nginx/a": nameless}, PROXY)] == ["owner"]


def test_what_no_area_has_does_not_count() -> None:
    assert compare({b"etc/passwd": file("a")}, {b"etc/passwd": file("b")}, PROXY) == ()


def test_changes_come_sorted_by_path() -> None:
    new = {b"etc/nginx/z": file(), b"etc/nginx": directory(), b"etc/nginx/a": file()}
    assert [change.path for change in compare({}, new, PROXY)] == [b"etc/nginx", b"etc/nginx/a", b"etc/nginx/z"]


def test_an_emptied_directory_is_no_deletion_of_work() -> None:
    gone = [
        Change(b"etc/nginx/d", "proxy", directory(), None),
        Change(b"etc/nginx/f", "proxy", file(), None),
        Change(b"etc/nginx/l", "proxy", link("x"), None),
    ]
    assert deletions(gone) == 2


def test_restrict_keeps_the_named_areas_only() -> None:
    two = areas(proxy=["/etc/nginx"], dns=["/etc/unbound"])
    tree = {b"etc/nginx/a": file(), b"etc/unbound/b": file(), b"etc/passwd": file()}
    assert restrict(tree, ("dns",), two.area_of) == {b"etc/unbound/b": file()}
