"""Which path belongs to which area, and what inside an area is left alone. Pure.

An area is a set of paths, each a file or a directory with all below it, minus what its ``exclude`` names, minus
leftovers of editors and package managers, minus what is never read into the store whatever the areas say. The
built-in area ``cluster`` is exactly CLUSTER_PATH. Watch, plan and apply all ask here, so that "not committed, not
compared, not written, not deleted" is one decision.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from syncsrv.config.model import Area, Cluster
from syncsrv.plan.tree import CLUSTER_PATH, is_below, tree_path

CLUSTER_AREA = "cluster"
"""The built-in area: cluster.yaml itself."""

DEFAULT_IGNORES: tuple[str, ...] = (
    # editors: backup copies, locks and probes of vim, emacs, nano, joe, kate, and GLib's saves
    "*~",
    ".*.sw?",
    ".*.swpx",
    "4913",
    ".#*",
    "#*#",
    "DEADJOE",
    ".*.kate-swp",
    ".goutputstream-*",
    # package managers: dpkg, ucf, rpm, pacman, apk, portage
    "*.dpkg-*",
    "*.ucf-*",
    "*.rpmnew",
    "*.rpmsave",
    "*.rpmorig",
    "*.pacnew",
    "*.pacsave",
    "*.pacorig",
    "*.apk-new",
    "._cfg????_*",
    # file systems' own: NFS and FUSE files deleted while open
    ".nfs????????????????*",
    ".fuse_hidden*",
    # ours, while an apply is under way
    ".syncsrv-*.tmp",
)
"""Base names that are left alone in every area, unless an area lists the very path."""

REMEMBERED = 1 << 16
"""Paths whose area is kept in memory."""

_HOST_SECRETS = re.compile(rb"etc/(?:ssh/ssh_host_[^/]*|machine-id|g?shadow[^/]*)")
_HOST_SECRETS_WHY = "never read unless an area lists this very path: it is this host's own secret or identity"


@dataclass(frozen=True, slots=True)
class Never:
    """A directory of this node that is never read into the store, with all below it.

    Attributes:
        path: as a tree path.
        what: what it is, for people: ``the configuration directory``.
    """

    path: bytes
    what: str


@dataclass(frozen=True, slots=True)
class _Rules:
    """One area, ready to be asked."""

    name: str
    tops: tuple[bytes, ...]
    listed: frozenset[bytes]
    limit: int
    literal: dict[bytes, str]
    names: re.Pattern[str]
    ignored: re.Pattern[str]
    closed_tops: dict[bytes, str]

    def child(self, path: bytes) -> str | None:
        """Why the last component of ``path`` is left alone, its parents being admitted; None where it is not."""
        why = self.literal.get(path)
        if why is not None:
            return why
        base = path[path.rfind(b"/") + 1 :].decode("utf-8", "surrogateescape")
        if self.names.match(base):
            return "excluded by a name pattern of its area"
        if path in self.listed:
            return None
        if self.ignored.match(base):
            return "leftover of an editor or a package manager"
        if path.startswith(b"etc/") and _HOST_SECRETS.fullmatch(path):
            return _HOST_SECRETS_WHY
        return None


@dataclass(frozen=True, slots=True)
class Areas:
    """The areas of one configuration, asked by path. Equal when they decide equally.

    Attributes:
        names: every area in the order of cluster.yaml, the built-in ``cluster`` last.
    """

    names: tuple[str, ...]
    _rules: dict[str, _Rules]
    _tops: dict[bytes, _Rules] = field(compare=False)
    _asked: dict[bytes, str | None] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, cluster: Cluster, ignores: Sequence[str] = DEFAULT_IGNORES, never: Sequence[Never] = ()) -> Areas:
        """Build from cluster.yaml.

        Args:
            cluster: a checked configuration (areas do not overlap).
            ignores: base name patterns that are left alone in every area.
            never: directories of this node that are never read, whatever the areas say.
        """
        reserved = {one.path: f"never read: {one.what}" for one in never}
        reserved[b".syncsrv"] = "never read: this name belongs to syncsrv's own entries in the repository"
        ignored = _any_of(ignores)
        rules = [_rules(name, area, reserved, ignored) for name, area in cluster.areas.items()]
        own = (CLUSTER_PATH,)
        built_in = Area(paths=("/" + CLUSTER_PATH.decode(),))
        nothing = _any_of(())
        rules.append(_Rules(CLUSTER_AREA, own, frozenset(own), built_in.limit, {}, nothing, nothing, closed_tops={}))
        return cls._from(rules)

    @classmethod
    def _from(cls, rules: Iterable[_Rules]) -> Areas:
        by_name = {one.name: one for one in rules}
        return cls(tuple(by_name), by_name, {top: one for one in by_name.values() for top in one.tops})

    def restricted(self, names: Collection[str]) -> Areas:
        """The same areas without those that are not in ``names``.

        Raises:
            KeyError: a name that is no area.
        """
        wanted = {name: self._rules[name] for name in names}
        return self._from(wanted[name] for name in self.names if name in wanted)

    def holds(self, other: Areas) -> bool:
        """Whether each area of ``other`` is one of these, drawn in the same way."""
        return all(self._rules.get(name) == rules for name, rules in other._rules.items())

    def tops(self, name: str) -> tuple[bytes, ...]:
        """The area's paths as tree paths, sorted, none below another."""
        return self._rules[name].tops

    def limit(self, name: str) -> int:
        """Bytes above which a file of the area is refused."""
        return self._rules[name].limit

    def area_of(self, path: bytes) -> str | None:
        """The area that manages ``path``; None outside all areas and for what is left alone inside one."""
        # Remembered: a sync asks ten times for each path of the tree, which was two fifths of its time.
        try:
            return self._asked[path]
        except KeyError:
            rules, why = self._judge(path)
            area = rules.name if rules is not None and why is None else None
            if len(self._asked) >= REMEMBERED:
                self._asked.clear()
            self._asked[path] = area
            return area

    def area_around(self, path: bytes) -> str | None:
        """The area that ``path`` lies in, also where it is left alone there."""
        rules, _ = self._judge(path)
        return rules.name if rules is not None else None

    def excluded(self, path: bytes) -> bool:
        """Whether ``path`` is inside an area and left alone there: excluded, ignored or never read."""
        return self.why_excluded(path) is not None

    def why_excluded(self, path: bytes) -> str | None:
        """The reason for ``excluded`` as words; None where it is managed or outside all areas."""
        return self._judge(path)[1]

    def why_child_excluded(self, name: str, path: bytes) -> str | None:
        """As why_excluded for a walker that came down from the area's top: judges the last component only."""
        return self._rules[name].child(path)

    def _judge(self, path: bytes) -> tuple[_Rules | None, str | None]:
        if path == CLUSTER_PATH:
            return self._tops.get(path), None
        rules, end = self._find(path)
        if rules is None:
            return None, None
        why = rules.closed_tops.get(path[:end])
        while why is None and end < len(path):
            slash = path.find(b"/", end + 1)
            end = len(path) if slash < 0 else slash
            why = rules.child(path[:end])
        return rules, why

    def _find(self, path: bytes) -> tuple[_Rules | None, int]:
        """The area whose top is ``path`` or above it, and where that top ends in ``path``."""
        rules = self._tops.get(b"")
        if rules is not None:
            return rules, 0 if path else len(path)
        end = path.find(b"/")
        while end >= 0:
            rules = self._tops.get(path[:end])
            if rules is not None:
                return rules, end
            end = path.find(b"/", end + 1)
        return self._tops.get(path), len(path)


def _rules(name: str, area: Area, reserved: dict[bytes, str], ignored: re.Pattern[str]) -> _Rules:
    listed = frozenset(tree_path(path) for path in area.paths)
    tops = tuple(sorted(one for one in listed if not any(one != other and is_below(one, other) for other in listed)))
    literal = {tree_path(pattern): f"excluded by its area: {pattern}" for pattern in area.exclude if "/" in pattern}
    literal.update(reserved)
    names = _any_of(pattern for pattern in area.exclude if "/" not in pattern)
    rules = _Rules(name, tops, listed, area.limit, literal, names, ignored, closed_tops={})
    for top in tops:
        above = next((why for path, why in literal.items() if is_below(top, path)), None)
        why = above or (rules.child(top) if top else None)
        if why is not None:
            rules.closed_tops[top] = why
    return rules


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    """One expression for many fnmatch patterns; it matches nothing where there are none."""
    return re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)")
