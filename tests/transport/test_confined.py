"""What the door process may still do: nothing but its sockets."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.core.ssh.authority import Keys
from syncsrv.core.ssh.peerlink import NotKnownThereError, PeerUnreachableError, WrongHostKeyError
from syncsrv.privilege import identity_of
from tests.support.wait import until
from tests.transport.fakecore import LOOPBACK, Node, node, open_files, start_process

TOP = Path(__file__).parents[2]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give rights up or to look into the door")


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, value in (line.split(":", 1) for line in lines)}


def door_pid(made: Node) -> int:
    assert made.door is not None
    return made.door.pid


def test_it_can_gain_no_privilege_and_leaves_no_core(fw1: Node) -> None:
    assert status(door_pid(fw1))["NoNewPrivs"] == "1"
    limits = Path(f"/proc/{door_pid(fw1)}/limits").read_text()
    assert re.search(r"Max core file size +0 +0", limits)


@as_root
def test_it_is_nobody_without_groups_and_capabilities(fw1: Node) -> None:
    found = status(door_pid(fw1))
    identity = identity_of("syncsrv-door")
    assert found["Uid"].split() == [str(identity.uid)] * 4
    assert found["Gid"].split() == [str(identity.gid)] * 4
    assert found["Groups"] == ""
    assert (int(found["CapEff"], 16), int(found["CapPrm"], 16)) == (0, 0)


@as_root
def test_its_root_is_a_directory_that_has_no_name(fw1: Node) -> None:
    assert os.readlink(f"/proc/{door_pid(fw1)}/root").endswith(" (deleted)")
    assert os.listdir(f"/proc/{door_pid(fw1)}/root/") == []


@as_root
def test_it_opens_no_file_once_it_is_confined(tmp_path: Path) -> None:
    """Watched by strace through everything a door does: in, out, refusals, garbage, Git, its end."""
    trace = tmp_path / "trace"
    with (
        node("fw1", tmp_path / "fw1", door=False) as fw1,
        node("fw2", tmp_path / "fw2") as fw2,
        node("fw3", tmp_path / "fw3") as fw3,
        socket.create_server(("127.0.0.1", 0)) as silent,
    ):
        ours, theirs = socket.socketpair()
        argv = ["strace", "-f", "-o", str(trace), "-e", "trace=open,openat,openat2,chroot,prctl,execve,socket,connect"]
        argv += [sys.executable, "-m", "syncsrv.transport.door", "--link-fd", str(theirs.fileno()), "door"]
        with theirs, (fw1.directory / "door.log").open("ab") as log:
            fw1.door = start_process(argv, log, theirs)
        fw1.link.configure(LOOPBACK, [fw1.listener])
        fw1.link.attach(ours)
        fw1.knows(fw2)
        fw2.knows(fw1)
        assert fw1.links.call("fw2", "echo", {"text": "x"}, deadline_s=20)["text"] == "x"
        assert fw2.links.call("fw1", "echo", {"text": "x"}, deadline_s=20)["text"] == "x"
        fw1.peers["fw3"] = replace(fw1.peers["fw2"], name="fw3", address=fw3.address)
        with pytest.raises(WrongHostKeyError):
            fw1.links.call("fw3", "who", deadline_s=20)
        fw1.knows(fw3)
        with pytest.raises(NotKnownThereError):
            fw1.links.call("fw3", "who", deadline_s=20)
        for address in (f"127.0.0.1:{silent.getsockname()[1]}", "127.0.0.1:1"):
            fw1.peers["fw3"] = replace(fw1.peers["fw3"], address=address)
            with pytest.raises(PeerUnreachableError):
                fw1.links.call("fw3", "who", deadline_s=1)
        fw3.knows(fw1)
        fw1.keys = Keys({}, {})
        with pytest.raises(NotKnownThereError):
            fw3.links.call("fw1", "who", deadline_s=20)
        for garbage in (b"GET / HTTP/1.0\r\n\r\n", b"SSH-2.0-x\r\n" + b"\xff" * 100):
            with socket.create_connection(("127.0.0.1", fw1.port), 5) as sock:
                sock.sendall(garbage)
                sock.settimeout(20)
                while sock.recv(4096):
                    pass
    calls = trace.read_text()
    confined = calls.index("PR_SET_DUMPABLE")
    assert re.search(r"chroot\(\"\.\"\) += 0", calls)
    later = calls[confined:]
    assert "connect(" in later  # it did work after it was confined
    assert re.findall(r".*\b(?:open|openat|openat2|execve)\(.*", later) == []


@as_root  # its /proc is closed to everybody else
def test_it_has_only_its_sockets_open(fw1: Node, fw2: Node) -> None:
    fw1.knows(fw2)
    fw2.knows(fw1)
    assert fw1.links.call("fw2", "echo", {"text": "x"}, deadline_s=20)
    for made in (fw1, fw2):
        files = {name for name in open_files(door_pid(made)) if not re.match(r"(socket|pipe|anon_inode):", name)}
        assert files == {"/dev/null", str(made.directory / "door.log")}


def test_it_ends_with_core(fw1: Node) -> None:
    pid = door_pid(fw1)
    fw1.link.close()
    assert fw1.door is not None
    door = fw1.door
    until(lambda: door.poll() is not None, what="the door to end")
    assert door.returncode == 0
    assert not Path(f"/proc/{pid}").exists()


def test_a_door_that_was_started_apart_comes_by_door_sock(fw1: Node, fw2: Node, tmp_path: Path) -> None:
    fw1.stop_door()
    until(lambda: not fw1.link.wait(0), what="core to notice that its door is gone")
    path = tmp_path / "door.sock"
    fw1.link.listen(path, mode=0o660)
    argv = [sys.executable, "-m", "syncsrv.transport.door", "--socket", str(path), "door"]
    with (fw1.directory / "door.log").open("ab") as log:
        fw1.door = start_process(argv, log)
    assert fw1.link.wait(20)
    fw1.knows(fw2)
    fw2.knows(fw1)
    assert fw1.links.call("fw2", "echo", {"text": "x"}, deadline_s=20)
    assert fw2.links.call("fw1", "echo", {"text": "x"}, deadline_s=20)


def test_without_core_it_says_so_and_ends(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "syncsrv.transport.door", "--socket", str(tmp_path / "door.sock"), "door"]
    done = subprocess.run(argv, stderr=subprocess.PIPE, cwd=TOP, timeout=60, check=False)
    assert done.returncode == 1
    assert b"cannot ask core at" in done.stderr


def test_the_newest_door_is_the_one_that_counts(fw1: Node, fw2: Node) -> None:
    fw1.knows(fw2)
    fw2.knows(fw1)
    first = fw1.door
    assert first is not None
    fw1.start_door()
    until(lambda: first.poll() is not None, what="the first door to be let go")
    assert fw1.links.call("fw2", "echo", {"text": "x"}, deadline_s=20)
    assert fw2.links.call("fw1", "echo", {"text": "x"}, deadline_s=20)
