"""What a core has forgotten of its jobs, its receipts still tell; on the node that asked and on the one that did it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsrv.apply.order import Outcome
from syncsrv.apply.steps import Steps
from syncsrv.control.codec import encode
from syncsrv.control.shapes import JobReply, JobRequest, NodeResult, RollbackRequest, Step, SyncRequest
from syncsrv.control.shapes_services import ServicesRequest
from syncsrv.core.jobs import Job, Jobs, UnknownJobError
from syncsrv.core.receipts import OUTPUT_KEPT, noted
from syncsrv.store.receipts import BadReceiptError, append_receipt, find_receipt, read_receipts
from syncsrv.store.signing import Signer, generate_key
from tests.core.corekit import Node, Pair, pair_of

ID = "20260101-000000-abcde0"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with pair_of(tmp_path) as pair:
        yield pair


def forget(node: Node) -> None:
    """What the end of a core does to the jobs that it remembers."""
    node.core.jobs = Jobs(node.core.clock)


def told(node: Node, job: str, after: int = 0) -> JobReply:
    reply = node.ask("job", JobRequest(job, after))
    assert isinstance(reply, JobReply)
    encode(JobReply, reply)
    return reply


def ended(reply: JobReply) -> list[tuple[str, Step]]:
    return [one for one in reply.steps if one[1].result != "running"]


def facts(reply: JobReply) -> tuple[object, ...]:
    asked = (reply.requested_by, reply.at, reply.origin, reply.reason, reply.subject)
    assert reply.ended_at >= reply.at
    return (reply.job, reply.kind, reply.state, reply.tag, *asked)


def test_a_sync_is_told_by_the_master_as_it_was(pair: Pair) -> None:
    live = pair.fw1.do("sync", SyncRequest(reason="the first"))
    forget(pair.fw1)
    kept = told(pair.fw1, live.job)
    assert facts(kept) == facts(live)
    assert (kept.reason, kept.tag, kept.requested_by, kept.origin) == ("the first", "sync/000001", "alice", "cli")
    assert dict(kept.nodes) == dict(live.nodes)
    assert sorted(kept.steps, key=repr) == sorted(ended(live), key=repr)
    assert told(pair.fw1, live.job, 3).steps == kept.steps[3:]
    (receipt,) = read_receipts(pair.fw1.core.store, 5)
    assert (receipt.body["kind"], receipt.body["result"]) == ("sync", "done")
    assert str(receipt.body["reason"]).startswith("fw2: 3 added")


def test_the_backup_tells_its_own_part(pair: Pair) -> None:
    pair.sync(reason="the first")
    (job,) = pair.fw2.core.jobs.recent()
    live = job.follow(0, 0.0)
    forget(pair.fw2)
    kept = told(pair.fw2, job.id)
    assert facts(kept) == facts(live)
    assert kept.requested_by == "alice via fw1"
    assert dict(kept.nodes) == {"fw2": live.nodes["fw2"]}
    assert list(kept.steps) == ended(live)


def test_what_failed_was_refused_or_reached_nobody_is_told_with_its_remedy(pair: Pair) -> None:
    (pair.fw2.home / "running").touch()
    pair.fw1.put("/etc/app/app.conf", "BROKEN")
    failed = pair.fw1.do("sync", SyncRequest())
    pair.fw1.put("/etc/app/app.conf", "good")
    pair.fw1.do("sync", SyncRequest())
    pair.fw2.put("/etc/app/app.conf", "edited")
    pair.fw1.put("/etc/app/app.conf", "better")
    refused = pair.fw1.do("sync", SyncRequest())
    pair.away.add("fw2")
    pair.fw1.links.hang_up("fw2")
    gone = pair.fw1.do("sync", SyncRequest())
    file = pair.fw1.etc / "cluster.yaml"
    file.write_text("areas: [")
    unfit = pair.fw1.do("sync", SyncRequest())
    forget(pair.fw1)
    for live, result in ((failed, "failed"), (refused, "refused"), (gone, "unreachable"), (unfit, "failed")):
        kept = told(pair.fw1, live.job).nodes["fw2"]
        assert kept.result == result
        was = live.nodes["fw2"]
        assert (kept.reason, kept.remedy, kept.guards) == (was.reason, was.remedy, was.guards)
        assert kept.reason
    assert told(pair.fw1, refused.job).nodes["fw2"].guards == ("drift",)
    assert [step.name for _, step in told(pair.fw1, unfit.job).steps] == ["commit what is pending"]
    (last, *_) = read_receipts(pair.fw1.core.store, 5)
    assert last.body["result"] == "failed"


def test_a_backup_that_cannot_reach_its_master_says_so_in_its_trail(pair: Pair) -> None:
    pair.away.add("fw1")
    pair.fw2.links.hang_up("fw1")
    live = pair.fw2.do("sync", SyncRequest())
    assert live.nodes["fw2"].result == "unreachable"
    forget(pair.fw2)
    assert told(pair.fw2, live.job).nodes == live.nodes
    assert pair.fw2.core.state.now.last is None, "nothing was tried on the node"


def test_a_dry_run_is_in_no_trail(pair: Pair) -> None:
    live = pair.fw1.do("sync", SyncRequest(dry_run=True))
    assert read_receipts(pair.fw1.core.store, 5) == []
    forget(pair.fw1)
    with pytest.raises(UnknownJobError, match=f"cannot show job {live.job}"):
        told(pair.fw1, live.job)


def test_services_of_a_peer_are_in_the_trail_of_both(pair: Pair) -> None:
    live = pair.fw1.do("act", ServicesRequest("fw2", "start", ("app",)))
    forget(pair.fw1)
    kept = told(pair.fw1, live.job)
    assert facts(kept) == facts(live)
    assert (kept.kind, kept.subject) == ("services start", "fw2: app")
    assert dict(kept.nodes) == dict(live.nodes)
    assert [(node, step.name) for node, step in kept.steps] == [("fw2", "start app")]
    (theirs,) = read_receipts(pair.fw2.core.store, 5)
    assert theirs.body["requested_by"] == "alice via fw1"
    pair.away.add("fw2")
    pair.fw1.links.hang_up("fw2")
    gone = pair.fw1.do("act", ServicesRequest("fw2", "stop", ("app",)))
    assert gone.nodes["fw2"].result == "unreachable"
    forget(pair.fw1)
    assert told(pair.fw1, gone.job).nodes == gone.nodes


def test_a_rollback_is_told_as_it_was(pair: Pair) -> None:
    old = pair.fw1.core.recorder.head() or ""
    pair.fw1.put("/etc/app/app.conf", "two")
    live = pair.fw1.do("rollback", RollbackRequest(old, reason="two was wrong"))
    forget(pair.fw1)
    kept = told(pair.fw1, live.job)
    assert facts(kept) == facts(live)
    assert (kept.nodes, list(kept.steps)) == (live.nodes, ended(live))


def test_much_output_is_kept_from_both_ends(pair: Pair) -> None:
    core = pair.fw1.core
    long = "begin" + "x" * (2 * OUTPUT_KEPT) + "end"
    step = Step("check app", "failed", 0.1, long)
    job = Job(ID, "sync", "alice", "2026-01-01T00:00:00Z")
    from_nodes = {"fw2": NodeResult("failed", "why", steps=(step,))}
    steps = Steps(job.id, core.clock, lambda _: None)
    noted(core, job, "sync", Outcome("failed", "why"), steps, nodes=from_nodes)
    output = told(pair.fw1, job.id).nodes["fw2"].steps[0].output
    assert len(output) < OUTPUT_KEPT + 100
    assert (output[:5], output[-3:]) == ("begin", "end")


def test_what_an_older_release_wrote_is_told_as_far_as_it_goes(pair: Pair) -> None:
    core = pair.fw1.core
    body = {"job": ID, "kind": "sync", "result": "put back", "reason": "r", "steps": [{"odd": 1}], "nodes": "x"}
    append_receipt(core.store, core.signer, body, "x", core.clock.utc(), "fw1")
    kept = told(pair.fw1, ID)
    assert (kept.nodes["fw1"].result, kept.nodes["fw1"].reason, kept.steps) == ("failed", "r", ())


def test_a_receipt_that_somebody_else_wrote_is_not_believed(pair: Pair, tmp_path: Path) -> None:
    core = pair.fw1.core
    generate_key(tmp_path / "other")
    other = Signer.load(tmp_path / "other", "somebody")
    append_receipt(core.store, other, {"job": ID, "kind": "sync"}, "x", core.clock.utc(), "fw1")
    with pytest.raises(BadReceiptError, match="a key that is not known here"):
        told(pair.fw1, ID)


@pytest.mark.parametrize("job", ["", ID[:-1], '"', f'{ID}", "kind": "sync', "\n", "é\\", f"../{ID}", ID[:-1] + "f"])
def test_only_a_whole_id_finds_one(pair: Pair, job: str) -> None:
    core = pair.fw1.core
    body = {"job": ID, "kind": "sync", "reason": f'"job": "{job}"'}
    append_receipt(core.store, core.signer, body, "x", core.clock.utc(), "fw1")
    with pytest.raises(UnknownJobError):
        told(pair.fw1, job)
    assert find_receipt(core.store, 0, "job", ID) is None
    assert find_receipt(core.store, 1, "job", ID) is not None
