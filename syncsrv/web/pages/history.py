"""The history of either node: commit by commit, any two compared, each file as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlencode

from flask import Blueprint, Response, current_app, make_response, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from syncsrv.control.shapes import Status
from syncsrv.control.shapes_history import (
    AreaCount,
    DiffReply,
    DiffRequest,
    FileChange,
    LogReply,
    LogRequest,
    ShowReply,
    ShowRequest,
    Slice,
)
from syncsrv.control.shapes_page import FileReply, FileRequest
from syncsrv.errors import UnreachableError, UsageError
from syncsrv.web import access
from syncsrv.web.access import needs
from syncsrv.web.colours import colours
from syncsrv.web.frame import framed
from syncsrv.web.views import history as views
from syncsrv.web.views.changes import Totals
from syncsrv.web.views.filediff import FileView, Manner, history_link, shown
from syncsrv.web.views.linehtml import visible
from syncsrv.web.views.pager import Pager, pager
from syncsrv.web.views.wholefile import LARGEST_SHOWN, Numbered, disposition, numbered, text_of

blueprint = Blueprint("history", __name__)

PAGE_COMMITS = 50
PAGE_FILES = 50
LOOK_S = 30.0
"""Within which core must have compared or searched; it waits for no peer."""
DOWNLOAD_S = 1800.0
"""Within which a download must have ended."""
YEAR_S = 365 * 24 * 3600
VIEWS = ("unified", "split")

_DOWNLOAD_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""Of a file's bytes: even a browser that shows them runs nothing in them."""


Reply = TypeVar("Reply")


@dataclass(frozen=True, slots=True)
class Files:
    """Files of a difference as they are shown; ``full``: the one that is shown alone and whole, or empty."""

    shown: list[FileView]
    pager: Pager
    totals: Totals
    counts: tuple[AreaCount, ...]
    split: bool
    full: str
    to: Callable[..., str]


@blueprint.get("/history")
@needs("viewer")
@framed("history")
def history() -> AnyResponse:
    """The list."""
    status = access.status()
    asked = _asked(status)
    node = asked.node or status.node
    reply, problem = _log(asked)
    listed = views.rows(
        reply.commits, status, node, access.clock().utc(), first=not (asked.before or asked.is_filtered)
    )
    a, b = views.chosen(asked, listed)
    html = render_template(
        "history.html",
        status=status,
        asked=asked,
        node=node,
        other=next((name for name in (status.node, *status.peers) if name != node), ""),
        listed=listed,
        reply=reply,
        problem=problem,
        ways=views.WAYS,
        a=a,
        b=b,
        ids={row.commit for row in listed},
    )
    return make_response(html)


def _asked(status: Status) -> views.Asked:
    found = {name: request.args.get(name, "").strip() for name in views.Asked.__slots__}
    for name in ("a", "b"):  # what was chosen on an earlier page stands first, what is chosen on this one last
        found[name] = (request.args.getlist(name) or [""])[-1]
    if found["node"] == status.node:
        found["node"] = ""
    return views.Asked(**found)


def _log(asked: views.Asked) -> tuple[LogReply, str]:
    """The commits; none, and why, where nothing of that node is known yet."""
    order = LogRequest(
        path=asked.path or None,
        limit=PAGE_COMMITS,
        node=asked.node,
        area=asked.area or None,
        author=asked.person or None,
        via=asked.via or None,
        before=asked.before or None,
    )
    try:
        found: LogReply = access.ask("log", order, deadline_s=LOOK_S)
    except UnreachableError as error:
        return LogReply(()), error.message
    return found, ""


@blueprint.get("/history/<rev>")
@needs("viewer")
@framed("history")
def commit(rev: str) -> AnyResponse:
    """One commit: what it says, and what it changed against the one before."""
    status = access.status()

    def ask(part: Slice) -> tuple[ShowReply, tuple[FileChange, ...], tuple[AreaCount, ...]]:
        found: ShowReply = access.ask("show", ShowRequest(rev, patch=False, part=part), deadline_s=LOOK_S)
        return found, found.files, found.counts

    reply, files, counts, page = _part(ask)
    one = reply.commit
    before = reply.parents[0] if reply.parents else None
    node = one.node if one.node in status.peers else status.node
    why = views.why_no_rollback(one, status, node)
    if not why and not access.can("operator"):
        why = f"it needs the role operator, {access.current().person} is {access.current().role}"
    html = render_template(
        "history_commit.html",
        status=status,
        reply=reply,
        one=one,
        subject=visible(one.subject),
        body="\n".join(visible(line) for line in reply.body.strip("\n").split("\n")),
        who=views.who(one),
        way=views.WAYS.get(one.via, visible(one.via)),
        here=views.stands(one, status, status.node, newest=False),
        why=why,
        files=_files(files, counts, page, f"/history/{one.commit}", {}, before, one.commit),
    )
    return _remembering(html)


