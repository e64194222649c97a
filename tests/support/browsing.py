"""A person at a node's page in the lab, without a window: reads what stands there, fills in forms, presses buttons."""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from typing import Self
from urllib.parse import urlencode

from tests.support.edge import Firewall
from tests.support.wait import until

HOST, PORT = "127.0.0.1", 8443
SILENT = {"script", "style", "svg", "template", "title"}
"""What they hold is no text of the page."""


@dataclass(slots=True)
class Form:
    """One form: where it goes, what it sends along, and its buttons by what stands on them."""

    action: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    buttons: dict[str, tuple[str, str]] = field(default_factory=dict)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.main = ""
        self.text: list[str] = []
        self._form: Form | None = None
        self._button: tuple[tuple[str, str], int] | None = None
        self._area: tuple[str, int] | None = None
        self._silent = 0
        self._main = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        self._silent += tag in SILENT
        if tag == "main":
            self._main = len(self.text)
        elif tag == "form":
            self._form = Form(known.get("action", ""))
            self.forms.append(self._form)
        elif self._form is not None and "name" in known and tag == "input":
            if known.get("type") not in ("checkbox", "radio") or "checked" in known:
                self._form.fields.append((known["name"], known.get("value", "")))
        elif tag == "button":
            self._button = ((known.get("name", ""), known.get("value", "")), len(self.text))
        elif tag == "textarea":
            self._area = (known.get("name", ""), len(self.text))

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in SILENT
        if tag == "main":
            self.main = _plain(self.text[self._main :])
        elif tag == "form":
            self._form = None
        elif tag == "button" and self._button is not None and self._form is not None:
            sent, begin = self._button
            self._form.buttons[_plain(self.text[begin:])] = sent
        elif tag == "textarea" and self._area is not None and self._form is not None:
            name, begin = self._area
            self._form.fields.append((name, "".join(self.text[begin:])))

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.text.append(data)


def _plain(parts: list[str]) -> str:
    return re.sub(r"\s+", " ", " ".join(parts)).strip()


@dataclass(frozen=True, slots=True)
class Page:
    """What came back.

    Attributes:
        path: where from, after all redirections.
        text: all that stands between its head and its foot, with single spaces.
        forms: in their order.
    """

    path: str
    status: int
    html: str
    text: str
    forms: tuple[Form, ...]

    @property
    def is_over(self) -> bool:
        """Whether it is the page of a job that has ended."""
        assert self.path.startswith("/jobs/"), f"{self.path}: {self.text}"
        return "<dt>Ended</dt>" in self.html


class Browser:
    """A person logged in at the page of one node; its certificate is verified."""

    def __init__(self, node: Firewall) -> None:
        self.node = node
        self._cookies: dict[str, str] = {}

    @classmethod
    def of_admin(cls, node: Firewall) -> Self:
        """With the password that ``syncsrv init`` printed."""
        browser = cls(node)
        page = browser.press(browser.open("/login"), "Log in", name="admin", password=node.password)
        assert page.path == "/", page.text
        return browser

    def open(self, path: str) -> Page:
        """Read a page."""
        return self._ask("GET", path)

    def press(self, page: Page, label: str, **filled: str) -> Page:
        """Press a button of a page, whatever its form says elsewhere as it came, and read the page that follows.

        Args:
            page: as it was opened.
            label: all that stands on the button.
            filled: fields that are filled in otherwise, and boxes that are ticked.
        """
        for form in page.forms:
            if label in form.buttons:
                name, value = form.buttons[label]
                there = {one for one, _ in form.fields}
                fields = [(one, filled.get(one, was)) for one, was in form.fields]
                fields += [(one, text) for one, text in filled.items() if one not in there]
                fields += [(name, value)] if name else []
                return self._ask("POST", form.action or page.path, fields)
        known = [one for form in page.forms for one in form.buttons]
        raise AssertionError(f"{self.node.name}{page.path} has no button {label!r}, but {known}: {page.text}")

    def job(self, page: Page, label: str, **filled: str) -> Page:
        """Press a button that starts a job, and read its page when it has ended; as ``press``."""
        begun = self.press(page, label, **filled)
        until(lambda: self.open(begun.path).is_over, 60, f"the end of {begun.path}")
        return self.open(begun.path)

    def _ask(self, method: str, path: str, form: list[tuple[str, str]] | None = None) -> Page:
        trusted = ssl.create_default_context(cadata=self.node.get("/var/lib/syncsrv/web/page.pem"))
        connection = http.client.HTTPSConnection(HOST, PORT, timeout=20, context=trusted)
        with self.node.spaces.entered(self.node.name):
            connection.connect()
        try:
            headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
            if form is not None:
                headers |= {"Content-Type": "application/x-www-form-urlencoded", "Referer": f"https://{HOST}:{PORT}/"}
            connection.request(method, path, None if form is None else urlencode(form), headers)
            response = connection.getresponse()
            html = response.read().decode()
        finally:
            connection.close()
        self._keep(response.headers.get_all("Set-Cookie") or ())
        if response.status == 303:
            return self._ask("GET", response.headers["Location"].partition("#")[0])
        reader = _Reader()
        reader.feed(html)
        return Page(path, response.status, html, reader.main, tuple(reader.forms))

    def _keep(self, cookies: Iterable[str]) -> None:
        for value in cookies:
            for name, morsel in SimpleCookie(value).items():
                self._cookies[name] = morsel.value
