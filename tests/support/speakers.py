"""Processes that hold a virtual address on a node of a lab: syncsrv's, and the peers that it is measured against.

Each runs in the network namespace of its node. What they have in common is a Speaker.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from syncsrv.failover import intent as intents
from syncsrv.failover import settings as configs
from syncsrv.failover.asking import CarpAwayError, Client
from syncsrv.failover.intent import Intent
from syncsrv.failover.messages import Apply, Report, VipReport
from syncsrv.failover.settings import Settings, VipSettings
from tests.support.testroot import TestRoot

TOP = Path(__file__).resolve().parents[2]
DEVICE = "eth0"
VHID = 51
PASSWORD = "secret"


class Speaker(Protocol):
    """One node's agent.

    Attributes:
        kind: whose program it is.
        process: what was started; its child is the one that speaks, where there are two.
        log: what it wrote.
    """

    kind: str
    process: subprocess.Popen[bytes]
    log: Path

    def child(self) -> int | None:
        """The process that speaks, where it is not the one that was started."""

    def said(self) -> str:
        """All that it wrote until now."""


def start_in(namespace: str, argv: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a program in a network namespace, in a session of its own; the process is the program itself.

    It is killed when the thread that started it ends, so that nothing goes on when a test is killed.
    """
    with log.open("ab") as stream:
        return subprocess.Popen(
            ["nsenter", f"--net={namespace}", "--", "setpriv", "--pdeathsig", "KILL", "--", *argv],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=TOP,
            start_new_session=True,
        )


def children(pid: int) -> list[int]:
    """Its living children, oldest first."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


class Ucarp:
    """A real ucarp; it ignores everything but one IPv4 address, and intervals below a second.

    Args:
        namespace: path of its node's network namespace.
        source: its own IPv4 address.
        address: the virtual one, with prefix.
        home: where its scripts and its log go.
    """

    kind = "ucarp"

    def __init__(
        self, root: TestRoot, namespace: str, source: str, address: str, home: Path, *,
        advskew: int = 0, advbase: int = 1, password: str = PASSWORD, vhid: int = VHID, preempt: bool = True,
    ) -> None:  # fmt: skip
        home.mkdir(parents=True, exist_ok=True)
        self.log = home / "log"
        bare = address.partition("/")[0]
        for name, action in (
            ("up", f"ip addr add {address} dev $1; arping -q -U -c 1 -I $1 {bare} &"),
            ("down", f"ip addr del {address} dev $1"),
        ):
            script = home / name
            script.write_text(f"#!/bin/sh\n{action}\nexit 0\n")
            script.chmod(0o755)
        words: list[str | Path] = [
            *("ucarp", "-i", DEVICE, "-s", source, "-v", str(vhid), "-p", password, "-a", bare, "-b", str(advbase)),
            *("-k", str(advskew), "-r", "3", "-z", "-u", home / "up", "-d", home / "down", "-f", "none"),
            *(["-P"] if preempt else []),
        ]
        self.process = start_in(namespace, root.argv(*words, binds=[home]), self.log)

    def child(self) -> int | None:
        return None

    def said(self) -> str:
        return self.log.read_text(errors="replace")


class Keepalived:
    """A real keepalived, which speaks VRRPv3; its parent starts a child that speaks."""

    kind = "keepalived"

    def __init__(
        self, root: TestRoot, namespace: str, address: str, home: Path, *,
        priority: int = 200, interval_s: float = 1.0, vhid: int = VHID, version: int = 3,
    ) -> None:  # fmt: skip
        home.mkdir(parents=True, exist_ok=True)
        self.log = home / "log"
        config = home / "keepalived.conf"
        config.write_text(
            f"global_defs {{ vrrp_version {version} }}\n"
            f"vrrp_instance bench {{\n state BACKUP\n interface {DEVICE}\n virtual_router_id {vhid}\n"
            f" priority {priority}\n advert_int {interval_s:g}\n virtual_ipaddress {{ {address} }}\n}}\n"
        )
        words: list[str | Path] = [
            "keepalived",
            "-n",
            "-P",
            "-l",
            "-D",
            "-f",
            config,
            "-p",
            home / "pid",
            "-r",
            home / "vrrp.pid",
        ]
        self.process = start_in(namespace, root.argv(*words, binds=[home]), self.log)

    def child(self) -> int | None:
        found = children(self.process.pid)
        return found[0] if found else None

    def said(self) -> str:
        return self.log.read_text(errors="replace")


@dataclass(frozen=True, slots=True)
class Group:
    """What the nodes of one vhid have in common, and each node's part of it."""

    addresses: tuple[str, ...] = ("10.99.0.100/24",)
    vhid: int = VHID
    advbase: int = 1
    password: str = PASSWORD
    preempt: Literal["always", "delayed", "never"] = "always"
    own_peers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tracked: tuple[str, ...] = ()
    preempt_delay_s: float = 0.0
    hold_down_s: float = 0.0
    unicast: tuple[str, ...] = ()
    virtual_mac: bool = False

    def vip(self) -> VipSettings:
        return VipSettings(
            vhid=self.vhid, interface="lan", device=DEVICE, advbase=self.advbase, addresses=self.addresses,
            password=self.password, unicast=self.unicast, virtual_mac=self.virtual_mac,
        )  # fmt: skip

    def settings(self, node: str, run_dir: Path, advskew: int) -> Settings:
        return Settings(
            node=node, advskew=advskew, preempt=self.preempt, preempt_delay_s=self.preempt_delay_s,
            hold_down_s=self.hold_down_s, ready_timeout_s=0.0, run_dir=str(run_dir), vips=(self.vip(),),
            tracked=self.tracked, own_peers={name: found for name, found in self.own_peers.items() if name != node},
        )  # fmt: skip


