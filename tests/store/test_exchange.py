from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsrv.plan.tree import Entry, Kind
from syncsrv.store import gitformat
from syncsrv.store.commits import Person
from syncsrv.store.exchange import HostileObjectsError, Incoming, IncompleteError, Limits, closure, tips
from syncsrv.store.gitformat import DIRECTORY, FILE, LINK, Child
from syncsrv.store.packs import entry_head
from syncsrv.store.refs import StaleRefError
from syncsrv.store.repo import Store
from syncsrv.store.signing import Signer
from syncsrv.store.tags import make_tag, verify_tag
from tests.store import stock
from tests.store.conftest import WHEN

QUARANTINE = "refs/syncsrv/quarantine/j1"
NODE = Person("fw1", "syncsrv@fw1")


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Store]:
    made = Store.create(tmp_path / "other.git")
    yield made
    made.close()


def commit_files(
    store: Store, files: Mapping[bytes, bytes | None], *parents: str, ref: str | None = "refs/heads/main", step: int = 0
) -> str:
    """A commit on the first parent with these contents; the ref moves."""
    with store.writer():
        changes = {
            path: None if content is None else Entry(Kind.FILE, 0o644, blob=store.put_blob(content))
            for path, content in files.items()
        }
        tree = store.build_tree(parents[0] if parents else None, changes)
        commit = store.commit(tree, parents, f"step {step}\n", NODE, WHEN + timedelta(seconds=step))
        if ref:
            store.move_ref(ref, commit, store.ref(ref))
        return commit


def send(source: Store, target: Store, wants: list[str], *, ref: str | None = QUARANTINE, piece: int = 1 << 16) -> int:
    stream = b"".join(closure(source, wants, tips(target)))
    with Incoming(target, target.path.parent / "quarantine") as incoming:
        for at in range(0, len(stream), piece):
            incoming.feed(stream[at : at + piece])
        return incoming.finish(wants, ref=ref, old=target.ref(ref) if ref else None)


def test_a_tag_arrives_whole_and_stock_git_finds_nothing_wrong(
    store: Store, other: Store, signer: Signer, tmp_path: Path
) -> None:
    first = commit_files(store, {b"etc/nginx/a.conf": b"one\n", b"etc/b": b"b\n"})
    second = commit_files(store, {b"etc/nginx/a.conf": b"two\n"}, first, step=1)
    tag = make_tag(
        store, "sync/000001", second, reason="Why", areas=["proxy"], node="fw1", requested_by="alice", signer=signer,
        when_utc=WHEN,
    )  # fmt: skip
    assert send(store, other, [tag]) == len(list(store.objects.ids()))
    assert other.ref(QUARANTINE) == tag
    assert other.read_tree(tag) == store.read_tree(second)
    assert verify_tag(other, tag, "sync/000001", {signer.public_blob: "fw1"})[0].commit == second
    stock.assert_clean(other)
    assert stock.git(other.path, "rev-list", "--count", second).strip() == b"2"
    assert list((tmp_path / "quarantine").iterdir()) == []


def test_the_second_time_only_what_is_new_travels(store: Store, other: Store) -> None:
    first = commit_files(store, {b"etc/%03d/f" % n: b"%d\n" % n for n in range(100)})
    send(store, other, [first], ref="refs/remotes/fw1/main")
    second = commit_files(store, {b"etc/007/f": b"new\n"}, first, step=1)
    stream = b"".join(closure(store, [second], tips(other)))
    assert int.from_bytes(stream[8:12], "big") == 5  # commit, three trees, one blob
    assert send(store, other, [second]) == 5
    assert send(store, other, [second]) == 0
    assert other.read_tree(second) == store.read_tree(second)
    stock.assert_clean(other)


def test_one_byte_at_a_time_is_as_good(store: Store, other: Store) -> None:
    commit = commit_files(store, {b"a": b"x" * 100_000, b"b": b"", b"c": bytes(range(256)) * 40})
    assert send(store, other, [commit], piece=1) == 5
    assert other.read_tree(commit) == store.read_tree(commit)


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1, 2 << 20, 5 << 20])
def test_a_large_file_that_packs_well_travels_with_what_follows_it(store: Store, other: Store, size: int) -> None:
    commit = commit_files(store, {b"etc/zeros": b"y" * size, b"etc/after": bytes(range(256)) * 64})
    assert send(store, other, [commit]) == 5
    stock.assert_clean(other)


