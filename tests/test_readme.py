"""The README names every command, option of the configuration, state and guard, with the defaults that are in force."""

from __future__ import annotations

import enum
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from syncsrv.cli.main import COMMANDS
from syncsrv.config import values
from syncsrv.config.model import Cluster, Node
from syncsrv.plan.guards import NEEDS_ADMIN, Guard
from syncsrv.plan.verdict import TABLE

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")

LATER = ("overrides",)
"""Keys of cluster.yaml whose feature is not there yet: one row with the names of what is in them."""

NOT_YET = ("soak", "hold", "two-masters")


def section(title: str) -> str:
    """The text below a heading, up to the next one of its rank or above."""
    rank = title.split()[0]
    found = re.search(rf"(?ms)^{re.escape(title)}\n(.*?)(?=^#{{1,{len(rank)}}} |\Z)", README)
    assert found, f"README has no {title}"
    return found[1]


def rows(title: str) -> dict[str, list[str]]:
    """The rows of a section's tables, by each name in the first cell."""
    table = {}
    for line in re.sub(r"(?ms)^```.*?^```$", "", section(title)).splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            table.update(dict.fromkeys(re.findall(r"`([^`]+)`", cells[0]), cells[1:]))
    return table


def shapes(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """The shapes that a type leads to, each with what stands between in a path."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "", annotation
    elif origin is dict:
        yield from ((".NAME", shape) for _, shape in shapes(arguments[1]))
    elif origin in (typing.Union, types.UnionType, typing.Annotated, tuple):
        for argument in arguments:
            yield from shapes(argument)


def written(shape: type[BaseModel], path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key that a person may write, as a path."""
    for name, info in shape.model_fields.items():
        key = f"{path}{info.alias or name}"
        if not path and shape is Cluster and name in LATER:
            continue
        inner = list(shapes(info.annotation))
        if not inner or name == "tls":
            yield key + (".NAME" if typing.get_origin(info.annotation) is dict else ""), info
        for between, one in inner:
            yield from written(one, f"{key}{between}.")


def shown(info: FieldInfo, cell: str) -> bool:
    """Whether a cell says what a key is when it is not written."""
    default = info.default
    if info.is_required():
        return cell == "required"
    if default is None or default == "" or default == {} or (default == () and cell != "`[]`"):
        return cell in {"none", "required"}  # required where another key makes it so
    cell = cell.strip("`")
    if isinstance(default, tuple):
        return cell == f"[{', '.join(default)}]"
    if isinstance(default, bool):
        return cell == str(default).lower()
    if isinstance(default, float):
        return values.parse_duration(cell) == default
    if isinstance(default, int):
        return (values.parse_size(cell) if cell.endswith("B") else int(cell)) == default
    return cell == (default.value if isinstance(default, enum.Enum) else str(default))


@pytest.mark.parametrize("file, shape", [("node.yaml", Node), ("cluster.yaml", Cluster)])
def test_every_key_has_a_row_with_its_default_and_no_row_is_for_nothing(file: str, shape: type[BaseModel]) -> None:
    table = rows(f"### {file}")
    keys = dict(written(shape))
    later = {*LATER} if shape is Cluster else set()
    assert set(table) == {*keys, *later}
    assert [key for key, info in keys.items() if not shown(info, table[key][0])] == []


@pytest.mark.parametrize("name", LATER)
def test_what_comes_later_is_marked_so_and_names_its_keys(name: str) -> None:
    _, meaning = rows("### cluster.yaml")[name]
    assert meaning.startswith("later")
    inner = [shape for _, shape in shapes(Cluster.model_fields[name].annotation)]
    names = {info.alias or key for shape in inner for key, info in shape.model_fields.items()}
    assert set(re.findall(r"`([^`]+)`", meaning)) == names


def test_every_state_in_the_order_in_which_they_hold() -> None:
    assert list(rows("## States, and what to do")) == [state for state, _ in TABLE]


def test_every_guard_and_which_need_an_admin() -> None:
    table = rows("## Guards")
    assert set(table) == {guard.value for guard in Guard}
    for name, cells in table.items():
        assert (name in NOT_YET) == ("not in this version" in cells[1]), name
        assert name in NOT_YET or (Guard(name) in NEEDS_ADMIN) == ("needs an admin" in cells[1]), name


def test_every_command() -> None:
    table = rows("## The daily commands")
    of_user = {"add", "list", "remove", "passwd", "token", "revoke"}
    words = {name.split()[0] for name in table} | of_user
    assert set(COMMANDS) <= words
    assert not {word for word in words if word.isalpha()} - set(COMMANDS) - of_user


def test_the_two_commands_come_first() -> None:
    first = README.split("```")[1]
    assert [line.split("#")[0].split() for line in first.splitlines()[1:]] == [["make", "demo"], ["make", "test"]]
