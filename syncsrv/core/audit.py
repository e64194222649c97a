"""The trail of this node, read back: who asked for what from where, and what came of it.

The receipts are one chain of signed commits. What this node did not write, or what was changed, ends the trail: what is
older is not shown, and why is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from syncsrv.clock import rfc3339
from syncsrv.control.shapes import Step
from syncsrv.control.shapes_page import AuditReply, AuditRequest, ReceiptInfo
from syncsrv.core.parts import Core
from syncsrv.errors import SyncsrvError, UsageError
from syncsrv.store.receipts import Receipt, UnknownReceiptError, walk_receipts

MOST = 200
"""Receipts in one reply."""
LOOKED_AT = 2000
"""Receipts that one request reads at most: a filter that fits few is answered in parts."""
PATHS_SHOWN = 200
OUTPUT_SHOWN = 4000
"""Characters of a step's output where more than one job is asked for."""


def audit(core: Core, request: AuditRequest, *, looked_at: int = LOOKED_AT) -> AuditReply:
    """The receipts of this node that fit, newest first; of so many at most are looked at.

    Raises:
        UnknownReceiptError: ``before`` is none of them.
        UsageError: a limit that is none.
    """
    if not 1 <= request.limit <= MOST:
        raise UsageError(
            f"cannot show {request.limit} receipts at once", f"ask for 1 to {MOST}, and page with `before`"
        )
    keys = {core.signer.public_blob: core.node}
    chain = walk_receipts(core.store, keys, request.before)
    found: list[ReceiptInfo] = []
    last, more, problem = "", False, ""
    try:
        for receipt in islice(chain, looked_at):
            if len(found) == request.limit:
                more = True
                break
            last = receipt.commit
            if _fits(receipt, request):
                found.append(_info(receipt, whole=request.job is not None))
        else:
            more = next(chain, None) is not None
    except UnknownReceiptError:
        raise
    except SyncsrvError as error:
        problem = f"{error.message}; nothing older is shown"
    return AuditReply(tuple(found), more, problem, next=last if more else "")


def _fits(receipt: Receipt, request: AuditRequest) -> bool:
    kind, by = _text(receipt.body, "kind"), _text(receipt.body, "requested_by")
    if request.job is not None and _text(receipt.body, "job") != request.job:
        return False
    if (
        request.kind is not None
        and kind != request.kind
        and not kind.startswith((f"{request.kind} ", f"{request.kind}-"))
    ):
        return False
    return request.person is None or request.person in {by, by.partition(" via ")[0]}


def _info(receipt: Receipt, *, whole: bool) -> ReceiptInfo:
    body = receipt.body
    tag = body.get("tag")
    return ReceiptInfo(
        commit=receipt.commit,
        at=_text(body, "at") or rfc3339(receipt.at_utc),
        node=receipt.node,
        job=_text(body, "job"),
        kind=_text(body, "kind"),
        tag=tag if isinstance(tag, str) else None,
        requested_by=_text(body, "requested_by"),
        origin=_text(body, "origin"),
        result=_text(body, "result"),
        reason=_text(body, "reason"),
        guards=tuple(map(str, _list(body, "guards"))),
        paths=tuple(map(str, _list(body, "paths")))[: None if whole else PATHS_SHOWN],
        steps=tuple(_step(one, whole=whole) for one in _list(body, "steps") if isinstance(one, Mapping)),
        subject=_text(body, "about"),
        why=_text(body, "why"),
        nodes=_nodes(body, receipt.node),
    )


def _nodes(body: Mapping[str, Any], here: str) -> dict[str, str]:
    nodes = body.get("nodes")
    if isinstance(nodes, Mapping) and nodes:
        return {str(name): _text(one, "result") for name, one in nodes.items() if isinstance(one, Mapping)}
    return {here: _text(body, "result")} if _text(body, "job") else {}


def _step(body: Mapping[str, Any], *, whole: bool) -> Step:
    seconds, output = body.get("seconds"), _text(body, "output")
    if not whole and len(output) > OUTPUT_SHOWN:
        output = f"{output[:OUTPUT_SHOWN]}…"
    return Step(
        _text(body, "name"),
        _text(body, "result"),
        float(seconds) if isinstance(seconds, int | float) else 0.0,
        output,
    )


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) else ""


def _list(body: Mapping[str, Any], key: str) -> list[object]:
    value = body.get(key)
    return value if isinstance(value, list) else []