def test_many_objects_become_one_pack_and_few_become_files(store: Store, other: Store) -> None:
    many = commit_files(store, {b"etc/%04d" % n: b"%d\n" % n for n in range(300)})
    send(store, other, [many])
    assert len(list((other.path / "objects/pack").glob("*.pack"))) == 1
    assert not list((other.path / "objects").glob("??"))
    few = commit_files(store, {b"etc/0001": b"new\n"}, many, step=1)
    send(store, other, [few])
    assert len(list((other.path / "objects/pack").glob("*.pack"))) == 1
    assert other.read_tree(few) == store.read_tree(few)
    stock.assert_clean(other)


def test_objects_of_stock_git_s_delta_packs_travel_too(store: Store, other: Store) -> None:
    head = commit_files(store, {b"etc/big": b"".join(b"line %d\n" % n for n in range(2000))})
    for step in range(1, 5):
        head = commit_files(store, {b"etc/big": store_lines(step)}, head, step=step)
    stock.git(store.path, "repack", "-adq")
    stock.git(store.path, "pack-refs", "--all")
    assert send(store, other, [head]) == 20
    assert other.read_tree(head) == store.read_tree(head)
    stock.assert_clean(other)


def store_lines(step: int) -> bytes:
    return b"".join(b"line %d\n" % (n if n % 500 else step) for n in range(2000))


def test_unknown_haves_are_passed_over_and_a_merge_is_followed(store: Store, other: Store) -> None:
    base = commit_files(store, {b"a": b"1"})
    side = commit_files(store, {b"b": b"2"}, base, ref="refs/heads/side", step=1)
    main = commit_files(store, {b"c": b"3"}, base, step=2)
    merge = commit_files(store, {b"b": b"2"}, main, side, step=3)
    stream = b"".join(closure(store, [merge], ["1" * 40, store.tree_of(base)]))
    assert int.from_bytes(stream[8:12], "big") == 11
    send(store, other, [merge])
    assert other.is_ancestor(side, merge)
    stock.assert_clean(other)


