"""Keeps one machine of the lab: its disk, its cgroup and systemd-nspawn; a program of its own that outlives a test.

    unshare --mount --propagation private --pid --fork --kill-child -- python keeper.py HOME NAME PARENT [LAYER]...

HOME is that of a test root, each LAYER a folder that lies over it, PARENT the number of an open pidfd. The disk is an
overlay whose upper side is in memory. All that is mounted is in the mount namespace of this process and all that runs
below it is in its process namespace, whose first process it is: when it ends, however it ends, no process, no mount and
no folder is left. It ends with PARENT, and with its standard input. A cgroup cannot end with a process: this one
removes its own, and those of keepers that were killed.

Standard input, a line each; the answer is a line too:

    boot NETWORK-NAMESPACE   ->  started CGROUP          the machine's process 1 is in its payload/init.scope
    wait SECONDS             ->  down | still running    until it has ended by itself
    kill                     ->  down                    every process at once
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
PREFIX = "syncsrv-lab-"
CAPABILITIES = "CAP_IPC_LOCK,CAP_NET_ADMIN"
"""That a machine has beside those that nspawn gives: what real-time programs and the owner of a network need."""
DEADLINE_S = 10.0

START = """
inside=$1
shift
for cgroup do
    shift
    [ "$cgroup" != -- ] || break
    echo $$ >"$cgroup/cgroup.procs"
done
cd "$1"
shift
exec unshare --mount --propagation private -- sh -euc '
    exec 3<.
    exec nsenter --mount=/proc/self/ns/mnt -- sh -euc "$0" sh "$@"' "$inside" "$@"
"""
INSIDE = """
cd /proc/self/fd/3
exec 3<&-
pivot_root . .
umount -l .
exec "$@"
"""
"""Join the cgroups, go into the root, and become the program there.

What nspawn moves to its root must be the root of the machine's mount namespace: hence pivot_root instead of chroot, and
hence nsenter, which leads out of the chroot that the tests themselves may run in.
"""


def hierarchies() -> list[Path]:
    """Where systemd keeps its cgroups: on the one of version 2, or beside it on the named one of version 1."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    found = [CGROUPS / "systemd", CGROUPS / "unified"]
    return [one for one in found if (one / "cgroup.procs").exists()]


def below(cgroup: Path) -> list[Path]:
    """A cgroup and all in it, the innermost first; those that vanish meanwhile are left out."""
    return [Path(path) for path, _, _ in os.walk(cgroup, topdown=False)]


def remove(cgroup: Path) -> None:
    """Remove a cgroup in which everything has been killed."""
    ends_at = time.monotonic() + DEADLINE_S
    while cgroup.exists() and time.monotonic() < ends_at:
        for path in below(cgroup):
            with contextlib.suppress(OSError):  # a process in it has not quite ended yet
                path.rmdir()
        select.select([], [], [], 0.005)


