"""Roll back through a whole core: what comes back, what is left alone, what the node says of it afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsrv.control.shapes import JobReply, NodeResult, RollbackRequest, Status, SyncRequest
from syncsrv.errors import UsageError
from syncsrv.store.receipts import read_receipts
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


def save(node: Node, text: str, path: str = "/etc/app/app.conf") -> str:
    node.put(path, text)
    commit = node.core.record(via="watch").commit
    assert commit is not None
    return commit


def back(node: Node, rev: str, **more: object) -> NodeResult:
    reply: JobReply = node.do("rollback", RollbackRequest(rev, **more))  # type: ignore[arg-type] # its own fields
    return reply.nodes[node.name]


def test_the_older_content_comes_back_as_a_new_commit_and_the_service_loads_it(node: Node) -> None:
    (node.home / "running").touch()
    save(node, "two")
    done = back(node, "main~1", reason="two was wrong")
    assert (done.result, done.reason) == ("done", "1 changed: /etc/app/app.conf")
    assert (node.text("/etc/app/app.conf"), node.told()) == ("one", ["reload"])
    head = node.core.store.read_commit(node.core.recorder.head() or "")
    assert head.author == "alice"
    assert head.subject.startswith("roll back app, more to main~1 (")
    assert head.subject.endswith("): two was wrong")
    (receipt,) = read_receipts(node.core.store, 5)
    assert receipt.body["kind"] == "rollback"
    assert back(node, "main~1").result == "done"
    assert node.text("/etc/app/app.conf") == "two", "a rollback can be rolled back"


def test_a_dry_run_changes_nothing(node: Node) -> None:
    head = save(node, "two")
    done = back(node, "main~1", dry_run=True)
    assert (done.result, "it would be: 1 changed" in done.reason) == ("done", True)
    assert (node.text("/etc/app/app.conf"), node.core.recorder.head()) == ("two", head)
    assert read_receipts(node.core.store, 5) == []


def test_a_named_area_alone_comes_back(node: Node) -> None:
    save(node, "two")
    save(node, "more two", "/etc/more.conf")
    assert back(node, "main~2", areas=("more",)).result == "done"
    assert (node.text("/etc/app/app.conf"), node.text("/etc/more.conf")) == ("two", "more")


def test_areas_of_today_that_were_not_known_then_are_left_alone(node: Node) -> None:
    then = node.core.recorder.head() or ""
    text = (node.etc / "cluster.yaml").read_text()
    (node.etc / "cluster.yaml").write_text(text.replace("areas:\n", "areas:\n  late: {paths: [/etc/late]}\n"))
    save(node, "late", "/etc/late")
    save(node, "two")
    assert back(node, then).result == "done"
    assert (node.text("/etc/app/app.conf"), node.text("/etc/late")) == ("one", "late")
    assert "late" in node.core.cluster.areas
    refused = back(node, then, areas=("cluster",))
    assert refused.result == "done"
    assert "late" not in node.core.cluster.areas, "the area cluster was named: its text is in force again"
    assert node.text("/etc/late") == "late"


def test_what_makes_no_sense_starts_no_job(node: Node) -> None:
    with pytest.raises(UnknownRevisionError):
        node.ask("rollback", RollbackRequest("nothing"))
    with pytest.raises(UsageError, match=r"cannot roll back area nothing: .* has none of that name"):
        node.ask("rollback", RollbackRequest("main", ("nothing",)))
    text = (node.etc / "cluster.yaml").read_text()
    (node.etc / "cluster.yaml").write_text(text.replace("  more: {paths: [/etc/more.conf, /etc/more.d]}\n", ""))
    node.core.record(via="watch")
    with pytest.raises(UsageError, match=r"today's cluster\.yaml has none of that name"):
        node.ask("rollback", RollbackRequest("main~2", ("more",)))
    assert node.core.jobs.recent() == []


def test_other_commands_of_an_old_cluster_yaml_are_guarded_too(node: Node) -> None:
    text = (node.etc / "cluster.yaml").read_text()
    checked = text.replace("services: [app]}", "services: [app], check: [/bin/true]}")
    (node.etc / "cluster.yaml").write_text(checked)
    node.core.record(via="watch")
    (node.etc / "cluster.yaml").write_text(text)
    node.core.record(via="watch")
    refused = back(node, "main~1", areas=("cluster",))
    assert (refused.result, refused.guards) == ("refused", ("commands",))
    assert back(node, "main~1", areas=("cluster",), force=("commands",)).result == "done"
    assert (node.etc / "cluster.yaml").read_text() == checked


def test_a_backup_says_that_it_was_rolled_back_until_the_next_sync(pair: Pair) -> None:
    pair.sync()
    pair.fw1.put("/etc/app/app.conf", "two")
    pair.sync()
    assert back(pair.fw2, "sync/000001", reason="two was wrong").result == "done"
    status = pair.fw2.ask("status")
    assert isinstance(status, Status)
    assert (status.sync.state, status.sync.drift) == ("drifted", ("/etc/app/app.conf",))
    assert "rolled back on the node itself" in status.sync.reason
    assert "two was wrong" in status.sync.reason
    assert pair.fw2.core.state.now.newest is not None
    assert pair.fw2.core.state.now.newest.tag == "sync/000002"
    forced = pair.fw1.do("sync", SyncRequest(force=("drift",))).nodes["fw2"]
    assert (forced.result, pair.fw2.text("/etc/app/app.conf")) == ("done", "two")
    assert pair.fw2.core.state.now.rolled_back_here is None


def test_a_failing_rollback_is_remembered_as_rolled_back(node: Node) -> None:
    save(node, "BROKEN")
    save(node, "good")
    (node.home / "running").touch()
    failed = back(node, "main~1")
    assert (failed.result, failed.reason.endswith("everything was put back")) == ("failed", True)
    assert node.text("/etc/app/app.conf") == "good"
    last = node.core.state.now.last
    assert last is not None
    assert last.result == "rolled_back"
