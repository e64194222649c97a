"""A daemon for tests: reads a file, says what it runs with, reads it again on SIGHUP, ends on SIGTERM.

Usage: daemon.py FOLDER [--pidfile]. FOLDER/conf is its configuration: the word ``bad`` in it is refused at start,
``fatal`` ends it at a reload, ``deaf`` makes it ignore SIGTERM, ``chatty`` makes it print at each signal. What it
runs with is in FOLDER/loaded: its pid, a blank, the text.
"""

import os
import signal
import sys
from pathlib import Path

folder = Path(sys.argv[1])
signals = {signal.SIGHUP, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, signals)


def load() -> str:
    text = (folder / "conf").read_text()
    if "bad" in text:
        sys.exit(f"{folder}/conf:1: bad word")
    temp = folder / "loaded.tmp"
    temp.write_text(f"{os.getpid()} {text}")
    temp.replace(folder / "loaded")
    return text


conf = load()
if "--pidfile" in sys.argv:
    (folder / "pid").write_text(str(os.getpid()))
while True:
    got = signal.Signals(signal.sigwait(signals))
    if "chatty" in conf:
        print("signal", got.name, flush=True)
    if got == signal.SIGTERM:
        if "deaf" not in conf:
            sys.exit(0)
    elif "fatal" in (folder / "conf").read_text():
        sys.exit("fatal word")
    else:
        conf = load()
