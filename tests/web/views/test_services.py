"""Services side by side: what may be asked of which, and what came of it last."""

from __future__ import annotations

from syncsrv.control.shapes import JobReply, Step
from syncsrv.web.views.services import boards, outcomes
from tests.web.views.standings import NOW, backup, master, peer, service


def test_what_may_be_asked_depends_on_the_state() -> None:
    services = (service("a"), service("b", "stopped"), service("c", "masked", reason="masked by hand"))
    (board,) = boards(master({"fw2": peer(services=services)}), {}, NOW)
    readings = board.hosts[1].readings
    assert readings["a"].actions[0] == "restart"
    assert readings["b"].actions == ("start",)
    assert (readings["c"].actions, readings["c"].why) == ((), "masked by hand")


def test_nothing_is_asked_of_a_node_that_does_not_answer() -> None:
    (board,) = boards(master({"fw2": peer("unreachable")}), {}, NOW)
    assert board.hosts[1].lost
    assert (board.hosts[1].readings["nginx"].actions, board.hosts[1].readings["nginx"].why) == (
        (),
        "fw2 does not answer",
    )


def test_the_master_stands_first_and_two_nodes_share_a_table() -> None:
    (board,) = boards(backup(), {}, NOW)
    assert [host.name for host in board.hosts] == ["fw1", "fw2"]
    assert [len(one.hosts) for one in boards(master({"fw2": peer(), "fw3": peer()}), {}, NOW)] == [2, 1]


def test_every_service_of_either_node_has_a_row() -> None:
    (board,) = boards(master({"fw2": peer(services=(service("b"),))}, services=(service("a"),)), {}, NOW)
    assert board.names == ("a", "b")


def test_the_newest_result_of_each_service_counts() -> None:
    def job(name: str, *steps: tuple[str, str, str]) -> tuple[str, JobReply]:
        return NOW, JobReply(
            name, "services", "done", tuple((node, Step(step, result)) for node, step, result in steps)
        )

    found = outcomes(
        [
            job("new", ("fw2", "restart nginx", "failed"), ("fw2", "check", "done")),
            job(
                "old", ("fw2", "restart nginx", "done"), ("fw1", "reload nginx", "running"), ("fw1", "stop a b", "done")
            ),
        ]
    )
    assert {key: (one.action, one.result, one.job) for key, one in found.items()} == {
        ("fw2", "nginx"): ("restart", "failed", "new"),
        ("fw1", "a b"): ("stop", "done", "old"),
    }
