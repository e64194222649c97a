"""``syncsrv vip`` while core is away: the carp process is asked itself, and its orders are written where core would.

Standard library only, but for an order's way to the state directory, which node.yaml names.
"""

from __future__ import annotations

import os
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from syncsrv import durable
from syncsrv.clock import SystemClock, booted_s, rfc3339
from syncsrv.config.rundir import run_dir_of
from syncsrv.control.ask import CoreAwayError
from syncsrv.control.shapes_failover import VipInfo
from syncsrv.control.shapes_statesync import UNKNOWN
from syncsrv.errors import SyncsrvError
from syncsrv.failover import intent as intents
from syncsrv.failover.asking import CarpAwayError, Client
from syncsrv.failover.intent import BadIntentError, Intent
from syncsrv.failover.messages import Apply, Report, VipReport
from syncsrv.failover.orders import ENDS, SAID, SWITCHES, Change, demoted, promoted
from syncsrv.failover.outcome import WAIT_S, Outcome, outcome, served, told
from syncsrv.failover.records import to_plain
from syncsrv.failover.statesync import state as keeper
from syncsrv.single import RunningError, only_one


def status(directory: Path) -> dict[str, Any]:
    """What ``vip status --json`` has, as far as the carp process of this node knows it.

    Args:
        directory: the configuration directory.

    Raises:
        CarpAwayError: it does not answer either.
    """
    run_dir = run_dir_of(directory)
    with Client(run_dir) as carp:
        report = carp.report()
    names = ("timing", "disabled", "maintenance", "switchover", "hold_down_s", "hold_preempt", "troubles")
    plain = to_plain(report)
    return {
        "node": report.node,
        "vips": [_vip(report, vip) for vip in report.vips],
        "demotion": {"total": report.demotion_total, "reasons": plain["demotion_reasons"]},
        "maintenance": report.maintenance,
        "failover": {
            **{name: plain[name] for name in names},
            "configured": bool(report.vips),
            "running": True,
            "why": "",
            "devices": [_device(report, one) for one in plain["devices"]],
            "age_s": 0.0,
        },
        "state_sync": _state_sync(run_dir),
        "peers": {},
    }


def _state_sync(run_dir: Path) -> dict[str, Any]:
    """As a StateSyncInfo; by which links is not known here."""
    unknown: dict[str, Any] = {"engine": "conntrackd", "way": "", "port": 0, "links": [], "word": UNKNOWN, "remedy": ""}
    try:
        found = keeper.load(run_dir)
    except keeper.BadStateError as error:
        nothing: dict[str, Any] = {
            "entries": None,
            "carried": None,
            "received": None,
            "lag": None,
            "errors": {},
            "last_order": None,
            "age_s": None,
        }
        return {**unknown, **nothing, "reason": error.message}
    if found is None:
        return {"engine": "none"}
    plain: dict[str, Any] = to_plain(found)
    now_s = booted_s()
    age_s = round(now_s - plain.pop("at_boot_s"), 1)
    if plain["last_order"] is not None:
        plain["last_order"]["age_s"] = now_s - plain["last_order"].pop("at_boot_s")
    old = {"word": UNKNOWN, "reason": "nothing was said of conntrackd since", "remedy": ""}
    return {**unknown, **plain, **(old if age_s > keeper.OLD_S else {}), "age_s": age_s}


def _device(report: Report, plain: dict[str, Any]) -> dict[str, Any]:
    """As a DeviceInfo."""
    interfaces = dict.fromkeys(vip.interface for vip in report.vips if vip.device == plain["device"])
    return {"vrrp": plain.pop("vrrp_ids"), **plain, "interfaces": list(interfaces)}


