"""The syntax colours that a process remembers, for the pages that show files."""

from __future__ import annotations

from flask import current_app

from syncsrv.web.views.filediff import Colours
from syncsrv.web.views.highlight import Allowance, Highlighter

_NAME = "syncsrv-colours"


def colours() -> Colours:
    """For one page: what all its files may take together begins to run now."""
    remembered: Highlighter = current_app.extensions.setdefault(_NAME, Highlighter())
    allowance = Allowance(current_app.extensions["syncsrv-clock"])
    return lambda path, text, blob: remembered.lines(path, text, blob, allowance)
