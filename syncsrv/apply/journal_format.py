"""The journal's document: what stands in it, as JSON, and back. Pure.

``FORMAT`` counts its shape. This program reads its own format only and refuses another with the sentence that says
what to do, since guessing here would mean guessing about live files; for the same reason nothing may be missing,
unknown or of another type. Paths are percent-encoded, so the document is ASCII whatever bytes a name has.
"""

from __future__ import annotations

import enum
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote_from_bytes, unquote_to_bytes

from syncsrv.clock import rfc3339
from syncsrv.disk.file_errors import UnsafePathError
from syncsrv.disk.operations import Op, Operation
from syncsrv.disk.walk import checked_path
from syncsrv.errors import DamagedError, SyncsrvError

FORMAT = 1

_OBJECT_ID = re.compile(r"[0-9a-f]{40}")
_JOB = re.compile(r"[A-Za-z0-9-]{1,64}")
_SAFE = "/!$&'()*+,:;=@"

T = TypeVar("T")
E = TypeVar("E", bound=enum.StrEnum)


class Phase(enum.StrEnum):
    """How far an apply has come."""

    PREPARED = "prepared"
    WRITING = "writing"
    APPLIED = "applied"
    REVERTING = "reverting"


class JobKind(enum.StrEnum):
    """Which of the ways through the one engine it is."""

    SYNC = "sync"
    ROLLBACK = "rollback"
    REVERT = "revert"
    ADOPT = "adopt"
    PUSH = "push"


class JournalFormatError(SyncsrvError):
    """The journal was written by a program of another version.

    Attributes:
        found: its format.
    """

    code = "journal-format"
    exit_status: ClassVar[int] = 1

    def __init__(self, path: Path, found: object) -> None:
        super().__init__(
            f"cannot read the journal {path}: it has format {found!r}, and this version of syncsrv knows {FORMAT} only",
            "start the version that wrote it once, so that it finishes or undoes its apply",
        )
        self.found = found


@dataclass(frozen=True, slots=True)
class Confirm:
    """Until when an apply has to be confirmed, in each of the ways that outlive a restart.

    Attributes:
        boot_id: of the boot during which it was set.
        deadline_boottime_s: CLOCK_BOOTTIME then; what counts within that boot.
        deadline_utc: what counts after another boot.
    """

    boot_id: str
    deadline_boottime_s: float
    deadline_utc: datetime


@dataclass(frozen=True, slots=True)
class Record:
    """The journal of one apply.

    Attributes:
        job: its id.
        kind: which way it came.
        phase: how far it has come.
        pre_image: commit of what was live before, held by main.
        wanted: id of the tree that shall be live, held by a job ref.
        target: the commit that the tag names, or that is rolled back to; None where it is neither.
        main_expected: where main has to be for the commit of the result; None where there is none yet.
        tag: name of the tag that is applied; None for a commit.
        tag_object: its object.
        areas: those concerned.
        requested_by: person, as recorded.
        via: trailer word.
        reason: the operator's.
        forced: guards that were overridden, which hold for the finish after a crash too.
        started_utc: when it began.
        operations: what is written, in order.
        services: what each service is told afterwards: name to reload, restart or none.
        restart_all: restart everything that runs, afterwards.
        confirm: the deadline; None where no confirmation is asked for.
        services_before: state of each service before it began.
    """

    job: str
    kind: JobKind
    pre_image: str
    wanted: str
    started_utc: datetime
    operations: tuple[Operation, ...]
    phase: Phase = Phase.PREPARED
    target: str | None = None
    main_expected: str | None = None
    tag: str | None = None
    tag_object: str | None = None
    areas: tuple[str, ...] = ()
    requested_by: str = ""
    via: str = ""
    reason: str = ""
    forced: tuple[str, ...] = ()
    services: Mapping[str, str] = field(default_factory=dict)
    restart_all: bool = False
    confirm: Confirm | None = None
    services_before: Mapping[str, str] = field(default_factory=dict)


def encode(record: Record) -> bytes:
    """The document of a record."""
    confirm = record.confirm
    document: dict[str, Any] = {
        "format": FORMAT,
        "job": record.job,
        "kind": record.kind.value,
        "phase": record.phase.value,
        "pre_image": record.pre_image,
        "wanted": record.wanted,
        "target": record.target,
        "main_expected": record.main_expected,
        "tag": record.tag,
        "tag_object": record.tag_object,
        "areas": list(record.areas),
        "requested_by": record.requested_by,
        "via": record.via,
        "reason": record.reason,
        "forced": list(record.forced),
        "started_utc": rfc3339(record.started_utc),
        "paths": [[one.op.value, _quote(one.path), _quote(one.temp)] for one in record.operations],
        "services": dict(record.services),
        "restart_all": record.restart_all,
        "confirm": None
        if confirm is None
        else {
            "boot_id": confirm.boot_id,
            "boottime_s": confirm.deadline_boottime_s,
            "utc": rfc3339(confirm.deadline_utc),
        },
        "services_before": dict(record.services_before),
    }
    return json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"


