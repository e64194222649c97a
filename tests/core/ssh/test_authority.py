from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.control.verbs import Door
from syncsrv.core.ssh.authority import (
    MAX_SESSIONS,
    MAX_TICKETS,
    SESSION_S,
    Authority,
    Keys,
    NotAdmittedError,
    NotSignedError,
    PersonKey,
    Pin,
)
from syncsrv.core.ssh.usedlogins import UsedLogins
from syncsrv.core.ssh.wire import MalformedError, parse_signature, parse_userauth, string
from syncsrv.store.signing import Signer, generate_key, verify_raw

H = bytes(range(32))
OTHER_H = bytes(range(1, 33))


@dataclass
class HandClock:
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def utc(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC)


@dataclass
class World:
    """This node's authority, with a peer and a person that have real keys."""

    node: Signer
    peer: Signer
    alice: Signer
    keys: Keys
    used: UsedLogins = field(default_factory=lambda: UsedLogins(None))
    clock: HandClock = field(default_factory=HandClock)

    def authority(self) -> Authority:
        return Authority(self.node, lambda: self.keys, self.used, self.clock)


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory) -> list[Signer]:
    directory = tmp_path_factory.mktemp("keys")
    for name in ("node", "peer", "alice"):
        generate_key(directory / name)
    return [Signer.load(directory / name) for name in ("node", "peer", "alice")]


@pytest.fixture
def world(signers: list[Signer]) -> World:
    node, peer, alice = signers
    keys = Keys(
        {"fw2": Pin("fw2", peer.public_blob, "operator")},
        {alice.public_blob: PersonKey("alice", alice.public_blob, "admin")},
    )
    return World(node, peer, alice, keys)


def login_blob(session_id: bytes, key: bytes, user: str = "syncsrv") -> bytes:
    return (
        string(session_id)
        + b"\x32"
        + string(user.encode())
        + string(b"ssh-connection")
        + string(b"publickey")
        + b"\x01"
        + string(b"ssh-ed25519")
        + string(key)
    )


def wrapped(raw: bytes) -> bytes:
    return string(b"ssh-ed25519") + string(raw)


def login(signer: Signer, session_id: bytes, user: str = "syncsrv") -> tuple[bytes, bytes]:
    blob = login_blob(session_id, signer.public_blob, user)
    return blob, wrapped(signer.sign_raw(blob))


def test_a_peer_that_signs_a_session_of_ours_is_admitted_as_that_peer(world: World) -> None:
    authority = world.authority()
    assert verify_raw(world.node.public_blob, authority.sign_kex(H), H)
    ticket, principal = authority.verify_client(*login(world.peer, H))
    assert (principal.caller.door, principal.caller.node, principal.caller.power) == (Door.PEER, "fw2", "operator")
    assert authority.redeem(ticket) == principal


def test_no_signature_over_a_file_comes_out_of_a_key_exchange(world: World) -> None:
    """With a namespace of four letters and SHA-256 what SSHSIG signs has 64 bytes, as a hash may have."""
    blob = b"SSHSIG" + string(b"file") + string(b"") + string(b"sha256") + string(bytes(32))
    assert len(blob) == 64
    with pytest.raises(NotSignedError, match="signature over a file"):
        world.authority().sign_kex(blob)


def test_a_person_is_admitted_under_any_user_name_with_the_role_of_the_list(world: World) -> None:
    authority = world.authority()
    authority.sign_kex(H)
    _, principal = authority.verify_client(*login(world.alice, H, user="whoever"))
    assert (principal.caller.door, principal.caller.person, principal.caller.power) == (Door.PERSON, "alice", "admin")


def refused(what: Callable[[], object]) -> str:
    with pytest.raises(NotAdmittedError) as caught:
        what()
    return caught.value.message


def test_a_session_that_core_did_not_sign_is_refused(world: World) -> None:
    authority = world.authority()
    authority.sign_kex(OTHER_H)
    assert "not begun by this node" in refused(lambda: authority.verify_client(*login(world.peer, H)))


def test_a_session_of_another_door_is_refused(world: World) -> None:
    world.authority().sign_kex(H)
    assert "not begun by this node" in refused(lambda: world.authority().verify_client(*login(world.peer, H)))


def test_a_login_works_once(world: World) -> None:
    authority = world.authority()
    authority.sign_kex(H)
    authority.verify_client(*login(world.peer, H))
    assert "not begun" in refused(lambda: authority.verify_client(*login(world.peer, H)))


def test_a_recorded_login_does_not_work_again_although_the_door_has_its_hash_signed_again(
    world: World, tmp_path: Path
) -> None:
    world.used = UsedLogins(tmp_path / "used")
    recorded = login(world.peer, H)
    authority = world.authority()
    authority.sign_kex(H)
    authority.verify_client(*recorded)
    authority.sign_kex(H)
    assert "used before" in refused(lambda: authority.verify_client(*recorded))
    after_door_restarted = world.authority()
    after_door_restarted.sign_kex(H)
    assert "used before" in refused(lambda: after_door_restarted.verify_client(*recorded))
    world.used.close()
    world.used = UsedLogins(tmp_path / "used")
    after_core_restarted = world.authority()
    after_core_restarted.sign_kex(H)
    assert "used before" in refused(lambda: after_core_restarted.verify_client(*recorded))
    world.used.close()


