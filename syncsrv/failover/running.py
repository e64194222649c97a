"""The agent at work: the loop around the state machine. It hears, decides, acts and tells, and never touches the disk.

What it is to do comes from two files at its start, and over carp.sock afterwards.
"""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from syncsrv.carp import node as machine
from syncsrv.carp.effects import Changed, Ended, Forget, Key, Note
from syncsrv.carp.events import Event, NewSettings, Ready, Shutdown, TableArrived, Tick, Told, Woke
from syncsrv.clock import Clock, booted_s
from syncsrv.failover.bond import Bond
from syncsrv.failover.counting import Counter
from syncsrv.failover.devices import Device
from syncsrv.failover.hands import Hands
from syncsrv.failover.intent import Intent
from syncsrv.failover.loop import Loop, Rank
from syncsrv.failover.messages import WATCH_S, Answer, Apply, Ask, Done, PeerServes, Refused, Report, TableCame
from syncsrv.failover.ports import Addresses, Announcer, Carriers, Wire
from syncsrv.failover.report import Self, report, standing
from syncsrv.failover.served import devices_of, intent_event, node_settings, refusal, served
from syncsrv.failover.serving import Server
from syncsrv.failover.settings import Settings

log = logging.getLogger(__name__)

REFRESH_S = 1.0
TELL_S = 0.1
"""Between two looks whether there is something to tell, where no state has changed."""

LATE_S = 0.02
"""A turn that begins so long after something was due is looked at by the state machine before all that waits."""


@dataclass(frozen=True, slots=True)
class World:
    """The system, by its ports."""

    addresses: Addresses
    announcer: Announcer
    open_wire: Callable[[str], Wire]
    carriers: Carriers


