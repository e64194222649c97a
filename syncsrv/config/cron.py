"""The five fields of a cron line, read as cron means them, and when they fire next. Pure.

APScheduler reads them differently (0 is Monday there, 7 is refused, day and weekday are joined by AND), so a schedule
is built from what this module returns and never from the text. All is UTC: no hour is left out, none comes twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS_OF = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FURTHEST_DAYS = 8 * 366 + 1
"""From one 29 February to the next there are eight years at most."""
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


def parse_cron(written: str) -> Cron:
    """Read ``MINUTE HOUR DAY MONTH WEEKDAY``.

    Raises:
        ValueError: with the field and why; also where day and weekday are both given, since cron joins them
            with OR and nearly nobody expects it, and where there is no such day.
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
    cron = Cron(
        minutes=_field("minute", fields[0], 0, 59),
        hours=_field("hour", fields[1], 0, 23),
        days=_field("day", fields[2], 1, 31),
        months=_field("month", fields[3], 1, 12, _MONTHS, 1),
        weekdays=tuple(sorted({day % 7 for day in weekdays})),
    )
    if not any(cron.days[0] <= _DAYS_OF[month - 1] for month in cron.months):
        raise ValueError(f"cannot be {written!r}: no month of it has a day {cron.days[0]}, so it would never fire")
    return cron


def next_run(cron: Cron, after_utc: datetime) -> datetime | None:
    """The first minute after a moment at which a line fires, UTC; None where no day that is near enough matches."""
    moment = (after_utc.astimezone(UTC) + timedelta(minutes=1)).replace(second=0, microsecond=0)
    day, from_time = moment.date(), moment.time()
    for _ in range(_FURTHEST_DAYS):
        if day.month in cron.months and day.day in cron.days and day.isoweekday() % 7 in cron.weekdays:
            for hour in cron.hours:
                for minute in cron.minutes:
                    if time(hour, minute) >= from_time:
                        return datetime.combine(day, time(hour, minute), UTC)
        day, from_time = day + timedelta(days=1), time()
    return None


def next_runs(cron: Cron, after_utc: datetime) -> Iterator[datetime]:
    """One after the other."""
    at = next_run(cron, after_utc)
    while at is not None:
        yield at
        at = next_run(cron, at)


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
