"""What core does because of what the carp process reports: hooks, services that follow, health; joined and started.

The reports come in the thread that listens to the carp process; nothing here makes it wait.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from syncsrv.core.carp import standing
from syncsrv.core.carp.health import Monitor, asked
from syncsrv.core.carp.hooks import StateHooks, told_of
from syncsrv.core.carp.link import Reading
from syncsrv.core.carp.roles import Roles
from syncsrv.core.carp.standing import NodeState
from syncsrv.core.carp.statewatch import StateWatch
from syncsrv.core.parts import Core
from syncsrv.failover.messages import Report

GONE_S = 15.0
"""So long nobody listens, and no process of the last report is left, until the carp process counts as ended: longer
than a restart of it takes, and than the lifetime of an address with the usual advbase of 1."""
LOOK_S = 1.0


class Duties:
    """One for each core.

    Args:
        core: of this node.
        directory: the configuration directory.
        boot: the kernel's name for this boot.
        gone_s: see GONE_S.
        look_s: seconds between two looks at what no report tells: the configuration, and an ended process.
        runs: whether a process of that id is there.
    """

    def __init__(
        self,
        core: Core,
        directory: Path,
        boot: str,
        *,
        gone_s: float = GONE_S,
        look_s: float = LOOK_S,
        runs: Callable[[int], bool] = lambda pid: os.path.exists(f"/proc/{pid}"),
    ) -> None:
        self._core = core
        self._gone_s = gone_s
        self._look_s = look_s
        self._runs = runs
        self._gone_at: float | None = None
        self._last: Report | None = None
        self.hooks = StateHooks(directory / "hooks", core.live.config.node.state_dir, boot, core.clock)
        self.roles = Roles(core)
        self.health = Monitor(core, asked(core), lambda: self.roles.settled)
        self.table = StateWatch(core.carp, lambda: core.book.now(), core.clock)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="carp-duties", daemon=True)
        core.carp.listen(lambda _was, now: self._heard(now))
        core.troubles.append(self.troubles)

    def start(self) -> None:
        """Begin with what is known now."""
        for part in (self.hooks, self.roles, self.health):
            part.start()
        self._heard(self._core.carp.reading)
        self._thread.start()

    def stop(self) -> None:
        """End; also without a start."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        for part in (self.health, self.roles, self.hooks):
            part.stop()

    def troubles(self) -> tuple[str, ...]:
        """What an operator should know, a sentence each."""
        said = [*self.hooks.troubles(), *self.roles.troubles(), *self.health.troubles()]
        if self._thread.ident is not None and not self._stopping.is_set():
            parts: dict[str, StateHooks | Roles | Monitor] = {
                "hooks are not told of the CARP state": self.hooks,
                "services do not follow the CARP state": self.roles,
                "the health of services does not demote this node": self.health,
            }
            said += [f"{lost} any more, by a bug: restart core" for lost, one in parts.items() if not one.is_alive]
        return tuple(said)

    def _heard(self, reading: Reading) -> None:
        report = reading.now
        if report is None or self._stopping.is_set():
            return
        self._last, self._gone_at = report, None
        state = standing.state_of(report)
        assert state is not None
        why = standing.why(report)
        self.hooks.tell(told_of(self._core.live.config.node, report, state, why))
        self.roles.tell(state is NodeState.MASTER, why)

    def _run(self) -> None:
        while not self._stopping.wait(self._look_s):
            self.look()

    def look(self) -> None:
        """See what no report tells: services that are new, and a carp process that has ended."""
        core, reading, last = self._core, self._core.carp.reading, self._last
        self.roles.tell(None)
        self.table.look()
        configured = bool(core.cluster.vips)
        ended = reading.now is None and (reading.absent or not configured)
        if last is None or not ended or self._runs(last.pid) or self._runs(last.guardian_pid):
            self._gone_at = None
            return
        now = core.clock.monotonic()
        self._gone_at = now if self._gone_at is None else self._gone_at
        if now - self._gone_at < (self._gone_s if configured else 0.0):
            return
        why = reading.why if configured else "no virtual addresses are configured"
        empty = replace(last, vips=(), demotion_reasons={})
        self.hooks.tell(told_of(core.live.config.node, empty, NodeState.STOP, why))
        if configured:  # without VIPs no node is MASTER, and services that wait for one are left as they are
            self.roles.tell(False, why)
