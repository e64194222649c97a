"""What Synchronize or a rollback would bring, file by file, and the buttons that do it: one form, read downwards."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from flask import Blueprint, Response, current_app, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from syncsrv.control.shapes import JobStarted, RollbackRequest, Status, SyncRequest
from syncsrv.control.shapes_history import DiffReply, DiffRequest, NodeDiff, Slice
from syncsrv.control.shapes_page import NodePreview, PreviewReply, PreviewRequest
from syncsrv.errors import SyncsrvError, UsageError
from syncsrv.plan.words import listed
from syncsrv.web import access
from syncsrv.web.access import needs
from syncsrv.web.colours import colours
from syncsrv.web.failures import status_of
from syncsrv.web.frame import alone
from syncsrv.web.views import changes as views
from syncsrv.web.views import headline
from syncsrv.web.views.filediff import FileView, Manner, history_link, shown
from syncsrv.web.views.filemarks import marked
from syncsrv.web.views.pager import Pager, pager

blueprint = Blueprint("changes", __name__)

PAGE_FILES = 50
LOOK_S = 30.0
"""Within which core must have compared; it waits for no peer."""
ALL = "*"
"""As the node: all backups at once."""
MARKED = 1000
"""Files that are looked at for whether they are new on a page that is shown again."""
LONGEST_REASON = 4000
"""Characters of a reason that the form takes, and of one that a link writes into it."""
LINKED_REASON = 500
"""Characters of a reason that goes along in an address; a longer one stays in the form that was sent."""
YEAR_S = 365 * 24 * 3600
VIEWS = ("unified", "split")
DOINGS = ("look", "sync", "try", "restart-all", "rollback")


class UnknownNodeError(UsageError):
    """The page was asked about a node that there is not."""

    code = "unknown-node"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address, or the form, asks to be shown.

    Attributes:
        node: empty for the first with changes, ``*`` for all.
        areas: of the plan, sorted, since a plan is of areas in an order; empty for all.
        page: of the files, from 1.
        full: path of a file that is shown whole.
        rollback: the revision; empty for a sync.
        split: side by side.
        reason: what a link wrote into the form.
    """

    node: str
    areas: tuple[str, ...]
    page: int
    full: str
    rollback: str
    split: bool
    reason: str = ""

    def to(self, **changes: str | int | tuple[str, ...]) -> str:
        """The address of this page with something else asked for."""
        values: dict[str, str | int | tuple[str, ...]] = {"node": self.node, "area": self.areas}
        values |= {"rollback": self.rollback, "page": self.page if self.page > 1 else "", "reason": self.reason}
        values |= changes
        query = urlencode({name: value for name, value in values.items() if value}, doseq=True)
        return f"/changes?{query}" if query else "/changes"


