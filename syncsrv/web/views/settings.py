"""The configuration in force as the settings page shows it: grouped by file and first key. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from syncsrv.control.shapes_page import SettingInfo

OWN = "this node"
"""What single values of a file stand under."""


@dataclass(frozen=True, slots=True)
class Group:
    """Values that belong together.

    Attributes:
        file: where they are written.
        title: the first key, or what the file itself is about.
        values: each with its key below the title.
        written: how many of them somebody wrote.
    """

    file: str
    title: str
    values: tuple[tuple[str, SettingInfo], ...]
    written: int


def groups(settings: Iterable[SettingInfo]) -> list[Group]:
    """The values in their order; what has no key above it stands first in its file."""
    found: dict[tuple[str, str], list[tuple[str, SettingInfo]]] = {}
    for one in settings:
        first, dot, rest = one.key.partition(".")
        nested = bool(dot) and one.file != "secrets.yaml"
        found.setdefault((one.file, first if nested else ""), []).append((rest if nested else one.key, one))
    files = list(dict.fromkeys(file for file, _ in found))
    ordered = sorted(found.items(), key=lambda item: (files.index(item[0][0]), item[0][1] != ""))
    return [
        Group(file, title, tuple(values), sum(1 for _, one in values if one.line or one.note))
        for (file, title), values in ordered
    ]
