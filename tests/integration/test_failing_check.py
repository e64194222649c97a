"""Checks that do not do what a check should: the backup stays as it is, and is told what the check said."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsrv.control.ask import Client
from tests.integration.faults import ended, equal, followed, running, sound, untouched
from tests.integration.pair import CHECK, Answer, Pair
from tests.support.wait import until


@pytest.fixture(scope="module")
def lab() -> Iterator[Pair]:
    with running() as pair:
        yield pair
        script(pair).write_text(CHECK)
        equal(pair)
        sound(pair.fw1, pair.fw2)


@pytest.fixture(autouse=True)
def _edited(lab: Pair, request: pytest.FixtureRequest) -> None:
    """Something to synchronize, so that the check of its area runs."""
    lab.fw1.write("/etc/proxy/edited", request.node.name)


def script(pair: Pair) -> Path:
    """The program that is the check of the area proxy, on both nodes."""
    return pair.fw1.home.parent / "check"


def checked(pair: Pair, text: str, *options: str) -> Answer:
    """Synchronize with a check of that text."""
    script(pair).write_text(f"#!/bin/sh\n{text}\n")
    with untouched(pair.fw2, new_tag=True):
        return pair.fw1.ask("sync", *options)


def only_step(answer: Answer) -> dict[str, object]:
    (step,) = (one for one in answer.data["nodes"]["fw2"]["steps"] if one["name"] == "check proxy")
    return dict(step)


def test_its_own_words_and_its_exit_status_are_told(lab: Pair) -> None:
    answer = checked(lab, "echo on stdout; echo on stderr >&2; exit 7")
    ended(answer, "cannot apply area proxy", str(script(lab)), "exited with 7", "on stdout\non stderr")
    assert only_step(answer)["result"] == "failed"


def test_a_flood_is_cut(lab: Pair) -> None:
    answer = checked(lab, "echo first; yes flood | head -c 30000000; echo last; exit 1")
    found = ended(answer, "exited with 1", "last")
    assert len(found["reason"]) < 8000
    output = str(only_step(answer)["output"])
    assert output.startswith("first\n")
    assert "\nlast" in output[-200:]
    assert "output dropped" in output
    assert len(output) < 66_000


def test_a_signal_is_told(lab: Pair) -> None:
    ended(checked(lab, "kill -SEGV $$"), "was ended by SIGSEGV")


def test_one_that_is_no_program_is_told_with_what_to_install(lab: Pair) -> None:
    text = script(lab).read_bytes()
    script(lab).unlink()
    try:
        with untouched(lab.fw2, new_tag=True):
            found = ended(lab.fw1.ask("sync"), str(script(lab)), "cannot be run (No such file or directory)")
        assert f"install {script(lab)} on this node" in found["remedy"]
    finally:
        script(lab).write_bytes(text)
        script(lab).chmod(0o755)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mount namespaces")
def test_what_it_writes_is_gone_and_what_it_deletes_is_there(lab: Pair) -> None:
    fw2, outside = lab.fw2, lab.fw1.home.parent
    made = [outside / "made", *(Path(folder, "made-by-a-check") for folder in ("/var/tmp", "/run", "/etc"))]
    attempts = [
        "echo x > $1/made",
        f"echo x > {fw2.file('/etc/dns/zone')}",
        f"echo x > {fw2.root}/made",
        *(f"echo x > {place}" for place in made),
        f"ls {fw2.state} {fw2.etc}",
        f"rm -rf {fw2.root}/etc {fw2.state}",
        "exit 1",
    ]
    answer = checked(lab, "\n".join(attempts))
    ended(answer, "exited with 1")
    assert "config.git" not in str(only_step(answer)["output"]), "our own folders are empty to it"
    assert not any(place.exists() for place in made)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mount namespaces")
def test_what_it_leaves_running_ends_with_it(lab: Pair) -> None:
    checked(lab, "sleep 27182 & exit 1")
    assert sleeping(27182) == []


def test_one_that_hangs_is_ended_by_an_abort_at_once(lab: Pair) -> None:
    script(lab).write_text("#!/bin/sh\nsleep 31415\n")
    with untouched(lab.fw2, new_tag=True):
        job = lab.fw1.do("sync", "--no-wait")["job"]
        until(lambda: sleeping(31415), deadline_s=20, what="the check to run")
        with Client(lab.fw1.home / "run" / "core.sock") as core:
            core.call("abort", {"job": job, "after": 0, "wait_s": 0.0}, deadline_s=10)
        result = followed(lab.fw1, job, deadline_s=15)["fw2"]
    assert result["result"] == "failed"
    assert "aborted it" in result["reason"]
    assert result["remedy"]
    assert sleeping(31415) == []
    assert lab.fw2.status()["sync"]["state"] == "failed"


def sleeping(seconds: int) -> list[str]:
    """Processes that sleep for so long, in whatever namespace."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if process.read_bytes() == b"sleep\0%d\0" % seconds:
                found.append(process.parent.name)
        except OSError:
            continue  # it ended meanwhile
    return found
