"""The overview over a real core: each state as a person sees it, on either node."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.control.shapes_history import CommitRequest
from syncsrv.control.shapes_services import ServicesRequest
from syncsrv.web.pages.overview import SHOWN
from syncsrv.web.views.latest import latest
from tests.web.webkit import Browser, Site, site_of_pair

HOSTILE = '"><script>alert(1)</script>'


@pytest.fixture
def alice(site: Site) -> Browser:
    return site.browser("alice")


@pytest.fixture
def backup(tmp_path: Path) -> Iterator[Site]:
    """The page of fw2."""
    with site_of_pair(tmp_path, of="fw2") as found:
        yield found


def words(page: str) -> str:
    """What a page says, without its markup."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def title(page: str) -> str:
    found = re.search(r'<h1 id="v">(.*?)</h1>', page, re.S)
    assert found is not None
    return words(found[1]).strip()


def change(site: Site, text: str, path: str = "/etc/app/app.conf") -> None:
    site.node.put(path, text)
    site.node.core.record(via="watch")


def synchronize(site: Site) -> None:
    assert site.pair is not None
    assert site.pair.sync().result == "done"
    hear(site)


def hear(site: Site) -> None:
    assert site.pair is not None
    for node in site.pair.nodes.values():
        node.core.read_services()
        node.hear()


def test_before_the_first_sync(site: Site, alice: Browser) -> None:
    page = alice.text("/")
    assert title(page) == "fw2 has nothing from fw1 yet."
    assert '<a class="btn first" href="/changes">' in page
    assert "nothing yet" in page
    assert "Awaiting first sync" in page


def test_the_same(site: Site, alice: Browser) -> None:
    for node in (site.node, site.pair.fw2 if site.pair else site.node):
        node.end(node.ask("act", ServicesRequest("", "start", ("app",))).job)  # type: ignore[attr-defined]  # JobStarted
    synchronize(site)
    page = alice.text("/")
    assert title(page) in {
        "fw1 and fw2 are the same.",
        "fw1 and fw2 are the same, but app on fw2 must be restarted to load its files.",
    }
    assert "Nothing to bring to fw2" in page
    assert 'aria-disabled="true"' in page
    said = words(page)
    assert "Nothing since sync/000001" in said
    assert "Nothing on fw1 is without a tag" in said


def test_changes_that_wait(site: Site, alice: Browser) -> None:
    synchronize(site)
    site.node.put("/etc/app/app.conf", "two")
    site.node.ask("commit", CommitRequest(message=f"raise the limit {HOSTILE}"))
    change(site, "other", "/etc/more.conf")
    hear(site)
    page = alice.text("/")
    assert title(page) == "fw2 is 2 changes behind fw1, and app is stopped on fw1."
    assert "See 2 changes" in page
    assert "<script>alert" not in page
    assert f"raise the limit {HOSTILE}" in words(page)
    assert "2 changes on fw1 without a tag" in words(page)
    assert 'Changes <span class="n">2<span class="sr"> waiting</span></span>' in page


def test_a_partial_synchronization_does_not_contradict_itself(site: Site, alice: Browser) -> None:
    synchronize(site)
    change(site, "two")
    change(site, "other", "/etc/more.conf")
    assert site.pair is not None
    assert site.pair.sync(areas=("app",)).result == "done"
    hear(site)
    page = alice.text("/")
    said = words(page)
    assert title(page).startswith("fw2 is 1 change behind fw1")
    assert "Nothing since" not in said
    assert "Everything stands in sync/000002 fw2 lacks some of it, in more" in said
    assert "Nothing on fw1 is without a tag, but fw2 lacks some of it, in more" in said
    assert "It has sync/000002 only in app." in said
    assert "fw2 would run sync/000002 only in app" in said
    points = re.findall(r"<li.*?</li>", page.partition('aria-label="Where each node stands')[2], re.S)
    assert '<b class="">fw2</b>' in points[0], points[0]
    assert ">sync/000001</a>" in points[0]
    assert ">sync/000002</a>" in points[1]
    assert "tagged" in points[1]
    assert '<b class="m">fw1</b>' in points[1]


def test_only_so_many_waiting_changes_are_listed(site: Site, alice: Browser) -> None:
    for number in range(SHOWN + 3):
        change(site, f"{number} is new")
    page = words(alice.text("/"))
    found = re.search(r"(\d+) changes on fw1 without a tag", page)
    assert found is not None
    assert f"{int(found[1]) - SHOWN} older in History" in page


