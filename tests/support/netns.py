"""Network namespaces without a name outside: held open by this process, gone with it and with what runs in them.

`ip`, `bridge` and `nft` are this machine's, and the test root's where it has none. In a namespace entered this way
/sys/class/net shows the machine's own devices: whoever wants to know about links asks by netlink.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.support.testroot import TestRootError, ensure

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
SBIN = "/usr/sbin:/sbin"
QUIET = {"accept_dad": "0", "router_solicitations": "0"}
"""IPv6 addresses can be used at once, and nothing is sent that a test did not ask for."""

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Namespace:
    """One.

    Attributes:
        handle: descriptor that keeps it.
        path: names it to other programs, while this process lives.
    """

    handle: int
    path: str

    def argv(self, *argv: str | Path) -> list[str]:
        """The command that runs ``argv`` in it; the process is the program itself."""
        return ["nsenter", f"--net={self.path}", "--", *map(str, argv)]

    def run(self, program: str, *arguments: str | Path, check: bool = True) -> str:
        """Run a program in it to its end; what it printed.

        Raises:
            AssertionError: it failed though ``check``; with all that it said.
        """
        done = subprocess.run(
            self.argv(*command(program), *arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=30, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"{program} {arguments} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def ip(self, words: str) -> str:
        """``ip`` with these words."""
        return self.run("ip", *words.split())

    def json(self, words: str) -> Any:
        """What ``ip`` with these words says, as data."""
        return json.loads(self.run("ip", "-json", *words.split()) or "[]")

    def call(self, function: Callable[[], T]) -> T:
        """What a function returns that runs in it: a socket made there stays there, wherever it is used."""
        return _in_thread(function, lambda: _libc.setns(self.handle, CLONE_NEWNET))

    def pids(self) -> list[int]:
        """The processes in it."""
        wanted = os.fstat(self.handle).st_ino
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    inode = (entry / "ns/net").stat().st_ino
                except OSError:
                    continue  # it ended meanwhile
                if inode == wanted:
                    found.append(int(entry.name))
        return found


@contextmanager
def namespace() -> Iterator[Namespace]:
    """A new one, with lo up; skips the test where it is not allowed."""
    try:
        handle = _in_thread(
            lambda: os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC),
            lambda: _libc.unshare(CLONE_NEWNET),
        )
    except PermissionError:
        pytest.skip("needs root: network namespaces")
    try:
        made = Namespace(handle, f"/proc/{os.getpid()}/fd/{handle}")
        made.call(_be_quiet)
        made.ip("link set lo up")
        yield made
    finally:
        os.close(handle)


def veth(one: Namespace, name: str, other: Namespace, peer: str) -> None:
    """A cable between two, both ends down."""
    one.ip(f"link add {name} type veth peer name {peer} netns {other.path}")


def bridge(where: Namespace, name: str = "br0") -> None:
    """A switch that forwards from its first moment, and multicast to all."""
    where.ip(f"link add {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0")
    where.ip(f"link set {name} up")


def command(program: str) -> list[str]:
    """How a program of iproute2 or nftables is run here."""
    found = shutil.which(program) or shutil.which(program, path=SBIN)
    if found is not None:
        return [found]
    try:
        return ensure().outside(f"usr/sbin/{program}" if program == "nft" else f"sbin/{program}")
    except TestRootError as error:
        pytest.skip(str(error))


def _be_quiet() -> None:
    for one in ("all", "default"):
        for name, value in QUIET.items():
            Path(f"/proc/sys/net/ipv6/conf/{one}/{name}").write_text(value)


def _in_thread(function: Callable[[], T], enter: Callable[[], int]) -> T:
    """In a thread of its own, since a namespace is a thread's, and this one must not leave the machine's."""
    results: list[T] = []
    errors: list[OSError] = []

    def work() -> None:
        try:
            if enter():
                raise OSError(ctypes.get_errno(), "cannot enter a network namespace")
            results.append(function())
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
