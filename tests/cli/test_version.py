"""``syncsrv version``: the same three facts for people and programs."""

from __future__ import annotations

import json
import platform

import pytest

from syncsrv.cli.main import run
from syncsrv.version import PROTOCOL, __version__


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    python = platform.python_version()
    assert run(["version"]) == 0
    assert capsys.readouterr().out == f"syncsrv {__version__} (protocol {PROTOCOL}, Python {python})\n"
    answer = {"version": __version__, "protocol": PROTOCOL, "python": python}
    for arguments in (["version", "--json"], ["--json", "version"]):
        assert run(arguments) == 0
        assert json.loads(capsys.readouterr().out) == answer
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"
