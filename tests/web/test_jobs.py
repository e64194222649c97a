"""Jobs over a real core: running, ended, forgotten, hostile, aborted, and nobody's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape

import pytest

from syncsrv.control.shapes import JobRequest, NodeResult, RollbackRequest, Step, SyncRequest
from syncsrv.control.shapes_services import ServicesRequest
from syncsrv.core.audit import MOST
from syncsrv.core.jobs import Job, Jobs
from syncsrv.web.pages.jobs import RECEIPTS
from tests.support.wait import until
from tests.web.webkit import Browser, Site

HOSTILE = "</pre><script>alert(1)</script>\n\x1b[2J\N{RIGHT-TO-LEFT OVERRIDE}<img src=x onerror=alert(2)>\n{{ 7*7 }}"


def heading(page: str) -> str:
    found = re.search(r"<h1[^>]*>(.*?)</h1>", page, re.DOTALL)
    assert found is not None
    return unescape(re.sub(r"<[^>]+>", "", found[1])).strip()


def synced(site: Site, **asked: object) -> str:
    assert site.pair is not None
    return site.pair.fw1.do("sync", SyncRequest(**asked)).job  # type: ignore[arg-type] # its own fields


def started(site: Site, steps: list[Step], *, kind: str = "sync", subject: str = "fw2") -> tuple[Job, list[str]]:
    """A job that shows these steps and waits until ``go`` has an entry."""
    go: list[str] = []

    def work(job: Job) -> Mapping[str, NodeResult]:
        job.on_abort.append(go.append)
        for step in steps:
            job.publish("fw2", step)
        until(lambda: bool(go), 30, "the test to go on")
        return {"fw2": NodeResult("failed", f"stopped by {go[0]}", "start it again", steps=tuple(steps))}

    job = site.node.core.jobs.start(kind, "alice", "fw1", work, origin="192.0.2.9", reason="why <b>", subject=subject)
    until(lambda: len(job.follow(0, 0.0).steps) == len(steps), 10, "the steps")
    return job, go


def test_a_running_job_shows_its_steps_and_what_is_to_come(site: Site) -> None:
    steps = [Step("fetch", "running"), Step("fetch", "done", 0.01, "14 objects"), Step("verify", "running")]
    job, go = started(site, steps)
    browser = site.browser("oscar")
    page = browser.text(f"/jobs/{job.id}")
    assert heading(page) == "Synchronizing fw2"
    assert "“why &lt;b&gt;”" in page
    assert page.count("<b>Fetch</b>") == 1, "its end stands where its beginning stood"
    assert '<li class="todo now" data-live="step-2">' in page
    assert "Step 2 of about 13" in page
    assert page.index("<b>Verify</b>") < page.index("<b>Record what is live</b>") < page.index("Known good")
    assert "alice, from 192.0.2.9" in page
    assert '<noscript><meta http-equiv="refresh" content="3"></noscript>' in page
    assert 'data-every="1000"' in page
    assert "What it has written by then is put back" in page
    listed = browser.text("/jobs")
    assert heading(listed) == "1 job is under way."
    assert listed.index("Running") < listed.index("alice")
    go.append("the test")
    site.node.end(job.id)
    page = browser.text(f"/jobs/{job.id}")
    assert heading(page) == "The sync failed on fw2."
    assert "meta http-equiv" not in page
    assert "Abort" not in page
    assert "not heard of again" in page
    assert page.count("not done</span>") == 11
    assert "What to do:</b> start it again" in page


def test_an_operator_aborts_and_a_viewer_is_told_why_not(site: Site) -> None:
    job, _ = started(site, [Step("fetch", "running")])
    viewer = site.browser("vera")
    page = viewer.text(f"/jobs/{job.id}")
    assert "needs the role operator; vera is viewer" in page
    assert "/abort" not in page
    assert viewer.post(f"/jobs/{job.id}/abort").status_code == 403
    assert job.state == "running"
    operator = site.browser("oscar")
    assert operator.client.post(f"/jobs/{job.id}/abort").status_code == 400, "without the form's token"
    assert operator.get(f"/jobs/{job.id}/abort").status_code == 405
    assert job.state == "running"
    gone = operator.post(f"/jobs/{job.id}/abort")
    assert (gone.status_code, gone.headers["Location"]) == (303, f"/jobs/{job.id}")
    site.node.end(job.id)
    assert "stopped by oscar" in operator.text(f"/jobs/{job.id}")


def test_a_sync_is_told_in_a_sentence_with_its_facts(site: Site) -> None:
    job = synced(site, reason="the first")
    assert site.pair is not None
    browser = site.browser("vera")
    page = browser.text(f"/jobs/{job}")
    assert heading(page) == "fw2 is equal now: sync/000001."
    for name in ("app", "more", "cluster"):
        assert f'<span class="area">{name}</span>' in page
    commit = site.node.core.store.resolve("sync/000001")
    assert f'<a class="btn" href="/history/{commit}">See the tag</a>' in page
    assert "“the first”" in page
    assert "fw2, from fw1" in page
    assert "not done" not in page
    again = synced(site)
    assert heading(browser.text(f"/jobs/{again}")) == "fw2 was equal already: sync/000001."
    dry = synced(site, dry_run=True)
    assert heading(browser.text(f"/jobs/{dry}")) == "Nothing was changed on fw2: this was a dry run."


def test_a_sync_of_some_areas_says_what_was_not_part_of_it(site: Site) -> None:
    browser = site.browser("oscar")
    page = browser.text(f"/jobs/{synced(site, areas=('app', 'cluster'))}")
    assert heading(page) == "2 of 3 areas brought to fw2 (app, cluster); more was not part of it: sync/000001."
    page = browser.text(f"/jobs/{synced(site, areas=('app',))}")
    assert "1 of 3 areas" in heading(page)
    assert "is equal" not in page
    assert heading(browser.text(f"/jobs/{synced(site)}")).startswith("fw2 is equal now: ")


def test_after_a_failed_check_nothing_was_changed_and_the_way_back_is_offered(site: Site) -> None:
    assert site.pair is not None
    file = site.node.etc / "cluster.yaml"
    file.write_text(file.read_text().replace("services: [app]}", "services: [app], check: [/bin/false]}"))
    site.node.app.core.reload()
    page = site.browser("oscar").text(f"/jobs/{synced(site)}")
    assert heading(page) == "The sync failed on fw2; nothing was changed on fw2."
    assert '<a class="btn" href="/history">' in page
    assert "Roll back fw1…" in page


def test_after_a_rollback_of_the_master_its_backup_is_offered(site: Site) -> None:
    before = site.node.core.recorder.head()
    assert before
    site.node.put("/etc/app/app.conf", "two")
    site.node.core.record(via="watch")
    job = site.node.do("rollback", RollbackRequest(before)).job
    page = site.browser("oscar").text(f"/jobs/{job}")
    assert 'href="/changes?node=fw2"' in page
    assert "Synchronize fw2…" in page


def test_what_was_put_back_refused_or_out_of_reach_says_what_to_do(site: Site) -> None:
    assert site.pair is not None
    pair, browser = site.pair, site.browser("oscar")
    (pair.fw2.home / "running").touch()
    pair.fw1.put("/etc/app/app.conf", "BROKEN")
    page = browser.text(f"/jobs/{synced(site)}")
    assert heading(page) == "The sync failed on fw2; everything was put back."
    failed = page[page.index("<b>Reload app</b>") :]
    assert "What to do:</b> correct what the service complains of" in failed[: failed.index("</li>")]
    assert page.index("<b>Put back</b>") < page.index("<b>Read again</b>")
    assert '<details class="out" open' in page
    pair.fw1.put("/etc/app/app.conf", "good")
    synced(site)
    pair.fw2.put("/etc/app/app.conf", "edited there")
    pair.fw1.put("/etc/app/app.conf", "better")
    page = browser.text(f"/jobs/{synced(site, reason='a & b')}")
    assert heading(page) == "fw2 was left as it is: drift."
    assert '<span class="plate">drift</span>' in page
    assert 'href="/changes?node=fw2&amp;reason=a+%26+b"' in page
    assert "Look again, and force" in page
    pair.away.add("fw2")
    pair.fw1.links.hang_up("fw2")
    page = browser.text(f"/jobs/{synced(site)}")
    assert heading(page) == "fw2 could not be reached."


@pytest.mark.parametrize("path", ["/jobs/20260101-000000-abcdef", "/jobs/x", "/jobs/%0a", "/jobs/{{7*7}}"])
def test_an_unknown_job_is_a_page_that_says_so(lone: Site, path: str) -> None:
    browser = lone.browser("vera")
    page = browser.text(path, 404)
    assert heading(page).startswith("Cannot show job ")
    assert heading(page).endswith("this core does not know it")
    assert '<nav class="nav"' in page


def test_what_a_program_prints_stays_text(site: Site) -> None:
    job, go = started(site, [Step(HOSTILE[:40], "failed", 1.0, HOSTILE)], subject=HOSTILE)
    go.append(HOSTILE)
    site.node.end(job.id)
    browser = site.browser("vera")
    for path in (f"/jobs/{job.id}", "/jobs"):
        page = browser.text(path)
        assert "<script>alert" not in page
        assert "\x1b" not in page
        assert "<img" not in page
        assert "49" not in re.findall(r"\b49\b", heading(page))
    assert "&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in browser.text(f"/jobs/{job.id}")


def test_the_name_of_a_file_is_no_line_of_a_reason(site: Site) -> None:
    assert site.pair is not None
    synced(site)
    name = "/etc/app/a\n\x1b[1mfw2 is equal now"
    site.pair.fw2.put(name, "by hand")
    page = site.browser("vera").text(f"/jobs/{synced(site)}")
    assert "fw2 was left as it is: drift." in page
    assert "/etc/app/a␊␛[1mfw2 is equal now" in page
    assert "\x1b" not in page


def test_jobs_that_core_has_forgotten_are_listed_and_shown_from_the_trail(site: Site) -> None:
    assert site.pair is not None
    jobs = [synced(site, reason="the first")]
    site.pair.fw1.do("act", ServicesRequest("fw2", "start", ("app",)))
    live = site.node.core.jobs.recent()[0].id
    browser = site.browser("vera")
    before = browser.text(f"/jobs/{jobs[0]}")
    site.node.core.jobs = Jobs(site.node.core.clock)
    page = browser.text("/jobs")
    assert heading(page) == "No job is under way."
    assert page.index("Starting app on fw2") < page.index("Synchronizing fw2 to sync/000001")
    assert "“the first”" in page
    assert "fw2: Done" in page
    after = browser.text(f"/jobs/{jobs[0]}")
    assert heading(after) == heading(before) == "fw2 is equal now: sync/000001."
    assert re.findall(r"<b>([^<]*)</b>", after[after.index('id="steps"') :]) == re.findall(
        r"<b>([^<]*)</b>", before[before.index('id="steps"') :]
    )
    assert heading(browser.text(f"/jobs/{live}")) == "app was started on fw2."


def test_older_jobs_are_on_further_pages(lone: Site) -> None:
    for _ in range(3):
        lone.node.do("act", ServicesRequest("", "start", ("app",)))
    lone.node.core.jobs = Jobs(lone.node.core.clock)
    browser = lone.browser("vera")
    page = browser.text("/jobs")
    assert page.count("Starting app on fw1") == 3
    newest = lone.node.core.store.ref("refs/syncsrv/audit")
    assert browser.text(f"/jobs?before={newest}").count("Starting app on fw1") == 2
    assert browser.get("/jobs?before=nothing").status_code == 404
    assert RECEIPTS <= MOST


def test_nothing_changed_is_not_sent_again_to_a_page_that_polls(site: Site) -> None:
    job, go = started(site, [Step("fetch", "running")])
    browser: Browser = site.browser("vera")
    first = browser.get(f"/jobs/{job.id}", headers={"X-Poll": "1"})
    tag = first.headers["ETag"]
    poll = {"X-Poll": "1", "If-None-Match": tag}
    assert browser.get(f"/jobs/{job.id}", headers=poll).status_code == 304
    job.publish("fw2", Step("fetch", "done", 0.1))
    assert browser.get(f"/jobs/{job.id}", headers=poll).status_code == 200
    go.append("the test")
    site.node.end(job.id)
    site.node.ask("job", JobRequest(job.id))
