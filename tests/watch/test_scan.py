"""What a scan takes in, what it leaves out and says so; real files of every kind."""

from __future__ import annotations

import os
import resource
import socket
import stat
import struct
import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syncsrv.clock import SystemClock
from syncsrv.plan.areas import Never
from syncsrv.plan.tree import CLUSTER_PATH, ROOT, Entry, Kind, Owner
from syncsrv.watch.reading import Owners
from syncsrv.watch.scan import Large, LeftOut, Reason, ScanError, Scanner, own_directories
from syncsrv.watch.walk import MAX_DEPTH
from tests.watch.support import Blobs, Host, areas, blob_id, left, left_at, small_file_system, unprivileged, write

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_file_directory_and_link_with_their_marks(host: Host) -> None:
    write(host.etc / "app.conf", b"port 1\n")
    (host.etc / "app.conf").chmod(0o640)
    (host.etc / "empty.d").mkdir(mode=0o750)
    (host.etc / "link").symlink_to("/outside/of/everything")
    live = host.scan()
    me = Owner("", os.geteuid()) if not (name := Owners().user(os.geteuid()).name) else Owner(name, os.geteuid())
    assert set(live.entries) == {b"etc", b"etc/app.conf", b"etc/empty.d", b"etc/link"}
    file = live.entries[b"etc/app.conf"]
    assert (file.kind, file.mode, file.user, file.blob) == (Kind.FILE, 0o640, me, blob_id(b"port 1\n"))
    assert (live.entries[b"etc/empty.d"].kind, live.entries[b"etc/empty.d"].mode) == (Kind.DIRECTORY, 0o750)
    assert live.entries[b"etc/empty.d"].blob == ""
    link = live.entries[b"etc/link"]
    assert (link.kind, link.mode, link.blob) == (Kind.LINK, 0o777, blob_id(b"/outside/of/everything"))
    assert live.left_out == ()
    assert live.large == ()


def test_blob_ids_are_those_of_git(host: Host) -> None:
    write(host.etc / "f", b"\0binary\xff\n")
    said = subprocess.run(["git", "hash-object", host.etc / "f"], capture_output=True, text=True, check=True).stdout
    assert host.scan().entries[b"etc/f"].blob == said.strip()


def test_names_that_are_not_utf8_or_hold_newlines_are_kept_byte_for_byte(host: Host) -> None:
    names = [b"\xff\xfe", b"line\nbreak", b" ", b"-rf", b"\\", b"caf\xc3\xa9", b"caf\xe9", b"%2f", b"x" * 255]
    for name in names:
        write(os.fsencode(host.etc) + b"/" + name, name)
        write(os.fsencode(host.etc) + b"/dir" + name[:200] + b"/" + name, b"deep " + name)
    live = host.scan()
    for name in names:
        assert host.content(live, b"etc/" + name) == name
        assert host.content(live, b"etc/dir" + name[:200] + b"/" + name) == b"deep " + name


@AS_ROOT
def test_setuid_bits_and_foreign_owners_are_recorded(host: Host) -> None:
    write(host.etc / "tool")
    os.chown(host.etc / "tool", 1, 54321)
    (host.etc / "tool").chmod(0o6755)
    (host.etc / "spool").mkdir()
    (host.etc / "spool").chmod(0o1777)
    live = host.scan()
    tool = live.entries[b"etc/tool"]
    assert (tool.mode, str(tool.user), str(tool.group)) == (0o6755, "daemon", "#54321")
    assert live.entries[b"etc/spool"].mode == 0o1777


def test_owners_are_named_anew_when_passwd_changes(tmp_path: Path) -> None:
    names = {os.geteuid(): "alice"}
    host = Host(tmp_path, owners=Owners(lambda uid: names.get(uid, ""), lambda gid: f"g{gid}"))
    write(host.etc / "f")
    (host.etc / "link").symlink_to("x")
    assert host.scan().entries[b"etc/f"].user == Owner("alice", 0)
    names[os.geteuid()] = "bob"
    again = host.scan(only=[])
    assert {str(again.entries[path].user) for path in (b"etc", b"etc/f", b"etc/link")} == {"bob"}
    assert len(host.blobs.taken) == 2, "no content was read again for it"


