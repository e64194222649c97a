"""Scans while the disk moves: hints against the whole truth, torn writes, exchanged names."""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import pytest

from syncsrv.clock import SystemClock
from syncsrv.plan.tree import Kind
from syncsrv.watch.reading import COARSE_MARGIN_S, MARGIN_S, NotSettledError, read_file, read_link, seconds_to_settle
from syncsrv.watch.scan import MANY_HINTS, Reason, Scanner
from tests.support.wait import until
from tests.watch.support import Host, areas, left, write


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@contextmanager
def meanwhile(act: Callable[[int], None], pause_s: float = 0) -> Iterator[Callable[[], int]]:
    """Another thread does something over and over; the value asks how often it has."""
    ending = threading.Event()
    done = [0]
    failures: list[BaseException] = []

    def loop() -> None:
        try:
            while not ending.is_set():
                act(done[0])
                done[0] += 1
                if pause_s:
                    ending.wait(pause_s)
        except BaseException as error:  # noqa: BLE001 -- raised again in the test's thread
            failures.append(error)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield lambda: done[0]
    finally:
        ending.set()
        thread.join()
    assert not failures, failures


class TestHints:
    """Only what is hinted is looked at, and then the result is what a full scan says."""

    def test_only_the_hinted_path_is_looked_at(self, host: Host) -> None:
        write(host.etc / "a", b"1")
        write(host.etc / "d" / "b", b"1")
        host.scan()
        write(host.etc / "a", b"2")
        write(host.etc / "d" / "b", b"2")
        half = host.scan(only=[b"etc/d/b"])
        assert (host.content(half, b"etc/a"), host.content(half, b"etc/d/b")) == (b"1", b"2")
        assert host.content(host.scan(only=[b"etc/a"]), b"etc/a") == b"2"

    def test_first_scan_is_full_whatever_is_hinted(self, host: Host) -> None:
        write(host.etc / "a")
        assert set(host.scan(only=[]).entries) == {b"etc", b"etc/a"}

    def test_hint_below_what_is_not_known_yet(self, host: Host) -> None:
        host.scan()
        write(host.etc / "new" / "deep" / "f", b"1")
        live = host.scan(only=[b"etc/new/deep/f"])
        assert live == host.fresh()
        assert b"etc/new/deep/f" in live.entries

    def test_hint_below_what_is_gone_or_became_another_kind(self, host: Host) -> None:
        write(host.etc / "a" / "b" / "c" / "f")
        write(host.etc / "x" / "y" / "f")
        host.scan()
        shutil.rmtree(host.etc / "a" / "b")
        (host.etc / "a" / "b").symlink_to("/etc")
        shutil.rmtree(host.etc / "x")
        write(host.etc / "x", b"now a file")
        live = host.scan(only=[b"etc/a/b/c/f", b"etc/x/y/f"])
        assert live == host.fresh()
        assert live.entries[b"etc/a/b"].kind is Kind.LINK
        assert live.entries[b"etc/x"].kind is Kind.FILE

    def test_hint_of_what_is_left_alone_changes_nothing(self, tmp_path: Path) -> None:
        host = Host(tmp_path, areas(all={"paths": ["/etc"], "exclude": ["log"]}))
        write(host.etc / "log" / "f")
        before = host.scan()
        write(host.etc / "log" / "g")
        assert host.scan(only=[b"etc/log/g", b"srv/elsewhere", b"etc/log"]) == before

    def test_hint_above_an_area_looks_at_the_area(self, tmp_path: Path) -> None:
        host = Host(tmp_path, areas(proxy={"paths": ["/etc/nginx/conf"]}))
        assert host.scan().entries == {}
        write(host.etc / "nginx" / "conf" / "f")
        assert set(host.scan(only=[b"etc/nginx"]).entries) == {b"etc/nginx/conf", b"etc/nginx/conf/f"}
        shutil.rmtree(host.etc / "nginx")
        assert host.scan(only=[b"etc"]).entries == {}

    def test_directory_exchanged_for_another(self, host: Host) -> None:
        write(host.etc / "live" / "d" / "old", b"1")
        write(host.root / "next" / "d" / "new", b"2")
        host.scan()
        (host.etc / "live").rename(host.root / "previous")
        (host.root / "next").rename(host.etc / "live")
        live = host.scan(only=[b"etc/live"])
        assert live == host.fresh()
        assert b"etc/live/d/new" in live.entries

    def test_directory_exchanged_for_another_and_only_a_name_below_hinted(self, host: Host) -> None:
        write(host.etc / "live" / "d" / "old", b"1")
        write(host.root / "next" / "d" / "new", b"2")
        write(host.root / "next" / "beside", b"3")
        host.scan()
        (host.etc / "live").rename(host.root / "previous")
        (host.root / "next").rename(host.etc / "live")
        assert host.scan(only=[b"etc/live/d/new"]) == host.fresh()

    def test_what_a_hint_brought_goes_with_its_directory(self, host: Host) -> None:
        write(host.etc / "d" / "f")
        host.scan()
        write(host.etc / "d" / "new")
        assert b"etc/d/new" in host.scan(only=[b"etc/d/new"]).entries
        shutil.rmtree(host.etc / "d")
        assert set(host.scan(only=[b"etc/d"]).entries) == {b"etc"}

    def test_hint_of_a_directory_and_of_one_below_it_both_count(self, host: Host) -> None:
        write(host.etc / "a" / "b" / "f", b"1")
        host.scan()
        (host.etc / "a" / "b" / "f").write_bytes(b"2")
        live = host.scan(only=[b"etc/a", b"etc/a/b"])
        assert host.content(live, b"etc/a/b/f") == b"2"

    def test_more_hints_than_are_worth_it_are_a_full_scan(self, host: Host) -> None:
        write(host.etc / "a", b"1")
        host.scan()
        write(host.etc / "a", b"2")
        live = host.scan(only=[b"etc/n%d" % number for number in range(MANY_HINTS + 1)])
        assert host.content(live, b"etc/a") == b"2"

    @pytest.mark.parametrize("seed", range(6))
    def test_any_history_of_changes_gives_what_a_full_scan_gives(self, tmp_path: Path, seed: int) -> None:
        chance = random.Random(seed)
        host = Host(
            tmp_path, areas(a={"paths": ["/etc"], "exclude": ["x", "/etc/b/c"]}, b={"paths": ["/srv/a/b", "/srv/c"]})
        )
        host.scan()
        for step in range(120):
            touched = set()
            for _ in range(chance.randrange(1, 5)):
                touched |= change(tmp_path, chance)
            live = host.scan(only=touched)
            assert live == host.fresh(), (step, touched)


