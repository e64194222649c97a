"""Each page at two widths and in both themes: it fits, asks nobody else, and axe-core finds nothing serious."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.browser.sitekit import HEIGHTS, NARROW, WIDE, Site, Theme, overflow, picture, site_of
from tests.integration.pair import Pair
from tests.support.wait import until

RTL = "\u202e"
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    f"invoice{RTL}fnoc.exe",
    "\"quoted' &amp; {{ 7*7 }}.conf",
    "a-name-that-is-as-long-as-a-file-system-lets-it-be-" + "x" * 180,
)
SCRIPT = "</td></table><script>alert(document.domain)</script>'\"--><svg onload=alert(2)>\n"
LONG = "listen " + "127.0.0.1:80," * 310 + "\n"
CONF = "".join(
    f"server {{ listen 80{n}; root /srv/www/site{n}; access_log /var/log/{n}.log main; }}\n" for n in range(30)
)
KINDS = {"serious", "critical"}

LOOKS: tuple[tuple[int, Theme], ...] = ((WIDE, "light"), (WIDE, "dark"), (NARROW, "light"), (NARROW, "dark"))
PAGES = {
    "overview": "/",
    "changes": "/changes?view=unified",
    "changes-split": "/changes?view=split",
    "changes-all": "/changes?node=*",
    "rollback": "/changes?rollback=FIRST",
    "history": "/history",
    "history-backup": "/history?node=fw2",
    "commit": "/history/LAST",
    "compare": "/history/compare?a=FIRST&b=LAST",
    "file": "/history/LAST/file?path=/etc/proxy/main.conf",
    "services": "/services",
    "services-ask": "/services?ask=restart%3Aweb%3Afw2#ask",
    "vips": "/vips",
    "drift": "/drift",
    "jobs": "/jobs",
    "job-done": "/jobs/DONE",
    "job-failed": "/jobs/FAILED",
    "audit": "/audit",
    "settings": "/settings",
    "missing": "/nothing-of-ours",
}


@pytest.fixture(scope="module")
def site(browser: Browser) -> Iterator[Site]:
    """A pair that has a past, with hostile files waiting to be synchronized."""
    with site_of(browser, first_files) as made:
        made.words = history(made.pair)
        yield made


def first_files(pair: Pair) -> None:
    fw1 = pair.fw1
    fw1.write("/etc/proxy/main.conf", CONF)
    fw1.write("/etc/proxy/sites.json", '{"portal": {"port": 8443, "tls": true}}\n')
    fw1.write("/etc/proxy/old/retired.conf", "listen 8080\n")
    fw1.write("/etc/proxy/old/obsolete.conf", "listen 8081\n")
    fw1.write("/etc/proxy/run.sh", "#!/bin/sh\nexec proxy\n")
    fw1.file("/etc/proxy/logo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20)
    for name in HOSTILE[:2]:
        fw1.write(f"/etc/dns/{name}", "before\n")


def history(pair: Pair) -> dict[str, str]:
    """A failed sync, a rollback, a restart, then what waits; the words that stand for them in PAGES."""
    fw1 = pair.fw1
    first = fw1.git("rev-parse", "sync/000001^{commit}").strip()
    fw1.write("/etc/proxy/main.conf", "BROKEN\n" + CONF)
    failed = fw1.ask("sync", "--reason", "a new front page").data["job"]
    fw1.do("rollback", "sync/000001", "--reason", "it was refused")
    done = fw1.do("sync", "--reason", "the front page of before")["job"]
    pair.fw2.do("services", "restart", "web")
    fw1.write("/etc/proxy/main.conf", CONF.replace("listen 803;", "listen 8443;").replace("site7;", "portal7;  "))
    fw1.write("/etc/proxy/sites.json", '{"portal": {"port": 9443, "tls": true}, "new": null}\n')
    fw1.file("/etc/proxy/old/retired.conf").unlink()
    fw1.file("/etc/proxy/run.sh").chmod(0o755)
    fw1.file("/etc/proxy/logo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(255, -1, -1)) * 20)
    fw1.write("/etc/proxy/long.conf", "listen 80\n" + LONG + f"{RTL}txet sdrawkcab\nno end of line")
    for name in HOSTILE:
        fw1.write(f"/etc/dns/{name}", SCRIPT)
    fw1.do("commit", "-m", "portal: <b>port</b> 8443 for the new front page")
    last = fw1.git("rev-parse", "main").strip()
    until(lambda: pair.fw1.status()["peers"]["fw2"]["state"] == "changes_pending", what="the changes to be pending")
    return {"FIRST": first, "LAST": last, "DONE": done, "FAILED": failed}


def address(site: Site, name: str) -> str:
    text = PAGES[name]
    for word, meant in site.words.items():
        text = text.replace(word, meant)
    return text


def show(page: Page, width: int, theme: Theme) -> None:
    page.set_viewport_size({"width": width, "height": HEIGHTS[width]})
    page.emulate_media(color_scheme=theme)


def only_text(page: Page) -> None:
    """What names and contents of files say makes no element, and turns nothing else round."""
    assert page.locator("script").count() == 1
    assert page.locator("img, [onerror], [onload]").count() == 0
    assert RTL not in page.locator("body").inner_text()


@pytest.mark.parametrize("name", PAGES)
def test_it_fits_both_widths_and_asks_nobody_else(site: Site, name: str) -> None:
    with site.open("rita") as (page, seen):
        answer = page.goto(address(site, name))
        assert answer is not None
        assert answer.status == (404 if name == "missing" else 200)
        for width, theme in LOOKS:
            show(page, width, theme)
            assert overflow(page) == [], f"at {width}"
            picture(page, f"{name}-{theme}-{width}")
        only_text(page)
        seen.nothing(*([r"status of 404"] if name == "missing" else []))


@pytest.mark.sample(6)
@pytest.mark.parametrize("width, theme", LOOKS)
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(site: Site, name: str, width: int, theme: Theme) -> None:
    with site.open("rita", width=width, theme=theme) as (page, _):
        page.goto(address(site, name))
        held(page)


@pytest.mark.parametrize("width, theme", LOOKS[:1] + LOOKS[3:])
def test_the_log_in(site: Site, width: int, theme: Theme) -> None:
    with site.open(width=width, theme=theme) as (page, seen):
        page.goto("/")
        assert page.url.endswith("/login")
        assert overflow(page) == []
        picture(page, f"login-{theme}-{width}")
        held(page)
        seen.nothing()


def held(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    told = [
        f"{one['impact']}: {one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes']][:4]}"
        for one in found
    ]
    assert [text for text in told if re.match("|".join(KINDS), text)] == [], told


def test_hostile_names_are_told_whole_and_nothing_in_them_runs(site: Site) -> None:
    with site.open("rita") as (page, seen):
        page.goto(address(site, "changes"))
        shown = page.locator("details.file > summary code").all_text_contents()
        assert {f"/etc/dns/{name.replace(RTL, '⟨U+202E⟩')}" for name in HOSTILE} < set(shown)
        assert page.get_by_text("<script>alert(document.domain)</script>").count() == len(HOSTILE)
        assert page.get_by_text("2,037 more characters").count() == 1
        only_text(page)
        seen.nothing()


def test_with_drift(site: Site) -> None:
    """The last test of this module: it changes fw2."""
    site.pair.fw2.write("/etc/dns/zone", "a 192.0.2.99\n")
    state = site.pair.fw1.status
    until(lambda: state()["peers"]["fw2"]["state"] == "diverged", 20, what="the drift to be seen")
    for name in ("overview", "changes", "drift"):
        with site.open("rita") as (page, seen):
            page.goto(address(site, name))
            for width, theme in LOOKS:
                show(page, width, theme)
                assert overflow(page) == [], f"{name} at {width}"
                picture(page, f"{name}-diverged-{theme}-{width}")
            held(page)
            seen.nothing()
