"""The state machine of one vhid: TABLE says for each phase and each input which function answers.

Each function returns the vhid as it is then and what is to be done, in that order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from syncsrv.carp import backup, master, moves
from syncsrv.carp.moves import Step
from syncsrv.carp.vhid import (
    Able,
    Around,
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


def advance(vhid: Vhid, what: Input, around: Around) -> Step:
    """One input to one vhid, as the table says."""
    return TABLE[vhid.phase, type(what)](vhid, what, around)


Function = Callable[[Vhid, Any, Around], Step]
"""Any: each function takes the input of its column; a test holds the table to that."""

TABLE: dict[tuple[Phase, type[Input]], Function] = {
    (Phase.INIT, Hear): moves.ignored,
    (Phase.INIT, Due): moves.ignored,
    (Phase.INIT, Able): backup.init_able,
    (Phase.INIT, Unable): backup.init_reason,
    (Phase.INIT, Leave): backup.init_reason,
    (Phase.INIT, Reweighed): moves.ignored,
    (Phase.INIT, Slept): moves.ignored,
    (Phase.INIT, Retimed): moves.retimed,
    (Phase.INIT, Outranked): moves.ignored,
    (Phase.BACKUP, Hear): backup.heard,
    (Phase.BACKUP, Due): backup.due,
    (Phase.BACKUP, Able): moves.ignored,
    (Phase.BACKUP, Unable): backup.unable,
    (Phase.BACKUP, Leave): backup.leave,
    (Phase.BACKUP, Reweighed): moves.ignored,
    (Phase.BACKUP, Slept): backup.slept,
    (Phase.BACKUP, Retimed): backup.retimed,
    (Phase.BACKUP, Outranked): backup.outranked,
    (Phase.MASTER, Hear): master.heard,
    (Phase.MASTER, Due): master.due,
    (Phase.MASTER, Able): moves.ignored,
    (Phase.MASTER, Unable): master.unable,
    (Phase.MASTER, Leave): master.leave,
    (Phase.MASTER, Reweighed): master.reweighed,
    (Phase.MASTER, Slept): master.slept,
    (Phase.MASTER, Retimed): master.retimed,
    (Phase.MASTER, Outranked): master.outranked,
    (Phase.LEAVING, Hear): master.leaving_heard,
    (Phase.LEAVING, Due): master.leaving_due,
    (Phase.LEAVING, Able): master.leaving_able,
    (Phase.LEAVING, Unable): master.unable,
    (Phase.LEAVING, Leave): master.leaving_leave,
    (Phase.LEAVING, Reweighed): moves.ignored,
    (Phase.LEAVING, Slept): master.leaving_slept,
    (Phase.LEAVING, Retimed): moves.retimed,
    (Phase.LEAVING, Outranked): moves.ignored,
}
"""Phase × input -> what happens. Complete: an input that means nothing in a phase is ignored on purpose."""
