"""People with stock Git and OpenSSH at a real node: read what is there, write nothing."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsrv import process
from syncsrv.shipped import folder
from tests.integration.pair import Node, Pair, end_pair, make_pair, start_pair

for program in ("git", "ssh", "ssh-keygen"):
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}", allow_module_level=True)


class Person:
    """Somebody with an Ed25519 key and a directory to work in."""

    def __init__(self, name: str, home: Path, node: Node) -> None:
        self.name = name
        self.home = home
        self.url = f"ssh://{name}@127.0.0.1:{node.ssh}/config"
        self.clone = home / "config"
        home.mkdir()
        self.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / "id"))
        (home / "known_hosts").write_text(f"[127.0.0.1]:{node.ssh} {node.do('key')['key']}\n")

    @property
    def public(self) -> Path:
        return self.home / "id.pub"

    def run(self, *argv: str, cwd: Path | None = None) -> tuple[int | None, str]:
        """A program in an environment that has nothing of ours but the way to ``syncsrv``; its status and words."""
        ssh = f"ssh -F none -i {self.home}/id -o UserKnownHostsFile={self.home}/known_hosts"
        env = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_SSH_COMMAND": f"{ssh} -o StrictHostKeyChecking=yes -o BatchMode=yes -o IdentitiesOnly=yes",
            "GIT_TERMINAL_PROMPT": "0",
            **{f"GIT_{who}_{what}": "alice@x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }
        done = process.run(argv, env=env, deadline_s=60, cwd=cwd or self.home)
        return done.status, done.text

    def git(self, *words: str) -> str:
        """Git in the clone, or in the home while there is none; it has to succeed."""
        status, text = self.git_tries(*words)
        assert status == 0, f"git {words}: {text}"
        return text

    def git_tries(self, *words: str) -> tuple[int | None, str]:
        return self.run("git", *words, cwd=self.clone if self.clone.exists() else self.home)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Two nodes with two sync tags."""
    home = Path(tempfile.mkdtemp(prefix="s-", dir="/tmp")).resolve()
    made = make_pair(home)
    made.fw1.write("/etc/dns/zone", "a 192.0.2.1\n")
    try:
        start_pair(made)
        for number in (80, 81):
            made.fw1.write("/etc/proxy/main.conf", f"listen {number}\n")
            made.fw1.do("commit", "-m", f"port {number}")
            assert made.synced()["result"] == "done"
        yield made
    finally:
        end_pair(made)
        shutil.rmtree(home)


@pytest.fixture(params=["fw1", "fw2"])
def node(request: pytest.FixtureRequest, pair: Pair) -> Node:
    """The master, then its backup."""
    found: Node = getattr(pair, request.param)
    return found


@pytest.fixture
def alice(node: Node, tmp_path: Path) -> Iterator[Person]:
    """A viewer with a clone."""
    person = Person("alice", tmp_path / "alice", node)
    node.do("user", "add", "alice", "--role", "viewer", "--ssh-key", str(person.public))
    person.git("clone", "-q", person.url)
    yield person
    node.ask("user", "remove", "alice")


def test_a_viewer_clones_reads_the_history_and_fetches_what_is_new(alice: Person, node: Node, pair: Pair) -> None:
    assert (alice.clone / "etc/proxy/main.conf").read_text() == node.file("/etc/proxy/main.conf").read_text()
    assert "port 81" in alice.git("log", "--format=%s", "etc/proxy")
    assert alice.git("fsck", "--strict") == ""
    assert alice.git("rev-parse", "main").strip() == node.git("rev-parse", "main").strip()
    before = set(alice.git("tag").split())
    pair.fw1.write("/etc/proxy/main.conf", f"listen 82 # {node.name}\n")
    assert pair.synced()["result"] == "done"
    alice.git("fetch", "-q", "--tags")
    (new,) = set(alice.git("tag").split()) - before
    assert alice.git("show", f"{new}:etc/proxy/main.conf") == f"listen 82 # {node.name}\n"
    alice.git("pull", "-q", "--ff-only")
    assert alice.git("rev-parse", "HEAD").strip() == node.git("rev-parse", "main").strip()


def test_tags_are_verified_in_a_clone(alice: Person, pair: Pair) -> None:
    signers = alice.home / "signers"
    trust = ("-c", "gpg.format=ssh", "-c", f"gpg.ssh.allowedSignersFile={signers}")
    signers.write_text(f"fw1 {pair.fw1.do('key')['key']}\n")
    for tag in alice.git("tag").split():
        assert 'Good "git" signature for fw1 with ED25519 key' in alice.git(*trust, "verify-tag", tag)
    signers.write_text(f"fw2 {pair.fw2.do('key')['key']}\n")
    status, text = alice.git_tries(*trust, "verify-tag", "sync/000001")
    assert status != 0, text


