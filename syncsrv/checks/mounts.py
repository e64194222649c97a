"""The view of the machine that an isolated check has: staged files at their real paths, all else read-only.

Built in a mount namespace of its own, on a small tmpfs that also takes what the check writes:

    the whole mount tree          bound once more, recursively, read-only, without devices
    the areas' directories        overlay: tmpfs over the stage's layer over the live directory
    /run, /var, /tmp, and those
    of the managed root           overlay: tmpfs over the live directory
    mounts below such a directory which the overlay hides: an overlay of their own, or bound back
    /dev, /proc                   new and small
    secrets of this node          an empty directory or file over each

An overlay is refused where two are stacked already and over some filesystems; then a bounded copy takes its place.
Imported by the sandbox's child: only os and ctypes.
"""

from __future__ import annotations

import errno
import os
import stat

from syncsrv.checks import copytree, kernel, mountpoints
from syncsrv.checks.mountpoints import LOOK, Spec, Target, is_below

_ORDINARY = frozenset(b"ext2 ext3 ext4 xfs btrfs zfs f2fs bcachefs tmpfs ramfs squashfs erofs".split())
"""Filesystems that get an overlay where they are mounted below a directory that has one; others are bound back."""

_DEVICES = (b"null", b"zero", b"full", b"random", b"urandom")
_STRICT = kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV
_REMOUNT = kernel.MS_REMOUNT | kernel.MS_BIND
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})
_SCRATCH_SIZE = 256 << 20
_COPY_SIZE = 64 << 20
_COPY_ENTRIES = 20_000
_LARGE_LOG = 1 << 20
_LOGS_LOOKED_AT = 4000


def enter(spec: Spec) -> list[str]:
    """Build the view and make it this process's root.

    The caller has new mount and pid namespaces and is process 1 of the latter.

    Returns:
        Notes for people: where the view is not as it should be.

    Raises:
        OSError: the kernel refused something that there is no way around.
        copytree.TooMuchError: an area can neither be overlaid nor copied.
    """
    return _View(spec, make_private(spec.scratch)).enter()


def make_private(inner: bytes) -> bytes:
    """Keep every mount of this new namespace to itself.

    That is done at the namespace's root. A program in a chroot may be unable to name it: then this process leaves
    the chroot, by the old way of taking another root while standing outside it.

    Args:
        inner: some directory below the root.

    Returns:
        The path of the former root; empty where it is the namespace's own.
    """
    try:
        kernel.set_propagation(b"/", kernel.MS_PRIVATE | kernel.MS_REC)
        return b""
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    former = os.open(b"/", LOOK | os.O_DIRECTORY)
    os.chroot(inner)
    os.fchdir(former)
    while not os.path.samestat(os.stat(b"."), os.stat(b"..")):
        os.chdir(b"..")
    os.chroot(b".")
    kernel.set_propagation(b"/", kernel.MS_PRIVATE | kernel.MS_REC)
    os.fchdir(former)
    return os.getcwdb()


def restrict_each(top: bytes, mountinfo: bytes) -> None:
    """Make the mount ``top`` and all below it read-only, without devices and setuid, one by one."""
    for point in mountpoints.read_mounts(mountinfo, top):
        kernel.mount(b"none", top + point, flags=_REMOUNT | _STRICT)


