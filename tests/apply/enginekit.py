"""A whole node for the tests of the engine: the real parts on a temporary disk, and a daemon that is one file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from syncsrv.apply.engine import Engine
from syncsrv.apply.hooks import Hooks
from syncsrv.apply.journal import Journal, Record
from syncsrv.apply.order import Order, Outcome, Parts
from syncsrv.apply.record import Recorder
from syncsrv.apply.steps import Steps
from syncsrv.checks.check import Checker
from syncsrv.clock import SystemClock
from syncsrv.config.load import parse_cluster
from syncsrv.config.model import Cluster, ManagerKind, Node, Role, Service
from syncsrv.control.shapes import Step
from syncsrv.core.backup import applied_again, applied_by
from syncsrv.core.state import StateFile
from syncsrv.disk.files import LiveFiles
from syncsrv.plan.areas import Areas
from syncsrv.plan.tree import CLUSTER_PATH, Entry, Kind
from syncsrv.services.base import Action, DefinitionsError, ServiceActionError, ServiceState, ServiceStatus
from syncsrv.services.control import Services
from syncsrv.store.commits import Person
from syncsrv.store.repo import Store
from syncsrv.watch.scan import Scanner
from tests.services.kit import HandClock, Remembered
from tests.support.trees import ME, MY_GROUP

Point = Callable[[str], None]

CLUSTER = """\
cluster: edge
areas:
  app: {paths: [/etc/app], exclude: ["*.bak"], services: [app]}
  more: {paths: [/etc/more.conf, /etc/more.d], extra: keep}
services:
  app: {manager: command, start: [app], stop: [app], status: [app], reload: [app], on_change: reload}
