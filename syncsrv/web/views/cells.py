"""What the overview is made of: rows with a cell of each node and the sign between, and facts with evidence. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plate:
    """A CARP state of some addresses; ``look``: solid, bad, or empty; ``text``: what it is about."""

    word: str
    look: str
    text: str = ""
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands of one node in a row.

    Attributes:
        state: a state word of DESIGN 3.3, shown with its icon; empty for none.
        kind: ok, todo, warn, bad or off, for ``text`` with an icon; empty for plain text.
        icon: of that.
        text: the reading.
        tag: a tag that follows it.
        notes: second lines.
        at: a time that goes with the notes.
        link: label and address of the button that helps; None for none.
        plates: CARP states, shown before everything else.
    """

    text: str = ""
    state: str = ""
    kind: str = ""
    icon: str = ""
    tag: str = ""
    notes: tuple[str, ...] = ()
    at: str | None = None
    link: tuple[str, str] | None = None
    plates: tuple[Plate, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One row; ``sign``: same, different, unknown, or empty where it says nothing; ``kind`` is its colour."""

    label: str
    left: Cell
    sign: str
    kind: str
    right: Cell


@dataclass(frozen=True, slots=True)
class Fact:
    """One claim with its evidence; ``kind``: ok, todo, warn, bad or off."""

    kind: str
    icon: str
    claim: str
    evidence: str = ""
