"""Every state word is drawn on every page, also those that a core in a test does not reach: nothing is undefined."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import g

from syncsrv.control.shapes import JobInfo, Status
from syncsrv.control.shapes_failover import Demotion, FailoverInfo, VipInfo
from syncsrv.control.shapes_history import LeftOutInfo
from syncsrv.control.shapes_page import Session
from syncsrv.plan.verdict import TABLE
from syncsrv.web import access
from tests.web.views.failovers import STANDINGS, TABLES
from tests.web.views.standings import NOW, backup, master, peer, service
from tests.web.webkit import Site

STATES = [state for state, _ in TABLE if state != "standalone"]
PAGES = {
    "/": "overview.overview",
    "/services": "services.services",
    "/drift": "standing.drift",
    "/vips": "vips.vips",
}
VIP = VipInfo(7, "lan", "eth0", "MASTER", ("192.0.2.10/24",), NOW, "")
JOBS = (
    JobInfo("2", "sync", "running", "mara", NOW, "192.0.2.7", "sync/000003", "fw2"),
    JobInfo("1", "services restart", "done", "mara", NOW, results={"fw2": "failed"}),
)


Draw = Callable[[str, Status, str], str]


@pytest.fixture(scope="module")
def draw(lone: Site) -> Draw:
    """Draws a page of ours for a status that another core would have told; its history is this core's."""
    lone.browser("alice")
    headers = {"Authorization": f"Bearer {lone.node.core.people.new_token('alice')}"}
    return lambda path, status, role: drawn(lone, path, status, role, headers)


def drawn(site: Site, path: str, status: Status, role: str, headers: dict[str, str]) -> str:
    with site.app.test_request_context(path, headers=headers):
        g.me, g.status = Session(person="alice", role=role), status
        html = site.app.view_functions[PAGES[path]]()
        assert isinstance(html, str)
    return html


def ids(html: str) -> list[str]:
    return re.findall(r' id="([^"]+)"', html) + [f"live {one}" for one in re.findall(r'data-live="([^"]+)"', html)]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("state", STATES)
def test_on_a_master_and_on_a_backup(draw: Draw, path: str, state: str) -> None:
    drift = ("/etc/a",) if state in {"drifted", "diverged"} else ()
    for status in (
        master({"fw2": peer(state, drift=drift, behind=2)}),
        backup(state, sync={"drift": drift, "behind": 2}),
    ):
        for role in ("viewer", "operator"):
            html = draw(path, status, role)
            assert len(ids(html)) == len(set(ids(html))), "an id stands twice"
            assert "Undefined" not in html


@pytest.mark.parametrize("path", PAGES)
def test_three_nodes_virtual_addresses_jobs_and_notices(draw: Draw, path: str) -> None:
    services = tuple(
        service(state, state, health=health, restart_pending=state == "starting", reason="because")
        for state, health in (
            ("running", "ok"),
            ("running", "failing"),
            ("starting", "unknown"),
            ("stopped", "none"),
            ("failed", "failing"),
            ("masked", "none"),
            ("missing", "none"),
            ("unknown", "unknown"),
            ("entangled", "unknown"),
        )
    )
    peers = {
        "fw2": peer("drifted", drift=("/etc/a",), services=services, vips=(VIP,), demotion=Demotion(120, {"x": 120})),
        "fw3": peer("unreachable", drift=("/etc/b",)),
        "fw4": peer("entangled", None),
    }
    status = master(
        peers,
        notices=("`syncsrv` <says> 2026-11-23T04:21:12Z",),
        left_out=tuple(LeftOutInfo(f"/etc/{n}", "app", "socket", "") for n in range(25)),
        vips=(VIP,),
        services=services,
    )
    html = draw(path, status, "operator")
    assert len(ids(html)) == len(set(ids(html)))
    if path == "/":
        assert "and 5 more files that are left out" in html
        assert "&lt;says&gt;" in html


def test_all_that_is_known_of_a_service_stands_in_its_row_and_the_log_of_a_failed_one_is_open(draw: Draw) -> None:
    services = (
        service("nginx", since=NOW, pid=812, memory=96 * 1024**2, memory_of="service", restarts=0, enabled="enabled"),
        service("unbound", pid=40, memory=3_600_000, memory_of="process", restarts=2, enabled="disabled"),
        service("kea", "failed", health="failing", reason="it ended with status 1", log="bad word <here>\nit ended"),
    )
    lost = peer("unreachable", services=services)
    html = draw("/services", master({"fw2": lost}, services=services), "viewer")
    ours, theirs = (re.findall(rf'<td data-l="{node}"[^>]*>\n(.*?)</td>', html, re.DOTALL) for node in ("fw1", "fw2"))
    bare = [re.sub("<[^>]*>", "", one).split("\n") for one in ours]
    assert bare[0][-2].endswith(" · pid 812 · 96 MiB · enabled · log of nginx on fw1")
    known = "pid 40 · 3.4 MiB in its main process · started again 2 times by itself · disabled · log of unbound on fw1"
    assert bare[1][-2] == known
    assert 'href="/services?log=nginx%3Afw1#log"' in ours[0]
    assert len(theirs) == 3
    assert "?log=" not in "".join(theirs), "it cannot be asked"
    assert html.count("<pre>bad word &lt;here&gt;\nit ended</pre>") == 2
    assert html.count('<details class="out" open>') == 2
    assert re.findall(r'data-live="logs-fw1-(\w+)"( hidden)?', html) == [
        *(("nginx", " hidden"), ("unbound", " hidden"), ("kea", ""))
    ]
    assert "log=kea" not in html, "it stands there already"


@pytest.mark.parametrize("path", ["/", "/vips"])
@pytest.mark.parametrize("name", [*STANDINGS, "configured, and nothing told"])
def test_every_standing_of_failover(draw: Draw, path: str, name: str) -> None:
    bare: dict[str, Any] = {"failover": FailoverInfo(configured=True)}
    status = STANDINGS.get(name) or master({"fw2": peer(**bare)}, **bare)
    for role in ("viewer", "operator"):
        html = draw(path, status, role)
        assert len(ids(html)) == len(set(ids(html))), "an id stands twice"
        assert "Undefined" not in html


def test_a_job_under_way_is_shown(draw: Draw) -> None:
    html = draw("/", master({"fw2": peer("syncing")}, jobs=JOBS), "operator")
    assert 'href="/jobs/2"' in html
    assert "is under way" in html


def test_jobs_that_core_forgot_meanwhile_are_left_out(draw: Draw) -> None:
    assert "last: " not in draw("/services", master(jobs=JOBS), "operator")


def test_who_asks_is_asked_once(lone: Site) -> None:
    with lone.app.test_request_context("/"):
        g.me = Session(person="alice", role="viewer")
        assert access.current() is g.me
        assert not access.can("operator")
        assert access.can("viewer")


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("name", TABLES)
def test_every_state_of_the_tables_of_connections(draw: Draw, path: str, name: str) -> None:
    html = draw(path, TABLES[name], "operator")
    assert len(ids(html)) == len(set(ids(html))), "an id stands twice"
    assert "Undefined" not in html
    if path in ("/", "/vips"):
        assert "State table" in html
