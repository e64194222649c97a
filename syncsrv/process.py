"""Run a program under a deadline, keep a bounded part of what it says, and end its whole process group.

The one module that starts short-lived programs (checks, hooks, service commands, systemctl). It never uses a
shell, never hands over our environment, and never waits longer than it was told to.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from syncsrv.errors import SyncsrvError

OUTPUT_KEPT = 64 * 1024
"""Bytes of a program's output that are kept: the first half and the last half of a flood."""


class NotStartedError(SyncsrvError):
    """The program could not be executed at all: missing, not executable, wrong format."""

    code = "not-started"

    def __init__(self, argv: Sequence[str], why: str) -> None:
        super().__init__(
            f"cannot run {argv[0]}: {why}", "install the program or correct the command in the configuration"
        )
        self.argv = tuple(argv)


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended.

    Attributes:
        status: its exit status, negative for a signal; None where the deadline ended it, or a Stop.
        output: stdout and stderr as they came, at most OUTPUT_KEPT bytes.
        truncated: whether output was dropped.
        seconds: how long it ran.
    """

    status: int | None
    output: bytes
    truncated: bool
    seconds: float

    @property
    def text(self) -> str:
        """The output for people: undecodable bytes shown as escapes."""
        return self.output.decode("utf-8", "backslashreplace")


class Stop:
    """Ends programs before their deadline, from another thread; once asked for, also those that are started later."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = False
        self._wakers: set[int] = set()

    def ask(self) -> None:
        """End what runs."""
        with self._lock:
            self._asked = True
            for waker in self._wakers:
                os.eventfd_write(waker, 1)

    @contextmanager
    def waker(self) -> Iterator[int]:
        """A descriptor that can be read as soon as somebody has asked."""
        handle = os.eventfd(0, os.EFD_CLOEXEC)
        with self._lock:
            self._wakers.add(handle)
            if self._asked:
                os.eventfd_write(handle, 1)
        try:
            yield handle
        finally:
            with self._lock:
                self._wakers.discard(handle)
            os.close(handle)


class _Kept:
    """The head and the tail of a stream, bounded."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self.truncated = False

    def add(self, data: bytes) -> None:
        room = self._half - len(self._head)
        self._head += data[:room] if room > 0 else b""
        self._tail += data[room:] if room > 0 else data
        if len(self._tail) > self._half:
            self.truncated = True
            del self._tail[: len(self._tail) - self._half]

    def value(self) -> bytes:
        middle = b"\n[... output dropped ...]\n" if self.truncated else b""
        return bytes(self._head) + middle + bytes(self._tail)


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    deadline_s: float,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    output_to: Path | None = None,
    umask: int = -1,
    stop: Stop | None = None,
) -> Completed:
    """Run ``argv`` to its end or to its deadline.

    Args:
        argv: program and arguments, as they are.
        env: its whole environment.
        deadline_s: seconds after which its process group is killed.
        cwd: its working directory; default ``/``.
        stdin: bytes for its standard input; default none (/dev/null).
        output_to: file that its output is appended to. For a program that leaves a daemon behind: the daemon holds
            the file, where a pipe of ours would break under it as soon as nobody reads.
        umask: its file mode mask; -1: ours, which in core hides all it makes from others.
        stop: whoever holds it may end the program before its deadline.

    Raises:
        NotStartedError: it could not be executed, or not be watched.
        OSError: output_to cannot be opened.
    """
    began = time.monotonic()
    with nullcontext(None) if output_to is None else open(output_to, "ab") as sink:
        before = 0 if sink is None else os.fstat(sink.fileno()).st_size
        try:
            child = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE if sink is None else sink,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd or Path("/"),
                start_new_session=True,
                close_fds=True,
                umask=umask,
            )
        except OSError as error:
            raise NotStartedError(argv, error.strerror or str(error)) from error
    kept = _Kept(OUTPUT_KEPT)
    try:
        with (stop or Stop()).waker() as stopped:
            finished = _pump(child, kept, began + deadline_s, stdin, stopped)
    except OSError as error:  # our own descriptors are used up: it cannot be watched, so it may not run
        raise NotStartedError(argv, error.strerror or str(error)) from error
    finally:
        _end_group(child)
    if output_to is not None:
        _take_back(output_to, before, kept)
    return Completed(
        status=child.returncode if finished else None,
        output=kept.value(),
        truncated=kept.truncated,
        seconds=time.monotonic() - began,
    )


def _pump(child: subprocess.Popen[bytes], kept: _Kept, ends_at: float, stdin: bytes | None, stopped: int) -> bool:
    """Copy output until the program itself has ended; True unless the deadline, or a Stop, came first.

    A grandchild that keeps our pipe open (a daemon that was started) does not hold us up.
    """
    left = memoryview(stdin or b"")
    with selectors.DefaultSelector() as selector:
        if child.stdout is not None:
            os.set_blocking(child.stdout.fileno(), False)
            selector.register(child.stdout, selectors.EVENT_READ)
        if child.stdin is not None:
            os.set_blocking(child.stdin.fileno(), False)
            selector.register(child.stdin, selectors.EVENT_WRITE)
        pidfd = os.pidfd_open(child.pid)
        try:
            selector.register(pidfd, selectors.EVENT_READ)
            selector.register(stopped, selectors.EVENT_READ)
            while True:
                wait_s = ends_at - time.monotonic()
                if wait_s <= 0:
                    return False
                ready = {key.fileobj for key, _ in selector.select(wait_s)}
                if child.stdin is not None and child.stdin in ready:
                    left = _feed(child, left)
                    if not left:
                        selector.unregister(child.stdin)
                        child.stdin.close()
                if child.stdout is not None and child.stdout in ready and not _drain(child, kept):
                    selector.unregister(child.stdout)
                if pidfd in ready:
                    _drain(child, kept)
                    child.wait()
                    return True
                if stopped in ready:
                    return False
        finally:
            os.close(pidfd)


def _feed(child: subprocess.Popen[bytes], left: memoryview) -> memoryview:
    assert child.stdin is not None
    try:
        return left[os.write(child.stdin.fileno(), left[:65536]) :]
    except BlockingIOError:
        return left
    except BrokenPipeError:
        return memoryview(b"")


def _drain(child: subprocess.Popen[bytes], kept: _Kept) -> bool:
    """Take what is there, at most 1 MiB at a time; False at end of file."""
    if child.stdout is None:
        return False
    for _ in range(16):
        try:
            data = os.read(child.stdout.fileno(), 65536)
        except BlockingIOError:
            return True
        if not data:
            return False
        kept.add(data)
    return True


def _take_back(path: Path, start: int, kept: _Kept) -> None:
    """What the program appended to ``path`` from ``start`` on."""
    with path.open("rb") as file:
        file.seek(start)
        left = 16 * OUTPUT_KEPT
        while left > 0 and (data := file.read(min(left, 65536))):
            kept.add(data)
            left -= len(data)


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """Kill what the program left running in its group; start_new_session made the group its own."""
    if child.returncode is None:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            child.poll()
        child.wait()
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            stream.close()
