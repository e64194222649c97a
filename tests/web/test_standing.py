"""Virtual addresses and drift: what is said of them is what is known."""

from __future__ import annotations

import pytest

from syncsrv.core.mains import follow_main
from syncsrv.web.pages.standing import SHOWN
from tests.web.webkit import Browser, Site


@pytest.fixture
def vera(site: Site) -> Browser:
    return site.browser("vera")


def drift(site: Site, **files: str) -> None:
    """Synchronize, then change files on fw2 by hand."""
    assert site.pair is not None
    assert site.pair.sync().result == "done"
    for path, text in files.items():
        site.pair.fw2.put(f"/etc/{path}", text)
    site.pair.fw2.core.record(via="watch")
    hear(site)


def hear(site: Site) -> None:
    site.node.hear()
    facts = site.node.core.book.now()["fw2"].facts
    assert facts is not None
    follow_main(site.node.core, "fw2", facts.head)


def test_without_addresses_nothing_is_said_to_be_held(vera: Browser) -> None:
    page = vera.text("/vips")
    assert "No virtual addresses are configured." in page
    assert "MASTER" not in page


def test_nothing_is_known_before_the_first_sync(vera: Browser) -> None:
    assert "Nothing is known of any drift." in vera.text("/drift")


def test_no_drift(site: Site, vera: Browser) -> None:
    assert site.pair is not None
    site.pair.sync()
    site.node.hear()
    assert "Nothing was changed on fw2 since it was synchronized." in vera.text("/drift")


def test_what_was_changed_there_is_shown_line_by_line(site: Site, vera: Browser) -> None:
    drift(site, **{"app/app.conf": "one\nby <b>hand</b>\n"})
    page = vera.text("/drift")
    assert "1 file on fw2 is not as" in page
    assert "sync/000001" in page
    assert "by &lt;b&gt;hand&lt;/b&gt;" in page
    assert "<b>hand" not in page
    assert "Bring what is worth keeping to fw1" in page
    assert 'href="/changes?node=fw2"' in page


def test_what_was_not_fetched_yet_is_named_only(site: Site, vera: Browser) -> None:
    assert site.pair is not None
    site.pair.sync()
    site.pair.fw2.put("/etc/more.conf", "by hand")
    site.pair.fw2.core.record(via="watch")
    site.node.hear()
    page = vera.text("/drift")
    assert "/etc/more.conf" in page


def test_a_file_that_is_too_much_beside_others_is_shown_when_it_is_asked_for(site: Site, vera: Browser) -> None:
    drift(site, **{f"app/wide{number}": f"{number:07}\n" * 130_000 for number in range(9)})
    assert "0000008</td>" not in vera.text("/drift")
    assert "0000008</td>" in vera.text("/drift?full=/etc/app/wide8")


def test_for_a_script_nothing_is_compared(site: Site, vera: Browser) -> None:
    drift(site, **{"app/app.conf": "by hand\n"})
    page = vera.text("/drift")
    poll = vera.get("/drift", headers={"X-Poll": "1"}).get_data(as_text=True)
    assert ("by hand" in page, "by hand" in poll) == (True, False)
    assert "1 file on fw2 is not as" in poll
    assert "<title>Drift" in poll


def test_a_hostile_file_name_is_text(site: Site, vera: Browser) -> None:
    drift(site, **{"app/<script>alert(1)<!--": "x\n"})
    page = vera.text("/drift")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_of_many_files_some_are_shown_and_all_are_named(site: Site, vera: Browser) -> None:
    drift(site, **{f"app/file{number:03}": "x\n" for number in range(SHOWN + 5)})
    page = vera.text("/drift")
    assert f"{SHOWN + 5} files on fw2 are not as" in page
    assert page.count('<details class="file"') == SHOWN
    for number in range(SHOWN + 5):
        assert f"/etc/app/file{number:03}" in page


def test_it_is_last_known_where_the_node_does_not_answer(site: Site, vera: Browser) -> None:
    drift(site, **{"more.conf": "by hand"})
    assert site.pair is not None
    site.pair.fw2.server.close()
    site.pair.away.add("fw2")
    for _ in range(4):
        site.node.core.book.refresh("fw2")
    page = vera.text("/drift")
    assert "Nothing was changed" not in page


def test_names_that_hold_control_characters_are_shown_once_and_as_what_they_are(site: Site, vera: Browser) -> None:
    drift(site, **{"app/new\nline": "x\n", "app/esc\x1b[2J": "x\n"})
    page = vera.text("/drift")
    assert "/etc/app/new␊line" in page
    assert "/etc/app/esc␛[2J" in page
    assert "\x1b" not in page
    assert "new\nline" not in page, "not even in the sentence"
    assert "Not shown line by line" not in page, "they stand above"


def test_what_is_overwritten_is_told_by_its_sign(site: Site, vera: Browser) -> None:
    drift(site, **{"app/app.conf": "by hand\n"})
    page = vera.text("/drift")
    assert "on the right" not in page
    assert "The lines with + below stand on fw2 alone" in page
