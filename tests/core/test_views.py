"""History and differences as data: whatever a file's name, content, type, mode or owner is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsrv.control.codec import encode
from syncsrv.control.shapes import SyncRequest
from syncsrv.control.shapes_history import (
    CommitRequest,
    DiffReply,
    DiffRequest,
    FileChange,
    LogReply,
    LogRequest,
    ShowReply,
    ShowRequest,
)
from syncsrv.core.views.commits import PATHS_SHOWN
from syncsrv.errors import UnreachableError, UsageError
from syncsrv.store.revisions import UnknownRevisionError
from tests.core.corekit import Node, Pair, pair_of, single


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with single(tmp_path) as node:
        yield node


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with pair_of(tmp_path) as pair:
        yield pair


def log(node: Node, path: str | None = None, limit: int = 50) -> LogReply:
    reply = node.ask("log", LogRequest(path, limit))
    assert isinstance(reply, LogReply)
    encode(LogReply, reply)  # whatever is in it can be sent
    return reply


def show(node: Node, rev: str = "main", *, patch: bool = True) -> dict[str, FileChange]:
    reply = node.ask("show", ShowRequest(rev, patch))
    assert isinstance(reply, ShowReply)
    encode(ShowReply, reply)
    return {one.path: one for one in reply.files}


def diff(node: Node, *revs: str, **more: object) -> DiffReply:
    reply = node.ask("diff", DiffRequest(revs, **more))  # type: ignore[arg-type] # its own fields
    assert isinstance(reply, DiffReply)
    encode(DiffReply, reply)
    return reply


def save(node: Node, text: str, path: str = "/etc/app/app.conf") -> str:
    node.put(path, text)
    commit = node.core.record(via="watch").commit
    assert commit is not None
    return commit


def test_every_kind_of_difference_is_told_as_what_it_is(node: Node) -> None:
    top = node.root / "etc/app"
    node.put("/etc/app/script", "#!/bin/sh\n", 0o644)
    node.put("/etc/app/owned", "x")
    node.put("/etc/app/type", "a file")
    node.put("/etc/app/blob", "a\0b")
    (top / "link").symlink_to("one")
    node.core.record(via="watch")
    (top / "script").chmod(0o755)
    os.chown(top / "owned", 1, 2) if os.geteuid() == 0 else (top / "owned").chmod(0o600)
    (top / "type").unlink()
    (top / "type").mkdir()
    (top / "blob").write_bytes(b"a\0c")
    (top / "link").unlink()
    (top / "link").symlink_to("/two")
    (top / "app.conf").write_text("one\ntwo\n")
    (top / "sub").mkdir(mode=0o700)
    (node.root / "etc/more.conf").unlink()
    node.core.record(via="watch")
    files = show(node)
    assert {path: one.status for path, one in files.items()} == {
        "/etc/app/app.conf": "changed",
        "/etc/app/blob": "changed",
        "/etc/app/link": "changed",
        "/etc/app/owned": "owner" if os.geteuid() == 0 else "mode",
        "/etc/app/script": "mode",
        "/etc/app/sub": "added",
        "/etc/app/type": "type",
        "/etc/more.conf": "removed",
    }
    assert (files["/etc/app/script"].old_mode, files["/etc/app/script"].new_mode) == ("0644", "0755")
    if os.geteuid() == 0:
        assert (files["/etc/app/owned"].old_owner, files["/etc/app/owned"].new_owner) == ("root:root", "daemon:bin")
    assert (files["/etc/more.conf"].new_mode, files["/etc/more.conf"].area) == (None, "more")
    assert (files["/etc/app/blob"].binary, files["/etc/app/blob"].patch) == (True, "")
    assert files["/etc/app/app.conf"].patch.splitlines() == [
        "--- a/etc/app/app.conf", "+++ b/etc/app/app.conf", "@@ -1 +1,2 @@", "-one", "\\ No newline at end of file",
        "+one", "+two",
    ]  # fmt: skip
    assert "+/two" in files["/etc/app/link"].patch
    plain = show(node, patch=False)
    assert {one.patch for one in plain.values()} == {""}
    assert plain["/etc/app/blob"].binary, "that does not depend on whether a patch is wanted"


def test_a_name_that_is_no_text_is_told_in_letters_and_found_by_them_again(node: Node) -> None:
    odd = os.fsdecode(os.fsencode(node.root) + b"/etc/app/caf\xe9\n\x1b[2J\\x41")
    Path(odd).write_text("odd\n")
    node.core.record(via="watch")
    shown = "/etc/app/caf\\xe9\n\x1b[2J\\x5cx41"
    assert shown in show(node)
    (entry,) = log(node, shown).commits
    assert entry.paths == (shown,)
    Path(odd).write_bytes(b"caf\xe9\n")
    commit = node.ask("commit", CommitRequest("odd", (shown,)))
    assert commit.files == 1  # type: ignore[attr-defined] # a CommitReply
    assert "+caf\\xe9" in show(node)[shown].patch


def test_the_log_says_who_how_and_what_newest_first(node: Node) -> None:
    save(node, "two")
    node.put("/etc/more.conf", "changed")
    node.ask("commit", CommitRequest("because\n\nof a ticket"))
    newest, second, first = log(node).commits
    assert (newest.author, newest.via, newest.node, newest.subject) == ("alice", "cli", "fw1", "because")
    assert newest.paths == ("/etc/more.conf",)
    assert (second.author, second.via, second.paths) == ("fw1", "watch", ("/etc/app/app.conf",))
    assert first.paths == ("/.syncsrv/cluster.yaml", "/etc/app", "/etc/app/app.conf", "/etc/more.conf")
    assert [one.commit for one in log(node, "/etc/app").commits] == [second.commit, first.commit]
    assert [one.commit for one in log(node, "/etc/app/app.conf", 1).commits] == [second.commit]
    assert log(node, "/etc/nothing").commits == ()
    reply = node.ask("show", ShowRequest("main"))
    assert isinstance(reply, ShowReply)
    assert (reply.body.strip().startswith("of a ticket"), reply.parents) == (True, (second.commit,))


def test_tags_stand_beside_their_commits_whoever_made_them(pair: Pair) -> None:
    pair.sync()
    head = pair.fw1.core.recorder.head() or ""
    store = pair.fw1.core.store
    store.move_ref("refs/tags/by-hand", head, None)
    store.move_ref("refs/tags/of-a-tree", store.tree_of(head), None)
    (entry,) = log(pair.fw1).commits
    assert entry.tags == ("by-hand", "sync/000001")
    theirs = log(pair.fw2).commits
    assert theirs[0].subject.startswith("sync/000001")
    assert (theirs[0].via, theirs[0].node) == ("sync", "fw2")


def test_many_paths_of_one_commit_are_cut_in_the_log_only(node: Node) -> None:
    for number in range(PATHS_SHOWN + 10):
        node.put(f"/etc/app/{number:04}", "x")
    node.core.record(via="watch")
    assert len(log(node).commits[0].paths) == PATHS_SHOWN
    assert len(show(node)) == PATHS_SHOWN + 10


def test_between_revisions_and_to_what_is_live(node: Node) -> None:
    save(node, "two")
    save(node, "three", "/etc/more.conf")
    two = diff(node, "main~2", "main~1").nodes["fw1"]
    assert [one.path for one in two.files] == ["/etc/app/app.conf"]
    assert two.deletions == 0
    (node.root / "etc/more.conf").unlink()
    live = diff(node, "main~2").nodes["fw1"]
    assert [(one.path, one.status) for one in live.files] == [
        ("/etc/app/app.conf", "changed"), ("/etc/more.conf", "removed")
    ]  # fmt: skip
    assert (live.deletions, live.target, live.age_s) == (1, node.core.recorder.head(), None)
    assert [one.path for one in diff(node, "main~2", areas=("more",)).nodes["fw1"].files] == ["/etc/more.conf"]
    assert diff(node, "main").nodes["fw1"].files == ()
    with pytest.raises(UnknownRevisionError):
        diff(node, "nothing")
    with pytest.raises(UsageError, match="cannot compare area nothing"):
        diff(node, "main", areas=("nothing",))


def test_what_was_in_an_area_once_is_still_told(node: Node) -> None:
    text = (node.etc / "cluster.yaml").read_text()
    (node.etc / "cluster.yaml").write_text(text.replace("  more: {paths: [/etc/more.conf, /etc/more.d]}\n", ""))
    node.core.record(via="watch")
    files = diff(node, "main~2", "main").nodes["fw1"].files
    assert [(one.path, one.status, one.area) for one in files] == [
        ("/.syncsrv/cluster.yaml", "changed", "cluster"), ("/etc/more.conf", "removed", "")
    ]  # fmt: skip


def test_what_synchronize_would_bring_is_asked_of_the_backup_now(pair: Pair) -> None:
    everything = diff(pair.fw1).nodes["fw2"]
    assert {one.path for one in everything.files} == {"/etc/app", "/etc/app/app.conf", "/etc/more.conf"}
    pair.sync()
    assert diff(pair.fw1).nodes["fw2"].files == ()
    pair.fw2.put("/etc/app/own", "made on the backup")
    pair.fw2.core.record(via="watch")
    pair.fw1.put("/etc/app/app.conf", "two")
    found = diff(pair.fw1).nodes["fw2"]
    assert [(one.path, one.status) for one in found.files] == [
        ("/etc/app/app.conf", "changed"), ("/etc/app/own", "removed")
    ]  # fmt: skip
    assert (found.deletions, found.age_s) == (1, None)
    assert diff(pair.fw2).nodes["fw2"].files == found.files, "a backup says the same of itself"


def test_an_unreachable_backup_is_compared_as_it_was_last_known_with_the_age(pair: Pair) -> None:
    pair.away.add("fw2")
    pair.fw1.links.hang_up("fw2")
    with pytest.raises(UnreachableError):
        diff(pair.fw1)
    pair.away.clear()
    pair.fw1.do("sync", SyncRequest())
    diff(pair.fw1)
    pair.away.add("fw2")
    pair.fw1.links.hang_up("fw2")
    pair.fw1.put("/etc/app/app.conf", "two")
    found = diff(pair.fw1).nodes["fw2"]
    assert [one.path for one in found.files] == ["/etc/app/app.conf"]
    assert found.age_s is not None
    assert found.age_s >= 0


def test_without_a_peer_there_is_nobody_to_compare_with(tmp_path: Path) -> None:
    with single(tmp_path / "m") as master:
        assert diff(master).nodes == {}
    with single(tmp_path / "b", "backup") as backup, pytest.raises(UsageError, match="no peer is configured"):
        diff(backup)
