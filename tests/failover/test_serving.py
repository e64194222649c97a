"""carp.sock from the agent's side: nobody who is slow holds it up, and the latest state wins."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.failover import messages
from syncsrv.failover.asking import CarpRefusedError, Client
from syncsrv.failover.loop import Loop, Rank
from syncsrv.failover.messages import Answer, Ask, AskReport, Refused, Report, encode_ask
from syncsrv.failover.serving import Server
from tests.failover.kit import REPORT
from tests.support.wait import until

LARGE = replace(REPORT, troubles=("x" * 60_000,))


class Agent:
    """A loop with a server, in a thread; other threads have it do something by ``do``."""

    def __init__(self, run_dir: Path) -> None:
        self.report: Report = LARGE
        self.loop = Loop(lambda: None, lambda: None)
        self.server = Server(run_dir, self.loop, self._answer)
        self._asked, self._ask = os.pipe()
        self._todo: list[Report | None] = []
        self.loop.watch(self._asked, Rank.SIGNAL, self._do)
        self._thread = threading.Thread(target=self.loop.run)
        self._thread.start()

    def tell(self, report: Report) -> None:
        self._todo.append(report)
        os.write(self._ask, b"x")

    def end(self) -> None:
        self._todo.append(None)
        os.write(self._ask, b"x")
        self._thread.join(10)
        self.server.close()
        self.loop.forget(self._asked)
        self.loop.close()
        os.close(self._asked)
        os.close(self._ask)

    def _do(self, _: int) -> None:
        os.read(self._asked, 1)
        report = self._todo.pop(0)
        if report is None:
            self.loop.end()
        else:
            self.report = report
            self.server.tell(report)

    def _answer(self, ask: Ask) -> Answer:
        return self.report


@pytest.fixture
def agent(short_tmp: Path) -> Iterator[Agent]:
    made = Agent(short_tmp)
    yield made
    made.end()


def ask_on(rude: socket.socket) -> None:
    for _ in range(1000):
        rude.send(encode_ask(AskReport()))


def test_a_client_that_asks_and_never_reads_is_dropped_and_others_are_served(agent: Agent, short_tmp: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as rude:
        rude.connect(str(short_tmp / messages.SOCKET))
        rude.settimeout(5)
        with pytest.raises(ConnectionError):
            ask_on(rude)
        with Client(short_tmp) as polite:
            assert polite.report() == LARGE


def test_a_watcher_that_is_slow_gets_the_latest_and_not_all_between(agent: Agent, short_tmp: Path) -> None:
    with Client(short_tmp) as watcher:
        assert watcher.watch() == LARGE
        for seq in range(100, 200):
            agent.tell(replace(LARGE, seq=seq))
        until(lambda: agent.report.seq == 199, what="all to be told")
        seen = [watcher.next(deadline_s=5).seq]
        while seen[-1] != 199:
            seen.append(watcher.next(deadline_s=5).seq)
        assert seen == sorted(seen)
        assert len(seen) < 50
        agent.tell(replace(LARGE, seq=200))
        assert watcher.next(deadline_s=5).seq == 200


def test_nonsense_is_refused_in_a_sentence_and_the_connection_lives(agent: Agent, short_tmp: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as one:
        one.connect(str(short_tmp / messages.SOCKET))
        one.settimeout(5)
        for data in (b"{", b'{"v":1,"ask":"dance"}', b"x" * 1000):
            one.send(data)
            answer = messages.decode_answer(one.recv(messages.LARGEST))
            assert isinstance(answer, Refused)
            assert answer.error.startswith("cannot understand")


def test_an_answer_that_is_too_large_is_refused_in_a_sentence(agent: Agent, short_tmp: Path) -> None:
    with Client(short_tmp) as client:
        agent.tell(replace(LARGE, troubles=("x" * messages.LARGEST,)))
        with pytest.raises(CarpRefusedError, match=f"{messages.LARGEST} at most"):
            until(lambda: client.report() != LARGE and None, 5)


def test_a_socket_that_was_left_behind_is_replaced(short_tmp: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left:
        left.bind(str(short_tmp / messages.SOCKET))
    made = Agent(short_tmp)
    with Client(short_tmp) as client:
        assert client.report() == LARGE
    made.end()
