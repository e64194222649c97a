"""Reads and plays the scenario files of tests/scenarios: machines, what happens to them at what time, what must follow.

Each kind of line is a row of ``HAPPENS`` or ``EXPECTS``: a pattern and the function that plays it. A line that no
pattern knows is an error, so that nothing in a file is only prose; prose stands behind ``#``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from syncsrv.carp.effects import Key
from syncsrv.carp.events import LinkChanged, Told
from syncsrv.carp.settings import NodeSettings, Preempt, VhidSettings
from tests.carp.simulation import Machine, Weather, World, addresses


class ScenarioError(AssertionError):
    """A line did not come true, or is no line."""


@dataclass
class Scene:
    """A scenario while it is played.

    Args:
        machines: as the file describes them, until the first thing happens.
        since_at: when the last thing happened.
        later: what can be said only when the next thing happens, or at the end.
    """

    machines: list[Machine] = field(default_factory=list)
    played: World | None = None
    since_at: float = 0.0
    later: list[Callable[[], None]] = field(default_factory=list)

    @property
    def world(self) -> World:
        if self.played is None:
            self.played = World(self.machines, seed=1, weather=Weather())
        return self.played

    def key(self, vhid: str | None) -> Key:
        """``vhid 2``; without a number the first one."""
        keys = [one.key for machine in self.machines for one in machine.settings.vhids]
        return next(key for key in keys if vhid is None or key.vhid == int(vhid))

    def state(self, name: str, vhid: str | None) -> str:
        state = self.world.machines[name].state(self.key(vhid))
        return "gone" if state is None else str(state)


MACHINE = re.compile(r"(\w+): (.*)")
HAPPENS_AT = re.compile(r"at ([\d.]+): (.+)")
VHID = r"(?: of vhid (\d+))?"


def play(path: Path) -> None:
    """A whole file.

    Raises:
        ScenarioError: a line did not come true; with the line, and what all machines said.
    """
    scene = Scene()
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.partition("#")[0].rstrip()
        try:
            if text:
                _line(scene, text)
        except ScenarioError as error:
            raise ScenarioError(f"{path.name}:{number}: {line.strip()}: {error}\n{_told(scene)}") from None
    try:
        _finish(scene)
    except ScenarioError as error:
        raise ScenarioError(f"{path.name}: {error}\n{_told(scene)}") from None


def _told(scene: Scene) -> str:
    lines = [f"{line.at:9.4f} {line.machine}: {line.text}" for line in scene.world.lines]
    return "\n".join([*lines, f"{scene.world.now:9.4f} now"])


def _line(scene: Scene, text: str) -> None:
    if happens := HAPPENS_AT.fullmatch(text):
        at = float(happens[1])
        if at < scene.world.now:
            raise ScenarioError(f"it is {scene.world.now:.3f} already")
        scene.world.run(at)
        _finish(scene)
        scene.since_at = at
        for part in happens[2].split("; "):
            _match(HAPPENS, scene, part)
    elif text.startswith(" "):
        _match(EXPECTS, scene, text.strip())
    elif (machine := MACHINE.fullmatch(text)) and scene.played is None:
        scene.machines.append(_machine(machine[1], machine[2], len(scene.machines) + 1))
    else:
        raise ScenarioError("no such line")


def _finish(scene: Scene) -> None:
    later, scene.later = scene.later, []
    for check in later:
        check()


Play = Callable[..., None]


def _match(table: dict[str, Play], scene: Scene, text: str) -> None:
    for pattern, what in table.items():
        if found := re.fullmatch(pattern, text):
            return what(scene, *found.groups())
    raise ScenarioError("no such line")


def _machine(name: str, text: str, number: int) -> Machine:
    """``advskew 100, preempt delayed 5``: the defaults are advbase 1, advskew 0, preempt always, vhid 1 on eth0."""
    words = {part.split(" ", 1)[0]: part.partition(" ")[2] for part in re.split(r", *", text)}
    vhids = [pair.split("/") for pair in words.pop("vhids", "eth0/1").split(" ")]
    advbase, advskew = int(words.pop("advbase", "1")), int(words.pop("advskew", "0"))
    preempt, _, delay_s = words.pop("preempt", "always").partition(" ")
    refused = words.pop("refused", "")
    settings = NodeSettings(
        node=name,
        vhids=tuple(VhidSettings(Key(device, int(vhid)), advbase, advskew, refused) for device, vhid in vhids),
        tracked=tuple(words.pop("tracked", " ".join(device for device, _ in vhids)).split()),
        preempt=Preempt(preempt),
        preempt_delay_s=float(delay_s or 0),
    )
    ready = words.pop("ready", "at once")
    machine = Machine(
        name=name,
        settings=settings,
        addresses=addresses(number, dual=words.pop("families", "IPv4") == "IPv4 and IPv6"),
        password=words.pop("password", "same"),
        known="stranger" not in words,
        ready_after_s={"at once": 0.0, "never": None}.get(ready, 0.0),
        hold_down_s=float(words.pop("hold-down", "0")),
    )
    if ready.startswith("after "):
        machine.ready_after_s = float(ready.removeprefix("after "))
    words.pop("stranger", None)
    if words:
        raise ScenarioError(f"no such words: {', '.join(words)}")
    return machine


# What can happen.


def _start(scene: Scene, names: str) -> None:
    for name in re.split(r", | and ", names):
        scene.world.start(name)


def _stop(scene: Scene, name: str, seconds: str) -> None:
    scene.world.stop(name)
    scene.world.after(float(seconds), lambda: scene.world.go_on(name, told=False))


def _flap(scene: Scene, name: str, times: str, seconds: str) -> None:
    for number in range(2 * int(times)):
        up = bool(number % 2)
        scene.world.after(number * float(seconds), lambda up=up: scene.world.plug(name, "eth0", up=up))  # type: ignore[misc]  # a default argument has no type here


def _demote(scene: Scene, name: str, reason: str, weight: str) -> None:
    known = scene.world.machines[name].intent.demotions
    scene.world.intend(name, demotions={**known, reason: int(weight)})


def _promote(scene: Scene, name: str, reason: str) -> None:
    known = scene.world.machines[name].intent.demotions
    scene.world.intend(name, demotions={one: weight for one, weight in known.items() if one != reason})


def _reconfigure(scene: Scene, name: str, field_name: str, value: str) -> None:
    settings = scene.world.machines[name].settings
    changed = tuple(replace(one, **{field_name: int(value)}) for one in settings.vhids)  # type: ignore[arg-type]  # advbase or advskew
    scene.world.configure(name, replace(settings, vhids=changed))


def _remove(scene: Scene, name: str, vhid: str) -> None:
    settings = scene.world.machines[name].settings
    left = tuple(one for one in settings.vhids if one.key.vhid != int(vhid))
    scene.world.configure(name, replace(settings, vhids=left))


def _add(scene: Scene, name: str, vhid: str, device: str) -> None:
    settings = scene.world.machines[name].settings
    new = VhidSettings(Key(device, int(vhid)), settings.vhids[0].advbase, settings.vhids[0].advskew)
    scene.world.configure(name, replace(settings, vhids=(*settings.vhids, new)))


def _tell(scene: Scene, name: str, peer: str, seconds: str) -> None:
    vhid = scene.world.machines[peer].settings.vhids[0]
    scene.world.give(name, Told(vhid.key, peer, vhid.advbase, vhid.advskew, float(seconds)))


def _forge_often(scene: Scene, peer: str, times: str, seconds: str) -> None:
    for number in range(int(times)):
        scene.world.after(number * float(seconds), lambda: scene.world.forge_farewell(peer, scene.key(None)))


def _forge(scene: Scene, peer: str, advskew: str) -> None:
    scene.world.forge(peer, scene.key(None), 1, int(advskew))


def _delete(scene: Scene, device: str, name: str) -> None:
    scene.world.machines[name].cables[device] = False
    scene.world.give(name, LinkChanged(device, False, False, f"{device} does not exist"))


def _fail_sending(scene: Scene, name: str, verb: str) -> None:
    scene.world.machines[name].send_fails = verb == "cannot send"


HAPPENS: dict[str, Play] = {
    r"((?:\w+(?:, | and )?)+) starts?": _start,
    r"nothing happens": lambda scene: None,
    r"(\w+) loses its power": lambda scene, name: scene.world.lose_power(name),
    r"the agent of (\w+) is killed": lambda scene, name: scene.world.kill_agent(name),
    r"the agent and the guardian of (\w+) are killed": lambda scene, name: scene.world.lose_power(name),
    r"(\w+) is stopped for ([\d.]+) s": _stop,
    r"(\w+) shuts down": lambda scene, name: scene.world.shut_down(name),
    r"the cable (?:(\w+) )?of (\w+) is pulled": lambda s, dev, name: s.world.plug(name, dev or "eth0", up=False),
    r"the cable (?:(\w+) )?of (\w+) is plugged in": lambda s, dev, name: s.world.plug(name, dev or "eth0", up=True),
    r"the link of (\w+) flaps (\d+) times, every ([\d.]+) s": _flap,
    r"the device (\w+) of (\w+) is deleted": _delete,
    r"(\w+) is cut off silently": lambda scene, name: scene.world.cut(name),
    r"(\w+) is connected again": lambda scene, name: scene.world.connect(name),
    r"(\w+) does not hear (\w+)": lambda scene, name, other: scene.world.deaf.add((other, name)),
    r"(\w+) hears (\w+) again": lambda scene, name, other: scene.world.deaf.discard((other, name)),
    r"IPv6 is blocked": lambda scene: scene.world.blocked.add(6),
    r"maintenance of (\w+) is on": lambda scene, name: scene.world.intend(name, maintenance=True),
    r"maintenance of (\w+) is off": lambda scene, name: scene.world.intend(name, maintenance=False),
    r"(\w+) is to switch over": lambda scene, name: scene.world.intend(name, switchover=True),
    r"(\w+) is to switch over no more": lambda scene, name: scene.world.intend(name, switchover=False),
    r"(\w+) is disabled": lambda scene, name: scene.world.intend(name, disabled=True),
    r"(\w+) is enabled": lambda scene, name: scene.world.intend(name, disabled=False),
    r"pre-emption of (\w+) is held": lambda s, name: s.world.intend(name, hold_preempt="fw1 is diverged"),
    r"pre-emption of (\w+) is free": lambda s, name: s.world.intend(name, hold_preempt=""),
    r"(\w+) is demoted for (\S+) by (\d+)": _demote,
    r"(\w+) is no longer demoted for (\S+)": _promote,
    r"(advbase|advskew) of (\w+) becomes (\d+)": lambda s, what, name, value: _reconfigure(s, name, what, value),
    r"vhid (\d+) of (\w+) is removed": lambda s, vhid, name: _remove(s, name, vhid),
    r"vhid (\d+) on (\w+) of (\w+) is added": lambda s, vhid, device, name: _add(s, name, vhid, device),
    r"a farewell of (\w+) is forged": lambda scene, name: scene.world.forge_farewell(name, scene.key(None)),
    r"a farewell of (\w+) is forged (\d+) times, every ([\d.]+) s": _forge_often,
    r"an advert of (\w+) with advskew (\d+) is forged": _forge,
    r"(\w+) hears from (\w+) over SSH for ([\d.]+) s": _tell,
    r"(\w+) (cannot send|can send again)": _fail_sending,
}


# What can be expected.


def _within(scene: Scene, name: str, state: str, vhid: str | None, seconds: str) -> None:
    until_at = scene.since_at + float(seconds)
    if not scene.world.run(until_at, lambda: scene.state(name, vhid) == state):
        raise ScenarioError(f"it is {scene.state(name, vhid)} at {scene.world.now:.3f}")


def _still(scene: Scene, name: str, state: str, vhid: str | None, until: str) -> None:
    if scene.world.run(float(until), lambda: scene.state(name, vhid) != state):
        raise ScenarioError(f"it is {scene.state(name, vhid)} at {scene.world.now:.3f}")


def _is(scene: Scene, name: str, state: str, vhid: str | None) -> None:
    if scene.state(name, vhid) != state:
        raise ScenarioError(f"it is {scene.state(name, vhid)} at {scene.world.now:.3f}")


def _says(scene: Scene, name: str, text: str) -> None:
    lines = [one for one in scene.world.lines if one.machine == name and one.at >= scene.since_at]
    if not any(text in one.text for one in lines):
        raise ScenarioError(f"since then it said: {[one.text for one in lines]}")


def _at_most(scene: Scene, who: str, seconds: str) -> None:
    since_at, most_s = scene.since_at, float(seconds)

    def check() -> None:
        for key in scene.world.masters:
            wanted = (lambda count: count > 1) if who == "two are" else (lambda count: count == 0)
            longest_s = scene.world.longest(key, since_at, scene.world.now, wanted)
            if longest_s > most_s:
                raise ScenarioError(f"{who} MASTER for {longest_s:.4f} s after {since_at}, not {most_s} s at most")

    scene.later.append(check)


def _changes(scene: Scene, name: str, times: str) -> None:
    since_at = scene.since_at

    def check() -> None:
        found = [one for one in scene.world.lines if one.machine == name and " -> " in one.text and one.at >= since_at]
        if len(found) != int(times):
            raise ScenarioError(f"{name} changed {len(found)} times after {since_at}")

    scene.later.append(check)


def _handover(scene: Scene, name: str, text: str) -> None:
    node = scene.world.machines[name].node
    found = {vhid.handover for vhid in node.vhids.values()} if node else set()
    if found != {text}:
        raise ScenarioError(f"it is {found}")


def _advertises(scene: Scene, name: str, advskew: str) -> None:
    node = scene.world.machines[name].node
    found = {node.advskew(key) for key in node.vhids} if node else set()
    if found != {int(advskew)}:
        raise ScenarioError(f"it is {found}")


EXPECTS: dict[str, Play] = {
    rf"(\w+) is (\w+){VHID} within ([\d.]+) s": _within,
    rf"(\w+) stays (\w+){VHID} until ([\d.]+)": _still,
    rf"(\w+) is (\w+){VHID}": _is,
    r"(\w+) says: (.+)": _says,
    r"(two are|nobody is) MASTER for at most ([\d.]+) s": _at_most,
    r"(\w+) changes (\d+) times": _changes,
    r"the handover of (\w+) is: (.+)": _handover,
    r"(\w+) weighs (\d+)": _advertises,
}
