"""Does a service answer? One probe, and how many of them make a verdict.

A probe waits at most its timeout. An HTTP probe follows no redirect (expect its status instead: ``status: 301``)
and takes any certificate: it asks whether the service answers, and sends nothing that somebody else could use.
"""

from __future__ import annotations

import http.client
import shlex
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import urlsplit

from syncsrv import process
from syncsrv.clock import Clock
from syncsrv.config.model import Health
from syncsrv.config.values import split_host_port
from syncsrv.services.base import UMASK, HealthWord, ServiceState, ServiceStatus
from syncsrv.services.dial import connect, cut_off

BODY_KEPT = 4096
"""Bytes of an HTTP answer that are read, to be shown where it is the wrong one."""

ARGV_SHOWN = 80
"""Letters of a health check's command that a reason names."""

STEADY_S = 2.0
"""Without a health check: a service that runs with an unchanged pid for this long is well."""

SETTLE_S = 0.25
"""A probe counts from here on after an action: a daemon that a bad reload kills still answers for a moment."""

WITHIN_S = 20.0
"""How long a service without a health check may take to run steadily; Health.within_s is the same by default."""

_POLL_S = 0.1

Pause: TypeAlias = Callable[[float], object]


@dataclass(frozen=True, slots=True)
class Probed:
    """What one probe found.

    Attributes:
        ok: whether it was the expected answer.
        reason: what was found, in a few words.
        output: what the command printed or the server sent, where that was not expected.
    """

    ok: bool
    reason: str
    output: str = ""


@dataclass(frozen=True, slots=True)
class Watch:
    """How many probes in a row make a service well, or ill. Pure.

    Attributes:
        rise: so many good ones make it well.
        fall: so many bad ones make it ill.
        word: the verdict; unknown until one is reached.
        streak: how many in a row spoke against the verdict.
        last: whether the last one was good.
    """

    rise: int
    fall: int
    word: HealthWord = HealthWord.UNKNOWN
    streak: int = 0
    last: bool | None = None

    def seen(self, ok: bool) -> Watch:
        """The watch after one more probe."""
        verdict = HealthWord.OK if ok else HealthWord.FAILING
        if verdict is self.word:
            return replace(self, streak=0, last=ok)
        streak = self.streak + 1 if ok is self.last else 1
        if streak >= (self.rise if ok else self.fall):
            return replace(self, word=verdict, streak=0, last=ok)
        return replace(self, streak=streak, last=ok)


def probe(health: Health, env: Mapping[str, str], clock: Clock) -> Probed:
    """Ask once.

    Args:
        health: what to ask; one of tcp, http and exec is given.
        env: whole environment of an exec probe.
        clock: tells the time.
    """
    if health.exec:
        return _probe_exec(health, env)
    if health.http is not None:
        return _probe_http(health.http, health, clock)
    return _probe_tcp(health.tcp or "", health, clock)


def _probe_tcp(target: str, health: Health, clock: Clock) -> Probed:
    try:
        connect(*split_host_port(target), clock.monotonic() + health.timeout_s, clock).close()
    except (OSError, ValueError) as error:
        return Probed(False, f"tcp {target}: {_why(error, health.timeout_s)}")
    return Probed(True, f"tcp {target} answers")


