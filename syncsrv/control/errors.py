"""Errors as they travel: same code, same exit status, same words on both sides. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from syncsrv.control.frames import printable
from syncsrv.errors import DamagedError, DeniedError, RefusedError, SyncsrvError, UnreachableError, UsageError

Body = dict[str, Any]
"""A request or reply as JSON; codec.py turns it into the table's dataclasses where they are wanted."""


class NotLoggedInError(SyncsrvError):
    """The session or token is unknown, or no longer good."""

    code = "not-logged-in"


class SlowDownError(SyncsrvError):
    """Too many wrong passwords; ``retry_s`` seconds from now the next one is looked at."""

    code = "slow-down"

    def __init__(self, message: str, remedy: str = "", retry_s: float = 1.0) -> None:
        super().__init__(message, remedy)
        self.retry_s = retry_s


LONGEST_RETRY_S = 3600.0
_CODE = re.compile(r"[a-z][a-z-]{0,39}")
_PARENTS: Mapping[int, type[SyncsrvError]] = {2: UsageError, 3: UnreachableError}
_NAMED: Mapping[str, type[SyncsrvError]] = {
    error.code: error for error in (DeniedError, DamagedError, NotLoggedInError)
}


def rebuild_error(body: Body) -> SyncsrvError:
    """The error that the other side raised: same code and exit status, of the class that stands for them here.

    Its words are shown to people, so they are bounded and carry no control characters.
    """
    code, status = body.get("code"), body.get("exit_status")
    code = code if isinstance(code, str) and _CODE.fullmatch(code) else "failed"
    status = status if type(status) is int and 1 <= status <= 4 else 1
    message = printable(str(body.get("message") or "cannot say more: the other side gave no reason"))[:8192]
    remedy = printable(str(body.get("remedy") or ""))[:8192]
    if code == "refused":
        guards = body.get("guards")
        names = tuple(printable(str(guard))[:64] for guard in guards[:64]) if isinstance(guards, list) else ()
        return RefusedError(message, remedy, names)
    if code == SlowDownError.code:
        retry_s = body.get("retry_s")
        if not isinstance(retry_s, int | float) or not 0 < retry_s <= LONGEST_RETRY_S:
            retry_s = 1.0
        return SlowDownError(message, remedy, float(retry_s))
    parent = _NAMED.get(code) or _PARENTS.get(status, SyncsrvError)
    if (code, status) == (parent.code, parent.exit_status):
        return parent(message, remedy)
    # A class owns its code and exit status, so an error whose class lives elsewhere gets one of its own here.
    own: type[SyncsrvError] = type(parent.__name__, (parent,), {"code": code, "exit_status": status})
    return own(message, remedy)


def error_body(error: SyncsrvError) -> Body:
    """An error as it travels."""
    body: Body = {
        "code": error.code,
        "message": error.message,
        "remedy": error.remedy,
        "exit_status": error.exit_status,
    }
    if isinstance(error, RefusedError):
        body["guards"] = list(error.guards)
    if isinstance(error, SlowDownError):
        body["retry_s"] = error.retry_s
    return body
