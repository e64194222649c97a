"""How far behind: by content, and in commits that touch the areas."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsrv.core.lag import Lag
from syncsrv.plan.areas import Areas
from tests.core.corekit import Node, single


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with single(tmp_path) as node:
        yield node


@pytest.fixture
def lag(node: Node) -> Lag:
    return Lag(node.core.store, node.core.history)


def save(node: Node, path: str, text: str) -> str:
    node.put(path, text)
    commit = node.core.record(via="watch").commit
    assert commit is not None
    return commit


def test_content_decides_not_the_number_of_commits(node: Node, lag: Lag) -> None:
    areas = node.core.areas()
    first = node.core.recorder.head() or ""
    save(node, "/etc/app/app.conf", "two")
    back = save(node, "/etc/app/app.conf", "one")
    applied = {"app": first, "more": first, "cluster": first}
    assert lag.differing(applied, back, areas) == ()
    assert lag.changed(first, back, "app", areas) == ()
    assert lag.commits_since(first, back, areas, areas.names) == 2
    third = save(node, "/etc/app/app.conf", "three")
    assert lag.differing(applied, third, areas) == ("app",)
    assert lag.changed(first, third, "app", areas) == (b"etc/app/app.conf",)
    assert lag.changed(first, third, "more", areas) == ()
    assert lag.differing({"app": third, "more": first}, third, areas) == ("cluster",)


def test_an_area_that_was_never_applied_differs_when_there_is_anything_in_it(node: Node, lag: Lag) -> None:
    head = node.core.recorder.head() or ""
    text = (node.etc / "cluster.yaml").read_text()
    wider = text.replace("areas:\n", "areas:\n  empty: {paths: [/etc/nothing]}\n").encode()
    areas = Areas.of(node.core.engine.parts.read_cluster(wider))
    assert lag.differing({}, head, areas) == ("app", "more", "cluster")
    assert lag.differing(dict.fromkeys(areas.names, "f" * 40), head, areas) == areas.names, "what it has is not known"


def test_only_commits_that_touch_the_areas_count(node: Node, lag: Lag) -> None:
    areas = node.core.areas()
    first = node.core.recorder.head() or ""
    save(node, "/etc/more.conf", "two")
    head = save(node, "/etc/app/app.conf", "two")
    assert lag.commits_since(first, head, areas, ("app",)) == 1
    assert lag.commits_since(first, head, areas, ("app", "more")) == 2
    assert lag.commits_since(head, head, areas, areas.names) == 0
    assert lag.commits_since(None, head, areas, ("more",)) == 2


def test_answers_are_for_the_areas_that_were_asked_about(node: Node, lag: Lag) -> None:
    first = node.core.recorder.head() or ""
    head = save(node, "/etc/app/app.conf", "two")
    assert lag.changed(first, head, "app", node.core.areas()) == (b"etc/app/app.conf",)
    assert lag.commits_since(first, head, node.core.areas(), ("app",)) == 1
    text = (node.etc / "cluster.yaml").read_text().replace("paths: [/etc/app]", "paths: [/etc/other]").encode()
    redrawn = Areas.of(node.core.engine.parts.read_cluster(text))
    assert lag.changed(first, head, "app", redrawn) == ()
    assert lag.commits_since(first, head, redrawn, ("app",)) == 0
