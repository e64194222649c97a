"""``sync``: what is asked for, the steps as they come, and the exit status of the contract."""

from __future__ import annotations

import pytest

from syncsrv.cli.follow import exit_status
from syncsrv.control.shapes import JobReply, JobStarted, NodeResult, Step
from syncsrv.errors import DeniedError, UsageError
from tests.cli.toycore import Toy

DONE = NodeResult("done", "1 changed: /etc/a")
WORDS = "line one\nline two"
STEPS = (
    ("fw1", Step("tag", "done", 0.012, "sync/000004 (proxy)")),
    ("fw2", Step("fetch", "running")),
    ("fw2", Step("fetch", "done", 0.3, "7 objects")),
    ("fw2", Step("check proxy", "failed", 1.5, WORDS)),
)
FAILED = NodeResult(
    "failed", f"cannot apply area proxy: its check said\n{WORDS}", "correct the files", steps=(STEPS[3][1],)
)


def test_every_option_reaches_core(toy: Toy) -> None:
    toy.will_do("sync", {"fw2": DONE})
    said = toy.cli(
        "sync", "fw2", "--area", "proxy", "--area", "dns", "--rev", "main~1", "--reason", "why", "--dry-run",
        "--restart-all", "--confirm-within", "10m", "--force", "drift", "--force", "older",
    )  # fmt: skip
    assert said.status == 0
    request = toy.request("sync")
    assert (request.nodes, request.areas, request.rev, request.reason) == (("fw2",), ("proxy", "dns"), "main~1", "why")
    assert (request.dry_run, request.restart_all, request.confirm_within_s) == (True, True, 600.0)
    assert request.force == ("drift", "older")
    assert said.out.startswith("Dry run (job j1)\n")
    toy.cli("sync")
    plain = toy.asked[-2][1]
    assert (plain.nodes, plain.areas, plain.rev, plain.dry_run, plain.confirm_within_s, plain.force) == (
        (), (), None, False, None, ()
    )  # fmt: skip


def test_steps_are_shown_as_they_end_and_then_the_result(toy: Toy) -> None:
    toy.will_do("sync", {"fw2": FAILED}, *STEPS, tag="sync/000004")
    said = toy.cli("sync")
    assert said.status == 1
    assert said.out.splitlines() == [
        "Synchronize (job j1)",
        "  fw1             ok  tag  sync/000004 (proxy)  (0.01 s)",
        "  fw2             ok  fetch  7 objects  (0.30 s)",
        "  fw2         FAILED  check proxy  line one  (1.50 s)",
        "                      line two",
        "fw2: failed: cannot apply area proxy: its check said",
        "  what to do: correct the files",
    ]


def test_what_came_since_is_asked_for_and_nothing_is_shown_twice(toy: Toy) -> None:
    toy.will("sync", JobStarted("j1"))
    replies = iter(
        [
            JobReply("j1", "sync", "running", STEPS[:2]),
            JobReply("j1", "sync", "running", STEPS[2:3]),
            JobReply("j1", "sync", "done", STEPS[3:], None, {"fw2": DONE}),
        ]
    )
    toy.answers["job"] = lambda _request: next(replies)
    said = toy.cli("sync")
    assert [request.after for verb, request in toy.asked if verb == "job"] == [0, 2, 3]
    assert said.out.count("fetch") == said.out.count("check proxy") == 1
    assert said.out.splitlines()[-1] == "fw2: done: 1 changed: /etc/a"


def test_json_is_one_object_at_the_end(toy: Toy) -> None:
    toy.will_do(
        "sync",
        {"fw2": NodeResult("refused", "older: no", "think", ("older",), (STEPS[0][1],))},
        *STEPS,
        tag="sync/000004",
    )
    said = toy.cli("sync", "--json")
    assert (said.status, said.out.count("\n")) == (4, 1)
    assert (said.json["job"], said.json["tag"]) == ("j1", "sync/000004")
    node = said.json["nodes"]["fw2"]
    assert node.keys() == {"result", "reason", "remedy", "guards", "steps"}
    assert node["steps"][0].keys() == {"name", "result", "seconds", "output"}


def test_who_does_not_wait_gets_the_job(toy: Toy) -> None:
    toy.will("sync", JobStarted("j1"))
    said = toy.cli("sync", "--no-wait")
    assert (said.status, said.out) == (0, "job j1 was started; `syncsrv status` shows how it is\n")
    assert toy.cli("sync", "--no-wait", "--json").json == {"job": "j1"}
    assert {verb for verb, _ in toy.asked} == {"sync"}


@pytest.mark.parametrize(
    "results, status",
    [
        (["done", "unchanged"], 0),
        (["unchanged"], 0),
        (["done", "failed", "refused", "unreachable"], 1),
        (["done", "refused", "unreachable"], 4),
        (["done", "unreachable"], 3),
        (["refused", "failed"], 1),
    ],
)
def test_the_exit_status_is_the_worst_in_the_contracts_order(toy: Toy, results: list[str], status: int) -> None:
    nodes = {f"fw{number}": NodeResult(result) for number, result in enumerate(results)}
    assert exit_status({name: {"result": one.result} for name, one in nodes.items()}) == status
    toy.will_do("sync", nodes)
    assert toy.cli("sync").status == status


def test_what_core_refuses_has_its_own_status(toy: Toy) -> None:
    toy.will("sync", UsageError("cannot synchronize fw9: no such peer", "configured are fw2"))
    said = toy.cli("sync", "fw9")
    assert (said.status, said.out) == (2, "")
    assert said.err == "syncsrv: cannot synchronize fw9: no such peer; configured are fw2\n"
    toy.will("sync", DeniedError("cannot sync: a viewer may not"))
    assert toy.cli("sync").status == 4


def test_a_core_that_ends_while_it_is_followed(toy: Toy) -> None:
    toy.will("sync", JobStarted("j1"))

    def ends(_request: object) -> object:
        toy.server.close()
        raise SystemExit

    toy.answers["job"] = ends
    said = toy.cli("sync")
    assert said.status == 1
    assert "cannot ask core" in said.err


@pytest.mark.parametrize("duration", ["10x", "-1m", "m", "1h30m", ""])
def test_a_duration_that_makes_no_sense(toy: Toy, duration: str) -> None:
    said = toy.cli("sync", f"--confirm-within={duration}")
    assert (said.status, toy.asked) == (2, [])
    assert "is no duration; write 90s, 10m or 6h" in said.err


@pytest.mark.parametrize("duration, seconds", [("90", 90.0), ("90s", 90.0), ("1.5m", 90.0), ("6h", 21600.0)])
def test_a_duration(toy: Toy, duration: str, seconds: float) -> None:
    toy.will("sync", JobStarted("j1"))
    toy.cli("sync", "--no-wait", "--confirm-within", duration)
    assert toy.request("sync").confirm_within_s == seconds
