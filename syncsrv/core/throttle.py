"""How often a password may be tried: slower and slower for whoever guesses, never locked for whoever knows it.

After five wrong passwords the next one is looked at after 1 s, then 2 s, 4 s, at most 60 s; a quiet quarter of an
hour forgets it. Three buckets, and what fills one does not fill another:

    device    a browser that logged in before, known by what it was given then; nobody else can fill its bucket
    pair      an address from which this name logged in lately
    stranger  everybody else: by the address (IPv6: its /64) *and* by the name

A name under attack does not shut a stranger out either: who waited as long as was asked is let in once, whatever
others did meanwhile. Every try is counted before the password is looked at, so that many at once are no way round.
No clock is read here and nothing outlives core.
"""

from __future__ import annotations

import hashlib
import ipaddress
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

FREE = 5
"""Wrong passwords before the first wait."""
FIRST_S = 1.0
LONGEST_S = 60.0
FORGET_S = 15 * 60.0
TURN_S = 120.0
"""Who waited as asked may come so much later."""
RECENT_S = 30 * 24 * 3600.0
MAX_BUCKETS = 20_000
MAX_KNOWN = 4_000


@dataclass(frozen=True, slots=True)
class Bucket:
    """Tries that were wrong, or are being looked at; times are monotonic seconds."""

    tries: int = 0
    free_at: float = 0.0
    seen_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Try:
    """One password that is being looked at.

    Attributes:
        keys: the buckets that it counts in.
        known: whether a device or an address that logged in before sent it.
        pair: name and source, remembered where it is right.
    """

    keys: tuple[str, ...]
    known: bool
    pair: str


@dataclass(frozen=True, slots=True)
class Wait:
    """It is not looked at; in ``seconds`` it will be."""

    seconds: float


def wait_s(bucket: Bucket, now: float) -> float:
    """Seconds until the next try is looked at."""
    return max(0.0, bucket.free_at - now)


def counted(bucket: Bucket, now: float) -> Bucket:
    """With one more try."""
    tries = bucket.tries + 1 if now - bucket.seen_at < FORGET_S else 1
    delay_s = min(LONGEST_S, FIRST_S * 2.0 ** min(tries - FREE, 16)) if tries >= FREE else 0.0
    return Bucket(tries, now + delay_s, now)


def uncounted(bucket: Bucket) -> Bucket:
    """Without a try that was not wrong: it waits for nothing that this try added."""
    return replace(bucket, tries=max(0, bucket.tries - 1), free_at=min(bucket.free_at, bucket.seen_at))


def source_of(origin: str) -> str:
    """What counts as one source: an IPv4 address, the /64 of an IPv6 address, else the text as it is."""
    try:
        address = ipaddress.ip_address(origin.partition("%")[0])
    except ValueError:
        return origin or "nowhere"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((address.packed[:8] + bytes(8), 64)))
    return str(address)


class Throttle:
    """The buckets, bounded: the ones that nothing happened to for longest go first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: _Recent[Bucket] = _Recent(MAX_BUCKETS)
        self._turns: _Recent[float] = _Recent(MAX_BUCKETS)
        self._devices: _Recent[Bucket] = _Recent(MAX_KNOWN)
        self._pairs: _Recent[Bucket] = _Recent(MAX_KNOWN)
        self._succeeded: _Recent[float] = _Recent(MAX_KNOWN)

    def begin(self, name: str, source: str, device: str, now: float) -> Try | Wait:
        """Count a try, or say how long to wait.

        Args:
            name: the name as it was typed.
            source: see ``source_of``.
            device: id of a device that is known to be of this name; empty where none is.
            now: monotonic seconds.
        """
        pair = _key("pair", name, source)
        with self._lock:
            if device:
                return self._known(self._devices, _key("device", name, device), pair, now)
            logged_in_at = self._succeeded.get(pair)
            if logged_in_at is not None and now - logged_in_at < RECENT_S:
                return self._known(self._pairs, pair, pair, now)
            keys = (_key("source", source), _key("name", name))
            by_source, by_name = (wait_s(self._buckets.get(key) or Bucket(), now) for key in keys)
            if by_name and not self._has_turn(pair, by_name, now):
                return Wait(max(by_source, (self._turns.get(pair) or now) - now, FIRST_S))
            if by_source:
                return Wait(by_source)
            self._turns.pop(pair)
            for key in keys:
                self._buckets.put(key, counted(self._buckets.get(key) or Bucket(), now))
            return Try(keys, False, pair)

    def right(self, tried: Try, now: float) -> None:
        """The password was right: what led there is forgotten, and the address is known from now on."""
        with self._lock:
            self._take_back(tried)
            self._succeeded.put(tried.pair, now)
            self._pairs.pop(tried.pair)
            for key in tried.keys if tried.known else ():
                self._devices.pop(key)

    def not_looked_at(self, tried: Try) -> None:
        """There was no room to look at it: it counts for nothing."""
        with self._lock:
            self._take_back(tried)

    def __len__(self) -> int:
        kept = (self._buckets, self._turns, self._devices, self._pairs, self._succeeded)
        return sum(len(one) for one in kept)

    def _known(self, kept: _Recent[Bucket], key: str, pair: str, now: float) -> Try | Wait:
        bucket = kept.get(key) or Bucket()
        left_s = wait_s(bucket, now)
        if left_s:
            return Wait(left_s)
        kept.put(key, counted(bucket, now))
        return Try((key,), True, pair)

    def _has_turn(self, pair: str, by_name: float, now: float) -> bool:
        """Whether this source has waited its time for this name; its waiting begins when it first asks."""
        due_at = self._turns.get(pair)
        if due_at is None or now - due_at >= TURN_S:
            self._turns.put(pair, now + by_name)
            return False
        return now >= due_at

    def _take_back(self, tried: Try) -> None:
        for kept in (self._buckets, self._devices, self._pairs):
            for key in tried.keys:
                bucket = kept.get(key)
                if bucket is not None:
                    kept.put(key, uncounted(bucket))


T = TypeVar("T")


class _Recent(Generic[T]):
    """A table of so many entries; a new one takes the place of the one that was written longest ago."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[str, T] = OrderedDict()

    def get(self, key: str) -> T | None:
        return self._entries.get(key)

    def put(self, key: str, value: T) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def pop(self, key: str) -> None:
        self._entries.pop(key, None)

    def __len__(self) -> int:
        return len(self._entries)


def _key(*parts: str) -> str:
    """A name may be long, or a password that was typed in the wrong field: only a digest is kept."""
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()[:32]
