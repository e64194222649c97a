"""What a node does by the clock for itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsrv.control.shapes import Facts, NodeResult
from syncsrv.control.shapes_page import SchedulesReply
from syncsrv.core import upkeep
from syncsrv.core.jobs import Job
from syncsrv.core.peers import PeerBook
from syncsrv.errors import UnreachableError
from syncsrv.store.repack import LOOSE_DUE
from tests.core.corekit import Node, single
from tests.support.wait import until


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with single(tmp_path) as node:
        yield node


def packs(node: Node) -> int:
    return len(list((node.core.store.path / "objects" / "pack").glob("*.pack")))


def test_all_of_it_stands_in_the_timetable(node: Node) -> None:
    scanned = threading.Event()
    upkeep.begin(node.core, scanned.set)
    reply = node.ask("schedules")
    assert isinstance(reply, SchedulesReply)
    assert {one.name: one.when for one in reply.schedules} == {
        "scan": "every 60 s",
        "services": "every 5 s",
        "peers": "every 30 s",
        "repack": "every 1 hour",
    }
    assert all(one.enabled and one.next_at is None for one in reply.schedules)
    node.core.timetable.start()
    reply = node.ask("schedules")
    assert isinstance(reply, SchedulesReply)
    assert all(one.next_at for one in reply.schedules)
    assert not scanned.is_set()


def test_packing_waits_until_it_is_due_and_no_job_wants_the_repository(node: Node) -> None:
    assert upkeep.repack_if_due(node.core) == ""
    assert packs(node) == 0
    for number in range(LOOSE_DUE + 1):
        node.core.store.put_blob(f"{number}".encode())
    release = threading.Event()

    def work(_job: Job) -> dict[str, NodeResult]:
        release.wait(30)
        return {}

    job = node.core.jobs.start("sync", "alice", "fw1", work)
    assert upkeep.repack_if_due(node.core) == "put off: a job is under way"
    release.set()
    until(lambda: job.state != "running")
    assert upkeep.repack_if_due(node.core).endswith(" objects in one pack")
    assert packs(node) == 1
    assert upkeep.repack_if_due(node.core) == ""


def test_polling_that_ended_is_told_and_begins_anew(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    configured = {"fw2"}

    def away(peer: str, deadline_s: float) -> Facts:
        raise UnreachableError(f"cannot reach {peer}: connection refused")

    core = node.core
    core.book = PeerBook(lambda: tuple(configured), away, lambda _peer, _facts: None, core.clock)
    core.book.start()
    assert upkeep.look_after_polls(core) == ""
    configured.clear()  # its thread ends when it looks again
    until(lambda: not any(thread.name == "poll-fw2" for thread in threading.enumerate()))
    assert upkeep.look_after_polls(core) == ""
    configured.add("fw2")
    assert upkeep.look_after_polls(core) == "the polling of fw2 had ended and began anew"
    assert "the polling of fw2 had ended; it begins anew" in caplog.text
    assert upkeep.look_after_polls(core) == ""
    core.book.stop()
