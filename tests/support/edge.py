"""The pair of the lab: two firewalls between a client and a server, as at the edge of somebody's network.

    client 10.1.0.10 --- lan --- fw1, fw2 --- wan --- 10.2.0.10 server
                                   `-- sync --'

fw1 is .1 of 10.1.0.0/24, 10.2.0.0/24 and 10.3.0.0/24, fw2 is .2; the addresses of whoever serves are .254 of lan and
wan, and fd01::254 of lan. The client's way out is that of lan; the server sees it come from that of wan, and knows no
way to lan. nginx, unbound and nftables run on both under systemd, and syncsrv keeps them, the addresses and the
connections.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncsrv.control.ask import Client
from syncsrv.errors import SyncsrvError
from tests.support import lab, netns
from tests.support.machines import Cable, Machine, MachineError
from tests.support.testroot import TestRoot
from tests.support.wait import until

LAN, WAN, SYNC = "lan", "wan", "sync"
VIP, VIP6, WAN_VIP = "10.1.0.254", "fd01::254", "10.2.0.254"
CLIENT, CLIENT6, SERVER = "10.1.0.10", "fd01::10", "10.2.0.10"
NAMES = ("fw1", "fw2")
UP_S = 60.0
"""Seconds that the pair may need for what it does in two or three."""

CLUSTER = """\
cluster: edge
areas:
  proxy:
    description: Reverse proxy
    paths: [/etc/nginx]
    check: [nginx, -t, -q, -c, "{stage}/etc/nginx/nginx.conf"]
    services: [nginx]
  dns:
    description: Resolver
    paths: [/etc/unbound]
    exclude: ["*.key"]
    check: [unbound-checkconf, "{stage}/etc/unbound/unbound.conf"]
    services: [unbound]
  firewall:
    description: Packet filter and NAT
    paths: [/etc/nftables.conf]
    check: [nft, -c, -f, "{stage}/etc/nftables.conf"]
    services: [nftables]
services:
  nginx: {manager: systemd, unit: nginx.service, health: {tcp: "127.0.0.1:80"}}
  unbound: {manager: systemd, unit: unbound.service, on_change: restart, health: {tcp: "127.0.0.1:53"}}
  nftables: {manager: systemd, unit: nftables.service}
vips:
  - {vhid: 1, interface: lan, addresses: [10.1.0.254/24, "fd01::254/64"], password: !secret carp, advbase: 0}
  - {vhid: 2, interface: wan, addresses: [10.2.0.254/24], password: !secret carp, advbase: 0}
carp: {hold_down_s: 0}
"""
STATE_SYNC = "state_sync: {engine: conntrackd, interface: sync}\n"

SKEWS = {"fw1": 25, "fw2": 26}
"""An advertisement each 0.1 s: a MASTER is missed after 0.3 s."""

NFTABLES = """\
#!/usr/sbin/nft -f
flush ruleset
table inet filter {
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related counter accept
    ct state invalid counter drop
    ip daddr 10.2.0.10 tcp dport 5000-5999 ct state new tcp flags & (syn|ack|rst|fin) == syn counter accept
    ip daddr 10.2.0.10 udp dport 5000-5999 ct state new counter accept
  }
}
table ip nat {
  chain post { type nat hook postrouting priority 100; oifname "wan" ip saddr 10.1.0.0/24 snat to 10.2.0.254; }
}
"""
"""Strict on purpose: a packet in the middle of a connection that this node does not know goes nowhere. NAT is for what
comes from lan alone: the node's own adverts would have the source of both nodes.
"""

UNBOUND = """\
server:
    interface: 0.0.0.0
    access-control: 10.0.0.0/8 allow
    local-zone: "edge." static
    local-data: "portal.edge. A 10.2.0.10"
