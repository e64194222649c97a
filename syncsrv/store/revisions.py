"""What a person types for a commit: a tag, a branch, the beginning of an id; with ``~N`` and ``^N`` behind it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from syncsrv.errors import UsageError
from syncsrv.store.gitformat import MalformedObjectError
from syncsrv.store.objects import Objects
from syncsrv.store.refs import RefNameError

SHORTEST = 4
LONGEST_SHOWN = 80
"""Characters of what was asked for that an error repeats."""
_FOLDERS = ("", "refs/", "refs/tags/", "refs/heads/", "refs/remotes/")
"""Where a name is looked for, in Git's order."""

_STEP = re.compile(r"(~[0-9]{0,6}|\^[0-9]{0,2})\Z")
_NONE = "no commit's id begins so"
_HEX = re.compile(r"[0-9a-fA-F]{4,40}\Z")


class UnknownRevisionError(UsageError):
    """A text means no commit of this repository."""

    code = "unknown-revision"

    def __init__(self, text: str, why: str = "there is none of that name") -> None:
        shown = text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
        super().__init__(f"cannot find the commit {shown!r}: {why}", "`syncsrv log` lists them")
        self.text = text


class AmbiguousRevisionError(UsageError):
    """The beginning of more than one commit's id."""

    code = "ambiguous-revision"

    def __init__(self, text: str, candidates: tuple[str, ...]) -> None:
        shown = ", ".join(one[:12] for one in candidates[:8])
        super().__init__(f"cannot tell which commit {text!r} is: {shown}", "give more of its id")
        self.text = text
        self.candidates = candidates


class Repository(Protocol):
    """What resolving needs of a store."""

    objects: Objects

    def ref(self, name: str) -> str | None: ...
    def peel(self, object_id: str) -> str: ...
    def parents(self, commit_id: str) -> tuple[str, ...]: ...
    def head(self) -> str | None: ...


def _any(commit: str) -> bool:
    return True


def resolve(store: Repository, text: str, shown: Callable[[str], bool] = _any) -> str:
    """The id of the commit that ``text`` means.

    Args:
        store: where it is looked for.
        text: a name, an id, or the beginning of one, and steps behind it.
        shown: whether a commit may be found; one that may not is answered as one that is not there.

    Raises:
        UnknownRevisionError: none.
        AmbiguousRevisionError: the beginning of several ids.
    """
    name = text.strip()
    steps: list[str] = []
    while (found := _STEP.search(name)) is not None:
        steps.append(found[1])
        name = name[: found.start()]
    commit = _named(store, name, text, shown)
    for step in reversed(steps):
        for number in _path(step):
            parents = store.parents(commit)
            if number > len(parents):
                raise UnknownRevisionError(text, f"{commit[:12]} has {len(parents)} parents")
            commit = parents[number - 1]
    return commit


def _path(step: str) -> list[int]:
    """Which parents to go to: ``~2`` is twice the first, ``^2`` the second."""
    count = int(step[1:] or 1)
    return [1] * count if step[0] == "~" else [count] * (count > 0)


def _named(store: Repository, name: str, text: str, shown: Callable[[str], bool]) -> str:
    if name in ("HEAD", "@"):
        found = store.head()
        if found is None:
            raise UnknownRevisionError(text, "nothing was committed yet")
        return found
    for folder in _FOLDERS:
        try:
            target = store.ref(folder + name) if (folder + name).startswith("refs/") else None
        except RefNameError:
            continue
        if target is not None:
            found = _commit(store, target, text)
            if not shown(found):
                raise UnknownRevisionError(text)
            return found
    if not _HEX.match(name):
        raise UnknownRevisionError(text)
    ids = store.objects.matching(name.lower())
    found_ids = tuple(sorted(i for i in ids if store.objects.read(i)[0] in ("commit", "tag")))
    if not found_ids:
        raise UnknownRevisionError(text, "an object, but no commit" if ids else _NONE)
    meant = [one for one in found_ids if len(found_ids) == 1 or _is_commit(store, one)]
    meant = [one for one in meant if shown(_commit(store, one, text))]
    if not meant:
        raise UnknownRevisionError(text, _NONE)
    if len(meant) > 1:
        raise AmbiguousRevisionError(text, tuple(meant))
    return _commit(store, meant[0], text)


def _is_commit(store: Repository, object_id: str) -> bool:
    try:
        store.peel(object_id)
    except MalformedObjectError:
        return False
    return True


def _commit(store: Repository, object_id: str, text: str) -> str:
    try:
        return store.peel(object_id)
    except MalformedObjectError as error:
        raise UnknownRevisionError(text, error.why) from error
