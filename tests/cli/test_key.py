"""``syncsrv key``: the line that another node's node.yaml needs; and the fingerprint of the page's certificate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from syncsrv.cli.main import run
from syncsrv.clock import SystemClock
from syncsrv.core.certificate import own_certificate


def init(capsys: pytest.CaptureFixture[str], top: Path) -> Any:
    """Make a node; what init answers."""
    argv = ["--config", str(top / "etc"), "init", "--node", "fw1", "--role", "master", "--json"]
    assert run([*argv, "--state-dir", str(top / "state")]) == 0
    return json.loads(capsys.readouterr().out)


def test_key_prints_the_line_that_init_showed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = init(capsys, tmp_path)
    assert run(["--config", str(tmp_path / "etc"), "key"]) == 0
    assert capsys.readouterr().out == f"{answer['key']}\n"
    assert run(["--config", str(tmp_path / "etc"), "key", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"key": answer["key"]}
    (tmp_path / "etc/cluster.yaml").write_text("broken: [")
    assert run(["--config", str(tmp_path / "etc"), "key"]) == 0


def test_key_of_a_node_that_lost_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init(capsys, tmp_path)
    (tmp_path / "state/key").unlink()
    assert run(["--config", str(tmp_path / "etc"), "key", "--json"]) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["message"].startswith(f"cannot use the key {tmp_path}/state/key")
    assert error["remedy"]


def test_key_of_a_node_that_was_never_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--config", str(tmp_path), "key"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"{tmp_path}/node.yaml:1:1: cannot be read: there is no such file")


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init(capsys, tmp_path)
    (tmp_path / "state/key").chmod(0o644)
    assert run(["--config", str(tmp_path / "etc"), "key"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "cannot use the key" in captured.err


def test_the_fingerprint_of_the_page_s_certificate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init(capsys, tmp_path)
    ask = ["--config", str(tmp_path / "etc"), "web", "--fingerprint"]
    assert run(ask) == 1
    assert "was not made yet; start `syncsrv serve`, which makes it" in capsys.readouterr().err
    made = own_certificate(tmp_path / "state/web/page.pem", ("fw1",), SystemClock().utc())
    assert run(ask) == 0
    assert capsys.readouterr().out == f"{made.fingerprint}\n"
    assert run([*ask, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"fingerprint": made.fingerprint}
    node = tmp_path / "etc/node.yaml"
    plain = node.read_text().partition("\nweb:")[0]
    page = tmp_path / "state/web/page.pem"
    node.write_text(f"{plain}\nweb: {{tls: {{cert: {page}, key: {page}}}}}\n")
    assert run(ask) == 0
    assert capsys.readouterr().out == f"{made.fingerprint}\n"
    node.write_text(f"{plain}\nweb: {{tls: none}}\n")
    assert run(ask) == 2
    assert "it has none" in capsys.readouterr().err
