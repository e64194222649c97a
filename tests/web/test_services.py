"""The services page: what can be asked, the question, the job, and the result read back and kept."""

from __future__ import annotations

import re

import pytest

from syncsrv.control.shapes_services import ServicesRequest
from syncsrv.web.pages.services import JOBS_READ, Question
from tests.web.webkit import Browser, Site


@pytest.fixture
def oscar(site: Site) -> Browser:
    read(site)
    return site.browser("oscar")


def read(site: Site) -> None:
    """What core does every few seconds."""
    for node in site.pair.nodes.values() if site.pair else ():
        node.core.read_services()
    site.node.hear()


def act(site: Site, browser: Browser, action: str, name: str = "app", node: str = "fw1") -> str:
    """Press the button, follow to the job and wait for its end; the job's id."""
    answer = browser.post("/services", {"action": action, "name": name, "node": node})
    assert answer.status_code == 303, answer.text
    job = answer.location.removeprefix("/jobs/")
    site.node.end(job)
    site.node.core.read_services()
    return job


def test_a_service_is_started_restarted_and_stopped_and_each_result_is_kept(site: Site, oscar: Browser) -> None:
    page = oscar.text("/services")
    assert 'href="/services?ask=start%3Aapp%3Afw1#ask"' in page
    act(site, oscar, "start")
    assert site.node.told() == ["start"]
    page = oscar.text("/services")
    assert "Running" in page
    assert "start done" in page
    assert 'href="/services?ask=stop%3Aapp%3Afw1#ask"' in page
    job = act(site, oscar, "stop")
    assert site.node.told()[-1] == "stop"
    page = oscar.text("/services")
    assert "stop done" in page
    assert f'<a href="/jobs/{job}">' in page
    info = site.node.core.jobs.get(job)
    assert info.requested_by == "oscar"
    assert info.info().origin == "127.0.0.1"


def test_the_other_nodes_service_too(site: Site, oscar: Browser) -> None:
    assert site.pair is not None
    act(site, oscar, "start", node="fw2")
    assert site.pair.fw2.told() == ["start"]
    assert site.node.told() == []
    assert "start done" in oscar.text("/services")


def test_all_are_restarted_and_what_is_skipped_says_why(site: Site, oscar: Browser) -> None:
    asked = oscar.text("/services?ask=restart-all::fw1")
    assert "Restart all services on fw1" in asked
    assert "skipped, with the reason" in asked
    act(site, oscar, "restart-all", name="")
    page = oscar.text("/services")
    assert re.search(r"restart skipped</span></span> <time", page)
    assert "stopped" in page


def test_the_question_says_what_will_happen_and_its_button_is_the_action(site: Site, oscar: Browser) -> None:
    page = oscar.text("/services?ask=stop:app:fw2")
    assert "Stop app on fw2" in page
    assert "it serves nothing until somebody starts it" in page
    assert "They never move configuration" in page
    assert Question("reload", "app", "fw1").says == "Reload app on fw1"


@pytest.mark.parametrize(
    "ask", ["", "x", "stop:app", "stop:app:fw9", "stop:none:fw1", "explode:app:fw1", "stop:<script>:fw1", "::", ":::::"]
)
def test_a_question_that_makes_no_sense_is_not_asked(site: Site, oscar: Browser, ask: str) -> None:
    page = oscar.text(f"/services?ask={ask}")
    assert 'id="ask"' not in page
    assert "<script>:" not in page


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"action": "explode", "name": "app", "node": "fw1"}, 400),
        ({"action": "", "name": "app", "node": "fw1"}, 400),
        ({"action": "status", "name": "app", "node": "fw1"}, 400),
        ({"action": "start", "name": "none", "node": "fw1"}, 400),
        ({"action": "start", "name": "app", "node": "fw9"}, 400),
        ({"action": "start", "name": "", "node": "fw1"}, 400),
        ({}, 400),
    ],
)
def test_what_cannot_be_asked_is_refused_with_words(
    site: Site, oscar: Browser, form: dict[str, str], status: int
) -> None:
    answer = oscar.post("/services", form)
    assert answer.status_code == status
    assert "Cannot" in answer.text
    assert site.node.core.jobs.recent() == []


