"""``state_dir/carp/config.json``: what the process carp works with. core writes it, only carp acts on it.

It holds passwords, and is 0600 in a directory of 0700. Intent (maintenance, disabled, demotions) has its own file:
what was configured and what somebody ordered change at different times.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from syncsrv.errors import SyncsrvError
from syncsrv.failover import records
from syncsrv.failover.records import NoRecordError

FORMAT = 1
FILE = "carp/config.json"
"""Below state_dir."""

SKEW_MOST = 239
"""240 and above mean demoted or leaving on the wire."""

PASSWORD_MOST = 19
"""Bytes; FreeBSD and ucarp keep 20 with the final zero (CARP_KEY_LEN)."""


class BadSettingsError(SyncsrvError):
    """The file is not what core writes; ``detail`` names the key."""

    code = "carp-settings"

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"cannot use the failover settings: {detail}",
            "`syncsrv check` says whether the configuration is well; core writes this file again when it is loaded",
        )


@dataclass(frozen=True, slots=True)
class SetSettings:
    """Addresses (without prefix) and password that make one digest."""

    addresses: tuple[str, ...]
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        for address in self.addresses:
            ipaddress.ip_address(address)
        _check_password(self.password)


@dataclass(frozen=True, slots=True)
class VipSettings:
    """One CARP group on one device.

    Attributes:
        interface: its logical name, for people; ``device`` is the kernel's name for it.
        advbase: whole seconds; 0 is for own nodes only.
        addresses: with prefix, ``192.0.2.10/24``: what is put on the device.
        unicast: addresses that adverts go to, instead of the multicast group.
        virtual_mac: whether the addresses answer with 00:00:5e:00:01:VHID, on a macvlan.
        wire: the set that adverts are signed with; None: ``addresses`` and ``password``.
        accept: further sets whose digest is accepted, while peers change theirs.
    """

    vhid: int
    interface: str
    device: str
    advbase: int
    addresses: tuple[str, ...]
    password: str = field(repr=False)
    unicast: tuple[str, ...] = ()
    virtual_mac: bool = False
    wire: SetSettings | None = None
    accept: tuple[SetSettings, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.vhid <= 255:
            raise ValueError(f"vhid is {self.vhid}, not 1..255")
        if not 0 <= self.advbase <= 254:
            raise ValueError(f"advbase is {self.advbase}, not 0..254")
        _check_device(self.device)
        if not self.addresses:
            raise ValueError("addresses is empty")
        for written in self.addresses:
            if "/" not in written:
                raise ValueError(f"addresses holds {written!r}, which has no prefix length")
            ipaddress.ip_interface(written)
        for peer in self.unicast:
            ipaddress.ip_address(peer)
        _check_password(self.password)

    @property
    def key(self) -> tuple[str, int]:
        """(device, vhid): what tells it from the others of this node."""
        return self.device, self.vhid

    @property
    def own_set(self) -> SetSettings:
        """What ``addresses`` and ``password`` make."""
        return SetSettings(tuple(written.partition("/")[0] for written in self.addresses), self.password)

    @property
    def wire_set(self) -> SetSettings:
        """What adverts are signed with."""
        return self.own_set if self.wire is None else self.wire


@dataclass(frozen=True, slots=True)
class StateLink:
    """One way from node to node for the tables of connections.

    Attributes:
        device: of this node.
        address: its own address there, from which it sends.
        peer: the other node's address there, for unicast; empty: multicast.
    """

    device: str
    address: str
    peer: str

    def __post_init__(self) -> None:
        _check_device(self.device)
        own = ipaddress.ip_address(self.address)
        if not self.peer:
            if own.version != 4:
                raise ValueError(f"address is {self.address}: multicast goes by IPv4 only, so name the peer's address")
            return
        peer = ipaddress.ip_address(self.peer)
        if peer.version != own.version:
            raise ValueError(f"peer is {self.peer}, of another family than {self.address}")
        if peer == own:
            raise ValueError(f"peer is {self.peer}, which is this node's own address")


@dataclass(frozen=True, slots=True)
class StateSync:
    """How connections that live on reach the other node.

    Attributes:
        links: the first is used; each further one stands by for those before it. All unicast, or all multicast.
        group: for multicast.
        port: of UDP; the second link uses the next one, and so on.
        ignore: addresses whose connections are this node's own and never sent: its own addresses, and the virtual ones.
        timeout_s: seconds that a node waits, demoted, for the other's table before it counts as ready without.
    """

    engine: Literal["conntrackd"]
    links: tuple[StateLink, ...]
    group: str
    port: int
    ignore: tuple[str, ...]
    timeout_s: float

    def __post_init__(self) -> None:
        if not self.links:
            raise ValueError("links is empty")
        if len({bool(link.peer) for link in self.links}) > 1:
            raise ValueError("links holds some with a peer and some without: all must be unicast, or none")
        group = ipaddress.ip_address(self.group)
        if group.version != 4 or not group.is_multicast:
            raise ValueError(f"group is {self.group}, no IPv4 multicast group")
        if not 1 <= self.port <= 65536 - len(self.links):
            raise ValueError(f"port is {self.port}, not 1..{65536 - len(self.links)} with {len(self.links)} links")
        for address in self.ignore:
            ipaddress.ip_address(address)
        if self.timeout_s <= 0:
            raise ValueError("timeout_s is not above 0")


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it.

    Attributes:
        node: this node's name.
        advskew: 0..239, in 1/256 s; the smallest of the nodes serves.
        preempt: whether a better node takes over from a worse one that is well: at once, after ``preempt_delay_s``
            seconds, or not.
        hold_down_s: seconds since the kernel booted in which this node takes nothing over.
        ready_timeout_s: seconds after which an agent that was never told ready counts as ready.
        run_dir: where carp.sock is made.
        tracked: devices whose loss of link demotes the whole node.
        own_peers: our other nodes, by name: their source addresses, which each told over SSH.
        state_sync: how open connections live on through a change of MASTER; None: they do not.
    """

    node: str
    advskew: int
    preempt: Literal["always", "delayed", "never"]
    preempt_delay_s: float
    hold_down_s: float
    ready_timeout_s: float
    run_dir: str
    vips: tuple[VipSettings, ...]
    tracked: tuple[str, ...]
    own_peers: Mapping[str, tuple[str, ...]]
    state_sync: StateSync | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.advskew <= SKEW_MOST:
            raise ValueError(f"advskew is {self.advskew}, not 0..{SKEW_MOST}")
        for name in ("preempt_delay_s", "hold_down_s", "ready_timeout_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is less than 0")
        keys = [vip.key for vip in self.vips]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"vips holds vhid {key[1]} on {key[0]} twice")
        for sources in self.own_peers.values():
            for source in sources:
                ipaddress.ip_address(source)

    @property
    def digest(self) -> str:
        """A name for exactly these settings. The passwords are in it: it is for core, not for people's eyes."""
        return hashlib.sha256(encode(self)).hexdigest()[:16]


