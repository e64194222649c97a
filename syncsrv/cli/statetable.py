"""The table of connections in a line, for ``status`` and ``vip status``."""

from __future__ import annotations

from typing import Any


def state_words(one: dict[str, Any]) -> str:
    """How it is; empty where no state sync is configured."""
    if one["engine"] == "none":
        return ""
    counts = _counts(one)
    if one["word"] == "ready":
        said = [f"ready: {counts}"]
    else:
        age = "" if one["age_s"] is None or one["word"] != "unknown" else f", {one['age_s']:.0f} s ago"
        said = [f"{one['word']}: {one['reason']}" + (f" ({counts}{age})" if counts else "")]
        said += [one["remedy"]] if one["remedy"] else []
    order = one["last_order"]
    if order is not None and order["result"] == "failed":
        said.append(f"its last order ({order['what']}) failed: {order['why']}")
    return "; ".join(said)


def _counts(one: dict[str, Any]) -> str:
    if one["entries"] is None:
        return ""
    errors = [f"{name} {number}" for name, number in sorted(one["errors"].items()) if number]
    said = [f"{one['entries']} connections", f"{one['carried']} carried", f"{one['received']} received"]
    said.append(f"lag {one['lag']}")
    return ", ".join([*said, *([f"errors: {' and '.join(errors)}"] if errors else [])])
