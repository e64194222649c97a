from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.plan.tree import CLUSTER_PATH, Entry, Kind, Owner
from syncsrv.store import gitformat
from syncsrv.store.build import ContentMissingError, UnstorableError
from syncsrv.store.gitformat import Child
from syncsrv.store.meta import BadMetadataError
from syncsrv.store.repo import Store
from syncsrv.store.trees import BadTreeError
from tests.store import stock
from tests.store.strategies import CONTENTS, trees

FILE = Kind.FILE
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One repository for all examples of the properties below: objects do not disturb each other."""
    store = Store.create(tmp_path_factory.mktemp("shared") / "config.git")
    for content in CONTENTS:
        store.put_blob(content)
    yield store
    store.close()


def difference(a: Mapping[bytes, Entry], b: Mapping[bytes, Entry]) -> dict[bytes, Entry | None]:
    return {path: b.get(path) for path in a.keys() | b.keys() if a.get(path) != b.get(path)}


@given(trees)
def test_what_is_built_reads_back(shared: Store, tree: dict[bytes, Entry]) -> None:
    object_id = shared.build_tree(None, tree)
    assert shared.trees.read_all(object_id) == tree
    assert list(shared.read_tree(object_id)) == sorted(tree)


@given(trees, trees, trees)
def test_steps_lead_to_the_same_tree_as_one(
    shared: Store, first: dict[bytes, Entry], second: dict[bytes, Entry], third: dict[bytes, Entry]
) -> None:
    base = shared.build_tree(None, first)
    for before, after in ((first, second), (second, third)):
        base = shared.build_tree(base, difference(before, after))
        assert base == shared.build_tree(None, after)
        assert shared.build_tree(base, {}) == base
        assert shared.build_tree(base, after) == base


@given(trees, trees)
def test_changes_are_those_of_the_whole_maps(shared: Store, a: dict[bytes, Entry], b: dict[bytes, Entry]) -> None:
    ids = shared.build_tree(None, a), shared.build_tree(None, b)
    wanted = {path: (a.get(path), b.get(path)) for path in a.keys() | b.keys() if a.get(path) != b.get(path)}
    assert shared.changes(*ids) == dict(sorted(wanted.items()))
    assert shared.changes(None, ids[1]) == {path: (None, entry) for path, entry in sorted(b.items())}


@given(trees, st.data())
def test_a_directory_outlives_its_files(shared: Store, tree: dict[bytes, Entry], data: st.DataObject) -> None:
    files = [path for path, entry in tree.items() if entry.kind is not Kind.DIRECTORY]
    gone = data.draw(st.sets(st.sampled_from(files))) if files else set()
    object_id = shared.build_tree(shared.build_tree(None, tree), dict.fromkeys(gone))
    assert shared.read_tree(object_id) == {path: entry for path, entry in tree.items() if path not in gone}


def test_git_says_that_built_trees_are_clean(shared: Store) -> None:
    stock.assert_clean(shared)


def test_the_layout_is_that_of_the_contract(store: Store) -> None:
    conf = store.put_blob(b"user www-data;\n")
    key = store.put_blob(b"secret\n")
    cluster = store.put_blob(b"cluster: edge\n")
    tree = store.build_tree(
        None,
        {
            b"etc/nginx": Entry(Kind.DIRECTORY, 0o755),
            b"etc/nginx/nginx.conf": Entry(FILE, 0o644, blob=conf),
            b"etc/nginx/site.key": Entry(FILE, 0o640, group=Owner("www-data", 33), blob=key),
            b"etc/nginx/conf.d": Entry(Kind.DIRECTORY, 0o755),
            CLUSTER_PATH: Entry(FILE, 0o600, user=Owner("alice", 1000), blob=cluster),
        },
    )
    listed = stock.git(store.path, "ls-tree", "-r", tree).decode().splitlines()
    assert [line.split("\t")[1] for line in listed] == [
        ".syncsrv/cluster.yaml",
        ".syncsrv/meta/+etc/+nginx/+conf.d/entries",
        ".syncsrv/meta/+etc/+nginx/entries",
        "etc/nginx/nginx.conf",
        "etc/nginx/site.key",
    ]
    show = functools.partial(stock.git, store.path, "cat-file", "blob")
    assert show(f"{tree}:.syncsrv/meta/+etc/+nginx/entries") == b"site.key\tf\t0640\troot:0\twww-data:33\n"
    assert show(f"{tree}:.syncsrv/meta/+etc/+nginx/+conf.d/entries") == b".\td\t0755\troot:0\troot:0\n"
    assert store.read_tree(tree)[CLUSTER_PATH] == Entry(FILE, 0o644, blob=cluster)


def test_cluster_yaml_comes_changes_and_goes(store: Store) -> None:
    one, two = store.put_blob(b"one"), store.put_blob(b"two")
    a = store.build_tree(None, {CLUSTER_PATH: Entry(FILE, 0o644, blob=one)})
    b = store.build_tree(a, {CLUSTER_PATH: Entry(FILE, 0o644, blob=two)})
    assert store.changes(a, b) == {CLUSTER_PATH: (Entry(FILE, 0o644, blob=one), Entry(FILE, 0o644, blob=two))}
    assert store.build_tree(b, {CLUSTER_PATH: None}) == EMPTY_TREE
    assert store.read_tree(store.build_tree(None, {})) == {}


def test_equal_owners_with_other_numbers_leave_the_tree_as_it_is(store: Store) -> None:
    blob = store.put_blob(b"x")

    def tree(number: int) -> dict[bytes, Entry | None]:
        bind = Owner("bind", number)
        return {b"a": Entry(Kind.DIRECTORY, 0o755, bind), b"a/f": Entry(FILE, 0o644, bind, blob=blob)}

    base = store.build_tree(None, tree(110))
    assert store.build_tree(base, tree(999)) == base
    assert store.changes(base, store.build_tree(None, tree(999))) == {}


def test_what_no_tree_can_hold_is_refused_by_name(store: Store) -> None:
    file = Entry(FILE, 0o644, blob=store.put_blob(b"x"))
    folder = Entry(Kind.DIRECTORY, 0o755)
    base = store.build_tree(None, {b"d": folder, b"d/f": file, b"d/sub": folder, b"l": file})
    cases: list[tuple[dict[bytes, Entry | None], str]] = [
        ({b"d": None}, "not empty"),
        ({b"d": None, b"d/f": None}, "not empty"),
        ({b"d": file}, "not empty"),
        ({b"l/x": file}, "no directory"),
        ({b"n": file, b"n/x": file}, "no directory"),
        ({b"d": None, b"d/f": None, b"d/sub": None, b"d/new": file}, "no directory"),
        ({b"a/../b": file}, r"the name \.\."),
        ({b"a//b": file}, "empty name"),
        ({b"/a": file}, "empty name"),
        ({b"": file}, "empty name"),
        ({b"a/.GIT/x": file}, "its own"),
        ({b"n" * 256: file}, "255 bytes"),
        ({b"/".join([b"a"] * 300): file}, "256 levels"),
        ({b".syncsrv/meta/entries": file}, "only the file cluster.yaml"),
        ({b".syncsrv": folder}, "only the file cluster.yaml"),
        ({CLUSTER_PATH: folder}, "only the file cluster.yaml"),
    ]
    for changes, why in cases:
        with pytest.raises(UnstorableError, match=why):
            store.build_tree(base, changes)
    with pytest.raises(ContentMissingError) as caught:
        store.build_tree(base, {b"x": Entry(FILE, 0o644, blob="1" * 40)})
    assert caught.value.path == b"x"


def test_removing_what_is_not_there_is_no_change(store: Store) -> None:
    base = store.build_tree(None, {b"l": Entry(FILE, 0o644, blob=store.put_blob(b"x"))})
    assert store.build_tree(base, {b"no/such": None, b"none": None, b"l/below": None}) == base


def test_a_file_becomes_a_directory_and_back(store: Store) -> None:
    file = Entry(FILE, 0o600, blob=store.put_blob(b"x"))
    folder = Entry(Kind.DIRECTORY, 0o700)
    one = {b"a": file}
    two = {b"a": folder, b"a/b": folder, b"a/b/c": file}
    first = store.build_tree(None, one)
    second = store.build_tree(first, two)
    assert store.read_tree(second) == two
    assert store.build_tree(second, {b"a": file, b"a/b": None, b"a/b/c": None}) == first


# Trees that stock Git pushed, or that somebody made by hand


def _tree(store: Store, children: Mapping[bytes, tuple[int, str]]) -> str:
    put = store.objects.put
    return put("tree", gitformat.format_tree((name, Child(*child)) for name, child in children.items()))


def _with_meta(store: Store, lines: bytes, etc: Mapping[bytes, tuple[int, str]]) -> str:
    """A tree with these files in etc and these lines for them."""
    plus = _tree(store, {b"entries": (gitformat.FILE, store.put_blob(lines))})
    metadata = _tree(store, {b"+etc": (gitformat.DIRECTORY, plus)})
    top = {b".syncsrv": (gitformat.DIRECTORY, _tree(store, {b"meta": (gitformat.DIRECTORY, metadata)}))}
    if etc:
        top[b"etc"] = (gitformat.DIRECTORY, _tree(store, etc))
    return _tree(store, top)


def test_a_line_without_its_entry_counts_for_nothing(store: Store) -> None:
    blob = store.put_blob(b"x")
    tree = _with_meta(store, b"gone\tf\t0600\troot:0\troot:0\n", {b"here": (gitformat.FILE, blob)})
    assert store.read_tree(tree) == {b"etc": Entry(Kind.DIRECTORY, 0o755), b"etc/here": Entry(FILE, 0o644, blob=blob)}
    plain = store.build_tree(None, {b"etc/here": Entry(FILE, 0o644, blob=blob)})
    assert store.changes(tree, plain) == {}
    alone = _with_meta(store, b"gone\tf\t0600\troot:0\troot:0\n", {})
    assert store.read_tree(alone) == {}


def test_metadata_below_a_file_counts_for_nothing(store: Store) -> None:
    blob = store.put_blob(b"x")
    tree = _with_meta(store, b".\td\t0700\troot:0\troot:0\n", {})
    both = dict(store.trees.children(tree)) | {b"etc": Child(gitformat.FILE, blob)}
    mixed = store.objects.put("tree", gitformat.format_tree(both.items()))
    assert store.read_tree(mixed) == {b"etc": Entry(FILE, 0o644, blob=blob)}
    assert store.changes(tree, mixed) == {b"etc": (Entry(Kind.DIRECTORY, 0o700), Entry(FILE, 0o644, blob=blob))}


def test_the_x_bit_that_stock_git_pushed_decides(store: Store) -> None:
    blob = store.put_blob(b"x")
    line = b"s\tf\t0640\troot:0\tadm:4\n"
    tree = _with_meta(store, line, {b"s": (gitformat.EXECUTABLE, blob)})
    assert store.read_tree(tree)[b"etc/s"] == Entry(FILE, 0o750, group=Owner("adm", 4), blob=blob)


@pytest.mark.parametrize("name", [b"..", b".git", b".GIT", b"git~1", ".g\u200cit".encode(), b"n" * 256])
def test_hostile_names_are_an_error_wherever_they_are_read(store: Store, name: bytes) -> None:
    file = (gitformat.FILE, store.put_blob(b"x"))
    trees = [_tree(store, {name: file}), _tree(store, {b"etc": (gitformat.DIRECTORY, _tree(store, {name: file}))})]
    empty = _tree(store, {b"entries": (gitformat.FILE, store.put_blob(b".\td\t0755\troot:0\troot:0\n"))})
    beside = _tree(store, {b"meta": (gitformat.DIRECTORY, _tree(store, {b"+" + name: (gitformat.DIRECTORY, empty)}))})
    trees.append(_tree(store, {b".syncsrv": (gitformat.DIRECTORY, beside)}))
    for tree in trees:
        with pytest.raises(BadTreeError):
            store.read_tree(tree)
        with pytest.raises(BadTreeError):
            store.changes(None, tree)
        with pytest.raises(BadTreeError):
            store.build_tree(tree, {b"etc/new": Entry(FILE, 0o644, blob=file[1])})


def test_damaged_metadata_of_a_foreign_tree_has_a_name(store: Store) -> None:
    tree = _with_meta(store, b"nonsense", {b"a": (gitformat.FILE, store.put_blob(b"x"))})
    with pytest.raises(BadMetadataError, match=r"\+etc/entries: line 1"):
        store.read_tree(tree)
    link = _tree(store, {b"entries": (gitformat.LINK, store.put_blob(b"x"))})
    metadata = _tree(store, {b"meta": (gitformat.DIRECTORY, _tree(store, {b"+etc": (gitformat.DIRECTORY, link)}))})
    with pytest.raises(BadMetadataError, match="not a file"):
        store.read_tree(_tree(store, {b".syncsrv": (gitformat.DIRECTORY, metadata)}))
    folder = _tree(store, {b"cluster.yaml": (gitformat.LINK, store.put_blob(b"/etc/shadow"))})
    with pytest.raises(BadTreeError, match="not a file"):
        store.read_tree(_tree(store, {b".syncsrv": (gitformat.DIRECTORY, folder)}))


def test_a_small_tree_that_unfolds_without_end_is_refused(store: Store) -> None:
    tree = _tree(store, {b"f": (gitformat.FILE, store.put_blob(b"x"))})
    for _ in range(10):
        tree = _tree(store, {b"%02d" % n: (gitformat.DIRECTORY, tree) for n in range(16)})
    with pytest.raises(BadTreeError, match="more than 1000000"):
        store.read_tree(tree)
    with pytest.raises(BadTreeError, match="more than 1000000"):
        store.changes(None, tree)
    deep = _tree(store, {b"f": (gitformat.FILE, store.put_blob(b"x"))})
    for _ in range(400):
        deep = _tree(store, {b"d": (gitformat.DIRECTORY, deep)})
    with pytest.raises(BadTreeError, match="256 levels"):
        store.read_tree(deep)
    with pytest.raises(BadTreeError, match="256 levels"):
        store.changes(deep, None)
    beside = _tree(store, {b"entries": (gitformat.FILE, store.put_blob(b"a\tf\t0600\troot:0\troot:0\n"))})
    for _ in range(400):
        beside = _tree(store, {b"+d": (gitformat.DIRECTORY, beside)})
    top = _tree(store, {b".syncsrv": (gitformat.DIRECTORY, _tree(store, {b"meta": (gitformat.DIRECTORY, beside)}))})
    with pytest.raises(BadTreeError, match="256 levels"):
        store.read_tree(top)


def test_what_else_is_in_our_folder_stays(store: Store) -> None:
    note = (gitformat.FILE, store.put_blob(b"x"))
    tree = _tree(store, {b".syncsrv": (gitformat.DIRECTORY, _tree(store, {b"later": note}))})
    built = store.build_tree(tree, {b"etc/a": Entry(FILE, 0o600, blob=note[1])})
    assert stock.git(store.path, "cat-file", "blob", f"{built}:.syncsrv/later") == b"x"
    assert store.read_tree(built)[b"etc/a"].mode == 0o600
