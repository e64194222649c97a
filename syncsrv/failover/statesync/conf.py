"""conntrackd's configuration out of our settings. Pure; the words are those of conntrackd.conf(5), version 1.4.7.

What is chosen, and why (measured with Debian 12's conntrackd on Linux 6.18, SNAT, a busy transfer, 500 idle ones):

    DisableExternalCache On   what the peer sends is in this kernel before an address moves. Kept in conntrackd and
                              committed 30 or 300 ms after a takeover, the busy transfer was reset in both runs: its
                              next packet found the address and no entry, so the kernel itself answered. With it: none
                              of 3 runs, 4 changes of MASTER each (0, 30, 300 ms)
    TCPWindowTracking Off     an entry's window is that of its last event. The busy transfer was far outside it, so its
                              packets were invalid, not translated back, and answered with a reset in 2 of 2 runs, with
                              either cache. Off, what the peer sent is liberal about windows here; the sysctl
                              nf_conntrack_tcp_be_liberal stays as strict as it was
    Filter From Userspace     compares the real ends of a connection (the source of each direction). The kernel's filter
                              compares the destination before translation too: no connection that is forwarded by way of
                              a virtual address (DNAT) reached the peer
    Protocol Accept           by names, which conntrackd looks up in /etc/protocols. One that is not there is left out
                              with a warning, so on a Debian without netbase nothing at all reached the peer. Without
                              this section all protocols do, but for those that need more than addresses (GRE)
    Checksum on               a torn message is dropped and sent again
    Systemd off               NOTIFY_SOCKET and the watchdog belong to whoever started us
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from syncsrv.errors import SyncsrvError
from syncsrv.failover.settings import StateLink, StateSync

FILE = "conntrackd.conf"
"""Below run_dir, as the next two."""

LOCK = "conntrackd.lock"
CONTROL = "conntrackd.ctl"
PATH_MOST = 107
"""Bytes of a socket's address."""

BUFFER = 1249280
NETLINK_BUFFER = 2097152
NETLINK_BUFFER_MOST = 8388608
RESEND_QUEUE = 131072
ACK_WINDOW = 300
BUCKETS_LEAST = 8192
OWN = ("127.0.0.0/8", "::1")
PROTOCOLS = ("TCP", "UDP", "SCTP", "DCCP", "ICMP", "IPv6-ICMP")
"""What conntrackd carries with all that belongs to it."""


class NoPlaceError(SyncsrvError):
    """conntrackd cannot use the directory."""

    code = "state-sync-place"


@dataclass(frozen=True, slots=True)
class Place:
    """Where its files are.

    Attributes:
        run_dir: of this node.

    Raises:
        NoPlaceError: a path is too long for a socket, or holds what conntrackd does not read.
    """

    run_dir: Path

    def __post_init__(self) -> None:
        path = str(self.run_dir / CONTROL)
        if len(path.encode()) > PATH_MOST or not path.startswith("/") or any(one in path for one in ' \t\n"#{}'):
            raise NoPlaceError(
                f"cannot have conntrackd work in {self.run_dir}: it takes paths of at most {PATH_MOST} bytes, absolute "
                "and without blanks",
                "set another run_dir in node.yaml",
            )


def text(wanted: StateSync, place: Place, table_most: int, protocols: Sequence[str] = PROTOCOLS) -> str:
    """The whole file.

    Args:
        wanted: from the settings.
        place: where lock and socket are.
        table_most: the kernel's nf_conntrack_max.
        protocols: of PROTOCOLS, those whose names this node knows.
    """
    links = "".join(_link(wanted, link, number) for number, link in enumerate(wanted.links))
    # dead entries are kept for a while, for the peer to ask for: twice as many as the kernel has, says the manual
    buckets = max(BUCKETS_LEAST, table_most // 8)
    return f"""# written by syncsrv, and again at each start: changes here do not last
Sync {{
    Mode FTFW {{
        ResendQueueSize {RESEND_QUEUE}
        ACKWindowSize {ACK_WINDOW}
        DisableExternalCache On
    }}
{links}    Options {{
        TCPWindowTracking Off
    }}
}}
General {{
    Systemd Off
    HashSize {buckets}
    HashLimit {max(2 * table_most, 2 * buckets)}
    LogFile Off
    Syslog Off
    LockFile {place.run_dir / LOCK}
    UNIX {{
        Path {place.run_dir / CONTROL}
    }}
    NetlinkBufferSize {NETLINK_BUFFER}
    NetlinkBufferSizeMaxGrowth {NETLINK_BUFFER_MOST}
    Filter From Userspace {{
{_accepted(protocols)}        Address Ignore {{
{_ignored(wanted)}        }}
    }}
}}
"""


def _link(wanted: StateSync, link: StateLink, number: int) -> str:
    """Each with a port of its own: two sockets for multicast on one port would each hear what comes on both links."""
    default = " Default" if number == 0 and len(wanted.links) > 1 else ""
    port = wanted.port + number
    if link.peer:
        family = f"IPv{ipaddress.ip_address(link.address).version}"
        lines = [
            f"{family}_address {link.address}",
            f"{family}_Destination_Address {link.peer}",
            f"Port {port}",
        ]
    else:
        lines = [f"IPv4_address {wanted.group}", f"Group {port}", f"IPv4_interface {link.address}"]
    lines += [f"Interface {link.device}", f"SndSocketBuffer {BUFFER}", f"RcvSocketBuffer {BUFFER}", "Checksum on"]
    kind = "UDP" if link.peer else "Multicast"
    return f"    {kind}{default} {{\n" + "".join(f"        {line}\n" for line in lines) + "    }\n"


def _accepted(protocols: Sequence[str]) -> str:
    """Empty where TCP or UDP has no name: connections are carried all the same then, and others beside them."""
    if not {"TCP", "UDP"} <= set(protocols):
        return ""
    return "        Protocol Accept {\n" + "".join(f"            {name}\n" for name in protocols) + "        }\n"


def _ignored(wanted: StateSync) -> str:
    ends = [address for link in wanted.links for address in (link.address, link.peer) if address]
    return "".join(f"            {line}\n" for line in _addresses((*OWN, *wanted.ignore, *ends)))


def _addresses(written: Iterable[str]) -> list[str]:
    """Each once, in an order that does not depend on how they were written; IPv4 first."""
    found = {ipaddress.ip_network(one) for one in written}
    ordered = sorted(found, key=lambda one: (one.version, int(one.network_address), one.prefixlen))
    return [f"IPv{one.version}_address {one if one.num_addresses > 1 else one.network_address}" for one in ordered]