def test_drift_is_said_with_its_remedy(site: Site, alice: Browser) -> None:
    synchronize(site)
    assert site.pair is not None
    site.pair.fw2.put("/etc/more.conf", "by hand")
    site.pair.fw2.core.record(via="watch")
    hear(site)
    page = alice.text("/")
    assert title(page) == "1 file on fw2 is not as fw1 left it."
    assert '<a class="btn sm" href="/drift">See drift</a>' in page
    assert "drifted from sync/000001 1 file" in words(page)
    assert "fw2 would run its own files: 1 differs from sync/000001." in words(page)


def test_a_node_that_does_not_answer_is_hatched_and_never_green(site: Site, alice: Browser) -> None:
    synchronize(site)
    assert site.pair is not None
    site.pair.fw2.server.close()
    site.pair.away.add("fw2")
    for _ in range(4):
        site.node.core.book.refresh("fw2")
    page = alice.text("/")
    assert title(page) == "fw2 does not answer; what it runs now is not known."
    assert 'class="verdict reading bad"' in page
    assert 'class="lost-reading"' in page
    assert "Do not count on fw2" in page
    assert "last known" in page
    assert "Not possible: fw2 does not answer" in page
    panel = page.partition('data-live="failover-fw2"')[2].partition("</section>")[0]
    assert 'class="ok"' not in panel


def test_on_the_backup_it_speaks_of_itself(backup: Site) -> None:
    alice = backup.browser("alice")
    assert title(alice.text("/")) == "fw2 has nothing from fw1 yet."
    synchronize(backup)
    page = alice.text("/")
    assert title(page).startswith("fw1 and fw2 are the same")
    assert page.index('class="name" href="/history?node=fw1"') < page.index('class="name" href="/history"')
    assert "on <b>fw2</b>" in page


def test_a_backup_whose_master_is_away_promises_nothing(backup: Site) -> None:
    synchronize(backup)
    assert backup.pair is not None
    backup.pair.fw1.server.close()
    backup.pair.away.add("fw1")
    for _ in range(4):
        backup.node.core.book.refresh("fw1")
    page = backup.browser("alice").text("/")
    assert title(page) == "fw1 does not answer fw2; whether it has anything newer is not known."


def test_no_page_waits_for_a_peer(site: Site, alice: Browser) -> None:
    assert site.pair is not None
    site.pair.away.add("fw2")
    book = site.node.core.book.now()["fw2"].at
    for path in ("/", "/services", "/drift", "/vips"):
        assert alice.get(path).status_code == 200
    assert site.node.core.book.now()["fw2"].at == book
    assert site.node.core.book.now()["fw2"].reachable, "nobody noticed, since nobody asked"


def test_a_node_alone(lone: Site) -> None:
    page = lone.browser("alice").text("/")
    assert title(page) == "fw1 stands alone: no other node is configured."
    assert "Standalone" in page


def test_what_an_operator_should_know(site: Site, alice: Browser) -> None:
    os.mkfifo(site.node.root / "etc/app/pipe")
    (site.node.etc / "cluster.yaml").write_text("areas: [broken")
    site.node.core.record(via="watch")
    page = alice.text("/")
    assert "/etc/app/pipe" in page
    assert "is not in the history" in page
    assert "cluster.yaml is not in force" in page


@pytest.mark.parametrize(("name", "may"), [("vera", False), ("oscar", True)])
def test_who_may_only_look_sees_why(site: Site, name: str, may: bool) -> None:
    page = site.browser(name).text("/")
    assert ("It needs the role operator" in page) is not may
    assert f"{name}, {'operator' if may else 'viewer'}" in page


def test_a_service_with_a_hostile_reason_is_shown_as_text(site: Site, alice: Browser) -> None:
    core = site.node.core
    core.read_services()
    core.live.readings = tuple(replace(one, reason=HOSTILE) for one in core.live.readings)
    for path in ("/", "/services"):
        assert "<script>alert" not in alice.text(path)


def test_the_latest_are_jobs_and_commits_together(site: Site, alice: Browser) -> None:
    synchronize(site)
    change(site, "two")
    page = alice.text("/")
    (job,) = site.node.core.jobs.recent()
    assert f'href="/jobs/{job.id}"' in page
    head = site.node.core.recorder.head()
    assert f'href="/history/{head}"' in page


def test_nothing_has_happened_yet() -> None:
    assert latest((), ()) == ()
