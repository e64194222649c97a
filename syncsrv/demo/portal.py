"""A small HTTP service that the demo runs for real: it reads a managed file and shows which one it runs with.

    python -Es -m syncsrv.demo.portal --config FILE [--port PORT]
    python -Es -m syncsrv.demo.portal --check FILE

It behaves as daemons do: a bad file is refused at start (status 1, each problem as ``FILE:LINE: sentence``), and on
SIGHUP the file is read again, where a bad one leaves the old in force and says so in the log. ``/`` is a page for
people, ``/state`` the same as JSON, ``/healthz`` answers while it runs. It knows nothing of syncsrv.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import http.server
import ipaddress
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ONCE = ("listen", "title", "notice")
NEEDED = ("listen", "title")
INCLUDED_LIMIT = 100
"""Files that one include may bring."""

_SIGNALS = {signal.SIGHUP, signal.SIGTERM, signal.SIGINT}


class RefusedError(Exception):
    """A file is no configuration; the message has a line for each problem."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A server behind the portal: what people call it, and where it is."""

    name: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the files say.

    Attributes:
        host: address to listen on.
        port: port to listen on.
        title: headline of the page.
        notice: a line for people; empty: none.
        upstreams: in the order of the file.
        sha256: of the file and those that it includes, one after the other; without an include it is what sha256sum
            says of the file.
    """

    host: str
    port: int
    title: str
    notice: str
    upstreams: tuple[Upstream, ...]
    sha256: str


@dataclass(slots=True)
class _Draft:
    """What has been read so far, good and bad."""

    once: dict[str, str] = field(default_factory=dict)
    listen: tuple[str, int] = ("", 0)
    upstreams: list[Upstream] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)


def load(path: Path) -> Configuration:
    """Read a file and what it includes.

    Raises:
        RefusedError: it is no configuration.
    """
    draft = _Draft()
    _read(path, draft, may_include=True)
    missing = [f"{path}:1: the key {key} is missing" for key in NEEDED if key not in draft.once]
    if not draft.problems:
        draft.problems += missing
    if draft.problems:
        raise RefusedError("\n".join(draft.problems))
    return Configuration(
        *draft.listen,
        draft.once["title"],
        draft.once.get("notice", ""),
        tuple(draft.upstreams),
        draft.digest.hexdigest(),
    )


def _read(path: Path, draft: _Draft, *, may_include: bool) -> None:
    try:
        data = path.read_bytes()
        text = data.decode()
    except OSError as error:
        draft.problems.append(f"{path}:1: cannot be read: {error.strerror}")
        return
    except UnicodeDecodeError as error:
        draft.problems.append(f"{path}:{data[: error.start].count(10) + 1}: is not UTF-8")
        return
    draft.digest.update(data)
    for number, line in enumerate(text.splitlines(), 1):
        key, equals, value = (part.strip() for part in line.partition("="))
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not equals or not key:
            draft.problems.append(f"{path}:{number}: expected `key = value`, found {line.strip()!r}")
        elif key == "include" and may_include:
            _include(path, number, value, draft)
        else:
            _take(f"{path}:{number}", key, value, draft)


def _include(path: Path, number: int, pattern: str, draft: _Draft) -> None:
    if not pattern or pattern.startswith("/") or ".." in Path(pattern).parts:
        draft.problems.append(f"{path}:{number}: include is a pattern below {path.parent}, found {pattern!r}")
        return
    found = sorted(path.parent.glob(pattern))
    if len(found) > INCLUDED_LIMIT:
        draft.problems.append(f"{path}:{number}: include brings {len(found)} files, {INCLUDED_LIMIT} are allowed")
        return
    for other in found:
        _read(other, draft, may_include=False)


def _take(where: str, key: str, value: str, draft: _Draft) -> None:
    if key == "upstream":
        name, _, address = value.partition(" ")
        place = _address(address.strip(), name_allowed=True)
        if not name or place is None:
            draft.problems.append(f"{where}: upstream is NAME HOST:PORT, found {value!r}")
        elif any(name == other.name for other in draft.upstreams):
            draft.problems.append(f"{where}: upstream {name} is given twice")
        else:
            draft.upstreams.append(Upstream(name, *place))
        return
    if key not in ONCE:
        draft.problems.append(f"{where}: unknown key {key!r}; known are include, {', '.join(ONCE)} and upstream")
        return
    if key in draft.once:
        draft.problems.append(f"{where}: {key} is given twice")
        return
    draft.once[key] = value
    if not value:
        draft.problems.append(f"{where}: {key} has no value")
    elif key == "listen":
        place = _address(value, name_allowed=False)
        if place is None:
            draft.problems.append(f"{where}: listen is ADDRESS:PORT, found {value!r}")
        else:
            draft.listen = place


def _address(text: str, *, name_allowed: bool) -> tuple[str, int] | None:
    host, _, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536 and host):
        return None
    try:
        ipaddress.ip_address(host)
    except ValueError:
        is_name = name_allowed and all(part.replace("-", "").isalnum() for part in host.split("."))
        return (host, int(port)) if is_name else None
    return host, int(port)


class _Server(http.server.ThreadingHTTPServer):
    """Serves one configuration at a time; ``configuration`` is replaced as a whole."""

    daemon_threads = True

    def __init__(self, configuration: Configuration, port: int) -> None:
        if ":" in configuration.host:
            self.address_family = socket.AF_INET6
        self.configuration = configuration
        super().__init__((configuration.host, port), _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    server_version = "portal"
    timeout = 10

    def do_GET(self) -> None:
        running = self.server.configuration
        path = self.path.partition("?")[0]
        if path == "/":
            self._answer(200, "text/html; charset=utf-8", _page(running))
        elif path == "/state":
            state = {"title": running.title, "notice": running.notice, "sha256": running.sha256, "pid": os.getpid()}
            self._answer(200, "application/json", json.dumps(state))
        elif path == "/healthz":
            self._answer(200, "text/plain; charset=utf-8", "ok\n")
        else:
            self._answer(404, "text/plain; charset=utf-8", "there is no such page\n")

    do_HEAD = do_GET

    def _answer(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request: health checks would fill the log."""


