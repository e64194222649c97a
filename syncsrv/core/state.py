"""What a node remembers about its syncs, on disk: what is applied per area and how the last run ended.

``state_dir/sync.json``, written durably. The commits it names are on main, the tags under refs/tags; so nothing it
relies upon can be pruned.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from syncsrv import durable
from syncsrv.errors import DamagedError
from syncsrv.plan.verdict import Last
from syncsrv.store.files import writing


@dataclass(frozen=True, slots=True)
class Applied:
    """What was applied in one area.

    Attributes:
        tag: its name.
        tag_object: the tag's object id.
        commit: the commit that the tag names.
        result: the commit of this node's main that the sync made.
    """

    tag: str
    tag_object: str
    commit: str
    result: str


@dataclass(frozen=True, slots=True)
class SyncState:
    """All of it; a new value replaces the old one as a whole."""

    applied: dict[str, Applied] = field(default_factory=dict)
    last: Last | None = None
    rolled_back_here: str | None = None

    @property
    def newest(self) -> Applied | None:
        """What was applied last, by the tag's number."""
        return max(self.applied.values(), key=lambda one: (len(one.tag), one.tag), default=None)


class StateFile:
    """Loads and saves a SyncState.

    Raises:
        DamagedError: the file does not read as what we wrote.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.now = self._load()

    def save(self, state: SyncState) -> None:
        """Make ``state`` the one in force, durably.

        Raises:
            NoSpaceError, UnwritableError: the old one stays in force.
        """
        self.change(lambda _: state)

    def change(self, change: Callable[[SyncState], SyncState]) -> None:
        """The same with what ``change`` makes of the state in force; of jobs at once none undoes what another saved."""
        with self._lock:
            state = change(self.now)
            with writing(self._path, "the node's state"):
                durable.write(self._path, json.dumps(asdict(state), indent=1).encode() + b"\n")
            self.now = state

    def _load(self) -> SyncState:
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return SyncState()
        try:
            raw = json.loads(text)
            last = raw["last"]
            return SyncState(
                applied={area: Applied(**one) for area, one in raw["applied"].items()},
                last=Last(**last) if last is not None else None,
                rolled_back_here=raw["rolled_back_here"],
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DamagedError(
                f"cannot read {self._path}: it is not what syncsrv writes there ({error})",
                "move it away; the next sync then counts as the first, and its preview shows what it overwrites",
            ) from error
