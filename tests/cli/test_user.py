"""``user``: passwords come by standard input only, and what is told holds none."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncsrv.control.shapes_people import TokenReply, UserInfo, UsersReply
from tests.cli.toycore import Toy

USERS = UsersReply(
    (UserInfo("alice", "admin", ("SHA256:a",), True, 1, True), UserInfo("bob", "viewer", (), False, 0, False))
)


def test_the_table(toy: Toy) -> None:
    toy.will("user-list", USERS)
    assert toy.cli("user", "list").out.splitlines()[1].startswith("bob")
    assert "from the master" in toy.cli("user", "list").out
    assert [one["name"] for one in toy.cli("user", "list", "--json").json["users"]] == ["alice", "bob"]
    toy.will("user-list", UsersReply(()))
    assert toy.cli("user", "list").out == "No user.\n"


def test_a_password_is_read_from_standard_input_and_shown_nowhere(toy: Toy) -> None:
    toy.will("user-add", USERS)
    said = toy.cli("user", "add", "alice", "--role", "operator", "--password-stdin", stdin="correct horse\n")
    request = toy.request("user-add")
    assert (request.name, request.role, request.password, request.ssh_key) == (
        "alice",
        "operator",
        "correct horse",
        None,
    )
    assert "horse" not in said.out + said.err
    toy.will("user-passwd", USERS)
    toy.cli("user", "passwd", "alice", "--password-stdin", stdin="battery staple\n")
    assert toy.request("user-passwd").password == "battery staple"


def test_a_key_is_read_from_its_file(toy: Toy, tmp_path: Path) -> None:
    toy.will("user-add", USERS)
    (tmp_path / "id.pub").write_text("ssh-ed25519 AAAA alice@laptop\n")
    toy.cli("user", "add", "alice", "--role", "viewer", "--ssh-key", str(tmp_path / "id.pub"))
    assert toy.request("user-add").ssh_key == "ssh-ed25519 AAAA alice@laptop"
    missing = toy.cli("user", "add", "alice", "--role", "viewer", "--ssh-key", str(tmp_path / "none"))
    assert missing.status in (1, 2)
    assert "none" in missing.err
    assert "Traceback" not in missing.err


def test_a_token_is_shown_and_nothing_else(toy: Toy) -> None:
    toy.will("user-token", TokenReply("t0ken"))
    assert toy.cli("user", "token", "alice").out == "t0ken\n"
    assert toy.cli("user", "token", "alice", "--json").json == {"token": "t0ken"}


def test_revoking_tokens(toy: Toy) -> None:
    toy.will("user-revoke", USERS)
    assert toy.cli("user", "revoke", "alice").out == "No token of alice is good any more.\n"
    assert toy.request("user-revoke").name == "alice"


def test_removing(toy: Toy) -> None:
    toy.will("user-remove", USERS)
    assert toy.cli("user", "remove", "alice").status == 0
    assert toy.request("user-remove").name == "alice"


@pytest.mark.parametrize(
    "argv", [["user"], ["user", "add", "a"], ["user", "add", "a", "--role", "god"], ["user", "passwd", "a"]]
)
def test_what_makes_no_sense_asks_nobody(toy: Toy, argv: list[str]) -> None:
    assert toy.cli(*argv).status == 2
    assert toy.asked == []
