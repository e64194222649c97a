"""What an installation asks of systemd, through its own programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from syncsrv import process
from syncsrv.errors import SyncsrvError
from syncsrv.install.program import ENV
from syncsrv.install.units import BUILT

START_S = 180.0
"""For a unit to be ready; core may have to finish what a crash left."""
_QUICK_S = 60.0
_ENV = {**ENV, "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}


class SystemdError(SyncsrvError):
    """One of systemd's programs refused."""

    code = "systemd"

    def __init__(self, argv: Sequence[str], why: str) -> None:
        super().__init__(
            f"cannot run `{' '.join(argv)}`: {why}",
            "correct what it names, and run `syncsrv install` again: it goes on where it ended",
        )


@dataclass(frozen=True, slots=True)
class UnitState:
    """How a unit stands.

    Attributes:
        active: ActiveState of systemd: active, inactive, failed, activating, …
        pid: of its main process; 0 where there is none.
        built: what that process was started with; empty where it cannot be told.
    """

    active: str
    pid: int
    built: str

    @property
    def runs(self) -> bool:
        """Whether it has a process, however that does."""
        return self.pid > 0


def is_there() -> bool:
    """Whether systemd runs this machine: what sd_booted(3) looks at."""
    return Path("/run/systemd/system").is_dir()


def run(*argv: str, deadline_s: float = _QUICK_S) -> str:
    """Run a program of systemd's; what it said.

    Raises:
        SystemdError: it failed, or did not end in time.
        NotStartedError: there is none.
    """
    ended = process.run(argv, env=_ENV, deadline_s=deadline_s)
    if ended.status != 0:
        said = "; ".join(ended.text.split("\n")).strip("; ")
        why = f"it was not done within {deadline_s:g} s" if ended.status is None else said
        raise SystemdError(argv, why or f"it ended with status {ended.status}")
    return ended.text


def states(units: Sequence[str]) -> dict[str, UnitState]:
    """How each unit stands; one that is not known is inactive."""
    text = run("systemctl", "show", "-p", "Id,ActiveState,MainPID", "--", *units)
    found = {}
    for unit, said in zip(units, text.strip("\n").split("\n\n"), strict=True):
        block = dict(line.partition("=")[::2] for line in said.split("\n"))
        pid = int(block.get("MainPID", "0"))
        found[unit] = UnitState(block.get("ActiveState", ""), pid, _built(pid) if pid else "")
    return found


def last_words(unit: str) -> str:
    """The end of its log, in one line."""
    ended = process.run(
        ["journalctl", "--no-pager", "-q", "-o", "cat", "-n", "5", "-t", "syncsrv", "-u", unit],
        env=_ENV,
        deadline_s=_QUICK_S,
    )
    return "; ".join(ended.text.strip().split("\n")) if ended.status == 0 else ""


def _built(pid: int) -> str:
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it ended meanwhile, or a container forbids it
        return ""
    for one in environ.split(b"\0"):
        name, _, value = one.partition(b"=")
        if name == BUILT.encode():
            return value.decode("utf-8", "replace")
    return ""
