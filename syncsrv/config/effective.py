"""What is in force, value by value, and where each stands: for people who ask why a node does what it does.

A value of a secret is never among it, only that there is one and where.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from syncsrv.config import values
from syncsrv.config.document import KeyPath, dotted
from syncsrv.config.load import CLUSTER_FILE, NODE_FILE, SECRETS_FILE, Configuration, read_files
from syncsrv.config.model import Secrets, Vip
from syncsrv.config.shape import Read
from syncsrv.config.values import SecretRef

CHANGED = "the file says something else by now, which is not in force"

_PASSWORD_IN_URL = re.compile(r"(?<=//)[^/@\s]+@")

Shown: TypeAlias = Mapping[KeyPath, str]


@dataclass(frozen=True, slots=True)
class Effective:
    """One value in force.

    Attributes:
        key: from the top of its file, dotted.
        value: as it would be written.
        file: whose key it is.
        line: where it stands; 0 for a default.
        note: where the file says something else by now.
    """

    key: str
    value: str
    file: str
    line: int = 0
    note: str = ""


def effective(config: Configuration) -> tuple[tuple[Effective, ...], tuple[str, ...]]:
    """Every value in force, in the order of the files, and in sentences which file says something else by now.

    Args:
        config: what is in force; its files are read again for the places.
    """
    node, cluster, secrets = read_files(config.directory)
    found = [
        *_of_file(NODE_FILE, shown(config.node), node, secrets, config.secrets),
        *_of_file(CLUSTER_FILE, shown(config.cluster), cluster, secrets, config.secrets),
        *_of_secrets(secrets, config.secrets),
    ]
    changed = []
    if node.value != config.node:
        changed.append(f"{NODE_FILE} says something else than what is in force; SIGHUP to serve or core takes it over")
    if cluster.value != config.cluster:
        changed.append(f"{CLUSTER_FILE} says something else than what is in force; `syncsrv check` says why")
    if secrets.value != config.secrets:
        changed.append(
            f"{SECRETS_FILE} holds something else than what is in force; SIGHUP to serve or core takes it over"
        )
    return tuple(found), tuple(changed)


def shown(model: BaseModel) -> dict[KeyPath, str]:
    """Each value of a shape as it would be written, by its path; a secret by its name only."""
    return dict(_walk(model, ()))


def _walk(value: Any, path: KeyPath, field: FieldInfo | None = None) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            below = (*path, info.alias or name)
            if isinstance(value, Vip) and name == "password":
                yield below, _password(value.password)
            else:
                yield from _walk(getattr(value, name), below, info)
    elif isinstance(value, dict) and value:
        for key, one in value.items():
            yield from _walk(one, (*path, key))
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        for number, one in enumerate(value):
            yield from _walk(one, (*path, number))
    else:
        yield path, _scalar(value, field)


def _scalar(value: Any, field: FieldInfo | None) -> str:
    readers = [getattr(one, "func", None) for one in field.metadata] if field is not None else []
    if values.parse_duration in readers:
        return values.show_duration(value)
    if values.parse_size in readers:
        return values.show_size(value)
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case enum.Enum():
            return str(value.value)
        case tuple():
            return f"[{', '.join(_scalar(one, None) for one in value)}]"
        case dict():
            return "{}"
        case "":
            return '""'
        case float():
            return f"{value:g}"
    return _PASSWORD_IN_URL.sub("…@", str(value))


_NOT_SET = "not set"
_SET = "set"


def _password(value: str | SecretRef) -> str:
    if isinstance(value, SecretRef):
        return f"!secret {value.secret}"
    return _SET if value else _NOT_SET


def _of_file(
    name: str, in_force: Shown, read: Read[Any], secrets_read: Read[Secrets], secrets: Secrets
) -> Iterator[Effective]:
    written = shown(read.value) if read.value is not None else {}
    for path, value in in_force.items():
        one = Effective(dotted(path), _resolved(value, path, secrets_read, secrets), name)
        if written.get(path) != value:
            yield replace(one, note=CHANGED)
        else:
            yield replace(one, line=_line(read, path))


def _line(read: Read[Any], path: KeyPath) -> int:
    """Where a value stands, or the alias that repeats it; 0 where nobody wrote it."""
    written = read.as_written(path)
    for length in range(len(written), 0, -1):
        spot = read.document.spots.get(written[:length])
        if spot is not None:
            return (spot.key or spot.start).line if spot.alias or length == len(written) else 0
    return 0


def _resolved(value: str, path: KeyPath, read: Read[Secrets], secrets: Secrets) -> str:
    """What a reference to a secret shows."""
    if path[-1] != "password" or not value.startswith("!secret "):
        return value
    name = value.removeprefix("!secret ")
    if name not in secrets:
        return f"{_NOT_SET} ({SECRETS_FILE} has no {name})"
    spot = read.document.spots.get((name,))
    return (
        f"{_SET} ({SECRETS_FILE}:{(spot.key or spot.start).line})" if spot is not None else f"{_SET} ({SECRETS_FILE})"
    )


def _of_secrets(read: Read[Secrets], secrets: Secrets) -> Iterator[Effective]:
    for name, value in secrets.items():
        spot = read.document.spots.get((name,))
        one = Effective(name, _SET if value else _NOT_SET, SECRETS_FILE)
        if spot is None or read.value is None or read.value.get(name) != value:
            yield replace(one, note=CHANGED)
        else:
            yield replace(one, line=(spot.key or spot.start).line)