def _vip(report: Report, vip: VipReport) -> dict[str, Any]:
    """As a VipInfo, of those fields that a report has under the same name or another."""
    serves = vip.state == "MASTER"
    plain = to_plain(vip)
    told = {
        **plain,
        "since": rfc3339(SystemClock().utc() - timedelta(seconds=booted_s() - vip.since_boot_s)),
        "master": "" if serves else vip.master_source,
        "master_node": report.node if serves else vip.master_peer,
        "master_advskew": _known(vip.master_advskew),
        "heard_s": _known(vip.heard_age_s),
        "contested_s": _known(plain.get("contested_age_s", -1.0)),
        "age_s": 0.0,
    }
    return {name: told[name] for name in VipInfo.__dataclass_fields__ if name in told}


def _known(value: float) -> float | None:
    """What a report says; -1 in it is that nothing is known."""
    return value if value >= 0 else None


def order(directory: Path, away: CoreAwayError, action: str, reason: str, weight: int) -> dict[str, Any]:
    """Write an order down, and have the carp process follow it; as a VipReply.

    Args:
        directory: the configuration directory.
        away: why core was not asked.
        action: maintenance-on and -off, disable, enable, demote or promote.
        reason: for demote and promote.
        weight: for demote.

    Raises:
        CoreAwayError: it is an order that only core can give.
        SyncsrvError: a core holds the state directory and does not answer.
        UsageError: name or weight makes no sense.
    """
    if action not in SWITCHES and action not in ("demote", "promote"):
        raise away
    from syncsrv.config.load import load_node  # 100 ms, for which only somebody in need waits

    node = load_node(directory)
    try:
        lock = only_one("core", node.state_dir / "core.lock")
    except RunningError as error:
        raise SyncsrvError("cannot order this: core runs and cannot be asked", "try again in a moment") from error
    with closing(lock):  # from here on no core starts
        change, what = _change(_load(node.state_dir), action, reason, weight)
        intent = change(_load(node.state_dir))
        path = node.state_dir / intents.FILE
        os.makedirs(path.parent, mode=0o700, exist_ok=True)
        durable.write(path, intents.encode(intent))
        return {**_follow(node.run_dir, intent, action, what), "steps": ["the order is written down"]}


def _load(state_dir: Path) -> Intent:
    """What is ordered; what cannot be read is written anew, as its error asks for."""
    try:
        return intents.load(state_dir)
    except BadIntentError:
        return Intent()


def _change(intent: Intent, action: str, reason: str, weight: int) -> tuple[Change, str]:
    if action == "demote":
        return demoted(reason, weight), f"demoted by {weight} for {reason}"
    if action == "promote":
        return promoted(intent, reason), f"the demotion {reason} is gone"
    return SWITCHES[action], SAID[action]


_UNRECORDED = "no receipt of it is in the audit trail, because core is away"


def _follow(run_dir: Path, intent: Intent, action: str, what: str) -> dict[str, Any]:
    try:
        with Client(run_dir) as carp, Client(run_dir) as watch:
            given = served(watch.watch()) if action in ENDS else ()
            carp.apply(Apply(intent=intent))
            found = _outcome(watch, carp.report(), given)
    except CarpAwayError as error:
        text = f"{what}: it is written down and counts from when the carp process runs again: {error.message}"
        return _reply(True, f"{text}; {_UNRECORDED}", error.remedy, {})
    said = f"{what}; {told(found)}" if given else what
    done = not (found.kept or found.waiting)
    taken = {key: found.taken.get(key, "") for key in given}
    return _reply(done, f"{said}; {_UNRECORDED}", "" if done else f"see `syncsrv vip` there; {ENDS[action]}", taken)


def _outcome(watch: Client, report: Report, given: tuple[str, ...]) -> Outcome:
    """Follow the reports until nothing is open, or for long enough."""
    first, ends_at = report, SystemClock().monotonic() + WAIT_S
    found = outcome(given, report)
    while found.waiting and (left_s := ends_at - SystemClock().monotonic()) > 0:
        try:
            report = watch.next(deadline_s=left_s)
        except CarpAwayError:
            break
        if report.pid != first.pid or report.seq >= first.seq:
            found = outcome(given, report)
    return found


def _reply(done: bool, text: str, remedy: str, taken: dict[str, str]) -> dict[str, Any]:
    return {"done": done, "text": text, "remedy": remedy, "taken_by": taken}
