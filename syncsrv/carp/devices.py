"""What a node knows of its network devices: their link, and whether adverts go out; which demotions follow."""

from __future__ import annotations

from dataclasses import dataclass, replace

SETTLE_S = 3.0
"""How long a link must be back before it demotes no more; doubled by each further loss within FLAPS_S."""
SETTLE_MOST_S = 60.0
FLAPS_S = 60.0

FAILURES = 3
"""Packets in a row that could not be sent until the device demotes; and that could be until it does no more."""
HOLD_FAILURES = 2
"""Times in a row, a second apart, that an address could not be put on a device until the device demotes."""
RETRY_S = 30.0
"""A demoted node becomes BACKUP, which sends nothing and so would never see that sending works again (FreeBSD's trap):
after so long without an error it is tried again; doubled at each failed trial."""
RETRY_MOST_S = 480.0
HOLD_RETRY_MOST_S = 3600.0
"""For addresses: where no node can have one of them, as with IPv6 switched off, trials must not go on moving the rest.
"""


@dataclass(frozen=True, slots=True)
class Device:
    """One device; times are monotonic.

    Args:
        name: as netlink says it.
        known: somebody said what its state is.
        up: it has a link.
        has_source: it has an address of its own.
        why: why it is not up.
        lost_at: when its link was lost, in the last FLAPS_S.
        settle_until_at: until when a link that came back still demotes.
        failed: packets in a row that could not be sent.
        sent: packets in a row that could be, since it demotes.
        send_why: the last error.
        retry_at: while it demotes for errors: when it is tried again.
        retry_s: how long the last such wait was; 0: there was none.
        unheld: times in a row that not all addresses could be put on it.
        hold_why: the last error of these.
        hold_retry_at: as retry_at, for addresses.
        hold_retry_s: as retry_s, for addresses.
    """

    name: str
    known: bool = False
    up: bool = False
    has_source: bool = False
    why: str = ""
    lost_at: tuple[float, ...] = ()
    settle_until_at: float | None = None
    failed: int = 0
    sent: int = 0
    send_why: str = ""
    retry_at: float | None = None
    retry_s: float = 0.0
    unheld: int = 0
    hold_why: str = ""
    hold_retry_at: float | None = None
    hold_retry_s: float = 0.0

    @property
    def trouble(self) -> str:
        """Why no vhid can run on it; empty where one can."""
        if not self.known:
            return f"the state of {self.name} is not known yet"
        if not self.up:
            return self.why or f"{self.name} has no link"
        return "" if self.has_source else f"{self.name} has no address of its own to send adverts from"

    @property
    def link_demotes(self) -> bool:
        """Whether its link is away, or back for too short a time; before anything is known of it, it is not."""
        return (self.known and not self.up) or self.settle_until_at is not None

    @property
    def sending_demotes(self) -> bool:
        return self.retry_at is not None

    @property
    def holding_demotes(self) -> bool:
        return self.hold_retry_at is not None

    def next_at(self) -> float | None:
        """When time alone changes something here."""
        times = (self.settle_until_at if self.up else None, self.retry_at, self.hold_retry_at)
        return min((moment for moment in times if moment is not None), default=None)

    def linked(self, *, up: bool, has_source: bool, why: str, now: float) -> Device:
        """After what netlink said."""
        settle_until_at, lost_at = self.settle_until_at, tuple(at for at in self.lost_at if now - at < FLAPS_S)
        if self.known and self.up and not up:
            lost_at = (*lost_at, now)[-8:]
        if self.known and up and not self.up:
            settle_until_at = now + min(SETTLE_S * 2 ** max(0, len(lost_at) - 1), SETTLE_MOST_S)
        return replace(
            self,
            known=True,
            up=up,
            has_source=has_source,
            why=why,
            lost_at=lost_at,
            settle_until_at=settle_until_at if up else None,
        )

    def handed_over(self, *, ok: bool, why: str, now: float) -> Device:
        """After one packet was sent or refused."""
        if ok:
            if not (self.failed or self.retry_s):
                return self
            sent = self.sent + 1
            if not self.sending_demotes:
                return replace(self, failed=0, sent=sent, retry_s=0.0 if sent >= FAILURES else self.retry_s)
            cured = sent >= FAILURES
            return replace(self, failed=0, sent=sent, retry_at=None if cured else self.retry_at)
        failed = self.failed + 1
        if failed < FAILURES and not self.sending_demotes:
            return replace(self, failed=failed, sent=0, send_why=why)
        wait_s = self.retry_s or RETRY_S
        if not self.sending_demotes and self.retry_s:
            wait_s = min(2 * self.retry_s, RETRY_MOST_S)
        return replace(self, failed=failed, sent=0, send_why=why, retry_at=now + wait_s, retry_s=wait_s)

    def held(self, *, ok: bool, why: str, now: float) -> Device:
        """After its addresses were put on it, or refused: a MASTER without them serves nobody, and a peer may."""
        if ok:
            cured = self.unheld or self.hold_retry_s
            return replace(self, unheld=0, hold_retry_at=None, hold_retry_s=0.0) if cured else self
        unheld = self.unheld + 1
        if unheld < HOLD_FAILURES and not self.holding_demotes:
            return replace(self, unheld=unheld, hold_why=why)
        wait_s = self.hold_retry_s or RETRY_S
        if not self.holding_demotes and self.hold_retry_s:
            wait_s = min(2 * self.hold_retry_s, HOLD_RETRY_MOST_S)
        return replace(self, unheld=unheld, hold_why=why, hold_retry_at=now + wait_s, hold_retry_s=wait_s)

    def aged(self, now: float) -> Device:
        """After time passed. The first error of a trial ends it: two MASTERs for one advert, not for three."""
        if self.settle_until_at is not None and self.up and self.settle_until_at <= now:
            return replace(self, settle_until_at=None).aged(now)
        if self.retry_at is not None and self.retry_at <= now:
            return replace(self, retry_at=None, failed=FAILURES - 1, sent=0).aged(now)
        if self.hold_retry_at is not None and self.hold_retry_at <= now:
            return replace(self, hold_retry_at=None, unheld=HOLD_FAILURES - 1)
        return self
