"""conntrackd's configuration, to the letter, and that conntrackd takes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.failover.settings import StateLink, StateSync
from syncsrv.failover.statesync import conf
from syncsrv.failover.statesync.conf import NoPlaceError, Place
from tests.failover.kit import STATE_SYNC

GOLDEN = Path(__file__).parent / "golden"
PLACE = Place(Path("/run/syncsrv"))
MULTICAST = replace(STATE_SYNC, links=(StateLink("eth2", "10.3.0.1", ""),))


@pytest.mark.parametrize(("name", "wanted"), [("unicast", STATE_SYNC), ("multicast", MULTICAST)])
def test_the_file_to_the_letter(name: str, wanted: StateSync) -> None:
    assert conf.text(wanted, PLACE, 262144) == (GOLDEN / f"{name}.conf").read_text()


def test_the_order_of_what_is_ignored_changes_nothing() -> None:
    turned = replace(STATE_SYNC, ignore=(*reversed(STATE_SYNC.ignore), "::1"))
    assert conf.text(turned, PLACE, 262144) == conf.text(STATE_SYNC, PLACE, 262144)


def test_each_multicast_link_has_a_port_of_its_own() -> None:
    two = replace(MULTICAST, links=(*MULTICAST.links, StateLink("eth3", "10.4.0.1", "")))
    assert "Multicast Default {\n        IPv4_address 225.0.0.50\n        Group 3780\n" in conf.text(two, PLACE, 1)
    assert "Multicast {\n        IPv4_address 225.0.0.50\n        Group 3781\n" in conf.text(two, PLACE, 1)


@pytest.mark.parametrize("path", ["/run/" + "x" * 100, "/run/my node", "run"])
def test_a_directory_that_conntrackd_cannot_use_is_refused(path: str) -> None:
    with pytest.raises(NoPlaceError, match="cannot have conntrackd work in"):
        Place(Path(path))
