"""The process ``statesync``: started by the guardian, ends with it, and keeps no right but the one over connections."""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from syncsrv import log, signals
from syncsrv.errors import SyncsrvError
from syncsrv.failover import capabilities, realtime, settings
from syncsrv.failover.statesync.keeper import Keeper

_PR_SET_PDEATHSIG = 1


def main(argv: Sequence[str]) -> int:
    """Be the keeper.

    Args:
        argv: ``--state-dir DIR statesync``.

    Returns:
        0: it ended as told, or there is nothing to keep; 1: it cannot work here, and said why.
    """
    parser = argparse.ArgumentParser("syncsrv statesync")
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("word", choices=["statesync"], help="what the process is called, for people")
    told = parser.parse_args(argv)
    guardian_pid = os.getppid()
    signals.unblock()
    realtime.give_up()
    log.start("statesync")
    try:
        capabilities.give_up_as_keeper()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != guardian_pid:
            raise SyncsrvError("cannot start the keeper of conntrackd: its guardian has died")
        found = settings.load(told.state_dir)
        if found is None or found.state_sync is None:
            return 0
        Keeper(told.state_dir, found).run()
        return 0
    except SyncsrvError as error:
        log.say("statesync", str(error))
        return error.exit_status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
