"""The book of peers: polled, asked at once, unreachable after three misses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from syncsrv.clock import SystemClock
from syncsrv.control.shapes import Facts
from syncsrv.control.shapes_failover import Demotion
from syncsrv.core.peers import MISSES, POLL_S, PeerBook
from syncsrv.errors import UnreachableError
from syncsrv.plan.verdict import Situation
from syncsrv.version import __version__
from tests.support.wait import until


def facts(name: str) -> Facts:
    return Facts(
        node=name,
        role="backup",
        version=__version__,
        head=None,
        situation=Situation(name),
        areas={},
        applied={},
        known_good=None,
        services=(),
        vips=(),
        demotion=Demotion(),
        pending=None,
    )


@dataclass
class Network:
    """Peers that answer unless they are cut off."""

    cut: set[str] = field(default_factory=set)
    asked: int = 0

    def ask(self, name: str, deadline_s: float) -> Facts:
        self.asked += 1
        if name in self.cut:
            raise UnreachableError(f"cannot reach {name}: cut", "mend the cable")
        return facts(name)


@contextmanager
def book(network: Network, names: list[str], heard: list[str]) -> Iterator[PeerBook]:
    made = PeerBook(lambda: tuple(names), network.ask, lambda name, _: heard.append(name), SystemClock())
    try:
        yield made
    finally:
        made.stop()


def test_a_peer_is_reachable_until_three_polls_go_unanswered() -> None:
    network, heard = Network(), list[str]()
    with book(network, ["fw2"], heard) as peers:
        assert not peers.now()["fw2"].reachable
        assert peers.refresh("fw2").reachable
        assert heard == ["fw2"]
        network.cut.add("fw2")
        for _ in range(MISSES - 1):
            assert peers.refresh("fw2").reachable
        lost = peers.refresh("fw2")
        assert not lost.reachable
        assert lost.facts is not None, "what was last heard is still known"
        assert lost.remedy == "mend the cable"
        network.cut.clear()
        assert peers.refresh("fw2").reachable


def test_polling_begins_at_once_and_ends_with_the_book_or_the_peer() -> None:
    network, heard, names = Network(cut={"fw2"}), list[str](), ["fw2", "fw3"]
    with book(network, names, heard) as peers:
        peers.start()
        until(lambda: peers.now()["fw3"].reachable, what="the first poll")
        until(lambda: peers.now()["fw2"].misses >= 2, what="quick polls of a peer that was never heard")
        names.remove("fw2")
        until(lambda: "fw2" not in peers.now(), what="the peer to be forgotten")
        names.append("fw2")
        network.cut.clear()
        until(lambda: not peers.now()["fw2"].misses, what="it is anew")
        peers.start()
        until(lambda: peers.now()["fw2"].reachable, what="polling to begin again")


def test_what_was_heard_in_a_poll_is_followed_and_nothing_else() -> None:
    network, followed = Network(cut={"fw3"}), list[str]()
    peers = PeerBook(
        lambda: ("fw2", "fw3"),
        network.ask,
        lambda _, __: None,
        SystemClock(),
        follow=lambda name, _: followed.append(name),
    )
    peers.refresh("fw2")
    assert followed == [], "somebody waits for this answer"
    peers.start()
    try:
        until(lambda: followed == ["fw2"], what="the poll's answer to be followed")
        until(lambda: peers.now()["fw3"].misses >= 2, what="polls that nobody answers")
    finally:
        peers.stop()
    assert set(followed) == {"fw2"}


def test_a_main_that_moved_is_followed_at_once_whoever_heard_of_it() -> None:
    heads, followed = ["a"], list[str | None]()
    peers = PeerBook(
        lambda: ("fw2",),
        lambda name, _: replace(facts(name), head=heads[-1]),
        lambda _, __: None,
        SystemClock(),
        follow=lambda _, heard: followed.append(heard.head),
    )
    peers.start()
    try:
        until(lambda: followed == ["a"], what="the first poll")
        heads.append("b")
        peers.refresh("fw2")
        until(lambda: followed == ["a", "b"], deadline_s=POLL_S / 2, what="another poll before its time")
    finally:
        peers.stop()
