"""Receipts: what was done to this node, by whom and how it went. Signed commits, each the parent of the next.

The record is the message itself, so that one signature covers it and ``git log refs/syncsrv/audit`` shows it; the tree
is empty. Taking one out, or changing one, breaks the chain of ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from syncsrv.errors import SyncsrvError, UsageError
from syncsrv.store import signing, trailers
from syncsrv.store.commits import CommitInfo, Person
from syncsrv.store.repo import Store

AUDIT = "refs/syncsrv/audit"


class BadReceiptError(SyncsrvError):
    """A receipt is not one that this node, or whom it trusts, wrote."""

    code = "bad-receipt"

    def __init__(self, commit: str, why: str) -> None:
        super().__init__(
            f"cannot trust the receipt {commit[:12]}: {why}",
            "somebody wrote to the repository past syncsrv; find out who",
        )
        self.commit = commit


class UnknownReceiptError(UsageError):
    """No record of that id."""

    code = "unknown-receipt"

    def __init__(self, commit: str) -> None:
        super().__init__(f"cannot find receipt {commit[:40]}: this node has none of that id", "begin with the newest")


@dataclass(frozen=True, slots=True)
class Receipt:
    """One record.

    Attributes:
        commit: its id.
        at_utc: when it was written.
        node: which node wrote it.
        subject: in one line.
        body: what was recorded.
        signer: fingerprint of the key that signed it.
    """

    commit: str
    at_utc: datetime
    node: str
    subject: str
    body: Mapping[str, object]
    signer: str


def append_receipt(
    store: Store,
    signer: signing.Signer,
    body: Mapping[str, object],
    subject: str,
    when_utc: datetime,
    node: str,
) -> str:
    """Write a record behind the newest; durable when it returns.

    Args:
        store: where.
        signer: this node's key.
        body: anything that JSON can hold.
        subject: it in one line.
        when_utc: its time.
        node: this node.

    Returns:
        Its id.
    """
    text = json.dumps(body, indent=1, sort_keys=True, ensure_ascii=True)
    message = trailers.compose(subject, text, {trailers.FORMAT_KEY: trailers.FORMAT, trailers.NODE: node})
    author = Person(node, f"syncsrv@{node}")
    with store.writer():
        newest = store.ref(AUDIT)
        tree = store.build_tree(None, {})
        commit = store.commit(tree, [newest] if newest else [], message, author, when_utc, signer)
        store.move_ref(AUDIT, commit, newest)
    return commit


def read_receipts(store: Store, n: int, keys: Mapping[bytes, str] | None = None) -> list[Receipt]:
    """The newest records, newest first.

    Args:
        store: where.
        n: how many at most.
        keys: public key blobs that may have signed them; None: only that they are signed is looked at.

    Raises:
        BadReceiptError: one is not signed well, by none of ``keys``, or is no record.
    """
    newest = store.ref(AUDIT)
    infos: Iterator[CommitInfo] = store.first_parents(newest) if newest else iter(())
    return [_read(store, info, keys) for info in islice(infos, n)]


def walk_receipts(
    store: Store, keys: Mapping[bytes, str] | None = None, before: str | None = None
) -> Iterator[Receipt]:
    """Each record, newest first.

    Args:
        store: where.
        keys: as for ``read_receipts``.
        before: begin behind this record.

    Raises:
        UnknownReceiptError: at the first step, where ``before`` is none of them.
        BadReceiptError: at the first that is not to be trusted; nothing behind it is.
    """
    newest = store.ref(AUDIT)
    infos: Iterator[CommitInfo] = store.first_parents(newest) if newest else iter(())
    if before is not None and not any(info.id == before for info in infos):
        raise UnknownReceiptError(before)
    for info in infos:
        yield _read(store, info, keys)


def find_receipt(store: Store, n: int, key: str, value: str, keys: Mapping[bytes, str] | None = None) -> Receipt | None:
    """The newest record whose body has this text under this key; only that one's signature is looked at.

    Args:
        store: where.
        n: among how many of the newest.
        key: of the body.
        value: what stands there.
        keys: as for ``read_receipts``.

    Raises:
        BadReceiptError: the record is not to be trusted.
    """
    newest = store.ref(AUDIT)
    infos: Iterator[CommitInfo] = store.first_parents(newest) if newest else iter(())
    written = f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=True)}"
    for info in islice(infos, n):
        if written in info.body:
            found = _read(store, info, keys)
            if found.body.get(key) == value:
                return found
    return None


def _read(store: Store, info: CommitInfo, keys: Mapping[bytes, str] | None) -> Receipt:
    try:
        blob = store.signed_by(info.id)
        body = json.loads(info.body)
    except signing.BadSignatureError as error:
        raise BadReceiptError(info.id, error.why) from error
    except ValueError as error:
        raise BadReceiptError(info.id, "its body is no record") from error
    if keys is not None and blob not in keys:
        raise BadReceiptError(info.id, f"it is signed by {signing.fingerprint(blob)}, a key that is not known here")
    if not isinstance(body, dict):
        raise BadReceiptError(info.id, "its body is no record")
    return Receipt(info.id, info.at_utc, info.node, info.subject, body, signing.fingerprint(blob))
