"""Each page has its answer for programs, under its own address; what is known of a peer keeps its age."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncsrv.control.shapes_failover import Demotion, FailoverInfo, VipInfo
from syncsrv.control.shapes_statesync import NoStateSync
from syncsrv.web.api.replies import NodeVips, drift, vips
from syncsrv.web.api.table import OPERATIONS
from tests.web.views.standings import master, peer

PAGES = ("/", "/changes", "/history", "/services", "/vips", "/drift", "/jobs/{job}", "/audit", "/settings")
VIP = VipInfo(1, "lan", "eth0", "MASTER", ("192.0.2.10/24",), None, "")


@pytest.mark.parametrize("page", PAGES)
def test_the_address_of_a_page_stands_in_the_api(page: str) -> None:
    assert [one.method for one in OPERATIONS if one.path == page and one.method == "GET"] == ["GET"]


def test_a_node_that_was_never_heard_has_no_age_and_is_not_reachable() -> None:
    silent = replace(peer(), reachable=False, age_s=None, vips=(VIP,))
    found = vips(replace(master(), peers={"fw2": silent}))
    assert found.nodes["fw2"] == NodeVips(False, None, (VIP,), Demotion(), FailoverInfo(), NoStateSync())
    assert found.nodes["fw1"].age_s == 0.0


def test_drift_is_of_backups_only() -> None:
    other = replace(peer(), role="master", drift=("/etc/never",))
    drifted = replace(peer(), role="backup", drift=("/etc/a",), applied_tag="sync/000003")
    ours = replace(master(), peers={"fw2": drifted, "fw3": other})
    assert {name: one.drift for name, one in drift(ours).nodes.items()} == {"fw2": ("/etc/a",)}
    backup = replace(ours, role="backup", sync=replace(ours.sync, drift=("/etc/b",)), peers={"fw2": other})
    assert {name: one.drift for name, one in drift(backup).nodes.items()} == {"fw1": ("/etc/b",)}
