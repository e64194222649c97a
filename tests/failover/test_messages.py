"""The messages of carp.sock, and the client that speaks them."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.failover import messages
from syncsrv.failover.asking import CarpAwayError, CarpRefusedError, Client
from syncsrv.failover.intent import BadIntentError, Intent
from syncsrv.failover.messages import (
    Answer,
    Apply,
    Ask,
    AskReport,
    BadMessageError,
    Done,
    PeerServes,
    Refused,
    TableCame,
    Watch,
)
from syncsrv.failover.settings import BadSettingsError
from tests.failover.kit import FULL, REPORT

SERVES = PeerServes("eth0", 1, "fw2", 1, 100, 6.0)


@pytest.mark.parametrize(
    "ask",
    [
        AskReport(),
        Watch(),
        SERVES,
        TableCame(True),
        TableCame(False),
        Apply(),
        Apply(settings=FULL, intent=Intent(disabled=True), ready=True),
    ],
)
def test_a_question_is_understood_as_it_was_asked(ask: Ask) -> None:
    assert messages.decode_ask(messages.encode_ask(ask)) == ask


@pytest.mark.parametrize("answer", [REPORT, Done(), Refused("cannot")])
def test_an_answer_is_understood_as_it_was_given(answer: Answer) -> None:
    assert messages.decode_answer(messages.encode_answer(answer)) == answer


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no JSON"),
        ("[]", "is no object"),
        ('{"ask":"report"}', "speaks version None, we 1"),
        ('{"v":true,"ask":"report"}', "speaks version True, we 1"),
        ('{"v":2,"ask":"report"}', "speaks version 2, we 1"),
        ('{"v":1,"ask":"dance"}', "'dance' is no question"),
        ('{"v":1,"ask":"report","of":1}', "of is not known"),
        ('{"v":1,"ask":"peer-serves","vhid":1}', "device: is missing"),
        (messages.encode_ask(SERVES).decode().replace("6.0", "0"), "for_s is 0"),
        (messages.encode_ask(SERVES).decode().replace("100", "255"), "1/255 is no advert's interval"),
        ('{"v":1,"ask":"state-sync"}', "arrived: is missing"),
        ('{"v":1,"ask":"apply","settings":null,"intent":null}', "ready is missing"),
        ('{"v":1,"ask":"apply","settings":null,"intent":null,"ready":1}', "ready is neither"),
    ],
)
def test_what_is_no_question_is_said_to_be_none(text: str, said: str) -> None:
    with pytest.raises(BadMessageError) as caught:
        messages.decode_ask(text.encode())
    assert said in caught.value.message


def test_wrong_settings_and_intents_in_a_question_are_named() -> None:
    body = json.loads(messages.encode_ask(Apply(settings=FULL, intent=Intent())))
    body["intent"]["surprise"] = 1
    with pytest.raises(BadIntentError, match="surprise"):
        messages.decode_ask(json.dumps(body).encode())
    body["settings"]["node"] = 5
    with pytest.raises(BadSettingsError, match="node"):
        messages.decode_ask(json.dumps(body).encode())


@pytest.mark.parametrize(
    "text", ['{"v":1}', '{"v":1,"done":false}', '{"v":1,"error":1}', '{"v":1,"report":{}}', '{"v":1,"done":true,"x":1}']
)
def test_what_is_no_answer_is_said_to_be_none(text: str) -> None:
    with pytest.raises(BadMessageError):
        messages.decode_answer(text.encode())


class Server:
    """Answers at carp.sock with what it was given, in order, to one client."""

    def __init__(self, run_dir: Path, answers: list[bytes]) -> None:
        self.asked: list[bytes] = []
        self._answers = answers
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(run_dir / messages.SOCKET))
        self._listener.listen()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, messages.LARGEST)
            for answer in self._answers:
                self.asked.append(client.recv(messages.LARGEST))
                for one in answer.split(b"\n"):
                    client.send(one)
            while client.recv(messages.LARGEST):  # until it has gone
                pass

    def close(self) -> None:
        self.thread.join()
        self._listener.close()


@pytest.fixture
def closing() -> Iterator[list[Server]]:
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.close()


def test_a_client_asks_orders_and_watches(short_tmp: Path, closing: list[Server]) -> None:
    later = replace(REPORT, seq=8)
    said = [messages.encode_answer(answer) for answer in (REPORT, Done(), Refused("cannot: it is so"))]
    server = Server(short_tmp, [*said, messages.encode_answer(REPORT) + b"\n" + messages.encode_answer(later)])
    closing.append(server)
    with Client(short_tmp) as client:
        assert client.report() == REPORT
        client.apply(Apply(ready=True))
        with pytest.raises(CarpRefusedError, match="cannot: it is so"):
            client.apply(Apply(settings=FULL))
        assert client.watch() == REPORT
        assert client.next(deadline_s=5) == later
    assert [messages.decode_ask(one) for one in server.asked] == [
        AskReport(),
        Apply(ready=True),
        Apply(settings=FULL),
        Watch(),
    ]


def test_the_largest_message_goes_through_in_one_piece(short_tmp: Path, closing: list[Server]) -> None:
    size = messages.LARGEST - len(messages.encode_answer(REPORT)) - 100
    large = replace(REPORT, troubles=("x" * size,))
    closing.append(Server(short_tmp, [messages.encode_answer(large)]))
    with Client(short_tmp) as client:
        assert client.report() == large


def test_one_that_is_too_large_is_no_message(short_tmp: Path, closing: list[Server]) -> None:
    closing.append(Server(short_tmp, [b"x" * (messages.LARGEST + 10)]))
    with Client(short_tmp) as client, pytest.raises(BadMessageError, match="more than"):
        client.report()


def test_an_agent_that_is_away_or_silent_is_said_to_be(short_tmp: Path, closing: list[Server]) -> None:
    with pytest.raises(CarpAwayError, match="it does not run"):
        Client(short_tmp)
    closing.append(Server(short_tmp, [b"", messages.encode_answer(Done())]))
    with Client(short_tmp) as client:
        with pytest.raises(CarpAwayError, match="it ended"):
            client.report()  # an empty message is what the end of the connection reads as
        with pytest.raises(BadMessageError, match="something else"):
            client.report()
        with pytest.raises(CarpAwayError, match="in time"):
            client.report(deadline_s=0.05)


def test_an_agent_that_takes_no_connections_is_waited_for_no_longer_than_said(short_tmp: Path) -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        listener.bind(str(short_tmp / messages.SOCKET))
        listener.listen(0)
        stack.enter_context(Client(short_tmp))  # nobody accepts it: the next one finds no place
        with pytest.raises(CarpAwayError, match="in time"):
            Client(short_tmp, deadline_s=0.05)


def test_a_run_dir_with_a_long_path_can_be_asked(short_tmp: Path, closing: list[Server]) -> None:
    deep = short_tmp / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    link = short_tmp / "short"
    link.symlink_to(deep)
    closing.append(Server(link, [messages.encode_answer(REPORT)]))
    with Client(deep) as client:
        assert client.report() == REPORT
