"""The process that one check runs under: it isolates itself, runs the check as its child and tells how that ended.

Started by check.py as a program of its own, since a process with threads cannot change its namespaces. The order
comes on standard input, NUL-separated ``key=value``; the answer goes line by line into the file ``report``. Two ways:

    isolated   root: new mount, pid and ipc namespaces, mounts.py's view, few capabilities; what the check leaves
               running ends with the pid namespace
    folder     without that right: the check runs as we are; what it leaves running becomes our child and is killed

Never a user namespace: nginx refuses good files there. Starting is part of every check's time, so little is imported:
``signal`` or ``json`` would cost more than building the view.
"""

from __future__ import annotations

import os
import select
import sys
import time

from syncsrv.checks import copytree, kernel, mountpoints, mounts

PROBE = b"probe"
"""Instead of a check: build the view and say that it can be built."""

_END_S = 2.0


class _Order:
    """What is asked for, by key."""

    def __init__(self, text: bytes) -> None:
        self._values: dict[bytes, list[bytes]] = {}
        for field in text.split(b"\0"):
            key, _, value = field.partition(b"=")
            self._values.setdefault(key, []).append(value)

    def all(self, key: bytes) -> list[bytes]:
        return self._values.get(key, [])

    def one(self, key: bytes) -> bytes:
        return self._values[key][0]

    @property
    def environment(self) -> dict[bytes, bytes]:
        return {name: value for name, _, value in (one.partition(b"=") for one in self.all(b"env"))}


class _Report:
    """The answer, written as it becomes known."""

    def __init__(self, path: bytes) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)

    def say(self, word: str, text: object = "") -> None:
        line = f"{word} {text}".replace("\n", " ") + "\n"
        os.write(self._handle, line.encode("utf-8", "surrogateescape"))


def main() -> int:
    """Do what standard input says."""
    order = _Order(_read_all(0))
    report = _Report(order.one(b"report"))
    if order.one(b"mode") == b"folder":
        kernel.become_subreaper()
        kernel.no_new_privileges()
        _run(order, report, parent=os.pidfd_open(os.getppid()))
        _end_children()
        return 0
    kernel.die_with_parent()
    try:
        spec = _spec(order)
        kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWIPC)
    except OSError as error:
        report.say("error", error.strerror)
        return 0
    first = os.fork()
    if first == 0:
        _isolated(order, spec, report)
        os._exit(0)  # as process 1: whatever the check left running ends here
    os.waitpid(first, 0)
    return 0


def _isolated(order: _Order, spec: mountpoints.Spec, report: _Report) -> None:
    kernel.die_with_parent()
    try:
        for note in mounts.enter(spec):
            report.say("note", note)
        kernel.drop_privileges()
    except OSError as error:
        report.say("error", error.strerror)
    except copytree.TooMuchError:
        report.say("error", "an area is too large to be copied where the kernel refuses an overlay")
    else:
        if order.one(b"mode") == PROBE:
            report.say("exit", 0)
        else:
            _run(order, report)


def _spec(order: _Order) -> mountpoints.Spec:
    root = os.path.realpath(order.one(b"root"))
    writable = [b"/run", b"/var", b"/tmp", os.path.join(root, b"run"), os.path.join(root, b"var")]
    return mountpoints.Spec(
        root=root,
        tops=order.all(b"top"),
        layer=os.path.realpath(order.one(b"layer")),
        scratch=os.path.realpath(order.one(b"scratch")),
        writable=[path for path in map(os.path.realpath, writable) if os.path.isdir(path)],
        hidden=[path for path in map(os.path.realpath, order.all(b"hidden")) if os.path.exists(path)],
    )


def _run(order: _Order, report: _Report, parent: int | None = None) -> None:
    """Run the check to its end, its deadline or the end of the process behind the descriptor ``parent``."""
    child = os.fork()
    if child == 0:
        _execute(order, report)
    ended = os.pidfd_open(child)
    poll = select.poll()
    for handle in (ended, parent):
        if handle is not None:
            poll.register(handle, select.POLLIN)
    ready = poll.poll(float(order.one(b"deadline_s")) * 1000)
    if (ended, select.POLLIN) in ready:
        _, status = os.waitpid(child, 0)
        report.say("exit", os.waitstatus_to_exitcode(status))
    elif not ready:
        report.say("timeout")


def _execute(order: _Order, report: _Report) -> None:
    try:
        os.dup2(os.open(b"/dev/null", os.O_RDONLY), 0)
        kernel.default_signals()
        kernel.die_with_parent()
        argv = order.all(b"arg")
        os.execvpe(argv[0], argv, order.environment)  # noqa: S606  # the area's check, without a shell
    except OSError as error:
        report.say("missing", error.strerror)
    finally:
        os._exit(127)


def _end_children() -> None:
    """Kill what is left below us, at most for a moment: a child of another user is not ours to kill."""
    ends_at = time.monotonic() + _END_S
    while time.monotonic() < ends_at:
        for child in _children():
            try:
                os.kill(child, kernel.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        select.poll().poll(5)


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            return [int(child) for child in file.read().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return []


def _read_all(handle: int) -> bytes:
    parts = []
    while part := os.read(handle, 1 << 16):
        parts.append(part)
    return b"".join(parts)


if __name__ == "__main__":
    sys.exit(main())
