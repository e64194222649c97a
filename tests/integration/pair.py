"""Two real nodes on this machine: the real command line, the real processes, roots and state of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syncsrv.control.ask import Client
from syncsrv.errors import SyncsrvError
from tests.support.net import free_port
from tests.support.wait import until

PROGRAM = [sys.executable, "-Es", "-m", "syncsrv"]
ENVIRONMENT = {"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", "HOME": "/nonexistent"}

CLUSTER = """\
cluster: edge
areas:
  proxy:
    paths: [/etc/proxy]
    exclude: ["*.bak"]
    check: [CHECK, "{stage}/etc/proxy"]
  dns:
    paths: [/etc/dns, /etc/hosts.extra]
"""


CHECK = """\
#!/bin/sh
if grep -rn BROKEN "$1" ; then echo "BROKEN is no directive"; exit 1; fi
if grep -rqs HANG "$1" ; then exec sleep 1000; fi
"""
"""What the area proxy is checked with: it has something to say about some words."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command answered."""

    status: int
    data: Any
    text: str


@dataclass(slots=True)
class Node:
    """One node below ``home``."""

    name: str
    role: str
    home: Path
    ssh: int
    web: int
    process: subprocess.Popen[bytes] | None = None
    prefix: tuple[str, ...] = ()
    """What serve is started through."""
    code: Path | None = None
    """A folder with another syncsrv, which serve is started from."""
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.home / "log"

    @property
    def etc(self) -> Path:
        return self.home / "conf"

    @property
    def root(self) -> Path:
        return self.home / "root"

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def repository(self) -> Path:
        return self.state / "config.git"

    @property
    def page(self) -> str:
        """Its URL, without a final slash."""
        return f"https://127.0.0.1:{self.web}"

    def file(self, path: str) -> Path:
        """A managed file's place on the disk."""
        return self.root / path.strip("/")

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Save a managed file as an editor does: another file, renamed."""
        target = self.file(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.swp")
        temporary.write_text(text)
        temporary.chmod(mode)
        temporary.rename(target)
        return target

    def ask(self, *words: str, stdin: str | None = None) -> Answer:
        """One command with ``--json``."""
        ended = subprocess.run(
            [*PROGRAM, "--config", str(self.etc), *words, "--json"],
            capture_output=True,
            text=True,
            timeout=100,
            env=ENVIRONMENT,
            input=stdin,
        )
        try:
            data = json.loads(ended.stdout)
        except ValueError:
            data = None
        return Answer(ended.returncode, data, ended.stdout + ended.stderr)

    def told(self, *words: str) -> str:
        """One command as a person sees it; stdout and stderr."""
        ended = subprocess.run(
            [*PROGRAM, "--config", str(self.etc), *words], capture_output=True, text=True, timeout=100, env=ENVIRONMENT
        )
        return ended.stdout + ended.stderr

    def do(self, *words: str) -> Any:
        """A command that has to succeed; its JSON."""
        answer = self.ask(*words)
        assert answer.status == 0, f"{words}: {answer.status}: {answer.text}\n{self.tail()}"
        return answer.data

    def status(self) -> Mapping[str, Any]:
        """What ``syncsrv status --json`` shows, without a process for each question."""
        with Client(self.home / "run" / "core.sock") as core:
            return core.call("status", {}, deadline_s=15)

    def is_up(self) -> bool:
        """Whether core answers."""
        try:
            return bool(self.status())
        except SyncsrvError:
            return False

    def git(self, *words: str) -> str:
        """Stock Git on the node's repository."""
        ended = subprocess.run(
            ["git", "-c", "safe.directory=*", "-C", str(self.repository), *words],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def start(self, *, wait: bool = True) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, *PROGRAM, "--config", str(self.etc), "serve"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=ENVIRONMENT,
                cwd=self.code,
            )
        if wait:
            self.await_up()

    def await_up(self) -> None:
        """Wait until core answers."""
        try:
            until(self.is_up, deadline_s=60, what=f"{self.name} to be ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from error

    def stop(self) -> int:
        """SIGTERM to serve; its exit status."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(60)
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL to all of it."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):  # all ended
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
            self.process = None

    def pids(self, word: str) -> list[int]:
        """Processes of this node whose argv ends in ``word``."""
        assert self.process is not None
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                argv = (entry / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
                group = os.getpgid(int(entry.name))
            except (OSError, ValueError):
                continue
            if group == self.process.pid and argv[-1] == word.encode():
                found.append(int(entry.name))
        return found

    def tail(self, lines: int = 30) -> str:
        """The last lines of its processes' log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@dataclass(slots=True)
class Pair:
    """fw1, the master, and fw2, its backup."""

    fw1: Node
    fw2: Node

    def reachable(self) -> bool:
        """Whether each has heard the other."""
        return all(peer["reachable"] for node in (self.fw1, self.fw2) for peer in node.status()["peers"].values())

    def synced(self, *words: str) -> Any:
        """``syncsrv sync`` on the master that has to succeed; fw2's result."""
        return self.fw1.do("sync", *words)["nodes"]["fw2"]


def make_node(home: Path, name: str, role: str) -> Node:
    """A node made by the real init."""
    node = Node(name, role, home, free_port(), free_port())
    node.root.mkdir(parents=True)
    made = subprocess.run(
        [
            *PROGRAM,
            "--config",
            str(node.etc),
            "init",
            "--node",
            name,
            "--role",
            role,
            "--root",
            str(node.root),
            "--state-dir",
            str(node.state),
            "--run-dir",
            str(home / "run"),
            "--ssh",
            f"127.0.0.1:{node.ssh}",
            "--web",
            f"127.0.0.1:{node.web}",
        ],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=60,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return node


def pin(node: Node, *peers: Node) -> None:
    """Write ``peers:`` by hand, as the README says."""
    lines = ["", "peers:"]
    for peer in peers:
        key = peer.do("key")["key"]
        lines.append(f'  {peer.name}: {{address: "127.0.0.1:{peer.ssh}", key: "{key}"}}')
    with (node.etc / "node.yaml").open("a") as file:
        file.write("\n".join(lines) + "\n")


def make_pair(home: Path, cluster: str = CLUSTER) -> Pair:
    """Two configured nodes, not started."""
    fw1, fw2 = make_node(home / "1", "fw1", "master"), make_node(home / "2", "fw2", "backup")
    pin(fw1, fw2)
    pin(fw2, fw1)
    check = home / "check"
    check.write_text(CHECK)
    check.chmod(0o755)
    for node in (fw1, fw2):
        (node.etc / "cluster.yaml").write_text(cluster.replace("CHECK", str(check)))
    return Pair(fw1, fw2)


def start_pair(pair: Pair) -> None:
    """Start both and wait until they have heard each other."""
    for node in (pair.fw1, pair.fw2):
        node.start(wait=False)
    for node in (pair.fw1, pair.fw2):
        node.await_up()
    until(pair.reachable, deadline_s=30, what="the nodes to hear each other")


def end_pair(pair: Pair) -> None:
    pair.fw1.kill()
    pair.fw2.kill()


def listing(root: Path) -> dict[str, tuple[str, int, str]]:
    """Everything below a directory: type, mode and content or target, for comparing two disks."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = os.fsencode(path.relative_to(root)).decode("utf-8", "backslashreplace")
        mode = path.lstat().st_mode & 0o7777
        if path.is_symlink():
            found[name] = ("link", 0, os.readlink(path))
        elif path.is_dir():
            found[name] = ("directory", mode, "")
        elif not path.is_file():
            found[name] = ("special", mode, "")
        else:
            found[name] = ("file", mode, path.read_bytes().decode("latin-1"))
    return found
