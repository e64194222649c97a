"""Jobs: followed step by step, aborted, kept; a bug ends one as failed and is not hidden."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

import pytest

from syncsrv.clock import SystemClock
from syncsrv.control.shapes import NodeResult, Step
from syncsrv.core.jobs import KEPT, RUNNING, Job, Jobs, TooManyJobsError, UnknownJobError
from syncsrv.errors import SyncsrvError
from tests.support.wait import until


def test_steps_are_followed_as_they_come_and_the_result_ends_it() -> None:
    go = threading.Event()

    def work(job: Job) -> Mapping[str, NodeResult]:
        job.publish("fw2", Step("one", "done"))
        go.wait(10)
        job.publish("fw2", Step("two", "done"))
        return {"fw2": NodeResult("done")}

    jobs = Jobs(SystemClock())
    job = jobs.start("sync", "alice", "fw1", work)
    first = job.follow(0, 10)
    assert [step.name for _, step in first.steps] == ["one"]
    assert first.state == "running"
    assert jobs.running() == [job]
    go.set()
    assert jobs.join(10)
    last = job.follow(1, 10)
    assert [step.name for _, step in last.steps] == ["two"]
    assert last.nodes["fw2"].result == "done"
    assert jobs.running() == []


def test_an_error_of_ours_is_the_result_and_a_bug_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(job: Job) -> Mapping[str, NodeResult]:
        raise SyncsrvError("cannot do it: no", "do something else")

    def bug(job: Job) -> Mapping[str, NodeResult]:
        raise ZeroDivisionError

    jobs = Jobs(SystemClock())
    refused = jobs.start("sync", "alice", "fw1", refuse)
    assert jobs.join(10)
    assert refused.nodes["fw1"] == NodeResult("failed", "cannot do it: no", "do something else")
    with caplog.at_level(logging.ERROR):
        broken = jobs.start("sync", "alice", "fw1", bug)
        assert jobs.join(10)
    assert broken.nodes["fw1"].result == "failed"
    assert "ZeroDivisionError" in caplog.text
    assert broken.id in caplog.text


def test_abort_asks_the_worker_and_an_unknown_job_is_named() -> None:
    asked: list[str] = []
    started = threading.Event()
    done = threading.Event()

    def work(job: Job) -> Mapping[str, NodeResult]:
        job.on_abort.append(asked.append)
        started.set()
        done.wait(10)
        return {}

    jobs = Jobs(SystemClock())
    job = jobs.start("sync", "alice", "fw1", work)
    started.wait(10)
    jobs.abort(job.id, "bob")
    assert asked == ["bob"]
    assert not jobs.join(0.0), "it is still at work"
    done.set()
    assert jobs.join(10)
    with pytest.raises(UnknownJobError, match="cannot show job nothing"):
        jobs.get("nothing")


def test_the_oldest_are_forgotten_but_never_one_that_runs() -> None:
    go = threading.Event()

    def wait(job: Job) -> Mapping[str, NodeResult]:
        go.wait(30)
        return {}

    jobs = Jobs(SystemClock())
    oldest = jobs.start("sync", "alice", "fw1", wait)
    for _ in range(KEPT + 5):
        jobs.start("sync", "alice", "fw1", lambda job: {})
        until(lambda: jobs.running() == [oldest], what="it to end")
    assert jobs.get(oldest.id) is oldest
    go.set()
    assert jobs.join(30)
    jobs.start("sync", "alice", "fw1", lambda job: {})
    until(lambda: len(jobs.recent(KEPT * 2)) <= KEPT, what="the oldest to be forgotten")
    assert jobs.recent(1)[0].id != oldest.id


def test_only_so_many_run_at_once() -> None:
    go = threading.Event()
    begun: list[str] = []

    def wait(job: Job) -> Mapping[str, NodeResult]:
        begun.append(job.id)
        go.wait(30)
        return {}

    jobs = Jobs(SystemClock())
    for _ in range(RUNNING):
        jobs.start("sync", "alice", "fw1", wait)
    until(lambda: len(begun) == RUNNING, what="all to run")
    with pytest.raises(TooManyJobsError, match="cannot begin services: 50 jobs are running already") as refused:
        jobs.start("services", "mallory", "fw1", wait)
    assert refused.value.code == "busy"
    assert len(jobs.recent(KEPT)) == len(begun) == RUNNING
    go.set()
    assert jobs.join(30)
    jobs.start("services", "alice", "fw1", wait)
    assert jobs.join(30)
