"""One executable in ``hooks/`` of the node's configuration directory: whether it may run, and its run.

What stands there gets our rights, so only a plain file counts that nobody else could have put there (DESIGN law 8).
Who runs it says when, with what words, and what its failure means: an apply, or a change of the CARP state.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from syncsrv import process
from syncsrv.checks.check import SEARCHED
from syncsrv.errors import SyncsrvError

DEADLINE_S = 60.0
_SHOWN = 2000
_ENVIRONMENT_LIMIT = 16 * 1024


class HookFaultError(SyncsrvError):
    """A hook that is there and could not be run, or that ended badly.

    Attributes:
        path: the hook.
        why: what it said, or what is wrong with it; goes after its path.
    """

    code = "hook"

    def __init__(self, path: Path, why: str, remedy: str) -> None:
        super().__init__(f"cannot run the hook {path}: it {why}", remedy)
        self.path = path
        self.why = why


def environment(told: Mapping[str, str]) -> dict[str, str]:
    """A hook's whole environment: ``SYNCSRV_…`` for each of these, bounded, and where programs are looked up."""
    shared = {"PATH": SEARCHED, "LANG": "C.UTF-8"}
    return shared | {f"SYNCSRV_{key}": value.replace("\0", "")[:_ENVIRONMENT_LIMIT] for key, value in told.items()}


def run_hook(
    path: Path,
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    document: bytes,
    deadline_s: float = DEADLINE_S,
    stop: process.Stop | None = None,
) -> str | None:
    """Run one hook to its end, or to its deadline: then its process group is killed.

    Args:
        path: the hook, in ``hooks`` of the configuration directory.
        arguments: what follows its name in argv.
        env: its whole environment.
        document: its standard input.
        deadline_s: how long it may take.
        stop: ends it before its deadline.

    Returns:
        What it said; None where there is none.

    Raises:
        HookFaultError: it is there and cannot be run, or ended badly.
    """
    try:
        if not _is_there(path):
            return None
    except OSError as why:
        raise HookFaultError(path, f"cannot be read: {why.strerror}", f"see the permissions of {path.parent}") from why
    try:
        ended = process.run([os.fspath(path), *arguments], env=env, deadline_s=deadline_s, stdin=document, stop=stop)
    except process.NotStartedError as why:
        raise HookFaultError(
            path, f"cannot be executed ({why.message})", "its first line has to name an interpreter of this node"
        ) from why
    words = ended.text.strip()
    if ended.status is None:
        raise HookFaultError(path, f"did not end within {deadline_s:g} s", "run it by hand to see what it waits for")
    if ended.status != 0:
        how = f"exited with {ended.status}" if ended.status > 0 else f"was ended by signal {-ended.status}"
        raise HookFaultError(path, f"{how}: {words[-_SHOWN:]}", "do what it says, or remove the hook")
    return words


def _is_there(path: Path) -> bool:
    """Whether there is a hook; one that somebody else could have put there is refused, since it gets our rights."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISREG(found.st_mode):
        raise HookFaultError(path, "is not a file", "put the program itself there; a link is not followed")
    for place in (path.parent.parent, path.parent, path):
        status = place.stat()
        if status.st_uid not in (0, os.geteuid()):
            raise HookFaultError(path, f"was not run, for {place} belongs to another user", f"chown root {place}")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise HookFaultError(path, f"was not run, for others may write to {place}", f"chmod go-w {place}")
    if not found.st_mode & stat.S_IXUSR:
        raise HookFaultError(path, "is not executable", f"chmod +x {path}, or remove it")
    return True
