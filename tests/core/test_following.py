"""A master's people on its backup: signed for that backup, newer than the last, and never from a viewer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.config.model import Peer, Power
from syncsrv.control.shapes_people import PeopleReply, PersonRecord
from syncsrv.core.following import NotTakenError, believed, signed
from syncsrv.store.signing import Signer, generate_key

ALICE = (PersonRecord("alice", "operator", "hash", ()),)


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    generate_key(tmp_path / "key")
    return Signer.load(tmp_path / "key")


def take(reply: PeopleReply, signer: Signer, folder: Path, may: Power = Power.OPERATOR) -> tuple[PersonRecord, ...]:
    peer = Peer(address="192.0.2.1:8022", key=signer.public_line, may=may)
    return believed(reply, "fw1", peer, "fw2", folder / "serials")


def test_a_good_list_is_taken_once_and_a_newer_one_again(signer: Signer, tmp_path: Path) -> None:
    first = signed(ALICE, "fw1", "fw2", 10, signer)
    assert take(first, signer, tmp_path) == ALICE
    with pytest.raises(NotTakenError, match="older than the last"):
        take(first, signer, tmp_path)
    assert take(signed(ALICE, "fw1", "fw2", 11, signer), signer, tmp_path) == ALICE


def test_what_the_door_could_have_made_up_is_refused(signer: Signer, tmp_path: Path) -> None:
    good = signed(ALICE, "fw1", "fw2", 10, signer)
    eve = (PersonRecord("eve", "admin", "", ()),)
    generate_key(tmp_path / "other")
    other = Signer.load(tmp_path / "other")
    bad = {
        "its signature is not good": [replace(good, people=eve), replace(good, serial=99), replace(good, signature="")],
        "it is signed by another key": [signed(eve, "fw1", "fw2", 10, other)],
        "it was made by": [signed(ALICE, "fw1", "fw3", 10, signer), signed(ALICE, "fw9", "fw2", 10, signer)],
    }
    for why, replies in bad.items():
        for reply in replies:
            with pytest.raises(NotTakenError, match=why):
                take(reply, signer, tmp_path)
    assert take(good, signer, tmp_path) == ALICE, "nothing of it counted"


def test_a_peer_that_may_only_view_says_nobody_may_come_in(signer: Signer, tmp_path: Path) -> None:
    with pytest.raises(NotTakenError, match="view only"):
        take(signed(ALICE, "fw1", "fw2", 10, signer), signer, tmp_path, Power.VIEWER)


def test_damage_of_the_memory_is_no_obstacle(signer: Signer, tmp_path: Path) -> None:
    (tmp_path / "serials").write_text("{")
    assert take(signed(ALICE, "fw1", "fw2", 10, signer), signer, tmp_path) == ALICE
