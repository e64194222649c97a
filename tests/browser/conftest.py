"""One browser, and one pair, for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.sitekit import Site, site_of
from tests.support.browser import chromium
from tests.support.testroot import TestRootError


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Debian's Chromium."""
    try:
        with chromium(tmp_path_factory.mktemp("browser")) as found:
            yield found
    except TestRootError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def site(browser: Browser) -> Iterator[Site]:
    """A synchronized pair; alice is operator, rita admin, vera viewer."""
    with site_of(browser) as made:
        yield made
