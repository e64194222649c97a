"""When the configuration of a service last changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsrv.core.freshness import Freshness
from syncsrv.plan.areas import Areas
from tests.core.corekit import Node, single


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with single(tmp_path) as node:
        yield node


def newest(fresh: Freshness, node: Node, service: str = "app") -> float | None:
    return fresh.newest_change(service, node.core.cluster, node.core.areas())


def ctime(node: Node, path: str) -> float:
    return os.lstat(node.root / path).st_ctime


def test_it_is_the_newest_file_of_the_services_areas(node: Node) -> None:
    fresh = Freshness(node.core.recorder, node.root)
    assert newest(fresh, node) == max(ctime(node, "etc/app"), ctime(node, "etc/app/app.conf"))
    assert newest(fresh, node, "nothing") is None
    node.put("/etc/app/app.conf", "two")
    before = newest(fresh, node)
    node.core.record(via="watch")
    assert newest(fresh, node) == ctime(node, "etc/app/app.conf")
    assert fresh.newest_file("app", node.core.cluster, node.core.areas()) == "/etc/app/app.conf"
    assert fresh.newest_file("nothing", node.core.cluster, node.core.areas()) == ""
    assert before is not None
    assert ctime(node, "etc/app/app.conf") >= before
    node.put("/etc/more.conf", "of no service")
    node.core.record(via="watch")
    assert newest(fresh, node) == ctime(node, "etc/app/app.conf")


def test_a_file_that_went_counts_by_its_directory(node: Node) -> None:
    fresh = Freshness(node.core.recorder, node.root)
    node.put("/etc/app/second", "s")
    node.core.record(via="watch")
    (node.root / "etc/app/second").unlink()
    assert newest(fresh, node) == ctime(node, "etc/app"), "gone before the next commit says so"
    node.core.record(via="watch")
    assert newest(fresh, node) == ctime(node, "etc/app")


def test_other_areas_are_looked_at_anew_though_no_commit_was_made(node: Node) -> None:
    fresh = Freshness(node.core.recorder, node.root)
    text = (node.etc / "cluster.yaml").read_text().replace("/etc/more.d]}", "/etc/more.d], services: [app]}").encode()
    cluster = node.core.engine.parts.read_cluster(text.replace(b"paths: [/etc/app]", b"paths: [/etc/none]"))
    assert newest(fresh, node) is not None
    assert fresh.newest_change("app", cluster, Areas.of(cluster)) == ctime(node, "etc/more.conf")


def test_a_file_that_says_what_a_service_is_is_told_apart(node: Node) -> None:
    fresh = Freshness(node.core.recorder, node.root, lambda path: path.startswith(f"{node.root}/etc/app/units/"))
    cluster, areas = node.core.cluster, node.core.areas()
    assert fresh.newest_definition("app", cluster, areas) is None
    node.put("/etc/app/units/app.service", "one")
    node.put("/etc/app/app.conf", "newer")
    node.core.record(via="watch")
    found = fresh.newest_definition("app", cluster, areas)
    assert found == (ctime(node, "etc/app/units/app.service"), "/etc/app/units/app.service")
    assert newest(fresh, node) == ctime(node, "etc/app/app.conf")
    assert fresh.newest_definition("nothing", cluster, areas) is None
