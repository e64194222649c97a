"""The node's own programs before and after an apply: ``hooks/pre-apply`` and ``hooks/post-apply``.

They come only from the directory of node.yaml, never from the repository (DESIGN law 8), and only if nobody else may
write them. ``hooks/README.md`` at the top of the source is what operators read about them; both say the same.
"""

from __future__ import annotations

import enum
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from syncsrv.apply.hookfile import DEADLINE_S, HookFaultError, environment, run_hook
from syncsrv.errors import SyncsrvError


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
        return environment(told)

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
        try:
            said = run_hook(
                self.directory / name,
                [context.job],
                env=context.environment(),
                document=context.document(),
                deadline_s=self.deadline_s,
            )
        except HookFaultError as fault:
            raise HookError(name, fault.path, fault.why, fault.remedy) from fault
        return f"no {name} hook" if said is None else said