def _probe_http(url: str, health: Health, clock: Clock) -> Probed:
    ends_at = clock.monotonic() + health.timeout_s
    try:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("it is no http:// or https:// URL")
        port = parts.port or (443 if secure else 80)
        sock = connect(parts.hostname, port, ends_at, clock)
        if secure:
            sock = _any_certificate().wrap_socket(sock, server_hostname=parts.hostname, do_handshake_on_connect=False)
        with sock, cut_off(sock, ends_at - clock.monotonic()):
            connection = http.client.HTTPConnection(parts.hostname, port)
            connection.sock = sock
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", path, headers={"User-Agent": "syncsrv", "Connection": "close"})
            response = connection.getresponse()
            body = response.read(BODY_KEPT) if response.status != health.status else b""
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Probed(False, f"http {url}: {_why(error, health.timeout_s)}")
    if response.status == health.status:
        return Probed(True, f"http {url} answers {response.status}")
    reason = f"http {url}: status {response.status} {response.reason} where {health.status} is expected"
    return Probed(False, reason, body.decode("utf-8", "backslashreplace"))


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _probe_exec(health: Health, env: Mapping[str, str]) -> Probed:
    program = health.exec[0]
    try:
        ended = process.run(health.exec, env=env, deadline_s=health.timeout_s, umask=UMASK)
    except process.NotStartedError as error:
        return Probed(False, error.message)
    if ended.status == 0:
        return Probed(True, f"{program} ended with status 0")
    output = ended.text.strip()
    if ended.status is None:
        asked = shlex.join(health.exec)
        asked = asked if len(asked) <= ARGV_SHOWN else f"{asked[:ARGV_SHOWN]}…"
        return Probed(False, f"its health check `{asked}` did not end within {health.timeout_s:g} s", output)
    return Probed(False, f"{program}: status {ended.status}", output)


def _why(error: Exception, timeout_s: float) -> str:
    if isinstance(error, TimeoutError):
        return str(error) if "resolved" in str(error) else f"no answer within {timeout_s:g} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def await_healthy(
    health: Health | None,
    read: Callable[[], ServiceStatus],
    ask: Callable[[Health], Probed],
    clock: Clock,
    pause: Pause,
) -> tuple[Probed, ServiceStatus]:
    """Wait until the manager says that a service runs, and its health check agrees; or until ``within`` is over.

    The manager is asked before and after: behind a port that answers may be somebody else, or the old process. One that
    has ended and was started again by its manager has to last, for those that end for ever are seen running now and
    then. One that runs to its end and is stopped then is well when it has: its manager waited for that, and told of a
    bad end.

    Args:
        health: its health check; None: it is well when it has run with one pid for STEADY_S.
        read: a new reading from its manager.
        ask: one probe.
        clock: tells the time.
        pause: waits so many seconds.

    Returns:
        The verdict and the last reading.
    """
    began_at = clock.monotonic()
    ends_at = began_at + (health.within_s if health else WITHIN_S)
    watch = Watch(health.rise, health.fall) if health else Watch(1, 1)
    steady: tuple[int | None, float] = (None, began_at)
    found = Probed(False, "it was not asked yet")
    while True:
        status = read()
        now = clock.monotonic()
        if status.state in (ServiceState.FAILED, ServiceState.MISSING, ServiceState.MASKED):
            return Probed(False, _is(status)), status
        if status.state is ServiceState.STOPPED and status.oneshot:
            return Probed(True, "it ran to its end"), status
        steady = steady if steady[0] == status.pid and status.state is ServiceState.RUNNING else (status.pid, now)
        if status.state is not ServiceState.RUNNING:
            found, watch = Probed(False, _is(status)), replace(watch, streak=0, last=None)
        elif health is None:
            if now - steady[1] >= STEADY_S:
                return Probed(True, "it runs steadily"), status
            found = Probed(False, "its process does not last")
        elif now - began_at >= min(SETTLE_S, health.within_s / 2):
            found = ask(health)
            watch = watch.seen(found.ok)
            if watch.word is HealthWord.OK:
                after = read()
                same = (after.state, after.pid) == (status.state, status.pid)
                if same and (not after.restarts or now - steady[1] >= min(STEADY_S, health.within_s / 2)):
                    return found, after
                found = Probed(False, "its process does not last")
                watch = watch if same else Watch(health.rise, health.fall)
        left_s = ends_at - clock.monotonic()
        if left_s <= 0:
            within_s = ends_at - began_at
            return Probed(False, f"not well within {within_s:g} s: {found.reason}", found.output), status
        pause(min(_POLL_S, left_s))


def _is(status: ServiceStatus) -> str:
    return f"it is {status.state}" + (f": {status.reason}" if status.reason else "")
