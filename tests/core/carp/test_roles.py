"""Services with ``run_on: carp-master`` follow the CARP state of their node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.config.model import RunOn
from syncsrv.control.shapes_services import ServicesRequest
from syncsrv.core.carp.roles import BY, Roles
from syncsrv.core.jobs import Job
from syncsrv.services.base import ServiceState, ServiceStatus
from syncsrv.store.receipts import read_receipts
from tests.core.corekit import Node, single
from tests.support.wait import until

CTL = """\
#!/bin/sh
cd "$(dirname "$0")/state" || exit 9
case $1 in
  status) test -e $SERVICE || exit 3;;
  start) echo start-$SERVICE >>told; while [ -e hold-$SERVICE ]; do sleep 0.01; done
         ! test -e broken-$SERVICE && touch $SERVICE;;
  stop) echo stop-$SERVICE >>told; rm -f $SERVICE;;
esac
"""

SERVICE = (
    "{manager: command, start: [OWN, start], stop: [OWN, stop], status: [OWN, status], "
    "health: {exec: [OWN, status], within: 2s}"
)
CLUSTER = f"""\
cluster: edge
areas:
  app: {{paths: [/etc/app]}}
services:
  vpn: {SERVICE}, run_on: carp-master, after: [dhcp]}}
  dhcp: {SERVICE}, run_on: carp-master}}
  sshd: {SERVICE}}}
