"""The stage as a layer and as a folder: what is in it, whose it is, what it refuses, and that it goes away."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from syncsrv.checks.copytree import Budget, TooMuchError, copy_content, is_whiteout
from syncsrv.checks.stage import Stage, StageError, sweep
from syncsrv.disk.file_errors import (
    LinkInPathError,
    NotDirectoryError,
    UnknownOwnerError,
    UnsafePathError,
    UnsafeTreeError,
)
from syncsrv.plan.tree import CLUSTER_PATH, Entry, Kind, Owner
from tests.checks.stagekit import TOP, Node
from tests.support import trees

IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="needs root: owners, whiteouts and mounts")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(tmp_path)
    made.write("etc/app/main.conf", "live main\n")
    made.write("etc/app/old.conf", "old\n")
    made.write("etc/app/conf.d/a.conf", "live a\n")
    made.write("etc/app/dir/below/file", "x\n")
    return made


def stage_of(node: Node, planned: Mapping[bytes, Entry], live: Mapping[bytes, Entry] | None = None) -> Stage:
    return Stage(
        node.state / "stage",
        root=node.root,
        planned=planned,
        live=node.live() if live is None else live,
        tops=[os.fsencode(top) for top in node.tops],
        read_blob=node.blobs.read,
        hidden=[node.state],
    )


def content(folder: Path) -> dict[str, str]:
    """What lies in a staged folder: text of files, ``-> TARGET``, ``/``, ``gone`` for a whiteout."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        if path.is_symlink():
            text = f"-> {path.readlink()}"
        elif stat.S_ISDIR(status.st_mode):
            text = "/"
        else:
            text = "gone" if is_whiteout(status) else path.read_text()
        found[str(path.relative_to(folder))] = text
    return found


@needs_root
class TestLayer:
    def test_it_holds_what_differs_and_nothing_else(self, node: Node) -> None:
        node.changes = {
            "etc/app/main.conf": "staged\n",
            "etc/app/old.conf": None,
            "etc/app/dir": None,
            "etc/app/link": "-> /etc/../x",
            "etc/app/empty": "/",
        }
        with node.stage() as stage:
            assert content(stage.layer()) == {
                "etc": "/",
                "etc/app": "/",
                "etc/app/main.conf": "staged\n",
                "etc/app/old.conf": "gone",
                "etc/app/dir": "gone",
                "etc/app/link": "-> /etc/../x",
                "etc/app/empty": "/",
            }

    def test_nothing_differs(self, node: Node) -> None:
        with node.stage() as stage:
            assert content(stage.layer()) == {}

    def test_what_takes_a_directorys_place_needs_no_whiteouts_below(self, node: Node) -> None:
        node.changes = {"etc/app/dir": "a file now\n"}
        with node.stage() as stage:
            assert content(stage.layer()) == {"etc": "/", "etc/app": "/", "etc/app/dir": "a file now\n"}

    def test_directories_on_the_way_look_as_they_are_planned_or_as_they_are(self, node: Node) -> None:
        os.chown(node.root / "etc", 5, 6)
        (node.root / "etc").chmod(0o1775)
        live = node.live()
        planned = dict(live)
        planned[b"etc/app/conf.d"] = trees.folder(0o550, Owner("", 7), Owner("", 8))
        planned[b"etc/app/conf.d/new"] = trees.file(node.blobs, b"new", 0o4711, Owner("", 9), Owner("", 10))
        with stage_of(node, planned, live) as stage:
            layer = stage.layer()
            looks = {
                path: (
                    (layer / path).stat().st_mode & 0o7777,
                    (layer / path).stat().st_uid,
                    (layer / path).stat().st_gid,
                )
                for path in ("etc", "etc/app", "etc/app/conf.d", "etc/app/conf.d/new")
            }
        assert looks == {
            "etc": (0o1775, 5, 6),
            "etc/app": (0o755, 0, 0),
            "etc/app/conf.d": (0o550, 7, 8),
            "etc/app/conf.d/new": (0o711, 9, 10),  # setuid is refused by the plan; the stage has none either way
        }

    def test_attributes_of_overlayfs_itself_are_never_written(self, node: Node) -> None:
        planned = dict(node.live())
        hostile = (("trusted.overlay.redirect", b"/root"), ("trusted.overlay.opaque", b"y"), ("user.kept", b"1"))
        planned[b"etc/app/evil"] = Entry(Kind.DIRECTORY, 0o755, trees.ME, trees.MY_GROUP, "", hostile)
        with stage_of(node, planned) as stage:
            assert os.listxattr(stage.layer() / "etc/app/evil") in (["user.kept"], [])

    def test_an_owner_that_this_node_lacks(self, node: Node) -> None:
        planned = dict(node.live())
        planned[b"etc/app/x"] = trees.file(node.blobs, b"x", 0o600, Owner("syncsrv-nobody-has-this", 77))
        with stage_of(node, planned) as stage, pytest.raises(UnknownOwnerError, match="syncsrv-nobody-has-this"):
            stage.layer()

    def test_a_full_disk_says_which_stage_and_leaves_nothing(self, tmp_path: Path) -> None:
        code = f"""
from pathlib import Path
from tests.checks.stagekit import Node
from syncsrv.checks.stage import StageError
node = Node(Path({str(tmp_path)!r}))
node.changes = {{f"etc/app/{{n}}": "x" * 100_000 + str(n) for n in range(50)}} | {{"etc/app": "/"}}
try:
    with node.stage() as stage:
        stage.layer()
except StageError as error:
    print(error)
print(list((node.state / "stage").iterdir()))
"""
        enter = f'mkdir {tmp_path}/state; mount -t tmpfs -o size=1m small {tmp_path}/state; exec "$@"'
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", enter, "sh", sys.executable, "-c", code],
            capture_output=True,
            text=True,
            cwd=TOP,
            check=True,
        )
        said, left = done.stdout.splitlines()
        assert said.startswith(f"cannot build the stage in {tmp_path}/state/stage/stage-")
        assert "No space left on device; make room on the filesystem of state_dir" in said
        assert left == "[]"


