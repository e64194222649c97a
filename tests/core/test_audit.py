"""The trail read back: what it says, filtered and paged, and where it cannot be trusted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.control.shapes import SyncRequest
from syncsrv.control.shapes_page import AuditReply, AuditRequest, ReceiptInfo
from syncsrv.control.shapes_people import PasswordRequest, TokenReply, UserAddRequest, UserRequest
from syncsrv.control.shapes_services import ServicesRequest
from syncsrv.core import audit as audits
from syncsrv.errors import SyncsrvError, UsageError
from syncsrv.store.receipts import AUDIT, UnknownReceiptError, append_receipt
from syncsrv.store.signing import Signer, generate_key
from tests.core.corekit import ALICE, Node, Pair, key_of, pair_of, single


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with single(tmp_path) as node:
        yield node


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with pair_of(tmp_path) as pair:
        yield pair


def audit(node: Node, **asked: object) -> AuditReply:
    reply = node.ask("audit", AuditRequest(**asked))  # type: ignore[arg-type]  # one field a keyword
    assert isinstance(reply, AuditReply)
    return reply


def record(node: Node, number: int, **body: object) -> str:
    core = node.core
    text = {"kind": "sync", "job": f"j{number}", "requested_by": "alice", "result": "done", **body}
    return append_receipt(core.store, core.signer, text, f"sync {number}", core.clock.utc(), "fw1")


def test_a_sync_is_on_the_backup_and_says_who_asked_for_what(pair: Pair) -> None:
    assert audit(pair.fw2) == AuditReply(())
    pair.sync(reason="new proxy")
    (one,) = audit(pair.fw2).receipts
    assert (one.node, one.kind, one.tag, one.requested_by, one.result) == (
        "fw2",
        "sync",
        "sync/000001",
        "alice via fw1",
        "done",
    )
    assert "/etc/app/app.conf" in one.paths
    assert {step.name for step in one.steps} >= {"write"} or one.steps
    assert audit(pair.fw2, job=one.job).receipts[0].steps == one.steps
    assert audit(pair.fw2, person="alice").receipts == (one,)
    assert audit(pair.fw2, person="fw1").receipts == ()


def test_a_service_action_and_every_change_of_a_user_is_in_it_and_no_secret(node: Node) -> None:
    caller = replace(ALICE, origin="192.0.2.7", via="web")
    node.do("act", ServicesRequest(action="start", names=("app",)), caller)
    node.ask("user-add", UserAddRequest("bob", "viewer", "correct horse battery"), caller)
    node.ask("user-add", UserAddRequest("bob", "operator"), caller)
    node.ask("user-add", UserAddRequest("bob", "operator", None, key_of(node)), caller)
    node.ask("user-passwd", PasswordRequest("bob", "another long one"), caller)
    token = node.ask("user-token", UserRequest("bob"), caller)
    node.ask("user-revoke", UserRequest("bob"), caller)
    node.ask("user-remove", UserRequest("bob"), caller)
    found = audit(node).receipts
    assert [one.kind for one in reversed(found)] == [
        "services start",
        *["user-add"] * 3,
        "user-passwd",
        "user-token",
        "user-revoke",
        "user-remove",
    ]
    said = [one.reason for one in reversed(found)][1:]
    assert said[0] == "user bob made, viewer, with a password"
    assert said[1] == "user bob is operator, and was viewer"
    assert said[2].startswith("user bob, operator, changed, with the key SHA256:")
    assert said[3:] == [
        "user bob has another password",
        "user bob has one more token",
        "no token of user bob is good any more",
        "user bob removed",
    ]
    assert {(one.requested_by, one.origin) for one in found} == {("alice", "192.0.2.7")}
    assert isinstance(token, TokenReply)
    assert not any(secret in repr(found) for secret in ("correct horse", "another long", token.token, "argon2"))
    assert len(audit(node, kind="user").receipts) == 7
    assert len(audit(node, kind="services").receipts) == 1
    assert len(audit(node, kind="user-add").receipts) == 3
    assert audit(node, kind="use").receipts == ()


def test_what_is_refused_leaves_no_record(node: Node) -> None:
    for verb, request in (
        ("user-add", UserAddRequest("Bob!", "viewer")),
        ("user-remove", UserRequest("nobody")),
        ("user-remove", UserRequest("admin")),
        ("user-token", UserRequest("nobody")),
        ("user-passwd", PasswordRequest("admin", "short")),
    ):
        with pytest.raises(UsageError):
            node.ask(verb, request)
    assert audit(node) == AuditReply(())


def test_what_cannot_be_recorded_is_said_to_be_done(node: Node) -> None:
    node.core.store.path.joinpath("objects").rename(node.core.store.path / "elsewhere")
    node.core.store.path.joinpath("objects").write_text("in the way")
    with pytest.raises(SyncsrvError, match="cannot record this, though it is done: user bob made, viewer"):
        node.ask("user-add", UserAddRequest("bob", "viewer"))
    assert node.core.people.find("bob") is not None
    node.core.store.path.joinpath("objects").unlink()
    node.core.store.path.joinpath("elsewhere").rename(node.core.store.path / "objects")


def test_it_comes_in_pages_newest_first(node: Node) -> None:
    commits = [record(node, number) for number in range(5)]
    first = audit(node, limit=2)
    assert [one.commit for one in first.receipts] == [commits[4], commits[3]]
    assert (first.more, first.next) == (True, commits[3])
    second = audit(node, limit=2, before=first.next)
    assert [one.job for one in second.receipts] == ["j2", "j1"]
    last = audit(node, limit=2, before=second.next)
    assert ([one.job for one in last.receipts], last.more, last.next) == (["j0"], False, "")
    assert audit(node, limit=2, before=commits[0]) == AuditReply(())
    whole = audit(node, limit=5)
    assert (len(whole.receipts), whole.more) == (5, False)


def test_a_filter_that_fits_few_is_answered_in_parts(node: Node) -> None:
    record(node, 0, requested_by="bob")
    for number in range(1, 6):
        record(node, number)
    found: list[ReceiptInfo] = []
    before, asked = None, 0
    while True:
        reply = audits.audit(node.core, AuditRequest(person="bob", before=before), looked_at=2)
        found += reply.receipts
        before, asked = reply.next, asked + 1
        if not reply.more:
            break
    assert ([one.job for one in found], asked) == (["j0"], 3)


@pytest.mark.parametrize("limit", [0, -1, 201])
def test_a_page_has_its_bounds(node: Node, limit: int) -> None:
    with pytest.raises(UsageError, match="receipts at once"):
        audit(node, limit=limit)


def test_only_a_receipt_is_a_place_to_begin_behind(node: Node) -> None:
    record(node, 1)
    for other in ("f" * 40, "", node.core.recorder.head()):
        with pytest.raises(UnknownReceiptError, match="cannot find receipt"):
            audit(node, before=other)


def test_what_another_key_signed_ends_the_trail(node: Node, tmp_path: Path) -> None:
    core = node.core
    record(node, 1)
    generate_key(tmp_path / "stranger")
    stranger = Signer.load(tmp_path / "stranger")
    forged = append_receipt(core.store, stranger, {"kind": "sync", "job": "forged"}, "x", core.clock.utc(), "fw1")
    record(node, 2)
    reply = audit(node)
    assert [one.job for one in reply.receipts] == ["j2"]
    assert not reply.more
    assert reply.problem.startswith(f"cannot trust the receipt {forged[:12]}: it is signed by SHA256:")
    assert reply.problem.endswith("nothing older is shown")
    assert audit(node, before=forged).problem == "", "what is behind it is of us again"


def test_what_is_no_receipt_ends_the_trail(node: Node) -> None:
    core = node.core
    record(node, 1)
    with core.store.writer():
        core.store.move_ref(AUDIT, core.recorder.head(), core.store.ref(AUDIT))
    reply = audit(node)
    assert reply.receipts == ()
    assert "cannot trust the receipt" in reply.problem


def test_a_body_of_another_version_or_of_nonsense_is_shown_as_far_as_it_goes(node: Node) -> None:
    record(node, 1, steps=[{"name": 5, "seconds": "x"}, "no step"], paths="no list", guards=[1], tag=7, origin=None)
    (one,) = audit(node).receipts
    assert (one.tag, one.paths, one.guards, one.origin) == (None, (), ("1",), "")
    assert [(step.name, step.seconds) for step in one.steps] == [("", 0.0)]


def test_a_list_is_bounded_and_one_job_is_whole(node: Node) -> None:
    output = "x" * (audits.OUTPUT_SHOWN + 1)
    paths = [f"/etc/app/{number}" for number in range(audits.PATHS_SHOWN + 1)]
    record(node, 1, paths=paths, steps=[{"name": "check", "result": "done", "seconds": 1, "output": output}])
    (short,) = audit(node).receipts
    assert len(short.paths) == audits.PATHS_SHOWN
    assert len(short.steps[0].output) == audits.OUTPUT_SHOWN + 1
    (whole,) = audit(node, job="j1").receipts
    assert (len(whole.paths), whole.steps[0].output) == (len(paths), output)


def test_a_rollback_is_in_it_too(pair: Pair) -> None:
    pair.sync()
    pair.fw1.put("/etc/app/app.conf", "two")
    pair.fw1.do("sync", SyncRequest())
    assert [one.kind for one in audit(pair.fw2, kind="sync").receipts] == ["sync", "sync"]
