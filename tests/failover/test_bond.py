"""What the agent tells its guardian: its will when that changes, beats in between, and never waiting."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from syncsrv.failover import will
from syncsrv.failover.bond import BEATS, Bond
from syncsrv.failover.will import BEAT, BadWillError, Parting, Will

WILL = Will(
    1.5,
    {"eth0": ("192.0.2.10/24",)},
    (Parting("eth0", 1, ("192.0.2.10",), "secret", ("192.0.2.1",), ()),),
)


@pytest.fixture
def ends() -> Iterator[tuple[Bond, socket.socket]]:
    agents, guardians = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    guardians.setblocking(False)
    bond = Bond(agents.detach())
    yield bond, guardians
    bond.close()
    guardians.close()


def heard(guardians: socket.socket) -> list[bytes]:
    found: list[bytes] = []
    while True:
        try:
            data = guardians.recv(will.LARGEST)
        except BlockingIOError:
            return found
        found.append(data)


def test_a_will_is_said_when_it_changes_and_beats_in_between(ends: tuple[Bond, socket.socket]) -> None:
    bond, guardians = ends
    bond.leave(WILL)
    bond.leave(WILL)
    (said,) = heard(guardians)
    assert will.decode(said) == WILL
    assert bond.beat(100.0) == pytest.approx(100 + WILL.patience_s / BEATS)
    assert bond.beat(100.1) == pytest.approx(100 + WILL.patience_s / BEATS)
    assert heard(guardians) == [BEAT]
    bond.beat(100.4)
    assert heard(guardians) == [BEAT]


def test_a_new_will_that_is_less_patient_brings_the_next_beat_forward(ends: tuple[Bond, socket.socket]) -> None:
    bond, _ = ends
    bond.leave(Will(5.0))
    assert bond.beat(100.0) == pytest.approx(101.0)
    bond.leave(Will(0.5))
    assert bond.beat(100.01) == pytest.approx(100.11)


def test_a_guardian_that_is_stopped_hears_the_latest_will_when_it_goes_on(ends: tuple[Bond, socket.socket]) -> None:
    bond, guardians = ends
    for number in range(10_000):
        bond.leave(Will(1.0 + number))
    assert len(heard(guardians)) < 10_000
    bond.beat(100.0)
    (said,) = heard(guardians)
    assert will.decode(said) == Will(10_000.0)


def test_a_guardian_that_has_gone_is_noticed(ends: tuple[Bond, socket.socket]) -> None:
    bond, guardians = ends
    guardians.close()
    bond.leave(WILL)
    assert bond.gone


@pytest.mark.parametrize("data", [b"", b"{}", b'{"patience_s":1,"held":{},"partings":[],"more":1}'])
def test_what_is_no_will_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(BadWillError):
        will.decode(data)


def test_a_will_without_state_sync_is_one_that_guardians_before_it_know() -> None:
    assert "syncs" not in json.loads(will.encode(WILL))
    assert will.decode(will.encode(replace(WILL, syncs=True))) == replace(WILL, syncs=True)
