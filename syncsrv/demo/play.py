"""The whole demo: it makes the site, walks, waits where somebody may want to try more, and leaves nothing behind."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from syncsrv.clock import Clock
from syncsrv.demo.scene import Scene
from syncsrv.demo.show import Show
from syncsrv.demo.site import ADMIN, Site
from syncsrv.demo.walk import STEPS, Step, walk

_ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class EndedBySignal(SystemExit):
    """SIGTERM or SIGHUP came: clean up and end as the shell expects of it."""


def play(
    show: Show,
    clock: Clock,
    *,
    stay: bool,
    keep: bool,
    source: Path | None = None,
    place: Path | None = None,
    steps: Sequence[Step] = STEPS,
) -> int:
    """Show the main job on two nodes of this machine.

    Args:
        show: tells people.
        clock: tells the time.
        stay: keep the nodes running after the walk, until Ctrl-C.
        keep: leave the directory at the end.
        source: what stands for the shipped sample-repo/.
        place: where its directory is made; default: where temporary files are.
        steps: the walk.

    Returns:
        0 if every step held, else 1.

    Raises:
        EndedBySignal: a signal ended it; KeyboardInterrupt likewise, during the walk. Nothing is left then either.
    """
    with _signals():
        began_at = clock.monotonic()
        site = Site(clock, source, place=place, keep=keep)
        try:
            show.opening(_opening(site))
            well = walk(Scene(site, show, clock), tuple(steps))
            show.result(_result(show, clock.monotonic() - began_at, well=well), well=well)
            if stay:
                show.note(_to_try(site))
                _wait_for_ctrl_c()
        finally:
            _hear_no_more()
            site.close()
        show.note([f"Kept: {site.directory}" if keep else "Every process is ended, and every file removed."])
    return 0 if well else 1


@contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end us as Ctrl-C does, by an exception; afterwards all is as before.

    Only the first one does: a terminal that is closed sends two, and the second would stop the cleaning up.
    """

    def end(number: int, _: FrameType | None) -> None:
        _hear_no_more()
        raise KeyboardInterrupt if number == signal.SIGINT else EndedBySignal(128 + number)

    before = {number: signal.getsignal(number) for number in _ALL}
    for number in _ALL:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hear_no_more() -> None:
    """No other signal stops the cleaning up; not SIG_IGN, of which Python complains where one is pending already."""
    for number in _ALL:
        signal.signal(number, lambda *_: None)


def _wait_for_ctrl_c() -> None:
    try:
        while True:
            signal.pause()
    except KeyboardInterrupt:
        print()


def _opening(site: Site) -> list[str]:
    return [
        "syncsrv demo: two whole nodes on this machine, driven by the real command line",
        f"All of it is below {site.directory}; no root, no network but 127.0.0.1 and its own; nothing else is touched.",
    ]


def _result(show: Show, seconds: float, *, well: bool) -> str:
    count = len(show.steps)
    return f"All {count} steps held, in {seconds:.1f} s." if well else f"Step {count} does not hold."


def _to_try(site: Site) -> list[str]:
    """What somebody can type who wants to see more."""
    ours, theirs = (shlex.join([*_program(), "--config", str(node.config)]) for node in site.nodes)
    return [
        "",
        "Both nodes go on running until Ctrl-C. Their pages (their certificates are their own: the browser will ask):",
        *(f"  {node.visit().url}  {node.name}, user {ADMIN}, password {node.password}" for node in site.nodes),
        "To try in another terminal:",
        f"  {ours} status",
        f"  editor {shlex.quote(str(site.master.portal_file))}",
        f"  {ours} diff",
        f"  {ours} sync --reason 'to see what happens'",
        f"  {theirs} log",
        f"  curl http://127.0.0.1:{site.backup.portal}/state",
        "",
    ]


def _program() -> list[str]:
    """How to type ``syncsrv`` here."""
    beside = Path(sys.executable).with_name("syncsrv")
    if not beside.exists():
        return [sys.executable, "-m", "syncsrv"]
    found = shutil.which("syncsrv")
    return ["syncsrv"] if found and Path(found).resolve() == beside.resolve() else [str(beside)]
