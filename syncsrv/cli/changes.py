"""How changed files are printed, for ``show`` and ``diff``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from syncsrv.cli.output import Settings, printable

_COLOURS = {"added": "green", "removed": "red"}


def file_lines(settings: Settings, files: Iterable[dict[str, Any]], *, stat: bool) -> list[str]:
    """Deletions first, then the rest by path; with the text's difference unless ``stat``."""
    lines: list[str] = []
    for one in sorted(files, key=lambda one: (one["status"] != "removed", one["path"])):
        word = settings.paint(f"{one['status']:<8}", _COLOURS.get(one["status"], "yellow"))
        lines.append(f"{word} {printable(one['path'])}{_details(one)}")
        if not stat and one["patch"]:
            lines += [_patch_line(settings, line) for line in one["patch"].splitlines()]
    return lines


def _details(one: dict[str, Any]) -> str:
    said = []
    if one["old_mode"] and one["new_mode"] and one["old_mode"] != one["new_mode"]:
        said.append(f"mode {one['old_mode']} -> {one['new_mode']}")
    if one["old_owner"] and one["new_owner"] and one["old_owner"] != one["new_owner"]:
        said.append(f"owner {printable(one['old_owner'])} -> {printable(one['new_owner'])}")
    if one["binary"]:
        said.append("binary")
    elif one["large"]:
        said.append("too large to be shown here")
    return f"  ({', '.join(said)})" if said else ""


def _patch_line(settings: Settings, line: str) -> str:
    text = "  " + printable(line)
    if line.startswith(("+++", "---")):
        return settings.paint(text, "bold")
    if line.startswith("@@"):
        return settings.paint(text, "cyan")
    return (
        settings.paint(text, "green") if line[:1] == "+" else settings.paint(text, "red") if line[:1] == "-" else text
    )


def without_patches(files: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """For JSON: the data, not its rendering."""
    return [{key: value for key, value in one.items() if key != "patch"} for one in files]
