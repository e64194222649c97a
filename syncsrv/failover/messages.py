"""What travels over ``run_dir/carp.sock``: one JSON object a message, strictly as said here.

A client asks; the agent answers each question with one message, and ``watch`` with a Report now, at each change, and
at least each WATCH_S seconds. Of changes that come faster than they are read, the latest state wins.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from syncsrv.errors import SyncsrvError
from syncsrv.failover import intent as intents
from syncsrv.failover import records
from syncsrv.failover import settings as configs
from syncsrv.failover.intent import Intent
from syncsrv.failover.records import NoRecordError
from syncsrv.failover.settings import Settings

VERSION = 1
SOCKET = "carp.sock"
"""Below run_dir."""

LARGEST = 384 * 1024
"""Bytes of one message: below twice net.core.wmem_max (208 KiB), which a socket can have without special right."""

WATCH_S = 5.0
FOR_MOST_S = 60.0


class BadMessageError(SyncsrvError):
    """The other side sent what is no message of ours."""

    code = "carp-message"

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"cannot understand the carp process: {detail}", "both sides must be of one version: restart serve"
        )


State = Literal["INIT", "BACKUP", "MASTER"]


@dataclass(frozen=True, slots=True)
class VipReport:
    """One vhid as it is.

    Attributes:
        reason: why it is in that state, a sentence for people.
        since_boot_s: when it entered it, CLOCK_BOOTTIME seconds.
        held: which of its addresses are on the device now.
        advskew: as configured; ``advertised`` is what demotion makes of it.
        master_source: whom it last heard as MASTER (or itself: empty); ``master_peer``: which own peer that is.
        master_advskew: what that one advertised; -1: never heard one.
        heard_age_s: seconds since then; -1: never.
        transitions: changes of state since the agent started.
        handover: empty, ``under way``, ``taken by X`` or ``no peer took over``.
        conflicts: other machines that answer for one of its addresses, a sentence each.
        counters: what came in, by fate.
        contested_by: while it is MASTER: who advertised all the same, though worse: a node of ours, or an address.
        contested_age_s: seconds since then; -1: nobody did since it became MASTER.
    """

    vhid: int
    interface: str
    device: str
    state: State
    reason: str
    since_boot_s: float
    addresses: tuple[str, ...]
    held: tuple[str, ...]
    advbase: int
    advskew: int
    advertised: int
    master_source: str
    master_peer: str
    master_advskew: int
    heard_age_s: float
    transitions: int
    handover: str
    conflicts: tuple[str, ...]
    counters: Mapping[str, int]
    contested_by: str = ""
    contested_age_s: float = -1.0


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """One network device that carries a vhid or is tracked.

    Attributes:
        sources: its own addresses, from which adverts can go: no VIP among them.
        drops: received and not used, by reason; ``received`` is ``accepted`` and all of these.
        vrrp_ids: ids of VRRP routers heard there; they share their number space with vhids.
        foreign: who sent CARP adverts there lately and is none of our nodes, with the vhid, be it ours or not:
            ``192.0.2.9 vhid 7``.
        badauth: sources whose digest is of another VIP set or password, with the vhid: ``192.0.2.2 vhid 1``.
    """

    device: str
    up: bool
    sources: tuple[str, ...]
    drops: Mapping[str, int]
    received: int
    accepted: int
    sent: int
    send_errors: int
    vrrp_ids: tuple[int, ...]
    foreign: tuple[str, ...]
    badauth: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the carp process can say about itself.

    Attributes:
        seq: grows by one with each change that is more than a counter.
        timing: ``real-time``, or ``best effort: why``.
        settings_digest: which settings are in force (Settings.digest).
        ready: whether it was told ready, or the time for that is over.
        hold_down_s: seconds left in which it takes nothing over.
        troubles: what is wrong, a sentence each with its remedy.
    """

    seq: int
    pid: int
    guardian_pid: int
    node: str
    timing: str
    settings_digest: str
    disabled: bool
    maintenance: bool
    switchover: bool
    hold_preempt: str
    ready: bool
    demotion_total: int
    demotion_reasons: Mapping[str, int]
    hold_down_s: float
    vips: tuple[VipReport, ...]
    devices: tuple[DeviceReport, ...]
    troubles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AskReport:
    """Once."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Now and at each change."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Work with these from now on; None leaves what is. Whoever asks has written the files before."""

    settings: Settings | None = None
    intent: Intent | None = None
    ready: bool | None = None


