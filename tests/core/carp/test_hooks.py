"""The hooks of the CARP state: what they are told, one at a time, the latest state, nothing twice."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncsrv.clock import SystemClock
from syncsrv.config.model import Node, Role
from syncsrv.core.carp.hooks import NAMES, StateHooks, Told, told_of
from syncsrv.core.carp.standing import NodeState, why
from syncsrv.shipped import folder
from tests.support.reports import report, vip
from tests.support.wait import until

Opened = Callable[..., StateHooks]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    config = tmp_path / "config"
    (config / "hooks").mkdir(parents=True)
    for path in (config, config / "hooks"):
        path.chmod(0o755)
    return tmp_path


@pytest.fixture
def opened(place: Path) -> Iterator[Opened]:
    made: list[StateHooks] = []

    def open_hooks(boot: str = "boot", deadline_s: float = 60.0) -> StateHooks:
        hooks = StateHooks(place / "config/hooks", place / "state", boot, SystemClock(), deadline_s=deadline_s)
        made.append(hooks)
        hooks.start()
        return hooks

    yield open_hooks
    for hooks in made:
        hooks.stop()


def install(place: Path, script: str, *names: str, mode: int = 0o755) -> None:
    for name in names or NAMES.values():
        hook = place / "config/hooks" / name
        hook.write_text(f"#!/bin/sh\n{script}\n")
        hook.chmod(mode)


def told(place: Path, state: NodeState = NodeState.MASTER) -> Told:
    node = Node(node="fw1", role=Role.MASTER, root=place / "root")
    found = report(
        vip("MASTER", reason="no advert for 3.4 s", since_boot_s=7.0),
        vip("INIT", 2, "wan"),
        demotion_reasons={"link:eth1": 240},
    )
    return told_of(node, found, state, why(found))


def ended(hooks: StateHooks) -> None:
    until(lambda: hooks.idle, what="the end of the hooks")


def said(place: Path) -> list[str]:
    file = place / "said"
    return file.read_text().split() if file.exists() else []


def test_what_a_hook_is_told(place: Path, opened: Opened) -> None:
    install(place, f'cat >{place}/json; env -0 >{place}/env; echo "$0 $@" >{place}/argv', "on-master")
    hooks = opened()
    hooks.tell(told(place))
    ended(hooks)
    assert (place / "argv").read_text() == f"{place}/config/hooks/on-master MASTER\n"
    assert json.loads((place / "json").read_text()) == {
        "node": "fw1",
        "root": str(place / "root"),
        "state": "MASTER",
        "before": "",
        "reason": "2@wan: it became INIT",
        "demotion": {"link:eth1": 240},
        "vips": [
            {
                "vhid": 1,
                "interface": "lan",
                "device": "eth0",
                "state": "MASTER",
                "reason": "no advert for 3.4 s",
                "addresses": ["192.0.2.10/24"],
            },
            {
                "vhid": 2,
                "interface": "wan",
                "device": "eth0",
                "state": "INIT",
                "reason": "it became INIT",
                "addresses": ["192.0.2.20/24"],
            },
        ],
    }
    environment = dict(one.split("=", 1) for one in (place / "env").read_text().split("\0") if one)
    for shells_own in ("PWD", "OLDPWD", "SHLVL", "_"):
        environment.pop(shells_own, None)
    assert environment == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "SYNCSRV_NODE": "fw1",
        "SYNCSRV_ROOT": str(place / "root"),
        "SYNCSRV_STATE": "MASTER",
        "SYNCSRV_BEFORE": "",
        "SYNCSRV_REASON": "2@wan: it became INIT",
        "SYNCSRV_VIPS": "1@lan=MASTER 2@wan=INIT",
        "SYNCSRV_DEMOTION": "240",
    }


def test_the_readme_names_every_hook_variable_and_key(place: Path) -> None:
    readme = (folder("hooks") / "README.md").read_text()
    one = told(place)
    names = [*NAMES.values(), *NAMES, *(set(one.environment("")) - {"PATH", "LANG"}), *json.loads(one.document(""))]
    for name in [*names, *json.loads(one.document(""))["vips"][0]]:
        assert f"`{name}`" in readme, name


def test_each_state_has_its_hook_and_knows_the_one_before(place: Path, opened: Opened) -> None:
    install(place, f'echo "${{0##*/}}:$SYNCSRV_BEFORE" >>{place}/said')
    hooks = opened()
    for state in NodeState:
        hooks.tell(told(place, state))
        ended(hooks)
    assert said(place) == [
        *("on-master:", "on-backup:MASTER", "on-init:BACKUP", "on-maintenance:INIT", "on-stop:MAINTENANCE"),
    ]


def test_of_states_that_come_while_one_runs_only_the_latest_is_told(
    place: Path, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    install(place, f"echo $1 >>{place}/said; while [ ! -e {place}/go ]; do sleep 0.01; done")
    hooks = opened()
    hooks.tell(told(place, NodeState.BACKUP))
    until(lambda: said(place))
    for state in (NodeState.MASTER, NodeState.INIT, NodeState.MAINTENANCE):
        hooks.tell(told(place, state))
    (place / "go").touch()
    ended(hooks)
    assert said(place) == ["BACKUP", "MAINTENANCE"]
    assert "on-master is skipped: the node is INIT before it began" in caplog.text
    assert "on-init is skipped: the node is MAINTENANCE before it began" in caplog.text


def test_a_state_that_went_and_came_back_while_its_hook_ran_is_not_told_again(place: Path, opened: Opened) -> None:
    install(place, f"echo $1 >>{place}/said; while [ ! -e {place}/go ]; do sleep 0.01; done")
    hooks = opened()
    hooks.tell(told(place))
    until(lambda: said(place))
    hooks.tell(told(place, NodeState.BACKUP))
    hooks.tell(told(place))
    (place / "go").touch()
    ended(hooks)
    assert said(place) == ["MASTER"]


def test_a_new_core_tells_only_what_is_new(place: Path, opened: Opened) -> None:
    install(place, f"echo $1 >>{place}/said")
    for boot, state in (("one", NodeState.MASTER), ("one", NodeState.MASTER), ("one", NodeState.BACKUP)):
        hooks = opened(boot)
        hooks.tell(told(place, state))
        ended(hooks)
        hooks.stop()
    assert said(place) == ["MASTER", "BACKUP"]
    hooks = opened("another boot")
    hooks.tell(told(place, NodeState.BACKUP))
    ended(hooks)
    assert said(place) == ["MASTER", "BACKUP", "BACKUP"]


def test_what_core_did_not_see_end_is_run_again(place: Path, opened: Opened) -> None:
    install(place, f"echo $1 >>{place}/said; [ -e {place}/go ] || exec sleep 86400")
    hooks = opened()
    hooks.tell(told(place))
    until(lambda: said(place))
    hooks.stop()  # which kills it: else this test would wait for a day
    (place / "go").touch()
    hooks = opened()
    hooks.tell(told(place))
    ended(hooks)
    assert said(place) == ["MASTER", "MASTER"]
    assert hooks.troubles() == ()


def test_a_damaged_memory_only_tells_again(place: Path, opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    (place / "state/carp").mkdir(parents=True)
    (place / "state/carp/hooks.json").write_text("[]")
    install(place, f"echo $1 >>{place}/said")
    hooks = opened()
    assert "the hook of the present state is run again" in caplog.text
    hooks.tell(told(place))
    ended(hooks)
    assert said(place) == ["MASTER"]


def test_one_that_hangs_is_ended_and_what_went_wrong_is_a_trouble_until_one_ends_well(
    place: Path, opened: Opened
) -> None:
    install(place, "sleep 86400 & wait", "on-master")
    install(place, "echo no mail server >&2; exit 7", "on-backup")
    install(place, "exit 0", "on-init")
    install(place, "exit 0", "on-stop", mode=0o775)
    hooks = opened(deadline_s=0.2)
    for state, trouble in (
        (NodeState.MASTER, "did not end within 0.2 s"),
        (NodeState.BACKUP, "exited with 7: no mail server"),
        (NodeState.STOP, "was not run, for others may write to"),
        (NodeState.INIT, ""),
    ):
        hooks.tell(told(place, state))
        ended(hooks)
        assert trouble in "".join(hooks.troubles())
        assert bool(hooks.troubles()) is bool(trouble)


def test_without_hooks_nothing_is_said(place: Path, opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    hooks = opened()
    for _ in range(3):  # a report comes each few seconds
        hooks.tell(told(place))
        ended(hooks)
    assert (hooks.troubles(), caplog.records) == ((), [])


def test_the_example_keeps_a_flag_while_the_node_serves(place: Path, opened: Opened) -> None:
    example = folder("hooks") / "on-state.example"
    assert example.stat().st_mode & 0o111 == 0o111
    install(place, example.read_text().removeprefix("#!/bin/sh\n"))
    flag = place / "root/run/syncsrv-serves"
    hooks = opened()
    for state in (NodeState.MASTER, *NodeState):
        hooks.tell(told(place, state))
        ended(hooks)
        assert hooks.troubles() == ()
        assert flag.exists() is (state is NodeState.MASTER)
        if flag.exists():
            assert flag.read_text() == "2@wan: it became INIT\n"
