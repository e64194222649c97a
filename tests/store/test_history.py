from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsrv.plan.tree import Entry, Kind, is_below
from syncsrv.store.commits import Person
from syncsrv.store.history import History, Search
from syncsrv.store.repo import Store
from tests.store import stock
from tests.store.conftest import WHEN
from tests.store.test_exchange import commit_files


@pytest.fixture
def history(store: Store, tmp_path: Path) -> Iterator[History]:
    made = History(store, tmp_path / "history.sqlite")
    yield made
    made.close()


def ids(history: History, path: bytes | None = None, n: int = 50, start: str | None = None) -> list[str]:
    return [one.commit for one in history.log(path, n, start)]


def test_the_log_of_a_path_has_the_commits_that_touched_it_or_what_is_below(store: Store, history: History) -> None:
    assert history.log(None, 10) == []
    a = commit_files(store, {b"etc/nginx/a": b"1", b"etc/hosts": b"1"})
    b = commit_files(store, {b"etc/nginx/b": b"1"}, a, step=1)
    c = commit_files(store, {b"etc/hosts": b"2"}, b, step=2)
    d = commit_files(store, {b"etc/nginx/a": None}, c, step=3)
    assert ids(history) == [d, c, b, a]
    assert ids(history, b"etc/nginx") == [d, b, a]
    assert ids(history, b"etc/nginx/a") == [d, a]
    assert ids(history, b"etc/nginx/a", 1) == [d]
    assert ids(history, b"etc/hosts") == [c, a]
    assert ids(history, b"etc/ngin") == []
    assert ids(history, b"etc/nginx", start=c) == [b, a]
    assert history.paths_of(d) == (b"etc/nginx/a",)
    assert history.log(None, 1)[0].paths == (b"etc/nginx/a",)
    assert history.log(None, 1)[0].info == store.read_commit(d)


def test_a_merge_counts_as_what_it_changed_here(store: Store, history: History) -> None:
    base = commit_files(store, {b"a": b"1", b"b": b"1"})
    theirs = commit_files(store, {b"a": b"2"}, base, ref=None, step=1)
    local = commit_files(store, {b"b": b"2"}, base, step=2)
    merge = commit_files(store, {b"a": b"2"}, local, theirs, step=3)
    assert ids(history) == [merge, local, base]
    assert history.paths_of(merge) == (b"a",)
    assert ids(history, b"a") == [merge, base]
    # a commit that is not on main's own line is walked without the index
    assert ids(history, start=theirs) == [theirs, base]
    assert ids(history, b"b", start=theirs) == [base]
    assert history.paths_of(theirs) == (b"a",)


def test_since_counts_along_main(store: Store, history: History) -> None:
    made = [commit_files(store, {b"a": b"0"})]
    for n in range(1, 5):
        made.append(commit_files(store, {b"a": b"%d" % n}, made[-1], step=n))
    assert history.since(made[2], made[4]) == [made[4], made[3]]
    assert history.since(made[4], made[4]) == []
    assert history.since(None, made[1]) == [made[1], made[0]]
    assert history.since("1" * 40, made[1]) == [made[1], made[0]]
    side = commit_files(store, {b"b": b"x"}, made[1], ref=None, step=9)
    assert history.since(side, made[3]) == [made[3], made[2]]
    assert history.since(made[1], side) == [side]


def test_the_index_follows_a_main_that_went_elsewhere(store: Store, history: History) -> None:
    a = commit_files(store, {b"a": b"1"})
    b = commit_files(store, {b"a": b"2"}, a, step=1)
    c = commit_files(store, {b"a": b"3"}, b, step=2)
    assert ids(history, b"a") == [c, b, a]
    other = commit_files(store, {b"b": b"1"}, a, ref=None, step=3)
    store.move_ref("refs/heads/main", other, c)
    assert ids(history) == [other, a]
    assert ids(history, b"a") == [a]
    store.move_ref("refs/heads/main", a, other)
    assert ids(history) == [a]


def test_it_is_caught_up_whoever_committed(store: Store, history: History, tmp_path: Path) -> None:
    a = commit_files(store, {b"etc/a": b"1"})
    assert history.catch_up() == 1
    assert history.catch_up() == 0
    stock.git(tmp_path, "clone", "-q", store.path, "clone")
    (tmp_path / "clone/etc/a").write_text("2")
    stock.git(tmp_path / "clone", "commit", "-qam", "by hand")
    stock.git(tmp_path / "clone", "push", "-q")
    assert history.catch_up() == 1
    newest = history.log(b"etc/a", 10)
    assert [one.info.subject for one in newest] == ["by hand", "step 0"]
    assert newest[1].commit == a
    assert history.via_of(newest[0].commit) == "push"
    history.note(newest[0].commit, "web", "alice")
    assert history.via_of(newest[0].commit) == "web"


