"""The node's own programs at a change of its CARP state: ``hooks/on-master``, ``on-backup`` and so on.

One at a time, in a thread of core: a slow one delays neither the carp process nor anything else but the next hook. Of
states that come while one runs, only the latest is told; the others are skipped, and the log says so. What was run
last is kept on the disk, so that a restart of core runs nothing again; a boot does, and so does a hook that core did
not see end. ``hooks/README.md`` at the top of the source is what operators read about them; both say the same.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from syncsrv.apply.hookfile import DEADLINE_S, HookFaultError, environment, run_hook
from syncsrv.clock import Clock
from syncsrv.config.model import Node
from syncsrv.core.carp.configure import write
from syncsrv.core.carp.standing import NodeState
from syncsrv.errors import SyncsrvError
from syncsrv.failover.messages import Report
from syncsrv.process import Stop

log = logging.getLogger(__name__)

FILE = "carp/hooks.json"
"""Below state_dir."""

NAMES = {state: f"on-{state.lower()}" for state in NodeState}
"""Which hook belongs to which state."""

_SAID = 4000


@dataclass(frozen=True, slots=True)
class Vip:
    """What a hook is told of one VIP."""

    vhid: int
    interface: str
    device: str
    state: str
    reason: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """What a hook is told.

    Attributes:
        node: this node.
        root: the managed root.
        state: its state now.
        reason: why, in a sentence.
        demotion: its reasons and their weights.
        vips: each with its own state.
    """

    node: str
    root: Path
    state: NodeState
    reason: str
    demotion: Mapping[str, int]
    vips: tuple[Vip, ...]

    def environment(self, before: str) -> dict[str, str]:
        """The hook's whole environment; ``before``: the state that the last hook was told."""
        return environment(
            {
                "NODE": self.node,
                "ROOT": os.fspath(self.root),
                "STATE": self.state,
                "BEFORE": before,
                "REASON": self.reason,
                "VIPS": " ".join(f"{vip.vhid}@{vip.interface}={vip.state}" for vip in self.vips),
                "DEMOTION": str(sum(self.demotion.values())),
            }
        )

    def document(self, before: str) -> bytes:
        """The hook's standard input: one JSON object."""
        return json.dumps({**asdict(self), "root": os.fspath(self.root), "before": before}).encode("ascii")


def told_of(node: Node, report: Report, state: NodeState, why: str) -> Told:
    """What a hook is told of a report."""
    vips = tuple(Vip(one.vhid, one.interface, one.device, one.state, one.reason, one.addresses) for one in report.vips)
    return Told(node.node, node.root, state, why, dict(report.demotion_reasons), vips)


@dataclass(frozen=True, slots=True)
class Last:
    """What was run last.

    Attributes:
        boot: the kernel's name for the boot in which that was.
        state: what it was told; empty: nothing was run yet.
        ended: whether it came to its end.
        failed: why that was no good one; empty where it was.
    """

    boot: str
    state: str = ""
    ended: bool = True
    failed: str = ""


class StateHooks:
    """Runs them.

    Args:
        directory: ``hooks`` in the node's configuration directory.
        state_dir: of this node.
        boot: the kernel's name for this boot.
        clock: for how long one took.
        deadline_s: for each hook; its process group ends with it.
    """

    def __init__(
        self, directory: Path, state_dir: Path, boot: str, clock: Clock, *, deadline_s: float = DEADLINE_S
    ) -> None:
        self._directory = directory
        self._path = state_dir / FILE
        self._boot = boot
        self._clock = clock
        self._deadline_s = deadline_s
        self._last = self._load()
        self._due: Told | None = None
        self._running = ""
        self._stopping = threading.Event()
        self._kill = Stop()
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="carp-hooks", daemon=True)

    def start(self) -> None:
        """Begin; what was told before is run now."""
        self._thread.start()

    def stop(self) -> None:
        """End the one that runs, and begin none any more; also without a start."""
        with self._news:
            self._stopping.set()
            self._news.notify_all()
        self._kill.ask()
        if self._thread.ident is not None:
            self._thread.join()

    def tell(self, told: Told) -> None:
        """The node is in this state; returns at once, and tells nothing that the hooks know already."""
        with self._news:
            newest = self._due.state if self._due is not None else self._running or self._known()
            if told.state == newest:
                if self._due is not None:
                    self._due = told  # the state is the same, its reasons may be newer
                return
            if self._due is not None:
                log.info("%s is skipped: the node is %s before it began", NAMES[self._due.state], told.state)
            self._due = told
            self._news.notify_all()

    def troubles(self) -> tuple[str, ...]:
        """What an operator should know, a sentence each."""
        with self._news:
            return (self._last.failed,) if self._last.failed else ()

    @property
    def is_alive(self) -> bool:
        """Whether they are still run, once begun."""
        return self._thread.is_alive()

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing is due."""
        with self._news:
            return self._due is None and not self._running

    def _known(self) -> str:
        """The state that the hooks have been told; empty where the next one has to be told in any case."""
        return self._last.state if self._last.boot == self._boot and self._last.ended else ""

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._stopping.is_set() or self._due is not None)
                if self._stopping.is_set():
                    return
                assert self._due is not None
                told, self._due = self._due, None
                if told.state == self._known():
                    log.info("%s is not run: the node is %s as before", NAMES[told.state], told.state)
                    continue
                self._running = told.state
                before = self._last.state
                self._last = Last(self._boot, told.state, ended=False)
            failed = self._one(told, before)
            with self._news:
                self._running = ""
                if self._stopping.is_set():
                    return
                self._last = replace(self._last, ended=True, failed=failed)
            self._save()  # not under the lock: whoever tells a state must not wait for the disk

    def _one(self, told: Told, before: str) -> str:
        """Run one hook; why it failed, for people."""
        name = NAMES[told.state]
        self._save()
        began_at = self._clock.monotonic()
        try:
            said = run_hook(
                self._directory / name,
                [told.state],
                env=told.environment(before),
                document=told.document(before),
                deadline_s=self._deadline_s,
                stop=self._kill,
            )
        except HookFaultError as fault:
            if self._stopping.is_set():
                log.info("the %s hook was ended with core; the next core runs it again", name)
                return ""
            why = f"the {name} hook {fault.path} {fault.why}; {fault.remedy}"
            log.error("%s", why)
            return why
        if said is not None:
            seconds = self._clock.monotonic() - began_at
            log.info("the %s hook ended after %.1f s%s", name, seconds, f": {said[-_SAID:]}" if said else "")
        return ""

    def _save(self) -> None:
        try:
            write(self._path, json.dumps(asdict(self._last)).encode() + b"\n", "which hook was run last")
        except SyncsrvError as error:
            log.warning("%s; after a restart of core the hook is run again", error.message)

    def _load(self) -> Last:
        try:
            raw = json.loads(self._path.read_bytes())
            found = Last(str(raw["boot"]), str(raw["state"]), raw["ended"] is True, str(raw["failed"]))
        except FileNotFoundError:
            return Last(self._boot)
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("cannot read %s: %s; the hook of the present state is run again", self._path, error)
            return Last(self._boot)
        return found
