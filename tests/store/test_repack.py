from __future__ import annotations

import threading
from pathlib import Path

import pytest
from dulwich.pack import apply_delta
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.store import repack as module
from syncsrv.store.files import DamagedObjectError
from syncsrv.store.repack import is_due, make_delta, repack
from syncsrv.store.repo import Store
from syncsrv.store.signing import Signer
from syncsrv.store.tags import make_tag
from tests.store import stock
from tests.store.conftest import WHEN
from tests.store.test_exchange import commit_files


def grown(store: Store, signer: Signer, commits: int = 60) -> str:
    """A history of edits in a text of some length, with a tag and something that nothing refers to."""
    lines = [b"line %d of this file\n" % n for n in range(2000)]
    head = commit_files(store, {b"etc/text": b"".join(lines), **{b"etc/d/%d" % n: b"%d" % n for n in range(150)}})
    for step in range(1, commits):
        lines[step * 31] = b"edited in %d\n" % step
        head = commit_files(store, {b"etc/text": b"".join(lines), b"etc/d/7": b"%d" % step}, head, step=step)
    tag = make_tag(
        store, "sync/000001", head, reason="x", areas=[], node="fw1", requested_by="", signer=signer, when_utc=WHEN
    )
    store.move_ref("refs/tags/sync/000001", tag, None)
    store.put_blob(b"nobody refers to this")
    return head


def files(store: Store) -> list[Path]:
    return [path for path in (store.path / "objects").rglob("*") if path.is_file()]


def size(store: Store) -> int:
    return sum(path.stat().st_size for path in files(store))


def test_all_objects_are_in_one_pack_that_every_reader_reads(store: Store, signer: Signer) -> None:
    head = grown(store, signer)
    ids, before = set(store.objects.ids()), size(store)
    reader = Store.open(store.path)
    tree = reader.read_tree(head)
    assert repack(store) == len(ids)
    assert {path.suffix for path in files(store)} == {".pack", ".idx"}
    assert len(files(store)) == 2
    assert set(store.objects.ids()) == ids
    assert size(store) < before / 4
    stock.assert_clean(store)
    deltas = stock.git(store.path, "verify-pack", "-v", next((store.path / "objects/pack").glob("*.idx")))
    assert b"chain length = 40" in deltas
    assert b"chain length = 41" not in deltas
    for one in (store, reader, Store.open(store.path)):
        assert one.read_tree(head) == tree
        assert {object_id: one.objects.read(object_id)[0] for object_id in ids}
        assert len(list(one.first_parents(head))) == 60
        one.close()


def test_a_second_time_there_is_nothing_to_gain_until_something_is_new(store: Store, signer: Signer) -> None:
    head = grown(store, signer, 10)
    repack(store)
    assert repack(store) == 0
    head = commit_files(store, {b"etc/text": b"other"}, head, step=99)
    assert repack(store) > 0
    assert len(files(store)) == 2
    assert store.read_tree(head)
    stock.assert_clean(store)


def test_packs_of_stock_git_go_too_but_not_those_to_be_kept(store: Store, signer: Signer) -> None:
    head = grown(store, signer, 10)
    stock.git(store.path, "gc", "-q")
    stock.git(store.path, "multi-pack-index", "write")
    head = commit_files(store, {b"x": b"1"}, head, step=99)
    assert repack(store) > 0
    assert len(files(store)) - len(list((store.path / "objects/info").iterdir())) == 2
    kept = next((store.path / "objects/pack").glob("*.pack")).with_suffix(".keep")
    kept.touch()
    head = commit_files(store, {b"x": b"2"}, head, step=100)
    repack(store)
    assert kept.with_suffix(".pack").exists()
    assert store.read_tree(head)
    stock.assert_clean(store)


def test_it_can_be_stopped_and_leaves_nothing(store: Store, signer: Signer) -> None:
    grown(store, signer, 5)
    before = sorted(files(store))
    asked = iter(range(100))
    assert repack(store, lambda: next(asked) > 20) == 0
    assert sorted(files(store)) == before


def test_a_damaged_object_stops_it_and_nothing_goes(store: Store, signer: Signer) -> None:
    head = grown(store, signer, 5)
    damaged = store.path / "objects" / head[:2] / head[2:]
    damaged.chmod(0o600)
    damaged.write_bytes(b"torn")
    before = sorted(files(store))
    with pytest.raises(DamagedObjectError, match=head):
        repack(Store.open(store.path))
    assert sorted(files(store)) == before


def test_what_does_not_read_back_is_not_trusted(store: Store, signer: Signer, tmp_path: Path) -> None:
    grown(store, signer, 5)
    other = Store.create(tmp_path / "other.git")
    commit_files(other, {b"etc/%d" % n: b"%d" % n for n in range(100)})
    pack = next((other.path / "objects/pack").glob("*.pack"))
    with pytest.raises(DamagedObjectError, match="was not packed"):
        module._read_back(pack, set(store.objects.ids()))
    assert not list((other.path / "objects/pack").iterdir())
    other.close()


def test_commits_go_on_meanwhile(store: Store, signer: Signer) -> None:
    head = grown(store, signer, 30)
    ended = threading.Event()
    heads = [head]

    def commit() -> None:
        while not ended.is_set() or len(heads) < 3:
            heads.append(commit_files(store, {b"etc/busy": b"%d" % len(heads)}, heads[-1], step=len(heads)))

    thread = threading.Thread(target=commit)
    thread.start()
    repack(store)
    ended.set()
    thread.join(60)
    assert store.head() == heads[-1]
    stock.assert_clean(store)


def test_it_is_due_when_much_is_loose(store: Store) -> None:
    assert not is_due(store)
    folder = store.path / "objects" / "aa"
    folder.mkdir()
    for n in range(module.LOOSE_DUE + 1):
        (folder / f"{n:038x}").touch()
    assert is_due(store)


texts = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda a, n, b: a + b"x" * n + b, st.binary(max_size=5), st.integers(0, 200_000), st.binary(max_size=5)),
)


@given(texts, texts)
def test_a_delta_makes_the_one_of_the_other(base: bytes, data: bytes) -> None:
    assert b"".join(apply_delta(base, make_delta(base, data))) == data


@given(st.binary(max_size=200), st.binary(max_size=20), st.binary(max_size=20), st.binary(max_size=200))
def test_an_edit_in_one_place_is_small(start: bytes, old: bytes, new: bytes, end: bytes) -> None:
    delta = make_delta(start + old + end, start + new + end)
    assert len(delta) <= len(new) + 30
