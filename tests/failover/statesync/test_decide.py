"""When conntrackd is told what, and when the peer's table counts as here: scenes, and what must hold in each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syncsrv.failover.statesync import decide
from syncsrv.failover.statesync.decide import (
    CALM_MASTER_S,
    CALM_S,
    HEARD_S,
    REFRESH_LEAST_S,
    REFRESH_MOST_S,
    Machine,
    Order,
    Seen,
)
from syncsrv.failover.statesync.stats import Stats

TIMEOUT_S = 60.0
STEP_S = 0.25


class Scene:
    """A machine, and a conntrackd and an agent that the test plays."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.machine = decide.start(self.now, TIMEOUT_S)
        self.serving: bool | None = False
        self.awaiting = True
        self.runs = True
        self.peer = True
        self.taken = 0
        self.heard = 0
        self.entries = 0

    @property
    def table(self) -> str:
        return self.machine.table

    @property
    def arrived(self) -> bool | None:
        return self.machine.arrived

    def step(self) -> list[Order]:
        """One reading, as the world is."""
        self.heard += int(self.peer and self.runs)
        stats = Stats(0, self.taken, self.heard, 0, "eth2") if self.runs else None
        self.machine, orders = decide.step(
            self.machine, Seen(self.serving, self.awaiting, stats, self.entries), self.now
        )
        self.now += STEP_S
        return list(orders)

    def go(self, seconds: float, taken_in_s: float = 0.0) -> list[Order]:
        """Readings for so long, while so many messages come in each second; all orders."""
        orders = []
        for _ in range(round(seconds / STEP_S)):
            self.taken += round(taken_in_s * STEP_S)
            orders += self.step()
        return orders

    def settle(self) -> None:
        """Until the table is here."""
        self.go(CALM_S + 1)
        assert self.table == "received"


def test_a_node_that_starts_asks_once_and_waits_until_the_bulk_has_ended() -> None:
    scene = Scene()
    assert scene.step() == [Order.ASK]
    assert scene.arrived is None
    assert scene.go(3.0, taken_in_s=80_000) == []
    assert scene.table == "awaited"
    assert scene.go(CALM_S - 2 * STEP_S) == []
    assert scene.table == "awaited"
    assert scene.go(4 * STEP_S) == []
    assert scene.table == "received"
    assert scene.arrived is True


def test_a_pause_for_lost_messages_is_not_the_end_of_the_bulk() -> None:
    scene = Scene()
    scene.go(0.5, taken_in_s=80_000)
    scene.go(1.25)
    scene.go(0.25, taken_in_s=40_000)
    scene.go(1.5)
    assert scene.table == "awaited"
    scene.go(1.0)
    assert scene.table == "received"


def test_traffic_that_never_ends_does_not_hold_it_up() -> None:
    scene = Scene()
    scene.go(0.5, taken_in_s=80_000)
    scene.go(CALM_S + 0.5, taken_in_s=5_000)
    assert scene.table == "received"


def test_with_no_peer_it_waits_until_its_time_is_over_and_then_no_more() -> None:
    scene = Scene()
    scene.peer = False
    scene.go(TIMEOUT_S - 1)
    assert scene.table == "awaited"
    assert scene.machine.peer(scene.now) == "silent"
    scene.go(2)
    assert scene.table == "timed out"
    assert scene.arrived is True


def test_a_peer_that_comes_later_is_asked_again_and_its_table_counts() -> None:
    scene = Scene()
    scene.peer = False
    scene.go(TIMEOUT_S + 1)
    scene.peer = True
    assert scene.step() == [Order.ASK]
    scene.settle()


def test_a_peer_that_starts_a_moment_later_is_asked_too() -> None:
    scene = Scene()
    scene.peer = False
    assert scene.go(1) == [Order.ASK]
    scene.peer = True
    assert scene.go(1) == [Order.ASK]
    assert scene.table == "awaited"
    scene.settle()


def test_the_order_of_a_takeover_and_of_its_end() -> None:
    scene = Scene()
    scene.settle()
    scene.serving = True
    assert scene.step() == [Order.TAKE]
    assert Order.TAKE.commands == (("-c",), ("-f",), ("-R",), ("-B",))
    scene.serving = False
    assert scene.step() == [Order.GIVE]
    assert ("-t",) not in Order.GIVE.commands


def test_who_gave_its_addresses_away_does_not_take_over_into_the_bulk_that_follows() -> None:
    scene = Scene()
    scene.settle()
    scene.serving = True
    scene.step()
    scene.serving = False
    scene.step()
    assert scene.arrived is False
    scene.go(0.5, taken_in_s=80_000)
    scene.go(CALM_S - 2 * STEP_S)
    assert scene.arrived is False
    scene.go(1)
    assert scene.arrived is True


