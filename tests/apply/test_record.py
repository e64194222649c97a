"""Main is made equal to the disk: all of it, by hints, in part, beside a tag; and never by less than was seen."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from syncsrv.apply.record import MAIN, NotRecordedError, Recorded, Recorder, changes_to
from syncsrv.plan.areas import Areas
from syncsrv.plan.tree import CLUSTER_PATH, Entry, Kind
from syncsrv.store.commits import Person
from syncsrv.store.files import NoSpaceError
from syncsrv.store.repo import Store
from syncsrv.watch.live import LeftOut, Reason
from syncsrv.watch.scan import Scanner
from tests.apply.enginekit import CLUSTER, Host, LateClock


class Node:
    """A recorder and what it records."""

    def __init__(self, host: Host, store: Store) -> None:
        self.host = host
        self.store = store
        self.areas = Areas.of(host.read_cluster(CLUSTER.encode()))
        clock = LateClock()
        scanner = Scanner(host.root, store.put_blob, clock)
        self.recorder = Recorder(store, scanner, host.etc / "cluster.yaml", "fw2", clock)

    def record(self, *only: str) -> Recorded:
        hints = {path.strip("/").encode() for path in only}
        return self.recorder.record(self.areas, via="watch", only=hints or None)

    def files(self) -> dict[str, str]:
        """What main holds: every file's text."""
        found = self.recorder.tree(self.recorder.head())
        return {
            path.decode(): self.store.blob(entry.blob).decode()
            for path, entry in found.items()
            if entry.kind is Kind.FILE and path != CLUSTER_PATH
        }


@pytest.fixture
def fresh(host: Host) -> Node:
    return Node(host, Store.open(host.state / "config.git"))


def test_the_first_commit_holds_everything_and_the_next_is_made_only_of_a_change(host: Host, fresh: Node) -> None:
    assert fresh.recorder.head() is None
    assert fresh.recorder.tree(None) == {}
    first = fresh.record()
    assert first.commit == first.head == fresh.store.ref(MAIN)
    assert fresh.files() == {"etc/app/app.conf": "one", "etc/app/gone": "goes", "etc/more.conf": "more"}
    assert fresh.store.blob(fresh.recorder.tree(first.head)[CLUSTER_PATH].blob) == CLUSTER.encode()
    again = fresh.record()
    assert (again.commit, again.head, again.changed, again.subject) == (None, first.head, 0, "")
    host.put("/etc/app/app.conf", "two")
    (host.root / "etc/app/gone").unlink()
    changed = fresh.record()
    assert changed.changed == 2
    made = fresh.store.read_commit(changed.commit or "")
    assert (made.parents, made.author, made.subject) == ((first.head,), "fw2", changed.subject)
    assert made.trailers.items() >= {"Via": "watch", "Node": "fw2", "Areas": "app"}.items()
    assert fresh.files() == {"etc/app/app.conf": "two", "etc/more.conf": "more"}


def test_a_persons_words_and_name_are_the_commits(host: Host, fresh: Node) -> None:
    recorded = fresh.recorder.record(
        fresh.areas, via="cli", person=Person("alice", "alice@fw2"), message="open the port\n\nfor the partner"
    )
    made = fresh.store.read_commit(recorded.commit or "")
    assert (made.author, made.email, made.subject, recorded.subject) == (
        *("alice", "alice@fw2"),
        *("open the port",) * 2,
    )
    assert "for the partner" in made.body
    assert made.trailers["Via"] == "cli"
    assert made.trailers["Requested-By"] == "alice"


def test_hints_are_enough_for_what_they_name(host: Host, fresh: Node) -> None:
    fresh.record()
    host.put("/etc/app/app.conf", "two")
    host.put("/etc/app/unseen", "u")
    assert fresh.record("/etc/app/app.conf").changed == 1
    assert fresh.files()["etc/app/app.conf"] == "two"
    assert "etc/app/unseen" not in fresh.files()
    assert fresh.record().changed == 1


def test_only_what_lies_below_the_named_paths_is_committed(host: Host, fresh: Node) -> None:
    fresh.record()
    host.put("/etc/app/app.conf", "two")
    host.put("/etc/more.d/x/y", "y")
    part = fresh.recorder.record(fresh.areas, via="cli", paths=[b"etc/more.d"])
    assert part.commit is not None
    assert fresh.files() == {
        "etc/app/app.conf": "one", "etc/app/gone": "goes", "etc/more.conf": "more", "etc/more.d/x/y": "y"
    }  # fmt: skip
    assert fresh.record().changed == 1


def test_what_leaves_an_area_leaves_main_and_stays_in_the_history(host: Host, fresh: Node) -> None:
    host.put("/etc/more.d/x", "x")
    before = fresh.record()
    fresh.areas = Areas.of(host.read_cluster(CLUSTER.replace(", /etc/more.d", "").encode()))
    assert fresh.record().commit is not None
    assert "etc/more.d/x" not in fresh.files()
    assert host.text("/etc/more.d/x") == "x"
    assert b"etc/more.d/x" in fresh.recorder.tree(before.head)


