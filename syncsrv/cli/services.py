"""``syncsrv services``: daemons of this node or of a peer. It never moves configuration."""

from __future__ import annotations

from typing import Any

import click

from syncsrv.cli.follow import follow
from syncsrv.cli.output import Settings, pass_settings, printable, table
from syncsrv.cli.where import client
from syncsrv.errors import UsageError
from syncsrv.plan.words import counted, sized

LOOKS = ("status", "log")
ACTIONS = (*LOOKS, "start", "stop", "restart", "reload", "restart-all")

_COLOURS = {"running": "green", "failed": "red", "stopped": "yellow"}


@click.command()
@click.argument("words", nargs=-1, metavar="[NODE] [status | log | start|stop|restart|reload NAME... | restart-all]")
@pass_settings
def command(settings: Settings, words: tuple[str, ...]) -> int:
    """Show, start, stop, restart and reload services.

    Without NODE: those of this node; without an action: status. log shows the ends of the logs of those named; status
    those of what has failed. restart-all restarts what runs or has failed, in the order of `after:`, and says what it
    skips. No configuration moves.
    """
    rest = list(words)
    node = "" if not rest or rest[0] in ACTIONS else rest.pop(0)
    action = rest.pop(0) if rest else "status"
    if action not in ACTIONS:
        raise UsageError(f"cannot {action} services: there is no such action", f"it is one of {', '.join(ACTIONS)}")
    if action == "log" and not rest:
        raise UsageError("cannot show a log: no service is named", "name services, as in `services log nginx`")
    body = {"node": node, "action": action, "names": rest}
    with client(settings) as core:
        if action not in LOOKS:
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
    settings.show({**reply, "services": wanted}, lambda: "\n".join(_lines(settings, wanted, logs=action == "log")))
    return 0


def _lines(settings: Settings, services: list[dict[str, Any]], *, logs: bool) -> list[str]:
    """The services as rows, with all that is known of them; below them the logs that came along."""
    lines = [service_table(settings, services, facts=True) if services else "No service is configured."]
    for one in services:
        if one["log"] or logs:
            lines += ["", settings.paint(f"the end of the log of {one['name']}", "bold")]
            lines += [f"  {line}" for line in one["log"].splitlines()] or ["  nothing is known of it"]
    return lines


def service_table(settings: Settings, services: list[dict[str, Any]], indent: str = "", *, facts: bool = False) -> str:
    """Services as rows: name, state, health, process, what to know; with ``facts`` all that is known."""
    rows = []
    for one in services:
        notes = [one["reason"]] if one["reason"] else []
        if one["restart_pending"]:
            notes.append("restart pending: it runs with an older configuration")
        process = [f"pid {one['pid']}"] if one["pid"] else []
        rows.append(
            (
                one["name"],
                settings.paint(one["state"], _COLOURS.get(one["state"], "yellow")),
                settings.paint(f"health {one['health']}", "green" if one["health"] == "ok" else "yellow"),
                ", ".join([*process, *(_facts(one) if facts else [])]),
                printable("; ".join(notes)),
            )
        )
    return table(rows, indent=indent)


def _facts(one: dict[str, Any]) -> list[str]:
    facts = [f"since {one['since']}"] if one["since"] else []
    if one["memory"] is not None:
        facts.append(sized(one["memory"]) + (" in its main process" if one["memory_of"] == "process" else ""))
    if one["restarts"]:
        facts.append(f"started again {counted(one['restarts'], 'time')}")
    if one["enabled"]:
        facts.append(one["enabled"])
    return facts
