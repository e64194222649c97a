from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from syncsrv.plan.tree import Entry, Kind
from syncsrv.store.commits import Person
from syncsrv.store.files import DamagedObjectError, MissingObjectError
from syncsrv.store.gitformat import MalformedObjectError
from syncsrv.store.lock import StoreBusyError, WriterLock
from syncsrv.store.objects import LOOSE_AT_MOST
from syncsrv.store.repo import MAIN, NoRepositoryError, Store
from syncsrv.store.revisions import AmbiguousRevisionError, UnknownRevisionError
from syncsrv.store.signing import BadSignatureError, Signer
from tests.store import stock
from tests.store.conftest import WHEN
from tests.store.test_exchange import commit_files

ALICE = Person("Alice Ä.", "alice@fw1")


def modes(top: Path) -> set[int]:
    return {path.stat().st_mode & 0o077 for path in [top, *top.rglob("*")]}


def test_a_new_repository_is_for_its_owner_and_stock_git_knows_it(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        store = Store.create(tmp_path / "state" / "config.git")
        commit_files(store, {b"etc/%d" % n: b"%d" % n for n in range(100)})
    finally:
        os.umask(mask)
    assert modes(store.path) == {0}
    stock.assert_clean(store)
    assert stock.git(store.path, "rev-parse", "--is-bare-repository").strip() == b"true"
    assert stock.git(store.path, "symbolic-ref", "HEAD").strip() == MAIN.encode()
    hidden = stock.git(store.path, "config", "--get-all", "transfer.hideRefs")
    assert hidden.strip() == b"refs/syncsrv"
    store.close()


def test_create_and_open_say_what_is_in_the_way(tmp_path: Path) -> None:
    Store.create(tmp_path / "a").close()
    with pytest.raises(NoRepositoryError, match="there already"):
        Store.create(tmp_path / "a")
    with pytest.raises(NoRepositoryError, match="does not exist"):
        Store.open(tmp_path / "b")
    (tmp_path / "a/HEAD").unlink()
    with pytest.raises(NoRepositoryError, match="HEAD is missing") as caught:
        Store.open(tmp_path / "a")
    assert caught.value.remedy


def test_a_commit_reads_back_and_stock_git_shows_the_same(store: Store) -> None:
    tree = store.build_tree(None, {b"etc/a": Entry(Kind.FILE, 0o644, blob=store.put_blob(b"1\n"))})
    message = "etc: a added\n\nBecause.\n\nFormat: 1\nVia: cli\nNode: fw1\nAreas: proxy, dns\n"
    there = timezone(timedelta(hours=5, minutes=30))
    first = store.commit(tree, [], message, ALICE, WHEN.astimezone(there), committer=Person("fw1", "syncsrv@fw1"))
    second = store.commit(tree, [first], "x", ALICE, WHEN)
    store.move_ref(MAIN, second, None)
    info = store.read_commit(first)
    assert (info.id, info.tree, info.parents, info.at_utc) == (first, tree, (), WHEN)
    assert (info.author, info.email, info.subject, info.body) == ("Alice Ä", "alice@fw1", "etc: a added", "Because.")
    assert (info.via, info.node, info.areas) == ("cli", "fw1", ("proxy", "dns"))
    shown = stock.git(store.path, "log", "--format=%H|%an|%ae|%cn|%cI|%s|%P", "main").decode().splitlines()
    assert shown[1] == f"{first}|Alice Ä|alice@fw1|fw1|2026-11-23T02:13:04+00:00|etc: a added|"
    assert [one.id for one in store.first_parents(second)] == [second, first]
    stock.assert_clean(store)


@pytest.mark.parametrize("name", ["", "<>", "a\nb", "x <y> z", "...", "\0"])
def test_any_name_makes_a_commit_that_git_accepts(store: Store, name: str) -> None:
    tree = store.build_tree(None, {})
    commit = store.commit(tree, [], f"{name}\n", Person(name, name), datetime(1960, 1, 1, tzinfo=UTC))
    store.move_ref(MAIN, commit, None)
    assert store.read_commit(commit).tree == tree
    stock.assert_clean(store)


def test_a_signed_commit_is_accepted_by_stock_git_and_one_of_stock_git_by_us(
    store: Store, signer: Signer, tmp_path: Path
) -> None:
    tree = store.build_tree(None, {})
    ours = store.commit(tree, [], "ours\n", ALICE, WHEN, signer)
    store.move_ref(MAIN, ours, None)
    stock.git(store.path, "-c", stock.allow(tmp_path, [signer]), "verify-commit", ours)
    sign = ("-c", "gpg.format=ssh", "-c", f"user.signingkey={tmp_path / 'key'}")
    theirs = stock.git(store.path, *sign, "commit-tree", "-S", "-p", ours, "-m", "theirs", tree).decode().strip()
    assert store.signed_by(ours) == store.signed_by(theirs) == signer.public_blob
    with store.writer():
        forged = store.objects.put("commit", store.read(ours, "commit").replace(b"ours", b"yours"))
    with pytest.raises(BadSignatureError):
        store.signed_by(forged)
    stock.assert_clean(store)


def test_stock_git_clones_it_and_what_it_pushes_is_read(store: Store, tmp_path: Path) -> None:
    first = commit_files(store, {b"etc/run.sh": b"#!/bin/sh\n", b"etc/conf": b"1\n"})
    stock.git(tmp_path, "clone", "-q", store.path, "clone")
    clone = tmp_path / "clone"
    assert (clone / "etc/conf").read_bytes() == b"1\n"
    (clone / "etc/run.sh").chmod(0o755)
    (clone / "etc/new").symlink_to("conf")
    stock.git(clone, "add", "-A")
    stock.git(clone, "commit", "-qm", "by hand")
    stock.git(clone, "push", "-q")
    head = store.head()
    assert head is not None
    tree = store.read_tree(head)
    assert tree[b"etc/run.sh"].mode == 0o755
    assert (tree[b"etc/new"].kind, store.blob(tree[b"etc/new"].blob)) == (Kind.LINK, b"conf")
    assert store.is_ancestor(first, head)
    assert not store.is_ancestor(head, first)


def test_what_stock_git_packed_and_repacked_is_found(store: Store) -> None:
    head = commit_files(store, {b"etc/%d" % n: b"%d\n" % n for n in range(200)})
    for step in range(1, 4):
        head = commit_files(store, {b"etc/%d" % step: b"new\n"}, head, step=step)
    reader = Store.open(store.path)
    before = reader.read_tree(head)
    stock.git(store.path, "gc", "-q", "--prune=now")
    after = Store.open(store.path)
    for one in (reader, after):
        assert one.read_tree(head) == before
        assert one.head() == head
        assert next(one.first_parents(head)).id == head
    stock.git(store.path, "repack", "-adqf")
    assert reader.blob(before[b"etc/7"].blob) == b"7\n"
    commit_files(store, {b"etc/x": b"x"}, head, step=9)
    stock.assert_clean(store)
    reader.close()
    after.close()


def test_objects_are_read_as_what_they_are(store: Store) -> None:
    head = commit_files(store, {b"a": b"1"})
    assert [store.kind(i) for i in (head, store.tree_of(head))] == ["commit", "tree"]
    with pytest.raises(MalformedObjectError, match="commit where a blob belongs"):
        store.blob(head)
    with pytest.raises(MalformedObjectError, match="tree where a commit belongs"):
        store.read_commit(store.tree_of(head))
    with pytest.raises(MalformedObjectError):
        store.peel(store.tree_of(head))
    with pytest.raises(MissingObjectError) as caught:
        store.blob("1" * 40)
    assert caught.value.object_id == "1" * 40
    assert store.blob_size(store.read_tree(head)[b"a"].blob) == 1


# revisions


def test_what_people_type_is_resolved_as_git_does(store: Store) -> None:
    base = commit_files(store, {b"a": b"1"})
    side = commit_files(store, {b"b": b"1"}, base, ref="refs/heads/side", step=1)
    main = commit_files(store, {b"c": b"1"}, base, step=2)
    head = commit_files(store, {b"b": b"1"}, main, side, step=3)
    stock.git(store.path, "tag", "-a", "-m", "x", "sync/000003", side)
    for text in (
        "main", "HEAD", "@", "refs/heads/main", "heads/main", "sync/000003", "tags/sync/000003", "HEAD~2", "main^",
        "main^2", "main^2~1", "main~0", "main^^", "HEAD~1^1", "main^0", head, head[:12], side[:8], head.upper()[:10],
    ):  # fmt: skip
        wanted = stock.git(store.path, "rev-parse", text + "^{commit}")
        assert store.resolve(text) == wanted.decode().strip(), text


@pytest.mark.parametrize(
    "text, why",
    [
        ("nope", "none of that name"),
        ("", "none of that name"),
        ("..", "none of that name"),
        ("refs/heads/../../HEAD", "none of that name"),
        ("main~9", "0 parents"),
        ("main^2", "0 parents"),
        ("main~x", "none of that name"),
        ("sync/000009", "none of that name"),
        ("12345678", "no commit's id"),
        ("abc", "none of that name"),
        ("\0", "none of that name"),
        ("x" * 3000, "none of that name"),
        ("é" * 150, "none of that name"),
    ],
)
def test_what_means_nothing_is_a_sentence(store: Store, text: str, why: str) -> None:
    commit_files(store, {b"a": b"1"})
    with pytest.raises(UnknownRevisionError, match=why) as caught:
        store.resolve(text)
    assert caught.value.exit_status == 2


def test_an_id_of_something_else_and_an_empty_repository_are_sentences(store: Store) -> None:
    with pytest.raises(UnknownRevisionError, match="nothing was committed yet"):
        store.resolve("HEAD")
    head = commit_files(store, {b"a": b"1"})
    with pytest.raises(UnknownRevisionError, match="but no commit"):
        store.resolve(store.tree_of(head)[:10])


def test_the_beginning_of_two_ids_names_both(store: Store) -> None:
    tree = store.build_tree(None, {})
    found: dict[str, str] = {}
    with store.writer():
        for n in range(2000):
            commit = store.commit(tree, [], f"{n}\n", ALICE, WHEN)
            if commit[:4] in found:
                break
            found[commit[:4]] = commit
    with pytest.raises(AmbiguousRevisionError) as caught:
        store.resolve(commit[:4])
    assert set(caught.value.candidates) == {commit, found[commit[:4]]}


# writing together


def loose_and_packs(store: Store) -> tuple[int, int]:
    objects = store.path / "objects"
    return len(list(objects.glob("??/*"))), len(list((objects / "pack").glob("*.pack")))


@pytest.mark.parametrize(
    "count, wanted", [(LOOSE_AT_MOST, (LOOSE_AT_MOST, 0)), (LOOSE_AT_MOST + 1, (0, 1)), (3000, (0, 1))]
)
def test_few_objects_become_files_and_many_one_pack(store: Store, count: int, wanted: tuple[int, int]) -> None:
    with store.writer():
        ids = [store.put_blob(b"%d" % n) for n in range(count)]
        assert loose_and_packs(store) == (0, 0)
        assert [store.blob(i) for i in ids] == [b"%d" % n for n in range(count)]
        assert all(store.has(i) and store.kind(i) == "blob" for i in ids)
        assert store.put_blob(b"7") == ids[7]
    assert loose_and_packs(store) == wanted
    assert [store.blob(i) for i in ids] == [b"%d" % n for n in range(count)]
    with store.writer():
        assert [store.put_blob(b"%d" % n) for n in range(count)] == ids
    assert loose_and_packs(store) == wanted
    stock.assert_clean(store)


def test_a_large_file_does_not_stay_in_memory(store: Store) -> None:
    with store.writer():
        large = store.put_blob(os.urandom(5_000_000))
        small = store.put_blob(b"small")
        assert list((store.path / "objects/pack").glob("tmp_pack_*"))
        assert (store.blob_size(large), store.blob(small)) == (5_000_000, b"small")
    assert loose_and_packs(store) == (0, 1)


def test_a_batch_has_been_written_when_it_ends_though_the_writer_goes_on(store: Store) -> None:
    with store.writer():
        with store.batch():
            blob = store.put_blob(b"x")
            assert loose_and_packs(store) == (0, 0)
        assert stock.git(store.path, "cat-file", "blob", blob) == b"x"
        store.put_blob(b"y")
        assert loose_and_packs(store) == (1, 0)
    assert loose_and_packs(store) == (2, 0)


@pytest.mark.parametrize("count", [1, 100])
def test_what_was_put_is_kept_when_the_writer_fails_later(store: Store, count: int) -> None:
    def fail() -> None:
        with store.writer():
            for n in range(count):
                store.put_blob(b"%d" % n)
            raise ValueError("later")

    with pytest.raises(ValueError, match="later"):
        fail()
    assert {store.blob(i) for i in store.objects.ids()} == {b"%d" % n for n in range(count)}
    with store.writer():
        pass


# many at once


def test_one_thread_writes_and_many_read(store: Store) -> None:
    heads = [commit_files(store, {b"etc/%d" % n: b"0" for n in range(LOOSE_AT_MOST + 10)})]
    problems: list[BaseException] = []
    ended = threading.Event()

    def read() -> None:
        try:
            while not ended.is_set():
                head = store.head()
                assert head is not None
                tree = store.read_tree(head)
                assert {store.blob(entry.blob)[:1].isdigit() for entry in tree.values() if entry.blob} == {True}
        except BaseException as error:
            problems.append(error)
            raise

    def write(which: int) -> None:
        try:
            for n in range(10):
                with store.writer():
                    head = store.head()
                    assert head is not None
                    heads.append(commit_files(store, {b"etc/%d" % which: b"%d" % n}, head, step=len(heads)))
        except BaseException as error:
            problems.append(error)
            raise

    readers = [threading.Thread(target=read) for _ in range(3)]
    writers = [threading.Thread(target=write, args=(which,)) for which in range(3)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join(60)
    ended.set()
    for thread in readers:
        thread.join(60)
    assert problems == []
    head = store.head()
    assert head is not None
    assert len(list(store.first_parents(head))) == 31
    stock.assert_clean(store)


def test_a_second_writer_waits_and_then_is_told_who_to_look_for(tmp_path: Path) -> None:
    mine, other = WriterLock(tmp_path), WriterLock(tmp_path, patience_s=0.1)
    with mine.taken(), mine.taken(), pytest.raises(StoreBusyError, match=r"0\.1 s"), other.taken():
        pass
    with other.taken(wait=False):
        pass


def test_a_second_thread_of_one_lock_waits_too(tmp_path: Path) -> None:
    lock = WriterLock(tmp_path, patience_s=0.1)
    told: list[str] = []

    def take() -> None:
        try:
            with lock.taken():
                pass
        except StoreBusyError as error:
            told.append(error.code)

    with lock.taken():
        thread = threading.Thread(target=take)
        thread.start()
        thread.join(10)
    assert told == ["busy"]
    with lock.taken():
        pass


# what a crash or a fault left


def test_stale_locks_and_temporary_files_are_swept_at_open_but_not_below_a_writer(store: Store) -> None:
    head = commit_files(store, {b"a": b"1"})
    left = [
        store.path / "refs/heads/main.lock",
        store.path / "packed-refs.lock",
        store.path / "objects/tmp_obj_1_1",
        store.path / "objects" / head[:2] / (head[2:] + ".lock"),
        store.path / "objects/pack/tmp_pack_1_2",
        store.path / "objects/pack/tmp_idx_1_3",
        store.path / "objects/tmp_objdir-incoming-x/aa/bb",
    ]
    for path in left:
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(b"torn")
    with store.writer():
        Store.open(store.path).close()
        assert all(path.exists() for path in left)
    Store.open(store.path).close()
    assert not any(path.exists() for path in left)
    assert not (store.path / "objects/tmp_objdir-incoming-x").exists()
    commit_files(store, {b"a": b"2"}, head, step=1)
    stock.assert_clean(store)


def loose(store: Store, object_id: str) -> Path:
    return store.path / "objects" / object_id[:2] / object_id[2:]


@pytest.mark.parametrize("torn", [b"", b"x", b"\x78\x01", b"\0" * 100])
def test_a_torn_object_is_named_when_read_and_mended_when_written(store: Store, torn: bytes) -> None:
    blob = store.put_blob(b"content\n")
    loose(store, blob).chmod(0o600)
    loose(store, blob).write_bytes(torn)
    with pytest.raises(DamagedObjectError, match=blob) as caught:
        store.blob(blob)
    assert "git fsck" in caught.value.remedy
    assert store.put_blob(b"content\n") == blob
    assert store.blob(blob) == b"content\n"
    stock.assert_clean(store)


def test_an_object_with_another_s_content_is_told(store: Store) -> None:
    one, two = store.put_blob(b"one"), store.put_blob(b"two")
    loose(store, one).chmod(0o600)
    loose(store, one).write_bytes(loose(store, two).read_bytes())
    with pytest.raises(DamagedObjectError, match="not what its id says"):
        store.blob(one)
    assert store.put_blob(b"one") == one
    assert store.blob(one) == b"one"


def test_a_damaged_pack_is_named_and_its_objects_can_be_written_anew(store: Store) -> None:
    head = commit_files(store, {b"etc/%d" % n: b"content %d\n" % n for n in range(100)})
    blobs = [entry.blob for entry in store.read_tree(head).values() if entry.blob]
    (pack,) = (store.path / "objects/pack").glob("*.pack")
    data = bytearray(pack.read_bytes())
    for at in range(12, len(data) - 20, 5):
        data[at] ^= 0x55
    pack.chmod(0o600)
    pack.write_bytes(data)
    again = Store.open(store.path)
    for blob in blobs:
        with pytest.raises(DamagedObjectError, match=blob):
            again.blob(blob)
    for n in range(100):
        again.put_blob(b"content %d\n" % n)
    assert {again.blob(blob)[:8] for blob in blobs} == {b"content "}
    again.close()


@pytest.mark.parametrize("content", [b"", b"garbage" * 200, b"\xfftOc\0\0\0\2" + b"\xff" * 2000])
def test_a_damaged_index_of_a_pack_hides_no_other_object(store: Store, content: bytes) -> None:
    head = commit_files(store, {b"etc/%d" % n: b"content %d\n" % n for n in range(100)})
    (index,) = (store.path / "objects/pack").glob("*.idx")
    later = store.put_blob(b"later")
    index.chmod(0o600)
    index.write_bytes(content)
    again = Store.open(store.path)
    assert again.blob(later) == b"later"
    with pytest.raises((MissingObjectError, DamagedObjectError)):
        again.read_tree(head)
    with pytest.raises(UnknownRevisionError):
        again.resolve("deadbeef")
    again.close()
