"""What every test has: deterministic hypothesis, short temporary folders, and no silent skip in CI."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.sample import left_out
from tests.support.skips import is_allowed
from tests.support.testroot import MAKE_S, TestRoot, TestRootError, ensure

settings.register_profile(
    "default",
    derandomize=True,  # the same examples in every run: a failure is of the change, not of the day
    deadline=None,  # two cores shared with daemons under test say nothing about one example's time
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("long", settings.get_profile("default"), derandomize=False, max_examples=2000)
settings.load_profile("default")

IN_CI = os.environ.get("CI") == "true"
SEED = int(os.environ.setdefault("SYNCSRV_TEST_SEED", str(random.randrange(1_000_000))))
"""Of what is left to chance; a failure is run again by giving the seed that the head of the output shows.

The processes that share the tests inherit it, so that all draw the same sample.
"""

MADE = {"testroot", "browser"}
"""Fixtures that make a Debian root, one after the other, where there is none yet."""


def pytest_configure(config: pytest.Config) -> None:
    """A shell makes its background jobs ignore signals, and so does nohup; no program under test may inherit that."""
    interrupted, default = signal.default_int_handler, signal.SIG_DFL
    for number, usual in ((signal.SIGINT, interrupted), (signal.SIGQUIT, default), (signal.SIGHUP, default)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.fixture(autouse=True)
def _no_signal_stays_blocked() -> Iterator[None]:
    """A blocked signal is inherited: programs that later tests start could not be told to end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    after = signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert after == before, f"left blocked: {after ^ before}"


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A folder whose path is short enough for Unix sockets some levels below it (their limit is 107 bytes)."""
    path = Path(tempfile.mkdtemp(prefix="s-", dir="/tmp"))
    try:
        yield path.resolve()
    finally:
        shutil.rmtree(path)


@pytest.fixture(scope="session")
def testroot() -> TestRoot:
    """A Debian root with real daemons and clients, failover peers among them; see tests/support/testroot.py."""
    try:
        return ensure()
    except TestRootError as error:
        pytest.skip(str(error))


def pytest_report_header() -> str:
    return f"SYNCSRV_TEST_SEED={SEED}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the dice leave out; give the first test that needs the test root the time to make it."""
    if config.option.markexpr == "not long":
        marked = [(item, item.get_closest_marker("sample")) for item in items]
        cases = [(item.nodeid, item.path, mark.args[0]) for item, mark in marked if mark is not None]
        named = {argument.partition("::")[2] for argument in config.args}
        if cases and named == {""}:
            out = left_out(cases, SEED)
            config.hook.pytest_deselected(items=[item for item in items if item.nodeid in out])
            items[:] = [item for item in items if item.nodeid not in out]
    for item in items:
        if MADE & set(getattr(item, "fixturenames", ())) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(2 * MAKE_S + 120))


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Make a skip a failure unless tests/support/skips.py allows its reason."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not is_allowed(reason):
        report.outcome = "failed"
        report.longrepr = f"skipped where CI=true, for a reason that tests/support/skips.py does not allow: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    # Names that are no text stand in what was captured, and cannot travel to the process that prints.
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    if IN_CI:
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if IN_CI:
        _refuse_skip(report)
    return report
