"""A client that reads a page over and over, each time over a new connection: a program of its own, for figures.

    python reader.py NAMESPACE ADDRESS INTERVAL_S

NAMESPACE is the path of the network namespace that it asks from. It asks each INTERVAL_S seconds, whatever became of
the questions before. It writes `ready` when the first one is answered, works until its standard input ends, waits for
what is under way, and then writes what it saw as one JSON list of questions in the order of their asking: when it was
asked and when it was over, as CLOCK_MONOTONIC seconds, and the status and the text of the answer, or an empty text and
why there was none.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import sys
import time

PRIORITY = 30
"""Below the agents under test, which must never wait for us."""
PATIENCE_S = 1.0
"""For one question: a first packet that is lost is not sent again before."""
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


async def ask(address: str) -> str:
    """The status and the text of one answer."""
    reader, writer = await asyncio.open_connection(address, 80)
    try:
        writer.write(b"GET / HTTP/1.0\r\nHost: portal\r\n\r\n")
        head, _, text = (await reader.read()).decode(errors="backslashreplace").partition("\r\n\r\n")
    finally:
        writer.close()
    if not head:
        raise ConnectionResetError("closed without an answer")
    return f"{head.split(None, 2)[1]} {text.strip()}"


async def main(address: str, interval_s: float) -> None:
    seen: list[tuple[float, float, str, str]] = []
    under_way: set[asyncio.Task[None]] = set()
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), over.set)

    async def one() -> None:
        asked_at, said, why = time.monotonic(), "", ""
        try:
            async with asyncio.timeout(PATIENCE_S):
                said = await ask(address)
        except (OSError, TimeoutError) as error:
            why = type(error).__name__
        if not any(text for _, _, text, _ in seen) and said:
            print("ready", flush=True)
        seen.append((asked_at, time.monotonic(), said, why))

    next_at = time.monotonic()
    while not over.is_set():
        task = asyncio.create_task(one())
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        next_at = max(next_at + interval_s, time.monotonic())  # what was missed is not made up for by a burst
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), max(0.0, next_at - time.monotonic()))
    await asyncio.gather(*under_way)
    print(json.dumps(sorted(seen)), flush=True)


if __name__ == "__main__":
    handle = os.open(sys.argv[1], os.O_RDONLY | os.O_CLOEXEC)
    if _libc.setns(handle, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"setns {sys.argv[1]}")
    os.close(handle)
    with contextlib.suppress(OSError):  # where that is refused its figures are coarser
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    asyncio.run(main(sys.argv[2], float(sys.argv[3])))
