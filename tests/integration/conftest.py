"""The pair, started and ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.pair import Pair, end_pair, make_pair, start_pair


@pytest.fixture
def pair(short_tmp: Path) -> Iterator[Pair]:
    """Two nodes with some files on the master, both running, nothing synchronized yet."""
    made = make_pair(short_tmp)
    made.fw1.write("/etc/proxy/main.conf", "listen 80\n")
    made.fw1.write("/etc/proxy/secret.key", "s3cret\n", mode=0o600)
    made.fw1.write("/etc/dns/zone", "a 192.0.2.1\n")
    made.fw1.file("/etc/proxy/empty").mkdir()
    made.fw1.file("/etc/proxy/link").symlink_to("/etc/passwd")
    try:
        start_pair(made)
        yield made
    finally:
        end_pair(made)


@pytest.fixture
def synced(pair: Pair) -> Pair:
    """The same after the first sync."""
    assert pair.synced("--reason", "first")["result"] == "done"
    return pair
