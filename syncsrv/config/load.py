"""Reads the configuration directory: all files, all problems of a run at once, or one frozen Configuration."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import StrictStr

from syncsrv.config import rules
from syncsrv.config.document import MAX_BYTES, Document, dotted
from syncsrv.config.model import Cluster, Node, Secrets
from syncsrv.config.problem import ConfigurationError, Problem, Severity
from syncsrv.config.shape import Read, read_shape
from syncsrv.config.sight import File, Finding
from syncsrv.config.yamltext import parse

T = TypeVar("T")

NODE_FILE = "node.yaml"
CLUSTER_FILE = "cluster.yaml"
SECRETS_FILE = "secrets.yaml"

_NODE_STANDINS = {"node": "a-node-without-a-name", "role": "master"}
_CLUSTER_STANDINS = {"cluster": "a-cluster-without-a-name"}


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a process of this node was told, read once and passed down.

    Attributes:
        node: node.yaml.
        cluster: cluster.yaml.
        secrets: secrets.yaml; empty where there is none.
        directory: where they were read.
        warnings: what an operator should know and what hinders nothing.
    """

    node: Node
    cluster: Cluster
    secrets: Secrets
    directory: Path
    warnings: tuple[Problem, ...] = ()


def load(directory: Path, *, cluster_file: Path | None = None) -> Configuration:
    """Read node.yaml, cluster.yaml and secrets.yaml.

    Args:
        directory: the configuration directory.
        cluster_file: another file to take as cluster.yaml, to check it before it is put in place.

    Raises:
        ConfigurationError: with every problem of all files.
    """
    node, cluster, secrets = read_files(directory, cluster_file)
    problems = [*node.problems, *cluster.problems, *secrets.problems]
    known = secrets.value if () not in secrets.unread else None
    for finding in rules.check(node.value, cluster.value, known, node.unread, cluster.unread):
        problems += _placed(finding, node if finding.file is File.NODE else cluster)
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if errors or node.value is None or cluster.value is None or secrets.value is None:
        raise ConfigurationError(problems)
    return Configuration(node.value, cluster.value, secrets.value, directory, tuple(sorted(set(problems))))


def read_files(directory: Path, cluster_file: Path | None = None) -> tuple[Read[Node], Read[Cluster], Read[Secrets]]:
    """The three files as far as each can be read by itself, with the place of every value."""
    cluster = _read_file(cluster_file or directory / CLUSTER_FILE, Cluster, _CLUSTER_STANDINS)
    return _read_node(directory), cluster, _read_secrets(directory / SECRETS_FILE)


def load_node(directory: Path) -> Node:
    """Read node.yaml alone, for what has to work while cluster.yaml is broken.

    Raises:
        ConfigurationError: with every problem of node.yaml.
    """
    return _node_alone(_read_node(directory))


def parse_node(text: bytes, name: str) -> Node:
    """Read a node.yaml that is not in place.

    Args:
        text: the file's content.
        name: what Problems call it.

    Raises:
        ConfigurationError: with every problem of it.
    """
    return _node_alone(read_shape(name, parse(text), Node, standins=_NODE_STANDINS))


def _node_alone(node: Read[Node]) -> Node:
    findings = rules.check(node.value, None, None, node.unread, frozenset())
    problems = [*node.problems, *(problem for finding in findings for problem in _placed(finding, node))]
    if node.value is None or any(problem.severity is Severity.ERROR for problem in problems):
        raise ConfigurationError(problems)
    return node.value


def parse_cluster(text: bytes, name: str, node: Node | None, secrets: Secrets | None) -> Cluster:
    """Read a cluster.yaml that is not in place, such as a tag's, as this node would take it.

    Args:
        text: the file's content.
        name: what Problems call it.
        node: this node's node.yaml; None on a machine that is no node, where what depends on it cannot be judged.
        secrets: this node's secrets.yaml; None likewise.

    Raises:
        ConfigurationError: with every problem; those that node.yaml has with it stand at line 1 of it.
    """
    cluster: Read[Cluster] = read_shape(name, parse(text), Cluster, standins=_CLUSTER_STANDINS)
    problems = [*cluster.problems]
    for finding in rules.check(node, cluster.value, secrets, frozenset(), cluster.unread):
        if finding.file is File.CLUSTER:
            problems += _placed(finding, cluster)
        else:
            problems.append(Problem(NODE_FILE, 1, 1, dotted(finding.path), finding.message, finding.severity))
    if cluster.value is None or any(problem.severity is Severity.ERROR for problem in problems):
        raise ConfigurationError(problems)
    return cluster.value


def _placed(finding: Finding, read: Read[Any]) -> list[Problem]:
    """A finding at its line; none where what it misses is there but was wrong by itself."""
    written = read.as_written(finding.path)
    lost = any(written[: len(path)] == path or path[: len(written)] == written for path in read.unread)
    if lost and not finding.name:
        return []
    return [read.problem(written, finding.message, finding.severity, at_key=finding.at_key)]


def _read_node(directory: Path) -> Read[Node]:
    return _read_file(directory / NODE_FILE, Node, _NODE_STANDINS)


def _read_file(path: Path, shape: type[T], standins: Mapping[str, str]) -> Read[T]:
    text = _content(path)
    if isinstance(text, Problem):
        return Read(str(path), Document(None, {}), None, (text,), frozenset({()}), {})
    return read_shape(str(path), parse(text), shape, standins=standins)


def _read_secrets(path: Path) -> Read[Secrets]:
    nothing: Read[Secrets] = Read(str(path), Document({}, {}), {}, (), frozenset(), {})
    if not os.path.lexists(path):
        return nothing
    text = _content(path, private=True)
    if isinstance(text, Problem):
        return Read(str(path), Document(None, {}), None, (text,), frozenset({()}), {})
    return read_shape(str(path), parse(text), dict[str, StrictStr], secret=True)


def _content(path: Path, *, private: bool = False) -> bytes | Problem:
    """The bytes of a regular file, at most one more than the parser takes; a FIFO does not hold us up."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        return _problem(path, "cannot be read: there is no such file; `syncsrv init` writes one")
    except OSError as error:
        return _problem(path, f"cannot be read: {error.strerror}")
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            return _problem(path, "cannot be read: it is not a regular file")
        if private and state.st_mode & 0o077:
            mode = stat.S_IMODE(state.st_mode)
            return _problem(path, f"cannot be used: others can read it (mode {mode:04o}); run `chmod 600 {path}`")
        if private and state.st_uid not in (0, os.geteuid()):
            return _problem(path, f"cannot be used: it belongs to uid {state.st_uid}; run `chown root {path}`")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        return _problem(path, f"cannot be read: {error.strerror}")
    finally:
        os.close(descriptor)


def _problem(path: Path, message: str) -> Problem:
    return Problem(str(path), 1, 1, "", message)
