"""Start C Git for a person who clones or fetches over SSH: core starts it, the door only copies bytes.

The client's words never reach a command line: a command is one of a few known texts or it is refused, and what runs
is always ``git upload-pack`` on our own repository, in an environment of our own.
"""

from __future__ import annotations

import logging
import os
import re
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from syncsrv.errors import SyncsrvError

log = logging.getLogger(__name__)

SESSION_S = 1800.0
"""A clone or fetch that takes longer is ended."""
MAX_SESSIONS = 16
HIDDEN = "refs/syncsrv"

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_COMMAND = re.compile(r"git[- ](upload-pack|receive-pack|upload-archive) (?:'([^']*)'|([^\s'\"\\]*))")
_REPOSITORY = re.compile(r"/?config(\.git)?/?")
_PROTOCOL = re.compile(r"version=[012]")


class GitRefusedError(SyncsrvError):
    """This Git command is not served; the message goes to the client's terminal."""

    code = "git-refused"


@dataclass(frozen=True, slots=True)
class GitPipes:
    """Our ends' counterparts, for the door: it writes ``stdin`` and reads the others.

    ``status`` brings the exit status as decimal digits, then its end.
    """

    stdin: int
    stdout: int
    stderr: int
    status: int

    def all(self) -> tuple[int, int, int, int]:
        """In the order in which they travel."""
        return (self.stdin, self.stdout, self.stderr, self.status)


class GitServer:
    """Serves one repository with C Git.

    Args:
        repository: the bare repository.
        session_s: seconds after which a session is ended.
    """

    def __init__(self, repository: Path, *, session_s: float = SESSION_S) -> None:
        self._repository = repository
        self._session_s = session_s
        self._lock = threading.Lock()
        self._sessions: dict[int, tuple[subprocess.Popen[bytes], threading.Thread]] = {}

    def start(self, command: str, protocol: str = "") -> GitPipes:
        """Start what the client asked for.

        Args:
            command: as the client sent it.
            protocol: the client's GIT_PROTOCOL, empty for none.

        Returns:
            Descriptors that belong to the caller.

        Raises:
            GitRefusedError: it is not served here.
        """
        self._check(command)
        git = shutil.which("git", path=_PATH)
        if git is None:
            raise GitRefusedError("cannot serve the repository: this node has no git", "install git on it")
        theirs, ours = _pipes()
        try:
            with self._lock:
                if len(self._sessions) >= MAX_SESSIONS:
                    raise GitRefusedError("cannot serve the repository: too many clients are at it", "try again later")
                child = subprocess.Popen(
                    [git, "upload-pack", "--strict", "--timeout=300", str(self._repository)],
                    stdin=ours.stdin,
                    stdout=ours.stdout,
                    stderr=ours.stderr,
                    env=_environment(protocol),
                    cwd="/",
                    start_new_session=True,
                )
                writer = os.dup(ours.status)
                thread = threading.Thread(target=self._wait, args=(child, writer), name=f"git {child.pid}", daemon=True)
                self._sessions[child.pid] = (child, thread)
                thread.start()
        except OSError as error:
            _close(theirs)
            raise GitRefusedError(f"cannot serve the repository: {(error.strerror or str(error)).lower()}") from error
        except GitRefusedError:
            _close(theirs)
            raise
        finally:
            _close(ours)
        return theirs

    def close(self) -> None:
        """End every session."""
        with self._lock:
            sessions = list(self._sessions.values())
        for child, _ in sessions:
            _kill(child)
        for _, thread in sessions:
            thread.join()

    def _check(self, command: str) -> None:
        match = _COMMAND.fullmatch(command)
        if match is None:
            raise GitRefusedError(
                "cannot do this here: only git is served, for example `git clone ssh://NODE:PORT/config`"
            )
        service, path = match[1], match[2] if match[2] is not None else match[3]
        if not _REPOSITORY.fullmatch(path):
            raise GitRefusedError("cannot find this repository: the only one here is /config")
        if service == "receive-pack":
            raise GitRefusedError(
                "cannot push: pushing is not possible here yet; change the files on the master and run `syncsrv commit`"
            )
        if service != "upload-pack":
            raise GitRefusedError("cannot make an archive here: clone the repository instead")

    def _wait(self, child: subprocess.Popen[bytes], writer: int) -> None:
        """Wait for its end, for its deadline, or for the client to be gone; then tell its exit status."""
        pidfd = os.pidfd_open(child.pid)
        try:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            poll.register(writer, 0)  # only POLLERR: the door closed its end of the status pipe
            ends_at = time.monotonic() + self._session_s
            ready = dict(poll.poll(max(0.0, ends_at - time.monotonic()) * 1000))
            if pidfd not in ready:
                log.info("git session %d ended: %s", child.pid, "the client is gone" if ready else "it took too long")
            _kill(child)
            status = child.wait()
            code = status if status >= 0 else 128 - status
            os.write(writer, str(code).encode())
        except BrokenPipeError:
            log.debug("nobody waits for the exit status of git session %d", child.pid)
        finally:
            os.close(pidfd)
            os.close(writer)
            with self._lock:
                self._sessions.pop(child.pid, None)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End the whole group: upload-pack has a child of its own. Not yet waited for, so the number is still its."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        log.debug("git session %d had ended", child.pid)


def _environment(protocol: str) -> Mapping[str, str]:
    settings = {
        "safe.directory": "*",  # state_dir may have another owner than this process
        "transfer.hideRefs": HIDDEN,
    }
    environment = {
        "PATH": _PATH,
        "LANG": "C.UTF-8",
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for number, (key, value) in enumerate(settings.items()):
        environment[f"GIT_CONFIG_KEY_{number}"] = key
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    if _PROTOCOL.fullmatch(protocol):
        environment["GIT_PROTOCOL"] = protocol
    return environment


def _pipes() -> tuple[GitPipes, GitPipes]:
    """The door's ends and the program's ends of four pipes."""
    stdin_read, stdin_write = os.pipe()
    stdout_read, stdout_write = os.pipe()
    stderr_read, stderr_write = os.pipe()
    status_read, status_write = os.pipe()
    return (
        GitPipes(stdin_write, stdout_read, stderr_read, status_read),
        GitPipes(stdin_read, stdout_write, stderr_write, status_write),
    )


def _close(pipes: GitPipes) -> None:
    for fd in pipes.all():
        os.close(fd)
