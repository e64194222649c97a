"""What a scan says: the entries that are live, and by name everything that was left out of them."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from syncsrv.plan.tree import Entry, show_path


class Reason(enum.StrEnum):
    """Why something inside an area is no entry."""

    EXCLUDED = "excluded"
    SOCKET = "socket"
    FIFO = "fifo"
    DEVICE = "device"
    UNREADABLE = "unreadable"
    TOO_LARGE = "too-large"
    TOO_DEEP = "too-deep"
    CHANGING = "changing"
    UNNAMEABLE = "unnameable"
    FOREIGN = "foreign"


_UNKNOWN = frozenset({Reason.UNREADABLE, Reason.TOO_DEEP, Reason.CHANGING, Reason.FOREIGN})


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that is there and is no entry; what is below it is not reported.

    Attributes:
        path: as a tree path.
        area: the area it lies in.
        reason: the kind of reason.
        detail: the reason as words, for people.
        size: bytes, where it is a file that was looked at; else 0.
    """

    path: bytes
    area: str
    reason: Reason
    detail: str
    size: int = 0

    @property
    def unknown(self) -> bool:
        """Whether the scan could not tell what is there or below: its absence from the entries is no deletion."""
        return self.reason in _UNKNOWN

    def __str__(self) -> str:
        return f"{show_path(self.path)}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Large:
    """A file that is read though it is large for configuration.

    Attributes:
        path: as a tree path.
        size: bytes.
    """

    path: bytes
    size: int


@dataclass(frozen=True, slots=True)
class LiveTree:
    """What was live when it was scanned.

    Attributes:
        entries: every managed file, directory and link.
        left_out: what is inside areas and no entry, sorted by path.
        large: files from 1 MiB to their area's limit, sorted by path.
    """

    entries: dict[bytes, Entry]
    left_out: tuple[LeftOut, ...]
    large: tuple[Large, ...]