def test_a_file_over_the_limit_keeps_its_last_good_entry_until_it_is_gone(host: Host, fresh: Node) -> None:
    fresh.areas = Areas.of(
        host.read_cluster(CLUSTER.replace("services: [app]}", "services: [app], limit: 10}").encode())
    )
    fresh.record()
    host.put("/etc/app/app.conf", "more than ten bytes")
    recorded = fresh.record()
    assert recorded.commit is None
    (left,) = [one for one in recorded.live.left_out if one.reason is Reason.TOO_LARGE]
    assert left.path == b"etc/app/app.conf"
    assert fresh.files()["etc/app/app.conf"] == "one"
    (host.root / "etc/app/app.conf").unlink()
    assert fresh.record().changed == 1
    assert "etc/app/app.conf" not in fresh.files()


def test_areas_of_a_tag_are_saved_beside_our_own(host: Host, fresh: Node) -> None:
    fresh.record()
    host.put("/etc/fresh/a", "this node's")
    wider = Areas.of(
        host.read_cluster(CLUSTER.replace("areas:\n", "areas:\n  fresh: {paths: [/etc/fresh]}\n").encode())
    )
    recorded = fresh.recorder.record(fresh.areas, via="watch", beside=wider.restricted(["fresh"]))
    assert fresh.files() == {
        "etc/app/app.conf": "one", "etc/app/gone": "goes", "etc/more.conf": "more", "etc/fresh/a": "this node's"
    }  # fmt: skip
    assert recorded.changed == 2
    assert fresh.record().commit is not None, "without the tag's areas it is nobody's again"
    assert "etc/fresh/a" not in fresh.files()


def test_scanning_moves_nothing(host: Host, fresh: Node) -> None:
    live = fresh.recorder.scan(fresh.areas.restricted(["app"]))
    assert sorted(live.entries) == [b"etc/app", b"etc/app/app.conf", b"etc/app/gone"]
    assert fresh.store.refs() == {}
    assert fresh.store.blob(live.entries[b"etc/app/gone"].blob) == b"goes"


class FullStore(Store):
    """A repository whose disk is full once, when contents are to be placed."""

    full = False

    @contextmanager
    def batch(self) -> Iterator[None]:
        with super().batch():
            yield
        if self.full:
            self.full = False
            raise NoSpaceError(self.path)


def test_after_a_full_disk_everything_is_read_again(host: Host) -> None:
    store = FullStore.open(host.state / "config.git")
    assert isinstance(store, FullStore)
    fresh = Node(host, store)
    fresh.record()
    host.put("/etc/app/app.conf", "two")
    store.full = True
    head = fresh.recorder.head()
    with pytest.raises(NoSpaceError):
        fresh.record()
    assert fresh.recorder.head() == head
    host.put("/etc/app/other", "o")
    recorded = fresh.record("/etc/app/app.conf")
    assert recorded.changed == 2, "the hint does not do: what is known may be lost"
    assert fresh.files()["etc/app/app.conf"] == "two"


def test_two_at_once_make_one_commit(host: Host, fresh: Node) -> None:
    fresh.record()
    host.put("/etc/app/app.conf", "two")
    made: list[str | None] = []
    threads = [threading.Thread(target=lambda: made.append(fresh.record().commit)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len([commit for commit in made if commit]) == 1
    assert len(made) == 4


def test_names_that_are_no_text_live_through_it(host: Host, fresh: Node) -> None:
    odd = os.fsencode(host.root) + b"/etc/app/\xff\xfe\n.conf"
    Path(os.fsdecode(odd)).write_text("odd")
    fresh.record()
    assert b"etc/app/\xff\xfe\n.conf" in fresh.recorder.tree(fresh.recorder.head())


def entry(letter: str) -> Entry:
    return Entry(Kind.FILE, 0o644, blob=letter * 40)


FOLDER = Entry(Kind.DIRECTORY, 0o755)


def test_what_could_not_be_read_is_not_claimed_to_be_gone() -> None:
    base = {b"etc": FOLDER, b"etc/a": FOLDER, b"etc/a/x": entry("a"), b"etc/a/y": entry("b"), b"etc/b": entry("c")}
    unreadable = (LeftOut(b"etc/a", "app", Reason.UNREADABLE, "permission denied"),)
    assert changes_to(base, {}, unreadable, [b"etc/a", b"etc/b"]) == {b"etc/b": None}
    socket = (LeftOut(b"etc/b", "app", Reason.SOCKET, "a socket"),)
    assert changes_to(base, {b"etc/a": FOLDER}, socket, [b"etc/a", b"etc/b"]) == {
        b"etc/a/x": None, b"etc/a/y": None, b"etc/b": None
    }  # fmt: skip


def test_the_directories_above_an_area_stay_as_long_as_the_area_is_there() -> None:
    base = {b"etc": FOLDER, b"etc/a": entry("a")}
    assert changes_to(base, {b"etc/a": entry("b")}, (), [b"etc/a"]) == {b"etc/a": entry("b")}
    assert changes_to(base, {}, (), [b"etc/a"]) == {b"etc/a": None, b"etc": None}


def test_what_was_not_recorded_is_named_with_the_reason() -> None:
    left = LeftOut(b"etc/app/big", "app", Reason.TOO_LARGE, "20 bytes are more than its area's limit of 10")
    error = NotRecordedError((left,) * 7)
    assert error.message.startswith("cannot commit 7 files: /etc/app/big: 20 bytes")
    assert error.message.count("/etc/app/big") == 5
    assert error.left_out == (left,) * 7
