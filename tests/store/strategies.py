"""Random entries and trees."""

from __future__ import annotations

from hypothesis import strategies as st

from syncsrv.plan.names import unsafe_name
from syncsrv.plan.tree import Entry, Kind, Owner, parents
from syncsrv.store import gitformat

CONTENTS = [b"", b"one\n", b"two\n", b"\0\xff", b"../../etc/passwd"]
BLOBS = [gitformat.object_id("blob", content) for content in CONTENTS]

_NUMBERS = {"": 1234, "root": 0, "www-data": 33, "odd:na\tme": 7, "b\udcffd": 8}
owners = st.sampled_from([Owner(name, number) for name, number in _NUMBERS.items()])
xattrs = st.dictionaries(st.sampled_from(["user.a", "user.b=c", "security.x\udcff"]), st.binary(max_size=5), max_size=2)
names = st.one_of(
    st.sampled_from([b"a", b"b", b"c", b"a.b", b"a-b", b"+a", b"entries", b"meta", b".syncsrv", b"\xff\xfe", b"x y%"]),
    st.binary(min_size=1, max_size=4).filter(lambda name: unsafe_name(name) is None),
)


def _entry(kind: Kind, mode: int, user: Owner, group: Owner, blob: str, extra: dict[str, bytes]) -> Entry:
    pairs = tuple(sorted(extra.items()))
    if kind is Kind.DIRECTORY:
        return Entry(kind, mode, user, group, "", pairs)
    return Entry(kind, 0o777 if kind is Kind.LINK else mode, user, group, blob, pairs)


modes = st.one_of(st.sampled_from([0o644, 0o755, 0o600, 0o700, 0o640]), st.integers(0, 0o7777))
entries = st.one_of(
    st.builds(Entry, st.just(Kind.FILE), st.just(0o644), blob=st.sampled_from(BLOBS)),
    st.builds(Entry, st.just(Kind.DIRECTORY), st.just(0o755)),
    st.builds(_entry, st.sampled_from(Kind), modes, owners, owners, st.sampled_from(BLOBS), xattrs),
)


def whole(flat: dict[bytes, Entry]) -> dict[bytes, Entry]:
    """The tree with these entries, the first of two that exclude each other, and a directory above each."""
    tree: dict[bytes, Entry] = {}
    for path, entry in flat.items():
        above = parents(path)
        if any(tree[up].kind is not Kind.DIRECTORY for up in above if up in tree):
            continue
        if entry.kind is not Kind.DIRECTORY and any(other.startswith(path + b"/") for other in tree):
            continue
        for up in above:
            tree.setdefault(up, Entry(Kind.DIRECTORY, 0o755))
        tree[path] = entry
    return tree


_paths = st.lists(names, min_size=1, max_size=4).filter(lambda parts: parts[0] != b".syncsrv").map(b"/".join)
trees = st.dictionaries(_paths, entries, max_size=12).map(whole)
