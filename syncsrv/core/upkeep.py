"""What a node does by the clock for itself: scan, read its services, look after the polling, pack its repository."""

from __future__ import annotations

import logging
from collections.abc import Callable

from syncsrv.core.parts import Core
from syncsrv.plan.words import counted, listed
from syncsrv.store.repack import is_due, repack

log = logging.getLogger(__name__)

SCAN_S = 60.0
"""Between two full scans: inotify is the hint, the scan the truth."""
READ_SERVICES_S = 5.0
PEERS_S = 30.0
"""Between two looks at whether every peer is polled; the polling has a period of its own."""
REPACK_S = 3600.0
"""Between two looks at whether the repository has become slow to read."""


def begin(core: Core, scan: Callable[[], object]) -> None:
    """Enter all of it into the timetable; ``scan`` makes main equal the disk."""
    core.timetable.every("scan", SCAN_S, lambda: _quiet(scan()))
    core.timetable.every("services", READ_SERVICES_S, lambda: _quiet(core.read_services()))
    core.timetable.every("peers", PEERS_S, lambda: look_after_polls(core))
    core.timetable.every("repack", REPACK_S, lambda: repack_if_due(core))


def _quiet(_: object) -> str:
    return ""


def look_after_polls(core: Core) -> str:
    """Say which peers are not polled any more, and begin anew: an old answer must not look like a fresh one."""
    ended = core.book.ended()
    if not ended:
        return ""
    log.error("the polling of %s had ended; it begins anew", listed(ended))
    core.book.start()
    return f"the polling of {listed(ended)} had ended and began anew"


def repack_if_due(core: Core) -> str:
    """Make one pack of many objects, under the lock of commit and apply; whoever starts a job does not wait for it."""
    if not is_due(core.store):
        return ""

    def is_wanted() -> bool:
        return core.stopping.is_set() or bool(core.jobs.running())

    if is_wanted():
        return "put off: a job is under way"
    with core.recorder.lock:
        packed = repack(core.store, is_wanted)
    return f"{counted(packed, 'object')} in one pack" if packed else "put off: a job wanted the repository"
