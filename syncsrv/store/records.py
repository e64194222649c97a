"""What this node remembers of sync tags beside the repository: the highest number, and who showed what under a name."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable
from pathlib import Path

from syncsrv import durable
from syncsrv.errors import DamagedError
from syncsrv.store.files import writing
from syncsrv.store.tags import BadTagError

_BELIEVED = 10**11
_NUMBERED = re.compile(r"sync/([0-9]{6,12})\Z")


class MovedTagError(BadTagError):
    """The same signer shows another object under a name that this node has recorded."""

    code = "moved-tag"

    def __init__(self, name: str, recorded: str, offered: str) -> None:
        super().__init__(
            name,
            f"it has moved: recorded here is {recorded[:12]}, offered is {offered[:12]}",
            "a sync tag never moves; find out who moved it on the master, then make a new tag there",
        )
        self.recorded = recorded
        self.offered = offered


class TagRecords:
    """The records in a file that is read once and replaced at each change. For any thread.

    Args:
        path: in the state directory.

    Raises:
        DamagedError: the file is there but is not what we wrote; without it a moved tag could not be told.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._highest, self._tags = self._load()

    def next_name(self, seen: Iterable[str] = ()) -> str:
        """The name of the next tag: one more than the highest number ever seen from any node. It is not reserved.

        Args:
            seen: names that count too, as ``saw`` would make them.
        """
        with self._lock:
            return f"sync/{max(self._highest, _highest(seen)) + 1:06d}"

    def check(self, name: str, object_id: str, signer: str) -> None:
        """Compare with what was recorded.

        Args:
            name: ``sync/000041``.
            object_id: of the tag object.
            signer: fingerprint of the key that signed it.

        Raises:
            MovedTagError: the same signer showed another object under this name.
        """
        with self._lock:
            recorded = self._tags.get(name, {}).get(signer)
        if recorded is not None and recorded != object_id:
            raise MovedTagError(name, recorded, object_id)

    def record(self, name: str, object_id: str, signer: str) -> None:
        """Remember, durably.

        Raises:
            MovedTagError: as ``check``.
            NoSpaceError, UnwritableError: it is not remembered.
        """
        self.check(name, object_id, signer)
        with self._lock:
            if self._tags.get(name, {}).get(signer) == object_id:
                return
            tags = {**self._tags, name: {**self._tags.get(name, {}), signer: object_id}}
            number = _number(name)
            self._save(max(self._highest, number if number < _BELIEVED else 0), tags)

    def saw(self, names: Iterable[str]) -> None:
        """Take note of the names of tags that some node has, whatever they are worth: their numbers are used up.

        Numbers near the end of what a name can hold are not believed, or one bad name would end all tagging.
        """
        with self._lock:
            highest = _highest(names)
            if highest > self._highest:
                self._save(highest, self._tags)

    def _save(self, highest: int, tags: dict[str, dict[str, str]]) -> None:
        text = json.dumps({"format": 1, "highest": highest, "tags": tags}, indent=1, sort_keys=True)
        with writing(self._path, "the tag records"):
            durable.write(self._path, text.encode())
        self._highest, self._tags = highest, tags

    def _load(self) -> tuple[int, dict[str, dict[str, str]]]:
        try:
            content = json.loads(self._path.read_bytes())
            highest, tags = content["highest"], content["tags"]
            if content["format"] != 1 or not isinstance(highest, int) or not isinstance(tags, dict):
                raise ValueError("its format is not known")
            for signers in tags.values():
                if not all(isinstance(value, str) for value in signers.values()):
                    raise ValueError("a record is not text")
        except FileNotFoundError:
            return 0, {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedError(
                f"cannot read the tag records {self._path}: they are not what syncsrv writes there ({error})",
                "copy the file back; without it a tag that was moved cannot be told, and numbers are used again",
            ) from error
        return highest, tags


def _highest(names: Iterable[str]) -> int:
    return max((n for n in map(_number, names) if n < _BELIEVED), default=0)


def _number(name: str) -> int:
    match = _NUMBERED.match(name)
    return int(match[1]) if match else 0
