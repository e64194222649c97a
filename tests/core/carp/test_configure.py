"""What core writes for the process carp, and when."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.core.carp.carp import SOURCES_MOST, Carp
from syncsrv.core.carp.configure import addresses_only, digests
from syncsrv.failover import settings as files
from syncsrv.failover.settings import Settings
from syncsrv.store.files import UnwritableError
from tests.core.carp.carpkit import LAN, PASSWORD, VIPS, WAN, one_node, running, two_nodes
from tests.core.carp.fakecarp import FakeCarp
from tests.core.corekit import Node, single
from tests.support.wait import until


def written(node: Node) -> Settings:
    found = files.load(node.state)
    assert found is not None
    return found


def save(node: Node, old: str, new: str) -> None:
    """Edit cluster.yaml, and let core see it."""
    path = node.etc / "cluster.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    node.core.record(via="watch")


def test_the_file_has_what_the_three_files_say(short_tmp: Path) -> None:
    with one_node(short_tmp) as node:
        node.core.carp.start()
        found = written(node)
        assert found == node.core.carp.settings, "what is read back is the same, and has the same digest"
        assert found.digest == node.core.carp.settings.digest
        assert (found.node, found.advskew, found.preempt, found.hold_down_s) == ("fw1", 0, "always", 0)
        assert found.run_dir == str(short_tmp / "fw1/run")
        lan, wan = found.vips
        assert (lan.vhid, lan.interface, lan.device, lan.advbase) == (1, "lan", "eth0", 1)
        assert lan.addresses == ("192.0.2.10/24", "2001:db8::10/64")
        assert (lan.password, wan.password) == (PASSWORD, "plain")
        assert found.tracked == ("eth0", "eth1")
        path = node.state / "carp/config.json"
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize(
    ("said", "preempt"),
    [("preempt: false", "never"), ("preempt_delay_s: 30", "delayed"), ("preempt_delay_s: 0", "always")],
)
def test_when_a_better_node_takes_over(short_tmp: Path, said: str, preempt: str) -> None:
    with one_node(short_tmp, VIPS.replace("hold_down_s: 0", said)) as node:
        assert node.core.carp.settings.preempt == preempt


def test_a_node_without_vips_says_so_in_the_file(short_tmp: Path) -> None:
    with single(short_tmp) as node:
        node.core.carp.start()
        assert written(node).vips == ()
        assert node.core.carp.info().configured is False


def test_a_change_reaches_the_file_and_the_process_and_only_a_change(short_tmp: Path) -> None:
    with one_node(short_tmp) as node, running(node) as carp:
        given = len(carp.applied)
        before = (node.state / "carp/config.json").stat()
        node.core.carp.put_in_force()
        after = (node.state / "carp/config.json").stat()
        assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
        assert len(carp.applied) == given
        save(node, "vhid: 2", "vhid: 3")
        assert [vip.vhid for vip in written(node).vips] == [1, 3]
        assert [one.settings for one in carp.applied[given:]] == [written(node)]


def test_a_broken_cluster_yaml_leaves_the_last_good_one_in_force(short_tmp: Path) -> None:
    with one_node(short_tmp) as node:
        node.core.carp.start()
        good = written(node)
        save(node, "vhid: 2", "vhid: 999")
        assert written(node) == good
        assert [vip.key for vip in node.core.carp.vips()] == [LAN, WAN]
        assert "cluster.yaml is not in force" in node.core.live.cluster_problem


def test_vips_that_are_taken_out_disappear_and_the_process_hears_it(short_tmp: Path) -> None:
    with one_node(short_tmp) as node, running(node) as carp:
        save(node, VIPS, "")
        assert written(node).vips == ()
        assert carp.applied[-1].settings == written(node)
        assert node.core.carp.vips() == ()
        until(lambda: node.core.carp.info().configured is False)


def test_a_core_that_starts_without_vips_ends_a_process_that_still_serves_them(short_tmp: Path) -> None:
    with single(short_tmp) as node, FakeCarp(node.home / "run") as carp:
        node.core.carp.put_in_force()  # written, and not told by chance only
        carp.applied.clear()
        node.core.carp.start()
        assert [one.settings.vips for one in carp.applied if one.settings is not None] == [()]


def test_a_file_that_is_damaged_is_written_anew(short_tmp: Path) -> None:
    with one_node(short_tmp) as node:
        node.core.carp.start()
        good = written(node)
        (node.state / "carp/config.json").write_text('{"format": 1}')
        again = Carp(lambda: node.core.live.config, node.core.clock)
        again.start()
        again.stop()
        assert written(node) == good


def test_a_file_that_cannot_be_written_is_said(short_tmp: Path) -> None:
    with one_node(short_tmp) as node:
        (node.state / "carp").write_text("in the way")
        node.core.carp.start()
        (trouble,) = node.core.carp.info().troubles
        assert trouble.startswith("failover goes on with the earlier configuration: cannot write")
        with pytest.raises(UnwritableError):
            node.core.carp.set_demotion("unproven", 240)
        assert node.core.carp.intent.demotions == {}


def test_a_refusal_is_said_until_it_is_taken(short_tmp: Path) -> None:
    with one_node(short_tmp) as node, running(node) as carp:
        carp.refuses = "there is no device eth9"
        save(node, "vhid: 2", "vhid: 3")
        (trouble,) = node.core.carp.info().troubles
        assert "did not take what it was told: there is no device eth9" in trouble
        carp.refuses = ""
        save(node, "vhid: 3", "vhid: 4")
        until(lambda: node.core.carp.info().troubles == (), what="a report of the process with what it took")


def test_a_peers_own_addresses_are_learnt_and_kept(short_tmp: Path) -> None:
    with two_nodes(short_tmp) as pair:
        carp = pair.fw1.core.carp
        carp.peer_told("fw2", {"lan": ("192.0.2.2", "2001:DB8::2"), "wan": ("nonsense",)})
        assert written(pair.fw1).own_peers == {"fw2": ("192.0.2.2", "2001:db8::2")}
        carp.peer_told("fw2", {})
        assert carp.nodes() == {"192.0.2.2": "fw2", "2001:db8::2": "fw2"}
        carp.peer_told("fw2", {"lan": tuple(f"10.{number >> 8}.{number & 255}.1" for number in range(9000))})
        assert len(written(pair.fw1).own_peers["fw2"]) == SOURCES_MOST
        carp.peer_told("fw2", {"lan": ("192.0.2.2", "2001:DB8::2")})
        carp.peer_told("stranger", {"lan": ("192.0.2.66",)})
        again = Carp(lambda: pair.fw1.core.live.config, pair.fw1.core.clock)
        assert again.settings.own_peers == {"fw2": ("192.0.2.2", "2001:db8::2")}
        again.stop()


def test_only_addresses_of_a_peer_count() -> None:
    assert addresses_only(["192.0.2.2", "fe80::1", "x", "192.0.2.2"]) == ("192.0.2.2", "fe80::1")


def test_a_digest_tells_addresses_and_password_and_nothing_of_this_node(short_tmp: Path) -> None:
    with one_node(short_tmp) as node:
        ours = node.core.carp.settings
        lan = ours.vips[0]

        def with_lan(**other: object) -> Settings:
            return replace(ours, vips=(replace(lan, **other), ours.vips[1]))  # type: ignore[arg-type]  # by name

        known = digests(ours)
        assert known.keys() == {LAN, WAN}
        assert PASSWORD not in json.dumps(known)
        assert digests(with_lan(device="ens3", addresses=lan.addresses[::-1])) == known
        assert digests(with_lan(password="another"))[LAN] != known[LAN]
        assert digests(with_lan(addresses=("192.0.2.11/24",)))[LAN] != known[LAN]
