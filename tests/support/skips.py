"""Which tests may be left out where everything can run.

A test that cannot run somewhere is skipped with its reason. Where CI=true nothing may be: the machine is root and has
all that a test needs, so a skip there would be a check that silently stopped checking. It fails the run unless its
reason is listed here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Allowed:
    """A skip that is no loss.

    Attributes:
        reason: regular expression that the whole reason of the skip matches.
        why: why nothing is lost.
    """

    reason: str
    why: str


ALLOWED: tuple[Allowed, ...] = ()


def is_allowed(reason: str, allowed: tuple[Allowed, ...] = ALLOWED) -> bool:
    """Whether a skip with this reason may stand in CI."""
    return any(re.fullmatch(one.reason, reason) for one in allowed)
