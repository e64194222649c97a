"""Where a crash can fall: every durable step of an apply passes a checkpoint.

In production a checkpoint does nothing. A test hands over one that ends the process at the n-th step, and so walks
through every step that the code itself has, instead of a list beside it that grows old.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Checkpoint: TypeAlias = Callable[[str], None]
"""Called with the step's name right after the step changed something on disk, and between a look and what it allows."""


def no_checkpoint(step: str) -> None:
    """The checkpoint of production: nothing."""
