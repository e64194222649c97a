"""The lab: machines with their own systemd, and the pair that they can be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import netns
from tests.support.machines import Cable, Machine, why_not
from tests.support.testroot import TestRoot


@pytest.fixture(scope="session")
def bootable() -> None:
    """Machines can boot here."""
    if reason := why_not():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def machines(bootable: None, testroot: TestRoot) -> Iterator[tuple[Machine, Machine]]:
    """Two bare machines, booted, with eth0 on one bridge: 10.99.0.1 and 10.99.0.2."""
    spaces = netns.Lab()
    try:
        with (
            Machine("one", testroot, spaces, {"eth0": Cable.to("br0", "10.99.0.1/24")}) as one,
            Machine("two", testroot, spaces, {"eth0": Cable.to("br0", "10.99.0.2/24")}) as two,
        ):
            one.boot()
            two.boot()
            yield one, two
    finally:
        spaces.close()
