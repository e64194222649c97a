"""The tables of connections of all nodes side by side, and whether open connections would live on. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from syncsrv.control.shapes_statesync import OFF, UNKNOWN, NoStateSync, StateSyncInfo
from syncsrv.web.views.cells import Cell, Fact, Row
from syncsrv.web.views.members import Member
from syncsrv.web.views.times import duration
from syncsrv.web.views.verdict import sentence

WORDS: dict[str, tuple[str, str, str]] = {
    "ready": ("ok", "ok", "ready"),
    "waiting": ("todo", "hourglass", "waiting for the table"),
    "alone": ("warn", "warn", "alone"),
    "dead": ("bad", "bad", "dead"),
    "missing": ("bad", "bad", "not installed"),
    OFF: ("bad", "bad", "cannot begin"),
    UNKNOWN: ("off", "unknown", "unknown"),
}
"""A word of the state sync to kind, icon, and how it reads; one of a newer version is as unknown."""

_NONE = "no state sync"


@dataclass(frozen=True, slots=True)
class Value:
    """What a node says in one row; ``kind`` and ``icon`` are empty for plain text; ``lost``: only last known."""

    text: str
    kind: str = ""
    icon: str = ""
    notes: tuple[str, ...] = ()
    node: str = ""
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table, with a value of each node."""

    label: str
    values: tuple[Value, ...]


def lines(nodes: Sequence[Member]) -> tuple[Line, ...]:
    """Every row; none where no node has a state sync."""
    if all(isinstance(node.state_sync, NoStateSync) for node in nodes):
        return ()
    return tuple(Line(label, tuple(_value(node, of) for node in nodes)) for label, of in _LINES.items())


def _value(node: Member, of: Callable[[StateSyncInfo], Value]) -> Value:
    one = node.state_sync
    if isinstance(one, NoStateSync):
        return Value(_NONE if of is _word else "", "off" if of is _word else "", "later", node=node.name)
    return replace(of(one), node=node.name, lost=node.lost or (one.word == UNKNOWN and of is not _word))


def _word(one: StateSyncInfo) -> Value:
    kind, icon, text = WORDS.get(one.word, ("off", "unknown", one.word))
    return Value(text, kind, icon, tuple(sentence(text) for text in (one.reason, one.remedy) if text))


def _number(number: int | None) -> Value:
    return Value("?" if number is None else f"{number:,}")


def _errors(one: StateSyncInfo) -> Value:
    if one.entries is None:
        return Value("?")
    found = {name: number for name, number in sorted(one.errors.items()) if number}
    if not found:
        return Value("0")
    notes = tuple(f"{name}: {number:,}" for name, number in found.items())
    return Value(f"{sum(found.values()):,}", "warn", "warn", notes)


_PEER = {"heard": Value("is heard"), "silent": Value("is not heard", "warn", "warn")}
_TABLE = {
    "received": Value("is here"),
    "awaited": Value("is awaited", "todo", "hourglass"),
    "timed out": Value("did not come", "warn", "warn", ("It waits no more.",)),
}
_NOT_KNOWN = Value("not known")


def _order(one: StateSyncInfo) -> Value:
    order = one.last_order
    if order is None:
        return Value("none yet")
    when = f"{duration(order.age_s)} ago, in {order.seconds:.2f} s"
    if order.result == "failed":
        return Value(order.what, "bad", "bad", (sentence(f"it failed: {order.why}"), when))
    return Value(order.what, notes=(f"{order.result} {when}",))


def _links(one: StateSyncInfo) -> Value:
    shown = [f"{link.interface}: {link.address} on {link.device}" for link in one.links]
    ports = f"{one.way}, UDP port {one.port}"
    if len(shown) > 1:
        ports += f" to {one.port + len(shown) - 1}; the first is used, the others stand by"
    return Value("; ".join(shown) or "none", notes=(ports,))


def _read(one: StateSyncInfo) -> Value:
    return Value("never" if one.age_s is None else f"{duration(one.age_s)} ago")