def test_what_is_ours_alone_is_not_shown(alice: Person, node: Node) -> None:
    node.git("update-ref", "refs/syncsrv/hidden", "main")
    heads = {line.split()[1] for line in alice.git("ls-remote", alice.url).splitlines()}
    assert {"HEAD", "refs/heads/main", "refs/tags/sync/000001", "refs/tags/sync/000001^{}"} <= heads
    assert [name for name in heads if "syncsrv" in name] == []
    status, text = alice.git_tries("fetch", "origin", "refs/syncsrv/hidden:refs/heads/hidden")
    assert status != 0
    assert "couldn't find remote ref refs/syncsrv/hidden" in text
    assert alice.git("fetch", "-q", "origin", "refs/syncsrv/*:refs/heads/all/*") == ""
    assert "all/" not in alice.git("for-each-ref")


@pytest.mark.parametrize("how", [("--depth=1",), ("--filter=blob:none",)], ids=["shallow", "without blobs"])
def test_a_part_of_the_history_can_be_cloned_and_completed(
    alice: Person, node: Node, pair: Pair, how: tuple[str, ...]
) -> None:
    shutil.rmtree(alice.clone)
    alice.git("clone", "-q", *how, alice.url)
    pair.fw1.write("/etc/dns/zone", f"a 192.0.2.9 ; {how[0]} {node.name}\n")
    assert pair.synced()["result"] == "done"
    alice.git("pull", "-q", "--ff-only")
    assert (alice.clone / "etc/dns/zone").read_text() == node.file("/etc/dns/zone").read_text()
    if how == ("--depth=1",):
        alice.git("fetch", "-q", "--unshallow")
    assert alice.git("rev-list", "main") == node.git("rev-list", "main")
    assert alice.git("fsck", "--strict") == ""


def test_a_push_is_refused_with_a_sentence_and_changes_nothing(alice: Person, node: Node) -> None:
    before = node.git("for-each-ref")
    (alice.clone / "etc/proxy/main.conf").write_text("pushed\n")
    alice.git("commit", "-q", "-a", "-m", "mine")
    for words in (("push", "-q"), ("push", "-q", "--tags", "--force"), ("push", "-q", "origin", ":main")):
        status, text = alice.git_tries(*words)
        assert status != 0
        assert "syncsrv: cannot push: pushing is not possible here yet; change the files on the master" in text
    assert node.git("for-each-ref") == before
    assert node.file("/etc/proxy/main.conf").read_text() != "pushed\n"


def test_other_repositories_and_other_commands_are_refused(alice: Person, node: Node) -> None:
    for path in ("/etc", f"{node.repository}", "/config/../config.git/x", "/~/config"):
        status, text = alice.git_tries("ls-remote", alice.url.replace("/config", path))
        assert status != 0, path
        assert "syncsrv: cannot find this repository: the only one here is /config" in text
    status, text = alice.git_tries("archive", f"--remote={alice.url}", "main")
    assert status != 0
    assert "syncsrv: cannot make an archive here" in text


def test_who_is_not_listed_is_refused_and_who_is_removed_is_out_at_once(alice: Person, node: Node) -> None:
    eve = Person("alice", alice.home / "eve", node)
    status, text = eve.git_tries("clone", eve.url)
    assert status != 0
    assert "Permission denied (publickey)" in text
    node.do("user", "remove", "alice")
    status, text = alice.git_tries("fetch")
    assert status != 0
    assert "Permission denied (publickey)" in text
    node.do("user", "add", "alice", "--role", "viewer", "--ssh-key", str(alice.public))
    alice.git("fetch")


def test_the_shipped_hook_refuses_a_bad_commit_in_a_clone(alice: Person) -> None:
    hook = alice.clone / ".git/hooks/pre-commit"
    shutil.copy(folder("hooks") / "pre-commit", hook)
    head = alice.git("rev-parse", "HEAD")
    (alice.clone / "etc/proxy/main.conf").write_text("BROKEN 80\n")
    status, text = alice.git_tries("commit", "-a", "-m", "bad")
    assert status == 1
    assert "main.conf:1:BROKEN 80\nBROKEN is no directive" in text
    assert "not committed; to commit all the same: git commit --no-verify" in text
    assert alice.git("rev-parse", "HEAD") == head
    (alice.clone / "etc/proxy/main.conf").write_text("listen 80\n")
    alice.git("commit", "-a", "-m", "good")
    (alice.clone / ".syncsrv/cluster.yaml").write_text("cluster: edge\naeras: {}\n")
    status, text = alice.git_tries("commit", "-a", "-m", "a slip")
    assert status == 1
    assert "cluster.yaml:2:1: aeras" in text
    assert alice.git("log", "-1", "--format=%s").strip() == "good"
