"""Which program units may start: one that users without rights can run."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.install.program import Program, UnusableError, check_usable, this
from syncsrv.version import __version__

SYSTEM = Program(Path("/usr/bin/true"), (Path("/usr"),), "1")


def test_it_finds_itself() -> None:
    program = this()
    assert program.argv == (sys.executable, "-EsP", "-m", "syncsrv")
    assert program.build.startswith(__version__)
    for place in (sys.prefix, sys.base_prefix, Path(os.__file__).parent, Path(__file__).parents[2] / "templates"):
        assert any(Path(place).is_relative_to(one) for one in program.places), place
    for one in program.places:
        assert not any(one != other and one.is_relative_to(other) for other in program.places)


def test_where_it_is_started_makes_no_difference() -> None:
    code = "from syncsrv.install.program import this; print(*this().places)"
    argv = [sys.executable, "-c", f"import sys; sys.path[0:0] = ['/', {str(Path(__file__).parents[2])!r}]; {code}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd="/")
    assert done.stdout.split() == [str(place) for place in this().places], done.stderr


@pytest.mark.parametrize("place", ["/home/alice/venv", "/root/.local/pipx", "/tmp/venv"])
def test_where_the_units_do_not_look_it_is_refused(place: str) -> None:
    with pytest.raises(
        UnusableError, match=r"cannot install /\S+: the users of door and web may not look into"
    ) as told:
        check_usable(replace(SYSTEM, places=(Path(place),)))
    assert "/opt/syncsrv" in told.value.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder where the units look")
def test_a_folder_that_others_cannot_enter_is_named() -> None:
    place = Path(f"/var/lib/syncsrv-test-{os.getpid()}")
    place.mkdir(mode=0o700)
    try:
        with pytest.raises(UnusableError, match=f"others cannot enter {place}"):
            check_usable(replace(SYSTEM, places=(place,)))
    finally:
        place.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user to try it")
def test_a_program_that_they_cannot_run_is_refused_with_what_it_said() -> None:
    with pytest.raises(UnusableError, match="a user without rights cannot run it: Try '/usr/bin/env --help'"):
        check_usable(replace(SYSTEM, python=Path("/usr/bin/env")))
