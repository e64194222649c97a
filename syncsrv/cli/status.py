"""``syncsrv status``: are they the same, what is different, is the backup well."""

from __future__ import annotations

from typing import Any

import click

from syncsrv.cli.output import Settings, pass_settings, printable, sentences
from syncsrv.cli.services import service_table
from syncsrv.cli.vip import failover_facts, vip_table
from syncsrv.cli.where import client

_COLOURS = {
    "in_sync": "green",
    "changes_pending": "cyan",
    "syncing": "cyan",
    "awaiting_first_sync": "cyan",
    "standalone": "cyan",
    "unknown": "yellow",
    "drifted": "yellow",
    "held": "yellow",
    "awaiting_confirm": "yellow",
}


@click.command()
@pass_settings
def command(settings: Settings) -> None:
    """Show what is in sync, what is different and what is well.

    Answers from the last poll of each peer, and exits 0 whatever it says.
    """
    with client(settings) as core:
        status = core.call("status", {}, deadline_s=15)
    settings.show(status, lambda: "\n".join(_lines(settings, status)))


def _lines(settings: Settings, status: dict[str, Any]) -> list[str]:
    sync = status["sync"]
    first, *rest = sentences(sync["reason"])
    lines = [
        f"{settings.paint(status['node'], 'bold')}, {status['role']} of {status['cluster']}: "
        f"{_word(settings, sync['state'])}  {first}",
        *rest,
    ]
    lines += _remedy(settings, sync["remedy"])
    head = status["head"]
    if head:
        lines.append(f"  live       {head['commit'][:10]}  {printable(head['subject'])}  ({head['at']})")
    if status["role"] == "master":
        untagged = status["untagged"]
        plural = "" if untagged == 1 else "s"
        lines.append(f"  last tag   {status['last_tag'] or 'none yet'}; {untagged} untagged commit{plural} after it")
    else:
        lines.append(
            f"  applied    {sync['applied_tag'] or 'nothing yet'}; known-good {(sync['known_good'] or 'none')[:10]}"
        )
    for name, peer in status["peers"].items():
        lines += _peer(settings, name, peer)
    lines += _vips(settings, status, fresh=True)
    if status["services"]:
        lines.append("services")
        lines.append(service_table(settings, status["services"], indent="  "))
    for one in status["left_out"]:
        why = printable(one["detail"] or one["reason"])
        lines.append(settings.paint(f"not in the history: {printable(one['path'])} ({why})", "yellow"))
    for notice in status["notices"]:
        first, *rest = sentences(notice)
        lines += [settings.paint(line, "yellow") for line in (f"note: {first}", *rest)]
    return lines


def _peer(settings: Settings, name: str, peer: dict[str, Any]) -> list[str]:
    age = f", heard {peer['age_s']:.0f} s ago" if peer["age_s"] is not None else ""
    role = peer["role"] or "never heard"
    first, *rest = sentences(peer["reason"])
    lines = [f"{settings.paint(name, 'bold')}, {role}{age}: {_word(settings, peer['state'])}  {first}", *rest]
    lines += _remedy(settings, peer["remedy"])
    if peer["role"] == "backup":
        lines.append(f"  applied    {peer['applied_tag'] or 'nothing yet'}; {peer['behind']} behind")
    lines += _vips(settings, peer, fresh=peer["reachable"], indent="  ")
    if peer["services"]:
        lines.append(service_table(settings, peer["services"], indent="  "))
    return lines


def _vips(settings: Settings, one: dict[str, Any], *, fresh: bool, indent: str = "") -> list[str]:
    """A node's virtual addresses, and what keeps it from serving them."""
    if not one["vips"]:
        return []
    lines = ["virtual addresses"] if not indent else []
    return [*lines, vip_table(settings, one["vips"], indent="  ", fresh=fresh), *failover_facts(settings, one)]


def _word(settings: Settings, state: str) -> str:
    return settings.paint(state, _COLOURS.get(state, "red"), "bold")


def _remedy(settings: Settings, remedy: str) -> list[str]:
    return [f"  {settings.paint('what to do:', 'bold')} {printable(remedy)}"] if remedy else []
