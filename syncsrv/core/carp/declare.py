"""Peers are told what this node may sign its advertisements with, and a new set goes on the wire once they accept it.

carp/sets.py decides, this asks: the peer verb ``accept-also`` carries a node's whole declaration, the answer the other
one's. It is sent whenever a peer's facts do not say that it has the present one in force; so also on first contact, and
to a peer that was away, or has lost it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from syncsrv.carp import sets as pure
from syncsrv.carp.sets import Declared, Sets
from syncsrv.clock import Clock, rfc3339
from syncsrv.control.codec import decode_reply, to_body
from syncsrv.control.errors import Body
from syncsrv.control.shapes_failover import Declaration, DeclaredSet, VipReply
from syncsrv.core.carp.carp import Carp
from syncsrv.core.carp.sets import vhid_of, vip_set, written
from syncsrv.core.peers import Heard
from syncsrv.errors import DeniedError, SyncsrvError, UsageError
from syncsrv.failover.outcome import together
from syncsrv.failover.settings import SetSettings

log = logging.getLogger(__name__)

LOOK_S = 1.0
RETRY_S = 5.0
"""Between two tries to tell a peer that could not be told, unless it answered something else meanwhile."""
TELL_S = 6.0
"""For a peer to write down and apply what it is told."""
SETTLE_S = 3.0
"""For the process carp to work with it."""
AWAY_S = 30.0
"""A peer that was not heard for so long is not waited for: longer than a restart, or a new connection, takes."""

HEARD_S = 10.0
"""How long ago an advert was that a report tells of, to count as of now: reports come each 5 s."""
ON_SEGMENT_S = 600.0
"""For so long a peer whose adverts came in is not taken for away: as BACKUP it is silent, and listens."""

VIPS_MOST = 256
SETS_MOST = 2 + pure.RETIRED_MOST
ADDRESSES_MOST = 64


class NotAcceptedError(SyncsrvError):
    """What a peer may send is not accepted here yet."""

    code = "not-accepted"

    def __init__(self, node: str, peer: str, why: str) -> None:
        super().__init__(
            f"cannot accept on {node} what {peer} may send: {why}",
            f"{peer} tries again; `syncsrv vip` on {node} says how it is there",
        )


@dataclass(frozen=True, slots=True)
class _Ack:
    digest: str
    at: float


class Declaring:
    """One for each core.

    Args:
        carp: of this node.
        node: its name.
        clock: for waits.
        peers: the configured peers.
        heard: what each said last.
        tell: sends a peer the declaration, and returns the peer's own; raises where it does not accept it.
        away_s: see AWAY_S.
        look_s: see LOOK_S.
    """

    def __init__(
        self,
        carp: Carp,
        node: str,
        clock: Clock,
        peers: Callable[[], Collection[str]],
        heard: Callable[[], Mapping[str, Heard]],
        tell: Callable[[str, Declaration], Declaration],
        *,
        away_s: float = AWAY_S,
        look_s: float = LOOK_S,
    ) -> None:
        self._carp = carp
        self._node = node
        self._clock = clock
        self._peers = peers
        self._heard = heard
        self._tell = tell
        self.away_s = away_s
        self._look_s = look_s
        self._began_at = clock.monotonic()
        self._acks: dict[str, _Ack] = {}
        self._why: dict[str, str] = {}
        self._failed_at: dict[str, float] = {}
        self._put_again_at = 0.0
        self._on_segment_at: dict[str, float] = {}
        self._forced = ""
        """The declaration that an operator put on the wire without waiting: it stays there."""
        self._turn = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="carp-sets", daemon=True)
        carp.troubles.append(self.troubles)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End; also without a start."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._look_s):
            try:
                self.look()
            except Exception:  # the top of a thread: without it no change of a VIP would ever take effect
                log.exception("telling the peers failed by a bug; it goes on")

    def look(self, *, hurry: bool = False) -> None:
        """Tell each peer that has to be told, and put on the wire what everybody accepts.

        Args:
            hurry: somebody waits: try those too that could not be told a moment ago.
        """
        with self._turn:
            carp, peers = self._carp, tuple(self._peers())
            if not carp.settled():
                carp.change_sets(lambda now, at: pure.aged(now, peers, at))
            elif hurry or self._clock.monotonic() >= self._put_again_at:
                self._put_again_at = self._clock.monotonic() + RETRY_S
                carp.put_in_force()  # the disk was full, or the process carp refused: peers wait for it
            heard = self._heard()
            self._learn(heard)
            self._listen()
            for name in pure.unaware(carp.wire_sets, peers, self._acknowledged()):
                if not self._stopping.is_set() and self._is_due(name, heard.get(name, Heard()), hurry):
                    self._declare(name)
            if pure.pending(carp.wire_sets) and not self._awaited():
                log.info("the new sets of %s go on the wire", together(pure.pending(carp.wire_sets)))
                carp.change_sets(pure.committed)

    def _listen(self) -> None:
        """Who is on the segment is not away, whatever became of its SSH; nor is what it drops left on the wire."""
        report, now = self._carp.reading.now, self._clock.monotonic()
        if report is None or now - self._began_at < HEARD_S:
            return  # what the peers accept is not known again yet
        sets = self._carp.wire_sets
        lacking = pure.unaware(sets, tuple(self._peers()), self._acknowledged())
        contested: dict[str, str] = {}
        for vip in report.vips:
            if vip.state == "MASTER" and vip.contested_by in lacking and 0 <= vip.contested_age_s <= HEARD_S:
                self._on_segment_at[vip.contested_by] = now
                contested[f"{vip.vhid}@{vip.interface}"] = vip.contested_by
            elif vip.state == "BACKUP" and vip.master_peer in lacking and 0 <= vip.heard_age_s <= HEARD_S:
                self._on_segment_at[vip.master_peer] = now
        if contested and self._forced != pure.digest(sets):
            self._carp.change_sets(lambda known, at: pure.retreated(known, contested, at))
            if self._carp.wire_sets != sets:
                log.warning(
                    "%s cannot be told, and drops what this node sends: %s signs with the set from before again",
                    together(dict.fromkeys(contested.values())),
                    together(contested),
                )

    def _acknowledged(self) -> dict[str, str]:
        return {name: ack.digest for name, ack in self._acks.items()}

    def _learn(self, heard: Mapping[str, Heard]) -> None:
        """A peer's newer word counts, also where it has forgotten."""
        for name, one in heard.items():
            if one.facts is None or one.at is None:
                continue
            if name not in self._acks or one.at > self._acks[name].at:
                self._acks[name] = _Ack(one.facts.accepts.get(self._node, ""), one.at)

    def _is_due(self, name: str, heard: Heard, hurry: bool) -> bool:
        if heard.facts is None or not heard.reachable:
            return False
        if not self._carp.wire_sets.own and self._node not in heard.facts.accepts:
            return False  # neither of us has anything to do with the other's VIPs
        failed_at = self._failed_at.get(name)
        answered_since = failed_at is None or (heard.at is not None and heard.at > failed_at)
        return hurry or answered_since or self._clock.monotonic() - (failed_at or 0.0) >= RETRY_S

    def _declare(self, name: str) -> None:
        said = shown(self._carp.wire_sets)
        try:
            answer = self._tell(name, said)
            declared = parsed(answer)
        except SyncsrvError as error:
            if self._why.get(name) != error.message:
                log.warning("%s was not told what this node may send: %s", name, error.message)
            self._why[name] = error.message
            self._failed_at[name] = self._clock.monotonic()
            return
        self._why.pop(name, None)
        self._failed_at.pop(name, None)
        self._acks[name] = _Ack(said.digest, self._clock.monotonic())
        self._carp.change_sets(lambda now, at: pure.received(now, name, answer.digest, declared, at))

    def _awaited(self) -> dict[str, str]:
        """The peers that a new set waits for, and why each has not accepted it; empty for one that was not asked."""
        peers, heard = tuple(self._peers()), self._heard()
        lacking = pure.unaware(self._carp.wire_sets, peers, self._acknowledged())
        return {name: self._why.get(name, "") for name in lacking if not self._is_away(name, heard.get(name, Heard()))}

    def _is_away(self, name: str, heard: Heard) -> bool:
        now, on_segment_at = self._clock.monotonic(), self._on_segment_at.get(name)
        if on_segment_at is not None and now - on_segment_at < ON_SEGMENT_S:
            return False
        return now - max(self._began_at, heard.at or 0.0) >= self.away_s

    def troubles(self) -> tuple[str, ...]:
        """What waits, for whom and since when."""
        sets = self._carp.wire_sets
        keys = pure.pending(sets)
        if not keys:
            return ()
        waits = "; ".join(f"{name}: {why}" if why else name for name, why in self._awaited().items()) or "a moment"
        found = []
        for key in keys:
            since = sets.own[key].since
            begun = f" (since {rfc3339(since)})" if since is not None else ""
            found.append(
                f"{key}: its new addresses or password do not sign yet{begun}: waiting until they are accepted by "
                f"{waits}; `syncsrv vip commit --now` does not wait"
            )
        return tuple(found)

    def commit(self, *, now: bool) -> VipReply:
        """``syncsrv vip commit``: ask the peers now, and with ``now`` do not wait for them."""
        keys = pure.pending(self._carp.wire_sets)
        if not keys:
            return VipReply(True, "nothing is pending: no VIP's addresses or password wait for a peer")
        self.look(hurry=True)
        awaited = self._awaited()
        if pure.pending(self._carp.wire_sets):
            if not now:
                why = "; ".join(
                    f"{name} has not accepted it{f': {why}' if why else ''}" for name, why in awaited.items()
                )
                remedy = "it takes effect by itself then; `syncsrv vip commit --now` does not wait"
                return VipReply(False, f"the new set of {together(keys)} waits: {why}", remedy)
            self._forced = pure.digest(self._carp.wire_sets)
            self._carp.change_sets(pure.committed)
        failed = self._carp.settled(SETTLE_S)
        if failed:
            return VipReply(False, f"the new set of {together(keys)} could not be put on the wire: {failed}")
        said = f"{together(keys)} sign with their new addresses and password now"
        if not awaited:
            return VipReply(True, said)
        names = together(awaited)
        text = f"{said}; {names} has not accepted that, drops such advertisements, and may become MASTER too"
        return VipReply(True, text, f"this ends when {names} can be reached over SSH; see `syncsrv vip` there")


