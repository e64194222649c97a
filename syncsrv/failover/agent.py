"""The agent's process: started by the guardian with all of root's rights, keeps two of them, and works until it ends.

This module's imports are the process's: tests/test_architecture.py holds the list, as all of it is locked memory.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from syncsrv import signals
from syncsrv.clock import SystemClock
from syncsrv.errors import SyncsrvError
from syncsrv.failover import capabilities, intent, realtime, settings
from syncsrv.failover.addresses import KernelAddresses
from syncsrv.failover.announce import KernelAnnouncer
from syncsrv.failover.bond import Bond
from syncsrv.failover.counting import Counter
from syncsrv.failover.intent import BadIntentError, Intent
from syncsrv.failover.lines import Lines, leave
from syncsrv.failover.rawsock import RawWire
from syncsrv.failover.report import Self
from syncsrv.failover.running import Agent, World
from syncsrv.failover.settings import Settings
from syncsrv.failover.virtualmac import KernelCarriers
from syncsrv.log import say

log = logging.getLogger(__name__)

UNREADABLE = "orders-unreadable"
"""Demotes a node that cannot tell what was ordered: it might be in maintenance."""

_PR_SET_PDEATHSIG = 1
_SERVES_NOT = 240


def main(argv: Sequence[str]) -> int:
    """Be the agent.

    Args:
        argv: ``--state-dir DIR --guardian-fd N --counter-base N carp``.

    Returns:
        0: it ended as told; 1: it could not start, and said why. Any other end is an accident, and the guardian's.
    """
    signals.unblock()
    told = _parsed(argv)
    guardian_pid = os.getppid()
    timing = realtime.take()
    try:
        missing = capabilities.give_up_as_agent()
        _end_with(guardian_pid)
        with contextlib.closing(Lines("carp")):
            for name in missing:
                log.error("%s is missing: addresses or packets will be refused", name)
            found = settings.load(told.state_dir)
            if found is None:
                log.info("no virtual address is configured: there is nothing to do")
                return 0
            _run(found, told, Self(os.getpid(), guardian_pid, str(timing)))
            return 0
    except SyncsrvError as error:
        say("carp", str(error))
        return error.exit_status


def _run(found: Settings, told: argparse.Namespace, this: Self) -> None:
    troubles: tuple[str, ...] = ()
    try:
        ordered = intent.load(told.state_dir)
    except BadIntentError as error:
        troubles = (str(error),)
        log.error("%s", error)
        ordered = Intent(demotions={UNREADABLE: _SERVES_NOT})
    with contextlib.suppress(FileExistsError):
        os.makedirs(found.run_dir)
        # Core may make it later only. The sockets in it are for others to reach, whatever our umask says.
        os.chmod(found.run_dir, 0o755)  # noqa: S103 - as the design has it; each socket has a mode of its own
    clock = SystemClock()
    addresses = KernelAddresses()
    world = World(addresses, KernelAnnouncer(addresses.links), RawWire, KernelCarriers(addresses))
    jitter_s = int.from_bytes(os.urandom(2), "big") / (1 << 16) / 256
    counter = Counter(clock, told.counter_base)
    bond = Bond(told.guardian_fd)
    agent = Agent(this, found, ordered, world, clock, counter, bond, jitter_s=jitter_s, troubles=troubles)
    log.info("agent of %s with %d vhids, timing: %s", found.node, len(found.vips), this.timing)
    gc.collect()
    gc.freeze()
    gc.disable()
    agent.run()


def _end_with(guardian_pid: int) -> None:
    """Be told to end, which is with a farewell, when the guardian dies; it may have while we started."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != guardian_pid:
        raise SyncsrvError("cannot start the agent: its guardian has died")


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("syncsrv carp")
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--guardian-fd", type=int, required=True)
    parser.add_argument("--counter-base", type=int, required=True)
    parser.add_argument("word", choices=["carp"], help="what the process is called, for people")
    return parser.parse_args(argv)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
