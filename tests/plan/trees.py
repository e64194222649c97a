"""Short ways to write trees in tests."""

from __future__ import annotations

import hashlib

from syncsrv.config.model import Area, Cluster
from syncsrv.plan.areas import Areas
from syncsrv.plan.tree import ROOT, Entry, Kind, Owner


def blob(text: str) -> str:
    """The id that Git gives content."""
    data = text.encode()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def file(text: str = "x", mode: int = 0o644, user: Owner = ROOT) -> Entry:
    return Entry(Kind.FILE, mode, user, ROOT, blob(text))


def link(target: str) -> Entry:
    return Entry(Kind.LINK, 0o777, blob=blob(target))


def directory(mode: int = 0o755) -> Entry:
    return Entry(Kind.DIRECTORY, mode)


def areas(**paths: list[str]) -> Areas:
    """Areas by name: ``areas(proxy=["/etc/nginx"])``."""
    return Areas.of(Cluster(cluster="edge", areas={name: Area(paths=tuple(of)) for name, of in paths.items()}))
