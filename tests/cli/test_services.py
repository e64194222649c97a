"""``services``: which words mean what, and the table."""

from __future__ import annotations

from dataclasses import replace

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


def test_all_that_is_known_and_the_logs_of_what_failed(toy: Toy) -> None:
    nginx = replace(
        NGINX, since="2026-11-23T02:13:04Z", memory=96 * 1024**2, memory_of="service", restarts=0, enabled="enabled"
    )
    dns = replace(DNS, memory=2048, memory_of="process", restarts=3, log="it says\n\x1b[31mwhy")
    toy.will("services", ServicesReply("fw1", (nginx, dns)))
    assert toy.cli("services").out.splitlines() == [
        "nginx                     running  health ok       "
        "pid 17, since 2026-11-23T02:13:04Z, 96 MiB, enabled  "
        "restart pending: it runs with an older configuration",
        "unbound-with-a-long-name  failed   health failing  "
        "2.0 KiB in its main process, started again 3 times   it ended with status 1",
        "",
        "the end of the log of unbound-with-a-long-name",
        "  it says",
        "  \\x1b[31mwhy",
    ]
    assert toy.cli("services", "--json").json["services"][1]["restarts"] == 3


def test_logs_are_asked_for_by_name(toy: Toy) -> None:
    toy.will("services", ServicesReply("fw1", (replace(NGINX, log="one"), DNS)))
    said = toy.cli("services", "fw2", "log", "nginx")
    assert said.out.splitlines()[1:] == ["", "the end of the log of nginx", "  one"]
    request = toy.request("services")
    assert (request.node, request.action, request.names) == ("fw2", "log", ("nginx",))
    assert toy.cli("services", "log", DNS.name).out.splitlines()[-1] == "  nothing is known of it"
    none = toy.cli("services", "log")
    assert (none.status, "no service is named" in none.err) == (2, True)


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