class TestFolder:
    def test_it_holds_all_of_the_areas(self, node: Node) -> None:
        node.changes = {"etc/app/main.conf": "staged\n", "etc/app/old.conf": None, "etc/app/link": "-> main.conf"}
        with node.stage() as stage:
            assert content(stage.folder()) == {
                "etc": "/",
                "etc/app": "/",
                "etc/app/main.conf": "staged\n",
                "etc/app/link": "-> main.conf",
                "etc/app/conf.d": "/",
                "etc/app/conf.d/a.conf": "live a\n",
                "etc/app/dir": "/",
                "etc/app/dir/below": "/",
                "etc/app/dir/below/file": "x\n",
            }
            assert stage.notes == []

    def test_what_is_not_under_management_there_comes_along(self, node: Node) -> None:
        node.write("etc/app/local.d/deep/own", "own\n")
        node.write("etc/app/main.bak", "bak\n", mode=0o600)
        (node.root / "etc/app/own-link").symlink_to("/nowhere")
        os.mkfifo(node.root / "etc/app/fifo")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(node.root / "etc/app/socket"))
        ignored = ["etc/app/local.d", "etc/app/main.bak", "etc/app/own-link", "etc/app/fifo", "etc/app/socket"]
        for name in ("fifo", "socket"):  # no scan reads them
            (node.root / "etc/app" / name).rename(node.home / name)
        live = node.live(ignored)
        for name in ("fifo", "socket"):
            (node.home / name).rename(node.root / "etc/app" / name)
        with stage_of(node, live, live) as stage:
            found = content(stage.folder())
            assert found["etc/app/local.d/deep/own"] == "own\n"
            assert found["etc/app/main.bak"] == "bak\n"
            assert found["etc/app/own-link"] == "-> /nowhere"
            assert not {"etc/app/fifo", "etc/app/socket"} & found.keys()
            assert (stage.folder() / "etc/app/main.bak").stat().st_mode & 0o777 == 0o600

    def test_state_that_lies_inside_an_area_does_not_come_along(self, tmp_path: Path) -> None:
        node = Node(tmp_path, tmp_path, tops=["etc"])
        node.write("etc/x", "x\n")
        node.write("etc/own/secrets.yaml", "secret\n")
        node.write("etc/own/kept", "kept\n")
        live = node.live(["etc/own"])
        with Stage(
            node.root / "etc/own/stage",
            root=node.root,
            planned=live,
            live=live,
            tops=[b"etc"],
            read_blob=node.blobs.read,
            hidden=[node.root / "etc/own"],
        ) as stage:
            assert content(stage.folder()) == {"etc": "/", "etc/x": "x\n"}

    def test_too_much_that_is_not_under_management_is_left_out_and_said(self, node: Node) -> None:
        large = node.write("etc/app/large")
        os.truncate(large, 65 << 20)
        with node.stage(["etc/app/large"]) as stage:
            assert not (stage.folder() / "etc/app/large").exists()
            assert stage.notes == [
                "files that are not under management are not all in the stage: they are too many or too large"
            ]

    def test_directories_that_forbid_writing_are_written_and_removed(self, node: Node) -> None:
        planned = dict(node.live())
        planned[b"etc/app/conf.d"] = trees.folder(0o500)
        planned[b"etc/app/dir"] = trees.folder(0)
        with stage_of(node, planned) as stage:
            assert (stage.folder() / "etc/app/conf.d/a.conf").exists()
        assert list((node.state / "stage").iterdir()) == []

    def test_names_that_are_not_utf8(self, node: Node) -> None:
        planned = {**node.live(), b"etc/app/\xff\xfe\n": trees.file(node.blobs, b"odd")}
        with stage_of(node, planned) as stage:
            assert Path(os.fsdecode(os.fsencode(stage.folder()) + b"/etc/app/\xff\xfe\n")).read_bytes() == b"odd"


