"""All vhids of a node, and what they have in common: demotion, links, intent, readiness.

``start`` makes a node, ``step`` takes one event and says what is to be done, ``next_at`` when to give it a Tick. The
caller carries out the effects in their order and keeps the node that it got for the next event.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from syncsrv.carp import fsm
from syncsrv.carp.devices import Device
from syncsrv.carp.effects import Changed, Effect, Ended, Forget, Key, Note, State
from syncsrv.carp.events import (
    Event,
    Heard,
    HoldResult,
    IntentChanged,
    LinkChanged,
    NewSettings,
    Ready,
    SendResult,
    Shutdown,
    TableArrived,
    Tick,
    Told,
    Woke,
)
from syncsrv.carp.record import MAINTENANCE, SWITCHOVER, around, demotion_of, is_backup_anyway, is_removed, unwanted
from syncsrv.carp.record import Node as Node
from syncsrv.carp.settings import NodeSettings
from syncsrv.carp.vhid import (
    Able,
    Due,
    Hear,
    Input,
    Leave,
    Outranked,
    Phase,
    Retimed,
    Reweighed,
    Slept,
    Unable,
    Vhid,
)


def start(
    settings: NodeSettings,
    intent: IntentChanged,
    now: float,
    *,
    hold_until_at: float = 0.0,
    jitter_s: float = 0.0,
) -> Node:
    """A node whose process has just started: every vhid INIT until its device is spoken of.

    Args:
        settings: as configured.
        intent: as it stands on the disk. A switchover in it is one that was done before: the node is demoted by it.
        now: monotonic seconds.
        hold_until_at: end of the hold-down after boot, monotonic.
        jitter_s: drawn once per process, 0..1/256 s: two strangers with equal adverts do not time out together.
    """
    node = Node(
        settings=settings,
        intent=intent,
        switchover=intent.switchover,
        ready_until_at=now + settings.ready_timeout_s if settings.ready_timeout_s > 0 else None,
        table=settings.table_timeout_s <= 0,
        table_until_at=now + settings.table_timeout_s if settings.table_timeout_s > 0 else None,
        hold_until_at=hold_until_at,
        jitter_s=jitter_s,
        vhids={one.key: Vhid(one, since_at=now, reason="just started") for one in settings.vhids},
        devices={one.key.device: Device(one.key.device) for one in settings.vhids},
    )
    return _settled(node, now)[0]


def step(node: Node, event: Event, now: float) -> tuple[Node, tuple[Effect, ...]]:
    """One event.

    Args:
        node: as the last step left it.
        event: what happened.
        now: monotonic seconds, never less than before.

    Returns:
        The node from now on, and what is to be done, in this order.
    """
    effects: list[Effect] = []
    before = node
    if not isinstance(event, Woke):
        node = _woken(node, now, 0.0, effects)
    node = _HANDLERS[type(event)](node, event, now, effects)
    if _is_settled(before, node, event, now, effects):
        return node, tuple(effects)
    node, more = _settled(node, now)
    return node, (*effects, *more)


def next_at(node: Node) -> float | None:
    """When the node needs a Tick, monotonic seconds; None: time alone changes nothing."""
    times = [vhid.next_at() for vhid in node.vhids.values()]
    times += [device.next_at() for device in node.devices.values()]
    times.append(None if node.ready else node.ready_until_at)
    times.append(node.table_until_at)
    return min((moment for moment in times if moment is not None), default=None)


def _tell(node: Node, key: Key, what: Input, now: float, effects: list[Effect]) -> Node:
    """One input to one vhid; a node that becomes MASTER again has had its switchover, from its first advert on."""
    vhid, done = fsm.advance(node.vhids[key], what, around(node, now))
    over = node.switchover and any(isinstance(one, Changed) and one.new is State.MASTER for one in done)
    if over:
        after = replace(node, switchover=False)
        weighed = replace(around(node, now), demotion=demotion_of(after))
        vhid, done = fsm.advance(node.vhids[key], what, weighed)
        node, done = after, (*done, Note(None, "the switchover is over: this node is MASTER again"))
    effects += done
    return node if vhid is node.vhids[key] else replace(node, vhids={**node.vhids, key: vhid})


def _tell_all(node: Node, what: Input, now: float, effects: list[Effect]) -> Node:
    for key in node.vhids:
        node = _tell(node, key, what, now, effects)
    return node


# One function per event.


def _heard(node: Node, event: Heard, now: float, effects: list[Effect]) -> Node:
    if event.key not in node.vhids:
        return node
    node = _tell(node, event.key, Hear(event.advert, event.source, event.own_peer), now, effects)
    if not (node.switchover and is_backup_anyway(node, now)):
        return node
    effects.append(Note(None, "the switchover is over: the MASTER ranks before this node by itself"))
    return replace(node, switchover=False)


def _tick(node: Node, event: Tick, now: float, effects: list[Effect]) -> Node:
    return _tell_all(node, Due(), now, effects)


def _link_changed(node: Node, event: LinkChanged, now: float, effects: list[Effect]) -> Node:
    device = node.devices.get(event.device) or Device(event.device)
    device = device.linked(up=event.up, has_source=event.has_source, why=event.why, now=now)
    return replace(node, devices={**node.devices, event.device: device})


def _intent_changed(node: Node, event: IntentChanged, now: float, effects: list[Effect]) -> Node:
    """What begins is handed over; what ends is seen by _settled. The demotion comes first: nobody is left a MASTER that
    advertises, for a moment, better than it is.
    """
    before = node.intent
    begun = event.maintenance and not before.maintenance
    asked = event.switchover and not before.switchover
    switchover = event.switchover and (node.switchover or asked)
    node = replace(node, intent=event, switchover=switchover)
    if not (begun or asked) or event.disabled:
        return node
    node = replace(node, demotion=demotion_of(node))
    return _tell_all(node, Leave(MAINTENANCE if begun else SWITCHOVER, stays=True), now, effects)


def _ready(node: Node, event: Ready, now: float, effects: list[Effect]) -> Node:
    if event.ready == node.ready:
        return node
    timeout_s = node.settings.ready_timeout_s
    until_at = now + timeout_s if timeout_s > 0 and not event.ready else None
    return replace(node, ready=event.ready, ready_until_at=until_at)


def _table_arrived(node: Node, event: TableArrived, now: float, effects: list[Effect]) -> Node:
    if event.arrived:
        if not node.table:
            effects.append(Note(None, "the peer's connections are known here: it is not demoted for them any more"))
        return replace(node, table=True, table_until_at=None)
    if not node.table or node.settings.table_timeout_s <= 0 or _serves(node):
        return node
    effects.append(Note(None, "the peer's connections are not known here any more: it is demoted"))
    return replace(node, table=False)


def _serves(node: Node) -> bool:
    return any(vhid.state is State.MASTER for vhid in node.vhids.values())


def _send_result(node: Node, event: SendResult, now: float, effects: list[Effect]) -> Node:
    device = node.devices.get(event.device)
    if device is None:
        return node
    after = device.handed_over(ok=event.ok, why=event.why, now=now)
    if after is device:
        return node
    if after.sending_demotes and not device.sending_demotes:
        effects.append(Note(None, f"adverts cannot be sent on {event.device}: {event.why}"))
    if device.sending_demotes and not after.sending_demotes:
        effects.append(Note(None, f"adverts can be sent on {event.device} again"))
    return replace(node, devices={**node.devices, event.device: after})


def _hold_result(node: Node, event: HoldResult, now: float, effects: list[Effect]) -> Node:
    device = node.devices.get(event.device)
    after = device.held(ok=event.ok, why=event.why, now=now) if device is not None else None
    if device is None or after is None or after is device:
        return node
    if after.holding_demotes and not device.holding_demotes:
        effects.append(Note(None, f"not all addresses are on {event.device}: {event.why}"))
    if device.holding_demotes and not after.holding_demotes:
        effects.append(Note(None, f"all addresses are on {event.device} again"))
    return replace(node, devices={**node.devices, event.device: after})


def _woke(node: Node, event: Woke, now: float, effects: list[Effect]) -> Node:
    return _woken(node, now, event.late_s, effects)


def _woken(node: Node, now: float, late_s: float, effects: list[Effect]) -> Node:
    """What each vhid's own timer says, where that is more: no caller can forget to look."""
    for key, vhid in node.vhids.items():
        late = max(late_s, vhid.late_s(now))
        if late > 0:
            node = _tell(node, key, Slept(late), now, effects)
    return node


