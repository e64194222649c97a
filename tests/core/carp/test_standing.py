"""What a report means for the node."""

from __future__ import annotations

from typing import Any

import pytest

from syncsrv.core.carp import standing
from syncsrv.core.carp.standing import NodeState
from tests.support.reports import report, vip


@pytest.mark.parametrize(
    ("states", "flags", "state"),
    [
        (("MASTER", "MASTER"), {}, NodeState.MASTER),
        (("MASTER", "INIT"), {}, NodeState.MASTER),
        (("MASTER", "BACKUP"), {}, NodeState.BACKUP),
        (("BACKUP", "INIT"), {}, NodeState.BACKUP),
        (("INIT", "INIT"), {}, NodeState.INIT),
        (("INIT",), {"disabled": True}, NodeState.STOP),
        ((), {}, NodeState.STOP),
        (("BACKUP",), {"maintenance": True}, NodeState.MAINTENANCE),
        (("INIT",), {"maintenance": True}, NodeState.MAINTENANCE),
        (("MASTER", "BACKUP"), {"maintenance": True}, NodeState.MAINTENANCE),
        (("MASTER",), {"maintenance": True}, NodeState.MASTER),  # nobody took over: it still serves
        (("BACKUP",), {"maintenance": True, "disabled": True}, NodeState.STOP),
    ],
)
def test_the_state_of_a_node(states: tuple[Any, ...], flags: dict[str, bool], state: NodeState) -> None:
    found = report(*states, **flags)
    assert standing.state_of(found) is state
    assert standing.serves(found) is (state is NodeState.MASTER)


def test_nothing_is_concluded_from_silence() -> None:
    assert standing.state_of(None) is None
    assert standing.serves(None) is None
    assert standing.served(None) == ()


def test_what_it_serves_since_when_and_why() -> None:
    found = report(vip("MASTER", since_boot_s=50.0), vip("BACKUP", 2), vip("MASTER", 3, "wan", since_boot_s=70.0))
    assert standing.served(found) == ("1@lan (192.0.2.10/24)", "3@wan (192.0.2.30/24)")
    assert standing.held(found) == {"1@lan", "3@wan"}
    assert standing.states(found) == {"1@lan": "MASTER", "2@lan": "BACKUP", "3@wan": "MASTER"}
    assert standing.took_over_s(found, 100.0) == 30.0
    assert standing.took_over_s(report("BACKUP"), 100.0) is None
    assert standing.why(found) == "2@lan: it became BACKUP"
    assert standing.why(report()) == ""
