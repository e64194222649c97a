"""The five fields of a cron line, read as cron means them. Pure.

APScheduler reads them differently (0 is Monday there, 7 is refused, day and weekday are joined by AND), so the
schedule is built from what this module returns and never from the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_RANGE = re.compile(r"(\*|[a-z0-9]{1,3})(?:-([a-z0-9]{1,3}))?(?:/([0-9]{1,3}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cron:
    """When a schedule fires: each field as the numbers that match; ``weekdays`` with 0 = Sunday.

    ``days`` or ``weekdays`` holds all its numbers where the line says ``*``.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    @property
    def weekday_names(self) -> str:
        """The weekdays as APScheduler's field takes them, by name: ``mon,fri``."""
        return ",".join(WEEKDAYS[day] for day in self.weekdays)


def parse_cron(written: str) -> Cron:
    """Read ``MINUTE HOUR DAY MONTH WEEKDAY``.

    Raises:
        ValueError: with the field and why; also where day and weekday are both given, since cron joins them
            with OR and nearly nobody expects it.
    """
    fields = written.lower().split()
    if written.startswith("@"):
        raise ValueError(f"cannot be {written!r}: write the five fields, such as `0 3 * * *`")
    if len(fields) != 5:
        raise ValueError(f"cannot be {written!r}: five fields are needed (minute hour day month weekday)")
    if not fields[2].startswith("*") and not fields[4].startswith("*"):
        raise ValueError(
            f"cannot be {written!r}: day {fields[2]} and weekday {fields[4]} are both set, and cron fires when either "
            "matches; write two schedules"
        )
    weekdays = _field("weekday", fields[4], 0, 7, WEEKDAYS)
    return Cron(
        minutes=_field("minute", fields[0], 0, 59),
        hours=_field("hour", fields[1], 0, 23),
        days=_field("day", fields[2], 1, 31),
        months=_field("month", fields[3], 1, 12, _MONTHS, 1),
        weekdays=tuple(sorted({day % 7 for day in weekdays})),
    )


def _field(
    what: str, text: str, low: int, high: int, names: tuple[str, ...] = (), names_from: int = 0
) -> tuple[int, ...]:
    found: set[int] = set()
    for part in text.split(","):
        shape = _RANGE.fullmatch(part)
        if shape is None or (shape[1] == "*" and shape[2]):
            raise ValueError(f"cannot be read in the field {what}: {part!r}")
        step = int(shape[3] or 1)
        if step == 0:
            raise ValueError(f"cannot be read in the field {what}: {part!r} has the step 0")
        if shape[1] == "*":
            first, last = low, high
        else:
            first = _number(what, shape[1], low, high, names, names_from)
            last = _number(what, shape[2], low, high, names, names_from) if shape[2] else first
            last = high if shape[3] and not shape[2] else last
        if first > last:
            raise ValueError(f"cannot be read in the field {what}: {part!r} ends before it begins")
        found.update(range(first, last + 1, step))
    return tuple(sorted(found))


def _number(what: str, word: str, low: int, high: int, names: tuple[str, ...], names_from: int) -> int:
    if word in names:
        return names.index(word) + names_from
    if not word.isdecimal() or not low <= int(word) <= high:
        raise ValueError(f"cannot be read in the field {what}: {word!r} is not between {low} and {high}")
    return int(word)