def _told(node: Node, event: Told, now: float, effects: list[Effect]) -> Node:
    if event.key not in node.vhids:
        return node
    return _tell(node, event.key, Outranked(event.peer, event.advbase, event.advskew, event.for_s), now, effects)


def _shut_down(node: Node, event: Shutdown, now: float, effects: list[Effect]) -> Node:
    return node if node.shutdown else replace(node, shutdown=event.reason)


def _new_settings(node: Node, event: NewSettings, now: float, effects: list[Effect]) -> Node:
    """Unchanged vhids are not even spoken to; a removed one stays until _settled has it handed over."""
    vhids = dict(node.vhids)
    retimed = []
    for one in event.settings.vhids:
        old = vhids.get(one.key)
        if old is None:
            vhids[one.key] = Vhid(one, since_at=now, reason="just configured")
        elif old.settings != one:
            timing = (old.settings.advbase, old.settings.advskew)
            retimed += [one] if timing != (one.advbase, one.advskew) else []
            vhids[one.key] = replace(old, settings=replace(old.settings, refused=one.refused))
    devices = {one.key.device: Device(one.key.device) for one in event.settings.vhids}
    node = replace(node, settings=event.settings, vhids=vhids, devices={**devices, **node.devices})
    if event.settings.table_timeout_s <= 0:
        node = replace(node, table=True, table_until_at=None)
    for one in retimed:
        node = _tell(node, one.key, Retimed(one), now, effects)
    return node