def test_carried_attributes_and_no_others(host: Host) -> None:
    write(host.etc / "f")
    write(host.etc / "d" / "g")
    acl = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag, perm, 0xFFFFFFFF if tag != 2 else 1)
        for tag, perm in ((1, 6), (2, 4), (4, 4), (0x10, 4), (0x20, 0))
    )
    os.setxattr(host.etc / "f", "user.note", b"\0\xff")
    os.setxattr(host.etc / "f", "user.a", b"")
    os.setxattr(host.etc / "f", "system.posix_acl_access", acl)
    os.setxattr(host.etc / "d", "system.posix_acl_default", acl)
    live = host.scan()
    assert live.entries[b"etc/f"].xattrs == (
        ("system.posix_acl_access", acl), ("user.a", b""), ("user.note", b"\0\xff")
    )  # fmt: skip
    assert live.entries[b"etc/d"].xattrs == (("system.posix_acl_default", acl),)
    os.setxattr(host.etc / "d", "user.note", b"1")
    os.removexattr(host.etc / "f", "user.a")
    again = host.scan()
    assert ("user.note", b"1") in again.entries[b"etc/d"].xattrs
    assert [name for name, _ in again.entries[b"etc/f"].xattrs] == ["system.posix_acl_access", "user.note"]


@AS_ROOT
def test_file_capability_is_recorded_and_trusted_attributes_are_not(host: Host) -> None:
    write(host.etc / "tool")
    capability = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    os.setxattr(host.etc / "tool", "security.capability", capability)
    os.setxattr(host.etc / "tool", "trusted.note", b"1")
    assert host.scan().entries[b"etc/tool"].xattrs == (("security.capability", capability),)


def test_sockets_and_fifos_are_named_and_never_opened(host: Host, short_tmp: Path) -> None:
    small = Host(short_tmp)
    os.mkfifo(small.etc / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(small.etc / "sock"))
        opened = threading.Event()

        def write_end() -> None:
            os.close(os.open(small.etc / "fifo", os.O_WRONLY))
            opened.set()

        # The kernel lets this open return only once somebody opens the other end.
        writer = threading.Thread(target=write_end)
        writer.start()
        live = small.scan()
        assert left(live) == {b"etc/fifo": Reason.FIFO, b"etc/sock": Reason.SOCKET}
        assert not opened.wait(0.2), "the scan opened the FIFO"
        os.close(os.open(small.etc / "fifo", os.O_RDONLY))
        writer.join(10)
    assert set(live.entries) == {b"etc"}
    assert "socket" in str(left_at(live, b"etc/sock"))


