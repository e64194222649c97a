"""A job's sentence, its steps, and what it has not come to."""

from __future__ import annotations

import pytest

from syncsrv.control.shapes import JobInfo, JobReply, NodeResult, Step
from syncsrv.control.shapes_page import ReceiptInfo
from syncsrv.web.views.jobs import APPLY, lines, merged, to_come, view, worst
from syncsrv.web.views.jobtitle import title


def job(
    kind: str = "sync", subject: str = "fw2", state: str = "done", tag: str | None = None, **nodes: NodeResult
) -> JobReply:
    return JobReply("j", kind, state, tag=tag, nodes=nodes, subject=subject)


DONE, UNCHANGED = NodeResult("done"), NodeResult("unchanged")
PUT_BACK = NodeResult("failed", "why", steps=(Step("put back", "done"),))
NOT_PUT_BACK = NodeResult("failed", "why", steps=(Step("put back", "failed"),))


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (job(state="running"), "Synchronizing fw2"),
        (job(state="running", tag="sync/000002"), "Synchronizing fw2 to sync/000002"),
        (job(state="running", subject="the newest tag"), "Synchronizing fw1 to the newest tag"),
        (job(state="running", subject="sync/000003: app", tag="sync/000003"), "Synchronizing fw1 to sync/000003"),
        (job(), "Synchronizing fw2: it has ended"),
        (job(tag="sync/000002", fw2=DONE), "fw2 is equal now: sync/000002."),
        (job(tag="sync/2", fw2=DONE, fw3=UNCHANGED), "fw2 is equal now: sync/2; fw3 was equal already: sync/2."),
        (job(fw2=PUT_BACK), "The sync failed on fw2; everything was put back."),
        (job(fw2=NOT_PUT_BACK), "The sync failed on fw2."),
        (job(fw2=NodeResult("refused", guards=("drift", "older"))), "fw2 was left as it is: drift, older."),
        (job(fw2=NodeResult("refused")), "fw2 was left as it is: it was refused."),
        (job(fw2=NodeResult("unreachable")), "fw2 could not be reached."),
        (job(fw1=NodeResult("unreachable")), "fw1 could not reach its master."),
        (job(fw2=NodeResult("odd")), "fw2: odd."),
        (job(subject="fw2 (dry run)", fw2=DONE), "Nothing was changed on fw2: this was a dry run."),
        (job("rollback", "to abc", "running"), "Rolling back fw1 to abc"),
        (job("rollback", "to abc", fw1=DONE), "fw1 was rolled back to abc."),
        (job("rollback", "to abc", fw1=UNCHANGED), "fw1 was so already: nothing to roll back."),
        (job("rollback", "to abc", fw1=PUT_BACK), "The rollback failed on fw1; everything was put back."),
        (job("services restart", "fw2: app", "running"), "Restarting app on fw2"),
        (job("services restart", "fw2: app", fw2=DONE), "app was restarted on fw2."),
        (job("services reload", "fw2: app, dns", fw2=DONE), "app, dns were reloaded on fw2."),
        (job("services restart-all", "fw2", fw2=DONE), "all services were restarted on fw2."),
        (job("services stop", "fw2: app", fw2=NodeResult("failed")), "Stopping app failed on fw2."),
        (job("odd", "thing", "running"), "Odd thing"),
        (job("odd", "thing", fw2=DONE), "fw2: done."),
    ],
)  # fmt: skip
def test_the_sentence(one: JobReply, said: str) -> None:
    assert title(one, "fw1") == said


