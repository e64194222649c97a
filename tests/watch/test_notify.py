"""The watcher against the real kernel: nothing missed, nothing held up, nothing left behind."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from watchdog.observers.inotify_c import CallbackId, InotifyFD, Mask, WatchCallback, WatchDescriptor

from syncsrv.clock import SystemClock
from syncsrv.plan.areas import Areas, Never
from syncsrv.plan.tree import CLUSTER_PATH
from syncsrv.watch.notify import Watcher
from tests.support.wait import until
from tests.watch.support import Host, areas, blob_id, small_file_system, unprivileged, write

QUIET_S = 0.15


class Told:
    """What a watcher told, in its order."""

    def __init__(self) -> None:
        self.calls: list[frozenset[bytes] | None] = []
        self.asked = threading.Event()
        self.held = threading.Event()
        self.held.set()

    def __call__(self, paths: frozenset[bytes] | None) -> None:
        self.asked.set()
        self.held.wait()
        self.calls.append(paths)

    @property
    def paths(self) -> set[bytes]:
        return {path for call in self.calls if call is not None for path in call}

    @property
    def anything(self) -> bool:
        return None in self.calls


class Watched:
    """A root with a watcher on it."""

    def __init__(
        self,
        root: Path,
        chosen: Areas | None = None,
        cluster_file: Path | None = None,
        reader: Callable[[], InotifyFD] = InotifyFD,
    ) -> None:
        self.host = Host(root, chosen)
        self.etc = self.host.etc
        self.told = Told()
        self.watcher = Watcher(root, self.told, SystemClock(), quiet_s=QUIET_S, most_s=2, reader=reader)
        self.watcher.watch(self.host.areas, cluster_file)

    def sees(self, *paths: bytes) -> None:
        until(lambda: self.told.paths >= set(paths), what=f"to be told of {paths}")

    def rest(self) -> None:
        """Until all that was done before this is told, shown by a change whose telling comes last."""
        number = len(self.told.calls)
        name = b"etc/rest%d" % number
        write(self.host.root / os.fsdecode(name))
        until(lambda: name in self.told.paths or self.told.anything, what="everything told")


@pytest.fixture
def opened() -> Iterator[Callable[..., Watched]]:
    made: list[Watched] = []

    def make(
        root: Path,
        chosen: Areas | None = None,
        cluster_file: Path | None = None,
        reader: Callable[[], InotifyFD] = InotifyFD,
    ) -> Watched:
        made.append(Watched(root, chosen, cluster_file, reader))
        return made[-1]

    yield make
    for one in made:
        one.told.held.set()
        one.watcher.close()


Make = Callable[..., Watched]


def test_every_way_to_change_something_is_told(tmp_path: Path, opened: Make) -> None:
    etc = tmp_path / "etc"
    for name in ("write", "append", "chmod", "remove", "away", "d/deep/f", "xattr", "own"):
        write(etc / name)
    it = opened(tmp_path)
    write(etc / "write", b"2")
    with (etc / "append").open("ab") as file:
        file.write(b"2")
    (etc / "chmod").chmod(0o600)
    (etc / "remove").unlink()
    (etc / "away").rename(tmp_path / "outside")
    (etc / "link").symlink_to("x")
    (etc / "new.d").mkdir()
    (etc / "d" / "deep").chmod(0o700)
    write(etc / "d" / "deep" / "f", b"3")
    os.setxattr(etc / "xattr", "user.a", b"1")
    os.chown(etc / "own", os.geteuid(), os.getegid())
    os.link(etc / "write", etc / "hard")
    it.sees(
        *(b"etc/" + name for name in (b"write", b"append", b"chmod", b"remove", b"away", b"link", b"new.d", b"d/deep")),
        *(b"etc/" + name for name in (b"d/deep/f", b"xattr", b"own", b"hard")),
    )
    assert it.watcher.degraded == ""


def test_file_that_is_written_and_kept_open_is_told(tmp_path: Path, opened: Make) -> None:
    it = opened(tmp_path)
    with (it.etc / "held").open("wb", buffering=0) as file:
        it.sees(b"etc/held")
        it.told.calls.clear()
        file.write(b"1")
        it.sees(b"etc/held")


def test_many_changes_are_told_once_after_the_quiet_period(tmp_path: Path, opened: Make) -> None:
    it = opened(tmp_path)
    for number in range(50):
        write(it.etc / f"f{number}")
    until(lambda: it.told.calls, what="a call")
    it.rest()
    assert it.told.calls[0] is not None
    assert it.told.calls[0] >= {b"etc/f%d" % number for number in range(50)}


def test_save_by_renaming_is_told(tmp_path: Path, opened: Make) -> None:
    write(tmp_path / "etc" / "conf", b"1")
    it = opened(tmp_path)
    write(it.etc / "conf.new", b"2")
    (it.etc / "conf.new").replace(it.etc / "conf")
    it.sees(b"etc/conf", b"etc/conf.new")


def test_names_that_are_not_utf8_are_told_byte_for_byte(tmp_path: Path, opened: Make) -> None:
    it = opened(tmp_path)
    name = b"\xff\xfe\nx"
    os.mkdir(os.fsencode(it.etc) + b"/" + name)
    it.sees(b"etc/" + name)
    write(os.fsencode(it.etc) + b"/" + name + b"/" + name)
    it.sees(b"etc/" + name + b"/" + name)


def test_directory_moved_in_whole_is_told_and_watched_below(tmp_path: Path, opened: Make) -> None:
    write(tmp_path / "outside" / "a" / "b" / "f", b"1")
    it = opened(tmp_path)
    (tmp_path / "outside").rename(it.etc / "inside")
    it.sees(b"etc/inside")
    assert b"etc/inside/a/b/f" in it.host.scan().entries
    it.told.calls.clear()
    write(it.etc / "inside" / "a" / "b" / "g", b"2")
    it.sees(b"etc/inside/a/b/g")


def test_directory_moved_within_is_told_by_its_new_name(tmp_path: Path, opened: Make) -> None:
    write(tmp_path / "etc" / "old" / "sub" / "f")
    it = opened(tmp_path)
    count = it.watcher.watched
    (it.etc / "old").rename(it.etc / "new")
    it.sees(b"etc/old", b"etc/new")
    write(it.etc / "new" / "sub" / "g")
    it.sees(b"etc/new/sub/g")
    assert it.watcher.watched == count
    assert not any(path.startswith(b"etc/old/") for path in it.told.paths)


def test_directory_moved_out_is_told_and_not_watched_any_more(tmp_path: Path, opened: Make) -> None:
    write(tmp_path / "etc" / "d" / "sub" / "f")
    it = opened(tmp_path)
    (it.etc / "d").rename(tmp_path / "gone")
    it.sees(b"etc/d")
    it.told.calls.clear()
    write(tmp_path / "gone" / "sub" / "f", b"2")
    it.rest()
    assert not any(path.startswith(b"etc/d") for path in it.told.paths)
    assert it.watcher.watched == 2


def test_directories_made_and_filled_at_once_lose_no_file(tmp_path: Path, opened: Make) -> None:
    it = opened(tmp_path)
    it.host.scan()
    expected = set()
    for number in range(60):
        path = f"a{number}/b/c{number}/d"
        write(it.etc / path / "f", b"%d" % number)
        expected.add(f"etc/{path}/f".encode())
    it.rest()
    live = it.host.scan(None if it.told.anything else it.told.paths)
    assert expected <= live.entries.keys()
    assert live == it.host.fresh()


def test_ten_thousand_files_at_once_and_nothing_missed(tmp_path: Path, opened: Make) -> None:
    it = opened(tmp_path)
    it.host.scan()
    for number in range(10_000):
        write(it.etc / f"d{number % 50}" / f"f{number}", b"%d" % number)
    it.rest()
    live = it.host.scan(None if it.told.anything else it.told.paths)
    assert sum(path.startswith(b"etc/d") and b"/f" in path for path in live.entries) == 10_000
    assert live == it.host.fresh()


def test_overflow_of_the_kernels_queue_asks_for_a_full_scan(tmp_path: Path, opened: Make) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 100_000:
        pytest.skip("the kernel's queue holds more than 100000 events here")
    it = opened(tmp_path)
    (it.etc / "d").mkdir()
    it.sees(b"etc/d")
    # The reader waits for the book before it reads on; so the queue fills up, as under a storm of changes.
    with it.watcher._book:
        for number in range(limit // 4 + 2000):
            path = it.etc / f"f{number % 500}"
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            path.chmod(0o600)
            path.unlink()
        (it.etc / "made" / "meanwhile").mkdir(parents=True)
    until(lambda: it.told.anything, deadline_s=30, what="anything")
    it.told.calls.clear()
    write(it.etc / "made" / "meanwhile" / "f")
    it.sees(b"etc/made/meanwhile/f")
    assert it.watcher.degraded == ""


def test_excluded_churn_neither_tells_nor_holds_up(tmp_path: Path, opened: Make) -> None:
    chosen = areas((Never(b"etc/state", "state_dir"),), all={"paths": ["/etc"], "exclude": ["*.log", "/etc/cache"]})
    for name in ("cache/deep/f", "state/f", ".git/objects/f", "real"):
        write(tmp_path / "etc" / name)
    it = opened(tmp_path, chosen)
    assert it.watcher.watched == 2, "nothing below what is left alone is watched"
    ending = threading.Event()

    def churn() -> None:
        while not ending.wait(QUIET_S / 10):
            for name in ("a.log", "cache/deep/f", "state/g", "f~", ".git/index", "cache/new/x", ".git/x/y"):
                write(it.etc / name, os.urandom(4))

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        write(it.etc / "real", b"2")
        it.sees(b"etc/real")
    finally:
        ending.set()
        thread.join()
    assert it.told.paths == {b"etc/real"}


class TestAreasThatComeAndGo:
    def test_area_that_does_not_exist_yet(self, tmp_path: Path, opened: Make) -> None:
        it = opened(tmp_path, areas(x={"paths": ["/srv/app/conf"]}))
        (tmp_path / "srv").mkdir()
        write(tmp_path / "srv" / "other")
        until(lambda: b"srv" in it.told.paths, what="the nearest parent")
        (tmp_path / "srv" / "app").mkdir()
        write(tmp_path / "srv" / "app" / "conf" / "d" / "f", b"1")
        until(lambda: it.told.paths & {b"srv/app", b"srv/app/conf"}, what="the area")
        write(tmp_path / "srv" / "app" / "conf" / "d" / "g", b"1")
        it.sees(b"srv/app/conf/d/g")
        assert b"srv/other" not in it.told.paths

    def test_area_that_is_one_file(self, tmp_path: Path, opened: Make) -> None:
        write(tmp_path / "etc" / "other")
        it = opened(tmp_path, areas(hosts={"paths": ["/etc/hosts"]}))
        write(it.etc / "other", b"2")
        write(it.etc / "hosts", b"1")
        it.sees(b"etc/hosts")
        (it.etc / "hosts").unlink()
        assert it.told.paths == {b"etc/hosts"}

    def test_parent_of_an_area_exchanged_for_another(self, tmp_path: Path, opened: Make) -> None:
        write(tmp_path / "opt" / "app" / "sub" / "conf" / "old")
        write(tmp_path / "opt" / "next" / "sub" / "conf" / "new")
        it = opened(tmp_path, areas(x={"paths": ["/opt/app/sub/conf"]}))
        (tmp_path / "opt" / "app").rename(tmp_path / "opt" / "previous")
        (tmp_path / "opt" / "next").rename(tmp_path / "opt" / "app")
        it.sees(b"opt/app")
        assert b"opt/app/sub/conf/new" in it.host.scan(it.told.paths).entries
        write(tmp_path / "opt" / "app" / "sub" / "conf" / "later")
        it.sees(b"opt/app/sub/conf/later")
        write(tmp_path / "opt" / "previous" / "sub" / "conf" / "unseen")
        write(tmp_path / "opt" / "app" / "sub" / "conf" / "last")
        it.sees(b"opt/app/sub/conf/last")
        assert not any(b"unseen" in path for path in it.told.paths)

    def test_area_removed_and_made_anew(self, tmp_path: Path, opened: Make) -> None:
        write(tmp_path / "etc" / "d" / "f")
        it = opened(tmp_path, areas(x={"paths": ["/etc/d"]}))
        for turn in range(3):
            shutil.rmtree(it.etc / "d")
            it.sees(b"etc/d")
            it.told.calls.clear()
            write(it.etc / "d" / "sub" / f"f{turn}")
            until(lambda: b"etc/d" in it.told.paths, what="the area again")
            it.told.calls.clear()
            write(it.etc / "d" / "sub" / "g")
            it.sees(b"etc/d/sub/g")

    def test_what_stood_under_a_mount_is_watched_when_it_is_gone(self, tmp_path: Path, opened: Make) -> None:
        write(tmp_path / "etc" / "d" / "under" / "f")
        with small_file_system(tmp_path / "etc" / "d"):
            it = opened(tmp_path)
            write(it.etc / "d" / "f")
            it.sees(b"etc/d/f")
        it.sees(b"etc/d/under")
        write(it.etc / "d" / "under" / "f", b"2")
        it.sees(b"etc/d/under/f")

    def test_area_behind_a_link_is_not_watched_until_it_is_none(self, tmp_path: Path, opened: Make) -> None:
        write(tmp_path / "elsewhere" / "x" / "f")
        (tmp_path / "srv").symlink_to("elsewhere")
        it = opened(tmp_path, areas(x={"paths": ["/srv/x"]}))
        write(tmp_path / "elsewhere" / "x" / "f", b"2")
        (tmp_path / "srv").unlink()
        write(tmp_path / "srv" / "x" / "g")
        until(lambda: it.told.paths & {b"srv", b"srv/x"}, what="the area")
        assert not any(b"/f" in path for path in it.told.paths)

    def test_other_areas_after_a_reload(self, tmp_path: Path, opened: Make) -> None:
        write(tmp_path / "etc" / "a" / "f")
        write(tmp_path / "etc" / "b" / "f")
        it = opened(tmp_path, areas(x={"paths": ["/etc/a"]}))
        it.watcher.watch(areas(x={"paths": ["/etc/b"]}), None)
        write(it.etc / "a" / "f", b"2")
        write(it.etc / "b" / "f", b"2")
        it.sees(b"etc/b/f")
        assert it.told.paths == {b"etc/b/f"}


class TestClusterFile:
    def test_saved_in_place_and_by_renaming(self, tmp_path: Path, opened: Make) -> None:
        file = tmp_path / "conf" / "cluster.yaml"
        write(file)
        it = opened(tmp_path, None, file)
        write(file.parent / "node.yaml")
        write(file, b"2")
        it.sees(CLUSTER_PATH)
        it.told.calls.clear()
        write(file.parent / "new", b"3")
        (file.parent / "new").replace(file)
        it.sees(CLUSTER_PATH)
        assert it.told.paths == {CLUSTER_PATH}

    def test_below_an_area_it_is_told_once_and_its_neighbours_never(self, tmp_path: Path, opened: Make) -> None:
        chosen = areas((Never(b"etc/syncsrv", "the configuration directory"),), all={"paths": ["/etc"]})
        file = tmp_path / "etc" / "syncsrv" / "cluster.yaml"
        write(file)
        it = opened(tmp_path, chosen, file)
        write(file.parent / "secrets.yaml")
        write(file, b"2")
        it.sees(CLUSTER_PATH)
        assert it.told.paths == {CLUSTER_PATH}

    def test_directory_that_is_missing_or_goes_is_said(self, tmp_path: Path, opened: Make) -> None:
        file = tmp_path / "conf" / "cluster.yaml"
        it = opened(tmp_path, None, file)
        assert "conf is not watched" in it.watcher.degraded
        write(file)
        it.watcher.watch(it.host.areas, file)
        assert it.watcher.degraded == ""
        shutil.rmtree(file.parent)
        until(lambda: it.watcher.degraded, what="it to be said")
        assert "configuration directory was removed" in it.watcher.degraded


class Scarce(InotifyFD):
    """The kernel's queue where the user has only some watches, refused as watchdog says it."""

    left = 20

    def add_callback(self, path: bytes, mask: Mask, callback: WatchCallback, id_: CallbackId) -> WatchDescriptor:
        if Scarce.left == 0:
            raise OSError(errno.ENOSPC, "inotify watch limit reached")
        Scarce.left -= 1
        return super().add_callback(path, mask, callback, id_)


