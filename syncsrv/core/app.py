"""The core process: put together from its parts, started in order, stopped in order.

Order of the start: one core only (a lock), the journal of a crash undone or finished, main made equal to the disk,
then watch, doors and peers. Nobody can ask it anything before the disk is in a state that we know.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from syncsrv.apply.engine import Engine
from syncsrv.apply.hooks import Hooks
from syncsrv.apply.journal import Journal
from syncsrv.apply.journal_format import Record
from syncsrv.apply.order import Order, Parts
from syncsrv.apply.record import Recorded, Recorder
from syncsrv.checks.check import Checker
from syncsrv.checks.stage import sweep
from syncsrv.clock import Clock, boot_id
from syncsrv.config.load import Configuration, load, parse_cluster
from syncsrv.config.model import Cluster
from syncsrv.config.problem import ConfigurationError
from syncsrv.control.codec import decode_reply
from syncsrv.control.serve import Limits, Server
from syncsrv.control.shapes import Facts
from syncsrv.control.sockets import local_process
from syncsrv.control.verbs import VERBS, Door
from syncsrv.core import schedules, upkeep
from syncsrv.core.backup import applied_again, applied_by
from syncsrv.core.carp.carp import Carp
from syncsrv.core.carp.declare import Declaring, through
from syncsrv.core.carp.duties import Duties
from syncsrv.core.carp.serving import changing, unproven
from syncsrv.core.carp.split import Split
from syncsrv.core.carp.standing import serves
from syncsrv.core.devices import Devices, page_secret
from syncsrv.core.following import Follower
from syncsrv.core.freshness import Freshness
from syncsrv.core.handlers import Handlers
from syncsrv.core.jobs import Jobs
from syncsrv.core.lag import Lag
from syncsrv.core.mains import follow_main
from syncsrv.core.parts import Core, Live, areas_of
from syncsrv.core.passwords import Passwords
from syncsrv.core.peers import PeerBook
from syncsrv.core.people import People
from syncsrv.core.recovery import recover
from syncsrv.core.schedule import Timetable
from syncsrv.core.sessions import Sessions
from syncsrv.core.soak import SoakFile
from syncsrv.core.ssh.ssh import Ssh
from syncsrv.core.state import StateFile
from syncsrv.core.switches import Switches
from syncsrv.core.weblogin import WebLogin
from syncsrv.core.websetup import WebSetups, web_user
from syncsrv.disk.files import LiveFiles
from syncsrv.errors import SyncsrvError, UsageError
from syncsrv.plan.tree import CLUSTER_PATH
from syncsrv.services.control import Services
from syncsrv.services.managers import defines, managers_of
from syncsrv.services.pending import ReloadFile
from syncsrv.services.reading import Memory
from syncsrv.single import only_one
from syncsrv.store.history import History
from syncsrv.store.records import TagRecords
from syncsrv.store.repo import Store
from syncsrv.store.signing import Signer
from syncsrv.version import __version__
from syncsrv.watch.notify import Watcher
from syncsrv.watch.scan import Scanner

log = logging.getLogger(__name__)

_WEB_LIMITS = Limits(connections=16, calls=256)
"""Web has one connection for all calls, some for a stream each, and one for its setup; twice while it begins anew."""


class App:
    """One core process.

    Args:
        directory: the configuration directory.
        clock: the machine's.
        passwords: what they cost; as much as is advised unless given.

    Raises:
        ConfigurationError: with every problem of the configuration.
    """

    def __init__(self, directory: Path, clock: Clock, passwords: Passwords | None = None) -> None:
        self._directory = directory
        self._clock = clock
        config = load(directory)
        node = config.node
        self._lock = only_one("core", node.state_dir / "core.lock")
        _run_dir(node.run_dir)
        sweep(node.state_dir / "stage")
        store = Store.open(node.state_dir / "config.git")
        recorder = Recorder(
            store, Scanner(node.root, store.put_blob, clock), directory / "cluster.yaml", node.node, clock
        )
        history = History(store, node.state_dir / "history.sqlite")
        signer = Signer.load(node.state_dir / "key", f"syncsrv-{node.node}")
        self._managers = managers_of(node, clock)
        self._freshness = Freshness(recorder, node.root, partial(defines, self._managers.values()))
        self._reloads = ReloadFile(node.state_dir / "services" / "reloads.json")
        self._memory = Memory()
        self._live = Live(config)
        self._follower = Follower()
        people = People(node.state_dir, passwords)
        sessions = Sessions(node.state_dir / "sessions.json", clock, boot_id())
        secret = page_secret(node.state_dir / "web")
        login = WebLogin(people, sessions, Devices(secret), clock)
        self._ssh = Ssh(lambda: self._live.config, signer, people, store.path, clock)
        book = PeerBook(
            lambda: tuple(self._live.config.node.peers),
            self._ask_facts,
            self._heard,
            clock,
            self._ssh.wait,
            lambda peer, facts: self._guarded(lambda: follow_main(self.core, peer, facts.head)),
        )
        parts = Parts(
            node=node,
            recorder=recorder,
            files=LiveFiles(node.root, store.blob, cluster_file=directory / "cluster.yaml"),
            checker=Checker(
                node=node.node,
                root=node.root,
                workspace=node.state_dir / "stage",
                read_blob=store.blob,
                hidden=(node.state_dir, directory, node.run_dir),
            ),
            hooks=Hooks(directory / "hooks"),
            journal=Journal(node.state_dir),
            clock=clock,
            cluster=lambda: self._live.config.cluster,
            areas=lambda cluster: areas_of(self._live.config, cluster),
            services=self._services,
            read_cluster=self._read_cluster,
            take_effect=self._take_effect,
            remember=self._remember,
            remember_again=self._remember_again,
            changing=lambda: changing(self.core),
            unproven=lambda on: unproven(self.core, on),
        )
        carp = Carp(lambda: self._live.config, clock)
        self.core = Core(
            live=self._live,
            clock=clock,
            store=store,
            history=history,
            signer=signer,
            tags=TagRecords(node.state_dir / "tags.json"),
            people=people,
            login=login,
            web=WebSetups(lambda: self._live.config, node.state_dir / "web", secret, clock),
            state=StateFile(node.state_dir / "sync.json"),
            recorder=recorder,
            engine=Engine(parts),
            carp=carp,
            declaring=Declaring(
                carp,
                node.node,
                clock,
                lambda: tuple(self._live.config.node.peers),
                lambda: self.core.book.now(),
                through(lambda peer, verb, body, s: self.core.link.call(peer, verb, body, deadline_s=s)),
            ),
            lag=Lag(store, history),
            jobs=Jobs(clock),
            link=self._ssh.peers,
            book=book,
            recorded=self._recorded,
            reload=self.reload,
            people_changed=self._ssh.recheck,
            timetable=Timetable(clock),
            switches=Switches(node.state_dir / "schedules.json"),
            soak=SoakFile(node.state_dir / "soak.json", clock, boot_id()),
            watch_problem=lambda: self._watcher.degraded,
        )
        self._split = Split(carp, node.node, clock, lambda: self.core.book.now())
        self._duties = Duties(self.core, directory, boot_id())
        self._watcher = Watcher(node.root, self._changed, clock)
        handlers = Handlers(self.core).table()
        self._server = Server(VERBS, handlers, node=node.node, version=__version__, claim=login.claim)
        self._web_server = Server(
            VERBS, handlers, node=node.node, version=__version__, claim=login.claim, limits=_WEB_LIMITS
        )

    # -- life

    def start(self) -> None:
        """Be ready to be asked when this returns."""
        recover(self.core)
        core, node = self.core, self._live.config.node
        self._watch()
        core.record(via="watch")
        core.history.catch_up()
        core.read_services()
        core.carp.start()
        self._ssh.start(self._server, node.run_dir / "door.sock")
        self._server.serve_unix(node.run_dir / "core.sock", Door.LOCAL, mode=0o600)
        self._serve_web(node.run_dir / "web.sock")
        core.book.start()
        core.declaring.start()
        self._split.start()
        upkeep.begin(core, self._scan)
        schedules.put_in_force(core)
        core.timetable.start()
        self._duties.start()
        log.info("node %s, %s: ready", node.node, node.role)

    def stop(self) -> None:
        """End the doors, then the jobs (their next step stops), then the rest."""
        core = self.core
        core.stopping.set()
        self._ssh.end_waiting()
        core.declaring.stop()
        self._split.stop()
        for job in core.jobs.running():
            self._guarded(partial(core.jobs.abort, job.id, "the end of core"))
        self._duties.stop()
        self._server.close()
        self._web_server.close()
        core.web.close()
        core.jobs.join(30.0)
        core.book.stop()
        self._ssh.close()
        self._watcher.close()
        core.timetable.stop()
        core.carp.stop()
        core.history.close()
        core.store.close()
        self._lock.close()

    def reload(self) -> None:
        """SIGHUP: read node.yaml, cluster.yaml and secrets.yaml again; what is wrong changes nothing.

        Raises:
            ConfigurationError: the running configuration stays in force.
            UsageError: something changed that only a restart can change.
        """
        fresh = load(self._directory)
        fixed = [
            key
            for key in ("node", "root", "state_dir", "run_dir")
            if getattr(fresh.node, key) != getattr(self._live.config.node, key)
        ]
        if fixed:
            raise UsageError(f"cannot take over {', '.join(fixed)} of node.yaml while running", "restart syncsrv")
        self._put_in_force(fresh)
        self._live.reload_problem = ""
        core = self.core
        core.engine.parts = replace(core.engine.parts, node=fresh.node)
        core.web.refresh()
        self._managers = managers_of(fresh.node, self._clock)
        self._ssh.configure()
        core.book.start()
        core.record(via="watch")
        log.info("the configuration was read again")

    def reload_if_valid(self) -> None:
        """What SIGHUP does: reload, or say in the log and in the status why not."""
        try:
            self.reload()
        except SyncsrvError as error:
            kept = "the configuration was not read again, the old one is in force"
            self._live.reload_problem = f"{kept}: {error}; correct that, then send SIGHUP once more"
            log.error("%s", self._live.reload_problem)

    def _serve_web(self, path: Path) -> None:
        """Let the web process in; as root also one that was started apart, by its user."""
        user = web_user()
        group = user.pw_gid if user is not None and os.geteuid() == 0 else None
        uids = (user.pw_uid,) if user is not None else ()
        self._web_server.serve_unix(
            path, Door.WEB, mode=0o660, group=group, identify=lambda sock: local_process(sock, Door.WEB, uids)
        )

    # -- configuration

    def _read_cluster(self, text: bytes) -> Cluster:
        config = self._live.config
        return parse_cluster(text, "cluster.yaml", config.node, config.secrets)

    def _put_in_force(self, config: Configuration) -> None:
        self._live.config = config
        self._live.cluster_problem = ""
        self._watch()
        self.core.carp.put_in_force()
        self._guarded(lambda: schedules.put_in_force(self.core))

    def _take_effect(self, cluster: Cluster) -> None:
        self._put_in_force(replace(self._live.config, cluster=cluster))
        entry = self.core.recorder.tree(self.core.recorder.head()).get(CLUSTER_PATH)
        self._live.cluster_blob = entry.blob if entry is not None else None

    def _recorded(self, recorded: Recorded) -> None:
        """A cluster.yaml that was saved and is valid takes effect at once; a broken one leaves the old in force."""
        self._live.left_out = recorded.live.left_out
        self._live.large = recorded.live.large
        entry = recorded.live.entries.get(CLUSTER_PATH)
        blob = entry.blob if entry is not None else None
        if blob is None:
            self._live.cluster_blob = None
            self._live.cluster_problem = "cluster.yaml is gone or cannot be read; what it said last is in force"
        elif blob != self._live.cluster_blob:
            self._live.cluster_blob = blob
            try:
                cluster = self._read_cluster(self.core.store.blob(blob))
            except ConfigurationError as error:
                self._live.cluster_problem = f"cluster.yaml is not in force, it has problems: {error.message}"
                log.warning("%s", self._live.cluster_problem)
            else:
                if cluster != self._live.config.cluster:
                    log.info("cluster.yaml was changed and is in force")
                    self._put_in_force(replace(self._live.config, cluster=cluster))
                    self.core.record(via="watch")
                self._live.cluster_problem = ""
        if recorded.head is not None and self._live.config.cluster.schedules:
            self.core.soak.saw(recorded.head)
        if recorded.commit is not None:
            self.core.history.catch_up()

    def _services(self, cluster: Cluster) -> Services:
        areas = areas_of(self._live.config, cluster)
        return Services(
            cluster.services,
            self._managers,
            self._clock,
            node=self._live.config.node.node,
            reloads=self._reloads,
            newest_change=lambda name: self._freshness.newest_change(name, cluster, areas),
            newest_file=lambda name: self._freshness.newest_file(name, cluster, areas),
            newest_definition=lambda name: self._freshness.newest_definition(name, cluster, areas),
            is_carp_master=lambda: serves(self.core.carp.reading.now) is True,
            memory=self._memory,
        )

    # -- what is applied

    def _remember(self, order: Order, commit: str) -> None:
        self.core.state.change(lambda now: applied_by(now, order, commit))

    def _remember_again(self, record: Record, commit: str) -> None:
        self.core.state.change(lambda now: applied_again(now, record, commit))

    # -- watch

    def _watch(self) -> None:
        config = self._live.config
        self._watcher.watch(areas_of(config, config.cluster), self._directory / "cluster.yaml")

    def _changed(self, paths: frozenset[bytes] | None) -> None:
        self._guarded(lambda: self.core.record(via="watch", only=paths))

    def _scan(self) -> None:
        self._watch()
        self.core.record(via="watch")

    def _guarded(self, work: Callable[[], object]) -> None:
        """One round of a background loop: what fails is said, and tried again in the next round."""
        try:
            work()
        except SyncsrvError as error:
            log.error("%s", error)

    # -- peers

    def _ask_facts(self, peer: str, deadline_s: float) -> Facts:
        applied = {area: one.commit for area, one in self.core.state.now.applied.items()}
        facts: Facts = decode_reply(
            "facts", Facts, self._ssh.peers.call(peer, "facts", {"applied": applied}, deadline_s=deadline_s)
        )
        return facts

    def _heard(self, peer: str, facts: Facts) -> None:
        """Learn where a peer's advertisements come from; a backup takes over its master's people when they changed."""
        self.core.carp.peer_told(peer, facts.sources)
        self._guarded(lambda: self._follower.heard(self.core, peer, facts))


def _run_dir(path: Path) -> None:
    """Where the sockets are: others may enter, the sockets themselves say who may connect."""
    if not path.is_dir():
        path.mkdir(parents=True)
        path.chmod(0o755)
