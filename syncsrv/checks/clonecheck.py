"""The areas' checks on a tree outside a node: an operator's clone, before it is committed or pushed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from syncsrv.checks.check import DEADLINE_S, CheckResult, run_in_folder
from syncsrv.config.load import parse_cluster
from syncsrv.config.model import Cluster
from syncsrv.errors import UsageError
from syncsrv.plan.tree import CLUSTER_PATH

_NODE = "clone"


@dataclass(frozen=True, slots=True)
class TreeCheck:
    """A tree whose cluster.yaml is valid, and the checks that it asks for.

    Attributes:
        directory: the tree; it stands for ``{stage}``.
        cluster: its cluster.yaml.
        deadline_s: for each check.
    """

    directory: Path
    cluster: Cluster = field(repr=False)
    deadline_s: float = DEADLINE_S

    def run(self) -> Iterator[CheckResult]:
        """Run the check of each area that has one, yielding each result as it comes."""
        with tempfile.TemporaryDirectory(prefix="syncsrv-") as reports:
            for name, area in self.cluster.areas.items():
                if area.check:
                    yield run_in_folder(
                        self.directory, name, area.check, reports=Path(reports), node=_NODE, deadline_s=self.deadline_s
                    )


def read_tree(directory: Path, *, deadline_s: float = DEADLINE_S) -> TreeCheck:
    """Take a tree as it lies in a clone of a node's repository.

    Raises:
        UsageError: it has no cluster.yaml where such a tree has it.
        ConfigurationError: its cluster.yaml is not valid.
    """
    tree = directory.resolve()
    file = tree.joinpath(*CLUSTER_PATH.decode().split("/"))
    try:
        text = file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot check the tree {directory}: {file} cannot be read ({error.strerror})",
            "give the top of a clone of a node's repository",
        ) from error
    return TreeCheck(tree, parse_cluster(text, str(file), None, None), deadline_s)


def check_tree(directory: Path, *, deadline_s: float = DEADLINE_S) -> list[CheckResult]:
    """Read a tree and run all its checks.

    Raises:
        UsageError, ConfigurationError: as read_tree.
    """
    return list(read_tree(directory, deadline_s=deadline_s).run())
