"""What several commands read from their arguments and print alike."""

from __future__ import annotations

import re

import click

from syncsrv.cli.output import Settings

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


class Duration(click.ParamType[float]):
    """``90``, ``90s``, ``10m`` or ``6h``, as seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h|)", str(value))
        if found is None:
            self.fail(f"{value!r} is no duration; write 90s, 10m or 6h", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


DURATION = Duration()


def print_started(settings: Settings, job: str) -> int:
    """Say that a job runs, for who does not wait for it."""
    settings.show({"job": job}, lambda: f"job {job} was started; `syncsrv status` shows how it is")
    return 0
