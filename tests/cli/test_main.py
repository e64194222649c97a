"""The command line as a whole: its table, its help, and how errors leave it."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest

import syncsrv.cli
from syncsrv.cli import main as cli

PROGRAM = [sys.executable, "-Es", "-m", "syncsrv"]


def syncsrv_run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    plain = {key: value for key, value in os.environ.items() if key not in ("SYNCSRV_CONFIG", "NO_COLOR")}
    return subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, check=False, env={**plain, **(env or {})}
    )


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_table_is_what_the_commands_say_of_themselves(name: str) -> None:
    command: click.Command = importlib.import_module(f"syncsrv.cli.{name}").command
    assert command.help is not None
    assert command.help.split("\n\n")[0].replace("\n", " ") == cli.COMMANDS[name]
    assert command.name in (name, "command")


def test_every_module_with_a_command_is_in_the_table() -> None:
    commands = {
        module.name
        for module in pkgutil.iter_modules(syncsrv.cli.__path__)
        if hasattr(importlib.import_module(f"syncsrv.cli.{module.name}"), "command")
    }
    assert commands == set(cli.COMMANDS)


def options(command: click.Command, path: Sequence[str] = ()) -> list[tuple[Sequence[str], set[str]]]:
    own = [(path, {word for parameter in command.params for word in parameter.opts})]
    inner = command.commands.items() if isinstance(command, click.Group) else ()
    return own + [one for name, sub in inner for one in options(sub, (*path, name))]


def test_every_command_and_command_below_it_takes_json() -> None:
    for name in cli.COMMANDS:
        command = cli.cli.get_command(click.Context(cli.cli), name)
        assert command is not None
        for path, words in options(command, (name,)):
            assert "--json" in words, path


def test_help_is_printed_from_the_table_and_imports_no_command() -> None:
    code = (
        "import sys; from syncsrv.cli.main import run; status = run(['--help']); "
        "print(sorted(m for m in sys.modules if m.startswith('syncsrv.')), file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr.strip() == str(
        ["syncsrv.cli", "syncsrv.cli.main", "syncsrv.cli.output", "syncsrv.errors", "syncsrv.version"]
    )
    for name, line in cli.COMMANDS.items():
        assert any(words.split()[:1] == [name] and line in words for words in done.stdout.splitlines()), name


@pytest.mark.parametrize(
    "arguments, message, remedy",
    [
        (["chekc"], "cannot run chekc: there is no such command", "did you mean check?"),
        (["xyzzy"], "cannot run xyzzy: there is no such command", "`syncsrv --help` lists them"),
        (
            ["check", "--clustr"],
            "cannot understand the command line: No such option '--clustr'. Did you mean '--cluster'?",
            "see `syncsrv check --help`",
        ),
        (
            ["version", "more"],
            "cannot understand the command line: Got unexpected extra argument (more)",
            "see `syncsrv version --help`",
        ),
        (
            ["init", "--node", "a", "--role", "boss"],
            "cannot understand the command line: Invalid value for '--role': 'boss' is not one of 'master', 'backup'",
            "see `syncsrv init --help`",
        ),
        (
            ["init", "--node", "a"],
            "cannot understand the command line: Missing option '--role'. Choose from: master, backup",
            "see `syncsrv init --help`",
        ),
        (
            ["user", "add", "alice", "--role", "viewer", "--ssh-key", "/nowhere"],
            "cannot understand the command line: Invalid value for '--ssh-key': File '/nowhere' does not exist",
            "see `syncsrv user add --help`",
        ),
    ],
)
def test_a_command_line_that_makes_no_sense(arguments: list[str], message: str, remedy: str) -> None:
    plain = syncsrv_run(*arguments)
    assert (plain.returncode, plain.stdout, plain.stderr) == (2, "", f"syncsrv: {message}; {remedy}\n")
    as_json = syncsrv_run("--json", *arguments)
    assert (as_json.returncode, as_json.stderr) == (2, "")
    assert json.loads(as_json.stdout) == {"error": {"code": "usage", "message": message, "remedy": remedy}}


@pytest.mark.parametrize("arguments, command", [(["--json"], "syncsrv"), (["--json", "user"], "syncsrv user")])
def test_no_command_at_all_as_json(arguments: list[str], command: str) -> None:
    done = syncsrv_run(*arguments)
    assert (done.returncode, done.stderr) == (2, "")
    assert json.loads(done.stdout)["error"]["message"] == f"cannot tell what to do: {command} needs a command"


def test_json_behind_two_dashes_is_an_argument() -> None:
    done = syncsrv_run("version", "--", "--json")
    assert done.returncode == 2
    assert done.stdout == ""


def test_a_configuration_that_is_wrong_is_said_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text("node: fw1\nrol: master\n")
    done = syncsrv_run("--config", str(tmp_path), "key")
    file = tmp_path / "node.yaml"
    lines = [
        f"{file}:1:1: role: cannot be left out",
        f"{file}:2:1: rol: cannot be understood: there is no key rol here; did you mean role?",
    ]
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        *lines,
        "syncsrv: cannot use this configuration; correct these lines and run `syncsrv check`",
    ]
    as_json = syncsrv_run("--config", str(tmp_path), "key", "--json")
    assert as_json.returncode == 2
    assert json.loads(as_json.stdout) == {
        "error": {
            "code": "configuration",
            "message": "\n".join(lines),
            "remedy": "correct these lines and run `syncsrv check`",
        }
    }


def test_the_directory_comes_from_the_environment_and_the_option_wins(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    done = syncsrv_run("key", env={"SYNCSRV_CONFIG": str(one)})
    assert f"{one}/node.yaml:1:1: cannot be read" in done.stderr
    done = syncsrv_run("--config", str(two), "key", env={"SYNCSRV_CONFIG": str(one)})
    assert f"{two}/node.yaml:1:1: cannot be read" in done.stderr


def test_what_the_system_refuses_is_an_error_and_not_a_traceback(tmp_path: Path) -> None:
    done = syncsrv_run("--config", str(tmp_path), "status")
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "cannot " in done.stderr


def test_nobody_reads_the_output_any_more() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run([*PROGRAM, "version"], stdout=closed, stderr=subprocess.PIPE, check=False)
    assert done.returncode == cli.BROKEN_PIPE
    assert done.stderr == b""


def test_a_command_that_is_interrupted_while_it_waits_for_core(short_tmp: Path) -> None:
    (short_tmp / "node.yaml").write_text(f"node: a\nrole: master\nrun_dir: {short_tmp}\n")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(short_tmp / "core.sock"))
        silent.listen()
        silent.settimeout(20)
        child = subprocess.Popen(
            [*PROGRAM, "--config", str(short_tmp), "status"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        connection, _ = silent.accept()
        with connection:
            connection.settimeout(20)
            connection.recv(1)
            child.send_signal(signal.SIGINT)
            stdout, stderr = child.communicate(timeout=20)
    assert child.returncode == cli.INTERRUPTED
    assert stdout == b""
    assert b"Traceback" not in stderr


def test_without_a_command_the_help_is_shown_and_the_status_says_that_nothing_was_done() -> None:
    done = syncsrv_run()
    assert (done.returncode, done.stdout) == (2, "")
    assert "Commands:" in done.stderr


def test_text_that_the_terminal_cannot_show_does_not_end_the_command(tmp_path: Path) -> None:
    directory = tmp_path / "café"
    done = subprocess.run(
        [*PROGRAM, "--config", str(directory), "key"],
        capture_output=True,
        check=False,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    )
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert b"/node.yaml:1:1: cannot be read" in done.stderr
