"""The page of the virtual addresses over real cores, whose carp processes say what a test wants."""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from syncsrv.clock import SystemClock
from syncsrv.control.shapes_failover import VipReply
from syncsrv.failover import intent as intents
from syncsrv.failover.messages import Apply, Report, VipReport
from syncsrv.web.answers import LASTS_S, MOST, Answers
from syncsrv.web.pages import vips as page
from tests.core.carp.carpkit import backups, masters, running, two_nodes
from tests.core.carp.fakecarp import FakeCarp
from tests.core.corekit import Node
from tests.support.wait import until
from tests.web.webkit import Browser, Site, site_on


@dataclass
class Desk:
    """fw1's page, and both carp processes."""

    site: Site
    here: FakeCarp
    there: FakeCarp

    def hear(self) -> None:
        """Poll fw2, once its core has the newest report."""
        assert self.site.pair is not None
        fw2 = self.site.pair.fw2
        until(lambda: fw2.core.carp.reading.now == self.there.report, what="fw2 to know what its process says")
        self.site.node.hear()

    def fresh(self) -> None:
        """Wait until fw1's core has the newest report."""
        until(
            lambda: self.site.node.core.carp.reading.now == self.here.report, what="fw1 to know what its process says"
        )


@pytest.fixture
def desk(short_tmp: Path) -> Iterator[Desk]:
    """fw1 holds all, fw2 is ready behind it."""
    with (
        two_nodes(short_tmp) as pair,
        running(pair.fw1, masters(pair.fw1)) as here,
        running(pair.fw2, behind_fw1(pair.fw2)) as there,
        contextlib.closing(site_on(pair.fw1, pair)) as site,
    ):
        desk = Desk(site, here, there)
        desk.hear()
        yield desk


def behind_fw1(node: Node) -> tuple[VipReport, ...]:
    return backups(node, master_source="192.0.2.1", master_peer="fw1", master_advskew=0)


@pytest.fixture
def oscar(desk: Desk) -> Browser:
    return desk.site.browser("oscar")


def gives_to_fw2(report: Report, order: Apply) -> Report:
    """What the process carp of a node does whose peer is well."""
    heard: dict[str, Any] = {
        "master_source": "192.0.2.2",
        "master_peer": "fw2",
        "master_advskew": 100,
        "heard_age_s": 0.0,
    }
    vips = (replace(one, state="BACKUP", held=(), handover="taken by fw2", **heard) for one in report.vips)
    return replace(report, vips=tuple(vips))


def gives_to_nobody(report: Report, order: Apply) -> Report:
    return replace(report, vips=tuple(replace(one, handover="no peer took over") for one in report.vips))


