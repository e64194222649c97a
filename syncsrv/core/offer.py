"""What a sync of this backup is about: whose tag, which areas of it, what it is checked against.

Nothing here fetches, waits or changes anything: a preview shows what these functions say, and a run does it.
"""

from __future__ import annotations

from dataclasses import dataclass

from syncsrv.apply.order import CannotApplyError, Order
from syncsrv.config.load import parse_cluster
from syncsrv.config.model import Cluster, Role
from syncsrv.config.problem import ConfigurationError
from syncsrv.core.carp import serving
from syncsrv.core.parts import TAGS, Core
from syncsrv.errors import UsageError
from syncsrv.plan import guards
from syncsrv.plan.areas import CLUSTER_AREA
from syncsrv.plan.guards import Fired
from syncsrv.plan.tree import CLUSTER_PATH
from syncsrv.plan.words import listed
from syncsrv.store.tags import BadTagError
from syncsrv.version import __version__

NEW_TAG = "make a new tag with `syncsrv sync` on the master"


class WrongRoleError(UsageError):
    """This node's role does not fit what was asked."""

    code = "wrong-role"


@dataclass(frozen=True, slots=True)
class Offer:
    """A tag to apply.

    Attributes:
        master: the node that it is fetched from.
        tag: its name, empty for the newest of the master.
        tag_object: its object id, empty for the newest.
        areas: what of it; empty for all its areas.
        commit: what it has to name, because a person was shown that; empty for whatever it names.
    """

    master: str
    tag: str
    tag_object: str
    areas: tuple[str, ...]
    commit: str = ""


def offered(core: Core, nodes: tuple[str, ...], areas: tuple[str, ...], rev: str) -> Offer:
    """What a person on this backup asks for.

    Raises:
        WrongRoleError: other nodes than this one.
        UsageError: no master, or no tag of that name.
    """
    if nodes and nodes != (core.node,):
        raise WrongRoleError(
            f"cannot synchronize {listed(nodes)}: this is the backup {core.node}", "ask the master for others"
        )
    master = _master(core)
    tag = tag_object = ""
    if rev:
        tag = rev if rev.startswith("sync/") else f"sync/{rev}"
        tag_object = core.store.ref(TAGS + tag) or ""
        if not tag_object:
            raise UsageError(f"cannot synchronize to {rev}: no such tag here", "`syncsrv log` shows the tags")
    return Offer(master, tag, tag_object, areas)


def _master(core: Core) -> str:
    heard = core.book.now()
    masters = [name for name, one in heard.items() if one.facts is not None and one.facts.role == Role.MASTER.value]
    if len(masters) == 1 or len(heard) == 1:
        return masters[0] if masters else next(iter(heard))
    if not heard:
        raise UsageError("cannot synchronize: no master is configured", "write it into `peers:` of node.yaml")
    raise UsageError(
        "cannot synchronize: " + (f"{listed(masters)} all say master" if masters else "no peer says that it is master"),
        "see `syncsrv status`; exactly one node has `role: master`",
    )


def order_for(core: Core, tag: str, commit: str, chosen: tuple[str, ...], cluster: Cluster, theirs: str) -> Order:
    """The order of a sync of this node, without who asks for it; a dry run.

    Args:
        core: of this node.
        tag: the tag's name.
        commit: what it names.
        chosen: names of the areas.
        cluster: the tag's.
        theirs: the master's version.
    """
    applied = {name: one for name, one in core.state.now.applied.items() if name in chosen}
    return Order(
        job="",
        kind="sync",
        target=commit,
        cluster=cluster,
        areas=core.areas(cluster),
        chosen=chosen,
        first=core.state.now.newest is None,
        left={name: one.result for name, one in applied.items()},
        brought={name: one.commit for name, one in applied.items()},
        tag=tag,
        fired=_fired(core, cluster, tag, commit, theirs),
        dry_run=True,
    )


def cluster_of(core: Core, commit: str) -> Cluster:
    """The cluster.yaml of a tag's commit, checked as ``syncsrv check`` would with this node's other files.

    Raises:
        CannotApplyError: it has none that is valid here.
    """
    entry = core.store.read_tree(commit).get(CLUSTER_PATH)
    if entry is None:
        raise CannotApplyError(f"cannot apply {commit[:10]}: it has no cluster.yaml", "tag a later commit")
    config = core.live.config
    try:
        return parse_cluster(core.store.blob(entry.blob), "cluster.yaml", config.node, config.secrets)
    except ConfigurationError as error:
        raise CannotApplyError(
            f"cannot apply area cluster: the tag's cluster.yaml is not valid on this node: {error.message}",
            "mend it on the master (or what it needs in this node's node.yaml), then synchronize again",
        ) from error


def chosen_of(asked: tuple[str, ...], tag: str, areas: tuple[str, ...], cluster: Cluster) -> tuple[str, ...]:
    """What is applied of a tag.

    Args:
        asked: the areas that are asked for; all of the tag's where empty.
        tag: its name.
        areas: its areas.
        cluster: its cluster.yaml.

    Raises:
        BadTagError: it cannot be for these areas.
        UsageError: it is not for the areas that are asked for.
    """
    known = (*cluster.areas, CLUSTER_AREA)
    for name in areas:
        if name not in known:
            raise BadTagError(tag, f"it is for the area {name!r}, which its cluster.yaml has not", NEW_TAG)
    if not areas:
        raise BadTagError(tag, "it is for no area", NEW_TAG)
    for name in asked:
        if name not in areas:
            raise UsageError(
                f"cannot synchronize area {name}: {tag} was made for {', '.join(areas)}",
                "ask the master for a tag with that area",
            )
    return tuple(dict.fromkeys(asked or areas))


def _fired(core: Core, cluster: Cluster, tag: str, commit: str, theirs: str) -> tuple[Fired, ...]:
    """The guards that need more than the plan to see."""
    found = [guards.version(__version__, theirs), serving.guard(core)]
    applied = core.state.now.newest
    if applied is not None:
        found.append(guards.commands(core.cluster, cluster))
        is_older = applied.commit != commit and core.store.has(applied.commit)
        found.append(guards.older(is_older and core.store.is_ancestor(commit, applied.commit), tag, applied.tag))
    return tuple(one for one in found if one is not None)
