"""Which schedules of cluster.yaml an admin has turned on on this node, and how they went last."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from syncsrv import durable
from syncsrv.store.files import writing

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Switch:
    """A schedule that was turned on here: by whom and when, and how it went last."""

    by: str
    at: str
    last_at: str = ""
    last_result: str = ""


class Switches:
    """``state_dir/schedules.json``: what is on, by the digest of its content.

    Losing it turns schedules off, which only costs a click, so damage is reported and not raised.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._on = self._load()

    def now(self) -> Mapping[str, Switch]:
        """What is on."""
        return self._on

    def set(self, digest: str, switch: Switch | None) -> None:
        """Turn one on, or off with None.

        Raises:
            NoSpaceError, UnwritableError: it stays as it was.
        """
        with self._lock:
            others = {one: was for one, was in self._on.items() if one != digest}
            self._save({**others, digest: switch} if switch is not None else others)

    def ran(self, digest: str, at: str, result: str) -> None:
        """How one that is on went.

        Raises:
            NoSpaceError, UnwritableError: it is not remembered.
        """
        with self._lock:
            if digest in self._on:
                self._save({**self._on, digest: replace(self._on[digest], last_at=at, last_result=result)})

    def keep_only(self, digests: Collection[str]) -> None:
        """Forget those that are gone."""
        with self._lock:
            if not self._on.keys() <= set(digests):
                self._save({digest: switch for digest, switch in self._on.items() if digest in digests})

    def _save(self, on: dict[str, Switch]) -> None:
        with writing(self._path, "which schedules are on"):
            durable.write(self._path, json.dumps({one: asdict(on[one]) for one in sorted(on)}, indent=1).encode())
        self._on = on

    def _load(self) -> dict[str, Switch]:
        try:
            raw = json.loads(self._path.read_bytes())
            return {digest: Switch(**{key: str(value) for key, value in one.items()}) for digest, one in raw.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("cannot read %s: %s; every schedule is off", self._path, error)
            return {}
