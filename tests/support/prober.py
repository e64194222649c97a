"""A client that asks an address each millisecond, and sees which node holds it: a program of its own, for figures.

    python prober.py CLIENT ADDRESS INTERVAL_S [NAME=NAMESPACE]...

CLIENT is the network namespace that it asks from, each NAMESPACE one in which it sees addresses come and go; they are
paths. It writes `ready`, then works until its standard input ends, and then writes what it saw as one JSON object; all
times are CLOCK_MONOTONIC seconds, so that they stand beside those of whoever started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import json
import os
import select
import socket
import struct
import sys
import time

PRIORITY = 30
"""Below the agents under test, which must never wait for us."""

CLONE_NEWNET = 0x40000000
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
IFA_ADDRESS, IFA_LOCAL = 1, 2
IFADDR_GROUPS = 0x10 | 0x100
"""RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR."""

_libc = ctypes.CDLL(None, use_errno=True)


def enter(namespace: str) -> None:
    """Move this thread into a network namespace; sockets made from then on belong there."""
    handle = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(handle, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
    finally:
        os.close(handle)


class Asker:
    """Echo requests to one address, and when each was answered."""

    def __init__(self, address: str) -> None:
        self.six = ipaddress.ip_address(address).version == 6
        family, protocol = (
            (socket.AF_INET6, socket.IPPROTO_ICMPV6) if self.six else (socket.AF_INET, socket.IPPROTO_ICMP)
        )
        self.socket = socket.socket(family, socket.SOCK_RAW, protocol)
        self.socket.setblocking(False)
        self.address = address
        self.mark = os.getpid() & 0xFFFF
        self.sent: list[float] = []
        self.answers: list[tuple[int, float]] = []

    def ask(self) -> None:
        number = len(self.sent)
        body = struct.pack("!HHI", self.mark, number & 0xFFFF, number)
        if self.six:
            packet = struct.pack("!BBH", 128, 0, 0) + body  # the kernel fills in the checksum
        else:
            packet = struct.pack("!BBH", 8, 0, checksum(struct.pack("!BBH", 8, 0, 0) + body)) + body
        self.sent.append(time.monotonic())
        with contextlib.suppress(OSError):  # no route, no neighbour: it is not answered, which is what counts
            self.socket.sendto(packet, (self.address, 0))

    def hear(self) -> None:
        while True:
            try:
                data = self.socket.recv(256)
            except BlockingIOError:
                return
            except OSError:
                continue  # an error that the network reported for an earlier request
            message = data if self.six else data[20:]
            if len(message) < 12 or message[0] != (129 if self.six else 0):
                continue
            mark, _, number = struct.unpack("!HHI", message[4:12])
            if mark == self.mark:
                self.answers.append((number, time.monotonic()))


class Holding:
    """Addresses that come and go in one namespace."""

    def __init__(self, node: str, namespace: str) -> None:
        self.node = node
        enter(namespace)
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind((0, IFADDR_GROUPS))
        self.socket.setblocking(False)
        self.socket.send(struct.pack("=IHHIIB3x", 20, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0, 0))

    def hear(self) -> list[tuple[float, str, bool, str]]:
        """(when, node, whether it holds it now, address) of each change."""
        found: list[tuple[float, str, bool, str]] = []
        while True:
            try:
                data = self.socket.recv(1 << 16)
            except BlockingIOError:
                return found
            at = time.monotonic()
            while len(data) >= 16:
                size, kind = struct.unpack_from("=IH", data)
                if kind in (RTM_NEWADDR, RTM_DELADDR):
                    found.append((at, self.node, kind == RTM_NEWADDR, address_in(data[16:size])))
                data = data[(size + 3) & ~3 :]


def address_in(body: bytes) -> str:
    """The address that an ifaddrmsg speaks of."""
    rest, found = body[8:], b""
    while len(rest) >= 4:
        size, kind = struct.unpack_from("=HH", rest)
        if kind == IFA_LOCAL or (kind == IFA_ADDRESS and not found):
            found = rest[4:size]
        rest = rest[(size + 3) & ~3 :]
    return str(ipaddress.ip_address(found))


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def main(client: str, address: str, interval: str, *watched: str) -> None:
    timing = "real-time"
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except OSError:
        timing = "best effort"
    nodes = [Holding(*one.split("=", 1)) for one in watched]
    enter(client)
    asker = Asker(address)
    interval_s = float(interval)
    changes: list[tuple[float, str, bool, str]] = []
    sources = [sys.stdin.fileno(), asker.socket, *(node.socket for node in nodes)]
    print("ready", flush=True)
    next_at = time.monotonic()
    while True:
        ready, _, _ = select.select(sources, [], [], max(0.0, next_at - time.monotonic()))
        for source in ready:
            if source is asker.socket:
                asker.hear()
            elif source == sys.stdin.fileno():
                seen = {"timing": timing, "sent": asker.sent, "answers": asker.answers, "changes": changes}
                print(json.dumps(seen), flush=True)
                return
        for node in nodes:
            changes += node.hear()
        now = time.monotonic()
        if now >= next_at:
            asker.ask()
            next_at = max(next_at + interval_s, now)  # what was missed is not made up for by a burst


if __name__ == "__main__":
    main(*sys.argv[1:])
