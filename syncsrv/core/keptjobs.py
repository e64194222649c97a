"""Jobs that core does not remember any more, told from the record that each has left."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from syncsrv.clock import rfc3339
from syncsrv.control.shapes import JobReply, NodeResult, Step
from syncsrv.core.jobs import UnknownJobError
from syncsrv.core.parts import Core
from syncsrv.store.receipts import find_receipt

LOOKED_AT = 2000
"""Of the newest receipts."""

_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}\Z")
_NODES: TypeAdapter[dict[str, NodeResult]] = TypeAdapter(dict[str, NodeResult])
_STEPS: TypeAdapter[tuple[Step, ...]] = TypeAdapter(tuple[Step, ...])


def kept(core: Core, job: str, after: int = 0) -> JobReply:
    """A job as its receipt tells it.

    Args:
        core: of this node.
        job: its id.
        after: how many steps the asker has.

    Raises:
        UnknownJobError: none of the newest receipts is of that job.
        BadReceiptError: the one that is was not written by this node.
    """
    keys = {core.signer.public_blob: core.node}
    found = find_receipt(core.store, LOOKED_AT, "job", job, keys) if _ID.match(job) else None
    if found is None:
        raise UnknownJobError(job)
    body = found.body
    steps = _read(_STEPS, body.get("steps"), ())
    nodes = _read(_NODES, body.get("nodes"), {}) or {found.node: _own(body, steps)}
    told = [(found.node, step) for step in steps]
    told += [(name, step) for name, one in nodes.items() if name != found.node for step in one.steps]
    tag = body.get("tag")
    return JobReply(
        job=job,
        kind=_text(body, "kind"),
        state="done",
        steps=tuple(told[after:]),
        tag=tag if isinstance(tag, str) else None,
        nodes=nodes,
        requested_by=_text(body, "requested_by"),
        at=_text(body, "at") or rfc3339(found.at_utc),
        origin=_text(body, "origin"),
        reason=_text(body, "why"),
        subject=_text(body, "about"),
        ended_at=rfc3339(found.at_utc),
    )


def _own(body: Mapping[str, Any], steps: tuple[Step, ...]) -> NodeResult:
    guards = body.get("guards")
    result = _text(body, "result")
    return NodeResult(
        "failed" if result == "put back" else result,
        _text(body, "reason"),
        _text(body, "remedy"),
        tuple(map(str, guards)) if isinstance(guards, list) else (),
        steps,
    )


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) else ""


def _read(adapter: TypeAdapter[Any], value: object, otherwise: Any) -> Any:
    """What an older release wrote in another shape is left out, and the rest still told."""
    try:
        return adapter.validate_python(value)
    except ValidationError:
        return otherwise
