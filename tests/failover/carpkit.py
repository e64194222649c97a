"""The real carp process, guardian and agent, on the nodes of a lab: with files that core would have written."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from syncsrv.failover import intent as intents
from syncsrv.failover import settings as configs
from syncsrv.failover.asking import CarpAwayError, Client
from syncsrv.failover.intent import Intent
from syncsrv.failover.messages import Apply, Report, VipReport
from syncsrv.failover.settings import Settings, VipSettings
from tests.support.lab import DEVICE, VIP, VIP6, Lab
from tests.support.wait import until

QUICK = VipSettings(
    vhid=1,
    interface="lan",
    device=DEVICE,
    advbase=0,
    addresses=(f"{VIP}/24", f"{VIP6}/64"),
    password="secret",
)
"""Adverts each advskew/256 s."""

SKEWS = {"a": 10, "b": 20, "c": 30}


def settings_of(lab: Lab, name: str, run_dir: Path, **changes: Any) -> Settings:
    """What core would write for one of two nodes that know each other."""
    peers = {other: tuple(sorted(node.addresses())) for other, node in lab.nodes.items() if other != name}
    made = Settings(
        node=name,
        advskew=SKEWS[name],
        preempt="always",
        preempt_delay_s=0.0,
        hold_down_s=0.0,
        ready_timeout_s=0.0,
        run_dir=str(run_dir),
        vips=(QUICK,),
        tracked=(DEVICE,),
        own_peers=peers,
    )
    return replace(made, **changes)


class CarpNode:
    """One node's carp process.

    Args:
        lab: where.
        name: which of its nodes.
        home: its state_dir and run_dir are made there.
        changes: of its settings.
    """

    def __init__(self, lab: Lab, name: str, home: Path, **changes: Any) -> None:
        self.lab = lab
        self.name = name
        self.node = lab[name]
        self.state_dir = home / f"{name}-state"
        self.run_dir = home / f"{name}-run"
        (self.state_dir / "carp").mkdir(parents=True)
        self.log = home / f"{name}.log"
        self.settings = settings_of(lab, name, self.run_dir, **changes)
        self.process: subprocess.Popen[bytes] | None = None
        self.path = os.environ["PATH"]
        """Where its processes look for programs."""

    def write(self, settings: Settings | None = None, intent: Intent | None = None) -> None:
        """Put the files where core does."""
        if settings is not None:
            self.settings = settings
            (self.state_dir / configs.FILE).write_bytes(configs.encode(settings))
        if intent is not None:
            (self.state_dir / intents.FILE).write_bytes(intents.encode(intent))

    def start(self) -> CarpNode:
        """Start the guardian, whose life is a pipe of ours."""
        self.end()
        self.write(self.settings)
        told = ["--state-dir", str(self.state_dir), "--life-fd", "0", "carp"]
        argv = [*self.lab.spaces.prefix(self.name), sys.executable, "-Es", "-m", "syncsrv.failover.guardian", *told]
        with self.log.open("ab") as log:
            env = os.environ | {"PATH": self.path}
            self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=log, stderr=log, env=env)
        return self

    @property
    def pid(self) -> int:
        """The guardian's."""
        assert self.process is not None
        return self.process.pid

    @property
    def agent_pid(self) -> int:
        """The agent's, when there is one that answers."""
        return self.await_report(lambda report: True).pid

    def report(self) -> Report | None:
        """How it is now; None while it cannot be asked."""
        try:
            with Client(self.run_dir) as client:
                return client.report()
        except CarpAwayError:
            return None

    def await_report(self, holds: Callable[[Report], bool], deadline_s: float = 10, what: str = "") -> Report:
        """Wait for a report of which something holds."""

        def ask() -> Report | None:
            found = self.report()
            return found if found is not None and holds(found) else None

        try:
            found = until(ask, deadline_s, what or f"a report of {self.name}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.report()}\n{self.text()}") from None
        assert found is not None
        return found

    def await_state(self, state: str, vhid: int = 1, deadline_s: float = 10) -> VipReport:
        """Wait until a vhid is in a state."""

        def is_so(report: Report) -> bool:
            return any(one.vhid == vhid and one.state == state for one in report.vips)

        found = self.await_report(is_so, deadline_s, f"{self.name} to be {state} of vhid {vhid}")
        return next(one for one in found.vips if one.vhid == vhid)

    def apply(self, settings: Settings | None = None, intent: Intent | None = None, ready: bool | None = None) -> None:
        """As core does: the files first, then the word."""
        self.write(settings, intent)
        with Client(self.run_dir) as client:
            client.apply(Apply(settings, intent, ready))

    def text(self) -> str:
        """What it logged."""
        return self.log.read_text()

    def signal(self, number: int, pid: int | None = None) -> None:
        """To the guardian, or to another process of it."""
        os.kill(self.pid if pid is None else pid, number)

    def wait(self, deadline_s: float = 10) -> int:
        """Its exit status."""
        assert self.process is not None
        return self.process.wait(deadline_s)

    def end(self) -> None:
        """However it stands: gone, with what it started (the lab kills that)."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()


@contextmanager
def carp_nodes(lab: Lab, home: Path, **changes: Any) -> Iterator[tuple[CarpNode, CarpNode]]:
    """Two, not yet started; ``a`` is the better one."""
    nodes = CarpNode(lab, "a", home, **changes), CarpNode(lab, "b", home, **changes)
    try:
        yield nodes
    finally:
        for node in nodes:
            node.end()


def serve(pair: tuple[CarpNode, CarpNode]) -> tuple[CarpNode, CarpNode]:
    """Both started, ``a`` MASTER and ``b`` BACKUP that has heard it."""
    a, b = pair
    a.start().await_state("MASTER")
    b.start().await_report(lambda report: report.vips[0].state == "BACKUP" and report.vips[0].master_peer == "a")
    return a, b


def stop(pids: list[int]) -> None:
    """SIGSTOP, as a debugger or a paused machine does."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
