"""The demo's two nodes: directories, files and configuration; and what runs of them.

Each node is whole: a managed root of its own with a copy of sample-repo/, a configuration made by the real
``syncsrv init``, a supervisord with the portal under it, and the real ``syncsrv serve``.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syncsrv import process
from syncsrv.clock import Clock
from syncsrv.config.yamledit import set_value
from syncsrv.demo import network
from syncsrv.demo.network import DEVICE, VIP
from syncsrv.demo.programs import ENVIRONMENT, Daemon, alive_below_us, kill
from syncsrv.demo.sample import demo_cluster, lay_out
from syncsrv.demo.visit import Visit
from syncsrv.errors import SyncsrvError

MASTER, BACKUP = "fw1", "fw2"
PORTAL_FILE = "etc/portal/portal.conf"
LEFTOVER = "etc/nginx/conf.d/trial.conf"
"""Only the backup has it, and only until the first synchronization."""

COMMAND_S = 90.0
"""What any command of the walk may take; it has deadlines of its own, far shorter."""

SOCKET_PATH_MAX = 107
"""sun_path of unix(7), without its NUL."""

_LONGEST_SOCKET = f"{MASTER}/run/supervisor.sock.1234567"
"""supervisord binds a name with its process id first."""

_PLAIN_PATH = re.compile(r"[\w/.+-]+", re.ASCII)
"""What supervisord takes as it is: it expands % once here and twice there, and ends a value at a semicolon."""

_PORTS = range(20_000, 32_000)
"""Below Linux's ephemeral ports: none of these is taken by an outgoing connection meanwhile."""

_LOG_LINES = 12

_PORTAL = (sys.executable, "-Es", "-m", "syncsrv.demo.portal")


ADMIN = "admin"
"""The user that `syncsrv init` makes."""


class BrokenDemoError(SyncsrvError):
    """The demo's own set-up does not work here."""

    code = "demo"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command answered.

    Attributes:
        words: what was typed, without the interpreter, --config and --json.
        status: exit status; None: its deadline ended it.
        data: its JSON object; empty where it printed none.
        text: all that it printed.
        seconds: how long it took.
    """

    words: tuple[str, ...]
    status: int | None
    data: Mapping[str, Any]
    text: str
    seconds: float


@dataclass(slots=True)
class Node:
    """One node.

    Attributes:
        name: fw1 or fw2.
        role: master or backup.
        home: everything of it is below.
        ssh, web, portal: TCP ports of 127.0.0.1.
        daemons: what was started of it.
    """

    name: str
    role: str
    home: Path
    ssh: int
    web: int
    portal: int
    password: str = ""
    """Of the user admin, as `syncsrv init` printed it."""
    daemons: list[Daemon] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.home / "root"

    @property
    def config(self) -> Path:
        return self.home / "config"

    @property
    def repository(self) -> Path:
        return self.home / "state" / "config.git"

    @property
    def supervisor_socket(self) -> Path:
        return self.home / "run" / "supervisor.sock"

    @property
    def portal_file(self) -> Path:
        return self.root / PORTAL_FILE

    def command(self, *words: str) -> list[str]:
        """The argv of a syncsrv command on this node."""
        return [sys.executable, "-Es", "-m", "syncsrv", "--config", str(self.config), *words]

    def ask(self, *words: str) -> Answer:
        """Run a command of the real command line and wait for its end, at most COMMAND_S."""
        ended = process.run(self.command(*words, "--json"), env=ENVIRONMENT, deadline_s=COMMAND_S)
        return Answer(words, ended.status, _json_in(ended.text), ended.text.strip(), ended.seconds)

    def portal_state(self) -> Mapping[str, Any]:
        """What the running portal says over HTTP of the configuration that it serves; empty: no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.portal, timeout=2)
        try:
            connection.request("GET", "/state")
            return _json_in(connection.getresponse().read(4096).decode("utf-8", "replace"))
        except (OSError, http.client.HTTPException):
            return {}
        finally:
            connection.close()

    def visit(self) -> Visit:
        """A browser for its page, which shows nothing but over this node's own certificate."""
        return Visit(self.web, self.home / "state" / "web" / "page.pem")

    def check_portal_file(self) -> str:
        """What the portal says to its file as it is on this node: nothing but complaints, empty where it is good."""
        argv = [*_PORTAL, "--check", str(self.portal_file)]
        ended = process.run(argv, env=ENVIRONMENT, deadline_s=COMMAND_S)
        return "" if ended.status == 0 else ended.text.strip()