def words(page: str) -> str:
    """What a page says, without its markup."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def title(page: str) -> str:
    found = re.search(r'<h1 id="v">(.*?)</h1>', page, re.S)
    assert found is not None
    return words(found[1]).strip()


def press(browser: Browser, action: str, **typed: str) -> str:
    """Unfold the question, fill its form in as a person does, press its button, and read the page that follows."""
    page = browser.text(f"/vips?ask={action}")
    form = re.search(r'<form class="ask in"(.*?)</form>', page, re.S)
    assert form is not None, f"{action} is not asked"
    assert "<button" in form[1], words(form[1])
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form[1]))
    named = set(re.findall(r'<input type="(?:text|number)" name="(\w+)"', form[1]))
    assert set(typed) <= named
    answer = browser.client.post(
        "/vips", data={**{name: html.unescape(text) for name, text in fields.items()}, **typed}
    )
    assert answer.status_code == 303, answer.text
    return browser.text(answer.location.partition("#")[0])


def test_who_holds_what_and_who_is_ready(desk: Desk, oscar: Browser) -> None:
    page = oscar.text("/vips")
    assert title(page) == "fw1 holds all 3 addresses; fw2 is ready behind it."
    assert page.count('<span class="plate solid">MASTER</span>') == 2
    assert page.count('<span class="plate">BACKUP</span>') == 2
    said = words(page)
    assert "192.0.2.10/24 2001:db8::10/64" in said
    assert "hears fw1 (192.0.2.1), skew 0" in said
    assert "3 sent by this node itself" in said
    assert "12 9 believed" in said
    assert title(oscar.text("/")).endswith("fw1 holds all 3 addresses.") or "fw1 holds all 3 addresses" in oscar.text(
        "/"
    )


def test_a_switchover_says_who_took_over_and_is_in_the_audit(desk: Desk, oscar: Browser) -> None:
    asked = words(oscar.text("/vips?ask=switchover"))
    assert "Switch over to fw2" in asked
    assert "fw1 says farewell on lan and wan, and goes on answering" in asked
    assert "If nobody takes them over, it is taken back whole" in asked
    desk.here.does = gives_to_fw2
    page = press(oscar, "switchover", why="new kernel on fw1")
    said = words(page)
    assert "Done: fw2 serves 1@lan and 2@wan" in said
    assert "1@lan fw2 2@wan fw2" in said
    assert intents.load(desk.site.node.state).switchover
    trail = words(oscar.text("/audit?kind=vip"))
    assert "Failover" in trail
    assert "switchover: fw2 serves 1@lan and 2@wan" in trail
    assert "Why: new kernel on fw1" in trail
    assert "oscar" in trail
    desk.fresh()
    assert "last handover: taken by fw2" in words(oscar.text("/vips"))


def test_what_nobody_took_is_said_and_is_not_done(desk: Desk, oscar: Browser) -> None:
    desk.here.does = gives_to_nobody
    page = press(oscar, "switchover")
    said = words(page)
    assert "Not done: the switchover did not happen and is taken back" in said
    assert said.count("nobody took it") == 2
    assert "Done:" not in said.replace("Not done:", "")
    assert not intents.load(desk.site.node.state).switchover
    assert "Failed" in words(oscar.text("/audit?kind=vip"))


def test_an_answer_can_be_read_again_by_who_asked_and_by_nobody_else(desk: Desk, oscar: Browser) -> None:
    desk.here.does = gives_to_fw2
    form = {"action": "maintenance-on", "node": "fw1", "label": "Put fw1 in maintenance"}
    where = oscar.post("/vips", form).location.partition("#")[0]
    orders = len(desk.here.applied)
    for _ in range(2):
        assert "Done: maintenance is on; fw2 serves" in words(oscar.text(where))
    assert len(desk.here.applied) == orders, "a reload does nothing again"
    assert "Done:" not in words(desk.site.browser("alice").text(where))
    assert "Done:" not in words(oscar.text("/vips?said=none"))


def test_maintenance_begins_and_ends(desk: Desk, oscar: Browser) -> None:
    desk.here.does = gives_to_fw2
    press(oscar, "maintenance-on")
    desk.there.says(vips=masters(desk.site.pair.fw2) if desk.site.pair else ())
    desk.hear()
    desk.fresh()
    page = oscar.text("/vips")
    assert title(page) == "fw2 holds all 3 addresses; fw1 is back and stays BACKUP because it is in maintenance."
    assert "fw1 on · fw2 off" in words(page)
    assert "End the maintenance of fw1" in page
    desk.here.does = lambda report, _: replace(report, vips=masters(desk.site.node))
    assert "Done: maintenance is off; this node serves 1@lan and 2@wan" in words(press(oscar, "maintenance-off"))


def test_out_of_failover_and_back(desk: Desk, oscar: Browser) -> None:
    desk.here.does = gives_to_fw2
    asked = oscar.text("/vips?ask=disable")
    assert "removes 192.0.2.10, 2001:db8::10, 198.51.100.10, also where nobody took over" in words(asked)
    assert 'class="btn danger"' in asked
    press(oscar, "disable")
    assert intents.load(desk.site.node.state).disabled
    desk.here.does = lambda report, _: report
    press(oscar, "enable")
    assert not intents.load(desk.site.node.state).disabled


def test_a_demotion_has_a_name_and_is_taken_back_by_it(desk: Desk, oscar: Browser) -> None:
    said = words(press(oscar, "demote", reason="upgrade", weight="30"))
    assert "Done: demoted by 30 for upgrade" in said
    desk.fresh()
    page = oscar.text("/vips")
    assert "upgrade given by an operator" in words(page)
    assert "demoted by 30 (upgrade 30)" in title(page)
    press(oscar, "promote:upgrade")
    desk.fresh()
    assert "upgrade" not in oscar.text("/vips")


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"action": "explode"}, "it is one of"),
        ({}, "it is one of"),
        ({"action": "demote", "reason": "upgrade", "weight": "much"}, "the weight is no number"),
        ({"action": "demote", "reason": "upgrade", "weight": "²"}, "the weight is no number"),
        ({"action": "demote", "reason": "upgrade", "weight": "241"}, "1 to 240"),
        ({"action": "demote", "reason": "maintenance", "weight": "10"}, "syncsrv itself"),
        ({"action": "demote", "reason": "<script>", "weight": "10"}, "as the name of a demotion"),
        ({"action": "promote", "reason": "none"}, "not demoted for that"),
        ({"action": "disable", "node": "fw2"}, "a node decides about itself"),
    ],
)
def test_what_makes_no_sense_is_refused_with_words(desk: Desk, oscar: Browser, form: dict[str, str], said: str) -> None:
    answer = oscar.post("/vips", form)
    assert answer.status_code == 400
    assert said.lower() in words(answer.text).lower()
    assert "<script>" not in answer.text.replace("<script src", "")
    assert desk.here.intents() == []


def test_a_switchover_of_nothing_is_refused(desk: Desk, oscar: Browser) -> None:
    desk.here.says(vips=backups(desk.site.node))
    desk.fresh()
    page = oscar.text("/vips?ask=switchover")
    assert "Switch over on that node&#39;s page" in page
    assert "<button class" not in page.partition('id="ask"')[2].partition("</form>")[0]
    answer = oscar.post("/vips", {"action": "switchover"})
    assert answer.status_code == 409
    assert "MASTER of nothing" in words(answer.text)


def test_a_viewer_sees_the_buttons_dashed_and_is_refused(desk: Desk) -> None:
    vera = desk.site.browser("vera")
    page = vera.text("/vips?ask=maintenance-on")
    assert "It needs the role operator; vera is viewer." in words(page)
    assert '<button class="btn first' not in page
    answer = vera.post("/vips", {"action": "maintenance-on"})
    assert answer.status_code == 403
    assert desk.here.intents() == []


def test_no_token_no_order(desk: Desk, oscar: Browser) -> None:
    assert oscar.client.post("/vips", data={"action": "disable"}).status_code == 400
    assert desk.here.intents() == []


def test_two_masters_are_said_on_both_pages(desk: Desk, oscar: Browser) -> None:
    assert desk.site.pair is not None
    desk.there.says(vips=masters(desk.site.pair.fw2))
    desk.hear()
    for path in ("/vips", "/"):
        page = oscar.text(path)
        assert title(page).startswith("Two masters: fw1 and fw2 both hold 192.0.2.10")
        assert page.count('<span class="plate bad">MASTER</span>') >= 4
        assert 'Virtual IPs <span class="n b">2<span class="sr"> wrong</span></span>' in page


def test_a_process_that_is_gone_is_unknown_and_never_green(desk: Desk, oscar: Browser) -> None:
    desk.here.close()
    until(lambda: desk.site.node.core.carp.reading.now is None, what="fw1 to know that its process is gone")
    page = oscar.text("/vips")
    assert title(page) in {
        "UNKNOWN: the carp process on fw1 does not answer.",
        "The carp process on fw1 does not run.",
    }
    assert "UNKNOWN" in page
    assert "MASTER</span>" not in page
    said = words(press(oscar, "maintenance-on"))
    assert "maintenance is on: it is written down and counts from when the carp process runs again" in said
    assert intents.load(desk.site.node.state).maintenance


def test_a_node_that_does_not_answer_is_last_known(desk: Desk, oscar: Browser) -> None:
    assert desk.site.pair is not None
    desk.site.pair.fw2.server.close()
    desk.site.pair.away.add("fw2")
    for _ in range(4):
        desk.site.node.core.book.refresh("fw2")
    page = oscar.text("/vips")
    assert "so whether it is ready is not known" in title(page)
    assert "last known" in page
    assert "lost-reading" in page
    assert "No other node is known to be ready" in words(page)


def test_a_script_that_asks_again_gets_the_readings_and_not_the_question(desk: Desk, oscar: Browser) -> None:
    page = oscar.get("/vips?ask=demote", headers={"X-Poll": "1"}).get_data(as_text=True)
    live = re.findall(r'data-live="([^"]+)"', page)
    assert {"verdict", "ledger", "devices", "vip-1@lan", "vip-2@wan"} <= set(live)
    assert len(live) == len(set(live))


def test_none_are_configured(lone: Site) -> None:
    page = lone.browser("alice").text("/vips")
    assert title(page) == "No virtual addresses are configured."
    assert "MASTER" not in page
    answer = lone.browser("alice").post("/vips", {"action": "switchover"})
    assert answer.status_code == 400


def ask(site: Site, name: str, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
    """What the API answers to a program with a token."""
    token = site.node.core.people.new_token(name)
    client = site.app.test_client(use_cookies=False)
    answer = client.open(path, method=method, headers={"Authorization": f"Bearer {token}"}, json=body)
    return answer.status_code, answer.get_json()


def test_the_api_says_the_same_and_takes_the_same_orders(desk: Desk, oscar: Browser) -> None:
    desk.site.browser("vera")
    status, found = ask(desk.site, "vera", "GET", "/api/v1/vips")
    assert status == 200
    fw1, fw2 = found["nodes"]["fw1"], found["nodes"]["fw2"]
    assert [(one["state"], one["held"]) for one in fw1["vips"]][1] == ("MASTER", ["198.51.100.10/24"])
    assert {one["state"] for one in fw2["vips"]} == {"BACKUP"}
    assert fw1["failover"]["running"] is True
    status, problem = ask(desk.site, "vera", "POST", "/api/v1/vips/actions", {"action": "maintenance-on"})
    assert (status, problem["code"]) == (403, "denied")
    status, problem = ask(desk.site, "oscar", "POST", "/api/v1/vips/actions", {"action": "explode"})
    assert (status, problem["code"]) == (400, "bad-request")
    desk.here.does = gives_to_nobody
    order = {"action": "switchover", "why": "a rehearsal"}
    status, reply = ask(desk.site, "oscar", "POST", "/api/v1/vips/actions", order)
    assert (status, reply["done"], reply["taken_by"]) == (200, False, {"1@lan": "", "2@wan": ""})
    assert "nobody took" in reply["text"]
    desk.here.says(vips=backups(desk.site.node))
    desk.fresh()
    status, problem = ask(desk.site, "oscar", "POST", "/api/v1/vips/actions", {"action": "switchover"})
    assert (status, problem["code"]) == (409, "not-serving")
    assert "MASTER of nothing" in problem["detail"]


def test_every_route_of_the_page_says_who_may_use_it() -> None:
    assert {view.__name__: view.__dict__["needs"] for view in (page.vips, page.order)} == {
        "vips": "viewer",
        "order": "operator",
    }


class HandClock(SystemClock):
    """A clock whose seconds pass when a test says so."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_an_answer_is_kept_for_a_while_and_not_too_many_are() -> None:
    clock = HandClock()
    answers = Answers(clock)
    reply = VipReply(True, "done")
    name = answers.put("oscar", "Demote fw1", reply)
    assert answers.get(name, "oscar") == ("Demote fw1", reply)
    clock.now = LASTS_S
    assert answers.get(name, "oscar") is None
    first = answers.put("oscar", "first", reply)
    for _ in range(MOST):
        last = answers.put("oscar", "another", reply)
    assert answers.get(first, "oscar") is None
    assert answers.get(last, "oscar") is not None
