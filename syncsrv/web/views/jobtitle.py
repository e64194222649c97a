"""A job in a sentence: what it is about while it runs, and what became of it on each node. Pure."""

from __future__ import annotations

from collections.abc import Collection

from syncsrv.control.shapes import JobReply, NodeResult

_BEFORE = ("fetch", "verify", "record what is live", "plan", "guards", "check ")
"""How the steps begin that come before anything is changed."""


def title(job: JobReply, here: str, brought: Collection[str] = (), areas: Collection[str] = ()) -> str:
    """The job in a sentence.

    Args:
        job: with all its steps.
        here: the node whose page this is.
        brought: its areas, where it was about some only.
        areas: all that there are.
    """
    if job.state == "running" or not job.nodes:
        return doing(job.kind, job.subject, job.tag, here) + ("" if job.state == "running" else ": it has ended")
    return f"{'; '.join(_became(name, one, job, here, _partly(brought, areas)) for name, one in job.nodes.items())}."


def doing(kind: str, subject: str, tag: str | None, here: str) -> str:
    """What a job is about, as an action under way."""
    if kind == "sync":
        of_a_tag = subject.startswith(("sync/", "the newest tag"))
        who, to = (here, tag or subject) if of_a_tag or not subject else (subject, tag)
        return f"Synchronizing {who}" + (f" to {to}" if to else "")
    if kind == "rollback":
        return f"Rolling back {here} {subject}".rstrip()
    if kind.startswith("services "):
        node, names, action = _of_services(kind, subject, here)
        return f"{_DOING.get(action, action.capitalize())} {names} on {node}"
    return f"{kind.capitalize()} {subject}".rstrip()


_DOING = {"start": "Starting", "stop": "Stopping", "restart": "Restarting", "reload": "Reloading"}
_PAST = {"start": "started", "stop": "stopped", "restart": "restarted", "reload": "reloaded"}
_NOUN = {"sync": "The sync", "rollback": "The rollback"}


def _of_services(kind: str, subject: str, here: str) -> tuple[str, str, str]:
    node, _, names = subject.partition(": ")
    action = kind.removeprefix("services ")
    return node or here, names or "all services", "restart" if action == "restart-all" else action


def _became(node: str, one: NodeResult, job: JobReply, here: str, partly: tuple[str, str]) -> str:
    if one.result == "unreachable":
        return f"{node} could not reach its master" if node == here else f"{node} could not be reached"
    if one.result == "refused":
        return f"{node} was left as it is: {', '.join(one.guards) or 'it was refused'}"
    if one.result == "failed":
        back = any(step.name == "put back" and step.result == "done" for step in one.steps)
        noun = _NOUN.get(job.kind) or doing(job.kind, job.subject, None, here).partition(" on ")[0]
        if back:
            return f"{noun} failed on {node}; everything was put back"
        return f"{noun} failed on {node}" + (f"; nothing was changed on {node}" if _untouched(node, one, job) else "")
    if one.result not in {"done", "unchanged"}:
        return f"{node}: {one.result}"
    if "dry run" in job.subject:
        return f"Nothing was changed on {node}: this was a dry run"
    if job.kind == "sync":
        if partly[0]:
            verb = "equal already on" if one.result == "unchanged" else "brought to"
            return f"{partly[0]} {verb} {node} {partly[1]}" + (f": {job.tag}" if job.tag else "")
        verb = "was equal already" if one.result == "unchanged" else "is equal now"
        return f"{node} {verb}" + (f": {job.tag}" if job.tag else "")
    if job.kind == "rollback":
        if one.result == "unchanged":
            return f"{node} was so already: nothing to roll back"
        return f"{node} was rolled back {job.subject}".rstrip()
    if job.kind.startswith("services "):
        _, names, action = _of_services(job.kind, job.subject, here)
        many = "," in names or names == "all services"
        return f"{names} {'were' if many else 'was'} {_PAST.get(action, action)} on {node}"
    return f"{node}: {one.result}"


def _partly(brought: Collection[str], areas: Collection[str]) -> tuple[str, str]:
    """``2 of 4 areas``, and which and what not; empty where it was of all, or where not all of them are known here."""
    left = [area for area in areas if area not in brought]
    if not brought or not left or not set(brought) <= set(areas):
        return "", ""
    was = f"{'was' if len(left) == 1 else 'were'} not part of it"
    return f"{len(brought)} of {len(areas)} areas", f"({', '.join(brought)}); {' and '.join(left)} {was}"


def _untouched(node: str, one: NodeResult, job: JobReply) -> bool:
    """It is certain that nothing was written: every step there is known to its end, and came before that."""
    if job.kind not in {"sync", "rollback"}:
        return False
    told = [step for name, step in job.steps if name == node]
    ended = [step.name for step in (*told, *one.steps) if step.result != "running"]
    return (
        bool(ended) and {step.name for step in told} <= set(ended) and all(name.startswith(_BEFORE) for name in ended)
    )