class Site:
    """A temporary directory with both nodes, and their processes. Made by ``with``, which leaves nothing behind.

    Args:
        clock: tells the time.
        source: what stands for the shipped sample-repo/.
        place: where the directory is made; default: where temporary files are.
        keep: leave the directory at the end.
    """

    def __init__(
        self, clock: Clock, source: Path | None = None, *, place: Path | None = None, keep: bool = False
    ) -> None:
        self._source = source
        self._clock = clock
        self._keep = keep
        self._not_ours = alive_below_us()
        ports = iter(free_ports(6))
        self.directory = _directory(place)
        self._ports = self.directory / "ports"
        self._ports.mkdir()
        self.master = Node(MASTER, "master", self.directory / MASTER, next(ports), next(ports), next(ports))
        self.backup = Node(BACKUP, "backup", self.directory / BACKUP, next(ports), next(ports), next(ports))
        self.nodes = (self.master, self.backup)
        self.network = network.make([node.name for node in self.nodes], self.directory / "segment", clock)

    def close(self) -> None:
        """End every process and remove the directory, unless it is to be kept. May be called again."""
        daemons = [daemon for node in self.nodes for daemon in node.daemons]
        try:
            for daemon in daemons:
                daemon.ask_to_stop()
            for daemon in daemons:
                daemon.close()
            self.network.close()
            # Ctrl-C can fall between the start of a process and the moment when we hold it.
            kill("what the demo started", lambda: alive_below_us(self._not_ours), self._clock)
        finally:
            if not self._keep and self.directory.exists():
                _remove(self.directory)

    def build(self, node: Node) -> None:
        """The files of a node: its managed tree, its log directory, and its portal's port for the health check."""
        for path in (node.home, node.root, node.home / "log"):
            path.mkdir(mode=0o755)
        lay_out(node.root, self._source)
        if node is self.backup:
            _set_up_long_ago(node.root)
        (self._ports / node.name).write_text(str(node.portal))

    def init(self, node: Node) -> None:
        """Make its configuration, key and repository.

        Raises:
            BrokenDemoError: `syncsrv init` failed.
        """
        words = ["init", "--node", node.name, "--role", node.role, "--root", str(node.root)]
        words += ["--state-dir", str(node.home / "state"), "--run-dir", str(node.home / "run")]
        words += ["--ssh", f"127.0.0.1:{node.ssh}", "--web", f"127.0.0.1:{node.web}"]
        node.password = _told(node.ask(*words), "password")

    def configure(self) -> None:
        """Introduce the nodes to each other, tell them of supervisord, and give the master its areas and the VIP."""
        keys = {node.name: _told(node.ask("key"), "key") for node in self.nodes}
        for node, other in ((self.master, self.backup), (self.backup, self.master)):
            path = node.config / "node.yaml"
            text = path.read_text()
            peer = {"address": f"127.0.0.1:{other.ssh}", "key": keys[other.name]}
            text = set_value(text, ("peers",), {other.name: peer})
            text = set_value(text, ("managers",), {"supervisor": {"socket": str(node.supervisor_socket)}})
            text = set_value(text, ("interfaces",), {"lan": DEVICE})
            text = set_value(text, ("carp",), {"advskew": 0 if node is self.master else 100})
            path.write_text(text)
        cluster = demo_cluster(self._ports, sys.executable, self._source)
        cluster += f"\nvips:\n  - {{vhid: 1, interface: lan, addresses: [{VIP}], password: demo}}\n"
        (self.master.config / "cluster.yaml").write_text(cluster)

    def allowed_signers(self) -> Path:
        """A file for stock Git with the public key of each node."""
        path = self.directory / "allowed_signers"
        path.write_text("".join(f"{node.name} {_told(node.ask('key'), 'key')}\n" for node in self.nodes))
        return path

    def start_services(self, node: Node) -> None:
        """Start its supervisord with the portal under it."""
        (node.home / "run").mkdir(mode=0o755, exist_ok=True)
        settings = node.home / "supervisord.conf"
        settings.write_text(_supervisord(node))
        argv = [sys.executable, "-Es", "-m", "supervisor.supervisord", "-n", "-c", str(settings)]
        self._start(node, "supervisord", argv)

    def start(self, node: Node) -> None:
        """Start syncsrv itself; its carp process lives in the node's own network."""
        through = json.dumps(self.network.through(node.name))
        self._start(node, "serve", node.command("serve", "--carp-through", through))

    def ended(self) -> str:
        """Which daemons ended by themselves, and how; empty where all run."""
        return "; ".join(filter(None, (daemon.ended for node in self.nodes for daemon in node.daemons)))

    def logs(self) -> dict[str, list[str]]:
        """The last lines of each log that is not empty."""
        found = {}
        for node in self.nodes:
            for path in sorted((node.home / "log").glob("*.log")):
                lines = path.read_text(errors="replace").splitlines()[-_LOG_LINES:]
                if lines:
                    found[f"{node.name}/log/{path.name}"] = lines
        return found

    def _start(self, node: Node, name: str, argv: Sequence[str]) -> None:
        log = node.home / "log" / f"{name}.log"
        node.daemons.append(Daemon(f"{name} of {node.name}", argv, log, self._clock))


