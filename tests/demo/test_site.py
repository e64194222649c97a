from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsrv.clock import SystemClock
from syncsrv.config.load import load
from syncsrv.demo.programs import alive_in_session, wait_for
from syncsrv.demo.site import LEFTOVER, PORTAL_FILE, SOCKET_PATH_MAX, BrokenDemoError, Node, Site, free_ports
from syncsrv.demo.tree import differences, snapshot


@pytest.fixture
def site(short_tmp: Path) -> Iterator[Site]:
    site = Site(SystemClock(), place=short_tmp)
    yield site
    site.close()
    assert list(short_tmp.iterdir()) == []


def test_the_backup_begins_with_every_kind_of_difference(site: Site) -> None:
    for node in site.nodes:
        site.build(node)
    assert differences(snapshot(site.master.root), snapshot(site.backup.root)) == [
        f"{LEFTOVER}: should not be there",
        "etc/nginx/sites-enabled/wiki: is missing",
        "etc/portal/conf.d: is missing",
        f"{PORTAL_FILE}: has another content",
        "etc/unbound/unbound.conf: has mode 0600, not 0644",
    ]
    kinds = [one.kind for one in snapshot(site.master.root).values()]
    assert kinds.count("link") == 2


def test_the_nodes_know_each_other_and_the_master_has_the_areas(site: Site) -> None:
    for node in site.nodes:
        site.build(node)
        site.init(node)
    site.configure()
    master, backup = (load(node.config) for node in site.nodes)
    assert (master.node.node, master.node.role, backup.node.node, backup.node.role) == (
        "fw1",
        "master",
        "fw2",
        "backup",
    )
    assert master.node.peers["fw2"].address == backup.node.ssh.listen
    assert backup.node.peers["fw1"].address == master.node.ssh.listen
    signers = site.allowed_signers().read_text().splitlines()
    assert [line.split()[2] for line in signers] == [
        one.key.split()[1] for one in (backup.node.peers["fw1"], master.node.peers["fw2"])
    ]
    for config, node in ((master, site.master), (backup, site.backup)):
        assert config.node.root == node.root
        assert config.node.managers.supervisor is not None
        assert config.node.managers.supervisor.socket == node.supervisor_socket
        assert stat.S_IMODE((node.home / "state").stat().st_mode) == 0o700
    assert sorted(master.cluster.areas) == ["dns", "firewall", "portal", "proxy"]
    assert not backup.cluster.areas


def test_a_portal_runs_under_each_supervisord_and_ends_with_the_site(site: Site) -> None:
    for node in site.nodes:
        site.build(node)
        site.start_services(node)
    assert wait_for(lambda: all(node.portal_state() for node in site.nodes), 20, SystemClock()), site.logs()
    states = [node.portal_state() for node in site.nodes]
    assert [state["title"] for state in states] == ["Edge portal", "Old Edge portal"]
    assert site.ended() == ""
    sessions = [daemon.pid for node in site.nodes for daemon in node.daemons]
    assert all(len(alive_in_session(one)) == 2 for one in sessions)
    site.close()
    assert [alive_in_session(one) for one in sessions] == [[], []]
    assert [node.portal_state() for node in site.nodes] == [{}, {}]


def test_a_daemon_that_ended_is_named_and_its_last_words_are_kept(site: Site) -> None:
    site.build(site.master)
    site.start(site.master)  # there is no configuration yet
    assert wait_for(lambda: bool(site.ended()), 20, SystemClock())
    assert site.ended() == "serve of fw1 ended with status 2"
    assert "node.yaml" in "\n".join(site.logs()["fw1/log/serve.log"])


def test_an_init_that_fails_says_why(site: Site) -> None:
    site.build(site.master)
    site.init(site.master)
    with pytest.raises(BrokenDemoError, match="there is a node"):
        site.init(site.master)


def test_the_portals_own_complaint_is_read(site: Site) -> None:
    site.build(site.master)
    assert site.master.check_portal_file() == ""
    with site.master.portal_file.open("a") as file:
        file.write("upstream = printer 192.0.2.24\n")
    assert "upstream is NAME HOST:PORT" in site.master.check_portal_file()


@pytest.mark.parametrize("name", ["d" * 90, "100%", "a ;b"])
def test_a_place_whose_path_sockets_or_supervisord_could_not_have_is_not_used(short_tmp: Path, name: str) -> None:
    (short_tmp / name).mkdir()
    site = Site(SystemClock(), place=short_tmp / name)
    try:
        assert list((short_tmp / name).iterdir()) == []
        assert len(f"{site.master.supervisor_socket}.1234567") <= SOCKET_PATH_MAX
        assert stat.S_IMODE(site.directory.stat().st_mode) == 0o700
    finally:
        site.close()
    assert not site.directory.exists()


def test_what_is_kept_stays(short_tmp: Path) -> None:
    site = Site(SystemClock(), place=short_tmp, keep=True)
    site.build(site.master)
    site.close()
    assert (site.master.root / PORTAL_FILE).exists()


def test_a_directory_without_write_permission_is_removed_too(short_tmp: Path) -> None:
    site = Site(SystemClock(), place=short_tmp)
    site.build(site.master)
    (site.master.root / "etc/nginx").chmod(0o500)
    site.close()
    assert list(short_tmp.iterdir()) == []


def test_a_command_that_prints_no_json_has_no_data(site: Site) -> None:
    answer = site.master.ask("no-such-command")
    assert answer.status == 2
    assert answer.data["error"]["code"] == "usage"
    assert Node("fw1", "master", site.directory, 1, 1, 1).portal_state() == {}


def test_free_ports_are_free_and_differ() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        ports = free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
