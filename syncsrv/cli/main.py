"""The command ``syncsrv``: global options, the table of commands, and how errors leave.

A command X is ``command`` in ``syncsrv/cli/X.py``, imported when it is called and not before: ``--help`` is printed
from the table here. Every command takes ``--json`` after its name too, without saying so itself.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from syncsrv.cli.output import Settings, printable
from syncsrv.errors import SyncsrvError, UsageError
from syncsrv.version import __version__

COMMANDS = {
    "demo": "Show the main job on this machine: two nodes, one edit, one sync.",
    "init": "Make a node's configuration, key and repository.",
    "check": "Check the configuration files.",
    "key": "Print this node's public key.",
    "user": "Add, list, change and remove users.",
    "serve": "Start and supervise all processes of this node.",
    "status": "Show what is in sync, what is different and what is well.",
    "commit": "Commit what has changed now, with a message.",
    "log": "Show the history, of everything or of one path.",
    "show": "Show one revision and what it changed.",
    "diff": "Show what a sync would change, or what differs between revisions.",
    "sync": "Tag the configuration and bring it to the backups.",
    "rollback": "Restore an earlier revision, as a new commit.",
    "vip": "Show the virtual addresses, and move them by hand.",
    "services": "Show, start, stop, restart and reload services.",
    "core": "Run the process that applies changes (started by serve).",
    "door": "Run the process that speaks SSH (started by serve).",
    "web": "Run the process that serves the page (started by serve).",
    "carp": "Run the process that holds virtual addresses (started by serve).",
    "install": "Have systemd run this node, now and at each boot.",
    "version": "Print the version.",
}
"""Name: the help's first line, which is that of the command's own."""

INTERRUPTED = 130
BROKEN_PIPE = 141


class _Commands(click.Group):
    """Loads a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"syncsrv.cli.{cmd_name}").command
        _take_json(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            import difflib  # 4 ms that only a mistyped name pays

            near = difflib.get_close_matches(name, COMMANDS, 1)
            hint = f"did you mean {near[0]}?" if near else "`syncsrv --help` lists them"
            raise UsageError(f"cannot run {name}: there is no such command", hint)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _set_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    settings = ctx.find_object(Settings)
    if value and settings is not None:
        settings.as_json = True


def _take_json(command: click.Command) -> None:
    if not any("--json" in option.opts for option in command.params):
        command.params.append(
            click.Option(["--json"], is_flag=True, expose_value=False, callback=_set_json, help="Print JSON.")
        )
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _take_json(inner)


_EXIT = """Exit status: 0 done; 1 failed, with the reason; 2 usage or configuration; 3 a peer cannot be reached;
4 refused by a guard. `syncsrv COMMAND --help` says more."""


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXIT)
@click.option(
    "--config",
    type=click.Path(path_type=Path, readable=False),  # door and web may not, and need not
    default=Path("/etc/syncsrv"),
    envvar="SYNCSRV_CONFIG",
    show_default=True,
    show_envvar=True,
    help="The configuration directory.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; errors too.")
@click.version_option(__version__, message="%(version)s")
@click.pass_context
def cli(ctx: click.Context, config: Path, as_json: bool) -> None:
    """Keep a pair of hosts that do the same job equal: history, synchronization on command, rollback."""
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    ctx.obj = Settings(Path(os.path.abspath(config)), as_json=as_json, colour=colour)


def main() -> NoReturn:
    """Run the command that the process was started with, and exit with its status."""
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Run one command.

    Args:
        argv: the arguments after ``syncsrv``.

    Returns:
        The exit status: what the command returned (None is 0), that of the error that ended it, 2 for a command line
        that makes no sense, 130 when interrupted.
    """
    before_dashes = argv[: argv.index("--")] if "--" in argv else argv
    as_json = "--json" in before_dashes
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = cli.main(args=list(argv), prog_name="syncsrv", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        if isinstance(error, click.exceptions.NoArgsIsHelpError) and not as_json:
            error.show()
            return error.exit_code
        _report(_usage(error), as_json=as_json)
        return error.exit_code
    except SyncsrvError as error:
        _report(error, as_json=as_json)
        return error.exit_status
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`); the interpreter would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        _report(SyncsrvError(f"cannot go on with{where or ' this'}: {error.strerror or error}"), as_json=as_json)
        return SyncsrvError.exit_status
    return status if isinstance(status, int) else 0


def _usage(error: click.ClickException) -> SyncsrvError:
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    command = ctx.command_path if ctx else "syncsrv"
    if isinstance(error, click.exceptions.NoArgsIsHelpError) or error.message == "Missing command.":
        return UsageError(f"cannot tell what to do: {command} needs a command", f"see `{command} --help`")
    message = " ".join(error.format_message().split()).rstrip(".")
    return UsageError(f"cannot understand the command line: {message}", f"see `{command} --help`")


def _report(error: SyncsrvError, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"error": {"code": error.code, "message": error.message, "remedy": error.remedy}}))
        return
    *above, last = error.message.split("\n")
    if error.code == "configuration":
        above, last = [*above, last], "cannot use this configuration"
    for line in above:
        print(printable(line), file=sys.stderr)
    remedy = f"; {error.remedy}" if error.remedy else ""
    print(f"syncsrv: {printable(last)}{printable(remedy)}", file=sys.stderr)
