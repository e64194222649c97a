"""What the web process is given: its listening socket, its certificate and the secret of its cookies.

Web asks for it when it starts and every few seconds after, so that a new certificate and a new address reach it
without a restart. What cannot be given is said in the answer and in the status, and tried again at the next question.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import logging
import os
import pwd
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from syncsrv.clock import Clock
from syncsrv.config.load import Configuration
from syncsrv.config.model import TlsFiles
from syncsrv.config.values import split_listen
from syncsrv.control.dispatch import Call
from syncsrv.control.shapes_page import WebSetup, WebSetupRequest
from syncsrv.core.certificate import Certificate, certificate_of_files, own_certificate
from syncsrv.core.devices import derived
from syncsrv.errors import SyncsrvError, UsageError

log = logging.getLogger(__name__)

USER = "syncsrv-web"


class PageListenError(SyncsrvError):
    """The page's address cannot be listened at."""

    code = "listen"

    def __init__(self, address: str, why: str) -> None:
        super().__init__(
            f"cannot serve the page at {address}: {why}",
            "correct `web: {listen:}` in node.yaml, or end what listens there",
        )


class WebSetups:
    """Answers ``web-setup``.

    Args:
        config: the configuration in force.
        directory: where the own certificate is kept.
        secret: of this node's page.
        clock: only its wall half: certificates end by it.
    """

    def __init__(self, config: Callable[[], Configuration], directory: Path, secret: bytes, clock: Clock) -> None:
        self._config = config
        self._directory = directory
        self._cookie_secret = derived(secret, "cookies").hex()
        self._clock = clock
        self._lock = threading.Lock()
        self._certificate: tuple[object, Certificate] | None = None
        self._listener: tuple[str, socket.socket] | None = None
        self._problem = ""

    def setup(self, request: WebSetupRequest, call: Call) -> WebSetup:
        """What web needs and has not got.

        Where web itself listens at an address that is part of the new one, or the other way round, no socket comes
        along: it has to let its own go first, and ask anew.

        Raises:
            TlsError, PageListenError, UnwritableError: it cannot be given; what web has stays in use.
            UsageError: what it says that it listens at is no address.
        """
        _check_address(request.listening)
        with self._lock:
            try:
                found = self._found()
                if _in_the_way(request.listening, found.listen):
                    self._let_go()
                elif request.listening != found.listen:
                    call.reply_fds.append(os.dup(self._listening(found.listen).fileno()))
            except SyncsrvError as error:
                if self._problem != str(error):
                    log.error("%s", error)
                self._problem = str(error)
                raise
            self._problem = ""
        if request.digest == found.digest and request.listening == found.listen:
            return WebSetup(found.digest)
        return found

    def refresh(self) -> None:
        """Certificate files are read again at the next question."""
        with self._lock:
            self._certificate = None

    def notices(self) -> list[str]:
        """What an operator should know about the page."""
        with self._lock:
            said = [f"the page: {self._problem}"] if self._problem else []
            if self._certificate is not None:
                said.append(self._certificate[1].warning(self._clock.utc()))
        return [one for one in said if one]

    def close(self) -> None:
        """Close our copy of the listening socket."""
        with self._lock:
            self._let_go()

    def _let_go(self) -> None:
        if self._listener is not None:
            self._listener[1].close()
            self._listener = None

    def _found(self) -> WebSetup:
        config = self._config()
        certificate = self._certificate_now(config)
        setup = WebSetup(
            digest="",
            node=config.node.node,
            cluster=config.cluster.cluster,
            listen=config.node.web.listen,
            certificate=certificate.chain if certificate else "",
            key=certificate.key if certificate else "",
            fingerprint=certificate.fingerprint if certificate else "",
            cookie_secret=self._cookie_secret,
        )
        text = json.dumps(asdict(setup), sort_keys=True)
        return replace(setup, digest=hashlib.sha256(text.encode()).hexdigest())

    def _certificate_now(self, config: Configuration) -> Certificate | None:
        """Kept until the configuration asks for another one, or it ends."""
        web = config.node.web
        if web.tls == "none":
            self._certificate = None
            return None
        now_utc = self._clock.utc()
        names = _names(config)
        wanted = (web.tls, names)
        kept = self._certificate
        if kept is not None and kept[0] == wanted and not (web.tls == "auto" and kept[1].needs_renewal(now_utc)):
            return kept[1]
        if isinstance(web.tls, TlsFiles):
            found = certificate_of_files(web.tls)
        else:
            found = own_certificate(self._directory / "page.pem", names, now_utc)
        self._certificate = (wanted, found)
        return found

    def _listening(self, address: str) -> socket.socket:
        """The socket for this address; kept, so that nobody is turned away while web starts anew."""
        if self._listener is not None and self._listener[0] == address:
            return self._listener[1]
        self._let_go()
        self._listener = (address, _listen(address))
        return self._listener[1]


def web_user() -> pwd.struct_passwd | None:
    """The user of the web process; None where the installation has not made it.

    Then web runs as nobody, whom other programs are too, and only root and this node's own user may connect to core.
    """
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        return None


def _names(config: Configuration) -> tuple[str, ...]:
    """What the own certificate is for: the node's name, its loopback names, the address that it listens at."""
    host, _ = split_listen(config.node.web.listen)
    names = [config.node.node, "localhost", "127.0.0.1", "::1"]
    address = ipaddress.ip_address(host.partition("%")[0])
    if not address.is_unspecified:
        names.append(str(address))
    return tuple(dict.fromkeys(names))


def _check_address(written: str) -> None:
    try:
        split_listen(written or "127.0.0.1:1")
    except ValueError as error:
        raise UsageError(f"cannot take the address that web listens at: {error}") from error


def _in_the_way(old: str, new: str) -> bool:
    """Whether the kernel gives the new address only when nobody listens at the old one: 127.0.0.1 and 0.0.0.0."""
    if not old or old == new:
        return False
    one, other = ((ipaddress.ip_address(host.partition("%")[0]), port) for host, port in map(split_listen, (old, new)))
    return (one[0].version, one[1]) == (other[0].version, other[1]) and (
        one[0].is_unspecified or other[0].is_unspecified
    )


def _listen(address: str) -> socket.socket:
    host, port = split_listen(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise PageListenError(address, (error.strerror or str(error)).lower()) from error
    return listener
