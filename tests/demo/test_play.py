"""The walk as its steps fail: it says so, and nothing is left."""

from __future__ import annotations

import re
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncsrv import shipped
from syncsrv.cli.output import printable
from syncsrv.clock import SystemClock
from syncsrv.demo.play import EndedBySignal, play
from syncsrv.demo.scene import Scene
from syncsrv.demo.show import Show
from syncsrv.demo.walk import STEPS, Step
from tests.support.leftovers import nothing_left
from tests.support.wait import until


@pytest.fixture
def place(short_tmp: Path) -> Iterator[Path]:
    """Where a demo makes its directory; whatever happens in it, nothing may be left here."""
    with nothing_left(short_tmp):
        yield short_tmp


def quiet() -> Show:
    return Show(lambda text, *styles: text, printable, quiet=True)


def test_a_check_that_takes_everything_is_noticed(place: Path, tmp_path: Path) -> None:
    sample = tmp_path / "sample"
    shutil.copytree(shipped.folder("sample-repo"), sample)
    text = (sample / "demo.yaml").read_text()
    (sample / "demo.yaml").write_text(re.sub(r"(?m)^( +check): .*$", r'\1: ["true"]', text))
    show = quiet()
    start, first, *_ = STEPS
    (broken,) = (step for step in STEPS if "broken" in step.name)
    assert (
        play(show, SystemClock(), stay=False, keep=False, source=sample, place=place, steps=[start, first, broken]) == 1
    )
    assert [step.result for step in show.steps] == ["ok", "ok", "failed"]
    assert "`syncsrv sync` on fw1 did not end as it should" in show.steps[-1].said
    assert "expected: exit status 1" in show.steps[-1].said


def test_a_sample_that_is_broken_fails_the_first_step(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = tmp_path / "sample"
    shutil.copytree(shipped.folder("sample-repo"), sample)
    text = (sample / "demo.yaml").read_text()
    (sample / "demo.yaml").write_text(text.replace("areas:", "aeras:"))
    show = Show(lambda text, *styles: text, printable)
    assert play(show, SystemClock(), stay=False, keep=False, source=sample, place=place) == 1
    shown = capsys.readouterr().out
    assert "did you mean areas" in shown
    assert "expected  exit status 0" in shown
    assert "Step 1 does not hold." in shown


def interrupted(scene: Scene) -> None:
    raise KeyboardInterrupt


def unforeseen(scene: Scene) -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize("do, error", [(interrupted, KeyboardInterrupt), (unforeseen, ZeroDivisionError)])
def test_whatever_a_step_raises_nothing_is_left(
    place: Path, do: Callable[[Scene], None], error: type[BaseException]
) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]

    def start(scene: Scene) -> None:
        scene.site.build(scene.master)
        scene.site.start_services(scene.master)
        until(lambda: scene.master.portal_state(), 20, "the portal")

    with pytest.raises(error):
        play(quiet(), SystemClock(), stay=False, keep=False, place=place, steps=[Step("start", start), Step("x", do)])
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == handlers


def test_signals_that_come_at_once_leave_nothing_either(place: Path) -> None:
    """As a terminal sends them that is closed while somebody presses Ctrl-C."""
    every = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def told(scene: Scene) -> None:
        here = threading.get_ident()  # a signal to the process may be taken by another thread at once
        before = signal.pthread_sigmask(signal.SIG_BLOCK, every)
        try:
            for number in every:
                signal.pthread_kill(here, number)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    with pytest.raises((KeyboardInterrupt, EndedBySignal)):
        play(quiet(), SystemClock(), stay=False, keep=False, place=place, steps=(Step("told to end", told),))


def test_an_answer_that_lacks_something_fails_its_step(place: Path) -> None:
    def lacking(scene: Scene) -> None:
        scene.site.build(scene.master)
        scene.master.ask("no-such-command").data["nodes"]["fw2"]

    show = quiet()
    assert play(show, SystemClock(), stay=False, keep=False, place=place, steps=[Step("x", lacking)]) == 1
    assert show.steps[0].said == ["cannot go on: KeyError: 'nodes'"]


def test_what_is_kept_is_named(short_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def build(scene: Scene) -> None:
        scene.site.build(scene.master)

    show = Show(lambda text, *styles: text, printable)
    assert play(show, SystemClock(), stay=False, keep=True, place=short_tmp, steps=[Step("x", build)]) == 0
    (kept,) = short_tmp.iterdir()
    assert f"Kept: {kept}" in capsys.readouterr().out
    assert (kept / "fw1/root/etc").is_dir()
