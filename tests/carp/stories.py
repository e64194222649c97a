"""Stories for the property tests: what happens to a group of machines, drawn from one seed, and what must hold."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from syncsrv.carp import node as failover
from syncsrv.carp import timing
from syncsrv.carp.effects import Key
from syncsrv.carp.settings import NodeSettings, Preempt, VhidSettings
from tests.carp.simulation import Machine, Step, Weather, World, addresses

KEY = Key("eth0", 1)
REST_S = 100.0
"""How long a story is left alone in the end: longer than a flapping link stays demoted, and than three takeovers."""
CALM_S = 25.0
"""The last part of it, in which nothing may change any more."""


@dataclass
class Story:
    """One run.

    Args:
        seed: of everything.
        world: the machines.
        told: what happened, for people.
        marks: the moments at which something happened, whether since then all that can serve hear each other, and
            whether there are any.
    """

    seed: int
    world: World
    told: list[str] = field(default_factory=list)
    marks: list[tuple[float, bool, bool]] = field(default_factory=list)

    @property
    def down_s(self) -> float:
        """The longest master-down time in the group."""
        found = [one for machine in self.world.machines.values() for one in machine.settings.vhids]
        return max(timing.master_down_s(one.advbase, one.advskew, timing.interval_s(one.advbase, 240)) for one in found)

    def happen(self, text: str, what: Callable[[], object]) -> None:
        self.told.append(f"{self.world.now:9.4f} {text}")
        what()
        able = [name for name, machine in self.world.machines.items() if machine.can_serve(KEY)]
        heard = not any(one in able and other in able for one, other in self.world.deaf)
        self.marks.append((self.world.now, heard, bool(able)))

    def show(self) -> str:
        lines = [(line.at, f"{line.at:9.4f}     {line.machine}: {line.text}") for line in self.world.lines]
        lines += [(float(text.split()[0]), text) for text in self.told]
        return f"story {self.seed}\n" + "\n".join(text for _, text in sorted(lines, key=lambda line: line[0]))


def group(dice: random.Random) -> list[Machine]:
    """Two or three machines, some with equal advskews, some strangers to each other."""
    count = dice.choice((2, 2, 3))
    advbase = dice.choice((1, 1, 1, 2, 0))
    most = 100 if advbase == 0 else 239
    advskews = [dice.choice((0, dice.randrange(most + 1), dice.randrange(most + 1))) for _ in range(count)]
    kind = dice.random()
    if kind < 0.65:
        advskews = dice.sample(range(1, most), count)
    elif kind < 0.85:
        advskews = [dice.randrange(most + 1)] * count
    known = dice.random() < 0.8
    preempt = dice.choice((Preempt.ALWAYS, Preempt.ALWAYS, Preempt.DELAYED, Preempt.NEVER))
    return [
        Machine(
            name=f"fw{number}",
            settings=NodeSettings(
                node=f"fw{number}",
                vhids=(VhidSettings(KEY, advbase, advskew),),
                tracked=("eth0",),
                preempt=preempt,
                preempt_delay_s=2.0,
            ),
            addresses=addresses(number, dual=dice.random() < 0.3),
            known=known,
            ready_after_s=dice.choice((0.0, 0.0, dice.uniform(0, 5))),
        )
        for number, advskew in enumerate(advskews, 1)
    ]


def weather(dice: random.Random, machines: list[Machine]) -> Weather:
    """What a network may do that still carries: at most one advert in a row lost, delays below a third of an advert."""
    vhids = [one for machine in machines for one in machine.settings.vhids]
    shortest_s = min(timing.interval_s(one.advbase, one.advskew) for one in vhids)
    delay_s = min(0.2, shortest_s / 3)
    if dice.random() < 0.3:
        return Weather()
    return Weather(
        loss=dice.choice((0.0, 0.05, 0.3)),
        delay_s=(delay_s / 100, delay_s * dice.random() + delay_s / 100),
        duplicate=dice.choice((0.0, 0.1, 0.5)),
        wake_s=dice.choice((0.0, delay_s / 20)),
    )


def tell(seed: int, step: Step = failover.step) -> Story:
    """A whole story, in the end left alone with everything repaired; ``step`` may be a broken one."""
    dice = random.Random(seed)
    machines = group(dice)
    story = Story(seed, World(machines, seed, weather(dice, machines)))
    world = story.world
    world.step = step
    world.replays = dice.random() < 0.3
    for machine in machines:
        late_s = dice.choice((0.0, dice.uniform(0, 8)))
        world.after(late_s, _starting(story, machine))
    for _ in range(dice.randrange(3, 12)):
        world.run(world.now + dice.choice((dice.uniform(0, 1), dice.uniform(0, 12), story.down_s)))
        _something(story, dice, dice.choice(machines))
    world.run(world.now + dice.uniform(0, 5))
    _repair(story)
    world.run(world.now + REST_S)
    return story


def _starting(story: Story, machine: Machine) -> Callable[[], None]:
    def start() -> None:
        if machine.node is None:
            story.happen(f"{machine.name} starts", lambda: story.world.start(machine.name))

    return start


def _something(story: Story, dice: random.Random, machine: Machine) -> None:
    world, name = story.world, machine.name
    other = dice.choice([one for one in world.machines if one != name])
    if machine.node is None:
        return story.happen(f"{name} starts", lambda: world.start(name))
    if machine.stopped_at is not None:
        told = dice.random() < 0.5
        return story.happen(f"{name} goes on, told: {told}", lambda: world.go_on(name, told=told))
    flag = dice.random() < 0.6
    vhid = machine.settings.vhids[0]
    advskew = dice.randrange(101 if vhid.advbase == 0 else 240)
    changed = replace(machine.settings, vhids=(replace(vhid, advskew=advskew),))
    weights = {"health:web": dice.choice((10, 100, 240, 300))} if flag else {}
    kinds: list[tuple[str, Callable[[], object]]] = [
        ("loses its power", lambda: world.lose_power(name)),
        ("its agent is killed", lambda: world.kill_agent(name, restart_s=None)),
        ("is stopped", lambda: world.stop(name)),
        ("is stopped", lambda: world.stop(name)),
        ("shuts down", lambda: world.shut_down(name)),
        (f"maintenance {flag}", lambda: world.intend(name, maintenance=flag)),
        (f"maintenance {flag}", lambda: world.intend(name, maintenance=flag)),
        (f"switchover {flag}", lambda: world.intend(name, switchover=flag)),
        (f"disabled {flag}", lambda: world.intend(name, disabled=flag)),
        (f"demotions {weights}", lambda: world.intend(name, demotions=weights)),
        (f"demotions {weights}", lambda: world.intend(name, demotions=weights)),
        (f"advskew {advskew}", lambda: world.configure(name, changed)),
        (f"cable {flag}", lambda: world.plug(name, "eth0", up=flag)),
        (f"cable {flag}", lambda: world.plug(name, "eth0", up=flag)),
        (f"does not hear {other}", lambda: world.deaf.add((other, name))),
        ("is cut off", lambda: world.cut(name)),
        ("is connected", lambda: world.connect(name)),
        ("everybody is connected", world.deaf.clear),
        ("a farewell is forged", lambda: world.forge_farewell(name, KEY)),
        (f"a farewell is forged for {other}", lambda: world.forge_farewell(name, KEY, [other])),
        ("IPv6 is blocked", lambda: world.blocked.add(6)),
    ]
    what, do = dice.choice(kinds)
    return story.happen(f"{name} {what}", do)


def _repair(story: Story) -> None:
    world = story.world

    def repair() -> None:
        world.deaf.clear()
        for name, machine in world.machines.items():
            world.go_on(name, told=True)
            if machine.node is not None and machine.node.shutdown:
                world.lose_power(name)
            if machine.node is None:
                world.start(name)
            world.plug(name, "eth0", up=True)
            world.intend(name, disabled=False)

    story.happen("everything is repaired", repair)


def faults(story: Story) -> list[str]:
    """What must not be.

    Between two things that happen, and for as long as all machines that could serve hear each other: two MASTERs, or
    none, no longer than twice the longest master-down time of the group. In the end one, and for
    long the same, and the best where nobody is kept from taking over.
    """
    world, found = story.world, []
    bound_s = 2 * story.down_s + timing.HANDOVER_S
    ends = [at for at, _, _ in story.marks[1:]] + [world.now]
    for (since_at, heard, able), until_at in zip(story.marks, ends, strict=True):
        if not heard:
            continue
        two_s = world.longest(KEY, since_at, until_at, lambda count: count > 1)
        none_s = world.longest(KEY, since_at, until_at, lambda count: count == 0)
        if two_s > bound_s:
            found.append(f"two MASTERs for {two_s:.2f} s between {since_at:.4f} and {until_at:.4f}")
        if able and none_s > bound_s:
            found.append(f"no MASTER for {none_s:.2f} s between {since_at:.4f} and {until_at:.4f}")
    end_at = world.now
    calm = world.spans(KEY, end_at - CALM_S, end_at)
    if len({names for _, names in calm}) != 1 or len(calm[0][1]) != 1:
        found.append(f"not one and the same MASTER in the last {CALM_S} s: {calm}")
    elif all(machine.settings.preempt is Preempt.ALWAYS for machine in world.machines.values()):
        ranks = {
            name: (machine.settings.vhids[0].advbase, machine.node.advskew(KEY))
            for name, machine in world.machines.items()
            if machine.node is not None and machine.can_serve(KEY)
        }
        (name,) = calm[0][1]
        if ranks[name] != min(ranks.values()):
            found.append(f"{name} is MASTER and not the best of {ranks}")
    return found