class TestRefused:
    """The kernel grants no more watches: that is said, and a later attempt may succeed."""

    def test_too_few_watches_are_said_and_come_back(self, tmp_path: Path, opened: Make) -> None:
        for number in range(50):
            write(tmp_path / "etc" / f"d{number}" / "f")
        Scarce.left = 20
        it = opened(tmp_path, reader=Scarce)
        assert "max_user_watches" in it.watcher.degraded
        assert it.watcher.watched == 20
        Scarce.left = 100
        it.watcher.watch(it.host.areas, None)
        assert it.watcher.degraded == ""
        assert it.watcher.watched == 52

    def test_no_inotify_at_all_is_said_and_comes_back(self, tmp_path: Path, opened: Make) -> None:
        granted = [False]

        def make() -> InotifyFD:
            if not granted[0]:
                raise OSError(errno.EMFILE, "inotify instance limit reached")
            return InotifyFD()

        it = opened(tmp_path, reader=make)
        assert "max_user_instances" in it.watcher.degraded
        assert it.watcher.watched == 0
        granted[0] = True
        it.watcher.watch(it.host.areas, None)
        write(it.etc / "f")
        it.sees(b"etc/f")
        assert it.watcher.degraded == ""

    def test_directory_that_may_not_be_watched_is_said(self, short_tmp: Path, opened: Make) -> None:
        short_tmp.chmod(0o755)
        write(short_tmp / "etc" / "closed" / "f")
        (short_tmp / "etc" / "closed").chmod(0)
        with unprivileged():
            it = opened(short_tmp)
        assert "closed is not watched: permission denied" in it.watcher.degraded
        (it.etc / "closed").chmod(0o755)
        it.watcher.watch(it.host.areas, None)
        assert it.watcher.degraded == ""


