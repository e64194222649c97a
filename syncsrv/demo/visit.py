"""A visit to a node's page as a browser without script makes it: HTTPS with the node's own certificate, cookies."""

from __future__ import annotations

import html
import http.client
import re
import ssl
from http.cookies import SimpleCookie
from pathlib import Path
from types import TracebackType
from urllib.parse import urlencode

from syncsrv.errors import SyncsrvError

ANSWER_S = 10.0
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)
_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
_HEADING = re.compile(r"<h1[^>]*>(.*?)</h1>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
MOST = 4 * 1024 * 1024
"""Bytes of an answer that are read."""


class PageAwayError(SyncsrvError):
    """The page did not answer as a page does."""

    code = "demo"

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"cannot read the page at {url}: {why}")


class Visit:
    """One browser, so to say. A context manager.

    Args:
        port: of 127.0.0.1, where the page is.
        certificate: the file that has the certificate which the page must show.
    """

    def __init__(self, port: int, certificate: Path) -> None:
        self.url = f"https://127.0.0.1:{port}"
        try:
            found = _CERTIFICATE.search(certificate.read_text())
        except OSError as error:
            raise PageAwayError(self.url, f"it has no certificate yet: {error.strerror}") from error
        if found is None:
            raise PageAwayError(self.url, f"{certificate} holds no certificate")
        trust = ssl.create_default_context(cadata=found[0])
        self._connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=ANSWER_S, context=trust)
        self._cookies: dict[str, str] = {}

    def __enter__(self) -> Visit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def log_in(self, name: str, password: str) -> bool:
        """Fill in the log-in form and send it; whether it let us in.

        Raises:
            PageAwayError: there is no such form.
        """
        token = _TOKEN.search(self.get("/login")[1])
        if token is None:
            raise PageAwayError(f"{self.url}/login", "it has no form")
        form = {"csrf_token": token[1], "name": name, "password": password}
        return self._ask("POST", "/login", urlencode(form))[0] == http.HTTPStatus.SEE_OTHER

    def heading(self, path: str) -> str:
        """The sentence at the head of a page.

        Raises:
            PageAwayError: there is no such page for us.
        """
        status, text = self.get(path)
        found = _HEADING.search(text)
        if status != http.HTTPStatus.OK or found is None:
            raise PageAwayError(self.url + path, f"it answered {status}")
        return " ".join(html.unescape(_TAG.sub("", found[1])).split())

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page; no redirection is followed.

        Raises:
            PageAwayError: nothing answered, or not over the right certificate.
        """
        return self._ask("GET", path)

    def _ask(self, method: str, path: str, form: str | None = None) -> tuple[int, str]:
        headers = {"Referer": f"{self.url}/login"}
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            self._connection.request(method, path, form, headers)
            response = self._connection.getresponse()
            text = response.read(MOST).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise PageAwayError(self.url + path, str(error) or type(error).__name__) from error
        for line in response.headers.get_all("Set-Cookie", []):
            self._cookies.update({name: one.value for name, one in SimpleCookie(line).items()})
        return response.status, text