def test_who_has_to_serve_again_at_once_knows_as_much_as_anybody() -> None:
    scene = Scene()
    scene.settle()
    scene.serving = True
    scene.step()
    scene.serving = False
    scene.step()
    scene.serving, scene.peer = True, False
    assert scene.step() == [Order.TAKE]
    assert scene.arrived is True


def test_a_master_whose_keeper_starts_has_the_table_and_sends_it() -> None:
    scene = Scene()
    scene.serving, scene.awaiting = True, False
    assert scene.step() == [Order.REFRESH]
    assert scene.arrived is True


def test_a_node_that_became_master_before_its_keeper_looked_still_waits_for_the_table() -> None:
    scene = Scene()
    scene.serving, scene.peer = True, False
    assert scene.go(HEARD_S + 1) == [Order.ASK]
    assert scene.table == "awaited"
    assert scene.arrived is None
    scene.peer = True
    assert scene.step() == [Order.ASK]
    scene.go(CALM_MASTER_S + 2 * STEP_S)
    assert scene.arrived is True


def test_a_node_that_loses_its_vips_while_it_waits_asks_and_waits_on() -> None:
    scene = Scene()
    scene.serving, scene.peer = True, False
    scene.go(1)
    scene.serving, scene.peer = False, True
    assert scene.step() == [Order.GIVE]
    scene.settle()


def test_of_two_that_start_together_the_better_one_has_its_table_first() -> None:
    better, other = Scene(), Scene()
    better.serving, better.peer = True, False
    better.go(HEARD_S + 1)
    better.peer = True
    while other.arrived is not True:
        better.step()
        other.step()
    assert better.arrived is True


def test_an_agent_that_says_later_that_it_is_master_gets_the_orders_of_a_takeover() -> None:
    scene = Scene()
    scene.serving = None
    assert scene.step() == [Order.ASK]
    scene.serving, scene.awaiting = True, False
    assert scene.step() == [Order.TAKE]


def test_a_master_refreshes_what_the_peer_holds_less_often_the_more_it_is() -> None:
    for entries, gap_s in ((0, REFRESH_LEAST_S), (60_000, 40.0), (10**6, REFRESH_MOST_S)):
        scene = Scene()
        scene.settle()
        scene.serving, scene.entries = True, entries
        scene.go(1)
        orders = scene.go(10 * gap_s)
        assert set(orders) == {Order.REFRESH}
        assert 9 <= len(orders) <= 10
        scene.peer = False
        scene.go(HEARD_S + 1)
        assert scene.go(3 * gap_s) == []


def test_a_backup_whose_conntrackd_dies_is_demoted_again_until_the_table_came_again() -> None:
    scene = Scene()
    scene.settle()
    scene.runs = False
    assert scene.step() == []
    assert scene.arrived is False
    scene.runs, scene.heard, scene.taken = True, 0, 0
    assert scene.step() == [Order.ASK]
    assert scene.arrived is False
    scene.settle()
    assert scene.arrived is True


def test_a_master_whose_conntrackd_dies_is_not_demoted_and_sends_all_when_it_is_back() -> None:
    scene = Scene()
    scene.settle()
    scene.serving = True
    scene.step()
    scene.runs = False
    scene.go(5)
    assert scene.arrived is True
    scene.runs, scene.heard, scene.taken = True, 0, 0
    assert scene.step() == [Order.REFRESH]
    scene.runs = False
    scene.step()
    scene.serving = False
    scene.step()
    assert scene.arrived is False


def test_where_conntrackd_never_ran_nothing_is_said_and_the_time_ends_the_wait() -> None:
    scene = Scene()
    scene.runs = False
    scene.go(TIMEOUT_S + 1)
    assert scene.table == "timed out"
    assert scene.arrived is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["serving", "runs", "peer", "awaiting"]),
            st.booleans(),
            st.floats(0.25, 65.0),
            st.sampled_from([0.0, 50.0, 90_000.0]),
        ),
        max_size=8,
    )
)
def test_whatever_happens(turns: list[tuple[str, bool, float, float]]) -> None:
    scene = Scene()
    for name, value, seconds, rate in turns:
        setattr(scene, name, value)
        before: Machine = scene.machine
        orders = scene.go(seconds, rate)
        if not scene.runs:
            assert orders == [], "nobody is there to be told"
        assert orders.count(Order.TAKE) <= 1
        if not scene.serving:
            assert Order.REFRESH not in orders[1:], "only a MASTER tells others what is true"
        if scene.serving and before.arrived is True:
            assert scene.arrived is True, "a MASTER is never demoted for what it has"
        if scene.arrived is False:
            assert scene.machine.had
        if seconds > TIMEOUT_S and scene.runs:
            assert scene.table != "awaited", "no wait is for ever"
