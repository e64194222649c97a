"""Which packet is believed: checks in one fixed order, and for each one a reason of its own to drop the packet.

The order (it is that of ``Drop``), and why it is this one:

    own              what we say ourselves must never count as a peer, whatever state it comes back in. FreeBSD drops
                     it for vhid 0 only; any other echo compares as equal there and takes the MASTER down
    vrrp, badlen,    the first bytes say how to read the others. VRRP stands before the length, as its packets have
    badver, badtype  others, and before the checksum, which version 3 makes differently
    badsum           from here on the fields are what the sender wrote
    badvhid          the network may carry other groups; nothing below can be said without the vhid's own settings
    badttl           a multicast packet with less than 255 came through a router, where no neighbour is
    badsource        a unicast packet may; so its sender must be one that is configured (FreeBSD: ``carp_input_c``
                     does not look at the TTL for those either)
    badauth          the one check that costs: after all that any stranger could fail
    looped           only now is it certain that the counter is one of this group: who has not the password cannot
                     make a packet count as looped
    replay           likewise; only what is genuine may move the memory that this check is made with

The BSDs and ucarp check the same, in similar orders, and no replay: their counters jump. FreeBSD and ucarp send random
ones until they have heard somebody and continue the highest heard then; OpenBSD sends one number for ever. So a
replay is looked for only where the sender is one of our own nodes, whose counters follow the clock. It is also
only one while the node is being heard: after the time in which a BACKUP would have taken over, a node that came back
with a clock set back is to be listened to. What was captured from a foreign node, or of ours before a longer silence,
can be sent again by whoever is on the segment; CARP has nothing against it.

The family that an advert comes over does not matter: its digest covers the addresses of both. FreeBSD listens only on
families that the vhid has addresses of, and so drops, harmlessly, what our nodes send over the other one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from syncsrv.carp.auth import Keyring
from syncsrv.carp.counters import Counters
from syncsrv.carp.packet import TTL, Advert, BadPacketError, Drop, decode

__all__ = ["Accepted", "Address", "Context", "Drop", "Frame", "Group", "Memory", "Speaker", "Speakers", "judge"]

Address = IPv4Address | IPv6Address

SENT_KEPT: Final = 64
"""Counters of ours per vhid that are known again: a second's worth at the shortest intervals in use."""
SPEAKERS_KEPT: Final = 64
"""Strangers that are told apart; sources can be forged, and memory is locked."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A packet as it came in.

    Attributes:
        data: what follows the IP header.
        source: the sender's address.
        ttl: TTL or hop limit; None where the kernel did not say, which is as bad as a wrong one.
    """

    data: bytes
    source: Address
    ttl: int | None


@dataclass(frozen=True, slots=True)
class Group:
    """What must be known of one vhid to judge its adverts.

    Attributes:
        keyring: the digests that are accepted.
        patience_s: the master-down time: how long ago an own peer's last advert may be for an older counter to be a
            replay.
        unicast: the only senders that are listened to, with any TTL; empty for multicast.
    """

    keyring: Keyring
    patience_s: float
    unicast: frozenset[Address] = frozenset()


@dataclass(frozen=True, slots=True)
class Context:
    """What one device is configured with; made anew when that changes.

    Attributes:
        own_sources: every address of this device, link-local ones without an interface.
        groups: by vhid.
        peers: our own nodes' names by their source addresses, from configuration known over SSH.
    """

    own_sources: frozenset[Address]
    groups: Mapping[int, Group]
    peers: Mapping[Address, str]


@dataclass(frozen=True, slots=True)
class Accepted:
    """An advert that is believed.

    Attributes:
        advert: what it says.
        source: who says so.
        own_peer: the node's name where it is one of ours.
        which: the set of addresses and password it was made with; 0: the one that we send with, else accept[which - 1].
    """

    advert: Advert
    source: Address
    own_peer: str | None
    which: int


@dataclass(slots=True)
class Speaker:
    """Somebody whose packets are dropped; times are monotonic seconds."""

    first_at: float
    last_at: float
    count: int = 1


