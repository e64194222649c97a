"""Web's connection with core, over a core that comes and goes."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from syncsrv.control.ask import CoreAwayError, hand_over
from syncsrv.control.dispatch import BusyError, Caller
from syncsrv.control.serve import Server
from syncsrv.control.verbs import Door
from syncsrv.control.waiting import NoAnswerError
from syncsrv.errors import RefusedError
from syncsrv.web.link import CALLS, COMPARISONS, STREAMS, Link
from tests.control.toys import TABLE, Toys
from tests.support.wait import until

WEB = Caller(Door.WEB, "admin", via="web")


@dataclass
class Supervisor:
    """What serve does for web: hands it a new core."""

    ours: socket.socket
    theirs: socket.socket
    toys: list[Toys] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)

    def start_core(self) -> Toys:
        toys = Toys()
        server = Server(TABLE, toys.handlers(), node="fw1", version="1.0")
        self.toys.append(toys)
        self.servers.append(server)
        for _ in range(1 + STREAMS):
            web, core = socket.socketpair()
            server.start_socket(core, WEB)
            self.hand_over(web)
        return toys

    def hand_over(self, sock: socket.socket) -> None:
        with sock:
            socket.send_fds(self.ours, [b"c"], [sock.fileno()])

    def asked(self, count: int) -> bool:
        """Whether web asks for this many connections."""
        self.ours.settimeout(10)
        said = b""
        while len(said) < count:  # MSG_WAITALL waits for nothing where there is a time-out
            said += self.ours.recv(count - len(said))
        return said == b"?" * count

    def end_core(self) -> None:
        self.toys[-1].release.set()
        self.servers[-1].close()

    def close(self) -> None:
        for toys, server in zip(self.toys, self.servers, strict=True):
            toys.release.set()
            server.close()
        self.ours.close()


@pytest.fixture
def serve() -> Iterator[Supervisor]:
    made = Supervisor(*socket.socketpair())
    yield made
    made.close()


@pytest.fixture
def link(serve: Supervisor) -> Iterator[Link]:
    made = Link(serve.theirs, version="1.0")
    yield made
    made.close()


def test_it_asks_the_supervisor_for_each_connection(serve: Supervisor, link: Link) -> None:
    assert serve.asked(1 + STREAMS)
    serve.start_core()
    until(lambda: len(link._connections) == 1 + STREAMS, what="all connections")
    serve.end_core()
    assert serve.asked(1 + STREAMS)
    ours, theirs = socket.socketpair()
    serve.hand_over(theirs)
    ours.close()
    assert serve.asked(1)
    serve.ours.settimeout(0.2)
    with pytest.raises(TimeoutError):
        serve.ours.recv(1)


def test_it_asks_core(serve: Supervisor, link: Link) -> None:
    serve.start_core()
    assert link.wait(5)
    assert link.call("echo", {"text": "a", "number": 1, "names": []}) == {"text": "a", "number": 1, "names": []}
    with pytest.raises(RefusedError, match="two guards"):
        link.call("refuse")


def test_no_core_is_said_after_a_moment(link: Link) -> None:
    began = time.monotonic()
    with pytest.raises(CoreAwayError, match="it is not running") as caught:
        link.call("who")
    assert time.monotonic() - began > 0.9
    assert "systemctl start syncsrv-core" in caught.value.remedy


def test_a_core_that_comes_within_the_moment_answers(serve: Supervisor, link: Link) -> None:
    answers: list[object] = []
    asking = threading.Thread(target=lambda: answers.append(link.call("who")["door"]))
    asking.start()
    serve.start_core()
    asking.join(10)
    assert answers == ["web"]


def test_the_next_core_is_asked_when_one_has_gone(serve: Supervisor, link: Link) -> None:
    serve.start_core()
    until(lambda: len(link._connections) == 1 + STREAMS, what="all connections")
    serve.end_core()
    with pytest.raises(CoreAwayError):
        link.call("who")
    serve.start_core()
    assert link.call("who")["door"] == "web"


def test_what_was_lost_in_the_middle_is_not_asked_again(serve: Supervisor, link: Link) -> None:
    toys = serve.start_core()
    until(lambda: len(link._connections) == 1 + STREAMS, what="all connections")
    lost: list[CoreAwayError] = []

    def ask() -> None:
        with pytest.raises(CoreAwayError) as caught:
            link.call("wait")
        lost.append(caught.value)

    asking = threading.Thread(target=ask)
    asking.start()
    assert toys.entered.wait(5)
    ending = threading.Thread(target=serve.servers[0].close)
    ending.start()
    again = serve.start_core()
    asking.join(10)
    toys.release.set()
    ending.join(10)
    assert "ended before it answered" in str(lost[0])
    assert "before you repeat it" in lost[0].remedy
    assert again.inside == []


def test_what_is_no_core_is_passed_over(serve: Supervisor, link: Link) -> None:
    ours, theirs = socket.socketpair()
    serve.hand_over(theirs)
    ours.sendall(b"\0" * 4096)
    ours.close()
    serve.start_core()
    assert link.call("who", deadline_s=10)["door"] == "web"


def test_a_call_has_a_deadline(serve: Supervisor, link: Link) -> None:
    serve.start_core()
    assert link.wait(5)
    with pytest.raises(NoAnswerError):
        link.call("wait", deadline_s=0.1)


def test_more_calls_than_core_takes_wait_for_their_turn(serve: Supervisor, link: Link) -> None:
    toys = serve.start_core()
    assert link.wait(5)
    done: list[object] = []
    threads = [threading.Thread(target=lambda: done.append(link.call("wait"))) for _ in range(CALLS + 20)]
    for thread in threads:
        thread.start()
    until(lambda: len(toys.inside) == CALLS, what="all turns to be taken")
    with pytest.raises(BusyError):
        link.call("who", deadline_s=0.1)
    toys.release.set()
    for thread in threads:
        thread.join(10)
    assert len(done) == CALLS + 20


def test_what_compares_leaves_places_for_what_does_not(serve: Supervisor) -> None:
    link = Link(serve.theirs, comparing={"wait"})
    toys = serve.start_core()
    threads = [threading.Thread(target=link.call, args=("wait",)) for _ in range(CALLS)]
    for thread in threads:
        thread.start()
    until(lambda: len(toys.inside) == COMPARISONS, what="all turns to be taken")
    with pytest.raises(BusyError):
        link.call("wait", deadline_s=0.1)
    assert link.call("who", deadline_s=10)["door"] == "web"
    assert len(toys.inside) == COMPARISONS
    toys.release.set()
    for thread in threads:
        thread.join(10)
    assert len(toys.inside) == CALLS
    link.close()


def test_a_stream_gives_its_turn_back(serve: Supervisor, link: Link) -> None:
    toys = serve.start_core()
    until(lambda: len(link._connections) == 1 + STREAMS, what="all connections")
    for _ in range(STREAMS + 2):
        with link.stream("count", {"number": 3}) as stream:
            assert list(stream) == [b"\0", b"\1", b"\2"]
    streams = [link.stream("endless", {}) for _ in range(STREAMS)]
    with pytest.raises(BusyError):
        link.stream("endless", {}, idle_s=0.1)
    for stream in streams:
        stream.close()
    link.stream("endless", {}).close()
    assert toys.closed.wait(5)
    for _ in range(STREAMS + 1):
        with pytest.raises(RefusedError):
            link.stream("refuse", {})


def test_a_stream_that_nobody_reads_holds_up_no_call(serve: Supervisor, link: Link) -> None:
    serve.start_core()
    until(lambda: len(link._connections) == 1 + STREAMS, what="all connections")
    streams = [link.stream("endless", {}) for _ in range(STREAMS)]
    for _ in range(20):
        assert link.call("who", deadline_s=5)["door"] == "web"
    for stream in streams:
        stream.close()


def test_a_stream_that_loses_core_says_so(serve: Supervisor, link: Link) -> None:
    serve.start_core()
    assert link.wait(5)
    stream = link.stream("endless", {})
    ending = threading.Thread(target=serve.end_core)
    chunks = iter(stream)
    next(chunks)
    ending.start()
    with pytest.raises(CoreAwayError):
        list(chunks)
    ending.join(10)


def test_it_ends_with_the_supervisor(serve: Supervisor, link: Link) -> None:
    serve.start_core()
    assert link.wait(5)
    serve.ours.close()
    assert link.ended.wait(5)
    with pytest.raises(CoreAwayError):
        link.call("who")


def test_without_a_supervisor_it_ends_with_core(serve: Supervisor) -> None:
    link = Link(serve.theirs, version="1.0", keep=False)
    serve.start_core()
    assert link.wait(5)
    assert not link.ended.is_set()
    serve.end_core()
    assert link.ended.wait(5)
    link.close()


def test_it_leaves_no_descriptor_open(serve: Supervisor) -> None:
    before = len(os.listdir("/proc/self/fd"))
    link = Link(serve.theirs, version="1.0")
    for _ in range(3):
        serve.start_core()
        until(
            lambda: len(link._connections) == 1 + STREAMS, what="all connections"
        )  # one that comes when its core has gone is paused for
        assert link.call("who")
        serve.end_core()
        until(lambda: not link._alive(), what="their end to be seen")
    link.close()
    serve.close()
    until(lambda: len(os.listdir("/proc/self/fd")) <= before, what="all sockets to be closed")


def test_a_web_that_takes_no_connections_holds_up_no_supervisor(short_tmp: Path) -> None:
    ours, web = socket.socketpair()
    path = short_tmp / "web.sock"
    with ours, web, socket.socket(socket.AF_UNIX) as core:
        core.bind(str(path))
        core.listen(8)

        def hand_over_many() -> None:
            for _ in range(10_000):
                hand_over(ours, path)
                core.accept()[0].close()

        with pytest.raises(OSError, match=r"temporarily unavailable|Too many references"):
            hand_over_many()
