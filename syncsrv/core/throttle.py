"""How often a password may be tried: slower and slower for whoever guesses, never locked for whoever knows it.

After five wrong passwords the next one is looked at after 1 s, then 2 s, 4 s, at most 60 s; a quiet quarter of an
hour forgets it. Three buckets, and what fills one does not fill another:

    device    a browser that logged in before, known by what it was given then; nobody else can fill its bucket
    pair      an address from which this name logged in lately
    stranger  everybody else: by the address (IPv6: its /64 and, more loosely, its /48) *and* by the name

A name under attack does not shut a stranger out either: who waited as long as was asked is let in once, whatever
others did meanwhile. However many addresses wait, strangers stand in one line for a name, and every 3 s it is the turn
of one: more addresses make the line longer, not the guessing faster. A network has one place in it (IPv6: a /48), and
it is half an hour long at most; then who comes is told to come when it will have gone by: 600 networks that never stop
keep a stranger out, a device or an address that is known never. Loopback does not stand in the line: whoever can log in
to the node reaches the page through a tunnel, whatever comes from the network.

Every try is counted before the password is looked at, so that many at once are no way round. No clock is read here and
nothing outlives core.
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
SPACE_S = 3.0
"""Between the turns of two strangers for one name: 20 a minute."""
LINE_S = 30 * 60.0
"""The longest time until a turn."""
WIDE_FREE = 20
"""Wrong passwords from an IPv6 /48 before the first wait: many people may have one."""
WIDE_LONGEST_S = 15.0
LOOPBACK = "loopback"
RECENT_S = 30 * 24 * 3600.0
MAX_BUCKETS = 20_000
MAX_KNOWN = 4_000
MAX_LINES = 4_000


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
        turn: the place in the line that it was made at; empty where it needed none.
        due_at: when that turn was, in monotonic seconds.
    """

    keys: tuple[str, ...]
    known: bool
    pair: str
    turn: str = ""
    due_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Wait:
    """It is not looked at; in ``seconds`` it will be."""

    seconds: float


def wait_s(bucket: Bucket, now: float) -> float:
    """Seconds until the next try is looked at."""
    return max(0.0, bucket.free_at - now)


def tries(bucket: Bucket, now: float) -> int:
    """Those that are not forgotten."""
    return bucket.tries if now - bucket.seen_at < FORGET_S else 0


def counted(bucket: Bucket, now: float, free: int = FREE, longest_s: float = LONGEST_S) -> Bucket:
    """With one more try.

    Args:
        bucket: until now.
        now: monotonic seconds.
        free: wrong ones before the first wait.
        longest_s: seconds, the longest wait.
    """
    count = tries(bucket, now) + 1
    delay_s = min(longest_s, FIRST_S * 2.0 ** min(count - free, 16)) if count >= free else 0.0
    return Bucket(count, now + delay_s, now)


def uncounted(bucket: Bucket) -> Bucket:
    """Without a try that was not wrong: it waits for nothing that this try added."""
    return replace(bucket, tries=max(0, bucket.tries - 1), free_at=min(bucket.free_at, bucket.seen_at))


def source_of(origin: str) -> str:
    """What counts as one source: an IPv4 address, the /64 of an IPv6 address, loopback, else the text as it is."""
    try:
        address = ipaddress.ip_address(origin.partition("%")[0])
    except ValueError:
        return origin or "nowhere"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        return LOOPBACK
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((address.packed[:8] + bytes(8), 64)))
    return str(address)


def wide_of(source: str) -> str:
    """The /48 around an IPv6 source, which one customer may have; any other source itself."""
    try:
        return str(ipaddress.IPv6Network(source).supernet(new_prefix=48))
    except ValueError:
        return source


class Throttle:
    """The buckets, bounded: the ones that nothing happened to for longest go first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: _Recent[Bucket] = _Recent(MAX_BUCKETS)
        self._turns: _Recent[float] = _Recent(MAX_BUCKETS)
        self._lines: _Recent[float] = _Recent(MAX_LINES)
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
            return self._stranger(name, source, pair, now)

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
            if tried.turn:
                self._turns.put(tried.turn, tried.due_at)

    def __len__(self) -> int:
        kept = (self._buckets, self._turns, self._lines, self._devices, self._pairs, self._succeeded)
        return sum(len(one) for one in kept)

    def _known(self, kept: _Recent[Bucket], key: str, pair: str, now: float) -> Try | Wait:
        bucket = kept.get(key) or Bucket()
        left_s = wait_s(bucket, now)
        if left_s:
            return Wait(left_s)
        kept.put(key, counted(bucket, now))
        return Try((key,), True, pair)

    def _stranger(self, name: str, source: str, pair: str, now: float) -> Try | Wait:
        wide, by_name = wide_of(source), _key("name", name)
        narrow = (_key("source", source), by_name)
        keys = narrow if wide == source else (*narrow, _key("wide", wide))
        by_source_s = max(wait_s(self._bucket(key), now) for key in keys if key != by_name)
        line = "" if source == LOOPBACK or tries(self._bucket(by_name), now) < FREE else by_name
        turn = _key("turn", name, wide)
        due_at = self._turns.get(turn)
        if due_at is not None and now - due_at >= TURN_S:
            self._turns.pop(turn)
            due_at = None
        if due_at is None:
            first_at = max(now + wait_s(self._bucket(by_name), now), self._lines.get(line) or 0.0)
            if first_at > now:
                return Wait(max(by_source_s, self._stand(turn, line, first_at, now) - now, FIRST_S))
        elif now < due_at:
            return Wait(max(by_source_s, due_at - now, FIRST_S))
        if by_source_s:
            return Wait(by_source_s)
        if due_at is not None:
            self._turns.pop(turn)
        elif line:
            self._lines.put(line, now + SPACE_S)
        for key in keys:
            bucket = self._bucket(key)
            self._buckets.put(key, counted(bucket, now) if key in narrow else _counted_wide(bucket, now))
        return Try(keys, False, pair, "" if due_at is None else turn, due_at or 0.0)

    def _stand(self, turn: str, line: str, first_at: float, now: float) -> float:
        """Take the place at the end of the line; when it is the turn of it, or no line any more where it is full."""
        if line and first_at + SPACE_S > now + LINE_S:
            return first_at
        self._turns.put(turn, first_at)
        if line:
            self._lines.put(line, first_at + SPACE_S)
        return first_at

    def _bucket(self, key: str) -> Bucket:
        return self._buckets.get(key) or Bucket()

    def _take_back(self, tried: Try) -> None:
        for kept in (self._buckets, self._devices, self._pairs):
            for key in tried.keys:
                bucket = kept.get(key)
                if bucket is not None:
                    kept.put(key, uncounted(bucket))


def _counted_wide(bucket: Bucket, now: float) -> Bucket:
    return counted(bucket, now, WIDE_FREE, WIDE_LONGEST_S)


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
