from __future__ import annotations

from pathlib import Path

import pytest

from syncsrv.errors import DamagedError
from syncsrv.store.files import MissingObjectError
from syncsrv.store.refs import RefLockedError, RefNameError, StaleRefError
from syncsrv.store.repo import Store
from tests.store import stock
from tests.store.test_exchange import commit_files


@pytest.fixture
def commits(store: Store) -> tuple[str, str]:
    first = commit_files(store, {b"a": b"1"}, ref=None)
    return first, commit_files(store, {b"a": b"2"}, first, ref=None, step=1)


def test_a_ref_moves_only_from_where_it_is(store: Store, commits: tuple[str, str]) -> None:
    a, b = commits
    name = "refs/syncsrv/job/j1"
    store.move_ref(name, a, None)
    with pytest.raises(StaleRefError) as caught:
        store.move_ref(name, b, None)
    assert (caught.value.expected, caught.value.found) == (None, a)
    with pytest.raises(StaleRefError):
        store.move_ref(name, a, b)
    store.move_ref(name, b, a)
    assert store.ref(name) == b
    with pytest.raises(StaleRefError):
        store.move_ref(name, None, a)
    store.move_ref(name, None, b)
    assert store.ref(name) is None
    with pytest.raises(StaleRefError):
        store.move_ref(name, None, b)
    assert not list(store.path.rglob("*.lock"))
    assert not (store.path / "refs/syncsrv").exists()
    assert (store.path / "refs/tags").is_dir()


def test_a_ref_to_nothing_is_not_made(store: Store) -> None:
    with pytest.raises(MissingObjectError, match="refs/heads/main is to point to it"):
        store.move_ref("refs/heads/main", "1" * 40, None)
    assert store.refs() == {}


def test_packed_refs_are_read_moved_and_deleted_as_git_would(store: Store, commits: tuple[str, str]) -> None:
    a, b = commits
    store.move_ref("refs/heads/main", a, None)
    store.move_ref("refs/tags/sync/000001", a, None)
    stock.git(store.path, "tag", "-a", "-m", "x", "sync/000002", a)
    stock.git(store.path, "pack-refs", "--all")
    tag = stock.git(store.path, "rev-parse", "sync/000002").decode().strip()
    wanted = {"refs/heads/main": a, "refs/tags/sync/000001": a, "refs/tags/sync/000002": tag}
    assert store.refs() == wanted
    assert store.refs("refs/tags/sync/") == {name: value for name, value in wanted.items() if "tags" in name}
    store.move_ref("refs/heads/main", b, a)
    assert store.ref("refs/heads/main") == b
    store.move_ref("refs/tags/sync/000001", None, a)
    assert store.refs() == {"refs/heads/main": b, "refs/tags/sync/000002": tag}
    shown = stock.git(store.path, "show-ref", "-d").decode().splitlines()
    assert shown == [f"{b} refs/heads/main", f"{tag} refs/tags/sync/000002", f"{a} refs/tags/sync/000002^{{}}"]
    store.move_ref("refs/tags/sync/000002", None, tag)
    store.move_ref("refs/heads/main", None, b)
    assert store.refs() == {}
    assert stock.git(store.path, "show-ref", check=False) == b""


def test_names_that_exclude_each_other_are_told(store: Store, commits: tuple[str, str]) -> None:
    a, _ = commits
    store.move_ref("refs/heads/x", a, None)
    with pytest.raises(RefNameError, match="is a ref itself"):
        store.move_ref("refs/heads/x/y", a, None)
    store.move_ref("refs/heads/d/e", a, None)
    with pytest.raises(RefNameError, match="stand below it"):
        store.move_ref("refs/heads/d", a, None)
    stock.git(store.path, "pack-refs", "--all")
    with pytest.raises(RefNameError, match="stand below it"):
        store.move_ref("refs/heads/d", a, None)
    with pytest.raises(RefNameError, match="is a ref itself"):
        store.move_ref("refs/heads/x/y", a, None)
    store.move_ref("refs/heads/d/e", None, a)
    store.move_ref("refs/heads/d", a, None)
    stock.assert_clean(store)


@pytest.mark.parametrize(
    "name",
    ["main", "refs/heads/../x", "refs/heads/.x", "refs/heads/x.lock", "refs/heads/a b", "refs/heads/", "refs/heads/x~1",
     "refs/heads/\0", "HEAD", "", "/etc/passwd", "refs/heads/a\nb"],
)  # fmt: skip
def test_names_that_git_does_not_allow_are_refused(store: Store, commits: tuple[str, str], name: str) -> None:
    with pytest.raises(RefNameError):
        store.move_ref(name, commits[0], None)
    with pytest.raises(RefNameError):
        store.ref(name)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"1" * 39, b"ref: refs/heads/main", b"\xff"])
def test_a_damaged_ref_is_an_error_with_its_name(store: Store, commits: tuple[str, str], content: bytes) -> None:
    store.move_ref("refs/heads/main", commits[0], None)
    (store.path / "refs/heads/main").write_bytes(content)
    with pytest.raises(DamagedError, match="refs/heads/main") as caught:
        store.ref("refs/heads/main")
    assert caught.value.remedy
    with pytest.raises(DamagedError):
        store.refs()


@pytest.mark.parametrize("content", [b"nonsense\n", b"\xff" * 50, b"^" + b"1" * 40 + b"\n", b"1" * 40 + b" ../x\n"])
def test_damaged_packed_refs_are_an_error(store: Store, content: bytes) -> None:
    (store.path / "packed-refs").write_bytes(content)
    with pytest.raises(DamagedError, match="packed-refs"):
        store.ref("refs/heads/main")


def test_a_lock_of_another_program_is_respected(store: Store, commits: tuple[str, str]) -> None:
    lock = store.path / "refs/heads/main.lock"
    lock.touch()
    with pytest.raises(RefLockedError, match=r"main\.lock exists"):
        store.move_ref("refs/heads/main", commits[0], None)
    assert lock.exists()


def test_refs_are_for_their_owner(store: Store, commits: tuple[str, str]) -> None:
    store.move_ref("refs/remotes/fw1/main", commits[0], None)
    for path in (Path("refs/remotes"), Path("refs/remotes/fw1/main")):
        assert (store.path / path).stat().st_mode & 0o077 == 0