def test_a_log_is_read_when_it_is_asked_for_and_not_at_a_poll(site: Site, oscar: Browser) -> None:
    assert site.pair is not None
    for node in site.pair.nodes.values():
        logs = node.core.live.config.node.state_dir / "services"
        logs.mkdir(exist_ok=True)
        (logs / "app.log").write_text(f"first\nlast <words> on {node.core.node}\n")
    assert 'id="log"' not in oscar.text("/services")
    for name in ("fw1", "fw2"):
        page = oscar.text(f"/services?log=app:{name}")
        assert f"<pre>first\nlast &lt;words&gt; on {name}</pre>" in page
        assert f"The end of the log of app on {name}" in page
        assert 'id="log"' not in oscar.get(f"/services?log=app:{name}", headers={"X-Poll": "1"}).text
    for odd in ("", "x", "app:fw9", "none:fw1", ":", "app:", ":fw1"):
        assert 'id="log"' not in oscar.text(f"/services?log={odd}")
    site.pair.fw2.server.close()
    site.pair.away.add("fw2")
    page = oscar.text("/services?log=app:fw2")
    assert re.search(r'id="log">.*<pre>[Cc]annot [^<]*fw2', page)


def test_no_button_moves_configuration(site: Site, oscar: Browser) -> None:
    assert site.pair is not None
    site.node.put("/etc/app/app.conf", "newer here")
    site.node.core.record(via="watch")

    def configuration() -> list[object]:
        assert site.pair is not None
        return [
            (
                node.core.recorder.head(),
                sorted(node.core.store.refs("refs/tags/")),
                {str(path): path.read_bytes() for path in node.root.rglob("*") if path.is_file()},
            )
            for node in site.pair.nodes.values()
        ]

    before = configuration()
    for node in ("fw1", "fw2"):
        for action in ("start", "reload", "restart", "restart-all", "stop"):
            act(site, oscar, action, name="" if action == "restart-all" else "app", node=node)
    assert configuration() == before
    assert not (site.pair.fw2.root / "etc/app/app.conf").exists()


def test_a_viewer_sees_the_buttons_dashed_and_is_refused(site: Site) -> None:
    read(site)
    vera = site.browser("vera")
    page = vera.text("/services")
    assert "these buttons need operator" in page
    assert "/services?ask=" not in page
    answer = vera.post("/services", {"action": "start", "name": "app", "node": "fw1"})
    assert answer.status_code == 403
    assert "needs the role operator" in answer.text
    assert site.node.core.jobs.recent() == []


def test_nothing_is_asked_of_a_node_that_does_not_answer(site: Site, oscar: Browser) -> None:
    assert site.pair is not None
    site.pair.fw2.server.close()
    site.pair.away.add("fw2")
    for _ in range(4):
        site.node.core.book.refresh("fw2")
    page = oscar.text("/services")
    assert "fw2 does not answer" in page
    assert "lost-reading" in page
    assert "%3Afw2#ask" not in page


def test_a_pending_restart_names_the_file(site: Site, oscar: Browser) -> None:
    act(site, oscar, "start")
    site.node.put("/etc/app/app.conf", "newer")
    site.node.core.record(via="watch")
    site.node.core.read_services()
    page = oscar.text("/services")
    assert "<h1>app on fw1 must be restarted to load its files; app is stopped on fw2.</h1>" in page
    assert "/etc/app/app.conf changed at" in page
    act(site, oscar, "reload")
    assert "<h1>app is stopped on fw2.</h1>" in oscar.text("/services")
    act(site, oscar, "start", node="fw2")
    read(site)
    assert "<h1>Every service is as it should be, with its newest files.</h1>" in oscar.text("/services")


def test_only_the_newest_jobs_are_looked_at(site: Site, oscar: Browser) -> None:
    for _ in range(JOBS_READ + 1):
        site.node.do("act", ServicesRequest("", "reload", ("app",)))
    assert oscar.get("/services").status_code == 200


def test_no_service_is_configured(site: Site) -> None:
    bare = (site.node.etc / "cluster.yaml").read_text().partition("services:\n")[0].replace(", services: [app]", "")
    for node in site.pair.nodes.values() if site.pair else ():
        (node.etc / "cluster.yaml").write_text(bare)
        node.core.record(via="watch")
    read(site)
    assert "no service is configured" in site.browser("vera").text("/services")