@dataclass(frozen=True, slots=True)
class Again:
    """What a page that is shown again keeps, and why it is.

    Attributes:
        title, text: why.
        reason: what the person had written.
        seen: what the person had been shown.
        status: of the answer.
    """

    title: str = ""
    text: str = ""
    reason: str = ""
    seen: views.Seen | None = None
    status: int = 200


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one page of the difference."""

    shown: list[FileView]
    pager: Pager
    diff: NodeDiff | None


@blueprint.get("/changes")
@needs("viewer")
def changes() -> AnyResponse:
    """The difference, the plan and the buttons; a script that asks again gets nothing that has to be compared."""
    asked = _asked_by_address()
    if access.polls():
        return alone("history" if asked.rollback else "changes")
    response = _page(asked, Again(reason=asked.reason))
    if request.args.get("view") in VIEWS:
        secure = bool(current_app.config["SESSION_COOKIE_SECURE"])
        response.set_cookie(
            "view", request.args["view"], max_age=YEAR_S, secure=secure, httponly=True, samesite="Lax", path="/"
        )
    return response


@blueprint.post("/changes")
@needs("operator")
def act() -> AnyResponse:
    """Do what was shown, as a job; where it is no longer that, show the page again."""
    form = request.form
    do = form.get("do", "")
    if do not in DOINGS:
        raise UsageError("cannot do this: the form names no button of this page", "load the page again")
    ticked, before = tuple(sorted(_named("area"))), _named("shown")
    asked = Asked(
        form.get("node", ""),
        () if form.get("every") and set(ticked) == set(before) else ticked,
        _number(form.get("page", "")),
        "",
        form.get("rollback", ""),
        request.cookies.get("view") == "split",
    )
    kept = Again(reason=form.get("reason", ""))
    if do == "look":
        if len(kept.reason) <= LINKED_REASON:
            return redirect(asked.to(page="", reason=kept.reason.strip()), 303)
        return _page(asked, kept)
    if set(ticked) != set(before):
        text = "It is made for them now: look at it and press again. Nothing was done."
        title = "You chose other areas than the plan was made for"
        return _page(asked, replace(kept, title=title, text=text, status=409))
    force = tuple(name for name in _named("force") if name in _named("guard"))
    unforced = views.missing(_named("guard"), force)
    if unforced and do != "try":
        text = "Nothing was done. Tick what you have read and accept, or try without applying."
        return _page(asked, replace(kept, title=f"{listed(unforced)} asks first", text=text, status=409))
    try:
        return redirect(f"/jobs/{_start(do, asked, force, kept.reason)}", 303)
    except SyncsrvError as error:
        if error.code != "stale-plan":
            raise
        text = f"{error.message[:1].upper()}{error.message[1:]}. Nothing was done. This is what would happen now."
        title = "The plan has changed since you saw it"
        return _page(asked, replace(kept, title=title, text=text, seen=_seen(), status=status_of(error)))


def _start(do: str, asked: Asked, force: tuple[str, ...], reason: str) -> str:
    plans = dict(text.split(" ", 1) for text in _named("plan") if " " in text)
    if not plans:
        raise UsageError("cannot do this: the form has no plan", "load the page again")
    if asked.rollback:
        order: object = RollbackRequest(
            asked.rollback, asked.areas, reason, do == "try", force, next(iter(plans.values()))
        )
        verb = "rollback"
    else:
        verb = "sync"
        order = SyncRequest(
            tuple(plans),
            asked.areas,
            reason=reason,
            dry_run=do == "try",
            restart_all=do == "restart-all",
            force=force,
            plans=plans,
        )
    started: JobStarted = access.ask(verb, order, deadline_s=LOOK_S)
    return started.job


def _page(asked: Asked, again: Again) -> Response:
    status = access.status()
    if asked.rollback:
        html = _rollback_page(status, asked, again)
    elif not status.peers:
        html = render_template("changes_none.html", node=status.node)
    else:
        html = _sync_page(status, asked, again)
    return make_response(html, again.status)


def _sync_page(status: Status, asked: Asked, again: Again) -> str:
    found: PreviewReply = access.ask("preview", PreviewRequest("sync", (), asked.areas), deadline_s=LOOK_S)
    every = [views.target(status, name, one, whole=not asked.areas) for name, one in found.nodes.items()]
    targets = _selected(asked, every)
    if len(targets) == 1:
        asked = replace(asked, node=targets[0].node)
    one = targets[0] if len(targets) == 1 else None
    files = _files(asked, one, (one.node,), again.seen) if one is not None else None
    differing = files.diff.counts if files is not None and files.diff is not None else ()
    head = headline.headline(targets, asked.areas, differing, status.notices)
    return render_template(
        "changes.html",
        asked=asked,
        again=again,
        head=head,
        stop=headline.stop(targets, head),
        every=every,
        targets=targets,
        one=one,
        files=files,
        ticks=views.ticks(files.diff if files else None, targets[0].preview),
        same=views.same_areas(targets[0].preview),
        new=views.newly(again.seen, targets),
        why=views.hindrance(targets, access.can("operator"), access.current().role, access.can("admin")),
        running=[job for job in status.jobs if job.state == "running"],
        views=views,
    )


def _selected(asked: Asked, every: list[views.Target]) -> list[views.Target]:
    if asked.node == ALL:
        return every
    if asked.node:
        chosen = [one for one in every if one.node == asked.node]
        if not chosen:
            raise UnknownNodeError(
                f"cannot show what Synchronize would bring to {asked.node}: it is no backup here",
                f"the backups are {listed(one.node for one in every)}",
            )
        return chosen
    return [next((one for one in every if one.totals.files), every[0])]


def _rollback_page(status: Status, asked: Asked, again: Again) -> str:
    ask = PreviewRequest("rollback", (), asked.areas, asked.rollback)
    found: PreviewReply = access.ask("preview", ask, deadline_s=LOOK_S)
    preview = found.nodes[status.node]
    target = views.Target(status.node, "", preview, views.Totals.of(preview.areas), is_peer=False)
    files = _files(asked, target, (), again.seen)
    return render_template(
        "rollback.html",
        asked=asked,
        again=again,
        one=target,
        files=files,
        ticks=views.ticks(files.diff, preview),
        same=views.same_areas(preview),
        new=views.newly(again.seen, [target]),
        why=views.hindrance([target], access.can("operator"), access.current().role, access.can("admin"), "roll back"),
        running=[job for job in status.jobs if job.state == "running"],
        views=views,
    )


def _files(asked: Asked, target: views.Target, nodes: tuple[str, ...], seen: views.Seen | None) -> Files:
    """One page of the files, with their texts, asked for as core knows them: no peer is waited for."""
    preview = target.preview
    diff = _diff(asked, preview, nodes, Slice((asked.page - 1) * PAGE_FILES, PAGE_FILES, texts=True))
    if diff is None:
        return Files([], pager(1, 0, PAGE_FILES, lambda number: ""), None)
    pages = pager(asked.page, views.Totals.of(diff.counts).files, PAGE_FILES, lambda number: asked.to(page=number))
    if pages.page != asked.page:
        return _files(replace(asked, page=pages.page), target, nodes, seen)
    files = list(diff.files)
    if asked.full:
        alone = _diff(asked, preview, nodes, Slice(paths=(asked.full,), texts=True))
        whole = {one.path: one for one in (alone.files if alone else ())}
        files = [whole.get(one.path, one) for one in files]
    how = Manner(
        split=asked.split,
        full=asked.full,
        folded=pages.last > 1,
        colours=colours(),
        link=history_link(diff.base, diff.target),
        more=lambda path: asked.to(full=path),
    )
    found = shown(files, how)
    new = _since(seen, preview) if seen is not None else frozenset()
    marks = [marked(view, one.path, target, new) for view, one in zip(found, files, strict=True)]
    return Files(marks, pages, diff)


def _diff(asked: Asked, preview: NodePreview, nodes: tuple[str, ...], part: Slice) -> NodeDiff | None:
    if asked.rollback:
        revs = (preview.base or preview.target, preview.target)
        found: DiffReply = access.ask("diff", DiffRequest(revs, part=part, cached=True), deadline_s=LOOK_S)
    else:
        order = DiffRequest(part=part, cached=True, target=preview.target, nodes=nodes)
        found = access.ask("diff", order, deadline_s=LOOK_S)
    return next(iter(found.nodes.values()), None)


def _seen() -> views.Seen:
    """What the form says that its page showed."""
    base, _, target = request.form.get("was", "").partition(" ")
    return views.Seen(frozenset(_named("seen")), base, target)


def _since(seen: views.Seen, preview: NodePreview) -> frozenset[str]:
    """Files that have changed on either side since the page was shown."""
    paths: set[str] = set()
    for before, after in ((seen.base, preview.base), (seen.target, preview.target)):
        if before and after and before != after:
            with contextlib.suppress(SyncsrvError):  # a commit that is not, or no more, to be shown marks nothing
                found: DiffReply = access.ask(
                    "diff", DiffRequest((before, after), cached=True, part=Slice(limit=MARKED))
                )
                paths |= {one.path for node in found.nodes.values() for one in node.files}
    return frozenset(paths)


def _asked_by_address() -> Asked:
    view = request.args.get("view") or request.cookies.get("view")
    return Asked(
        request.args.get("node", ""),
        tuple(sorted({name for name in request.args.getlist("area") if name})),
        _number(request.args.get("page", "")),
        request.args.get("full", ""),
        request.args.get("rollback", ""),
        view == "split",
        request.args.get("reason", "").strip()[:LONGEST_REASON],
    )


def _named(field: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in request.form.getlist(field) if value))


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and text.isascii() and 0 < len(text) < 8 and int(text) else 1
