"""What serving means for a change of this node: the guard, the end of a sync, the demotion while it is unproven."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from syncsrv.apply.order import Order, overridden
from syncsrv.apply.steps import Steps
from syncsrv.control.shapes import Facts
from syncsrv.core.carp import standing
from syncsrv.core.carp.link import Reading
from syncsrv.core.parts import Core
from syncsrv.errors import SyncsrvError
from syncsrv.plan import guards
from syncsrv.plan.guards import Fired, Guard
from syncsrv.plan.words import listed

log = logging.getLogger(__name__)

UNPROVEN = "unproven"

SEEN_S = 1.0
"""For the next report of the carp process, which it sends at each change."""
"""The demotion of a node whose configuration is between two states."""
WEIGHT = 240
"""Any peer that is well serves instead."""


class BecameMasterError(SyncsrvError):
    """The node began to serve in the middle of a sync (DESIGN 4.4)."""

    code = "became-master"

    def __init__(self, node: str, job: str, served: tuple[str, ...], why: str) -> None:
        super().__init__(
            f"cannot finish job {job}: {node} became MASTER of {listed(served)} in the middle of it ({why})",
            f"synchronize again when {node} does not serve; to change it while it does, an admin repeats it with "
            f"--force {Guard.TARGET_IS_MASTER}",
        )


def guard(core: Core) -> Fired | None:
    """The guard ``target-is-master`` for a sync of this node: it serves, or may serve for all that is known.

    A carp process that does not run holds nothing: then people are not on this node.
    """
    if not core.cluster.vips:
        return None
    reading = core.carp.reading
    unknown = "" if reading.now is not None or reading.absent else reading.why
    return guards.target_is_master(core.node, standing.served(reading.now), unknown)


def guard_of_peer(name: str, facts: Facts) -> Fired | None:
    """The same for a peer, from what it said of itself."""
    if not facts.failover.configured:
        return None
    served = [f"{vip.key} ({', '.join(vip.addresses)})" for vip in facts.vips if vip.state == "MASTER"]
    unknown = "" if facts.failover.running or facts.failover.absent else facts.failover.why or "it did not say"
    return guards.target_is_master(name, served, unknown)


@contextmanager
def ends_if_master(core: Core, order: Order, steps: Steps) -> Iterator[None]:
    """While an order is carried out: where the node begins to serve, the job stops at its next step and undoes.

    Not where ``target-is-master`` was forced by who may, for then that was meant; and not for a rollback.
    """
    forced = overridden(Guard.TARGET_IS_MASTER, order, pinned=False)
    if order.kind != "sync" or order.dry_run or forced:
        yield
        return

    def look(_was: Reading, now: Reading) -> None:
        served = standing.served(now.now)
        if served and now.now is not None:
            steps.withdraw(BecameMasterError(core.node, order.job, served, standing.why(now.now)))

    with core.carp.listening(look):
        look(core.carp.reading, core.carp.reading)
        yield


def changing(core: Core) -> None:
    """Live files are about to change: no node whose configuration is between two states shall begin to serve.

    One that serves already goes on: a rollback there is how people mend what they see, and to be demoted for a second
    would move every connection to a peer and back. Should a service not survive it, its health demotes the node.
    """
    if not core.carp.holds_any_vip():
        unproven(core, True)


def unproven(core: Core, on: bool) -> None:
    """Demote this node while it is between two states, or take that back; never an obstacle to a change.

    Who holds the order waits for the carp process until its deadline (``asking.DEADLINE_S``); one that is away reads
    the order at its start.
    """
    if on is (UNPROVEN in core.carp.intent.demotions) or (on and not core.cluster.vips):
        return
    try:
        told = core.carp.set_demotion(UNPROVEN, WEIGHT if on else None)
    except SyncsrvError as error:
        log.error("the node could not be %s: %s", "demoted while it is changed" if on else "promoted again", error)
        return
    if told.report is not None:  # whoever asks for our status next is told that it is so
        core.carp.wait(lambda reading: reading.now is None or (UNPROVEN in reading.now.demotion_reasons) is on, SEEN_S)
    elif not told.absent:
        log.warning("the carp process has not taken yet that the node %s unproven: %s", _is(on), told.why)


def _is(on: bool) -> str:
    return "is" if on else "is no more"