@blueprint.get("/history/compare")
@needs("viewer")
@framed("history")
def compare() -> AnyResponse:
    """From A to B."""
    revs = tuple((request.args.getlist(name) or [""])[-1] for name in ("a", "b"))
    if not all(revs):
        raise UsageError("cannot compare: two commits are needed", "choose A and B in the history")

    def ask(part: Slice) -> tuple[DiffReply, tuple[FileChange, ...], tuple[AreaCount, ...]]:
        found: DiffReply = access.ask("diff", DiffRequest(revs, part=part, cached=True), deadline_s=LOOK_S)
        (node,) = found.nodes.values()
        return found, node.files, node.counts

    reply, files, counts, page = _part(ask)
    (found,) = reply.nodes.values()
    sides = []
    for rev in (found.base or revs[0], found.target):
        side: ShowReply = access.ask("show", ShowRequest(rev, patch=False, part=Slice(limit=1)), deadline_s=LOOK_S)
        sides.append((side.commit, visible(side.commit.subject), views.who(side.commit)))
    query = {"a": revs[0], "b": revs[1]}
    html = render_template(
        "history_compare.html",
        sides=sides,
        swapped=f"/history/compare?{urlencode({'a': revs[1], 'b': revs[0]})}",
        files=_files(files, counts, page, "/history/compare", query, found.base, found.target),
    )
    return _remembering(html)


def _part(
    ask: Callable[[Slice], tuple[Reply, tuple[FileChange, ...], tuple[AreaCount, ...]]],
) -> tuple[Reply, tuple[FileChange, ...], tuple[AreaCount, ...], int]:
    """The files of the page that the address asks for, or of the last one; of ``full`` that file alone."""
    full = request.args.get("full", "")
    page = _number(request.args.get("page", ""))
    while True:
        part = Slice(paths=(full,), texts=True) if full else Slice((page - 1) * PAGE_FILES, PAGE_FILES, texts=True)
        reply, files, counts = ask(part)
        last = max(1, -(-Totals.of(counts).files // PAGE_FILES))
        if full or page <= last:
            return reply, files, counts, page
        page = last


def _files(
    files: tuple[FileChange, ...],
    counts: tuple[AreaCount, ...],
    page: int,
    address: str,
    query: dict[str, str],
    old: str | None,
    new: str,
) -> Files:
    def to(**changes: str | int) -> str:
        asked = {**query, "page": page if page > 1 else "", **changes}
        said = urlencode({name: value for name, value in asked.items() if value})
        return f"{address}?{said}" if said else address

    totals = Totals.of(counts)
    pages = pager(page, totals.files, PAGE_FILES, lambda number: to(page=number))
    split = (request.args.get("view") or request.cookies.get("view")) == "split"
    full = request.args.get("full", "")
    how = Manner(
        split=split,
        full=full,
        folded=pages.last > 1,
        colours=colours(),
        link=history_link(old, new),
        more=lambda path: to(full=path),
    )
    return Files(shown(files, how), pages, totals, counts, split, full, to)


def _remembering(html: str) -> Response:
    """The page, and how the person likes to see differences."""
    response = make_response(html)
    if request.args.get("view") in VIEWS:
        secure = bool(current_app.config["SESSION_COOKIE_SECURE"])
        response.set_cookie(
            "view", request.args["view"], max_age=YEAR_S, secure=secure, httponly=True, samesite="Lax", path="/"
        )
    return response


@blueprint.get("/history/<rev>/file")
@needs("viewer")
@framed("history")
def file(rev: str) -> AnyResponse:
    """One file as it was, to be read or downloaded."""
    path = request.args.get("path", "")
    if not path:
        raise UsageError("cannot show a file: the address names none", "open it from a commit")
    download = bool(request.args.get("download"))
    if download:
        reply, stream = access.stream_to_client("file", FileRequest(rev, path), deadline_s=DOWNLOAD_S)
    else:
        reply, stream = access.stream("file", FileRequest(rev, path), deadline_s=LOOK_S)
    found: FileReply = reply
    if download and found.kind != "directory":
        response = Response(iter(stream), mimetype="application/octet-stream")
        response.call_on_close(stream.close)
        response.content_length = found.size
        response.headers["Content-Disposition"] = disposition(found.path)
        response.headers["Content-Security-Policy"] = _DOWNLOAD_POLICY
        return response
    data = None
    with stream:  # over before the client reads the page
        if found.kind != "directory" and found.size <= LARGEST_SHOWN:
            data = b"".join(stream)
    text = text_of(data) if data is not None else None
    lines: list[Numbered] = []
    more = 0
    if text is not None and found.kind == "file":
        lines, more = numbered(text, colours()(found.path, text, found.blob))
    return make_response(
        render_template(
            "history_file.html",
            found=found,
            path=visible(found.path),
            owner=visible(found.owner),
            text=text,
            target=visible(text or "") if found.kind == "link" else "",
            lines=lines,
            more=more,
            download=views.file_address(found.commit, found.path, download=True),
            log=views.Asked(path=found.path).to(),
        )
    )


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and text.isascii() and 0 < len(text) < 8 and int(text) else 1
