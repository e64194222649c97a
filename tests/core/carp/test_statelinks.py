"""Which addresses conntrackd of a node works with: chosen from what is configured and what the kernel has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest

from syncsrv.config.load import Configuration, load
from syncsrv.control.shapes_statesync import StateSyncInfo
from syncsrv.core.carp.statelinks import Addresses, Choice, StateLinks, chosen, kernel_addresses
from syncsrv.failover import settings as files
from syncsrv.failover.addresses import KernelAddresses
from syncsrv.failover.settings import StateLink, StateSync
from tests.core.carp.carpkit import VIPS, one_node, running
from tests.support.netns import Lab, needs_lab

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
UNICAST = "unicast: {fw1: 10.3.0.1, fw2: 10.3.0.2}"
LAN, SYNC, SPARE = "192.0.2.1", "10.3.0.1", "10.4.0.1"


def configured(directory: Path, state_sync: str, vips: str = VIPS) -> Configuration:
    """fw1 with lan, wan, sync and a spare link."""
    (directory / "node.yaml").write_text(
        "node: fw1\nrole: master\ninterfaces: {lan: eth0, wan: eth1, sync: eth2, spare: eth3}\n"
        f"peers: {{fw2: {{address: '10.3.0.2:8022', key: '{KEY}'}}}}\n"
    )
    (directory / "secrets.yaml").write_text("carp_lan: x\n")
    (directory / "secrets.yaml").chmod(0o600)
    (directory / "cluster.yaml").write_text(f"cluster: edge\n{vips}state_sync: {{{state_sync}}}\n")
    return load(directory)


def addresses(**devices: str) -> Addresses:
    return {device: tuple(ip_address(one) for one in written.split()) for device, written in devices.items()}


ALL = addresses(eth0=f"{LAN} 192.0.2.10 2001:db8::1", eth1="198.51.100.1", eth2=f"{SYNC} 10.3.0.7", eth3=SPARE)


def state_sync(choice: Choice) -> StateSync:
    assert choice.state_sync is not None, choice.reason
    return choice.state_sync


def test_multicast_goes_from_the_first_address_of_each_device(tmp_path: Path) -> None:
    config = configured(tmp_path, "engine: conntrackd, interface: [sync, spare], port: 4000, timeout: 5s")
    assert chosen(config, ALL, None) == Choice(
        StateSync(
            engine="conntrackd",
            links=(StateLink("eth2", SYNC, ""), StateLink("eth3", SPARE, "")),
            group="225.0.0.50",
            port=4000,
            ignore=(
                *("127.0.0.1", "::1", SYNC, "10.3.0.7", SPARE, LAN, "192.0.2.10"),
                *("198.51.100.1", "198.51.100.10", "2001:db8::1", "2001:db8::10"),
            ),
            timeout_s=5.0,
        )
    )


def test_unicast_has_both_ends(tmp_path: Path) -> None:
    config = configured(tmp_path, f"engine: conntrackd, interface: sync, {UNICAST}")
    assert state_sync(chosen(config, ALL, None)).links == (StateLink("eth2", SYNC, "10.3.0.2"),)


@pytest.mark.parametrize(("written", "vips"), [("engine: none", VIPS), ("engine: conntrackd, interface: sync", "")])
def test_there_is_none_where_none_is_wanted_or_nothing_fails_over(tmp_path: Path, written: str, vips: str) -> None:
    assert chosen(configured(tmp_path, written, vips), ALL, None) == Choice()


@pytest.mark.parametrize(
    ("more", "eth2", "reason"),
    [
        ("", "", "sync (eth2) has no IPv4 address of its own"),
        ("", "fd03::1", "sync (eth2) has no IPv4 address of its own; it has fd03::1"),
        ("", "192.0.2.10", "sync (eth2) has no IPv4 address of its own"),
        (UNICAST, "", "sync (eth2) has no 10.3.0.1"),
        (UNICAST, "10.3.0.9", "sync (eth2) has no 10.3.0.1; it has 10.3.0.9"),
    ],
)
def test_an_address_is_never_guessed(tmp_path: Path, more: str, eth2: str, reason: str) -> None:
    config = configured(tmp_path, f"engine: conntrackd, interface: sync, {more}")
    choice = chosen(config, {**ALL, **addresses(eth2=eth2)}, None)
    assert (choice.state_sync, choice.reason) == (None, reason)
    assert "give eth2 that address" in choice.remedy


@pytest.mark.parametrize("more", ["", UNICAST])
def test_what_was_chosen_stays_while_it_is_there_or_nothing_is(tmp_path: Path, more: str) -> None:
    config = configured(tmp_path, f"engine: conntrackd, interface: sync, {more}")
    first = state_sync(chosen(config, ALL, None))
    assert state_sync(chosen(config, {**ALL, **addresses(eth2="")}, first)) == first, "it may come back"
    assert state_sync(chosen(config, {}, first)) == first
    turned = {**ALL, **addresses(eth2=f"10.3.0.7 {SYNC}")}
    assert state_sync(chosen(config, turned, first)) == first, "the order of the kernel is no reason"


def test_another_address_is_taken_once_the_first_is_replaced(tmp_path: Path) -> None:
    config = configured(tmp_path, "engine: conntrackd, interface: sync")
    first = state_sync(chosen(config, ALL, None))
    moved = state_sync(chosen(config, {**ALL, **addresses(eth2="10.3.0.8")}, first))
    assert moved.links == (StateLink("eth2", "10.3.0.8", ""),)
    assert SYNC not in moved.ignore


def test_a_device_that_never_has_an_address_keeps_no_old_ones_alive(tmp_path: Path) -> None:
    config = configured(tmp_path, "engine: conntrackd, interface: sync")
    first = state_sync(chosen(config, {**ALL, "eth3": ()}, None))
    moved = state_sync(chosen(config, {**ALL, **addresses(eth2="10.3.0.8"), "eth3": ()}, first))
    assert SYNC not in moved.ignore


def test_a_kernel_that_refuses_changes_nothing(tmp_path: Path) -> None:
    config = configured(tmp_path, "engine: conntrackd, interface: sync")
    answers: list[Addresses | OSError] = [ALL, OSError(12, "no memory"), {**ALL, "eth2": ()}, {**ALL, "eth0": ()}]

    def read(devices: Iterable[str]) -> Addresses:
        assert list(devices) == ["eth0", "eth1", "eth2", "eth3"]
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    links = StateLinks(lambda: config, None, read)
    first = links.now()
    assert [links.now() for _ in range(3)] == [first] * 3
    assert not answers


# -- in core, on real devices


@pytest.fixture
def lab() -> Iterator[Lab]:
    found = Lab("a")
    with contextlib.closing(found), found.entered("a"):
        yield found


@needs_lab
def test_the_kernel_is_asked(lab: Lab) -> None:
    for text in ("10.3.0.7/24", "10.3.0.1/24", "fd03::1/64"):
        lab.address("a", "eth0", text)
    with contextlib.closing(KernelAddresses()) as ours:
        ours.hold("eth0", [ip_interface("10.3.0.99/24")], 30)
        found = kernel_addresses(["eth0", "eth9"])
    assert {device: sorted(map(str, ips)) for device, ips in found.items()} == {
        "eth0": ["10.3.0.1", "10.3.0.7", "fd03::1"],
        "eth9": [],
    }, "nothing link-local, and nothing that the carp process put there"
    assert str(next(ip for ip in found["eth0"] if ip.version == 4)) == "10.3.0.7", "that the kernel would send from"


@needs_lab
def test_the_file_for_the_carp_process_follows_the_devices_and_nothing_else(short_tmp: Path, lab: Lab) -> None:
    with (
        one_node(short_tmp, f"{VIPS}state_sync: {{engine: conntrackd, interface: lan}}\n") as node,
        running(node) as fake,
    ):
        carp = node.core.carp
        assert carp.settings.state_sync is None
        state = carp.state_sync()
        assert isinstance(state, StateSyncInfo)
        assert (state.word, state.reason) == ("off", "lan (eth0) has no IPv4 address of its own")
        lab.address("a", "eth0", "192.0.2.1/24")
        carp.follow_devices()
        written = files.load(node.state)
        assert written == carp.settings
        assert written is not None
        assert written.state_sync is not None
        assert written.state_sync.links == (StateLink("eth0", "192.0.2.1", ""),)
        assert fake.applied[-1].settings == written
        given, before = len(fake.applied), (node.state / files.FILE).stat()
        lab.address("a", "eth0", "192.0.2.10/24")
        for _ in range(3):
            carp.follow_devices()
        lab.address("a", "eth0", "192.0.2.1/24", remove=True)
        carp.follow_devices()
        assert (len(fake.applied), (node.state / files.FILE).stat()) == (given, before)


@needs_lab
def test_a_core_that_is_started_before_its_network_goes_on_with_what_was_chosen(short_tmp: Path, lab: Lab) -> None:
    lab.address("a", "eth0", "192.0.2.1/24")
    with one_node(short_tmp, f"{VIPS}state_sync: {{engine: conntrackd, interface: lan}}\n") as node:
        node.core.carp.start()
        before = node.core.carp.settings
        node.close()
        lab.address("a", "eth0", "192.0.2.1/24", remove=True)
        node.open()
        assert node.core.carp.settings == before