class Agent:
    """One node's failover, running.

    Args:
        this: who it is.
        settings: from the file.
        intent: from the file.
        world: the system.
        clock: monotonic.
        counter: of adverts.
        bond: to the guardian.
        jitter_s: 0..1/256 s, drawn once.
        troubles: what was wrong with the files, a sentence each.
    """

    def __init__(
        self,
        this: Self,
        settings: Settings,
        intent: Intent,
        world: World,
        clock: Clock,
        counter: Counter,
        bond: Bond,
        *,
        jitter_s: float,
        troubles: tuple[str, ...] = (),
    ) -> None:
        self._this = this
        self._settings = settings
        self._digest = settings.digest
        self._world = world
        self._clock = clock
        self._bond = bond
        self._troubles = troubles
        self._refused: dict[Key, str] = {}
        self._loop = Loop(self._woke, self._due)
        self._hands = Hands(world.addresses, world.announcer, counter, bond.leave, world.carriers)
        self._boot_offset_s = booted_s() - clock.monotonic()
        now = clock.monotonic()
        self._refresh_at = now
        self._tell_at = now
        self._told_at = self._looked_at = now
        self._told_seq = 0
        self._last: Report | None = None
        self._seq = 0
        hold_down_s = max(0.0, settings.hold_down_s - booted_s())
        self._refused = self._refusals(now)
        self._node = machine.start(
            node_settings(settings, self._refused),
            intent_event(intent),
            now,
            hold_until_at=now + hold_down_s,
            jitter_s=jitter_s,
        )
        self._server: Server | None = None
        self._watched: dict[str, tuple[int, ...]] = {}
        self._signals, self._wakeup = socket.socketpair()
        for handle in (self._signals, self._wakeup):
            handle.setblocking(False)

    def run(self) -> None:
        """Until it was told to end and all addresses are given away."""
        signal.set_wakeup_fd(self._wakeup.fileno())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        loop, world = self._loop, self._world
        loop.watch(self._signals.fileno(), Rank.SIGNAL, self._signalled)
        loop.watch(self._bond.fileno(), Rank.SIGNAL, self._guardian_gone)
        for handle in world.addresses.filenos():
            loop.watch(handle, Rank.LINK, self._kernel_reported)
        for handle in world.announcer.filenos():
            loop.watch(handle, Rank.ANSWER, self._answered)
        try:
            self._server = Server(Path(self._settings.run_dir), loop, self._answer)
        except OSError as error:  # nobody can ask then, and the addresses are served all the same
            log.error(
                "cannot serve carp.sock in %s: %s", self._settings.run_dir, (error.strerror or str(error)).lower()
            )
        self._configure()
        self._hands.sweep()
        try:
            loop.run()
        finally:
            signal.set_wakeup_fd(-1)
            self._close()

    # What happens.

    def _feed(self, event: Event) -> None:
        """One event to the state machine, and whatever follows from it."""
        waiting = [event]
        now = self._clock.monotonic()
        while waiting:
            before = self._node
            self._node, effects = machine.step(before, waiting.pop(0), now)
            if self._node is not before:
                self._tell_at = min(self._tell_at, max(now, self._looked_at + TELL_S))
            for effect in effects:
                result = self._hands.do(effect)
                self._breathe()
                if result is not None:
                    waiting.append(result)
                if isinstance(effect, Changed | Note):
                    self._tell_at = now
                if isinstance(effect, Forget):
                    self._close_unused()
                if isinstance(effect, Ended):
                    self._loop.end()

    def _breathe(self) -> None:
        """Between two pieces of work: hundreds of addresses take longer than a process may be silent, or not wait."""
        self._loop.breathe()
        self._bond.beat(self._clock.monotonic())

    def _woke(self) -> None:
        """Before anything that waits: what the kernel took from a MASTER that slept must not be put back."""
        now = self._clock.monotonic()
        offset_s = booted_s() - now
        slept_s = offset_s - self._boot_offset_s
        due_at = machine.next_at(self._node)
        if slept_s > LATE_S or (due_at is not None and now - due_at > LATE_S):
            self._boot_offset_s = offset_s
            self._feed(Woke(max(0.0, slept_s)))

    def _due(self) -> float | None:
        """All that is due; when something is again."""
        now = self._clock.monotonic()
        due_at = machine.next_at(self._node)
        if due_at is not None and due_at <= now:
            self._feed(Tick())
        if now >= self._refresh_at:
            self._refresh_at = now + REFRESH_S
            self._woke()
            self._look()
            for result in self._hands.refresh(self._breathe):
                self._feed(result)
            self._judge_refusals(now)
        if now >= self._tell_at:
            self._tell(now)
        self._kernel_reported(0)  # whoever asked for addresses above took reports in that were not looked at yet
        beat_at = self._bond.beat(now)
        if self._bond.gone:
            self._guardian_gone(0)
        due_at = machine.next_at(self._node)
        times = [self._refresh_at, self._tell_at, beat_at]
        return min(times if due_at is None else [*times, due_at])

    def _signalled(self, _: int) -> None:
        told = self._signals.recv(64)
        if signal.SIGTERM in told or signal.SIGINT in told:
            self._feed(Shutdown())

    def _guardian_gone(self, _: int) -> None:
        self._loop.forget(self._bond.fileno())
        self._feed(Shutdown("its guardian died"))

    def _kernel_reported(self, _: int) -> None:
        if self._world.addresses.changed():
            self._woke()  # it may have been stopped in the middle of a turn
            self._look()
            self._hands.restore()
            self._tell_at = self._clock.monotonic()

    def _packets_came(self, device: Device) -> None:
        for heard in device.receive(self._clock.monotonic()):
            self._feed(heard)

    def _answered(self, _: int) -> None:
        if self._hands.collect_conflicts():
            self._tell_at = self._clock.monotonic()

    # What is configured.

    def _answer(self, ask: Ask) -> Answer:
        if isinstance(ask, PeerServes):
            return self._hear_of(ask)
        if isinstance(ask, TableCame):
            self._feed(TableArrived(ask.arrived))
            return Done()
        if not isinstance(ask, Apply):
            return self._now(self._clock.monotonic())
        if ask.settings is not None and ask.settings != self._settings:
            self._apply(ask.settings)
        if ask.intent is not None:
            self._troubles = ()
            self._feed(intent_event(ask.intent))
        if ask.ready is not None:
            self._feed(Ready(ask.ready))
        return Done()

    def _hear_of(self, said: PeerServes) -> Answer:
        key = Key(said.device, said.vhid)
        if key not in self._hands.served:
            return Refused(f"cannot hear of {key}: it is not configured")
        if said.peer not in self._settings.own_peers:
            return Refused(f"cannot hear of {key} by {said.peer}: it is none of our nodes")
        self._feed(Told(key, said.peer, said.advbase, said.advskew, said.for_s))
        return Done()

    def _apply(self, settings: Settings) -> None:
        log.info("other settings: %d virtual addresses", sum(len(vip.addresses) for vip in settings.vips))
        self._settings = settings
        self._digest = settings.digest
        self._configure()
        self._refused = self._refusals(self._clock.monotonic())
        self._feed(NewSettings(node_settings(settings, self._refused)))
        self._close_unused()
        if not settings.vips:
            self._feed(Shutdown("no virtual address is configured any more"))

    def _configure(self) -> None:
        """Devices and vhids as the settings say; those that hand over keep what they need."""
        for name in devices_of(self._settings):
            if name not in self._hands.devices:
                made = Device(name, self._world.addresses, self._world.open_wire, self._watch_device)
                self._hands.devices[name] = made
        self._hands.syncs = self._settings.state_sync is not None
        self._hands.configure(served(self._settings))
        for device in self._hands.devices.values():
            device.configure(self._hands.served, self._settings.own_peers)
        self._look()

    def _look(self) -> None:
        """Tell the state machine of each device that is different now."""
        wandering = tuple(one for each in self._hands.served.values() for one in each.interfaces)
        for device in list(self._hands.devices.values()):
            event = device.look(wandering, self._hands.served, self._settings.own_peers)
            if event is not None:
                self._feed(event)

    def _watch_device(self, device: Device, handles: tuple[int, ...]) -> None:
        for handle in self._watched.pop(device.name, ()):
            self._loop.forget(handle)
        for handle in handles:
            self._loop.watch(handle, Rank.PACKET, lambda _: self._packets_came(device))
        self._watched[device.name] = handles

    def _close_unused(self) -> None:
        used = {*devices_of(self._settings), *(key.device for key in self._hands.served)}
        for name in set(self._hands.devices) - used:
            self._hands.devices.pop(name).close()

    def _refusals(self, now: float) -> dict[Key, str]:
        """Which vhids must not run, and why. No stranger's packets take one down that runs: they can be forged."""
        found = {}
        for vip in self._settings.vips:
            key = Key(vip.device, vip.vhid)
            uncarried = self._hands.cannot_carry(*key) if vip.virtual_mac else ""
            device = self._hands.devices.get(vip.device)
            heard = device.strangers(now) if device is not None else ()
            strangers = [] if self._hands.runs(key) else [source for vhid, source in heard if vhid == vip.vhid]
            why = refusal(vip, self._settings, strangers) or uncarried
            if why:
                found[key] = why
        return found

    def _judge_refusals(self, now: float) -> None:
        refused = self._refusals(now)
        if refused != self._refused:
            self._refused = refused
            self._feed(NewSettings(node_settings(self._settings, refused)))

    # What is told.

    def _now(self, now: float) -> Report:
        offset_s = self._boot_offset_s
        latest = report(
            self._this,
            self._settings,
            self._node,
            self._hands,
            digest=self._digest,
            troubles=self._troubles,
            now=now,
            boot_offset_s=offset_s,
        )
        if self._last is None or standing(latest) != standing(self._last):
            self._seq += 1
        self._last = replace(latest, seq=self._seq)
        return self._last

    def _tell(self, now: float) -> None:
        """A report to all who watch, where there is something new in it or the last one is old."""
        latest = self._now(now)
        self._looked_at = now
        if latest.seq != self._told_seq or now - self._told_at >= WATCH_S:
            self._told_seq, self._told_at = latest.seq, now
            if self._server is not None:
                self._server.tell(latest)
        self._tell_at = self._told_at + WATCH_S

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._hands.close()
        for device in self._hands.devices.values():
            device.close()
        self._bond.close()
        self._loop.close()
        self._signals.close()
        self._wakeup.close()