class Speakers:
    """Who was heard and not believed, by vhid and source; the longest silent is forgotten where there are too many."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, Address], Speaker] = {}

    def note(self, vhid: int, source: Address, now: float) -> None:
        """One more packet of it."""
        known = self._known.pop((vhid, source), None)
        if known is None:
            known = Speaker(now, now)
            if len(self._known) >= SPEAKERS_KEPT:
                del self._known[next(iter(self._known))]
        else:
            known.last_at = now
            known.count += 1
        self._known[vhid, source] = known

    def forget(self, vhid: int, source: Address) -> None:
        """It is believed now."""
        self._known.pop((vhid, source), None)

    def forget_vhid(self, vhid: int) -> None:
        """Nothing is to be said any more of this vhid."""
        self._known = {key: speaker for key, speaker in self._known.items() if key[0] != vhid}

    def since(self, at: float) -> dict[tuple[int, Address], Speaker]:
        """Those heard at that time or later, by vhid and source; the last heard stands last."""
        return {key: speaker for key, speaker in self._known.items() if speaker.last_at >= at}


@dataclass(slots=True)
class Memory:
    """What one device remembers of what it sent and heard. judge() writes it, and the sender by ``note_sent``.

    Attributes:
        counters: of all packets on the device.
        vrrp: routers that speak VRRP here, by VRID; one with the number of our vhid has the same MAC.
        foreign: who speaks CARP of vhids that are not ours.
        refused: whose adverts of our vhids have a wrong digest, until one has a right one.
    """

    counters: Counters = field(default_factory=Counters)
    vrrp: Speakers = field(default_factory=Speakers)
    foreign: Speakers = field(default_factory=Speakers)
    refused: Speakers = field(default_factory=Speakers)
    _by_vhid: dict[int, Counters] = field(default_factory=dict)
    _sent: dict[int, deque[int]] = field(default_factory=dict)
    _last: dict[tuple[int, Address], tuple[int, float]] = field(default_factory=dict)

    def of(self, vhid: int) -> Counters:
        """Counters of one vhid: the packets that were far enough intact to be of it, and a configured one."""
        return self._by_vhid.setdefault(vhid, Counters())

    def note_sent(self, vhid: int, counter: int) -> None:
        """An advert with this counter goes out now; to be said before it can come back."""
        self._sent.setdefault(vhid, deque(maxlen=SENT_KEPT)).append(counter)

    def forget(self, vhid: int) -> None:
        """The vhid is no longer configured on this device."""
        self._by_vhid.pop(vhid, None)
        self._sent.pop(vhid, None)
        self._last = {key: last for key, last in self._last.items() if key[0] != vhid}
        self.refused.forget_vhid(vhid)

    def is_ours(self, advert: Advert) -> bool:
        """We sent this one ourselves, lately."""
        return advert.counter in self._sent.get(advert.vhid, ())

    def is_older(self, advert: Advert, source: Address, since: float) -> bool:
        """This source sent as high a counter before, and that was heard at ``since`` or later."""
        last = self._last.get((advert.vhid, source))
        return last is not None and advert.counter <= last[0] and last[1] >= since

    def note_heard(self, advert: Advert, source: Address, now: float) -> None:
        """An own peer's advert is accepted."""
        self._last[advert.vhid, source] = (advert.counter, now)


def judge(frame: Frame, *, context: Context, memory: Memory, now: float) -> Accepted | Drop:
    """Decide about one packet, and count it.

    Never raises, whatever came in.

    Args:
        frame: the packet.
        context: of the device that it came in on.
        memory: of the same device.
        now: monotonic seconds.
    """
    source = _plain(frame.source)
    if source in context.own_sources:
        return _dropped(Drop.OWN, memory.counters)
    try:
        advert = decode(frame.data)
    except BadPacketError as error:
        if error.drop is Drop.VRRP:
            memory.vrrp.note(frame.data[1], source, now)
        return _dropped(error.drop, memory.counters)
    group = context.groups.get(advert.vhid)
    if group is None:
        memory.foreign.note(advert.vhid, source, now)
        return _dropped(Drop.BADVHID, memory.counters)
    which = _authentic(advert, source, frame.ttl, group, memory, now)
    if isinstance(which, Drop):
        return _dropped(which, memory.counters, memory.of(advert.vhid))
    accepted = Accepted(advert, source, context.peers.get(source), which)
    stale = _stale(accepted, group, memory, now)
    if stale is not None:
        return _dropped(stale, memory.counters, memory.of(advert.vhid))
    memory.counters.accepted += 1
    memory.of(advert.vhid).accepted += 1
    return accepted


def _authentic(
    advert: Advert, source: Address, ttl: int | None, group: Group, memory: Memory, now: float
) -> int | Drop:
    """Which set of the keyring the advert was made with, or why it is not believed."""
    if group.unicast:
        if source not in group.unicast:
            return Drop.BADSOURCE
    elif ttl != TTL:
        return Drop.BADTTL
    which = group.keyring.verify(advert)
    if which is None:
        memory.refused.note(advert.vhid, source, now)
        return Drop.BADAUTH
    memory.refused.forget(advert.vhid, source)
    return which


def _stale(genuine: Accepted, group: Group, memory: Memory, now: float) -> Drop | None:
    """Why a genuine advert is not of this moment: we sent it, or an own peer sent it earlier."""
    if memory.is_ours(genuine.advert):
        return Drop.LOOPED
    if genuine.own_peer is not None:
        if memory.is_older(genuine.advert, genuine.source, now - group.patience_s):
            return Drop.REPLAY
        memory.note_heard(genuine.advert, genuine.source, now)
    return None


def _dropped(drop: Drop, *counters: Counters) -> Drop:
    for each in counters:
        each.drops[drop] += 1
    return drop


def _plain(source: Address) -> Address:
    """Without the interface that a link-local source came in on: it is the same neighbour."""
    return IPv6Address(int(source)) if isinstance(source, IPv6Address) and source.scope_id else source
