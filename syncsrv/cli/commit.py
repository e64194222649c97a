"""``syncsrv commit``: now, with a person's words, instead of when the watch gets to it."""

from __future__ import annotations

import click

from syncsrv.cli.output import Settings, pass_settings, printable
from syncsrv.cli.where import client, named


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("-m", "--message", default="", help="What was changed and why.")
@pass_settings
def command(settings: Settings, paths: tuple[str, ...], message: str) -> None:
    """Commit what has changed now, with a message.

    PATH: only these, as seen under root. Without this command a change is committed by itself 2 s after it was saved.
    """
    body = {"message": message, "paths": [named(path) for path in paths]}
    with client(settings) as core:
        reply = core.call("commit", body, deadline_s=120)

    def human() -> str:
        if reply["commit"] is None:
            lines = ["Nothing to commit: the history equals what is live."]
            if message:
                lines.append("What was saved is committed by itself after 2 s; say why with `syncsrv sync --reason`.")
        else:
            files = f"{reply['files']} path{'' if reply['files'] == 1 else 's'}"
            lines = [f"{settings.paint(reply['commit'][:10], 'yellow')} {printable(reply['subject'])} ({files})"]
        lines += [
            f"not in the history: {printable(one['path'])} ({printable(one['detail'] or one['reason'])})"
            for one in reply["left_out"]
        ]
        return "\n".join(lines)

    settings.show(reply, human)
