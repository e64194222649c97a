"""Whatever a peer, a file or a program says, no command lets it steer the terminal of who reads it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncsrv.control.shapes import JobReply, JobStarted, Status
from syncsrv.control.shapes_failover import VipReply
from syncsrv.control.shapes_history import CommitReply, DiffReply, LogReply, ShowReply
from syncsrv.control.shapes_people import TokenReply, UsersReply
from syncsrv.control.shapes_services import ServicesReply
from syncsrv.errors import SyncsrvError
from tests.cli.toycore import HOSTILE, Toy, hostile, steers

ASKS = [
    (["status"], "status", Status),
    (["log"], "log", LogReply),
    (["log", "/etc/x"], "log", LogReply),
    (["show", "main"], "show", ShowReply),
    (["show", "--stat", "main"], "show", ShowReply),
    (["diff"], "diff", DiffReply),
    (["diff", "main"], "diff", DiffReply),
    (["commit"], "commit", CommitReply),
    (["services"], "services", ServicesReply),
    (["vip"], "status", Status),
    (["vip", "demote", "x", "5"], "vip", VipReply),
    (["user", "list"], "user-list", UsersReply),
    (["user", "token", "alice"], "user-token", TokenReply),
]


@pytest.mark.parametrize(
    "argv, verb, reply", ASKS, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_no_text_of_a_reply_steers(toy: Toy, argv: list[str], verb: str, reply: type) -> None:
    toy.will(verb, hostile(reply))
    said = toy.cli(*argv)
    assert "x\\n" in said.out, "it is shown, as letters"
    assert not steers(said.out + said.err), repr(said.out)


@pytest.mark.parametrize("role", ["master", "backup"])
def test_no_text_of_either_side_of_the_status_steers(toy: Toy, role: str) -> None:
    status: Status = hostile(Status)
    peers = {name: replace(peer, role=role) for name, peer in status.peers.items()}
    toy.will("status", replace(status, role=role, peers=peers))
    assert not steers(toy.cli("status").out)


@pytest.mark.parametrize(
    "argv",
    [
        ["sync"],
        ["sync", "--no-wait"],
        ["rollback", "main"],
        ["services", "restart-all"],
        ["services", "fw2", "restart", "x"],
    ],
)
@pytest.mark.parametrize("result", ["done", "failed", HOSTILE])
def test_no_text_of_a_job_steers(toy: Toy, argv: list[str], result: str) -> None:
    for verb in ("sync", "rollback", "act"):
        toy.will(verb, hostile(JobStarted))
    reply: JobReply = hostile(JobReply)
    ((node, step),) = reply.steps
    nodes = {name: replace(one, result=result) for name, one in reply.nodes.items()}
    toy.will("job", replace(reply, nodes=nodes, steps=((node, replace(step, result=result)),)))
    said = toy.cli(*argv)
    assert "x\\n" in said.out
    assert not steers(said.out + said.err), repr(said.out)


@pytest.mark.parametrize(
    "argv, verb, reply", ASKS, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_no_text_of_an_error_steers(toy: Toy, argv: list[str], verb: str, reply: type) -> None:
    toy.will(verb, SyncsrvError(HOSTILE, HOSTILE))
    said = toy.cli(*argv)
    assert said.status in (1, 2)
    assert not steers(said.out + said.err), repr(said.err)


@pytest.mark.parametrize(
    "argv, verb, reply", ASKS, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_json_has_every_text_as_it_is(toy: Toy, argv: list[str], verb: str, reply: type) -> None:
    toy.will(verb, hostile(reply))
    said = toy.cli(*argv, "--json")
    assert not steers(said.out)
    assert HOSTILE in walk(said.json)


def walk(value: object) -> list[str]:
    """Every text in JSON data."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in walk(one)]
    return [text for one in value for text in walk(one)] if isinstance(value, list) else []
