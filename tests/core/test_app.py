"""A core from its start to its end: what it mends first, what takes effect while it runs, what it says when asked."""

from __future__ import annotations

import contextlib
import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncsrv.apply.order import Order
from syncsrv.apply.settle import JOB_REFS
from syncsrv.apply.steps import Steps
from syncsrv.cli.main import run
from syncsrv.clock import SystemClock
from syncsrv.config.problem import ConfigurationError
from syncsrv.control.ask import Client
from syncsrv.core.app import App
from syncsrv.core.backup import QUARANTINE
from syncsrv.errors import DamagedError, SyncsrvError, UsageError
from syncsrv.single import RunningError
from syncsrv.store.receipts import read_receipts
from syncsrv.store.repo import Store
from tests.core.corekit import CLUSTER, CTL
from tests.support.net import free_port
from tests.support.wait import until


@pytest.fixture
def home(short_tmp: Path) -> Path:
    """A master made by init, with a file and a service."""
    argv = ["--config", str(short_tmp / "conf"), "init", "--node", "fw1", "--role", "master"]
    argv += ["--root", str(short_tmp / "root"), "--state-dir", str(short_tmp / "state")]
    argv += ["--run-dir", str(short_tmp / "run"), "--ssh", f"127.0.0.1:{free_port()}"]
    with contextlib.redirect_stdout(io.StringIO()):
        assert run(argv) == 0
    (short_tmp / "ctl").write_text(CTL)
    (short_tmp / "ctl").chmod(0o755)
    (short_tmp / "fw1").mkdir()
    (short_tmp / "conf/cluster.yaml").write_text(CLUSTER.replace("CTL", str(short_tmp / "ctl")))
    (short_tmp / "root/etc/app").mkdir(parents=True)
    (short_tmp / "root/etc/app/app.conf").write_text("one")
    return short_tmp


@pytest.fixture
def app(home: Path) -> Iterator[App]:
    app = App(home / "conf", SystemClock())
    app.start()
    yield app
    app.stop()


def ask(home: Path, verb: str) -> dict[str, Any]:
    with Client(home / "run/core.sock") as client:
        return client.call(verb, {}, deadline_s=20)


def test_it_is_ready_to_be_asked_when_it_has_started_and_leaves_nothing_behind(home: Path) -> None:
    app = App(home / "conf", SystemClock())
    with pytest.raises(RunningError):
        App(home / "conf", SystemClock())
    app.start()
    assert ask(home, "status")["node"] == "fw1"
    (commit,) = ask(home, "log")["commits"]
    assert "/etc/app/app.conf" in commit["paths"]
    app.stop()
    with pytest.raises(SyncsrvError, match="cannot ask core"):
        ask(home, "status")
    again = App(home / "conf", SystemClock())
    again.start()
    assert len(ask(home, "log")["commits"]) == 1
    again.stop()


def test_an_edit_is_on_main_by_itself_and_a_valid_cluster_yaml_takes_effect(home: Path, app: App) -> None:
    store = app.core.store
    first = app.core.recorder.head()
    (home / "root/etc/app/app.conf").write_text("two")
    until(lambda: app.core.recorder.head() != first, 20, "the edit on main")
    head = app.core.recorder.head() or ""
    assert store.blob(store.read_tree(head)[b"etc/app/app.conf"].blob) == b"two"
    text = (home / "conf/cluster.yaml").read_text()
    (home / "root/etc/late").write_text("late")
    (home / "conf/cluster.yaml").write_text(text.replace("areas:\n", "areas:\n  late: {paths: [/etc/late]}\n"))
    until(lambda: "late" in app.core.cluster.areas, 20, "the new cluster.yaml to be in force")
    until(lambda: b"etc/late" in store.read_tree(app.core.recorder.head() or ""), 20, "the new area on main")


def test_a_broken_cluster_yaml_leaves_the_old_one_in_force_and_a_mended_one_takes_over(home: Path, app: App) -> None:
    before = app.core.cluster
    text = (home / "conf/cluster.yaml").read_text()
    (home / "conf/cluster.yaml").write_text("areas: [")
    app.core.record(via="watch")
    assert app.core.cluster == before
    assert "not in force" in app.core.live.cluster_problem
    (home / "conf/cluster.yaml").write_text(text)
    app.core.record(via="watch")
    assert (app.core.cluster, app.core.live.cluster_problem) == (before, "")


def test_what_was_left_of_an_earlier_core_is_settled_before_anybody_is_answered(home: Path) -> None:
    app = App(home / "conf", SystemClock())
    app.start()
    head = app.core.recorder.head()
    assert head is not None
    app.core.store.move_ref(JOB_REFS + "dead", head, None)
    app.core.store.move_ref(QUARANTINE + "dead", head, None)
    app.stop()
    again = App(home / "conf", SystemClock())
    again.start()
    assert again.core.store.refs(JOB_REFS) == again.core.store.refs(QUARANTINE) == {}
    again.stop()
    (home / "state/journal.json").write_text("{")
    damaged = App(home / "conf", SystemClock())
    with pytest.raises(DamagedError, match=r"cannot read the journal .*journal\.json: it is not JSON"):
        damaged.start()
    with contextlib.closing(Store.open(home / "state/config.git")) as store:
        assert store.ref("refs/heads/main") == head
    with pytest.raises(SyncsrvError, match="cannot ask core"):
        ask(home, "status")
    damaged.stop()


