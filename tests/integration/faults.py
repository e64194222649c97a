"""What every fault has to leave: a clear error of the contract's shape, an untouched disk, two sound repositories."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from syncsrv.control.ask import Client
from tests.integration.pair import CLUSTER, Answer, Node, Pair, end_pair, listing, make_pair, start_pair
from tests.support.wait import until

RESULT = {"result", "reason", "remedy", "guards", "steps"}
STEP = {"name", "result", "seconds", "output"}


@contextlib.contextmanager
def running(cluster: str = CLUSTER, prepare: Callable[[Pair], None] | None = None) -> Iterator[Pair]:
    """A running pair, synchronized once, for all tests of a module.

    Args:
        cluster: the text of cluster.yaml.
        prepare: called before the nodes start.
    """
    home = Path(tempfile.mkdtemp(prefix="s-", dir="/tmp")).resolve()
    pair = make_pair(home, cluster)
    pair.fw1.write("/etc/proxy/main.conf", "listen 80\n")
    pair.fw1.write("/etc/dns/zone", "a 192.0.2.1\n")
    if prepare is not None:
        prepare(pair)
    try:
        start_pair(pair)
        assert pair.synced("--reason", "first")["result"] == "done"
        yield pair
    finally:
        end_pair(pair)
        shutil.rmtree(home)


@contextlib.contextmanager
def untouched(node: Node, *, new_tag: bool = False) -> Iterator[None]:
    """What happens inside changes neither the node's managed files, nor its refs, nor cluster.yaml.

    Args:
        node: which.
        new_tag: the tag itself is sound, and is kept though what it tags is not applied.
    """
    before = kept(node)
    yield
    after = kept(node)
    if new_tag:
        *others, newest = after["refs"].splitlines(keepends=True)
        after["refs"] = "".join(others)
        assert "refs/tags/sync/" in newest
    assert after == before


def kept(node: Node) -> dict[str, Any]:
    """All that a refused sync has to leave as it is."""
    return {
        "disk": listing(node.root),
        "times": {path: path.lstat().st_ctime_ns for path in node.root.rglob("*")},
        "cluster.yaml": (node.etc / "cluster.yaml").read_bytes(),
        "refs": node.git("for-each-ref", "refs/syncsrv/known-good", "refs/syncsrv/job", "refs/heads", "refs/tags"),
        "applied": node.status()["sync"]["applied_tag"],
    }


def ended(
    answer: Answer,
    *words: str,
    status: int = 1,
    result: str = "failed",
    node: str = "fw2",
    guards: tuple[str, ...] = (),
) -> dict[str, Any]:
    """A run that did not succeed, in the contract's shape, with a sentence and a remedy; the node's result.

    Args:
        answer: of the command line.
        words: what the reason has to name.
        status: the exit status.
        result: the node's.
        node: whose result is meant.
        guards: those that fired.
    """
    assert answer.data is not None, answer.text
    assert "nodes" in answer.data, answer.text
    assert set(answer.data) == {"job", "tag", "nodes"}
    found: dict[str, Any] = answer.data["nodes"][node]
    assert set(found) == RESULT
    assert all(set(step) == STEP for step in found["steps"])
    assert (answer.status, found["result"]) == (status, result), answer.text
    assert tuple(found["guards"]) == guards
    for word in words:
        assert word in found["reason"], f"{word!r} is not in {found['reason']!r}"
    if not guards:
        assert found["reason"].startswith("cannot "), found["reason"]
    assert found["remedy"], found["reason"]
    return found


def failed(answer: Answer, code: str, *words: str, status: int = 1) -> dict[str, str]:
    """A command that failed as a whole: the contract's error, which names the words."""
    assert answer.data is not None, answer.text
    assert set(answer.data) == {"error"}, answer.text
    error: dict[str, str] = answer.data["error"]
    assert set(error) == {"code", "message", "remedy"}
    assert (answer.status, error["code"]) == (status, code), answer.text
    for word in words:
        assert word in error["message"] + " " + error["remedy"], f"{word!r} is not in {error}"
    return error


def followed(node: Node, job: str, deadline_s: float = 60) -> dict[str, Any]:
    """The result of a job that was not waited for, per node."""
    with Client(node.home / "run" / "core.sock") as core:

        def ended() -> dict[str, Any]:
            reply = core.call("job", {"job": job, "after": 0, "wait_s": 1.0}, deadline_s=10)
            return dict(reply["nodes"]) if reply["state"] != "running" else {}

        return until(ended, deadline_s, what=f"job {job} to end")


def sound(*nodes: Node) -> None:
    """Nothing was left behind, nothing broke unexpectedly, the repository is whole."""
    for node in nodes:
        node.git("fsck", "--strict")
        assert "Traceback" not in node.log.read_text(errors="replace"), node.tail(80)
        assert list(node.root.rglob(".syncsrv-*")) == []
        assert not (node.state / "journal.json").exists()
        refs = node.git("for-each-ref", "--format=%(refname)")
        assert "refs/syncsrv/job/" not in refs
        assert "refs/syncsrv/quarantine/" not in refs


def equal(pair: Pair, *words: str) -> None:
    """A sync works again and brings both to the same."""
    pair.synced(*words)
    assert listing(pair.fw1.root) == listing(pair.fw2.root)
    until(lambda: pair.fw2.status()["sync"]["state"] == "in_sync", what=f"in_sync: {pair.fw2.status()['sync']}")
