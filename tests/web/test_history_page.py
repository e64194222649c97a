"""History in the browser: what it lists, what it compares, and that no name and no content gets the better of it."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from syncsrv.control.dispatch import Caller
from syncsrv.control.shapes_history import CommitRequest
from syncsrv.control.verbs import Door
from syncsrv.core.mains import peer_main
from syncsrv.web.pages.history import PAGE_COMMITS, PAGE_FILES
from tests.core.corekit import Node
from tests.support.wait import until
from tests.web.webkit import Browser, Site, site_of_one, site_of_pair

HOSTILE = b"caf\xe9\n\x1b[2J\xe2\x80\xae<script>alert(1)</script>"
SHOWN = "/etc/app/caf\\xe9\n\x1b[2J\u202e<script>alert(1)<"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all: history only grows."""
    with site_of_one(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="module")
def vera(site: Site) -> Browser:
    return site.browser("vera")


@pytest.fixture(scope="module")
def oscar(site: Site) -> Browser:
    return site.browser("oscar")


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Site]:
    with site_of_pair(tmp_path) as site:
        yield site


def save(node: Node, data: bytes, path: str = "/etc/app/app.conf", message: str = "", person: str = "") -> str:
    node.put(path, "").write_bytes(data)
    if not message:
        commit = node.core.record(via="watch").commit
    else:
        caller = Caller(Door.LOCAL, "admin", person or "alice", via="cli")
        commit = node.ask("commit", CommitRequest(message), caller).commit  # type: ignore[attr-defined] # a CommitReply
    assert commit is not None
    return str(commit)


def listed(page: str) -> list[str]:
    """The commits of the list, in its order."""
    return re.findall(r'<input type="radio" name="a" value="([0-9a-f]{40})"', page)


def plain(page: str) -> str:
    """Without the colours of the syntax, and without what fields and addresses carry along."""
    return re.sub(r'</?span[^>]*>| (?:value|href)="[^"]*"', "", page)


def link(page: str, words: str) -> str:
    """Where a link with these words goes."""
    found = re.search(rf'<a [^>]*href="([^"]+)"[^>]*>(?:<[^>]*>)*{words}', page)
    assert found is not None, f"no link {words} in {page}"
    return html.unescape(found[1])


def older(page: str, browser: Browser) -> str:
    """The next page, as the browser sends the form with its marks."""
    found = re.search(r'formaction="/history" name="before" value="([0-9a-f]+)">Older', page)
    assert found is not None
    chosen = {
        name: match[1]
        for name in ("a", "b")
        if (match := re.search(rf'name="{name}" value="([0-9a-f]+)"(?: checked)?', page))
    }
    return browser.text("/history?" + urlencode({**chosen, "before": found[1]}))


def test_the_list_has_what_happened_newest_first_and_filters(site: Site, vera: Browser, oscar: Browser) -> None:
    second = save(site.node, b"two", message="open the port", person="mara")
    newest = save(site.node, b"more2", "/etc/more.conf")
    page = vera.text("/history")
    assert listed(page)[:2] == [newest, second]
    assert newest == site.node.core.recorder.head()
    assert "open the port" in page
    assert "mara on fw1" in page
    assert f"live on {site.node.name}" in page
    assert second not in (only_more := listed(vera.text("/history?area=more")))
    assert only_more[0] == newest
    assert listed(vera.text("/history?person=MAR&path=/etc/app"))[0] == second
    assert not {newest, second} & set(listed(vera.text("/history?via=watch&path=/etc/app")))
    nothing = vera.text("/history?person=nobody")
    assert listed(nothing) == []
    assert "No commit of fw1 is like that" in nothing
    assert 'value="nobody"' in nothing, "the filter stays in its field"
    assert "Roll back to this" not in page, "a viewer is not offered what she may not do"
    assert f"/changes?rollback={second}" in oscar.text("/history")


def test_it_goes_on_page_by_page_and_the_choice_goes_along(site: Site, vera: Browser) -> None:
    for number in range(PAGE_COMMITS + 10):
        save(site.node, b"%d" % number)
    whole = [one.id for one in site.node.core.store.first_parents(site.node.core.recorder.head() or "")]
    page = vera.text("/history")
    first = listed(page)
    assert first == whole[:PAGE_COMMITS]
    rest = older(page, vera)
    assert listed(rest) == whole[PAGE_COMMITS : 2 * PAGE_COMMITS]
    assert f'<input type="hidden" name="b" value="{first[0]}">' in rest
    compared = vera.text(f"/history/compare?b={first[0]}&a={listed(rest)[-1]}&a={listed(rest)[0]}")
    assert listed(rest)[0][:12] in compared, "what is chosen last counts"
    assert vera.get("/history?before=nothing").status_code == 404


