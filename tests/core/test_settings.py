"""The configuration in force, value by value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsrv.config.effective import CHANGED
from syncsrv.control.shapes_page import SettingInfo, SettingsReply
from tests.core.corekit import CLUSTER, Node, single


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with single(tmp_path, cluster=CLUSTER) as node:
        yield node


def settings(node: Node) -> tuple[dict[tuple[str, str], SettingInfo], tuple[str, ...]]:
    reply = node.ask("settings")
    assert isinstance(reply, SettingsReply)
    return {(one.file, one.key): one for one in reply.settings}, reply.problems


def line_of(file: Path, text: str) -> int:
    return next(number for number, line in enumerate(file.read_text().splitlines(), 1) if text in line)


def test_each_value_says_where_it_stands_or_that_it_is_a_default(node: Node) -> None:
    found, problems = settings(node)
    node_yaml, cluster_yaml = node.etc / "node.yaml", node.etc / "cluster.yaml"
    role = found["node.yaml", "role"]
    assert (role.value, role.line, role.note) == ("master", line_of(node_yaml, "role: master"), "")
    assert found["node.yaml", "commands"].line in (0, line_of(node_yaml, "commands"))
    excluded = found["cluster.yaml", "areas.app.exclude"]
    assert (excluded.value, excluded.line) == ("[*.bak]", line_of(cluster_yaml, "exclude:"))
    within = found["cluster.yaml", "services.app.health.within"]
    assert (within.value, within.line) == ("2s", line_of(cluster_yaml, "within: 2"))
    limit = found["cluster.yaml", "areas.app.limit"]
    assert (limit.value, limit.line) == ("16MiB", 0)
    assert found["cluster.yaml", "schedules"].value == "[]"
    assert problems == ()


def test_what_was_changed_and_not_read_again_is_said(node: Node) -> None:
    with (node.etc / "node.yaml").open("a") as file:
        file.write("\ncommands: pinned\nvariables: {here: x}\n")
    found, problems = settings(node)
    assert found["node.yaml", "commands"] == SettingInfo("commands", "guarded", "node.yaml", 0, CHANGED)
    assert found["node.yaml", "role"].note == ""
    assert problems == ("node.yaml says something else than what is in force; SIGHUP to serve or core takes it over",)
    node.app.reload()
    found, problems = settings(node)
    assert found["node.yaml", "commands"].value == "pinned"
    assert problems == ()


def test_a_broken_file_leaves_the_values_in_force_and_says_why(node: Node) -> None:
    before, _ = settings(node)
    (node.etc / "cluster.yaml").write_text("areas: [")
    (node.etc / "node.yaml").write_text("node: [")
    node.core.record(via="watch")
    node.app.reload_if_valid()
    found, problems = settings(node)
    assert {key: one.value for key, one in found.items()} == {key: one.value for key, one in before.items()}
    assert found["cluster.yaml", "areas.app.paths"].note == CHANGED
    assert any("cluster.yaml is not in force" in one for one in problems)
    assert any("the configuration was not read again" in one for one in problems)


def test_no_secret_is_shown(node: Node) -> None:
    (node.etc / "secrets.yaml").write_text("# ours\ncarp_lan: hunter2\nunused: tiger3\n")
    (node.etc / "secrets.yaml").chmod(0o600)
    with (node.etc / "node.yaml").open("a") as file:
        file.write("\ninterfaces: {lan: eth0}\n")
    with (node.etc / "cluster.yaml").open("a") as file:
        file.write(
            "vips:\n"
            "  - {vhid: 1, interface: lan, addresses: [192.0.2.10/24], password: !secret carp_lan}\n"
            "  - {vhid: 2, interface: lan, addresses: [192.0.2.11/24], password: lion4}\n"
            "  - {vhid: 3, interface: lan, addresses: [192.0.2.12/24]}\n"
        )
    node.app.reload()
    found, problems = settings(node)
    assert found["cluster.yaml", "vips.0.password"].value == "set (secrets.yaml:2)"
    assert found["cluster.yaml", "vips.1.password"].value == "set"
    assert found["cluster.yaml", "vips.2.password"].value == "not set"
    assert found["secrets.yaml", "unused"] == SettingInfo("unused", "set", "secrets.yaml", 3)
    text = repr((found, problems))
    assert not any(secret in text for secret in ("hunter2", "tiger3", "lion4"))
    (node.etc / "secrets.yaml").write_text("carp_lan: other5\n")
    found, problems = settings(node)
    assert found["secrets.yaml", "carp_lan"].note == CHANGED
    assert "other5" not in repr((found, problems))
    assert any(one.startswith("secrets.yaml holds something else") for one in problems)
