"""Machines for tests: Debian with its own systemd, booted by systemd-nspawn in half a second, unplugged in less.

Each has a disk of its own over the test root, a network namespace with cables to the bridges of a ``netns.Lab``, and a
cgroup. Nothing of it is in this machine's mount table; see keeper.py, which ends all with the process that made it.

    spaces = netns.Lab()
    spaces.bridge("lan")
    with Machine("fw1", ensure(), spaces, {"eth0": Cable.to("lan", "10.1.0.1/24")}) as fw1:
        fw1.boot()
        fw1.put("/etc/motd", "hello")
        print(fw1.run("systemctl", "start", "nginx").stdout, fw1.journal("-u", "nginx"))
        fw1.kill()          # the power fails
        fw1.boot()          # on the disk as it was
    spaces.close()

No daemon of Debian's is enabled: a test starts what it wants with ``systemctl``. What lies in /tmp and /run of a
machine goes when it is switched off. Programs of the test see its disk at ``disk``, whether it runs or not.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.support import keeper, netns
from tests.support.testroot import TestRoot
from tests.support.wait import until

BOOT_S = 60.0
"""Seconds until a machine must run: half a second of work, on a machine that other tests share."""
MASKED = ("conntrackd.service", "console-getty.service", "keepalived.service")
WANTS = ("multi-user", "sockets", "timers", "getty", "sysinit")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def why_not() -> str:
    """Why no machine can boot here; empty where one can."""
    if reason := netns.why_not():
        return reason
    tops = keeper.hierarchies()
    if not tops:
        return "no machine can boot here: neither cgroup version 2 nor a systemd hierarchy is mounted"
    for top in tops:
        if not os.access(top, os.W_OK) or os.statvfs(top).f_flag & os.ST_RDONLY:
            return f"no machine can boot here: {top} cannot be written"
    return ""


@dataclass(frozen=True, slots=True)
class Cable:
    """What one device is plugged into.

    Attributes:
        bridge: a bridge of the lab.
        addresses: the device's own, with the lengths of their prefixes.
    """

    bridge: str
    addresses: tuple[str, ...] = ()

    @staticmethod
    def to(bridge: str, *addresses: str) -> Cable:
        return Cable(bridge, addresses)


class MachineError(AssertionError):
    """A machine did not do what was asked of it; the message has its last words."""


class Machine:
    """One machine, switched off at first.

    Args:
        name: its host name; also that of its network namespace. With the name of a device, of at most 14 letters.
        root: what its disk lies over.
        spaces: the lab in which its cables end.
        cables: by device; the bridge's port is NAME-DEVICE.
        layers: folders that lie over the root, below its own disk.
    """

    def __init__(
        self,
        name: str,
        root: TestRoot,
        spaces: netns.Lab,
        cables: Mapping[str, Cable] | None = None,
        layers: Sequence[Path] = (),
    ) -> None:
        self.name = name
        self.spaces = spaces
        self.cables = dict(cables or {})
        self._leader = 0
        self._keeper = self._keep(root.home, layers)
        try:
            self.disk = Path(f"/proc/{self._keeper.pid}/root") / self._answer("ready").lstrip("/")
            self._furnish()
        except BaseException:
            self.close()
            raise

    def _keep(self, home: Path, layers: Sequence[Path]) -> subprocess.Popen[str]:
        apart = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--"]
        this = os.pidfd_open(os.getpid())
        try:
            words = map(str, (keeper.__file__, home, self.name, this, *layers))
            pipe = subprocess.PIPE
            return subprocess.Popen(
                [*apart, sys.executable, "-Es", *words],
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                text=True,
                pass_fds=[this],
                start_new_session=True,  # a Ctrl-C is for the test, which then switches the machine off
            )
        finally:
            os.close(this)

    def _furnish(self) -> None:
        """What is each machine's own, and no daemon that starts by itself."""
        etc = self.disk / "etc"
        (etc / "hostname").write_text(f"{self.name}\n")
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {self.name}\n")
        (etc / "machine-id").write_text(hashlib.md5(self.name.encode()).hexdigest() + "\n")
        # its file is of a package that this one only recommends, and there is no world to ask here
        (etc / "unbound/unbound.conf.d/root-auto-trust-anchor-file.conf").unlink(missing_ok=True)
        units = etc / "systemd/system"
        for target in WANTS:
            shutil.rmtree(units / f"{target}.target.wants", ignore_errors=True)
        for unit in MASKED:
            (units / unit).unlink(missing_ok=True)
            (units / unit).symlink_to("/dev/null")

    def _ask(self, line: str, deadline_s: float = 30) -> str:
        assert self._keeper.stdin is not None
        self._keeper.stdin.write(f"{line}\n")
        self._keeper.stdin.flush()
        return self._answer("", deadline_s)

    def _answer(self, word: str, deadline_s: float = 30) -> str:
        """The next line of the keeper, without its first word if that is given."""
        assert self._keeper.stdout is not None
        assert self._keeper.stderr is not None
        came, _, _ = select.select([self._keeper.stdout], [], [], deadline_s)
        line = self._keeper.stdout.readline() if came else ""
        if not line.endswith("\n"):
            self._keeper.kill()
            raise MachineError(f"the keeper of {self.name} said {line!r}: {self._keeper.stderr.read()}")
        return line.strip().removeprefix(word).strip()

    @property
    def running(self) -> bool:
        """Whether it is switched on."""
        return self._leader != 0 and self._command(self._leader) != ""

    @staticmethod
    def _command(pid: int) -> str:
        try:
            return Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:  # it ended
            return ""

    @property
    def pid(self) -> int:
        """Its process 1, as this machine numbers it."""
        return self._leader

    def boot(self, *, degraded: bool = False) -> None:
        """Switch it on, and wait until systemd says that everything has started.

        Args:
            degraded: units may have failed.

        Raises:
            MachineError: it does not boot, or a unit failed.
        """
        assert not self.running, f"{self.name} is running"
        self._connect()
        cgroup = Path(self._ask(f"boot {self.spaces.path(self.name)}").removeprefix("started "))
        try:
            self._leader = until(lambda: self._find_leader(cgroup), BOOT_S, f"process 1 of {self.name}")
            state = until(self._state, BOOT_S, f"systemd of {self.name}")
        except AssertionError as error:
            console = self.console()
            self.kill()
            raise MachineError(f"{self.name} does not boot: {error}\n{console}") from error
        if state != "running" and not degraded:
            failed = self.run("systemctl", "--failed", "--no-legend", check=False).stdout
            raise MachineError(f"{self.name} is {state}: {failed}\n{self.journal('-b', '-p', 'warning')}")

    def _connect(self) -> None:
        """A new network, as after any switching on: what was set in the old one is gone."""
        self._disconnect()
        self.spaces.add(self.name)
        for device, cable in self.cables.items():
            self.spaces.plug(self.name, device, self.port(device), cable.bridge)
            for address in cable.addresses:
                self.spaces.address(self.name, device, address)

    def _disconnect(self) -> None:
        if self.name in self.spaces:
            self.spaces.drop(self.name)

    def port(self, device: str) -> str:
        """The port of the bridge at the other end of a device's cable."""
        return f"{self.name}-{device}"

    def _find_leader(self, cgroup: Path) -> int:
        if self._ask("wait 0") == "down":
            raise AssertionError("systemd-nspawn ended")
        try:
            pids = (cgroup / "payload/init.scope/cgroup.procs").read_text().split()
        except FileNotFoundError:
            return 0
        return next((int(pid) for pid in pids if self._command(int(pid)) == "systemd"), 0)

    def _state(self) -> str:
        """What systemd calls its own state, once it is none of those that pass; empty before."""
        if not self.running:
            raise AssertionError("process 1 ended")
        said = self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip()
        return said if said in {"running", "degraded", "maintenance"} else ""

    def argv(self, *argv: str | Path) -> list[str]:
        """The command that runs ``argv`` in it while it is on; it can stand wherever an argv can."""
        environment = ["env", "-i", f"PATH={PATH}", "HOME=/root", "LANG=C.UTF-8", "USER=root"]
        enter = ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "-C", "--"]
        return [*enter, *environment, *map(str, argv)]

    def run(
        self, *argv: str | Path, input: str | None = None, check: bool = True, deadline_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in it as root, to its end.

        Raises:
            MachineError: it failed though ``check``; with all that it said.
        """
        done = subprocess.run(
            self.argv(*argv),
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=deadline_s,
            check=False,
        )
        if check and done.returncode:
            said = f"{done.stdout}{done.stderr}"
            raise MachineError(f"{self.name}: {' '.join(map(str, argv))} ended with {done.returncode}:\n{said}")
        return done

    def put(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Write a file of it, whether it runs or not; folders above it are made."""
        place = self.disk / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
        place.chmod(mode)

    def get(self, path: str) -> str:
        """Read a file of it, whether it runs or not."""
        return (self.disk / path.lstrip("/")).read_text()

    def journal(self, *options: str) -> str:
        """What ``journalctl`` says with these options."""
        return self.run("journalctl", "--no-pager", "-o", "short-monotonic", *options, check=False).stdout

    def console(self) -> str:
        """What it wrote on its console, over all its boots."""
        return (self.disk.parents[1] / "console").read_text(errors="replace")

    def poweroff(self, deadline_s: float = BOOT_S) -> None:
        """Shut it down in order, and wait until it is off.

        Raises:
            MachineError: it is still running after the deadline.
        """
        self.run("systemctl", "poweroff", check=False)
        if self._ask(f"wait {deadline_s}", deadline_s + 30) != "down":
            raise MachineError(f"{self.name} is still running {deadline_s:g} s after poweroff:\n{self.console()}")
        self._off()

    def kill(self) -> None:
        """Cut its power: its cables are dead from this moment, and so is every process; its disk stays."""
        if self.name in self.spaces:
            for device in self.cables:
                self.spaces.switch(netns.Lab.BRIDGE, self.port(device), up=False)
        self._ask("kill")
        self._off()

    def _off(self) -> None:
        self._leader = 0
        self._disconnect()

    def close(self) -> None:
        """Cut its power and throw its disk away."""
        assert self._keeper.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._keeper.stdin.close()
        try:
            self._keeper.wait(BOOT_S)
        finally:
            self._keeper.kill()
            self._keeper.wait()
            for pipe in (self._keeper.stdout, self._keeper.stderr):
                assert pipe is not None
                pipe.close()
        self._off()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
