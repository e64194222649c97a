"""Why two nodes of a group do not understand each other: from what each says of itself, and of what it hears. Pure.

Adverts alone cannot tell: a MASTER that hears nothing may be alone, or deaf. Over SSH the nodes compare:

    both are MASTER, and       cause
    one drops the other's      the sets of addresses and password differ, and were not declared yet
    one hears the other        the network passes CARP in one direction only; the deaf one, if it is the worse, steps
                               down by the other's word (``deaf``)
    neither hears the other    the segment is cut, or drops CARP: each serves what it reaches, and nothing is resolved

What is not a split brain yet, and becomes one: sets that differ between the nodes, a vhid that others use too, a router
that speaks VRRP with the same id, another machine that answers for an address.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_interface

from syncsrv.carp import timing

BOTH_S = 4.0
"""Two MASTERs for less are a takeover under way, or a word of a peer that was overtaken by it."""

CARP_PASSES = "let protocol 112 to 224.0.0.18 (ff02::12) pass the firewalls and switches between them"


@dataclass(frozen=True, slots=True)
class View:
    """One VIP as its node has it.

    Attributes:
        state: MASTER, BACKUP, INIT, or UNKNOWN.
        addresses: as configured, with prefix length.
        set_name: a digest of addresses and password; equal where both are.
        advbase: as configured.
        advskew: as advertised.
        hears: the name of the node of ours, or else the address, that it last heard advertise.
        hears_s: how long ago that was, when the node said so; None: never.
        conflicts: who else answers for an address, in sentences.
    """

    state: str
    addresses: tuple[str, ...] = ()
    set_name: str = ""
    advbase: int = 1
    advskew: int = 0
    hears: str = ""
    hears_s: float | None = None
    conflicts: tuple[str, ...] = ()

    def does_hear(self, node: str) -> bool:
        """Whether that node was heard, all but now."""
        lately_s = 3 * timing.interval_s(self.advbase, 255)
        return self.hears == node and self.hears_s is not None and self.hears_s <= lately_s


@dataclass(frozen=True, slots=True)
class Segment:
    """What a node hears where one of its interfaces is.

    Attributes:
        sources: the node's own addresses there.
        badauth: (source, vhid) whose adverts it does not accept.
        foreign: (source, vhid) of valid adverts that are no node's of ours.
        vrrp: ids of VRRP routers.
    """

    sources: tuple[str, ...] = ()
    badauth: tuple[tuple[str, int], ...] = ()
    foreign: tuple[tuple[str, int], ...] = ()
    vrrp: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """A node, by what it says of itself.

    Attributes:
        vips: by name (``1@lan``).
        segments: by logical interface.
    """

    node: str
    vips: Mapping[str, View] = field(default_factory=dict)
    segments: Mapping[str, Segment] = field(default_factory=dict)

    def segment(self, key: str) -> Segment:
        """Where a VIP is."""
        return self.segments.get(key.partition("@")[2], Segment())

    def refuses(self, key: str, other: Seen) -> bool:
        """Whether it drops what the other one advertises for a VIP."""
        theirs = other.segment(key).sources
        return any(source in theirs and vhid == vhid_of(key) for source, vhid in self.segment(key).badauth)


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, with its cause, and what to do."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}"


def vhid_of(key: str) -> int:
    """The number in ``1@lan``."""
    return int(key.partition("@")[0])


def both_masters(us: Seen, peer: Seen) -> tuple[str, ...]:
    """The VIPs that both nodes are MASTER of."""
    return tuple(key for key in us.vips if _is_master(us, key) and _is_master(peer, key))


def deaf(us: Seen, peer: Seen, key: str, *, was: bool) -> bool:
    """Whether this node does not hear a peer that is MASTER and hears it: then the peer's word counts as an advert.

    Args:
        us: this node.
        peer: the other one.
        key: the VIP.
        was: it was so until now, and this node stepped down by it. It is silent since, so that the peer cannot hear it
            any more, and nothing has changed as long as the peer is MASTER and is not heard.
    """
    if not _is_master(peer, key) or key not in us.vips or us.vips[key].does_hear(peer.node):
        return False
    if _is_master(us, key):
        return peer.vips[key].does_hear(us.node)
    return was and us.vips[key].state == "BACKUP"


def findings(
    us: Seen, peers: Mapping[str, Seen], both: Mapping[tuple[str, str], str], told: Mapping[str, str]
) -> tuple[Finding, ...]:
    """All that is to be said, the worst first.

    Args:
        us: this node.
        peers: those that were heard a moment ago.
        both: (VIP, peer) that are both MASTER for longer than BOTH_S, and since when.
        told: VIP to the peer by whose word this deaf node is BACKUP.
    """
    found: list[Finding] = []
    for (key, name), since in both.items():
        found.append(_both(us, peers[name], key, since))
    found += [_kept_down(us, key, name) for key, name in told.items()]
    for name, peer in sorted(peers.items()):
        for key in us.vips:
            if key in peer.vips:
                found += _differing(us, peer, key, split=(key, name) in both)
    nodes = {source: peer.node for peer in peers.values() for one in peer.segments.values() for source in one.sources}
    for key in us.vips:
        found += _on_the_segment(us, key, nodes)
    return tuple(dict.fromkeys(found))


def _is_master(seen: Seen, key: str) -> bool:
    return key in seen.vips and seen.vips[key].state == "MASTER"


def _both(us: Seen, peer: Seen, key: str, since: str) -> Finding:
    said = f"{key}: {us.node} and {peer.node} are both MASTER since {since}"
    if us.refuses(key, peer) or peer.refuses(key, us):
        who, whom = (us.node, peer.node) if us.refuses(key, peer) else (peer.node, us.node)
        cause = f"{who} drops what {whom} sends, as their addresses or passwords differ"
        names = _difference(us.vips[key], us.node, peer.vips[key], peer.node)
        remedy = "it ends by itself once both reach each other over SSH; `syncsrv sync` makes them equal"
        return Finding(f"{said}: {cause}{f' ({names})' if names else ''}", remedy)
    hears, is_heard = us.vips[key].does_hear(peer.node), peer.vips[key].does_hear(us.node)
    if hears != is_heard:
        deaf_one, other = (peer.node, us.node) if hears else (us.node, peer.node)
        return Finding(
            f"{said}: {other} hears {deaf_one}, and {deaf_one} does not hear {other}",
            f"{CARP_PASSES}, from {other} too",
        )
    if hears:
        return Finding(f"{said}, though each hears the other", "see the log of carp on both")
    return Finding(
        f"{said}: neither hears the other, so the segment of {key.partition('@')[2]} is cut or drops CARP, and each "
        "serves what it reaches",
        f"see the link between {us.node} and {peer.node}, and {CARP_PASSES}",
    )


def _kept_down(us: Seen, key: str, peer: str) -> Finding:
    return Finding(
        f"{key}: {us.node} does not hear {peer}, which is MASTER and did hear {us.node}; it stays BACKUP only by the "
        f"word of {peer} over SSH, and without that becomes MASTER too",
        f"{CARP_PASSES}, from {peer} too",
    )


def _differing(us: Seen, peer: Seen, key: str, *, split: bool) -> Iterator[Finding]:
    """Sets that differ are no trouble while each accepts the other's; they become one after a takeover."""
    ours, theirs = us.vips[key], peer.vips[key]
    if split:
        return
    names = _difference(ours, us.node, theirs, peer.node)
    if us.refuses(key, peer):
        yield Finding(
            f"{key}: {us.node} drops what {peer.node} advertises: it signs with addresses or a password that are not "
            f"accepted here{f' ({names})' if names else ''}",
            f"see that {peer.node} can be reached over SSH, which declares them; `syncsrv sync` makes them equal",
        )
    elif names and _bare(ours) == _bare(theirs):
        yield Finding(
            f"{key}: {names}; each accepts what the other sends, and nobody else accepts both",
            "give it one password in secrets.yaml of both nodes, which no sync brings, and send SIGHUP there; "
            "`syncsrv sync` where cluster.yaml differs",
        )
    elif names:
        yield Finding(
            f"{key}: {names}; each accepts what the other sends, and after a takeover the VIP is another one",
            "`syncsrv sync` brings the master's cluster.yaml to the other node",
        )


