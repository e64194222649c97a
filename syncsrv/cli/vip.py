"""``syncsrv vip``: who serves the virtual addresses, and moving them by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click

from syncsrv.cli.output import Settings, pass_settings, printable, table, warn
from syncsrv.cli.statetable import state_words
from syncsrv.cli.where import client
from syncsrv.clock import SystemClock
from syncsrv.control.ask import CoreAwayError
from syncsrv.control.shapes_failover import UNREPORTED
from syncsrv.errors import SyncsrvError

ACT_S = 60.0
"""For an answer: the agent's patience, and each peer that is asked."""

_COLOURS = {"MASTER": "green", "BACKUP": "cyan", "INIT": "yellow", "UNKNOWN": "red"}


@click.group(invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> int:
    """Show the virtual addresses, and move them by hand.

    Orders are for this node, outlive a reboot and wait until it is known who serves then; where nobody took over, the
    exit status is 1. Without a core, status and the plain orders ask the carp process itself.
    """
    if ctx.invoked_subcommand is None:
        return _status(ctx.ensure_object(Settings))
    return 0


@command.command("status")
@pass_settings
def status(settings: Settings) -> int:
    """Show who serves each virtual address, since when and why."""
    return _status(settings)


@command.command("maintenance")
@click.argument("switch", type=click.Choice(["on", "off"]))
@pass_settings
def maintenance(settings: Settings, switch: str) -> int:
    """Let peers serve instead of this node, until it is off."""
    return _act(settings, f"maintenance-{switch}")


@command.command("disable")
@pass_settings
def disable(settings: Settings) -> int:
    """Take this node out of failover altogether."""
    return _act(settings, "disable")


@command.command("enable")
@pass_settings
def enable(settings: Settings) -> int:
    """Let this node take part in failover again."""
    return _act(settings, "enable")


@command.command("demote")
@click.argument("reason")
@click.argument("weight", type=int)
@pass_settings
def demote(settings: Settings, reason: str, weight: int) -> int:
    """Lower this node's rank, for a reason with a name.

    WEIGHT is 1 to 240, in units of advskew: 240 makes every peer that is well preferred.
    """
    return _act(settings, "demote", reason=reason, weight=weight)


@command.command("promote")
@click.argument("reason")
@pass_settings
def promote(settings: Settings, reason: str) -> int:
    """Take a demotion back."""
    return _act(settings, "promote", reason=reason)


@command.command("switchover")
@pass_settings
def switchover(settings: Settings) -> int:
    """Give what this node serves to a peer, once.

    On a node that has given its addresses away so, it takes that back.
    """
    return _act(settings, "switchover")


@command.command("commit")
@click.option("--now", is_flag=True, help="Do not wait for peers that are away.")
@pass_settings
def commit(settings: Settings, now: bool) -> int:
    """Let a change of VIPs that waits for a peer take effect."""
    return _act(settings, "commit", now=now)


# -- orders


def _act(settings: Settings, action: str, *, reason: str = "", weight: int = 0, now: bool = False) -> int:
    body = {"action": action, "reason": reason, "weight": weight, "now": now}
    try:
        with client(settings) as core:
            reply = core.call("vip", body, deadline_s=ACT_S)
    except CoreAwayError as error:
        reply = _alone(settings, error, lambda away: _order_alone(settings, away, action, reason, weight))
    settings.show(reply, lambda: "\n".join(_reply(settings, reply)))
    return 0 if reply["done"] else SyncsrvError.exit_status


def _reply(settings: Settings, reply: dict[str, Any]) -> list[str]:
    text = printable(reply["text"])
    lines = [text if reply["done"] else f"{settings.paint('not done:', 'red', 'bold')} {text}"]
    if reply["remedy"]:
        lines.append(f"  {settings.paint('what to do:', 'bold')} {printable(reply['remedy'])}")
    return lines


def _order_alone(settings: Settings, away: CoreAwayError, action: str, reason: str, weight: int) -> dict[str, Any]:
    from syncsrv.cli import vipalone

    return vipalone.order(settings.config, away, action, reason, weight)


def _status_alone(settings: Settings) -> dict[str, Any]:
    from syncsrv.cli import vipalone

    return vipalone.status(settings.config)


def _alone(settings: Settings, away: CoreAwayError, ask: Callable[[CoreAwayError], dict[str, Any]]) -> dict[str, Any]:
    """What the carp process says while core is away; where that is away too, both are told."""
    from syncsrv.failover.asking import CarpAwayError

    try:
        found = ask(away)
    except CarpAwayError as error:
        raise CoreAwayError(None, f"{_why(away)}; and {error.message}", away.remedy) from error
    if not settings.as_json:
        warn(f"core does not answer ({_why(away)}): this comes from the carp process alone")
    return {**found, "core": away.message}


def _why(away: CoreAwayError) -> str:
    return away.message.rpartition(": ")[2]


# -- status


def _status(settings: Settings) -> int:
    try:
        with client(settings) as core:
            status = core.call("status", {}, deadline_s=15)
    except CoreAwayError as error:
        found = _alone(settings, error, lambda _: _status_alone(settings))
    else:
        names = ("node", "vips", "demotion", "maintenance", "failover", "state_sync")
        peers = {
            name: {key: peer[key] for key in ("reachable", "age_s", "vips", "demotion", "failover", "state_sync")}
            for name, peer in status["peers"].items()
        }
        found = {**{name: status[name] for name in names}, "peers": peers, "core": ""}
    settings.show(found, lambda: "\n".join(_node(settings, found)))
    return 0


def _node(settings: Settings, found: dict[str, Any]) -> list[str]:
    failover = found["failover"]
    if not found["vips"] and not failover["configured"]:
        return ["No virtual addresses are configured."]
    lines = [f"{settings.paint(found['node'], 'bold')}: {headline(settings, found['node'], found['vips'])}"]
    lines.append(vip_table(settings, found["vips"], indent="  ", header=True))
    lines += failover_facts(settings, found)
    for name, peer in found["peers"].items():
        lines += _peer(settings, name, peer)
    return lines


def _peer(settings: Settings, name: str, peer: dict[str, Any]) -> list[str]:
    age = "never heard" if peer["age_s"] is None else f"heard {_span(peer['age_s'])} ago"
    if not peer["reachable"]:
        age = settings.paint(f"unreachable, {age}", "red")
    said = headline(settings, name, peer["vips"]) if peer["vips"] else "no virtual addresses known"
    lines = [f"{settings.paint(name, 'bold')}, {age}: {said}"]
    if peer["vips"]:
        lines.append(vip_table(settings, peer["vips"], indent="  ", fresh=peer["reachable"]))
    return lines + failover_facts(settings, peer)


def headline(settings: Settings, node: str, vips: list[dict[str, Any]]) -> str:
    """The answer in a few words: ``serves 1@lan; 2@wan is served by fw2``."""
    words = []
    unknown = [_name(one) for one in vips if one["state"] == "UNKNOWN"]
    if unknown:
        words.append(settings.paint(f"unknown whether it serves {_together(unknown)}", "red", "bold"))
    own = [_name(one) for one in vips if one["state"] == "MASTER"]
    if own:
        all_of = "all of " if len(own) == len(vips) > 1 else ""
        words.append(settings.paint(f"serves {all_of}{_together(own)}", "green"))
    deaf = [_name(one) for one in vips if one["state"] == "INIT" and not _other(one, node)]
    if deaf:  # who serves meanwhile is not heard here, and may well serve: the peers' own lines say it
        words.append(settings.paint(f"takes no part in {_together(deaf)}", "yellow"))
    others: dict[str, list[str]] = {}
    for one in vips:
        if one["state"] in ("BACKUP", "INIT") and _name(one) not in deaf:
            others.setdefault(_other(one, node), []).append(_name(one))
    for who, names in others.items():
        if who:
            words.append(f"{who} serves {_together(names)}")
        else:
            words.append(settings.paint(f"nobody is heard to serve {_together(names)}", "yellow"))
    return "; ".join(words)


def _other(vip: dict[str, Any], node: str) -> str:
    name = vip["master_node"] if vip["master_node"] != node else ""
    return printable(name or vip["master"])


def vip_table(
    settings: Settings,
    vips: list[dict[str, Any]],
    indent: str = "",
    *,
    header: bool = False,
    fresh: bool = True,
) -> str:
    """VIPs as rows: name, state, for how long, addresses, who serves, why.

    Args:
        settings: for colours.
        vips: as status has them.
        indent: before each line.
        header: whether a line says what the columns are.
        fresh: whether the reading holds now; an old one is never green.
    """
    now_utc = SystemClock().utc()
    rows = []
    for one in vips:
        colour = _COLOURS.get(one["state"], "yellow") if fresh else "yellow"
        serves = "itself" if one["state"] == "MASTER" else _other(one, "") or "-"
        reason = "; ".join([one["reason"], *one["conflicts"]])
        since = "" if one["since"] is None else _span((now_utc - _parsed(one["since"])).total_seconds())
        rows.append(
            (
                _name(one),
                settings.paint(one["state"], colour),
                since,
                printable(", ".join(one["addresses"])),
                serves,
                printable(reason),
            )
        )
    return table(rows, header=("VIP", "state", "for", "addresses", "MASTER", "why") if header else (), indent=indent)


def failover_facts(settings: Settings, node: dict[str, Any]) -> list[str]:
    """What is out of the ordinary with a node's failover, and how its state table is, a line each."""
    failover, demotion = node["failover"], node["demotion"]
    said = []
    if failover["disabled"]:
        said.append(("disabled", "it takes no part in failover; `syncsrv vip enable` ends that"))
    if failover["maintenance"]:
        said.append(("maintenance", "on; `syncsrv vip maintenance off` ends it"))
    if failover["switchover"]:
        said.append(("switchover", "it gave its addresses away; `syncsrv vip switchover` on it takes them back"))
    if demotion["reasons"]:
        weights = {name: weight for name, weight in demotion["reasons"].items() if name != UNREPORTED}
        reasons = ", ".join(f"{name} {weight}" for name, weight in weights.items())
        unknown = " at least: the carp process does not answer" if UNREPORTED in demotion["reasons"] else ""
        said.append(("demotion", f"{demotion['total']}{unknown}" + (f" ({reasons})" if reasons else "")))
    if failover["hold_down_s"] > 0:
        said.append(("hold-down", f"it takes nothing over for {_span(failover['hold_down_s'])} more"))
    if failover["hold_preempt"]:
        said.append(("waits", failover["hold_preempt"]))
    if failover["timing"] and failover["timing"] != "real-time":
        said.append(("timing", failover["timing"]))
    if words := state_words(node["state_sync"]):
        said.append(("state table", words))
    for device in failover["devices"]:
        said += _device(device)
    lines = [f"  {name:<11}  {printable(text)}" for name, text in said]
    lines += [settings.paint(f"  trouble      {printable(one)}", "yellow") for one in failover["troubles"]]
    return lines


def _device(device: dict[str, Any]) -> list[tuple[str, str]]:
    said = [] if device["up"] else [("no link", device["device"])]
    if device["badauth"]:
        who = _together(device["badauth"])
        said.append(("refused", f"{who} on {device['device']}: other addresses or another password for that vhid"))
    return said


def _name(vip: dict[str, Any]) -> str:
    return f"{vip['vhid']}@{printable(vip['interface'])}"


def _together(words: list[str]) -> str:
    *most, last = map(printable, words)
    return f"{', '.join(most)} and {last}" if most else last


def _parsed(moment: str) -> datetime:
    try:
        return datetime.strptime(moment, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:  # of another release
        return SystemClock().utc()


def _span(seconds: float) -> str:
    """``12 s``, ``5 min``, ``3 h 12 min``, ``4 d 3 h``."""
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 2:
        return f"{whole} s"
    if hours < 1:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if days < 1 else f"{days} d {hours % 24} h"
