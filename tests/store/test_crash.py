"""What a kill or a full disk leaves: nothing half-written, and nothing lost that was said to be there."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import syncsrv
from syncsrv.store.exchange import Incoming, closure
from syncsrv.store.files import NoSpaceError
from syncsrv.store.history import History
from syncsrv.store.receipts import append_receipt
from syncsrv.store.records import TagRecords
from syncsrv.store.repo import Store
from syncsrv.store.signing import Signer
from tests.store import stock
from tests.store.conftest import WHEN
from tests.store.test_exchange import commit_files

KILLS = 20


def run_and_kill(repository: Path, seed: int) -> list[str]:
    """Let a writer run for a random while, kill it, and say which commits it had acknowledged."""
    root = Path(syncsrv.__file__).parent.parent
    child = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("crash_writer.py"), repository, str(seed)],
        env=stock.ENVIRONMENT | {"PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    first = child.stdout.readline()  # it is at work
    threading.Event().wait(random.Random(seed).uniform(0, 0.12))
    child.kill()
    rest, _ = child.communicate()
    return (first + rest).decode().split("\n")[:-1]


def test_kill_9_at_any_moment_loses_nothing_that_was_acknowledged(store: Store) -> None:
    acknowledged = []
    for seed in range(KILLS):
        acknowledged += run_and_kill(store.path, seed)
        again = Store.open(store.path)
        head = again.head()
        assert head is not None
        assert again.is_ancestor(acknowledged[-1], head)
        left = [path for path in again.path.rglob("*") if path.name.startswith("tmp_") or path.name.endswith(".lock")]
        assert left == []
        if seed % 5 == 4:
            stock.assert_clean(again)
        again.close()
    reader = Store.open(store.path)
    head = reader.head()
    assert head is not None
    on_main = {info.id for info in reader.first_parents(head)}
    assert on_main.issuperset(acknowledged)
    assert len(acknowledged) >= KILLS
    assert reader.read_tree(head)
    reader.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a small tmpfs")
    folder = tmp_path / "disk"
    folder.mkdir()
    stock.run("mount", "-t", "tmpfs", "-o", "size=2m,nr_inodes=2000", "tmpfs", folder)
    try:
        yield folder
    finally:
        stock.run("umount", folder)


def leave(folder: Path, pages: int) -> None:
    """Fill the disk but for so many pages."""
    ballast = folder / "ballast"
    ballast.unlink(missing_ok=True)
    status = os.statvfs(folder)
    ballast.write_bytes(b"\0" * (status.f_bavail - pages) * status.f_bsize)


def snapshot(store: Store) -> tuple[object, ...]:
    head = store.head()
    return store.refs(), store.read_tree(head) if head else None


def fill_up(store: Store, action: Callable[[int], object], *, most: int = 200) -> int:
    """Do it with more and more room until it succeeds; each failure must leave everything as it was."""
    before = snapshot(store)
    failures = 0
    for pages in range(most):
        leave(store.path.parent, pages)
        told = ""
        try:
            action(pages)
        except NoSpaceError as error:
            told = str(error)
        if told:
            failures += 1
            assert re.match("cannot write .* no space left; make room", told)
            assert snapshot(store) == before
            assert not [p for p in store.path.rglob("*") if p.name.startswith("tmp_") or p.name.endswith(".lock")]
            if pages % 4 == 0:
                stock.assert_clean(store)
        else:
            (store.path.parent / "ballast").unlink()
            stock.assert_clean(store)
            return failures
    raise AssertionError("it never succeeded")


def test_a_full_disk_stops_a_commit_at_any_point_and_harms_nothing(small_disk: Path) -> None:
    store = Store.create(small_disk / "config.git")
    head = commit_files(store, {b"etc/a": b"1"})
    failures = fill_up(store, lambda n: commit_files(store, {b"etc/new%d" % n: b"%d" % n * 5000}, head, step=n))
    assert failures > 3
    head = store.head() or ""
    assert fill_up(store, lambda n: commit_files(store, {b"e/%d" % i: os.urandom(2000) for i in range(100)}, head)) > 20
    store.close()


def test_a_full_disk_stops_tags_receipts_and_what_is_on_its_way_in(
    small_disk: Path, store: Store, signer: Signer
) -> None:
    target = Store.create(small_disk / "config.git")
    head = commit_files(store, {b"etc/%d" % n: os.urandom(3000) for n in range(80)})
    stream = b"".join(closure(store, [head], []))

    def receive(_: int) -> None:
        with Incoming(target, small_disk / "quarantine") as incoming:
            incoming.feed(stream)
            incoming.finish([head], ref="refs/heads/main")

    assert fill_up(target, receive) > 20
    assert fill_up(target, lambda n: append_receipt(target, signer, {"n": n}, "x", WHEN, "fw2")) > 1
    records = TagRecords(small_disk / "tags.json")
    leave(small_disk, 0)
    with pytest.raises(NoSpaceError):
        records.record("sync/000001", "1" * 40, "SHA256:x")
    (small_disk / "ballast").unlink()
    assert TagRecords(small_disk / "tags.json").next_name() == "sync/000001"
    target.close()


def test_a_full_disk_stops_the_index_of_the_history_and_it_recovers(small_disk: Path, store: Store) -> None:
    head = commit_files(store, {b"etc/%d" % n: b"%d" % n for n in range(3000)})
    history = History(store, small_disk / "h.sqlite")
    leave(small_disk, 2)
    with pytest.raises(NoSpaceError):
        history.log(None, 5)
    (small_disk / "ballast").unlink()
    assert [one.commit for one in history.log(b"etc/7", 5)] == [head]
    history.close()


def test_no_repository_is_left_where_none_could_be_made(small_disk: Path) -> None:
    for pages in range(20):
        leave(small_disk, pages)
        try:
            Store.create(small_disk / "config.git").close()
        except NoSpaceError:
            assert not (small_disk / "config.git").exists()
        else:
            break
    assert pages > 0
    stock.git(small_disk / "config.git", "fsck", "--strict")
