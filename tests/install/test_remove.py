"""What a removal reads where node.yaml may be gone; the removal itself is done by tests/lab."""

from __future__ import annotations

from pathlib import Path

from syncsrv.config.rundir import DEFAULT
from syncsrv.install.program import Program
from syncsrv.install.remove import run_dir_of
from syncsrv.install.units import TMPFILES, Node, files


def test_where_the_sockets_are_is_read_from_what_install_wrote(tmp_path: Path) -> None:
    program = Program(Path("/usr/bin/python3"), (Path("/usr"),), "1")
    written = tmp_path / "syncsrv.conf"
    written.write_text(files(Node(program, Path("/etc/a"), Path("/var/a"), Path("/run/other")))[TMPFILES])
    assert run_dir_of(written) == Path("/run/other")
    assert run_dir_of(tmp_path / "none") == DEFAULT
