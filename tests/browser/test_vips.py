"""The virtual addresses in a browser: real cores whose carp processes say what a test wants, in every state of it."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from werkzeug.serving import WSGIRequestHandler, make_server

from syncsrv.failover.messages import Apply, Report, VipReport
from tests.browser.sitekit import HEIGHTS, NARROW, WAIT_MS, WIDE, Seen, Theme, overflow, picture
from tests.browser.test_pages import LOOKS, held
from tests.core.carp.carpkit import backups, masters, running, two_nodes
from tests.core.carp.fakecarp import DEVICE, FakeCarp
from tests.core.corekit import Node
from tests.support.wait import until
from tests.web.webkit import PASSWORD, ROLES, Site, site_on

expect.set_options(timeout=WAIT_MS)


class _Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """Requests are not what this is about."""


@dataclass
class Desk:
    """fw1's page at ``url``, and both carp processes."""

    site: Site
    here: FakeCarp
    there: FakeCarp
    url: str
    browser: Browser

    @property
    def fw2(self) -> Node:
        assert self.site.pair is not None
        return self.site.pair.fw2

    def settle(self) -> None:
        """Both cores know what their processes say, and fw1 what fw2 says."""
        for node, carp in ((self.site.node, self.here), (self.fw2, self.there)):
            until(lambda node=node, carp=carp: node.core.carp.reading.now == carp.report, what="core to know")  # type: ignore[misc]  # bound now
        self.site.node.hear()

    @contextlib.contextmanager
    def open(
        self, person: str = "oscar", *, width: int = WIDE, theme: Theme = "light", script: bool = True
    ) -> Iterator[tuple[Page, Seen]]:
        """A browser of somebody who has logged in."""
        context = self.browser.new_context(
            base_url=self.url,
            viewport={"width": width, "height": HEIGHTS[width]},
            color_scheme=theme,
            java_script_enabled=script,
            reduced_motion="reduce",
        )
        context.set_default_timeout(WAIT_MS)
        seen = Seen(self.url)
        seen.watch(context)
        page = context.new_page()
        try:
            page.goto("/login?next=/vips")
            page.get_by_label("Name").fill(person)
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Log in").click()
            page.wait_for_url("**/vips")
            yield page, seen
        finally:
            context.close()


@pytest.fixture
def desk(browser: Browser, short_tmp: Path) -> Iterator[Desk]:
    """fw1 holds all, fw2 is ready behind it."""
    with (
        two_nodes(short_tmp) as pair,
        running(pair.fw1, masters(pair.fw1), devices=devices()) as here,
        running(pair.fw2, behind_fw1(pair.fw2), devices=devices()) as there,
        contextlib.closing(site_on(pair.fw1, pair)) as site,
    ):
        for name, role in ROLES.items():
            pair.fw1.core.people.add(name, role, PASSWORD, None)
        server = make_server("127.0.0.1", 0, site.app, threaded=True, request_handler=_Silent)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            desk = Desk(site, here, there, f"http://127.0.0.1:{server.server_port}", browser)
            desk.settle()
            yield desk
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def behind_fw1(node: Node) -> tuple[VipReport, ...]:
    return backups(node, master_source="192.0.2.1", master_peer="fw1", master_advskew=0)


def devices() -> tuple[object, ...]:
    """With more to tell than a table has room for."""
    drops = {"own": 3, "badauth": 12_345_678, "vrrp": 912, "badvhid": 1}
    loud = replace(
        DEVICE,
        received=17_928_114,
        accepted=5_582_420,
        sent=17_928_110,
        drops=drops,
        vrrp_ids=(1, 51),
        foreign=("2001:db8:1234:5678:9abc:def0:1234:5678",),
        badauth=("192.0.2.77 vhid 1",),
    )
    return loud, replace(DEVICE, device="enp0s31f6np1", up=False, sources=("2001:db8:ffff:ffff:ffff:ffff:ffff:fffe",))


def gives_to_fw2(report: Report, order: Apply) -> Report:
    heard: dict[str, Any] = {
        "master_source": "192.0.2.2",
        "master_peer": "fw2",
        "master_advskew": 100,
        "heard_age_s": 0.0,
    }
    vips = (replace(one, state="BACKUP", held=(), handover="taken by fw2", **heard) for one in report.vips)
    return replace(report, vips=tuple(vips))


def two_masters(desk: Desk) -> None:
    desk.there.says(vips=masters(desk.fw2))


def backup_serves(desk: Desk) -> None:
    desk.here.says(
        vips=backups(desk.site.node), maintenance=True, demotion_total=240, demotion_reasons={"upgrade": 240}
    )
    desk.there.says(vips=masters(desk.fw2))


