"""Who is logged in to the page: sessions that core issues, rotates and ends (DESIGN 4.6).

An id is 256 random bits and only its SHA-256 is kept, in ``state_dir/sessions.json``, so that a restart of core logs
nobody out. Idle time is monotonic, within one boot of the machine; the end of a session is reached by the wall clock
or by the monotonic one, whichever comes first, so that no step of a clock makes it longer.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from syncsrv import durable
from syncsrv.clock import Clock

log = logging.getLogger(__name__)

IDLE_S = 30 * 60.0
ABSOLUTE_S = 12 * 3600.0
ROTATE_S = 15 * 60.0
GRACE_S = 60.0
"""An id that was replaced is good for this long: other tabs, answers that were lost."""
AGAIN_S = 5.0
"""A replaced id that is still used gets another new one, but not each of many requests at once."""
MAX_IDS = 4
MAX_OF_PERSON = 16
MAX_ALL = 1024
SAVE_S = 60.0
"""So much idle time may be lost by a restart: not every request writes the disk."""
LARGEST_FILE = 4 << 20


@dataclass(frozen=True, slots=True)
class Now:
    """Both clocks at once: monotonic seconds, and seconds of UTC since 1970."""

    at: float
    utc_s: float


@dataclass(frozen=True, slots=True)
class Issued:
    """An id: its digest, when it was issued, and when it ends because a newer one replaced it."""

    digest: str
    at: float
    until_at: float | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One session.

    Attributes:
        person: who.
        stamp: of the password that it was begun with; another password ends it.
        began_at: monotonic.
        ends_utc_s: the absolute end.
        used_at: monotonic.
        ids: the ids that stand for it, oldest first.
    """

    person: str
    stamp: str
    began_at: float
    ends_utc_s: float
    used_at: float
    ids: tuple[Issued, ...]

    @property
    def ends_utc(self) -> datetime:
        return datetime.fromtimestamp(self.ends_utc_s, UTC)


def begun(person: str, stamp: str, digest: str, now: Now) -> Record:
    """A new session."""
    return Record(person, stamp, now.at, now.utc_s + ABSOLUTE_S, now.at, (Issued(digest, now.at),))


def alive(record: Record, now: Now) -> bool:
    """Whether it has not ended; times that lie ahead are damage, and end it too."""
    return (
        0 <= now.at - record.used_at < IDLE_S
        and 0 <= now.at - record.began_at < ABSOLUTE_S
        and (now.utc_s < record.ends_utc_s)
    )


def standing(record: Record, digest: str, now: Now) -> Issued | None:
    """The id of this digest, while it stands for the session."""
    if not alive(record, now):
        return None
    for issued in record.ids:
        if issued.digest == digest and (issued.until_at is None or now.at < issued.until_at):
            return issued
    return None


def due(record: Record, issued: Issued, now: Now) -> bool:
    """Whether this id is to be replaced: it is old, or it was replaced and its user has not got the news."""
    if issued.until_at is None:
        return now.at - issued.at >= ROTATE_S
    return all(now.at - other.at >= AGAIN_S for other in record.ids)


def rotated(record: Record, digest: str, now: Now) -> Record:
    """A new id; all others end within the grace."""
    until_at = now.at + GRACE_S
    others = tuple(
        replace(issued, until_at=until_at if issued.until_at is None else min(issued.until_at, until_at))
        for issued in record.ids
        if issued.until_at is None or now.at < issued.until_at
    )
    return replace(record, ids=(*others[-(MAX_IDS - 1) :], Issued(digest, now.at)))


def within_bounds(records: Iterable[Record], fresh: Record, now: Now) -> list[Record]:
    """Those that stay beside a fresh one: what was used last, of its person and of all."""
    stay = sorted((one for one in records if alive(one, now)), key=lambda one: one.used_at)
    own = [one for one in stay if one.person == fresh.person]
    for one in own[: max(0, len(own) - MAX_OF_PERSON + 1)]:
        stay.remove(one)
    return [*stay[max(0, len(stay) - MAX_ALL + 1) :], fresh]


