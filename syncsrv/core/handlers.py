"""What core does for each verb: the request's dataclass in, the reply's out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from syncsrv.apply.record import UNSAVED, NotRecordedError
from syncsrv.apply.settle import JOB_REFS
from syncsrv.config.model import Role
from syncsrv.control import shapes, shapes_history, shapes_people
from syncsrv.control.dispatch import BusyError, Call, Caller, Handler, Streamed
from syncsrv.control.shapes_page import OwnPasswordRequest
from syncsrv.control.verbs import Door
from syncsrv.core import actions, audit, backup, facts, master, preview, rollback, schedules, settings, users, views
from syncsrv.core.carp import act as vips
from syncsrv.core.carp import declare
from syncsrv.core.following import signed
from syncsrv.core.jobs import UnknownJobError
from syncsrv.core.keptjobs import kept
from syncsrv.core.parts import Core, author
from syncsrv.core.receipts import act_receipt
from syncsrv.errors import DeniedError, UsageError
from syncsrv.plan.guards import refuse_unknown
from syncsrv.plan.tree import is_below, show_path, tree_path
from syncsrv.store.exchange import closure
from syncsrv.store.tags import by_number
from syncsrv.version import __version__

LONGEST_WAIT_S = 5.0

COMPARISONS = 3
"""Of the page under way at once: each may take a processor for seconds, which core needs for all else too.

