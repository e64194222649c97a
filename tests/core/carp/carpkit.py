"""Whole cores with VIPs, and what their process carp would be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from syncsrv.control.shapes_failover import VipReply, VipRequest
from syncsrv.failover.messages import VipReport
from tests.core.carp.fakecarp import DEVICE, NOTHING, FakeCarp, master, vip
from tests.core.corekit import Node, Pair, pin
from tests.support.wait import until

VIPS = """\
vips:
  - {vhid: 1, interface: lan, addresses: [192.0.2.10/24, "2001:db8::10/64"], password: !secret carp_lan}
  - {vhid: 2, interface: wan, addresses: [198.51.100.10/24], password: plain}
carp: {hold_down_s: 0}
"""
LAN, WAN = "1@lan", "2@wan"
PASSWORD = "correct horse"


def with_vips(node: Node, vips: str = VIPS) -> None:
    """Give a node devices, a secret and VIPs; it must not be open yet."""
    with (node.etc / "cluster.yaml").open("a") as file:
        file.write(vips)
    with (node.etc / "node.yaml").open("a") as file:
        file.write("\ninterfaces: {lan: eth0, wan: eth1}\n")
    secrets = node.etc / "secrets.yaml"
    secrets.write_text(f"carp_lan: {PASSWORD}\n")
    secrets.chmod(0o600)


@contextmanager
def one_node(home: Path, vips: str = VIPS) -> Iterator[Node]:
    """fw1 with VIPs and without peers; nothing listens yet."""
    pair = Pair()
    node = Node(home / "fw1", "fw1", "master", pair)
    with_vips(node, vips)
    node.put("/etc/app/app.conf", "one")
    node.open()
    try:
        yield node
    finally:
        pair.close()


@contextmanager
def two_nodes(home: Path, vips: str = VIPS, skews: tuple[int, int] = (0, 100)) -> Iterator[Pair]:
    """fw1 and fw2 with VIPs; nothing listens yet, and they have not heard each other."""
    pair = Pair()
    one = Node(home / "fw1", "fw1", "master", pair)
    two = Node(home / "fw2", "fw2", "backup", pair)
    pin(one, two)
    pin(two, one)
    try:
        for node, skew in zip((one, two), skews, strict=True):
            with_vips(node, vips)
            with (node.etc / "node.yaml").open("a") as file:
                file.write(f"carp: {{advskew: {skew}}}\n")
            node.put("/etc/app/app.conf", "one")
            node.open()
        yield pair
    finally:
        pair.close()


def masters(node: Node) -> tuple[VipReport, ...]:
    """All its VIPs as MASTER."""
    settings = node.core.carp.settings
    return tuple(master(settings, number) for number in range(len(settings.vips)))


def backups(node: Node, **other: Any) -> tuple[VipReport, ...]:
    """All its VIPs as BACKUP."""
    settings = node.core.carp.settings
    return tuple(vip(settings, number, **other) for number in range(len(settings.vips)))


def process(node: Node, vips: tuple[VipReport, ...] = (), **other: Any) -> FakeCarp:
    """A node's process carp, which works with its configuration."""
    known = replace(
        NOTHING, node=node.name, settings_digest=node.core.carp.settings.digest, vips=vips, devices=(DEVICE,)
    )
    return FakeCarp(node.home / "run", replace(known, **other))


@contextmanager
def running(node: Node, vips: tuple[VipReport, ...] = (), **other: Any) -> Iterator[FakeCarp]:
    """The same, and core listens to it."""
    with process(node, vips, **other) as carp:
        node.core.carp.start()
        until(lambda: node.core.carp.reading.now is not None, what="the first report")
        yield carp


def order(node: Node, action: str, **other: Any) -> VipReply:
    """``syncsrv vip ACTION``."""
    reply = node.ask("vip", VipRequest(action, **other))
    assert isinstance(reply, VipReply)
    return reply
