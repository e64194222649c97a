"""The program as it was started: where its parts are, whether users without rights can run it, which build it is."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from syncsrv import process, shipped
from syncsrv.errors import SyncsrvError
from syncsrv.version import __version__

HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))  # noqa: S108 - not written to: refused
"""What the units of door and web hide from them."""

SYSTEM = tuple(map(Path, ("/usr", "/lib", "/lib64", "/etc/ld.so.cache")))
"""What any program needs."""

FLAGS = ("-EsP",)
"""Nothing is imported because of the environment, the user or the folder that it was started in."""

ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "LC_ALL": "C"}

_NOBODY = "65534"
_TRY = "import syncsrv.transport.door, syncsrv.web.main; from syncsrv import shipped; shipped.folder('templates')"
_TRY_S = 120.0
_COMPILE_S = 600.0


class UnusableError(SyncsrvError):
    """The users of door and web could not run the program from where it is."""

    code = "program"

    def __init__(self, what: str, why: str) -> None:
        super().__init__(
            f"cannot install {what}: {why}",
            "install syncsrv where everybody can read it, such as `python3 -m venv /opt/syncsrv && "
            "/opt/syncsrv/bin/pip install syncsrv-*.whl`, and run `/opt/syncsrv/bin/syncsrv install`",
        )


@dataclass(frozen=True, slots=True)
class Program:
    """What units start.

    Attributes:
        python: the interpreter, by the name that leads to its libraries.
        places: folders and files that it reads; none is below another one.
        build: version, and a digest where one is known.
    """

    python: Path
    places: tuple[Path, ...]
    build: str

    @property
    def argv(self) -> tuple[str, ...]:
        """What the name of a command follows."""
        return (str(self.python), *FLAGS, "-m", "syncsrv")


def this() -> Program:
    """The program that runs now."""
    found = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.base_exec_prefix)]
    found += [Path(os.path.realpath(sys.executable)), shipped.folder("templates")]
    found.append(Path(__file__).parents[1])  # in a checkout that is elsewhere; and sys.path may have "/"
    return Program(Path(sys.executable), _tops([*SYSTEM, *found]), _build())


def check_usable(program: Program) -> None:
    """See whether a user without rights can run it.

    Raises:
        UnusableError: it cannot.
    """
    for place in program.places:
        for hidden in HIDDEN:
            if place.is_relative_to(hidden):
                raise UnusableError(str(place), f"the users of door and web may not look into {hidden}")
        for folder in (*reversed(place.parents), place):
            if folder.is_dir() and not folder.stat().st_mode & stat.S_IXOTH:
                raise UnusableError(str(place), f"others cannot enter {folder}")
    argv = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--", str(program.python)]
    ended = process.run([*argv, *FLAGS, "-c", _TRY], env=ENV, deadline_s=_TRY_S, cwd=Path("/"))
    if ended.status != 0:
        said = ended.text.strip().splitlines() or [f"it ended with status {ended.status}"]
        raise UnusableError(str(program.python), f"a user without rights cannot run it: {said[-1]}")


def compile_all() -> None:
    """Compile what is installed beside the program: the users of door and web cannot write what they compile.

    Nothing is done where the libraries belong to the system, which has done it; a library that has a file for another
    Python makes no difference.
    """
    if sys.prefix == sys.base_prefix:
        return
    argv = [sys.executable, *FLAGS, "-m", "compileall", "-q", sysconfig.get_path("purelib")]
    process.run(argv, env=ENV, deadline_s=_COMPILE_S)


def _tops(places: Iterable[Path]) -> tuple[Path, ...]:
    """Those that are there, without what is below another one."""
    there = sorted({Path(os.path.abspath(place)) for place in places if place.exists()})
    return tuple(one for one in there if not any(one.is_relative_to(other) for other in there if other != one))


def _build() -> str:
    """Two installations of one version may differ while it is developed; RECORD has a digest of each file."""
    try:
        record = metadata.distribution("syncsrv").read_text("RECORD")
    except metadata.PackageNotFoundError:
        record = None
    if not record:
        return __version__
    return f"{__version__}-{hashlib.sha256(record.encode()).hexdigest()[:12]}"
