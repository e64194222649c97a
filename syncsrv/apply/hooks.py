"""The node's own programs before and after an apply: ``hooks/pre-apply`` and ``hooks/post-apply``.

They come only from the directory of node.yaml, never from the repository (DESIGN law 8), and only if nobody else may
write them. ``hooks/README.md`` at the top of the source is what operators read about them; both say the same.
"""

from __future__ import annotations

import enum
import json
import os
import stat
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from syncsrv import process
from syncsrv.checks.check import SEARCHED
from syncsrv.errors import SyncsrvError

DEADLINE_S = 60.0
_SHOWN = 2000
_ENVIRONMENT_LIMIT = 16 * 1024


class HookName(enum.StrEnum):
    """The hooks there are; each is the name of its file."""

    PRE_APPLY = "pre-apply"
    POST_APPLY = "post-apply"


class HookError(SyncsrvError):
    """A hook that forbids the apply, or that could not be run and so cannot be asked.

    Attributes:
        path: the hook.
        why: what it said, or what is wrong with it.
    """

    code = "hook"

    def __init__(self, name: HookName, path: Path, why: str, remedy: str) -> None:
        super().__init__(f"cannot apply: the {name} hook {path} {why}", remedy)
        self.path = path
        self.why = why


@dataclass(frozen=True, slots=True)
class HookContext:
    """What a hook is told.

    Attributes:
        node: this node.
        job: id of the job.
        kind: sync or rollback.
        tag: the tag that is applied; empty for a rollback.
        areas: names of the areas concerned.
        root: the managed root.
        reason: the operator's.
        person: who asked for it.
        paths: what changes, as ``/etc/…``; bytes that are not UTF-8 as surrogates.
    """

    node: str
    job: str
    kind: str
    tag: str
    areas: tuple[str, ...]
    root: Path
    reason: str
    person: str
    paths: tuple[str, ...]

    def environment(self) -> dict[str, str]:
        """The hook's whole environment."""
        told = {
            "NODE": self.node,
            "JOB": self.job,
            "KIND": self.kind,
            "TAG": self.tag,
            "AREAS": " ".join(self.areas),
            "ROOT": os.fspath(self.root),
            "REASON": self.reason,
            "PERSON": self.person,
        }
        shared = {"PATH": SEARCHED, "LANG": "C.UTF-8"}
        return shared | {f"SYNCSRV_{key}": value.replace("\0", "")[:_ENVIRONMENT_LIMIT] for key, value in told.items()}

    def document(self) -> bytes:
        """The hook's standard input: one JSON object with the same and with every path."""
        return json.dumps(asdict(self) | {"root": os.fspath(self.root)}).encode("ascii")


@dataclass(frozen=True, slots=True)
class Said:
    """How a hook ended, for the job's step.

    Attributes:
        words: its output, or why there is none.
        failed: it could not be run or exited with another status than 0.
    """

    words: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Hooks:
    """This node's hooks.

    Attributes:
        directory: ``hooks`` in the node's configuration directory.
        deadline_s: for each hook; its process group ends with it.
    """

    directory: Path
    deadline_s: float = DEADLINE_S

    def has(self, name: HookName) -> bool:
        """Whether something stands in that hook's place; whether it may run is found out when it is run."""
        return os.path.lexists(self.directory / name.value)

    def before(self, context: HookContext) -> str:
        """Run pre-apply; its output.

        Raises:
            HookError: it forbids the apply, or it is there and cannot be run.
        """
        return self._run(HookName.PRE_APPLY, context)

    def after(self, context: HookContext) -> Said:
        """Run post-apply. The files are applied by then: whatever it says is reported and undoes nothing."""
        try:
            return Said(self._run(HookName.POST_APPLY, context))
        except HookError as error:
            return Said(f"the {HookName.POST_APPLY} hook {error.path} {error.why}", failed=True)

    def _run(self, name: HookName, context: HookContext) -> str:
        path = self.directory / name
        error = partial(HookError, name, path)
        try:
            if not self._is_there(path, error):
                return f"no {name} hook"
        except OSError as why:
            raise error(f"cannot be read: {why.strerror}", f"see the permissions of {self.directory}") from why
        try:
            ended = process.run(
                [os.fspath(path), context.job],
                env=context.environment(),
                deadline_s=self.deadline_s,
                stdin=context.document(),
            )
        except process.NotStartedError as why:
            raise error(
                f"cannot be executed ({why.message})", "its first line has to name an interpreter of this node"
            ) from why
        words = ended.text.strip()
        if ended.status is None:
            raise error(f"did not end within {self.deadline_s:g} s", "run it by hand to see what it waits for")
        if ended.status != 0:
            how = f"exited with {ended.status}" if ended.status > 0 else f"was ended by signal {-ended.status}"
            raise error(f"{how}: {words[-_SHOWN:]}", "do what it says, or remove the hook")
        return words

    def _is_there(self, path: Path, error: Callable[[str, str], HookError]) -> bool:
        """Whether there is a hook; one that somebody else could have put there is refused, since it gets our rights."""
        try:
            found = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        if not stat.S_ISREG(found.st_mode):
            raise error("is not a file", "put the program itself there; a link is not followed")
        for place in (self.directory.parent, self.directory, path):
            status = place.stat()
            if status.st_uid not in (0, os.geteuid()):
                raise error(f"was not run, for {place} belongs to another user", f"chown root {place}")
            if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise error(f"was not run, for others may write to {place}", f"chmod go-w {place}")
        if not found.st_mode & stat.S_IXUSR:
            raise error("is not executable", f"chmod +x {path}, or remove it")
        return True
