"""What is left of root's rights, as the kernel shows it, and that it is enough for all that the agent does."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.support.netns import Lab, needs_lab

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="there is nothing to give up without root")

NET = "0000000000003000"
NOTHING = "0000000000000000"

SHOW = """
import json, subprocess, sys
from pathlib import Path
from syncsrv.failover import capabilities

SHOWN = ("Uid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")

def status():
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: lines[name].strip() for name in SHOWN}

def below():
    code = "import json; print(json.dumps([line.split() for line in open('/proc/self/status')]))"
    lines = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    return {line[0].rstrip(":"): line[1] for line in lines if line[0].rstrip(":") in SHOWN}

"""


def shown(code: str, *before: str) -> list[dict[str, str]]:
    argv = [*before, sys.executable, "-c", SHOW + code]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


def test_the_agent_keeps_two_rights_for_good() -> None:
    own, below = shown("assert capabilities.give_up_as_agent() == ()\nprint(json.dumps([status(), below()]))")
    assert own["Uid"].split() == ["0"] * 4
    assert (own["CapEff"], own["CapPrm"], own["CapBnd"]) == (NET, NET, NET)
    assert (own["CapInh"], own["CapAmb"], own["NoNewPrivs"]) == (NOTHING, NOTHING, "1")
    assert (below["CapEff"], below["CapBnd"], below["NoNewPrivs"]) == (NET, NET, "1")


def test_the_keeper_of_conntrackd_and_all_below_it_keep_one() -> None:
    own, below = shown("assert capabilities.give_up_as_keeper() == ()\nprint(json.dumps([status(), below()]))")
    only = "0000000000001000"
    assert (own["CapEff"], own["CapPrm"], own["CapBnd"], own["NoNewPrivs"]) == (only, only, only, "1")
    assert (below["CapEff"], below["CapBnd"]) == (only, only)


def test_the_guardian_gives_up_its_own_and_an_agent_begins_with_all() -> None:
    before, own, below = shown(
        "first = status()\n"
        "assert capabilities.give_up_as_guardian() == ()\n"
        "print(json.dumps([first, status(), below()]))"
    )
    assert (own["CapEff"], own["CapPrm"], own["CapInh"], own["CapAmb"]) == (NET, NET, NOTHING, NOTHING)
    assert own["CapBnd"] == before["CapBnd"]
    assert own["NoNewPrivs"] == "0"
    assert below["CapEff"] == before["CapEff"] == before["CapBnd"]


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv of util-linux")
def test_what_was_missing_before_is_named() -> None:
    code = "print(json.dumps([{name: 'missing' for name in capabilities.give_up_as_agent()}, status()]))"
    missing, own = shown(code, "setpriv", "--bounding-set=-net_raw")
    assert missing == {"CAP_NET_RAW": "missing"}
    assert own["CapEff"] == "0000000000001000"
    missing, own = shown(code, "setpriv", "--reuid=65534", "--clear-groups", "--regid=65534")
    assert sorted(missing) == ["CAP_NET_ADMIN", "CAP_NET_RAW"]
    assert (own["CapEff"], own["NoNewPrivs"]) == (NOTHING, "1")


@needs_lab
def test_they_are_enough_for_everything() -> None:
    """Also for what is opened anew later: sockets of a device that was made again, the listeners of a probe."""
    code = """
from ipaddress import ip_interface
from syncsrv.failover import capabilities
from syncsrv.failover.addresses import KernelAddresses
from syncsrv.failover.announce import KernelAnnouncer
from syncsrv.failover.rawsock import RawWire

capabilities.give_up_as_agent()
addresses = KernelAddresses()
announcer = KernelAnnouncer(addresses.links)
wire = RawWire("eth0")
vips = [ip_interface("192.0.2.10/24"), ip_interface("2001:db8::10/64")]
addresses.hold("eth0", vips, 30)
for one in range(2):
    wire.send(b"x" * 36, addresses.sources("eth0", vips), ())
    wire.close()
    wire.reopen()
announcer.announce("eth0", vips)
announcer.probe("eth0", vips)
addresses.release("eth0", vips)
far = [ip_interface("198.51.100.1/24"), ip_interface("198.51.100.2/24")]
addresses.hold("eth0", far, 30)
addresses.release("eth0", far[:1])  # the first of its prefix: a setting of the device is changed for a moment
print(wire.faults, sorted(map(str, addresses.held("eth0"))))
"""
    with contextlib.closing(Lab("a")) as lab:
        lab.address("a", "eth0", "2001:db8::1/64")
        lab.address("a", "eth0", "192.0.2.1/24")
        assert lab.python("a", code) == "{} ['198.51.100.2/24']\n"
