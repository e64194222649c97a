"""Edits change what was asked for and not a byte more."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from syncsrv.config.document import KeyPath
from syncsrv.config.values import SecretRef
from syncsrv.config.yamledit import EditError, Value, delete, flow, set_value
from syncsrv.config.yamltext import parse

NODE = """\
# node.yaml, with care
node: fw1   # its name
role: master                     # master | backup
peers:
  fw2: {address: "192.0.2.2:8022", may: operator}    # `syncsrv pair` writes this

  # another one, later
variables: {kea_server: fw1}     # for overrides
managers:
list:
  - a  # first
  - b: 1
    c: 2
  -
  - d
text: |
  one
  two

last:   # nothing yet
"""


def changed(before: str, after: str) -> tuple[list[str], list[str]]:
    """The lines that went and the lines that came; everything around them is equal."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    return old[head : len(old) - tail], new[head : len(new) - tail]


@pytest.mark.parametrize(
    "path, value, gone, come",
    [
        (
            ("role",),
            "backup",
            ["role: master                     # master | backup\n"],
            ["role: backup                     # master | backup\n"],
        ),
        (
            ("peers", "fw3"),
            {"address": "192.0.2.3:8022", "key": "ssh-ed25519 AAAA"},
            [],
            ['  fw3: {address: "192.0.2.3:8022", key: "ssh-ed25519 AAAA"}\n'],
        ),
        (
            ("peers", "fw2"),
            {"address": "192.0.2.9:8022", "key": "k"},
            ['  fw2: {address: "192.0.2.2:8022", may: operator}    # `syncsrv pair` writes this\n'],
            ['  fw2: {address: "192.0.2.9:8022", key: k}    # `syncsrv pair` writes this\n'],
        ),
        (
            ("variables", "lan"),
            "10.0.0.1",
            ["variables: {kea_server: fw1}     # for overrides\n"],
            ["variables: {kea_server: fw1, lan: 10.0.0.1}     # for overrides\n"],
        ),
        (("managers", "supervisor", "socket"), "/run/s.sock", [], ["  supervisor: {socket: /run/s.sock}\n"]),
        (("managers",), True, ["managers:\n"], ["managers: true\n"]),
        (("last", "x"), None, [], ["  x: null\n"]),
        (("list", 0), "x", ["  - a  # first\n"], ["  - x  # first\n"]),
        (("list", 2), "x", ["  -\n"], ["  - x\n"]),
        (("list", 4), {"path": "/etc/x", "keep": True}, [], ["  - {path: /etc/x, keep: true}\n"]),
        (("list", 1, "d"), SecretRef("s"), [], ["    d: !secret s\n"]),
        (
            ("list",),
            ["z"],
            ["list:\n", "  - a  # first\n", "  - b: 1\n", "    c: 2\n", "  -\n", "  - d\n"],
            ["list: [z]\n"],
        ),
        (("text",), "one", ["text: |\n", "  one\n", "  two\n"], ["text: one\n"]),
        (("brand", "new", "thing"), {"a": {"b": 1}}, [], ["brand:\n", "  new:\n", "    thing:\n", "      a: {b: 1}\n"]),
    ],
)
def test_set(path: KeyPath, value: Value, gone: list[str], come: list[str]) -> None:
    assert changed(NODE, set_value(NODE, path, value)) == (gone, come)


@pytest.mark.parametrize(
    "path, gone, come",
    [
        (("role",), ["role: master                     # master | backup\n"], []),
        (
            ("peers", "fw2", "may"),
            [NODE.splitlines(True)[4]],
            ['  fw2: {address: "192.0.2.2:8022"}    # `syncsrv pair` writes this\n'],
        ),
        (
            ("peers", "fw2", "address"),
            [NODE.splitlines(True)[4]],
            ["  fw2: {may: operator}    # `syncsrv pair` writes this\n"],
        ),
        (
            ("variables", "kea_server"),
            ["variables: {kea_server: fw1}     # for overrides\n"],
            ["variables: {}     # for overrides\n"],
        ),
        (("list", 0), ["  - a  # first\n"], []),
        (("list", 1), ["  - b: 1\n", "    c: 2\n"], []),
        (("list", 1, "b"), ["  - b: 1\n", "    c: 2\n"], ["  - c: 2\n"]),
        (("list", 2), ["  -\n"], []),
        (("text",), ["text: |\n", "  one\n", "  two\n"], []),
        (("last",), ["last:   # nothing yet\n"], []),
    ],
)
def test_delete(path: KeyPath, gone: list[str], come: list[str]) -> None:
    assert changed(NODE, delete(NODE, path)) == (gone, come)


def test_the_last_peer_leaves_an_empty_mapping_and_the_next_one_a_block() -> None:
    text = "peers:\n  fw2: {address: a}  # gone\n# tail\nx: 1\n"
    empty = delete(text, ("peers", "fw2"))
    assert empty == "peers: {}  # gone\n# tail\nx: 1\n"
    assert set_value(empty, ("peers", "fw3"), {"address": "b"}) == "peers:  # gone\n  fw3: {address: b}\n# tail\nx: 1\n"