def change(root: Path, chance: random.Random) -> set[bytes]:
    """Do one thing somewhere; the paths that inotify would name for it."""

    def anywhere() -> str:
        top = chance.choice(["etc", "srv"])
        return "/".join([top, *(chance.choice("abcx") for _ in range(chance.randrange(1, 5)))])

    path, other = anywhere(), anywhere()
    target = root / path
    hints = {path.encode(), os.path.dirname(path).encode()}
    action = chance.choice(["write", "write", "write", "link", "mkdir", "remove", "move", "chmod"])
    try:
        if action == "write":
            os.makedirs(target.parent, exist_ok=True)
            target.write_bytes(b"%d" % chance.randrange(10))
        elif action == "link":
            target.symlink_to(other)
        elif action == "mkdir":
            target.mkdir(parents=True)
        elif action == "remove":
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink()
        elif action == "move":
            hints |= {other.encode(), os.path.dirname(other).encode()}
            target.rename(root / other)
        else:
            target.chmod(chance.choice([0o600, 0o700, 0o755]))
    except OSError:
        # Not possible there: a file in the way, nothing to remove. Directories made on the way are hinted below.
        pass
    for known in list(hints):
        while b"/" in known:
            known = os.path.dirname(known)
            hints.add(known)
    return hints


class TestTorn:
    """What is taken in was the whole content at one moment."""

    def test_second_write_of_the_same_size_within_a_clock_tick_is_seen(self, host: Host) -> None:
        for turn in range(25):
            write(host.etc / "f", b"first  %03d" % turn)
            host.scan(only=[b"etc/f"])
            write(host.etc / "f", b"second %03d" % turn)
            assert host.content(host.scan(only=[b"etc/f"]), b"etc/f") == b"second %03d" % turn

    def test_file_that_never_rests_is_left_out_by_name(self, host: Host) -> None:
        write(host.etc / "rests", b"1")
        write(host.etc / "f", b"\0" * 300_000)
        fd = os.open(host.etc / "f", os.O_WRONLY)
        with meanwhile(lambda turn: write_all(fd, bytes([turn % 256]) * 300_000)) as turns:
            until(lambda: turns() > 3, what="writes")
            live = host.scan()
        os.close(fd)
        assert left(live) == {b"etc/f": Reason.CHANGING}
        assert live.left_out[0].unknown
        assert set(live.entries) == {b"etc", b"etc/rests"}
        assert all(len(set(content)) == 1 for content in host.blobs.taken)
        assert b"etc/f" in host.scan(only=[]).entries or host.scan().left_out == ()

    def test_file_that_is_rewritten_now_and_then_is_never_torn(self, tmp_path: Path) -> None:
        # Large, so that reading takes long; its writer changes the end first and the beginning last.
        size = 32 * 1024 * 1024
        write(tmp_path / "etc" / "f")
        os.truncate(tmp_path / "etc" / "f", size)
        taken: list[tuple[bytes, bytes]] = []

        def put(content: bytes) -> str:
            taken.append((content[:8], content[-8:]))
            return f"{len(taken):040x}"

        fd = os.open(tmp_path / "etc" / "f", os.O_WRONLY)

        def rewrite(turn: int) -> None:
            os.pwrite(fd, b"%08d" % turn, size - 8)
            os.pwrite(fd, b"%08d" % turn, 0)

        scanner = Scanner(tmp_path, put, SystemClock())
        everything = areas(all={"paths": ["/etc"], "limit": size})
        with meanwhile(rewrite, pause_s=MARGIN_S * 2) as turns:
            while turns() < 40:
                scanner.scan(everything, None)
        os.close(fd)
        assert len(taken) > 2, "some of the contents in between were taken in"
        assert [pair for pair in taken if pair[0] != pair[1]] == []

    def test_growing_file_is_whole_or_left_out(self, host: Host) -> None:
        with (host.etc / "log").open("ab", buffering=0) as log, meanwhile(lambda _: append(log)):
            for _ in range(5):
                live = host.scan()
                assert left(live) == {b"etc/log": Reason.CHANGING} or b"etc/log" in live.entries

    def test_file_saved_by_renaming_is_never_missing_and_never_half(self, host: Host) -> None:
        write(host.etc / "conf", b"0 0\n")

        def save(turn: int) -> None:
            (host.etc / ".conf.swp").write_bytes(b"%d %s\n" % (turn, b"x" * (turn % 5000)))
            (host.etc / ".conf.swp").replace(host.etc / "conf")

        with meanwhile(save, pause_s=0.004) as turns:
            for _ in range(20):
                live = host.scan()
                assert b"etc/conf" in live.entries or left(live).get(b"etc/conf") is Reason.CHANGING
            assert turns() > 20
        for content in host.blobs.taken:
            turn, _, rest = content.partition(b" ")
            assert content == b"0 0\n" or rest == b"x" * (int(turn) % 5000) + b"\n"
        assert host.scan() == host.fresh()

    def test_directories_that_come_and_go(self, host: Host) -> None:
        write(host.etc / "stays" / "f")

        def churn(turn: int) -> None:
            for depth in ("d", "d/e", "d/e/g"):
                write(host.etc / depth / "f", b"%d" % turn)
            shutil.rmtree(host.etc / "d")

        with meanwhile(churn) as turns:
            for number in range(16):
                live = host.scan(only=None if number % 2 else [b"etc/d"])
                assert b"etc/stays/f" in live.entries
            assert turns() > 3
        assert host.scan(only=[b"etc"]) == host.fresh()


