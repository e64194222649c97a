"""What is printed: for people and for programs."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from syncsrv.cli.output import Settings, printable, sentences, table, warn

PLAIN = Settings(Path("/etc/syncsrv"))
COLOUR = Settings(Path("/etc/syncsrv"), colour=True)


def test_json_is_one_line_that_any_parser_reads(capsys: pytest.CaptureFixture[str]) -> None:
    def never() -> str:
        raise AssertionError("the text for people is not made for JSON")

    Settings(Path("/"), as_json=True).show({"path": "/etc/caf\udce9\n", "n": None}, never)
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.count("\n") == 1
    assert json.loads(out) == {"path": "/etc/caf\udce9\n", "n": None}


def test_text_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    PLAIN.show({}, lambda: "well")
    PLAIN.show({}, lambda: "")
    assert capsys.readouterr().out == "well\n"


def test_colour_only_where_it_is_shown() -> None:
    assert PLAIN.paint("x", "red") == "x"
    assert COLOUR.paint("x", "red", "bold") == "\x1b[31;1mx\x1b[0m"
    assert COLOUR.paint("", "red") == ""


def test_columns_are_as_wide_as_they_look() -> None:
    rows = [["a", COLOUR.paint("long", "green"), "x"], ["bbb", "s", ""], ["c"]]
    assert table(rows, header=["N", "STATE"], indent="  ") == (
        "  N    STATE\n  a    \x1b[32mlong\x1b[0m   x\n  bbb  s\n  c"
    )
    assert table([]) == ""


def test_a_file_name_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\nc\x9b\u202e\udcff é") == "a\\x1b[2Jb\\nc\\x9b\\u202e\\udcff é"


def test_a_remark_is_not_part_of_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    warn("x\x07")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "syncsrv: x\\x07\n")


@pytest.mark.parametrize(
    "env, coloured",
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"TERM": "xterm", "NO_COLOR": ""}, False)],
)
def test_a_terminal_gets_colour_unless_it_or_the_person_does_not_want_it(
    tmp_path: Path, env: dict[str, str], coloured: bool
) -> None:
    (tmp_path / "node.yaml").write_text("node: a\nrole: master\n")
    (tmp_path / "cluster.yaml").write_text("cluster: b\n")
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "syncsrv", "--config", str(tmp_path), "check"]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=theirs, env=env, check=False)
        shown = os.read(ours, 4096)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0
    assert b" is well." in shown
    assert (b"\x1b[" in shown) is coloured


def test_a_reason_of_several_lines_is_indented_and_not_shown_twice() -> None:
    assert sentences("") == [""]
    assert sentences("a\x1b") == ["a\\x1b"]
    assert sentences("a\n  b\nc") == ["a", "      b", "    c"]
    assert sentences("a\n  b\nc", "before\nb\nafter") == ["a", "    c"]
    assert len(sentences("a\n" * 100, most=3)) == 4
