"""What systemd hears of us, by a socket that stands in its place."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from syncsrv.notify import Notifier, of_environment

Told = Callable[[Mapping[str, str]], Notifier]


@pytest.fixture
def systemd(short_tmp: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(short_tmp / "notify"))
        sock.settimeout(5)
        yield sock


@pytest.fixture
def told() -> Iterator[Told]:
    """Makes Notifiers of an environment, and closes them."""
    made = []

    def make(environ: Mapping[str, str]) -> Notifier:
        made.append(of_environment(environ))
        return made[-1]

    yield make
    for notifier in made:
        notifier.close()


def heard(sock: socket.socket) -> list[str]:
    return sock.recv(4096).decode().split("\n")


def silent(sock: socket.socket) -> bool:
    return not select.select([sock], [], [], 0)[0]


def test_it_says_each_word_as_systemd_reads_it(systemd: socket.socket, told: Told) -> None:
    notifier = told({"NOTIFY_SOCKET": systemd.getsockname()})
    assert notifier
    notifier.ready("serves\nall")
    assert heard(systemd) == ["READY=1", "STATUS=serves all"]
    notifier.reloading()
    word, moment = heard(systemd)
    assert (word, moment.partition("=")[0]) == ("RELOADING=1", "MONOTONIC_USEC")
    assert int(moment.partition("=")[2]) > 0
    notifier.status("waits")
    assert heard(systemd) == ["STATUS=waits"]
    notifier.stopping()
    assert heard(systemd) == ["STOPPING=1"]


def test_signs_of_life_are_sent_where_they_are_wanted_and_not_more_often(systemd: socket.socket, told: Told) -> None:
    address = systemd.getsockname()
    told({"NOTIFY_SOCKET": address}).alive()
    assert silent(systemd)
    notifier = told({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())})
    assert notifier.watchdog_s == 2
    assert notifier.every_s == 0.5
    notifier.alive()
    assert heard(systemd) == ["WATCHDOG=1"]
    notifier.alive()
    assert silent(systemd)


def test_a_watchdog_that_is_meant_for_another_process_is_left_to_it(systemd: socket.socket, told: Told) -> None:
    notifier = told({"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"})
    assert notifier
    assert notifier.every_s is None


def test_an_abstract_name_is_one(told: Told) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        name = f"syncsrv-test-{os.getpid()}"
        sock.bind("\0" + name)
        sock.settimeout(5)
        told({"NOTIFY_SOCKET": "@" + name}).ready()
        assert heard(sock) == ["READY=1"]


def test_a_systemd_that_made_its_socket_anew_is_found_again(short_tmp: Path, told: Told) -> None:
    path = short_tmp / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as first:
        first.bind(str(path))
        notifier = told({"NOTIFY_SOCKET": str(path)})
    path.unlink()
    notifier.ready()  # nobody is there, and that does no harm
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as second:
        second.bind(str(path))
        second.settimeout(5)
        notifier.ready()
        assert heard(second) == ["READY=1"]


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"WATCHDOG_USEC": "1"}])
def test_without_systemd_nothing_is_said(environ: dict[str, str], told: Told) -> None:
    notifier = told(environ)
    assert not notifier
    notifier.ready()
    notifier.alive()
    assert notifier.every_s is None
