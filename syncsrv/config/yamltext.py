"""YAML 1.2 text → plain data and the place of every key and value. The only module that knows ruamel.yaml.

What this reader takes is less than YAML: one document, mappings with text keys, sequences, scalars of the core
schema (no dates, no ``yes``), aliases within bounds, and one tag, ``!secret NAME``. Everything else is a Flaw with
its line; no exception leaves here, whatever the bytes.

After a syntax error the rest is still read: the top-level key that holds it is blanked and the text read again, so
that one run shows the faults of every key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
)

from syncsrv.config.document import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_FLAWS,
    MAX_NODES,
    TOP,
    Document,
    Flaw,
    KeyPath,
    Mark,
    Spot,
    decoded,
    depth,
    resolve_plain,
    shortened,
)
from syncsrv.config.values import SecretRef
from syncsrv.config.yamlsyntax import in_our_words, without_block

_READ_CHARACTERS = 2 * MAX_BYTES
"""How much is read in all while looking for more flaws: a second for each 200,000 characters."""
_SURROGATES = re.compile("[\ud800-\udfff]")
_CORE_TAG = "tag:yaml.org,2002:"


def parse(source: bytes | str) -> Document:
    """Read a text, whatever it is.

    Args:
        source: UTF-8 bytes, or text.

    Returns:
        What could be read, with the flaws of everything else.
    """
    if len(source) > MAX_BYTES:
        flaw = Flaw(TOP, (), f"cannot be {len(source)} bytes long: at most {MAX_BYTES}")
        return Document(None, {}, (flaw,), frozenset({()}))
    text, flaws = decoded(source)
    unread: set[KeyPath] = set()
    budget = _READ_CHARACTERS
    while True:
        budget -= len(text)
        reading = _Reading(text, forgiving=bool(unread))
        broken = reading.read()
        if broken is None:
            break
        blanked, name = without_block(text, broken.lines)
        elsewhere = name is not None and broken.flaw.path[:1] != (name,)
        flaws.append(replace(broken.flaw, path=(name,)) if elsewhere and name else broken.flaw)
        if blanked is None or len(flaws) >= MAX_FLAWS or budget < len(text):
            unread.add(())
            break
        unread.add((name,) if name else ())
        text = blanked
    flaws = [flaw if flaw.path else replace(flaw, path=_around(reading.spots, flaw.mark)) for flaw in flaws]
    found = sorted({*flaws, *reading.flaws}, key=lambda flaw: (flaw.mark.index, flaw.message))
    return Document(reading.data, reading.spots, tuple(found[:MAX_FLAWS]), frozenset(unread | reading.lost))


def _around(spots: Mapping[KeyPath, Spot], mark: Mark) -> KeyPath:
    """The innermost value whose key or text holds a place."""
    holding = (path for path, spot in spots.items() if (spot.key or spot.start).index <= mark.index < spot.end.index)
    return max(holding, key=len, default=())


@dataclass(slots=True)
class _Open:
    """A collection being read."""

    path: KeyPath
    into: dict[str, Any] | list[Any]
    anchor: str | None
    nodes_before: int
    key: str | None = None
    key_event: ScalarEvent | None = None
    skip: bool = False
    last_end: Mark | None = None


class _BrokenError(Exception):
    """A flaw after which what follows in its top-level block cannot be trusted.

    Attributes:
        flaw: what to report.
        lines: where the block may be that has to go (from 1), the likeliest first; empty where the whole text has to.
    """

    def __init__(self, flaw: Flaw, *lines: int) -> None:
        super().__init__(flaw.message)
        self.flaw = flaw
        self.lines = lines


@dataclass(slots=True)
class _Reading:
    """One pass over the parser's events, without recursion."""

    text: str
    forgiving: bool
    """A block was blanked before: an alias may have lost its anchor with it."""
    data: Any = None
    spots: dict[KeyPath, Spot] = field(default_factory=dict)
    flaws: list[Flaw] = field(default_factory=list)
    lost: set[KeyPath] = field(default_factory=set)
    _open: list[_Open] = field(default_factory=list)
    _anchors: dict[str, tuple[Any, int]] = field(default_factory=dict)
    _nodes: int = 0
    _read_to: Mark = TOP
    _documents: int = 0

    def read(self) -> _BrokenError | None:
        try:
            for event in self._events():
                self._take(event)
        except _BrokenError as broken:
            return broken
        return None

    def _events(self) -> Iterator[Event]:
        events = iter(YAML(typ="safe", pure=True).parse(self.text))
        while True:
            try:
                event = next(events)
            except StopIteration:
                return
            except MarkedYAMLError as error:
                raise self._syntax(error) from error
            except (YAMLError, ValueError, OverflowError) as error:
                # Such an error has no place of its own: it is behind the last thing that could be read.
                flaw = Flaw(self._read_to, self._here(), "cannot be read as YAML: a malformed escape or tag follows")
                raise _BrokenError(flaw) from error
            self._read_to = _mark(event.end_mark)
            yield event

    def _syntax(self, error: MarkedYAMLError) -> _BrokenError:
        begins_it = error.context_mark and "simple key" in str(error.context)
        place = error.context_mark if begins_it else error.problem_mark or error.context_mark
        mark = _mark(place) if place else TOP
        began = error.context_mark.line + 1 if error.context_mark else mark.line
        opened = f" (in what begins on line {began})" if began != mark.line else ""
        words = in_our_words(str(error.context or ""), str(error.problem or "syntax error"))
        flaw = Flaw(mark, self._here(), f"cannot be read as YAML: {words}{opened}")
        swallows = any(kind in str(error.context) for kind in ("flow", "quoted scalar"))
        return _BrokenError(flaw, *((began, mark.line) if swallows else (mark.line,)))

    def _here(self) -> KeyPath:
        if not self._open:
            return ()
        top = self._open[-1]
        if isinstance(top.into, list):
            return (*top.path, len(top.into))
        if top.key is None:
            return top.path
        return (*top.path, f"{top.key} (again)" if top.skip else top.key)

    def _take(self, event: Event) -> None:
        if isinstance(event, DocumentStartEvent):
            mark = _mark(event.start_mark)
            self._documents += 1
            if event.version or event.tags:
                raise _BrokenError(Flaw(TOP, (), "cannot take YAML directives (lines with %)"))
            if self._documents > 1:
                raise _BrokenError(Flaw(mark, (), "cannot take a second document: `---` may stand only at the top"))
        elif isinstance(event, CollectionEndEvent):
            self._close(event)
        elif isinstance(event, ScalarEvent | AliasEvent | CollectionStartEvent):
            self._node(event)

    def _node(self, event: ScalarEvent | AliasEvent | CollectionStartEvent) -> None:
        mark = _mark(event.start_mark)
        self._count(1, mark)
        if self._open and isinstance(self._open[-1].into, dict) and self._open[-1].key is None:
            self._key(event, mark)
            return
        path = self._here()
        if isinstance(event, CollectionStartEvent):
            self._start(event, mark, path)
        elif isinstance(event, AliasEvent):
            self._alias(event, mark, path)
        else:
            value = self._scalar(event, mark, path)
            self._put(value, Spot(None, None, mark, _mark(event.end_mark)))
            if event.anchor:
                self._anchors[event.anchor] = (value, 1)

    def _count(self, nodes: int, mark: Mark) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise _BrokenError(Flaw(mark, self._here(), f"cannot hold more than {MAX_NODES} values, aliases included"))

    def _key(self, event: Event, mark: Mark) -> None:
        top = self._open[-1]
        assert isinstance(top.into, dict)
        if not isinstance(event, ScalarEvent):
            raise _BrokenError(Flaw(mark, top.path, "cannot be used as a key: a key is text"), mark.line)
        if event.tag or event.anchor:
            self.flaws.append(Flaw(mark, top.path, "cannot be used as a key: a key has no tag and no anchor"))
        if event.value == "<<" and not event.style:
            self.flaws.append(Flaw(mark, top.path, "cannot merge with `<<`: YAML 1.2 has no merge keys"))
        key = self._whole(event.value, mark, top.path)
        top.key, top.key_event = key, event
        top.skip = key in top.into
        if top.skip:
            first = self.spots[(*top.path, key)].key or mark
            message = f"cannot be given twice: it stands on line {first.line} already"
            self.flaws.append(Flaw(mark, (*top.path, key), message))

    def _start(self, event: CollectionStartEvent, mark: Mark, path: KeyPath) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise self._too_deep(mark, path)
        if event.tag and event.tag not in (f"{_CORE_TAG}map", f"{_CORE_TAG}seq"):
            self.flaws.append(
                Flaw(mark, path, f"cannot take the tag {shortened(event.tag)}: only `!secret NAME` has a meaning")
            )
        into: dict[str, Any] | list[Any] = {} if isinstance(event, MappingStartEvent) else []
        self._put(into, Spot(None, None, mark, mark, flow=bool(event.flow_style), collection=True), done=False)
        self._open.append(_Open(path, into, event.anchor, self._nodes - 1))
        if event.anchor:
            self._anchors.pop(event.anchor, None)

    def _too_deep(self, mark: Mark, path: KeyPath) -> _BrokenError:
        return _BrokenError(Flaw(mark, path[:4], f"cannot be nested deeper than {MAX_DEPTH} levels"), mark.line)

    def _close(self, event: CollectionEndEvent) -> None:
        closed = self._open.pop()
        spot = self.spots.get(closed.path)
        end = _mark(event.end_mark)
        if spot is not None and not spot.flow:
            end = closed.last_end or spot.start
        if spot is not None and spot.collection:
            self.spots[closed.path] = Spot(spot.key, spot.key_end, spot.start, end, spot.flow, True)
        if closed.anchor:
            self._anchors[closed.anchor] = (closed.into, self._nodes - closed.nodes_before)
        self._finished(end)

    def _alias(self, event: AliasEvent, mark: Mark, path: KeyPath) -> None:
        known = self._anchors.get(event.anchor)
        value: Any = None
        if known is None and self.forgiving:
            self.lost.add(path)
        elif known is None:
            self.flaws.append(
                Flaw(mark, path, f"cannot repeat *{shortened(event.anchor)}: no such & is finished before it")
            )
        if known is not None:
            value, nodes = known
            self._count(nodes, mark)
            if len(self._open) + depth(value) > MAX_DEPTH:
                raise self._too_deep(mark, path)
        self._put(value, Spot(None, None, mark, _mark(event.end_mark), alias=True))

    def _put(self, value: Any, spot: Spot, *, done: bool = True) -> None:
        if not self._open:
            self.data = value
            self.spots[()] = spot
            return
        top = self._open[-1]
        path = self._here()
        if isinstance(top.into, list):
            top.into.append(value)
            self.spots[path] = spot
        else:
            assert top.key is not None
            assert top.key_event is not None
            if not top.skip:
                top.into[top.key] = value
                key = top.key_event
                self.spots[path] = Spot(
                    _mark(key.start_mark),
                    _mark(key.end_mark),
                    spot.start,
                    spot.end,
                    spot.flow,
                    spot.collection,
                    spot.alias,
                )
        if done:
            self._finished(spot.end if spot.end.index > spot.start.index or top.key_event is None else None)

    def _finished(self, end: Mark | None) -> None:
        """A value of the innermost open collection is complete; an empty one ends with its key."""
        if not self._open:
            return
        top = self._open[-1]
        if end is None and top.key_event is not None:
            end = _mark(top.key_event.end_mark)
        top.last_end = end
        top.key = top.key_event = None
        top.skip = False

    def _scalar(self, event: ScalarEvent, mark: Mark, path: KeyPath) -> Any:
        plain = event.style in (None, "")
        text = self._whole(event.value, mark, path)
        if event.tag == "!secret":
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", text):
                self.flaws.append(Flaw(mark, path, "cannot take !secret without the NAME of a key in secrets.yaml"))
            return SecretRef(text)
        if event.tag == f"{_CORE_TAG}str" or event.tag == "!":
            return text
        if event.tag:
            self.flaws.append(
                Flaw(mark, path, f"cannot take the tag {shortened(event.tag)}: only `!secret NAME` has a meaning")
            )
            return text
        return resolve_plain(text) if plain else text

    def _whole(self, text: str, mark: Mark, path: KeyPath) -> str:
        """The text without halves of surrogate pairs, which an escape can make and no file can hold."""
        if not _SURROGATES.search(text):
            return text
        self.flaws.append(Flaw(mark, path, "cannot hold half a surrogate pair"))
        return _SURROGATES.sub("\ufffd", text)


def _mark(mark: Any) -> Mark:
    return Mark(mark.line + 1, mark.column + 1, mark.index)