def test_tags_and_who_stands_where_are_marked(both: Site) -> None:
    pair = both.pair
    assert pair is not None
    pair.sync()
    save(pair.fw1, b"later")
    peer_main(pair.fw1.core, "fw2")
    pair.fw1.hear()
    browser = both.browser("vera")
    page = browser.text("/history")
    assert '<span class="tag">sync/000001</span>' in page
    assert "fw2 stands here" in page
    theirs = browser.text("/history?node=fw2")
    assert "Synchronized" in theirs
    assert "the newest known of fw2" in theirs
    assert "as it was last fetched" in theirs
    newest = listed(theirs)[0]
    assert newest == pair.fw2.core.recorder.head()
    shown = browser.text(f"/history/{newest}")
    assert "never live on fw1" in shown
    assert browser.get("/history?node=fw3").status_code == 404


def test_a_peer_that_was_never_fetched_is_told_as_that(both: Site) -> None:
    page = both.browser("vera").text("/history?node=fw2")
    assert "Cannot show the history of fw2: nothing of it was fetched yet" in page


def test_a_commit_says_what_it_is_and_what_it_changed(site: Site, vera: Browser, oscar: Browser) -> None:
    parent = site.node.core.recorder.head()
    commit = save(site.node, b"one\ntwo <b>\n", message="the subject\n\nwhy it was done\n<i>", person="mara")
    page = oscar.text(f"/history/{commit[:10]}")
    assert "the subject" in page
    assert "why it was done\n&lt;i&gt;" in page
    assert f"/history/{parent}" in page
    assert "two &lt;b&gt;" in plain(page)
    assert "it is what is live on fw1" in page
    save(site.node, b"three")
    page = oscar.text(f"/history/{commit}")
    assert f'href="/changes?rollback={commit}"' in page
    assert "needs the role operator, vera is viewer" in vera.text(f"/history/{commit}")
    split = oscar.get(f"/history/{commit}?view=split")
    assert "diff split" in split.get_data(as_text=True)
    assert "diff split" in oscar.text(f"/history/{commit}"), "and it is remembered"


def test_any_two_are_compared_and_turned_round(site: Site, vera: Browser) -> None:
    site.node.put("/etc/more.conf", "to be deleted")
    first = site.node.core.record(via="watch").head
    save(site.node, b"two or more")
    save(site.node, b"x", "/etc/app/new")
    (site.node.root / "etc/more.conf").unlink()
    last = site.node.core.record(via="watch").commit or ""
    page = vera.text(f"/history/compare?a={first}&b={last}")
    assert "From A to B 3 files: 1 deleted, 1 added, 1 changed" in page
    assert page.index("/etc/more.conf") < page.index("/etc/app/new"), "deletions first"
    turned = vera.text(link(page, "The other way round"))
    assert "1 deleted, 1 added, 1 changed" in turned
    assert "A and B are the same" in vera.text(f"/history/compare?a={last}&b={last}")
    assert vera.get("/history/compare?a=main").status_code == 400
    assert vera.get("/history/compare?a=main&b=nothing").status_code == 404


def test_many_files_are_paged_and_one_can_be_seen_whole(site: Site, vera: Browser) -> None:
    for number in range(130):
        site.node.put(f"/etc/app/{number:03}", "x\n" * (900 if number == 129 else 1))
    site.node.core.record(via="watch")
    page = vera.text("/history/main")
    assert f"Files 1 to {PAGE_FILES} of 130" in page
    assert "Files 101 to 130 of 130" in (last := vera.text("/history/main?page=99"))
    assert "/etc/app/129" in last
    whole = vera.text("/history/main?full=/etc/app/129&page=3")
    assert whole.count('<td class="sg a">') >= 900 or whole.count('class="a"') >= 900
    assert "All 130 files" in whole
    for odd in ("-1", "x", "0", "9" * 30, "٣"):
        assert f"Files 1 to {PAGE_FILES}" in vera.text(f"/history/main?page={quote(odd)}")


