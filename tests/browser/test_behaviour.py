"""What the page does by itself, and what it survives: keys, live readings, lost connections, tabs, sessions, core."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, expect

from tests.browser.sitekit import WAIT_MS, Site
from tests.integration.pair import Node, listing
from tests.integration.visitor import PASSWORD
from tests.support.wait import until

expect.set_options(timeout=WAIT_MS)

GONE = (r"ERR_CONNECTION|ERR_EMPTY_RESPONSE|ERR_SOCKET|status of 503",)
"""What the console says of a node that does not answer."""


def behind(site: Site, text: str) -> None:
    """Something new on fw1 that waits to be synchronized."""
    site.pair.fw1.write("/etc/proxy/main.conf", text)
    site.pair.fw1.do("commit", "-m", f"edited: {text.strip()}")
    until(lambda: site.pair.fw1.status()["peers"]["fw2"]["behind"], what="the change to be known")


def focused(page: Page) -> str:
    found: str = page.evaluate("document.activeElement.textContent.trim()")
    return found


def mark(page: Page) -> None:
    page.evaluate("window.stayed = true")


def stayed(page: Page) -> bool:
    """Whether the page was not loaded again since ``mark``."""
    found: bool = page.evaluate("window.stayed === true")
    return found


@contextmanager
def stopped(node: Node) -> Iterator[None]:
    """The web process stands still, as a machine does that hangs."""
    (pid,) = node.pids("web")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_keys_move_and_never_do_anything(site: Site) -> None:
    behind(site, "listen 81\n")
    site.pair.fw1.write("/etc/proxy/second.conf", "listen 1\n")
    site.pair.fw1.do("commit", "-m", "a second file")
    with site.open("alice") as (page, seen):
        page.goto("/")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
        page.keyboard.press("g")
        page.keyboard.press("c")
        page.wait_for_url("**/changes")
        page.keyboard.press("j")
        assert "/etc/proxy/main.conf" in focused(page) or "/etc/proxy/second.conf" in focused(page)
        first = focused(page)
        page.keyboard.press("j")
        assert focused(page) != first
        page.keyboard.press("k")
        assert focused(page) == first
        folded = page.locator("details.file").first
        assert folded.get_attribute("open") is not None
        page.keyboard.press("o")
        assert folded.get_attribute("open") is None
        page.keyboard.press("o")
        assert folded.get_attribute("open") is not None
        page.keyboard.press("u")
        page.wait_for_url("**view=split*")
        assert page.locator("table.diff.split").count() == 2
        page.keyboard.press("u")
        page.wait_for_url("**view=unified*")
        assert page.locator("table.diff.split").count() == 0
        page.keyboard.press(".")
        assert page.evaluate("document.activeElement.matches('.btn.first')")
        reason = page.get_by_label("Reason")
        reason.fill("")
        reason.press_sequentially("g c ? u j")
        assert reason.input_value() == "g c ? u j"
        assert page.get_by_role("dialog").count() == 0
        page.keyboard.press("Control+u")
        for key, path in (("h", "/history"), ("s", "/services"), ("j", "/jobs"), ("v", "/vips"), ("o", "/")):
            page.locator("body").click(position={"x": 5, "y": 5})
            page.keyboard.press("g")
            page.keyboard.press(key)
            page.wait_for_url(f"**{path}")
        seen.nothing()
    assert site.pair.fw1.status()["jobs"][0]["kind"] != "rollback"


def test_keys_can_be_switched_off(site: Site) -> None:
    with site.open("alice") as (page, _):
        page.goto("/")
        page.keyboard.press("?")
        page.get_by_label("Switch the keys off in this browser").check()
        page.get_by_role("button", name="Close").click()
        page.keyboard.press("?")
        assert page.get_by_role("dialog").count() == 0
        page.reload()
        page.keyboard.press("?")
        assert page.get_by_role("dialog").count() == 0


def test_what_is_in_use_is_not_replaced_under_the_hands(site: Site) -> None:
    """An open question stays open and keeps its focus though readings change around it."""
    pair = site.pair
    with site.open("alice") as (page, seen):
        pair.fw2.do("services", "start", "web")
        page.goto("/settings")
        page.get_by_text("Change your password…").click()
        page.get_by_label("Old password").fill("half a passw")
        mark(page)
        polled(page)
        polled(page)
        assert page.get_by_label("Old password").input_value() == "half a passw"
        assert page.evaluate("document.activeElement.name") == "old"
        page.keyboard.press("Escape")
        expect(page.get_by_label("Old password")).to_be_hidden()
        page.goto("/services")
        page.get_by_role("link", name="Restart… web on fw2").click()
        button = page.get_by_role("button", name="Restart web on fw2")
        page.wait_for_load_state()  # the browser moves to the question at the end of it, and the focus goes
        button.focus()
        mark(page)
        pid = page.locator("tr[data-row]", has_text="web").locator("td").nth(2).inner_text()
        pair.fw2.do("services", "restart", "web")
        row = page.locator("tr[data-row]", has_text="web").locator("td").nth(2)
        expect(row).not_to_have_text(pid, use_inner_text=True)
        assert page.evaluate("document.activeElement.textContent.trim()") == "Restart web on fw2"
        assert stayed(page)
        seen.nothing()


def polled(page: Page) -> None:
    """Wait for the next answer to a poll."""
    with page.expect_response(lambda answer: "x-poll" in answer.request.headers):
        pass


def test_a_hidden_tab_does_not_ask_until_it_is_looked_at(site: Site) -> None:
    with site.open("alice") as (page, seen):
        page.goto("/")
        polled(page)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "x-poll" in request.headers else None)
        page.clock.install()
        page.reload()
        page.evaluate("Object.defineProperty(document, 'hidden', {get: () => true, configurable: true})")
        asked.clear()
        page.clock.run_for(30_000)
        assert asked == []
        assert page.locator("#lost").is_hidden(), "nobody looked, so nothing is lost"
        with page.expect_request(lambda request: "x-poll" in request.headers):
            page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
        seen.nothing()


def test_a_node_that_does_not_answer_is_said_and_nothing_stays_green(site: Site) -> None:
    with site.open("alice") as (page, _):
        page.clock.install()
        page.goto("/")
        before = page.locator("h1").inner_text()
        mark(page)
        with stopped(site.pair.fw1):
            page.clock.run_for(12_000)
            expect(page.locator("html")).to_have_attribute("data-conn", "lost")
            expect(page.locator("#lost")).to_be_visible()
            expect(page.locator("#lost")).to_contain_text("no reading from fw1")
            expect(page.locator("#live")).to_contain_text("No reading for")
            assert page.locator("h1").inner_text().startswith("As of ")
            assert "grayscale" in page.locator(".reading").first.evaluate("one => getComputedStyle(one).filter")
            page.clock.run_for(60_000)
            expect(page.locator("html")).to_have_attribute("data-unsure", "")
        until(lambda: found_again(page), 30, "the page to come back")
        assert page.locator("html").get_attribute("data-conn") is None
        assert page.locator("h1").inner_text() == before
        assert stayed(page)


def found_again(page: Page) -> bool:
    page.clock.run_for(2_000)
    return page.locator("#lost").is_hidden()


def test_core_killed_under_the_page(site: Site) -> None:
    fw1 = site.pair.fw1
    with site.open("alice") as (page, seen):
        page.goto("/")
        before = page.locator("h1").inner_text()
        (core,) = fw1.pids("core")
        assert fw1.process is not None
        fw1.process.send_signal(signal.SIGSTOP)  # no other core yet
        try:
            os.kill(core, signal.SIGKILL)
            page.goto("/changes")
            expect(page.locator("h1")).to_contain_text("Cannot ask core: it is not running")
            expect(page.locator("main")).to_contain_text("systemctl start syncsrv-core")
            assert page.get_by_role("navigation", name="Main").is_visible()
        finally:
            fw1.process.send_signal(signal.SIGCONT)
        until(lambda: fw1.ask("status").status == 0, 30, "another core")
        until(lambda: page.goto("/") and page.locator("h1").inner_text() == before, 30, "the same as before")
        seen.nothing(*GONE)


def test_a_plan_is_of_the_areas_that_were_ticked_and_back_goes_back(site: Site) -> None:
    behind(site, "listen 98\n")
    site.pair.fw1.write("/etc/dns/areas.conf", "zone\n")
    site.pair.fw1.do("commit", "-m", "of another area")
    with site.open("alice") as (page, seen):
        page.goto("/changes")
        said = page.get_by_text("made for the areas ticked before")
        expect(said).to_be_hidden()
        page.get_by_role("checkbox", name="dns").uncheck()
        expect(said).to_be_visible()
        page.get_by_role("checkbox", name="dns").check()
        expect(said).to_be_hidden()
        page.get_by_role("checkbox", name="dns").uncheck()
        page.get_by_role("button", name="Plan for these areas").click()
        page.wait_for_url("**/changes?*area=proxy*")
        expect(said).to_be_hidden()
        page.go_back()
        page.wait_for_url("**/changes")
        expect(page.get_by_role("button", name="Plan for these areas")).to_be_visible()
        seen.nothing()


def test_what_was_planned_in_one_tab_is_stale_in_another(site: Site) -> None:
    """Refused, shown anew with what is new marked; the reason stays, a guard's tick does not."""
    pair = site.pair
    pair.fw2.write("/etc/dns/zone", "a 192.0.2.98\n")
    pair.fw1.write("/etc/dns/zone", "a 192.0.2.3\n")
    pair.fw1.do("commit", "-m", "both")
    until(lambda: pair.fw1.status()["peers"]["fw2"]["state"] == "diverged", 20, what="the drift to be known")
    with site.open("alice") as (page, seen):
        page.goto("/changes")
        other = page.context.new_page()
        other.goto("/changes")
        page.get_by_label("Reason").fill("written before lunch")
        guard = page.get_by_role("checkbox", name="Go on in spite of it")
        guard.check()
        pair.fw1.write("/etc/proxy/third.conf", "listen 3\n")
        pair.fw1.do("commit", "-m", "meanwhile")
        before = listing(pair.fw2.root)
        page.get_by_role("button", name=re.compile("^Synchronize fw2")).click()
        expect(page.locator(".notice.warn")).to_contain_text("The plan has changed since you saw it")
        assert listing(pair.fw2.root) == before
        assert page.get_by_label("Reason").input_value() == "written before lunch"
        assert not guard.is_checked()
        new = page.locator("details.file", has_text="new since you looked")
        expect(new).to_have_count(1)
        expect(new).to_contain_text("/etc/proxy/third.conf")
        guard.check()
        page.get_by_role("button", name=re.compile("^Synchronize fw2")).click()
        expect(page.locator("h1")).to_contain_text("fw2 is equal now")
        assert listing(pair.fw1.root) == listing(pair.fw2.root)
        other.get_by_label("Reason").fill("from the other tab")
        other.get_by_role("checkbox", name="Go on in spite of it").check()
        other.get_by_role("button", name=re.compile("^Synchronize fw2")).click()
        expect(other.locator(".notice.warn")).to_contain_text("The plan has changed since you saw it")
        expect(other.locator("h1")).to_contain_text("fw2 has everything that fw1 has")
        seen.nothing(r"status of 409")


