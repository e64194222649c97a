"""The reader of YAML: what it takes, where it says things stand, and that nothing but flaws leaves it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.config.document import MAX_BYTES, MAX_DEPTH, MAX_FLAWS, Document, KeyPath
from syncsrv.config.values import SecretRef
from syncsrv.config.yamltext import parse


def flaws(source: bytes | str) -> list[tuple[int, int, KeyPath, str]]:
    return [(flaw.mark.line, flaw.mark.column, flaw.path, flaw.message) for flaw in parse(source).flaws]


def places(document: Document, path: KeyPath) -> tuple[tuple[int, int], tuple[int, int]]:
    key, value = document.key_at(path), document.value_at(path)
    return (key.line, key.column), (value.line, value.column)


@pytest.mark.parametrize(
    "written, value",
    [
        ("x", "x"),
        ("yes", "yes"),
        ("No", "No"),
        ("on", "on"),
        ("y", "y"),
        ("2026-11-23", "2026-11-23"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("-5", -5),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ('"true"', "true"),
        ("!!str 1", "1"),
        ("! 1", "1"),
        ("9" * 41, "9" * 41),
        ("!secret carp_lan", SecretRef("carp_lan")),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(written: str, value: object) -> None:
    document = parse(f"a: {written}\n")
    assert document.flaws == ()
    assert document.data == {"a": value}
    assert type(document.data["a"]) is type(value)


def test_keys_are_text() -> None:
    assert parse("1: a\ntrue: b\n~: c\n'q': d\n").data == {"1": "a", "true": "b", "~": "c", "q": "d"}


def test_an_empty_text_says_nothing() -> None:
    assert parse("").data is None
    assert parse("# only this\n\n").data is None
    assert parse(b"\xef\xbb\xbfa: 1\n").data == {"a": 1}


TEXT = """\
# a comment
node: fw1
areas:
  proxy:
    paths: [/etc/nginx,
            /etc/ssl]
  dns:
    paths:
      - /etc/unbound   # here
      -   /etc/hosts
