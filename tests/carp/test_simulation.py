"""Whatever happens to two or three machines: where they hear each other, there is one MASTER, and soon."""

from __future__ import annotations

import os

import pytest

from syncsrv.carp import node as failover
from syncsrv.carp.effects import Effect, State
from syncsrv.carp.events import Event, Heard
from syncsrv.carp.node import Node
from tests.carp.simulation import Step
from tests.carp.stories import faults, tell

Outcome = tuple[Node, tuple[Effect, ...]]

STORIES = 600
SEED = int(os.environ.get("SYNCSRV_TEST_SEED", "0"))


@pytest.mark.sample(40)
@pytest.mark.parametrize("seed", range(STORIES))
def test_one_master_and_soon(seed: int) -> None:
    story = tell(seed)
    found = faults(story)
    assert not found, f"{found}\n{story.show()}"


def in_state(node: Node, event: Event, state: State) -> bool:
    return isinstance(event, Heard) and event.key in node.vhids and node.vhids[event.key].state is state


def deaf_master(node: Node, event: Event, now: float) -> Outcome:
    return (node, ()) if in_state(node, event, State.MASTER) else failover.step(node, event, now)


def deaf_backup(node: Node, event: Event, now: float) -> Outcome:
    return (node, ()) if in_state(node, event, State.BACKUP) else failover.step(node, event, now)


def unsafe_order(node: Node, event: Event, now: float) -> Outcome:
    after, effects = failover.step(node, event, now)
    return after, tuple(reversed(effects))


@pytest.mark.parametrize("broken", [deaf_master, deaf_backup, unsafe_order])
def test_a_broken_machine_is_found(broken: Step) -> None:
    assert any(is_found(seed, broken) for seed in range(20))


def is_found(seed: int, broken: Step) -> bool:
    try:
        return bool(faults(tell(seed, broken)))
    except AssertionError:
        return True


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_one_master_and_soon_in_new_stories() -> None:
    for seed in range(10_000 * (SEED + 1), 10_000 * (SEED + 1) + 8_000):
        story = tell(seed)
        found = faults(story)
        assert not found, f"{found}\n{story.show()}"