"""

NGINX = """\
server {
    listen 80 default_server;
    listen [::]:80 default_server;
    location / { return 200 "the portal\\n"; }
}
"""

SYSCTL = """\
net.ipv4.ip_forward = 1
net.ipv6.conf.all.forwarding = 1
net.netfilter.nf_conntrack_tcp_loose = 0
net.netfilter.nf_conntrack_tcp_be_liberal = 0
"""
"""The connection table is believed to the letter: without entries from the other node, nothing lives on."""


class Firewall(Machine):
    """A machine with syncsrv."""

    password = ""
    """Of the page's user admin; known once it is configured."""

    def furnish(self) -> None:
        """Write what is there before syncsrv is."""
        self.put("/etc/sysctl.d/router.conf", SYSCTL)
        self.put("/etc/nftables.conf", NFTABLES, 0o755)
        self.put("/etc/nginx/sites-available/default", NGINX)
        self.put("/etc/unbound/unbound.conf.d/edge.conf", UNBOUND)

    def configure(self, role: str, cluster: str) -> str:
        """Make it a node; its key."""
        made = self.do("init", "--node", self.name, "--role", role)
        self.password = made["password"]
        self.put("/etc/syncsrv/cluster.yaml", cluster)
        self.put("/etc/syncsrv/secrets.yaml", "carp: nobody knows\n", 0o600)
        devices = "interfaces: {lan: lan, wan: wan, sync: sync}"
        self.append("/etc/syncsrv/node.yaml", f"{devices}\ncarp: {{advskew: {SKEWS[self.name]}}}\n")
        key: str = self.do("key")["key"]
        return key

    def start(self) -> None:
        """Start what runs here, now and at each boot."""
        self.run("systemctl", "enable", "--now", "nftables", "nginx", "unbound")
        self.do("install")

    def append(self, path: str, text: str) -> None:
        """Add lines to one of its files."""
        with (self.disk / path.lstrip("/")).open("a") as file:
            file.write(text)

    def do(self, *words: str) -> Any:
        """A command of syncsrv that has to succeed; what it answers to programs."""
        return json.loads(self.run("syncsrv", *words, "--json", deadline_s=100).stdout)

    def status(self) -> Mapping[str, Any]:
        """What ``syncsrv status --json`` shows, without a process for each question."""
        with Client(Path(f"/proc/{self.pid}/root/run/syncsrv/core.sock")) as core:
            return core.call("status", {}, deadline_s=15)

    def states(self) -> dict[int, str]:
        """The CARP state of each vhid; empty while core does not answer."""
        try:
            return {vip["vhid"]: vip["state"] for vip in self.status()["vips"]}
        except SyncsrvError:
            return {}

    def awaits_table(self) -> bool:
        """Whether it is demoted until it has the other's connections; also while core does not answer."""
        try:
            return "state-sync" in self.status()["demotion"]["reasons"]
        except SyncsrvError:
            return True

    def serves(self) -> bool:
        """Whether it is MASTER of all addresses and has them."""
        return set(self.states().values()) == {"MASTER"} and {VIP, VIP6, WAN_VIP} <= self.addresses()

    def addresses(self) -> set[str]:
        """All that are on its devices now."""
        return lab.Node(self.name, self.spaces, "", "").addresses()


