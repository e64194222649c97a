"""The audit page: the receipts of the node, filtered, paged, and never trusted further than they can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncsrv.control.shapes import SyncRequest
from syncsrv.store.receipts import append_receipt
from syncsrv.store.signing import Signer, generate_key
from syncsrv.web.pages.audit import A_PAGE
from tests.web.webkit import Browser, Site, site_on

HOSTILE = "<script>alert(1)</script>\"'&"


def record(site: Site, number: int, **body: object) -> str:
    core = site.node.core
    text = {"kind": "sync", "job": f"j{number}", "requested_by": "alice via fw1", "result": "done", **body}
    return append_receipt(core.store, core.signer, text, f"sync {number}", core.clock.utc(), "fw1")


@pytest.fixture(scope="module")
def vera(lone: Site) -> Browser:
    """A viewer."""
    return lone.browser("vera")


def test_everybody_who_is_logged_in_may_read_it(lone: Site, vera: Browser) -> None:
    assert "Nothing was asked of fw1 yet that leaves a receipt." in vera.text("/audit")
    assert lone.browser().get("/audit").status_code == 303


def test_a_synchronization_is_in_the_backups_audit_with_its_steps(site: Site) -> None:
    assert site.pair is not None
    site.pair.fw1.do("sync", SyncRequest(reason="the new proxy"))
    backup = site_on(site.pair.fw2, site.pair)
    try:
        text = backup.browser("vera").text("/audit")
    finally:
        backup.close()
    assert "Synchronize" in text
    assert "sync/000001" in text
    assert "through fw1" in text
    assert "/etc/app/app.conf" in text
    assert '<ol class="steps">' in text
    assert "Done" in text
    assert 'href="/jobs/' in text


def test_a_change_of_a_user_names_who_did_it_and_from_where(fresh: Site) -> None:
    admin = fresh.browser("alice")
    form = {"name": "bob", "role": "viewer", "new": "correct horse battery", "again": "correct horse battery"}
    assert admin.post("/settings/users", form).status_code == 303
    text = admin.text("/audit?kind=user")
    assert "user bob made, viewer, with a password" in text
    assert 'href="/audit?person=alice&amp;kind=user">alice</a>' in text
    assert "from 127.0.0.1" in text
    assert "correct horse" not in text


def test_it_is_filtered_and_says_what_was_asked_for(lone: Site, vera: Browser) -> None:
    record(lone, 1, requested_by="bob", kind="rollback", reason="the first")
    record(lone, 2, requested_by="carol", reason="the second")
    for query, shown in (
        ("person=bob", ["the first"]),
        ("person=carol", ["the second"]),
        ("kind=sync", ["the second"]),
        ("job=j1", ["the first"]),
        ("person=bob&kind=sync", []),
        ("person=+bob+", ["the first"]),
        ("", ["the first", "the second"]),
    ):
        text = vera.text(f"/audit?{query}")
        assert [one for one in ("the first", "the second") if one in text] == shown, query
    assert "No receipt of fw1 fits" in vera.text("/audit?person=nobody")
    assert '<option value="odd" selected>odd</option>' in vera.text("/audit?kind=odd")
    assert 'value="rollback" selected' in vera.text("/audit?kind=rollback")


def test_older_ones_are_a_page_further_and_keep_the_filter(lone: Site, vera: Browser) -> None:
    commits = [record(lone, number, requested_by="pat") for number in range(A_PAGE + 1)]
    text = vera.text("/audit?person=pat")
    assert f'href="/audit?person=pat&amp;before={commits[1]}"' in text
    assert commits[0] not in text
    older = vera.text(f"/audit?person=pat&before={commits[1]}")
    assert commits[0] in older
    assert 'href="/audit?person=pat">Newest' in older
    assert 'rel="next"' not in older
    assert "No older receipt fits" in vera.text(f"/audit?person=pat&before={commits[0]}")


def test_a_place_that_is_none_is_said_to_be_none(lone: Site, vera: Browser) -> None:
    text = vera.text("/audit?before=" + "f" * 40, 404)
    assert "Cannot find receipt" in text
    assert 'href="/settings"' in text, "the navigation stays"


def test_a_trail_that_cannot_be_trusted_says_so_and_shows_nothing_older(fresh: Site, tmp_path: Path) -> None:
    core = fresh.node.core
    record(fresh, 1, reason="older than that")
    generate_key(tmp_path / "stranger")
    append_receipt(core.store, Signer.load(tmp_path / "stranger"), {"kind": "x"}, "x", core.clock.utc(), "fw1")
    record(fresh, 2, reason="newer than that")
    text = fresh.browser("vera").text("/audit")
    assert "The trail cannot be trusted further back" in text
    assert "newer than that" in text
    assert "older than that" not in text


def test_hostile_text_is_text(lone: Site, vera: Browser) -> None:
    step = {"name": HOSTILE, "result": HOSTILE, "seconds": 1.5, "output": f"{HOSTILE}\n{HOSTILE}"}
    record(
        lone,
        1,
        **dict.fromkeys(("kind", "requested_by", "origin", "result", "reason", "tag", "job"), HOSTILE),
        guards=[HOSTILE],
        paths=[f"/etc/{HOSTILE}", "/etc/\u202egnp.exe"],
        steps=[step],
    )
    text = vera.text("/audit")
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 8
    again = vera.text("/audit?person=%3Cscript%3Ealert(1)%3C/script%3E&kind=%22%3E%3Cscript%3Ealert")
    assert "<script>alert" not in again


def test_a_path_with_control_characters_is_shown_as_what_it_is(lone: Site, vera: Browser) -> None:
    record(lone, 99, paths=["/etc/app/a\n\x1b[1mb"], reason="of \x1b[2J")
    page = vera.text("/audit?job=j99")
    assert "<code>/etc/app/a␊␛[1mb</code>" in page
    assert "of ␛[2J" in page
    assert "\x1b" not in page