@pytest.mark.parametrize(
    "text, path, value, after",
    [
        ("", ("a",), 1, "a: 1\n"),
        ("# c", (), {"a": 1}, "# c\n{a: 1}\n"),
        ("a: 1 # c\n", (), {"a": 2, "b": 3}, "a: 2 # c\nb: 3\n"),
        ("# only a comment", ("a", "b"), "x", "# only a comment\na: {b: x}\n"),
        ("{}\n", ("a",), 1, "{a: 1}\n"),
        ("a: 1", ("b",), 2, "a: 1\nb: 2"),
        ("a: []\n", ("a", 0), "x", "a: [x]\n"),
        ("a: [1 , ]\n", ("a", 1), "x", "a: [1, x , ]\n"),
        ("a: 1\r\nb: 2 # c\r\n", ("c",), 3, "a: 1\r\nb: 2 # c\r\nc: 3\r\n"),
        ("'a': \"x\"\n", ("a",), "y", "'a': y\n"),
        ("a:\n- 1\n- 2\nb: x\n", ("a", 2), 3, "a:\n- 1\n- 2\n- 3\nb: x\n"),
        ("a: é # ü\nb: 1\n", ("b",), "ß", 'a: é # ü\nb: "ß"\n'),
    ],
)
def test_odd_layouts(text: str, path: KeyPath, value: Value, after: str) -> None:
    assert set_value(text, path, value) == after


@pytest.mark.parametrize(
    "text, path, why",
    [
        ("a: [1\n", ("a",), "line 2 cannot be read as YAML"),
        ("a: 1\n", ("a", "b"), "something else stands"),
        ("a: [1]\n", ("a", 5), "something else stands"),
        ("a: [1]\n", ("a", "b"), "something else stands"),
        ("a: &x {b: 1}\nc: *x\n", ("c", "d"), "an alias stands for it"),
        ("a: &x {b: 1}\nc: *x\n", ("a", "b"), "too special"),
        ("a: &x 1\nc: *x\n", ("a",), "too special"),
    ],
)
def test_what_cannot_be_set_is_refused(text: str, path: KeyPath, why: str) -> None:
    with pytest.raises(EditError, match=why) as caught:
        set_value(text, path, "new")
    assert caught.value.path == path
    assert caught.value.message.startswith("cannot change ")
    assert "syncsrv check" in caught.value.remedy


@pytest.mark.parametrize("path", [(), ("nope",), ("a", "b"), ("l", 3)])
def test_what_is_not_there_cannot_be_deleted(path: KeyPath) -> None:
    with pytest.raises(EditError, match="it is not there"):
        delete("a: 1\nl: [1]\n", path)


@pytest.mark.parametrize(
    "value, written",
    [
        ("master", "master"),
        ("10.0.0.1", "10.0.0.1"),
        ("1.5", '"1.5"'),
        ("17", '"17"'),
        ("true", '"true"'),
        ("null", '"null"'),
        ("", '""'),
        ("a: b", '"a: b"'),
        ("# x", '"# x"'),
        ("-x", '"-x"'),
        ("a\nb\t\x85\u2028", '"a\\nb\\t\\U00000085\\U00002028"'),
        (True, "true"),
        (None, "null"),
        (3, "3"),
        (2.5, "2.5"),
        ([1, ["a"], {}], "[1, [a], {}]"),
    ],
)
def test_values_on_one_line(value: Value, written: str) -> None:
    assert flow(value) == written


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc1 :-", max_size=3), inner, max_size=3),
    max_leaves=8,
)


def layouts(draw: st.DrawFn, data: Any, indent: int) -> str:
    """The same data in one of the many ways to write it."""
    pad = " " * indent
    comment = draw(st.sampled_from(["", "  # why", "\n" + pad + "# above"]))
    if isinstance(data, dict) and data and draw(st.booleans()):
        return "".join(
            f"\n{pad}{flow(key)}: {layouts(draw, one, indent + 2)}{comment if '#' not in comment or one == {} else ''}"
            for key, one in data.items()
        )
    if isinstance(data, list) and data and draw(st.booleans()):
        return "".join(f"\n{pad}- {layouts(draw, one, indent + 2)}" for one in data)
    if data is None and draw(st.booleans()):
        return ""
    return flow(data)


@st.composite
def texts(draw: st.DrawFn) -> str:
    data = draw(st.dictionaries(st.sampled_from(["node", "peers", "x"]), DATA, min_size=1))
    lines = [f"{key}: {layouts(draw, one, 2)}" for key, one in data.items()]
    return draw(st.sampled_from(["", "# head\n"])) + "\n".join(lines) + draw(st.sampled_from(["", "\n", "\n# tail\n"]))


def all_paths(data: Any, path: KeyPath = ()) -> list[KeyPath]:
    inner: list[Any] = (
        list(data.items()) if isinstance(data, dict) else list(enumerate(data)) if isinstance(data, list) else []
    )
    return [path, *(below for key, one in inner for below in all_paths(one, (*path, key)))]


@given(texts(), st.data(), DATA)
def test_any_edit_says_what_was_asked_or_is_refused_and_keeps_the_comments(
    text: str, data: st.DataObject, value: Any
) -> None:
    document = parse(text)
    assume(not document.flaws)
    path = data.draw(st.sampled_from(all_paths(document.data)))
    try:
        after = set_value(text, path, value)
    except EditError:
        return
    found: Any = parse(after).data
    for part in path:
        found = found[part]
    assert repr(found) == repr(value) or found == value
    first = document.spots[path].start.index
    untouched = text[:first].rpartition("\n")[0]
    assert after.startswith(untouched) or path == ()
    assert after.count("# tail") == text.count("# tail") or path == ()


@given(texts(), st.data())
def test_set_back_is_as_before_and_a_deletion_takes_only_its_own(text: str, data: st.DataObject) -> None:
    document = parse(text)
    assume(not document.flaws)
    path = data.draw(st.sampled_from(all_paths(document.data)))
    try:
        after = delete(text, path)
    except EditError:
        return
    kept = [
        one for one in all_paths(document.data) if one[: len(path)] != path and not any(isinstance(p, int) for p in one)
    ]
    remaining = all_paths(parse(after).data)
    assert all(one in remaining for one in kept)


def test_edits_of_ordinary_files_are_not_refused() -> None:
    for path in all_paths(parse(NODE).data)[1:]:
        set_value(NODE, path, "x")
        delete(NODE, path)
