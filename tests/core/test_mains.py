"""A peer's main as it is known here: fetched when asked and when it moved, with an age that is true."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsrv.control.shapes import JobReply, SyncRequest
from syncsrv.control.shapes_history import CommitRequest, DiffReply, DiffRequest
from syncsrv.core.mains import AGAIN_S, follow_main, known_main, peer_main, remember_main
from syncsrv.errors import UnreachableError
from tests.core.corekit import Node, Pair, pair_of


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with pair_of(tmp_path) as pair:
        yield pair


def cut(pair: Pair, name: str) -> None:
    pair.away.add(name)
    for node in pair.nodes.values():
        node.links.hang_up(name)


def head(node: Node) -> str:
    found = node.core.recorder.head()
    assert found is not None
    return found


def test_what_a_sync_left_on_the_backup_is_known_when_the_backup_is_away(pair: Pair) -> None:
    assert pair.sync().result == "done"
    pair.fw1.hear()
    follow_main(pair.fw1.core, "fw2", head(pair.fw2))
    cut(pair, "fw2")
    reply = pair.fw1.ask("diff", DiffRequest())
    assert isinstance(reply, DiffReply)
    assert (reply.nodes["fw2"].base, reply.nodes["fw2"].files) == (head(pair.fw2), ())
    age_s = reply.nodes["fw2"].age_s
    assert age_s is not None
    assert age_s < 60


def test_an_older_tree_is_not_as_young_as_the_last_answer(pair: Pair) -> None:
    assert peer_main(pair.fw1.core, "fw2") == (head(pair.fw2), None)
    old = head(pair.fw2)
    assert pair.sync().result == "done"
    pair.fw1.hear()
    cut(pair, "fw2")
    base, age_s = peer_main(pair.fw1.core, "fw2")
    made = pair.fw1.core.store.read_commit(old).at_utc
    assert base == old
    assert age_s is not None
    assert abs(age_s - (pair.fw1.core.clock.utc() - made).total_seconds()) < 2


def test_a_main_that_could_not_be_fetched_is_tried_again_but_not_at_each_poll(pair: Pair) -> None:
    core = pair.fw1.core
    cut(pair, "fw2")
    with pytest.raises(UnreachableError):
        follow_main(core, "fw2", head(pair.fw2))
    pair.away.clear()
    follow_main(core, "fw2", head(pair.fw2))
    assert known_main(core, "fw2") is None, "tried a moment ago"
    tried, at = core.live.followed["fw2"]
    core.live.followed["fw2"] = (tried, at - AGAIN_S)
    follow_main(core, "fw2", head(pair.fw2))
    assert known_main(core, "fw2") == head(pair.fw2)


def test_another_main_is_fetched_at_once_also_where_an_older_answer_came_last(pair: Pair) -> None:
    core = pair.fw1.core
    follow_main(core, "fw2", head(pair.fw2))
    old = head(pair.fw2)
    pair.fw2.put("/etc/app/local", "mine")
    pair.fw2.ask("commit", CommitRequest())
    follow_main(core, "fw2", head(pair.fw2))
    assert known_main(core, "fw2") == head(pair.fw2) != old
    remember_main(core, "fw2", old)
    follow_main(core, "fw2", head(pair.fw2))
    assert known_main(core, "fw2") == head(pair.fw2)
    follow_main(core, "fw2", None)


def test_many_who_learn_of_it_at_once_do_not_trip_over_each_other(pair: Pair) -> None:
    core = pair.fw1.core
    pair.fw1.put("/etc/app/app.conf", "again")
    one = head(pair.fw1)
    pair.fw1.ask("commit", CommitRequest())
    two = head(pair.fw1)
    failed: list[BaseException] = []

    def learn(commit: str) -> None:
        try:
            for _ in range(50):
                remember_main(core, "fw2", commit)
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=learn, args=(commit,)) for commit in (one, two, one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_two_syncs_at_once_both_end_well(pair: Pair) -> None:
    replies: list[JobReply] = []

    def sync() -> None:
        replies.append(pair.fw1.do("sync", SyncRequest()))

    for turn in range(5):
        pair.fw1.put("/etc/app/app.conf", f"turn {turn}")
        replies.clear()
        threads = [threading.Thread(target=sync) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(one.nodes["fw2"].result for one in replies) == ["done", "unchanged"], [
            one.nodes["fw2"].reason for one in replies
        ]
        assert pair.fw2.text("/etc/app/app.conf") == f"turn {turn}"