def _page(running: Configuration) -> str:
    title, notice = html.escape(running.title), html.escape(running.notice)
    rows = "".join(
        f"<tr><td>{html.escape(up.name)}</td><td>{html.escape(up.host)}:{up.port}</td></tr>" for up in running.upstreams
    )
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>\n<h1>{title}</h1>\n'
        + (f"<p>{notice}</p>\n" if notice else "")
        + (f"<table>{rows}</table>\n" if rows else "")
        + f"<p>configuration <code>{running.sha256}</code></p>\n</html>\n"
    )


def serve(path: Path, port: int | None) -> int:
    """Serve until SIGTERM or SIGINT.

    Args:
        path: the file.
        port: port to listen on instead of the file's: two nodes on one machine share the file.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # before the file is read: a SIGHUP from here on is not lost
    try:
        running = load(path)
        server = _Server(running, port or running.port)
    except RefusedError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"cannot listen on {running.host}:{port or running.port}: {error.strerror}", file=sys.stderr)
        return 1
    with server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        _say(f"serving {running.title!r} on port {server.server_port}, configuration {running.sha256}")
        while signal.sigwait(_SIGNALS) == signal.SIGHUP:
            _reload(server, path)
        server.shutdown()
    return 0


def _reload(server: _Server, path: Path) -> None:
    try:
        new = load(path)
    except RefusedError as error:
        _say(f"{error}\nthe old configuration stays in force")
        return
    old, server.configuration = server.configuration, new
    _say(f"loaded configuration {new.sha256}")
    if (new.host, new.port) != (old.host, old.port):
        _say("listen has changed: that takes a restart")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve, or check a file; the exit status."""
    parser = argparse.ArgumentParser(prog="portal", description="A small HTTP service that shows its configuration.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", type=Path, metavar="FILE", help="serve by this file")
    what.add_argument("--check", type=Path, metavar="FILE", help="only say whether this file is good")
    parser.add_argument("--port", type=int, help="port to listen on instead of the file's")
    given = parser.parse_args(argv)
    if given.check is None:
        return serve(given.config, given.port)
    try:
        good = load(given.check)
    except RefusedError as error:
        print(error)
        return 1
    print(f"{given.check}: configuration {good.sha256} is good")
    return 0


if __name__ == "__main__":
    sys.exit(main())