def test_what_happens_while_it_is_told_is_told_next(tmp_path: Path, opened: Make) -> None:
    it = opened(tmp_path)
    it.told.held.clear()
    write(it.etc / "first")
    until(it.told.asked.is_set, what="the first call")
    write(it.etc / "second")
    until(lambda: it.watcher._gather.due_at() is not None, what="the second change to be noticed")
    it.told.held.set()
    it.sees(b"etc/first", b"etc/second")
    assert len(it.told.calls) == 2


def test_what_never_rests_is_told_after_the_bound(tmp_path: Path, opened: Make) -> None:
    it = opened(tmp_path)
    ending = threading.Event()

    def append() -> None:
        with (it.etc / "log").open("ab", buffering=0) as log:
            while not ending.wait(QUIET_S / 10):
                log.write(b"line\n")

    thread = threading.Thread(target=append)
    thread.start()
    try:
        it.sees(b"etc/log")
    finally:
        ending.set()
        thread.join()


def test_nothing_is_left_after_close(tmp_path: Path) -> None:
    threads, descriptors = set(threading.enumerate()), set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        it = Watched(tmp_path)
        write(it.etc / "f", os.urandom(4))
        it.watcher.close()
        it.watcher.close()
    assert set(threading.enumerate()) == threads
    assert set(os.listdir("/proc/self/fd")) == descriptors
    quiet = Watcher(tmp_path, it.told, SystemClock())
    quiet.close()
    assert set(threading.enumerate()) == threads


def test_watching_and_scanning_together_follow_a_storm(tmp_path: Path, opened: Make) -> None:
    it = opened(tmp_path)
    it.host.scan()
    for number in range(300):
        folder = it.etc / f"d{number % 7}" / f"e{number % 3}"
        write(folder / f"f{number}", b"%d" % number)
        if number % 5 == 0:
            (folder / f"f{number}").replace(it.etc / f"top{number % 4}")
        if number % 11 == 0:
            shutil.rmtree(it.etc / f"d{number % 7}")
        if number % 13 == 0 and (it.etc / "d3").exists():
            shutil.rmtree(it.etc / "moved", ignore_errors=True)
            (it.etc / "d3").rename(it.etc / "moved")
    it.rest()
    live = it.host.scan(None if it.told.anything else it.told.paths)
    assert live == it.host.fresh()
    assert live.entries[b"etc/top0"].blob == blob_id((it.etc / "top0").read_bytes())