class Ours:
    """syncsrv's carp process, as serve starts it: a guardian and its agent.

    Args:
        namespace: path of its node's network namespace.
        home: its configuration, its state and its socket go there; the path must be short.
        prefix: a command before it that changes how it is run.
    """

    kind = "syncsrv"

    def __init__(
        self, namespace: str, home: Path, settings: Settings, *,
        intent: Intent | None = None, prefix: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.namespace = namespace
        self.home = home
        self.settings = settings
        self.log = home / "log"
        (home / "carp").mkdir(parents=True, exist_ok=True, mode=0o700)
        Path(settings.run_dir).mkdir(parents=True, exist_ok=True)
        self.write(settings, intent or Intent())
        self.process = start_in(namespace, [*prefix, *carp_argv(home)], self.log)

    def write(self, settings: Settings | None = None, intent: Intent | None = None) -> None:
        """Bring the files to the disk that the process reads when it starts."""
        if settings is not None:
            write_private(self.home / configs.FILE, configs.encode(settings))
        if intent is not None:
            write_private(self.home / intents.FILE, intents.encode(intent))

    def child(self) -> int | None:
        found = children(self.process.pid)
        return found[-1] if found else None

    def report(self) -> Report:
        with Client(Path(self.settings.run_dir)) as client:
            return client.report()

    def vip(self) -> VipReport:
        """What it says of its first vhid."""
        return self.report().vips[0]

    def state(self) -> str:
        """The state of its first vhid; empty while it cannot be asked."""
        try:
            return self.vip().state
        except (CarpAwayError, IndexError):
            return ""

    def apply(self, settings: Settings | None = None, intent: Intent | None = None, ready: bool | None = None) -> None:
        """First to the disk, then to the process, as core does."""
        self.write(settings, intent)
        if settings is not None:
            self.settings = settings
        with Client(Path(self.settings.run_dir)) as client:
            client.apply(Apply(settings, intent, ready))

    def said(self) -> str:
        return self.log.read_text(errors="replace")


def write_private(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o600)


def carp_argv(home: Path) -> list[str]:
    """How the process is started."""
    return [sys.executable, "-Es", "-m", "syncsrv.failover.guardian", "--state-dir", str(home), "carp"]


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill all that it started, at once, and it; what was stopped too."""
    for pid in [*children(process.pid), process.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