@AS_ROOT
def test_devices_are_named(host: Host) -> None:
    os.mknod(host.etc / "char", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mknod(host.etc / "block", stat.S_IFBLK | 0o600, os.makedev(7, 250))
    assert left(host.scan()) == {b"etc/char": Reason.DEVICE, b"etc/block": Reason.DEVICE}


def test_files_over_the_limit_are_named_unread_and_large_ones_warned_of(tmp_path: Path) -> None:
    host = Host(tmp_path, areas(all={"paths": ["/etc"], "limit": 3 * 1024 * 1024}))
    for name, size in (("huge", 100_000_000), ("over", 3 * 1024 * 1024 + 1), ("at", 3 * 1024 * 1024), ("mib", 2**20)):
        write(host.etc / name)
        os.truncate(host.etc / name, size)
    write(host.etc / "ordinary", b"x" * (2**20 - 1))
    live = host.scan()
    assert left(live) == {b"etc/huge": Reason.TOO_LARGE, b"etc/over": Reason.TOO_LARGE}
    assert left_at(live, b"etc/huge").size == 100_000_000
    assert "100000000" in left_at(live, b"etc/huge").detail
    assert live.large == (Large(b"etc/at", 3 * 1024 * 1024), Large(b"etc/mib", 2**20))
    assert max(map(len, host.blobs.taken)) == 3 * 1024 * 1024
    os.truncate(host.etc / "huge", 4)
    again = host.scan(only=[b"etc/huge"])
    assert host.content(again, b"etc/huge") == b"x\n\0\0"


def test_unreadable_is_named_with_the_kernels_words(short_tmp: Path) -> None:
    short_tmp.chmod(0o755)
    host = Host(short_tmp)
    write(host.etc / "secret")
    write(host.etc / "closed.d" / "f")
    write(host.etc / "fine")
    (host.etc / "secret").chmod(0)
    (host.etc / "closed.d").chmod(0)
    with unprivileged():
        live = host.scan()
    (host.etc / "closed.d").chmod(0o755)
    assert left(live) == {b"etc/secret": Reason.UNREADABLE, b"etc/closed.d": Reason.UNREADABLE}
    assert "Permission denied" in left_at(live, b"etc/secret").detail
    assert all(one.unknown for one in live.left_out), "that it is no entry says nothing about what is there"
    assert set(live.entries) == {b"etc", b"etc/fine"}


def test_names_that_git_cannot_hold_are_named_and_not_descended(host: Host) -> None:
    for name in (".git", ".GIT", "git~1", ".git ", ".g\u200cit", ".gitmodules"):
        write(host.etc / "app" / name / "config")
    write(host.etc / "app" / ".gitignore")
    write(host.etc / "app" / ".gitattributes", b"* " + b"x" * 3000)
    live = host.scan()
    assert set(live.entries) == {b"etc", b"etc/app", b"etc/app/.gitignore"}
    assert set(left(live).values()) == {Reason.UNNAMEABLE}
    assert len(live.left_out) == 7


def test_area_below_a_name_that_git_cannot_hold_is_named(tmp_path: Path) -> None:
    host = Host(tmp_path, areas(hooks={"paths": ["/etc/.git/hooks"]}))
    write(host.etc / ".git" / "hooks" / "x")
    assert left(host.scan()) == {b"etc/.git/hooks": Reason.UNNAMEABLE}


def test_excluded_is_reported_but_neither_read_nor_descended(tmp_path: Path) -> None:
    chosen = areas(
        (Never(b"etc/syncsrv", "the configuration directory"),),
        all={"paths": ["/etc"], "exclude": ["*.bak", "/etc/local.d"]},
    )
    host = Host(tmp_path, chosen)
    for name in ("a.bak", "local.d/deep/f", "syncsrv/secrets.yaml", "shadow", "x~", "ssh/ssh_host_rsa_key", "fine"):
        write(host.etc / name, name.encode())
    live = host.scan()
    assert set(live.entries) == {b"etc", b"etc/fine", b"etc/ssh"}
    assert set(left(live)) == {
        b"etc/a.bak", b"etc/local.d", b"etc/syncsrv", b"etc/shadow", b"etc/x~", b"etc/ssh/ssh_host_rsa_key"
    }  # fmt: skip
    assert set(left(live).values()) == {Reason.EXCLUDED}
    assert host.blobs.taken == [b"fine"]
    assert not any(one.unknown for one in live.left_out)


def test_own_directories_are_never_read_by_whatever_path_they_are_given(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root / "etc" / "syncsrv" / "secrets.yaml")
    write(root / "var" / "state" / "key")
    (tmp_path / "by-link").symlink_to(root / "etc" / "syncsrv")
    (root / "etc" / "state").symlink_to("../var/state")
    never = own_directories(
        root,
        {"the configuration directory": tmp_path / "by-link", "state_dir": root / "etc" / "state", "x": tmp_path / "x"},
    )
    assert {one.path for one in never} == {b"etc/syncsrv", b"etc/state", b"var/state"}
    host = Host(root, areas(never, all={"paths": ["/etc", "/var/state"]}))
    assert set(host.scan().entries) == {b"etc"}
    assert host.blobs.taken == []


def test_area_that_is_a_link_is_managed_as_a_link(tmp_path: Path) -> None:
    host = Host(tmp_path, areas(foo={"paths": ["/etc/foo"]}))
    write(tmp_path / "srv" / "foo" / "inside", b"other\n")
    (host.etc / "foo").symlink_to("/srv/foo")
    live = host.scan()
    assert {path: entry.kind for path, entry in live.entries.items()} == {b"etc/foo": Kind.LINK}
    assert host.content(live, b"etc/foo") == b"/srv/foo"


def test_area_behind_a_link_is_left_out_and_never_followed(tmp_path: Path) -> None:
    host = Host(tmp_path, areas(foo={"paths": ["/etc/foo/x", "/etc/bar"]}))
    write(tmp_path / "srv" / "foo" / "x", b"other\n")
    (host.etc / "foo").symlink_to(tmp_path / "srv" / "foo")
    live = host.scan()
    assert left(live) == {b"etc/foo/x": Reason.FOREIGN}
    assert left_at(live, b"etc/foo/x").detail.startswith("/etc/foo on the way")
    assert live.entries == {}
    (host.etc / "foo").unlink()
    write(host.etc / "foo" / "x", b"mine\n")
    assert host.content(host.scan(), b"etc/foo/x") == b"mine\n"


def test_area_that_does_not_exist_or_stands_below_a_file_has_no_entries(tmp_path: Path) -> None:
    host = Host(tmp_path, areas(none={"paths": ["/srv/x/y", "/etc/f/g"]}))
    write(host.etc / "f")
    live = host.scan()
    assert live.entries == {}
    assert live.left_out == ()


def test_whole_root_as_an_area(tmp_path: Path) -> None:
    host = Host(tmp_path, areas(all={"paths": ["/"], "exclude": ["/tmp"]}))
    write(host.etc / "f")
    write(tmp_path / "tmp" / "x")
    write(tmp_path / ".syncsrv" / "meta")
    live = host.scan()
    assert set(live.entries) == {b"etc", b"etc/f"}
    assert set(left(live)) == {b"tmp", b".syncsrv"}
    write(tmp_path / "new")
    assert b"new" in host.scan(only=[b"new"]).entries


def test_root_may_be_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "root")
    write(tmp_path / "root" / "etc" / "f")
    assert b"etc/f" in Host(tmp_path / "link").scan().entries