def through(call: Callable[[str, str, Body, float], Body]) -> Callable[[str, Declaration], Declaration]:
    """How a peer is told: ``call`` takes its name, the verb, what is said, and a deadline in seconds."""

    def tell(peer: str, said: Declaration) -> Declaration:
        answer = call(peer, "accept-also", to_body(Declaration, said), TELL_S)
        found: Declaration = decode_reply("accept-also", Declaration, answer)
        return found

    return tell


def in_force(carp: Carp) -> dict[str, str]:
    """Peer to the digest of its declaration that the process carp works with; for the facts."""
    sets = carp.wire_sets
    if not sets.peers or carp.settled():
        return {}
    return {name: word.digest for name, word in sets.peers.items()}


def accept_also(carp: Carp, node: str, peer: str | None, request: Declaration) -> Declaration:
    """The verb: what a peer may send is written down and in force when this returns.

    Args:
        carp: of this node.
        node: its name.
        peer: who declares: as pinned, never what it says of itself.
        request: its declaration.

    Raises:
        DeniedError: it is no peer.
        UsageError: it is no declaration.
        NotAcceptedError: it is not in force, and perhaps not written down.
    """
    if peer is None:
        raise DeniedError("cannot accept anybody's VIP sets but a peer's", "pair the nodes")
    declared = parsed(request)
    carp.change_sets(lambda now, at: pure.received(now, peer, request.digest, declared, at))
    why = carp.settled(SETTLE_S)
    if why:
        raise NotAcceptedError(node, peer, why)
    log.info("what %s may send is accepted: %s", peer, together(sorted(declared)) if declared else "nothing")
    return shown(carp.wire_sets)


def shown(sets: Sets) -> Declaration:
    """What a node declares, as it travels."""
    declared = {key: tuple(_plain(written(one)) for one in all_of) for key, all_of in pure.declaration(sets).items()}
    return Declaration(pure.digest(sets), declared)


def _plain(one: SetSettings) -> DeclaredSet:
    return DeclaredSet(one.addresses, one.password)


def parsed(said: Declaration) -> Declared:
    """What came from a peer, within bounds.

    Raises:
        UsageError: it is none; what it says is not repeated.
    """
    if not 1 <= len(said.digest) <= 64 or len(said.sets) > VIPS_MOST:
        raise UsageError("cannot accept what a peer may send: it is no declaration")
    found = {}
    for key, all_of in said.sets.items():
        if len(all_of) > SETS_MOST or any(len(one.addresses) > ADDRESSES_MOST for one in all_of):
            raise UsageError(f"cannot accept what a peer may send: too much for {key[:40]}")
        try:
            found[key] = tuple(vip_set(vhid_of(key), SetSettings(one.addresses, one.password)) for one in all_of)
        except ValueError as error:
            raise UsageError(f"cannot accept what a peer may send for {key[:40]}: {error}") from None
    return found
