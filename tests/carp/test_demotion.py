"""Reasons add up, and no advskew leaves what every implementation accepts."""

from __future__ import annotations

import pytest

from syncsrv.carp.demotion import SERVES_NOT, Demotion, addresses, link, send_errors


def test_nothing_demotes_at_first() -> None:
    assert Demotion().total == 0
    assert Demotion().effective(100) == 100


@pytest.mark.parametrize(
    ("reasons", "advskew", "effective"),
    [
        ({"health:web": 10}, 0, 10),
        ({"health:web": 10, "operator": 20}, 100, 130),
        ({"health:web": 10, "operator": 240}, 0, SERVES_NOT),
        ({"maintenance": 240, "link:eth0": 240}, 239, SERVES_NOT),
        ({"health:web": 200}, 39, 239),
    ],
)
def test_reasons_add_up_to_240_at_most(reasons: dict[str, int], advskew: int, effective: int) -> None:
    assert Demotion(reasons).effective(advskew) == effective


def test_reasons_name_their_device() -> None:
    assert (link("eth0"), send_errors("eth0")) == ("link:eth0", "send-errors:eth0")
    assert addresses("eth0") == "addresses:eth0"
