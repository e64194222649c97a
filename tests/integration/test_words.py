"""What a person types wrong is said at once, with what to do; nothing is started for it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.faults import running
from tests.integration.pair import Pair
from tests.support.wait import until

SERVICE = """\
services:
  daemon: {manager: command, start: ["true"], stop: ["true"], status: ["false"]}
"""


@pytest.fixture(scope="module")
def well() -> Iterator[Pair]:
    """A synchronized pair with a service, to be left as it was found."""
    with running() as pair:
        with (pair.fw1.etc / "cluster.yaml").open("a") as file:
            file.write(SERVICE)
        pair.fw1.do("commit", "-m", "a service")
        yield pair


def test_names_that_do_not_exist_are_usage_errors_and_say_which_do(well: Pair, tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\0")
    before = well.fw1.git("for-each-ref")
    for words, message, remedy in (
        (("sync", "--force", "drfit"), "cannot force drfit: there is no guard of that name", "did you mean drift?"),
        (
            ("rollback", "HEAD", "--force", "x"),
            "cannot force x: there is no guard of that name",
            "the guards are mass-",
        ),
        (("sync", "--rev", "nope"), "cannot find the commit 'nope': there is none of that name", "`syncsrv log`"),
        (
            ("sync", "--area", "nope"),
            "cannot synchronize area nope: cluster.yaml has none of that name",
            "the areas are proxy, dns, cluster",
        ),
        (("sync", "--rev", "HEAD", "--area", "nope"), "cannot synchronize area nope: ", "the areas are proxy, dns"),
        (
            ("services", "daemon"),
            "cannot find node daemon: it is a service",
            "say what to do: `services ACTION daemon`",
        ),
        (("services", "fw9"), "cannot find node fw9: no such peer", "the peers are fw2; the actions are status, start"),
        (("services", "status", "x"), "cannot find service x: fw1 has none of that name", "services are: daemon"),
        (("services", "fw2", "explode"), "cannot explode services: there is no such action", "it is one of status, "),
        (
            ("user", "add", "eve", "--role", "viewer", "--ssh-key", str(binary)),
            "cannot read the public key",
            "give one",
        ),
    ):
        answer = well.fw1.ask(*words)
        assert answer.status == 2, answer.text
        assert answer.data["error"]["message"].startswith(message), answer.text
        assert answer.data["error"]["remedy"].startswith(remedy), answer.text
    assert well.fw1.git("for-each-ref") == before
    assert well.fw1.told("log", "/nowhere") == "No commit of /nowhere: it is in no area, or was never there.\n"
    assert well.fw1.told("diff", "HEAD", "HEAD") == "Nothing differs.\n"


def test_an_area_that_was_saved_a_moment_ago_can_be_asked_for(well: Pair) -> None:
    cluster = well.fw1.etc / "cluster.yaml"
    before = cluster.read_text()
    cluster.write_text(before.replace("  dns:\n", "  later:\n    paths: [/etc/later]\n  dns:\n"))
    answer = well.fw1.ask("sync", "--area", "later", "--area", "cluster", "--dry-run")
    cluster.write_text(before)
    well.fw1.do("commit")
    assert answer.status in {0, 4}, answer.text


def test_a_user_is_shown_alone_where_one_was_changed(well: Pair) -> None:
    assert well.fw1.told("user", "add", "bob", "--role", "viewer").split() == [
        "bob", "viewer", "no", "password", "0", "keys", "0", "tokens",
    ]  # fmt: skip
    assert well.fw1.told("user", "remove", "bob") == "bob is removed.\n"


def test_a_reload_that_fails_is_told_by_status_until_one_succeeds(well: Pair) -> None:
    file = well.fw2.etc / "node.yaml"
    before = file.read_text()
    file.write_text(before + "bogus: 1\n")
    assert well.fw2.process is not None
    well.fw2.process.send_signal(signal.SIGHUP)
    until(lambda: any("bogus" in said for said in well.fw2.status()["notices"]), what="the failed reload")
    (notice,) = well.fw2.status()["notices"]
    assert notice.startswith("the configuration was not read again, the old one is in force: ")
    file.write_text(before)
    well.fw2.process.send_signal(signal.SIGHUP)
    until(lambda: not well.fw2.status()["notices"], what="the good reload")
