"""Whatever ends a run in the middle, the disk is wholly old or wholly new, and everything says the same of it."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from syncsrv.apply.journal import FILE_NAME, JournalFormatError
from syncsrv.apply.record import MAIN
from syncsrv.apply.settle import JOB_REFS, KNOWN_GOOD
from syncsrv.errors import DamagedError, SyncsrvError
from syncsrv.plan.tree import CLUSTER_PATH, Entry
from syncsrv.services.base import Action, ServiceActionError
from tests.apply.enginekit import CLUSTER, Host, Points, Running, file, folder, link, sync, tagged
from tests.support.trees import scan

WIDER = CLUSTER.replace("areas:\n", "areas:\n  fresh: {paths: [/etc/fresh]}\n")

Disk = tuple[Mapping[bytes, Entry], str]


class Killed(BaseException):
    """Stands for the end of the process."""


class FullError(SyncsrvError):
    """Stands for a disk that is full."""


def kill(_name: str) -> None:
    raise Killed


def fail(name: str) -> None:
    if name.startswith("service"):
        raise ServiceActionError("app", Action.RELOAD, "no space left")
    raise FullError(f"cannot write behind {name}: no space left", "make room")


def disk(host: Host) -> Disk:
    return scan(host.root), host.cluster_text()


@dataclass
class Stage:
    """A node before a sync that does everything a sync can do, to be played again and again."""

    home: Path
    target: str
    old: Disk
    new: Disk
    points: list[str]
    """Every checkpoint of the run, as it passes them."""
    played: int = 0

    def node(self) -> Host:
        """A node of its own in that state."""
        self.played += 1
        home = self.home / str(self.played)
        shutil.copytree(self.home / "template", home, symlinks=True)
        return Host(home, fresh=False)

    def order(self, running: Running, job: str = "job-1") -> Callable[[], object]:
        return lambda: running.run(sync(running, self.target, job))

    def run_until(self, host: Host, at: int) -> None:
        """Run the sync and kill it at a checkpoint."""
        with pytest.raises(Killed):
            self.order(host.start(Points(at, kill)))()

    def settled(self, host: Host, *, again: bool = True) -> bool:
        """Start a core as after a crash; whether the node is new. Asserts that it is wholly new or wholly old.

        Args:
            host: whose core has ended.
            again: synchronize once more, and see that this is done too.
        """
        core = host.start()
        core.recover()
        core.record()  # as every start does
        now = disk(host)
        assert now in (self.old, self.new), f"half: {now[0].keys() ^ self.old[0].keys()}"
        is_new = now == self.new
        assert core.record() is None
        live = core.parts.recorder.scan(core.parts.areas(core.parts.cluster())).entries
        main = core.parts.recorder.tree(core.store.ref(MAIN))
        assert {path: main.get(path) for path in live} == live
        assert core.parts.cluster() == host.read_cluster(host.cluster_text().encode())
        assert not (host.state / FILE_NAME).exists()
        assert core.store.refs(JOB_REFS) == {}
        assert core.daemon.now["loaded"] == host.text("/etc/app/app.conf")
        applied = {one.commit for one in core.state.now.applied.values()}
        assert applied == ({self.target} if is_new else set())
        results = {one.result for one in core.state.now.applied.values()}
        assert {core.store.ref(KNOWN_GOOD)} == (results if is_new else {None})
        if again:
            outcome = core.run(sync(core, self.target, "job-2"))
            assert (outcome.result, disk(host)) == ("unchanged" if is_new else "done", self.new)
            assert core.record() is None
        shutil.rmtree(host.home)
        return is_new


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    in_memory = os.access("/dev/shm", os.W_OK)  # hundreds of runs, and nothing here depends on what a disk is
    home = Path(tempfile.mkdtemp(dir="/dev/shm")) if in_memory else tmp_path_factory.mktemp("settle")
    host = Host(home / "template")
    for path in ("app.conf", "gone", "becomes-dir", "tree/a", "tree/b"):
        host.put(f"/etc/app/{path}", f"old {path}")
    (host.root / "etc/app/link").symlink_to("old")
    host.put("/etc/more.conf", "more")
    host.put("/etc/fresh/here", "this node's own")
    core = host.start()
    core.daemon.start("app", core.parts.cluster().services["app"], 1)
    core.record()
    store = core.store
    changes = {
        CLUSTER_PATH.decode(): file(store, WIDER),
        "/etc/app/app.conf": file(store, "new app.conf", 0o600),
        "/etc/app/gone": None,
        "/etc/app/becomes-dir": folder(0o700),
        "/etc/app/becomes-dir/x": file(store, "x"),
        "/etc/app/tree/a": None,
        "/etc/app/tree/b": None,
        "/etc/app/tree": file(store, "a file now"),
        "/etc/app/link": link(store, "new"),
        "/etc/app": folder(0o711),
        "/etc/fresh": folder(),
        "/etc/fresh/here": file(store, "the master's"),
        "/etc/fresh/there": file(store, "too"),
    }
    target = tagged(core, changes)
    host.put("/etc/more.d/saved-by-hand", "not committed yet")
    made = Stage(home, target, disk(host), ({}, ""), [])
    first = made.node()
    running = first.start()
    outcome = running.run(sync(running, target))
    assert outcome.result == "done"
    made.new, made.points = disk(first), running.points.passed
    assert made.new != made.old
    yield made
    shutil.rmtree(home)


def test_the_checkpoints_are_those_of_every_part(stage: Stage) -> None:
    kinds = {name.partition(" ")[0].partition(".")[0] for name in stage.points}
    assert kinds >= {"journal", "temp", "path", "directory", "ref", "service", "state"}
    assert len(stage.points) > 60


def test_killed_at_any_point_it_is_undone_or_finished_at_the_next_start(stage: Stage) -> None:
    ended_new = []
    for at in range(len(stage.points)):
        host = stage.node()
        stage.run_until(host, at)
        ended_new.append(stage.settled(host))
    turn = stage.points.index("ref refs/heads/main", stage.points.index("journal.writing"))
    assert ended_new == [False] * turn + [True] * (len(stage.points) - turn), "main decides"


def kill_twice(stage: Stage, at: int, again_at: int) -> bool:
    """Kill the run, then the start after it; whether that passed so many points."""
    host = stage.node()
    stage.run_until(host, at)
    core = host.start(Points(again_at, kill))
    try:
        core.recover()
        passed = False
    except Killed:
        passed = True
    stage.settled(host)
    return passed


def test_a_start_that_is_killed_too_changes_nothing_about_that(stage: Stage) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")  # a failure shows it
    dice = random.Random(seed)
    first = stage.points.index("journal.begun")
    killed = sum(
        kill_twice(stage, dice.randrange(first, len(stage.points)), int(dice.expovariate(0.05))) for _ in range(25)
    )
    assert killed > 5


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_killed_at_any_point_and_at_any_point_of_the_start_after_it(stage: Stage) -> None:
    for at in range(len(stage.points)):
        again_at = 0
        while kill_twice(stage, at, again_at):
            again_at += 1


def test_an_error_at_any_point_puts_everything_back_or_is_told_as_not_noted(stage: Stage) -> None:
    noted = stage.points.index("state.saved")
    for at in range(len(stage.points)):
        host = stage.node()
        core = host.start(Points(at, fail))
        order = sync(core, stage.target)
        try:
            outcome = core.run(order)
        except FullError:
            assert at <= stage.points.index("journal.begun")
            assert disk(host) == stage.old
        else:
            name = stage.points[at]
            if at < noted:
                assert outcome.result == "failed", name
                assert disk(host) == stage.old, name
                assert outcome.put_back is ("everything was put back" in outcome.reason), name
                assert core.in_force[-1] == core.in_force[0], name
                if outcome.put_back:
                    assert at >= stage.points.index("temp.renamed") - 1, name
            else:
                assert (outcome.result, outcome.put_back) == ("failed", False), name
                assert "all of it is applied, but the end of the job could not be noted" in outcome.reason
                assert disk(host) == stage.new, name
        assert core.record() is None or at <= stage.points.index("journal.begun")
        assert stage.settled(host, again=False) is (at >= noted)


def test_a_disk_that_stays_full_leaves_what_a_start_can_settle(stage: Stage) -> None:
    for at in range(stage.points.index("journal.begun") + 1, len(stage.points), 3):
        host = stage.node()
        core = host.start(Points(at, fail, on=True))
        outcome = core.run(sync(core, stage.target))
        assert outcome.result == "failed"
        assert "make room" in outcome.remedy
        stage.settled(host)


def test_the_tag_is_remembered_by_what_the_run_left_not_by_what_came_later(stage: Stage) -> None:
    host = stage.node()
    core = host.start(Points(stage.points.index("state.saved"), fail))
    outcome = core.run(sync(core, stage.target))
    assert outcome.commit == core.store.ref(MAIN)
    host.put("/etc/app/app.conf", "edited while the journal was still there")
    assert core.record() != outcome.commit
    after = host.start()
    finished = after.recover()
    assert finished is not None
    assert (finished.result, finished.commit) == ("done", outcome.commit)
    assert after.state.now.applied["app"].result == outcome.commit == after.store.ref(KNOWN_GOOD)


def test_services_that_refuse_at_the_next_start_get_the_old_files_back(stage: Stage) -> None:
    host = stage.node()
    stage.run_until(host, stage.points.index("journal.applied"))
    core = host.start()
    core.daemon.stubborn = True
    outcome = core.recover()
    assert outcome is not None
    assert (outcome.result, outcome.put_back) == ("failed", True)
    core.daemon.stubborn = False
    assert disk(host) == stage.old
    assert core.in_force[-1] == host.read_cluster(CLUSTER.encode())
    assert core.state.now.applied == {}


def test_a_configuration_that_was_broken_before_does_not_keep_the_files_from_coming_back(stage: Stage) -> None:
    host = stage.node()
    core = host.start(Points(stage.points.index("temp.renamed"), fail))
    (host.etc / "cluster.yaml").write_text("areas: [broken")
    before = disk(host)
    outcome = core.run(sync(core, stage.target))
    assert (outcome.result, outcome.put_back) == ("failed", True)
    assert disk(host) == before
    assert len(core.in_force) == 1
    assert not (host.state / FILE_NAME).exists()


@pytest.mark.parametrize(
    "text, error, said",
    [
        (b"", DamagedError, "it is not JSON"),
        (b'{"format": 1}', DamagedError, "job is missing"),
        (b'{"format": 2, "job": "j"}', JournalFormatError, "it has format 2"),
    ],
)
def test_a_journal_that_cannot_be_read_stops_the_start_and_nothing_is_touched(
    stage: Stage, text: bytes, error: type[SyncsrvError], said: str
) -> None:
    host = stage.node()
    stage.run_until(host, stage.points.index("temp.renamed"))
    (host.state / FILE_NAME).write_bytes(text)
    before, refs = disk(host), host.start().store.refs()
    core = host.start()
    with pytest.raises(error, match=said) as caught:
        core.recover()
    assert caught.value.remedy
    assert (disk(host), core.store.refs()) == (before, refs)
    assert (host.state / FILE_NAME).read_bytes() == text


def test_nothing_to_recover_is_no_outcome(stage: Stage) -> None:
    host = stage.node()
    assert host.start().recover() is None
    assert disk(host) == stage.old