def test_a_session_is_good_for_a_minute(world: World) -> None:
    authority = world.authority()
    authority.sign_kex(H)
    world.clock.now += SESSION_S
    assert "not begun" in refused(lambda: authority.verify_client(*login(world.peer, H)))


def test_a_key_that_nobody_listed_is_refused_and_the_session_stays_good_for_the_next_key(
    world: World, tmp_path: Path
) -> None:
    generate_key(tmp_path / "stranger")
    stranger = Signer.load(tmp_path / "stranger")
    authority = world.authority()
    authority.sign_kex(H)
    assert not authority.knows_key(stranger.public_blob)
    assert "not listed" in refused(lambda: authority.verify_client(*login(stranger, H)))
    assert authority.knows_key(world.peer.public_blob)
    authority.verify_client(*login(world.peer, H))


def test_our_own_key_is_nobodys_even_when_somebody_pins_it(world: World) -> None:
    world.keys = Keys(
        {"me": Pin("me", world.node.public_blob, "admin")},
        {world.node.public_blob: PersonKey("me", world.node.public_blob, "admin")},
    )
    authority = world.authority()
    authority.sign_kex(H)
    assert "not listed" in refused(lambda: authority.verify_client(*login(world.node, H)))


def test_a_wrong_signature_is_refused_and_uses_the_session_up(world: World) -> None:
    authority = world.authority()
    authority.sign_kex(H)
    blob, _ = login(world.peer, H)
    _, theirs = login(world.alice, H)
    assert "signature is wrong" in refused(lambda: authority.verify_client(blob, theirs))
    assert "not begun" in refused(lambda: authority.verify_client(*login(world.peer, H)))


def test_a_login_that_a_peer_signed_for_another_host_is_refused(world: World, tmp_path: Path) -> None:
    """An enemy that the peer dials cannot use that login here: the session id holds the enemy's host key."""
    authority = world.authority()
    authority.sign_kex(H)
    blob, signature = login(world.peer, OTHER_H)
    moved = login_blob(H, world.peer.public_blob)
    assert "not begun" in refused(lambda: authority.verify_client(blob, signature))
    assert "signature is wrong" in refused(lambda: authority.verify_client(moved, signature))


@pytest.mark.parametrize(
    "change",
    [
        lambda blob: blob[:-1],
        lambda blob: blob + b"\0",
        lambda blob: b"",
        lambda blob: blob.replace(b"\x32", b"\x33", 1) if blob[36] == 0x32 else blob[:36] + b"\x33" + blob[37:],
        lambda blob: blob.replace(b"ssh-connection", b"ssh-sonnection"),
        lambda blob: blob.replace(b"publickey", b"publikkey"),
        lambda blob: blob.replace(b"\x01\0\0\0\x0bssh-ed25519", b"\0\0\0\0\x0bssh-ed25519"),
        lambda blob: blob.replace(b"\x01\0\0\0\x0bssh-ed25519", b"\x01\0\0\0\x0bssh-ed25518"),
        lambda blob: b"\0\0\0\x1f" + blob[5:],
        lambda blob: b"\xff\xff\xff\xff" + blob[4:],
    ],
)
def test_a_login_of_another_shape_is_refused_although_it_is_signed(
    world: World, change: Callable[[bytes], bytes]
) -> None:
    authority = world.authority()
    authority.sign_kex(H)
    blob = change(login_blob(H, world.peer.public_blob))
    signature = wrapped(world.peer.sign_raw(blob))
    assert "malformed" in refused(lambda: authority.verify_client(blob, signature))


@pytest.mark.parametrize(
    "signature", [b"", b"x" * 64, string(b"ssh-rsa") + string(b"x" * 64), wrapped(b"x" * 63), wrapped(b"x" * 64) + b"x"]
)
def test_a_signature_of_another_shape_is_refused(world: World, signature: bytes) -> None:
    authority = world.authority()
    authority.sign_kex(H)
    assert "malformed" in refused(lambda: authority.verify_client(login_blob(H, world.peer.public_blob), signature))


