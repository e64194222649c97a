"""The settings page: what is in force, the clock, oneself and the users; who may do what, and what goes wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsrv.core import upkeep
from syncsrv.web.pages.settings import DONE
from tests.core.corekit import CLUSTER, key_of
from tests.web.webkit import PASSWORD, Site, site_of_one

SCHEDULED = CLUSTER + 'schedules: [{do: sync, cron: "0 3 * * *", soak: 1h, owner: oscar}]\n'
OTHER = "another long password"
HOSTILE = "<script>alert(1)</script>"
ADMIN_ONLY = (
    "/settings/schedule",
    "/settings/users",
    "/settings/users/remove",
    "/settings/users/password",
    "/settings/users/token",
    "/settings/users/revoke",
)


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Site]:
    """A master whose cluster.yaml has a schedule."""
    with site_of_one(tmp_path, cluster=SCHEDULED) as site:
        upkeep.begin(site.node.core, lambda: None)
        yield site


def digest(text: str) -> str:
    found = re.search(r'name="digest" value="([0-9a-f]{64})"', text)
    assert found is not None
    return found[1]


def test_it_shows_each_value_with_its_place_and_what_is_wrong(one: Site) -> None:
    browser = one.browser("vera")
    text = browser.text("/settings")
    assert "What is in force on fw1 is what its files say." in text
    assert "<code>app.exclude</code>" in text
    assert re.search(
        r"<code>\[\*\.bak\]</code></td><td class=\"muted\"><span class=\"nowrap\">cluster.yaml:3</span>", text
    )
    assert ">default</td>" in text
    (one.node.etc / "cluster.yaml").write_text("areas: [")
    one.node.core.record(via="watch")
    text = browser.text("/settings")
    assert "Not all that the files of fw1 say is in force" in text
    assert "cluster.yaml is not in force, it has problems" in text


def test_what_the_clock_does_is_shown_to_everybody_and_switched_by_admins(one: Site) -> None:
    text = one.browser("vera").text("/settings")
    for said in ("sync 1", "0 3 * * * (UTC), what has soaked for 1h", "in the name of oscar", "every 60 s", "repack"):
        assert said in text
    assert "an admin turns it on" in text
    assert "/settings/schedule" not in text
    admin = one.browser("alice")
    shown = admin.text("/settings")
    assert "would not run now: its owner oscar is no user of this node" in shown
    one.node.core.people.add("oscar", "operator", None, None)
    form = {"name": "sync 1", "do": "on", "digest": digest(shown)}
    answer = admin.post("/settings/schedule", form)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/settings?done=schedule#schedules")
    text = admin.text("/settings?done=schedule")
    assert DONE["schedule"] in text
    assert "Turn off sync 1" in text
    assert len(one.node.core.switches.now()) == 1
    assert admin.post("/settings/schedule", {**form, "do": "off"}).status_code == 303
    assert one.node.core.switches.now() == {}


def test_a_schedule_that_is_another_one_by_now_is_not_switched(one: Site) -> None:
    admin = one.browser("alice")
    form = {"name": "sync 1", "do": "on", "digest": digest(admin.text("/settings"))}
    cluster = one.node.etc / "cluster.yaml"
    cluster.write_text(cluster.read_text().replace("soak: 1h", "soak: 0s"))
    one.node.core.record(via="watch")
    answer = admin.post("/settings/schedule", form)
    assert answer.status_code == 409
    assert "Cannot switch sync 1: cluster.yaml has been changed since it was shown" in answer.get_data(as_text=True)
    assert one.node.core.switches.now() == {}
    gone = admin.post("/settings/schedule", {**form, "name": "sync 9"})
    assert gone.status_code == 404
    assert "Cannot find schedule sync 9" in gone.get_data(as_text=True)


def test_ones_own_password(fresh: Site) -> None:
    browser, elsewhere = fresh.browser("vera"), fresh.browser("vera")
    answer = browser.post("/settings/password", {"old": PASSWORD, "new": OTHER, "again": OTHER})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/settings?done=password")
    assert "You have another password" in browser.text("/settings?done=password"), "this browser goes on"
    assert elsewhere.get("/settings").status_code == 303, "the other one does not"
    assert fresh.browser().login("vera").status_code == 401
    assert fresh.browser().login("vera", OTHER).status_code == 303
    assert "user vera has another password" in browser.text("/audit?kind=own-password")


def test_a_password_that_is_not_taken_says_why_beside_the_form(fresh: Site) -> None:
    browser = fresh.browser("vera")
    for form, why in (
        ({"old": "wrong one here", "new": OTHER, "again": OTHER}, "the old one is wrong"),
        ({"old": PASSWORD, "new": OTHER, "again": "yet another"}, "the two that were typed differ"),
        ({"old": PASSWORD, "new": "tiny-pw", "again": "tiny-pw"}, "Cannot set the password"),
    ):
        answer = browser.post("/settings/password", form)
        text = answer.get_data(as_text=True)
        assert answer.status_code == 400
        assert why in text
        assert '<details class="inline-ask" open>' in text
        assert not any(typed in text for typed in form.values())
    found = fresh.node.core.people.check("vera", PASSWORD)
    assert found is not None, "the old one is still good"


def test_an_admin_makes_changes_and_removes_users(fresh: Site) -> None:
    admin, people = fresh.browser("alice"), fresh.node.core.people
    key = key_of(fresh.node)
    form = {"name": "bob", "role": "operator", "new": OTHER, "again": OTHER, "ssh_key": key}
    answer = admin.post("/settings/users", form)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/settings?done=user#users")
    text = admin.text("/settings")
    assert key in text
    assert OTHER not in text
    bob = fresh.browser()
    assert bob.login("bob", OTHER).status_code == 303
    assert admin.post("/settings/users", {"name": "bob", "role": "viewer"}).status_code == 303
    found = people.find("bob")
    assert found is not None
    assert (found.role.value, bool(found.password_hash), len(found.keys)) == ("viewer", True, 1)
    assert (
        admin.post("/settings/users/password", {"name": "bob", "new": PASSWORD, "again": PASSWORD}).status_code == 303
    )
    assert bob.get("/settings").status_code == 303, "the log-in with the old one has ended"
    assert admin.post("/settings/users/remove", {"name": "bob"}).status_code == 303
    assert people.find("bob") is None


def test_what_was_typed_is_kept_but_no_password(fresh: Site) -> None:
    form = {"name": "Bob <b>", "role": "operator", "new": OTHER, "again": OTHER, "ssh_key": "ssh-rsa AAAA"}
    answer = fresh.browser("alice").post("/settings/users", form)
    text = answer.get_data(as_text=True)
    assert answer.status_code == 400
    assert "Cannot add user &#39;Bob &lt;b&gt;&#39;" in text
    assert 'name="name" value="Bob &lt;b&gt;"' in text
    assert "<option selected>operator</option>" in text
    assert 'value="ssh-rsa AAAA"' in text
    assert OTHER not in text


def test_a_bad_key_a_bad_role_and_the_last_admin_are_refused_with_why(fresh: Site) -> None:
    admin = fresh.browser("alice")
    for path, form, status, why in (
        ("/settings/users", {"name": "bob", "role": "king"}, 400, "is no role"),
        ("/settings/users", {"name": "bob", "role": "viewer", "ssh_key": "ssh-ed25519 AAAA"}, None, "Cannot "),
        ("/settings/users", {"name": "bob", "role": "viewer", "new": OTHER}, 400, "the two that were typed differ"),
        ("/settings/users/remove", {"name": "nobody"}, 404, "Cannot find user nobody"),
        ("/settings/users/token", {"name": ""}, 404, "Cannot find user"),
        ("/settings/users/revoke", {"name": HOSTILE}, 404, "Cannot find user &lt;script&gt;"),
        ("/settings/users/password", {"name": "nobody", "new": OTHER, "again": OTHER}, 404, "Cannot find user nobody"),
    ):
        answer = admin.post(path, form)
        text = answer.get_data(as_text=True)
        assert answer.status_code == status or (status is None and 400 <= answer.status_code <= 500), path
        assert why in text, (path, form)
        assert OTHER not in text
        assert HOSTILE not in text
        assert fresh.node.core.people.find("bob") is None
    fresh.node.core.people.remove("admin")
    assert "no other user made on this node is admin" in admin.post(
        "/settings/users/remove", {"name": "alice"}
    ).get_data(as_text=True)


def test_a_token_is_shown_once_and_works_until_it_is_revoked(fresh: Site) -> None:
    admin = fresh.browser("alice")
    fresh.browser("vera")
    made = admin.post("/settings/users/token", {"name": "vera"})
    assert made.status_code == 303
    where = made.headers["Location"]
    assert fresh.browser("oscar").text(where).count('id="token"') == 0, "it is not another person's"
    assert 'id="token"' not in admin.get(where, headers={"X-Poll": "1"}).get_data(as_text=True)
    answer = admin.get(where)
    text = answer.get_data(as_text=True)
    assert answer.status_code == 200
    found = re.search(r'<code id="token">([\w-]{30,})</code>', text)
    assert found is not None
    assert "no-store" in answer.headers["Cache-Control"]
    assert found[1] not in where
    assert not any(found[1] in cookie for cookie in made.headers.getlist("Set-Cookie"))
    again = admin.text(where)
    assert found[1] not in again
    assert DONE["token"].partition(".")[0] in again
    vera = fresh.node.core.people.find("vera")
    assert vera is not None
    assert len(vera.tokens) == 1, "reading and reloading made no other"
    headers = {"Authorization": f"Bearer {found[1]}"}
    program = fresh.app.test_client(use_cookies=False)
    assert program.get("/settings", headers=headers).status_code == 200
    assert "Revoke 1 token of vera" in admin.text("/settings")
    assert admin.post("/settings/users/revoke", {"name": "vera"}).status_code == 303
    assert program.get("/settings", headers=headers).status_code == 303


def test_a_password_says_whose_it_is_and_what_it_does_not_end(fresh: Site) -> None:
    admin = fresh.browser("alice")
    text = admin.text("/settings")
    forms = [form for form in re.findall(r"<form.*?</form>", text, re.S) if 'type="password"' in form]
    whose = [re.findall(r'<input type="text" value="(\w+)" autocomplete="username"', form) for form in forms]
    assert whose[0] == ["alice"], "one's own"
    assert whose[-1] == [], "a new user's, whose name is typed"
    assert ["alice"] in whose[1:-1]
    assert all(len(one) == 1 for one in whose[:-1])
    you = text[text.index('id="you"') : text.index('id="users"')]
    assert "A changed password ends log-ins, never API tokens" in you
    assert "Revoke" not in you, "there is none"
    assert admin.post("/settings/users/token", {"name": "alice"}).status_code == 303
    text = admin.text("/settings")
    you = text[text.index('id="you"') : text.index('id="users"')]
    assert "Revoke 1 token of alice" in you
    assert "until an admin has it revoked" in fresh.browser("vera").text("/settings")


@pytest.mark.parametrize("name", ["vera", "oscar"])
def test_who_is_no_admin_sees_no_users_and_changes_none(lone: Site, name: str) -> None:
    browser = lone.browser(name)
    text = browser.text("/settings")
    assert 'id="users"' not in text
    assert 'action="/settings/users' not in text
    for path in ADMIN_ONLY:
        answer = browser.post(path, {"name": name, "role": "admin", "do": "on", "new": OTHER, "again": OTHER})
        assert answer.status_code == 403, path
    found = lone.node.core.people.find(name)
    assert found is not None
    assert found.role.value != "admin"
    assert not found.tokens


def test_no_form_of_another_site_does_anything(lone: Site) -> None:
    admin, nobody = lone.browser("alice"), lone.browser()
    form = {"name": "alice", "role": "viewer", "old": PASSWORD, "new": OTHER}
    for path in ("/settings/password", *ADMIN_ONLY):
        answer = admin.client.post(path, data=form)
        assert answer.status_code == 400, path
        assert "it was not made by this page" in answer.get_data(as_text=True)
        assert admin.get(path).status_code == 405, path
        assert nobody.post(path, {"name": "alice"}).status_code == 303, path
    found = lone.node.core.people.check("alice", PASSWORD)
    assert found is not None
    assert found.user.role.value == "admin"


def test_log_out_everywhere(fresh: Site) -> None:
    browser, elsewhere = fresh.browser("vera"), fresh.browser("vera")
    assert 'name="everywhere" value="yes"' in browser.text("/settings")
    assert browser.post("/logout", {"everywhere": "yes"}).status_code == 303
    assert browser.get("/settings").status_code == 303
    assert elsewhere.get("/settings").status_code == 303


def test_hostile_text_is_text_and_no_secret_is_shown(tmp_path: Path) -> None:
    cluster = CLUSTER.replace("paths: [/etc/app]", f'description: "{HOSTILE}", paths: [/etc/app]') + (
        f"vips: [{{vhid: 1, interface: lan, addresses: [192.0.2.10/24], password: hunter2}}]\n"
        f"schedules: [{{do: sync, cron: '0 3 * * *', owner: \"{HOSTILE}\"}}]\n"
    )
    with site_of_one(tmp_path, cluster=CLUSTER) as site:
        (site.node.etc / "cluster.yaml").write_text(cluster.replace("CTL", "/bin/true"))
        with (site.node.etc / "node.yaml").open("a") as file:
            file.write("\ninterfaces: {lan: eth0}\n")
        site.node.app.reload()
        text = site.browser("alice").text("/settings")
    assert HOSTILE not in text
    assert text.count("&lt;script&gt;") >= 2
    assert "hunter2" not in text
    assert "carp process" in text, "why a schedule does not run where virtual addresses are configured"