def test_other_file_systems_below_are_descended(host: Host) -> None:
    (host.etc / "mounted").mkdir()
    with small_file_system(host.etc / "mounted"):
        write(host.etc / "mounted" / "f", b"on tmpfs\n")
        live = host.scan()
        assert host.content(live, b"etc/mounted/f") == b"on tmpfs\n"
    assert b"etc/mounted/f" not in host.scan().entries


def test_very_deep_is_named_and_does_not_exhaust_us(host: Host) -> None:
    here = os.open(host.etc, os.O_RDONLY)
    for _ in range(MAX_DEPTH + 20):
        os.mkdir("d", dir_fd=here)
        there = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    os.close(here)
    live = host.scan()
    (deep,) = live.left_out
    assert (deep.reason, deep.unknown, deep.path.count(b"/")) == (Reason.TOO_DEEP, True, MAX_DEPTH)
    assert len(live.entries) == MAX_DEPTH


def test_missing_root_is_an_error_and_no_empty_tree(tmp_path: Path) -> None:
    host = Host(tmp_path / "root")
    write(host.etc / "f")
    host.scan()
    host.etc.parent.rename(tmp_path / "gone")
    with pytest.raises(ScanError, match=r"cannot scan .*: No such file"):
        host.scan()
    (tmp_path / "root").write_text("a file")
    with pytest.raises(ScanError, match="Not a directory"):
        host.scan()


def test_no_descriptors_left_is_an_error_and_no_empty_tree(host: Host) -> None:
    write(host.etc / "a" / "b" / "f")
    before = host.scan()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.open("/dev/null", os.O_RDONLY)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 3, hard))
    try:
        with pytest.raises(ScanError, match="Too many open files"):
            host.scan()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(spare)
    assert host.scan(only=[]) == before, "after an error the next scan looks at everything"


def test_store_that_fails_stops_the_scan_and_the_next_one_is_whole(tmp_path: Path) -> None:
    write(tmp_path / "etc" / "a", b"1")
    blobs = Blobs()
    full = [False]

    def put(data: bytes) -> str:
        if full[0] and data == b"3":
            raise OSError(28, "No space left on device")
        return blobs.put(data)

    everything = areas(all={"paths": ["/etc"]})
    scanner = Scanner(tmp_path, put, SystemClock())
    scanner.scan(everything, None)
    write(tmp_path / "etc" / "b", b"2")
    write(tmp_path / "etc" / "d" / "c", b"3")
    full[0] = True
    with pytest.raises(OSError, match="No space"):
        scanner.scan(everything, None, [b"etc/b", b"etc/d"])
    full[0] = False
    live = scanner.scan(everything, None, [])
    assert set(live.entries) == {b"etc", b"etc/a", b"etc/b", b"etc/d", b"etc/d/c"}


def test_unchanged_files_are_not_read_again_unless_forgotten(host: Host) -> None:
    write(host.etc / "f", b"1")
    (host.etc / "l").symlink_to("x")
    first = host.scan()
    host.blobs.taken.clear()
    assert host.scan() == first
    assert host.blobs.taken == []
    host.scanner.forget()
    assert host.scan() == first
    assert sorted(host.blobs.taken) == [b"1", b"x"]


