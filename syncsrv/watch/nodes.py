"""What scans know of each path between two looks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from syncsrv.plan.tree import Entry
from syncsrv.watch.live import LeftOut
from syncsrv.watch.reading import Signature


@dataclass(slots=True)
class Node:
    """What is known of one path.

    Attributes:
        signature: when it was read; empty where it must be looked at again.
        entry: what it is, or
        left: why it is no entry.
        names: of a directory that was listed: the names in it that are nodes.
    """

    signature: Signature = ()
    entry: Entry | None = None
    left: LeftOut | None = None
    names: set[bytes] | None = None


class Nodes(dict[bytes, Node]):
    """Nodes by tree path; what is below a path goes with it, at the cost of what is below it."""

    def take(self, path: bytes, node: Node) -> None:
        """Set what is no listed directory."""
        old = self.get(path)
        if old is not None and old.names:
            self.drop(path)
        self[path] = node

    def enter(self, path: bytes, node: Node, names: Collection[bytes]) -> None:
        """Set a directory with these names in it; what is known below them stays."""
        old = self.get(path)
        if old is not None and old.names:
            for name in old.names.difference(names):
                self.drop(below(path, name))
        self[path] = node

    def drop(self, path: bytes) -> None:
        """Forget a path and all below it."""
        doomed = [path]
        while doomed:
            gone = doomed.pop()
            node = self.pop(gone, None)
            if node is not None and node.names:
                doomed += [below(gone, name) for name in node.names]


def below(path: bytes, name: bytes) -> bytes:
    """The tree path of a name in a directory; the root's is empty."""
    return path + b"/" + name if path else name
