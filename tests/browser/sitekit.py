"""A browser in front of a real pair, watched for what no page of ours may do."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, Route
from playwright.sync_api import Error as PlaywrightError

from tests.integration.faults import running
from tests.integration.pair import CLUSTER, Node, Pair
from tests.integration.visitor import Visitor, add_user, page_up
from tests.services.kit import PROGRAMS

WIDE, NARROW = 1440, 390
HEIGHTS = {WIDE: 900, NARROW: 844}
WAIT_MS = 20_000
"""For what a page shows by itself: a poll each 2 s, and a machine that is busy."""

ROLES = {"alice": "operator", "rita": "admin", "vera": "viewer"}

SERVICES = """\
services:
  web:
    manager: command
    start: [CHECK-ctl, start, proxy/main.conf]
    stop: [CHECK-ctl, stop, proxy/main.conf]
    reload: [CHECK-ctl, reload, proxy/main.conf]
    status: [CHECK-ctl, status, proxy/main.conf]
    health: {exec: [CHECK-ctl, status, proxy/main.conf], within: 5s}
    on_change: reload
"""
CONTROL = """\
#!/bin/sh
# VERB FILE: the daemon that reads FILE of the node NODE; while the file `gate` is there, reload and restart wait
folder=HOME/$NODE/$(basename $2)
mkdir -p $folder && ln -sfn HOME/${NODE#fw}/root/etc/$2 $folder/conf
while [ $1 != status ] && [ -e HOME/gate ]; do sleep 0.05; done
exec PYTHON -ES PROGRAMS/ctl.py $1 $folder
"""

Theme = Literal["dark", "light"]


@dataclass
class Seen:
    """What a browser did while it was watched.

    Attributes:
        own: the origin that it may ask.
        said: messages of its console, dialogs, errors of scripts.
        astray: addresses of other origins; none of them was reached.
    """

    own: str
    said: list[str] = field(default_factory=list)
    astray: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        context.on("console", self._hear)
        context.on("dialog", self._asked)
        context.on("weberror", lambda error: self.said.append(f"error: {error.error}"))
        context.route(lambda url: not url.startswith(self.own + "/"), self._stop)

    def _hear(self, message: ConsoleMessage) -> None:
        kind: str = message.type
        if kind != "verbose":  # the browser's advice for authors, which its console hides
            self.said.append(f"{kind}: {message.text}")

    def _asked(self, dialog: Dialog) -> None:
        self.said.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _stop(self, route: Route) -> None:
        self.astray.append(route.request.url)
        route.abort()

    def nothing(self, *allowed: str) -> None:
        """Fail unless the console is empty but for messages that match one of the expressions."""
        said = [text for text in self.said if not any(re.search(one, text) for one in allowed)]
        assert (said, self.astray) == ([], [])


@dataclass
class Site:
    """A pair with its pages, and a browser.

    Attributes:
        pair: both nodes, with a service ``web``.
        browser: one program for all.
        words: what a module knows of its pair by name.
    """

    pair: Pair
    browser: Browser
    words: dict[str, str] = field(default_factory=dict)
    _sessions: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)

    @contextlib.contextmanager
    def open(
        self,
        person: str = "",
        *,
        node: Node | None = None,
        width: int = WIDE,
        theme: Theme = "light",
        script: bool = True,
    ) -> Iterator[tuple[Page, Seen]]:
        """A browser of one person with one tab.

        Args:
            person: who is logged in there already, in a session that all such browsers share; nobody where empty.
            node: whose page; fw1's if none.
            width: in pixels.
            theme: what the system prefers.
            script: whether JavaScript runs.
        """
        at = node or self.pair.fw1
        context = self.browser.new_context(
            base_url=at.page,
            ignore_https_errors=True,  # the node's own certificate; that it is the right one is tested elsewhere
            viewport={"width": width, "height": HEIGHTS[width]},
            color_scheme=theme,
            java_script_enabled=script,
            reduced_motion="reduce",
        )
        context.set_default_timeout(WAIT_MS)
        seen = Seen(at.page)
        seen.watch(context)
        if person:
            context.add_cookies([{"name": k, "value": v, "url": at.page} for k, v in self.session(person, at).items()])
        page = context.new_page()
        try:
            yield page, seen
        except Exception as error:
            with contextlib.suppress(PlaywrightError):
                error.add_note(
                    f"{self.pair.fw1.tail(12)}\nat {page.url}:\n{page.locator('body').inner_text(timeout=1000)}"
                )
            raise
        finally:
            context.close()

    def session(self, person: str, node: Node) -> dict[str, str]:
        """Cookies of one who has logged in once."""
        key = (person, node.name)
        if key not in self._sessions:
            visitor = Visitor(node)
            visitor.log_in(person)
            self._sessions[key] = visitor.cookies
        return self._sessions[key]

    def forget(self) -> None:
        """Log everybody in anew the next time."""
        self._sessions.clear()


def with_services(cluster: str = CLUSTER) -> str:
    """The usual cluster.yaml with the service ``web`` on the area proxy."""
    return cluster.replace("    check: [", "    services: [web]\n    check: [") + SERVICES


def prepare(pair: Pair) -> None:
    """Write the program that cluster.yaml names for the service."""
    home = pair.fw1.home.parent
    control = home / "check-ctl"
    text = CONTROL.replace("HOME", str(home)).replace("PYTHON", sys.executable).replace("PROGRAMS", str(PROGRAMS))
    control.write_text(text)
    control.chmod(0o755)


def loaded(node: Node) -> tuple[int, str]:
    """The daemon's process and the configuration that it runs with."""
    pid, _, text = (node.home.parent / node.name / "main.conf" / "loaded").read_text().partition(" ")
    return int(pid), text


@contextlib.contextmanager
def gate(pair: Pair) -> Iterator[None]:
    """While this lasts, nothing that is told to the service ends."""
    closed = pair.fw1.home.parent / "gate"
    closed.touch()
    try:
        yield
    finally:
        closed.unlink(missing_ok=True)


def end_daemons(pair: Pair) -> None:
    """Kill the daemons; nobody else ends them."""
    for node in (pair.fw1, pair.fw2):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(loaded(node)[0], signal.SIGKILL)


def overflow(page: Page) -> list[str]:
    """What makes a page wider than its window; empty where nothing does."""
    found: Sequence[str] = page.evaluate(
        """() => {
            const wide = document.documentElement.clientWidth;
            if (document.documentElement.scrollWidth <= wide) return [];
            return [...document.querySelectorAll("body *")]
                .filter((one) => one.getBoundingClientRect().right > wide + 0.5 && !one.closest(".scroll, .sr"))
                .map((one) => `${one.tagName}.${one.className} to ${one.getBoundingClientRect().right}: `
                    + (one.textContent || "").trim().slice(0, 40));
        }"""
    )
    return list(found)


def picture(page: Page, name: str) -> None:
    """Keep a picture of the whole page in the folder SYNCSRV_SHOTS, where that is given."""
    folder = os.environ.get("SYNCSRV_SHOTS")
    if not folder:
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    window = page.viewport_size
    assert window is not None
    # what sticks to the window's lower edge would stand in the middle of the picture
    height: int = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": window["width"], "height": max(height, window["height"])})
    page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
    page.set_viewport_size(window)


@contextlib.contextmanager
def site_of(browser: Browser, more: Callable[[Pair], None] | None = None) -> Iterator[Site]:
    """A synchronized pair whose service runs on both nodes, with a user of each role.

    Args:
        browser: which to look with.
        more: writes what the first sync takes along.
    """

    def everything(pair: Pair) -> None:
        prepare(pair)
        if more is not None:
            more(pair)

    with running(with_services(), everything) as pair:
        try:
            for name, role in ROLES.items():
                add_user(pair.fw1, name, role)
            for node in (pair.fw1, pair.fw2):
                node.do("services", "start", "web")
                page_up(node)
            yield Site(pair, browser)
        finally:
            end_daemons(pair)
