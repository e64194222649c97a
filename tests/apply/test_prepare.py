"""What a run finds out before it changes anything: the plan, the guards, the checks, and what nothing can force."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.apply.engine import Engine
from syncsrv.apply.order import CannotApplyError, overridden
from syncsrv.apply.prepare import describe, plan, service_wishes
from syncsrv.config.model import OnChange, Power
from syncsrv.errors import SyncsrvError
from syncsrv.plan.diff import Change
from syncsrv.plan.guards import Fired, Guard
from syncsrv.plan.make import Plan
from syncsrv.plan.tree import Entry, Kind, Owner
from tests.apply.enginekit import CLUSTER, Host, Running, file, folder, link, sync, tagged


def test_every_guard_that_fires_is_listed_and_each_can_be_overridden(host: Host, node: Running) -> None:
    many = {f"/etc/app/many-{number}": file(node.store, "x") for number in range(30)}
    many["/etc/more.conf"] = file(node.store, "tcp dport 8022 accept")
    node.run(sync(node, tagged(node, many)))
    host.put("/etc/app/app.conf", "drifted")
    node.record()
    changes = {
        **dict.fromkeys(many),
        "/etc/app/app.conf": file(node.store, "three"),
        "/etc/more.conf": file(node.store, ""),
    }
    older = Fired(Guard.OLDER, "it is older", "think again")
    order = sync(node, tagged(node, changes), "job-2", fired=(older,))
    refused = node.run(order)
    guards = ("older", "mass-deletion", "drift", "lock-out")
    assert (refused.result, refused.guards) == ("refused", guards)
    for guard in guards:
        assert f"{guard}: " in refused.reason
        assert f"--force {guard}" in refused.remedy or guard == "older"
    assert host.text("/etc/app/app.conf") == "drifted"
    partly = node.run(replace(order, job="job-3", force=frozenset(guards[1:])))
    assert partly.guards == ("older",)
    assert "drift (overridden): " in [step for step in node.steps if step.name == "guards"][-1].output
    assert node.run(replace(order, job="job-4", force=frozenset(guards))).result == "done"
    assert host.text("/etc/app/app.conf") == "three"


def test_commands_need_an_admin_and_pinned_ones_cannot_be_forced_from_elsewhere(host: Host, node: Running) -> None:
    target = tagged(node, {"/etc/app/app.conf": file(node.store, "two")})
    fired = (Fired(Guard.COMMANDS, "other commands", "read them"),)
    order = sync(node, target, fired=fired, force=frozenset({"commands"}), remote=True)
    refused = node.run(order)
    assert refused.guards == ("commands",)
    assert refused.remedy.startswith("--force commands did not count: ")
    assert (
        f"is operator on {node.parts.node.node}, not admin; repeat it on {node.parts.node.node} itself"
        in refused.remedy
    )
    pinned = Running(
        Engine(replace(node.parts, node=node.parts.node.model_copy(update={"commands": "pinned"}))),
        node.parts, node.store, node.daemon, node.state, node.points, node.in_force,
    )  # fmt: skip
    by_admin = replace(order, power=Power.ADMIN)
    refused = pinned.run(replace(by_admin, job="job-2"))
    assert refused.guards == ("commands",)
    assert "has `commands: pinned`" in refused.remedy
    assert pinned.run(replace(by_admin, job="job-3", remote=False)).result == "done"


def test_a_check_refuses_with_its_own_words_before_anything_changes(host: Host, tmp_path: Path) -> None:
    check = tmp_path / "check"
    check.write_text('#!/bin/sh\ncat "$1" >&2; grep -q good "$1"\n')
    check.chmod(0o755)
    text = CLUSTER.replace("services: [app]}", f"services: [app], check: [{check}, '{{stage}}/etc/app/app.conf']}}")
    (host.etc / "cluster.yaml").write_text(text)
    node = host.start()
    node.record()
    refs = node.store.refs()
    bad = sync(node, tagged(node, {"/etc/app/app.conf": file(node.store, "bad line 7")}))
    with pytest.raises(
        CannotApplyError, match=r"cannot apply area app: its check .* exited with 1: bad line 7"
    ) as said:
        node.run(bad)
    assert said.value.remedy == (
        "nothing was changed on this node; correct the files that it names on the master, then synchronize again"
    )
    assert (host.text("/etc/app/app.conf"), node.step("check app").result) == ("one", "failed")
    with pytest.raises(CannotApplyError):
        node.run(replace(bad, dry_run=True))
    assert node.store.refs().keys() == {*refs, "refs/tags/sync/000001"}
    good = sync(node, tagged(node, {"/etc/app/app.conf": file(node.store, "good")}), "job-2")
    assert node.run(good).result == "done"


def test_overrides_are_refused_as_long_as_they_are_not_applied(node: Running) -> None:
    text = CLUSTER + "overrides:\n  - {path: /etc/app/app.conf, match: 'a(b)', set: c}\n"
    order = sync(node, tagged(node, {".syncsrv/cluster.yaml": file(node.store, text)}))
    with pytest.raises(SyncsrvError, match="has overrides"):
        node.run(order)


def refused(node: Running, changes: Mapping[str, Entry | None], why: str) -> None:
    """The run ends before it changes anything, whatever is forced."""
    force = frozenset(guard.value for guard in Guard)
    with pytest.raises(CannotApplyError, match=why) as said:
        node.run(sync(node, tagged(node, changes), force=force, power=Power.ADMIN))
    assert "force" in said.value.remedy
    assert node.record() is None


def test_a_setuid_bit_or_a_path_outside_allow_is_never_written(host: Host, node: Running) -> None:
    refused(node, {"/etc/app/su": file(node.store, "x", 0o4755)}, r"/etc/app/su: it carries a setuid or setgid bit")
    refused(node, {"/etc/app/sg": file(node.store, "x", 0o2755)}, r"/etc/app/sg: it carries a setuid or setgid bit")
    capable = replace(file(node.store, "x"), xattrs=(("security.capability", b"\1"),))
    refused(node, {"/etc/app/cap": capable}, "it carries a file capability")
    wider = CLUSTER.replace("/etc/more.conf,", "/etc/more.conf, /srv/www,")
    changes = {".syncsrv/cluster.yaml": file(node.store, wider), "/srv/www": folder()}
    refused(node, changes, r"cannot write /srv/www.*: node\.yaml of this node allows /etc only")
    assert sorted(os.listdir(host.root / "etc/app")) == ["app.conf", "gone", "local.bak"]


def test_an_owner_that_this_node_does_not_have_is_named_with_the_path(node: Running) -> None:
    strange = replace(file(node.store, "x"), user=Owner("nobody-here", 7), group=Owner("no-group", 8))
    with pytest.raises(CannotApplyError, match="belongs to the user nobody-here, which does not exist") as said:
        node.run(sync(node, tagged(node, {"/etc/app/x": strange})))
    assert "belongs to the group no-group" in said.value.message


def test_what_the_history_cannot_hold_is_not_overwritten(host: Host, node: Running) -> None:
    os.mkfifo(host.root / "etc/app/pipe")
    refused(node, {"/etc/app/pipe": file(node.store, "x")}, "cannot write /etc/app/pipe: there stands something")
    assert stat.S_ISFIFO((host.root / "etc/app/pipe").stat().st_mode)
    (host.root / "etc/app/pipe").unlink()
    (host.etc / "cluster.yaml").write_text(CLUSTER.replace("services: [app]}", "services: [app], limit: 10}"))
    small = host.start()
    host.put("/etc/app/big", "more than ten bytes")
    small.record()
    refused(small, {}, "cannot make the area equal: /etc/app/big cannot be saved before it goes")


def test_a_directory_stays_where_something_excluded_is_in_it(host: Host, node: Running) -> None:
    host.put("/etc/app/d/managed", "m")
    host.put("/etc/app/d/kept.bak", "k")
    node.record()
    gone = sync(node, tagged(node, {"/etc/app/d/managed": None, "/etc/app/d": None}))
    assert node.run(gone).reason == "1 deleted: /etc/app/d/managed"
    assert os.listdir(host.root / "etc/app/d") == ["kept.bak"]
    refused(node, {"/etc/app/d": link(node.store, "elsewhere")}, r"cannot replace directory /etc/app/d: it holds")


def test_extra_keep_keeps_what_only_this_node_has_and_deletes_what_a_sync_brought(host: Host, node: Running) -> None:
    host.put("/etc/more.d/own", "this node's")
    node.record()
    master = {"/etc/more.d/own": None, "/etc/more.d/brought": file(node.store, "b")}
    assert node.run(sync(node, tagged(node, master))).reason == "1 added: /etc/more.d/brought"
    assert sorted(os.listdir(host.root / "etc/more.d")) == ["brought", "own"]
    later = dict.fromkeys(("/etc/more.d/own", "/etc/more.d/brought"))
    assert node.run(sync(node, tagged(node, later), "job-2")).reason == "1 deleted: /etc/more.d/brought"
    assert os.listdir(host.root / "etc/more.d") == ["own"]


def test_only_what_the_sync_would_overwrite_counts_as_drift(host: Host, node: Running) -> None:
    node.run(sync(node, tagged(node, {"/etc/app/app.conf": file(node.store, "two")})))
    host.put("/etc/app/app.conf", "three")
    host.put("/etc/app/own", "made here")
    node.record()
    same = tagged(node, {"/etc/app/own": None})
    planned = plan(node.parts, sync(node, same, "job-2"))
    assert planned.drifted == (b"etc/app/app.conf", b"etc/app/own")
    assert [change.path for change in planned.plan.changes] == [b"etc/app/own"]
    fired = node.run(sync(node, same, "job-2"))
    assert fired.guards == ("drift",)
    assert "/etc/app/own" in fired.reason
    assert "app.conf" not in fired.reason


def test_what_would_change_is_counted_and_named() -> None:
    one = Entry(Kind.FILE, 0o644, blob="a" * 40)
    two, directory = replace(one, mode=0o600), Entry(Kind.DIRECTORY, 0o755)

    def said(*changes: tuple[str, Entry | None, Entry | None]) -> str:
        made = tuple(Change(path.encode(), "app", old, new) for path, old, new in changes)
        return describe(Plan(("app",), made, {}, {}, ()))

    assert said() == "nothing differs"
    assert said(("a", None, one), ("b", one, two), ("c", one, None)) == "1 added, 1 changed, 1 deleted: /a, /b, /c"
    assert said(("d", directory, None)) == "1 deleted: /d"
    many = said(*((f"f{number}", None, one) for number in range(7)))
    assert many == "7 added: /f0, /f1, /f2, /f3, /f4 and 2 more"


def test_a_service_is_told_of_changes_in_its_areas_only(node: Running) -> None:
    order = sync(node, tagged(node, {"/etc/app/app.conf": file(node.store, "two")}))
    assert service_wishes(order.cluster, plan(node.parts, order).plan) == {"app": OnChange.RELOAD}
    order = sync(node, tagged(node, {"/etc/more.conf": file(node.store, "two")}))
    assert service_wishes(order.cluster, plan(node.parts, order).plan) == {}


@pytest.mark.parametrize(
    "guard, power, remote, pinned, counts",
    [
        (Guard.DRIFT, Power.OPERATOR, True, True, True),
        (Guard.COMMANDS, Power.OPERATOR, False, False, False),
        (Guard.COMMANDS, Power.ADMIN, True, False, True),
        (Guard.COMMANDS, Power.ADMIN, True, True, False),
        (Guard.COMMANDS, Power.ADMIN, False, True, True),
        (Guard.TARGET_IS_MASTER, Power.OPERATOR, False, False, False),
        (Guard.HOLD, Power.ADMIN, True, True, True),
    ],
)
def test_whose_force_counts(
    node: Running, guard: Guard, power: Power, remote: bool, pinned: bool, counts: bool
) -> None:
    order = sync(node, tagged(node, {}), power=power, remote=remote, force=frozenset({guard.value}))
    assert overridden(guard, order, pinned) is counts
    assert not overridden(guard, replace(order, force=frozenset()), pinned)


def test_the_first_sync_shows_every_command_that_it_brings(node: Running) -> None:
    text = CLUSTER.replace("areas:\n", "areas:\n  own: {paths: [/etc/own], check: [grep, -q, 'a b', x]}\n", 1)
    target = tagged(node, {".syncsrv/cluster.yaml": file(node.store, text)})
    order = sync(node, target, first=True, dry_run=True)
    order = replace(order, cluster=node.parts.read_cluster(text.encode()))
    assert node.run(order).result == "done"
    said = node.step("guards").output
    assert said.startswith("the first sync brings these commands, which run as root on this node:\n  ")
    assert "areas.own.check: grep -q 'a b' x" in said.splitlines()[1]
    node.run(replace(order, job="job-2", first=False))
    assert [step.output for step in node.steps if step.name == "guards"] == [said, ""]
