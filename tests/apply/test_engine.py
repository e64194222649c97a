"""One run through the one path: what it brings about, what it says, and what it refuses."""

from __future__ import annotations

import os
import stat
from dataclasses import replace

import pytest

from syncsrv.apply.hooks import HookError
from syncsrv.apply.journal import JournalBusyError
from syncsrv.apply.order import CannotApplyError
from syncsrv.apply.record import MAIN
from syncsrv.apply.settle import JOB_REFS, KNOWN_GOOD
from syncsrv.apply.steps import AbortedError
from syncsrv.disk.file_errors import NoSpaceError
from syncsrv.plan.areas import Areas
from tests.apply.enginekit import CLUSTER, Host, Running, file, folder, link, sync, tagged
from tests.disk.kit import Hook


def well(node: Running) -> None:
    """Whatever happened, nothing of a run is left over."""
    assert not node.parts.journal.path.exists()
    assert node.store.refs(JOB_REFS) == {}
    assert node.record() is None, "main equals the disk"


def hook(host: Host, name: str, text: str) -> None:
    path = host.etc / "hooks" / name
    path.parent.mkdir(mode=0o755, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_sync_makes_files_main_services_and_memory_what_the_tag_says(host: Host, node: Running) -> None:
    before = node.parts.recorder.head()
    changes = {
        "/etc/app/app.conf": file(node.store, "two", 0o640),
        "/etc/app/gone": None,
        "/etc/app/sub": folder(0o750),
        "/etc/app/sub/new": file(node.store, "new"),
        "/etc/app/link": link(node.store, "../outside"),
    }
    target = tagged(node, changes)
    outcome = node.run(sync(node, target, reason="a new listener"))
    assert (outcome.result, outcome.put_back, outcome.guards) == ("done", False, ())
    assert outcome.reason == (
        "3 added, 1 changed, 1 deleted: /etc/app/app.conf, /etc/app/gone, /etc/app/link, /etc/app/sub, /etc/app/sub/new"
    )
    assert host.text("/etc/app/app.conf") == "two"
    assert stat.S_IMODE((host.root / "etc/app/app.conf").stat().st_mode) == 0o640
    assert stat.S_IMODE((host.root / "etc/app/sub").stat().st_mode) == 0o750
    assert os.readlink(host.root / "etc/app/link") == "../outside"
    assert not (host.root / "etc/app/gone").exists()
    assert host.text("/etc/app/local.bak") == "excluded"
    made = node.store.read_commit(node.store.ref(MAIN) or "")
    assert (outcome.commit, made.parents) == (made.id, (before, target))
    assert made.subject == "sync/000001: a new listener"
    assert (
        made.trailers.items() >= {"Via": "sync", "Node": "fw2", "Tag": "sync/000001", "Requested-By": "alice"}.items()
    )
    assert node.store.ref(KNOWN_GOOD) == made.id
    assert {name: (one.tag, one.commit, one.result) for name, one in node.state.now.applied.items()} == dict.fromkeys(
        ("app", "more", "cluster"), ("sync/000001", target, made.id)
    )
    assert (node.daemon.now["loaded"], node.daemon.now["told"]) == ("two", ["start", "reload"])
    assert [step.name for step in node.steps] == [
        "record what is live", "plan", "guards", "journal", "write", "read back", "commit",
        "reload app", "read again", "known-good",
    ]  # fmt: skip
    assert {step.result for step in node.steps} == {"done"}
    well(node)


def test_a_second_sync_changes_nothing_and_remembers_the_tag(host: Host, node: Running) -> None:
    target = tagged(node, {"/etc/app/app.conf": file(node.store, "two")})
    first = node.run(sync(node, target))
    inode = (host.root / "etc/app/app.conf").stat().st_ino
    again = node.run(replace(sync(node, target, "job-2"), tag="sync/000002"))
    assert (again.result, again.commit) == ("unchanged", first.commit)
    assert (host.root / "etc/app/app.conf").stat().st_ino == inode
    assert node.state.now.applied["app"].tag == "sync/000002"
    assert node.daemon.now["told"] == ["start", "reload"]
    well(node)


def test_unchanged_restarts_everything_when_it_is_asked_to(node: Running) -> None:
    target = tagged(node, {})
    assert node.run(sync(node, target, restart_all=True)).result == "unchanged"
    assert node.daemon.now["told"] == ["start", "restart"]
    node.daemon.stubborn = True
    failed = node.run(sync(node, target, "job-2", restart_all=True))
    assert (failed.result, failed.put_back) == ("failed", False)
    assert "it ended with status 1: BROKEN is no directive" in failed.reason


def test_restart_all_restarts_instead_of_reloading(node: Running) -> None:
    target = tagged(node, {"/etc/app/app.conf": file(node.store, "two")})
    assert node.run(sync(node, target, restart_all=True)).result == "done"
    assert (node.daemon.now["told"], node.daemon.now["loaded"]) == (["start", "restart"], "two")


def test_unit_files_that_were_brought_are_read_before_any_service_and_again_when_they_are_put_back(
    node: Running,
) -> None:
    target = tagged(node, {"/etc/app/units/app.service": file(node.store, "one")})
    assert node.run(sync(node, target)).result == "done"
    assert node.daemon.now["told"] == ["start", "read definitions", "reload"]
    unreadable = tagged(node, {"/etc/app/units/app.service": file(node.store, "unreadable")})
    failed = node.run(sync(node, unreadable, "job-2"))
    assert (failed.result, failed.put_back) == ("failed", True)
    assert failed.reason.startswith("cannot make the kit read its changed definitions of services: one is unreadable")
    assert failed.reason.endswith("everything was put back")
    assert node.daemon.now["told"][3:] == ["read definitions", "read definitions", "reload"]


def test_a_dry_run_says_what_would_be_and_changes_nothing(host: Host, node: Running) -> None:
    target = tagged(node, {"/etc/app/app.conf": file(node.store, "two")})
    refs = node.store.refs()
    outcome = node.run(sync(node, target, dry_run=True))
    assert outcome.result == "done"
    assert outcome.reason == "dry run, nothing was changed; it would be: 1 changed: /etc/app/app.conf"
    assert [change.path for change in outcome.changes] == [b"etc/app/app.conf"]
    assert (host.text("/etc/app/app.conf"), node.store.refs()) == ("one", refs)
    assert node.state.now.applied == {}
    assert node.run(sync(node, tagged(node, {}), dry_run=True)).result == "unchanged"


def test_a_rollback_restores_what_was_and_leaves_alone_what_was_not_known_then(host: Host, node: Running) -> None:
    then = node.parts.recorder.head() or ""
    host.put("/etc/app/app.conf", "changed")
    host.put("/etc/later", "came later")
    (host.etc / "cluster.yaml").write_text(CLUSTER.replace("more.d]", "more.d, /etc/later]"))
    later = host.start()
    later.record()
    now = later.parts.cluster()
    order = replace(
        sync(later, then, reason="it was better"),
        kind="rollback", tag=None, tag_object=None, cluster=now, areas=Areas.of(now), chosen=("app", "more"),
        known=Areas.of(host.read_cluster(CLUSTER.encode())),
    )  # fmt: skip
    outcome = later.run(order)
    assert outcome.result == "done"
    assert (host.text("/etc/app/app.conf"), host.text("/etc/later")) == ("one", "came later")
    made = later.store.read_commit(outcome.commit or "")
    assert made.subject == f"roll back app, more to {then[:10]}: it was better"
    assert len(made.parents) == 1
    assert later.state.now.rolled_back_here == f"to {then[:10]} by alice: it was better"
    well(later)


def test_what_stood_in_a_new_area_is_in_the_history_before_it_is_overwritten(host: Host, node: Running) -> None:
    host.put("/etc/fresh/a", "this node's own")
    wider = CLUSTER.replace("areas:\n", "areas:\n  fresh: {paths: [/etc/fresh]}\n")
    changes = {
        ".syncsrv/cluster.yaml": file(node.store, wider),
        "/etc/fresh": folder(),
        "/etc/fresh/a": file(node.store, "the master's"),
    }
    outcome = node.run(sync(node, tagged(node, changes)))
    assert (outcome.result, host.text("/etc/fresh/a")) == ("done", "the master's")
    assert (host.cluster_text(), node.in_force[-1]) == (wider, host.read_cluster(wider.encode()))
    pre_image = node.store.read_commit(outcome.commit or "").parents[0]
    assert node.store.blob(node.store.read_tree(pre_image)[b"etc/fresh/a"].blob) == b"this node's own"
    well(node)


def test_the_pre_apply_hook_refuses_and_the_post_apply_hook_only_warns(host: Host, node: Running) -> None:
    hook(host, "pre-apply", 'echo "not during $SYNCSRV_KIND of $SYNCSRV_TAG"; exit 1')
    order = sync(node, tagged(node, {"/etc/app/app.conf": file(node.store, "two")}))
    with pytest.raises(HookError, match="not during sync of sync/000001"):
        node.run(order)
    assert host.text("/etc/app/app.conf") == "one"
    well(node)
    hook(host, "pre-apply", "cat >/dev/null")
    hook(host, "post-apply", "echo told nobody; exit 3")
    assert node.run(replace(order, job="job-2")).result == "done"
    step = node.step("post-apply hook")
    assert (step.result, "told nobody" in step.output) == ("warning", True)
    well(node)


def test_a_service_that_refuses_the_new_configuration_gets_the_old_one_back(host: Host, node: Running) -> None:
    good = node.run(sync(node, tagged(node, {"/etc/app/app.conf": file(node.store, "two")}))).commit
    order = sync(
        node,
        tagged(node, {"/etc/app/app.conf": file(node.store, "BROKEN"), "/etc/app/n": file(node.store, "n")}),
        "job-2",
    )
    outcome = node.run(order)
    assert (outcome.result, outcome.put_back) == ("failed", True)
    assert outcome.reason.endswith("BROKEN is no directive; everything was put back")
    assert (host.text("/etc/app/app.conf"), node.daemon.now["loaded"]) == ("two", "two")
    assert not (host.root / "etc/app/n").exists()
    head = node.store.read_commit(node.store.ref(MAIN) or "")
    assert head.subject.startswith("put back: cannot reload service app")
    assert node.store.ref(KNOWN_GOOD) == good
    assert {one.result for one in node.state.now.applied.values()} == {good}
    well(node)


def test_the_configuration_in_force_comes_back_too(host: Host, node: Running) -> None:
    wider = CLUSTER.replace("areas:\n", "areas:\n  fresh: {paths: [/etc/fresh]}\n")
    changes = {".syncsrv/cluster.yaml": file(node.store, wider), "/etc/app/app.conf": file(node.store, "BROKEN")}
    assert node.run(sync(node, tagged(node, changes))).put_back
    assert (host.cluster_text(), node.in_force[-1]) == (CLUSTER, node.in_force[0])
    assert len(node.in_force) == 3
    well(node)


def test_a_service_that_does_not_come_back_either_is_named(host: Host, node: Running) -> None:
    order = sync(node, tagged(node, {"/etc/app/app.conf": file(node.store, "two")}))
    node.daemon.stubborn = True
    outcome = node.run(order)
    assert outcome.put_back
    assert "the files were put back, but not all services: cannot reload service app" in outcome.reason
    assert "everything was put back" not in outcome.reason
    assert host.text("/etc/app/app.conf") == "one"
    well(node)


def test_what_a_service_changes_when_it_loads_is_drift_and_is_told(host: Host, node: Running) -> None:
    node.daemon.loads = lambda: host.put("/etc/app/state", "written by the daemon")
    outcome = node.run(sync(node, tagged(node, {"/etc/app/app.conf": file(node.store, "two")})))
    assert outcome.result == "done"
    assert outcome.reason.endswith("; drift: /etc/app/state was changed by a service or hook meanwhile")
    assert node.step("read again").result == "warning"
    head = node.store.read_commit(node.store.ref(MAIN) or "")
    assert head.parents == (outcome.commit,)
    assert node.store.ref(KNOWN_GOOD) == outcome.commit
    assert node.state.now.applied["app"].result == outcome.commit
    well(node)


@pytest.mark.parametrize("at", ["temp.written", "temp.renamed"])
def test_an_abort_while_it_writes_puts_everything_back(host: Host, node: Running, at: str) -> None:
    order = sync(
        node, tagged(node, {"/etc/app/app.conf": file(node.store, "two"), "/etc/app/b": file(node.store, "b")})
    )
    steps = node.steps_of(order.job)
    node.parts.files.checkpoint = lambda name: steps.abort("bob") if name == at else None
    outcome = node.engine.run(order, steps)
    assert (outcome.result, outcome.put_back) == ("failed", at == "temp.renamed")
    assert "bob aborted it" in outcome.reason
    assert (host.text("/etc/app/app.conf"), node.daemon.now["told"]) == ("one", ["start"])
    well(node)


def test_an_abort_before_the_first_write_ends_it_with_nothing_to_put_back(host: Host, node: Running) -> None:
    order = sync(node, tagged(node, {"/etc/app/app.conf": file(node.store, "two")}))
    steps = node.steps_of(order.job)
    steps.abort("bob")
    with pytest.raises(AbortedError):
        node.engine.run(order, steps)
    assert host.text("/etc/app/app.conf") == "one"
    well(node)


def test_a_file_that_somebody_saves_during_the_run_is_not_overwritten(host: Host, node: Running) -> None:
    order = sync(
        node, tagged(node, {"/etc/app/app.conf": file(node.store, "two"), "/etc/app/zz": file(node.store, "z")})
    )
    node.parts.files.checkpoint = Hook("temp.renamed", lambda: host.put("/etc/app/zz", "mine"))
    outcome = node.run(order)
    assert (outcome.result, outcome.put_back) == ("failed", True)
    assert "cannot write /etc/app/zz: it was changed during the apply (it has appeared)" in outcome.reason
    assert "left as somebody changed them meanwhile: /etc/app/zz (it has appeared)" in outcome.reason
    assert (host.text("/etc/app/app.conf"), host.text("/etc/app/zz")) == ("one", "mine")
    well(node)


def test_what_a_hook_changes_before_the_journal_stops_the_run(host: Host, node: Running) -> None:
    hook(host, "pre-apply", f"cat >/dev/null; echo hook > {host.root}/etc/app/app.conf")
    order = sync(node, tagged(node, {"/etc/app/app.conf": file(node.store, "two")}))
    with pytest.raises(CannotApplyError, match=r"/etc/app/app\.conf changed on this node meanwhile"):
        node.run(order)
    assert host.text("/etc/app/app.conf") == "hook\n"
    well(node)


def test_a_journal_of_an_earlier_run_forbids_the_next(host: Host, node: Running) -> None:
    order = sync(node, tagged(node, {"/etc/app/app.conf": file(node.store, "two")}))
    node.parts.journal.path.write_text("{}")
    with pytest.raises(JournalBusyError):
        node.run(order)
    assert node.parts.journal.path.read_text() == "{}"
    assert node.store.refs(JOB_REFS) == {}
    assert host.text("/etc/app/app.conf") == "one"


def test_a_full_disk_found_while_contents_are_written_leaves_every_live_file(host: Host, node: Running) -> None:
    def full(name: str) -> None:
        if name == "temp.written":
            raise NoSpaceError(b"etc/app/app.conf", "no space left on its filesystem")

    node.parts.files.checkpoint = full
    outcome = node.run(sync(node, tagged(node, {"/etc/app/app.conf": file(node.store, "two")})))
    assert (outcome.result, outcome.put_back) == ("failed", False)
    assert outcome.reason == "cannot write /etc/app/app.conf: no space left on its filesystem"
    assert outcome.remedy == "make room on its filesystem and run it again"
    assert sorted(os.listdir(host.root / "etc/app")) == ["app.conf", "gone", "local.bak"]
    well(node)


def test_a_bug_in_the_middle_leaves_nothing_half_written_and_is_not_hidden(host: Host, node: Running) -> None:
    def bug(name: str) -> None:
        if name == "temp.renamed":
            node.parts.files.checkpoint = lambda _name: None
            raise ZeroDivisionError

    node.parts.files.checkpoint = bug
    changes = {"/etc/app/app.conf": file(node.store, "two"), "/etc/app/b": file(node.store, "b")}
    with pytest.raises(ZeroDivisionError):
        node.run(sync(node, tagged(node, changes)))
    assert (host.text("/etc/app/app.conf"), (host.root / "etc/app/b").exists()) == ("one", False)
    well(node)
