"""``run_dir/state-sync.json``: what the keeper of conntrackd says about itself. It writes, core and people read.

It is written once a second and at each change; one that is older than OLD_S seconds says nothing any more, and no
file says nothing either.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from syncsrv.errors import SyncsrvError
from syncsrv.failover import records
from syncsrv.failover.records import NoRecordError
from syncsrv.failover.settings import take_format

FORMAT = 1
FILE = "state-sync.json"
"""Below run_dir."""

OLD_S = 5.0

Word = Literal["ready", "waiting", "alone", "dead", "missing"]
"""``ready``: tables go to and fro; ``waiting``: for the peer's table; ``alone``: no peer is heard; ``dead``: conntrackd
does not run; ``missing``: it is not installed."""

Peer = Literal["heard", "silent", "unknown"]
Table = Literal["received", "awaited", "timed out"]
"""``received``: this node has the MASTER's connections, or is the MASTER itself; ``timed out``: it waits no more."""


class BadStateError(SyncsrvError):
    """The file is none of ours."""

    code = "state-sync"

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"cannot tell how the state sync is: {detail}",
            "the carp process writes this file once a second; if it is of another version, restart it",
        )


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why conntrackd cannot do its work here, and what helps; sentences for people."""

    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class LastOrder:
    """What conntrackd was told last.

    Attributes:
        what: in words: ``commit, flush, resync, bulk update``.
        why: it failed; empty where it was done.
        seconds: that it took.
        at_boot_s: when, CLOCK_BOOTTIME seconds.
    """

    what: str
    result: Literal["done", "failed"]
    why: str
    seconds: float
    at_boot_s: float


@dataclass(frozen=True, slots=True)
class State:
    """How it is.

    Attributes:
        reason: for the word, a sentence for people; ``remedy``: what they can do, empty where there is nothing to do.
        pid: conntrackd's; None where it does not run.
        at_boot_s: when this was written, CLOCK_BOOTTIME seconds.
        entries: connections that this node's kernel knows: its own, those it forwards, those the peer sent.
        carried: those of them that the peer is told of: what goes through this node, and neither to it nor from it.
        received: connections that the peer sent and this kernel took, new or changed, since conntrackd started.
        peer: whether another conntrackd was heard in the last seconds.
        lag: messages to the peer that wait to be sent or to be acknowledged.
        errors: what went wrong since conntrackd started, by name; only what is not 0.
    """

    engine: str
    word: Word
    reason: str
    remedy: str
    pid: int | None
    at_boot_s: float
    entries: int
    carried: int
    received: int
    peer: Peer
    lag: int
    last_order: LastOrder | None
    table: Table
    errors: Mapping[str, int] = field(default_factory=dict)


def encode(state: State) -> bytes:
    """The file's bytes."""
    return json.dumps({"format": FORMAT, **records.to_plain(state)}, sort_keys=True, indent=1).encode() + b"\n"


def decode(data: bytes) -> State:
    """Out of the file's bytes.

    Raises:
        BadStateError: a key is unknown, missing or wrong.
    """
    try:
        return records.from_plain(State, take_format(records.parse(data), FORMAT))
    except NoRecordError as error:
        raise BadStateError(str(error)) from None


def load(run_dir: Path) -> State | None:
    """What the keeper wrote last; None where there is no file. How old it is, ``at_boot_s`` tells.

    Raises:
        BadStateError: it cannot be read, or as in ``decode``.
    """
    path = run_dir / FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadStateError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    return decode(data)


def store(run_dir: Path, state: State) -> None:
    """Replace the file; mode 0600. Not durably: a machine that lost power has no conntrackd either.

    Raises:
        OSError: as the system says.
    """
    replace_file(run_dir / FILE, encode(state))


def replace_file(path: Path, data: bytes) -> None:
    """Another content for readers at once and not in parts; mode 0600.

    Raises:
        OSError: as the system says.
    """
    temporary = path.with_name(f".{path.name}.new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    temporary.rename(path)
