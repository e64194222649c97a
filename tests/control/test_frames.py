from __future__ import annotations

import os
import random
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from syncsrv.control import frames
from syncsrv.control.frames import (
    HEADER,
    LIMITS,
    BadFrameError,
    ConnectionLostError,
    Frame,
    Kind,
    ProtocolMismatchError,
    TooLargeError,
    Wire,
    encode_json,
)
from syncsrv.version import PROTOCOL

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_a_frame_arrives_as_it_was_sent(pair: Pair) -> None:
    Wire(pair[0]).send(Frame(Kind.REQUEST, 7, b"{}"), 1)
    assert Wire(pair[1]).read(1) == Frame(Kind.REQUEST, 7, b"{}")


def test_the_header_is_length_kind_and_call_big_endian(pair: Pair) -> None:
    Wire(pair[0]).send(Frame(Kind.BYTES, 258, b"abc"), 1)
    assert pair[1].recv(100) == b"\0\0\0\x03\x05\0\0\x01\x02abc"


def test_frames_that_arrive_byte_by_byte_are_put_together(pair: Pair) -> None:
    raw = HEADER.pack(5, Kind.REPLY, 1) + b"hello" + HEADER.pack(0, Kind.END, 1)

    def drip() -> None:
        for i in range(len(raw)):
            pair[0].sendall(raw[i : i + 1])

    thread = threading.Thread(target=drip)
    thread.start()
    wire = Wire(pair[1])
    assert wire.read(5) == Frame(Kind.REPLY, 1, b"hello")
    assert wire.read(5) == Frame(Kind.END, 1)
    thread.join()


def test_a_reply_of_64_mib_passes_and_one_byte_more_is_refused_before_it_is_sent(pair: Pair) -> None:
    payload = b"x" * LIMITS[Kind.REPLY]
    thread = threading.Thread(target=lambda: Wire(pair[0]).send(Frame(Kind.REPLY, 1, payload), 30))
    thread.start()
    got = Wire(pair[1]).read(5)
    thread.join()
    assert got is not None
    assert len(got.payload) == len(payload)
    with pytest.raises(TooLargeError, match="cannot send a reply of 67108865 bytes"):
        Wire(pair[0]).send(Frame(Kind.REPLY, 1, payload + b"x"), 1)


@pytest.mark.parametrize(
    "raw, reason",
    [
        (HEADER.pack(0, 0, 1), "kind"),
        (HEADER.pack(0, 99, 1), "kind"),
        (HEADER.pack(1, Kind.END, 1), "size"),
        (HEADER.pack(LIMITS[Kind.REQUEST] + 1, Kind.REQUEST, 1), "size"),
        (HEADER.pack(0xFFFFFFFF, Kind.REPLY, 1), "size"),
        (HEADER.pack(LIMITS[Kind.HELLO] + 1, Kind.HELLO, 0), "size"),
        (b"\0\0\0", "short"),
        (HEADER.pack(4, Kind.REPLY, 1) + b"abc", "short"),
        (b"GET / HTTP/1.1\r\n\r\n", "kind"),
    ],
)
def test_what_is_no_frame_is_refused_with_a_reason_to_count(pair: Pair, raw: bytes, reason: str) -> None:
    pair[0].sendall(raw)
    pair[0].shutdown(socket.SHUT_WR)
    with pytest.raises(BadFrameError) as caught:
        Wire(pair[1]).read(1)
    assert caught.value.reason == reason


def test_random_bytes_never_do_anything_but_fail_cleanly() -> None:
    chance = random.Random(4711)
    for _ in range(300):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.sendall(chance.randbytes(chance.randrange(1, 200)))
            ours.shutdown(socket.SHUT_WR)
            wire = Wire(theirs)
            try:
                while wire.read(1) is not None:
                    pass
            except BadFrameError:
                pass


def test_an_end_between_frames_is_an_end(pair: Pair) -> None:
    pair[0].close()
    assert Wire(pair[1]).read(1) is None


def test_a_silent_other_side_ends_the_wait(pair: Pair) -> None:
    with pytest.raises(ConnectionLostError, match="stopped talking"):
        Wire(pair[1]).read(0.05)


def test_a_payload_that_never_comes_ends_the_wait(pair: Pair) -> None:
    pair[0].sendall(HEADER.pack(4, Kind.REPLY, 1) + b"abc")
    with pytest.raises(ConnectionLostError, match="stopped talking"):
        Wire(pair[1], payload_s=0.05).read()