def test_a_log_in_that_ended_in_the_middle_of_a_form(site: Site) -> None:
    behind(site, "listen 99\n")
    with site.open("alice") as (page, seen), site.open("alice") as (other, _):
        page.goto("/changes")
        page.get_by_label("Reason").fill("a long and careful reason")
        other.goto("/settings")
        other.get_by_role("button", name="Log out everywhere").click()
        site.forget()
        page.get_by_role("button", name=re.compile("^Synchronize fw2")).click()
        expect(page.locator("main")).to_contain_text("What you were sending was not done. It is kept")
        page.get_by_label("Name").fill("alice")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("h1")).to_have_text("What you were sending to /changes was kept. It was not done.")
        expect(page.locator("main")).to_contain_text("a long and careful reason")
        assert site.pair.fw2.file("/etc/proxy/main.conf").read_text() != "listen 99\n"
        page.get_by_role("button", name="Send it to /changes again").click()
        expect(page.locator("h1")).to_contain_text("fw2 is equal now")
        assert site.pair.fw2.file("/etc/proxy/main.conf").read_text() == "listen 99\n"
        seen.nothing()


def test_a_viewer_sees_everything_and_is_told_why_no_button_works(site: Site) -> None:
    behind(site, "listen 100\n")
    with site.open("vera") as (page, seen):
        page.goto("/changes")
        assert page.locator("ins, td.a").count() > 0
        button = page.locator("a.btn[aria-disabled=true]", has_text="Synchronize fw2")
        expect(button).to_be_visible()
        expect(page.locator("#why")).to_contain_text("Operators and admins synchronize")
        page.goto("/services")
        expect(page.locator("main")).to_contain_text("vera has the role viewer; these buttons need operator")
        seen.nothing()
