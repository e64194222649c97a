"""Machines that run the state machine over a simulated network in simulated time: seconds of it cost nothing.

The network loses, delays, duplicates and reorders, in one direction or both; a machine can lose its power or its cable,
be stopped, killed, shut down. All chance comes from one seed, so that a run can be repeated.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_address

from syncsrv.carp import node as failover
from syncsrv.carp.effects import Advertise, Changed, Effect, Ended, Farewell, Forget, Hold, Key, Note, Release, State
from syncsrv.carp.events import (
    Event,
    Heard,
    IntentChanged,
    LinkChanged,
    NewSettings,
    Ready,
    SendResult,
    Shutdown,
    Tick,
    Woke,
)
from syncsrv.carp.node import Node
from syncsrv.carp.packet import FAREWELL, Advert
from syncsrv.carp.settings import NodeSettings

Address = IPv4Address | IPv6Address
Step = Callable[[Node, Event, float], tuple[Node, tuple[Effect, ...]]]


@dataclass
class Weather:
    """What the network does to a packet.

    Args:
        loss: how likely a packet is lost; but never more than ``most_lost`` in a row from one machine to another.
        most_lost: None: without a bound.
        delay_s: between these two, for each packet anew, so that later ones overtake earlier ones.
        duplicate: how likely it comes twice.
        wake_s: how late at most a timer fires.
    """

    loss: float = 0.0
    most_lost: int | None = 1
    delay_s: tuple[float, float] = (0.0001, 0.0003)
    duplicate: float = 0.0
    wake_s: float = 0.0


@dataclass
class Machine:
    """One machine; what it is configured with outlives its power."""

    name: str
    settings: NodeSettings
    addresses: tuple[Address, ...]
    password: str = "same"
    known: bool = True
    ready_after_s: float | None = 0.0
    hold_down_s: float = 0.0
    intent: IntentChanged = field(default_factory=IntentChanged)
    cables: dict[str, bool] = field(default_factory=dict)
    send_fails: bool = False
    booted_at: float | None = None
    node: Node | None = None
    stopped_at: float | None = None
    waiting: list[Event] = field(default_factory=list)
    held: set[Key] = field(default_factory=set)
    generation: int = 0

    @property
    def runs(self) -> bool:
        return self.node is not None and self.stopped_at is None

    def state(self, key: Key) -> State | None:
        """None: nobody can say."""
        return self.node.vhids[key].state if self.node and key in self.node.vhids else None

    def can_serve(self, key: Key) -> bool:
        """It could be MASTER, for all that people and cables say."""
        return (
            self.runs
            and self.cables.get(key.device, True)
            and not self.intent.disabled
            and (self.node is None or not self.node.shutdown)
            and any(one.key == key and not one.refused for one in self.settings.vhids)
        )


@dataclass(frozen=True)
class Line:
    """What a machine said, with every effect that people read."""

    at: float
    machine: str
    text: str


class World:
    """All machines, one network segment per device name, one clock."""

    def __init__(self, machines: Iterable[Machine], seed: int = 0, weather: Weather | None = None) -> None:
        self.machines = {machine.name: machine for machine in machines}
        self.dice = random.Random(seed)
        self.weather = weather or Weather()
        self.now = 0.0
        self.deaf: set[tuple[str, str]] = set()
        self.blocked: set[int] = set()
        self.lines: list[Line] = []
        self.masters: dict[Key, list[tuple[float, frozenset[str]]]] = {}
        self.sent: list[tuple[float, str, Effect]] = []
        self.step: Step = failover.step
        self.replays = False
        """Whether adverts of own peers that come twice or too late reach the state machine; receive.py drops them."""
        self._counter = itertools.count(1)
        self._newest: dict[tuple[str, Address, Key], int] = {}
        self._lost: dict[tuple[str, str], int] = {}
        self._order = itertools.count()
        self._planned: list[tuple[float, int, Callable[[], None]]] = []

    # What happens to machines.

    def start(self, name: str) -> None:
        machine = self.machines[name]
        if machine.booted_at is None:
            machine.booted_at = self.now
        machine.node = failover.start(
            machine.settings,
            machine.intent,
            self.now,
            hold_until_at=machine.booted_at + machine.hold_down_s,
            jitter_s=self.dice.random() / 256,
        )
        machine.stopped_at, machine.waiting = None, []
        for device in sorted({one.key.device for one in machine.settings.vhids} | set(machine.settings.tracked)):
            up = machine.cables.setdefault(device, True)
            self.give(name, LinkChanged(device, up))
        if machine.ready_after_s == 0:
            self.give(name, Ready(True))
        elif machine.ready_after_s is not None:
            self.after(machine.ready_after_s, lambda: self.give(name, Ready(True)))

    def lose_power(self, name: str) -> None:
        machine = self.machines[name]
        machine.node, machine.held, machine.stopped_at, machine.booted_at = None, set(), None, None
        machine.generation += 1
        self._record()

    def kill_agent(self, name: str, restart_s: float | None = 0.2) -> None:
        """The guardian says the farewell, removes the addresses, and starts it anew."""
        machine = self.machines[name]
        masters = [key for key in machine.held if machine.state(key) is State.MASTER]
        booted_at = machine.booted_at
        self.lose_power(name)
        machine.booted_at = booted_at
        for key in masters:
            self._send(machine, key, FAREWELL, FAREWELL)
        if restart_s is not None:
            self.after(restart_s, lambda: self.start(name) if machine.node is None else None)

    def stop(self, name: str) -> None:
        machine = self.machines[name]
        if machine.runs:
            machine.stopped_at = self.now
            self._record()

    def go_on(self, name: str, *, told: bool) -> None:
        """SIGCONT: what came meanwhile waits in its sockets.

        Args:
            name: the machine.
            told: it finds out itself how long it slept, else by its timers.
        """
        machine = self.machines[name]
        if machine.stopped_at is None:
            return
        slept_s, machine.stopped_at = self.now - machine.stopped_at, None
        waiting, machine.waiting = machine.waiting, []
        if told:
            self.give(name, Woke(slept_s))
        for event in [*waiting, Tick()]:
            self.give(name, event)
        self._record()

    def plug(self, name: str, device: str, *, up: bool) -> None:
        self.machines[name].cables[device] = up
        self.give(name, LinkChanged(device, up))

    def cut(self, name: str) -> None:
        """Silently: its link stays up, and nothing passes."""
        for other in self.machines:
            self.deaf |= {(name, other), (other, name)}

    def connect(self, name: str) -> None:
        self.deaf = {pair for pair in self.deaf if name not in pair}

    def intend(self, name: str, **changes: object) -> None:
        machine = self.machines[name]
        machine.intent = replace(machine.intent, **changes)  # type: ignore[arg-type]  # names and types of its fields
        self.give(name, machine.intent)

    def configure(self, name: str, settings: NodeSettings) -> None:
        self.machines[name].settings = settings
        self.give(name, NewSettings(settings))

    def shut_down(self, name: str) -> None:
        self.give(name, Shutdown("this node shuts down"))

    def forge_farewell(self, name: str, key: Key, to: Iterable[str] | None = None) -> None:
        """Somebody on the segment sends what looks like a farewell of this machine, with a right digest."""
        self.forge(name, key, FAREWELL, FAREWELL, to)

    def forge(self, name: str, key: Key, advbase: int, advskew: int, to: Iterable[str] | None = None) -> None:
        """The same with any other advert."""
        self._send(self.machines[name], key, advbase, advskew, to)

    # Time.

    def after(self, delay_s: float, what: Callable[[], object]) -> None:
        heapq.heappush(self._planned, (self.now + delay_s, next(self._order), lambda: (what(), None)[1]))

    def run(self, until_at: float, stop_when: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass.

        Args:
            until_at: seconds since the beginning.
            stop_when: asked after each event.

        Returns:
            Whether ``stop_when`` became true by then.
        """
        while not stop_when():
            if not self._planned or self._planned[0][0] > until_at:
                self.now = max(self.now, until_at)
                return stop_when()
            at, _, what = heapq.heappop(self._planned)
            self.now = max(self.now, at)
            what()
        return True

    # What machines do.

    def give(self, name: str, event: Event) -> None:
        """One event to one machine, at once, with all that it does then; it waits while the machine is stopped."""
        machine = self.machines[name]
        if machine.node is None:
            return
        if machine.stopped_at is not None:
            machine.waiting.append(event)
            return
        machine.node, effects = self.step(machine.node, event, self.now)
        for effect in effects:
            self._do(machine, effect)
        self._record()
        if machine.node is not None:
            self._plan_tick(machine, machine.node)

    def _plan_tick(self, machine: Machine, node: Node) -> None:
        machine.generation += 1
        due_at, generation = failover.next_at(node), machine.generation

        def tick() -> None:
            if machine.generation == generation and machine.runs:
                self.give(machine.name, Tick())

        if due_at is not None:
            late_s = self.dice.uniform(0, self.weather.wake_s) if self.weather.wake_s else 0.0
            self.after(max(0.0, due_at - self.now) + late_s, tick)

    def _do(self, machine: Machine, effect: Effect) -> None:
        match effect:
            case Hold(key):
                assert key not in machine.held, f"{machine.name} holds {key} already"
                machine.held.add(key)
            case Release(key):
                machine.held.remove(key)
            case Advertise(key, advbase, advskew):
                assert key in machine.held, f"{machine.name} advertises {key} and does not hold it"
                self._send(machine, key, advbase, advskew)
            case Farewell(key):
                self._send(machine, key, FAREWELL, FAREWELL)
            case Changed(key, old, new, reason):
                assert old is not new
                assert (key in machine.held) is (new is State.MASTER)
                self.say(machine, f"{key}: {old} -> {new}: {reason}")
            case Note(None, text):
                self.say(machine, text)
            case Note(key, text):
                self.say(machine, f"{key}: {text}")
            case Forget(key):
                assert key not in machine.held
            case Ended():
                assert not machine.held
                machine.node = None
        self.sent.append((self.now, machine.name, effect))

    def say(self, machine: Machine, text: str) -> None:
        self.lines.append(Line(self.now, machine.name, text))

    def _send(self, machine: Machine, key: Key, advbase: int, advskew: int, to: Iterable[str] | None = None) -> None:
        cable = machine.cables.get(key.device, True)
        if machine.node is not None:
            ok = cable and not machine.send_fails
            self.after(0, lambda: self.give(machine.name, SendResult(key.device, ok, "" if ok else "no buffer space")))
        if machine.send_fails:
            return
        advert = Advert(key.vhid, advskew, advbase, 0, next(self._counter), b"")
        for other in self.machines.values():
            if other is machine or not cable or other.password != machine.password:
                continue
            if (machine.name, other.name) in self.deaf or (to is not None and other.name not in to):
                continue
            for source in machine.addresses:
                if source.version not in self.blocked and not self._is_lost(machine.name, other.name):
                    for _ in range(1 + (self.dice.random() < self.weather.duplicate)):
                        self._carry(machine, other, Heard(key, advert, source))

    def _is_lost(self, sender: str, receiver: str) -> bool:
        path, most = (sender, receiver), self.weather.most_lost
        lost = self.dice.random() < self.weather.loss and (most is None or self._lost.get(path, 0) < most)
        self._lost[path] = self._lost.get(path, 0) + 1 if lost else 0
        return lost

    def _carry(self, sender: Machine, receiver: Machine, packet: Heard) -> None:
        ours = sender.known and receiver.known
        packet = replace(packet, own_peer=sender.name if ours else None)

        def arrive() -> None:
            path, counter = (receiver.name, packet.source, packet.key), packet.advert.counter
            if ours and not self.replays and counter <= self._newest.get(path, 0):
                return
            self._newest[path] = counter
            if receiver.cables.get(packet.key.device, True) and (sender.name, receiver.name) not in self.deaf:
                self.give(receiver.name, packet)

        self.after(self.dice.uniform(*self.weather.delay_s), arrive)

    # What came of it.

    def _record(self) -> None:
        keys = {one.key for machine in self.machines.values() for one in machine.settings.vhids}
        for key in keys:
            now = frozenset(
                name for name, machine in self.machines.items() if machine.runs and machine.state(key) is State.MASTER
            )
            kept = self.masters.setdefault(key, [(0.0, frozenset())])
            if kept[-1][1] != now:
                kept.append((self.now, now))

    def spans(self, key: Key, since_at: float, until_at: float) -> list[tuple[float, frozenset[str]]]:
        """For how many seconds in a row who was MASTER, between two moments."""
        found = []
        history = [*self.masters.get(key, [(0.0, frozenset())]), (until_at, frozenset())]
        for (begin, names), (end, _) in itertools.pairwise(history):
            length_s = min(end, until_at) - max(begin, since_at)
            if length_s > 0:
                found.append((length_s, names))
        return found

    def longest(self, key: Key, since_at: float, until_at: float, wanted: Callable[[int], bool]) -> float:
        """The longest time in a row with such a number of MASTERs, seconds."""
        best = run = 0.0
        for length_s, names in self.spans(key, since_at, until_at):
            run = run + length_s if wanted(len(names)) else 0.0
            best = max(best, run)
        return best


def addresses(number: int, *, dual: bool = False) -> tuple[Address, ...]:
    """192.0.2.N, and fe80::N with it."""
    return (ip_address(f"192.0.2.{number}"), *((ip_address(f"fe80::{number}"),) if dual else ()))
