"""Forms that were under way when a log-in ended: kept in memory for a while, sent again only by a person's click."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from syncsrv.clock import Clock

KEPT = 100
"""Forms kept at once; the oldest goes first."""

LARGEST = 64 * 1024
"""Bytes of one form; a larger one is not kept."""

KEPT_S = 15 * 60.0

SECRET = ("password", "old", "new", "csrf_token")
"""Fields that are never kept; a form that has one of the first three is not kept at all."""


@dataclass(frozen=True, slots=True)
class Form:
    """A form as it was sent.

    Attributes:
        path: where to, without a query.
        fields: names and values in their order.
        person: who had been logged in; nobody else gets to see it.
    """

    path: str
    fields: tuple[tuple[str, str], ...]
    person: str


class KeptForms:
    """The forms of one web process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._forms: OrderedDict[str, tuple[float, Form]] = OrderedDict()

    def keep(self, path: str, fields: Sequence[tuple[str, str]], person: str) -> str | None:
        """Keep a form.

        Returns:
            The id to ask for it with; None where it is not kept: too large, or it has a password in it.
        """
        if any(name in SECRET[:3] for name, _ in fields):
            return None
        plain = tuple((name, value) for name, value in fields if name not in SECRET)
        if sum(len(name) + len(value) for name, value in plain) > LARGEST:
            return None
        name = secrets.token_urlsafe(18)
        with self._lock:
            self._sweep()
            self._forms[name] = (self._clock.monotonic() + KEPT_S, Form(path, plain, person))
            while len(self._forms) > KEPT:
                self._forms.popitem(last=False)
        return name

    def get(self, name: str, person: str) -> Form | None:
        """The form of that id, if it is still kept and was this person's."""
        with self._lock:
            self._sweep()
            _, form = self._forms.get(name, (0.0, None))
        return form if form is not None and form.person == person else None

    def drop(self, name: str) -> None:
        """Forget a form."""
        with self._lock:
            self._forms.pop(name, None)

    def _sweep(self) -> None:
        now = self._clock.monotonic()
        for name in [name for name, (ends_at, _) in self._forms.items() if ends_at <= now]:
            del self._forms[name]
