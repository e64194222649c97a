"""Services asked for and acted on through a core, here and on a peer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.control.dispatch import Caller
from syncsrv.control.shapes import JobStarted
from syncsrv.control.shapes_services import ServicesReply, ServicesRequest
from syncsrv.control.verbs import Door
from syncsrv.errors import UnreachableError, UsageError
from syncsrv.services.control import UnknownServiceError
from syncsrv.store.receipts import read_receipts
from tests.core.corekit import ALICE, Pair, pair_of, steps


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with pair_of(tmp_path) as pair:
        yield pair


def states(pair: Pair, node: str = "") -> dict[str, str]:
    reply = pair.fw1.ask("services", ServicesRequest(node))
    assert isinstance(reply, ServicesReply)
    assert reply.node == (node or "fw1")
    return {one.name: one.state for one in reply.services}


def test_a_service_is_started_and_stopped_here_with_a_receipt(pair: Pair) -> None:
    assert states(pair) == {"app": "stopped"}
    reply = pair.fw1.do("act", ServicesRequest("", "start", ("app",)))
    assert reply.nodes["fw1"].result == "done"
    assert states(pair) == {"app": "running"}
    assert steps(reply, "fw1")["start app"].output.startswith("running")
    assert pair.fw1.core.live.readings[0].state == "running", "status shows it at once"
    assert pair.fw1.do("act", ServicesRequest("", "stop", ("app",))).nodes["fw1"].result == "done"
    assert pair.fw1.told() == ["start", "stop"]
    assert [one.body["kind"] for one in read_receipts(pair.fw1.core.store, 5)] == ["services stop", "services start"]
    assert pair.fw2.told() == []


@pytest.mark.parametrize("node", ["", "fw2"])
def test_the_log_of_a_service_is_read_when_it_is_asked_for_here_and_on_a_peer(pair: Pair, node: str) -> None:
    logs = pair.nodes[node or "fw1"].core.live.config.node.state_dir / "services"
    logs.mkdir(exist_ok=True)
    (logs / "app.log").write_text("one\ntwo\n")
    for action, log in (("status", ""), ("log", "one\ntwo")):
        reply = pair.fw1.ask("services", ServicesRequest(node, action, ("app",)))
        assert isinstance(reply, ServicesReply)
        assert [one.log for one in reply.services] == [log]
    with pytest.raises(UsageError, match="cannot find service none"):
        pair.fw1.ask("services", ServicesRequest(node, "log", ("none",)))


def test_a_peer_is_asked_now_and_does_it_itself(pair: Pair) -> None:
    assert states(pair, "fw2") == {"app": "stopped"}
    reply = pair.fw1.do("act", ServicesRequest("fw2", "start", ("app",)))
    assert reply.nodes["fw2"].result == "done"
    assert "start app" in steps(reply, "fw2")
    assert (pair.fw1.told(), pair.fw2.told()) == ([], ["start"])
    assert states(pair, "fw2") == {"app": "running"}
    (receipt,) = read_receipts(pair.fw2.core.store, 5)
    assert receipt.body["requested_by"] == "alice via fw1"


def test_restart_all_skips_with_the_reason_and_moves_no_configuration(pair: Pair) -> None:
    head = pair.fw1.core.recorder.head()
    reply = pair.fw1.do("act", ServicesRequest("", "restart-all"))
    assert reply.nodes["fw1"].result == "done"
    assert (steps(reply, "fw1")["restart app"].result, pair.fw1.told()) == ("skipped", [])
    pair.fw1.do("act", ServicesRequest("", "start", ("app",)))
    assert pair.fw1.do("act", ServicesRequest("", "restart-all")).nodes["fw1"].result == "done"
    assert pair.fw1.told() == ["start", "stop", "start"]
    assert pair.fw1.core.recorder.head() == head


def test_a_double_click_is_one_click_and_two_commands_are_two(pair: Pair) -> None:
    def begun(action: str, caller: Caller) -> str:
        started = pair.fw1.ask("act", ServicesRequest("", action, ("app",)), caller)
        assert isinstance(started, JobStarted)
        return started.job

    browser = replace(ALICE, door=Door.WEB, via="web", origin="192.0.2.9")
    first = begun("start", browser)
    assert begun("start", browser) == first
    assert begun("start", replace(browser, person="oscar")) != first
    clicks = [begun(action, browser) for action in ("start", "stop", "start")]
    assert len({first, *clicks}) == 4, "only the very next one is the same click"
    assert begun("start", ALICE) != begun("start", ALICE)
    assert pair.fw1.core.jobs.join(30)


def test_a_failure_is_the_jobs(pair: Pair) -> None:
    failed = pair.fw1.do("act", ServicesRequest("", "reload", ("app",))).nodes["fw1"]
    assert failed.result == "failed"
    assert failed.reason == "cannot reload service app: it does not run (stopped)"
    assert failed.remedy


def test_what_makes_no_sense_starts_no_job(pair: Pair) -> None:
    for request, why in (
        (ServicesRequest("", "explode", ("app",)), "cannot do 'explode' with services"),
        (ServicesRequest("", "restart"), "cannot restart services: none is named"),
        (ServicesRequest("fw9", "restart", ("app",)), "cannot find node fw9: no such peer"),
    ):
        with pytest.raises(UsageError, match=why):
            pair.fw1.ask("act", request)
    with pytest.raises(UnknownServiceError) as said:
        pair.fw1.ask("act", ServicesRequest("", "restart", ("ap",)))
    assert said.value.remedy == "did you mean app?"
    assert pair.fw1.core.jobs.recent() == []


def test_a_peer_that_is_away_is_unreachable(pair: Pair) -> None:
    pair.away.add("fw2")
    pair.fw1.links.hang_up("fw2")
    with pytest.raises(UnreachableError):
        pair.fw1.ask("services", ServicesRequest("fw2"))
    assert pair.fw1.do("act", ServicesRequest("fw2", "start", ("app",))).nodes["fw2"].result == "unreachable"
