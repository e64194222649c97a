"""The text of every file that belongs to an installation. Pure but for the templates."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from syncsrv import shipped
from syncsrv.errors import UsageError
from syncsrv.install.program import Program

TARGET = "syncsrv.target"
CORE = "syncsrv-core.service"
DOOR = "syncsrv-door.service"
WEB = "syncsrv-web.service"
CARP = "syncsrv-carp.service"
SERVICES = (CORE, DOOR, WEB, CARP)

UNITS_FOLDER = Path("/etc/systemd/system")
SYSUSERS = Path("/etc/sysusers.d/syncsrv.conf")
TMPFILES = Path("/etc/tmpfiles.d/syncsrv.conf")

BUILT = "SYNCSRV_BUILT"
"""In the environment of each process: which build, and which text of its unit, it was started with."""

_PLAIN = re.compile(r"/[A-Za-z0-9@+._/-]*")


class PathError(UsageError):
    """A path that a unit file cannot name without an art of quoting that differs from key to key."""

    code = "path"

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"cannot install with the path {str(path)!r}: a unit file cannot name it",
            "use a path of letters, digits and the characters / . _ - + @",
        )


@dataclass(frozen=True, slots=True)
class Node:
    """What an installation depends on.

    Attributes:
        program: what is started.
        config, state_dir, run_dir: of the node; absolute.
    """

    program: Program
    config: Path
    state_dir: Path
    run_dir: Path


def files(node: Node) -> dict[Path, str]:
    """Every file, by its path.

    Raises:
        PathError: a path cannot stand in a unit.
    """
    for path in (node.program.python, *node.program.places, node.config, node.state_dir, node.run_dir):
        if not _PLAIN.fullmatch(str(path)):
            raise PathError(path)
    # systemd's own socket is bound because the root directory is another one.
    readable = [*map(str, node.program.places), str(node.run_dir), "/run/systemd/notify"]
    values = {
        "program": " ".join(node.program.argv),
        "config": str(node.config),
        "state_dir": str(node.state_dir),
        "run_dir": str(node.run_dir),
        "readable": " ".join(readable),
    }
    found = {UNITS_FOLDER / TARGET: _text(TARGET, values)}
    for service in SERVICES:
        text = _text(service, {**values, "built": node.program.build})
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        found[UNITS_FOLDER / service] = _text(service, {**values, "built": f"{node.program.build}-{digest}"})
    found[SYSUSERS] = _text("sysusers.conf", values)
    found[TMPFILES] = _text("tmpfiles.conf", values)
    return found


def built_of(text: str) -> str:
    """What a process that was started by this unit has in its environment; empty where the text is none of ours."""
    found = re.search(rf"(?m)^Environment={BUILT}=(\S+)$", text)
    return found[1] if found else ""


def _text(name: str, values: Mapping[str, str]) -> str:
    template = (shipped.folder("templates") / "systemd" / name).read_text(encoding="utf-8")
    return string.Template(template).substitute(values)
