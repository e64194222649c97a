"""Changes over a real core: what is shown, what is pressed, and what has moved in between."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from werkzeug.test import TestResponse

from syncsrv.control.shapes import JobReply, RollbackRequest
from syncsrv.control.shapes_history import DiffRequest
from syncsrv.core.jobs import Jobs
from syncsrv.web.pages.changes import LINKED_REASON, LONGEST_REASON, PAGE_FILES
from tests.core.corekit import CLUSTER, Node, key_of, pin
from tests.support.work import calls
from tests.web.webkit import Browser, Site, site_of_one, site_of_pair


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_of_pair(tmp_path) as made:
        yield made


def put(site: Site, path: str, text: str, node: str = "fw1") -> None:
    assert site.pair is not None
    site.pair.nodes[node].put(path, text)


def hear(site: Site) -> None:
    """Both nodes know how the other is, and have its history."""
    assert site.pair is not None
    for node in site.pair.nodes.values():
        node.core.record(via="watch")
    for node in site.pair.nodes.values():
        node.hear()
        node.ask("diff", DiffRequest())


@pytest.fixture
def equal(site: Site) -> Site:
    """Both nodes are equal."""
    assert site.pair is not None
    assert site.pair.sync().result == "done"
    hear(site)
    return site


def fields(page: str) -> dict[str, list[str]]:
    """What a browser would send, before a button is chosen: hidden fields and the ticks that are set."""
    form = page[page.index('<form action="/changes" method="post"') :]
    form = form[: form.index("</form>")]
    sent: dict[str, list[str]] = {}
    for tag in re.findall(r"<input[^>]*>", form):
        kind = re.search(r'type="([^"]*)"', tag)
        if kind and (kind[1] == "hidden" or (kind[1] == "checkbox" and " checked" in tag)):
            name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
            assert name
            assert value
            sent.setdefault(unescape(name[1]), []).append(unescape(value[1]))
    sent.pop("csrf_token")
    return sent


def press(browser: Browser, page: str, do: str, **more: object) -> TestResponse:
    return browser.post("/changes", {**fields(page), "do": do, "reason": "because", **more})


def ended(site: Site, response: TestResponse) -> JobReply:
    """The job that a button started."""
    assert response.status_code == 303, response.get_data(as_text=True)
    place = response.headers["Location"]
    assert place.startswith("/jobs/")
    assert site.pair is not None
    return site.node.end(place.removeprefix("/jobs/"))


def heading(page: str) -> str:
    found = re.search(r"<h1[^>]*>(.*?)</h1>", page, re.S)
    assert found
    return unescape(re.sub("<[^>]*>", "", found[1]))


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub("<[^>]*>", "", page[page.index("<main") :])))


def test_what_would_come_is_shown_and_brought(equal: Site) -> None:
    assert equal.pair is not None
    (equal.pair.fw2.home / "running").touch()
    equal.pair.fw2.core.read_services()
    put(equal, "/etc/app/app.conf", "listen 443 ssl;\n")
    put(equal, "/etc/app/new.conf", "new\n")
    (equal.node.root / "etc/more.conf").unlink()
    equal.node.core.record(via="watch")
    equal.node.hear()
    browser = equal.browser("oscar")
    page = browser.text("/changes")
    assert heading(page) == "Synchronize would change 3 files on fw2 (1 commit on fw1)"
    said = text_of(page)
    assert "From sync/000001, live on fw2, to what fw1 runs now, to be tagged sync/000002" in said
    assert "3 files: 1 deleted, 1 added, 1 changed." in said
    assert "1 file will be deleted on fw2 /etc/more.conf" in said
    assert said.index("will be deleted") < said.index("/etc/app/new.conf"), "deletions first"
    assert "Reload app" in said
    assert "Synchronize fw2: 2 areas, 3 files" in said
    job = ended(equal, press(browser, page, "sync"))
    assert {name: one.result for name, one in job.nodes.items()} == {"fw2": "done"}
    assert (job.tag, job.reason, job.requested_by) == ("sync/000002", "because", "oscar")
    assert equal.pair is not None
    assert equal.pair.fw2.text("/etc/app/app.conf") == "listen 443 ssl;\n"
    hear(equal)
    page = browser.text("/changes")
    assert heading(page) == "fw2 has everything that fw1 has"
    assert 'aria-disabled="true"' in page
    assert "Nothing differs" in page


def test_the_first_look_shows_everything_as_new(site: Site) -> None:
    page = site.browser("oscar").text("/changes")
    assert "What fw2 has is not known here yet: everything is shown as new." in text_of(page)
    assert "/etc/app/app.conf" in page
    assert "4 added" in text_of(page)


def test_the_first_look_names_every_command_that_comes_along(site: Site) -> None:
    file = site.node.etc / "cluster.yaml"
    file.write_text(file.read_text().replace("services: [app]}", "services: [app], check: [/bin/true, 'a <b>']}"))
    site.node.app.core.reload()
    browser = site.browser("oscar")
    page = browser.text("/changes")
    assert "fw2 will run these as root" in text_of(page)
    assert "areas.app.check: /bin/true 'a <b>'" in text_of(page)
    assert text_of(page).count("services.app.") == 5, "start, stop, status, reload, the health"


def test_a_command_that_came_to_the_first_sync_meanwhile_is_marked(site: Site) -> None:
    browser = site.browser("oscar")
    page = browser.text("/changes")
    file = site.node.etc / "cluster.yaml"
    file.write_text(file.read_text().replace("services: [app]}", "services: [app], check: [/bin/true]}"))
    site.node.app.core.reload()
    answer = press(browser, page, "sync")
    assert answer.status_code == 409
    said = text_of(answer.get_data(as_text=True))
    assert "areas.app.check: /bin/true new since you looked" in said
    assert said.count("services.app.start: ") == 1
    assert "start new since you looked" not in said


def test_a_node_that_was_synchronized_is_asked_by_the_guard_instead(equal: Site) -> None:
    put(equal, "/etc/app/app.conf", "two\n")
    assert "will run these as root" not in equal.browser("oscar").text("/changes")


def test_a_link_may_write_the_reason(equal: Site) -> None:
    put(equal, "/etc/app/app.conf", "two\n")
    browser = equal.browser("oscar")
    given = quote("</textarea><b>again: ü")
    for address in (f"/changes?node=fw2&reason={given}", f"/changes?rollback=sync/000001&reason={given}"):
        page = browser.text(address)
        assert '">&lt;/textarea&gt;&lt;b&gt;again: ü</textarea>' in page
        assert f"reason={quote_plus('</textarea><b>again: ü')}" in page, "the other view keeps it"
    page = browser.text(f"/changes?reason={'x' * 5000}")
    assert f">{'x' * LONGEST_REASON}</textarea>" in page
    assert ended(equal, press(browser, page, "sync")).reason == "because"


def test_only_the_ticked_areas_go(equal: Site) -> None:
    put(equal, "/etc/app/app.conf", "two\n")
    put(equal, "/etc/more.conf", "two\n")
    browser = equal.browser("oscar")
    page = browser.text("/changes")
    kept = [name for name in fields(page)["area"] if name != "more"]
    told = press(browser, page, "sync", area=kept)
    assert told.status_code == 409, "the plan was for both"
    page = told.get_data(as_text=True)
    assert "You chose other areas than the plan was made for" in page
    assert "because</textarea>" in page
    assert "not in this plan" in page, "what is left out is said"
    job = ended(equal, press(browser, page, "sync"))
    assert job.nodes["fw2"].result == "done"
    assert equal.pair is not None
    assert (equal.pair.fw2.text("/etc/app/app.conf"), equal.pair.fw2.text("/etc/more.conf")) == ("two\n", "more")


def test_areas_of_the_address_go_as_they_were_shown(equal: Site) -> None:
    put(equal, "/etc/app/app.conf", "two\n")
    put(equal, "/etc/more.conf", "two\n")
    browser = equal.browser("oscar")
    page = browser.text("/changes?area=more&area=app")
    assert heading(page) == "Synchronize would change 2 files on fw2", "not the commits of all areas"
    job = ended(equal, press(browser, page, "sync"))
    assert job.nodes["fw2"].result == "done"
    assert job.subject.count("more") == 1


def test_a_script_that_asks_again_costs_no_comparison(equal: Site) -> None:
    put(equal, "/etc/app/app.conf", "two\n")
    browser = equal.browser("vera")
    page = browser.text("/changes")
    again = browser.get("/changes", headers={"X-Poll": "1"})
    assert again.status_code == 200
    html = again.get_data(as_text=True)
    assert "app.conf" not in html
    assert "<title>" not in html, "the page keeps its own"
    assert 'data-live="nav"' in html
    for one in (html, page):
        assert re.findall(r'<a href="(/[a-z]*)" aria-current="page"', one)[:1] == ["/changes"]
    tag = {"X-Poll": "1", "If-None-Match": again.headers["ETag"]}
    assert browser.get("/changes", headers=tag).status_code == 304


def test_looking_at_another_choice_keeps_the_reason(equal: Site) -> None:
    put(equal, "/etc/app/app.conf", "two\n")
    put(equal, "/etc/more.conf", "two\n")
    browser = equal.browser("oscar")
    page = browser.text("/changes")
    answer = press(browser, page, "look", area=["app"])
    assert answer.status_code == 303, "so that Back works"
    place = answer.headers["Location"]
    assert place == "/changes?node=fw2&area=app&reason=because"
    page = browser.text(place)
    assert fields(page)["area"] == ["app"]
    assert "because</textarea>" in page
    assert "area=app" in page[: page.index("<form action")], "the other view keeps the choice"
    answer = press(browser, page, "look", reason="x" * (LINKED_REASON + 1))
    assert answer.status_code == 200, "too long for an address"
    assert f">{'x' * (LINKED_REASON + 1)}</textarea>" in answer.get_data(as_text=True)


def test_a_plan_that_is_no_longer_so_is_shown_anew(equal: Site) -> None:
    put(equal, "/etc/app/app.conf", "two\n")
    browser = equal.browser("oscar")
    page = browser.text("/changes")
    put(equal, "/etc/more.conf", "meanwhile\n")
    answer = press(browser, page, "sync")
    assert answer.status_code == 409
    page = answer.get_data(as_text=True)
    said = text_of(page)
    assert "The plan has changed since you saw it" in said
    assert "2 files instead of 1" in said
    assert "because</textarea>" in page
    more = page[page.index('data-path="/etc/more.conf"') :]
    assert "new since you looked" in more[: more.index("</summary>")]
    app = page[page.index('data-path="/etc/app/app.conf"') :]
    assert "new since you looked" not in app[: app.index("</summary>")]
    assert equal.pair is not None
    assert equal.pair.fw2.text("/etc/app/app.conf") == "one", "nothing was done"
    assert ended(equal, press(browser, page, "sync")).nodes["fw2"].result == "done"


def test_of_two_tabs_the_second_is_told(equal: Site) -> None:
    put(equal, "/etc/app/app.conf", "two\n")
    browser = equal.browser("oscar")
    first, second = browser.text("/changes"), browser.text("/changes")
    assert ended(equal, press(browser, first, "sync")).nodes["fw2"].result == "done"
    hear(equal)
    answer = press(browser, second, "sync")
    assert answer.status_code == 409
    assert "The plan has changed since you saw it" in answer.get_data(as_text=True)


def test_a_reason_is_optional_and_says_what_stands_without_one(equal: Site) -> None:
    put(equal, "/etc/app/app.conf", "two\n")
    browser = equal.browser("oscar")
    page = browser.text("/changes")
    assert "Reason (optional)" in page
    assert "without one they say that oscar asked for it" in page
    assert " required" not in page[page.index('id="do"') :]
    assert "Synchronize and restart all on fw2" in text_of(page)
    assert ended(equal, press(browser, page, "sync", reason="")).nodes["fw2"].result == "done"


def test_trying_changes_nothing_and_needs_no_reason(equal: Site) -> None:
    put(equal, "/etc/app/app.conf", "two\n")
    browser = equal.browser("oscar")
    job = ended(equal, press(browser, browser.text("/changes"), "try", reason=""))
    assert job.nodes["fw2"].result == "done"
    assert equal.pair is not None
    assert equal.pair.fw2.text("/etc/app/app.conf") == "one"


SEVERAL = """\
#!/bin/sh
cd "$(dirname "$0")/$NODE" || exit 9
case $1 in
  status) test -e up-$SERVICE || exit 3;;
  start) echo "start-$SERVICE $(cat root/etc/app/app.conf)" >>told; test ! -e broken-$SERVICE && touch up-$SERVICE;;
  stop) echo stop-$SERVICE >>told; rm -f up-$SERVICE;;