def test_a_hostile_name_and_content_are_read_as_what_they_are(site: Site, vera: Browser) -> None:
    path = os.fsencode(site.node.root) + b"/etc/app/" + HOSTILE.replace(b"</script>", b"<")
    Path(os.fsdecode(path)).write_bytes(
        b"caf\xe9 <script>alert(2)</script>\x1b[2J \xe2\x80\xae\n" + b"y" * 4000 + b"\r\n"
    )
    commit = save(site.node, b"x", message="a <script>alert(3)</script> \u202e subject", person="ma<ra")
    pages = [
        vera.text(address)
        for address in (
            "/history",
            f"/history?path={quote(SHOWN)}",
            f"/history/{commit}",
            f"/history/compare?a={commit}~1&b={commit}",
            f"/history/{commit}/file?path={quote(SHOWN)}",
        )
    ]
    for page in pages:
        assert "<script>alert" not in page
        assert "\x1b" not in plain(page)
        assert "\u202e" not in plain(page), "nothing turns the text round"
    for page in pages[2:]:
        assert "caf\\xe9" in plain(page)
    assert commit in listed(pages[1])
    whole = pages[-1]
    assert "y" * 4000 in whole
    assert whole.count('class="ln"') == 2


def test_the_file_is_downloaded_as_it_was_and_runs_nowhere(site: Site, vera: Browser) -> None:
    path = os.fsencode(site.node.root) + b"/etc/app/" + HOSTILE.replace(b"</script>", b"<")
    data = os.urandom(3_000_000)
    Path(os.fsdecode(path)).write_bytes(data)
    commit = save(site.node, b"<h1>hello</h1>", "/etc/app/page.html")
    response = vera.get(f"/history/{commit}/file?path={quote(SHOWN)}&download=1")
    assert response.data == data
    assert response.content_length == len(data)
    assert response.content_type == "application/octet-stream"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response.headers["Content-Security-Policy"]
    said = response.headers["Content-Disposition"]
    assert said.startswith('attachment; filename="caf_xe9')
    assert "filename*=UTF-8''caf_xe9" in said
    assert said.isascii()
    assert not re.search(r"[\r\n\x1b/\\]|%0A|%1B|%2F|%5C|%E2%80%AE", said)
    page = vera.get(f"/history/{commit}/file?path=/etc/app/page.html&download=1")
    assert (page.data, page.headers["Content-Disposition"]) == (
        b"<h1>hello</h1>", "attachment; filename=\"page.html\"; filename*=UTF-8''page.html"
    )  # fmt: skip
    assert "&lt;h1&gt;hello" in plain(vera.text(f"/history/{commit}/file?path=/etc/app/page.html"))
    head = vera.client.head(f"/history/{commit}/file?path=/etc/app/page.html&download=1")
    assert (head.status_code, head.data) == (200, b"")
    head.close()


def test_large_binary_links_and_directories(site: Site, vera: Browser) -> None:
    top = site.node.root / "etc/app"
    (top / "big").write_bytes(b"line\n" * 300_000)
    (top / "bin").write_bytes(b"a\0b")
    (top / "link").symlink_to("/etc/<shadow>")
    (top / "empty").write_bytes(b"")
    commit = save(site.node, b"x")

    def seen(name: str) -> str:
        return vera.text(f"/history/{commit}/file?path=/etc/app/{name}")

    assert "Too large to be shown here" in seen("big")
    assert "1,500,000 bytes" in seen("big")
    assert "Not text" in seen("bin")
    assert "/etc/&lt;shadow&gt;" in seen("link")
    assert "An empty file" in seen("empty")
    assert "Download" not in seen("")
    assert vera.get(f"/history/{commit}/file?path=/etc/app&download=1").content_type.startswith("text/html")
    assert vera.get(f"/history/{commit}/file?path=/etc/app/link&download=1").data == b"/etc/<shadow>"
    for path in ("/etc/shadow", "/../../etc/shadow", "/.syncsrv/meta"):
        assert vera.get(f"/history/{commit}/file?path={path}").status_code == 404
    assert vera.get(f"/history/{commit}/file").status_code == 400
    page = vera.text(f"/history/{commit}")
    assert "Too large to be shown line by line" in page
    assert f"/history/{commit}/file?path=/etc/app/big&amp;download=1" in page