"""


class Site:
    """A node, its Roles, and the services as files."""

    def __init__(self, home: Path, node: Node) -> None:
        self.home, self.node, self.core = home, node, node.core
        self.roles = Roles(node.core, again_s=0.05)

    def has_settled(self) -> bool:
        return self.roles.settled

    def told(self) -> list[str]:
        told = self.home / "state/told"
        return told.read_text().split() if told.exists() else []

    def is_up(self, name: str) -> bool:
        return (self.home / "state" / name).exists()

    def mark(self, name: str) -> Path:
        file = self.home / "state" / name
        file.touch()
        return file

    def jobs(self) -> list[Job]:
        return [job for job in reversed(self.core.jobs.recent()) if job.requested_by == BY]

    def follow(self, serves: bool, why: str = "") -> None:
        self.roles.tell(serves, why)
        until(self.has_settled, what="services that have followed")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "state").mkdir()
    own = tmp_path / "own"
    own.write_text(CTL)
    own.chmod(0o755)
    with single(tmp_path, cluster=CLUSTER.replace("OWN", str(own))) as node:
        site = Site(tmp_path, node)
        site.roles.start()
        yield site
        site.roles.stop()


def test_they_start_and_stop_in_order_and_the_others_are_left_alone(site: Site) -> None:
    site.follow(True, "1@lan: no advert for 3.4 s")
    assert site.told() == ["start-dhcp", "start-vpn"]
    site.follow(False, "1@lan: fw2 advertises a lower skew")
    assert site.told()[2:] == ["stop-vpn", "stop-dhcp"]
    started, stopped = site.jobs()
    until(lambda: stopped.state == "done")
    assert (started.kind, stopped.kind) == ("services start", "services stop")
    assert started.reason == "fw1 serves now: 1@lan: no advert for 3.4 s"
    assert stopped.reason == "fw1 does not serve now: 1@lan: fw2 advertises a lower skew"
    assert {(job.origin, job.subject) for job in (started, stopped)} == {("carp", "fw1: dhcp, vpn")}
    assert {job.nodes["fw1"].result for job in (started, stopped)} == {"done"}
    receipts = read_receipts(site.core.store, 5)
    assert [(one.body["kind"], one.body["origin"], one.body["result"]) for one in receipts] == [
        ("services stop", "carp", "done"),
        ("services start", "carp", "done"),
    ]


def test_while_nothing_is_known_nothing_is_done(site: Site) -> None:
    site.mark("dhcp")
    site.roles.tell(None)
    assert not site.has_settled()
    site.follow(False)
    assert site.told() == ["stop-dhcp"]
    site.follow(True)
    site.roles.tell(None)
    assert site.has_settled()
    assert site.told()[1:] == ["start-dhcp", "start-vpn"]


def test_what_is_right_already_makes_no_job_and_what_was_stopped_by_hand_stays_so(site: Site) -> None:
    site.follow(False)
    assert site.jobs() == []
    site.follow(True)
    site.node.do("act", ServicesRequest(action="stop", names=("dhcp",)))
    site.follow(True)
    assert (len(site.jobs()), site.is_up("dhcp")) == (1, False)


def test_a_service_that_is_new_follows_too_and_the_others_are_not_touched(site: Site) -> None:
    site.follow(True)
    site.node.do("act", ServicesRequest(action="stop", names=("dhcp",)))
    live = site.core.live
    sshd = live.config.cluster.services["sshd"]
    services = live.config.cluster.services | {"ntp": sshd.model_copy(update={"run_on": RunOn.CARP_MASTER})}
    cluster = live.config.cluster.model_copy(update={"services": services})
    live.config = replace(live.config, cluster=cluster)
    assert not site.has_settled()
    site.follow(True)
    assert site.told() == ["start-dhcp", "start-vpn", "stop-dhcp", "start-ntp"]


def test_one_that_does_not_start_is_a_trouble_until_they_follow_well(site: Site) -> None:
    broken = site.mark("broken-dhcp")
    site.follow(True)
    assert site.told() == ["start-dhcp", "start-vpn"], "the other one has its turn"
    (job,) = site.jobs()
    assert job.nodes["fw1"].result == "failed"
    (trouble,) = site.roles.troubles()
    assert "services did not follow the CARP state: cannot start service dhcp" in trouble
    assert "`syncsrv services start dhcp`" in trouble
    broken.unlink()
    site.follow(False)
    assert site.roles.troubles() == ()


def test_a_state_that_changes_meanwhile_ends_the_job_between_two_services(site: Site) -> None:
    hold = site.mark("hold-dhcp")
    site.roles.tell(True)
    until(lambda: site.told())
    site.roles.tell(False)
    hold.unlink()
    until(site.has_settled)
    assert site.told() == ["start-dhcp", "stop-dhcp"]
    assert [job.nodes["fw1"].result for job in site.jobs()] == ["unchanged", "done"]
    assert "the node serves no more" in site.jobs()[0].nodes["fw1"].reason


def test_they_wait_for_what_changes_the_node(site: Site) -> None:
    with site.core.recorder.lock:
        site.roles.tell(True)
        (job,) = until(site.jobs)
        assert job.follow(0, 0.05).steps == ()
    until(site.has_settled)
    assert site.told() == ["start-dhcp", "start-vpn"]


def test_one_that_something_else_starts_on_a_node_that_does_not_serve_is_stopped(site: Site) -> None:
    site.follow(False)
    site.mark("dhcp")
    site.mark("sshd")
    site.roles.tell(None)
    assert site.told() == [], "it was not seen yet"
    site.core.read_services()
    site.roles.tell(None)
    until(lambda: not site.is_up("dhcp"), what="the stray to be stopped")
    (job,) = until(site.jobs)
    until(lambda: job.state == "done")
    assert job.reason == "fw1 does not serve now: dhcp ran here, started by something else"
    assert (job.subject, site.told(), site.is_up("sshd")) == ("fw1: dhcp", ["stop-dhcp"], True)
    until(lambda: site.core.live.readings[0].state is ServiceState.STOPPED)
    site.mark("dhcp")
    site.core.read_services()
    site.roles.tell(None)
    site.follow(True)
    site.follow(False)
    assert site.told()[1:] == ["start-vpn", "stop-vpn", "stop-dhcp"], "not again within the minute, but at a change"


def test_one_that_systemd_starts_at_boot_is_a_trouble(site: Site) -> None:
    services = site.core.live.config.cluster.services
    unit = services["dhcp"].model_copy(update={"unit": "dhcpd.service"})
    cluster = site.core.live.config.cluster.model_copy(update={"services": services | {"dhcp": unit}})
    site.core.live.config = replace(site.core.live.config, cluster=cluster)
    words = {"dhcp": "enabled", "vpn": "disabled", "sshd": "enabled"}
    site.core.live.readings = tuple(
        ServiceStatus(name, ServiceState.STOPPED, enabled=enabled) for name, enabled in words.items()
    )
    (trouble,) = site.roles.troubles()
    assert trouble.startswith("dhcp follows the MASTER (run_on: carp-master), and dhcpd.service is enabled: ")
    assert "`systemctl disable dhcpd.service`" in trouble