def to_json(settings: Settings) -> dict[str, Any]:
    """As a JSON object, with its format; without ``state_sync`` where there is none, as versions before it wrote it."""
    plain = records.to_plain(settings)
    if settings.state_sync is None:
        del plain["state_sync"]
    return {"format": FORMAT, **plain}


def from_json(data: object) -> Settings:
    """Out of a parsed JSON object.

    Raises:
        BadSettingsError: a key is unknown, missing or wrong.
    """
    try:
        plain = take_format(data, FORMAT)
        return records.from_plain(Settings, {"state_sync": None, **plain} if isinstance(plain, dict) else plain)
    except NoRecordError as error:
        raise BadSettingsError(str(error)) from None


def encode(settings: Settings) -> bytes:
    """The file's bytes: the same settings make the same ones."""
    return json.dumps(to_json(settings), sort_keys=True, indent=1).encode() + b"\n"


def decode(data: bytes) -> Settings:
    """Out of the file's bytes.

    Raises:
        BadSettingsError: as in ``from_json``.
    """
    try:
        plain = records.parse(data)
    except NoRecordError as error:
        raise BadSettingsError(str(error)) from None
    return from_json(plain)


def load(state_dir: Path) -> Settings | None:
    """What core wrote below ``state_dir``; None where it never did.

    Raises:
        BadSettingsError: it cannot be read, or as in ``from_json``.
    """
    path = state_dir / FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadSettingsError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    return decode(data)


def take_format(data: object, known: int) -> object:
    """The object without its key ``format``.

    Raises:
        NoRecordError: it is another format.
    """
    if not isinstance(data, dict):
        return data
    if "format" not in data:
        raise NoRecordError("format", "is missing")
    if type(data["format"]) is not int or data["format"] != known:
        raise NoRecordError("format", f"is {data['format']!r}, and this version knows {known}")
    return {key: value for key, value in data.items() if key != "format"}


def _check_device(device: str) -> None:
    """What the kernel takes as a name (dev_valid_name; IFNAMSIZ counts the final zero)."""
    if not 1 <= len(device.encode()) <= 15:
        raise ValueError(f"device is {device!r}, which no device can be called")


def _check_password(password: str) -> None:
    size = len(password.encode("utf-8", "surrogateescape"))
    if size > PASSWORD_MOST:
        raise ValueError(f"password has {size} bytes, {PASSWORD_MOST} at most")
