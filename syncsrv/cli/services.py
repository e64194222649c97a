"""``syncsrv services``: daemons of this node or of a peer. It never moves configuration."""

from __future__ import annotations

from typing import Any

import click

from syncsrv.cli.follow import follow
from syncsrv.cli.output import Settings, pass_settings, printable, table
from syncsrv.cli.where import client
from syncsrv.errors import UsageError

ACTIONS = ("status", "start", "stop", "restart", "reload", "restart-all")

_COLOURS = {"running": "green", "failed": "red", "stopped": "yellow"}


@click.command()
@click.argument("words", nargs=-1, metavar="[NODE] [status | start|stop|restart|reload NAME... | restart-all]")
@pass_settings
def command(settings: Settings, words: tuple[str, ...]) -> int:
    """Show, start, stop, restart and reload services.

    Without NODE: those of this node; without an action: status. restart-all restarts what runs or has failed, in the
    order of `after:`, and says what it skips. No configuration moves.
    """
    rest = list(words)
    node = "" if not rest or rest[0] in ACTIONS else rest.pop(0)
    action = rest.pop(0) if rest else "status"
    if action not in ACTIONS:
        raise UsageError(f"cannot {action} services: there is no such action", f"it is one of {', '.join(ACTIONS)}")
    body = {"node": node, "action": action, "names": rest}
    with client(settings) as core:
        if action != "status":
            job = core.call("act", body, deadline_s=30)["job"]
            return follow(settings, core, job, f"{action} {' '.join(rest)}".strip())
        reply = core.call("services", body, deadline_s=60)
    known = {one["name"] for one in reply["services"]}
    for name in rest:
        if name not in known:
            raise UsageError(
                f"cannot find service {name}: {reply['node']} has none of that name",
                f"services are: {', '.join(sorted(known)) or 'none'}",
            )
    wanted = [one for one in reply["services"] if not rest or one["name"] in rest]
    settings.show({**reply, "services": wanted}, lambda: service_table(settings, wanted) or "No service is configured.")
    return 0


def service_table(settings: Settings, services: list[dict[str, Any]], indent: str = "") -> str:
    """Services as rows: name, state, health, what to know."""
    rows = []
    for one in services:
        notes = [one["reason"]] if one["reason"] else []
        if one["restart_pending"]:
            notes.append("restart pending: it runs with an older configuration")
        rows.append(
            (
                one["name"],
                settings.paint(one["state"], _COLOURS.get(one["state"], "yellow")),
                settings.paint(f"health {one['health']}", "green" if one["health"] == "ok" else "yellow"),
                f"pid {one['pid']}" if one["pid"] else "",
                printable("; ".join(notes)),
            )
        )
    return table(rows, indent=indent)
