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
from syncsrv.control.shapes import CommitRequest
from syncsrv.control.verbs import Door
from syncsrv.core.mains import peer_main
from tests.core.corekit import Node
from tests.web.webkit import Browser, Site, site_of_one, site_of_pair

HOSTILE = b"caf\xe9\n\x1b[2J\xe2\x80\xae<script>alert(1)</script>"
SHOWN = "/etc/app/caf\\xe9\n\x1b[2J\u202e<script>alert(1)<"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_of_one(tmp_path) as site:
        yield site


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


def test_the_list_has_what_happened_newest_first_and_filters(site: Site) -> None:
    save(site.node, b"two", message="open the port", person="mara")
    save(site.node, b"more2", "/etc/more.conf")
    browser = site.browser("vera")
    page = browser.text("/history")
    newest, second, first = listed(page)
    assert newest == site.node.core.recorder.head()
    assert "open the port" in page
    assert "mara on fw1" in page
    assert f"live on {site.node.name}" in page
    assert listed(browser.text("/history?area=more")) == [newest, first]
    assert listed(browser.text("/history?person=MAR")) == [second]
    assert listed(browser.text("/history?via=watch&path=/etc/app")) == [first]
    nothing = browser.text("/history?person=nobody")
    assert listed(nothing) == []
    assert "No commit of fw1 is like that" in nothing
    assert "nobody" in nothing, "the filter stays in its field"
    assert "Roll back to this" not in page, "a viewer is not offered what she may not do"
    assert f"/changes?rollback={second}" in site.browser("oscar").text("/history")


def test_it_goes_on_page_by_page_and_the_choice_goes_along(site: Site) -> None:
    for number in range(60):
        save(site.node, b"%d" % number)
    browser = site.browser("vera")
    page = browser.text("/history")
    first = listed(page)
    assert len(first) == 50
    rest = older(page, browser)
    assert len({*first, *listed(rest)}) == 61
    assert f'<input type="hidden" name="b" value="{first[0]}">' in rest
    compared = browser.text(f"/history/compare?b={first[0]}&a={listed(rest)[-1]}&a={listed(rest)[0]}")
    assert listed(rest)[0][:12] in compared, "what is chosen last counts"
    assert browser.get("/history?before=nothing").status_code == 404


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
    pair.away.add("fw2")
    assert "last read" in browser.text("/history?node=fw2") or "read" in browser.text("/history?node=fw2")
    assert browser.get("/history?node=fw3").status_code == 404


def test_a_peer_that_was_never_fetched_is_told_as_that(both: Site) -> None:
    page = both.browser("vera").text("/history?node=fw2")
    assert "Cannot show the history of fw2: nothing of it was fetched yet" in page


def test_a_commit_says_what_it_is_and_what_it_changed(site: Site) -> None:
    parent = site.node.core.recorder.head()
    commit = save(site.node, b"one\ntwo <b>\n", message="the subject\n\nwhy it was done\n<i>", person="mara")
    browser = site.browser("oscar")
    page = browser.text(f"/history/{commit[:10]}")
    assert "the subject" in page
    assert "why it was done\n&lt;i&gt;" in page
    assert f"/history/{parent}" in page
    assert "two &lt;b&gt;" in plain(page)
    assert "it is what is live on fw1" in page
    save(site.node, b"three")
    page = browser.text(f"/history/{commit}")
    assert f'href="/changes?rollback={commit}"' in page
    assert "needs the role operator, vera is viewer" in site.browser("vera").text(f"/history/{commit}")
    split = browser.get(f"/history/{commit}?view=split")
    assert "diff split" in split.get_data(as_text=True)
    assert "diff split" in browser.text(f"/history/{commit}"), "and it is remembered"


def test_any_two_are_compared_and_turned_round(site: Site) -> None:
    first = site.node.core.recorder.head()
    save(site.node, b"two")
    last = save(site.node, b"x", "/etc/app/new")
    (site.node.root / "etc/more.conf").unlink()
    last = site.node.core.record(via="watch").commit or ""
    browser = site.browser("vera")
    page = browser.text(f"/history/compare?a={first}&b={last}")
    assert "From A to B 3 files: 1 deleted, 1 added, 1 changed" in page
    assert page.index("/etc/more.conf") < page.index("/etc/app/new"), "deletions first"
    turned = browser.text(link(page, "The other way round"))
    assert "1 deleted, 1 added, 1 changed" in turned
    assert "A and B are the same" in browser.text(f"/history/compare?a={last}&b={last}")
    assert browser.get("/history/compare?a=main").status_code == 400
    assert browser.get("/history/compare?a=main&b=nothing").status_code == 404


