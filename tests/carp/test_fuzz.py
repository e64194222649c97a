"""Many packets of all kinds through judge(): nothing comes out but a verdict, and each is counted once."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from syncsrv.carp.auth import digest
from syncsrv.carp.packet import Drop, checksum
from syncsrv.carp.receive import SENT_KEPT, SPEAKERS_KEPT, Accepted, Address, Frame, judge
from tests.carp.adverts import CLOUD, FW1, FW2, FW2_V6, LAN, OLD, STRANGER, Device, packet, vip_set

SEED = int(os.environ["SYNCSRV_TEST_SEED"])
MILLION = 1_000_000

SETS = {0: LAN, 1: OLD}


def refit(data: bytearray) -> None:
    data[6:8] = b"\0\0"
    data[6:8] = checksum(bytes(data)).to_bytes(2, "big")


class Packets:
    """Valid packets of ours and of others, whole, changed, cut and lengthened, and bytes that never were one."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        sets = (LAN, OLD, CLOUD, vip_set("192.0.2.99"), vip_set(vhid=9), vip_set(vhid=255, password=""))
        self._valid = [packet(vips, counter) for vips in sets for counter in range(300)]
        self._sources: list[Address] = [FW1, FW2, FW2, FW2_V6, STRANGER, STRANGER]

    def __iter__(self) -> Iterator[Frame]:
        dice = self._dice
        kinds = (self._whole, self._changed, self._changed_fittingly, self._cut, self._longer, self._random)
        while True:
            ttl = dice.choice((255, 255, 255, 254, None))
            forged = ip_address(dice.getrandbits(dice.choice((32, 128))))
            yield Frame(dice.choice(kinds)(), dice.choice((*self._sources, forged)), ttl)

    def _whole(self) -> bytes:
        return self._dice.choice(self._valid)

    def _changed(self) -> bytes:
        data = bytearray(self._whole())
        for _ in range(self._dice.randint(1, 3)):
            data[self._dice.randrange(len(data))] = self._dice.randrange(256)
        return bytes(data)

    def _changed_fittingly(self) -> bytes:
        """One byte is another, preferably of the header, and the checksum agrees."""
        data = bytearray(self._whole())
        data[self._dice.choice((0, 0, 1, 2, 3, 4, 5, self._dice.randrange(36)))] = self._dice.randrange(256)
        if self._dice.random() < 0.1:
            data[0] = 0x20 | self._dice.randrange(16)
        refit(data)
        return bytes(data)

    def _cut(self) -> bytes:
        return self._whole()[: self._dice.randrange(36)]

    def _longer(self) -> bytes:
        return self._whole() + self._dice.randbytes(self._dice.randint(1, 1500))

    def _random(self) -> bytes:
        return self._dice.randbytes(self._dice.choice((36, 36, self._dice.randrange(2000))))


@pytest.mark.parametrize("count", [50_000, pytest.param(MILLION, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_whatever_comes_is_judged_and_counted_once(count: int) -> None:
    print(f"seed {SEED}")
    device = Device()
    frames = iter(Packets(random.Random(SEED)))
    seen: Counter[Drop | None] = Counter()
    for number in range(count):
        if number % 100 == 0:
            device.memory.note_sent(1, number // 100 % 300)
        frame = next(frames)
        outcome = judge(frame, context=device.context, memory=device.memory, now=number / 100)
        seen[None if isinstance(outcome, Accepted) else outcome] += 1
        if isinstance(outcome, Accepted):
            check_genuine(frame, outcome)

    counters = device.memory.counters
    assert counters.received == count == counters.accepted + sum(counters.drops.values())
    assert seen.pop(None) == counters.accepted
    assert seen == counters.drops
    assert set(seen) == set(Drop), "each verdict came up"
    check_bounded(device)


def check_genuine(frame: Frame, outcome: Accepted) -> None:
    """What was accepted is what somebody with the password sent, byte for byte where that is protected."""
    advert = outcome.advert
    vips = CLOUD if advert.vhid == CLOUD.vhid else SETS[outcome.which]
    assert digest(vips, advert.counter) == advert.digest == frame.data[16:]
    assert (advert.vhid, len(frame.data)) == (vips.vhid, 36)
    assert frame.source == outcome.source != FW1
    assert frame.ttl == 255 or (vips is CLOUD and frame.source == FW2)
    assert (outcome.own_peer == "fw2") == (frame.source in {FW2, FW2_V6})


def check_bounded(device: Device) -> None:
    memory = device.memory
    for speakers in (memory.vrrp, memory.foreign, memory.refused):
        assert len(speakers.since(0.0)) <= SPEAKERS_KEPT
    assert len(memory.foreign.since(0.0)) == SPEAKERS_KEPT, "many more were forged"
    assert set(memory._by_vhid) == set(device.context.groups)
    assert len(memory._sent[1]) == SENT_KEPT
    assert len(memory._last) <= len(device.context.groups) * len(device.context.peers)
