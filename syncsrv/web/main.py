"""The web process: the page, without a right, a key but that of its TLS, or a file.

What it needs from core to begin, and everything that reads a file, comes before it gives up its rights. Once confined
it can read no certificate any more, not even from memory: TLS takes files only, and no name leads anywhere. So when
what core says is different (certificate, address, names), it answers what is under way and ends, and serve starts
another one at once; core keeps the listening socket meanwhile, so nobody is turned away.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from flask import Flask

from syncsrv import log as logs
from syncsrv import signals
from syncsrv.clock import SystemClock
from syncsrv.control import ask, codec
from syncsrv.control.connection import Connection
from syncsrv.control.frames import close_fds
from syncsrv.control.shapes_page import WebSetup, WebSetupRequest
from syncsrv.control.verbs import VERBS, Door
from syncsrv.errors import SyncsrvError
from syncsrv.notify import Notifier
from syncsrv.privilege import confine
from syncsrv.web.app import create_app
from syncsrv.web.assets import Assets
from syncsrv.web.link import STREAMS, Link, received, want
from syncsrv.web.server import Limits, WebServer
from syncsrv.web.tls import tls_context
from syncsrv.web.views import highlight

log = logging.getLogger("syncsrv.web.main")  # also where this file is the program

USER = "syncsrv-web"
WAIT_S = 60.0
"""For a core that systemd starts too; then it ends, and systemd starts another one."""
ASK_AGAIN_S = 5.0
SETUP_S = 10.0
END_S = 8.0
"""Until a request that hangs no longer holds up the end."""

_WARM = ("/", "/login", "/healthz", "/metrics", "/static/syncsrv.css", "/nothing", "/api/v1/openapi.json")


class NoListenerError(SyncsrvError):
    """Core handed over no listening socket."""

    code = "no-listener"

    def __init__(self, address: str, count: int) -> None:
        super().__init__(f"cannot serve the page at {address}: core sent {count} sockets instead of one")


def run(
    links: socket.socket,
    *,
    version: str,
    connect: Callable[[int], None] | None = None,
    again_s: float = ASK_AGAIN_S,
    notifier: Notifier | None = None,
) -> None:
    """Be the page until it is told to end, or the supervisor is gone, or it has to begin anew.

    Args:
        links: over which connected core sockets come when they are asked for.
        version: this program's version.
        connect: brings that many of them without a supervisor, while that is still possible; we end with core then.
        again_s: seconds after which core is asked again whether anything is different.
        notifier: where systemd started it.
    """
    notifier = notifier or Notifier()
    logs.start("web")
    told = _Told()
    if connect is None:
        want(links)
    else:
        connect(1)
    first = received(links)
    if first is None:
        return
    setup, listener = _ask_setup(first, version)
    tls = tls_context(setup.certificate, setup.key) if setup.certificate else None
    link = Link(links, version=version, keep=connect is None, start=False)
    app = create_app(setup, link, SystemClock(), Assets.load())
    _load_everything(app)
    if connect is not None:
        connect(1 + STREAMS)
    confine(USER)
    link.start()
    told.watch(link)
    # Without TLS it is for loopback, where everybody may come through a proxy, from one address.
    limits = Limits(per_address=128) if tls is None else Limits()
    server = WebServer(app, listener, tls, limits=limits)
    server.start()
    shown = f", its certificate has the SHA-256 {setup.fingerprint}" if setup.fingerprint else ""
    log.info("the page is at %s://%s/%s", "http" if tls is None else "https", setup.listen, shown)
    notifier.ready(f"the page is at {setup.listen}")
    _stay(link, setup, told, again_s, lambda: notifier.alive() if server.accepts() else None)
    notifier.stopping()
    _end(server, link)


class _Told:
    """Whether to end: told by a signal, or by the end of the links."""

    def __init__(self) -> None:
        self.end = threading.Event()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # core's
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._early())

    def watch(self, link: Link) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.end.set())
        threading.Thread(target=self._with, args=(link,), name="ended", daemon=True).start()

    def _with(self, link: Link) -> None:
        link.ended.wait()
        self.end.set()

    def _early(self) -> None:
        """Nobody is served yet."""
        sys.exit(0)


def _ask_setup(sock: socket.socket, version: str) -> tuple[WebSetup, socket.socket]:
    """Over a connection of its own, which leaves no thread behind when the rights are given up."""
    connection = Connection(sock, version=version, takes_fds=True)
    connection.start()
    try:
        answer = connection.ask("web-setup", codec.to_body(WebSetupRequest, WebSetupRequest()), deadline_s=SETUP_S)
    finally:
        connection.close()
    try:
        setup: WebSetup = codec.decode_reply("web-setup", WebSetup, answer.body)
        if len(answer.fds) != 1:
            raise NoListenerError(setup.listen, len(answer.fds))
    except SyncsrvError:
        close_fds(answer.fds)
        raise
    return setup, socket.socket(fileno=answer.fds[0])


def _load_everything(app: Flask) -> None:
    """Do once what imports modules or opens files when it is done first."""
    for verb in VERBS.values():
        if Door.WEB in verb.doors:
            codec.adapter(verb.request)
            codec.adapter(verb.reply)
    highlight.preload()
    "localhost".encode("idna")
    client = app.test_client()
    for path in _WARM:
        client.get(path).close()


def _stay(link: Link, setup: WebSetup, told: _Told, again_s: float, alive: Callable[[], None]) -> None:
    """Until we have to end; ``alive`` is called in each round."""
    request = codec.to_body(WebSetupRequest, WebSetupRequest(setup.digest, setup.listen))
    while not told.end.wait(again_s):
        alive()
        try:
            answer = link.ask("web-setup", request, deadline_s=SETUP_S)
            close_fds(answer.fds)  # the next process asks for it again
            found: WebSetup = codec.decode_reply("web-setup", WebSetup, answer.body)
        except SyncsrvError as error:  # core is away, or cannot give what it wants to give: its log and status say so
            log.debug("%s", error)
            continue
        if found.digest != setup.digest:
            log.info("certificate, address or names are different: beginning anew")
            return


def _end(server: WebServer, link: Link) -> None:
    ending = threading.Thread(target=server.close, name="end", daemon=True)
    ending.start()
    ending.join(END_S)
    if ending.is_alive():
        log.warning("a request does not end; it is cut")
        logging.shutdown()
        os._exit(0)
    link.close()


def _run_alone(path: Path, version: str, notifier: Notifier | None) -> None:
    """Be the own supervisor, for the core of now."""
    ours, links = socket.socketpair()

    def connect(count: int) -> None:
        for _ in range(count):
            ask.hand_over(ours, path, WAIT_S if notifier else 0.0)

    if notifier is not None:
        notifier.status("waits for core")
    with ours:
        every_s = notifier.every_s if notifier is not None else None
        again_s = min(ASK_AGAIN_S, every_s or ASK_AGAIN_S)
        run(links, version=version, connect=connect, again_s=again_s, notifier=notifier)


def main(argv: Sequence[str], notifier: Notifier | None = None) -> int:
    """``python -m syncsrv.web.main (--links-fd N | --socket PATH) web``: started by serve.

    Args:
        argv: the above, from ``--links-fd`` on.
        notifier: where systemd started it.
    """
    signals.unblock()
    parser = argparse.ArgumentParser(prog="syncsrv-web")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--links-fd", type=int, help="a socket over which connected core sockets come")
    where.add_argument("--socket", type=Path, help="core's web.sock")
    parser.add_argument("--version-text", default="", help="the version that is told to core")
    parser.add_argument("--again-s", type=float, default=ASK_AGAIN_S, help="seconds until core is asked again")
    parser.add_argument("word", choices=["web"])
    options = parser.parse_args(argv)
    try:
        if options.socket is None:
            links = socket.socket(fileno=options.links_fd)
            os.set_inheritable(links.fileno(), False)
            run(links, version=options.version_text, again_s=options.again_s)
        else:
            _run_alone(options.socket, options.version_text, notifier)
    except SyncsrvError as error:
        log.error("%s", error)
        return error.exit_status
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # it ends already; what comes later would raise at the exit
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
