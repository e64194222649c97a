"""Which addresses and password sign a vhid's adverts, and which are accepted, while our nodes change them one by one.

The digest of an advert covers both (auth.py), so a change on one node would make two MASTERs. It is two-phase instead:

    configured   what this node's configuration says now
    wire         what its adverts are signed with: the set before, until every own peer that can be reached has said
                 that it accepts the configured one too
    retired      what was on the wire before, or declared by a peer before: accepted for GRACE_S more
    declared     what each own peer may put on its wire, as it said over SSH: accepted as long as it says so, and so
                 for days, where nobody synchronizes

What a node declares to its peers is all that it may send: wire, configured and retired. A peer that acknowledges that
declaration, known by its digest, drops no advert of it. A node without an earlier wire set, in whose group the peers
use another set than the one it is configured with, begins with theirs.

A peer that could not be reached was not waited for. Where it proves to be on the segment all the same, as a second
MASTER, the set from before goes on the wire again until it can be told (``retreated``).

Strangers of the group (FreeBSD, ucarp) take part in none of this. On doubt more is accepted, and for longer.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address

from syncsrv.carp.auth import VipSet

GRACE_S = 600.0
"""How long a set is accepted that is not on the wire any more; a peer's for as long again, as it declares it till then.
"""

RETIRED_MOST = 6
"""Retired sets of one vhid that are remembered of one node: each costs a digest for every advert that is refused."""

KEYS_MOST = 256
"""VIPs of one peer of which retired sets are remembered, those that are ours first: it may declare others each time."""

Declared = Mapping[str, tuple[VipSet, ...]]
"""VIP (``1@lan``) to the sets that may be on the wire; the one that is stands first."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A time that outlives the process.

    Attributes:
        boot: the kernel's name for this boot.
        booted_s: seconds since it began, sleep included.
        utc: for people.
    """

    boot: str
    booted_s: float
    utc: datetime


@dataclass(frozen=True, slots=True)
class Retired:
    """A set that is accepted for some time more; ``until`` is when that ends.

    After another boot nobody knows how long the machine was off, and its date may be wrong: then the time counts anew
    from that boot on.
    """

    vips: VipSet
    until: Moment

    def is_over(self, at: Moment) -> bool:
        return at.booted_s >= (self.until.booted_s if at.boot == self.until.boot else GRACE_S)


@dataclass(frozen=True, slots=True)
class Own:
    """The sets of one vhid of this node.

    Attributes:
        since: when another set than the one on the wire was configured; None where it is the same.
    """

    configured: VipSet
    wire: VipSet
    retired: tuple[Retired, ...] = ()
    since: datetime | None = None

    @property
    def pending(self) -> bool:
        return self.configured != self.wire

    @property
    def all(self) -> tuple[VipSet, ...]:
        return tuple(dict.fromkeys((self.wire, self.configured, *(one.vips for one in self.retired))))


@dataclass(frozen=True, slots=True)
class Word:
    """What one peer declared last, and the name that it gave to exactly that; ``retired``: what it declared before."""

    digest: str
    declared: Declared
    retired: Mapping[str, tuple[Retired, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sets:
    """All of a node.

    Attributes:
        salt: known to this node alone, so that a declaration's digest tells nobody anything of the passwords.
        own: by VIP.
        peers: by name.
    """

    salt: bytes = field(repr=False)
    own: Mapping[str, Own] = field(default_factory=dict)
    peers: Mapping[str, Word] = field(default_factory=dict)


def vip_set(vhid: int, addresses: Iterable[str], password: bytes) -> VipSet:
    """A set in its one canonical form: what makes the same digest is equal.

    Args:
        vhid: 1 to 255.
        addresses: without prefix length.
        password: of 19 bytes at most.

    Raises:
        ValueError: one of these is not so; the text does not repeat the password.
    """
    found: set[IPv4Address | IPv6Address] = {ip_address(one) for one in addresses}
    return VipSet(vhid, tuple(sorted(found, key=lambda one: (one.version, int(one)))), password)


def configured(sets: Sets, wanted: Mapping[str, VipSet], at: Moment) -> Sets:
    """After the configuration was read: what is on the wire stays there."""
    own = {key: _configured(sets, key, vips, at) for key, vips in wanted.items()}
    return sets if own == sets.own else replace(sets, own=own)


def _configured(sets: Sets, key: str, vips: VipSet, at: Moment) -> Own:
    before = sets.own.get(key)
    if before is not None and before.configured == vips:
        return before
    if before is None:
        wire = _joined(sets, key, vips)
        return Own(vips, wire, since=at.utc if wire != vips else None)
    # What was to come and does not any more was declared: a peer may have begun with it meanwhile.
    given_up = (_retired(before.configured, at),) if before.pending else ()
    rest = tuple(one for one in (*given_up, *before.retired) if one.vips not in (vips, before.wire))
    return Own(vips, before.wire, _each_once(rest), (before.since or at.utc) if before.wire != vips else None)


def _joined(sets: Sets, key: str, vips: VipSet) -> VipSet:
    """What a new vhid begins with: where not every peer has its set, what the first of them has on the wire."""
    known = [word.declared[key] for _, word in sorted(sets.peers.items()) if word.declared.get(key)]
    return vips if all(vips in one for one in known) else known[0][0]


def retiring(own: Own, accept: Iterable[VipSet], at: Moment) -> Own:
    """With these sets accepted for GRACE_S more, though it is not known who sends them."""
    retired = tuple(_retired(one, at) for one in accept if one not in (own.wire, own.configured))
    return replace(own, retired=_each_once((*retired, *own.retired)))


def declaration(sets: Sets) -> Declared:
    """All that this node may put on the wire."""
    return {key: own.all for key, own in sets.own.items()}


def digest(sets: Sets) -> str:
    """A name for the declaration, whatever the order of its sets: which one is on the wire need not be told anew."""
    found = [
        [key, sorted([list(map(str, one.addresses)), one.password.hex()] for one in own.all)]
        for key, own in sorted(sets.own.items())
    ]
    return hmac.new(sets.salt, json.dumps(found).encode(), "sha256").hexdigest()[:32]


def accepted(sets: Sets, key: str) -> tuple[VipSet, ...]:
    """What is accepted of a VIP besides what is on the wire: each once, our own first."""
    own = sets.own[key]
    found = dict.fromkeys(own.all[1:])
    for _, word in sorted(sets.peers.items()):
        found.update(dict.fromkeys(word.declared.get(key, ())))
        found.update(dict.fromkeys(one.vips for one in word.retired.get(key, ())))
    # One of another vhid cannot verify an advert of this one.
    return tuple(one for one in found if one != own.wire and one.vhid == own.wire.vhid)


def received(sets: Sets, peer: str, name: str, declared: Declared, at: Moment) -> Sets:
    """After a peer declared what it may send.

    What it declared before and not now is accepted for GRACE_S more: a declaration that was long on its way may come
    after a newer one, and says less then.

    Args:
        sets: of this node.
        peer: who declares.
        name: the digest that the peer gave to its declaration.
        declared: all of it.
        at: now.
    """
    before = sets.peers.get(peer, Word("", {}))
    if before.digest == name and before.declared == declared:
        return sets
    retired = {}
    for key in sorted({*before.declared, *before.retired}, key=lambda one: (one not in sets.own, one))[:KEYS_MOST]:
        now = declared.get(key, ())
        fresh = [_retired(one, at) for one in before.declared.get(key, ()) if one not in now]
        kept = [one for one in before.retired.get(key, ()) if one.vips not in now]
        if fresh or kept:
            retired[key] = _each_once((*fresh, *kept))
    return replace(sets, peers={**sets.peers, peer: Word(name, declared, retired)})


def _retired(vips: VipSet, at: Moment) -> Retired:
    return Retired(vips, Moment(at.boot, at.booted_s + GRACE_S, at.utc + timedelta(seconds=GRACE_S)))


def _each_once(retired: tuple[Retired, ...]) -> tuple[Retired, ...]:
    """The newest of each set; the oldest go where there are too many."""
    found: dict[VipSet, Retired] = {}
    for one in retired:
        found.setdefault(one.vips, one)
    return tuple(found.values())[:RETIRED_MOST]


def aged(sets: Sets, peers: Collection[str], at: Moment) -> Sets:
    """After time passed: without retired sets whose time is over, and without nodes that are no peers any more."""
    own = {key: replace(one, retired=_left(one.retired, at)) for key, one in sets.own.items()}
    words = {}
    for name, word in sets.peers.items():
        if name in peers:
            left = {key: _left(retired, at) for key, retired in word.retired.items()}
            words[name] = replace(word, retired={key: retired for key, retired in left.items() if retired})
    now = replace(sets, own=own, peers=words)
    return sets if now == sets else now


def _left(retired: tuple[Retired, ...], at: Moment) -> tuple[Retired, ...]:
    return tuple(one for one in retired if not one.is_over(at))


def unaware(sets: Sets, peers: Collection[str], acknowledged: Mapping[str, str]) -> tuple[str, ...]:
    """The peers that are not known to accept all that this node may send.

    Args:
        sets: of this node.
        peers: every own peer.
        acknowledged: the digest of the declaration that each said it has in force.
    """
    mine = digest(sets)
    return tuple(name for name in sorted(peers) if acknowledged.get(name, "") != mine)


def pending(sets: Sets) -> tuple[str, ...]:
    """The VIPs whose configured set is not on the wire yet."""
    return tuple(key for key, own in sets.own.items() if own.pending)


def committed(sets: Sets, at: Moment) -> Sets:
    """Every configured set goes on the wire, once nobody is to be waited for; what was there is accepted for GRACE_S.

    The declaration stays the same, and so does who has acknowledged it.
    """
    own = {}
    for key, one in sets.own.items():
        if one.pending:
            rest = tuple(old for old in one.retired if old.vips != one.configured)
            one = Own(one.configured, one.configured, _each_once((_retired(one.wire, at), *rest)))
        own[key] = one
    return replace(sets, own=own) if pending(sets) else sets


def retreated(sets: Sets, contested: Mapping[str, str], at: Moment) -> Sets:
    """A set from before goes on the wire again, and the configured one waits: a peer drops it that was taken for away,
    and is on the segment.

    What goes on the wire is one that this node still declares, as other peers have acknowledged that, and among these
    one that the peer uses itself; where nothing is left that is declared, what the peer uses. What is on the wire stays
    where the peer declares it too: it does not drop that.

    Args:
        sets: of this node.
        contested: VIP to the peer that is MASTER beside this node, and does not accept all that it may send.
        at: now.
    """
    own = dict(sets.own)
    for key, peer in contested.items():
        one = own.get(key)
        theirs = sets.peers.get(peer, Word("", {})).declared.get(key, ())
        if one is None or one.pending or one.wire in theirs or not (one.retired or theirs):
            continue
        before = tuple(old.vips for old in one.retired)
        back = next((old for old in before if old in theirs), (*before, *theirs)[0])
        if back == one.configured or back.vhid != one.configured.vhid:
            continue
        rest = tuple(old for old in one.retired if old.vips != back)
        own[key] = Own(one.configured, back, rest, at.utc)
    return sets if own == sets.own else replace(sets, own=own)