peers: {"fw2": {key: x}}
last:
"""


@pytest.mark.parametrize(
    "path, key, value",
    [
        ((), (2, 1), (2, 1)),
        (("node",), (2, 1), (2, 7)),
        (("areas",), (3, 1), (4, 3)),
        (("areas", "proxy", "paths"), (5, 5), (5, 12)),
        (("areas", "proxy", "paths", 1), (6, 13), (6, 13)),
        (("areas", "dns", "paths", 0), (9, 9), (9, 9)),
        (("areas", "dns", "paths", 1), (10, 11), (10, 11)),
        (("peers", "fw2"), (11, 9), (11, 16)),
        (("peers", "fw2", "key"), (11, 17), (11, 22)),
        (("last",), (12, 1), (12, 1)),  # nothing is written there
        (("areas", "dns", "limit"), (7, 3), (8, 5)),  # not there: what is around it answers
        (("nowhere", 5, "x"), (2, 1), (2, 1)),
    ],
)
def test_places(path: KeyPath, key: tuple[int, int], value: tuple[int, int]) -> None:
    assert places(parse(TEXT), path) == (key, value)


def test_ends_are_those_of_what_is_written() -> None:
    document = parse(TEXT)
    for path, text in {
        ("node",): "fw1",
        ("areas", "proxy", "paths"): "[/etc/nginx,\n            /etc/ssl]",
        ("areas", "dns", "paths"): "- /etc/unbound   # here\n      -   /etc/hosts",
        ("peers",): '{"fw2": {key: x}}',
    }.items():
        spot = document.spots[path]
        assert TEXT[spot.start.index : spot.end.index] == text


def test_an_alias_repeats_and_its_parts_stand_where_it_does() -> None:
    document = parse("a: &x [1, {b: 2}]\nc: *x\n")
    assert document.data == {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}
    assert places(document, ("c", 1, "b")) == ((2, 1), (2, 4))


TWICE = "a second `: ` in one value, or wrong indentation; text with `: ` in it stands in quotes"
PYTHON_TAG = "tag:yaml.org,2002:python/object:os.system"


@pytest.mark.parametrize(
    "text, line, column, path, words",
    [
        ("a:\n\tb: 1\n", 2, 1, ("a",), "a tab stands where only spaces may indent"),
        ("a: b: c\n", 1, 5, ("a",), TWICE),
        ("a:\n  b: 1\n c: 2\n", 3, 2, ("a",), "this does not fit the indentation above it (in what begins on line 1)"),
        ("a: [1, 2\nb: 3\n", 2, 2, ("a", 2), "`]` or `,` is missing before this (in what begins on line 1)"),
        ('a: 1\nb: "\\UFFFFFFFF"\n', 2, 2, ("b",), "a malformed escape or tag follows"),
        ("a: {b: 1\n", 2, 1, ("a",), "`}` or `,` is missing before this (in what begins on line 1)"),
        ("a: 'x\n", 2, 1, ("a",), "a quote is not closed (in what begins on line 1)"),
        ("a: 1\nb\nc: 2\n", 2, 1, ("b",), "a `:` is missing after this key"),
        ("a: @x\n", 1, 4, ("a",), "nothing can begin with '@'; text that does stands in quotes"),
    ],
)
def test_syntax_errors_and_their_places(text: str, line: int, column: int, path: KeyPath, words: str) -> None:
    assert flaws(text) == [(line, column, path, f"cannot be read as YAML: {words}")]


@pytest.mark.parametrize(
    "text, line, column, path, message",
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, ("a",), "cannot be given twice: it stands on line 1 already"),
        ("x:\n  {a: 1, 'a': 2}\n", 2, 10, ("x", "a"), "cannot be given twice: it stands on line 2 already"),
        (
            "a: !!bool yes\n",
            1,
            4,
            ("a",),
            "cannot take the tag tag:yaml.org,2002:bool: only `!secret NAME` has a meaning",
        ),
        (
            "a: !!python/object:os.system ls\n",
            1,
            4,
            ("a",),
            f"cannot take the tag {PYTHON_TAG}: only `!secret NAME` has a meaning",
        ),
        ("a: !x [1]\n", 1, 4, ("a",), "cannot take the tag !x: only `!secret NAME` has a meaning"),
        ("a: !secret\n", 1, 4, ("a",), "cannot take !secret without the NAME of a key in secrets.yaml"),
        ("a: !secret b c\n", 1, 4, ("a",), "cannot take !secret without the NAME of a key in secrets.yaml"),
        ("<<: {a: 1}\n", 1, 1, (), "cannot merge with `<<`: YAML 1.2 has no merge keys"),
        ("? [a]\n: 1\n", 1, 3, (), "cannot be used as a key: a key is text"),
        ("!x a: 1\n", 1, 1, (), "cannot be used as a key: a key has no tag and no anchor"),
        ("a: *b\n", 1, 4, ("a",), "cannot repeat *b: no such & is finished before it"),
        ("a: &b [*b]\n", 1, 8, ("a", 0), "cannot repeat *b: no such & is finished before it"),
        ("%YAML 1.1\n---\na: yes\n", 1, 1, (), "cannot take YAML directives (lines with %)"),
        ("a: 1\n---\nb: 2\n", 2, 1, (), "cannot take a second document: `---` may stand only at the top"),
        ('a: "\\ud800"\n', 1, 4, ("a",), "cannot hold half a surrogate pair"),
        ('a: !!str "\\udfff"\n', 1, 4, ("a",), "cannot hold half a surrogate pair"),
        ('"\\ud800": 1\n', 1, 1, (), "cannot hold half a surrogate pair"),
        ("a: 1\nb: x\x07y\n", 2, 5, ("b",), "cannot hold the character U+0007"),
    ],
)
def test_flaws_and_their_places(text: str, line: int, column: int, path: KeyPath, message: str) -> None:
    assert flaws(text) == [(line, column, path, message)]


def test_bytes_that_are_not_utf_8_are_each_shown_once_a_line() -> None:
    assert flaws(b"a: caf\xe9 \xe9\nb: 1\nc: \xff\n") == [
        (1, 7, ("a",), "cannot hold the byte 0xe9, which is not UTF-8"),
        (3, 4, ("c",), "cannot hold the byte 0xff, which is not UTF-8"),
    ]


def test_one_run_shows_the_syntax_errors_of_every_top_level_key() -> None:
    document = parse("a: [1\nb: good\nc:\n  d: 1\n   e: 2\n# between\nf: 'open\ng:\n  - x\n")
    assert [(flaw.mark.line, flaw.path[:1]) for flaw in document.flaws] == [(2, ("a",)), (5, ("c",)), (10, ("f",))]
    assert document.data == {"b": "good", "g": ["x"]}
    assert document.unread == {("a",), ("c",), ("f",)}
    assert places(document, ("g", 0)) == ((9, 5), (9, 5))


def test_what_lost_its_anchor_to_a_syntax_error_is_no_flaw_of_its_own() -> None:
    assert [message[:22] for *_, message in flaws("a: &x [1\nb: *x\n")] == ["cannot be read as YAML"]


def test_a_duplicate_leaves_the_first_and_still_shows_what_is_wrong_inside() -> None:
    document = parse("a: {b: 1}\na: {b: *x}\n")
    assert document.data == {"a": {"b": 1}}
    assert [(flaw.mark.line, flaw.path) for flaw in document.flaws] == [(2, ("a",)), (2, ("a (again)", "b"))]
    assert places(document, ("a", "b")) == ((1, 5), (1, 8))


def test_size_depth_and_repetition_have_bounds() -> None:
    assert flaws("#" * (MAX_BYTES + 1)) == [(1, 1, (), f"cannot be {MAX_BYTES + 1} bytes long: at most {MAX_BYTES}")]
    assert parse("a: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)).flaws == ()
    assert "deeper than 32" in flaws("a: " + "[" * 5000)[0][3]
    assert "deeper than 32" in flaws("- " * 5000)[0][3]
    chain = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 40))
    assert "deeper than 32" in flaws(chain)[0][3]
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
    bomb += "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
    assert [message for *_, message in flaws(bomb)] == ["cannot hold more than 100000 values, aliases included"]
    assert len(flaws("a: 1\n" * 500)) == MAX_FLAWS


@pytest.mark.parametrize("text", ["[" * 500_000, "'" * 500_001, "\0" * 500_000, "a: [\n" * 100_000, "\xff\n" * 300_000])
def test_hostile_texts_take_seconds_at_most(text: str) -> None:
    parse(text)  # pytest's own deadline is the measure


@given(st.binary(max_size=200))
def test_any_bytes_are_data_or_flaws(source: bytes) -> None:
    document = parse(source)
    for flaw in document.flaws:
        assert flaw.message.startswith("cannot ")
        assert flaw.mark.line >= 1
        assert flaw.mark.column >= 1


YAMLISH = st.text(st.sampled_from("{}[]:,-?&*!|>'\"%@#\n \t\\~<=ab1."), max_size=60)


@given(YAMLISH)
def test_any_yaml_like_text_is_data_or_flaws(source: str) -> None:
    document = parse(source)
    assert document.flaws or document.unread == frozenset()
