"""Browsers that logged in before: each is given a token, bound to the name, that only this core can have made.

It opens nothing. Who sends it has a limit of wrong passwords of its own, which nobody else can use up.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
from pathlib import Path

from syncsrv import durable
from syncsrv.store.files import writing

log = logging.getLogger(__name__)

SECRET_BYTES = 32
_TOKEN = re.compile(r"([A-Za-z0-9_-]{22})\.([0-9a-f]{64})")


class Devices:
    """Makes and knows device tokens.

    Args:
        secret: this node's; see ``page_secret``.
    """

    def __init__(self, secret: bytes) -> None:
        self._key = derived(secret, "devices")

    def issue(self, name: str) -> str:
        """A token for a browser in which ``name`` logged in."""
        device = secrets.token_urlsafe(16)
        return f"{device}.{self._mac(device, name)}"

    def known(self, token: str, name: str) -> str:
        """The device's id; empty where the token is not one of ours for this name."""
        match = _TOKEN.fullmatch(token)
        if match is None or not hmac.compare_digest(match[2], self._mac(match[1], name)):
            return ""
        return match[1]

    def _mac(self, device: str, name: str) -> str:
        text = f"{device}\0{name}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()


def derived(secret: bytes, purpose: str) -> bytes:
    """A key for one purpose."""
    return hmac.new(secret, purpose.encode(), hashlib.sha256).digest()


def page_secret(directory: Path) -> bytes:
    """The secret of this node's page; made where there is none, or where what stands there is none.

    Args:
        directory: made where it is missing, 0700.

    Raises:
        NoSpaceError, UnwritableError: it cannot be kept.
    """
    path = directory / "secret"
    with writing(path, "the secret of the page"):
        directory.mkdir(mode=0o700, exist_ok=True)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            found = b""
        else:
            try:
                found = os.read(handle, SECRET_BYTES + 1)
            finally:
                os.close(handle)
            if len(found) != SECRET_BYTES:
                log.warning("%s is not what syncsrv writes there: made anew, all browsers count as new ones", path)
        if len(found) == SECRET_BYTES:
            return found
        fresh = secrets.token_bytes(SECRET_BYTES)
        durable.write(path, fresh)
        return fresh
