"""Users: roles, passwords as hashes, keys, tokens; what a backup takes over from its master."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path

import pytest

from syncsrv.config.model import Power
from syncsrv.control.shapes_people import PersonRecord
from syncsrv.core.passwords import Cost, Passwords
from syncsrv.core.people import LastAdminError, People, UnknownUserError, create_admin
from syncsrv.errors import DamagedError, SyncsrvError, UsageError
from syncsrv.store.signing import Signer, generate_key, parse_public_line
from tests.core.webloginkit import CHEAP
from tests.support.work import calls


@pytest.fixture
def line(tmp_path: Path) -> str:
    generate_key(tmp_path / "key")
    return Signer.load(tmp_path / "key", "alice@laptop").public_line


def test_a_user_is_kept_over_a_restart_and_no_secret_stands_in_the_file(tmp_path: Path, line: str) -> None:
    people = People(tmp_path)
    people.add("alice", "operator", "correct horse", line)
    token = people.new_token("alice")
    again = People(tmp_path)
    (alice,) = again.listed()
    assert (alice.name, alice.role, alice.password, alice.tokens, alice.local) == ("alice", "operator", True, 1, True)
    text = (tmp_path / "people.json").read_text()
    assert "correct horse" not in text
    assert token not in text
    assert hashlib.sha256(token.encode()).hexdigest() in text
    assert "$argon2id$" in text
    assert (tmp_path / "people.json").stat().st_mode & 0o777 == 0o600
    assert again.keys() == {parse_public_line(line): ("alice", Power.OPERATOR)}


def test_adding_again_changes_role_and_adds_a_key_once(tmp_path: Path, line: str) -> None:
    people = People(tmp_path)
    people.add("alice", "viewer", None, line)
    people.add("alice", "admin", None, line)
    (alice,) = people.listed()
    assert alice.role == "admin"
    assert len(alice.keys) == 1


@pytest.mark.parametrize("name", ["", "Alice", "a b", "../x", "a" * 33, "-x"])
def test_names_that_are_none_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not a login name"):
        People(tmp_path).add(name, "viewer", None, None)


def test_what_is_no_role_key_password_or_user_is_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    people = People(tmp_path)
    with pytest.raises(UsageError, match="is no role"):
        people.add("bob", "root", None, None)
    with pytest.raises(SyncsrvError):
        people.add("bob", "viewer", None, "ssh-rsa AAAA bob")
    with pytest.raises(UsageError, match="empty"):
        people.add("bob", "viewer", "", None)
    with pytest.raises(UnknownUserError):
        people.remove("bob")
    with pytest.raises(UsageError, match="it has 3 characters; give one of at least 8"):
        people.add("bob", "viewer", "abc", None)
    assert people.listed() == ()


def test_a_backup_takes_over_all_but_tokens_and_never_what_was_made_here(tmp_path: Path, line: str) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "b").mkdir()
    master, backup = People(tmp_path / "m"), People(tmp_path / "b")
    create_admin(tmp_path / "b")
    backup = People(tmp_path / "b")
    master.add("admin", "admin", "the master's", None)
    master.add("alice", "operator", "alice's own", line)
    master.new_token("alice")
    backup.take_over(master.shared(), Power.ADMIN)
    found = {user.name: user for user in backup.listed()}
    assert (found["alice"].local, found["alice"].tokens, found["alice"].keys) == (False, 0, (line,))
    assert found["admin"].local, "the local admin stays"
    assert "admin" not in {one.name for one in master.shared()}, "each node has an admin of its own"
    master.remove("alice")
    backup.take_over(master.shared(), Power.ADMIN)
    assert [user.name for user in backup.listed()] == ["admin"], "who is removed there is removed here"


def test_the_digest_changes_with_the_people_and_only_then(tmp_path: Path) -> None:
    people = People(tmp_path)
    people.add("alice", "viewer", None, None)
    before = people.digest()
    assert people.digest() == before
    people.new_token("alice")
    assert people.digest() == before, "tokens stay here"
    people.set_password("alice", "another one")
    assert people.digest() != before


def test_nobody_gets_more_power_than_the_pin_of_the_master_has(tmp_path: Path) -> None:
    people = People(tmp_path)
    people.take_over((PersonRecord("eve", "admin", "", ()), PersonRecord("bob", "viewer", "", ())), Power.OPERATOR)
    assert {user.name: user.role for user in people.listed()} == {"eve": "operator", "bob": "viewer"}


@pytest.mark.parametrize(
    "record",
    [
        PersonRecord("../x", "viewer", "", ()),
        PersonRecord("bob", "root", "", ()),
        PersonRecord("bob", "viewer", "", ("garbage",)),
    ],
)
def test_one_bad_record_takes_nothing_over_and_keeps_the_keys_readable(tmp_path: Path, record: PersonRecord) -> None:
    people = People(tmp_path)
    with pytest.raises(SyncsrvError):
        people.take_over((PersonRecord("alice", "viewer", "", ()), record), Power.ADMIN)
    assert people.listed() == ()
    assert people.keys() == {}


@pytest.mark.parametrize("text", ["", "[", "{}", '[{"name": "x"}]', '[{"name":1}]', json.dumps([1])])
def test_a_damaged_file_is_named_with_a_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / "people.json").write_text(text)
    if text == "{}":
        assert People(tmp_path).listed() == ()
        return
    with pytest.raises(DamagedError, match=r"people\.json") as caught:
        People(tmp_path)
    assert caught.value.remedy


def test_a_user_of_the_master_is_changed_there(tmp_path: Path) -> None:
    people = People(tmp_path)
    people.take_over((PersonRecord("bob", "viewer", "", ()),), Power.ADMIN)
    with pytest.raises(UsageError, match="cannot remove bob here: the user comes from the master"):
        people.remove("bob")
    with pytest.raises(UsageError, match="cannot set the password of bob here"):
        people.set_password("bob", "correct horse")
    people.new_token("bob")
    people.add("bob", "operator", None, None)
    people.remove("bob")
    assert people.listed() == ()


def test_the_last_admin_stays_one_and_only_admins_of_this_node_count(tmp_path: Path) -> None:
    create_admin(tmp_path)
    people = People(tmp_path)
    people.take_over((PersonRecord("bob", "admin", "", ()),), Power.ADMIN)
    with pytest.raises(LastAdminError, match="cannot remove admin: no other user made on this node is admin"):
        people.remove("admin")
    with pytest.raises(LastAdminError, match="cannot take the role admin from admin"):
        people.add("admin", "operator", None, None)
    people.add("admin", "admin", "another one", None)
    people.add("carol", "admin", None, None)
    people.add("admin", "viewer", None, None)
    people.remove("admin")
    assert {user.name for user in people.listed()} == {"bob", "carol"}


def test_a_password_is_checked_against_the_user_of_now(tmp_path: Path) -> None:
    people = People(tmp_path, Passwords(CHEAP))
    people.add("alice", "viewer", "correct horse", None)
    found = people.check("alice", "correct horse")
    assert found is not None
    assert (found.user.name, found.former_stamp) == ("alice", "")
    assert people.check("alice", "correct hors") is None
    assert people.check("bob", "correct horse") is None
    before = found.user.stamp
    people.set_password("alice", "correct horse")
    assert people.check("alice", "correct horse") != found, "the same password anew is another stamp"
    after = people.find("alice")
    assert after is not None
    assert after.stamp != before


@pytest.mark.parametrize("change", ["remove", "password"])
def test_what_changes_while_a_password_is_looked_at_counts(tmp_path: Path, change: str) -> None:
    class Slow(Passwords):
        def matches(self, password_hash: str, password: str, *, known: bool) -> bool:
            right = super().matches(password_hash, password, known=known)
            if change == "remove":
                people.remove("alice")
            else:
                people.set_password("alice", "battery staple")
            return right

    people = People(tmp_path, Slow(CHEAP))
    people.add("alice", "viewer", "correct horse", None)
    assert people.check("alice", "correct horse") is None


def test_a_name_that_is_none_costs_what_a_wrong_password_costs(tmp_path: Path) -> None:
    passwords = Passwords(Cost(rounds=2, memory_kib=128, lanes=1))
    people = People(tmp_path, passwords)
    people.add("alice", "viewer", "correct horse", None)
    people.add("keyonly", "viewer", None, None)

    for name in ("alice", "nobody", "keyonly"):
        found, looked_at = calls(partial(people.check, name, "wrong battery"), "verify_secret")
        assert (found, looked_at) == (None, 1), name
    assert not passwords.outdated(passwords._nobodys), "it costs what theirs do"


def test_tokens_are_found_and_revoked(tmp_path: Path) -> None:
    people = People(tmp_path, Passwords(CHEAP))
    people.add("alice", "viewer", None, None)
    people.add("bob", "admin", None, None)
    tokens = [people.new_token("alice"), people.new_token("alice"), people.new_token("bob")]
    assert [getattr(people.by_token(token), "name", "") for token in tokens] == ["alice", "alice", "bob"]
    for forged in ("", "x", hashlib.sha256(tokens[0].encode()).hexdigest(), "\udcff"):
        assert people.by_token(forged) is None
    people.revoke_tokens("alice")
    assert [getattr(people.by_token(token), "name", "") for token in tokens] == ["", "", "bob"]
    with pytest.raises(UnknownUserError):
        people.revoke_tokens("nobody")


def test_a_disk_that_takes_nothing_is_named_and_changes_nothing(tmp_path: Path) -> None:
    people = People(tmp_path, Passwords(CHEAP))
    people.add("alice", "viewer", "correct horse", None)
    (tmp_path / ".people.json.new").mkdir()  # the next write fails
    with pytest.raises(SyncsrvError, match="cannot write the users"):
        people.set_password("alice", "battery staple")
    dearer = People(tmp_path, Passwords(Cost(2, 64, 1)))
    found = dearer.check("alice", "correct horse")
    assert found is not None, "a hash that cannot be renewed is good all the same"
    assert found.former_stamp == ""
