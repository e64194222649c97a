"""What an operator does, by clicking: from the log-in to the log-out, with JavaScript and without."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.sitekit import NARROW, WAIT_MS, Site, gate, loaded, overflow, picture
from tests.integration.pair import Pair, listing
from tests.integration.visitor import PASSWORD
from tests.support.wait import until

expect.set_options(timeout=WAIT_MS)

BEFORE = "".join(f"listen 80{number}\n" for number in range(20))
AFTER = BEFORE.replace("listen 807\n", "listen 8443\n")


def log_in(page: Page, password: str = PASSWORD) -> None:
    page.get_by_label("Name").fill("alice")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def verdict(page: Page) -> str:
    return page.locator("h1").inner_text()


SAME = re.compile(r"^fw1 and fw2 are the same(\.|, but web on fw1 must be restarted to load its files\.)$")
"""Nothing tells the service of the master that its files were edited."""


def same(pair: Pair) -> None:
    """Both disks have the same, and both nodes know it."""
    assert listing(pair.fw1.root) == listing(pair.fw2.root)
    until(lambda: pair.fw1.status()["sync"]["state"] == "in_sync", what="fw1 to know it")


def test_the_whole_of_it(site: Site) -> None:
    pair = site.pair
    with site.open() as (page, seen):
        page.goto("/services")
        log_in(page, "wrong")
        expect(page.get_by_role("alert")).to_contain_text("Name or password is wrong.")
        assert page.get_by_label("Name").input_value() == "alice"
        log_in(page)
        page.wait_for_url("**/services")
        page.get_by_role("navigation", name="Main").get_by_role("link", name="Overview").click()
        expect(page.locator("h1")).to_have_text(SAME)
        a_change_comes_by_itself(page, pair)
        the_difference(page)
        areas(page, pair)
        synchronized_live(page, pair)
        refused(page, pair)
        rolled_back(page, pair)
        restarted(page, pair)
        aborted(page, pair)
        page.get_by_role("button", name="Log out").click()
        expect(page.locator("main")).to_contain_text("Logged out")
        page.goto("/changes")
        assert "/login" in page.url
        seen.nothing(r"status of 40[19]")


def a_change_comes_by_itself(page: Page, pair: Pair) -> None:
    pair.fw1.write("/etc/proxy/main.conf", BEFORE)
    pair.synced()
    expect(page.locator("h1")).to_have_text(SAME)
    page.evaluate("window.stayed = true")
    pair.fw1.write("/etc/proxy/main.conf", AFTER)
    pair.fw1.write("/etc/dns/zone", "a 192.0.2.7\n")
    pair.fw1.do("commit", "-m", "portal on 8443")
    expect(page.locator("h1")).to_have_text("fw2 is 1 change behind fw1.")
    assert page.evaluate("window.stayed"), "the page was not loaded again"
    picture(page, "journey-behind")


def the_difference(page: Page) -> None:
    page.get_by_role("link", name="Synchronize…").first.click()
    file = page.locator("details.file", has_text="/etc/proxy/main.conf")
    assert file.locator("table.diff.split").count() == 0
    assert (file.locator("del").inner_text(), file.locator("ins").inner_text()) == ("807", "8443")
    page.get_by_role("link", name="Side by side").click()
    expect(page.locator("table.diff.split")).to_have_count(2)
    row = page.locator("details.file", has_text="/etc/proxy/main.conf").locator("tr", has=page.locator("del"))
    assert "listen 8443" in row.inner_text()
    page.get_by_role("link", name="Unified").click()
    expect(page.locator("table.diff.split")).to_have_count(0)


def areas(page: Page, pair: Pair) -> None:
    """Without its tick an area is not in the plan; with another plan than was shown nothing is done."""
    page.get_by_role("checkbox", name="dns").uncheck()
    page.get_by_label("Reason").fill("the portal moves")
    page.get_by_role("button", name=re.compile("^Synchronize fw2")).click()
    expect(page.locator(".notice.warn")).to_contain_text("You chose other areas")
    assert page.get_by_label("Reason").input_value() == "the portal moves"
    assert pair.fw2.file("/etc/proxy/main.conf").read_text() == BEFORE
    expect(page.get_by_role("button", name="Synchronize fw2: 1 area, 1 file")).to_be_visible()
    page.get_by_role("checkbox", name="dns").check()
    page.get_by_role("button", name="Plan for these areas").click()
    expect(page.get_by_role("button", name="Synchronize fw2: 2 areas, 2 files")).to_be_visible()


def synchronized_live(page: Page, pair: Pair) -> None:
    with gate(pair):
        page.get_by_role("button", name="Synchronize fw2: 2 areas, 2 files").click()
        page.wait_for_url(re.compile("/jobs/"))
        page.evaluate("window.stayed = true")
        step = page.locator(".steps li.now")
        expect(step).to_contain_text("Tell the services")
        assert page.locator(".steps li.ok").count() > 8
        expect(page.locator("h1")).to_contain_text("Synchronizing fw2")
        picture(page, "journey-running")
    expect(page.locator("h1")).to_have_text("fw2 is equal now: sync/000003.")
    expect(page.locator(".steps li.ok", has_text="Known-good")).to_have_count(1)
    assert page.evaluate("window.stayed"), "the page was not loaded again"
    same(pair)
    assert loaded(pair.fw2)[1] == AFTER
    expect(page.locator("main")).to_contain_text("alice")
    page.get_by_role("link", name="Overview").first.click()
    expect(page.locator("h1")).to_have_text(SAME)


def refused(page: Page, pair: Pair) -> None:
    before = listing(pair.fw2.root)
    pair.fw1.write("/etc/proxy/main.conf", AFTER + "BROKEN\n")
    pair.fw1.do("commit", "-m", "a bad idea")
    page.goto("/changes")
    page.get_by_label("Reason").fill("late at night")
    page.get_by_role("button", name=re.compile("^Synchronize fw2")).click()
    expect(page.locator("h1")).to_have_text("The sync failed on fw2; nothing was changed on fw2.")
    expect(page.locator(".steps li.bad pre")).to_contain_text("BROKEN is no directive")
    expect(page.locator(".said")).to_contain_text("cannot apply area proxy")
    assert listing(pair.fw2.root) == before
    page.goto("/")
    expect(page.locator("main")).to_contain_text("Failed")
    picture(page, "journey-refused")


def rolled_back(page: Page, pair: Pair) -> None:
    page.get_by_role("link", name="History", exact=True).first.click()
    row = page.locator("li[data-row]", has_text="portal on 8443")
    row.get_by_role("link", name=re.compile("^Roll back to this")).click()
    expect(page.locator("h1")).to_have_text("Rolling back would change 1 file on fw1")
    assert page.locator("td.d:not(.sg)").inner_text().strip() == "BROKEN"
    page.get_by_label("Reason").fill("it was a bad idea")
    page.get_by_role("button", name=re.compile("^Roll back fw1")).click()
    page.wait_for_url(re.compile("/jobs/"))
    expect(page.locator("h1")).to_contain_text("rolled back")
    assert pair.fw1.file("/etc/proxy/main.conf").read_text() == AFTER
    page.goto("/changes")
    page.get_by_label("Reason").fill("as it was")
    page.get_by_role("button", name=re.compile("^Synchronize fw2")).click()
    expect(page.locator("h1")).to_contain_text("fw2")
    until(lambda: "Synchronizing" not in verdict(page), what="the job to end")
    same(pair)


def restarted(page: Page, pair: Pair) -> None:
    pid, _ = loaded(pair.fw2)
    page.get_by_role("link", name="Services").first.click()
    row = page.locator("tr[data-row]", has_text="web")
    row.get_by_role("link", name="Restart… web on fw2").click()
    page.get_by_role("button", name="Restart web on fw2").click()
    page.wait_for_url(re.compile("/jobs/"))
    expect(page.locator("h1")).not_to_contain_text("Restarting")
    assert loaded(pair.fw2)[0] != pid
    page.get_by_role("link", name="Back to services").click()
    expect(page.locator("tr[data-row]", has_text="web")).to_contain_text(f"pid {loaded(pair.fw2)[0]}")
    expect(page.locator("tr[data-row]", has_text="web")).to_contain_text("restart done")


def aborted(page: Page, pair: Pair) -> None:
    """A check that does not end is ended by a person; nothing was changed."""
    before = listing(pair.fw2.root)
    pair.fw1.write("/etc/proxy/main.conf", "HANG\n")
    pair.fw1.do("commit", "-m", "a check that hangs")
    page.goto("/changes")
    page.get_by_label("Reason").fill("it hangs")
    page.get_by_role("button", name=re.compile("^Synchronize fw2")).click()
    expect(page.locator(".steps li.now")).to_contain_text("Run the checks")
    page.get_by_text("Abort…").click()
    page.get_by_role("button", name="Abort and put back").click()
    expect(page.locator("main")).to_contain_text("alice via fw1 aborted it")
    assert listing(pair.fw2.root) == before
    pair.fw1.write("/etc/proxy/main.conf", AFTER)
    pair.synced()
    same(pair)


def test_on_a_phone_without_javascript(site: Site) -> None:
    pair = site.pair
    pair.fw1.write("/etc/proxy/main.conf", BEFORE)
    pair.synced()
    pair.fw1.write("/etc/proxy/main.conf", AFTER)
    pair.fw1.do("commit", "-m", "portal again")
    until(lambda: pair.fw1.status()["peers"]["fw2"]["behind"] == 1, what="the change to be known")
    with site.open(width=NARROW, theme="dark", script=False) as (page, seen):
        page.goto("/")
        log_in(page)
        expect(page.locator("h1")).to_have_text("fw2 is 1 change behind fw1.")
        assert page.get_by_text("Live", exact=True).is_hidden()
        page.get_by_role("navigation", name="Actions").get_by_role("link", name="Synchronize…").click()
        expect(page.locator("ins")).to_have_text("8443")
        page.get_by_role("link", name="Side by side").click()
        expect(page.locator("table.diff.split")).to_have_count(1)
        assert overflow(page) == []
        page.get_by_label("Reason").fill("from a train")
        page.get_by_role("button", name=re.compile("^Synchronize fw2")).click()
        page.wait_for_url(re.compile("/jobs/"))
        expect(page.locator("h1")).to_contain_text("fw2 is equal now")
        assert overflow(page) == []
        same(pair)
        page.get_by_label("Menu").click()
        page.get_by_role("navigation", name="Main, phone").get_by_role("link", name="Services").click()
        page.get_by_role("link", name="Restart… web on fw2").click()
        picture(page, "journey-phone-services")
        pid, _ = loaded(pair.fw2)
        page.get_by_role("button", name="Restart web on fw2").click()
        expect(page.locator("h1")).not_to_contain_text("Restarting")
        assert loaded(pair.fw2)[0] != pid
        page.get_by_label("Menu").click()
        page.get_by_role("navigation", name="Main, phone").get_by_role("link", name="History").click()
        page.get_by_role("button", name="Light").click()
        expect(page.locator("html")).to_have_attribute("data-theme", "light")
        assert page.url.endswith("/history")
        page.get_by_role("button", name="Log out").click()
        expect(page.locator("main")).to_contain_text("Logged out")
        seen.nothing()
