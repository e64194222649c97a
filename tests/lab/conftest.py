"""The lab: machines with their own systemd, and the pair that they can be."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import edge, installed, netns
from tests.support.edge import Edge
from tests.support.machines import Cable, Machine, why_not
from tests.support.testroot import TestRoot

Figure = Callable[[str, str], None]


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    """Have something that was measured shown at the end of `make lab`: what it is, and how much with its unit."""
    return lambda what, value: record_property(what, value)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    measured = [report for report in reports if report.when == "call" and report.user_properties]
    if measured:
        terminalreporter.section("figures")
    for report in measured:
        terminalreporter.write_line(report.nodeid)
        for what, value in report.user_properties:
            terminalreporter.write_line(f"    {what:<40} {value}")


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


@pytest.fixture(scope="session")
def layer(bootable: None, testroot: TestRoot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """syncsrv installed from the built wheel, as a layer over the test root; made once for all that share the tests."""
    folder = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        folder = folder.parent
    with installed.shared(testroot, folder / "installed") as made:
        yield made


@pytest.fixture(scope="module")
def pair(testroot: TestRoot, layer: Path) -> Iterator[Edge]:
    """fw1, which serves, and fw2, its BACKUP, between a client and a server; no configuration synchronized yet."""
    with edge.running(testroot, [layer], edge.CLUSTER + edge.STATE_SYNC) as found:
        yield found
