"""The guardian: the agent's small parent. It starts the agent, and when that dies without a word it executes its will.

Killed, out of memory, stopped, hung: the peers hear a farewell and the addresses are gone within 100 ms of its end,
or of the end of our patience with its silence; then it is started again, and begins in BACKUP. keepalived and ucarp
leave their addresses behind then, and two hosts answer for them.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from syncsrv import signals
from syncsrv.clock import Clock, SystemClock
from syncsrv.errors import SyncsrvError
from syncsrv.failover import capabilities, realtime, settings, will
from syncsrv.failover.companion import Companion
from syncsrv.failover.counting import base_of
from syncsrv.failover.executor import Executor
from syncsrv.failover.lines import Lines, leave
from syncsrv.failover.settings import BadSettingsError, Settings
from syncsrv.failover.will import BEAT, Will
from syncsrv.log import say
from syncsrv.notify import Notifier
from syncsrv.single import only_one

log = logging.getLogger(__name__)

LOCK = "carp/lock"
"""Below state_dir."""

AGAIN_S = 0.1
"""Before an agent that died is started again; doubled each time until AGAIN_MOST_S."""

AGAIN_MOST_S = 10.0
STEADY_S = 30.0
"""An agent that lived so long died of something new."""

START_S = 20.0
"""Of silence, for an agent that is being started."""

LOOK_S = 1.0
"""Between two looks whether an address is configured."""

END_S = 2.0
"""For an agent that was told to end: its farewell and a peer's answer take 0.3 s."""


_SO_SNDBUFFORCE = 32


class NoRightsError(SyncsrvError):
    """Virtual addresses cannot be had without the rights for them."""

    code = "carp-rights"

    def __init__(self, why: str) -> None:
        super().__init__(
            f"cannot guard virtual addresses: {why}",
            "start it as root, in a container with CAP_NET_ADMIN and CAP_NET_RAW, or take `vips:` out of cluster.yaml",
        )


@dataclass(frozen=True, slots=True)
class Orders:
    """The command line.

    Attributes:
        state_dir: where core wrote the settings.
        life: descriptor whose end is ours; None: there is none.
        wait: whether to wait where no virtual address is configured, instead of ending.
        notifier: where systemd started us.
    """

    state_dir: Path
    life: int | None
    wait: bool = False
    notifier: Notifier = field(default_factory=Notifier)


class Guardian:
    """Watches one agent after the other.

    Args:
        orders: the command line.
        found: the settings at the start.
        clock: monotonic; its wall time is read once.
    """

    def __init__(self, orders: Orders, found: Settings, clock: Clock) -> None:
        self._orders = orders
        self._clock = clock
        self._base = base_of(clock)
        self._executor = Executor(clock, self._base)
        self._executor.sweep(found)
        self._will = Will()
        self._companion = Companion(orders.state_dir)
        self._signals, self._wakeup = socket.socketpair()
        for handle in (self._signals, self._wakeup):
            handle.setblocking(False)
        self._received = bytearray(will.LARGEST)  # locked once, and not anew for each beat
        self._ends = False
        self._agent: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Until an agent ends as it was told to, or has nothing to do any more; 0 then."""
        signal.set_wakeup_fd(self._wakeup.fileno())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        again_s = AGAIN_S
        try:
            while not self._ends:
                began_at = self._clock.monotonic()
                status = self._one_agent()
                if status == 0:
                    return 0
                if self._clock.monotonic() - began_at > STEADY_S:
                    again_s = AGAIN_S
                if not self._ends:
                    log.warning("the agent %s; it is started again in %.1f s", _how(status), again_s)
                    self._pause(again_s)
                    again_s = min(again_s * 2, AGAIN_MOST_S)
            return 0
        finally:
            signal.set_wakeup_fd(-1)
            self._executor.dismantle()
            self._companion.end()
            self._executor.close()

    def _one_agent(self) -> int:
        """Start it, watch it to its end, and do what its will says; its exit status."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            ours.setblocking(False)
            _make_room(theirs)
            argv = [sys.executable, "-Es", "-m", "syncsrv.failover.agent", "--state-dir", str(self._orders.state_dir)]
            told = ["--guardian-fd", str(theirs.fileno()), "--counter-base", str(self._base), "carp"]
            agent = subprocess.Popen([*argv, *told], stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
            theirs.close()
            self._agent = agent
            self._will = Will(patience_s=START_S)
            pidfd = os.pidfd_open(agent.pid)
            try:
                self._watch(agent, pidfd, ours)
            finally:
                os.close(pidfd)
            self._read(ours)
            began_at = self._clock.monotonic()
            done = self._executor.execute(self._will)
            status = agent.wait()
            if done:
                took_ms = (self._clock.monotonic() - began_at) * 1000
                log.warning("the agent %s; its guardian has %s in %.1f ms", _how(status), done, took_ms)
        return status

    def _watch(self, agent: subprocess.Popen[bytes], pidfd: int, control: socket.socket) -> None:
        """Until the agent has ended, or was killed because it was silent for too long or did not end when told to."""
        notifier = self._orders.notifier
        told_ready = False
        poll = select.poll()
        reports = self._executor.filenos()
        for handle in (pidfd, control.fileno(), self._signals.fileno(), *reports):
            poll.register(handle, select.POLLIN)
        life = self._orders.life
        if life is not None and not self._ends:
            poll.register(life, select.POLLIN)
        heard_at = now = self._clock.monotonic()
        end_at: float | None = None
        killed = False
        while True:
            silent_at = heard_at + self._will.patience_s
            due_at = max(now, min(silent_at, end_at or silent_at))
            ready = {handle for handle, _ in poll.poll(_least_ms(None if killed else due_at - now, notifier))}
            now = self._clock.monotonic()
            notifier.alive()  # each turn shows that an agent that is silent for too long would be found
            if pidfd in ready:
                return
            if ready.intersection(reports):
                self._executor.take_in()
            if control.fileno() in ready:
                if self._read(control):
                    heard_at = now
                    self._companion.tend(self._will.syncs, now)
                    if not told_ready:
                        told_ready = True
                        notifier.ready(f"guards the agent {agent.pid}")
                else:
                    poll.unregister(control)  # the agent closed it: its end follows
            if self._told_to_end(ready):
                self._ends = True
                if life is not None:
                    poll.unregister(life)
                    life = None
                if end_at is None:
                    notifier.stopping("hands its addresses over")
                    agent.terminate()
                    end_at = now + END_S
            if now > due_at + self._will.patience_s / 2:  # we did not run either: its beats may be under way
                heard_at = now
            silent = now - heard_at >= self._will.patience_s
            if not killed and (silent or (end_at is not None and now >= end_at)):
                why = f"was silent for {now - heard_at:.1f} s" if silent else "does not end"
                log.error("the agent %s; it is killed", why)
                agent.kill()
                killed = True

    def _told_to_end(self, ready: set[int]) -> bool:
        told = self._signals.recv(64) if self._signals.fileno() in ready else b""
        return signal.SIGTERM in told or signal.SIGINT in told or self._orders.life in ready

    def _read(self, control: socket.socket) -> bool:
        """Take in the latest will; whether there was any message."""
        heard = False
        while True:
            try:
                data = bytes(memoryview(self._received)[: control.recv_into(self._received)])
            except OSError:  # there is nothing more, or the agent has gone
                return heard
            if not data:
                return heard
            heard = True
            if data != BEAT:
                self._will = will.decode(data)
                self._executor.prepare(self._will)

    def _pause(self, wait_s: float) -> None:
        """Before the next agent; a signal that ends us ends it."""
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        if self._orders.life is not None:
            poll.register(self._orders.life, select.POLLIN)
        ends_at = self._clock.monotonic() + wait_s
        notifier = self._orders.notifier
        while not self._ends and (left_s := ends_at - self._clock.monotonic()) > 0:
            self._ends = self._told_to_end({handle for handle, _ in poll.poll(_least_ms(left_s, notifier))})
            notifier.alive()


def _least_ms(wait_s: float | None, notifier: Notifier) -> float | None:
    """For poll: so long, or until systemd has to hear of us again; None: for ever."""
    waits = [one for one in (wait_s, notifier.every_s) if one is not None]
    return min(waits) * 1000 + 1 if waits else None


def _make_room(control: socket.socket) -> None:
    """For the largest will; in a user namespace the kernel keeps to net.core.wmem_max, enough for some hundred VIPs."""
    try:
        control.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 2 * will.LARGEST)
    except PermissionError:
        control.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * will.LARGEST)


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with {status}"
    return f"was ended by {signal.Signals(-status).name}"


