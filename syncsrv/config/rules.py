"""What needs two keys or two files to be judged. Pure: shapes in, findings out.

A rule is a function from a Sight to findings; ``check`` runs them all. Positions are not known here, only paths.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from syncsrv.config import rules_network, rules_services, rules_statesync
from syncsrv.config.document import KeyPath
from syncsrv.config.model import Cluster, Node, Override, Role, Secrets
from syncsrv.config.problem import Severity
from syncsrv.config.sight import File, Finding, Rule, Sight, did_you_mean, in_cluster
from syncsrv.config.values import is_under, normal_path

BUILT_IN_AREA = "cluster"
TREE_RESERVED = "/.syncsrv"
"""Where the tree keeps what Git cannot hold; no real file can have this path in it."""
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


def check(
    node: Node | None,
    cluster: Cluster | None,
    secrets: Secrets | None,
    node_unread: frozenset[KeyPath] = frozenset(),
    cluster_unread: frozenset[KeyPath] = frozenset(),
) -> list[Finding]:
    """Judge the files against themselves and each other.

    Args:
        node: node.yaml, or None where it could not be read.
        cluster: cluster.yaml, or None likewise.
        secrets: secrets.yaml, or None where what it holds cannot be known.
        node_unread: paths of node.yaml that were wrong by themselves and are missing from ``node``.
        cluster_unread: likewise for cluster.yaml.
    """
    sight = Sight(node, cluster, secrets, node_unread, cluster_unread)
    return [finding for rule in RULES for finding in rule(sight)]


def _area_names(sight: Sight) -> Iterator[Finding]:
    if BUILT_IN_AREA in sight.areas():
        message = f"cannot be the name of an area: {BUILT_IN_AREA} is the built-in area that carries cluster.yaml"
        yield Finding(File.CLUSTER, ("areas", BUILT_IN_AREA), message, at_key=True, name=True)


def _area_paths(sight: Sight) -> Iterator[Finding]:
    for path, where in _paths(sight):
        if path == "/":
            yield in_cluster(*where)("cannot be /: an area is a part of the tree; list the directories that are meant")
        elif is_under(path, TREE_RESERVED):
            yield in_cluster(*where)(f"cannot be {path}: history keeps owners and modes under this name")


def _overlaps(sight: Sight) -> Iterator[Finding]:
    """Each path against those before it, by its parents, so that thousands of paths are no matter."""
    exact: dict[str, KeyPath] = {}
    inside: dict[str, tuple[str, KeyPath]] = {}
    for path, where in _paths(sight):
        if path == "/":
            continue
        outer = next((parent for parent in _parents(path) if parent in exact), None)
        if path in exact:
            yield in_cluster(*where)(f"cannot be managed twice: area {exact[path][1]} has {path} already")
        elif outer is not None:
            message = f"cannot be managed twice: {path} lies inside {outer} of area {exact[outer][1]}"
            yield in_cluster(*where)(message)
        elif path in inside:
            inner, its = inside[path]
            yield in_cluster(*where)(f"cannot be managed twice: {inner} of area {its[1]} lies inside {path}")
        exact.setdefault(path, where)
        for parent in _parents(path):
            inside.setdefault(parent, (path, where))


def _excludes(sight: Sight) -> Iterator[Finding]:
    if sight.cluster is None:
        return
    for name, area in sight.cluster.areas.items():
        for index, pattern in enumerate(area.exclude):
            where = ("areas", name, "exclude", index)
            if not pattern:
                yield in_cluster(*where)("cannot be empty")
            elif "/" in pattern:
                try:
                    path = normal_path(pattern)
                except ValueError as error:
                    yield in_cluster(*where)(f"{error}; a pattern without `/` is a base name anywhere in the area")
                    continue
                if not any(is_under(path, top) for top in area.paths):
                    message = f"{path} lies in none of the paths of area {name}, so nothing is left out by it"
                    yield Finding(File.CLUSTER, where, message, Severity.WARNING)


def _area_services(sight: Sight) -> Iterator[Finding]:
    known = sight.services()
    if sight.cluster is None or known is None:
        return
    for name, area in sight.cluster.areas.items():
        for index, service in enumerate(area.services):
            if service not in known:
                message = f"cannot be found: there is no service {service}{did_you_mean(service, known)}"
                yield in_cluster("areas", name, "services", index)(message)


def _allowed(sight: Sight) -> Iterator[Finding]:
    if sight.node is None or ("allow",) in sight.node_unread:
        return
    for path, where in _paths(sight):
        if path == "/" or is_under(path, TREE_RESERVED):
            continue  # said to be an error already
        if not any(is_under(path, top) for top in sight.node.allow):
            roots = ", ".join(sight.node.allow) or "nothing"
            refused = "a sync of it" if sight.node.role is Role.BACKUP else "rolling it back"
            message = f"{path} is outside what node.yaml allows to be written here ({roots}): {refused} is refused"
            yield Finding(File.CLUSTER, where, message, Severity.WARNING)


def _overrides(sight: Sight) -> Iterator[Finding]:
    if sight.cluster is None:
        return
    tops = [path for path, _ in _paths(sight)]
    for index, override in enumerate(sight.cluster.overrides):
        where = ("overrides", index)
        if not _has_unread_areas(sight) and not any(is_under(override.path, top) for top in tops):
            yield in_cluster(*where, "path")(f"cannot be overridden: {override.path} lies in no area")
        yield from _override_shape(override, where)
        yield from _override_variables(sight, override, where)


def _override_shape(override: Override, where: KeyPath) -> Iterator[Finding]:
    given = {field for field in ("pointer", "match") if getattr(override, field) is not None}
    if len(given) != 1:
        fault = "both are given" if given else "neither is given"
        yield in_cluster(*where)(f"cannot tell the place: exactly one of pointer and match is needed, {fault}")
    sets = "set" in override.model_fields_set
    if sets == override.keep:
        fault = "both are given" if sets else "neither is given"
        yield in_cluster(*where)(f"cannot tell the value: exactly one of `set` and `keep: true` is needed, {fault}")
    if override.pointer and not override.pointer.startswith("/"):
        yield in_cluster(*where, "pointer")(f"cannot be {override.pointer!r}: a JSON pointer begins with /")
    if override.pointer is not None and re.search(r"~(?![01])", override.pointer):
        yield in_cluster(*where, "pointer")(
            f"cannot be {override.pointer!r}: ~ is written ~0 there, and / inside a key ~1"
        )
    if override.match is not None:
        try:
            groups = re.compile(override.match).groups
        except (re.error, OverflowError, RecursionError) as error:
            yield in_cluster(*where, "match")(f"cannot be used as a regular expression: {error}")
        else:
            if groups != 1:
                message = f"cannot have {groups} groups: exactly one ( ) marks what is replaced, others are (?: )"
                yield in_cluster(*where, "match")(message)


def _override_variables(sight: Sight, override: Override, where: KeyPath) -> Iterator[Finding]:
    known = sight.variables()
    if known is None or not isinstance(override.set, str):
        return
    for name in dict.fromkeys(_VARIABLE.findall(override.set)):
        if name not in known:
            message = f"cannot be filled in: node.yaml has no {name} under variables{did_you_mean(name, known)}"
            yield in_cluster(*where, "set")(message)


def _paths(sight: Sight) -> Iterator[tuple[str, KeyPath]]:
    if sight.cluster is not None:
        for name, area in sight.cluster.areas.items():
            for index, path in enumerate(area.paths):
                yield path, ("areas", name, "paths", index)


def _has_unread_areas(sight: Sight) -> bool:
    return any(path[:1] == ("areas",) for path in sight.cluster_unread)


def _parents(path: str) -> Iterator[str]:
    while (path := path.rpartition("/")[0]) != "":
        yield path


RULES: tuple[Rule, ...] = (
    _area_names,
    _area_paths,
    _overlaps,
    _excludes,
    _area_services,
    _allowed,
    _overrides,
    *rules_services.RULES,
    *rules_network.RULES,
    *rules_statesync.RULES,
)