def sweep() -> None:
    """Remove what killed keepers have left: a living one holds the lock of its cgroups."""
    for cgroup in [one for top in hierarchies() for one in top.glob(f"{PREFIX}*/")]:
        with contextlib.suppress(OSError):  # held, or gone meanwhile
            handle = os.open(cgroup, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(cgroup)
            finally:
                os.close(handle)


class Keeper:
    """One machine, from its first boot to its end."""

    def __init__(self, home: Path, name: str, layers: Sequence[Path]) -> None:
        self._host = home / "new/host"
        self._network = self._host / "run/network"
        self._name = name
        own = f"{PREFIX}{secrets.token_hex(4)}-{name}"  # nspawn wants the same name in all hierarchies
        self._cgroups = [top / own for top in hierarchies()]
        self._locks: list[int] = []
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._assemble(home, layers)

    def _assemble(self, home: Path, layers: Sequence[Path]) -> None:
        """The disk at host/mnt, in a root from which nspawn can run: Debian's, though this machine may be another."""
        new, host = home / "new", self._host
        _mount("-t", "tmpfs", "-o", "mode=0755", "lab", str(new))
        self._overlay([home / "root"], host)
        _mount("-t", "proc", "proc", str(host / "proc"))
        for folder in ("sys", "dev"):
            _mount("--rbind", f"/{folder}", str(host / folder))
        for folder in ("run", "tmp"):
            _mount("-t", "tmpfs", "-o", "mode=0755", "lab", str(host / folder))
        self._network.touch()
        self._overlay([*reversed(layers), home / "root"], host / "mnt")

    def _overlay(self, lower: Sequence[Path], place: Path) -> None:
        upper, work = (self._host.parent / f"{place.name}-{side}" for side in ("upper", "work"))
        for folder in (upper, work, place):
            folder.mkdir(exist_ok=True)
        options = f"lowerdir={':'.join(map(str, lower))},upperdir={upper},workdir={work}"
        _mount("-t", "overlay", "-o", options, "lab", str(place))

    @property
    def disk(self) -> Path:
        return self._host / "mnt"

    def boot(self, network: str) -> Path:
        """Switch it on; its cgroup in the hierarchy of version 2."""
        self.kill()
        self._lock_cgroups()
        _mount("--bind", network, str(self._network))
        argv = ["systemd-nspawn", "--quiet", "--directory=/mnt", "--boot", "--register=no", "--keep-unit"]
        argv += [f"--machine={self._name}", "--network-namespace-path=/run/network", f"--capability={CAPABILITIES}"]
        argv += ["--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe"]
        # the network is the machine's own: sysctls below net too
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"}
        started = ["sh", "-euc", START, "sh", INSIDE, *map(str, self._cgroups), "--", str(self._host), *argv]
        console = (self._host.parent / "console").open("ab")
        with console:
            self._nspawn = subprocess.Popen(
                started,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        return self._cgroups[-1]

    def _lock_cgroups(self) -> None:
        """Make and lock them; a keeper that sweeps between the two may have taken one away."""
        for cgroup in self._cgroups:
            while True:
                cgroup.mkdir(exist_ok=True)
                with contextlib.suppress(FileNotFoundError):
                    handle = os.open(cgroup, os.O_RDONLY | os.O_CLOEXEC)
                    fcntl.flock(handle, fcntl.LOCK_EX)
                    if cgroup.exists():
                        self._locks.append(handle)
                        break
                    os.close(handle)

    def ended(self, seconds: float, parent: int) -> bool:
        """Wait until the machine has ended by itself, and clear up after it."""
        if self._nspawn is not None:
            handle = os.pidfd_open(self._nspawn.pid)
            try:
                if handle not in select.select([handle, parent], [], [], seconds)[0]:
                    return False
            finally:
                os.close(handle)
        self.kill()
        return True

    def kill(self) -> None:
        """End every process of the machine at once."""
        if self._nspawn is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)  # all of this process namespace but this, the first one
            self._nspawn.wait()
            self._nspawn = None
            with contextlib.suppress(ChildProcessError):
                while True:
                    os.waitpid(-1, 0)
            _call("umount", "--lazy", str(self._network))
        for cgroup in self._cgroups:
            remove(cgroup)
        while self._locks:
            os.close(self._locks.pop())


def _call(*argv: str) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(argv)}: {done.stderr.strip()}")


def _mount(*words: str) -> None:
    _call("mount", *words)


def serve(keeper: Keeper, parent: int) -> None:
    """Answer until the parent or its words end."""
    buffer = b""
    while True:
        ready, _, _ = select.select([0, parent], [], [])
        if parent in ready:
            return
        got = os.read(0, 65536)
        if not got:
            return
        *lines, buffer = (buffer + got).split(b"\n")
        for line in lines:
            word, _, rest = line.decode().partition(" ")
            if word == "boot":
                print("started", keeper.boot(rest), flush=True)
            elif word == "wait":
                print("down" if keeper.ended(float(rest), parent) else "still running", flush=True)
            else:
                keeper.kill()
                print("down", flush=True)


def main(home: str, name: str, parent: str, *layers: str) -> None:
    sweep()
    keeper = Keeper(Path(home), name, [Path(layer) for layer in layers])
    try:
        print("ready", keeper.disk, flush=True)
        serve(keeper, int(parent))
    finally:
        keeper.kill()


if __name__ == "__main__":
    main(*sys.argv[1:])
