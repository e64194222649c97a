"""``services``: which words mean what, and the table."""

from __future__ import annotations

import pytest

from syncsrv.control.shapes import NodeResult
from syncsrv.control.shapes_services import ServicesReply
from tests.cli.test_status import DNS, NGINX
from tests.cli.toycore import Toy


def test_the_table(toy: Toy) -> None:
    toy.will("services", ServicesReply("fw1", (NGINX, DNS)))
    assert toy.cli("services").out.splitlines() == [
        "nginx                     running  health ok       pid 17  "
        "restart pending: it runs with an older configuration",
        "unbound-with-a-long-name  failed   health failing          it ended with status 1",
    ]
    assert toy.cli("services", "status", "nginx").out.startswith("nginx  running")
    assert [one["name"] for one in toy.cli("services", "fw2", "--json").json["services"]] == [NGINX.name, DNS.name]
    toy.will("services", ServicesReply("fw1", ()))
    assert toy.cli("services").out == "No service is configured.\n"


@pytest.mark.parametrize(
    "words, node, action, names",
    [
        (["restart", "nginx", "dns"], "", "restart", ("nginx", "dns")),
        (["fw2", "start", "nginx"], "fw2", "start", ("nginx",)),
        (["restart-all"], "", "restart-all", ()),
        (["fw2", "restart-all"], "fw2", "restart-all", ()),
    ],
)
def test_actions_are_jobs(toy: Toy, words: list[str], node: str, action: str, names: tuple[str, ...]) -> None:
    toy.will_do("act", {"fw1": NodeResult("done")})
    said = toy.cli("services", *words)
    assert said.status == 0
    assert said.out.splitlines()[-1] == "fw1: done"
    request = toy.request("act")
    assert (request.node, request.action, request.names) == (node, action, names)


def test_a_peer_that_is_away_is_3(toy: Toy) -> None:
    toy.will_do("act", {"fw2": NodeResult("unreachable", "cannot reach fw2: away", "look")})
    assert toy.cli("services", "fw2", "restart-all").status == 3


def test_words_that_make_no_sense(toy: Toy) -> None:
    toy.will("services", ServicesReply("fw1", (NGINX,)))
    said = toy.cli("services", "fw2", "explode")
    assert (said.status, toy.asked) == (2, [])
    assert "cannot explode services: there is no such action" in said.err
    unknown = toy.cli("services", "status", "nginy")
    assert (unknown.status, "fw1 has none of that name" in unknown.err) == (2, True)
