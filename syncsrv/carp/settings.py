"""What the state machine must know of a node and its vhids; passwords and addresses are none of its business."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from syncsrv.carp.effects import Key


class Preempt(enum.StrEnum):
    """When a better BACKUP takes over from a MASTER that serves. One that is demoted is taken over from in any case."""

    ALWAYS = "always"
    DELAYED = "delayed"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class VhidSettings:
    """One vhid.

    Args:
        key: device and number.
        advbase: seconds, 0..254; 0 makes advskew alone the interval.
        advskew: 0..239, in 1/256 s; this node's place in the row.
        refused: why this vhid must stay INIT ("advbase 0 needs peers that are all ours: ..."); empty where it may run.
    """

    key: Key
    advbase: int = 1
    advskew: int = 0
    refused: str = ""


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """One node.

    Args:
        node: its name; between two own peers with the same interval the lower name stays MASTER.
        vhids: each key once.
        tracked: devices without whose link this node is demoted, on all vhids.
        preempt: see Preempt.
        preempt_delay_s: for DELAYED: how long a worse MASTER must have been heard.
        ready_timeout_s: how long the node is demoted at most while nobody says it is ready; 0: not at all.
        table_timeout_s: how long at most while nobody says that the peer's connections are known here; 0: not at all.
    """

    node: str
    vhids: tuple[VhidSettings, ...] = ()
    tracked: tuple[str, ...] = ()
    preempt: Preempt = Preempt.ALWAYS
    preempt_delay_s: float = 0.0
    ready_timeout_s: float = 30.0
    table_timeout_s: float = 0.0
