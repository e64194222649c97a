"""What is said of ``state_sync``, and what must not be."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncsrv.config.load import load
from syncsrv.config.problem import ConfigurationError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA"
INTERFACES = "interfaces: {lan: eth0, sync: eth2, sync2: eth3, direct: eth2}\n"
FW2 = f"  fw2: {{address: '10.3.0.2:8022', key: '{KEY}'}}\n"
FW3 = f"  fw3: {{address: '10.3.0.3:8022', key: '{OTHER_KEY}'}}\n"
VIPS = "vips:\n  - {vhid: 1, interface: lan, addresses: [192.0.2.10/24], password: x}\n"
VIP_ON_LAN = (
    "lan carries virtual addresses too: whoever is on that network can read and forge the table of connections, "
    "which is neither signed nor encrypted; a link between the nodes alone is better"
)


def said(directory: Path, state_sync: str, *, peers: str = FW2, vips: str = VIPS) -> list[str]:
    """What is said of ``state_sync`` on fw1, as ``LINE:COLUMN: KEY: MESSAGE``."""
    (directory / "node.yaml").write_text(f"node: fw1\nrole: master\n{INTERFACES}" + (peers and f"peers:\n{peers}"))
    (directory / "cluster.yaml").write_text(f"cluster: edge\nstate_sync: {state_sync}\n{vips}")
    try:
        problems = load(directory).warnings
    except ConfigurationError as error:
        problems = error.problems
    return [
        f"{one.line}:{one.column}: {one.key_path}: {'warning: ' if one.severity == 'warning' else ''}{one.message}"
        for one in problems
    ]


@pytest.mark.parametrize(
    "written",
    [
        "{engine: conntrackd, interface: sync}",
        "{engine: conntrackd, interface: [sync, sync2], port: 65534, timeout: 500ms}",
        "{engine: conntrackd, interface: sync, unicast: {fw1: 10.3.0.1, fw2: 10.3.0.2}}",
        "{engine: conntrackd, interface: [sync, sync2], unicast: {fw1: [10.3.0.1, 'fd::1'], fw2: [10.3.0.2, 'fd::2']}}",
        "{engine: none, interface: nowhere}",
        "{}",
    ],
)
def test_what_is_well(tmp_path: Path, written: str) -> None:
    assert said(tmp_path, written) == []


def test_the_peer_may_be_named_before_the_nodes_are_paired(tmp_path: Path) -> None:
    written = "{engine: conntrackd, interface: sync, unicast: {fw1: 10.3.0.1, fw2: 10.3.0.2}}"
    assert said(tmp_path, written, peers="") == []


@pytest.mark.parametrize(
    "written, found",
    [
        ("{engine: pfsync}", "2:22: state_sync.engine: cannot be 'pfsync': write none or conntrackd"),
        (
            "{engine: conntrackd}",
            "2:1: state_sync.interface: cannot be left out: name the interface between the nodes",
        ),
        (
            "{engine: conntrackd, interface: []}",
            "2:45: state_sync.interface: cannot be empty",
        ),
        (
            "{engine: conntrackd, interface: snyc}",
            "2:45: state_sync.interface: cannot be found: node.yaml has no snyc under interfaces; did you mean sync?",
        ),
        (
            "{engine: conntrackd, interface: [sync, sinc2]}",
            "2:52: state_sync.interface.1: cannot be found: node.yaml has no sinc2 under interfaces; "
            "did you mean sync2?",
        ),
        (
            "{engine: conntrackd, interface: [sync, sync]}",
            "2:52: state_sync.interface.1: cannot be given twice: sync stands above already",
        ),
        (
            "{engine: conntrackd, interface: [sync, direct]}",
            "2:52: state_sync.interface.1: cannot be given twice: direct is the device of sync, eth2",
        ),
        ("{engine: conntrackd, interface: lan}", f"2:45: state_sync.interface: warning: {VIP_ON_LAN}"),
        ("{engine: conntrackd, interface: sync, port: 0}", "2:57: state_sync.port: cannot be 0: at least 1"),
        (
            "{engine: conntrackd, interface: [sync, sync2], port: 65535}",
            "2:66: state_sync.port: cannot be 65535 with 2 interfaces: each has the next port",
        ),
        ("{engine: conntrackd, interface: sync, timeout: 0}", "2:60: state_sync.timeout: cannot be 0: more than 0"),
    ],
)
def test_interfaces_and_numbers(tmp_path: Path, written: str, found: str) -> None:
    assert said(tmp_path, written) == [found]


@pytest.mark.parametrize(
    "unicast, found",
    [
        (
            "{fw1: 10.3.0.1, fw3: 10.3.0.2}",
            [
                "cannot leave out fw2, its peer: write its own address on sync",
                ".fw3: cannot be found: node.yaml has no fw3 under peers; did you mean fw2?",
            ],
        ),
        ("{fw2: 10.3.0.2}", ["cannot leave out fw1, this node: write its own address on sync"]),
        (
            "{fw1: 10.3.0.1, fw2: 10.3.0.2, fw3: 10.3.0.3}",
            [
                "cannot name 3 nodes: two, since each sends to one other",
                ".fw3: cannot be found: node.yaml has no fw3 under peers; did you mean fw2?",
            ],
        ),
        (
            "{fw1: 10.3.0.1, fw2: 10.3.0}",
            [".fw2: cannot be '10.3.0': no IPv4 or IPv6 address; write it without a prefix length"],
        ),
        (
            "{fw1: 10.3.0.1, fw2: [10.3.0.2, 127.0.0.1]}",
            [".fw2.1: cannot be '127.0.0.1': no address of one host on the network"],
        ),
        ("{fw1: 10.3.0.1, fw2: 10.3.0.1}", [".fw2: cannot be given twice: fw1 has 10.3.0.1 already"]),
        (
            "{fw1: 10.3.0.1, fw2: 'fd03::2'}",
            [".fw2: cannot be fd03::2: the other node has an address of IPv4 there"],
        ),
        (
            "{fw1: 192.0.2.10, fw2: 10.3.0.2}",
            [".fw1: cannot be 192.0.2.10: that is a virtual address, and moves; write the node's own"],
        ),
        (
            "{fw1: [10.3.0.1, 10.4.0.1], fw2: 10.3.0.2}",
            [".fw1: cannot be 2 addresses for 1 under interface: write one for each"],
        ),
    ],
)
def test_unicast(tmp_path: Path, unicast: str, found: list[str]) -> None:
    lines = said(tmp_path, f"{{engine: conntrackd, interface: sync, unicast: {unicast}}}")
    messages = [line.split(": ", 1)[1].removeprefix("state_sync.unicast") for line in lines]
    assert messages == [one if one.startswith(".") else f": {one}" for one in found]


def test_one_interface_of_two_has_no_address(tmp_path: Path) -> None:
    written = "{engine: conntrackd, interface: [sync, sync2], unicast: {fw1: [10.3.0.1, 10.4.0.1], fw2: [10.3.0.2]}}"
    assert said(tmp_path, written) == [
        "2:102: state_sync.unicast.fw2: cannot be one address for 2 under interface: write one for each"
    ]


@pytest.mark.parametrize("peers, nodes", [(FW2 + FW3, 3)])
def test_more_than_two_nodes(tmp_path: Path, peers: str, nodes: int) -> None:
    """Tried with three: each conntrackd has half of what the other two send, and no counter says so."""
    assert said(tmp_path, "{engine: conntrackd, interface: sync}", peers=peers) == [
        f"2:22: state_sync.engine: cannot be used by {nodes} nodes: "
        "of more than two, conntrackd loses entries and says nothing"
    ]


def test_without_virtual_addresses_it_does_nothing(tmp_path: Path) -> None:
    assert said(tmp_path, "{engine: conntrackd, interface: sync}", vips="") == [
        "2:22: state_sync.engine: warning: does nothing without vips: no address fails over, "
        "so no connection has to live on elsewhere"
    ]
    assert len(said(tmp_path, "{engine: conntrackd, interface: sync}", vips="vips: 7\n")) == 1
