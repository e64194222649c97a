"""What main of a peer is: fetched now, or as it was last known, with the age of that knowledge."""

from __future__ import annotations

from syncsrv.core.fetch import fetched
from syncsrv.core.parts import Core
from syncsrv.core.peers import DEADLINE_S
from syncsrv.errors import UnreachableError
from syncsrv.store.exchange import tips

FETCH_S = 60.0
AGAIN_S = 10.0
"""After a main could not be fetched. Until it is, what is shown of that peer is of its main before."""


def known_main(core: Core, name: str) -> str | None:
    """The commit that main of a peer was when its objects were last fetched."""
    return core.store.ref(_ref(name))


def remember_main(core: Core, name: str, head: str) -> None:
    """Point our name for a peer's main at a commit that is here; whoever comes last is right."""
    with core.store.writer():
        core.store.move_ref(_ref(name), head, known_main(core, name))


def follow_main(core: Core, name: str, head: str | None) -> None:
    """Fetch what a peer says its main is, so that it is known when the peer is away and when nobody may wait for it.

    Raises:
        SyncsrvError: it could not be fetched; ``AGAIN_S`` later it is tried again.
    """
    if head is None or head == known_main(core, name):
        return
    now = core.clock.monotonic()
    tried, at = core.live.followed.get(name, ("", now))
    if head == tried and now - at < AGAIN_S:
        return
    core.live.followed[name] = (head, now)
    _fetch(core, name, DEADLINE_S)
    core.live.followed.pop(name, None)


def peer_main(core: Core, name: str) -> tuple[str | None, float | None]:
    """A peer's main, fetched now; when it is away the last known one with its age in seconds.

    Raises:
        UnreachableError: it is away, and was never fetched.
    """
    try:
        return _fetch(core, name, FETCH_S), None
    except UnreachableError:
        known = known_main(core, name)
        if known is None:
            raise
        return known, round(_age_s(core, name, known), 1)


def last_known(core: Core, name: str) -> tuple[str | None, float | None]:
    """A peer's main as it was last fetched, with the age of that knowledge in seconds; asks nobody."""
    known = known_main(core, name)
    return (known, round(_age_s(core, name, known), 1)) if known is not None else (None, None)


def _fetch(core: Core, name: str, deadline_s: float) -> str | None:
    body = {"want": "main", "haves": tips(core.store)}
    with fetched(core, name, body, deadline_s=deadline_s) as (reply, incoming):
        if reply.head is None:
            return None
        incoming.finish([reply.head])
        remember_main(core, name, reply.head)
        return reply.head


def _age_s(core: Core, name: str, known: str) -> float:
    """Since the peer said that this is its main; where it said another since, or nothing yet, since it was made."""
    heard = core.book.now().get(name)
    if heard is not None and heard.at is not None and heard.facts is not None and heard.facts.head == known:
        return core.clock.monotonic() - heard.at
    return max(0.0, (core.clock.utc() - core.store.read_commit(known).at_utc).total_seconds())


def _ref(name: str) -> str:
    return f"refs/remotes/{name}/main"
