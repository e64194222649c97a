from __future__ import annotations

import pytest

from syncsrv.plan.words import counted, listed, sized


def test_lists_and_counts() -> None:
    assert listed("abc") == "a, b, c"
    assert listed("abcdefgh") == "a, b, c, d, e and 3 more"
    assert (counted(0, "file"), counted(1, "file"), counted(2, "file")) == ("0 files", "1 file", "2 files")


@pytest.mark.parametrize(
    "size, said",
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (10 * 1024 - 1, "10 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (3_600_000, "3.4 MiB"),
        (96 * 1024**2, "96 MiB"),
        (5 * 1024**3 // 2, "2.5 GiB"),
        (5000 * 1024**4, "5000 TiB"),
    ],
)
def test_sizes(size: int, said: str) -> None:
    assert sized(size) == said
