"""``state_dir/carp/intent.json``: what people and core ordered. It is on the disk before anything acts on it.

So maintenance outlives a reboot, and no order is half given (OPNsense wrote its flag after the demotion, and a hook
that rewrote the configuration in between left the node stranded). Ready is not in it: it is true of one boot only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syncsrv.errors import SyncsrvError
from syncsrv.failover import records
from syncsrv.failover.records import NoRecordError
from syncsrv.failover.settings import take_format

FORMAT = 1
FILE = "carp/intent.json"
"""Below state_dir."""

WEIGHT_MOST = 254


class BadIntentError(SyncsrvError):
    """The file is not what core writes; ``detail`` names the key."""

    code = "carp-intent"

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"cannot tell what was ordered of failover: {detail}",
            "give the orders again, such as `syncsrv vip maintenance on`: that writes the file anew",
        )


@dataclass(frozen=True, slots=True)
class Intent:
    """What was ordered.

    Attributes:
        disabled: this node holds no address and takes none.
        maintenance: it gives everything away and takes only what nobody else does.
        switchover: it gives everything away once; taken back by itself when it became MASTER again, or hears one
            that ranks before it anyway.
        hold_preempt: why it must not take over from a peer that serves (a peer is diverged); empty: it may.
        demotions: further reasons for the peers to be preferred, with their weight 0..254 in units of advskew.
    """

    disabled: bool = False
    maintenance: bool = False
    switchover: bool = False
    hold_preempt: str = ""
    demotions: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for reason, weight in self.demotions.items():
            if not reason or not 0 <= weight <= WEIGHT_MOST:
                raise ValueError(f"demotions holds {reason!r} with {weight}, not 0..{WEIGHT_MOST}")


def to_json(intent: Intent) -> dict[str, Any]:
    """As a JSON object, with its format."""
    return {"format": FORMAT, **records.to_plain(intent)}


def from_json(data: object) -> Intent:
    """Out of a parsed JSON object.

    Raises:
        BadIntentError: a key is unknown, missing or wrong.
    """
    try:
        return records.from_plain(Intent, take_format(data, FORMAT))
    except NoRecordError as error:
        raise BadIntentError(str(error)) from None


def encode(intent: Intent) -> bytes:
    """The file's bytes."""
    return json.dumps(to_json(intent), sort_keys=True, indent=1).encode() + b"\n"


def decode(data: bytes) -> Intent:
    """Out of the file's bytes.

    Raises:
        BadIntentError: as in ``from_json``.
    """
    try:
        plain = records.parse(data)
    except NoRecordError as error:
        raise BadIntentError(str(error)) from None
    return from_json(plain)


def load(state_dir: Path) -> Intent:
    """What was ordered below ``state_dir``; nothing where there is no file.

    Raises:
        BadIntentError: it cannot be read, or as in ``from_json``.
    """
    path = state_dir / FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Intent()
    except OSError as error:
        raise BadIntentError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    return decode(data)
