"""Stock programs at the door: OpenSSH and Git, as people use them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsrv.core.ssh.authority import Keys
from syncsrv.process import run
from syncsrv.store.signing import parse_public_line
from tests.support.wait import until
from tests.transport.fakecore import Node, node

for program in ("ssh", "ssh-keygen", "git"):
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}", allow_module_level=True)

PATH = {"PATH": os.defpath + ":/usr/local/bin:/usr/local/sbin:/usr/sbin", "LANG": "C.UTF-8"}


class Person:
    """Somebody with a key of ssh-keygen at a node's door."""

    def __init__(self, home: Path, node: Node) -> None:
        self.home = home
        self.node = node
        self.key = home / "id"
        home.mkdir()
        self.keygen("ed25519", self.key)
        self.blob = parse_public_line((home / "id.pub").read_text())
        line = f"[127.0.0.1]:{node.port} {node.signer.public_line}\n"
        (home / "known_hosts").write_text(line)
        self.options = [
            *("-F", "none", "-p", str(node.port), "-o", f"UserKnownHostsFile={home}/known_hosts"),
            *("-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"),
        ]
        self.identity = ["-i", str(self.key)]

    def keygen(self, kind: str, path: Path) -> None:
        argv = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path)]
        assert run(argv, env=PATH, deadline_s=30).status == 0

    def ssh(self, *words: str, options: tuple[str, ...] = (), stdin: bytes | None = None) -> tuple[int | None, str]:
        argv = ["ssh", *self.options, *self.identity, *options, "alice@127.0.0.1", *words]
        done = run(argv, env=PATH, deadline_s=30, stdin=stdin)
        return done.status, done.text

    def git(self, *words: str, deadline_s: float = 60, ssh: tuple[str, ...] = ()) -> tuple[int | None, str]:
        command = " ".join(["ssh", *self.options, *self.identity, *ssh])
        env = {**PATH, "HOME": str(self.home), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
        done = run(["git", "-c", f"core.sshCommand={command}", *words], env=env, deadline_s=deadline_s)
        return done.status, done.text

    @property
    def url(self) -> str:
        return f"ssh://alice@127.0.0.1:{self.node.port}/config"


@pytest.fixture(scope="module")
def fw1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node for all these tests: what they change of it they only add."""
    with node("fw1", tmp_path_factory.mktemp("stock") / "fw1") as made:
        yield made


@pytest.fixture
def alice(fw1: Node, tmp_path: Path) -> Person:
    person = Person(tmp_path / "alice", fw1)
    fw1.keys = Keys({}, {})
    fw1.lists("alice", person.blob)
    return person


def local_git(*words: str, cwd: Path) -> str:
    env = {
        **PATH,
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
    }
    env |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    done = run(["git", *words], env=env, deadline_s=60, cwd=cwd)
    assert done.status == 0, done.text
    return done.text


@pytest.fixture(scope="module")
def repository(fw1: Node) -> Path:
    """config.git with two branches' worth of history, a tag and a hidden ref."""
    work = fw1.directory / "work"
    local_git("init", "-q", "-b", "main", str(work), cwd=fw1.directory)
    (work / "etc").mkdir()
    for number in range(3):
        (work / "etc" / f"file{number}").write_text(f"{number}\n")
        local_git("add", "-A", cwd=work)
        local_git("commit", "-q", "-m", f"change {number}", cwd=work)
    local_git("tag", "-a", "-m", "t", "sync/000001", cwd=work)
    local_git("clone", "-q", "--bare", str(work), "config.git", cwd=fw1.directory)
    local_git("update-ref", "refs/syncsrv/known-good", "HEAD", cwd=fw1.directory / "config.git")
    return fw1.directory / "config.git"


def test_git_clones_fetches_and_logs(alice: Person, repository: Path, tmp_path: Path) -> None:
    status, text = alice.git("clone", alice.url, str(tmp_path / "clone"))
    assert status == 0, text
    clone = tmp_path / "clone"
    assert (clone / "etc/file2").read_text() == "2\n"
    assert "change 2" in local_git("log", "--oneline", cwd=clone)
    assert "sync/000001" in local_git("tag", cwd=clone)
    work = alice.node.directory / "work"
    (work / "etc/new").write_text("new\n")
    local_git("add", "-A", cwd=work)
    local_git("commit", "-q", "-m", "change 3", cwd=work)
    local_git("push", "-q", str(repository), "main", cwd=work)
    status, text = alice.git("-C", str(clone), "pull", "-q")
    assert status == 0, text
    assert (clone / "etc/new").read_text() == "new\n"
    assert local_git("fsck", "--strict", cwd=clone) is not None


@pytest.mark.parametrize("protocol", ["0", "1", "2"])
def test_every_git_protocol_works_and_hides_our_own_refs(alice: Person, repository: Path, protocol: str) -> None:
    status, text = alice.git("-c", f"protocol.version={protocol}", "ls-remote", alice.url)
    assert status == 0, text
    assert "refs/heads/main" in text
    assert "refs/tags/sync/000001" in text
    assert "refs/syncsrv" not in text


def test_git_protocol_2_is_really_spoken(alice: Person, repository: Path) -> None:
    command = " ".join(["ssh", *alice.options, *alice.identity])
    env = {**PATH, "HOME": str(alice.home), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TRACE_PACKET": "1"}
    done = run(["git", "-c", f"core.sshCommand={command}", "ls-remote", alice.url], env=env, deadline_s=30)
    assert "version 2" in done.text


@pytest.mark.parametrize("path", ["/config", "config", "/config.git", "config.git/", "/config/"])
def test_the_repository_has_its_usual_names(alice: Person, repository: Path, path: str) -> None:
    status, text = alice.ssh(f"git-upload-pack '{path}'", stdin=b"0000")
    assert status == 0, text
    assert "refs/heads/main" in text


@pytest.mark.parametrize(
    "command",
    [
        "git-upload-pack '/etc'",
        "git-upload-pack '/config/../../etc'",
        "git-upload-pack '../config'",
        "git-upload-pack '/config' --foo",
        "git-upload-pack --config /config",
        "git-upload-pack /config; id",
        "git-upload-pack $(id)",
        "git-upload-archive '/config'",
        "id",
        "sh -c id",
        "scp -f /etc/passwd",
        "git-upload-pack",
        "x" * 3000,
    ],
)
def test_no_other_command_is_run(alice: Person, repository: Path, command: str) -> None:
    status, text = alice.ssh(command)
    assert status == 1
    assert text.startswith("syncsrv: cannot ")
    assert "uid=" not in text


def test_a_push_is_refused_with_a_sentence(alice: Person, repository: Path, tmp_path: Path) -> None:
    alice.git("clone", "-q", alice.url, str(tmp_path / "clone"))
    clone = tmp_path / "clone"
    (clone / "x").write_text("x")
    local_git("add", "-A", cwd=clone)
    local_git("commit", "-q", "-m", "x", cwd=clone)
    before = local_git("rev-parse", "main", cwd=repository)
    status, text = alice.git("-C", str(clone), "push", "-q")
    assert status != 0
    assert "syncsrv: cannot push: pushing is not possible here yet; " in text
    assert local_git("rev-parse", "main", cwd=repository) == before


def test_a_shell_and_sftp_and_forwarding_are_refused(alice: Person) -> None:
    status, text = alice.ssh()
    assert status == 1
    assert "there is no shell here" in text
    status, text = alice.ssh("-s", "sftp")
    assert status != 0
    assert "subsystem request failed" in text
    status, text = alice.ssh(options=("-W", "127.0.0.1:22"))
    assert status != 0
    assert "administratively prohibited" in text


def test_a_key_that_nobody_listed_is_refused_and_the_others_still_work(
    alice: Person, repository: Path, tmp_path: Path
) -> None:
    stranger = Person(tmp_path / "eve", alice.node)
    status, text = stranger.ssh("id")
    assert status == 255
    assert "Permission denied (publickey)" in text
    status, text = alice.ssh("git-upload-pack /config", stdin=b"0000")
    assert status == 0


def test_other_keys_may_be_offered_before_the_right_one(alice: Person, repository: Path) -> None:
    alice.identity = []
    for kind in ("rsa", "ecdsa"):
        alice.keygen(kind, alice.home / kind)
        alice.identity += ["-i", str(alice.home / kind)]
    other = Person(alice.home / "other", alice.node)
    alice.identity += ["-i", str(other.key), "-i", str(alice.key)]
    status, text = alice.ssh("git-upload-pack /config", stdin=b"0000")
    assert status == 0, text


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_only_ed25519_is_taken(alice: Person, kind: str) -> None:
    alice.keygen(kind, alice.home / kind)
    alice.identity = ["-i", str(alice.home / kind)]
    status, text = alice.ssh("id")
    assert status == 255
    assert "Permission denied" in text


def test_no_password_is_asked_for(alice: Person) -> None:
    status, text = alice.ssh("id", options=("-o", "PreferredAuthentications=password,keyboard-interactive"))
    assert status == 255
    assert "Permission denied (publickey)" in text


def test_a_key_that_is_taken_from_the_list_is_out_at_once(alice: Person, repository: Path) -> None:
    assert alice.ssh("git-upload-pack /config", stdin=b"0000")[0] == 0
    alice.node.keys = Keys({}, {})
    assert alice.ssh("git-upload-pack /config", stdin=b"0000")[0] == 255


def test_the_server_shows_the_pinned_key_and_another_is_refused_by_openssh(alice: Person, tmp_path: Path) -> None:
    eve = Person(tmp_path / "eve", alice.node)
    (alice.home / "known_hosts").write_text(f"[127.0.0.1]:{alice.node.port} {(eve.home / 'id.pub').read_text()}")
    status, text = alice.ssh("id")
    assert status == 255
    assert "HOST IDENTIFICATION HAS CHANGED" in text


@pytest.mark.parametrize("cipher", ["aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr"])
def test_keys_are_renewed_within_a_large_fetch(alice: Person, repository: Path, tmp_path: Path, cipher: str) -> None:
    work = alice.node.directory / "work"
    (work / "blob").write_bytes(os.urandom(12_000_000))
    local_git("add", "-A", cwd=work)
    local_git("commit", "-q", "-m", "large", cwd=work)
    local_git("push", "-q", str(repository), "main", cwd=work)
    limits = ("-o", "RekeyLimit=2M", "-o", f"Ciphers={cipher}")
    status, text = alice.git("clone", "-q", alice.url, str(tmp_path / "clone"), ssh=(*limits, "-v"))
    assert status == 0, text
    assert text.count("rekeying") + text.count("rekey out") > 2
    assert (tmp_path / "clone/blob").stat().st_size == 12_000_000


def test_several_clones_at_once(alice: Person, repository: Path, tmp_path: Path) -> None:
    results: list[tuple[int | None, str]] = []

    def clone(number: int) -> None:
        results.append(alice.git("clone", "-q", alice.url, str(tmp_path / f"clone{number}"), deadline_s=100))

    threads = [threading.Thread(target=clone, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(110)
    assert [text for status, text in results if status != 0] == []
    assert len(results) == 6


def test_a_client_that_leaves_takes_its_git_along(alice: Person, repository: Path) -> None:
    argv = ["ssh", *alice.options, *alice.identity, "alice@127.0.0.1", "git-upload-pack '/config'"]
    client = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=PATH)
    assert client.stdout is not None
    assert client.stdout.read(4)
    assert len(git_sessions()) == 1
    client.kill()
    client.communicate()
    until(lambda: not git_sessions(), what="git to be gone")


def git_sessions() -> list[str]:
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            status = (directory / "stat").read_text().rpartition(")")[2].split()
            if int(status[1]) == os.getpid() and b"\0upload-pack\0" in (directory / "cmdline").read_bytes():
                found.append(directory.name)
        except OSError:
            continue
    return found


def test_the_subsystem_speaks_frames_to_a_person(alice: Person) -> None:
    _, text = alice.ssh("-s", "syncsrv", stdin=b"")
    assert re.search(r'"node":"fw1"', text), text


def test_ssh_audit_finds_nothing_to_blame(alice: Person) -> None:
    audit = Path(sys.executable).with_name("ssh-audit")
    if not audit.exists():
        pytest.skip("needs ssh-audit in the development environment")
    argv = [str(audit), "-p", str(alice.node.port), "--skip-rate-test", "127.0.0.1"]
    done = run(argv, env=PATH, deadline_s=60)
    assert done.status is not None
    assert done.status < 3, done.text
    assert "[fail]" not in done.text