def append(log: IO[bytes]) -> None:
    log.write(b"line\n")


def write_all(fd: int, content: bytes) -> None:
    assert os.pwrite(fd, content, 0) == len(content)


class TestExchanged:
    """A name that means something else from one moment to the next never leads outside, and never blocks."""

    def test_directory_exchanged_with_a_link_to_the_outside(self, tmp_path: Path) -> None:
        host = Host(tmp_path / "root")
        write(tmp_path / "outside" / "sub" / "secret", b"SECRET")
        write(tmp_path / "outside" / "f", b"SECRET")
        write(host.etc / "d" / "sub" / "mine", b"mine")
        write(host.etc / "d" / "f", b"mine")
        d, away, link = host.etc / "d", host.etc / "away", host.etc / "link"

        def swap(_: int) -> None:
            link.symlink_to(tmp_path / "outside")
            d.rename(away)
            link.rename(d)
            d.unlink()
            away.rename(d)

        with meanwhile(swap) as turns:
            for number in range(60):
                live = host.scan(only=[b"etc/d/sub/secret", b"etc/d/f"] if number % 3 else None)
                assert not any(path.endswith(b"secret") for path in live.entries)
            assert turns() > 20
        assert b"SECRET" not in host.blobs.taken
        assert host.scan() == host.fresh()
        assert b"etc/d/sub/mine" in host.scan().entries

    def test_file_exchanged_with_a_link_to_the_outside(self, tmp_path: Path) -> None:
        host = Host(tmp_path / "root")
        write(tmp_path / "secret", b"SECRET")
        write(host.etc / "f", b"mine")
        spare = host.root / "spare"

        def swap(_: int) -> None:
            spare.symlink_to(tmp_path / "secret")
            spare.rename(host.etc / "f")
            spare.write_bytes(b"mine")
            spare.rename(host.etc / "f")

        with meanwhile(swap) as turns:
            for _ in range(25):
                host.scan()
            assert turns() > 20
        assert set(host.blobs.taken) <= {b"mine", os.fsencode(tmp_path / "secret")}

    def test_reading_refuses_what_is_no_file_any_more(self, host: Host) -> None:
        os.mkfifo(host.etc / "fifo")
        (host.etc / "dir").mkdir()
        write(host.root / "target")
        (host.etc / "link").symlink_to(host.root / "target")
        at = os.open(host.etc, os.O_RDONLY)
        try:
            for name in (b"fifo", b"dir", b"link", b"missing"):
                with pytest.raises(NotSettledError):
                    read_file(at, name, 100, SystemClock())
            for name in (b"fifo", b"dir", b"missing"):
                with pytest.raises(NotSettledError):
                    read_link(at, name, SystemClock())
        finally:
            os.close(at)