Reading many receipts, for the audit or for a job that only they remember, counts as one.
"""
TURN_S = 0.1
"""Between two looks whether whoever waits for a turn still wants the answer."""


class Handlers:
    """One method a verb, bound to a core."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._comparisons = threading.BoundedSemaphore(COMPARISONS)
        self._kept = self._in_turn(lambda request: kept(core, request.job, request.after))

    def table(self) -> Mapping[str, Handler]:
        """Verb name to method."""
        return {
            "status": lambda caller, request, call: facts.status(self._core),
            "facts": lambda caller, request, call: facts.facts(self._core, request),
            "log": lambda caller, request, call: views.log(self._core, request),
            "show": self._in_turn(lambda request: views.show(self._core, request)),
            "diff": self._in_turn(lambda request: views.diff(self._core, request)),
            "file": lambda caller, request, call: views.file(self._core, request),
            "preview": self._in_turn(lambda request: preview.preview(self._core, request)),
            "job": self._job,
            "abort": self._abort,
            "commit": self._commit,
            "sync": self._sync,
            "pull": self._pull,
            "rollback": self._rollback,
            "services": lambda caller, request, call: actions.services(self._core, request, caller),
            "act": lambda caller, request, call: shapes.JobStarted(actions.act(self._core, request, caller).id),
            "fetch": self._fetch,
            "people": self._people,
            "accept-also": lambda caller, request, call: declare.accept_also(
                self._core.carp, self._core.node, caller.node, request
            ),
            "vip": lambda caller, request, call: vips.vip(self._core, request, caller),
            "user-list": lambda caller, request, call: users.listed(self._core),
            "user-add": lambda caller, request, call: users.add(self._core, request, caller),
            "user-remove": lambda caller, request, call: users.remove(self._core, request, caller),
            "user-passwd": lambda caller, request, call: users.set_password(self._core, request, caller),
            "user-token": lambda caller, request, call: users.new_token(self._core, request, caller),
            "user-revoke": lambda caller, request, call: users.revoke(self._core, request, caller),
            **self._core.login.handlers(),
            "web-setup": lambda caller, request, call: self._core.web.setup(request, call),
            "own-password": self._own_password,
            "audit": self._in_turn(lambda request: audit.audit(self._core, request)),
            "settings": lambda caller, request, call: settings.settings(self._core),
            "schedules": lambda caller, request, call: schedules.schedules(self._core),
            "schedule-set": lambda caller, request, call: schedules.switch(self._core, request, caller),
            "reload": self._reload,
        }

    def _in_turn(self, compare: Callable[[Any], object]) -> Handler:
        """For the page one of few at a time; a person at a command line waits for no page."""

        def handler(caller: Caller, request: Any, call: Call) -> object:
            if caller.door is not Door.WEB:
                return compare(request)
            while not self._comparisons.acquire(timeout=TURN_S):
                if call.gone.is_set():  # web gave up: what nobody waits for any more must not hold up the others
                    raise BusyError(call.verb, COMPARISONS)
            try:
                return compare(request)
            finally:
                self._comparisons.release()

        return handler

    def _job(self, caller: Caller, request: shapes.JobRequest, call: Call) -> object:
        try:
            job = self._core.jobs.get(request.job)
        except UnknownJobError:
            return self._kept(caller, request, call)
        return job.follow(request.after, min(request.wait_s, LONGEST_WAIT_S))

    def _abort(self, caller: Caller, request: shapes.JobRequest, call: Call) -> shapes.JobReply:
        asked_by = self._core.jobs.get(request.job).requested_by
        if caller.node is not None and asked_by != caller.node and not asked_by.endswith(f" via {caller.node}"):
            raise DeniedError(f"cannot abort job {request.job}: {asked_by} asked for it", "abort it on the node itself")
        return self._core.jobs.abort(request.job, caller.label).follow(request.after, 0.0)

    def _commit(self, caller: Caller, request: shapes_history.CommitRequest, call: Call) -> shapes_history.CommitReply:
        core = self._core
        paths = [tree_path(path) for path in request.paths]
        areas = core.areas()
        tops = [top for name in areas.names for top in areas.tops(name)]
        for path in paths:
            if areas.area_around(path) is None and not any(is_below(top, path) for top in tops):
                raise UsageError(
                    f"cannot commit {show_path(path)}: it belongs to no area", "`areas:` of cluster.yaml says what does"
                )
        recorded = core.record(via=caller.via, person=author(core, caller), message=request.message, paths=paths)
        refused = tuple(
            one
            for one in recorded.live.left_out
            if one.reason in UNSAVED and (not paths or any(is_below(one.path, top) for top in paths))
        )
        if refused:
            raise NotRecordedError(refused)
        return shapes_history.CommitReply(
            recorded.commit, recorded.subject, recorded.changed, facts.left_out(recorded.live.left_out)
        )

    def _sync(self, caller: Caller, request: shapes.SyncRequest, call: Call) -> shapes.JobStarted:
        _no_confirmation(request.confirm_within_s)
        refuse_unknown(request.force)
        request, shown = preview.settled(self._core, request)
        if self._core.role is Role.MASTER:
            return shapes.JobStarted(master.sync(self._core, request, caller).id)
        return shapes.JobStarted(backup.sync(self._core, request, caller, shown).id)

    def _pull(self, caller: Caller, request: shapes.PullRequest, call: Call) -> shapes.JobStarted:
        _no_confirmation(request.confirm_within_s)
        return shapes.JobStarted(backup.pull(self._core, request, caller).id)

    def _rollback(self, caller: Caller, request: shapes.RollbackRequest, call: Call) -> shapes.JobStarted:
        refuse_unknown(request.force)
        preview.refuse_stale_rollback(self._core, request)
        return shapes.JobStarted(rollback.rollback(self._core, request, caller).id)

    def _fetch(self, caller: Caller, request: shapes_history.FetchRequest, call: Call) -> Streamed:
        """A peer gets what sync tags, running dry runs and main reach; nothing else has a name here."""
        store = self._core.store
        head = self._core.recorder.head()
        name, wanted = "", head
        if request.want == "tag":
            tags = dict(sorted(store.refs("refs/tags/sync/").items(), key=lambda item: by_number(item[0])))
            known = {value: ref.removeprefix("refs/tags/") for ref, value in tags.items()}
            known.update(dict.fromkeys(store.refs(JOB_REFS).values(), ""))
            wanted = request.tag_object or (list(tags.values())[-1] if tags else None)
            if wanted is None:
                raise UsageError("cannot send a tag: nothing was tagged yet", "`syncsrv sync` on the master tags")
            if wanted not in known:
                raise UsageError(f"cannot send {wanted[:10]}: no tag of this node", "ask for the newest")
            name = known[wanted]
        elif request.want != "main":
            raise UsageError(f"cannot send {request.want!r}: only tag and main can be asked for")
        haves = [one for one in request.haves if store.has(one)]
        reply = shapes_history.FetchReply(name, wanted or "", head, __version__)
        chunks: Iterator[bytes] = iter(closure(store, [wanted], haves)) if wanted else iter(())
        return Streamed(reply, chunks)

    def _people(self, caller: Caller, request: shapes.Empty, call: Call) -> shapes_people.PeopleReply:
        core = self._core
        if core.role is not Role.MASTER or caller.node is None:
            raise UsageError(f"cannot send the people of {core.node}: its role is backup", "ask the master")
        serial = int(core.clock.utc().timestamp() * 1000)
        return signed(core.people.shared(), core.node, caller.node, serial, core.signer)

    def _own_password(self, caller: Caller, request: OwnPasswordRequest, call: Call) -> object:
        session = self._core.login.handlers()["own-password"](caller, request, call)
        act_receipt(self._core, caller, "own-password", f"user {caller.person} has another password")
        return session

    def _reload(self, caller: Caller, request: shapes.Empty, call: Call) -> shapes.Empty:
        self._core.reload()
        return shapes.Empty()


def _no_confirmation(within_s: float | None) -> None:
    """Refuse what is promised by the contract and not built yet, instead of syncing without the net."""
    if within_s is not None:
        raise UsageError(
            "cannot synchronize with --confirm-within: this version cannot revert by itself yet",
            "synchronize without it; `syncsrv rollback` restores the earlier state",
        )