def test_other_areas_in_between_do_not_make_it_read_again(host: Host) -> None:
    write(host.etc / "a" / "f", b"1")
    write(host.etc / "b" / "f", b"2")
    wide = areas(a={"paths": ["/etc/a"]}, b={"paths": ["/etc/b"]})
    first = host.scanner.scan(wide, None)
    host.blobs.taken.clear()
    assert set(host.scanner.scan(wide.restricted(["a"]), None).entries) == {b"etc/a", b"etc/a/f"}
    assert host.scanner.scan(wide, None, [b"etc/a"]) == first
    assert host.blobs.taken == []
    (host.etc / "b" / "f").unlink()
    assert b"etc/b/f" not in host.scanner.scan(wide, None).entries


def test_same_size_and_restored_mtime_do_not_hide_a_change(host: Host) -> None:
    write(host.etc / "f", b"old")
    host.scan()
    before = (host.etc / "f").stat()
    write(host.etc / "f", b"new")
    os.utime(host.etc / "f", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert host.content(host.scan(), b"etc/f") == b"new"


def test_mode_and_owner_changes_show(host: Host) -> None:
    write(host.etc / "f")
    host.scan()
    (host.etc / "f").chmod(0o600)
    host.etc.chmod(0o700)
    live = host.scan()
    assert (live.entries[b"etc/f"].mode, live.entries[b"etc"].mode) == (0o600, 0o700)


class TestClusterFile:
    """cluster.yaml is read where the configuration is, and stands at its place in the tree."""

    def scan(self, root: Path, file: Path | None, scanner: Scanner | None = None) -> dict[bytes, Entry]:
        scanner = scanner or Scanner(root, blob_id, SystemClock())
        return scanner.scan(areas(), file).entries

    def test_it_is_an_entry_without_marks_of_this_node(self, tmp_path: Path) -> None:
        write(tmp_path / "conf" / "cluster.yaml", b"cluster: edge\n")
        (tmp_path / "conf" / "cluster.yaml").chmod(0o600)
        assert self.scan(tmp_path, tmp_path / "conf" / "cluster.yaml") == {
            CLUSTER_PATH: Entry(Kind.FILE, 0o644, ROOT, ROOT, blob_id(b"cluster: edge\n"))
        }

    def test_missing_or_none_is_no_entry(self, tmp_path: Path) -> None:
        write(tmp_path / ".syncsrv" / "cluster.yaml", b"not this one\n")
        assert self.scan(tmp_path, tmp_path / "conf" / "cluster.yaml") == {}
        assert self.scan(tmp_path, None) == {}

    def test_a_change_is_seen_with_and_without_a_hint(self, tmp_path: Path) -> None:
        file = tmp_path / "conf" / "cluster.yaml"
        scanner = Scanner(tmp_path, blob_id, SystemClock())
        write(file, b"1")
        self.scan(tmp_path, file, scanner)
        for content, only in ((b"2", [CLUSTER_PATH]), (b"3", []), (b"4", None)):
            write(file, content)
            assert scanner.scan(areas(), file, only).entries[CLUSTER_PATH].blob == blob_id(content)
        file.unlink()
        assert scanner.scan(areas(), file, []).entries == {}

    def test_a_link_is_left_out(self, tmp_path: Path) -> None:
        write(tmp_path / "real.yaml")
        (tmp_path / "cluster.yaml").symlink_to("real.yaml")
        live = Scanner(tmp_path, blob_id, SystemClock()).scan(areas(), tmp_path / "cluster.yaml")
        assert left(live) == {CLUSTER_PATH: Reason.FOREIGN}

    def test_not_among_the_chosen_areas(self, tmp_path: Path) -> None:
        write(tmp_path / "cluster.yaml")
        none = areas().restricted([])
        assert Scanner(tmp_path, blob_id, SystemClock()).scan(none, tmp_path / "cluster.yaml").entries == {}


class StoppedClock:
    """A machine whose clock stands in another year than its files."""

    def monotonic(self) -> float:
        return 0.0

    def utc(self) -> datetime:
        return datetime(2001, 1, 1, tzinfo=UTC)


def test_clock_that_was_set_back_leaves_no_file_out(tmp_path: Path) -> None:
    write(tmp_path / "etc" / "f", b"1")
    live = Scanner(tmp_path, blob_id, StoppedClock()).scan(areas(all={"paths": ["/etc"]}), None)
    assert live.entries[b"etc/f"].blob == blob_id(b"1")
    assert live.left_out == ()


def test_left_out_says_where_and_why() -> None:
    assert str(LeftOut(b"etc/f", "all", Reason.FIFO, "a FIFO, really")) == "/etc/f: a FIFO, really"