def test_a_step_is_shown_once_and_one_that_never_ended_is_not_shown_as_running() -> None:
    steps = (
        ("fw1", Step("tag", "running")),
        ("fw2", Step("tag", "running")),
        ("fw1", Step("tag", "done", 1.0, "one line\n")),
        ("fw2", Step("check app", "failed", 2.0, "two\nlines")),
        ("fw1", Step("tag", "running")),
    )
    rows = merged(steps, running=True)
    assert [(row.node, row.name, row.result) for row in rows] == [
        ("fw1", "tag", "done"), ("fw2", "tag", "running"), ("fw2", "check app", "failed"), ("fw1", "tag", "running"),
    ]  # fmt: skip
    assert (rows[0].first, rows[0].output, rows[0].is_open) == ("one line", "", False)
    assert (rows[2].first, rows[2].output, rows[2].is_open) == ("", "two\nlines", True)
    assert [row.result for row in merged(steps, running=False)] == [
        "done", "not heard of again", "failed", "not heard of again",
    ]  # fmt: skip
    (long,) = merged([("fw2", Step("x", "done", 0.0, "x" * 301))], running=False)
    assert (long.first, len(long.output)) == ("", 301)


def test_what_is_to_come_follows_what_the_run_has_reached() -> None:
    def rest(one: JobReply, *names: str, node: str = "fw2") -> tuple[str, ...]:
        return to_come(one, merged([(node, Step(name, "done")) for name in names], running=True), "fw1")

    running = job(state="running")
    assert rest(running) == tuple(words for _, words in APPLY)
    assert rest(running, "commit what is pending", node="fw1")[0] == "Tag"
    assert rest(running, "verify", "guards")[0] == "Run the checks"
    assert rest(running, "check app")[0] == "Write the journal"
    assert rest(running, "reload app") == ("Read again", "Known good, receipt")
    assert rest(running, "write", "put back", "record what is live")[0] == "Read back", "it does not go back"
    assert rest(job(state="running", subject="fw2 (dry run)"), "guards") == ("Run the checks",)
    assert rest(job("rollback", "to x", "running"))[0] == "Record what is live"
    assert rest(job("services restart", "fw2: app", "running")) == ()
    assert rest(job(fw2=UNCHANGED), "guards") == ()
    assert rest(job(fw2=NodeResult("refused")), "guards")[0] == "Run the checks"


def test_the_remedy_stands_under_the_failed_step() -> None:
    failed = NodeResult("failed", "why", "mend it", steps=(Step("plan", "done"), Step("write", "failed")))
    shown = view(job(fw2=failed, fw1=DONE), "fw1")
    assert [row.remedy for row in shown.rows] == ["", "mend it"], "without steps of its own, those of its nodes"
    assert [one.node for one in shown.ended] == ["fw2", "fw1"], "what went wrong first"
    assert shown.kind == "bad"
    assert (shown.done, shown.total) == (2, 2 + len(shown.rest))


def test_colours() -> None:
    assert [worst(one) for one in (["done"], ["unchanged", "refused"], ["refused", "failed"], ["unreachable"], [])] == [
        "ok", "warn", "bad", "off", "off",
    ]  # fmt: skip
    assert worst(["odd"]) == "off", "what is not known is never green"


def receipt(job: str, at: str, **more: object) -> ReceiptInfo:
    return ReceiptInfo("c", at, "fw1", job, "sync", "sync/000001", "alice", "cli", "done", "", **more)  # type: ignore[arg-type] # its own fields


def test_the_list_has_running_jobs_first_and_each_job_once() -> None:
    known = (
        JobInfo("b", "sync", "done", "alice", "2026-01-02T00:00:00Z", subject="fw2", results={"fw2": "done"}),
        JobInfo("a", "sync", "running", "alice", "2026-01-01T00:00:00Z", subject="fw2"),
    )
    receipts = (
        receipt("b", "2026-01-02T00:00:00Z"),
        receipt("", "2026-01-03T00:00:00Z"),
        receipt("c", "2026-01-04T00:00:00Z", subject="fw2", nodes={"fw2": "done"}, why="because"),
    )
    found = lines(known, receipts, "fw1")
    assert [line.job for line in found] == ["a", "c", "b"]
    assert [line.running for line in found] == [True, False, False]
    assert (found[1].what, found[1].results, found[1].reason) == (
        "Synchronizing fw2 to sync/000001", (("fw2", "done"),), "because",
    )  # fmt: skip
