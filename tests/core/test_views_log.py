"""The history of either node, filtered and page by page, is what a naive look at every commit finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncsrv.clock import rfc3339
from syncsrv.control.codec import encode
from syncsrv.control.dispatch import Caller
from syncsrv.control.shapes_history import CommitRequest, LogEntry, LogReply, LogRequest
from syncsrv.control.verbs import Door
from syncsrv.core.mains import peer_main
from syncsrv.core.views.commits import UnknownNodeError
from syncsrv.errors import UnreachableError, UsageError
from syncsrv.store.revisions import UnknownRevisionError
from tests.core.corekit import Node, Pair, pair_of, single

PEOPLE = ("alice", "Bob", "ÉMILE")


def log(at: Node, **asked: object) -> LogReply:
    reply = at.ask("log", LogRequest(**asked))  # type: ignore[arg-type] # its own fields
    assert isinstance(reply, LogReply)
    encode(LogReply, reply)
    return reply


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two nodes with changes of every kind by several people, some of them synchronized."""
    with pair_of(tmp_path_factory.mktemp("busy")) as pair:
        for number in range(24):
            path = ("/etc/app/app.conf", "/etc/more.conf", "/etc/app/d/x", "/etc/app/keep.bak")[number % 4]
            pair.fw1.put(path, f"{number}")
            if number % 3:
                person = PEOPLE[number % len(PEOPLE)]
                caller = Caller(Door.LOCAL, "admin", person, via=("cli", "web")[number % 2])
                pair.fw1.ask("commit", CommitRequest(f"change {number}"), caller)
            else:
                pair.fw1.core.record(via="watch")
            if number in (5, 17):
                pair.sync()
        pair.fw2.put("/etc/more.conf", "by hand")
        pair.fw2.core.record(via="watch")
        peer_main(pair.fw1.core, "fw2")
        peer_main(pair.fw2.core, "fw1")
        yield pair


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=st.sampled_from(("fw1", "fw2")),
    of=st.sampled_from(("", "fw1", "fw2")),
    area=st.sampled_from((None, "app", "more", "cluster")),
    author=st.sampled_from((None, "ali", "B", "émile", "fw", "nobody", "%", "_")),
    via=st.sampled_from((None, "watch", "web", "cli", "sync", "push")),
    path=st.sampled_from((None, "/etc/app", "/etc/app/d", "/etc/more.conf", "/etc/app/d/x/", "/", "/nothing")),
    size=st.integers(1, 7),
)
def test_pages_of_a_filtered_log_are_what_a_naive_filter_leaves(
    busy: Pair, at: str, of: str, area: str | None, author: str | None, via: str | None, path: str | None, size: int
) -> None:
    node = busy.nodes[at]
    everything = log(node, node=of, limit=1000)
    assert not everything.more
    top = (path or "").rstrip("/")
    areas = node.core.areas()
    for one in everything.commits:
        names = {areas.area_of(shown.strip("/").encode()) for shown in one.paths}
        assert set(one.areas) == names - {None}
    wanted = [
        one
        for one in everything.commits
        if (area is None or area in one.areas)
        and (author or "").casefold() in one.author.casefold()
        and via in (None, one.via)
        and any(shown == top or shown.startswith(f"{top}/") for shown in (*one.paths, *([""] if not top else [])))
    ]
    asked = {"node": of, "area": area, "author": author, "via": via, "path": path}
    found: list[LogEntry] = []
    before = None
    for _ in range(len(wanted) // size + 2):
        page = log(node, limit=size, before=before, **asked)
        found += page.commits
        assert page.more == (len(found) < len(wanted))
        if not page.more:
            break
        before = page.commits[-1].commit
    assert found == wanted


def test_a_peer_is_shown_as_it_was_last_fetched_with_the_age_of_that(busy: Pair) -> None:
    theirs = log(busy.fw1, node="fw2")
    own = log(busy.fw2)
    assert [one.commit for one in theirs.commits] == [one.commit for one in own.commits]
    assert own.age_s is None
    assert theirs.age_s is not None
    assert theirs.age_s >= 0
    assert [one.node for one in theirs.commits] == ["fw2"] * len(theirs.commits)
    synced = [one for one in theirs.commits if one.via == "sync"]
    assert len(synced) == 2
    assert log(busy.fw1, node="fw1") == log(busy.fw1), "its own name is no other"


def test_what_does_not_exist_is_said_with_what_does(busy: Pair, tmp_path: Path) -> None:
    with pytest.raises(UnknownNodeError, match="no node of that name; nodes: fw1, fw2"):
        log(busy.fw1, node="fw3")
    for name in ("../../heads", "fw2/main", "\0", "FW2"):
        with pytest.raises(UnknownNodeError):
            log(busy.fw1, node=name)
    with pytest.raises(UsageError, match="area nothing: there is none of that name; areas: app, more"):
        log(busy.fw1, area="nothing")
    with pytest.raises(UnknownRevisionError):
        log(busy.fw1, before="nothing")
    own = log(busy.fw2).commits[0].commit
    with pytest.raises(UnknownRevisionError, match="the history of fw1 does not have it"):
        log(busy.fw1, before=own)
    with pytest.raises(UsageError):
        log(busy.fw1, limit=-1)
    assert log(busy.fw1, limit=0).commits == ()
    with pair_of(tmp_path) as pair, pytest.raises(UnreachableError, match="nothing of it was fetched yet"):
        log(pair.fw1, node="fw2")


def test_a_short_before_and_a_tag_will_do(busy: Pair) -> None:
    commits = log(busy.fw1).commits
    assert log(busy.fw1, before=commits[3].commit[:10]).commits == commits[4:]
    at = next(number for number, one in enumerate(commits) if "sync/000001" in one.tags)
    assert log(busy.fw1, before="sync/000001").commits == commits[at + 1 :]


def test_a_node_without_a_commit_has_an_empty_history(tmp_path: Path) -> None:
    with single(tmp_path) as node:
        node.core.store.move_ref("refs/heads/main", None, node.core.store.head())
        assert log(node) == LogReply((), areas=("app", "more", "cluster"))


def test_a_tagged_commit_says_when_its_newest_tag_was_made(busy: Pair) -> None:
    entries = log(busy.fw1, limit=100).commits
    made = {tag.commit: rfc3339(tag.at_utc) for tag in busy.fw1.core.tags_here()[0]}
    assert made
    assert {entry.commit: entry.tagged_at for entry in entries if entry.tagged_at} == made
