"""Real daemons and real clients for tests, without installing or starting anything on the machine.

A Debian root with them is made once by debootstrap and kept in the user's cache. A program of it runs with chroot in a
mount namespace of its own: it sees the folders that the test names at their own absolute paths, and what it writes
elsewhere is thrown away.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

PACKAGES = (
    *("git", "nftables", "nginx-light", "openssh-client", "openssh-server", "rsync", "unbound"),
    *("iproute2", "iputils-arping", "keepalived", "libfaketime", "tcpdump", "ucarp"),
    *("conntrack", "conntrackd", "dbus", "iputils-ping", "kmod", "procps", "python3"),
    *("systemd", "systemd-container", "systemd-sysv"),
)
SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
MAKE_S = 900
"""Seconds that debootstrap may take: a minute where the mirror is near."""

_ENTER = Path(__file__).parent / "bin" / "in-testroot"


class TestRootError(Exception):
    """The root could not be made; the message says why."""

    __test__: ClassVar = False


@dataclass(frozen=True, slots=True)
class TestRoot:
    """A made root.

    Attributes:
        home: the folder in the cache that holds it.
    """

    __test__: ClassVar = False

    home: Path

    @property
    def path(self) -> Path:
        """The root itself, to look into; never written to."""
        return self.home / "root"

    def argv(self, *argv: str | Path, binds: Sequence[Path] = ()) -> list[str]:
        """The command that runs ``argv`` in the root; it can stand wherever an argv can, in a cluster.yaml too.

        Args:
            argv: a program of the root and its arguments.
            binds: folders of this machine that it sees at the same absolute paths.
        """
        bound = [word for folder in binds for word in ("-b", str(folder))]
        return [str(_ENTER), str(self.home), *bound, "--", *map(str, argv)]

    def outside(self, program: str, *arguments: str | Path) -> list[str]:
        """The command that runs a program of the root outside it, by its own loader and with its own libraries.

        For what must see this machine's files where they are, with fewer rights than ``argv`` needs.
        """
        root = self.path
        loader = next((root / "lib64").glob("ld-linux-*.so.*"), None) or next((root / "lib").glob("ld-linux-*.so.*"))
        libraries = [root / folder / f"{platform.machine()}-linux-gnu" for folder in ("lib", "usr/lib")]
        words = [loader, "--library-path", ":".join(map(str, libraries)), root / program, *arguments]
        return [str(word) for word in words]

    def run(
        self, *argv: str | Path, binds: Sequence[Path] = (), deadline_s: float = 60, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the root to its end; ``stdout`` has both its streams.

        Raises:
            AssertionError: it failed though ``check``; with all that it said.
        """
        done = subprocess.run(
            self.argv(*argv, binds=binds),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=deadline_s,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{argv[0]} ended with {done.returncode}:\n{done.stdout}")
        return done

    def popen(self, *argv: str | Path, binds: Sequence[Path] = (), log: Path) -> subprocess.Popen[bytes]:
        """Start a program of the root that stays, in the foreground and in a session of its own.

        The process is the program itself: its number can be signalled, and ``stop`` ends what it started.

        Args:
            argv: the program, told to stay in the foreground.
            binds: as in ``argv``.
            log: file for both its streams.
        """
        with log.open("ab") as stream:
            return subprocess.Popen(
                self.argv(*argv, binds=binds),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def stop(process: subprocess.Popen[bytes], deadline_s: float = 10) -> int:
    """Ask a program started by ``popen`` to end, then end it and all that it started; its exit status."""
    process.terminate()
    try:
        process.wait(deadline_s)
    except subprocess.TimeoutExpired:
        process.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def home_of(packages: Sequence[str] = PACKAGES, suite: str = SUITE) -> Path:
    """Where the root with these packages is kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "syncsrv"
    name = hashlib.sha256(" ".join([suite, *sorted(packages)]).encode()).hexdigest()[:12]
    return cache / f"testroot-{name}"


def ensure(packages: Sequence[str] = PACKAGES, suite: str = SUITE, mirror: str = MIRROR) -> TestRoot:
    """The root with these packages, made if it is not there.

    Two that ask at once wait for each other; what stands in the cache is always complete.

    Raises:
        TestRootError: it cannot be made here.
    """
    home = home_of(packages, suite)
    if home.exists():
        return TestRoot(home)
    if os.geteuid() != 0:
        raise TestRootError("needs root: debootstrap makes a Debian root with real daemons")
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / "testroot.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            _make(home, packages, suite, mirror)
    return TestRoot(home)


def _make(home: Path, packages: Sequence[str], suite: str, mirror: str) -> None:
    if shutil.which("debootstrap") is None:
        _call("apt-get", "update", "-qq")
        _call("apt-get", "install", "-qq", "--yes", "--no-install-recommends", "debootstrap")
    making = Path(tempfile.mkdtemp(prefix="making-", dir=home.parent))
    try:
        making.chmod(0o755)  # daemons that drop their rights walk through it
        (making / "new").mkdir()
        root = making / "root"
        # what debootstrap mounts goes with its namespace
        _call("unshare", "--mount", "debootstrap", "--variant=minbase", suite, str(root), mirror)
        # apt puts packages into an order that debootstrap does not find for all; nothing may be started there
        policy = root / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        install = "apt-get install -qq --yes --no-install-recommends"
        _call(
            *("unshare", "--mount", "--propagation", "private", "sh", "-euc"),
            f'mount --rbind /proc "$0/proc"; mount --rbind /dev "$0/dev"; exec chroot "$0" {install} "$@"',
            *(str(root), *packages),
        )
        shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
        making.rename(home)
    except BaseException:
        shutil.rmtree(making)
        raise


def _call(*argv: str) -> None:
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=MAKE_S,
            check=False,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TestRootError(f"cannot make the test root: {error}") from error
    if done.returncode:
        last = "\n".join(done.stdout.splitlines()[-15:])
        raise TestRootError(f"cannot make the test root: {' '.join(argv[:4])} ended with {done.returncode}:\n{last}")