@settings(max_examples=25)  # each starts git four times
@given(st.data())
def test_any_history_arrives_whole_whatever_the_clocks_said(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("any")
    source, target = Store.create(folder / "source.git"), Store.create(folder / "target.git")
    made: list[str] = []
    for _ in range(data.draw(st.integers(1, 8))):
        parents = data.draw(st.lists(st.sampled_from(made), unique=True, max_size=2)) if made else []
        files = data.draw(st.dictionaries(st.sampled_from([b"a", b"d/b", b"d/e/c"]), st.binary(max_size=1), max_size=2))
        step = data.draw(st.integers(-5, 5))
        made.append(commit_files(source, files, *parents, ref=None, step=step))
    for round_ in range(2):
        wanted = data.draw(st.sampled_from(made))
        send(source, target, [wanted], ref=f"refs/heads/r{round_}")
        missing = stock.git(target.path, "rev-list", "--objects", "--missing=print", wanted)
        assert b"?" not in missing
        assert target.read_tree(wanted) == source.read_tree(wanted)
    source.close()
    target.close()


# Hostile senders. A sender is a list of objects; what it says of them may be wrong.


Objects = list[tuple[str, bytes]]


def pack(objects: Iterable[tuple[str, bytes]], count: int | None = None) -> bytes:
    objects = list(objects)
    body = b"PACK" + struct.pack(">II", 2, len(objects) if count is None else count)
    body += b"".join(entry_head(kind, len(data)) + zlib.compress(data) for kind, data in objects)
    return body + hashlib.sha1(body).digest()


def receive(target: Store, stream: bytes, wants: list[str], limits: Limits | None = None) -> int:
    with Incoming(target, target.path.parent / "quarantine", limits) as incoming:
        incoming.feed(stream)
        return incoming.finish(wants, ref=QUARANTINE)


def commit_of(tree: str, *parents: str, extra: bytes = b"") -> bytes:
    head = b"tree %s\n" % tree.encode() + b"".join(b"parent %s\n" % parent.encode() for parent in parents)
    return head + b"author a <a> 1 +0000\ncommitter a <a> 1 +0000\n" + extra + b"\nwords\n"


def around(tree: bytes, *more: tuple[str, bytes]) -> tuple[Objects, str]:
    """A commit of a tree, with a blob that trees may name."""
    commit = commit_of(gitformat.object_id("tree", tree))
    return [("blob", b"x"), *more, ("tree", tree), ("commit", commit)], gitformat.object_id("commit", commit)


BLOB = gitformat.object_id("blob", b"x")
RAW_BLOB = bytes.fromhex(BLOB)


def raw_tree(*lines: tuple[bytes, bytes, bytes]) -> bytes:
    return b"".join(mode + b" " + name + b"\0" + raw for mode, name, raw in lines)


def unchanged(target: Store) -> None:
    assert list(target.objects.ids()) == []
    assert target.refs() == {}
    stock.assert_clean(target)


def test_an_honest_pack_by_hand_is_taken(other: Store) -> None:
    objects, commit = around(raw_tree((b"100644", b"etc", RAW_BLOB)))
    assert receive(other, pack(objects), [commit]) == 3
    stock.assert_clean(other)


@pytest.mark.parametrize(
    "name",
    [
        b"..",
        b".",
        b"",
        b"a/b",
        b"/etc",
        b".git",
        b".GIT",
        b".gIt",
        b"git~1",
        b"GIT~1",
        b".git ",
        b".git.",
        b".git::$INDEX_ALLOCATION",
        b"x\\.git",
        ".g\u200cit".encode(),
        "\ufeff.git".encode(),
        b".gitmodules",
        b"gitmod~1",
        b"GI7EBA~1",
        b"n" * 257,
        b"n" * 4096,
    ],
)
@pytest.mark.parametrize("mode", [b"100644", b"120000", b"40000"])
def test_hostile_names_never_enter(other: Store, name: bytes, mode: bytes) -> None:
    inner = raw_tree((b"100644", b"f", RAW_BLOB))
    raw = bytes.fromhex(gitformat.object_id("tree", inner)) if mode == b"40000" else RAW_BLOB
    objects, commit = around(raw_tree((mode, name, raw)), ("tree", inner))
    with pytest.raises(HostileObjectsError) as caught:
        receive(other, pack(objects), [commit])
    assert caught.value.remedy
    unchanged(other)


EMPTY_RAW = bytes.fromhex(gitformat.object_id("tree", b""))


@pytest.mark.parametrize(
    "tree, why",
    [
        (raw_tree((b"160000", b"sub", RAW_BLOB)), "mode"),
        (raw_tree((b"100664", b"a", RAW_BLOB)), "mode"),
        (raw_tree((b"0100644", b"a", RAW_BLOB)), "mode"),
        (raw_tree((b"040000", b"a", EMPTY_RAW)), "mode"),
        (raw_tree((b"104755", b"a", RAW_BLOB)), "mode"),
        (raw_tree((b"", b"a", RAW_BLOB)), "mode"),
        (raw_tree((b"100644", b"b", RAW_BLOB), (b"100644", b"a", RAW_BLOB)), "out of order"),
        (raw_tree((b"100644", b"a", RAW_BLOB), (b"100644", b"a", RAW_BLOB)), "double"),
        (raw_tree((b"120000", b"x", RAW_BLOB), (b"40000", b"x", EMPTY_RAW)), "double"),
        (raw_tree((b"120000", b"x", RAW_BLOB), (b"100644", b"x.y", RAW_BLOB), (b"40000", b"x", EMPTY_RAW)), "double"),
        (raw_tree((b"40000", b"a", EMPTY_RAW), (b"100644", b"a.b", RAW_BLOB)), "out of order"),
        (raw_tree((b"100644", b"a", RAW_BLOB))[:-1], "ends in the middle"),
        (b"100644 a", "ends in the middle"),
        (b"nonsense", "ends in the middle"),
        (raw_tree((b"100644", b"a", b"\0" * 20)), "null id"),
        (raw_tree((b"40000", b"a", RAW_BLOB)), "blob where a tree belongs"),
        (raw_tree((b"100644", b"a", EMPTY_RAW)), "as a file, but is none"),
    ],
)
def test_malformed_trees_never_enter(other: Store, tree: bytes, why: str) -> None:
    objects, commit = around(tree, ("tree", b""))
    with pytest.raises(HostileObjectsError, match=why):
        receive(other, pack(objects), [commit])
    unchanged(other)


GOOD_TREE = gitformat.object_id("tree", b"")


@pytest.mark.parametrize(
    "commit",
    [
        b"",
        b"nonsense",
        b"tree " + GOOD_TREE.encode() + b"\n\nno author\n",
        commit_of(GOOD_TREE).replace(b"author a <a> 1 +0000\n", b""),
        commit_of(GOOD_TREE).replace(b"committer a <a> 1 +0000\n", b""),
        commit_of(GOOD_TREE).replace(b"author a", b"author a>"),
        commit_of(GOOD_TREE).replace(b"author a <a>", b"author <a>").replace(b"<a> 1", b"a 1"),
        commit_of(GOOD_TREE).replace(b" 1 +0000", b" 01 +0000"),
        commit_of(GOOD_TREE).replace(b" 1 +0000", b" 99999999999999999999 +0000"),
        commit_of(GOOD_TREE).replace(b"+0000", b"UTC"),
        commit_of(GOOD_TREE).replace(b"words", b"wo\0rds"),
        commit_of(GOOD_TREE, extra=b"tree " + GOOD_TREE.encode() + b"\n"),
        commit_of(GOOD_TREE, extra=b"author b <b> 1 +0000\n"),
        commit_of(GOOD_TREE, extra=b"parent " + b"1" * 40 + b"\n"),
        commit_of(GOOD_TREE.upper()),
        commit_of(GOOD_TREE[:39]),
        commit_of(GOOD_TREE, "../../x"),
    ],
)
def test_malformed_commits_never_enter(other: Store, commit: bytes) -> None:
    with pytest.raises(HostileObjectsError):
        receive(other, pack([("tree", b""), ("commit", commit)]), [gitformat.object_id("commit", commit)])
    unchanged(other)


def _tag(body: bytes) -> tuple[Objects, str]:
    commit = commit_of(GOOD_TREE)
    data = body.replace(b"COMMIT", gitformat.object_id("commit", commit).encode()).replace(b"TREE", GOOD_TREE.encode())
    return [("tree", b""), ("commit", commit), ("tag", data)], gitformat.object_id("tag", data)


@pytest.mark.parametrize(
    "body",
    [
        b"object COMMIT\ntype commit\ntag x\n\nno tagger\n",
        b"object TREE\ntype tree\ntag x\ntagger a <a> 1 +0000\n\nw\n",
        b"object TREE\ntype commit\ntag x\ntagger a <a> 1 +0000\n\nw\n",
        b"object COMMIT\ntype commit\ntag x\ntagger a <a> 1\n\nw\n",
        b"object COMMIT\ntype commit\ntag x\ntagger a <a> 1 +0000\nmore x\n\nw\n",
        b"object COMMIT\ntag x\ntype commit\ntagger a <a> 1 +0000\n\nw\n",
        b"",
    ],
)
def test_malformed_tags_never_enter(other: Store, body: bytes) -> None:
    objects, tag = _tag(body)
    with pytest.raises(HostileObjectsError):
        receive(other, pack(objects), [tag])
    unchanged(other)


def test_what_is_missing_is_named_and_nothing_is_kept(other: Store) -> None:
    objects, commit = around(raw_tree((b"100644", b"etc", RAW_BLOB)))
    for gone in range(len(objects)):
        left = objects[:gone] + objects[gone + 1 :]
        with pytest.raises(IncompleteError, match="is missing"):
            receive(other, pack(left), [commit])
        unchanged(other)
    parentless = commit_of(GOOD_TREE, "1" * 40)
    with pytest.raises(IncompleteError, match="1" * 40):
        receive(other, pack([("tree", b""), ("commit", parentless)]), [gitformat.object_id("commit", parentless)])
    unchanged(other)


def test_an_object_that_lies_here_unreferenced_does_not_vouch_for_what_it_names(other: Store) -> None:
    tree = raw_tree((b"100644", b"etc", RAW_BLOB))
    inner = other.objects.put("tree", tree)  # as a crash may have left it: its blob is not here
    outer = raw_tree((b"40000", b"d", bytes.fromhex(inner)))
    commit = commit_of(gitformat.object_id("tree", outer))
    with pytest.raises(IncompleteError, match=BLOB):
        receive(other, pack([("tree", outer), ("commit", commit)]), [gitformat.object_id("commit", commit)])
    assert other.refs() == {}


def test_what_was_not_asked_for_is_not_kept(other: Store) -> None:
    objects, commit = around(raw_tree((b"100644", b"etc", RAW_BLOB)))
    dangling = raw_tree((b"100644", b"gone", b"\1" * 20))
    receive(other, pack([*objects, ("blob", b"unasked"), ("tree", dangling)]), [commit])
    assert len(list(other.objects.ids())) == 3
    stock.assert_clean(other)


def _cut(stream: bytes) -> Iterator[bytes]:
    for at in (0, 5, 12, 13, len(stream) // 2, len(stream) - 1):
        yield stream[:at]


def test_a_stream_that_ends_early_is_incomplete(other: Store) -> None:
    objects, commit = around(raw_tree((b"100644", b"etc", RAW_BLOB)))
    for part in _cut(pack(objects)):
        with pytest.raises(IncompleteError, match="ended"):
            receive(other, part, [commit])
        unchanged(other)


def _flip(stream: bytes) -> bytes:
    return stream[:-1] + bytes((stream[-1] ^ 1,))


@pytest.mark.parametrize(
    "spoil, why",
    [
        (_flip, "checksum"),
        (lambda stream: stream + b"x", "follows after its end"),
        (lambda stream: b"JUNK" + stream[4:], "no pack"),
        (lambda stream: stream[:4] + b"\0\0\0\3" + stream[8:], "no pack"),
        (lambda stream: stream[:12] + b"\xff" * 20, "no number"),
        (lambda stream: stream[:12] + bytes((0x60,)) + stream[13:], "delta"),
        (lambda stream: stream[:12] + bytes((0x70,)) + stream[13:], "delta"),
        (lambda stream: stream[:12] + bytes((0x00,)) + stream[13:], "delta"),
        (lambda stream: stream[:12] + bytes((0x30,)) + stream[13:], "longer than it says"),
        (lambda stream: stream[:12] + bytes((0x3F,)) + stream[13:], "shorter than it says"),
        (lambda stream: stream[:13] + b"junkjunk" + stream[13:], "unpacked"),
    ],
)
def test_spoilt_streams_are_refused(other: Store, spoil: Callable[[bytes], bytes], why: str) -> None:
    objects, commit = around(raw_tree((b"100644", b"etc", RAW_BLOB)))
    with pytest.raises(HostileObjectsError, match=why):
        receive(other, spoil(pack(objects)), [commit])
    unchanged(other)


def test_an_object_that_comes_twice_is_refused(other: Store) -> None:
    objects, commit = around(raw_tree((b"100644", b"etc", RAW_BLOB)))
    with pytest.raises(HostileObjectsError, match="twice"):
        receive(other, pack([*objects, objects[0]]), [commit])


def test_too_much_is_refused_before_it_is_unpacked(other: Store) -> None:
    objects, commit = around(raw_tree((b"100644", b"etc", RAW_BLOB)))
    with pytest.raises(HostileObjectsError, match="3 objects, more than 2"):
        receive(other, pack(objects), [commit], Limits(objects=2))
    with pytest.raises(HostileObjectsError, match="4294967295 objects"):
        receive(other, pack([], count=0xFFFFFFFF), [commit])
    bomb = entry_head("blob", 10**12) + zlib.compress(b"\0" * 100_000)
    with pytest.raises(HostileObjectsError, match="blob of 1000000000000 bytes"):
        receive(other, b"PACK\0\0\0\2\0\0\0\1" + bomb, [commit])
    big = [("blob", b"%d" % n * 1000) for n in range(10)]
    with pytest.raises(HostileObjectsError, match="unfolds to more than 5000"):
        receive(other, pack(big), [commit], Limits(total_bytes=5000))
    with pytest.raises(HostileObjectsError, match="tree of 31 bytes, more than 30"):
        receive(other, pack(objects), [commit], Limits(structure_bytes=30))
    understated = b"PACK\0\0\0\2\0\0\0\1" + entry_head("blob", 10) + zlib.compress(b"\0" * 10_000_000)
    with pytest.raises(HostileObjectsError, match="longer than it says"):
        receive(other, understated, [commit])
    unchanged(other)


def test_a_tree_that_unfolds_without_end_is_refused(other: Store) -> None:
    trees: Objects = [("tree", raw_tree((b"100644", b"f", RAW_BLOB)))]
    for _ in range(10):
        raw = bytes.fromhex(gitformat.object_id("tree", trees[-1][1]))
        trees.append(("tree", raw_tree(*((b"40000", b"%02d" % n, raw) for n in range(16)))))
    objects, commit = around(trees[-1][1], *trees[:-1])
    with pytest.raises(HostileObjectsError, match="more than 1000000 paths"):
        receive(other, pack(objects), [commit])
    deep: Objects = [("tree", raw_tree((b"100644", b"f", RAW_BLOB)))]
    for _ in range(3000):
        raw = bytes.fromhex(gitformat.object_id("tree", deep[-1][1]))
        deep.append(("tree", raw_tree((b"40000", b"d", raw))))
    objects, commit = around(deep[-1][1], *deep[:-1])
    with pytest.raises(HostileObjectsError, match="below more than 256"):
        receive(other, pack(objects), [commit])
    unchanged(other)


def test_attributes_that_git_refuses_are_refused(other: Store) -> None:
    long = b"*.c " + b"x" * 3000
    raw = bytes.fromhex(gitformat.object_id("blob", long))
    for name in (b".gitattributes", b".GITATTRIBUTES", b"gitatt~1"):
        objects, commit = around(raw_tree((b"100644", name, raw)), ("blob", long))
        with pytest.raises(HostileObjectsError, match="attributes"):
            receive(other, pack(objects), [commit])
    unchanged(other)
    objects, commit = around(raw_tree((b"100644", b".gitattributes", RAW_BLOB)))
    receive(other, pack(objects), [commit])
    stock.assert_clean(other)


def test_links_are_content_wherever_they_point(other: Store) -> None:
    target = b"../../../../etc/shadow"
    raw = bytes.fromhex(gitformat.object_id("blob", target))
    objects, commit = around(raw_tree((b"120000", b"link", raw)), ("blob", target))
    receive(other, pack(objects), [commit])
    assert other.read_tree(commit)[b"link"].kind is Kind.LINK


def test_the_ref_moves_by_compare_and_set(store: Store, other: Store) -> None:
    commit = commit_files(store, {b"a": b"1"})
    stream = b"".join(closure(store, [commit], []))
    with Incoming(other, other.path.parent / "q") as incoming:
        incoming.feed(stream)
        with pytest.raises(StaleRefError):
            incoming.finish([commit], ref=QUARANTINE, old="1" * 40)
    assert other.ref(QUARANTINE) is None
    later = commit_files(store, {b"a": b"2"}, commit, step=1)
    assert send(store, other, [later], ref=None) == 3
    assert other.has(later)
    assert other.refs() == {}


def test_a_torn_object_here_is_mended_by_one_that_comes(store: Store, other: Store) -> None:
    commit = commit_files(store, {b"a": b"1"})
    send(store, other, [commit], ref=None)
    torn = other.path / "objects" / commit[:2] / commit[2:]
    torn.chmod(0o600)
    torn.write_bytes(b"")
    send(store, other, [commit])
    stock.assert_clean(other)


@given(st.integers(0, 10**9), st.integers(0, 255))
def test_no_damage_on_the_way_gets_through(spoilt: Store, at: int, byte: int) -> None:
    objects, commit = around(raw_tree((b"100644", b"etc", RAW_BLOB)))
    stream = bytearray(pack(objects))
    place = at % len(stream)
    if stream[place] == byte:
        return
    stream[place] = byte
    with pytest.raises((HostileObjectsError, IncompleteError)):
        receive(spoilt, bytes(stream), [commit])


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One empty repository for all examples of a property that keeps it empty."""
    store = Store.create(tmp_path_factory.mktemp("spoilt") / "config.git")
    yield store
    assert list(store.objects.ids()) == []
    store.close()


def test_helpers_make_what_git_makes(other: Store) -> None:
    tree = gitformat.format_tree(
        [(b"b", Child(DIRECTORY, GOOD_TREE)), (b"a", Child(FILE, BLOB)), (b"l", Child(LINK, BLOB))]
    )
    with other.writer():
        other.objects.put("tree", b"")
        other.put_blob(b"x")
        object_id = other.objects.put("tree", tree)
    listed = stock.git(other.path, "ls-tree", object_id)
    assert stock.git(other.path, "mktree", stdin=listed).decode().strip() == object_id