class TestHostileTrees:
    @pytest.mark.parametrize("path", [b"../x", b"etc/app/../../x", b"/etc/x", b"etc//x", b"etc/./x", b"etc/a\0b", b""])
    def test_paths_that_lead_elsewhere(self, node: Node, path: bytes) -> None:
        with pytest.raises(UnsafePathError):
            stage_of(node, {path: trees.file(node.blobs, b"x")})
        assert not (node.state / "stage").exists()

    @pytest.mark.parametrize("form", [pytest.param("layer", marks=needs_root), "folder"])
    @pytest.mark.parametrize("kind", ["link", "file"])
    def test_something_below_what_is_no_directory(self, node: Node, tmp_path: Path, kind: str, form: str) -> None:
        target = tmp_path / "target"
        target.mkdir()
        blocking = trees.link(node.blobs, os.fsencode(target)) if kind == "link" else trees.file(node.blobs, b"")
        planned = {b"etc/app": trees.folder(), b"etc/app/x": blocking, b"etc/app/x/y": trees.file(node.blobs, b"evil")}
        with stage_of(node, planned, {}) as stage, pytest.raises(UnsafeTreeError, match="/etc/app/x is no directory"):
            getattr(stage, form)()
        assert list(target.iterdir()) == []

    def test_a_directory_on_the_way_to_an_area_that_is_a_link_here(self, tmp_path: Path) -> None:
        node = Node(tmp_path, tops=["etc/app"], changes={"etc/app": "/"})
        (node.root / "real").mkdir()
        (node.root / "etc").symlink_to("real")
        with pytest.raises(LinkInPathError) as caught:
            stage_of(node, {b"etc/app": trees.folder()}, {})
        assert caught.value.component == b"etc"

    def test_a_file_on_the_way_to_an_area(self, tmp_path: Path) -> None:
        node = Node(tmp_path)
        node.write("etc", "a file")
        with pytest.raises(NotDirectoryError):
            stage_of(node, {b"etc/app": trees.folder()}, {})


