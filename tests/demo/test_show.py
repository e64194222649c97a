from __future__ import annotations

import pytest

from syncsrv.cli.output import printable
from syncsrv.demo.show import Show


def painted(text: str, *styles: str) -> str:
    return f"<{' '.join(styles)}>{text}</>" if text else text


def plain(text: str, *styles: str) -> str:
    return text


def tell(show: Show) -> None:
    show.opening(["the demo", "more"])
    show.begin("First")
    show.command("fw1", ["syncsrv", "sync", "--reason", "two words"])
    show.say("it says\n\x1b[2Jits own words")
    show.end(1.234)
    show.begin("Second")
    show.fail(0.5, "it is not so", {"expected": "a", "seen": "b\nc"}, {"fw1/log/serve.log": ["last line"]})
    show.result("Step 2 does not hold.", well=False)
    show.note(["Kept: here"])


def test_a_step_shows_what_was_typed_what_came_of_it_and_how_long_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    tell(Show(plain, printable))
    assert capsys.readouterr().out == (
        "the demo\nmore\n"
        "\n  1  First\n"
        "      fw1$ syncsrv sync --reason 'two words'\n"
        "      it says\n"
        "        | \\x1b[2Jits own words\n"
        "      ok  1.23 s\n"
        "\n  2  Second\n"
        "      FAILED  0.50 s  it is not so\n"
        "      expected  a\n"
        "      seen      b\n"
        "                c\n"
        "      the end of fw1/log/serve.log\n"
        "        | last line\n"
        "\nStep 2 does not hold.\n"
        "Kept: here\n"
    )


def test_colours_are_the_callers(capsys: pytest.CaptureFixture[str]) -> None:
    tell(Show(painted, printable))
    lines = capsys.readouterr().out.splitlines()
    assert "      <green bold>ok</>  1.23 s" in lines
    assert "      <red bold>FAILED</>  0.50 s  it is not so" in lines


def test_quiet_prints_nothing_and_keeps_everything(capsys: pytest.CaptureFixture[str]) -> None:
    show = Show(plain, printable, quiet=True)
    tell(show)
    assert capsys.readouterr().out == ""
    assert show.data() == {
        "result": "failed",
        "steps": [
            {
                "name": "First",
                "result": "ok",
                "seconds": 1.234,
                "commands": ["fw1$ syncsrv sync --reason 'two words'"],
                "said": ["it says\n\x1b[2Jits own words"],
            },
            {
                "name": "Second",
                "result": "failed",
                "seconds": 0.5,
                "commands": [],
                "said": ["it is not so", "expected: a", "seen: b\nc"],
            },
        ],
    }


def test_only_a_walk_whose_every_step_held_has_held() -> None:
    show = Show(plain, printable, quiet=True)
    found = [show.held]
    for name in ("First", "Second"):
        show.begin(name)
        found.append(show.held)
        show.end(1.0)
        found.append(show.held)
    assert found == [False, False, True, False, True]