@dataclass(frozen=True, slots=True)
class PeerServes:
    """An own peer says over SSH that it is MASTER of a vhid *and hears our adverts*, which makes us the deaf one.

    Never to be said when that peer hears nothing either: then the segment is cut, and each must serve what it reaches.

    Attributes:
        device: our own, and ``vhid`` on it.
        peer: the node's name.
        advbase: what it advertises, and ``advskew``.
        for_s: seconds that this word holds unless it is repeated; more than 0, at most FOR_MOST_S.
    """

    device: str
    vhid: int
    peer: str
    advbase: int
    advskew: int
    for_s: float

    def __post_init__(self) -> None:
        if not 0 < self.for_s <= FOR_MOST_S:
            raise ValueError(f"for_s is {self.for_s}, not above 0 and at most {FOR_MOST_S:g}")
        if not (0 <= self.advbase <= 254 and 0 <= self.advskew <= 254):
            raise ValueError(f"{self.advbase}/{self.advskew} is no advert's interval")


@dataclass(frozen=True, slots=True)
class Done:
    """It was done."""


@dataclass(frozen=True, slots=True)
class Refused:
    """It was not, and nothing has changed."""

    error: str


@dataclass(frozen=True, slots=True)
class TableCame:
    """The connections that this node would take over are known here, or no longer are; true of this boot only."""

    arrived: bool


Ask = AskReport | Watch | Apply | PeerServes | TableCame
Answer = Report | Done | Refused


def encode_ask(ask: Ask) -> bytes:
    """As one message."""
    body: dict[str, Any] = {"v": VERSION}
    if isinstance(ask, AskReport):
        return _pack({**body, "ask": "report"})
    if isinstance(ask, Watch):
        return _pack({**body, "ask": "watch"})
    if isinstance(ask, PeerServes):
        return _pack({**body, "ask": "peer-serves", **records.to_plain(ask)})
    if isinstance(ask, TableCame):
        return _pack({**body, "ask": "state-sync", **records.to_plain(ask)})
    settings = None if ask.settings is None else configs.to_json(ask.settings)
    intent = None if ask.intent is None else intents.to_json(ask.intent)
    return _pack({**body, "ask": "apply", "settings": settings, "intent": intent, "ready": ask.ready})


def decode_ask(data: bytes) -> Ask:
    """Out of one message.

    Raises:
        BadMessageError: it is none.
        BadSettingsError: the settings in it are wrong.
        BadIntentError: the intent in it is wrong.
    """
    body = _unpack(data)
    kind = body.pop("ask", None)
    if kind in ("report", "watch"):
        _only(body, ())
        return AskReport() if kind == "report" else Watch()
    if kind in ("peer-serves", "state-sync"):
        try:
            if kind == "state-sync":
                return records.from_plain(TableCame, body)
            return records.from_plain(PeerServes, body)
        except NoRecordError as error:
            raise BadMessageError(str(error)) from None
    if kind != "apply":
        raise BadMessageError(f"{kind!r} is no question")
    _only(body, ("settings", "intent", "ready"))
    if body["ready"] is not None and type(body["ready"]) is not bool:
        raise BadMessageError("ready is neither true nor false")
    return Apply(
        settings=None if body["settings"] is None else configs.from_json(body["settings"]),
        intent=None if body["intent"] is None else intents.from_json(body["intent"]),
        ready=body["ready"],
    )


def encode_answer(answer: Answer) -> bytes:
    """As one message."""
    if isinstance(answer, Report):
        return _pack({"v": VERSION, "report": records.to_plain(answer)})
    if isinstance(answer, Done):
        return _pack({"v": VERSION, "done": True})
    return _pack({"v": VERSION, "error": answer.error})


def decode_answer(data: bytes) -> Answer:
    """Out of one message.

    Raises:
        BadMessageError: it is none.
    """
    body = _unpack(data)
    if set(body) == {"report"}:
        try:
            return records.from_plain(Report, body["report"])
        except NoRecordError as error:
            raise BadMessageError(f"report: {error}") from None
    if body == {"done": True}:
        return Done()
    if set(body) == {"error"} and isinstance(body["error"], str):
        return Refused(body["error"])
    raise BadMessageError("its answer is none that we know")


def _pack(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _unpack(data: bytes) -> dict[str, Any]:
    try:
        body = records.parse(data)
    except NoRecordError as error:
        raise BadMessageError(str(error)) from None
    if not isinstance(body, dict):
        raise BadMessageError("it is no object")
    version = body.pop("v", None)
    if type(version) is not int or version != VERSION:
        raise BadMessageError(f"it speaks version {version!r}, we {VERSION}")
    return body


def _only(body: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for name in body:
        if name not in names:
            raise BadMessageError(f"{name} is not known")
    for name in names:
        if name not in body:
            raise BadMessageError(f"{name} is missing")
