"""Times as people read them: how long ago, with the exact time beside it. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

DAY_S = 86400.0


def moment(text: str) -> datetime | None:
    """An RFC 3339 time; None where it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def duration(seconds: float) -> str:
    """``0.3 s``, ``42 s``, ``7 min``, ``3 h 12 min``, ``3 d 12 h``."""
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.2g} s"
    if seconds < 60:
        return f"{int(seconds)} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min"
    if seconds < DAY_S:
        hours, rest = divmod(int(seconds // 60), 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    days, rest = divmod(int(seconds // 3600), 24)
    return f"{days} d {rest} h" if rest else f"{days} d"


def ago(then: datetime, now: datetime) -> str:
    """Relative up to a day, then the date."""
    seconds = (now - then).total_seconds()
    if seconds < 0:
        return "now" if seconds > -5 else exact(then)
    if seconds >= DAY_S:
        return f"{then.astimezone(UTC):%-d %b %Y, %H:%M}" if then.year != now.year else f"{then:%-d %b, %H:%M}"
    return f"{duration(int(seconds))} ago"


def exact(then: datetime) -> str:
    """``2026-11-23 04:21:12 UTC``."""
    return f"{then.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