def test_cluster_yaml_is_not_a_programs_to_check(node: Node) -> None:
    planned = {**node.live(), CLUSTER_PATH: trees.file(node.blobs, b"cluster: x\n")}
    with Stage(
        node.state / "stage",
        root=node.root,
        planned=planned,
        live=node.live(),
        tops=[b"etc/app", CLUSTER_PATH],
        read_blob=node.blobs.read,
    ) as stage:
        assert stage.tops == (b"etc/app",)
        assert not (stage.folder() / ".syncsrv").exists()


def test_the_stage_is_ours_alone_and_goes_with_an_error(node: Node) -> None:
    with contextlib.suppress(ZeroDivisionError), node.stage() as stage:
        assert stage.folder().parent.stat().st_mode & 0o777 == 0o700
        assert (node.state / "stage").stat().st_mode & 0o777 == 0o700
        raise ZeroDivisionError
    assert list((node.state / "stage").iterdir()) == []


def test_what_a_crash_left_is_swept(node: Node) -> None:
    left = node.stage()
    left.folder()
    beside = node.state / "stage/not-ours"
    beside.mkdir()
    sweep(node.state / "stage")
    assert list((node.state / "stage").iterdir()) == [beside]
    sweep(node.state / "no-such-directory")


def test_a_workspace_that_cannot_be_made(node: Node) -> None:
    (node.state / "stage").write_text("a file")
    with pytest.raises(StageError, match=r"cannot build the stage in .*File exists"):
        node.stage()


class TestCopy:
    def copy(self, source: Path, target: Path, *, size: int = 1 << 20, entries: int = 100, keep: bool = False) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY
        reading, writing = os.open(source, flags), os.open(target, flags)
        try:
            copy_content(reading, writing, Budget(size, entries), keep_whiteouts=keep)
        finally:
            os.close(reading)
            os.close(writing)

    @needs_root
    def test_it_lays_one_tree_over_another_as_an_overlay_would(self, tmp_path: Path) -> None:
        under, over = tmp_path / "under", tmp_path / "over"
        for folder in (under, over):
            (folder / "both").mkdir(parents=True)
        (under / "both/kept").write_text("kept")
        (under / "both/gone").write_text("gone")
        (under / "becomes-file").mkdir()
        (under / "becomes-file/x").write_text("x")
        (under / "becomes-directory").write_text("y")
        (over / "both/new").write_text("new")
        os.mknod(over / "both/gone", stat.S_IFCHR)
        (over / "becomes-file").write_text("file")
        (over / "becomes-directory").mkdir()
        (over / "link").symlink_to("both")
        self.copy(over, under)
        assert content(under) == {
            "both": "/",
            "both/kept": "kept",
            "both/new": "new",
            "becomes-file": "file",
            "becomes-directory": "/",
            "link": "-> both",
        }

    @needs_root
    def test_whiteouts_may_be_kept_and_devices_never_come(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        os.mknod(tmp_path / "a/gone", stat.S_IFCHR)
        os.mknod(tmp_path / "a/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mkfifo(tmp_path / "a/fifo")
        self.copy(tmp_path / "a", tmp_path / "b", keep=True)
        assert content(tmp_path / "b") == {"gone": "gone"}

    @pytest.mark.parametrize("size, entries", [(10, 100), (1000, 2)])
    def test_it_ends_at_its_bounds(self, tmp_path: Path, size: int, entries: int) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        for name in "xyz":
            (tmp_path / "a" / name).write_text("12345")
        with pytest.raises(TooMuchError):
            self.copy(tmp_path / "a", tmp_path / "b", size=size, entries=entries)

    def test_it_follows_no_link_that_stands_where_it_writes(self, tmp_path: Path) -> None:
        for name in ("a", "b", "outside"):
            (tmp_path / name).mkdir()
        (tmp_path / "a/x").mkdir()
        (tmp_path / "a/x/file").write_text("evil")
        (tmp_path / "b/x").symlink_to(tmp_path / "outside")
        self.copy(tmp_path / "a", tmp_path / "b")
        assert list((tmp_path / "outside").iterdir()) == []
        assert (tmp_path / "b/x/file").read_text() == "evil"