_HANDLERS: dict[type[Event], Callable[[Node, Any, float, list[Effect]], Node]] = {
    Heard: _heard,
    Tick: _tick,
    LinkChanged: _link_changed,
    IntentChanged: _intent_changed,
    Ready: _ready,
    TableArrived: _table_arrived,
    SendResult: _send_result,
    HoldResult: _hold_result,
    Woke: _woke,
    Told: _told,
    Shutdown: _shut_down,
    NewSettings: _new_settings,
}


# What holds after each event.


def _is_settled(before: Node, node: Node, event: Event, now: float, effects: list[Effect]) -> bool:
    """Nothing but timers of vhids moved: so it is with nearly every advert, and there may be hundreds a second."""
    if not isinstance(event, Heard | Tick | SendResult) or any(isinstance(one, Changed) for one in effects):
        return False
    if node.devices is not before.devices or node.switchover is not before.switchover:
        return False
    times = [node.ready_until_at, node.table_until_at, *(device.next_at() for device in node.devices.values())]
    return all(moment is None or now < moment for moment in times)


def _settled(node: Node, now: float) -> tuple[Node, tuple[Effect, ...]]:
    """After each event: the demotion that follows, each vhid where it may be, Ended when all is done."""
    effects: list[Effect] = []
    node = replace(node, devices={name: device.aged(now) for name, device in node.devices.items()})
    if node.ready_until_at is not None and node.ready_until_at <= now:
        node = replace(node, ready_until_at=None)
        late = f"nobody said that this node is ready for {node.settings.ready_timeout_s:.0f} s: it is demoted no more"
        effects.append(Note(None, late))
    if node.table_until_at is not None and node.table_until_at <= now:
        node = replace(node, table=True, table_until_at=None)
        late = f"the peer's connections did not come for {node.settings.table_timeout_s:.0f} s: it is demoted no more"
        effects.append(Note(None, late))
    for key in node.vhids:
        node = _placed(node, key, now, effects)
    if not node.table and node.table_until_at is None and _serves(node):  # a peer would know still less of them
        node = replace(node, table=True)
    gone = {key for key, vhid in node.vhids.items() if is_removed(node, key) and vhid.phase is Phase.INIT}
    if gone:
        node = replace(node, vhids={key: vhid for key, vhid in node.vhids.items() if key not in gone})
        effects += [Forget(key) for key in sorted(gone)]
    node = _reweighed(node, now, effects)
    if node.shutdown and not node.ended and all(vhid.phase is Phase.INIT for vhid in node.vhids.values()):
        node = replace(node, ended=True)
        effects.append(Ended())
    return node, tuple(effects)


def _reweighed(node: Node, now: float, effects: list[Effect]) -> Node:
    """Every MASTER advertises at once what it weighs now, and each only once for all that came together."""
    new = demotion_of(node)
    if new == node.demotion:
        return node
    total = node.demotion.total
    node = replace(node, demotion=new)
    return node if new.total == total else _tell_all(node, Reweighed(), now, effects)


def _placed(node: Node, key: Key, now: float, effects: list[Effect]) -> Node:
    """The vhid in INIT where it cannot or shall not run, out of it where it can."""
    vhid = node.vhids[key]
    trouble = node.devices[key.device].trouble
    unwelcome = unwanted(node, vhid)
    if trouble and vhid.phase is not Phase.INIT:
        return _tell(node, key, Unable(trouble), now, effects)
    if unwelcome and (vhid.phase is not Phase.LEAVING or vhid.stays):
        return _tell(node, key, Leave(unwelcome, stays=False), now, effects)
    if vhid.phase is Phase.INIT:
        return _tell(node, key, Unable(trouble) if trouble else Able(), now, effects)
    called_off = not (node.intent.maintenance or node.switchover) if vhid.stays else not unwelcome
    if vhid.phase is Phase.LEAVING and called_off:
        return _tell(node, key, Able(), now, effects)
    return node
