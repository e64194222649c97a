"""A whole /etc as one area: a real Debian's, and everything odd that may stand in one."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.pair import Node, Pair, end_pair, make_pair, start_pair
from tests.integration.rsync import differences
from tests.support.testroot import TestRoot

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files of other owners")

CLUSTER = """\
cluster: edge
areas:
  system:
    description: All of /etc but what makes a host this host
    paths: [/etc]
    exclude: [/etc/hostname, /etc/network, "*.cache"]
"""

SECRETS = (
    *("shadow", "shadow-", "gshadow", "gshadow-", "machine-id", "ssh/ssh_host_rsa_key", "ssh/ssh_host_rsa_key.pub"),
    *("ssh/ssh_host_ecdsa_key", "ssh/ssh_host_ecdsa_key.pub", "ssh/ssh_host_ed25519_key"),
)
OWN = (*SECRETS, "hostname", "network/interfaces", "ld.so.cache", "nginx/nginx.conf~", "passwd.dpkg-old", ".git/HEAD")
"""Files that each host keeps for itself: never read, excluded, leftovers, what Git cannot hold."""

LEFT_ALONE = (
    *("/ssh/ssh_host_*", "/machine-id", "/shadow*", "/gshadow*"),
    *("/hostname", "/network", "*.cache", "*~", "*.dpkg-*", ".git", "/odd/fifo", "/odd/socket", "/odd/device"),
)
"""The same for rsync."""

LONG = "n" * 255


def acl(user: int) -> bytes:
    """system.posix_acl_access: rwx for root, r for this user and for the group."""
    entries = ((0x01, 6, -1), (0x02, 4, user), (0x04, 4, -1), (0x10, 4, -1), (0x20, 0, -1))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)


def odd(etc: Path) -> None:
    """What a tool that copies trees may stumble over."""
    place = etc / "odd"
    place.mkdir()
    for name in (
        "with space",
        "tab\tand\nnewline",
        "ünïcødé",
        "-dash",
        "back\\slash",
        "\\x41",
        "100%",
        "*?[a]",
        "'\"`$",
    ):
        (place / name).write_text(name)
    (Path(os.fsdecode(bytes(place) + b"/latin-\xe9-\xff"))).write_bytes(b"\0\xff\r\n")
    (place / LONG).touch()
    (place / "many.conf").write_bytes(os.urandom(2 << 20))
    for mode in (0o000, 0o444, 0o600, 0o640, 0o755, 0o777):
        (place / f"mode-{mode:o}").write_text("mode")
        (place / f"mode-{mode:o}").chmod(mode)
    for name, mode in {"setgid.d": 0o2775, "sticky.d": 0o1777, "closed.d": 0o700, "nothing.d": 0o000}.items():
        (place / name).mkdir()
        (place / name).chmod(mode)
    shutil.chown(place / "setgid.d", "root", "staff")
    shutil.chown(place / "closed.d", "www-data", "www-data")
    (place / "setgid.d/inherits").write_text("the group of its directory")
    (place / "no-name").write_text("of a user and a group that nobody knows")
    os.chown(place / "no-name", 54321, 54322)
    for name, target in {
        "dangling": "/nowhere/at/all", "out": "../../../../../..", "self": "self", "absolute": "/etc/passwd",
        "here": ".", "empty.d": "nothing.d", "odd\ntarget": "a\nb\\x41",
    }.items():  # fmt: skip
        (place / name).symlink_to(target)
    os.symlink(b"latin-\xe9", bytes(place) + b"/link-\xe9")
    os.lchown(place / "out", 33, 33)
    (place / "one").write_text("two names")
    (place / "other").hardlink_to(place / "one")
    os.mkfifo(place / "fifo")
    os.mknod(place / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(place / "socket"))
    (place / "xattr").write_text("x")
    os.setxattr(place / "xattr", "user.note", b"line\nand\ttab \xff")
    (place / "acl").write_text("acl")
    os.setxattr(place / "acl", "system.posix_acl_access", acl(33))
    deep = place.joinpath(*"abcdefghijklmnopqrstuvwxyz")
    deep.mkdir(parents=True)
    (deep / "end").write_text("deep")


def own(node: Node) -> dict[str, bytes]:
    return {path: node.file(f"/etc/{path}").read_bytes() for path in OWN}


@pytest.fixture(scope="module")
def pair(testroot: TestRoot) -> Iterator[Pair]:
    """Each node with a copy of the same Debian's /etc and with what is its own; the master's has odd things too."""
    home = Path(tempfile.mkdtemp(prefix="s-", dir="/tmp")).resolve()
    made = make_pair(home, CLUSTER)
    try:
        for node in (made.fw1, made.fw2):
            subprocess.run(["cp", "-a", testroot.path / "etc", node.file("/etc")], check=True)
            for path in OWN:
                node.file(f"/etc/{path}").parent.mkdir(exist_ok=True)
                node.file(f"/etc/{path}").write_text(f"{path} of {node.name}\n")
        odd(made.fw1.file("/etc"))
        made.fw2.write("/etc/cron.d/only-here", "extra\n")
        (made.fw2.file("/etc/alternatives/awk")).unlink()
        start_pair(made)
        yield made
    finally:
        end_pair(made)
        shutil.rmtree(home)


def left(pair: Pair, testroot: TestRoot) -> list[str]:
    """What rsync would still have to do, ACLs included."""
    return differences(testroot, pair.fw1.file("/etc"), pair.fw2.file("/etc"), LEFT_ALONE, "-A")


def timed_sync(pair: Pair, *words: str) -> str:
    began_at = time.monotonic()
    result = pair.synced(*words)
    print(f"sync {result['result']} in {time.monotonic() - began_at:.2f} s: {result['reason']}")
    found: str = result["result"]
    return found


def test_a_whole_etc_becomes_equal_and_each_host_keeps_its_own(pair: Pair, testroot: TestRoot) -> None:
    fw1, fw2 = pair.fw1, pair.fw2
    before = own(fw2)
    assert len(left(pair, testroot)) > 50
    assert timed_sync(pair) == "done"
    assert left(pair, testroot) == []
    assert own(fw2) == before
    assert not fw2.file("/etc/cron.d/only-here").exists()
    for name in ("fifo", "socket", "device"):
        assert not os.path.lexists(fw2.file(f"/etc/odd/{name}"))
    assert fw2.status()["sync"]["state"] == "in_sync"
    for node in (fw1, fw2):
        held = node.git("ls-tree", "-r", "--name-only", "main").splitlines()
        assert "etc/passwd" in held
        assert [path for path in OWN if f"etc/{path}" in held] == []
        held_blobs = node.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split()
        for path in SECRETS:
            assert node.git("hash-object", str(node.file(f"/etc/{path}"))).strip() not in held_blobs, path
        assert node.git("fsck", "--strict") == ""


def test_what_is_left_out_is_named_with_the_reason(pair: Pair) -> None:
    pair.fw1.do("commit")
    pair.fw1.write("/etc/motd", "again\n")
    found = {one["path"]: one["reason"] for one in pair.fw1.do("commit")["left_out"]}
    wanted = {
        "/etc/odd/fifo": "fifo",
        "/etc/odd/socket": "socket",
        "/etc/odd/device": "device",
        "/etc/.git": "unnameable",
    }
    assert {path: found.get(path) for path in wanted} == wanted


def test_changes_of_every_kind_are_carried(pair: Pair, testroot: TestRoot) -> None:
    fw1, fw2 = pair.fw1, pair.fw2
    assert timed_sync(pair) in ("done", "unchanged")
    etc = fw1.file("/etc")
    fw1.write("/etc/hosts.deny", "ALL: ALL\n")
    (etc / "nginx/conf.d").chmod(0o700)
    (etc / "odd/setgid.d").chmod(0o755)
    shutil.chown(etc / "odd/no-name", "www-data", "root")
    (etc / "odd/a").rename(etc / "odd/moved")
    (etc / "motd").unlink()
    (etc / "motd").mkdir()
    (etc / "motd/now").symlink_to("a directory")
    shutil.rmtree(etc / "update-motd.d")
    (etc / "update-motd.d").symlink_to("/run/motd.d")
    (etc / "os-release").unlink()
    (etc / "os-release").write_text("now a file\n")
    os.removexattr(etc / "odd/xattr", "user.note")
    os.removexattr(etc / "odd/acl", "system.posix_acl_access")
    (etc / "odd/dangling").unlink()
    (etc / "odd/dangling").symlink_to("/elsewhere")
    os.lchown(etc / "odd/out", 0, 0)
    (etc / "odd/tab\tand\nnewline").unlink()
    (etc / "odd" / LONG).write_text("no longer empty")
    assert len(left(pair, testroot)) > 12
    assert timed_sync(pair) == "done"
    assert left(pair, testroot) == []
    assert timed_sync(pair) == "unchanged"
    for node in (fw1, fw2):
        assert node.git("fsck", "--strict") == ""


def test_a_rollback_of_all_of_it(pair: Pair, testroot: TestRoot) -> None:
    fw1, fw2 = pair.fw1, pair.fw2
    assert timed_sync(pair) in ("done", "unchanged")
    good = fw1.status()["last_tag"]
    kept = fw1.root / "kept"
    subprocess.run(["cp", "-a", fw1.file("/etc"), kept], check=True)
    for folder in ("odd", "unbound", "pam.d", "apt"):
        shutil.rmtree(fw1.file(f"/etc/{folder}"))
    fw1.file("/etc/ssh/sshd_config").unlink()
    before = own(fw2)
    refused = fw1.ask("sync")
    assert (refused.status, refused.data["nodes"]["fw2"]["guards"]) == (4, ["mass-deletion", "lock-out"])
    assert timed_sync(pair, "--force", "mass-deletion", "--force", "lock-out") == "done"
    assert left(pair, testroot) == []
    assert fw1.do("rollback", good, "--force", "lock-out")["nodes"]["fw1"]["result"] == "done"
    assert differences(testroot, kept, fw1.file("/etc"), LEFT_ALONE, "-A") == []
    assert timed_sync(pair, "--force", "lock-out") == "done"
    assert left(pair, testroot) == []
    assert own(fw2) == before
