"""Random trees become random other trees, on a real disk, and back, killed at every step."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsrv.disk.file_errors import UnsafePathError, UnsafeTreeError
from syncsrv.disk.files import LiveFiles
from syncsrv.disk.operations import Op, Operation, plan_operations
from syncsrv.disk.undo import UndoReport, undo
from syncsrv.disk.write import write_all
from syncsrv.plan.tree import Entry, Kind, Owner
from tests.support.trees import Blobs, build, file, folder, link, plain, scan

IS_ROOT = os.geteuid() == 0
JOB = "job-1"

Tree = Mapping[bytes, Entry]


class Killed(BaseException):
    """Stands for the end of the process: nothing in the code under test may catch it."""


class KillAt:
    """Ends at the n-th step; counts them and keeps their names."""

    def __init__(self, at: int = -1) -> None:
        self.at = at
        self.names: list[str] = []

    def __call__(self, step: str) -> None:
        if len(self.names) == self.at:
            raise Killed
        self.names.append(step)


BLOBS = Blobs()
NAMES = [b"a", b"b", b"a0", b"c\xff", b"x y"]
OWNERS = [Owner("", number) for number in ((0, 1, 12345) if IS_ROOT else (os.geteuid(),))]
GROUPS = [Owner("", number) for number in ((0, 2) if IS_ROOT else (os.getegid(),))]


def _leaf() -> st.SearchStrategy[Entry]:
    xattrs = st.sampled_from([(), (), (("user.a", b"1"),), (("user.a", b"2"), ("user.b", b"\0x"))])
    files = st.builds(
        lambda data, mode, user, group, attributes: Entry(Kind.FILE, mode, user, group, BLOBS.put(data), attributes),
        st.sampled_from([b"", b"one", b"two" * 1000]),
        st.sampled_from([0o644, 0o600, 0o755]),
        st.sampled_from(OWNERS),
        st.sampled_from(GROUPS),
        xattrs,
    )
    links = st.builds(
        lambda target, user, group: Entry(Kind.LINK, 0o777, user, group, BLOBS.put(target)),
        st.sampled_from([b"a", b"/etc/shadow", b"../../\xfe"]),
        st.sampled_from(OWNERS),
        st.sampled_from(GROUPS),
    )
    return st.one_of(files, files, links)


def _directory() -> st.SearchStrategy[Entry]:
    return st.builds(
        lambda mode, user, group, attributes: Entry(Kind.DIRECTORY, mode, user, group, "", attributes),
        st.sampled_from([0o755, 0o700, 0o2775, 0o1777]),
        st.sampled_from(OWNERS),
        st.sampled_from(GROUPS),
        st.sampled_from([(), (("user.d", b"1"),)]),
    )


@st.composite
def trees(draw: st.DrawFn, depth: int = 3, above: bytes = b"") -> dict[bytes, Entry]:
    found: dict[bytes, Entry] = {}
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3)):
        path = above + b"/" + name if above else name
        if depth and draw(st.booleans()):
            found[path] = draw(_directory())
            found.update(draw(trees(depth=depth - 1, above=path)))
        else:
            found[path] = draw(_leaf())
    return found


@contextmanager
def disk(tree: Tree) -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(prefix="syncsrv-ops-"))
    try:
        build(root, tree, BLOBS)
        yield root
    finally:
        shutil.rmtree(root)


def apply(root: Path, pre: Tree, wanted: Tree, kill: Callable[[str], None]) -> tuple[Operation, ...]:
    operations = plan_operations(pre, wanted, JOB)
    write_all(LiveFiles(root, BLOBS.read, checkpoint=kill), operations, pre, wanted)
    return operations


def put_back(root: Path, pre: Tree, wanted: Tree, kill: Callable[[str], None]) -> UndoReport:
    operations = plan_operations(pre, wanted, JOB)
    return undo(LiveFiles(root, BLOBS.read, checkpoint=kill), JOB, operations, pre, wanted)


@given(pre=trees(), wanted=trees())
@settings(max_examples=80)
def test_what_was_wanted_is_what_stands_there(pre: dict[bytes, Entry], wanted: dict[bytes, Entry]) -> None:
    with disk(pre) as root:
        assert scan(root) == plain(pre)
        apply(root, pre, wanted, KillAt())
        assert scan(root) == plain(wanted)
        again = plan_operations(wanted, wanted, JOB)
        assert again == ()


@given(pre=trees(), wanted=trees(), data=st.data())
@settings(max_examples=150)
def test_a_kill_at_any_step_and_another_while_undoing_leave_the_pre_image(
    pre: dict[bytes, Entry], wanted: dict[bytes, Entry], data: st.DataObject
) -> None:
    whole = KillAt()
    with disk(pre) as root:
        apply(root, pre, wanted, whole)
        complete = KillAt()
        assert put_back(root, pre, wanted, complete).failed == ()
        assert scan(root) == plain(pre), "undone after all of it"
    at = data.draw(st.integers(0, len(whole.names)), label="killed at")
    then = data.draw(st.integers(0, len(complete.names)), label="undo killed at")
    with disk(pre) as root:
        for step, kill in ((apply, at), (put_back, then), (put_back, then // 2)):
            with suppress(Killed):
                step(root, pre, wanted, KillAt(kill))
        report = put_back(root, pre, wanted, KillAt())
        assert (report.edited, report.failed) == ((), ())
        assert scan(root) == plain(pre)


RICH_PRE: dict[bytes, Entry] = {
    b"stays": file(BLOBS, b"same"),
    b"edited": file(BLOBS, b"old", 0o600),
    b"goes": file(BLOBS, b"gone soon"),
    b"link": link(BLOBS, b"edited"),
    b"file-to-dir": file(BLOBS, b"was a file"),
    b"link-to-dir": link(BLOBS, b"/etc"),
    b"dir-to-file": folder(),
    b"dir-to-file/in": folder(0o700),
    b"dir-to-file/in/deep": file(BLOBS, b"deep"),
    b"dir-to-link": folder(),
    b"meta": folder(0o755),
    b"meta/kept": file(BLOBS, b"kept"),
    b"empty": folder(),
    b"tree-goes": folder(),
    b"tree-goes/one": file(BLOBS, b"1"),
    b"bin\xff": file(BLOBS, b"name"),
}
RICH_WANTED: dict[bytes, Entry] = {
    b"stays": file(BLOBS, b"same"),
    b"edited": file(BLOBS, b"new", 0o640),
    b"link": file(BLOBS, b"a file now"),
    b"file-to-dir": folder(0o750),
    b"file-to-dir/in": folder(),
    b"file-to-dir/in/deep": file(BLOBS, b"deeper"),
    b"link-to-dir": folder(),
    b"link-to-dir/passwd": file(BLOBS, b"not /etc/passwd"),
    b"dir-to-file": file(BLOBS, b"file"),
    b"dir-to-link": link(BLOBS, b"meta"),
    b"meta": folder(0o700),
    b"meta/kept": file(BLOBS, b"kept", 0o600),
    b"empty": folder(),
    b"empty/new": folder(),
    b"bin\xff": link(BLOBS, b"\xfe"),
    b"new": file(BLOBS, b"n" * 100_000),
}


def test_every_kill_point_is_undone() -> None:
    whole = KillAt()
    with disk(RICH_PRE) as root:
        apply(root, RICH_PRE, RICH_WANTED, whole)
        assert scan(root) == plain(RICH_WANTED)
    assert len(whole.names) > 60
    for at in range(len(whole.names)):
        with disk(RICH_PRE) as root:
            with pytest.raises(Killed):
                apply(root, RICH_PRE, RICH_WANTED, KillAt(at))
            report = put_back(root, RICH_PRE, RICH_WANTED, KillAt())
            assert (report.edited, report.failed) == ((), ()), f"killed at {at}, {whole.names[at]}"
            assert scan(root) == plain(RICH_PRE), f"killed at {at}, {whole.names[at]}"


def test_every_kill_point_of_an_undo_is_undone() -> None:
    complete = KillAt()
    with disk(RICH_PRE) as root:
        apply(root, RICH_PRE, RICH_WANTED, KillAt())
        put_back(root, RICH_PRE, RICH_WANTED, complete)
    for at in range(len(complete.names)):
        with disk(RICH_PRE) as root:
            apply(root, RICH_PRE, RICH_WANTED, KillAt())
            with pytest.raises(Killed):
                put_back(root, RICH_PRE, RICH_WANTED, KillAt(at))
            report = put_back(root, RICH_PRE, RICH_WANTED, KillAt())
            assert (report.edited, report.failed) == ((), ()), f"killed at {at}, {complete.names[at]}"
            assert scan(root) == plain(RICH_PRE), f"killed at {at}, {complete.names[at]}"


def test_a_process_that_is_really_killed_is_undone_by_the_next() -> None:
    whole = KillAt()
    with disk(RICH_PRE) as root:
        apply(root, RICH_PRE, RICH_WANTED, whole)
    for at in range(0, len(whole.names), 7):
        with disk(RICH_PRE) as root:
            child = os.fork()
            if child == 0:
                _die_at(root, at)
            _, status = os.waitpid(child, 0)
            assert os.WIFSIGNALED(status)
            assert os.WTERMSIG(status) == signal.SIGKILL
            assert put_back(root, RICH_PRE, RICH_WANTED, KillAt()).failed == ()
            assert scan(root) == plain(RICH_PRE), f"killed at {at}, {whole.names[at]}"


def _die_at(root: Path, at: int) -> None:
    """In the child: SIGKILL at the n-th step; never returns."""
    reached = iter(range(at + 1))

    def kill(step: str) -> None:
        if next(reached) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        apply(root, RICH_PRE, RICH_WANTED, kill)
    finally:
        os._exit(3)


def test_new_things_come_before_what_goes_and_parents_before_children() -> None:
    operations = plan_operations(RICH_PRE, RICH_WANTED, JOB)
    order = [(one.op, one.path) for one in operations]
    assert order.index((Op.MKDIR, b"file-to-dir")) < order.index((Op.MKDIR, b"file-to-dir/in"))
    assert order.index((Op.REMOVE, b"file-to-dir")) + 1 == order.index((Op.MKDIR, b"file-to-dir"))
    assert order.index((Op.REMOVE, b"dir-to-file/in/deep")) < order.index((Op.RMDIR, b"dir-to-file/in"))
    assert order.index((Op.RMDIR, b"dir-to-file")) + 1 == order.index((Op.CREATE, b"dir-to-file"))
    assert order[-3:] == [(Op.REMOVE, b"tree-goes/one"), (Op.REMOVE, b"goes"), (Op.RMDIR, b"tree-goes")]


def test_a_temporary_stands_beside_its_target_unless_the_directory_is_new() -> None:
    temps = {one.path: one.temp for one in plan_operations(RICH_PRE, RICH_WANTED, JOB) if one.temp}
    assert temps[b"meta/kept"].startswith(b"meta/.syncsrv-job-1-")
    assert temps[b"file-to-dir/in/deep"].startswith(b".syncsrv-job-1-")
    assert len(set(temps.values())) == len(temps)


def test_the_order_does_not_depend_on_that_of_the_maps() -> None:
    turned = dict(reversed(RICH_WANTED.items()))
    assert plan_operations(RICH_PRE, turned, JOB) == plan_operations(RICH_PRE, RICH_WANTED, JOB)


def test_equal_trees_need_nothing_even_if_numbers_of_an_owner_differ() -> None:
    here = {b"f": file(BLOBS, b"x", user=Owner("unbound", 110))}
    there = {b"f": file(BLOBS, b"x", user=Owner("unbound", 127))}
    assert plan_operations(here, there, JOB) == ()


def test_many_directories_that_become_files_are_planned_at_once() -> None:
    count = 10_000
    pre = {b"d%d" % number: folder() for number in range(count)}
    pre |= {b"d%d/f" % number: file(BLOBS, b"x") for number in range(count)}
    wanted = {b"d%d" % number: file(BLOBS, b"y") for number in range(count)}
    assert len(plan_operations(pre, wanted, JOB)) == 3 * count


def test_many_deep_paths_are_checked_at_once() -> None:
    deep = b"/".join([b"d"] * 1000)
    wanted = {deep + b"/f%d" % number: file(BLOBS, b"x") for number in range(5_000)}
    assert len(plan_operations({}, wanted, JOB)) == 5_000


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"/etc/passwd",
        b"etc/../../x",
        b"etc/./x",
        b"etc//x",
        b"etc/x/",
        b"etc/x\0y",
        b"etc/" + b"n" * 256,
        b"d/" * 2500 + b"f",
        b"etc/.syncsrv-other-1.tmp",
        b"etc/.syncsrv-other-1.tmp/x",
        b".syncsrv/meta/+etc/entries",
    ],
)
def test_paths_that_are_never_written(path: bytes) -> None:
    with pytest.raises(UnsafePathError) as caught:
        plan_operations({}, {path: file(BLOBS, b"x")}, JOB)
    assert caught.value.path == path


@pytest.mark.parametrize("barrier", [link(BLOBS, b"/etc"), file(BLOBS, b"")])
def test_a_tree_with_something_below_a_link_or_a_file_is_refused(barrier: Entry) -> None:
    with pytest.raises(UnsafeTreeError, match="/x is not a directory"):
        plan_operations({}, {b"x": barrier, b"x/y": file(BLOBS, b"")}, JOB)
    with pytest.raises(UnsafeTreeError, match="/x is not a directory"):
        plan_operations({b"x": folder()}, {b"x": barrier, b"x/d/y": file(BLOBS, b"")}, JOB)


def test_a_tree_that_drops_a_directory_and_keeps_what_it_holds_is_refused() -> None:
    with pytest.raises(UnsafeTreeError, match="/x is missing"):
        plan_operations({b"x": folder()}, {b"x/y": file(BLOBS, b"")}, JOB)


@pytest.mark.parametrize("job", ["", "a/b", "../x", "j" * 65, "ä", "a.b"])
def test_a_job_id_that_does_not_fit_into_a_name_is_refused(job: str) -> None:
    with pytest.raises(ValueError, match="not an id of a job"):
        plan_operations({}, {b"x": file(BLOBS, b"")}, job)