_LINES: dict[str, Callable[[StateSyncInfo], Value]] = {
    "State": _word,
    "Connections": lambda one: _number(one.entries),
    "Carried to the other node": lambda one: _number(one.carried),
    "Received from the other node": lambda one: _number(one.received),
    "Messages that wait": lambda one: _number(one.lag),
    "Errors since its start": _errors,
    "The other node": lambda one: _PEER.get(one.peer, _NOT_KNOWN),
    "Its table": lambda one: _TABLE.get(one.table, _NOT_KNOWN),
    "Last order": _order,
    "Links": _links,
    "Read": _read,
}


def row(left: Member, right: Member) -> tuple[Row, ...]:
    """The overview's row of two nodes; none where neither has a state sync."""
    pair = (left, right)
    if all(isinstance(node.state_sync, NoStateSync) for node in pair):
        return ()
    cells = tuple(_cell(node) for node in pair)
    if any(node.lost or _says(node) == UNKNOWN for node in pair):
        return (Row("State table", cells[0], "unknown", "", cells[1]),)
    if all(_says(node) == "ready" for node in pair):
        return (Row("State table", cells[0], "same", "", cells[1]),)
    kinds = {cell.kind for cell in cells}
    kind = next((kind for kind in ("bad", "warn", "todo") if kind in kinds), "warn")
    return (Row("State table", cells[0], "different", kind, cells[1]),)


def _says(node: Member) -> str:
    return node.state_sync.word if isinstance(node.state_sync, StateSyncInfo) else _NONE


def _cell(node: Member) -> Cell:
    one = node.state_sync
    if isinstance(one, NoStateSync):
        return Cell(_NONE, kind="off", icon="later")
    entries = "" if one.entries is None else _connections(one.entries)
    if one.word == "ready":
        carried = (f"{one.carried:,} carried to the other node",) if one.carried else ()
        lag = (f"{one.lag:,} messages behind",) if one.lag else ()
        return Cell(entries, notes=(*carried, *lag))
    said = _word(one)
    link = None if one.word in ("waiting", UNKNOWN) else ("See the state table", "/vips")
    notes = tuple(text for text in (sentence(one.reason), entries) if text)
    return Cell(said.text.capitalize(), kind=said.kind, icon=said.icon, notes=notes, link=link)


def _connections(number: int) -> str:
    return "1 connection" if number == 1 else f"{number:,} connections"


def facts(node: Member, nodes: Sequence[Member]) -> tuple[Fact, ...]:
    """Whether open connections would live on if this node took over.

    Args:
        node: which.
        nodes: all of them.
    """
    one = node.state_sync
    others = [other for other in nodes if other is not node]
    if isinstance(one, NoStateSync) and all(isinstance(other.state_sync, NoStateSync) for other in others):
        evidence = "No `state_sync` is configured: what goes through the node has to connect anew."
        return (Fact("off", "later", "Open connections would not be carried over", evidence),)
    if isinstance(one, NoStateSync):
        return (Fact("warn", "warn", "Open connections would break", f"{node.name} has no state sync."),)
    breaks = [
        f"{each.name}: {trouble.partition('; ')[0]}"
        for each in nodes
        if each.told
        for trouble in each.failover.troubles
        if _BREAKS in trouble
    ]
    if one.word == UNKNOWN:
        return (Fact("off", "unknown", "Whether open connections would live on is not known", sentence(one.reason)),)
    if one.word != "ready":
        return (Fact("warn", "warn", "Open connections would break", sentence(f"{node.name}: {one.reason}")),)
    if breaks:
        return (Fact("warn", "warn", "Open connections would break", sentence(breaks[0])),)
    if one.table != "received":
        return (Fact("warn", "warn", "Some open connections would break", f"{node.name} did not get the whole table."),)
    carried = [
        f"{each.name} carries {_connections(each.state_sync.carried)}"
        for each in others
        if isinstance(each.state_sync, StateSyncInfo) and each.state_sync.carried and not each.lost
    ]
    knows = [] if one.entries is None else [f"{node.name} knows {one.entries:,}"]
    evidence = sentence(", ".join(carried + knows))
    return (Fact("ok", "ok", "Open connections would live on", evidence),)


_BREAKS = "breaks open connections"
"""What a trouble says that is about them; core/carp/statetable.py writes it."""