class Sessions:
    """All sessions, and their file.

    Args:
        path: the file.
        clock: both halves.
        boot: the kernel's name of this boot; what another boot left is no longer good.
    """

    def __init__(self, path: Path, clock: Clock, boot: str) -> None:
        self._path = path
        self._clock = clock
        self._boot = boot
        self._lock = threading.Lock()
        self._saved_at = clock.monotonic()
        self._records: list[Record] = []
        self._by_digest: Mapping[str, Record] = {}
        self._keep([record for record in self._load() if alive(record, self._now())])

    def issue(self, person: str, stamp: str) -> tuple[str, Record]:
        """A new session for a person whose password was right.

        Returns:
            The id, which is kept nowhere here, and the session.
        """
        secret = secrets.token_urlsafe(32)
        with self._lock:
            now = self._now()
            record = begun(person, stamp, _digest(secret), now)
            self._keep(within_bounds(self._records, record, now))
            self._save()
        return secret, record

    def use(self, secret: str, *, touch: bool = True) -> Record | None:
        """The session that an id stands for; None where it stands for none.

        Args:
            secret: the id as it came.
            touch: whether this counts as use; a page that asks again by itself does not.
        """
        digest = _digest(secret)
        with self._lock:
            now = self._now()
            record = self._by_digest.get(digest)
            if record is None:
                return None
            if standing(record, digest, now) is None:
                if not alive(record, now):
                    self._replace(record, None)
                    self._save()
                return None
            if touch:
                record = self._replace(record, replace(record, used_at=now.at))
                if now.at - self._saved_at >= SAVE_S:
                    self._save()
            return record

    def rotate(self, secret: str) -> str:
        """The id to be sent from now on: the same one, or another where it is time for that."""
        digest = _digest(secret)
        with self._lock:
            now = self._now()
            record = self._by_digest.get(digest)
            issued = None if record is None else standing(record, digest, now)
            if record is None or issued is None or not due(record, issued, now):
                return secret
            fresh = secrets.token_urlsafe(32)
            self._replace(record, rotated(record, _digest(fresh), now))
            self._save()
        return fresh

    def end(self, secret: str) -> None:
        """Log out."""
        with self._lock:
            record = self._by_digest.get(_digest(secret))
            if record is not None:
                self._replace(record, None)
                self._save(ending=True)

    def end_all(self, person: str) -> None:
        """Log a person out everywhere."""
        with self._lock:
            stay = [record for record in self._records if record.person != person]
            if len(stay) < len(self._records):
                self._keep(stay)
                self._save(ending=True)

    def restamp(self, person: str, old: str, new: str) -> None:
        """The same password is kept in another form: its sessions go on."""
        with self._lock:
            self._keep(
                [replace(one, stamp=new) if (one.person, one.stamp) == (person, old) else one for one in self._records]
            )
            self._save()

    def __len__(self) -> int:
        return len(self._records)

    def _now(self) -> Now:
        return Now(self._clock.monotonic(), self._clock.utc().timestamp())

    def _replace(self, old: Record, new: Record | None) -> Record:
        rest = [record for record in self._records if record is not old]
        self._keep(rest if new is None else [*rest, new])
        return old if new is None else new

    def _keep(self, records: list[Record]) -> None:
        self._records = records
        self._by_digest = {issued.digest: record for record in records for issued in record.ids}

    def _save(self, *, ending: bool = False) -> None:
        """Write the file; a disk that takes nothing must not shut people out, and must let nobody back in."""
        self._saved_at = self._clock.monotonic()
        body = {"boot": self._boot, "sessions": [asdict(record) for record in self._records]}
        try:
            durable.write(self._path, json.dumps(body).encode())
        except OSError as error:
            log.error("cannot keep sessions in %s: %s; a restart of core ends them", self._path, error.strerror)
            if ending:
                self._remove()

    def _remove(self) -> None:
        try:
            durable.remove(self._path)
        except OSError as error:
            log.error("cannot remove %s: %s; remove it before core starts again", self._path, error.strerror)

    def _load(self) -> list[Record]:
        try:
            with self._path.open("rb") as file:
                found = _FILE.validate_json(file.read(LARGEST_FILE), strict=True)
        except FileNotFoundError:
            return []
        except (OSError, ValidationError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not what syncsrv writes there"
            log.error("cannot read %s: %s; everybody has to log in again", self._path, why)
            return []
        if found.boot != self._boot:
            log.info("the machine was started anew: everybody has to log in again")
            return []
        return list(found.sessions)


@dataclass(frozen=True, slots=True)
class _File:
    boot: str
    sessions: tuple[Record, ...]


_FILE = TypeAdapter(_File)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
