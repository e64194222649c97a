"""The core process's parts, held together: what its jobs and handlers work with."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from syncsrv.apply.engine import Engine
from syncsrv.apply.record import Recorder
from syncsrv.clock import Clock
from syncsrv.config.load import Configuration
from syncsrv.config.model import Cluster, Power, Role
from syncsrv.control.connection import Body, Stream
from syncsrv.control.serve import Caller
from syncsrv.core.jobs import Jobs
from syncsrv.core.lag import Lag
from syncsrv.core.peers import PeerBook
from syncsrv.core.people import People
from syncsrv.core.state import StateFile
from syncsrv.plan.areas import Areas, Never
from syncsrv.plan.tree import tree_path
from syncsrv.services.control import Services
from syncsrv.services.reloads import ReloadLog
from syncsrv.store.history import History
from syncsrv.store.repo import Person, Store
from syncsrv.store.signing import Signer
from syncsrv.store.tags import TagRecords
from syncsrv.watch.scan import LeftOut


class PeerLink(Protocol):
    """How core asks a peer; the connection is kept, and dialled at once when a person waits."""

    def call(self, peer: str, verb: str, body: Body, *, deadline_s: float, person: str | None = None) -> Body: ...

    def stream(self, peer: str, verb: str, body: Body, *, deadline_s: float, person: str | None = None) -> Stream: ...


@dataclass(slots=True)
class Live:
    """What changes while core runs: the configuration in force and what the last scan left out."""

    config: Configuration
    left_out: tuple[LeftOut, ...] = ()
    cluster_problem: str = ""
    """Why the cluster.yaml on disk is not in force; empty where it is."""
    watch_problem: str = ""
    changing_job: str | None = None


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
    state: StateFile
    recorder: Recorder
    engine: Engine
    lag: Lag
    jobs: Jobs
    reloads: ReloadLog
    link: PeerLink
    book: PeerBook
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
        return Areas.of(cluster or self.cluster, never=never_read(self.live.config))

    def keys(self) -> Mapping[bytes, str]:
        """Whose signature on a tag counts: every pinned peer's and our own."""
        from syncsrv.store.signing import parse_public_line

        pinned = {parse_public_line(peer.key): name for name, peer in self.live.config.node.peers.items()}
        return {**pinned, self.signer.public_blob: self.node}

    def services(self) -> Services:
        """The services of the configuration in force."""
        return self.engine.parts.services(self.cluster)


def never_read(config: Configuration) -> tuple[Never, ...]:
    """Directories of this node that no area reads: its configuration and its state (DESIGN 3.1)."""
    node = config.node
    found = []
    for path, what in (
        (config.directory, "the configuration directory"),
        (node.state_dir, "the state directory"),
        (node.run_dir, "the run directory"),
    ):
        inside = below(node.root, path)
        if inside is not None:
            found.append(Never(inside, what))
    return tuple(found)


def below(root: Path, path: Path) -> bytes | None:
    """``path`` as a tree path below ``root``; None where it lies elsewhere or is the root itself."""
    real_root, real = root.resolve(), path.resolve()
    if real == real_root or not real.is_relative_to(real_root):
        return None
    return tree_path(str(real.relative_to(real_root)))


def requested_by(caller: Caller) -> str:
    """``alice``, or ``alice via fw1`` where another node asked for her."""
    return f"{caller.person} via {caller.node}" if caller.node else caller.person


def author(core: Core, caller: Caller) -> Person:
    """The person as a commit's author."""
    return Person(caller.person, f"{caller.person}@{caller.node or core.node}")


def power_of(caller: Caller) -> Power:
    """The caller's power as configuration spells it."""
    return Power(caller.power)
