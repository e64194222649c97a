"""What is installed elsewhere: the wheel has all that the program needs, and nothing that is ours alone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, str(TOP / ".ci/bootstrap.py"), "uv", "build", "--wheel", "-q", "-o", str(folder)]
    done = subprocess.run([*argv, "-p", sys.executable], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            path = archive.extract(member, folder / "site")
            os.chmod(path, member.external_attr >> 16 or 0o644)  # zipfile forgets it, installers do not
    return folder / "site"


@pytest.mark.parametrize("name", ["templates", "hooks", "sample-repo"])
def test_the_shipped_folders_are_whole(unpacked: Path, name: str) -> None:
    tracked = subprocess.run(["git", "ls-files", "-z", name], cwd=TOP, capture_output=True, check=True).stdout
    files = [os.fsdecode(path) for path in tracked.split(b"\0") if path]
    assert files
    for file in files:
        shipped = unpacked / "syncsrv/data" / file
        assert shipped.read_bytes() == (TOP / file).read_bytes()
        assert os.access(shipped, os.X_OK) == os.access(TOP / file, os.X_OK), file


def test_only_the_package_is_installed(unpacked: Path) -> None:
    assert {path.name.partition("-")[0] for path in unpacked.iterdir()} == {"syncsrv"}
    assert (unpacked / "syncsrv/py.typed").exists()


def test_the_installed_program_starts_and_finds_what_it_ships(unpacked: Path, tmp_path: Path) -> None:
    env = {"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONPATH": str(unpacked)}  # comes before the checkout

    def python(*arguments: str) -> str:
        argv = [sys.executable, *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, env=env, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = python("-c", "from syncsrv.shipped import folder; print(folder('sample-repo'))")
    assert where == f"{unpacked}/syncsrv/data/sample-repo\n"
    assert "sync" in python("-m", "syncsrv", "--help")
