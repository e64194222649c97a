"""Debian's Chromium, driven by Playwright: the machine's own where it has one, else that of a test root."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.support.testroot import ensure

PACKAGES = ("chromium", "fonts-dejavu-core")
FLAGS = (
    "--no-sandbox",  # it runs as root, in a namespace of its own
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Without the last ones it looks for its vendor's hosts at each start."""


def program(home: Path) -> Path:
    """An executable that is Chromium.

    Args:
        home: a folder of the test's, for a script of one line.

    Raises:
        TestRootError: there is none, and none can be had.
    """
    installed = shutil.which("chromium")
    if installed is not None:
        return Path(installed)
    script = home / "chromium"
    words = shlex.join(ensure(PACKAGES).argv("/usr/bin/chromium"))
    script.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    script.chmod(0o755)
    return script


@contextmanager
def chromium(home: Path) -> Iterator[Browser]:
    """A headless browser; it ends with the block.

    Args:
        home: as in ``program``.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(home), args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()
