"""The core process's parts, held together: what its jobs and handlers work with."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from syncsrv.apply.engine import Engine
from syncsrv.apply.record import Recorded, Recorder
from syncsrv.clock import Clock
from syncsrv.config.load import Configuration
from syncsrv.config.model import Cluster, Power, Role
from syncsrv.control.connection import Stream
from syncsrv.control.dispatch import Caller
from syncsrv.control.errors import Body
from syncsrv.control.verbs import Door
from syncsrv.core.carp.carp import Carp
from syncsrv.core.carp.declare import Declaring
from syncsrv.core.jobs import Jobs
from syncsrv.core.lag import Lag
from syncsrv.core.peers import PeerBook
from syncsrv.core.people import People
from syncsrv.core.schedule import Timetable
from syncsrv.core.soak import SoakFile
from syncsrv.core.state import StateFile
from syncsrv.core.switches import Switches
from syncsrv.core.weblogin import WebLogin
from syncsrv.core.websetup import WebSetups
from syncsrv.plan.areas import Areas
from syncsrv.services.base import ServiceStatus
from syncsrv.services.control import Services
from syncsrv.store.commits import Person
from syncsrv.store.history import History
from syncsrv.store.records import TagRecords
from syncsrv.store.repo import Store
from syncsrv.store.signing import Signer, parse_public_line
from syncsrv.store.tags import BadTagError, SyncTag, by_number, read_tag
from syncsrv.watch.live import Large, LeftOut
from syncsrv.watch.scan import own_directories

TAGS = "refs/tags/"


class PeerLink(Protocol):
    """How core asks a peer; the connection is kept, and dialled at once when a person waits."""

    def call(self, peer: str, verb: str, body: Body, *, deadline_s: float, person: str | None = None) -> Body: ...

    def stream(self, peer: str, verb: str, body: Body, *, deadline_s: float, person: str | None = None) -> Stream: ...


@dataclass(slots=True)
class Live:
    """What changes while core runs."""

    config: Configuration
    cluster_blob: str | None = None
    """The cluster.yaml that is in force."""
    left_out: tuple[LeftOut, ...] = ()
    large: tuple[Large, ...] = ()
    cluster_problem: str = ""
    """Why the cluster.yaml on disk is not in force; empty where it is."""
    reload_problem: str = ""
    """Why the last SIGHUP changed nothing; empty where it did."""
    changing: list[str] = field(default_factory=list)
    """Jobs that change this node or wait for their turn, in the order in which they came."""
    readings: tuple[ServiceStatus, ...] = ()
    followed: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Per peer the main that could not be fetched without being asked for, and when that was tried (monotonic)."""

    @contextmanager
    def changed_by(self, job: str) -> Iterator[None]:
        """Show that a job is under way; several may be, and each waits for the one before it."""
        self.changing.append(job)
        try:
            yield
        finally:
            self.changing.remove(job)


@dataclass(slots=True)
class Core:
    """All parts; composed by ``app.py``."""

    live: Live
    clock: Clock
    store: Store
    history: History
    signer: Signer
    tags: TagRecords
    people: People
    login: WebLogin
    web: WebSetups
    state: StateFile
    recorder: Recorder
    engine: Engine
    carp: Carp
    declaring: Declaring
    lag: Lag
    jobs: Jobs
    link: PeerLink
    book: PeerBook
    recorded: Callable[[Recorded], None]
    """What follows a recording: configuration, history, watch."""
    reload: Callable[[], None]
    people_changed: Callable[[], None]
    timetable: Timetable
    switches: Switches
    """Which schedules of cluster.yaml are on."""
    soak: SoakFile
    watch_problem: Callable[[], str]
    """Why changes may go unnoticed until the next full scan; empty where none does."""
    troubles: list[Callable[[], tuple[str, ...]]] = field(default_factory=list)
    """Who else knows what an operator should: each gives sentences."""
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def node(self) -> str:
        return self.live.config.node.node

    @property
    def role(self) -> Role:
        return self.live.config.node.role

    @property
    def cluster(self) -> Cluster:
        return self.live.config.cluster

    def areas(self, cluster: Cluster | None = None) -> Areas:
        """The areas of a configuration, without what this node never reads."""
        return areas_of(self.live.config, cluster or self.cluster)

    def record(
        self,
        *,
        via: str,
        person: Person | None = None,
        message: str = "",
        only: Collection[bytes] | None = None,
        paths: Collection[bytes] = (),
    ) -> Recorded:
        """Make main equal the disk, and let what is recorded take effect."""
        with self.recorder.lock:
            recorded = self.recorder.record(
                self.areas(), via=via, person=person, message=message, only=only, paths=paths
            )
            self.recorded(recorded)
        return recorded

    def keys(self) -> Mapping[bytes, str]:
        """Whose signature on a tag counts: every pinned peer's and our own."""
        pinned = {parse_public_line(peer.key): name for name, peer in self.live.config.node.peers.items()}
        return {**pinned, self.signer.public_blob: self.node}

    def tags_here(self) -> tuple[list[SyncTag], list[BadTagError]]:
        """Every sync tag in this repository, oldest first; and why others stand among them that are none."""
        tags, bad = [], []
        for ref, tag_object in sorted(self.store.refs(TAGS + "sync/").items(), key=lambda item: by_number(item[0])):
            try:
                tags.append(read_tag(self.store, tag_object, ref.removeprefix(TAGS)))
            except BadTagError as error:
                bad.append(error)
        return tags, bad

    def services(self) -> Services:
        """The services of the configuration in force."""
        return self.engine.parts.services(self.cluster)

    def read_services(self) -> tuple[ServiceStatus, ...]:
        """Read them now; status shows this reading until the next."""
        self.live.readings = tuple(self.services().statuses())
        return self.live.readings

    def notices(self) -> list[str]:
        """What an operator should know about how this node runs."""
        said = [*self.web.notices(), *(one for troubles in self.troubles for one in troubles())]
        if os.geteuid() != 0:
            said.append("not started as root: all processes run as one user, and checks are not isolated")
        return said


def areas_of(config: Configuration, cluster: Cluster) -> Areas:
    """A configuration's areas on this node: its own directories are never read (DESIGN 3.1)."""
    node = config.node
    own = {
        "the configuration directory": config.directory,
        "the state directory": node.state_dir,
        "the run directory": node.run_dir,
    }
    return Areas.of(cluster, never=own_directories(node.root, own))


def author(core: Core, caller: Caller) -> Person | None:
    """The person as a commit's author; None where none is known."""
    if not caller.person:
        return None
    return Person(caller.person, f"{caller.person}@{caller.node or core.node}")


def power_of(caller: Caller) -> Power:
    """The caller's power as configuration spells it."""
    return Power(caller.power)


def is_remote(caller: Caller) -> bool:
    """Whether the order came from another host: a peer's, or a person's over SSH."""
    return caller.door not in {Door.LOCAL, Door.WEB}
