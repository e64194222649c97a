"""Logins that were used: refused for good, over restarts, and never in the way of a node that runs for years."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from syncsrv.core.ssh.usedlogins import UsedLogins
from syncsrv.errors import DamagedError


def test_a_login_is_good_once_also_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "used"
    used = UsedLogins(path)
    assert used.add(b"one")
    assert not used.add(b"one")
    used.close()
    again = UsedLogins(path)
    assert not again.add(b"one")
    assert again.add(b"two")
    again.close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_write_that_was_cut_short_costs_that_login_only(tmp_path: Path) -> None:
    path = tmp_path / "used"
    used = UsedLogins(path)
    used.add(b"one")
    used.close()
    path.write_bytes(path.read_bytes() + b"half")
    again = UsedLogins(path)
    assert not again.add(b"one")
    assert again.add(b"two")
    again.close()
    last = UsedLogins(path)
    assert not last.add(b"two")
    last.close()


def test_when_there_are_too_many_the_older_half_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "used"
    used = UsedLogins(path, limit=10)
    assert all(used.add(b"%d" % number) for number in range(11))
    assert not used.add(b"10")
    assert used.add(b"0")
    used.close()
    assert path.stat().st_size == 16 * 6


def test_a_full_disk_is_said_and_shuts_nobody_out(tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys; from pathlib import Path; from syncsrv.core.ssh.usedlogins import UsedLogins;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "used = UsedLogins(Path(sys.argv[1])); resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16));"
        "print(used.add(b'1'), used.add(b'2'), used.add(b'2'))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "used")], capture_output=True, text=True, timeout=30
    )
    assert ended.stdout.split() == ["True", "True", "False"], ended.stderr
    assert "cannot remember logins" in ended.stderr


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    with pytest.raises(DamagedError, match="cannot remember logins"):
        UsedLogins(tmp_path / "used")