def _orders(argv: Sequence[str]) -> Orders:
    parser = argparse.ArgumentParser("syncsrv carp")
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--life-fd", type=int)
    parser.add_argument("--wait", action="store_true", help="for addresses to be configured")
    parser.add_argument("--notify", default="", help="systemd's socket")
    parser.add_argument("--watchdog-s", type=float, help="how long systemd waits for a sign of life")
    parser.add_argument("word", choices=["carp"], help="what the process is called, for people")
    told = parser.parse_args(argv)
    return Orders(told.state_dir, told.life_fd, told.wait, Notifier(told.notify, told.watchdog_s))


def main(argv: Sequence[str]) -> int:
    """Be the guardian.

    Args:
        argv: ``--state-dir DIR [--life-fd N] [--wait] [--notify PATH [--watchdog-s S]] carp``.

    Returns:
        0: there is nothing to guard, or it ended as told; 1: it cannot work here, and said why.
    """
    signals.unblock()
    orders = _orders(argv)
    try:
        found = _await(orders) if orders.wait else settings.load(orders.state_dir)
        if found is None or not found.vips:
            say("carp", "no virtual address is configured: there is nothing to do")
            return 0
        if os.geteuid() != 0:
            raise NoRightsError("it does not run as root")
        with only_one("carp", orders.state_dir / LOCK):
            return _guard(orders, found)
    except SyncsrvError as error:
        say("carp", str(error))
        return error.exit_status


def _await(orders: Orders) -> Settings:
    """The settings, as soon as core has written some with addresses; ordinary until then, and ended by any signal."""
    said = ""
    while True:
        try:
            found = settings.load(orders.state_dir)
            why = "no virtual address is configured"
        except BadSettingsError as error:
            found, why = None, str(error)
        if found is not None and found.vips:
            return found
        if said != why:
            say("carp", f"{why}: waiting")
            orders.notifier.ready(f"waits: {why}")
            said = why
        orders.notifier.alive()
        select.poll().poll(_least_ms(LOOK_S, orders.notifier))


def _guard(orders: Orders, found: Settings) -> int:
    timing = realtime.take()
    missing = capabilities.give_up_as_guardian()
    if missing:
        raise NoRightsError(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    with contextlib.closing(Lines("carp")):
        _agents_start_ordinary()
        log.info("guarding %d virtual addresses, timing: %s", sum(len(vip.addresses) for vip in found.vips), timing)
        gc.collect()
        gc.freeze()
        gc.disable()
        return Guardian(orders, found, SystemClock()).run()


def _agents_start_ordinary() -> None:
    """An agent that is being started may use a processor for longer than real-time processes may without a pause."""
    if os.sched_getscheduler(0) == os.SCHED_FIFO:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_getparam(0))


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
