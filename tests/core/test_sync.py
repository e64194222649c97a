"""A sync from the master's button to the backup's memory, with both cores in this process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.apply.journal import Journal, Record
from syncsrv.apply.settle import JOB_REFS, KNOWN_GOOD
from syncsrv.clock import SystemClock
from syncsrv.control.shapes import JobRequest, JobStarted, PullRequest, Status, SyncRequest
from syncsrv.control.verbs import Door
from syncsrv.core.app import App
from syncsrv.core.backup import QUARANTINE, applied_again, applied_by
from syncsrv.core.master import CannotTagError
from syncsrv.core.offer import WrongRoleError
from syncsrv.core.state import StateFile
from syncsrv.errors import DeniedError, SyncsrvError, UnreachableError, UsageError
from syncsrv.store.receipts import read_receipts
from syncsrv.store.tags import make_tag
from tests.apply.enginekit import Host, Points, file, sync, tagged
from tests.core.corekit import ALICE, Node, Pair, pair_of, steps
from tests.support.wait import until


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with pair_of(tmp_path) as pair:
        yield pair


def tags(node: Node) -> dict[str, str]:
    return node.core.store.refs("refs/tags/")


def status(node: Node) -> Status:
    found = node.ask("status")
    assert isinstance(found, Status)
    return found


def test_the_backup_becomes_equal_and_both_say_so(pair: Pair) -> None:
    reply = pair.fw1.do("sync", SyncRequest(reason="first"))
    assert (reply.tag, reply.nodes["fw2"].result) == ("sync/000001", "done")
    assert pair.fw2.text("/etc/app/app.conf") == "one"
    ours, theirs = steps(reply, "fw1"), steps(reply, "fw2")
    assert ours["tag"].output == "sync/000001 (app, more, cluster)"
    assert theirs["verify"].output.endswith("signed by fw1, asked for by alice")
    assert tags(pair.fw1) == tags(pair.fw2)
    applied = pair.fw2.core.state.now.applied
    assert applied.keys() == {"app", "more", "cluster"}
    assert applied["app"].commit == pair.fw1.core.recorder.head()
    assert applied["app"].result == pair.fw2.core.recorder.head() == pair.fw2.core.store.ref(KNOWN_GOOD)
    for node in (pair.fw1, pair.fw2):
        assert node.core.store.refs(QUARANTINE) == node.core.store.refs(JOB_REFS) == {}
        node.hear()
    assert status(pair.fw1).peers["fw2"].state == "in_sync"
    (receipt,) = read_receipts(pair.fw2.core.store, 5)
    assert receipt.body["result"] == "done"
    assert receipt.body["requested_by"] == "alice via fw1"
    assert receipt.body["paths"] == ["/etc/app", "/etc/app/app.conf", "/etc/more.conf"]
    made = pair.fw2.core.store.read_commit(applied["app"].result)
    assert (made.author, made.subject) == ("alice", "sync/000001: first")


def test_an_equal_backup_keeps_the_tag_and_says_unchanged(pair: Pair) -> None:
    pair.sync()
    again = pair.sync()
    assert again.result == "unchanged"
    assert list(tags(pair.fw1)) == ["refs/tags/sync/000001"]
    part = pair.sync(areas=("more",))
    assert (part.result, list(tags(pair.fw1))) == ("unchanged", ["refs/tags/sync/000001", "refs/tags/sync/000002"])
    applied = pair.fw2.core.state.now.applied
    assert (applied["app"].tag, applied["more"].tag) == ("sync/000001", "sync/000002")
    assert status(pair.fw2).sync.applied_tag == "sync/000002"


def test_only_the_named_area_is_brought(pair: Pair) -> None:
    pair.sync()
    pair.fw1.put("/etc/app/app.conf", "two")
    pair.fw1.put("/etc/more.conf", "two")
    assert pair.sync(areas=("more",)).reason == "1 changed: /etc/more.conf"
    assert (pair.fw2.text("/etc/app/app.conf"), pair.fw2.text("/etc/more.conf")) == ("one", "two")


def test_a_dry_run_of_what_was_never_tagged_leaves_no_ref_and_no_trace(pair: Pair) -> None:
    pair.sync()
    pair.fw1.put("/etc/app/app.conf", "two")
    before = pair.fw2.core.store.refs()
    state = pair.fw2.core.state.now
    reply = pair.fw1.do("sync", SyncRequest(dry_run=True))
    assert (reply.tag, reply.nodes["fw2"].result) == (None, "done")
    assert "it would be: 1 changed: /etc/app/app.conf" in reply.nodes["fw2"].reason
    assert pair.fw2.text("/etc/app/app.conf") == "one"
    for node in (pair.fw1, pair.fw2):
        assert list(tags(node)) == ["refs/tags/sync/000001"]
        assert node.core.store.refs(JOB_REFS) == node.core.store.refs(QUARANTINE) == {}
    after = pair.fw2.core.store.refs()
    assert after.pop("refs/remotes/fw1/main") != before.pop("refs/remotes/fw1/main")
    assert after == before
    assert pair.fw2.core.state.now == state
    assert len(read_receipts(pair.fw2.core.store, 5)) == 1


def test_a_tag_for_a_dry_run_is_never_applied(pair: Pair) -> None:
    """As a master would that does not keep to it: its signed dry-run object, offered for a real run."""
    commit = pair.fw1.core.recorder.head()
    assert commit is not None
    made = make_tag(
        pair.fw1.core.store, "dry-run/j", commit, reason="r", areas=("app",), node="fw1", requested_by="alice",
        signer=pair.fw1.core.signer, when_utc=pair.fw1.core.clock.utc(),
    )  # fmt: skip
    pair.fw1.core.store.move_ref(JOB_REFS + "j", made, None)
    peer = replace(ALICE, node="fw1")
    reply = pair.fw2.do("pull", PullRequest("dry-run/j", made, ("app",)), peer)
    assert reply.nodes["fw2"].result == "failed"
    assert "signed for a dry run only" in reply.nodes["fw2"].reason
    assert not (pair.fw2.root / "etc/app").exists()
    assert status(pair.fw2).sync.state == "blocked"


def test_an_older_tag_comes_back_only_by_force_and_a_commit_gets_its_tag(pair: Pair) -> None:
    pair.sync()
    first = pair.fw1.core.recorder.head() or ""
    pair.fw1.put("/etc/app/app.conf", "two")
    pair.sync()
    refused = pair.sync(rev="sync/000001")
    assert (refused.result, refused.guards) == ("refused", ("older",))
    assert pair.fw2.text("/etc/app/app.conf") == "two"
    assert status(pair.fw2).sync.state == "in_sync", "a refusal changes nothing"
    assert pair.sync(rev=first[:8], force=("older",)).result == "done"
    assert pair.fw2.text("/etc/app/app.conf") == "one"
    assert list(tags(pair.fw1)) == ["refs/tags/sync/000001", "refs/tags/sync/000002"]


def test_other_commands_in_the_tag_need_an_admin(pair: Pair) -> None:
    pair.sync()
    text = (pair.fw1.etc / "cluster.yaml").read_text()
    (pair.fw1.etc / "cluster.yaml").write_text(
        text.replace("areas:\n", "areas:\n  x: {paths: [/etc/x], check: [/bin/true]}\n")
    )
    pair.fw1.put("/etc/x", "x")
    refused = pair.sync(force=("commands",))
    assert (refused.result, refused.guards) == ("refused", ("commands",))
    assert "areas.x.check: nothing -> /bin/true" in refused.reason
    pair.power = "admin"
    pair.fw1.links.hang_up("fw2")
    assert pair.sync(force=("commands",)).result == "done"
    assert pair.fw2.core.cluster == pair.fw1.core.cluster, "the new one is in force at once"


def test_a_node_that_is_away_is_unreachable_and_its_tag_is_kept(pair: Pair) -> None:
    pair.away.add("fw2")
    pair.fw1.links.hang_up("fw2")
    gone = pair.sync()
    assert gone.result == "unreachable"
    assert gone.reason.startswith("cannot reach fw2: ")
    assert list(tags(pair.fw1)) == ["refs/tags/sync/000001"]
    assert tags(pair.fw2) == {}


def test_a_backup_pulls_by_itself_and_uses_what_it_verified_when_the_master_is_away(pair: Pair) -> None:
    pair.sync()
    pair.fw1.put("/etc/app/app.conf", "two")
    pair.sync(dry_run=True)
    own = pair.fw2.do("sync", SyncRequest()).nodes["fw2"]
    assert own.result == "unchanged", "the newest tag, not the newest commit"
    pair.away.add("fw1")
    pair.fw2.links.hang_up("fw1")
    pair.fw2.put("/etc/app/app.conf", "edited on the backup")
    reply = pair.fw2.do("sync", SyncRequest(force=("drift",)))
    assert reply.nodes["fw2"].result == "done"
    assert "fw1 is away" in steps(reply, "fw2")["fetch"].output
    assert pair.fw2.text("/etc/app/app.conf") == "one"
    named = pair.fw2.do("sync", SyncRequest(rev="000001")).nodes["fw2"]
    assert (named.result, named.reason) == ("unchanged", "everything was equal already")


def test_a_backup_without_any_tag_and_without_its_master_is_unreachable(pair: Pair) -> None:
    pair.away.add("fw1")
    pair.fw2.links.hang_up("fw1")
    assert pair.fw2.do("sync", SyncRequest()).nodes["fw2"].result == "unreachable"
    assert not (pair.fw2.root / "etc/app").exists()


def test_what_makes_no_sense_is_said_before_a_job_is_started(pair: Pair) -> None:
    def refused(node: Node, request: object, why: str, verb: str = "sync") -> None:
        with pytest.raises(UsageError, match=why):
            node.ask(verb, request, replace(ALICE, node="fw1") if verb == "pull" else ALICE)

    refused(pair.fw1, SyncRequest(nodes=("fw9",)), "cannot synchronize fw9: no such peer")
    refused(pair.fw1, SyncRequest(confirm_within_s=60), "cannot revert by itself yet")
    refused(pair.fw2, SyncRequest(nodes=("fw1",)), "cannot synchronize fw1: this is the backup fw2")
    refused(pair.fw2, SyncRequest(rev="sync/000007"), "cannot synchronize to sync/000007: no such tag here")
    refused(pair.fw1, PullRequest("sync/000001", "a" * 40, ()), "its role is master", "pull")
    assert issubclass(WrongRoleError, UsageError)
    assert pair.fw1.core.jobs.recent() == []


def test_what_a_sync_cannot_find_starts_no_job(pair: Pair) -> None:
    with pytest.raises(UsageError, match="has none of that name"):
        pair.sync(areas=("nothing",))
    with pytest.raises(UsageError, match="cannot find the commit 'no-such-revision'"):
        pair.sync(rev="no-such-revision")
    assert status(pair.fw1).sync.last is None
    assert tags(pair.fw1) == {}


def test_a_master_whose_own_state_is_unfit_tags_nothing(pair: Pair) -> None:
    good = (pair.fw1.etc / "cluster.yaml").read_text()
    (pair.fw1.etc / "cluster.yaml").write_text("areas: [")
    broken = pair.sync()
    assert (broken.result, "cannot tag main: cluster.yaml is not in force" in broken.reason) == ("failed", True)
    (pair.fw1.etc / "cluster.yaml").write_text(good.replace("services: [app]}", "services: [app], limit: 10}"))
    pair.fw1.put("/etc/app/big", "more than ten bytes")
    large = pair.sync()
    assert "these files are not in the history, so no backup would get them: /etc/app/big" in large.reason
    assert issubclass(CannotTagError, SyncsrvError)
    assert tags(pair.fw1) == {}
    (pair.fw1.root / "etc/app/big").unlink()
    assert pair.sync().result == "done"


def test_a_service_that_refuses_makes_the_backup_rolled_back_until_the_next_success(pair: Pair) -> None:
    (pair.fw2.home / "running").touch()
    pair.fw1.put("/etc/app/app.conf", "BROKEN")
    failed = pair.sync()
    assert failed.result == "failed"
    assert failed.reason.endswith("everything was put back")
    assert not (pair.fw2.root / "etc/app").exists()
    state = status(pair.fw2).sync
    assert (state.state, state.applied_tag) == ("awaiting_first_sync", None)
    (receipt, *_) = read_receipts(pair.fw2.core.store, 1)
    assert receipt.body["result"] == "put back"
    pair.fw1.put("/etc/app/app.conf", "good")
    assert pair.sync().result == "done"
    pair.fw1.put("/etc/app/app.conf", "BROKEN again")
    pair.sync()
    assert status(pair.fw2).sync.state == "rolled_back"
    refused = pair.sync(rev="sync/000002", force=())
    assert refused.result == "unchanged"
    assert status(pair.fw2).sync.state != "rolled_back"


@pytest.fixture
def hanging(pair: Pair) -> str:
    """A sync whose check on fw2 does not end."""
    text = (pair.fw1.etc / "cluster.yaml").read_text()
    text = text.replace("services: [app]}", "services: [app], check: [/bin/sleep, '60']}")
    for node in (pair.fw1, pair.fw2):
        (node.etc / "cluster.yaml").write_text(text)
        node.core.record(via="watch")
    started = pair.fw1.ask("sync", SyncRequest())
    assert isinstance(started, JobStarted)
    job = pair.fw1.core.jobs.get(started.job)
    until(lambda: "guards" in steps(job.follow(0, 1.0), "fw2"), 30, "the check to begin")
    return job.id


def test_an_abort_reaches_the_backup(pair: Pair, hanging: str) -> None:
    pair.fw1.ask("abort", JobRequest(hanging))
    ended = pair.fw1.end(hanging).nodes["fw2"]
    assert (ended.result, "alice via fw1 aborted it" in ended.reason) == ("failed", True)
    assert not (pair.fw2.root / "etc/app").exists()


def test_an_abort_that_does_not_reach_the_backup_says_so(pair: Pair, hanging: str) -> None:
    pair.away.add("fw2")
    pair.fw1.links.hang_up("fw2")
    with pytest.raises(UnreachableError, match="cannot reach fw2"):
        pair.fw1.ask("abort", JobRequest(hanging))
    pair.away.clear()
    pair.fw1.ask("abort", JobRequest(hanging))
    assert pair.fw1.end(hanging).nodes["fw2"].result == "failed"


def test_the_end_of_core_does_not_wait_for_a_node_that_is_away(pair: Pair, hanging: str) -> None:
    pair.away.add("fw2")
    pair.fw1.links.hang_up("fw2")
    job = pair.fw1.core.jobs.get(hanging)
    pair.fw1.close()
    assert job.state != "running", "its end was waited for, not the time until it would be left alone"
    again = App(pair.fw1.etc, SystemClock())  # its lock is free
    again.stop()
    del pair.nodes["fw1"]


@pytest.mark.parametrize("kind", ["sync", "rollback"])
def test_what_is_remembered_of_a_run_is_the_same_whoever_ends_it(tmp_path: Path, kind: str) -> None:
    """A core that lived to its end, and one that had only the journal."""
    host = Host(tmp_path / "h")
    host.put("/etc/app/app.conf", "one")
    seen: list[Record | None] = []
    points = Points(0, lambda _name: seen.append(Journal(host.state).load()), on=True)
    core = host.start(points)
    core.record()
    target = tagged(core, {"/etc/app/app.conf": file(core.store, "two")})
    order = sync(core, target, reason="why", kind=kind)
    assert core.run(order).result == "done"
    record = next(one for one in seen if one is not None)
    state = StateFile(tmp_path / "none").now
    assert applied_again(state, record, "c" * 40) == applied_by(state, order, "c" * 40) != state


def test_a_master_that_may_admin_lends_that_to_no_operator(pair: Pair) -> None:
    pair.sync()
    pair.power = "admin"
    pair.fw1.links.hang_up("fw2")
    cluster = pair.fw1.etc / "cluster.yaml"
    cluster.write_text(cluster.read_text().replace("/ctl, reload]", "/ctl, reload, other]"))
    operator = replace(ALICE, door=Door.WEB, power="operator", person="oscar", via="web")
    with pytest.raises(DeniedError, match="cannot force commands: it needs the role admin, oscar is operator"):
        pair.fw1.do("sync", SyncRequest(force=("commands", "mass-deletion")), operator)
    assert pair.fw1.do("sync", SyncRequest(force=("mass-deletion",)), operator).nodes["fw2"].guards == ("commands",)
    assert pair.sync(force=("commands",)).result == "done"
