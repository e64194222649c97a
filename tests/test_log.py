"""Lines of the log: with the time, but for the journal, which writes it itself."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import logging
from syncsrv import log
log.start("core")
logging.getLogger("syncsrv.core.app").warning("ready")
log.say("serve", "serving")
"""
TIME = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ "
LINES = "core: WARNING syncsrv.core.app: ready\nserve: serving\n"


def test_a_file_gets_the_time_of_each_line(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        subprocess.run([sys.executable, "-c", PROGRAM], stderr=log, check=True)
    text = (tmp_path / "log").read_text()
    assert re.sub(TIME, "", text) == LINES
    assert len(re.findall(f"(?m)^{TIME}", text)) == 2


def test_a_socket_as_the_journal_gives_does_not() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        subprocess.run([sys.executable, "-c", PROGRAM], stderr=theirs.fileno(), check=True)
        theirs.shutdown(socket.SHUT_WR)
        assert ours.makefile().read() == LINES
