"""A node that cannot start as it is: serve ends at once, says what is wrong and what to do, and changes nothing."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.integration.faults import ended, sound
from tests.integration.pair import CLUSTER, ENVIRONMENT, PROGRAM, Node, make_node

Put: TypeAlias = Callable[[Path, "bytes | None"], None]
"""A file and what shall stand in it."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Node]:
    """A node that has run, has a history, and is stopped."""
    home = Path(tempfile.mkdtemp(prefix="s-", dir="/tmp")).resolve()
    node = make_node(home / "1", "fw1", "master")
    (node.etc / "cluster.yaml").write_text(CLUSTER.replace('    check: [CHECK, "{stage}/etc/proxy"]\n', ""))
    try:
        for text in ("one\n", "two\n"):
            node.write("/etc/proxy/main.conf", text)
            node.start()
            node.do("commit", "-m", text)
            node.stop()
        yield node
        node.start()
        assert len(node.do("log", "/etc/proxy/main.conf")["commits"]) == 2, "nothing is lost"
        node.stop()
        sound(node)
    finally:
        node.kill()
        shutil.rmtree(home)


def serve(node: Node) -> subprocess.CompletedProcess[str]:
    argv = [*PROGRAM, "--config", str(node.etc), "serve"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, env=ENVIRONMENT)


def refused(node: Node, status: int, *words: str) -> str:
    """``serve`` ends by itself with that status and those words; the node's files are as they were."""
    kept = [path for path in node.state.rglob("*") if path.is_file() and "sqlite" not in path.name]
    before = {path: path.read_bytes() for path in kept}
    served = serve(node)
    said = served.stdout + served.stderr
    assert served.returncode == status, said
    assert "Traceback" not in said
    for word in words:
        assert word in said, f"{word!r} is not in {said}"
    assert {path: path.read_bytes() for path in before} == before
    return said


@pytest.fixture
def put(lab: Node) -> Iterator[Put]:
    """Gives a file another content (None: none at all) until the end of the test."""
    saved: dict[Path, bytes | None] = {}

    def write(path: Path, data: bytes | None) -> None:
        saved[path] = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        if data is not None:
            path.write_bytes(data)
            path.chmod(0o600)

    yield write
    for path, data in saved.items():
        path.unlink(missing_ok=True)
        if data is not None:
            path.write_bytes(data)
            path.chmod(0o600)


@pytest.mark.parametrize(
    "file, old, new, where, words",
    [
        ("cluster.yaml", "paths:", "pathz:", ":4:5:", ("areas.proxy.pathz", "did you mean paths?")),
        ("cluster.yaml", "[/etc/proxy]", "[etc/proxy]", ":4:13:", ("areas.proxy.paths", "absolute path")),
        ("cluster.yaml", "[/etc/dns,", "[/etc/proxy/dns,", ":7:13:", ("areas.dns.paths.0", "lies inside /etc/proxy")),
        ("cluster.yaml", "  dns:", "  dns: [", ":8:", ("YAML",)),
        ("node.yaml", "role: master", "role: boss", ":5:7:", ("role", "master or backup")),
    ],
)
def test_a_broken_configuration_is_told_by_line_and_column(
    lab: Node, put: Put, file: str, old: str, new: str, where: str, words: tuple[str, ...]
) -> None:
    path = lab.etc / file
    text = path.read_text()
    assert old in text
    put(path, text.replace(old, new, 1).encode())
    refused(lab, 2, f"{path}{where}", *words)
    assert lab.ask("check").status == 2
    assert f"{path}{where}" in lab.told("check")


def test_all_problems_are_told_at_once(lab: Node, put: Put) -> None:
    path = lab.etc / "cluster.yaml"
    put(path, path.read_text().replace("paths:", "pathz:").encode())
    assert refused(lab, 2).count("pathz") >= 2


def test_secrets_that_others_can_read_are_refused(lab: Node, put: Put) -> None:
    path = lab.etc / "secrets.yaml"
    put(path, b"carp_lan: hush\n")
    path.chmod(0o644)
    assert "hush" not in refused(lab, 2, str(path), "chmod")


