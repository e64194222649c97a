"""What the rules see and what they say. Pure."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from syncsrv.config.document import KeyPath
from syncsrv.config.model import Cluster, Node, Secrets
from syncsrv.config.problem import Severity


class File(enum.Enum):
    """Which file a finding is about."""

    NODE = "node.yaml"
    CLUSTER = "cluster.yaml"


@dataclass(frozen=True, slots=True)
class Finding:
    """A Problem before its position is known.

    Attributes:
        file: which file it is about.
        path: the value it is about, in the shape.
        message: as in Problem.
        severity: as in Problem.
        at_key: it stands at the key, not at the value.
        name: it is about the key itself, so it counts even where the value was wrong by itself.
    """

    file: File
    path: KeyPath
    message: str
    severity: Severity = Severity.ERROR
    at_key: bool = False
    name: bool = False


@dataclass(frozen=True, slots=True)
class Sight:
    """The files, None where one could not be read, and the paths that were wrong and cut out of the rest."""

    node: Node | None
    cluster: Cluster | None
    secrets: Secrets | None
    node_unread: frozenset[KeyPath] = frozenset()
    cluster_unread: frozenset[KeyPath] = frozenset()

    def services(self) -> set[str] | None:
        """The names that cluster.yaml gives to services, well or not; None where that cannot be known."""
        if self.cluster is None or ("services",) in self.cluster_unread:
            return None
        return {*self.cluster.services, *_second(self.cluster_unread, "services")}

    def areas(self) -> set[str]:
        """Likewise for areas, as far as it can be known."""
        return {*(self.cluster.areas if self.cluster else ()), *_second(self.cluster_unread, "areas")}

    def peers(self) -> set[str]:
        """Likewise for node.yaml's peers."""
        return {*(self.node.peers if self.node else ()), *_second(self.node_unread, "peers")}

    def interfaces(self) -> set[str] | None:
        """Likewise for node.yaml's interfaces."""
        if self.node is None or ("interfaces",) in self.node_unread:
            return None
        return {*self.node.interfaces, *_second(self.node_unread, "interfaces")}

    def variables(self) -> set[str] | None:
        """Likewise for node.yaml's variables."""
        if self.node is None or ("variables",) in self.node_unread:
            return None
        return {*self.node.variables, *_second(self.node_unread, "variables")}


Rule: TypeAlias = Callable[[Sight], Iterator[Finding]]


def in_node(*path: str | int) -> Callable[[str], Finding]:
    """Makes a finding at a value of node.yaml from its message."""
    return lambda message: Finding(File.NODE, path, message)


def in_cluster(*path: str | int) -> Callable[[str], Finding]:
    """Makes a finding at a value of cluster.yaml from its message."""
    return lambda message: Finding(File.CLUSTER, path, message)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` (did you mean X?)`` where one of the known names is near, else nothing."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


def _second(paths: Iterable[KeyPath], first: str) -> set[str]:
    return {str(path[1]) for path in paths if len(path) > 1 and path[0] == first}
