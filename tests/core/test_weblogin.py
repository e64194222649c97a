"""Whom a session or a token stands for, and everything that ends that at once."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import pytest

from syncsrv.config.model import Power
from syncsrv.control.errors import NotLoggedInError, SlowDownError
from syncsrv.control.shapes import Empty
from syncsrv.control.shapes_page import LoginRequest, LogoutRequest, OwnPasswordRequest, Session
from syncsrv.control.shapes_people import PersonRecord
from syncsrv.control.verbs import Door
from syncsrv.core.devices import Devices
from syncsrv.core.passwords import Cost, Passwords
from syncsrv.core.people import People
from syncsrv.core.sessions import GRACE_S, IDLE_S, ROTATE_S
from syncsrv.core.throttle import FREE, LONGEST_S
from syncsrv.core.weblogin import WrongPasswordError
from syncsrv.errors import UsageError
from tests.core.webloginkit import CHEAP, SECRET, Page

GOOD, BAD = "correct horse", "wrong battery"


@pytest.fixture
def page(tmp_path: Path) -> Page:
    page = Page(tmp_path)
    page.people.add("root", "admin", "admin's own", None)
    page.people.add("alice", "operator", GOOD, None)
    return page


def fail(page: Page, name: str = "alice", *, times: int = 1, device: str = "", origin: str = "192.0.2.7") -> int:
    """Wrong passwords; how many were looked at."""
    looked_at = 0
    for _ in range(times):
        try:
            page.login(name, BAD, device=device, origin=origin)
        except WrongPasswordError:
            looked_at += 1
        except SlowDownError:
            continue
    return looked_at


def test_a_log_in_gives_a_session_that_stands_for_the_person_with_the_role_of_now(page: Page) -> None:
    found = page.login()
    assert (found.person, found.role, found.idle_s) == ("alice", "operator", IDLE_S)
    assert found.ends_at == "2026-11-23T14:13:00Z"
    caller = page.caller(f"session:{found.session}", "198.51.100.1")
    assert (caller.person, caller.power, caller.via, caller.came_from) == ("alice", "operator", "web", "198.51.100.1")
    assert found.session not in repr(caller)
    page.people.add("alice", "viewer", None, None)
    assert page.caller(f"session:{found.session}").power == "viewer"
    shown = page.ask("session", Empty(), f"session:{found.session}")
    assert shown == Session(found.session, "alice", "viewer", found.ends_at, IDLE_S)


@pytest.mark.parametrize("claim", [None, ""])
def test_nobody_is_nobody(page: Page, claim: str | None) -> None:
    assert page.caller(claim).power == ""
    assert page.ask("session", Empty(), claim) == Session()


@pytest.mark.parametrize("claim", ["session:", "session:x", "token:", "token:x", "alice", ":", "Session:x", "token:\0"])
def test_what_is_forged_is_nobody_and_is_told_so(page: Page, claim: str) -> None:
    assert page.caller(claim).power == ""
    for verb, request in (("session", Empty()), ("logout", LogoutRequest())):
        with pytest.raises(NotLoggedInError):
            page.ask(verb, request, claim)
    found = page.ask("login", LoginRequest("alice", GOOD), claim)
    assert isinstance(found, Session), "a stale cookie does not keep anybody from logging in"


def test_a_claim_elsewhere_is_a_name_and_never_a_session(page: Page) -> None:
    found = page.login()
    local = page.login_part.claim(page.caller().__class__(Door.LOCAL, "admin", "root"), "carol")
    assert (local.person, local.power) == ("carol", "admin")
    peer = page.caller().__class__(Door.PERSON, "viewer", "bob", via="ssh")
    assert page.login_part.claim(peer, f"session:{found.session}") == peer
    assert peer.came_from == "ssh"


def test_a_wrong_name_and_a_wrong_password_are_told_apart_by_nothing(page: Page) -> None:
    said = set()
    for name, password in (("alice", BAD), ("nobody", GOOD), ("", ""), ("alice", ""), ("\udcff", "\udcff")):
        with pytest.raises(WrongPasswordError) as caught:
            page.ask("login", LoginRequest(name, password), origin=name or "x")
        said.add((caught.value.message, caught.value.remedy))
    assert len(said) == 1


def test_a_user_without_a_password_cannot_log_in(page: Page) -> None:
    page.people.add("keyonly", "admin", None, None)
    with pytest.raises(WrongPasswordError):
        page.login("keyonly", "")


def test_failures_are_logged_with_the_address_and_never_what_may_be_a_password(
    page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    fail(page)
    with pytest.raises(WrongPasswordError):
        page.login("my secret password", "alice", origin="2001:db8::1")
    assert "wrong password for alice from 192.0.2.7" in caplog.text
    assert "a name that no user has (18 characters) from 2001:db8::1" in caplog.text
    assert "my secret" not in caplog.text
    assert BAD not in caplog.text


def test_a_session_is_rotated_by_the_question_who_asks(page: Page) -> None:
    found = page.login()
    page.clock.run(ROTATE_S)
    first = page.ask("session", Empty(), f"poll:{found.session}")
    assert isinstance(first, Session)
    assert first.session == found.session, "a page that asks by itself cannot take a new cookie"
    after = page.ask("session", Empty(), f"session:{found.session}")
    assert isinstance(after, Session)
    assert after.session != found.session
    assert page.who(found.session) == "alice", "two tabs"
    page.clock.run(GRACE_S)
    assert (page.who(found.session), page.who(after.session)) == ("", "alice")


def test_a_page_that_asks_by_itself_does_not_keep_anybody_logged_in(page: Page) -> None:
    found = page.login()
    for _ in range(int(IDLE_S / 60)):
        assert page.caller(f"poll:{found.session}").person == "alice"
        page.clock.run(60)
    assert page.caller(f"poll:{found.session}").person == ""


def test_logging_out_here_and_everywhere(page: Page) -> None:
    here, there, third = page.login(), page.login(), page.login()
    page.ask("logout", LogoutRequest(), f"session:{here.session}")
    assert [page.who(one.session) for one in (here, there)] == ["", "alice"]
    page.ask("logout", LogoutRequest(everywhere=True), f"session:{there.session}")
    assert page.who(third.session) == ""
    with pytest.raises(NotLoggedInError):
        page.ask("logout", LogoutRequest(), f"session:{third.session}")


def test_a_log_in_ends_the_session_that_the_browser_had(page: Page) -> None:
    before = page.login()
    after = page.ask("login", LoginRequest("alice", GOOD), f"session:{before.session}")
    assert isinstance(after, Session)
    assert [page.who(one) for one in (before.session, after.session)] == ["", "alice"]


def test_who_is_removed_is_out_at_once_and_a_namesake_does_not_inherit(page: Page) -> None:
    found = page.login()
    token = page.people.new_token("alice")
    page.people.remove("alice")
    page.people.add("alice", "admin", GOOD, None)
    assert page.who(found.session) == ""
    assert page.caller(f"token:{token}").person == ""
    assert len(page.sessions) == 0


def test_a_changed_password_ends_every_session_of_the_person_and_nobody_elses(page: Page) -> None:
    one, other, admin = page.login(), page.login(), page.login("root", "admin's own")
    page.people.set_password("alice", "another one")
    assert [page.who(found.session) for found in (one, other, admin)] == ["", "", "root"]


def test_a_password_that_the_master_changed_ends_sessions_on_the_backup_too(page: Page) -> None:
    passwords = Passwords(CHEAP)
    record = PersonRecord("bob", "viewer", passwords.hash(GOOD), ())
    page.people.take_over((record,), Power.ADMIN)
    found = page.login("bob")
    page.people.take_over((record,), Power.ADMIN)
    assert page.who(found.session) == "bob"
    page.people.take_over((PersonRecord("bob", "viewer", passwords.hash(GOOD), ()),), Power.ADMIN)
    assert page.who(found.session) == ""
    found = page.login("bob")
    page.people.take_over((), Power.ADMIN)
    assert page.who(found.session) == ""


def test_ones_own_password_needs_the_old_one_and_leaves_this_session_under_another_id(page: Page) -> None:
    here, there = page.login(), page.login()
    claim = f"session:{here.session}"
    with pytest.raises(UsageError, match="the old one is wrong"):
        page.ask("own-password", OwnPasswordRequest(BAD, "another one"), claim)
    with pytest.raises(UsageError, match="it has 5 characters; give one of at least 8"):
        page.ask("own-password", OwnPasswordRequest(GOOD, "short"), claim)
    assert page.who(there.session) == "alice"
    after = page.ask("own-password", OwnPasswordRequest(GOOD, "another one"), claim)
    assert isinstance(after, Session)
    assert [page.who(one.session) for one in (here, there, after)] == ["", "", "alice"]
    assert page.login(password="another one").person == "alice"
    with pytest.raises(WrongPasswordError):
        page.login()


def test_the_old_password_cannot_be_guessed_by_who_found_an_open_page(page: Page) -> None:
    claim = f"session:{page.login().session}"
    for _ in range(FREE):
        with pytest.raises(UsageError, match="the old one is wrong"):
            page.ask("own-password", OwnPasswordRequest(BAD, "another one"), claim)
    with pytest.raises(SlowDownError):
        page.ask("own-password", OwnPasswordRequest(GOOD, "another one"), claim)
    assert page.login().person == "alice", "nor does that keep the person from logging in"


def test_a_token_stands_for_its_person_and_sets_no_password(page: Page) -> None:
    token = page.people.new_token("alice")
    claim = f"token:{token}"
    assert page.caller(claim).power == "operator"
    assert page.ask("session", Empty(), claim) == Session(person="alice", role="operator")
    page.people.add("alice", "viewer", None, None)
    assert page.caller(claim).power == "viewer"
    with pytest.raises(UsageError, match="a token does not do that"):
        page.ask("own-password", OwnPasswordRequest(GOOD, "another one"), claim)
    page.people.revoke_tokens("alice")
    assert page.caller(claim).power == ""
    assert page.caller(f"session:{token}").power == ""


def test_a_restart_of_core_keeps_who_is_logged_in(page: Page, tmp_path: Path) -> None:
    found = page.login()
    again = Page(tmp_path, page.clock)
    assert again.who(found.session) == "alice"
    assert again.login(device=found.device).device == found.device


def test_brute_force_waits_and_says_how_long(page: Page) -> None:
    assert fail(page, times=50) == FREE
    with pytest.raises(SlowDownError, match="the next one is looked at in 1 s") as caught:
        page.login()
    assert caught.value.retry_s == 1.0
    assert caught.value.remedy == "try again in 1 s"
    page.clock.run(1)
    assert page.login().person == "alice"


def test_the_admin_gets_in_while_somebody_guesses(page: Page) -> None:
    known = page.login("root", "admin's own", origin="198.51.100.5")
    for _ in range(600):
        fail(page, "root")
        fail(page, "root", origin="203.0.113.9")
        page.clock.run(1)
    own = "admin's own"
    assert page.login("root", own, device=known.device).person == "root", "a known device, the attacker's own address"
    assert page.login("root", own, origin="198.51.100.5").person == "root", "an address that logged in lately"
    with pytest.raises(SlowDownError) as caught:
        page.login("root", own, origin="2001:db8::7")
    assert caught.value.retry_s <= LONGEST_S
    for _ in range(int(caught.value.retry_s)):
        fail(page, "root")
        page.clock.run(1)
    assert page.login("root", own, origin="2001:db8::7").person == "root", "a stranger waits once"


def test_a_device_token_is_bound_to_its_name_and_cannot_be_made_elsewhere(page: Page) -> None:
    token = page.login().device
    devices = Devices(SECRET)
    assert devices.known(token, "alice")
    for forged in ("", "x", token[:-1], token + "0", token.upper(), Devices(b"o" * 32).issue("alice"), "é" * 87):
        assert devices.known(forged, "alice") == ""
    assert devices.known(token, "root") == ""
    fail(page, "root", times=20)
    with pytest.raises(SlowDownError):
        page.login("root", "admin's own", device=token)


def test_a_hash_of_another_cost_is_made_anew_at_log_in_and_sessions_go_on(page: Page, tmp_path: Path) -> None:
    before = page.login()
    (alice,) = (one for one in page.people.shared() if one.name == "alice")
    dearer = Page(tmp_path, page.clock)
    dearer.people = People(tmp_path, Passwords(Cost(rounds=2, memory_kib=64, lanes=1)))
    dearer.login_part = type(dearer.login_part)(dearer.people, dearer.sessions, Devices(SECRET), dearer.clock)
    after = dearer.login()
    (renewed,) = (one for one in dearer.people.shared() if one.name == "alice")
    assert alice.password_hash != renewed.password_hash
    assert "t=2" in renewed.password_hash
    assert [dearer.who(one.session) for one in (before, after)] == ["alice", "alice"]


def test_no_secret_stands_in_any_file_or_line_of_the_log(
    page: Page, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    found = page.login()
    token = page.people.new_token("alice")
    page.caller(f"token:{token}")
    fail(page, times=20)
    text = caplog.text + "".join(path.read_text() for path in tmp_path.iterdir() if path.is_file())
    for secret in (found.session, token, GOOD, BAD):
        assert secret not in text
    assert hashlib.sha256(found.session.encode()).hexdigest() in text