def test_an_other_side_that_does_not_read_ends_the_send(pair: Pair) -> None:
    with pytest.raises(ConnectionLostError, match="does not read"):
        Wire(pair[0]).send(Frame(Kind.REPLY, 1, b"x" * 10_000_000), 0.1)


def test_descriptors_travel_with_their_frame_and_close_on_exec(pair: Pair) -> None:
    reader, writer = os.pipe()
    sender, receiver = Wire(pair[0]), Wire(pair[1], takes_fds=True)
    sender.send(Frame(Kind.BYTES, 1, b"before"), 1)
    sender.send(Frame(Kind.REQUEST, 2, b"{}", (writer,)), 1)
    sender.send(Frame(Kind.BYTES, 3, b"after"), 1)
    os.close(writer)
    assert receiver.read(1) == Frame(Kind.BYTES, 1, b"before")
    frame = receiver.read(1)
    assert frame is not None
    assert receiver.read(1) == Frame(Kind.BYTES, 3, b"after")
    (fd,) = frame.fds
    assert not os.get_inheritable(fd)
    os.write(fd, b"x")
    os.close(fd)
    assert os.read(reader, 10) == b"x"
    assert os.read(reader, 10) == b""  # nobody else holds the writing end
    os.close(reader)


def test_descriptors_that_nobody_expects_are_closed(pair: Pair) -> None:
    reader, writer = os.pipe()
    Wire(pair[0]).send(Frame(Kind.REQUEST, 2, b"{}", (writer,)), 1)
    os.close(writer)
    frame = Wire(pair[1]).read(1)
    assert frame == Frame(Kind.REQUEST, 2, b"{}")
    assert os.read(reader, 10) == b""
    os.close(reader)


def test_too_many_descriptors_are_refused_and_closed(pair: Pair) -> None:
    reader, writer = os.pipe()
    Wire(pair[0]).send(Frame(Kind.REQUEST, 2, b"{}", (writer,) * (frames.MAX_FDS + 1)), 1)
    os.close(writer)
    with pytest.raises(BadFrameError) as caught:
        Wire(pair[1], takes_fds=True).read(1)
    assert caught.value.reason == "fds"
    assert os.read(reader, 10) == b""
    os.close(reader)


def greet_against(pair: Pair, payload: bytes, kind: Kind = Kind.HELLO) -> None:
    pair[0].sendall(struct.pack(">IBI", len(payload), kind, 0) + payload)
    Wire(pair[1]).greet("1.0", "fw1", 1)


def test_hello_tells_who_the_other_side_is(pair: Pair) -> None:
    hello = {"protocol": PROTOCOL, "version": "9.9", "node": "fw\x1b2"}
    pair[0].sendall(HEADER.pack(len(encode_json(hello)), Kind.HELLO, 0) + encode_json(hello))
    answer = Wire(pair[1]).greet("1.0", "fw1", 1)
    assert (answer.version, answer.node) == ("9.9", "fw�2")
    sent = Wire(pair[0]).read(1)
    assert sent is not None
    assert frames.decode_json(sent.payload) == {"protocol": PROTOCOL, "version": "1.0", "node": "fw1"}


def test_another_protocol_is_a_clear_error_on_both_sides(pair: Pair) -> None:
    with pytest.raises(ProtocolMismatchError, match=r"cannot talk to fw2: it speaks protocol 2 \(syncsrv 9\.9\)"):
        greet_against(pair, encode_json({"protocol": 2, "version": "9.9", "node": "fw2"}))
    assert Wire(pair[0]).read(1) is not None  # ours was sent all the same, so the other side can say so too


@pytest.mark.parametrize(
    "payload, kind",
    [
        (b"{}", Kind.HELLO),
        (b"[]", Kind.HELLO),
        (b"nonsense", Kind.HELLO),
        (b'{"protocol":true,"version":"1","node":"a"}', Kind.HELLO),
        (b'{"protocol":1,"version":1,"node":"a"}', Kind.HELLO),
        (b"[" * 4000, Kind.HELLO),
        (b'{"verb":"status"}', Kind.REQUEST),
    ],
)
def test_what_is_no_hello_is_refused(pair: Pair, payload: bytes, kind: Kind) -> None:
    with pytest.raises(BadFrameError):
        greet_against(pair, payload, kind)


def test_nan_is_not_json() -> None:
    with pytest.raises(BadFrameError):
        frames.decode_json(b'{"a": NaN}')
