"""Follow a job to its end: its steps as they happen, then its result and the exit status of the contract."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from syncsrv.cli.output import Settings, printable, sentences
from syncsrv.control.ask import Client

WAIT_S = 2.0
CALL_S = 15.0

_COLOURS = {"done": "green", "unchanged": "green", "failed": "red", "refused": "yellow", "unreachable": "yellow"}
_MARKS = {"done": "ok", "failed": "FAILED", "skipped": "skipped", "warning": "warning"}


def follow(settings: Settings, client: Client, job: str, title: str) -> int:
    """Show a job until it ends.

    Args:
        settings: how to print.
        client: core.
        job: its id.
        title: what was asked for, the first line for people.

    Returns:
        The exit status: 0 every node done or equal; else 1 if one failed; else 4; else 3.
    """
    if not settings.as_json:
        print(settings.paint(f"{title} (job {job})", "bold"))
    try:
        reply = _until_its_end(settings, client, job)
    except KeyboardInterrupt:
        print(f"syncsrv: job {job} goes on without you; `syncsrv status` shows how it is", file=sys.stderr)
        raise
    settings.show(
        {"job": job, "tag": reply["tag"], "nodes": reply["nodes"]},
        lambda: "\n".join(_lines(settings, reply["tag"], reply["nodes"])),
    )
    return exit_status(reply["nodes"])


def _until_its_end(settings: Settings, client: Client, job: str) -> dict[str, Any]:
    seen = 0
    while True:
        reply = client.call("job", {"job": job, "after": seen, "wait_s": WAIT_S}, deadline_s=CALL_S)
        for node, step in reply["steps"]:
            seen += 1
            if step["result"] != "running" and not settings.as_json:
                _show_step(settings, node, step)
        if reply["state"] != "running":
            return reply


def exit_status(nodes: Mapping[str, Mapping[str, Any]]) -> int:
    """0, 1, 4 or 3, by the results of all nodes."""
    results = {node["result"] for node in nodes.values()}
    if results <= {"done", "unchanged"}:
        return 0
    if "failed" in results:
        return 1
    return 4 if "refused" in results else 3


def _show_step(settings: Settings, node: str, step: Mapping[str, Any]) -> None:
    result = step["result"]
    mark = settings.paint(f"{_MARKS.get(result, result):>7}", {"done": "green", "failed": "red"}.get(result, "yellow"))
    first, *rest = step["output"].splitlines() or [""]
    said = f"  {printable(first)}" if first else ""
    print(f"  {node:<10} {mark}  {step['name']}{said}{_took(step['seconds'])}")
    for line in rest[:40]:
        print(" " * 22 + printable(line))
    sys.stdout.flush()


def _took(seconds: float) -> str:
    return f"  ({seconds:.2f} s)" if seconds >= 0.005 else ""


def _lines(settings: Settings, tag: str | None, nodes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = []
    for name, node in nodes.items():
        word = settings.paint(node["result"], _COLOURS.get(node["result"], "bold"), "bold")
        at = f" at {tag}" if tag and node["result"] in {"done", "unchanged"} else ""
        shown = "\n".join(step["output"] for step in node["steps"])
        first, *rest = sentences(node["reason"], shown)
        lines.append(f"{name}: {word}{at}" + (f": {first}" if first else ""))
        lines += rest
        if node["remedy"] and node["result"] not in {"done", "unchanged"}:
            lines.append(f"  {settings.paint('what to do:', 'bold')} {printable(node['remedy'])}")
    return lines