esac
"""


@pytest.fixture
def several(equal: Site, tmp_path: Path) -> Site:
    """Four services on both nodes: two run and one waits for the other, one is stopped, one follows the MASTER."""
    assert equal.pair is not None
    own = tmp_path / "several"
    own.write_text(SEVERAL)
    own.chmod(0o755)
    shape = f"{{manager: command, start: [{own}, start], stop: [{own}, stop], status: [{own}, status], "
    shape += f"health: {{exec: [{own}, status], within: 1}}"
    old = (equal.node.etc / "cluster.yaml").read_text()
    text = old.partition("services:\n")[0].replace("services: [app]", "services: [dns]") + "services:\n"
    text += f"  web: {shape}, after: [dns]}}\n  dns: {shape}}}\n  idle: {shape}}}\n"
    text += f"  vpn: {shape}, run_on: carp-master}}\n"
    for node in equal.pair.nodes.values():
        (node.etc / "cluster.yaml").write_text(text)
        node.core.record(via="watch")
        for name in ("web", "dns"):
            (node.home / f"up-{name}").touch()
    assert equal.pair.sync().result == "unchanged"
    hear(equal)
    for node in equal.pair.nodes.values():
        (node.home / "told").unlink(missing_ok=True)
        node.core.read_services()
    return equal


def of_services(site: Site, browser: Browser) -> dict[str, str]:
    """What the services page says came of the last action on each service of fw2."""
    assert site.pair is not None
    site.pair.fw2.core.read_services()
    site.node.hear()
    page = browser.text("/services")
    found = {}
    for name in ("dns", "web", "idle", "vpn"):
        row = page[page.index(f'data-live="svc-fw1-{name}"') :]
        row = row[: row.index("</tr>")]
        cell = row[row.index('<td data-l="fw2"') :]
        found[name] = text_of("<main " + cell)
    return found


def test_synchronize_and_restart_all_updates_the_backup_restarts_in_order_and_keeps_each_result(several: Site) -> None:
    assert several.pair is not None
    put(several, "/etc/app/app.conf", "two")
    hear(several)
    browser = several.browser("oscar")
    job = ended(several, press(browser, browser.text("/changes"), "restart-all"))
    assert job.nodes["fw2"].result == "done", job
    assert several.pair.fw2.text("/etc/app/app.conf") == "two"
    told = (several.pair.fw2.home / "told").read_text().splitlines()
    assert told == ["stop-dns", "start-dns two", "stop-web", "start-web two"]
    assert not (several.node.home / "told").exists(), "on the master nothing is touched"
    steps = [(step.name, step.result) for node, step in job.steps if node == "fw2" and "restart" in step.name]
    assert steps == [
        *(("restart dns", "done"), ("restart idle", "skipped"), ("restart vpn", "skipped"), ("restart web", "done")),
    ]
    kept = of_services(several, browser)
    assert "last: restart done" in kept["dns"]
    assert "last: restart done" in kept["web"]
    assert re.search("last: restart skipped .*, stopped, job", kept["idle"])
    assert re.search("last: restart skipped .*, bound elsewhere: run_on is carp-master", kept["vpn"])


def test_it_restarts_all_where_every_file_is_equal_and_goes_on_behind_one_that_fails(several: Site) -> None:
    assert several.pair is not None
    (several.pair.fw2.home / "broken-dns").touch()
    browser = several.browser("oscar")
    job = ended(several, press(browser, browser.text("/changes"), "restart-all"))
    assert job.nodes["fw2"].result == "failed"
    told = (several.pair.fw2.home / "told").read_text().splitlines()
    assert [line.split()[0] for line in told] == ["stop-dns", "start-dns", "stop-web", "start-web"]
    kept = of_services(several, browser)
    assert "last: restart failed" in kept["dns"]
    assert "cannot restart service dns" in kept["dns"]
    assert "last: restart done" in kept["web"]


@pytest.fixture
def asking(equal: Site) -> Site:
    """A guard asks: what fw2 changed itself would be overwritten."""
    put(equal, "/etc/app/app.conf", "mine\n", "fw2")
    put(equal, "/etc/app/app.conf", "two\n")
    hear(equal)
    return equal


def test_a_guard_that_was_not_ticked_stops_here(asking: Site) -> None:
    browser = asking.browser("oscar")
    page = browser.text("/changes")
    assert "drift" in page
    answer = press(browser, page, "sync")
    assert answer.status_code == 409
    page = answer.get_data(as_text=True)
    assert "drift asks first" in text_of(page)
    assert "force" not in fields(page), "never ticked by itself"
    assert ended(asking, press(browser, page, "sync", force="drift")).nodes["fw2"].result == "done"
    assert asking.pair is not None
    assert asking.pair.fw2.text("/etc/app/app.conf") == "two\n"


def test_a_stale_plan_unticks_the_guards(asking: Site) -> None:
    browser = asking.browser("oscar")
    page = browser.text("/changes")
    put(asking, "/etc/more.conf", "meanwhile\n")
    answer = press(browser, page, "sync", force="drift")
    assert answer.status_code == 409
    page = answer.get_data(as_text=True)
    assert "The plan has changed" in page
    assert re.search(r'<input type="checkbox" name="force" value="drift">', page), "there, and not ticked"


def test_what_needs_an_admin_is_dashed_for_others_and_typed_by_one(equal: Site) -> None:
    assert equal.pair is not None
    file = equal.node.etc / "cluster.yaml"
    file.write_text(file.read_text().replace("  more:", "  other: {paths: [/etc/other], check: [/bin/true]}\n  more:"))
    equal.node.app.core.reload()
    hear(equal)
    page = equal.browser("oscar").text("/changes")
    assert "commands" in text_of(page)
    assert "Only an admin can go on in spite of commands." in text_of(page)
    assert not re.search(r'<button[^>]*value="sync"', page)
    admin = equal.browser("alice")
    page = admin.text("/changes")
    assert "Type commands to go on in spite of it" in page
    assert press(admin, page, "sync", force="yes").status_code == 409
    page = admin.text("/changes")
    assert press(admin, page, "sync", force="commands").status_code == 303


def test_a_viewer_reads_and_sees_why_not(equal: Site) -> None:
    put(equal, "/etc/app/app.conf", "two\n")
    browser = equal.browser("vera")
    page = browser.text("/changes")
    assert "Operators and admins synchronize; you are viewer." in page
    assert not re.search(r'<button[^>]*value="(sync|restart-all|try|rollback)"', page)
    assert "/etc/app/app.conf" in page
    assert browser.text("/changes?area=app&do=look")
    assert browser.post("/changes", {"do": "sync", "plan": "fw2 x", "area": "app", "shown": "app"}).status_code == 403


def test_a_form_that_no_page_of_ours_made_does_nothing(equal: Site) -> None:
    put(equal, "/etc/app/app.conf", "two\n")
    browser = equal.browser("oscar")
    sent = {**fields(browser.text("/changes")), "do": "sync"}
    assert browser.client.post("/changes", data=sent).status_code == 400
    assert browser.post("/changes", {**sent, "do": "explode"}).status_code == 400
    assert browser.post("/changes", {**sent, "plan": "nonsense"}).status_code == 400
    assert browser.post("/changes", {**sent, "plan": "fw2 forged"}).status_code == 409
    assert equal.pair is not None
    assert equal.pair.fw2.text("/etc/app/app.conf") == "one"


def test_both_views_and_the_one_that_is_remembered(equal: Site) -> None:
    put(equal, "/etc/app/app.conf", "two\n")
    browser = equal.browser("oscar")
    assert '<table class="diff"' in browser.text("/changes")
    assert '<table class="diff split"' in browser.text("/changes?view=split")
    assert '<table class="diff split"' in browser.text("/changes"), "by the cookie"
    assert '<table class="diff"' in browser.text("/changes?view=unified")


HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e\n</td></table><img src=x onerror=alert(1)>\n{{ 7*7 }}\n" + "é" * 3000


def test_hostile_names_and_contents_stay_text(equal: Site) -> None:
    names = ["<img src=x>.conf", "a'b\"c&amp;.conf", "{{ 7*7 }}", "new\nline", "\u202egpj.exe", "-rf", "%2e%2e"]
    for name in names:
        put(equal, f"/etc/app/{name}", HOSTILE)
    (equal.node.root / "etc/app").joinpath("x").symlink_to("<b>target</b>")
    (equal.node.root / "etc/app/raw").write_bytes(b"\xff\xfe<i>\n")
    browser = equal.browser("oscar")
    for view in ("unified", "split"):
        page = browser.text(f"/changes?view={view}")
        main = page[page.index("<main") :]
        tags = {tag.lower() for tag in re.findall(r"<([a-zA-Z][a-zA-Z0-9]*)", main)}
        assert not tags & {"script", "img", "b2", "i"}, tags
        assert "<b>target" not in main
        assert "49" not in re.findall(r">\s*(49)\s*<", main)
        assert "\u202e" not in main
        assert "\x1b" not in main
        assert "2,000" not in main
        assert "1,000 more characters" in main
        assert "target &lt;b&gt;target&lt;/b&gt;" in main
    assert "Download" not in main


def test_modes_binaries_and_large_files(equal: Site) -> None:
    root = equal.node.root / "etc/app"
    (root / "app.conf").chmod(0o600)
    (root / "data").write_bytes(b"\0" * 100)
    (root / "huge").write_text("line\n" * 300_000)
    (root / "empty").write_text("")
    (root / "folder").mkdir()
    page = equal.browser("oscar").text("/changes")
    said = text_of(page)
    assert "mode changes" in said
    assert "mode 0644 → 0600" in said
    assert "Not text, so it is not shown line by line." in said
    assert "1,500,000 bytes" in said
    assert "Too large to be shown line by line." in said
    assert "New empty file, 0644" in said
    assert "New directory, 0755" in said
    assert "&amp;download=1" in page


def test_a_long_difference_is_asked_for_by_its_name(equal: Site) -> None:
    put(equal, "/etc/app/long", "".join(f"{n}\n" for n in range(3000)))
    browser = equal.browser("oscar")
    page = browser.text("/changes")
    assert "2,960 more lines" in page
    more = re.search(r'href="([^"]*full=[^"]*)"', page)
    assert more
    assert ">2999</td>" in browser.text(unescape(more[1]).partition("#")[0])


def test_a_peer_that_is_away_is_shown_as_last_known(equal: Site) -> None:
    put(equal, "/etc/app/app.conf", "two\n")
    assert equal.pair is not None
    equal.pair.away.add("fw2")
    equal.node.links.close()
    for _ in range(4):
        equal.node.hear()
    browser, dialled = equal.browser("oscar"), equal.pair.dialled
    page = browser.text("/changes")
    assert equal.pair.dialled == dialled, "no page asks a peer"
    assert "fw2 does not answer. What is shown of it is what was last known" in text_of(page)
    assert heading(page).startswith("Synchronize would change 1 file on fw2, as last known (")
    assert "Not possible: fw2 does not answer." in page
    assert not re.search(r'<button[^>]*value="sync"', page)


def test_nodes_and_areas_that_there_are_not(equal: Site) -> None:
    browser = equal.browser("oscar")
    assert "fw9" in browser.text("/changes?node=fw9", 404)
    assert "nonsense" in browser.text("/changes?area=nonsense", 400)
    assert browser.text("/changes?page=99999&full=/nothing&view=odd")
    assert browser.text("/changes?page=-1")
    assert browser.text("/changes?rollback=nonsense", 404)


def test_a_node_alone_says_so(tmp_path: Path) -> None:
    with site_of_one(tmp_path) as site:
        assert "no other node to compare with" in site.browser("vera").text("/changes")


def test_a_backup_shows_what_its_master_has_and_pulls_it(tmp_path: Path) -> None:
    with site_of_pair(tmp_path, of="fw2") as site:
        assert site.pair is not None
        site.pair.sync()
        put(site, "/etc/app/app.conf", "two\n")
        put(site, "/etc/app/app.conf", "mine\n", "fw2")
        assert site.pair.sync().result == "refused", "tagged, and not there"
        hear(site)
        browser = site.browser("oscar")
        page = browser.text("/changes")
        assert heading(page) == "Synchronize would change 1 file on fw2"
        said = text_of(page)
        assert "to sync/000002, which the last run here refused: " in said
        assert "what fw1 runs now" not in said
        assert "Fetch sync/000002 from fw1 and check its signature" in said
        assert ended(site, press(browser, page, "sync", force="drift")).nodes["fw2"].result == "done"
        assert site.node.text("/etc/app/app.conf") == "two\n"


def test_a_backup_knows_that_its_master_has_what_is_not_tagged(tmp_path: Path) -> None:
    with site_of_pair(tmp_path, of="fw2") as site:
        assert site.pair is not None
        site.pair.sync()
        for text in ("two\n", "three\n"):
            put(site, "/etc/app/app.conf", text)
            site.pair.fw1.core.record(via="watch")
        hear(site)
        page = site.browser("oscar").text("/changes")
        assert heading(page) == "Nothing newer is tagged; fw1 has 2 untagged changes"
        assert "fw2 has everything of sync/000001. Synchronize from fw1's page." in text_of(page)
        assert "Nothing newer is tagged: synchronize from fw1's page." in text_of(page)
        assert "anyway" not in text_of(page)
        assert not re.search(r'<button[^>]*value="(sync|restart-all)"', page)


def test_a_tag_that_failed_here_is_not_what_the_master_runs(tmp_path: Path) -> None:
    with site_of_pair(tmp_path, of="fw2") as site:
        assert site.pair is not None
        (site.pair.fw2.home / "running").touch()
        site.pair.sync()
        put(site, "/etc/app/app.conf", "BROKEN")
        assert site.pair.sync().result == "failed"
        put(site, "/etc/app/app.conf", "good")
        hear(site)
        said = text_of(site.browser("oscar").text("/changes"))
        assert "to sync/000002, which the last run here refused: " in said
        assert "; fw1 has moved on since." in said
        assert "what fw1 runs now" not in said
        site.node.core.jobs = Jobs(site.node.core.clock)
        assert said == text_of(site.browser("oscar").text("/changes")), "also from the trail"


def test_while_cluster_yaml_is_not_valid_nothing_is_said_to_be_equal(equal: Site) -> None:
    put(equal, "/etc/app/app.conf", "two\n")
    file = equal.node.etc / "cluster.yaml"
    file.write_text(file.read_text() + "\nnonsense: [\n")
    equal.node.core.record(via="watch")
    hear(equal)
    page = equal.browser("oscar").text("/changes")
    assert heading(page) == "Synchronizing fw2 is not possible until cluster.yaml is mended"
    said = text_of(page)
    assert "Cannot tag main: cluster.yaml is not in force" in said
    assert "What differs is listed below: 2 files." in said
    assert "no file differs" not in said
    assert "not in this plan" not in said
    assert not re.search(r'<button[^>]*value="sync"', page)


def test_nothing_is_certain_of_a_backup_that_is_away(equal: Site) -> None:
    assert equal.pair is not None
    equal.pair.away.add("fw2")
    equal.node.links.close()
    for _ in range(4):
        equal.node.hear()
    page = equal.browser("oscar").text("/changes")
    assert re.fullmatch(r"As last known \(.* ago\), nothing differs between fw1 and fw2", heading(page))
    assert "Not possible: fw2 does not answer." in page
    assert "anyway" not in text_of(page)


def test_a_backup_that_was_rolled_back_is_not_told_from_its_tag_to_its_tag(equal: Site) -> None:
    assert equal.pair is not None
    fw2 = equal.pair.fw2
    put(equal, "/etc/app/app.conf", "two\n")
    before = fw2.core.recorder.head()
    assert before
    assert equal.pair.sync().result == "done"
    assert fw2.do("rollback", RollbackRequest(before, (), "late")).nodes["fw2"].result == "done"
    hear(equal)
    said = text_of(equal.browser("oscar").text("/changes"))
    assert (
        f"fw2 was rolled back to {before[:10]} since sync/000002 (1 file differs). Synchronize would bring it" in said
    )
    assert "From sync/000002" not in said


def test_files_that_were_changed_on_the_backup_say_so(asking: Site) -> None:
    put(asking, "/etc/app/by\x1bhand\n.conf", "mine\n", "fw2")
    hear(asking)
    page = asking.browser("oscar").text("/changes")
    said = text_of(page)
    assert "From sync/000001 with 2 files changed on fw2 since to what fw1 runs now" in said
    assert "Changed on fw2 since its last sync. Synchronizing overwrites it; it stays in fw2's history." in said
    assert "/etc/app/by␛hand␊.conf changed on fw2" in said, "among the deletions"
    assert "\x1b" not in page
    file = page[page.index('data-path="/etc/app/app.conf"') :]
    assert "changed on fw2" in file[: file.index("</summary>")]
    assert "changed on fw2 since its last sync: " in said, "the guard"
    assert "tick to overwrite it" in said
    assert "--force" not in said


@pytest.fixture
def three(equal: Site) -> Site:
    """A third node, a backup too, which nobody has synchronized yet."""
    assert equal.pair is not None
    pair = equal.pair
    third = Node(equal.node.home.parent / "fw3", "fw3", "backup", pair)
    with (pair.fw1.etc / "node.yaml").open("a") as file:
        file.write(f'  fw3: {{address: "127.0.0.1:1", key: "{key_of(third)}"}}\n')
    pin(third, pair.fw1)
    third.open()
    pair.fw1.core.reload()
    put(equal, "/etc/app/app.conf", "two\n")
    pair.fw1.hear()
    pair.fw1.ask("diff", DiffRequest())
    third.hear()
    return equal


def test_each_backup_has_its_tab_and_all_go_at_once(three: Site) -> None:
    browser = three.browser("oscar")
    page = browser.text("/changes?node=fw3")
    assert "on fw3" in heading(page)
    tabs = page[page.index('<nav class="tabs"') :]
    tabs = tabs[: tabs.index("</nav>")]
    assert re.findall(r'href="([^"]*)"', tabs) == ["/changes?node=fw2", "/changes?node=fw3", "/changes?node=%2A"]
    page = browser.text("/changes?node=*")
    assert heading(page) == "Synchronize would change 2 of 2 backups"
    assert "Synchronize all 2 backups" in page
    assert [plan.split()[0] for plan in fields(page)["plan"]] == ["fw2", "fw3"]
    job = ended(three, press(browser, page, "sync"))
    assert {name: one.result for name, one in job.nodes.items()} == {"fw2": "done", "fw3": "done"}


def test_one_backup_of_several_goes_alone(three: Site) -> None:
    browser = three.browser("oscar")
    job = ended(three, press(browser, browser.text("/changes?node=fw3"), "sync"))
    assert set(job.nodes) == {"fw3"}


def test_a_page_of_files_made_to_hurt_is_there_soon(equal: Site) -> None:
    put(equal, "/etc/app/a.yaml", "a: &" * 100 + "\n")
    for number in range(6):
        put(equal, f"/etc/app/swap{number}", "a\nb\n" * 100_000)
    assert equal.pair is not None
    assert equal.pair.sync().result == "done"
    for number in range(6):
        put(equal, f"/etc/app/swap{number}", "b\nb\na\n" * 66_000)
    for number in range(30):
        put(equal, f"/etc/app/{number}.yaml", ("&" * 990 + "\n") * 100)
    hear(equal)
    browser = equal.browser("oscar")
    _, steps = calls(lambda: browser.text("/changes"))
    assert steps < 20_000_000, "a tenth of that is usual"


def test_a_rollback_shows_the_way_back_and_goes_it(equal: Site) -> None:
    core = equal.node.core
    before = core.recorder.head()
    put(equal, "/etc/app/app.conf", "two\n")
    put(equal, "/etc/app/new.conf", "new\n")
    core.record(via="watch")
    browser = equal.browser("oscar")
    page = browser.text(f"/changes?rollback={before}")
    assert before
    assert heading(page) == "Rolling back would change 2 files on fw1"
    said = text_of(page)
    assert "1 file will be deleted on fw1 /etc/app/new.conf" in said
    assert f"Roll back fw1 to {before[:10]}" in said
    assert "−removedtwo" in said.replace(" ", "")
    assert "+addedone" in said.replace(" ", "")
    put(equal, "/etc/more.conf", "meanwhile\n")
    answer = press(browser, page, "rollback")
    assert answer.status_code == 409
    page = answer.get_data(as_text=True)
    assert "The plan has changed since you saw it" in page
    job = ended(equal, press(browser, page, "rollback"))
    assert (job.kind, job.nodes["fw1"].result, job.reason) == ("rollback", "done", "because")
    assert equal.node.text("/etc/app/app.conf") == "one"
    page = browser.text(f"/changes?rollback={before}")
    assert "runs what it ran at" in heading(page)
    assert "Nothing differs: there is nothing to roll back." in page


@pytest.mark.parametrize("count", [3000, pytest.param(20_000, marks=pytest.mark.long)])
def test_many_thousand_files_are_paged(tmp_path: Path, count: int) -> None:
    with site_of_pair(tmp_path, CLUSTER) as site:
        folder = site.node.root / "etc/app/many"
        folder.mkdir()
        for number in range(count):
            (folder / f"{number:05}.conf").write_text(f"listen {number};\n")
        site.node.core.record(via="watch")
        browser = site.browser("oscar")
        page = browser.text("/changes")
        assert f"Files 1 to 50 of {count + 5:,}" in page
        assert page.count('<details class="file"') == PAGE_FILES
        assert re.search(r'<details class="file" id="f1" data-path="[^"]*">', page), "folded"
        assert len(page) < 400_000
        last = browser.text(f"/changes?page={count // PAGE_FILES + 1}")
        assert f"Files {count + 1:,} to {count + 5:,} of {count + 5:,}" in last
        assert "Previous 50" in last
