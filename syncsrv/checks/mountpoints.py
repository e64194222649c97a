"""Where a check's view needs mounts of its own: read from the live machine and from the stage, nothing is changed.

Imported by the sandbox's child: only os and stat.
"""

from __future__ import annotations

import os
import stat

LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Spec:
    """What the view is made of; absolute paths without links, tree paths below ``root``.

    Args:
        root: the managed root.
        tops: tree paths of the areas.
        layer: directory that mirrors ``root`` with what differs from live, deletions as whiteouts.
        scratch: empty directory that the tmpfs is mounted on.
        writable: directories whose writes are taken and thrown away.
        hidden: directories and files of which nothing is to be seen.
    """

    def __init__(
        self, root: bytes, tops: list[bytes], layer: bytes, scratch: bytes, writable: list[bytes], hidden: list[bytes]
    ) -> None:
        self.root = root
        self.tops = tops
        self.layer = layer
        self.scratch = scratch
        self.writable = [path for path in dict.fromkeys(writable) if path != b"/"]
        self.hidden = hidden


class Target:
    """A place that gets a mount.

    Args:
        path: absolute.
        kind: the filesystem that is mounted there already; empty where none is.
        layered: whether the stage's layer counts there.
    """

    def __init__(self, path: bytes, kind: bytes, *, layered: bool) -> None:
        self.path = path
        self.kind = kind
        self.layered = layered


def read_mounts(text: bytes, base: bytes) -> dict[bytes, bytes]:
    """The mount points at and below ``base`` as paths from there, each with its filesystem, in order of mounting.

    Args:
        text: of /proc/self/mountinfo.
        base: absolute path without final slash; empty for all.
    """
    found = {}
    for line in text.splitlines():
        fields = line.split(b" ")
        point = fields[4]
        for code, char in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
            point = point.replace(code, char)
        if is_below(point, base):
            found[point[len(base) :] or b"/"] = fields[fields.index(b"-", 6) + 1]
    return found


def area_points(spec: Spec, base: bytes) -> set[bytes]:
    """Per area top the deepest directory that is one both live and in the stage: the top, or what holds it.

    Args:
        spec: the view.
        base: path of our own root.
    """
    points = set()
    for top in spec.tops:
        names = top.split(b"/") if top else []
        _, depth = walk(base + spec.root, names)
        if depth == len(names):
            staged = lookup(base + spec.layer, names)
            depth -= staged is not None and not stat.S_ISDIR(os.fstat(staged).st_mode)
        points.add(os.path.join(spec.root, *names[:depth]))
    return points


def targets(spec: Spec, areas: set[bytes], present: dict[bytes, bytes]) -> list[Target]:
    """Everything that gets a mount, outer before inner.

    Args:
        spec: the view.
        areas: of area_points.
        present: of read_mounts.
    """
    found = {path: Target(path, b"", layered=False) for path in spec.writable}
    found |= {path: Target(path, b"", layered=True) for path in areas}
    for point, kind in present.items():
        if point not in found and any(is_below(point, path) for path in (*spec.writable, *areas)):
            found[point] = Target(point, kind, layered=any(is_below(point, path) for path in areas))
    return [found[path] for path in sorted(found, key=lambda path: path.split(b"/"))]


def staged(spec: Spec, base: bytes, path: bytes) -> int | None:
    """What the layer has for an absolute path below the managed root, opened; None where it says nothing."""
    return lookup(base + spec.layer, below(path, spec.root))


def is_below(path: bytes, top: bytes) -> bool:
    """Whether an absolute path is ``top`` or lies below it."""
    return path == top or path.startswith(top.rstrip(b"/") + b"/")


def below(path: bytes, top: bytes) -> list[bytes]:
    """The names that lead from ``top`` to ``path``."""
    return path[len(top.rstrip(b"/")) + 1 :].split(b"/") if path != top else []


def walk(top: bytes, names: list[bytes]) -> tuple[int, int]:
    """Go down from ``top`` through real directories: the last one, opened, and how many names led to it."""
    handle = os.open(top or b"/", LOOK | os.O_DIRECTORY)
    for depth, name in enumerate(names):
        try:
            deeper = os.open(name, LOOK | os.O_DIRECTORY, dir_fd=handle)
        except (FileNotFoundError, NotADirectoryError):
            return handle, depth
        os.close(handle)
        handle = deeper
    return handle, len(names)


def lookup(top: bytes, names: list[bytes]) -> int | None:
    """What ``names`` lead to from ``top``, opened without following a link; None where nothing is there.

    Where a file or a link stands in for one of the parents, that is the answer.
    """
    handle, depth = walk(top, names)
    if depth == len(names):
        return handle
    try:
        return os.open(names[depth], LOOK, dir_fd=handle)
    except FileNotFoundError:
        return None
    finally:
        os.close(handle)
