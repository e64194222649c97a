"""The overview's one sentence: how the nodes stand to each other, why, and what to do first. Pure.

The words of the table are those of DESIGN 3.3. The sentence is built from the status alone: what it does not say is
not known, and what is not known is never put as good news.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from syncsrv.control.shapes import PeerInfo, Status
from syncsrv.plan.verdict import SEVERITY
from syncsrv.plan.words import counted
from syncsrv.web.views import well

MASTER = well.MASTER

KINDS: Mapping[str, str] = {
    "in_sync": "ok",
    "changes_pending": "todo",
    "awaiting_first_sync": "todo",
    "syncing": "todo",
    "awaiting_confirm": "warn",
    "drifted": "warn",
    "rolled_back": "warn",
    "held": "warn",
    "diverged": "bad",
    "failed": "bad",
    "blocked": "bad",
    "unreachable": "bad",
    "unknown": "off",
    "standalone": "off",
}
"""State word to the colour of the verdict; a word of a newer version is ``off``."""

_NAMES = ("job ", "syncsrv ", "conntrackd ", "cluster.yaml", "node.yaml")

STEPS: Mapping[str, str] = {
    "changes_pending": "Read the difference, then synchronize.",
    "awaiting_first_sync": "Read what it would get, then synchronize.",
    "drifted": "See what was changed there, bring what is worth keeping to {master}, then synchronize.",
    "diverged": "See what was changed there, bring what is worth keeping to {master}, then synchronize.",
}
"""What to do first where the page has a button for what the command line would say."""

NOTE = 96
"""Letters of a reason that is said in full elsewhere on the page."""

WAYS = 3
"""Verbs that have room beside each other on a phone."""

TEXT = 200
"""Letters of the reason below the sentence; on a phone more would push the table out of sight."""

UNSURE = frozenset({"unreachable", "unknown", "standalone"})
"""States in which nothing is known of whether the nodes are the same."""


@dataclass(frozen=True, slots=True)
class Way:
    """A verb beside the verdict; ``why``: it cannot be done now, for this reason."""

    label: str
    href: str
    icon: str
    first: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What stands at the top of the overview.

    Attributes:
        kind: ok, todo, warn, bad or off.
        sign: same, different or unknown.
        title: the sentence.
        text: why, in full.
        also: what else there is to know, each a part of a sentence.
        step: what to do first; empty where nothing is to be done.
        ways: the verbs.
    """

    kind: str
    sign: str
    title: str
    text: str = ""
    step: str = ""
    ways: tuple[Way, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        """Why, in a line or two."""
        return brief(self.text, TEXT)


@dataclass(frozen=True, slots=True)
class Node:
    """One node against the one that it follows, as the sentence needs it."""

    name: str
    master: str
    state: str
    reason: str
    remedy: str
    behind: int
    drift: tuple[str, ...]
    rival: bool = False
    """It says that it is master too."""


def answer(status: Status, power: str = "operator") -> Answer:
    """The verdict, with what this person may do about it."""
    if not status.peers or status.sync.state == "standalone":
        return Answer(
            "off",
            "unknown",
            f"{status.node} stands alone: no other node is configured.",
            "Its own changes are recorded all the same; they can be compared and rolled back.",
            "Pair it with another node: write it into `peers:` of node.yaml.",
            _ways(status, None, power),
        )
    found = followers(status)
    worst = min(found, key=lambda one: (_rank(one.state), one.name))
    silent = silent_master(status)
    kind, sign, title, text = _sentence(worst, found, silent)
    others = [one for one in found if one is not worst and one.state != "in_sync"]
    also = tuple(f"{one.name} is {word(one.state)}" for one in others)
    step = STEPS[worst.state].format(master=worst.master) if worst.state in STEPS else sentence(worst.remedy)
    ways = _ways(status, worst, power)
    ill = well.everywhere(status)
    if ill and (kind == "ok" or (kind == "todo" and not ill[0].old)):
        title = f"{title.removesuffix('.')}, {'but' if kind == 'ok' else 'and'} {ill[0].sentence}."
        step = step or "See the services."
        if len(ways) < WAYS:
            ways = (*ways, Way("See services", "/services", "pause"))
        kind, ill = ill[0].kind, ill[1:]
    return Answer(kind, sign, title, text, step, ways, (*also, *(one.sentence for one in ill)))


def followers(status: Status) -> tuple[Node, ...]:
    """The nodes that the sentence is about: on a master its backups, on a backup itself."""
    if status.role == MASTER:
        return tuple(
            Node(
                name,
                status.node,
                peer.state,
                peer.reason,
                peer.remedy,
                peer.behind,
                peer.drift,
                rival=peer.role == MASTER,
            )
            for name, peer in status.peers.items()
        )
    own = status.sync
    return (
        Node(
            status.node,
            master_of(status) or "its master",
            own.state,
            own.reason,
            own.remedy,
            own.behind,
            own.drift,
        ),
    )


def master_of(status: Status) -> str:
    """The name of the node that the others follow; empty where none is known."""
    if status.role == MASTER:
        return status.node
    return next((name for name, peer in status.peers.items() if peer.role == MASTER), "")


def silent_master(status: Status) -> PeerInfo | None:
    """On a backup: its master, where it does not answer, or any peer where none was ever heard as master."""
    if status.role == MASTER:
        return None
    name = master_of(status)
    if name:
        return None if status.peers[name].reachable else status.peers[name]
    return next(iter(status.peers.values()))


def word(state: str) -> str:
    """A state word inside a sentence."""
    return state.replace("_", " ")


def _sentence(one: Node, found: tuple[Node, ...], silent: PeerInfo | None) -> tuple[str, str, str, str]:
    """Colour, sign, sentence and explanation for the worst of the nodes."""
    kind = KINDS.get(one.state, "off")
    text = sentence(one.reason)
    if silent is not None and one.state in {"in_sync", "changes_pending", "awaiting_first_sync"}:
        if silent.seen_at is None:
            return "off", "unknown", f"{one.name} has not heard a master since it started.", sentence(silent.reason)
        title = f"{one.master} does not answer {one.name}; whether it has anything newer is not known."
        return "bad", "unknown", title, sentence(silent.reason) + (f" As last known: {text}" if text else "")
    titles = {
        "in_sync": f"{_same(found)}.",
        "changes_pending": _behind(one),
        "awaiting_first_sync": f"{one.name} has nothing from {one.master} yet.",
        "syncing": f"{one.name} is being changed right now.",
        "awaiting_confirm": f"The last synchronization of {one.name} waits to be confirmed.",
        "drifted": f"{_files(one)} on {one.name} {_is(one)} not as {one.master} left {_them(one)}.",
        "rolled_back": f"The last synchronization of {one.name} was rolled back.",
        "held": f"{one.name} is held: nothing is synchronized to it.",
        "diverged": f"{one.master} and {one.name} were both changed since they were the same.",
        "failed": f"The last synchronization of {one.name} failed before it changed anything.",
        "blocked": f"Two masters: {one.master} and {one.name} both say that they are."
        if one.rival
        else f"{one.name} takes nothing from {one.master}.",
        "unreachable": f"{one.name} does not answer; what it runs now is not known.",
        "unknown": f"{one.name} has not been heard since {one.master} started; nothing is known of it.",
    }
    sign = "same" if one.state == "in_sync" else "unknown" if one.state in UNSURE else "different"
    title = titles.get(one.state, f"{one.name} is in a state that this version does not know: {word(one.state)}.")
    return kind, sign if one.state in titles else "unknown", title, text


def _same(found: tuple[Node, ...]) -> str:
    names = [found[0].master, *(one.name for one in found)]
    return f"{', '.join(names[:-1])} and {names[-1]} are the same"


def _behind(one: Node) -> str:
    if one.behind:
        return f"{one.name} is {counted(one.behind, 'change')} behind {one.master}."
    return f"{one.master} went back to something older than {one.name} has."


def _files(one: Node) -> str:
    return counted(len(one.drift), "file") if one.drift else "Something"


def _is(one: Node) -> str:
    return "are" if len(one.drift) > 1 else "is"


def _them(one: Node) -> str:
    return "them" if len(one.drift) > 1 else "it"


def _rank(state: str) -> int:
    return SEVERITY.index(state) if state in SEVERITY else -1


def sentence(text: str) -> str:
    """A reason or a remedy as a sentence; what begins like a name, a job or a command keeps its small letter."""
    text = text.strip()
    if not text:
        return ""
    first, _, _ = text.partition(" ")
    if first.isalpha() and not text.startswith(_NAMES):
        text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def brief(text: str, most: int = NOTE) -> str:
    """The beginning of a sentence that stands in full elsewhere; a short one as it is."""
    said = sentence(text.partition("\n")[0])
    if len(said) <= most:
        return said
    return f"{said[:most].rpartition(' ')[0].rstrip(',;:.') or said[:most]} …"


def _ways(status: Status, worst: Node | None, power: str) -> tuple[Way, ...]:
    to_sync = _cannot_sync(worst, power)
    back = "it needs the role operator" if power == "viewer" else ""
    if worst is None:
        return (Way("Roll back…", "/history", "back", why=back),)
    running = next((job.job for job in status.jobs if job.state == "running"), "")
    drift = (Way("See drift", "/drift", "warn"),) if worst.state in {"drifted", "diverged"} else ()
    steps = (Way("Show steps", f"/jobs/{running}", "running", first=True),) if running else ()
    pending = worst.state not in {"in_sync", "syncing"}
    return (
        *steps,
        *drift,
        Way("Synchronize…", "/changes", "sync", first=pending and not to_sync and not steps, why=to_sync),
        Way("Roll back…", "/history", "back", why=back),
    )


def _cannot_sync(one: Node | None, power: str) -> str:
    if one is None:
        return "There is no backup"
    if power == "viewer":
        return "It needs the role operator"
    if one.state == "in_sync":
        return f"Nothing to bring to {one.name}"
    if one.state in {"unreachable", "unknown"}:
        return f"Not possible: {one.name} does not answer"
    if one.state == "syncing":
        return "One is under way"
    return ""
