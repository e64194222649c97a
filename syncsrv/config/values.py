"""How single values are written: durations, sizes, addresses, paths, keys. Pure, standard library only.

Every function raises ValueError with a sentence that begins with ``cannot``, ready to stand in a Problem.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import math
import re
from dataclasses import dataclass
from typing import TypeAlias

IpInterface: TypeAlias = ipaddress.IPv4Interface | ipaddress.IPv6Interface

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_S = 366 * 86400.0
_SIZE = re.compile(r"([0-9]+)(B|KiB|MiB|GiB)", re.ASCII)
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_ED25519 = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"


@dataclass(frozen=True, slots=True)
class SecretRef:
    """``!secret NAME``: the value is in secrets.yaml, which is never in Git."""

    secret: str


def parse_duration(written: object) -> float:
    """Seconds from ``500ms``, ``5s``, ``10m``, ``6h``, ``2d`` or a plain number of seconds.

    Raises:
        ValueError: it is none of these, negative, or longer than a year.
    """
    found = _DURATION.fullmatch(written) if isinstance(written, str) else None
    if found is not None:
        seconds = float(found[1]) * _SECONDS[found[2]]
    elif isinstance(written, int | float) and not isinstance(written, bool):
        seconds = float(min(written, _LONGEST_S + 1))
    else:
        raise ValueError(f"cannot be {_said(written)}: write a duration such as 5s, 10m or 6h")
    if not math.isfinite(seconds) or seconds < 0 or seconds > _LONGEST_S:
        raise ValueError(f"cannot be {written}: a duration is between 0 and 366d")
    return seconds


def show_duration(seconds: float) -> str:
    """As ``parse_duration`` reads it, in the largest unit without a fraction: ``6h``, ``90s``, ``0.5s``."""
    for unit, length_s in reversed(_SECONDS.items()):
        if length_s >= 1 and seconds and seconds % length_s == 0:
            return f"{seconds / length_s:.0f}{unit}"
    return f"{seconds:g}s"


def parse_size(written: object) -> int:
    """Bytes from ``16MiB`` (B, KiB, MiB, GiB) or a plain number of bytes.

    Raises:
        ValueError: it is neither, or not above zero.
    """
    found = _SIZE.fullmatch(written) if isinstance(written, str) and len(written) < 40 else None
    if found is not None:
        size = int(found[1]) * _BYTES[found[2]]
    elif isinstance(written, int) and not isinstance(written, bool):
        size = written
    else:
        raise ValueError(f"cannot be {_said(written)}: write a size such as 16MiB (B, KiB, MiB, GiB)")
    if size <= 0:
        raise ValueError(f"cannot be {written}: a size is above zero")
    if size > 1 << 40:
        raise ValueError(f"cannot be {written}: a size is at most 1024GiB")
    return size


def show_size(size: int) -> str:
    """As ``parse_size`` reads it, in the largest unit without a fraction: ``16MiB``."""
    unit = next(unit for unit, length in reversed(_BYTES.items()) if size % length == 0 and (size or length == 1))
    return f"{size // _BYTES[unit]}{unit}"


def _said(written: object) -> str:
    return repr(written) if isinstance(written, str | float) else "this"


def listed(written: str | tuple[str, ...]) -> tuple[str, ...]:
    """One text or several as a list; nothing for an empty text."""
    return written if isinstance(written, tuple) else (written,) if written else ()


def split_host_port(written: str) -> tuple[str, int]:
    """``HOST:PORT`` taken apart; an IPv6 address stands in brackets and comes without them.

    Raises:
        ValueError: no port, a port outside 1 to 65535, or no host that could be one.
    """
    host, colon, port_text = written.rpartition(":")
    if not colon or not host:
        raise ValueError(f"cannot be {written!r}: write HOST:PORT")
    if not _PORT.fullmatch(port_text) or not 1 <= int(port_text) <= 65535:
        raise ValueError(f"cannot be {written!r}: the port after the last colon is a number from 1 to 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError(f"cannot be {written!r}: {host} is no IPv6 address") from None
    elif ":" in host:
        raise ValueError(f"cannot be {written!r}: an IPv6 address stands in brackets, [{host}]:{port_text}")
    elif re.fullmatch(r"[0-9.]+", host):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise ValueError(f"cannot be {written!r}: {host} is no IPv4 address") from None
    elif len(host) > 253 or not all(map(_LABEL.fullmatch, host.split("."))):
        raise ValueError(f"cannot be {written!r}: {host} is no address and no host name")
    return host, int(port_text)


def split_listen(written: str) -> tuple[str, int]:
    """``ADDRESS:PORT`` to listen on: like split_host_port, but an address, since a name may have several.

    Raises:
        ValueError: as split_host_port, or the host is a name.
    """
    host, port = split_host_port(written)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(
            f"cannot be {written!r}: to listen, write an address of this node such as 127.0.0.1:{port}, not a name"
        ) from None
    return host, port


def is_loopback(address: str) -> bool:
    """Whether an address literal is reachable from this machine only."""
    return ipaddress.ip_address(address).is_loopback


def parse_vip(written: str) -> IpInterface:
    """A virtual address with its prefix, ``192.0.2.10/24``.

    Raises:
        ValueError: no prefix length, no address, or one that no host can own.
    """
    if "/" not in written:
        raise ValueError(f"cannot be {written!r}: write the address with its prefix length, such as 192.0.2.10/24")
    if not written.rpartition("/")[2].isdecimal():
        raise ValueError(f"cannot be {written!r}: the prefix length is a number, such as /24")
    try:
        address = ipaddress.ip_interface(written)
    except ValueError:
        raise ValueError(f"cannot be {written!r}: no IPv4 or IPv6 address with a prefix length") from None
    ip = address.ip
    if ip.is_multicast or ip.is_unspecified or ip.is_loopback or ip == ipaddress.ip_address("255.255.255.255"):
        raise ValueError(f"cannot be {written!r}: a host cannot serve on this address")
    if isinstance(address, ipaddress.IPv6Interface) and address.scope_id:
        raise ValueError(f"cannot be {written!r}: leave out %{address.scope_id}; `interface` says where")
    net = address.network
    if ip.version == 4 and net.prefixlen < 31 and ip in (net.network_address, net.broadcast_address):
        raise ValueError(f"cannot be {written!r}: this is the network's own or its broadcast address")
    return address


def parse_source(written: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """A node's own address, ``192.0.2.1``: adverts come from there and go there.

    Raises:
        ValueError: no address, or one that no single host has.
    """
    try:
        ip = ipaddress.ip_address(written)
    except ValueError:
        raise ValueError(f"cannot be {written!r}: no IPv4 or IPv6 address; write it without a prefix length") from None
    if ip.is_multicast or ip.is_unspecified or ip.is_loopback or ip == ipaddress.ip_address("255.255.255.255"):
        raise ValueError(f"cannot be {written!r}: no address of one host on the network")
    if isinstance(ip, ipaddress.IPv6Address) and ip.scope_id:
        raise ValueError(f"cannot be {written!r}: leave out %{ip.scope_id}; `interface` says where")
    return ip


def parse_network(written: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """An address or a network of sources, ``192.0.2.0/24``.

    Raises:
        ValueError: neither.
    """
    try:
        return ipaddress.ip_network(written)
    except ValueError as error:
        hint = "host bits are set" if "host bits" in str(error) else "no address and no network"
        raise ValueError(f"cannot be {written!r}: {hint}; write for example 192.0.2.7 or 192.0.2.0/24") from None


def normal_path(written: str) -> str:
    """An absolute path as it is compared: no final, double or ``.`` component.

    Raises:
        ValueError: it is relative, has ``..`` or a NUL.
    """
    if "\0" in written:
        raise ValueError("cannot hold a NUL character")
    if not written.startswith("/"):
        raise ValueError(f"cannot be {written!r}: write an absolute path, as seen under root")
    parts = [part for part in written.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"cannot be {written!r}: `..` is not allowed; write where it leads")
    return "/" + "/".join(parts)


def is_under(path: str, top: str) -> bool:
    """Whether one normal path is another or lies below it."""
    return path == top or path.startswith(top.rstrip("/") + "/")


def parse_public_key(written: str) -> bytes:
    """The blob of an OpenSSH line ``ssh-ed25519 AAAA… [comment]``.

    Raises:
        ValueError: another algorithm, or not a key.
    """
    words = written.split()
    if not words or words[0] != "ssh-ed25519":
        other = f"; {words[0]} is another algorithm" if words and words[0].startswith(("ssh-", "ecdsa-")) else ""
        raise ValueError(f"cannot be used as a key: write the line that `syncsrv key` prints there{other}")
    try:
        blob = base64.b64decode(words[1].encode("ascii"), validate=True) if len(words) > 1 else b""
    except (binascii.Error, UnicodeEncodeError):
        blob = b""
    if len(blob) != len(_ED25519) + 32 or not blob.startswith(_ED25519):
        raise ValueError(
            "cannot be used as a key: what follows ssh-ed25519 is cut or mistyped; copy the whole line that "
            "`syncsrv key` prints there"
        )
    return blob
