"""A machine of the lab is a machine: it boots, its services run, its power can fail; and nothing of it is ever left."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import keeper
from tests.support.machines import Machine
from tests.support.testroot import TestRoot
from tests.support.wait import until

TOP = Path(__file__).parents[2]
Pair = tuple[Machine, Machine]


def test_two_boot_and_see_each_other(machines: Pair) -> None:
    for machine, other in (machines, machines[::-1]):
        assert machine.run("hostname").stdout == f"{machine.name}\n"
        other_address = {"one": "10.99.0.1", "two": "10.99.0.2"}[other.name]
        machine.run("ping", "-c", "1", "-W", "5", other_address)
    first, second = (machine.run("cat", "/etc/machine-id").stdout for machine in machines)
    assert first != second


def test_services_run_under_systemd(machines: Pair) -> None:
    machine, _ = machines
    machine.run("systemctl", "start", "nginx", "unbound", "nftables")
    assert machine.run("systemctl", "is-active", "nginx", "unbound").stdout == "active\nactive\n"
    assert "nginx" in machine.journal("-b", "-u", "nginx")
    machine.run("sysctl", "-w", "net.ipv4.ip_forward=1")


def test_the_power_fails_and_the_disk_stays(machines: Pair) -> None:
    machine, other = machines
    machine.put("/srv/kept", "kept")
    machine.run("sh", "-c", "echo gone > /run/gone; ip address add 10.99.0.100/24 dev eth0")
    other.run("ping", "-c", "1", "-W", "5", "10.99.0.100")
    machine.kill()
    assert not machine.running
    assert machine.get("/srv/kept") == "kept"
    assert other.run("ping", "-c", "1", "-W", "1", "10.99.0.100", check=False).returncode == 1
    machine.boot()
    assert machine.run("cat", "/srv/kept").stdout == "kept"
    assert machine.run("cat", "/run/gone", check=False).returncode == 1
    assert "10.99.0.100" not in machine.run("ip", "address").stdout


def test_shut_down_in_order(machines: Pair) -> None:
    machine, _ = machines
    stop = "[Unit]\nDescription=x\n[Service]\nExecStart=sleep 1d\nExecStop=touch /srv/stopped\n"
    machine.put("/etc/systemd/system/said.service", stop)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "said")
    machine.poweroff()
    assert not machine.running
    assert machine.get("/srv/stopped") == ""
    machine.boot()


def test_a_failed_unit_is_an_error_of_the_boot(machines: Pair) -> None:
    machine, _ = machines
    machine.poweroff()
    unit = "/etc/systemd/system/broken.service"
    machine.put(unit, "[Service]\nType=oneshot\nExecStart=false\n")
    machine.put("/etc/systemd/system/multi-user.target.d/broken.conf", "[Unit]\nWants=broken.service\n")
    with pytest.raises(AssertionError, match=r"one is degraded: .*broken[\s\S]*Failed to start broken"):
        machine.boot()
    machine.poweroff()
    machine.put(unit, "[Service]\nType=oneshot\nExecStart=true\n")
    machine.boot()


BOOT = """
from tests.support import netns
from tests.support.machines import Machine
from tests.support.testroot import ensure
with Machine("elsewhere", ensure(), netns.Lab()) as machine:
    machine.boot()
    machine.run("systemd-run", "--wait", "-p", "PrivateTmp=yes", "-p", "TemporaryFileSystem=/srv", "true")
    print(machine.run("stat", "-f", "-c", "%T", "/sys/fs/cgroup").stdout, end="")
    machine.poweroff()
"""


def boot_after(mounts: str, *words: str) -> str:
    """What BOOT says where a shell has prepared its surroundings: its ``$1`` and so on, then what is to be run."""
    enter = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "sh", "-euc"]
    argv = [*enter, mounts, "sh", *words, sys.executable, "-c", BOOT]
    done = subprocess.run(argv, cwd=TOP, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.usefixtures("bootable", "testroot")
def test_it_boots_where_cgroups_are_of_version_2_alone() -> None:
    mounts = 'mount -t proc proc /proc; mount --rbind "$1" /sys/fs/cgroup; shift; exec "$@"'
    assert boot_after(mounts, str(keeper.hierarchies()[-1])) == "cgroup2fs\n"


@pytest.mark.usefixtures("bootable", "testroot")
def test_it_boots_where_the_tests_run_in_a_chroot(tmp_path: Path) -> None:
    mounts = """
        top=$PWD
        mount --rbind / "$1"
        mount -t proc proc "$1/proc"
        cd "$1"
        shift
        exec chroot . sh -euc 'cd "$0"; exec "$@"' "$top" "$@"
    """
    assert boot_after(mounts, str(tmp_path)) in {"cgroup2fs\n", "tmpfs\n"}


LAB = """
import sys
from tests.support import netns
from tests.support.machines import Cable, Machine
from tests.support.testroot import ensure
spaces = netns.Lab()
machine = Machine(sys.argv[1], ensure(), spaces, {"eth0": Cable.to("br0", "10.99.0.1/24")})
machine.boot()
print(machine._keeper.pid, machine.pid, spaces.path("bridge"), flush=True)
sys.stdin.read()
"""
"""Boots a machine, says what to look for, and waits to be ended."""


def namespaces() -> set[str]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/ns/*"):
        try:
            found.add(os.readlink(path))
        except OSError:  # the process ended
            continue
    return found


def with_name(name: str) -> list[str]:
    """What there is of a machine: its cgroups, and the command lines of what runs it."""
    found = [str(path) for top in keeper.hierarchies() for path in top.glob(f"*-{name}")]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f" {name} " in f"{line} " or f"--machine={name} " in line:
            found.append(line)
    return found


@pytest.mark.parametrize(
    ("who", "number"),
    [("test", signal.SIGTERM), ("test", signal.SIGINT), ("test", signal.SIGKILL), ("keeper", signal.SIGKILL)],
)
@pytest.mark.usefixtures("bootable")
def test_nothing_is_left_however_it_ends(testroot: TestRoot, who: str, number: signal.Signals) -> None:
    name = f"x{secrets.token_hex(4)}"
    argv = [sys.executable, "-c", LAB, name]
    child = subprocess.Popen(argv, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        said = child.stdout.readline().split()
        keeping, leader = int(said[0]), int(said[1])
        made = {os.readlink(f"/proc/{pid}/ns/{kind}") for pid in (keeping, leader) for kind in ("mnt", "net", "pid")}
        made.add(os.readlink(said[2]))
        made -= {os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "net", "pid")}
        assert len(made) == 5
        assert with_name(name)
        os.kill({"test": child.pid, "keeper": keeping}[who], number)
        child.wait(10) if who == "test" else child.kill()
    if who == "keeper":
        until(lambda: not Path(f"/proc/{leader}").exists(), what="the machine's end")
        keeper.sweep()  # as the next one does
    until(lambda: not with_name(name), what=f"the end of all with the name {name}")
    until(lambda: not made & namespaces(), what="the end of its namespaces")
    assert str(testroot.home / "new") not in Path("/proc/self/mounts").read_text()
    assert not list((testroot.home / "new").iterdir())
