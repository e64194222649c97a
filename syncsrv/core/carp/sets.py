"""``state_dir/carp/sets.json``: which addresses and passwords are on the wire and accepted, ours and our peers'.

It outlives restarts and reboots, as nobody may synchronize for days. It holds passwords, and is 0600 in a directory of
0700. It is written before config.json, which the process carp works with and which is made from it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from syncsrv.carp import sets as pure
from syncsrv.carp.auth import VipSet
from syncsrv.carp.sets import Moment, Own, Retired, Sets, Word
from syncsrv.clock import Clock, boot_id, booted_s
from syncsrv.core.carp.configure import write
from syncsrv.failover import records
from syncsrv.failover.records import NoRecordError
from syncsrv.failover.settings import SetSettings, Settings, VipSettings, take_format

log = logging.getLogger(__name__)

FORMAT = 1
FILE = "carp/sets.json"


@dataclass(frozen=True, slots=True)
class _Retired:
    vips: SetSettings
    boot: str
    booted_s: float
    utc: str


@dataclass(frozen=True, slots=True)
class _Own:
    configured: SetSettings
    wire: SetSettings
    retired: tuple[_Retired, ...]
    since: str


@dataclass(frozen=True, slots=True)
class _Word:
    digest: str
    declared: Mapping[str, tuple[SetSettings, ...]]
    retired: Mapping[str, tuple[_Retired, ...]]


@dataclass(frozen=True, slots=True)
class _File:
    salt: str
    own: Mapping[str, _Own]
    peers: Mapping[str, _Word]


def moment(clock: Clock) -> Moment:
    """Now, as a time that outlives this process."""
    return Moment(boot_id(), booted_s(), clock.utc())


class SetsFile:
    """Remembers them, and writes them before anything is sent or accepted by them.

    Args:
        state_dir: of this node.
        before: what an earlier core had the process carp work with: a damaged or missing file is made from that.
        clock: for times that people see.
        at: what time it is.
    """

    def __init__(
        self, state_dir: Path, before: Settings | None, clock: Clock, at: Callable[[Clock], Moment] = moment
    ) -> None:
        self._path = state_dir / FILE
        self._clock = clock
        self._at = at
        self._text = b""
        found = self._load()
        self._now = _recovered(before, self.at()) if found is None else found

    @property
    def now(self) -> Sets:
        """All of them."""
        return self._now

    def at(self) -> Moment:
        """What time it is."""
        return self._at(self._clock)

    def change(self, change: Callable[[Sets], Sets]) -> bool:
        """Remember something else, until ``save`` in this process only; whether it is something else."""
        before, self._now = self._now, change(self._now)
        return self._now != before

    def dressed(self, settings: Settings) -> Settings:
        """The same settings with what signs and what is accepted; they are what is configured from now on."""
        wanted = {key_of(vip): vip_set(vip.vhid, vip.own_set) for vip in settings.vips}
        self.change(lambda now: pure.configured(now, wanted, self.at()))
        return replace(settings, vips=tuple(_dressed(vip, self._now) for vip in settings.vips))

    def save(self) -> None:
        """Write them where they are others than in the file.

        Raises:
            NoSpaceError, UnwritableError: the old file stays.
        """
        text = _encoded(self._now)
        if text != self._text and (self._text or self._now.own or self._now.peers):
            write(self._path, text, "the sets of addresses and passwords on the wire")
            self._text = text

    def _load(self) -> Sets | None:
        try:
            text = self._path.read_bytes()
            found = _decoded(text)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.error(
                "cannot read %s: %s; what config.json has is taken, and the peers declare theirs anew", FILE, error
            )
            return None
        self._text = text
        return found


def key_of(vip: VipSettings) -> str:
    """``1@lan``."""
    return f"{vip.vhid}@{vip.interface}"


def vip_set(vhid: int, written: SetSettings) -> VipSet:
    """In its canonical form; a password is its bytes in UTF-8.

    Raises:
        ValueError: it cannot be one.
    """
    return pure.vip_set(vhid, written.addresses, written.password.encode("utf-8", "surrogateescape"))


def written(vips: VipSet) -> SetSettings:
    """The other way round."""
    return SetSettings(tuple(map(str, vips.addresses)), vips.password.decode("utf-8", "surrogateescape"))


def _dressed(vip: VipSettings, sets: Sets) -> VipSettings:
    key = key_of(vip)
    own = sets.own[key]
    accept = tuple(written(one) for one in pure.accepted(sets, key) if one != own.configured)
    return replace(vip, wire=written(own.wire) if own.pending else None, accept=accept)


def _recovered(before: Settings | None, at: Moment) -> Sets:
    """What the last config.json tells of the wire; what it accepts may be on a peer's, and is accepted for a while."""
    sets = Sets(os.urandom(16))
    if before is None:
        return sets
    wires = {key_of(vip): vip_set(vip.vhid, vip.wire_set) for vip in before.vips}
    sets = pure.configured(sets, wires, at)
    kept = {}
    for vip in before.vips:
        own = sets.own[key_of(vip)]
        accept = tuple(vip_set(vip.vhid, one) for one in (*vip.accept, vip.own_set))
        kept[key_of(vip)] = pure.retiring(own, accept, at)
    return replace(sets, own=kept)


def _encoded(sets: Sets) -> bytes:
    own = {
        key: _Own(
            written(one.configured), written(one.wire), _gone(one.retired), one.since.isoformat() if one.since else ""
        )
        for key, one in sets.own.items()
    }
    peers = {
        name: _Word(
            word.digest,
            {key: tuple(map(written, all_of)) for key, all_of in word.declared.items()},
            {key: _gone(retired) for key, retired in word.retired.items()},
        )
        for name, word in sets.peers.items()
    }
    plain = {"format": FORMAT, **records.to_plain(_File(sets.salt.hex(), own, peers))}
    return json.dumps(plain, sort_keys=True, indent=1).encode() + b"\n"


def _gone(retired: tuple[Retired, ...]) -> tuple[_Retired, ...]:
    return tuple(
        _Retired(written(one.vips), one.until.boot, one.until.booted_s, one.until.utc.isoformat()) for one in retired
    )


def _decoded(text: bytes) -> Sets:
    """Raises ValueError, without a password in it."""
    found = records.from_plain(_File, take_format(records.parse(text), FORMAT))
    own = {
        key: Own(
            _of(key, one.configured),
            _of(key, one.wire),
            tuple(_still(key, each) for each in one.retired),
            datetime.fromisoformat(one.since) if one.since else None,
        )
        for key, one in found.own.items()
    }
    peers = {
        name: Word(
            word.digest,
            {key: tuple(_of(key, one) for one in all_of) for key, all_of in word.declared.items()},
            {key: tuple(_still(key, each) for each in all_of) for key, all_of in word.retired.items()},
        )
        for name, word in found.peers.items()
    }
    return Sets(bytes.fromhex(found.salt), own, peers)


def _of(key: str, one: SetSettings) -> VipSet:
    return vip_set(vhid_of(key), one)


def _still(key: str, one: _Retired) -> Retired:
    return Retired(_of(key, one.vips), Moment(one.boot, one.booted_s, datetime.fromisoformat(one.utc)))


def vhid_of(key: str) -> int:
    """The number in ``1@lan``.

    Raises:
        ValueError: it is no such name.
    """
    vhid, at, interface = key.partition("@")
    if not at or not interface or not vhid.isascii() or not vhid.isdecimal():
        raise NoRecordError(key[:40], "is no VIP such as 1@lan")
    return int(vhid)
