"""The short way to run_dir says what the long one says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.config.load import parse_node
from syncsrv.config.problem import ConfigurationError
from syncsrv.config.rundir import DEFAULT, run_dir_of


def node(directory: Path, text: str) -> Path:
    (directory / "node.yaml").write_bytes(text.encode())
    return directory


@pytest.mark.parametrize(
    "text, run_dir",
    [
        ("node: a\nrole: master\n", DEFAULT),
        ("node: a\nrole: master\nrun_dir: /run/x   # here\n", Path("/run/x")),
        ('node: a\nrole: master\nrun_dir: "/run/x"\n', Path("/run/x")),
        ("node: a\r\nrole: master\r\nrun_dir: '/run/x'\r\n", Path("/run/x")),
        ("node: a\nrole: master\nrun_dir: |-\n  /run/x\n", Path("/run/x")),
        ("node: a\nrole: master\nrun_dir:\n  /run/x\n", Path("/run/x")),
        ("node: a\nrole: master\n'run_dir': /run/x\n", Path("/run/x")),
        ("{node: a, role: master, run_dir: /run/x}\n", Path("/run/x")),
        ("  node: a\n  role: master\n  run_dir: /run/x\n", Path("/run/x")),
        ('node: a\nrole: master\nrun_dir: "/run/\\x41"\n', Path("/run/A")),
        ("node: a\nrole: master\nrun_dir : /run/x\n", Path("/run/x")),
        ("node: a\nrole: master\nrun_dir: //run/./x/\n", Path("/run/x")),
    ],
)
def test_both_ways_agree(tmp_path: Path, text: str, run_dir: Path) -> None:
    assert run_dir_of(node(tmp_path, text)) == run_dir
    assert parse_node(text.encode(), "node.yaml").run_dir == run_dir


@pytest.mark.parametrize(
    "text",
    [
        "node: a\nrole: master\nrun_dir: x\n",
        "node: a\nrole: master\nrun_dir: /a/../b\n",
        "",
        "node: a\nrun_dir: /a\nrun_dir: /b\nrole: master\n",
    ],
)
def test_what_is_wrong_is_said_by_the_reader(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError):
        run_dir_of(node(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such file; `syncsrv init` writes one"):
        run_dir_of(tmp_path)


LINES = st.lists(
    st.sampled_from(
        [
            "node: a",
            "role: master",
            "run_dir: /run/x",
            "run_dir: /run/y # c",
            "run_dir:  '/z'",
            "# run_dir: /c",
            " run_dir: /i",
            "peers:",
            "  run_dir: /p",
            "variables: {a: x}",
            "{",
            "}",
            "'",
            '"run_dir": /q',
            "variables: {a: '",
            "'}",
            "---",
            "",
            "variables: {a: |",
            "run_dir: /r\r",
            "\u2028run_dir: /s",
            "? run_dir",
            ": /t",
        ]
    ),
    max_size=6,
)


@given(LINES, st.sampled_from(["\n", "\r\n", "\r"]))
def test_any_text_that_is_read_is_read_alike(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], end: str
) -> None:
    text = end.join(["node: a", "role: master", *lines, ""])
    try:
        expected = parse_node(text.encode(), "node.yaml").run_dir
    except ConfigurationError:
        return  # what is wrong elsewhere in the file is core's to say
    assert run_dir_of(node(tmp_path_factory.getbasetemp(), text)) == expected


def test_the_short_way_loads_no_parser(tmp_path: Path) -> None:
    node(tmp_path, "node: a\nrole: master\nrun_dir: /run/x\n")
    code = (
        "import sys, pathlib; from syncsrv.config.rundir import run_dir_of; "
        f"print(run_dir_of(pathlib.Path({str(tmp_path)!r}))); print(*{{'ruamel', 'pydantic'}} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "/run/x\n\n"