def nobody(desk: Desk) -> None:
    desk.here.says(
        vips=backups(desk.site.node, state="INIT", reason="eth0 has no link", master_source="", master_peer="")
    )
    desk.there.says(vips=backups(desk.fw2, state="INIT", reason="eth0 has no link", master_source="", master_peer=""))


def troubled(desk: Desk) -> None:
    one, *rest = masters(desk.site.node)
    conflict = "02:00:00:00:00:07 answers for 2001:db8::10 too, which is not the MAC of any node of this cluster"
    desk.here.says(
        vips=(replace(one, conflicts=(conflict,), held=()), *rest),
        timing="best effort: cannot use SCHED_FIFO: Operation not permitted; nice -20 instead",
        troubles=(
            "two sentences that are as long as a trouble may be, with `syncsrv vip disable` in the middle of them",
        ),
    )


STATES: dict[str, Callable[[Desk], None]] = {
    "serves": lambda desk: None,
    "two-masters": two_masters,
    "backup-serves": backup_serves,
    "nobody": nobody,
    "troubled": troubled,
}
TITLES = {
    "serves": "fw1 holds all 3 addresses; fw2 is ready behind it.",
    "two-masters": "Two masters: fw1 and fw2 both hold",
    "backup-serves": "fw2 holds all 3 addresses; fw1 is back and stays BACKUP",
    "nobody": "Nobody holds 192.0.2.10",
    "troubled": "answers for 2001:db8::10 too",
}
PATHS = ("/vips", "/")


@pytest.mark.parametrize("state", STATES)
def test_it_fits_both_widths_asks_nobody_else_and_can_be_read_by_everybody(desk: Desk, state: str) -> None:
    STATES[state](desk)
    desk.settle()
    with desk.open() as (page, seen):
        for path in PATHS:
            page.goto(path)
            if path == "/vips":
                expect(page.locator("h1")).to_contain_text(TITLES[state])
            for width, theme in LOOKS:
                page.set_viewport_size({"width": width, "height": HEIGHTS[width]})
                page.emulate_media(color_scheme=theme)
                assert overflow(page) == [], f"{path} at {width}"
                picture(page, f"vips-{state}{path.replace('/', '-')}-{theme}-{width}")
            held(page)
        seen.nothing()


@pytest.mark.parametrize("action", ["switchover", "maintenance-on", "disable", "demote"])
def test_each_question_fits_and_can_be_read(desk: Desk, action: str) -> None:
    for width, theme in (LOOKS[0], LOOKS[3]):
        with desk.open(width=width, theme=theme) as (page, seen):
            page.goto(f"/vips?ask={action}#ask")
            assert overflow(page) == []
            picture(page, f"vips-ask-{action}-{theme}-{width}")
            held(page)
            seen.nothing()


def test_a_change_comes_by_itself_and_leaves_what_is_typed(desk: Desk) -> None:
    with desk.open() as (page, seen):
        page.goto("/vips?ask=demote#ask")
        page.get_by_label("Name of the demotion").fill("upgrade")
        two_masters(desk)
        desk.settle()
        expect(page.locator("h1")).to_contain_text("Two masters")
        assert page.get_by_label("Name of the demotion").input_value() == "upgrade"
        seen.nothing()


@pytest.mark.parametrize(("script", "width"), [(True, WIDE), (False, NARROW)])
def test_switch_over_by_clicking(desk: Desk, script: bool, width: int) -> None:
    desk.here.does = gives_to_fw2
    with desk.open(script=script, width=width) as (page, seen):
        page.get_by_role("link", name=re.compile("^Switch over to fw2…")).first.click()
        expect(page.locator("#ask ol.will li").first).to_contain_text("Note the order on the disk")
        page.get_by_label("Reason").fill("a new kernel")
        page.get_by_role("button", name="Switch over to fw2").click()
        expect(page.locator("#came")).to_contain_text("Done: fw2 serves 1@lan and 2@wan")
        picture(page, f"vips-said-{width}")
        page.reload()
        expect(page.locator("#came")).to_contain_text("Done: fw2 serves 1@lan and 2@wan")
        assert len(desk.here.intents()) == 1
        seen.nothing()


def test_a_viewer_can_look_and_not_press(desk: Desk) -> None:
    with desk.open("vera") as (page, seen):
        expect(page.get_by_role("link", name=re.compile("^Switch over to fw2…"))).to_have_attribute(
            "aria-disabled", "true"
        )
        assert page.locator("main button").count() == 0
        seen.nothing()
