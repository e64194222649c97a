"""While a job hangs that changes this node no page waits for it, nor for a peer: each answers within its deadline."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from syncsrv.control.connection import Stream
from syncsrv.control.errors import Body
from syncsrv.control.shapes import JobStarted, RollbackRequest, SyncRequest
from syncsrv.control.shapes_history import DiffRequest
from syncsrv.web.access import Asking
from tests.support.wait import until
from tests.web.webkit import Site, site_of_pair

ANSWER_S = 3.0
"""Within which core must answer each question of a page."""

PAGES = (
    "/",
    "/changes",
    "/changes?node=*",
    "/changes?rollback=HEAD~1",
    "/history",
    "/history?path=/etc/app/app.conf",
    "/history?node=OTHER",
    "/history/HEAD",
    "/history/HEAD/file?path=/etc/app/app.conf",
    "/history/compare?a=HEAD~1&b=HEAD",
    "/services",
    "/vips",
    "/drift",
    "/jobs",
    "/jobs/JOB",
    "/audit",
    "/settings",
    "/login",
)


@dataclass
class Hurried:
    """A link that gives core no more than ANSWER_S for an answer, whatever the page would give it."""

    link: Asking

    def call(
        self, verb: str, body: Body | None = None, *, who: str | None = None, origin: str = "", deadline_s: float = 10.0
    ) -> Body:
        return self.link.call(verb, body, who=who, origin=origin, deadline_s=min(deadline_s, ANSWER_S))

    def stream(
        self, verb: str, body: Body | None = None, *, who: str | None = None, origin: str = "", deadline_s: float = 10.0
    ) -> Stream:
        return self.link.stream(verb, body, who=who, origin=origin, deadline_s=min(deadline_s, ANSWER_S))


@contextlib.contextmanager
def hanging(home: Path, of: str) -> Iterator[tuple[Site, str]]:
    """A pair of which ``of`` has a job that hangs between its checks and its first write; its page, and the job."""
    began, go = home / "began", home / "go"
    with site_of_pair(home, of=of) as site:
        assert site.pair is not None
        node = site.node
        for text in ("one", "two", "three"):
            site.pair.fw1.put("/etc/app/app.conf", text)
            site.pair.fw1.core.record(via="watch")
            assert site.pair.sync().result == "done"
        for one in site.pair.nodes.values():
            one.hear()
            one.ask("diff", DiffRequest())
        hook = node.etc / "hooks" / "pre-apply"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {began}\nwhile ! test -e {go}; do sleep 0.05; done\n")
        hook.chmod(0o755)
        order: object = SyncRequest(rev="sync/000002", force=("older",)) if of == "fw2" else RollbackRequest("HEAD~1")
        started = node.ask("sync" if of == "fw2" else "rollback", order)
        assert isinstance(started, JobStarted)
        until(began.exists, 30, "the job to hang")
        try:
            yield site, started.job
        finally:
            go.touch()
            node.end(started.job)


@pytest.mark.parametrize("of", ["fw1", "fw2"])
def test_no_page_waits_for_a_job_or_for_a_peer(tmp_path: Path, of: str) -> None:
    with hanging(tmp_path, of) as (site, job):
        assert site.pair is not None
        browser = site.browser("oscar")
        site.app.extensions["syncsrv-link"] = Hurried(site.link)
        other = "fw2" if of == "fw1" else "fw1"
        site.pair.away.add(other)
        busy = set()
        for page in PAGES:
            answer = browser.get(page.replace("OTHER", other).replace("JOB", job))
            text = re.sub(r"\s+", " ", answer.get_data(as_text=True))
            if answer.status_code == 503:
                assert f"Cannot look ahead on {of}: job {job} is changing it" in text, page
                busy.add(page)
            else:
                assert answer.status_code == 200, page
            assert "</main>" in text
        assert busy == {page for page in PAGES if page.startswith("/changes") and (of == "fw2" or "rollback" in page)}
        assert site.node.core.jobs.get(job).state == "running", "it hangs still"
