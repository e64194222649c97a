"""``syncsrv check --tree`` and hooks/pre-commit: the areas' checks in an operator's clone, with stock Git."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from syncsrv.checks.check import Status
from syncsrv.checks.clonecheck import check_tree, read_tree
from syncsrv.config.problem import ConfigurationError
from syncsrv.errors import UsageError
from syncsrv.shipped import folder

BIN = Path(sys.executable).parent
CLUSTER = """
cluster: edge
areas:
  app:
    paths: [/etc/app]
    check: [sh, -c, "! grep -n BROKEN {stage}/etc/app/main.conf || { echo unknown directive in $AREA >&2; exit 1; }"]
  plain: {paths: [/etc/plain]}
vips:
  - {vhid: 1, interface: lan, addresses: [192.0.2.10/24], password: !secret carp_lan}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = tmp_path / "clone"
    for path, text in {".syncsrv/cluster.yaml": CLUSTER, "etc/app/main.conf": "good\n", "etc/plain/x": "x\n"}.items():
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        (made / path).write_text(text)
    return made


def syncsrv(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [str(BIN / "syncsrv"), *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60)


def test_a_good_and_a_bad_tree(tree: Path) -> None:
    (good,) = check_tree(tree)
    assert (good.area, good.status, good.isolated) == ("app", Status.OK, False)
    (tree / "etc/app/main.conf").write_text("fine\nBROKEN\n")
    (bad,) = check_tree(tree)
    assert (bad.status, bad.output) == (Status.FAILED, "2:BROKEN\nunknown directive in app\n")


def test_what_is_no_tree_and_what_has_a_bad_cluster_yaml(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give the top of a clone"):
        read_tree(tmp_path)
    (tree / ".syncsrv/cluster.yaml").write_text("cluster: edge\naeras: {}\n")
    with pytest.raises(ConfigurationError, match=r"cluster\.yaml:2:1: aeras: .*areas"):
        read_tree(tree)


def test_the_command_for_people(tree: Path) -> None:
    well = syncsrv("check", "--tree", tree)
    assert (well.returncode, well.stderr) == (0, "")
    assert well.stdout.startswith("app: its check `sh -c ")
    (tree / "etc/app/main.conf").write_text("BROKEN\n")
    ill = syncsrv("check", "--tree", tree)
    assert ill.returncode == 1
    assert ill.stdout.startswith("1:BROKEN\nunknown directive in app\ncannot pass area app: its check `sh -c ")
    (tree / ".syncsrv/cluster.yaml").write_text("cluster: edge\n")
    assert syncsrv("check", "--tree", tree).stdout == f"No area in {tree} has a check.\n"


def test_the_command_for_programs(tree: Path) -> None:
    (tree / "etc/app/main.conf").write_text("BROKEN\n")
    done = syncsrv("check", "--tree", tree, "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["ok"]) == (1, False)
    (check,) = answer["checks"]
    assert (check["area"], check["status"], check["output"]) == (
        "app",
        "failed",
        "1:BROKEN\nunknown directive in app\n",
    )
    assert check["reason"].endswith("exited with 1: 1:BROKEN | unknown directive in app")
    (tree / ".syncsrv/cluster.yaml").unlink()
    done = syncsrv("check", "--tree", tree, "--json")
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (2, "usage")
    assert syncsrv("check", "--tree", tree, "--cluster", tree / "x").returncode == 2


class Clone:
    """A clone made by stock Git, with the hook in place."""

    def __init__(self, origin: Path, path: Path, search: Sequence[str]) -> None:
        self.path = path
        self._environment = {
            "PATH": os.pathsep.join(search),
            "HOME": str(path.parent),
            "GIT_CONFIG_NOSYSTEM": "1",
            "TMPDIR": str(path.parent),
        }
        self.git("clone", "-q", str(origin), str(path), cwd=origin)
        hook = path / ".git/hooks/pre-commit"
        hook.parent.mkdir(exist_ok=True)
        hook.write_bytes((folder("hooks") / "pre-commit").read_bytes())
        hook.chmod(0o755)

    def git(self, *arguments: str, cwd: Path | None = None, status: int = 0) -> str:
        who = ["-c", "user.name=Alice", "-c", "user.email=alice@example.org", "-c", "init.defaultBranch=main"]
        done = subprocess.run(
            ["git", *who, *arguments],
            env=self._environment,
            cwd=cwd or self.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )
        assert done.returncode == status, done.stdout
        return done.stdout

    def commits(self) -> int:
        return int(self.git("rev-list", "--count", "HEAD"))


class TestPreCommit:
    SYSTEM = ("/usr/bin", "/bin")

    @pytest.fixture
    def clone(self, tree: Path, tmp_path: Path) -> Clone:
        return self.made(tree, tmp_path, (str(BIN), *self.SYSTEM))

    def made(self, tree: Path, tmp_path: Path, search: Sequence[str]) -> Clone:
        environment = {"PATH": os.pathsep.join(self.SYSTEM), "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
        who = ("-c", "user.name=A", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
        for argv in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "first")):
            subprocess.run(["git", *who, *argv], cwd=tree, env=environment, check=True)
        return Clone(tree, tmp_path / "of alice", search)

    def test_a_bad_commit_is_refused_in_the_checks_words_and_a_good_one_passes(self, clone: Clone) -> None:
        (clone.path / "etc/app/main.conf").write_text("BROKEN\n")
        said = clone.git("commit", "-qam", "bad", status=1)
        assert "1:BROKEN\nunknown directive in app\n" in said
        assert "git commit --no-verify" in said
        assert clone.commits() == 1
        (clone.path / "etc/app/main.conf").write_text("better\n")
        clone.git("commit", "-qam", "good")
        assert clone.commits() == 2
        assert sorted(path.name for path in clone.path.parent.iterdir()) == ["clone", "of alice"]

    def test_only_what_is_committed_counts(self, clone: Clone) -> None:
        (clone.path / "etc/app/main.conf").write_text("BROKEN\n")
        (clone.path / "etc/plain/x").write_text("changed\n")
        clone.git("commit", "-qm", "the other file", "etc/plain/x")
        assert clone.commits() == 2
        clone.git("add", "etc/app/main.conf")
        (clone.path / "etc/app/main.conf").write_text("mended, but not added\n")
        assert "1:BROKEN" in clone.git("commit", "-qm", "bad", status=1)

    def test_a_cluster_yaml_that_is_not_valid(self, clone: Clone) -> None:
        (clone.path / ".syncsrv/cluster.yaml").write_text("cluster: edge\naeras: {}\n")
        said = clone.git("commit", "-qam", "bad", status=1)
        assert "cluster.yaml:2:1: aeras: cannot" in said

    def test_it_works_from_a_folder_below(self, clone: Clone) -> None:
        (clone.path / "etc/app/main.conf").write_text("BROKEN\n")
        assert "1:BROKEN" in clone.git("commit", "-qam", "bad", cwd=clone.path / "etc", status=1)

    def test_without_syncsrv_it_says_what_to_do(self, tree: Path, tmp_path: Path) -> None:
        clone = self.made(tree, tmp_path, self.SYSTEM)
        (clone.path / "etc/plain/x").write_text("changed\n")
        said = clone.git("commit", "-qam", "x", status=1)
        assert "syncsrv is not installed on this machine" in said
        clone.git("commit", "--no-verify", "-qam", "x")
        assert clone.commits() == 2
