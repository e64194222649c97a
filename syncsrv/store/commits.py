"""Commits as people and programs read them, and their bytes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from syncsrv.store import gitformat, trailers

_FAR = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a commit names: a person, or a node."""

    name: str
    email: str


@dataclass(frozen=True, slots=True)
class CommitInfo:
    """What a commit says.

    Attributes:
        id: its id.
        tree: the id of its tree.
        parents: ids, the first is what was live before.
        author: name of the author.
        email: address of the author.
        at_utc: when, by the committer's clock.
        subject: first line of the message.
        body: the rest, without trailers.
        trailers: the last paragraph, where all its lines are ``Key: value``; of a key that stands twice, the last.
    """

    id: str
    tree: str
    parents: tuple[str, ...]
    author: str
    email: str
    at_utc: datetime
    subject: str
    body: str
    trailers: Mapping[str, str]

    @property
    def via(self) -> str:
        """How it came to be: watch, cli, web, push, sync, rollback, adopt; empty for a commit made by stock Git."""
        return self.trailers.get(trailers.VIA, "")

    @property
    def node(self) -> str:
        return self.trailers.get(trailers.NODE, "")

    @property
    def areas(self) -> tuple[str, ...]:
        return trailers.names(self.trailers.get(trailers.AREAS, ""))


def commit_fields(
    tree: str, parents: Sequence[str], author: Person, committer: Person, when_utc: datetime
) -> list[tuple[str, bytes]]:
    """The head of a new commit."""
    at = int(when_utc.timestamp())
    return [
        ("tree", tree.encode()),
        *(("parent", parent.encode()) for parent in parents),
        ("author", gitformat.format_ident(gitformat.Ident(author.name, author.email, at))),
        ("committer", gitformat.format_ident(gitformat.Ident(committer.name, committer.email, at))),
    ]


def with_signature(fields: list[tuple[str, bytes]], armored: bytes) -> list[tuple[str, bytes]]:
    """The same head with a signature over the commit without it."""
    return [*fields, ("gpgsig", armored.rstrip(b"\n"))]


def signed_part(headers: gitformat.Headers) -> tuple[bytes, bytes] | None:
    """The signature of a commit and the bytes that it covers; None where there is none, or more than one."""
    found = headers.all("gpgsig")
    if len(found) != 1:
        return None
    rest = [field for field in headers.fields if field[0] != "gpgsig"]
    return found[0], gitformat.format_headers(rest, headers.message)


def parse_commit(commit_id: str, data: bytes) -> CommitInfo:
    """Read a commit.

    Raises:
        MalformedObjectError: its head is not tree, parents, one author, one committer, in this order.
    """
    headers = gitformat.parse_headers(commit_id, data)
    names = [name for name, _ in headers.fields]
    parents = headers.all("parent")
    start = ["tree", *(["parent"] * len(parents)), "author", "committer"]
    if names[: len(start)] != start or any(name in start for name in names[len(start) :]):
        raise gitformat.MalformedObjectError(commit_id, "it is a commit whose head is not in Git's order")
    author = gitformat.parse_ident(commit_id, headers.all("author")[0])
    committer = gitformat.parse_ident(commit_id, headers.all("committer")[0])
    subject, body, found = trailers.split(headers.message.decode("utf-8", "replace"))
    return CommitInfo(
        id=commit_id,
        tree=gitformat.header_id(commit_id, headers.all("tree")[0]),
        parents=tuple(gitformat.header_id(commit_id, parent) for parent in parents),
        author=author.name,
        email=author.email,
        at_utc=datetime.fromtimestamp(min(committer.at, _FAR), UTC),
        subject=subject,
        body=body,
        trailers=dict(found),
    )
