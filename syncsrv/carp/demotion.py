"""Why a node should not be MASTER, by name and weight, and what that makes of its advskew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

SERVES_NOT = 240
"""The weight of what makes a node unfit, and the highest advskew that it advertises (FreeBSD's CARP_MAXSKEW)."""
STEPPED_ASIDE = SERVES_NOT - 1
"""The advskew of a node that gave its VIPs away by a switchover: behind all that are well, before one that is unfit."""

MAINTENANCE = "maintenance"
SWITCHOVER = "switchover"
NOT_READY = "not-ready"
STATE_SYNC = "state-sync"


def link(device: str) -> str:
    """The name of the reason that a tracked device has no link."""
    return f"link:{device}"


def send_errors(device: str) -> str:
    """The name of the reason that adverts cannot be sent on a device."""
    return f"send-errors:{device}"


def addresses(device: str) -> str:
    """The name of the reason that virtual addresses cannot be put on a device."""
    return f"addresses:{device}"


@dataclass(frozen=True, slots=True)
class Demotion:
    """What demotes a node at a moment.

    Args:
        reasons: name -> weight, above zero; as many at a time as there are.
    """

    reasons: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def total(self) -> int:
        """What is added to the advskew of each vhid; FreeBSD's net.inet.carp.demotion."""
        return sum(self.reasons.values())

    def effective(self, advskew: int) -> int:
        """The advskew that is advertised and compared, at most 240 (FreeBSD's DEMOTE_ADVSKEW)."""
        return min(max(0, advskew + self.total), SERVES_NOT)