def test_when_a_time_stamp_is_settled() -> None:
    now_utc = datetime(2026, 11, 23, 12, 0, 0, 500_000, tzinfo=UTC)
    now_ns = int(now_utc.timestamp() * 1e9)
    assert seconds_to_settle(now_ns - 10_000_000_000 - 1, now_utc) == 0
    assert seconds_to_settle(now_ns - 10_000_001, now_utc) == pytest.approx(MARGIN_S - 0.01, abs=1e-3)
    assert seconds_to_settle(now_ns + 10_000_001, now_utc) == pytest.approx(MARGIN_S + 0.01, abs=1e-3)
    assert seconds_to_settle(now_ns + 3_600_000_000_001, now_utc) == 0, "the clock was set back"
    whole_second_ns = now_ns // 1_000_000_000 * 1_000_000_000
    assert seconds_to_settle(whole_second_ns, now_utc) == pytest.approx(COARSE_MARGIN_S - 0.5, abs=1e-3)


def test_thousands_of_files_are_not_read_again(host: Host) -> None:
    for number in range(3000):
        write(host.etc / f"d{number % 100}" / f"f{number}", b"%d" % number)
    first = host.scan()
    assert len(first.entries) == 3101
    host.blobs.taken.clear()
    assert host.scan() == first
    assert host.blobs.taken == []