def spoil(path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
    elif how == "noise":
        path.write_bytes(b"\xff" * 8192)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "cut":
        path.write_bytes(path.read_bytes()[: 3 * 4096])
    else:
        db = sqlite3.connect(path)
        db.execute("PRAGMA user_version = 99" if how == "newer" else "DROP TABLE paths")
        db.commit()
        db.close()


@pytest.mark.parametrize("how", ["missing", "noise", "empty", "cut", "newer", "table gone"])
def test_a_spoilt_index_is_made_anew(store: Store, tmp_path: Path, how: str) -> None:
    path = tmp_path / "history.sqlite"
    head = None
    for n in range(60):
        head = commit_files(store, {b"etc/%d/f" % n: b"x"}, *([head] if head else []), step=n)
    first = History(store, path)
    wanted = ids(first, b"etc")
    first.close()
    spoil(path, how)
    again = History(store, path)
    assert ids(again, b"etc") == wanted
    assert len(wanted) == 50
    again.close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_index_spoilt_while_it_is_open_is_made_anew(store: Store, history: History, tmp_path: Path) -> None:
    head = commit_files(store, {b"a": b"1"})
    assert ids(history) == [head]
    other = sqlite3.connect(tmp_path / "history.sqlite")
    other.execute("DROP TABLE commits")
    other.commit()
    other.close()
    assert ids(history, b"a") == [head]


@settings(max_examples=20)
@given(
    st.lists(st.dictionaries(st.sampled_from([b"a", b"d/b", b"d/e/c"]), st.binary(max_size=1), max_size=2), max_size=6)
)
def test_the_index_says_what_git_says(
    tmp_path_factory: pytest.TempPathFactory, steps: list[dict[bytes, bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("h")
    store = Store.create(folder / "config.git")
    head = commit_files(store, {b"start": b"1"})
    for n, files in enumerate(steps, 1):
        head = commit_files(store, files, head, step=n)
    history = History(store, folder / "h.sqlite")
    for path in (b"a", b"d", b"d/e", b"d/e/c", b"d/b"):
        said = stock.git(store.path, "log", "--format=%H", "main", "--", path.decode()).decode().split()
        assert ids(history, path) == said
    history.close()
    store.close()


NAMES = ("Alice", "bob", "ÉMILE", "fw1")
PATHS = (b"a", b"d/b", b"d/e/c", b"x/\xff")


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(NAMES),
            st.sampled_from(("watch", "cli", "")),
            st.dictionaries(st.sampled_from(PATHS), st.binary(max_size=1), max_size=2),
        ),
        max_size=12,
    ),
    path=st.sampled_from((b"", *PATHS, b"d", b"x")),
    author=st.sampled_from(("", "ali", "B", "émi", "é", "%", "nobody")),
    via=st.sampled_from(("", "watch", "push")),
    tops=st.sampled_from(((), (b"d",), (b"a", b"d/e"), (b"",))),
    back=st.integers(0, 14),
    n=st.integers(0, 14),
)
def test_a_search_finds_what_a_naive_filter_finds(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, str, dict[bytes, bytes]]],
    path: bytes,
    author: str,
    via: str,
    tops: tuple[bytes, ...],
    back: int,
    n: int,
) -> None:
    folder = tmp_path_factory.mktemp("s")
    store = Store.create(folder / "config.git")
    head = None
    ref = "refs/remotes/fw2/main"
    for step, (name, how, files) in enumerate(steps):
        with store.writer():
            changes = {p: Entry(Kind.FILE, 0o644, blob=store.put_blob(data)) for p, data in files.items()}
            tree = store.build_tree(head, changes)
            message = f"step {step}\n\nVia: {how}\n" if how else f"step {step}\n"
            when = WHEN + timedelta(seconds=step)
            commit = store.commit(tree, [head] if head else [], message, Person(name, "a@b"), when)
            store.move_ref(ref, commit, head)
            head = commit
    history = History(store, folder / "h.sqlite", ref)
    line = [info.id for info in store.first_parents(head)] if head else []
    before = line[back] if back < len(line) else None

    def wanted(commit: str) -> bool:
        info = store.read_commit(commit)
        changed = history.paths_of(commit)
        return (
            (not path or any(is_below(one, path) for one in changed))
            and author.casefold() in info.author.casefold()
            and via in ("", history.via_of(commit))
            and (not tops or any(in_tops(one, tops) for one in changed))
        )

    after = line[back + 1 :] if before else line
    search = Search(path, author, via, tops, (lambda one: in_tops(one, tops)) if tops else None, before)
    found = history.search(search, n)
    assert [one.commit for one in found] == [one for one in after if wanted(one)][:n]
    assert all(one.paths == history.paths_of(one.commit) for one in found)
    history.close()
    store.close()


def in_tops(path: bytes, tops: tuple[bytes, ...]) -> bool:
    """An area that leaves one path out."""
    return path != b"d/b" and any(is_below(path, top) for top in tops)


def test_a_branch_has_its_own_commits_only_and_goes_on_behind_one_of_them(store: Store, history: History) -> None:
    a = commit_files(store, {b"a": b"1"})
    b = commit_files(store, {b"a": b"2"}, a, step=1)
    side = commit_files(store, {b"b": b"x"}, a, ref=None, step=2)
    assert [history.has(one) for one in (a, b, side, "1" * 40)] == [True, True, False, False]
    assert [one.commit for one in history.search(Search(before=b), 5)] == [a]
    assert history.search(Search(before=side), 5) == []
    store.move_ref("refs/heads/main", a, b)
    assert not history.has(b), "main went back"