def _json_in(text: str) -> Mapping[str, Any]:
    """The object that a command printed, on a line of its own; a warning may stand before it."""
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            try:
                found = json.loads(line)
            except ValueError:
                return {}
            return found if isinstance(found, dict) else {}
    return {}


def _told(answer: Answer, key: str) -> str:
    if answer.status != 0 or key not in answer.data:
        raise BrokenDemoError(f"cannot run `syncsrv {shlex.join(answer.words)}`: {answer.text}")
    return str(answer.data[key])


def _supervisord(node: Node) -> str:
    portal = shlex.join((*_PORTAL, "--config", str(node.portal_file), "--port", str(node.portal)))
    return f"""\
[unix_http_server]
file = {node.supervisor_socket}
chmod = 0700

[supervisord]
nodaemon = true
logfile = /dev/null
logfile_maxbytes = 0
pidfile = {node.home}/run/supervisord.pid

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[program:portal]
command = {portal.replace("%", "%%")}
directory = /
startsecs = 0
stopwaitsecs = 3
redirect_stderr = true
stdout_logfile = {node.home}/log/portal.log
stdout_logfile_maxbytes = 0
"""


def _directory(place: Path | None) -> Path:
    """A new directory, 0700; in /tmp where sockets or supervisord's file could not have the path."""
    directory = Path(tempfile.mkdtemp(prefix="syncsrv-demo-", dir=place)).resolve()
    fits = len(os.fsencode(directory / _LONGEST_SOCKET)) <= SOCKET_PATH_MAX
    if fits and _PLAIN_PATH.fullmatch(str(directory)):
        return directory
    directory.rmdir()
    return Path(tempfile.mkdtemp(prefix="syncsrv-demo-", dir="/tmp")).resolve()


def free_ports(count: int) -> list[int]:
    """TCP ports of 127.0.0.1 that nobody listens on; all different."""
    found: list[int] = []
    start = os.getpid() * 7 % len(_PORTS)
    for port in (*_PORTS[start:], *_PORTS[:start]):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise BrokenDemoError(f"cannot find {count} free ports of 127.0.0.1 from {_PORTS.start} to {_PORTS.stop - 1}")


def _set_up_long_ago(root: Path) -> None:
    """Make a fresh copy of the sample a host that somebody set up by hand and forgot."""
    text = (root / PORTAL_FILE).read_text()
    (root / PORTAL_FILE).write_text(text.replace("title = ", "title = Old ", 1))
    (root / "etc/nginx/sites-enabled/wiki").unlink()
    (root / "etc/portal/conf.d").rmdir()
    (root / "etc/unbound/unbound.conf").chmod(0o600)
    (root / LEFTOVER).write_text("# left over from a trial\n")


def _remove(directory: Path) -> None:
    """Remove it although a directory in it may forbid its owner to write."""
    for where, names, _ in os.walk(directory):
        for name in names:
            path = Path(where, name)
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(directory)
