"""How many packets came in, and what became of each: exactly one thing."""

from __future__ import annotations

from dataclasses import dataclass, field

from syncsrv.carp.packet import Drop


@dataclass(slots=True)
class Counters:
    """Of one device, or of one vhid on it. They only grow, and start anew with the process.

    Attributes:
        received: every packet; always ``accepted`` and all ``drops`` together.
        accepted: adverts that were believed.
        drops: packets that were not, by reason; each reason is there from the start, as monitoring wants it.
        sent: adverts that the kernel took from us.
        send_errors: adverts that it refused.
    """

    accepted: int = 0
    drops: dict[Drop, int] = field(default_factory=lambda: dict.fromkeys(Drop, 0))
    sent: int = 0
    send_errors: int = 0

    @property
    def received(self) -> int:
        return self.accepted + sum(self.drops.values())

    def as_dict(self) -> dict[str, int]:
        """All of it in one level: received, accepted, sent, send_errors, and each reason under its own name."""
        totals = {"received": self.received, "accepted": self.accepted}
        return (
            totals | {"sent": self.sent, "send_errors": self.send_errors} | {str(k): n for k, n in self.drops.items()}
        )
