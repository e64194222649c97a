"""What can happen to a node's failover: the events that node.step takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType

from syncsrv.carp.effects import Key
from syncsrv.carp.packet import Advert
from syncsrv.carp.settings import NodeSettings


@dataclass(frozen=True, slots=True)
class Heard:
    """A valid advert came in: checked, authenticated, no replay, not our own.

    Hand over all that wait in the sockets before a Tick: an advert that lies there has come, however late the process.

    Args:
        key: the device that it came in on and its vhid; one that is not configured there is ignored.
        advert: as decoded.
        source: its source address.
        own_peer: the node's name where the source is known over SSH to be one of ours.
    """

    key: Key
    advert: Advert
    source: IPv4Address | IPv6Address
    own_peer: str | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed: whatever is due at ``now`` happens."""


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """What netlink says of a device; each is told once at start, and after each change.

    Args:
        device: its name.
        up: it exists, is administratively up, and has a carrier.
        has_source: it has an address of its own, no VIP, to send adverts from.
        why: where not up, a sentence like "eth0 has no link", "eth0 does not exist"; empty makes the first of these.
    """

    device: str
    up: bool
    has_source: bool = True
    why: str = ""


@dataclass(frozen=True, slots=True)
class IntentChanged:
    """What people and core want of this node, all of it; what stays the same is no change.

    Args:
        disabled: every vhid is INIT.
        maintenance: demoted by 240, and handed over when this comes.
        switchover: demoted to STEPPED_ASIDE and handed over, once, until this node is MASTER again or hears one that
            ranks before it anyway; a switchover that ended by itself (Node.switchover is False then) begins again only
            after this was False in between.
        hold_preempt: why this node must not take over from a MASTER that serves; empty where it may.
        demotions: reason -> weight, everything that the machine does not find out itself.
    """

    disabled: bool = False
    maintenance: bool = False
    switchover: bool = False
    hold_preempt: str = ""
    demotions: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Ready:
    """The services of this node are healthy, or no longer known to be; until told so, or until ready_timeout_s have
    passed, the node is demoted. Saying it twice changes nothing.
    """

    ready: bool


@dataclass(frozen=True, slots=True)
class TableArrived:
    """This node knows the connections that it would take over, or no longer does. Until told so, or until
    table_timeout_s have passed, the node is demoted. A node that loses what it had is demoted without an end, unless it
    is MASTER: whoever took over from it would know none of its connections. Saying it twice changes nothing.
    """

    arrived: bool


@dataclass(frozen=True, slots=True)
class SendResult:
    """One packet was handed to a device, or refused.

    Args:
        device: its name.
        ok: the kernel took it.
        why: the error, for people.
    """

    device: str
    ok: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class HoldResult:
    """Whether a device has all addresses of those vhids that are MASTER on it.

    Args:
        device: its name.
        ok: it has.
        why: the error, for people.
    """

    device: str
    ok: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Woke:
    """The process did not run for so long beyond what it had asked for: stopped, starved, or the machine suspended.

    To be given before anything else that waits. step() finds out by its own timers too; this is for time that
    the monotonic clock did not count.

    Args:
        late_s: seconds.
    """

    late_s: float


@dataclass(frozen=True, slots=True)
class Told:
    """An own peer says over SSH that it is MASTER of a vhid *and hears our adverts*, while we hear none of its: we are
    deaf. A MASTER that ranks lower then steps down as if it had heard the advert, and no BACKUP takes over.

    Never to be given when that peer hears nothing either: then the segment is cut, and both must serve what they reach.

    Args:
        key: the vhid, with our own device.
        peer: the node's name.
        advbase: what it advertises.
        advskew: what it advertises.
        for_s: how long this word holds unless repeated; seconds.
    """

    key: Key
    peer: str
    advbase: int
    advskew: int
    for_s: float


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The process is to end: every MASTER says farewell and stays until a peer has taken over, at most 0.3 s; Ended
    follows. Saying it twice changes nothing.

    Args:
        reason: a sentence for people.
    """

    reason: str = "the carp process ends"


@dataclass(frozen=True, slots=True)
class NewSettings:
    """The configuration was applied; what is equal to before is left alone. A vhid that is gone hands over first."""

    settings: NodeSettings


Event = (
    Heard
    | Tick
    | LinkChanged
    | IntentChanged
    | Ready
    | TableArrived
    | SendResult
    | HoldResult
    | Woke
    | Told
    | Shutdown
    | NewSettings
)
