"""Netlink itself: attributes, the kernel's refusals in its own words, dumps, lost reports."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.failover import rtmessages as rt
from syncsrv.failover.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    Events,
    KernelError,
    Requests,
    attribute,
    attributes,
)
from tests.support.netns import Lab, needs_lab
from tests.support.wait import until


@pytest.fixture
def lab() -> Iterator[Lab]:
    with contextlib.closing(Lab("a")) as made:
        yield made


def test_an_attribute_is_padded_for_its_successor() -> None:
    assert attribute(3, b"lo\0") == b"\x07\x00\x03\x00lo\x00\x00"
    assert attribute(1, b"1234") == b"\x08\x00\x01\x001234"


@given(st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=40), max_size=8))
def test_attributes_read_what_was_written(wanted: dict[int, bytes]) -> None:
    assert attributes(b"".join(attribute(kind, data) for kind, data in wanted.items())) == wanted


@given(st.binary(max_size=80))
def test_any_bytes_can_be_read_as_attributes(data: bytes) -> None:
    assert all(len(value) <= len(data) for value in attributes(data).values())


def test_the_bits_of_nesting_and_byte_order_are_no_part_of_the_type() -> None:
    assert attributes(attribute(0x8000 | 18, b"data")) == {18: b"data"}


def test_an_error_is_ours_and_an_os_error_with_its_number() -> None:
    error = KernelError("cannot put 192.0.2.1/24 on eth0: no such device", "see that it exists", errno.ENODEV)
    assert isinstance(error, OSError)
    assert error.errno == errno.ENODEV
    assert str(error) == "cannot put 192.0.2.1/24 on eth0: no such device; see that it exists"


@needs_lab
def test_the_kernel_refuses_in_its_own_words(lab: Lab) -> None:
    with lab.asking("a") as requests:
        index = socket.if_nametoindex("eth0")
        with pytest.raises(OSError, match="no such device") as caught:
            requests.ask(rt.RTM_DELLINK, rt.old_link(9999))
        assert caught.value.errno == errno.ENODEV
        body = struct.pack("=BBBBi", socket.AF_INET, 40, 0, 0, index) + attribute(2, bytes(4))
        with pytest.raises(OSError, match=r"invalid argument \(ipv4: Invalid prefix length\)"):
            requests.ask(rt.RTM_NEWADDR, body, NLM_F_CREATE | NLM_F_EXCL)
        requests.ask(rt.RTM_NEWLINK, rt.link_flags(index, up=True))  # after a refusal it goes on as before


@needs_lab
def test_a_dump_has_every_link(lab: Lab) -> None:
    for number in range(40):
        lab.plug("a", f"more{number}", f"port{number}")
    with lab.asking("a") as requests:
        reports = [rt.parse(message) for message in requests.dump(rt.RTM_GETLINK, rt.all_links())]
    names = {report.link.name for report in reports if isinstance(report, rt.LinkReport)}
    assert names == {"lo", "eth0", *(f"more{number}" for number in range(40))}


@needs_lab
def test_events_report_what_happens_and_wait_for_nothing(lab: Lab) -> None:
    with lab.entered("a"):
        events = Events(rt.GROUPS)
    with contextlib.closing(events):
        assert events.read().messages == ()
        lab.address("a", "eth0", "192.0.2.1/24")
        reports = [rt.parse(message) for message in until(lambda: events.read().messages)]
        assert [str(one.assigned.interface) for one in reports if isinstance(one, rt.AddressReport)] == ["192.0.2.1/24"]


@needs_lab
def test_a_full_queue_is_said(lab: Lab) -> None:
    with lab.entered("a"):
        events = Events(rt.GROUPS, queue_bytes=2048)
    with contextlib.closing(events):
        for number in range(1, 60):
            lab.address("a", "eth0", f"192.0.2.{number}/24")
        assert events.read().lost
        assert not events.read().lost
        lab.address("a", "eth0", "192.0.2.77/24")
        assert len(events.read().messages) == 1


def test_the_deadline_of_an_answer_is_kept() -> None:
    requests = Requests(deadline_s=0.01)
    with contextlib.closing(requests), pytest.raises(TimeoutError):
        requests.dump(1, b"")  # NLMSG_NOOP: the kernel has nothing to say to that