class _View:
    """Work in progress.

    Args:
        spec: what is asked for.
        base: the path of the former root.
    """

    def __init__(self, spec: Spec, base: bytes) -> None:
        self._spec = spec
        self._base = base
        self._scratch = base + spec.scratch
        self._new = self._scratch + b"/new"
        self._budget = copytree.Budget(_COPY_SIZE, _COPY_ENTRIES)
        self._made = 0
        self._notes: list[str] = []
        self._handles: list[int] = []

    def enter(self) -> list[str]:
        os.chdir(self._base + b"/proc/self/fd")  # so a descriptor's number is a path, whatever its real one contains
        present = mountpoints.read_mounts(_read(b"../mountinfo"), self._base)
        areas = mountpoints.area_points(self._spec, self._base)
        self._mount_scratch()
        if b"/" in areas:
            self._stage_root(present)
        else:
            kernel.set_propagation(self._scratch, kernel.MS_UNBINDABLE)  # the tree is not bound into itself
            kernel.mount(self._base or b"/", self._new, flags=kernel.MS_BIND | kernel.MS_REC)
            kernel.set_propagation(self._scratch, kernel.MS_PRIVATE)
        if not kernel.restrict_tree(self._new):
            restrict_each(self._new, _read(b"../mountinfo"))
        for target in mountpoints.targets(self._spec, areas - {b"/"}, present):
            self._cover(target)
            self._close()
        self._renew_dev()
        self._hide(areas)
        kernel.mount(b"proc", self._new + b"/proc", b"proc", _STRICT | kernel.MS_NOEXEC)
        kernel.enter_root(self._new)
        return self._notes

    def _mount_scratch(self) -> None:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        options = b"mode=0755,nr_inodes=200k,size=%d" % min(_SCRATCH_SIZE, memory // 8)
        kernel.mount(b"tmpfs", self._scratch, b"tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, options)
        os.mkdir(self._new)
        os.mkdir(self._scratch + b"/empty", 0o555)
        _touch(self._scratch + b"/nothing", 0o444)

    def _stage_root(self, present: dict[bytes, bytes]) -> None:
        """An overlay over the machine's root itself: an area's top is missing there with all its parents."""
        root = self._keep(os.open(self._base or b"/", LOOK | os.O_DIRECTORY))
        self._overlay(b"", root, self._staged(b"/"))
        for point in present:
            source = self._open(self._base + point)
            if point != b"/" and source is not None and self._staged(point) is None:
                _bind(source, self._new + point)
            self._close()

    def _cover(self, target: Target) -> None:
        """Give one place its mount."""
        live = self._open(self._base + target.path)
        if live is None:
            return
        layer = self._staged(target.path) if target.layered else None
        if layer is not None and not (_is_directory(layer) and _is_directory(live)):
            return  # the stage has something else where this is mounted
        if target.kind and layer is None and (target.kind not in _ORDINARY or not _is_directory(live)):
            self._bind_back(live, target)
            return
        try:
            self._overlay(target.path, live, layer)
        except OSError as error:
            if target.kind and error.errno in _GONE:
                return  # the stage has no such mount point any more
            if target.kind and layer is None:
                self._bind_back(live, target)
                return
            self._copy(target, live, layer, error)

    def _bind_back(self, live: int, target: Target) -> None:
        """What is mounted there once more, read-only, over the overlay that hides it."""
        if _bind(live, self._new + target.path):
            kernel.mount(b"none", self._new + target.path, flags=_REMOUNT | _STRICT)

    def _overlay(self, path: bytes, live: int, layer: int | None) -> None:
        upper, work = self._directory(), self._directory()
        writing = self._keep(os.open(upper, copytree.DIRECTORY))
        copytree.set_like(writing, os.fstat(live if layer is None else layer))
        if layer is None:
            self._empty_logs(path, live, writing)
        options = b"upperdir=%d,workdir=%d,lowerdir=" % (writing, self._keep(os.open(work, copytree.DIRECTORY)))
        lowers = b"%d" % live if layer is None else b"%d:%d" % (layer, live)
        flags = kernel.MS_NOSUID | kernel.MS_NODEV
        try:
            kernel.mount(b"overlay", self._new + path, b"overlay", flags, options + lowers)
        except OSError as error:
            if error.errno != errno.ELOOP or layer is None:
                raise
            # The layer lies inside the directory that it is to be laid over: it is copied to where writes go.
            copytree.copy_content(self._listable(layer), writing, self._budget, keep_whiteouts=True)
            kernel.mount(b"overlay", self._new + path, b"overlay", flags, options + b"%d" % live)

    def _copy(self, target: Target, live: int, layer: int | None, why: OSError) -> None:
        """What takes an overlay's place: a copy of the directory with the layer applied to it."""
        made = self._directory()
        refused = f"no overlay over {os.fsdecode(target.path)} ({os.strerror(why.errno or 0)})"
        writing = self._keep(os.open(made, copytree.DIRECTORY))
        try:
            copytree.copy_content(self._listable(live), writing, self._budget)
            if layer is not None:
                copytree.copy_content(self._listable(layer), writing, self._budget)
        except copytree.TooMuchError:
            if target.layered:
                raise
            self._notes.append(f"{refused}: the check could not write there")
            return
        copytree.set_like(writing, os.fstat(live if layer is None else layer))
        kernel.mount(made, self._new + target.path, flags=kernel.MS_BIND)
        self._notes.append(f"{refused}: the check saw a copy of it")

    def _empty_logs(self, path: bytes, live: int, writing: int) -> None:
        """Let large logs appear empty: for a daemon that opens its log the kernel would first copy it into memory."""
        for logs in {b"/var/log", os.path.join(self._spec.root, b"var/log")}:
            try:
                if is_below(path, logs):
                    _empty_large(live, b".", writing)
                elif is_below(logs, path):
                    _empty_large(live, os.path.relpath(logs, path), writing)
            except FileNotFoundError:
                continue  # no such directory here, or rotated away meanwhile

    def _renew_dev(self) -> None:
        made, place = self._directory(), self._new + b"/dev"
        for name, target in ((b"fd", b""), (b"stdin", b"/0"), (b"stdout", b"/1"), (b"stderr", b"/2")):
            os.symlink(b"/proc/self/fd" + target, os.path.join(made, name))
        os.mkdir(made + b"/shm")
        kernel.mount(made, place, flags=kernel.MS_BIND)
        for name in _DEVICES:
            device = self._open(self._base + b"/dev/" + name)
            if device is None or not stat.S_ISCHR(os.fstat(device).st_mode):
                continue
            node = os.path.join(place, name)
            _touch(node, 0o666)
            _bind(device, node)
            kernel.mount(b"none", node, flags=_REMOUNT | kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NOEXEC)

    def _hide(self, areas: set[bytes]) -> None:
        for path in self._spec.hidden:
            found = self._open(self._new + path)
            if found is None:
                continue
            if any(is_below(needed, path) for needed in (self._spec.root, *areas)):
                self._notes.append(f"{os.fsdecode(path)} holds what is checked, so the check could read all of it")
                continue
            cover = b"/empty" if _is_directory(found) else b"/nothing"
            kernel.mount(self._scratch + cover, self._new + path, flags=kernel.MS_BIND)
            kernel.mount(b"none", self._new + path, flags=_REMOUNT | _STRICT)

    def _open(self, path: bytes) -> int | None:
        """A directory or file, not read; None where nothing is there."""
        try:
            return self._keep(os.open(path or b"/", LOOK))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _staged(self, path: bytes) -> int | None:
        """What the layer has for an absolute path."""
        if not is_below(path, self._spec.root):
            return None
        handle = mountpoints.staged(self._spec, self._base, path)
        return None if handle is None else self._keep(handle)

    def _listable(self, handle: int) -> int:
        return self._keep(os.open(b".", copytree.DIRECTORY, dir_fd=handle))

    def _keep(self, handle: int) -> int:
        self._handles.append(handle)
        return handle

    def _close(self) -> None:
        """Close what one mount needed."""
        while self._handles:
            os.close(self._handles.pop())

    def _directory(self) -> bytes:
        """A new directory on the tmpfs."""
        self._made += 1
        path = b"%b/%d" % (self._scratch, self._made)
        os.mkdir(path, 0o755)
        return path


def _empty_large(live: int, where: bytes, upper: int) -> None:
    """For each large file below the directory ``where`` of ``live`` an empty one of the same owner in ``upper``."""
    left = _LOGS_LOOKED_AT
    for folder, _, names, handle in os.fwalk(where, dir_fd=live):
        for name in names[:left]:
            status = os.lstat(name, dir_fd=handle)
            if stat.S_ISREG(status.st_mode) and status.st_size > _LARGE_LOG:
                into = upper
                way = os.path.normpath(folder).split(b"/")
                for depth, component in enumerate(way if way != [b"."] else []):
                    into = copytree.make_directory(into, component)
                    copytree.set_like(into, os.lstat(os.path.join(*way[: depth + 1]), dir_fd=live))
                file = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=into)
                copytree.set_like(file, status)
                os.close(file)
        left -= len(names)
        if left <= 0:
            return


def _bind(source: int, place: bytes) -> bool:
    """Bind an open directory or file at ``place``; False where the stage has no such place any more."""
    try:
        kernel.mount(b"%d" % source, place, flags=kernel.MS_BIND)
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return False
    return True


def _is_directory(handle: int) -> bool:
    return stat.S_ISDIR(os.fstat(handle).st_mode)


def _touch(path: bytes, mode: int) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, mode))


def _read(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()
