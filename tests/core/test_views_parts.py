"""Differences in parts: each page has its share, and all pages together have everything; and one file by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncsrv.control.codec import encode
from syncsrv.control.dispatch import Streamed
from syncsrv.control.shapes_history import (
    AreaCount,
    DiffReply,
    DiffRequest,
    FileChange,
    NodeDiff,
    ShowReply,
    ShowRequest,
    Slice,
)
from syncsrv.control.shapes_page import FileReply, FileRequest
from syncsrv.core.mains import peer_main
from syncsrv.core.views import compare
from syncsrv.core.views.content import UnknownPathError
from syncsrv.core.views.files import ALL_TEXTS
from syncsrv.errors import DamagedError, UnreachableError, UsageError
from syncsrv.plan.patch import LARGEST
from tests.core.corekit import Node, Pair, pair_of, single

TEXTS = Slice(texts=True)
HOSTILE = b"caf\xe9\n\x1b[2J\xe2\x80\xae<script>\\x41"
SHOWN = "/etc/app/caf\\xe9\n\x1b[2J\u202e<script>\\x5cx41"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with single(tmp_path) as node:
        yield node


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with pair_of(tmp_path) as pair:
        yield pair


def diff(at: Node, *revs: str, **asked: object) -> dict[str, NodeDiff]:
    reply = at.ask("diff", DiffRequest(revs, **asked))  # type: ignore[arg-type] # its own fields
    assert isinstance(reply, DiffReply)
    encode(DiffReply, reply)
    return dict(reply.nodes)


def one(at: Node, *revs: str, **asked: object) -> NodeDiff:
    (found,) = diff(at, *revs, **asked).values()
    return found


def show(at: Node, rev: str = "main", part: Slice = TEXTS, *, patch: bool = False) -> ShowReply:
    reply = at.ask("show", ShowRequest(rev, patch, part))
    assert isinstance(reply, ShowReply)
    encode(ShowReply, reply)
    return reply


def only(files: tuple[FileChange, ...]) -> FileChange:
    (file,) = files
    return file


def save(at: Node, data: bytes, path: str = "/etc/app/app.conf") -> str:
    at.put(path, "").write_bytes(data)
    commit = at.core.record(via="watch").commit
    assert commit is not None
    return commit


def read(at: Node, rev: str, path: str) -> tuple[FileReply, bytes]:
    found = at.ask("file", FileRequest(rev, path))
    assert isinstance(found, Streamed)
    assert isinstance(found.reply, FileReply)
    encode(FileReply, found.reply)
    return found.reply, b"".join(found.chunks)


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """main~1 to main: goes, comes and becomes another, in two areas, with directories."""
    with single(tmp_path_factory.mktemp("varied")) as node:
        for name in range(0, 40, 2):
            node.put(f"/etc/app/d{name % 3}/{name:02}", "old\n")
            node.put(f"/etc/more.d/{name:02}", "old\n")
        node.core.record(via="watch")
        for name in range(40):
            if name % 3:
                node.put(f"/etc/app/d{name % 3}/{name:02}", f"new {name}\n")
            elif name % 2 == 0:
                (node.root / f"etc/app/d{name % 3}/{name:02}").unlink()
            if name % 4 == 0:
                (node.root / f"etc/more.d/{name:02}").unlink()
        (node.root / "etc/app/d0").rmdir()
        (node.root / "etc/more.d/02").chmod(0o600)
        node.core.record(via="watch")
        yield node


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(1, 70), texts=st.booleans(), area=st.sampled_from(((), ("app",), ("more",))))
def test_the_parts_are_exactly_the_whole(varied: Node, size: int, texts: bool, area: tuple[str, ...]) -> None:
    whole = one(varied, "main~1", "main", areas=area, part=Slice(texts=texts))
    assert list(whole.files) == sorted(whole.files, key=lambda file: file.path)
    parts: list[FileChange] = []
    for offset in range(0, len(whole.files) + size, size):
        found = one(varied, "main~1", "main", areas=area, part=Slice(offset, size, texts=texts))
        assert (found.counts, found.deletions) == (whole.counts, whole.deletions)
        assert len(found.files) <= size
        parts += found.files
    ranks = {"removed": 0, "added": 1}
    assert parts == sorted(whole.files, key=lambda file: (ranks.get(file.status, 2), file.path))
    counted = [0, 0, 0]
    for file in whole.files:
        counted[ranks.get(file.status, 2)] += 1
    assert counted == [sum(c) for c in zip(*((c.deleted, c.added, c.changed) for c in whole.counts), strict=True)]
    wanted = (*(file.path for file in whole.files[::3]), "/etc/none")
    named = one(varied, "main~1", "main", areas=area, part=Slice(paths=wanted, texts=texts))
    assert (named.files, named.counts) == (whole.files[::3], whole.counts)


def test_show_and_diff_say_the_same(varied: Node) -> None:
    shown = show(varied, "main", Slice(3, 20, texts=True))
    found = one(varied, "main~1", "main", part=Slice(3, 20, texts=True))
    assert (shown.files, shown.counts) == (found.files, found.counts)
    assert [c.area for c in shown.counts] == ["app", "more"]
    assert compare.show(varied.core, ShowRequest("main", False, Slice(3, 20, texts=True))) == shown
    with pytest.raises(UsageError):
        show(varied, "main", Slice(-1, 5))
    with pytest.raises(UsageError):
        show(varied, "main", Slice(0, -5))


def test_both_sides_come_as_text_whatever_bytes_they_are(node: Node) -> None:
    save(node, b"caf\xe9\r\n\x1b[2J\xe2\x80\xae" + b"x" * 4000)
    file = only(show(node).files)
    assert (file.old_text, file.new_text) == ("one", "caf\\xe9\r\n\x1b[2J\u202e" + "x" * 4000)
    assert (file.old_size, file.new_size, file.large, file.binary) == (3, 4013, False, False)
    assert (file.old_kind, file.new_kind) == ("file", "file")
    assert file.new_blob == node.core.store.read_tree(node.core.store.resolve("main"))[b"etc/app/app.conf"].blob
    save(node, b"a\0b")
    file = only(show(node).files)
    assert (file.binary, file.old_text, file.new_text, file.new_size) == (True, None, None, 3)
    save(node, b"")
    assert only(show(node).files).new_text is None, "the other side is no text"
    (node.root / "etc/app/app.conf").unlink()
    node.core.record(via="watch")
    file = only(show(node).files)
    assert (file.old_text, file.new_text, file.new_size, file.new_kind) == ("", None, None, "")
    (node.root / "etc/app/link").symlink_to("/nowhere")
    (node.root / "etc/app/dir").mkdir()
    node.core.record(via="watch")
    directory, link = show(node).files
    assert (link.new_text, link.new_kind, link.new_size) == ("/nowhere", "link", 8)
    assert (directory.new_text, directory.new_kind, directory.new_size) == (None, "directory", None)
    assert only(show(node, "main~1", Slice()).files).old_text is None, "nobody asked"


def test_where_only_the_mode_differs_no_text_comes(node: Node) -> None:
    (node.root / "etc/app/app.conf").chmod(0o755)
    node.core.record(via="watch")
    file = only(show(node).files)
    assert (file.status, file.old_text, file.new_text, file.large) == ("mode", None, None, False)
    assert (file.old_size, file.new_size, file.old_blob) == (3, 3, file.new_blob)


def test_what_is_too_large_is_told_by_size_only(node: Node) -> None:
    save(node, b"x\n" * (LARGEST // 2))
    assert only(show(node).files).new_text == "x\n" * (LARGEST // 2)
    save(node, b"x\n" * (LARGEST // 2) + b"y")
    file = only(show(node, patch=True).files)
    assert (file.large, file.binary, file.old_text, file.new_text, file.patch) == (True, False, None, None, "")
    assert (file.old_size, file.new_size) == (LARGEST, LARGEST + 1)
    save(node, b"\0" + b"y" * LARGEST)
    assert (only(show(node).files).large, only(show(node).files).binary) == (True, True)


def test_a_reply_tells_of_so_much_text_and_no_more(node: Node) -> None:
    for name in range(12):
        save_to = node.put(f"/etc/app/{name:02}", "")
        save_to.write_bytes(b"%02d\n" % name * (LARGEST // 3))
    node.put("/etc/app/small", "small")
    node.core.record(via="watch")
    files = {file.path: file for file in show(node).files}
    told = sum(file.new_size or 0 for file in files.values() if file.new_text is not None)
    assert ALL_TEXTS - LARGEST < told <= ALL_TEXTS
    assert sum(file.large for file in files.values()) >= 3
    assert files["/etc/app/small"].new_text == "small", "what still fits comes"
    missing = next(path for path, file in files.items() if file.large)
    file = only(show(node, part=Slice(paths=(missing,), texts=True)).files)
    assert not file.large
    assert len(file.new_text or "") == file.new_size
    patched = show(node, patch=True, part=Slice()).files
    assert sum(len(file.patch) for file in patched) < 2 * ALL_TEXTS
    assert any(file.large for file in patched)


def test_a_page_reads_what_is_on_it_and_nothing_else(node: Node) -> None:
    for name in range(4):
        node.put(f"/etc/app/{name}", f"content {name}")
    node.core.record(via="watch")
    store = node.core.store
    blob = store.read_tree(store.resolve("main"))[b"etc/app/3"].blob
    (store.path / "objects" / blob[:2] / blob[2:]).unlink()
    assert len(show(node, part=Slice(0, 3, texts=True)).files) == 3
    assert sum(c.added for c in show(node, part=Slice(0, 3, texts=True)).counts) == 4
    with pytest.raises(DamagedError):
        show(node, part=Slice(3, 3, texts=True))


def test_what_is_known_is_enough_for_a_page_and_nobody_is_asked(pair: Pair) -> None:
    assert diff(pair.fw1, cached=True) == {}, "nothing is known of fw2 yet"
    by_name = diff(pair.fw1, cached=True, nodes=("fw2",))["fw2"]
    assert (by_name.base, {file.status for file in by_name.files}) == (None, {"added"})
    assert diff(pair.fw1, cached=True, nodes=("fw9",)) == {}
    with pytest.raises(UnreachableError):
        diff(pair.fw2, cached=True)
    pair.sync()
    peer_main(pair.fw1.core, "fw2")
    peer_main(pair.fw2.core, "fw1")
    pair.away.update(("fw1", "fw2"))
    pair.fw1.put("/etc/app/app.conf", "not recorded yet")
    known = one(pair.fw1, cached=True)
    assert (known.files, known.target) == ((), pair.fw1.core.recorder.head())
    assert known.age_s is not None
    commit = pair.fw1.core.record(via="watch").commit
    known = one(pair.fw1, cached=True, part=TEXTS)
    assert [(file.path, file.old_text, file.new_text) for file in known.files] == [
        ("/etc/app/app.conf", "one", "not recorded yet")
    ]
    assert (known.target, known.counts) == (commit, (AreaCount("app", changed=1),))
    assert one(pair.fw2, cached=True).files == ()
    pair.fw1.put("/etc/app/app.conf", "nor this")
    assert one(pair.fw1, "main~1", cached=True).target == commit


def test_another_revision_than_main_can_be_what_would_be_brought(pair: Pair) -> None:
    pair.sync()
    save(pair.fw1, b"two")
    save(pair.fw1, b"three", "/etc/more.conf")
    assert len(one(pair.fw1).files) == 2
    for cached in (False, True):
        file = only(one(pair.fw1, target="main~1", cached=cached).files)
        assert file.path == "/etc/app/app.conf"
    assert one(pair.fw1, target="sync/000001").files == ()
    own = pair.fw2.core.recorder.head() or ""
    save(pair.fw2, b"by hand")
    assert [file.path for file in one(pair.fw2, target=own).files] == ["/etc/app/app.conf"]


def test_more_than_two_revisions_are_refused(node: Node) -> None:
    with pytest.raises(UsageError, match="cannot compare 3 revisions"):
        diff(node, "main", "main", "main")


def test_a_file_comes_as_it_was(node: Node) -> None:
    data = os.urandom(3_000_000)
    first = node.core.recorder.head() or ""
    save(node, data)
    reply, content = read(node, "main", "/etc/app/app.conf")
    assert content == data
    assert (reply.kind, reply.size, reply.path, reply.mode) == ("file", len(data), "/etc/app/app.conf", "0644")
    assert read(node, first[:10], "/etc/app/app.conf") == (
        FileReply(first, "/etc/app/app.conf", "file", "0644", reply.owner, 3, reply_blob(node, first)), b"one"
    )  # fmt: skip
    (node.root / "etc/app/link").symlink_to("/etc/shadow")
    (node.root / "etc/app/caf").write_text("")
    (node.root / os.fsdecode(b"etc/app/" + HOSTILE)).write_bytes(b"odd\xff")
    node.core.record(via="watch")
    link, target = read(node, "main", "/etc/app/link")
    assert (link.kind, link.size, target) == ("link", 11, b"/etc/shadow"), "the link itself, never what it points to"
    directory, nothing = read(node, "main", "/etc/app/")
    assert (directory.kind, directory.size, nothing) == ("directory", 0, b"")
    odd, content = read(node, "main", SHOWN)
    assert (odd.path, content) == (SHOWN, b"odd\xff")
    _, content = read(node, "main", "/.syncsrv/cluster.yaml")
    assert content == (node.etc / "cluster.yaml").read_bytes()
    assert read(node, "main", "/etc/app/caf")[1] == b""


def reply_blob(node: Node, commit: str) -> str:
    return node.core.store.read_tree(commit)[b"etc/app/app.conf"].blob


def test_a_path_that_a_revision_does_not_have_is_said(node: Node) -> None:
    for path in ("/etc/shadow", "/", "", "/etc/app/../../shadow", "/.syncsrv/meta/+etc/entries", "\0", "/etc/app/\\x"):
        with pytest.raises(UnknownPathError, match="that revision does not have it"):
            node.ask("file", FileRequest("main", path))
