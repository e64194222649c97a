"""The network devices that the agent works on: packets in and out of each, and what is known of its state."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping

from syncsrv.carp.effects import Key
from syncsrv.carp.events import Heard, LinkChanged
from syncsrv.carp.receive import Accepted, Address, Context, Memory, judge
from syncsrv.failover.ports import Addresses, Interface, Wire
from syncsrv.failover.served import Served, context

log = logging.getLogger(__name__)

PACKETS_MOST = 512
"""Of one device in one turn of the loop: a flood may delay a timer by some milliseconds, not for ever."""

STRANGER_S = 60.0
"""How long a speaker that is none of our nodes is remembered."""

STRANGERS_MOST = 64
"""Of a device: a packet that was caught can be sent again from any number of forged sources, and memory is locked."""

STRANGER_SURE_S = 10.0
"""How long it must have been heard to be one: a peer's new address is told over SSH some seconds later."""


class Device:
    """One device.

    Args:
        name: the kernel's.
        addresses: which say whether it is there, has link, and which addresses of its own.
        open_wire: opens its sockets; OSError where it cannot.
        watch: told the descriptors that packets come in on, whenever they change.
    """

    def __init__(
        self,
        name: str,
        addresses: Addresses,
        open_wire: Callable[[str], Wire],
        watch: Callable[[Device, tuple[int, ...]], None],
    ) -> None:
        self.name = name
        self.memory = Memory()
        self.why = ""
        """Why it cannot be used; empty where it can."""
        self.sources: tuple[Address, ...] = ()
        self._addresses = addresses
        self._open_wire = open_wire
        self._watch = watch
        self._wire: Wire | None = None
        self._context = Context(frozenset(), {}, {})
        self._told = False
        self._strangers: dict[tuple[int, str], tuple[float, float]] = {}
        self._twins: dict[int, tuple[int, str]] = {}

    def configure(self, served: Mapping[Key, Served], peers: Mapping[str, tuple[str, ...]]) -> None:
        """Judge packets by these from now on."""
        for vhid in set(self._context.groups) - {key.vhid for key in served if key.device == self.name}:
            self.memory.forget(vhid)
        self._context = context(self.name, self.sources, served, peers)
        known = {source for sources in peers.values() for source in sources}
        self._strangers = {key: times for key, times in self._strangers.items() if key[1] not in known}

    def look(
        self, wandering: tuple[Interface, ...], served: Mapping[Key, Served], peers: Mapping[str, tuple[str, ...]]
    ) -> LinkChanged | None:
        """Take in what the kernel says of it now; the event where that is different, or was never told.

        Args:
            wandering: every virtual address: none of them is the device's own.
            served: as in ``configure``.
            peers: as in ``configure``.
        """
        why = self._addresses.link(self.name)
        named = frozenset(one for key, each in served.items() if key.device == self.name for one in each.unicast)
        sources = tuple(self._addresses.sources(self.name, wandering, named))
        deaf = not why and not (self._wire and self._wire.filenos())
        if self._told and not deaf and (why, sources) == (self.why, self.sources):
            return None
        changed = not self._told or (why, sources) != (self.why, self.sources)
        self.why, self.sources = why, sources
        self.configure(served, peers)
        self._reopen()
        if not changed:
            return None
        self._told = True
        log.info("%s: %s", self.name, why or f"has link, and {', '.join(map(str, sources)) or 'no address of its own'}")
        return LinkChanged(self.name, up=not why, has_source=bool(sources), why=why)

    def receive(self, now: float) -> Iterator[Heard]:
        """The adverts among the packets that wait, each judged and counted.

        A node of ours sends the same packet by IPv4 and then by IPv6; the second one says nothing new. It comes from a
        link-local address, which is another one when the device was made anew, and is no stranger's all the same.
        """
        if self._wire is None:
            return
        try:
            for number, frame in enumerate(self._wire.receive()):
                judged = judge(frame, context=self._context, memory=self.memory, now=now)
                if isinstance(judged, Accepted):
                    said, peer = self._twins.get(judged.advert.vhid, (None, ""))
                    if said == judged.advert.counter and judged.own_peer in (None, peer):
                        continue
                    key = Key(self.name, judged.advert.vhid)
                    yield Heard(key, judged.advert, judged.source, self._peer(judged, now))
                if number >= PACKETS_MOST:
                    return
        except OSError as error:  # the device went away: netlink says so, too
            log.info("cannot receive on %s: %s", self.name, (error.strerror or str(error)).lower())

    def send(self, vhid: int, counter: int, data: bytes, unicast: tuple[Address, ...], mac: bytes = b"") -> str:
        """Send one packet, of a MAC if not the device's own; empty, or why it could not be sent. Counted either way.

        The list is the same on every node, and each leaves out its own address. Where that is the only one,
        there is nobody to send to, and nothing wrong.
        """
        receivers = tuple(one for one in unicast if one not in self.sources)
        if unicast and not receivers:
            return ""
        self.memory.note_sent(vhid, counter)
        why = ""
        if self._wire is None:
            why = self.why or f"{self.name} is not open"
        else:
            try:
                self._wire.send(data, self.sources, receivers, mac)
            except OSError as error:
                why = (error.strerror or str(error)).lower()
        for counters in (self.memory.counters, self.memory.of(vhid)):
            counters.sent += not why
            counters.send_errors += bool(why)
        return why

    def strangers(self, now: float) -> frozenset[tuple[int, str]]:
        """(vhid, source) of those who sent valid adverts lately, for some time, and are none of our nodes."""
        self._strangers = {key: times for key, times in self._strangers.items() if times[1] > now - STRANGER_S}
        return frozenset(key for key, (first_at, at) in self._strangers.items() if at - first_at >= STRANGER_SURE_S)

    def _peer(self, judged: Accepted, now: float) -> str | None:
        """Which of our nodes it is; who is none is remembered."""
        vhid = judged.advert.vhid
        if judged.own_peer is not None:
            self._twins[vhid] = (judged.advert.counter, judged.own_peer)
        else:
            key = vhid, str(judged.source)
            known = self._strangers.pop(key, (now, now))
            if len(self._strangers) >= STRANGERS_MOST:
                del self._strangers[next(iter(self._strangers))]  # the longest silent
            self._strangers[key] = (known[0], now)
        return judged.own_peer

    def close(self) -> None:
        """Give its sockets back."""
        self._watch(self, ())
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _reopen(self) -> None:
        """Open the sockets, or have them join their groups again: a link that was gone may have lost them."""
        self._watch(self, ())  # their descriptors may be others afterwards
        try:
            if self._wire is None:
                self._wire = self._open_wire(self.name)
            else:
                self._wire.reopen()
        except OSError as error:
            log.warning("cannot open %s for CARP: %s", self.name, (error.strerror or str(error)).lower())
            return
        self._watch(self, tuple(self._wire.filenos()))
