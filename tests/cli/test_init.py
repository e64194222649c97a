"""``syncsrv init``: a node that is whole, or none."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from syncsrv.cli.init import proposed_listen
from syncsrv.cli.main import run
from syncsrv.config.load import load
from syncsrv.config.values import parse_public_key, split_listen
from syncsrv.store.signing import Signer


def init(
    capsys: pytest.CaptureFixture[str], top: Path, *more: str, name: str = "fw1", role: str = "master"
) -> tuple[int, Any]:
    """Run it; the JSON answer, or the error's."""
    status = run(
        ["--config", str(top / "etc"), "init", "--node", name, "--role", role, "--root", str(top / "root"),
         "--state-dir", str(top / "state"), "--run-dir", str(top / "run"), "--json", *more]
    )  # fmt: skip
    captured = capsys.readouterr()
    assert captured.err == ""
    return status, json.loads(captured.out)


def modes(top: Path) -> dict[str, int]:
    return {str(path.relative_to(top)): stat.S_IMODE(path.lstat().st_mode) for path in top.rglob("*")}


def tree(top: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(top)): path.read_bytes() if path.is_file() else None for path in top.rglob("*")}


def test_what_a_node_is_made_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, answer = init(capsys, tmp_path, "--ssh", "192.0.2.1:8022", "--web", "127.0.0.1:9443")
    assert status == 0
    assert {key: answer[key] for key in ("node", "role", "config", "state_dir", "user")} == {
        "node": "fw1",
        "role": "master",
        "config": str(tmp_path / "etc"),
        "state_dir": str(tmp_path / "state"),
        "user": "admin",
    }
    assert len(answer["password"]) >= 12
    made = modes(tmp_path)
    assert made["etc"] == made["state"] == made["state/config.git"] == 0o700
    assert made["etc/node.yaml"] == made["etc/cluster.yaml"] == made["state/key"] == made["state/people.json"] == 0o600
    assert not any(mode & 0o077 for mode in made.values())
    assert not [name for name in made if name.endswith((".new", ".tmp"))]
    assert answer["password"].encode() not in (tmp_path / "state/people.json").read_bytes()
    configuration = load(tmp_path / "etc")
    assert configuration.warnings == ()
    node = configuration.node
    assert (node.node, node.root, node.state_dir, node.run_dir) == (
        "fw1", tmp_path / "root", tmp_path / "state", tmp_path / "run",
    )  # fmt: skip
    assert (node.ssh.listen, node.web.listen) == ("192.0.2.1:8022", "127.0.0.1:9443")
    assert configuration.cluster.areas == {}
    parse_public_key(answer["key"])
    assert answer["key"].endswith(" syncsrv-fw1")
    assert answer["key"] == Signer.load(tmp_path / "state/key", "syncsrv-fw1").public_line


