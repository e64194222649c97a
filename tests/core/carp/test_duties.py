"""Reports in, duties out: hooks, services that follow, and an end of the carp process that nobody reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.config.model import RunOn
from syncsrv.control.shapes import Status
from syncsrv.core.app import App
from syncsrv.core.carp.duties import Duties
from syncsrv.core.passwords import Passwords
from tests.core.carp.carpkit import VIPS, backups, masters, one_node, process, running
from tests.core.carp.fakecarp import FakeCarp
from tests.core.corekit import Node
from tests.core.webloginkit import CHEAP
from tests.support.wait import until


class Post:
    """A node whose service follows the MASTER, its process carp, and hooks that write down what they are told."""

    def __init__(self, node: Node, carp: FakeCarp) -> None:
        self.node, self.carp = node, carp
        self.alive = {carp.report.pid, carp.report.guardian_pid}
        folder = node.etc / "hooks"
        folder.mkdir(mode=0o755)
        for place in (node.etc, folder):
            place.chmod(0o755)
        for name in ("on-master", "on-backup", "on-maintenance", "on-stop"):
            (folder / name).write_text(f'#!/bin/sh\necho "$1: $SYNCSRV_REASON" >>{node.home}/hooked\n')
            (folder / name).chmod(0o755)
        self.duties = self.begin()

    def begin(self) -> Duties:
        runs = self.alive.__contains__
        return Duties(self.node.core, self.node.etc, "boot", gone_s=0.05, look_s=0.01, runs=runs)

    def hooked(self) -> list[str]:
        file = self.node.home / "hooked"
        return file.read_text().splitlines() if file.exists() else []

    def says(self, words: str) -> None:
        until(lambda: self.hooked() and self.hooked()[-1].startswith(words), what=f"the hook of {words}")


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    with one_node(tmp_path) as node:
        live = node.core.live
        follower = live.config.cluster.services["app"].model_copy(update={"run_on": RunOn.CARP_MASTER})
        cluster = live.config.cluster.model_copy(update={"services": {"app": follower}})
        live.config = replace(live.config, cluster=cluster)
        with running(node, backups(node)) as carp:
            post = Post(node, carp)
            yield post
            post.duties.stop()


def test_hooks_and_services_follow_the_reports(post: Post) -> None:
    post.duties.start()
    post.says("BACKUP: ")
    post.carp.says(vips=masters(post.node))
    post.says("MASTER: 1@lan: no advert for 3.4 s")
    until(lambda: post.node.told() == ["start"], what="the start of the service")
    post.carp.says(vips=backups(post.node), maintenance=True)
    post.says("MAINTENANCE: ")
    until(lambda: post.node.told() == ["start", "stop"], what="the stop of the service")
    post.carp.says(disabled=True)
    post.says("STOP: ")


def test_a_new_core_hears_nothing_new_where_nothing_is(post: Post) -> None:
    post.duties.start()
    post.says("BACKUP: ")
    until(lambda: post.duties.hooks.idle)
    post.duties.stop()
    post.duties = post.begin()
    post.duties.start()
    post.carp.says(vips=masters(post.node))
    post.says("MASTER: ")
    assert [one.partition(":")[0] for one in post.hooked()] == ["BACKUP", "MASTER"]


def test_a_carp_process_that_has_ended_is_told_and_one_that_is_only_silent_is_not(post: Post) -> None:
    post.carp.says(vips=masters(post.node))
    post.duties.start()
    post.says("MASTER: ")
    until(lambda: post.node.told() == ["start"], what="the start of the service")
    post.carp.close()
    until(lambda: post.node.core.carp.reading.absent, what="the end of the process")
    for _ in range(20):
        post.duties.look()
    assert (post.hooked()[1:], post.node.told()) == ([], ["start"]), "its processes are there"
    post.alive.clear()
    post.says("STOP: cannot ask the carp process")
    until(lambda: post.node.told() == ["start", "stop"], what="the stop of the service")


def test_without_vips_the_hooks_are_told_and_the_services_left_as_they_are(post: Post) -> None:
    post.carp.says(vips=masters(post.node))
    post.duties.start()
    post.says("MASTER: ")
    until(lambda: post.node.told() == ["start"], what="the start of the service")
    live = post.node.core.live
    live.config = replace(live.config, cluster=live.config.cluster.model_copy(update={"vips": ()}))
    post.node.core.carp.put_in_force()
    post.carp.close()
    post.alive.clear()
    post.says("STOP: no virtual addresses are configured")
    assert post.node.told() == ["start"]


def test_what_went_wrong_is_a_notice_in_the_status(post: Post) -> None:
    (post.node.etc / "hooks/on-backup").write_text("#!/bin/sh\necho no mail server\nexit 3\n")
    post.duties.start()

    def notices() -> str:
        status = post.node.ask("status")
        assert isinstance(status, Status)
        return "\n".join(status.notices)

    until(lambda: "on-backup exited with 3: no mail server" in notices(), what="the notice")


def test_the_tables_of_connections_are_looked_at(short_tmp: Path) -> None:
    with one_node(short_tmp, f"{VIPS}state_sync: {{engine: conntrackd, interface: lan}}\n") as node, running(node):
        duties = Duties(node.core, node.etc, "boot", look_s=0.01)
        duties.start()
        try:
            said = "open connections are not carried to the other node"
            until(lambda: any(said in one for one in node.core.carp.info().troubles), what="a look")
        finally:
            duties.stop()


def test_a_part_that_has_ended_is_said(post: Post) -> None:
    post.duties.start()
    assert post.duties.troubles() == ()
    post.duties.health.stop()
    assert post.duties.troubles() == (
        "the health of services does not demote this node any more, by a bug: restart core",
    )


def test_a_whole_core_starts_what_follows_and_is_ready_when_the_rest_is_well(tmp_path: Path) -> None:
    with one_node(tmp_path) as node:
        node.app.stop()
        cluster = node.etc / "cluster.yaml"
        lines = cluster.read_text().splitlines(keepends=True)
        begin = lines.index("  app:\n", lines.index("services:\n"))
        end = next(number for number, line in enumerate(lines) if number > begin and not line.startswith("    "))
        follower = [line.replace("  app:", "  vpn:") for line in lines[begin:end]]
        cluster.write_text("".join([*lines[:end], *follower, "    run_on: carp-master\n", *lines[end:]]))
        with process(node, masters(node)) as carp:
            app = node.app = App(node.etc, node.clock, Passwords(CHEAP))
            node.core = app.core
            app.start()
            until(lambda: node.told() == ["start"], what="the start of vpn")
            until(lambda: carp.report.ready, what="ready: app is what vpn started, one file")
            (job,) = app.core.jobs.recent()
            until(lambda: job.state == "done")
            assert (job.requested_by, job.subject) == ("carp", "fw1: vpn")
