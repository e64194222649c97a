"""No room left, on small file systems of their own: said by name, nothing lost, and mended by room alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.faults import ended, equal, failed, running, sound
from tests.integration.pair import Node, Pair, listing

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts")

KIBIBYTE = 1024
SIZE = 8 * 1024 * KIBIBYTE
LARGE = 300 * KIBIBYTE


@pytest.fixture(scope="module")
def lab() -> Iterator[Pair]:
    """State of both nodes, and the managed root of the backup, each on a file system of 8 MiB."""
    mounted: list[Path] = []

    def prepare(pair: Pair) -> None:
        for place in (pair.fw1.state, pair.fw2.state, pair.fw2.root):
            move_to_tmpfs(place)
            mounted.append(place)

    try:
        with running(prepare=prepare) as pair:
            yield pair
            sound(pair.fw1, pair.fw2)
            pair.fw1.stop()
            pair.fw2.stop()
            unmount(mounted)
    finally:
        unmount(mounted)


def move_to_tmpfs(place: Path) -> None:
    aside = place.with_name(place.name + ".aside")
    place.rename(aside)
    place.mkdir(mode=0o700)
    options = f"size={SIZE},mode={aside.stat().st_mode & 0o777:o}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
    shutil.copytree(aside, place, symlinks=True, dirs_exist_ok=True)
    shutil.rmtree(aside)


def unmount(places: list[Path]) -> None:
    while places:
        subprocess.run(["umount", "--lazy", places.pop()], check=True)


@contextmanager
def room_left(place: Path, size: int) -> Iterator[None]:
    """Only so many bytes are free below ``place``."""
    ballast = place / "ballast"
    found = os.statvfs(place)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - size)
    try:
        yield
    finally:
        ballast.unlink()


def write_large(node: Node, path: str, size: int = LARGE) -> bytes:
    """Something that cannot be compressed."""
    data = os.urandom(size)
    node.file(path).write_bytes(data)
    return data


def without_ballast(root: Path) -> dict[str, tuple[str, int, str]]:
    return {path: entry for path, entry in listing(root).items() if path != "ballast"}


def test_no_room_for_a_commit(lab: Pair) -> None:
    head = lab.fw1.git("rev-parse", "main")
    data = write_large(lab.fw1, "/etc/proxy/large")
    with room_left(lab.fw1.state, 64 * KIBIBYTE):
        failed(lab.fw1.ask("commit", "-m", "large"), "no-space", str(lab.fw1.repository), "no space left", "make room")
        ended(lab.fw1.ask("sync"), "no space left", str(lab.fw1.repository))
        assert lab.fw1.git("rev-parse", "main") == head
        assert lab.fw1.status()["head"]["commit"] == head.strip()
        lab.fw1.git("fsck", "--strict")
    lab.fw1.do("commit", "-m", "large")
    shown = subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", lab.fw1.repository, "show", "main:etc/proxy/large"], capture_output=True
    )
    assert shown.stdout == data


def test_no_room_for_what_is_fetched(lab: Pair) -> None:
    write_large(lab.fw1, "/etc/proxy/large")
    before = without_ballast(lab.fw2.root)
    with room_left(lab.fw2.state, 64 * KIBIBYTE):
        ended(lab.fw1.ask("sync"), "no space left", str(lab.fw2.state))
        assert without_ballast(lab.fw2.root) == before
        assert lab.fw2.status()["sync"]["state"] == "failed"
    equal(lab)


def test_no_room_for_what_is_applied(lab: Pair) -> None:
    write_large(lab.fw1, "/etc/proxy/large")
    lab.fw1.write("/etc/proxy/aaa", "comes first\n")
    lab.fw1.write("/etc/proxy/zzz", "comes last\n")
    before = without_ballast(lab.fw2.root)
    with room_left(lab.fw2.root, 64 * KIBIBYTE):
        ended(lab.fw1.ask("sync"), "cannot write /etc/proxy/large", "no space left")
        assert without_ballast(lab.fw2.root) == before
        assert lab.fw2.status()["sync"]["state"] == "failed", "no live file had changed"
    equal(lab)


@pytest.mark.parametrize(
    "left", [0, *(pytest.param(left, marks=pytest.mark.sample(6)) for left in (*range(4, 64, 4), 96)), 128]
)
def test_however_little_room_the_state_has_an_apply_is_whole_or_not_at_all(lab: Pair, left: int) -> None:
    """The journal, refs, receipts and the state itself: each is the one for which there is no room any more."""
    lab.fw1.write("/etc/proxy/main.conf", f"listen {left}\n")
    lab.fw1.do("commit")
    old, new = without_ballast(lab.fw2.root), listing(lab.fw1.root)
    with room_left(lab.fw2.state, left * KIBIBYTE):
        answer = lab.fw1.ask("sync")
        disk = without_ballast(lab.fw2.root)
        assert disk in (old, new)
        lab.fw2.git("fsck", "--strict")
        if answer.status == 0:
            assert left > 0
            assert disk == new
        else:
            assert left < 128
            found = ended(answer)
            assert "no space left" in found["reason"].lower()
            assert found["steps"], "how far it came is told though it could not be recorded"
    lab.synced("--force", "drift")
    sound(lab.fw2)