def test_stock_tools_read_the_key_and_the_repository(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, answer = init(capsys, tmp_path)
    line = subprocess.run(
        ["ssh-keygen", "-y", "-f", tmp_path / "state/key"], capture_output=True, text=True, check=True
    )
    assert answer["key"].split()[:2] == line.stdout.split()[:2]
    subprocess.run(["git", "-C", tmp_path / "state/config.git", "fsck", "--strict"], capture_output=True, check=True)


@pytest.mark.parametrize("name", ["node.yaml", "cluster.yaml"])
def test_every_example_that_is_commented_out_is_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    init(capsys, tmp_path)
    for file in ("node.yaml", name):
        path = tmp_path / "etc" / file
        path.write_text(re.sub(r"(?m)^( *)#(?! \S)(?=\S|  )", r"\1", path.read_text()))
    secrets = tmp_path / "etc/secrets.yaml"
    secrets.write_text("carp_lan: something\n")
    secrets.chmod(0o600)
    configuration = load(tmp_path / "etc")
    assert configuration.warnings == ()
    assert "fw2" in configuration.node.peers
    assert configuration.node.interfaces["sync"] == "eth2"
    assert configuration.node.ssh.from_ == ("192.0.2.0/24",)
    if name == "cluster.yaml":
        cluster = configuration.cluster
        assert cluster.services["nginx"].health is not None
        assert len(cluster.areas) == len(cluster.vips) == len(cluster.schedules) == 1
        assert len(cluster.overrides) == 2


def test_a_configuration_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init(capsys, tmp_path)
    before = tree(tmp_path)
    status, answer = init(capsys, tmp_path, name="other", role="backup")
    assert status == 1
    assert answer["error"]["code"] == "init"
    assert answer["error"]["message"] == f"cannot make a node in {tmp_path}/etc: there is a node.yaml already"
    assert "--config" in answer["error"]["remedy"]
    assert tree(tmp_path) == before


def test_a_cluster_yaml_that_was_copied_here_first_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/cluster.yaml").write_text("cluster: ours\n")
    assert init(capsys, tmp_path, role="backup")[0] == 0
    assert load(tmp_path / "etc").cluster.cluster == "ours"


def test_an_init_that_was_cut_off_can_be_run_again_and_keeps_the_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, first = init(capsys, tmp_path)
    (tmp_path / "etc/node.yaml").unlink()
    status, second = init(capsys, tmp_path)
    assert status == 0
    assert second["key"] == first["key"]
    assert second["password"] is None
    assert load(tmp_path / "etc").node.node == "fw1"


@pytest.mark.parametrize(
    "more, message",
    [
        (["--node", "FW 1"], "cannot make a node: node cannot be 'FW 1'"),
        (["--node", ""], "cannot make a node: node cannot be ''"),
        (["--ssh", "localhost:22"], "cannot make a node: ssh.listen cannot be 'localhost:22'"),
        (["--ssh", "192.0.2.1"], "cannot make a node: ssh.listen cannot be '192.0.2.1'"),
        (["--web", "127.0.0.1:0"], "cannot make a node: web.listen cannot be '127.0.0.1:0'"),
        (["--web", "127.0.0.1:7", "--ssh", "127.0.0.1:7"], "cannot make a node: web.listen cannot be 127.0.0.1:7"),
    ],
)
def test_a_value_that_makes_no_sense_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    status, answer = init(capsys, tmp_path, *more)
    assert status == 2
    assert answer["error"]["code"] == "usage"
    assert answer["error"]["message"].startswith(message)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("name", ["true", "17", "1e3", "null", "0x1f"])
def test_names_that_yaml_takes_for_something_else_stay_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert init(capsys, tmp_path, name=name)[0] == 0
    assert load(tmp_path / "etc").node.node == name


def test_odd_directories(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    top = tmp_path / "a: #b 'é'"
    assert init(capsys, top)[0] == 0
    assert load(top / "etc").node.state_dir == top / "state"


def test_a_state_directory_that_others_can_look_into_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").mkdir(0o755)
    (tmp_path / "state/other").write_text("x")
    status, answer = init(capsys, tmp_path)
    assert status == 1
    assert answer["error"]["message"] == f"cannot keep keys in {tmp_path}/state: others can look into it"
    assert answer["error"]["remedy"] == f"run `chmod 700 {tmp_path}/state`"
    (tmp_path / "state/other").unlink()
    assert init(capsys, tmp_path)[0] == 0
    assert modes(tmp_path)["state"] == 0o700


def test_a_configuration_directory_in_use_keeps_its_mode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "etc").mkdir(0o755)
    (tmp_path / "etc/other").write_text("x")
    assert init(capsys, tmp_path)[0] == 0
    assert modes(tmp_path)["etc"] == 0o755


@pytest.mark.parametrize("name", ["etc", "state"])
def test_a_file_in_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / name).write_text("x")
    status, answer = init(capsys, tmp_path)
    assert status == 1
    assert answer["error"]["message"] == f"cannot use {tmp_path}/{name}: it is not a directory"
    assert not (tmp_path / "etc/node.yaml").exists()


def test_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    argv = [
        sys.executable,
        "-m",
        "syncsrv",
        "--json",
        "--config",
        "/proc/etc",
        "init",
        "--node",
        "a",
        "--role",
        "master",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert error["message"].startswith("cannot make /proc/etc: ")
    assert "--config" in error["remedy"]


def test_what_a_person_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--config", str(tmp_path / "etc"), "init", "--node", "fw1", "--role", "backup"]
    argv += ["--state-dir", str(tmp_path / "state"), "--ssh", "127.0.0.1:8022"]
    assert run(argv) == 0
    out = capsys.readouterr().out
    key = Signer.load(tmp_path / "state/key", "syncsrv-fw1").public_line
    assert f"Made the backup fw1: configuration in {tmp_path}/etc, state in {tmp_path}/state." in out
    assert key in out
    assert re.search(r"user is admin, password \S{12,}; it is shown only now", out)
    assert "Peers cannot reach it yet" in out
    assert "syncsrv check" in out
    (tmp_path / "etc/node.yaml").unlink()
    assert run([*argv, "--ssh", "192.0.2.1:8022"]) == 0
    out = capsys.readouterr().out
    assert "syncsrv user passwd admin" in out
    assert "Peers cannot reach it yet" not in out


def test_the_proposed_address_is_one_to_listen_on() -> None:
    assert split_listen(proposed_listen())[1] == 8022


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_address_of_the_interface_between_the_nodes_is_proposed() -> None:
    code = "from syncsrv.cli.init import proposed_listen; print(proposed_listen())"
    script = (
        "ip link add pfsync0 type veth peer name other && ip link set pfsync0 up && "
        f"'{sys.executable}' -c '{code}' && ip addr add 192.0.2.77/24 dev pfsync0 && '{sys.executable}' -c '{code}'"
    )
    done = subprocess.run(["unshare", "--net", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["127.0.0.1:8022", "192.0.2.77:8022"], done.stderr