def _difference(ours: View, us: str, theirs: View, peer: str) -> str:
    """Which addresses only one of them has; the password where it is that."""
    if ours.set_name == theirs.set_name or not (ours.set_name and theirs.set_name):
        return ""
    mine, other = _bare(ours), _bare(theirs)
    said = []
    for name, only in ((us, mine - other), (peer, other - mine)):
        if only:
            said.append(f"only {name} has {', '.join(sorted(only))}")
    return " and ".join(said) or f"{us} and {peer} have different passwords"


def _bare(view: View) -> frozenset[str]:
    return frozenset(str(ip_interface(one).ip) for one in view.addresses)


def _on_the_segment(us: Seen, key: str, nodes: Mapping[str, str]) -> Iterator[Finding]:
    """Who else is there, and is none of our nodes."""
    vhid, interface = vhid_of(key), key.partition("@")[2]
    segment = us.segment(key)
    for source, number in segment.badauth:
        if number == vhid and source not in nodes:
            yield Finding(
                f"{key}: {source}, no node of ours, advertises vhid {vhid} on {interface} with other addresses or "
                "another password: two groups use the same vhid, or a member is configured differently",
                "give one of the groups another vhid; or make addresses and password equal",
            )
    for source, number in segment.foreign:
        if number == vhid and source not in nodes:
            yield Finding(
                f"{key}: {source} takes part in vhid {vhid} on {interface} and is no node of ours: a change of "
                "addresses or password here is not announced to it",
                "pair it where it runs syncsrv; else change it together with this node",
            )
    if vhid in segment.vrrp:
        yield Finding(
            f"{key}: a VRRP router with id {vhid} is heard on {interface}: VRRP and CARP share the MAC address "
            f"00:00:5e:00:01:{vhid:02x} of that number",
            "give this vhid or that router another number",
        )
    for one in us.vips[key].conflicts:
        yield Finding(
            f"{key}: {one}: two machines use the address, and clients reach either",
            "find that machine and take the address from it; a node that left failover may have kept it",
        )
