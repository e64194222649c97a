"""Receipts as the audit page shows them: a title, a result word, and where to read on. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

from syncsrv.control.shapes_page import AuditReply, AuditRequest, ReceiptInfo

KINDS = {
    "sync": "Synchronize",
    "rollback": "Roll back",
    "services": "Services",
    "vip": "Failover",
    "user": "Users",
    "own-password": "Own password",
    "schedule-set": "Schedules",
}
"""What the filter offers, by the word that receipts begin with."""

_TITLES = {
    "user-add": "User added or changed",
    "user-remove": "User removed",
    "user-passwd": "Password of a user",
    "user-token": "Token made",
    "user-revoke": "Tokens revoked",
    "own-password": "Own password",
    "schedule-set": "Schedule switched",
}
_WORDS = {"put back": "rolled_back"}
"""Results whose word in a receipt is not the one of a job."""


@dataclass(frozen=True, slots=True)
class Row:
    """One receipt.

    Attributes:
        receipt: itself.
        title: what was asked for.
        word: the result, as icons know it.
        said: the same for people.
        person: who asked.
        through: the node that the request came through; empty where it was made here.
    """

    receipt: ReceiptInfo
    title: str
    word: str
    said: str
    person: str
    through: str


def rows(receipts: Iterable[ReceiptInfo]) -> list[Row]:
    """The receipts, in their order."""
    return [_row(one) for one in receipts]


def _row(one: ReceiptInfo) -> Row:
    first = one.kind.partition(" ")[0]
    title = _TITLES.get(one.kind) or (KINDS[first] + one.kind[len(first) :] if first in KINDS else one.kind)
    person, _, through = one.requested_by.partition(" via ")
    return Row(
        receipt=one,
        title=title or "Not told",
        word=_WORDS.get(one.result, one.result),
        said=one.result.capitalize() or "Not told",
        person=person,
        through=through,
    )


def older(asked: AuditRequest, reply: AuditReply) -> str:
    """The query of the next page; empty where there is none."""
    return query(asked, before=reply.next) if reply.more and reply.next else ""


def query(asked: AuditRequest, **more: str) -> str:
    """The query that asks for the same, with these changes; without what is empty."""
    wanted = {"person": asked.person or "", "kind": asked.kind or "", "job": asked.job or "", **more}
    return urlencode({key: value for key, value in wanted.items() if value})
