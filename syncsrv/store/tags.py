"""Sync tags: annotated, SSH-signed, never moved. What a backup applies, and why it may.

Checked in one order, each failure with a name of its own: the object is there, is an annotated tag, bears the name
that was asked for, points to a commit, has a format we know, is signed, by a pinned key. ``TagRecords`` then says
whether the same signer has shown another object under that name before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from syncsrv.errors import SyncsrvError
from syncsrv.store import gitformat, signing, trailers
from syncsrv.store.repo import Store

PREFIX = "refs/tags/"
MAX_TAG = 64 * 1024
"""Bytes of a tag object; a reason is a sentence, not a book."""

_NAME = re.compile(r"(?:sync/[0-9]{6,12}|dry-run/[A-Za-z0-9._-]{1,64})\Z")
"""``dry-run/ID`` is for a dry run, whose tag object no ref below refs/tags ever holds."""

_SIGNATURE = re.compile(rb"^-----BEGIN (SSH SIGNATURE|PGP SIGNATURE|PGP MESSAGE|SIGNED MESSAGE)-----$", re.MULTILINE)
"""What Git takes for the beginning of a signature (gpg-interface.c)."""

_FAR = 253_402_300_799


def by_number(name: str) -> tuple[int, str]:
    """Orders names (or refs) of sync tags by their number, however many digits that has."""
    return len(name), name


class BadTagError(SyncsrvError):
    """A tag is not one that may be applied. Never forcible."""

    code = "bad-tag"
    exit_status = 4

    def __init__(self, name: str, why: str, remedy: str) -> None:
        super().__init__(f"cannot accept {name}: {why}", remedy)
        self.name = name
        self.why = why


class LightweightTagError(BadTagError):
    """The name points to a commit itself: nobody signed anything."""

    code = "lightweight-tag"

    def __init__(self, name: str, kind: str) -> None:
        super().__init__(
            name,
            f"it is a lightweight tag (its name points to a {kind} itself), so nobody signed it",
            "make sync tags with `syncsrv sync` on the master, never with `git tag`",
        )


class UnsignedTagError(BadTagError):
    """An annotated tag without an SSH signature."""

    code = "unsigned-tag"

    def __init__(self, name: str, why: str = "it is not signed") -> None:
        super().__init__(name, why, "make sync tags with `syncsrv sync` on the master, never with `git tag`")


class ForgedTagError(BadTagError):
    """The signature does not belong to what it stands below, or is none."""

    code = "forged-tag"

    def __init__(self, name: str, why: str) -> None:
        super().__init__(
            name,
            f"its signature is not good: {why}",
            "somebody or something changed the tag after it was signed; look at the master before you make a new one",
        )


class ForeignKeyError(BadTagError):
    """Signed well, by a key that this node has not pinned."""

    code = "foreign-key"

    def __init__(self, name: str, fingerprint: str) -> None:
        super().__init__(
            name,
            f"it is signed by the key {fingerprint}, which this node has not pinned",
            "compare it with `syncsrv key` on the master; if the master has a new key, pair again",
        )
        self.fingerprint = fingerprint


class NameMismatchError(BadTagError):
    """The signed name is not the name under which it was offered."""

    code = "tag-name"

    def __init__(self, name: str, inner: str) -> None:
        super().__init__(
            name,
            f"it was signed under the name {inner}",
            "a tag was offered under another's name; look at who can write the master's repository",
        )
        self.inner = inner


class MalformedTagError(BadTagError):
    """Not a sync tag as this version writes and reads them."""

    code = "malformed-tag"

    def __init__(self, name: str, why: str, remedy: str = "") -> None:
        super().__init__(name, why, remedy or "make sync tags with `syncsrv sync` on the master")


@dataclass(frozen=True, slots=True)
class SyncTag:
    """What a sync tag says.

    Attributes:
        name: ``sync/000041``.
        object_id: of the tag object.
        commit: what it tags.
        tagger: who made it.
        at_utc: when.
        reason: why, in the operator's words.
        areas: what goes along.
        node: where it was made.
        requested_by: the person; empty where nobody is known.
        format: of the tag.
        signer: fingerprint of the key that signed it, empty before it was verified. It goes into ``TagRecords``.
    """

    name: str
    object_id: str
    commit: str
    tagger: str
    at_utc: datetime
    reason: str
    areas: tuple[str, ...]
    node: str
    requested_by: str
    format: str
    signer: str = ""


def make_tag(
    store: Store,
    name: str,
    commit: str,
    *,
    reason: str,
    areas: Sequence[str],
    node: str,
    requested_by: str,
    signer: signing.Signer,
    when_utc: datetime,
) -> str:
    """Store a signed tag object; the caller moves the ref.

    Args:
        store: where.
        name: ``sync/000041``, or ``dry-run/ID`` for a dry run.
        commit: what is tagged.
        reason: the operator's words, any number of lines.
        areas: what goes along.
        node: this node.
        requested_by: the person, as recorded (``alice``, ``alice via fw1``); empty where nobody is known.
        signer: the node's key.
        when_utc: its time.

    Returns:
        The id of the tag object.

    Raises:
        MalformedTagError: the name is none for a sync tag, or the reason is too long.
    """
    if not _NAME.match(name):
        raise MalformedTagError(name, "that is no name for a sync tag")
    subject, _, body = reason.strip().partition("\n")
    text = trailers.compose(
        subject,
        body,
        {
            trailers.FORMAT_KEY: trailers.FORMAT,
            trailers.NODE: node,
            trailers.AREAS: ", ".join(areas),
            trailers.REQUESTED_BY: requested_by,
        },
    ).encode("utf-8", "backslashreplace")
    text = _SIGNATURE.sub(rb" \g<0>", text)  # a reason that quotes a signature is not one
    who = requested_by or node
    tagger = gitformat.Ident(who, f"{who.split()[0]}@{node}", int(when_utc.timestamp()))
    head = [
        ("object", commit.encode()),
        ("type", b"commit"),
        ("tag", name.encode()),
        ("tagger", gitformat.format_ident(tagger)),
    ]
    payload = gitformat.format_headers(head, text)
    data = payload + signer.sshsig(payload)
    if len(data) > MAX_TAG:
        raise MalformedTagError(name, f"it would be larger than {MAX_TAG} bytes", "give a shorter reason")
    with store.writer():
        return store.objects.put("tag", data)


def read_tag(store: Store, object_id: str, name: str | None = None) -> SyncTag:
    """What a tag says; its signature is not looked at.

    Args:
        store: where.
        object_id: what the name points to.
        name: the name it is asked for by, ``sync/000041``; None where the name inside is as good.

    Raises:
        LightweightTagError, NameMismatchError, MalformedTagError: it is no sync tag of that name.
    """
    return _parse(object_id, name, _payload_and_signature(_tag_bytes(store, object_id, name))[0])


def verify_tag(store: Store, object_id: str, name: str, keys: Mapping[bytes, str]) -> tuple[SyncTag, str]:
    """Decide whether a tag may be applied here, but for its having moved (``TagRecords.check``).

    Args:
        store: where the tag and its commit are.
        object_id: what the name points to.
        name: the name it is asked for by.
        keys: public key blobs that are pinned, each with the name of its node.

    Returns:
        What it says, and the node whose key signed it.

    Raises:
        BadTagError: one of its kinds, the first that holds.
        MissingObjectError, DamagedObjectError: it, or the commit it tags, cannot be read.
    """
    payload, armored = _payload_and_signature(_tag_bytes(store, object_id, name))
    tag = _parse(object_id, name, payload)
    if store.kind(tag.commit) != "commit":
        raise MalformedTagError(name, "what it tags is no commit")
    if not armored:
        raise UnsignedTagError(name)
    if not armored.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        raise UnsignedTagError(name, "it has no SSH signature, but one of another kind")
    try:
        blob = signing.verify_sshsig(armored, payload)
    except signing.BadSignatureError as error:
        raise ForgedTagError(name, error.why) from error
    node = keys.get(blob)
    if node is None:
        raise ForeignKeyError(name, signing.fingerprint(blob))
    return replace(tag, signer=signing.fingerprint(blob)), node


def _tag_bytes(store: Store, object_id: str, name: str | None) -> bytes:
    if name is not None and not _NAME.match(name):
        raise MalformedTagError(name, "that is no name for a sync tag")
    kind, data = store.objects.read(object_id)
    if kind != "tag":
        raise LightweightTagError(name or object_id[:12], kind)
    if len(data) > MAX_TAG:
        raise MalformedTagError(name or object_id[:12], f"it is larger than {MAX_TAG} bytes")
    return data


def _payload_and_signature(data: bytes) -> tuple[bytes, bytes]:
    """Split where Git does, at the last line that begins a signature."""
    found = list(_SIGNATURE.finditer(data))
    if not found:
        return data, b""
    return data[: found[-1].start()], data[found[-1].start() :]


def _parse(object_id: str, asked: str | None, payload: bytes) -> SyncTag:
    name = asked or object_id[:12]
    try:
        headers = gitformat.parse_headers(object_id, payload)
        if [key for key, _ in headers.fields] != ["object", "type", "tag", "tagger"]:
            raise gitformat.MalformedObjectError(object_id, "its head is not object, type, tag and tagger")
        target, kind, inner, tagger = (value for _, value in headers.fields)
        commit = gitformat.header_id(object_id, target)
        who = gitformat.parse_ident(object_id, tagger)
    except gitformat.MalformedObjectError as error:
        raise MalformedTagError(name, error.why) from error
    said = inner.decode("utf-8", "backslashreplace")[:100]
    if asked is not None and said != asked:
        raise NameMismatchError(asked, said)
    if not _NAME.match(said):
        raise MalformedTagError(name, f"the name in it, {said}, is none for a sync tag")
    if kind != b"commit":
        raise MalformedTagError(name, "it does not tag a commit")
    if _SIGNATURE.search(payload):
        raise MalformedTagError(name, "it holds more than one signature")
    subject, body, found = trailers.split(headers.message.decode("utf-8", "replace"))
    values = dict(found)
    if len(values) != len(found):
        raise MalformedTagError(name, "one of its trailers stands twice")
    given = values.get(trailers.FORMAT_KEY)
    if given is None:
        raise MalformedTagError(name, "it has no trailer Format, so it is no sync tag")
    if given != trailers.FORMAT:
        raise MalformedTagError(
            name, f"its format is {given[:20]}, this version reads {trailers.FORMAT}", "update syncsrv on this node"
        )
    return SyncTag(
        name=said,
        object_id=object_id,
        commit=commit,
        tagger=who.name,
        at_utc=datetime.fromtimestamp(min(who.at, _FAR), UTC),
        reason=f"{subject}\n\n{body}".strip(),
        areas=trailers.names(values.get(trailers.AREAS, "")),
        node=values.get(trailers.NODE, ""),
        requested_by=values.get(trailers.REQUESTED_BY, ""),
        format=given,
    )
