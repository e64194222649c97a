"""One file as it was at a revision, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator

from syncsrv.control.dispatch import Streamed
from syncsrv.control.shapes_page import FileReply, FileRequest
from syncsrv.core.parts import Core
from syncsrv.errors import UsageError
from syncsrv.plan.tree import Kind, show_path, tree_path


class UnknownPathError(UsageError):
    """A revision has no such path."""

    code = "unknown-path"

    def __init__(self, path: str, rev: str) -> None:
        super().__init__(
            f"cannot read {path} at {rev}: that revision does not have it",
            f"`syncsrv log {path}` says when it was there",
        )


def file(core: Core, request: FileRequest) -> Streamed:
    """Its metadata, then its bytes; of a link its target, of a directory nothing.

    Raises:
        UnknownRevisionError, AmbiguousRevisionError, UnknownPathError: there is none.
    """
    commit = core.store.resolve_shown(request.rev)
    path = tree_path(request.path)
    entry = core.store.read_tree(commit).get(path)
    if entry is None:
        raise UnknownPathError(request.path, request.rev)
    kinds = {Kind.FILE: "file", Kind.LINK: "link", Kind.DIRECTORY: "directory"}
    chunks: Iterator[bytes] = iter(())
    size = 0
    if entry.kind is not Kind.DIRECTORY:
        found = core.store.open_blob(entry.blob)
        size, chunks = found.size, found.pieces()
    reply = FileReply(
        commit=commit,
        path=show_path(path),
        kind=kinds[entry.kind],
        mode=f"{entry.mode:04o}",
        owner=f"{entry.user}:{entry.group}",
        size=size,
        blob=entry.blob,
    )
    return Streamed(reply, chunks)
