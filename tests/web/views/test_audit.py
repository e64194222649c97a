"""How receipts are arranged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncsrv.control.shapes_page import AuditReply, AuditRequest, ReceiptInfo
from syncsrv.web.views.audit import older, query, rows

ONE = ReceiptInfo("c" * 40, "2026-11-23T03:00:00Z", "fw2", "j1", "sync", "sync/000001", "bob", "cli", "done", "")


@pytest.mark.parametrize(
    "kind, title",
    [
        ("sync", "Synchronize"),
        ("services restart-all", "Services restart-all"),
        ("user-add", "User added or changed"),
        ("a-later-kind", "a-later-kind"),
        ("", "Not told"),
    ],
)
def test_a_kind_has_a_title(kind: str, title: str) -> None:
    assert rows([replace(ONE, kind=kind)])[0].title == title


def test_who_asked_and_through_which_node() -> None:
    (row,) = rows([replace(ONE, requested_by="bob via fw1", result="put back")])
    assert (row.person, row.through, row.word, row.said) == ("bob", "fw1", "rolled_back", "Put back")


def test_paging_keeps_the_filter() -> None:
    asked = AuditRequest(person="bob", kind="user")
    assert older(asked, AuditReply((), more=True, next="c1")) == "person=bob&kind=user&before=c1"
    assert older(asked, AuditReply((ONE,))) == ""
    assert query(asked, person="a b") == "person=a+b&kind=user"
    assert query(AuditRequest()) == ""