def decode(text: bytes, path: Path) -> Record:
    """The record of a document.

    Args:
        text: as read.
        path: where it was read, for the errors.

    Raises:
        DamagedError: it is not what ``encode`` writes.
        JournalFormatError: it is of another format.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"it is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise _damaged(path, "it is not an object")
    if document.get("format") != FORMAT or isinstance(document["format"], bool):
        if "format" in document:
            raise JournalFormatError(path, document["format"])
        raise _damaged(path, "it says no format")
    try:
        return _record(document)
    except _MalformedError as error:
        raise _damaged(path, str(error)) from error


class _MalformedError(Exception):
    """Why a document is none of ours."""


def _damaged(path: Path, why: str) -> DamagedError:
    return DamagedError(
        f"cannot read the journal {path}: {why}",
        "an apply was under way and the disk may hold half of it: move the file away, start syncsrv, which commits "
        "what is live, and look at `syncsrv diff`; `syncsrv rescue restore known-good` puts the last good state back",
    )


def _record(document: dict[str, Any]) -> Record:
    fields = _Fields(document, "")
    record = Record(
        job=fields.text("job", _JOB),
        kind=fields.word("kind", JobKind),
        phase=fields.word("phase", Phase),
        pre_image=fields.text("pre_image", _OBJECT_ID),
        wanted=fields.text("wanted", _OBJECT_ID),
        target=fields.text_or_none("target", _OBJECT_ID),
        main_expected=fields.text_or_none("main_expected", _OBJECT_ID),
        tag=fields.text_or_none("tag"),
        tag_object=fields.text_or_none("tag_object", _OBJECT_ID),
        areas=fields.texts("areas"),
        requested_by=fields.text("requested_by"),
        via=fields.text("via"),
        reason=fields.text("reason"),
        forced=fields.texts("forced"),
        started_utc=fields.moment("started_utc"),
        operations=_operations(fields.take("paths", list)),
        services=fields.words("services"),
        restart_all=fields.take("restart_all", bool),
        confirm=_confirm(fields),
        services_before=fields.words("services_before"),
    )
    fields.take("format", int)
    fields.end()
    return record


def _confirm(fields: _Fields) -> Confirm | None:
    if fields.is_null("confirm"):
        return None
    inner = _Fields(fields.take("confirm", dict), "confirm.")
    confirm = Confirm(inner.text("boot_id"), inner.number("boottime_s"), inner.moment("utc"))
    inner.end()
    return confirm


def _operations(rows: list[Any]) -> tuple[Operation, ...]:
    found = []
    for number, row in enumerate(rows):
        if not (isinstance(row, list) and len(row) == 3 and all(isinstance(cell, str) for cell in row)):
            raise _MalformedError(f"paths[{number}] is not three texts")
        op, path, temp = row
        try:
            raw, raw_temp = _unquote(path), _unquote(temp)
            checked_path(raw)
            if raw_temp:
                checked_path(raw_temp, temporary=True)
            found.append(Operation(Op(op), raw, raw_temp))
        except (ValueError, UnsafePathError) as error:
            raise _MalformedError(f"paths[{number}]: {error}") from error
    return tuple(found)


def _quote(path: bytes) -> str:
    return quote_from_bytes(path, safe=_SAFE)


def _unquote(text: str) -> bytes:
    raw = unquote_to_bytes(text)
    if _quote(raw) != text:
        raise ValueError(f"{text!r} is not percent-encoded as we do it")
    return raw


class _Fields:
    """Takes the members of an object one by one, each of its type, and in the end wants none left."""

    def __init__(self, document: dict[str, Any], prefix: str) -> None:
        self._left = dict(document)
        self._prefix = prefix

    def take(self, name: str, wanted: type[T]) -> T:
        if name not in self._left:
            raise _MalformedError(f"{self._prefix}{name} is missing")
        value = self._left.pop(name)
        if type(value) is not wanted:
            raise _MalformedError(f"{self._prefix}{name} is {type(value).__name__}, not {wanted.__name__}")
        return value

    def is_null(self, name: str) -> bool:
        """Whether a member is null; it is taken then."""
        if name in self._left and self._left[name] is None:
            del self._left[name]
            return True
        return False

    def text(self, name: str, shape: re.Pattern[str] | None = None) -> str:
        value = self.take(name, str)
        if shape is not None and not shape.fullmatch(value):
            raise _MalformedError(f"{self._prefix}{name} is {value!r}")
        return value

    def text_or_none(self, name: str, shape: re.Pattern[str] | None = None) -> str | None:
        return None if self.is_null(name) else self.text(name, shape)

    def word(self, name: str, words: type[E]) -> E:
        value = self.take(name, str)
        try:
            return words(value)
        except ValueError as error:
            raise _MalformedError(f"{self._prefix}{name} is {value!r}") from error

    def texts(self, name: str) -> tuple[str, ...]:
        values = self.take(name, list)
        if not all(isinstance(value, str) for value in values):
            raise _MalformedError(f"{self._prefix}{name} is not a list of texts")
        return tuple(values)

    def words(self, name: str) -> dict[str, str]:
        values = self.take(name, dict)
        if not all(isinstance(value, str) for value in values.values()):
            raise _MalformedError(f"{self._prefix}{name} is not an object of texts")
        return values

    def number(self, name: str) -> float:
        value = self._left.get(name)
        number = float(self.take(name, int if type(value) is int else float))
        if not math.isfinite(number):
            raise _MalformedError(f"{self._prefix}{name} is {number}")
        return number

    def moment(self, name: str) -> datetime:
        value = self.take(name, str)
        try:
            return datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError as error:
            raise _MalformedError(f"{self._prefix}{name} is {value!r}") from error

    def end(self) -> None:
        if self._left:
            raise _MalformedError(f"{self._prefix}{min(self._left)} is unknown")
