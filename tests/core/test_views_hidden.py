"""What is not everybody's has no name in any question about the history: receipts, jobs, quarantine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syncsrv.control.shapes import RollbackRequest, SyncRequest
from syncsrv.control.shapes_history import DiffRequest, LogRequest, ShowRequest
from syncsrv.control.shapes_page import FileRequest, PreviewRequest
from syncsrv.core.mains import peer_main
from syncsrv.plan.tree import Entry, Kind
from syncsrv.store.repo import Person
from syncsrv.store.revisions import AmbiguousRevisionError, UnknownRevisionError
from tests.core.corekit import Pair, pair_of

WHEN = datetime(2026, 11, 23, tzinfo=UTC)
SECRET = "/etc/app/secret"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with pair_of(tmp_path) as pair:
        pair.sync()
        yield pair


def hide(pair: Pair, ref: str, number: int = 0) -> str:
    """A commit that only ``ref`` names."""
    store = pair.fw1.core.store
    with store.writer():
        blob = store.put_blob(b"not for everybody")
        tree = store.build_tree(None, {SECRET.strip("/").encode(): Entry(Kind.FILE, 0o600, blob=blob)})
        commit = store.commit(tree, [], f"hidden {number}\n", Person("x", "x@y"), WHEN)
        if ref:
            store.move_ref(ref, commit, store.ref(ref))
    return commit


def questions(rev: str) -> list[tuple[str, object]]:
    return [
        ("show", ShowRequest(rev)),
        ("show", ShowRequest(f"{rev}~0")),
        ("diff", DiffRequest((rev,))),
        ("diff", DiffRequest((rev, "main"))),
        ("diff", DiffRequest(("main", rev))),
        ("diff", DiffRequest(target=rev)),
        ("file", FileRequest(rev, SECRET)),
        ("log", LogRequest(before=rev)),
        ("preview", PreviewRequest("sync", rev=rev)),
        ("sync", SyncRequest(rev=rev)),
        ("preview", PreviewRequest("rollback", rev=rev)),
        ("rollback", RollbackRequest(rev)),
    ]


@pytest.mark.parametrize(
    "ref",
    ["refs/syncsrv/audit", "refs/syncsrv/quarantine/q1", "refs/syncsrv/job/j1", "refs/syncsrv/unsynced/fw2/x", ""],
)
def test_it_is_found_by_no_name_and_no_id(pair: Pair, ref: str) -> None:
    commit = hide(pair, ref)
    names = [commit, commit[:12], commit[:4].upper(), commit.upper()]
    names += [ref, ref.removeprefix("refs/"), f"../{ref}", f"refs/heads/../../{ref}"] if ref else []
    for name in names:
        for verb, request in questions(name):
            with pytest.raises((UnknownRevisionError, AmbiguousRevisionError)) as told:
                pair.fw1.ask(verb, request)
            assert commit[:12] not in str(told.value).replace(name, "")


def test_the_audit_that_syncs_made_is_hidden_too(pair: Pair) -> None:
    audit = pair.fw2.core.store.ref("refs/syncsrv/audit")
    assert audit is not None
    for name in (audit, "refs/syncsrv/audit", "syncsrv/audit"):
        with pytest.raises(UnknownRevisionError):
            pair.fw2.ask("show", ShowRequest(name))


def test_what_shares_a_beginning_with_a_hidden_one_is_found_all_the_same(pair: Pair) -> None:
    store = pair.fw1.core.store
    head = pair.fw1.core.recorder.head() or ""
    objects = store.objects
    hidden = [hide(pair, "", number) for number in range(3)]
    both = {head, *hidden}
    matching = objects.matching
    seen = []

    def all_alike(prefix: str) -> set[str]:
        """As if all of them began so, which takes too many tries to make."""
        seen.append(prefix)
        return both if head.startswith(prefix) else matching(prefix)

    objects.matching = all_alike  # type: ignore[method-assign]  # the one place where chance decides
    assert store.resolve_shown(head[:4]) == head
    with pytest.raises(AmbiguousRevisionError):
        store.resolve(head[:4])
    assert seen == [head[:4]] * 2


def test_what_a_peer_has_is_shown_once_it_was_fetched(pair: Pair) -> None:
    pair.fw2.put("/etc/app/own", "made on the backup")
    commit = pair.fw2.core.record(via="watch").commit or ""
    with pytest.raises(UnknownRevisionError):
        pair.fw1.ask("show", ShowRequest(commit))
    peer_main(pair.fw1.core, "fw2")
    for name in (commit, commit[:10], "fw2/main", f"{commit}~1"):
        pair.fw1.ask("show", ShowRequest(name))
    pair.fw1.ask("show", ShowRequest("sync/000001"))
