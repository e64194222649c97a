"""Templates and static files, in memory: after it has given up its rights, web opens no file."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType

from jinja2.bccache import Bucket, BytecodeCache

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


class Compiled(BytecodeCache):
    """The templates' code, in memory: they are compiled once, however many applications are made of them."""

    def __init__(self) -> None:
        self._code: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._code.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        if bucket.code is not None:
            self._code[bucket.key, bucket.checksum] = bucket.code


@dataclass(frozen=True, slots=True)
class Assets:
    """Everything that pages are made of.

    Attributes:
        templates: name (``base.html``) to text.
        static: name (``syncsrv.css``) to file.
        compiled: where the templates' code is kept.
    """

    templates: Mapping[str, str]
    static: Mapping[str, StaticFile]
    compiled: Compiled = field(default_factory=Compiled, compare=False)

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
