from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syncsrv.carp.counters import Counters
from syncsrv.carp.packet import Drop
from tests.carp.adverts import CLOUD, FW2, LAN, STRANGER, Device, advert, packet, vip_set


def test_every_reason_is_there_before_it_happened() -> None:
    before = Counters().as_dict()
    assert before == dict.fromkeys(["received", "accepted", "sent", "send_errors", *Drop], 0)
    assert all(type(name) is str for name in before), "plain text, for JSON and labels"


def test_carpstats_names_are_kept() -> None:
    assert {"badttl", "badsum", "badver", "badlen", "badauth", "badvhid"} <= set(Counters().as_dict())


def test_received_is_what_became_of_them() -> None:
    counters = Counters(accepted=3, sent=9, send_errors=1)
    counters.drops[Drop.BADAUTH] += 2
    counters.drops[Drop.OWN] += 1
    assert counters.received == 6
    shown = counters.as_dict()
    assert (shown["received"], shown["accepted"], shown["badauth"], shown["own"]) == (6, 3, 2, 1)
    assert (shown["sent"], shown["send_errors"]) == (9, 1)


def test_two_devices_do_not_share_a_count() -> None:
    one, other = Counters(), Counters()
    one.drops[Drop.OWN] += 1
    assert other.received == 0


packets = st.sampled_from(
    [
        packet(LAN),
        packet(LAN, 8),
        packet(CLOUD),
        packet(vip_set("192.0.2.9")),
        packet(vip_set(vhid=9)),
        b"",
        b"\x31" * 20,
    ]
)


@given(st.lists(st.tuples(packets, st.sampled_from([255, 64, None])), max_size=20))
def test_each_packet_is_counted_once_on_the_device_and_at_most_once_on_a_vhid(heard: list[tuple[bytes, int]]) -> None:
    device = Device()
    for number, (data, ttl) in enumerate(heard, 1):
        device.hear(data, STRANGER, ttl)
        counters = device.memory.counters
        assert counters.received == number == counters.accepted + sum(counters.drops.values())
    ours = [device.memory.of(vhid) for vhid in device.context.groups]
    early = sum(device.memory.counters.drops[drop] for drop in (Drop.BADLEN, Drop.VRRP, Drop.BADVHID))
    assert sum(one.received for one in ours) + early == len(heard)


def test_a_vhid_counts_what_was_for_it() -> None:
    device = Device()
    device.hear(packet(LAN))
    device.hear(packet(LAN), ttl=1)
    device.hear(packet(CLOUD))
    device.hear(b"")
    assert advert().vhid == 1
    assert (device.memory.of(1).accepted, device.memory.of(1).drops[Drop.BADTTL], device.memory.of(1).received) == (
        1,
        1,
        2,
    )
    assert (device.memory.of(2).accepted, device.memory.of(2).drops[Drop.BADSOURCE], device.memory.of(2).received) == (
        0,
        1,
        1,
    )


def test_what_came_too_late_or_from_ourselves_was_for_its_vhid_too() -> None:
    device = Device()
    device.memory.note_sent(1, 5)
    for counter in (5, 9, 9):
        device.hear(packet(LAN, counter), FW2)
    of = device.memory.of(1)
    assert (of.accepted, of.drops[Drop.LOOPED], of.drops[Drop.REPLAY], of.received) == (1, 1, 1, 3)