"""


class Points:
    """The checkpoints that a run passes, by name; at the ``at``-th, or from it on, something happens."""

    def __init__(self, at: int | None = None, act: Callable[[str], None] | None = None, *, on: bool = False) -> None:
        self.passed: list[str] = []
        self._at = at
        self._act = act
        self._on = on

    def __call__(self, name: str) -> None:
        number = len(self.passed)
        self.passed.append(name)
        if self._act is not None and self._at is not None and (number == self._at or (self._on and number > self._at)):
            self._act(name)


class PointedStore(Store):
    """The real one, with a checkpoint after each ref that has moved."""

    point: Point = staticmethod(lambda _name: None)

    def move_ref(self, name: str, new: str | None, old: str | None) -> None:
        super().move_ref(name, new, old)
        self.point(f"ref {name}")


class LateClock(SystemClock):
    """An hour ahead: every file was saved long ago, and no scan waits for it to settle."""

    def utc(self) -> datetime:
        return datetime.now(UTC) + timedelta(hours=1)


class Daemon:
    """A service that reads one managed file when it starts or reloads, and refuses one that says BROKEN.

    It keeps the contract of ``Manager`` and its own state on disk, where it outlives the core under test.
    """

    def __init__(self, home: Path, conf: Path, point: Point) -> None:
        self._file = home / "daemon.json"
        self._conf = conf
        self._point = point
        self.loads: Callable[[], object] = lambda: None
        self.stubborn = False

    @property
    def now(self) -> dict[str, Any]:
        known: dict[str, Any] = json.loads(self._file.read_text()) if self._file.exists() else {}
        return {"state": "stopped", "pid": 100, "loaded": None, "told": []} | known

    def statuses(self, services: Mapping[str, Service], deadline_s: float) -> dict[str, ServiceStatus]:
        now = self.now
        state = ServiceState(now["state"])
        pid = now["pid"] if state is ServiceState.RUNNING else None
        return {name: ServiceStatus(name, state, pid=pid) for name in services}

    def can_reload(self, name: str, service: Service) -> bool:
        return True

    def start(self, name: str, service: Service, deadline_s: float) -> None:
        self._load(name, Action.START, "stopped")

    def restart(self, name: str, service: Service, deadline_s: float) -> None:
        self._load(name, Action.RESTART, "failed")

    def reload(self, name: str, service: Service, deadline_s: float) -> None:
        self._load(name, Action.RELOAD, "running")

    def stop(self, name: str, service: Service, deadline_s: float) -> None:
        self._say(state="stopped", told=[*self.now["told"], "stop"])

    def last_words(self, name: str, service: Service) -> str:
        return ""

    def defines(self, path: str) -> bool:
        return "/root/etc/app/units/" in path

    def read_definitions(self, deadline_s: float) -> None:
        self._say(told=[*self.now["told"], "read definitions"])
        if "unreadable" in "".join(one.read_text() for one in self._conf.parent.glob("units/*")):
            raise DefinitionsError("the kit", "one is unreadable")

    def _load(self, name: str, action: Action, after_refusal: str) -> None:
        now = self.now
        text = self._conf.read_text() if self._conf.exists() else ""
        told = [*now["told"], action.value]
        if "BROKEN" in text or self.stubborn:
            self._say(state=after_refusal, told=told)
            raise ServiceActionError(name, action, "it ended with status 1", "BROKEN is no directive")
        pid = now["pid"] if action is Action.RELOAD else now["pid"] + 1
        self._say(state="running", pid=pid, loaded=text, told=told)
        self.loads()
        self._point(f"service {action}")

    def _say(self, **news: Any) -> None:
        self._file.write_text(json.dumps(self.now | news))


@dataclass
class Running:
    """What a core has in hand from its start to its end."""

    engine: Engine
    parts: Parts
    store: PointedStore
    daemon: Daemon
    state: StateFile
    points: Points
    in_force: list[Cluster]
    steps: list[Step] = field(default_factory=list)

    def steps_of(self, job: str) -> Steps:
        def publish(step: Step) -> None:
            if step.result != "running":
                self.steps.append(step)

        return Steps(job, SystemClock(), publish)

    def run(self, order: Order) -> Outcome:
        return self.engine.run(order, self.steps_of(order.job))

    def recover(self) -> Outcome | None:
        return self.engine.recover(self.steps_of("recovery"))

    def step(self, name: str) -> Step:
        (found,) = [step for step in self.steps if step.name == name]
        return found

    def record(self) -> str | None:
        """What the watch would commit now; None where main equals the disk."""
        return self.parts.recorder.record(self.parts.areas(self.parts.cluster()), via="watch").commit


class Host:
    """A node's disk: root, configuration, state.

    Args:
        home: all of it is below this.
        fresh: make it; else it is there.
    """

    def __init__(self, home: Path, *, fresh: bool = True, cluster: str = CLUSTER, **node: Any) -> None:
        self.home = home
        self.root, self.etc, self.state = home / "root", home / "conf", home / "state"
        given = {"node": "fw2", "role": Role.BACKUP, "root": self.root, "state_dir": self.state}
        self.node = Node.model_validate(given | node)
        self.isolate = False
        if fresh:
            for folder in (self.root, self.etc, self.state):
                folder.mkdir(parents=True)
            (self.root / "etc").mkdir()
            (self.etc / "cluster.yaml").write_text(cluster)
            Store.create(self.state / "config.git")

    def put(self, path: str, text: str, mode: int = 0o644) -> Path:
        file = self.root / path.strip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def text(self, path: str) -> str:
        return (self.root / path.strip("/")).read_text()

    def cluster_text(self) -> str:
        return (self.etc / "cluster.yaml").read_text()

    def read_cluster(self, text: bytes) -> Cluster:
        return parse_cluster(text, "cluster.yaml", self.node, {})

    def start(self, points: Points | None = None) -> Running:
        """The parts of a core that has just been started; nothing was recovered yet."""
        points = points or Points()
        store = PointedStore.open(self.state / "config.git")
        assert isinstance(store, PointedStore)
        store.point = points
        clock = LateClock()
        in_force = [self.read_cluster((self.etc / "cluster.yaml").read_bytes())]
        daemon = Daemon(self.home, self.root / "etc/app/app.conf", points)
        state = StateFile(self.state / "sync.json")
        reloads, hand = Remembered(), HandClock()

        def services(cluster: Cluster) -> Services:
            managers = {ManagerKind.COMMAND: daemon}
            return Services(
                cluster.services, managers, hand, node="fw2", reloads=reloads, pause=lambda _seconds: hand.pause(1.0)
            )

        def remember(order: Order, commit: str) -> None:
            state.save(applied_by(state.now, order, commit))
            points("state.saved")

        def remember_again(record: Record, commit: str) -> None:
            state.save(applied_again(state.now, record, commit))
            points("state.saved")

        parts = Parts(
            node=self.node,
            recorder=Recorder(
                store, Scanner(self.root, store.put_blob, clock), self.etc / "cluster.yaml", "fw2", clock
            ),
            files=LiveFiles(self.root, store.blob, cluster_file=self.etc / "cluster.yaml", checkpoint=points),
            checker=Checker("fw2", self.root, self.state / "stage", store.blob, isolate=self.isolate),
            hooks=Hooks(self.etc / "hooks"),
            journal=Journal(self.state, points),
            clock=clock,
            cluster=lambda: in_force[-1],
            areas=Areas.of,
            services=services,
            read_cluster=self.read_cluster,
            take_effect=in_force.append,
            remember=remember,
            remember_again=remember_again,
            changing=lambda: None,
            unproven=lambda _on: None,
        )
        return Running(Engine(parts), parts, store, daemon, state, points, in_force)


def file(store: Store, text: str, mode: int = 0o644) -> Entry:
    return Entry(Kind.FILE, mode, ME, MY_GROUP, store.put_blob(text.encode()))


def folder(mode: int = 0o755) -> Entry:
    return Entry(Kind.DIRECTORY, mode, ME, MY_GROUP)


def link(store: Store, target: str) -> Entry:
    return Entry(Kind.LINK, 0o777, ME, MY_GROUP, store.put_blob(target.encode()))


def tagged(running: Running, changes: Mapping[str, Entry | None], base: str | None = None) -> str:
    """A commit as a master's, made of this node's main (or of ``base``) and some changes; a tag holds it."""
    store = running.store
    base = base or running.parts.recorder.head()
    assert base is not None
    tree = store.build_tree(base, {os.fsencode(path.strip("/")): entry for path, entry in changes.items()})
    commit = store.commit(tree, [base], "from the master\n", Person("fw1", "syncsrv@fw1"), datetime.now(UTC))
    number = len(store.refs("refs/tags/sync/")) + 1
    Store.move_ref(store, f"refs/tags/sync/{number:06}", commit, None)
    return commit


def sync(running: Running, target: str, job: str = "job-1", **more: Any) -> Order:
    """The order that a backup makes of a tag."""
    store = running.store
    cluster = running.parts.read_cluster(store.blob(store.read_tree(target)[CLUSTER_PATH].blob))
    number = len(store.refs("refs/tags/sync/"))
    order = Order(
        job=job,
        kind="sync",
        target=target,
        cluster=cluster,
        areas=Areas.of(cluster),
        chosen=(*cluster.areas, "cluster"),
        left={name: one.result for name, one in running.state.now.applied.items()},
        brought={name: one.commit for name, one in running.state.now.applied.items()},
        tag=f"sync/{number:06}",
        tag_object=target,
        requested_by="alice",
    )
    return replace(order, **more)
