"""Templates and static files, in memory: after it has given up its rights, web opens no file."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from syncsrv import shipped

TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file that is sent as it is, or packed; ``version`` changes with its content.

    Pages are never packed: the size would tell about the secrets that stand in them beside what others may choose.
    """

    content: bytes
    gzipped: bytes
    content_type: str
    version: str


@dataclass(frozen=True, slots=True)
class Assets:
    """Everything that pages are made of.

    Attributes:
        templates: name (``base.html``) to text.
        static: name (``syncsrv.css``) to file.
    """

    templates: Mapping[str, str]
    static: Mapping[str, StaticFile]

    @classmethod
    def load(cls, folder: Path | None = None) -> Assets:
        """Read them all, from the shipped folder ``templates`` unless another is given.

        Raises:
            NotShippedError: the installation is not complete.
        """
        folder = folder or shipped.folder("templates")
        return cls(
            {path.name: path.read_text("utf-8") for path in sorted((folder / "page").glob("*.html"))},
            {path.name: _static(path) for path in sorted((folder / "static").iterdir()) if path.suffix in TYPES},
        )


def _static(path: Path) -> StaticFile:
    content = path.read_bytes()
    return StaticFile(
        content, gzip.compress(content, 9, mtime=0), TYPES[path.suffix], hashlib.sha256(content).hexdigest()[:12]
    )
