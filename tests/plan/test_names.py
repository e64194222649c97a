"""Names that Git cannot hold, measured against Git itself."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import zlib
from pathlib import Path

import pytest

from syncsrv.plan.names import unsafe_content, unsafe_name

BASES = [
    b".git", b"git~1", b"git~2", b".gitmodules", b"gitmod~1", b"gitmod~4", b"gitmod~5", b"gi7eba~1", b"gi7eb~10",
    b"gi7e~123", b"gi7~1234", b"g~123456", b"~1234567", b"~0234567", b"gi7eba~0", b"gi7d29~1", b".gitx", b".gi", b"git",
    b"gi7~12345", b"gi7~123", b".gitattributes", b".gitignore", b".gitmodule", b"nginx.conf",
]  # fmt: skip
IGNORABLE = [char.encode() for char in "\u200b\u200c\u200f\u202a\u202e\u206a\u206f\ufeff"]


def variants() -> list[bytes]:
    """Every base with endings, prefixes, ignorable characters at each place, and seeded mutations."""
    endings = b"|.| |. .|:x|\\x|x|\xff|\xffx|\n|~1| x|..:\\|\\".split(b"|")
    found = {base + ending for base in BASES for ending in endings}
    found |= {base.upper() for base in BASES} | {b"a\\" + base for base in BASES} | {b"\\a\\" + base for base in BASES}
    for base in BASES:
        for char in IGNORABLE:
            found |= {base[:at] + char + base[at:] for at in range(len(base) + 1)}
            found |= {base + char + b".", base + char + b"\xff", b"a\\" + base + char, char + base + b"\\x"}
    chance = random.Random(7)
    pieces = [b".", b"g", b"I", b"~", b"1", b" ", b":", b"\\", b"\xff", b"\xe2\x80", *IGNORABLE[:2]]
    for _ in range(1500):
        name = bytearray(chance.choice(BASES))
        at = chance.randrange(len(name) + 1)
        name[at : at + chance.randrange(2)] = chance.choice(pieces)
        found.add(bytes(name))
    return sorted(found - {b"", b".", b".."})


def write_object(repository: Path, kind: bytes, body: bytes) -> str:
    data = kind + b" %d\0" % len(body) + body
    name = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    path = repository / ".git" / "objects" / name[:2] / name[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zlib.compress(data))
    return name


def git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "HOME": str(repository), "GIT_CONFIG_NOSYSTEM": "1", "LANG": "C"}
    argv = ["git", "-C", str(repository), *arguments]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    assert git(tmp_path, "init", "-q").returncode == 0
    return tmp_path


def test_judges_exactly_as_git_does(repository: Path) -> None:
    judged = {}
    for number, name in enumerate(variants()):
        # A blob of its own for each, which Git refuses as .gitmodules, tells which name it was taken under.
        blob = write_object(repository, b"blob", b'[submodule "../x%d"]\n\tpath = x\n' % number)
        judged[write_object(repository, b"tree", b"100644 " + name + b"\0" + bytes.fromhex(blob))] = (name, blob)
    said = git(repository, "fsck", "--strict", "--no-dangling")
    refused = {line.split()[3].rstrip(":") for line in said.stderr.splitlines() if line.startswith("error in ")}
    assert refused, said.stderr
    for tree, (name, blob) in judged.items():
        assert (unsafe_name(name) is not None) == bool(refused & {tree, blob}), name


def test_long_attributes_lines_are_refused_as_git_refuses_them(repository: Path) -> None:
    judged = {}
    for name in (b".gitattributes", b".GitAttributes. ", b"gi7d29~1", b"gitattributes"):
        for length in (2046, 2047, 2048, 5000):
            content = b"# " + name + b"\n" + b"a" * length + b"\nb\n"
            blob = write_object(repository, b"blob", content)
            write_object(repository, b"tree", b"100644 " + name + b"\0" + bytes.fromhex(blob))
            judged[blob] = (name, content)
    said = git(repository, "fsck", "--strict", "--no-dangling").stderr
    assert "gitattributesLineLength" in said
    for blob, (name, content) in judged.items():
        assert (unsafe_content(name, content) is not None) == (f"error in blob {blob}" in said), (name, len(content))


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0b"])
def test_no_component_at_all(name: bytes) -> None:
    assert unsafe_name(name) is not None


def test_ordinary_and_odd_names_are_fine() -> None:
    for name in (b"nginx.conf", b"\xff\xfe", b"a\nb", b"...", b" ", b"con", b".gitignore", b"x" * 255, b"-rf"):
        assert unsafe_name(name) is None
        assert unsafe_content(name, b"x" * 5000) is None