@dataclass(slots=True)
class Edge:
    """The pair, its bridges, the client and the server."""

    spaces: netns.Lab
    fw1: Firewall
    fw2: Firewall
    client: lab.Node
    server: lab.Node

    @property
    def nodes(self) -> tuple[Firewall, Firewall]:
        return self.fw1, self.fw2

    def settle(self, master: str = "fw1") -> None:
        """Wait until this node serves, the other one is its BACKUP and has its table, and each has heard the other."""
        serving, other = sorted(self.nodes, key=lambda node: node.name != master)
        try:
            until(serving.serves, UP_S, f"{master} to serve")
            until(lambda: set(other.states().values()) == {"BACKUP"}, UP_S, f"{other.name} to be BACKUP")
            until(self.hear_each_other, UP_S, "the nodes to hear each other")
            until(lambda: not any(node.awaits_table() for node in self.nodes), UP_S, "the connections to be on both")
        except AssertionError as error:
            raise MachineError(f"{error}\n{self.said()}") from error

    def hear_each_other(self) -> bool:
        """Whether each has heard the other over SSH."""
        try:
            return all(peer["reachable"] for node in self.nodes for peer in node.status()["peers"].values())
        except SyncsrvError:
            return False

    def sync(self, *words: str) -> Any:
        """``syncsrv sync`` on fw1 that has to succeed; fw2's result."""
        return self.fw1.do("sync", *words)["nodes"]["fw2"]

    def said(self, lines: int = 40) -> str:
        """The end of what each node's syncsrv wrote."""
        units = ("-u", "syncsrv*", "-n", str(lines))
        return "".join(f"--- {node.name} ---\n{node.journal(*units)}" for node in self.nodes if node.running)

    def pull(self, node: str, device: str) -> None:
        """Pull a cable: the node's device has no carrier."""
        self.spaces.switch(netns.Lab.BRIDGE, f"{node}-{device}", up=False)

    def plug(self, node: str, device: str) -> None:
        """Put it in again."""
        self.spaces.switch(netns.Lab.BRIDGE, f"{node}-{device}", up=True)

    def cut(self, node: str, device: str) -> None:
        """Let nothing through from now on, either way; the node's carrier stays."""
        self._port_state(node, device, "0")

    def mend(self, node: str, device: str) -> None:
        """Let everything through again."""
        self._port_state(node, device, "3")

    def _port_state(self, node: str, device: str, state: str) -> None:
        words = ["link", "set", "dev", f"{node}-{device}", "state", state]
        done = self.spaces.run(netns.Lab.BRIDGE, [*lab.command("bridge"), *words])
        assert done.returncode == 0, done.stderr


def _outsider(spaces: netns.Lab, name: str, bridge: str, address: str, address6: str = "") -> lab.Node:
    spaces.add(name)
    spaces.plug(name, port=name, bridge=bridge)
    spaces.address(name, "eth0", f"{address}/24")
    if address6:
        spaces.address(name, "eth0", f"{address6}/64")
    return lab.Node(name, spaces, address, address6)


def _cables(number: int) -> dict[str, Cable]:
    return {
        LAN: Cable.to(LAN, f"10.1.0.{number}/24", f"fd01::{number}/64"),
        WAN: Cable.to(WAN, f"10.2.0.{number}/24"),
        SYNC: Cable.to(SYNC, f"10.3.0.{number}/24"),
    }


@contextlib.contextmanager
def unconfigured(root: TestRoot, layers: Sequence[Path]) -> Iterator[Edge]:
    """The whole network, the machines booted, and no syncsrv configured: its command is there."""
    spaces = netns.Lab()
    with contextlib.ExitStack() as stack:
        stack.callback(spaces.close)
        for bridge in (LAN, WAN, SYNC):
            spaces.bridge(bridge)
        client = _outsider(spaces, "client", LAN, CLIENT, CLIENT6)
        client.ip(f"route add default via {VIP}")
        server = _outsider(spaces, "server", WAN, SERVER)
        for name in ("client", "server"):
            stack.callback(lab.kill_all, spaces, name)
        fw1, fw2 = (
            stack.enter_context(Firewall(name, root, spaces, _cables(number), layers))
            for number, name in enumerate(NAMES, 1)
        )
        for node in (fw1, fw2):
            node.furnish()
            node.boot()
        yield Edge(spaces, fw1, fw2, client, server)


def configure(edge: Edge, cluster: str = CLUSTER) -> None:
    """``syncsrv init`` on both, and each with the other's key."""
    keys = {node: node.configure(role, cluster) for node, role in zip(edge.nodes, ("master", "backup"), strict=True)}
    for node, (peer, key) in zip(edge.nodes, reversed(keys.items()), strict=True):
        address = peer.cables[SYNC].addresses[0].partition("/")[0]
        node.append("/etc/syncsrv/node.yaml", f'peers:\n  {peer.name}: {{address: "{address}:8022", key: "{key}"}}\n')


@contextlib.contextmanager
def running(root: TestRoot, layers: Sequence[Path], cluster: str = CLUSTER) -> Iterator[Edge]:
    """Everything configured and started: fw1 serves, fw2 hears it; nothing has been synchronized."""
    with unconfigured(root, layers) as edge:
        configure(edge, cluster)
        with ThreadPoolExecutor() as both:  # a node that is alone first would wait for the other one
            list(both.map(Firewall.start, edge.nodes))
        edge.settle()
        yield edge
