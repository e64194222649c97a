"""What conntrackd says of itself (``conntrackd -s``, ``-s link``, ``-s queue``, ``-s runtime``), as numbers. Pure.

The texts are those of version 1.4.7, DisableExternalCache On. A line that is missing is an error and never a zero: what
cannot be read must not look well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

ASKED: tuple[tuple[str, ...], ...] = (("-s",), ("-s", "link"), ("-s", "queue"), ("-s", "runtime"))
"""The arguments whose answers ``parse`` takes, in this order."""

SIGN_OF_LIFE = 1
"""Messages that wait for the peer's word although there is nothing to say: the last one that this node lives."""

_CACHE = re.compile(
    r"^(cache internal|external inject):\n"
    r"(?:current active connections:\s+(\d+)\n)?"
    r"connections created:\s+(\d+)\s+failed:\s+(\d+)\n"
    r"connections updated:\s+(\d+)\s+failed:\s+(\d+)\n"
    r"connections destroyed:\s+(\d+)\s+failed:\s+(\d+)\n",
    re.MULTILINE,
)
_TRACKING = re.compile(r"^message tracking:\n\s+(\d+) Malformed msgs\s+(\d+) Lost msgs", re.MULTILINE)
_LINK = re.compile(
    r"^\S+ traffic device=(\S+) status=(.+) role=(\S+):\n"
    r"\s+\d+ Bytes sent\s+\d+ Bytes recv\n"
    r"\s+\d+ Pckts sent\s+(\d+) Pckts recv\n"
    r"\s+(\d+) Error send\s+(\d+) Error recv\n",
    re.MULTILINE,
)
_QUEUE = re.compile(
    r"^queue (\S+):\ncurrent elements:\s+(\d+)\nmaximum elements:\s+\d+\nnot enough space errors:\s+(\d+)\n",
    re.MULTILINE,
)
_OVERRUN = re.compile(r"^\s+netlink overrun:\s+(\d+)$", re.MULTILINE)


class BadStatsError(ValueError):
    """The text is none that we know; it says what is missing in it."""


@dataclass(frozen=True, slots=True)
class Stats:
    """One reading; all counts are since conntrackd started.

    Attributes:
        carried: connections of this kernel that conntrackd tells the peer of: what passes its filter.
        taken: messages of the peer that became entries of this kernel, or changed some.
        heard: packets of the peer, on all links; it sends one a second at least.
        lag: messages to the peer that wait to be sent or to be acknowledged.
        link: the device in use; empty where none has a carrier.
        errors: by name; only what is not 0.
    """

    carried: int
    taken: int
    heard: int
    lag: int
    link: str
    errors: Mapping[str, int] = field(default_factory=dict)


def parse(general: str, links: str, queues: str, runtime: str) -> Stats:
    """One reading out of the four answers.

    Raises:
        BadStatsError: something is missing in them.
    """
    found_caches = {found[1]: found.groups()[1:] for found in _CACHE.finditer(general)}
    caches = {name: tuple(map(int, numbers[1:])) for name, numbers in found_caches.items()}
    carried = found_caches.get("cache internal", (None,))[0]
    tracking = _TRACKING.search(general)
    ways = list(_LINK.finditer(links))
    lengths = {found[1]: (int(found[2]), int(found[3])) for found in _QUEUE.finditer(queues)}
    overrun = _OVERRUN.search(runtime)
    for what, there in (
        ("cache internal", carried),
        ("external inject", "external inject" in caches),
        ("message tracking", tracking),
        ("traffic of a link", ways),
        ("queue txqueue", "txqueue" in lengths),
        ("queue rsqueue", "rsqueue" in lengths),
        ("netlink overrun", overrun),
    ):
        if not there:
            raise BadStatsError(f"conntrackd's statistics hold no {what}")
    assert carried is not None
    assert tracking is not None
    assert overrun is not None
    inject = caches["external inject"]
    errors = {
        "cache": sum(caches["cache internal"][1::2]),
        "inject": sum(inject[1::2]),
        "malformed messages": int(tracking[1]),
        "lost messages": int(tracking[2]),
        "not sent": sum(int(way[5]) for way in ways),
        "not received": sum(int(way[6]) for way in ways),
        "no room in a queue": sum(failed for _, failed in lengths.values()),
        "events lost": int(overrun[1]),
    }
    return Stats(
        carried=int(carried),
        taken=inject[0] + inject[2],
        heard=sum(int(way[4]) for way in ways),
        lag=max(0, lengths["txqueue"][0] + lengths["rsqueue"][0] - SIGN_OF_LIFE),
        link=next((way[1] for way in ways if way[3] == "ACTIVE" and way[2].startswith("RUNNING")), ""),
        errors={name: number for name, number in errors.items() if number},
    )