def test_what_is_too_much_for_a_page_is_one_click_away(site: Site, vera: Browser) -> None:
    for number in range(10):
        site.node.put(f"/etc/app/wide{number}", f"{number:07}\n" * 130_000)
    site.node.core.record(via="watch")
    page = vera.text("/history/main")
    assert 1 <= page.count("Too much for a page with other files") <= 9
    assert page.count("Show what differs in") == page.count("Too much for a page with other files")
    assert "Too large to be shown line by line" not in page
    whole = vera.text("/history/main?full=/etc/app/wide9")
    assert whole.count("0000009") > 1000


def test_a_script_that_asks_again_gets_the_frame_only(site: Site, vera: Browser) -> None:
    commit = save(site.node, b"looked for\n")
    for path in ("", f"/{commit}", f"/{commit}/file?path=/etc/app/app.conf", f"/compare?a={commit}&b={commit}"):
        assert "syncsrv</title>" in vera.text(f"/history{path}")
        poll = vera.get(f"/history{path}", headers={"X-Poll": "1"})
        frame = poll.get_data(as_text=True)
        main = frame[frame.index("<main") : frame.index("</main>")]
        assert (poll.status_code, "<title>" in frame, commit[:10] in main, "<h1" in main) == (200, False, False, False)
        assert '<a href="/history" aria-current="page">' in frame
        tag = {"X-Poll": "1", "If-None-Match": poll.headers["ETag"]}
        assert vera.get(f"/history{path}", headers=tag).status_code == 304


def test_nothing_hidden_and_nobody_without_a_login(site: Site, vera: Browser) -> None:
    for rev in ("refs%2fsyncsrv%2faudit", "1" * 40, "<script>", "%00", "x" * 3000, ".."):
        page = vera.get(f"/history/{rev}")
        assert page.status_code in (400, 404)
        assert b"<script>" not in page.data.replace(b'<script src="/static', b"")
    nobody = site.browser()
    for address in ("/history", "/history/main", "/history/main/file?path=/etc/app", "/history/compare?a=main&b=main"):
        assert nobody.get(address).status_code == 303


def test_streams_are_given_back_whatever_becomes_of_the_answer(site: Site, vera: Browser) -> None:
    commit = save(site.node, os.urandom(2_000_000))
    for _ in range(12):  # more than there are connections for streams
        for ask in (vera.client.get, vera.client.head):
            response = ask(f"/history/{commit}/file?path=/etc/app/app.conf&download=1")
            assert response.status_code == 200
            response.close()
        assert "bytes" in vera.text(f"/history/{commit}/file?path=/etc/app/app.conf")


def test_who_reads_slowly_holds_up_nobody_else(site: Site, vera: Browser) -> None:
    site.join()
    site.join()
    until(lambda: len(site.link._connections) == 3, what="connections for two streams")
    commit = save(site.node, os.urandom(4_000_000), "/etc/app/big")
    small = save(site.node, b"a few words\n")
    oscar = site.browser("oscar")
    big, page = f"/history/{commit}/file?path=/etc/app/big&download=1", f"/history/{small}/file?path=/etc/app/app.conf"
    with vera.get(page, buffered=False) as unread:
        assert site.link._streaming == set(), "a page holds no stream while it is read"
        first = vera.get(big, buffered=False)
        second = oscar.get(big, buffered=False)
        assert len(site.link._streaming) == 2
        first.close()
        again = vera.get(big, buffered=False)
        second.close()
        third = vera.get(big, buffered=False)
        busy = vera.get(big)
        assert busy.status_code == 503
        assert "Cannot send another file: 2 are being sent to vera already" in busy.get_data(as_text=True)
        token = {"Authorization": f"Bearer {site.node.core.people.new_token('vera')}"}
        told = site.browser().get("/api/v1/history/file?rev=main&path=/etc/app/big", headers=token)
        assert (told.status_code, told.get_json()["code"]) == (503, "busy"), "a token is the same person"
        for one in (again, third):
            one.close()
        assert "a few words" in plain(unread.get_data(as_text=True))
    assert site.link._streaming == set()
    assert len(vera.get(big).data) == 4_000_000
    assert vera.get(f"/history/{commit}/file?path=/nothing&download=1").status_code == 404
    assert site.app.extensions["syncsrv-shares"]._held == {}, "everything was given back"
