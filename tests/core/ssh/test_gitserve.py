from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsrv.core.ssh import gitserve
from syncsrv.core.ssh.gitserve import GitPipes, GitRefusedError, GitServer
from syncsrv.process import run
from tests.support.wait import until

if shutil.which("git") is None:
    pytest.skip("needs git", allow_module_level=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "config.git"
    done = run(["git", "init", "-q", "--bare", str(path)], env={"PATH": os.defpath}, deadline_s=30)
    assert done.status == 0
    return path


@pytest.fixture
def server(repository: Path) -> Iterator[GitServer]:
    server = GitServer(repository)
    yield server
    server.close()


def read(fd: int) -> bytes:
    data = b""
    while piece := os.read(fd, 65536):
        data += piece
    return data


def close(pipes: GitPipes) -> None:
    for fd in pipes.all():
        os.close(fd)


def test_upload_pack_talks_and_its_exit_status_comes(server: GitServer) -> None:
    pipes = server.start("git-upload-pack '/config'", "version=2")
    assert os.read(pipes.stdout, 100).startswith(b"000eversion 2\n")
    os.write(pipes.stdin, b"0000")
    os.close(pipes.stdin)
    read(pipes.stdout)
    assert read(pipes.status) == b"0"
    for fd in (pipes.stdout, pipes.stderr, pipes.status):
        os.close(fd)


def test_a_repository_that_is_not_there_is_gits_own_error(tmp_path: Path) -> None:
    server = GitServer(tmp_path / "none.git")
    pipes = server.start("git-upload-pack /config")
    assert b"does not appear to be a git repository" in read(pipes.stderr)
    assert read(pipes.status) == b"128"
    close(pipes)
    server.close()


@pytest.mark.parametrize("protocol", ["version=9", "version=2:key=value", "x\nGIT_DIR=/", "version=2 "])
def test_an_odd_protocol_is_not_handed_on(server: GitServer, protocol: str) -> None:
    pipes = server.start("git-upload-pack '/config'", protocol)
    assert not os.read(pipes.stdout, 100).startswith(b"000eversion 2")
    close(pipes)


@pytest.mark.parametrize(
    "command, why",
    [
        ("git-receive-pack '/config'", "cannot push: pushing is not possible here yet"),
        ("git receive-pack '/config'", "cannot push"),
        ("git-upload-archive '/config'", "cannot make an archive"),
        ("git-upload-pack '/other'", "the only one here is /config"),
        ("git-upload-pack '/config\n'", "the only one here is /config"),
        ("git-upload-pack ''", "the only one here is /config"),
        ("git-upload-pack '/config'\nid", "only git is served"),
        ("git-upload-pack '/config' '/config'", "only git is served"),
        ("git-upload-pack '--upload-pack=id'", "the only one here is /config"),
        ("", "only git is served"),
    ],
)
def test_nothing_else_is_started(server: GitServer, command: str, why: str) -> None:
    with pytest.raises(GitRefusedError, match=why):
        server.start(command)


def test_git_ends_when_the_client_is_gone(server: GitServer) -> None:
    pipes = server.start("git-upload-pack '/config'")
    assert os.read(pipes.stdout, 4)
    os.close(pipes.status)
    for fd in (pipes.stdout, pipes.stderr):  # both end, although its stdin is still open
        read(fd)
        os.close(fd)
    os.close(pipes.stdin)
    until(lambda: not server._sessions, what="the session to be forgotten")


def test_git_ends_at_its_deadline(repository: Path) -> None:
    server = GitServer(repository, session_s=0.2)
    pipes = server.start("git-upload-pack '/config'")
    assert read(pipes.status) == b"137"
    close(pipes)
    server.close()


def test_sessions_are_bounded(server: GitServer) -> None:
    many = [server.start("git-upload-pack '/config'") for _ in range(gitserve.MAX_SESSIONS)]
    with pytest.raises(GitRefusedError, match="too many"):
        server.start("git-upload-pack '/config'")
    for pipes in many:
        close(pipes)
    until(lambda: not server._sessions, what="the sessions to be forgotten")
    close(server.start("git-upload-pack '/config'"))


def test_refusals_and_sessions_leave_no_descriptor(server: GitServer) -> None:
    def once() -> None:
        with pytest.raises(GitRefusedError):
            server.start("git-upload-pack '/x'")
        close(server.start("git-upload-pack '/config'"))
        until(lambda: not server._sessions)

    once()
    before = len(os.listdir("/proc/self/fd"))
    once()
    assert len(os.listdir("/proc/self/fd")) == before
