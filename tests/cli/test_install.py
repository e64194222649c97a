"""``install`` where it cannot be done; where it can, tests/lab does it."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncsrv.install import systemd
from tests.integration.pair import make_node


@pytest.mark.skipif(systemd.is_there(), reason="systemd runs this machine")
def test_without_systemd_it_is_refused_with_what_to_do_instead(short_tmp: Path) -> None:
    node = make_node(short_tmp, "fw1", "master")
    for words in (["install"], ["install", "--dry-run"], ["install", "--remove"]):
        answer = node.ask(*words)
        assert answer.status == 1
        assert answer.data["error"]["message"] == "cannot install: systemd does not run this machine"
        assert "syncsrv serve" in answer.data["error"]["remedy"]
