"""``syncsrv check``, as a person and as a program see it."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from syncsrv.cli.main import run

NODE = "node: fw2\nrole: backup\n"
CLUSTER = "cluster: edge\nareas: {proxy: {paths: [/etc/nginx]}}\n"


def written(directory: Path, node: str = NODE, cluster: str = CLUSTER) -> Path:
    (directory / "node.yaml").write_text(node)
    (directory / "cluster.yaml").write_text(cluster)
    return directory


def checked(capsys: pytest.CaptureFixture[str], directory: Path, *arguments: str) -> tuple[int, str]:
    status = run(["--config", str(directory), "check", *arguments])
    captured = capsys.readouterr()
    assert captured.err == ""
    return status, captured.out.replace(f"{directory}/", "").replace(str(directory), "DIR")


def as_json(capsys: pytest.CaptureFixture[str], directory: Path, *arguments: str) -> tuple[int, Any]:
    status, out = checked(capsys, directory, "--json", *arguments)
    return status, json.loads(out)


def test_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path)
    assert checked(capsys, tmp_path) == (0, "The configuration in DIR is well.\n")
    assert as_json(capsys, tmp_path) == (0, {"problems": [], "ok": True, "schedules": []})


def test_the_next_three_runs_of_each_schedule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (
        '  - {do: sync, cron: "0 3 * * 7", soak: 6h, owner: alice}\n  - {do: sync, cron: "5 4 29 2 *", owner: bob}\n'
    )
    written(tmp_path, cluster=f"{CLUSTER}schedules:\n{lines}")
    status, out = checked(capsys, tmp_path)
    assert status == 0
    well, head, first, second = out.splitlines()
    assert well.endswith("is well.")
    assert head == "Schedules, once an admin has turned them on on the master, next run at:"
    days = re.fullmatch(r"  sync 1 \(0 3 \* \* 7\) for alice: (\S+)T03:00:00Z, (\S+)T03:00:00Z, (\S+)T03:00:00Z", first)
    assert days is not None
    assert [f"{date.fromisoformat(day):%A}" for day in days.groups()] == ["Sunday"] * 3
    assert len(re.findall(r"-02-29T04:05:00Z", second)) == 3
    answer = as_json(capsys, tmp_path)[1]
    assert [(one["name"], one["cron"], one["soak_s"], one["owner"]) for one in answer["schedules"]] == [
        ("sync 1", "0 3 * * 7", 21600.0, "alice"),
        ("sync 2", "5 4 29 2 *", 0.0, "bob"),
    ]
    assert [len(one["next"]) for one in answer["schedules"]] == [3, 3]


def test_problems_of_both_files_in_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, NODE + "rol: x\n", "cluster: edge\nareas:\n  a: {paths: [/etc, /etc/x]}\n  b: {paths: [/opt]}\n")
    assert checked(capsys, tmp_path) == (
        2,
        "cluster.yaml:3:21: areas.a.paths.1: cannot be managed twice: /etc/x lies inside /etc of area a\n"
        "cluster.yaml:4:15: areas.b.paths.0: warning: /opt is outside what node.yaml allows to be written here (/etc): "
        "a sync of it is refused\n"
        "node.yaml:3:1: rol: cannot be understood: there is no key rol here; did you mean role?\n"
        "2 problems, 1 warning\n",
    )
    status, answer = as_json(capsys, tmp_path)
    assert (status, answer["ok"]) == (2, False)
    assert answer["problems"][0] == {
        "file": "cluster.yaml",
        "line": 3,
        "column": 21,
        "key": "areas.a.paths.1",
        "message": "cannot be managed twice: /etc/x lies inside /etc of area a",
        "severity": "error",
    }
    assert [one["severity"] for one in answer["problems"]] == ["error", "warning", "error"]


def test_warnings_alone_are_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, cluster="cluster: edge\nareas: {a: {paths: [/opt]}}\n")
    status, out = checked(capsys, tmp_path)
    assert status == 0
    assert out.endswith("The configuration in DIR is well, 1 warning.\n")
    assert as_json(capsys, tmp_path)[1]["ok"] is True


def test_a_new_cluster_yaml_with_this_nodes_other_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, NODE + "variables: {here: x}\n")
    new = tmp_path / "new.yaml"
    new.write_text(CLUSTER + "overrides: [{path: /etc/nginx/f, match: (a), set: '${here}${there}'}]\n")
    assert checked(capsys, tmp_path, "--cluster", str(new)) == (
        2,
        "new.yaml:3:51: overrides.0.set: cannot be filled in: node.yaml has no there under variables; "
        "did you mean here?\n1 problem\n",
    )
    assert checked(capsys, tmp_path)[0] == 0


def test_a_relative_file_is_taken_from_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path)
    (tmp_path / "new.yaml").write_text("[")
    monkeypatch.chdir(tmp_path)
    status, out = checked(capsys, tmp_path, "--cluster", "new.yaml")
    assert status == 2
    assert out.startswith("new.yaml:")


def test_what_is_not_there_is_a_problem_like_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, answer = as_json(capsys, tmp_path)
    assert (status, answer["ok"]) == (2, False)
    assert [(one["file"], one["line"], one["column"], one["key"]) for one in answer["problems"]] == [
        ("cluster.yaml", 1, 1, ""),
        ("node.yaml", 1, 1, ""),
    ]


def test_a_problem_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, NODE + '"\\x1b[2J": 1\n')
    status, out = checked(capsys, tmp_path)
    assert status == 2
    assert "\x1b" not in out
