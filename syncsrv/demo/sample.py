"""Lays out sample-repo/, with what neither Git nor a wheel carries: links, empty directories, modes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from syncsrv.errors import DamagedError
from syncsrv.shipped import folder


class BadSampleError(DamagedError):
    """The shipped sample is not as it should be."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"cannot lay out the sample from {where}: {why}", "install syncsrv again")


def lay_out(root: Path, sample: Path | None = None) -> None:
    """Make the sample's ``etc`` below ``root``, which must not have one yet.

    Args:
        root: the managed tree's root.
        sample: the sample; default the shipped one.

    Raises:
        BadSampleError: the sample's manifest is damaged.
        OSError: as the system says.
    """
    sample = sample or folder("sample-repo")
    shutil.copytree(sample / "etc", root / "etc", copy_function=shutil.copyfile)
    for path in (root / "etc", *(root / "etc").rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # the umask of whoever cloned or installed it is no configuration
    for kind, name, value in _manifest(sample / "manifest"):
        path = root / name
        if kind == "link":
            path.parent.mkdir(exist_ok=True)
            path.parent.chmod(0o755)
            path.symlink_to(value)
        else:
            if kind == "directory":
                path.mkdir()
            path.chmod(int(value, 8))


def demo_cluster(ports: Path, python: str, sample: Path | None = None) -> str:
    """The text of cluster.yaml for the demo.

    Args:
        ports: folder in which a file with the name of each node holds the port of its portal.
        python: the interpreter that check and health check run with.
        sample: the sample; default the shipped one.
    """
    sample = sample or folder("sample-repo")
    text = (sample / "demo.yaml").read_text(encoding="utf-8")
    values: Mapping[str, str] = {"@PYTHON@": python, "@SAMPLE@": str(sample), "@PORTS@": str(ports)}
    body = text[text.index("\ncluster:") + 1 :]  # the comment above is about the template
    for mark, value in values.items():
        body = body.replace(mark, json.dumps(value)[1:-1])  # the marks stand in double quotes: YAML's are JSON's
    return body


def _manifest(path: Path) -> Iterator[tuple[str, str, str]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        where = f"{path}:{number}"
        if len(words) != 3 or words[0] not in ("link", "directory", "mode"):
            raise BadSampleError(where, f"expected link, directory or mode with two words, found {line!r}")
        if not words[1].startswith("etc/") or ".." in PurePosixPath(words[1]).parts:
            raise BadSampleError(where, f"{words[1]} is not below etc")
        yield words[0], words[1], words[2]
