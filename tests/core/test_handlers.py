"""What core does for each verb, where that is more than calling what has tests of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.apply.record import NotRecordedError
from syncsrv.apply.settle import JOB_REFS
from syncsrv.control.dispatch import BusyError, Call, Caller, Streamed
from syncsrv.control.shapes import JobRequest, SyncRequest
from syncsrv.control.shapes_history import CommitReply, CommitRequest, FetchReply, FetchRequest
from syncsrv.control.shapes_page import AuditRequest
from syncsrv.control.shapes_people import PasswordRequest, TokenReply, UserAddRequest, UserRequest, UsersReply
from syncsrv.control.verbs import VERBS, Door
from syncsrv.core.handlers import COMPARISONS, Handlers
from syncsrv.core.jobs import UnknownJobError
from syncsrv.errors import SyncsrvError, UsageError
from tests.core.corekit import ALICE, Node, Pair, pair_of, single
from tests.support.wait import until

FW2 = Caller(Door.PEER, "operator", "", node="fw2", via="peer")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with single(tmp_path) as node:
        yield node


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with pair_of(tmp_path) as pair:
        yield pair


def fetch(node: Node, request: FetchRequest) -> tuple[FetchReply, int]:
    """What a peer is sent: the reply, and how many bytes follow."""
    streamed = node.ask("fetch", request, FW2)
    assert isinstance(streamed, Streamed)
    assert isinstance(streamed.reply, FetchReply)
    return streamed.reply, sum(map(len, streamed.chunks))


def test_every_verb_of_the_table_has_a_handler(node: Node) -> None:
    assert node.handlers.keys() == VERBS.keys()


def test_a_peer_is_sent_the_newest_tag_a_named_one_or_main(pair: Pair) -> None:
    pair.sync()
    first = pair.fw1.core.store.ref("refs/tags/sync/000001") or ""
    pair.fw1.put("/etc/app/app.conf", "two")
    pair.sync()
    head = pair.fw1.core.recorder.head()
    newest, size = fetch(pair.fw1, FetchRequest("tag"))
    assert (newest.tag, newest.head, size > 0) == ("sync/000002", head, True)
    named, _ = fetch(pair.fw1, FetchRequest("tag", first))
    assert (named.tag, named.object) == ("sync/000001", first)
    main, whole = fetch(pair.fw1, FetchRequest("main"))
    assert (main.tag, main.object) == ("", head)
    _, less = fetch(pair.fw1, FetchRequest("main", haves=(head or "", "f" * 40)))
    assert less < whole, "what it has is not sent again, what we do not know is no help"


def test_nothing_else_has_a_name_for_a_peer(pair: Pair) -> None:
    with pytest.raises(UsageError, match="nothing was tagged yet"):
        fetch(pair.fw1, FetchRequest("tag"))
    pair.sync()
    core = pair.fw1.core
    head = core.recorder.head() or ""
    secret = core.store.put_blob(b"kept for ourselves")
    for hidden in (head, secret, core.store.tree_of(head), "f" * 40, "refs/heads/main"):
        with pytest.raises(UsageError, match="no tag of this node"):
            fetch(pair.fw1, FetchRequest("tag", hidden))
    with pytest.raises(UsageError, match="only tag and main can be asked for"):
        fetch(pair.fw1, FetchRequest("refs/syncsrv/audit"))
    core.store.move_ref(JOB_REFS + "dry", core.store.ref("refs/tags/sync/000001"), None)
    assert fetch(pair.fw1, FetchRequest("tag", core.store.ref(JOB_REFS + "dry") or ""))[1] > 0


def test_a_commit_says_what_it_could_not_take(node: Node) -> None:
    text = (node.etc / "cluster.yaml").read_text()
    (node.etc / "cluster.yaml").write_text(text.replace("services: [app]}", "services: [app], limit: 10}"))
    node.core.record(via="watch")
    node.put("/etc/app/big", "more than ten bytes")
    node.put("/etc/more.conf", "changed")
    with pytest.raises(NotRecordedError, match="/etc/app/big"):
        node.ask("commit", CommitRequest())
    assert node.core.record(via="watch").commit is None, "all else is committed"
    node.put("/etc/more.conf", "again")
    part = node.ask("commit", CommitRequest("only this", ("/etc/more.conf",)))
    assert isinstance(part, CommitReply)
    assert (part.subject, part.files) == ("only this", 1)


def test_a_path_of_no_area_is_said_to_be_none(node: Node) -> None:
    with pytest.raises(SyncsrvError, match=r"cannot commit /srv/x"):
        node.ask("commit", CommitRequest("", ("/srv/x",)))


def test_whoever_asks_is_the_author(node: Node) -> None:
    node.put("/etc/more.conf", "by bob")
    reply = node.ask("commit", CommitRequest("m"), replace(ALICE, person="bob", door=Door.PERSON, via="ssh"))
    assert isinstance(reply, CommitReply)
    info = node.core.store.read_commit(reply.commit or "")
    assert (info.author, info.email, info.trailers["Via"]) == ("bob", "bob@fw1", "ssh")


def test_users_are_kept_and_never_shown_with_a_secret(node: Node) -> None:
    added = node.ask("user-add", UserAddRequest("bob", "operator", "correct horse"))
    assert isinstance(added, UsersReply)
    assert {one.name: one.role for one in added.users} == {"admin": "admin", "bob": "operator"}
    token = node.ask("user-token", UserRequest("bob"))
    assert isinstance(token, TokenReply)
    node.ask("user-passwd", PasswordRequest("bob", "battery staple"))
    shown = repr(node.ask("user-list"))
    assert not any(secret in shown for secret in ("correct", "battery", "argon2", token.token))
    left = node.ask("user-remove", UserRequest("bob"))
    assert isinstance(left, UsersReply)
    assert [one.name for one in left.users] == ["admin"]


def test_following_a_job_waits_only_so_long_and_an_unknown_one_is_named(pair: Pair) -> None:
    with pytest.raises(UnknownJobError):
        pair.fw1.ask("job", JobRequest("nothing"))
    with pytest.raises(UnknownJobError):
        pair.fw1.ask("abort", JobRequest("nothing"))
    reply = pair.fw1.do("sync", SyncRequest())
    again = pair.fw1.ask("job", JobRequest(reply.job, after=len(reply.steps), wait_s=1e9))
    assert again == replace(reply, steps=())


def test_the_page_compares_a_few_at_a_time_and_only_what_is_still_wanted(node: Node) -> None:
    inside: list[object] = []
    go = threading.Event()

    def compare(request: object) -> object:
        inside.append(request)
        assert go.wait(10)
        return request

    handler = Handlers(node.core)._in_turn(compare)
    browser = replace(ALICE, door=Door.WEB, via="web")
    threads = [
        threading.Thread(target=handler, args=(browser, number, Call("preview", ""))) for number in range(COMPARISONS)
    ]
    for thread in threads:
        thread.start()
    until(lambda: len(inside) == COMPARISONS, what="all turns to be taken")
    late = Call("preview", "")
    late.gone.set()
    with pytest.raises(BusyError):
        handler(browser, "given up", late)
    command = threading.Thread(target=handler, args=(ALICE, "command line", Call("preview", "")))
    command.start()
    until(lambda: "command line" in inside, what="what waits for no page")
    go.set()
    for thread in (*threads, command):
        thread.join(10)
    assert handler(browser, "later", Call("preview", "")) == "later"
    assert "given up" not in inside


def test_whatever_reads_many_receipts_waits_for_a_turn_too(node: Node) -> None:
    inside: list[object] = []
    go = threading.Event()

    def compare(request: object) -> object:
        inside.append(request)
        assert go.wait(10)
        return request

    handlers = Handlers(node.core)
    handler = handlers._in_turn(compare)
    table = handlers.table()
    browser = replace(ALICE, door=Door.WEB, via="web")
    threads = [
        threading.Thread(target=handler, args=(browser, number, Call("preview", ""))) for number in range(COMPARISONS)
    ]
    for thread in threads:
        thread.start()
    until(lambda: len(inside) == COMPARISONS, what="all turns to be taken")
    long_ago = JobRequest("20200101-000000-abcdef")
    for verb, request in (("audit", AuditRequest()), ("job", long_ago)):
        late = Call(verb, "")
        late.gone.set()
        with pytest.raises(BusyError):
            table[verb](browser, request, late)
    running = node.core.jobs.start("sync", "alice", "fw1", lambda job: {})
    assert table["job"](browser, JobRequest(running.id), Call("job", "")), "what core remembers costs nothing"
    go.set()
    for thread in threads:
        thread.join(10)
    assert table["audit"](browser, AuditRequest(), Call("audit", ""))
    with pytest.raises(UnknownJobError):
        table["job"](browser, long_ago, Call("job", ""))
