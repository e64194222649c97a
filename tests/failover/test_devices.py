"""One device: packets are judged, a node's two families are one voice, and strangers are those who stay."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_address

from syncsrv.carp.effects import Key
from syncsrv.carp.events import Heard, LinkChanged
from syncsrv.carp.packet import Advert, encode
from syncsrv.carp.receive import Frame
from syncsrv.failover.devices import STRANGER_S, STRANGER_SURE_S, STRANGERS_MOST, Device
from syncsrv.failover.ports import Address, Interface
from syncsrv.failover.served import served
from tests.failover.kit import SETTINGS

SERVED = served(SETTINGS)
PEERS = SETTINGS.own_peers
KEY = Key("eth0", 1)


class Kernel:
    """A device that is what the test makes of it (ports.Addresses, as far as a Device asks)."""

    def __init__(self) -> None:
        self.why = ""
        self.own: tuple[Address, ...] = (ip_address("192.0.2.1"), ip_address("fe80::1"))

    def filenos(self) -> Sequence[int]:
        return ()

    def changed(self) -> bool:
        return False

    def link(self, device: str) -> str:
        return self.why

    def sources(self, device: str, vips: Iterable[Interface], named: Collection[Address] = ()) -> Sequence[Address]:
        return self.own

    def held(self, device: str) -> frozenset[Interface]:
        return frozenset()

    def hold(self, device: str, addresses: Iterable[Interface], lifetime_s: float) -> None:
        raise OSError("not for this test")

    def release(self, device: str, addresses: Iterable[Interface]) -> None:
        raise OSError("not for this test")

    def sweep(
        self, device: str, keep: Iterable[Interface], elsewhere: Iterable[Interface] = ()
    ) -> frozenset[Interface]:
        return frozenset()


class Cable:
    """Packets as the test puts them in (ports.Wire)."""

    def __init__(self) -> None:
        self.waiting: list[Frame] = []
        self.sent: list[bytes] = []
        self.refuses = ""
        self.opened = 1

    def filenos(self) -> Sequence[int]:
        return (1000 + self.opened,)

    def send(self, data: bytes, sources: Sequence[Address], unicast: Sequence[Address], mac: bytes = b"") -> None:
        if self.refuses:
            raise OSError(1, self.refuses)
        self.sent.append(data)

    def receive(self) -> Iterable[Frame]:
        found, self.waiting = self.waiting, []
        return found

    def reopen(self) -> None:
        self.opened += 1

    def close(self) -> None:
        self.opened = 0


class Bench:
    """A device with its kernel and its cable."""

    def __init__(self) -> None:
        self.kernel = Kernel()
        self.cable = Cable()
        self.watched: list[tuple[int, ...]] = []
        self.device = Device("eth0", self.kernel, lambda _: self.cable, lambda _, handles: self.watched.append(handles))
        self.first = self.look()

    def look(self) -> LinkChanged | None:
        return self.device.look((), SERVED, PEERS)

    def hear(self, source: str, counter: int, now: float = 100.0, signed: str = "one") -> list[Heard]:
        settings = replace(SETTINGS, vips=(replace(SETTINGS.vips[0], password=signed),))
        digest = served(settings)[KEY].keyring.sign(counter)
        self.cable.waiting.append(Frame(encode(Advert(1, 20, 1, 0, counter, digest)), ip_address(source), 255))
        return list(self.device.receive(now))


def test_both_families_of_a_peer_are_one_voice_from_whichever_link_local_address() -> None:
    bench = Bench()
    (heard,) = bench.hear("192.0.2.2", 5)
    assert (heard.key, heard.own_peer, heard.advert.advskew) == (KEY, "fw2", 20)
    assert bench.hear("fe80::2", 5) == []
    assert bench.device.memory.counters.accepted == 2
    for second in range(30):  # the same peer on a device that was made anew
        bench.hear("192.0.2.2", 100 + second, 100.0 + second)
        assert bench.hear("fe80::3", 100 + second, 100.0 + second) == []
    assert bench.device.strangers(130.0) == frozenset()
    (alone,) = bench.hear("fe80::2", 200, 131.0)  # only one family comes through
    assert alone.own_peer is None


def test_a_stranger_is_one_who_stays_and_is_forgotten_when_he_went() -> None:
    bench = Bench()
    (heard,) = bench.hear("192.0.2.9", 1, 100.0)
    assert heard.own_peer is None
    bench.hear("192.0.2.9", 2, 100.0 + STRANGER_SURE_S - 1)
    assert bench.device.strangers(110.0) == frozenset()
    bench.hear("192.0.2.9", 3, 100.0 + STRANGER_SURE_S)
    assert bench.device.strangers(110.0) == {(1, "192.0.2.9")}
    assert bench.device.strangers(111.0 + STRANGER_S) == frozenset()


def test_forged_sources_without_number_are_not_all_remembered() -> None:
    bench = Bench()
    for second in range(int(STRANGER_SURE_S) + 1):
        for number in range(STRANGERS_MOST):
            bench.hear(f"10.0.{second}.{number}", 1, 100.0 + second)
            bench.hear("192.0.2.9", 1, 100.0 + second)
    assert bench.device.strangers(100.0 + STRANGER_SURE_S) == {(1, "192.0.2.9")}, "who stays is not pushed out"
    for at in (300.0, 300.0 + STRANGER_SURE_S):
        for number in range(2 * STRANGERS_MOST):
            bench.hear(f"10.1.0.{number}", 1, at)
    assert len(bench.device.strangers(300.0 + STRANGER_SURE_S)) <= STRANGERS_MOST


def test_a_stranger_whose_address_is_told_is_none_any_more() -> None:
    bench = Bench()
    for at in (100.0, 120.0):
        bench.hear("192.0.2.9", int(at), at)
    assert bench.device.strangers(120.0)
    bench.device.configure(SERVED, {"fw3": ("192.0.2.9",)})
    assert not bench.device.strangers(120.0)


def test_who_has_another_password_is_not_heard_and_remembered() -> None:
    bench = Bench()
    assert bench.hear("192.0.2.9", 1, signed="two") == []
    assert bench.device.memory.refused.since(0.0)
    assert bench.device.strangers(200.0) == frozenset()


def test_what_is_sent_is_counted_and_not_believed_when_it_comes_back() -> None:
    bench = Bench()
    signed = SERVED[KEY].keyring.sign(9)
    data = encode(Advert(1, 0, 1, 0, 9, signed))
    assert bench.device.send(1, 9, data, ()) == ""
    assert bench.cable.sent == [data]
    assert bench.hear("192.0.2.77", 9) == []
    bench.cable.refuses = "Operation not permitted"
    assert bench.device.send(1, 10, data, ()) == "operation not permitted"
    counters = bench.device.memory.of(1)
    assert (counters.sent, counters.send_errors, counters.as_dict()["looped"]) == (1, 1, 1)


def test_each_change_is_told_once_and_the_sockets_are_renewed_with_it() -> None:
    bench = Bench()
    assert bench.first is not None
    assert (bench.first.up, bench.first.has_source) == (True, True)
    assert bench.look() is None
    bench.kernel.why = "eth0 has no link"
    lost = bench.look()
    assert lost is not None
    assert (lost.up, lost.why) == (False, "eth0 has no link")
    bench.kernel.why, bench.kernel.own = "", ()
    back = bench.look()
    assert back is not None
    assert (back.up, back.has_source) == (True, False)
    assert bench.watched == [(), (1001,), (), (1002,), (), (1003,)]
    bench.device.close()
    assert bench.watched[-1] == ()
    assert bench.cable.opened == 0
