"""What the README says to paste, pasted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.net import free_port
from tests.test_readme import section


@pytest.mark.skipif(shutil.which("bash") is None, reason="the block is written for bash")
def test_two_nodes_in_one_directory(short_tmp: Path) -> None:
    block = section("## Two nodes in one directory, to try").split("```sh\n")[1].split("```")[0]
    ports = [0, free_port(), free_port()]
    pages = [0, free_port(), free_port()]
    for n in (1, 2):
        block = block.replace(f"127.0.0.1:2202{n}", f"127.0.0.1:{ports[n]}")
    block = block.replace("127.0.0.1:2202$n", "127.0.0.1:${ports[$n]}").replace(
        "127.0.0.1:2844$n", "127.0.0.1:${pages[$n]}"
    )
    program = short_tmp / "bin" / "syncsrv"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m syncsrv "$@"\n')
    program.chmod(0o755)
    numbers = f"ports=({' '.join(map(str, ports))}) pages=({' '.join(map(str, pages))})"
    done = subprocess.run(
        ["bash", "-c", f"trap 'kill %1 %2; wait' EXIT\nset -e\n{numbers}\n{block}"],
        env={"PATH": f"{program.parent}:{os.environ['PATH']}", "TMPDIR": str(short_tmp)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nfw2: done at sync/000001: " in done.stdout
    assert "\nport = 8080\nfw1, master of edge: in_sync  " in done.stdout
    assert done.stderr == ""