@given(st.binary(max_size=300))
def test_random_bytes_are_never_a_login_nor_a_signature(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_userauth(data)
    with pytest.raises(MalformedError):
        parse_signature(data)


@pytest.mark.parametrize("size", [0, 1, 31, 33, 63, 65, 100, 1000])
def test_only_hashes_are_signed(world: World, size: int) -> None:
    with pytest.raises(NotSignedError, match="no exchange hash"):
        world.authority().sign_kex(b"S" * size)


def test_a_tag_or_commit_is_never_signed(world: World) -> None:
    authority = world.authority()
    sshsig = b"SSHSIG" + string(b"git") + string(b"") + string(b"sha512") + string(bytes(64))
    with pytest.raises(NotSignedError):
        authority.sign_kex(sshsig)
    with pytest.raises(NotSignedError, match="a tag or a commit"):
        authority.sign_auth(sshsig)
    with pytest.raises(NotSignedError, match="a tag or a commit"):
        authority.sign_auth(b"SSHSIG" + login_blob(H, world.node.public_blob))


def test_a_login_is_signed_once_for_a_session_whose_host_was_verified(world: World) -> None:
    authority = world.authority()
    authority.verify_host("fw2", H, wrapped(world.peer.sign_raw(H)))
    blob = login_blob(H, world.node.public_blob)
    assert verify_raw(world.node.public_blob, authority.sign_auth(blob), blob)
    with pytest.raises(NotSignedError, match="no pinned peer was verified"):
        authority.sign_auth(blob)


@pytest.mark.parametrize(
    "session_id, user, foreign_key, why",
    [
        (OTHER_H, "syncsrv", False, "no pinned peer was verified"),
        (H, "root", False, "not a login of this node"),
        (H, "syncsrv", True, "not a login of this node"),
    ],
)
def test_no_other_login_is_signed(world: World, session_id: bytes, user: str, foreign_key: bool, why: str) -> None:
    authority = world.authority()
    authority.verify_host("fw2", H, wrapped(world.peer.sign_raw(H)))
    key = world.alice.public_blob if foreign_key else world.node.public_blob
    with pytest.raises(NotSignedError, match=why):
        authority.sign_auth(login_blob(session_id, key, user))


def test_a_session_that_we_served_is_no_session_that_we_dialled(world: World) -> None:
    """Else a door could have core log in at itself."""
    authority = world.authority()
    authority.sign_kex(H)
    with pytest.raises(NotSignedError, match="no pinned peer was verified"):
        authority.sign_auth(login_blob(H, world.node.public_blob))


@pytest.mark.parametrize(
    "peer, signed, why",
    [("fw3", H, "no peer is called fw3"), ("fw2", OTHER_H, "signature is wrong")],
)
def test_a_host_that_is_not_the_pinned_one_is_refused(world: World, peer: str, signed: bytes, why: str) -> None:
    authority = world.authority()
    signature = wrapped(world.peer.sign_raw(signed))
    assert why in refused(lambda: authority.verify_host(peer, H, signature))
    assert "malformed" in refused(lambda: authority.verify_host("fw2", H, b"x"))
    with pytest.raises(NotSignedError):
        authority.sign_auth(login_blob(H, world.node.public_blob))


def test_a_ticket_ends_with_its_connection(world: World) -> None:
    authority = world.authority()
    authority.sign_kex(H)
    ticket, _ = authority.verify_client(*login(world.peer, H))
    authority.close_ticket(ticket)
    assert "connection is over" in refused(lambda: authority.redeem(ticket))
    assert "connection is over" in refused(lambda: authority.redeem("made-up"))
    assert "connection is over" in refused(lambda: world.authority().redeem(ticket))


def test_a_ticket_of_a_key_that_was_revoked_is_worth_nothing(world: World) -> None:
    authority = world.authority()
    authority.sign_kex(H)
    ticket, _ = authority.verify_client(*login(world.peer, H))
    world.keys = Keys({}, world.keys.people)
    assert "no longer listed" in refused(lambda: authority.redeem(ticket))
    assert authority.tickets() == ()


def test_a_ticket_has_the_rights_of_now_and_never_turns_into_somebody_else(world: World) -> None:
    authority = world.authority()
    authority.sign_kex(H)
    ticket, _ = authority.verify_client(*login(world.peer, H))
    world.keys = Keys({"fw2": replace(world.keys.peers["fw2"], may="viewer")}, {})
    assert authority.redeem(ticket).caller.power == "viewer"
    world.keys = Keys({"fw9": Pin("fw9", world.peer.public_blob, "admin")}, {})
    assert "no longer listed" in refused(lambda: authority.redeem(ticket))


def test_memory_is_bounded(world: World) -> None:
    authority = world.authority()
    for number in range(MAX_SESSIONS + 1):
        authority.sign_kex(number.to_bytes(32, "big"))
    assert "not begun" in refused(lambda: authority.verify_client(*login(world.peer, bytes(32))))
    for number in range(1, MAX_TICKETS + 1):
        authority.verify_client(*login(world.peer, number.to_bytes(32, "big")))
    last = (MAX_TICKETS + 1).to_bytes(32, "big")
    assert "too many" in refused(lambda: authority.verify_client(*login(world.peer, last)))


def test_used_logins_survive_a_torn_write(tmp_path: Path) -> None:
    path = tmp_path / "used"
    first = UsedLogins(path)
    assert first.add(H)
    first.close()
    with path.open("ab") as file:
        file.write(b"torn")
    second = UsedLogins(path)
    assert not second.add(H)
    assert second.add(OTHER_H)
    second.close()
    third = UsedLogins(path)
    assert not third.add(OTHER_H)
    third.close()
    assert path.stat().st_mode & 0o777 == 0o600