class Killed(BaseException):
    """Stands for the end of the process."""


def kill(step: str) -> None:
    if step == "temp.renamed":
        raise Killed


def test_a_crash_in_the_middle_of_a_run_is_undone_and_remembered_with_a_receipt(home: Path) -> None:
    app = App(home / "conf", SystemClock())
    core = app.core
    first = core.record(via="watch").head or ""
    (home / "root/etc/app/app.conf").write_text("two")
    core.record(via="watch")
    order = Order("j1", "rollback", first, core.cluster, core.areas(), ("app",), known=core.areas(), requested_by="bob")
    core.engine.parts.files.checkpoint = kill
    with pytest.raises(Killed):
        core.engine.run(order, Steps("j1", core.clock, lambda _step: None))
    assert (home / "root/etc/app/app.conf").read_text() == "one"
    app.stop()
    again = App(home / "conf", SystemClock())
    again.start()
    assert (home / "root/etc/app/app.conf").read_text() == "two"
    last = again.core.state.now.last
    assert last is not None
    assert (last.job, last.result) == ("j1", "rolled_back")
    (receipt,) = read_receipts(again.core.store, 5)
    assert (receipt.body["result"], receipt.body["requested_by"]) == ("put back", "bob")
    again.stop()


def test_a_crash_between_two_cluster_yamls_leaves_the_older_in_force_and_no_trace_on_main(home: Path) -> None:
    app = App(home / "conf", SystemClock())
    core = app.core
    first = core.record(via="watch").head or ""
    then = core.cluster
    text = (home / "conf/cluster.yaml").read_text().replace("areas:\n", "areas:\n  late: {paths: [/etc/late]}\n")
    (home / "root/etc/late").write_text("late")
    (home / "conf/cluster.yaml").write_text(text)
    core.record(via="watch")
    head = core.record(via="watch").head
    order = Order("j1", "rollback", first, then, core.areas(then), ("app", "cluster"), known=core.areas(then))
    core.engine.parts.files.checkpoint = kill
    with pytest.raises(Killed):
        core.engine.run(order, Steps("j1", core.clock, lambda _step: None))
    assert (home / "conf/cluster.yaml").read_text() != text
    app.stop()
    again = App(home / "conf", SystemClock())
    assert "late" not in again.core.cluster.areas, "what the crash left on the disk was loaded"
    again.start()
    assert "late" in again.core.cluster.areas
    assert (home / "conf/cluster.yaml").read_text() == text
    assert again.core.recorder.head() == head
    again.stop()


def test_reload_takes_over_node_yaml_and_refuses_what_only_a_restart_can(home: Path, app: App) -> None:
    node = home / "conf/node.yaml"
    text = node.read_text()
    node.write_text(text + "\ncommands: pinned\n")
    ask(home, "reload")
    assert app.core.engine.parts.node.commands == app.core.live.config.node.commands == "pinned"
    node.write_text(text.replace(f"root: {home}/root", f"root: {home}/other"))
    (home / "other").mkdir()
    with pytest.raises(UsageError, match=r"cannot take over root of node\.yaml while running") as said:
        ask(home, "reload")
    assert said.value.remedy == "restart syncsrv"
    node.write_text("node: [")
    with pytest.raises(SyncsrvError):
        ask(home, "reload")
    app.reload_if_valid()
    assert app.core.live.config.node.commands == "pinned", "what was in force stays"
    assert ask(home, "status")["node"] == "fw1"


def test_a_configuration_that_is_wrong_starts_nothing(home: Path) -> None:
    (home / "conf/cluster.yaml").write_text("cluster: edge\nareaz: {}\n")
    with pytest.raises(ConfigurationError, match="areaz"):
        App(home / "conf", SystemClock())
    assert not (home / "run/core.sock").exists()


def test_an_address_that_is_taken_is_named(home: Path) -> None:
    app = App(home / "conf", SystemClock())
    host, _, port = app.core.live.config.node.ssh.listen.rpartition(":")
    with socket.create_server((host, int(port))):
        with pytest.raises(SyncsrvError, match=rf"cannot listen at {host}:{port}: address already in use") as said:
            app.start()
        assert "ssh" in said.value.remedy
    app.stop()


def test_everything_it_answers_is_json(home: Path, app: App) -> None:
    for verb in ("status", "log", "diff", "services", "user-list"):
        assert json.loads(json.dumps(ask(home, verb)))
