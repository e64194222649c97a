"""Netlink: requests that the kernel answers, and its reports of what changed. What the messages say: rtmessages.py.

Own code and not a library: the failover process locks all its memory and imports little, and one address must be on
a device within a millisecond. Requests and reports have a socket each, so that an answer never stands behind a report.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from syncsrv.errors import SyncsrvError

NLM_F_REQUEST = 0x001
NLM_F_ACK = 0x004
NLM_F_DUMP_INTR = 0x010
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
_NLM_F_CAPPED = 0x100
_NLM_F_ACK_TLVS = 0x200

_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLMSG_OVERRUN = 4
_NLMSGERR_ATTR_MSG = 1
_NLA_TYPE_MASK = 0x3FFF

_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_SO_RCVBUFFORCE = 33
_RECEIVE_BYTES = 1 << 20
"""More than the kernel sends in one piece: a link with many virtual functions takes some 64 KiB."""
QUEUE_BYTES = 4 << 20
"""Reports that may wait: some thousands."""
_DUMP_TRIES = 5

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")


class KernelError(SyncsrvError, OSError):
    """The kernel refused what failover asked of it; ``errno`` says how.

    Args:
        message: ``cannot <do what> <to which object>: <why>``.
        remedy: what a person can do.
        number: the kernel's error number.
    """

    code = "kernel"

    def __init__(self, message: str, remedy: str, number: int) -> None:
        super().__init__(message, remedy)
        self.errno = number
        self.strerror = os.strerror(number)


@dataclass(frozen=True, slots=True)
class Message:
    """One netlink message without its header: its type (RTM_…), its flags and its body."""

    kind: int
    flags: int
    body: bytes


def attribute(kind: int, data: bytes) -> bytes:
    """One attribute, padded as its successor needs it (struct nlattr)."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(data), kind) + data + bytes(-len(data) % 4)


def attributes(data: bytes) -> Mapping[int, bytes]:
    """The attributes in a message's tail or in a nested attribute, by type; of two alike the last, as in the kernel.

    What is cut off is left out: a reader must be able to do without any attribute anyway.
    """
    found = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size or at + length > len(data):
            break
        found[kind & _NLA_TYPE_MASK] = data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found


def _split(data: bytes) -> Iterator[tuple[int, Message]]:
    """(sequence number, message) for each message of one datagram."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > len(data):
            return
        yield sequence, Message(kind, flags, data[at + _HEADER.size : at + length])
        at += (length + 3) & ~3


def _refusal(message: Message) -> OSError | None:
    """What an NLMSG_ERROR says; None for an acknowledgement."""
    number = -_ERROR.unpack_from(message.body)[0]
    if number == 0:
        return None
    text = os.strerror(number).lower()
    if message.flags & _NLM_F_ACK_TLVS:
        # struct nlmsgerr: the error, the request's header, and unless capped the request itself; then attributes
        skip = _ERROR.size + _HEADER.size
        if not message.flags & _NLM_F_CAPPED:
            skip = _ERROR.size + _HEADER.unpack_from(message.body, _ERROR.size)[0]
        said = attributes(message.body[skip:]).get(_NLMSGERR_ATTR_MSG, b"")
        if said:
            text = f"{text} ({said.rstrip(bytes(1)).decode(errors='replace').rstrip('.')})"
    return OSError(number, text)


class Requests:
    """Asks the kernel and waits for its answer.

    The kernel answers within the call that sends; only the lock of its network configuration can make it wait.

    Args:
        deadline_s: how long one answer may take, in seconds.

    Raises:
        OSError: there can be no such socket here.
    """

    def __init__(self, deadline_s: float = 1.0) -> None:
        self._sequence = itertools.count(1)
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.settimeout(deadline_s)
        self._socket.bind((0, 0))
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)

    def ask(self, kind: int, body: bytes, flags: int = 0) -> None:
        """Have one thing done.

        Raises:
            OSError: the kernel refused, with its own words; TimeoutError: it did not answer.
        """
        sequence = self._send(kind, body, flags | NLM_F_ACK)
        for message in self._answers(sequence):
            if message.kind == _NLMSG_ERROR:
                refusal = _refusal(message)
                if refusal is not None:
                    raise refusal
                return

    def dump(self, kind: int, body: bytes) -> list[Message]:
        """All objects of a kind, as they were at one moment.

        Raises:
            OSError: the kernel refused; EAGAIN: they changed during each of several attempts; TimeoutError.
        """
        for _ in range(_DUMP_TRIES):
            found, whole = self._dump_once(kind, body)
            if whole:
                return found
        raise OSError(errno.EAGAIN, "the network configuration changes faster than it can be read")

    def _dump_once(self, kind: int, body: bytes) -> tuple[list[Message], bool]:
        found: list[Message] = []
        whole = True
        for message in self._answers(self._send(kind, body, NLM_F_DUMP)):
            whole = whole and not message.flags & NLM_F_DUMP_INTR
            if message.kind == _NLMSG_ERROR:
                refusal = _refusal(message)
                if refusal is not None:
                    raise refusal
            if message.kind in (_NLMSG_DONE, _NLMSG_ERROR):
                break
            found.append(message)
        return found, whole

    def _send(self, kind: int, body: bytes, flags: int) -> int:
        sequence = next(self._sequence) & 0xFFFFFFFF
        header = _HEADER.pack(_HEADER.size + len(body), kind, flags | NLM_F_REQUEST, sequence, 0)
        self._socket.sendto(header + body, (0, 0))
        return sequence

    def _answers(self, sequence: int) -> Iterator[Message]:
        """Messages that answer this request; those of an earlier one that was given up are passed over."""
        while True:
            data, (port, _) = self._socket.recvfrom(_RECEIVE_BYTES)
            if port == 0:  # else another process wrote to us
                yield from (message for number, message in _split(data) if number == sequence)

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


@dataclass(frozen=True, slots=True)
class Reports:
    """What the kernel reported since it was last asked.

    Attributes:
        messages: in their order.
        lost: some are missing; only a dump can say what is true now.
    """

    messages: tuple[Message, ...]
    lost: bool


class Events:
    """The kernel's reports of groups, never waiting.

    Args:
        groups: numbers (RTNLGRP_…), each below 32.
        queue_bytes: how much may wait to be read.

    Raises:
        OSError: there can be no such socket here.
    """

    def __init__(self, groups: tuple[int, ...], queue_bytes: int = QUEUE_BYTES) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, queue_bytes)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, queue_bytes)
        self._socket.bind((0, sum(1 << group - 1 for group in groups)))

    def fileno(self) -> int:
        """Readable when there is a report."""
        return self._socket.fileno()

    def read(self) -> Reports:
        """All that waits; ``lost`` when the queue was full (ENOBUFS) or a message did not fit."""
        messages: list[Message] = []
        lost = False
        while True:
            try:
                data, _, flags, (port, _) = self._socket.recvmsg(_RECEIVE_BYTES)
            except BlockingIOError:
                return Reports(tuple(messages), lost)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                lost = True
                continue
            if port != 0:
                continue
            lost = lost or bool(flags & socket.MSG_TRUNC)
            for _, message in _split(data):
                lost = lost or message.kind == _NLMSG_OVERRUN
                messages.append(message)

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()
