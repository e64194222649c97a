"""``syncsrv vip ACTION``: what an operator orders of failover, and what really came of it (DESIGN 3.3).

The order is on the disk before the process carp hears of it. Then its reports are watched, and the peers are asked now,
until it is known who serves each VIP that was given away; where nobody took one, the reply says why that may be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from syncsrv.control.dispatch import Caller
from syncsrv.control.shapes_failover import ACTIONS, VipReply, VipRequest
from syncsrv.core.carp import why
from syncsrv.core.carp.carp import Told
from syncsrv.core.carp.link import Reading
from syncsrv.core.parts import Core
from syncsrv.core.receipts import UnrecordedError, act_receipt
from syncsrv.errors import SyncsrvError, UsageError
from syncsrv.failover import outcome as outcomes
from syncsrv.failover.intent import Intent
from syncsrv.failover.messages import Report
from syncsrv.failover.orders import ENDS, SAID, SWITCHES, WEIGHT_MOST, demoted, promoted
from syncsrv.failover.outcome import Outcome, together
from syncsrv.plan.words import listed

TAKE_BACK_S = 2.0
"""For this node to become MASTER again where it may: less than most operators wait, more than a handover takes."""


SHOWN_S = 0.5
"""For the report of what an order has changed to arrive by the way that status reads."""


class NotServingError(SyncsrvError):
    """This node is MASTER of nothing that it could give away."""

    code = "not-serving"


@dataclass(slots=True)
class _Order:
    """One action under way."""

    core: Core
    steps: list[str] = field(default_factory=list)

    def give(self, change: Callable[[Intent], Intent]) -> Told:
        """Write an order down, and tell the process carp.

        Raises:
            NoSpaceError, UnwritableError: nothing has changed.
        """
        told = self.core.carp.order(change)
        self.steps.append("the order is written down")
        self.steps.append("the carp process took it" if told.report is not None else f"not taken yet: {told.why}")
        if told.report is not None:  # whoever looks at the status next sees what was ordered
            self.core.carp.wait(lambda one: _follows(one.now, told.report), SHOWN_S)
        return told


def vip(core: Core, request: VipRequest, caller: Caller) -> VipReply:
    """Do what is asked, wait until its outcome is known, and record it.

    Raises:
        UsageError: the action, name or weight makes no sense.
        NotServingError: a switchover of what this node does not serve.
        NoSpaceError, UnwritableError: the order could not be written down; nothing has changed.
    """
    if request.action not in _DO:
        raise UsageError(f"cannot do {request.action!r} with VIPs", f"it is one of {', '.join(ACTIONS)}")
    with core.carp.acting:
        order = _Order(core)
        reply = _DO[request.action](order, request)
    reply = replace(reply, steps=tuple(order.steps))
    if not order.steps:
        return reply
    result = "done" if reply.done else "failed"
    try:
        act_receipt(core, caller, "vip", f"{_called(request)}: {reply.text}", result=result, why=request.why)
    except UnrecordedError as error:
        return replace(reply, text=f"{reply.text}; and it is not recorded: {error.message}", remedy=error.remedy)
    return reply


def _called(request: VipRequest) -> str:
    words = [request.action.replace("-", " "), request.reason, str(request.weight or "")]
    return " ".join(word for word in words if word)


# -- what gives away


def _give(order: _Order, request: VipRequest) -> VipReply:
    """Order something for which a peer has to serve, and see whether one does."""
    change, what, carp = SWITCHES[request.action], SAID[request.action], order.core.carp
    before = carp.reading.now
    given = outcomes.served(before) if before is not None else ()
    told = order.give(change)
    if told.report is None:
        return _untold(order, told, what)
    if not given:
        return VipReply(True, f"{what}; this node served nothing{_others(told.report)}")
    found = _await(order, given, told.report)
    text = f"{what}; {outcomes.told(found)}"
    if not (found.kept or found.waiting):
        return VipReply(True, text + why.also_leaving(order.core, found.taken.values()), taken_by=found.taken)
    causes = why.not_taken(order.core, (*found.kept, *found.waiting))
    taken = {key: found.taken.get(key, "") for key in given}
    return VipReply(False, f"{text}: {causes.reason}", f"{causes.remedy}; {ENDS[request.action]}", taken)


def _untold(order: _Order, told: Told, what: str) -> VipReply:
    """It is on the disk, and that is all: a node on which nothing runs has nothing to give away."""
    if not order.core.carp.settings.vips:
        return VipReply(True, f"{what}; no vips are configured, so it counts from when there are some")
    later = "it is written down and counts from when the carp process runs again"
    if told.absent:
        return VipReply(True, f"{what}: {later}; now it does not run, and this node serves nothing", told.why)
    return VipReply(False, f"{what}: {later}; whether this node still serves is unknown: {told.why}", _LOOK)


_LOOK = "look at the log of carp; `syncsrv vip` on a peer shows what that one serves"


def _others(report: Report) -> str:
    return "".join(f"; {who} serves {together(keys)}" for who, keys in _serving(report).items())


def _serving(report: Report) -> dict[str, list[str]]:
    """Who else serves what, as this node hears it."""
    found: dict[str, list[str]] = {}
    for one in report.vips:
        who = one.master_peer or one.master_source
        if who and one.state != "MASTER":  # a MASTER's is the one before it
            found.setdefault(who, []).append(outcomes.key_of(one))
    return found


def _follows(report: Report | None, first: Report | None) -> bool:
    """Whether a report is as new as ``first``, or newer; of another process it is."""
    if report is None or first is None:
        return False
    return report.pid != first.pid or report.seq >= first.seq


def _await(order: _Order, given: tuple[str, ...], first: Report) -> Outcome:
    """Watch the reports until nothing is open, and let the peers confirm what they say of themselves."""

    def latest(reading: Reading) -> Report:
        return reading.now if reading.now is not None and _follows(reading.now, first) else first

    reading = order.core.carp.wait(lambda one: not outcomes.outcome(given, latest(one)).waiting, outcomes.WAIT_S)
    found = outcomes.outcome(given, latest(reading))
    says = why.ask_peers(order.core)
    names = order.core.carp.nodes()
    taken = {key: names.get(who, who) for key, who in found.taken.items()}
    for name, facts in says.items():
        serves = [one.key for one in facts.vips if one.state == "MASTER" and one.key in given]
        order.steps.append(f"{name} says that it is MASTER of {together(serves) if serves else 'none of them'}")
        taken |= {key: name for key in serves if key in found.waiting}
    waiting = tuple(key for key in found.waiting if key not in taken)
    return Outcome(taken, found.kept, waiting)


def _switchover(order: _Order, request: VipRequest) -> VipReply:
    carp = order.core.carp
    if not carp.settings.vips:
        raise UsageError("cannot switch over: no vips are configured", "write `vips:` into cluster.yaml")
    report = carp.reading.now
    if report is None:
        raise NotServingError(f"cannot switch over: {carp.reading.why}", carp.reading.remedy)
    if not outcomes.served(report):
        if carp.intent.switchover:
            return _take_back(order)
        others = _serving(report)
        remedy = f"run it on {together(others)}" if others else "`syncsrv vip` says why nobody is heard"
        said = _others(report) or ", and no other MASTER is heard"
        raise NotServingError(f"cannot switch over: {carp.settings.node} is MASTER of nothing{said}", remedy)
    return _give_once(order, outcomes.served(report))


def _give_once(order: _Order, given: tuple[str, ...]) -> VipReply:
    """A handover that did not happen is taken back whole: nobody wants half of it, or a demotion that stays."""
    told = order.give(lambda intent: replace(intent, switchover=True))
    if told.report is None:
        order.give(lambda intent: replace(intent, switchover=False))
        return VipReply(False, f"nothing was switched over: {told.why}", _LOOK, dict.fromkeys(given, ""))
    found = _await(order, given, told.report)
    if not (found.kept or found.waiting):
        back = "by `syncsrv vip switchover`"
        if order.core.carp.settings.preempt != "always":
            back += f" on {together(dict.fromkeys(found.taken.values()))}"
        text = f"{outcomes.told(found)}; this node takes them again when that one fails, or {back}"
        text += why.also_leaving(order.core, found.taken.values())
        return VipReply(True, text, taken_by=found.taken)
    causes = why.not_taken(order.core, (*found.kept, *found.waiting))
    order.give(lambda intent: replace(intent, switchover=False))
    order.steps.append("the switchover is taken back")
    taken = {key: found.taken.get(key, "") for key in given}
    text = f"the switchover did not happen and is taken back: {outcomes.told(found)}: {causes.reason}"
    return VipReply(False, text, causes.remedy, taken)


def _take_back(order: _Order) -> VipReply:
    """This node gave them away by a switchover: it may serve again."""
    told = order.give(lambda intent: replace(intent, switchover=False))
    if told.report is None:
        return _untold(order, told, "the switchover is taken back")
    return VipReply(True, f"the switchover is taken back; {_standing(order, told.report)}")


# -- what lets this node serve again


def _again(order: _Order, request: VipRequest) -> VipReply:
    what = SAID[request.action]
    told = order.give(SWITCHES[request.action])
    if told.report is None:
        return _untold(order, told, what)
    return VipReply(True, f"{what}; {_standing(order, told.report)}")


def _standing(order: _Order, first: Report) -> str:
    """Who serves a moment later, and what else keeps this node from it."""

    def all_served(report: Report | None) -> bool:
        return report is not None and len(outcomes.served(report)) == len(report.vips)

    carp = order.core.carp
    may_serve = carp.settings.preempt == "always" and not first.disabled and not first.demotion_total
    report = first
    if may_serve and not all_served(first):
        report = carp.wait(lambda one: all_served(one.now), TAKE_BACK_S).now or first
    served = outcomes.served(report)
    if served:
        return f"this node serves {together(served)}{_others(report)}"
    reasons = [f"{name} {weight}" for name, weight in report.demotion_reasons.items()]
    kept = f"; this node is still demoted: {listed(reasons)}" if reasons else ""
    waits = "" if carp.settings.preempt == "always" else "; it takes nothing back from a peer that is well (`carp:`)"
    return f"this node serves nothing yet{_others(report)}{kept}{waits if not kept else ''}"


# -- demotions


def _demote(order: _Order, request: VipRequest) -> VipReply:
    told = order.give(demoted(request.reason, request.weight))
    what = f"demoted by {request.weight} for {request.reason}"
    if told.report is None:
        return _untold(order, told, what)
    settings = order.core.carp.settings
    stays = settings.preempt == "never" and settings.advskew + told.report.demotion_total < WEIGHT_MOST
    said = f"; with `preempt: false` no peer takes over before it is {WEIGHT_MOST}" if stays else ""
    return VipReply(True, f"{what}; {_rank(told.report)}{said}")


def _promote(order: _Order, request: VipRequest) -> VipReply:
    told = order.give(promoted(order.core.carp.intent, request.reason))
    what = f"the demotion {request.reason} is gone"
    if told.report is None:
        return _untold(order, told, what)
    return VipReply(True, f"{what}; {_rank(told.report)}")


def _rank(report: Report) -> str:
    reasons = [f"{name} {weight}" for name, weight in report.demotion_reasons.items()]
    return f"the demotion is {report.demotion_total} now" + (f" ({listed(reasons)})" if reasons else "")


# -- changes of a VIP's addresses or password


def _commit(order: _Order, request: VipRequest) -> VipReply:
    pending = order.core.carp.wire_sets.own
    waited = [key for key, own in pending.items() if own.pending]
    reply = order.core.declaring.commit(now=request.now)
    if waited:
        order.steps.append(f"the peers were asked to accept the new set of {together(waited)}")
    return reply


_DO: Mapping[str, Callable[[_Order, VipRequest], VipReply]] = {
    "maintenance-on": _give,
    "maintenance-off": _again,
    "disable": _give,
    "enable": _again,
    "demote": _demote,
    "promote": _promote,
    "switchover": _switchover,
    "commit": _commit,
}
