"""`make lab KEEP=1`: the pair of the lab for a person to look around in, until Ctrl-C; nothing is left behind.

python -m tests.lab.keep
"""

from __future__ import annotations

import contextlib
import hashlib
import signal
import sys
from pathlib import Path

from tests.support import edge, installed, machines
from tests.support.forward import forwarded
from tests.support.testroot import TestRootError, ensure, home_of

TOP = Path(__file__).parents[2]
ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def main() -> int:
    # Told to end while it still sets up, it ends where it can undo what it did: by an exception.
    for number in ENDING:
        signal.signal(number, signal.default_int_handler)
    try:
        with contextlib.ExitStack() as stack:
            keep(stack)
    except KeyboardInterrupt:
        print("\neverything of it is gone")
    except TestRootError as error:
        return complain(str(error))
    return 0


def keep(stack: contextlib.ExitStack) -> None:
    """Build it, say how to use it, and wait to be ended."""
    if reason := machines.why_not():
        raise TestRootError(reason)
    root = ensure()
    print("building the wheel, installing it, booting two machines ...", flush=True)
    # the same folder each time, so that what a killed one left is found and replaced
    folder = home_of().parent / f"lab-{hashlib.sha256(str(TOP).encode()).hexdigest()[:12]}"
    layer = stack.enter_context(installed.shared(root, folder))
    pair = stack.enter_context(edge.running(root, [layer], edge.CLUSTER + edge.STATE_SYNC))
    print()
    for node in pair.nodes:
        port = stack.enter_context(forwarded(pair.spaces, node.name, "127.0.0.1", 8443))
        enter = node.argv("bash", "-l")
        print(f"{node.name}  https://127.0.0.1:{port}/  admin, password {node.password}\n      {' '.join(enter)}")
    for outsider in (pair.client, pair.server):
        print(f"{outsider.name}\n      nsenter --net={outsider.path} bash")
    print(
        f"\nclient {edge.CLIENT}, server {edge.SERVER}; {edge.VIP} and {edge.WAN_VIP} are on whoever serves\n"
        "First: `syncsrv sync` on fw1. Pull fw1's cable to lan, put it in again, and end with Ctrl-C:\n"
        f"      nsenter --net={pair.spaces.path('bridge')} ip link set fw1-lan down\n"
        f"      nsenter --net={pair.spaces.path('bridge')} ip link set fw1-lan up",
        flush=True,
    )
    signal.pause()


def complain(why: str) -> int:
    print(f"cannot build the lab: {why}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