@pytest.mark.sample(8)
@pytest.mark.parametrize("garbage", [b"", b"[1]"])
@pytest.mark.parametrize("name", ["sync.json", "tags.json", "people.json", "journal.json", "key"])
def test_a_damaged_state_file_is_named_with_its_remedy(lab: Node, put: Put, name: str, garbage: bytes) -> None:
    put(lab.state / name, garbage)
    said = refused(lab, 1, f"cannot {'use' if name == 'key' else 'read'} ", str(lab.state / name))
    message = next(line for line in said.splitlines() if str(lab.state / name) in line)
    assert "; " in message, "a remedy follows"


def test_the_index_of_the_history_is_made_anew(lab: Node, put: Put) -> None:
    put(lab.state / "history.sqlite", b"no database at all" * 100)
    lab.start()
    assert len(lab.do("log", "/etc/proxy/main.conf")["commits"]) == 2
    assert lab.stop() == 0


def loose(node: Node, revision: str) -> Path:
    """The file of an object."""
    object_id = node.git("rev-parse", revision).strip()
    path = node.repository / "objects" / object_id[:2] / object_id[2:]
    assert path.is_file()
    return path


@pytest.mark.sample(8)
@pytest.mark.parametrize("revision", ["main", "main^{tree}"])
@pytest.mark.parametrize("cut", [20, None], ids=["truncated", "missing"])
def test_a_damaged_object_is_named_with_its_remedy(lab: Node, put: Put, revision: str, cut: int | None) -> None:
    path = loose(lab, revision)
    put(path, path.read_bytes()[:cut] if cut is not None else None)
    refused(lab, 1, f"cannot read object {path.parent.name}{path.name} of the repository", "git fsck", "copy")


@pytest.mark.sample(8)
@pytest.mark.parametrize("garbage", [b"", b"\0" * 41, b"garbage\n"], ids=["empty", "zeros", "words"])
def test_a_damaged_branch_is_named_with_its_remedy(lab: Node, put: Put, garbage: bytes) -> None:
    put(lab.repository / "refs/heads/main", garbage)
    refused(lab, 1, "cannot read refs/heads/main of the repository", "git update-ref")


def test_a_damaged_head_is_named_with_its_remedy(lab: Node, put: Put) -> None:
    put(lab.repository / "HEAD", b"\0\0\0")
    refused(lab, 1, f"cannot open the repository {lab.repository}", "write `ref: refs/heads/main` into")


def test_a_repository_that_is_not_there_is_not_made_anew_in_silence(lab: Node) -> None:
    away = lab.repository.with_name("away")
    lab.repository.rename(away)
    try:
        refused(lab, 1, f"cannot open the repository {lab.repository}: it does not exist", "syncsrv init")
        assert not lab.repository.exists()
    finally:
        away.rename(lab.repository)


def test_a_file_whose_content_the_repository_has_lost_is_saved_again(lab: Node) -> None:
    path = loose(lab, "main:etc/proxy/main.conf")
    path.unlink()
    lab.start()
    assert lab.git("show", "main:etc/proxy/main.conf") == "two\n"
    assert lab.stop() == 0


def test_an_older_content_that_is_lost_is_named_when_it_is_asked_for(lab: Node, put: Put) -> None:
    path = loose(lab, "main~1:etc/proxy/main.conf")
    lost = f"{path.parent.name}{path.name}"
    put(path, None)
    lab.start()
    try:
        assert f"cannot read object {lost}" in lab.told("show", "main")
        ended(lab.ask("rollback", "main~1"), lost, node="fw1")
        assert lab.file("/etc/proxy/main.conf").read_text() == "two\n"
    finally:
        assert lab.stop() == 0


def test_a_second_serve_is_refused(lab: Node) -> None:
    lab.start()
    try:
        served = serve(lab)
        assert served.returncode in {1, 2}
        assert "cannot start" in served.stderr
        assert lab.ask("status").status == 0
    finally:
        assert lab.stop() == 0
