"""Status objects for the tests of views: a master and a backup, with what a test changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncsrv.control.shapes import HeadInfo, PeerInfo, Status, SyncInfo
from syncsrv.control.shapes_services import ServiceInfo

NOW = "2026-11-23T04:21:12Z"
SEEN = "2026-11-23T04:21:10Z"


def service(name: str = "nginx", state: str = "running", **more: Any) -> ServiceInfo:
    given = {"since": None, "pid": None, "restart_pending": False, "health": "ok", "reason": "", **more}
    return ServiceInfo(name, state, **given)


def peer(state: str = "in_sync", role: str | None = "backup", **more: Any) -> PeerInfo:
    silent = state in {"unreachable", "unknown"}
    given = {
        "reachable": not silent,
        "seen_at": None if state == "unknown" else SEEN,
        "age_s": None if state == "unknown" else 2.0,
        "version": None if state == "unknown" else "1.0",
        "reason": f"because of {state}",
        "remedy": f"mend {state}",
        "applied_tag": "sync/000002",
        "services": (service(),),
        **more,
    }
    return PeerInfo(role=role, state=state, **given)


def sync(state: str = "in_sync", **more: Any) -> SyncInfo:
    given = {
        "reason": f"because of {state}",
        "remedy": f"mend {state}",
        "applied_tag": "sync/000002",
        "areas": {},
        "behind": 0,
        "drift": (),
        "known_good": None,
        "confirm_by": None,
        "hold": None,
        "last": None,
        **more,
    }
    return SyncInfo(state=state, **given)


def master(peers: Mapping[str, PeerInfo] | None = None, **more: Any) -> Status:
    """fw1, which says what the worst of its peers is."""
    given = {
        "head": HeadInfo("a" * 40, "2026-11-23T04:00:00Z", "one change"),
        "last_tag": "sync/000002",
        "untagged": 0,
        "sync": sync("in_sync" if peers is None or peers else "standalone"),
        "services": (service(),),
        **more,
    }
    return Status("fw1", "master", "1.0", "edge", peers={"fw2": peer()} if peers is None else peers, **given)


def backup(state: str = "in_sync", peers: Mapping[str, PeerInfo] | None = None, **more: Any) -> Status:
    """fw2, which knows its master."""
    given = {"head": None, "last_tag": None, "untagged": 0, "sync": sync(state, **more.pop("sync", {})), **more}
    given.setdefault("services", (service(),))
    return Status(
        "fw2", "backup", "1.0", "edge", peers={"fw1": peer("in_sync", "master")} if peers is None else peers, **given
    )