def test_many_files_are_paged_and_one_can_be_seen_whole(site: Site) -> None:
    for number in range(130):
        site.node.put(f"/etc/app/{number:03}", "x\n" * (900 if number == 129 else 1))
    site.node.core.record(via="watch")
    browser = site.browser("vera")
    page = browser.text("/history/main")
    assert "Files 1 to 50 of 130" in page
    assert "Files 101 to 130 of 130" in (last := browser.text("/history/main?page=99"))
    assert "/etc/app/129" in last
    whole = browser.text("/history/main?full=/etc/app/129&page=3")
    assert whole.count('<td class="sg a">') >= 900 or whole.count('class="a"') >= 900
    assert "All 130 files" in whole
    for odd in ("-1", "x", "0", "9" * 30, "٣"):
        assert "Files 1 to 50" in browser.text(f"/history/main?page={quote(odd)}")


def test_a_hostile_name_and_content_are_read_as_what_they_are(site: Site) -> None:
    path = os.fsencode(site.node.root) + b"/etc/app/" + HOSTILE.replace(b"</script>", b"<")
    Path(os.fsdecode(path)).write_bytes(
        b"caf\xe9 <script>alert(2)</script>\x1b[2J \xe2\x80\xae\n" + b"y" * 4000 + b"\r\n"
    )
    commit = save(site.node, b"x", message="a <script>alert(3)</script> \u202e subject", person="ma<ra")
    browser = site.browser("vera")
    pages = [
        browser.text(address)
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


def test_the_file_is_downloaded_as_it_was_and_runs_nowhere(site: Site) -> None:
    path = os.fsencode(site.node.root) + b"/etc/app/" + HOSTILE.replace(b"</script>", b"<")
    data = os.urandom(3_000_000)
    Path(os.fsdecode(path)).write_bytes(data)
    commit = save(site.node, b"<h1>hello</h1>", "/etc/app/page.html")
    browser = site.browser("vera")
    response = browser.get(f"/history/{commit}/file?path={quote(SHOWN)}&download=1")
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
    page = browser.get(f"/history/{commit}/file?path=/etc/app/page.html&download=1")
    assert (page.data, page.headers["Content-Disposition"]) == (
        b"<h1>hello</h1>", "attachment; filename=\"page.html\"; filename*=UTF-8''page.html"
    )  # fmt: skip
    assert "&lt;h1&gt;hello" in plain(browser.text(f"/history/{commit}/file?path=/etc/app/page.html"))
    head = browser.client.head(f"/history/{commit}/file?path=/etc/app/page.html&download=1")
    assert (head.status_code, head.data) == (200, b"")


def test_large_binary_links_and_directories(site: Site) -> None:
    top = site.node.root / "etc/app"
    (top / "big").write_bytes(b"line\n" * 300_000)
    (top / "bin").write_bytes(b"a\0b")
    (top / "link").symlink_to("/etc/<shadow>")
    (top / "empty").write_bytes(b"")
    commit = save(site.node, b"x")
    browser = site.browser("vera")

    def seen(name: str) -> str:
        return browser.text(f"/history/{commit}/file?path=/etc/app/{name}")

    assert "Too large to be shown here" in seen("big")
    assert "1,500,000 bytes" in seen("big")
    assert "Not text" in seen("bin")
    assert "/etc/&lt;shadow&gt;" in seen("link")
    assert "An empty file" in seen("empty")
    assert "Download" not in seen("")
    assert browser.get(f"/history/{commit}/file?path=/etc/app&download=1").content_type.startswith("text/html")
    assert browser.get(f"/history/{commit}/file?path=/etc/app/link&download=1").data == b"/etc/<shadow>"
    for path in ("/etc/shadow", "/../../etc/shadow", "/.syncsrv/meta"):
        assert browser.get(f"/history/{commit}/file?path={path}").status_code == 404
    assert browser.get(f"/history/{commit}/file").status_code == 400
    page = browser.text(f"/history/{commit}")
    assert "Too large to be shown line by line" in page
    assert f"/history/{commit}/file?path=/etc/app/big&amp;download=1" in page


def test_nothing_hidden_and_nobody_without_a_login(site: Site) -> None:
    browser = site.browser("vera")
    for rev in ("refs%2fsyncsrv%2faudit", "1" * 40, "<script>", "%00", "x" * 3000, ".."):
        page = browser.get(f"/history/{rev}")
        assert page.status_code in (400, 404)
        assert b"<script>" not in page.data.replace(b'<script src="/static', b"")
    nobody = site.browser()
    for address in ("/history", "/history/main", "/history/main/file?path=/etc/app", "/history/compare?a=main&b=main"):
        assert nobody.get(address).status_code == 303


def test_streams_are_given_back_whatever_becomes_of_the_answer(site: Site) -> None:
    commit = save(site.node, os.urandom(2_000_000))
    browser = site.browser("vera")
    for _ in range(12):  # more than there are connections for streams
        for ask in (browser.client.get, browser.client.head):
            response = ask(f"/history/{commit}/file?path=/etc/app/app.conf&download=1")
            assert response.status_code == 200
            response.close()
        assert "bytes" in browser.text(f"/history/{commit}/file?path=/etc/app/app.conf")
