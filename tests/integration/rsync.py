"""What real rsync would still have to do between two nodes' disks: the judge of "equal"."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.support.testroot import TestRoot


def differences(testroot: TestRoot, source: Path, target: Path, exclude: Iterable[str] = (), *also: str) -> list[str]:
    """Its itemized list of what differs: content, type, mode, owner, link targets, extended attributes, what is extra.

    Args:
        testroot: where rsync comes from.
        source: a directory.
        target: the one that should be equal; not written to.
        exclude: patterns of rsync; one that begins with ``/`` is a path below both.
        also: more options.
    """
    argv = ["rsync", "-aXcn", "--no-times", "--omit-dir-times", "--itemize-changes", "--delete", *also]
    argv += [f"--exclude={pattern}" for pattern in exclude]
    done = testroot.run(*argv, f"{source}/", f"{target}/", binds=[source, target])
    return done.stdout.splitlines()
