"""What the other tests stand on holds."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.support.net import accepts, free_port
from tests.support.sample import left_out
from tests.support.skips import Allowed, is_allowed
from tests.support.testroot import TestRoot, TestRootError, ensure, home_of, stop
from tests.support.wait import until

TOP = Path(__file__).parents[1]
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "pytest_timeout")
ALONE = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""Another pytest without plugins that take a second to import."""


def test_until_returns_the_answer() -> None:
    answers = iter([0, "", "there"])
    assert until(lambda: next(answers)) == "there"


def test_until_says_what_never_came() -> None:
    with pytest.raises(AssertionError, match="in vain for the file; last answer: False"):
        until(lambda: False, deadline_s=0.02, what="the file")


def test_short_tmp_has_room_for_a_socket(short_tmp: Path) -> None:
    assert len(os.fsencode(short_tmp / "node-name" / "run" / "door.sock")) < 64


def test_only_a_whole_listed_reason_allows_a_skip() -> None:
    allowed = (Allowed(r"needs \w+ hardware", "no such machine exists"),)
    assert is_allowed("needs odd hardware", allowed)
    assert not is_allowed("needs odd hardware and luck", allowed)
    assert not is_allowed("needs odd hardware", ())


@pytest.mark.parametrize(
    "skip",
    [
        "def test_it():\n    pytest.skip('today')",
        "@pytest.mark.skip(reason='today')\ndef test_it(): pass",
        "pytest.importorskip('no_such_module')\ndef test_it(): pass",
        "pytest.skip('today', allow_module_level=True)",
    ],
)
def test_a_skip_fails_the_run_in_ci_and_only_there(skip: str, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    (tmp_path / "test_one.py").write_text(f"import pytest\n{skip}\n")
    config = str(TOP / "pyproject.toml")
    argv = [*PYTEST, "-q", "-c", config, str(tmp_path)]
    for in_ci in (True, False):
        env = {name: value for name, value in ALONE.items() if name != "CI"} | ({"CI": "true"} if in_ci else {})
        done = subprocess.run(argv, cwd=TOP, env=env, capture_output=True, text=True, check=False)
        if in_ci:
            assert done.returncode != 0, done.stdout
            assert "tests/support/skips.py does not allow" in done.stdout
        else:
            assert done.returncode in (0, pytest.ExitCode.NO_TESTS_COLLECTED), done.stdout


def test_a_program_of_the_root_sees_what_it_is_given_and_nothing_else(testroot: TestRoot, short_tmp: Path) -> None:
    (short_tmp / "given").mkdir()
    (short_tmp / "given" / "file").write_text("content")
    (short_tmp / "other").write_text("not given")
    assert testroot.run("cat", short_tmp / "given/file", binds=[short_tmp / "given"]).stdout == "content"
    assert testroot.run("cat", short_tmp / "other", binds=[short_tmp / "given"], check=False).returncode == 1
    testroot.run("touch", short_tmp / "given/made", "/etc/made", binds=[short_tmp / "given"])
    assert (short_tmp / "given/made").exists()
    assert not (testroot.path / "etc/made").exists()
    assert str(testroot.home) not in Path("/proc/self/mounts").read_text()


def test_a_real_nginx_answers_reloads_and_ends(testroot: TestRoot, short_tmp: Path) -> None:
    port = free_port()
    conf = short_tmp / "nginx.conf"

    def configure(word: str) -> None:
        conf.write_text(
            f"daemon off; pid {short_tmp}/pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; server {{ listen 127.0.0.1:{port}; location / {{ return 200 {word}; }} }} }}\n"
        )

    def answer() -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as reply:
            body: bytes = reply.read()
            return body

    configure("first")
    nginx = testroot.popen("nginx", "-c", conf, binds=[short_tmp], log=short_tmp / "log")
    try:
        until(lambda: accepts(port), what="nginx")
        assert answer() == b"first"
        configure("second")
        testroot.run("nginx", "-s", "reload", "-c", conf, binds=[short_tmp])
        until(lambda: answer() == b"second", what="the reload")
        assert int((short_tmp / "pid").read_text()) == nginx.pid
    finally:
        assert stop(nginx) == 0, (short_tmp / "log").read_text()
    assert not accepts(port)


def test_the_root_has_the_programs_that_tests_rely_on(testroot: TestRoot) -> None:
    for argv in (["git", "--version"], ["rsync", "--version"], ["ssh", "-V"], ["nft", "--version"], ["unbound", "-V"]):
        testroot.run(*argv)
    testroot.run("sh", "-c", "ssh-keygen -A >/dev/null && /usr/sbin/sshd -t")


def test_a_failing_program_of_the_root_is_an_error_with_its_words(testroot: TestRoot) -> None:
    with pytest.raises(AssertionError, match="No such file or directory"):
        testroot.run("ls", "/no-such-folder")


def test_a_root_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: debootstrap makes a Debian root with real daemons")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(TestRootError, match="cannot make the test root"):
        ensure(mirror="http://127.0.0.1:9/")
    assert not home_of().exists()
    assert [path.name for path in (tmp_path / "syncsrv").iterdir()] == ["testroot.lock"]


@pytest.mark.parametrize("seed", range(20))
def test_a_sample_has_so_many_of_each_matrix_and_is_the_same_for_a_seed(seed: int) -> None:
    cases = [(f"a{number}", "a", 3) for number in range(10)] + [(f"b{number}", "b", 5) for number in range(4)]
    out = left_out(cases, seed)
    assert len(out) == 7
    assert all(name.startswith("a") for name in out)
    assert out == left_out(cases, seed)


def test_every_member_of_a_matrix_runs_some_day() -> None:
    cases = [(number, "a", 1) for number in range(5)]
    run = {number for seed in range(100) for number in range(5) if number not in left_out(cases, seed)}
    assert run == set(range(5))


def test_a_sample_is_drawn_for_the_whole_suite_and_not_for_a_test_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    test = tmp_path / "test_one.py"
    test.write_text(
        "import pytest\n@pytest.mark.sample(2)\n@pytest.mark.parametrize('n', range(9))\ndef test_it(n): pass\n"
    )
    config = str(TOP / "pyproject.toml")
    argv = [*PYTEST, "-c", config]

    def said(*more: str) -> str:
        done = subprocess.run([*argv, *more], cwd=TOP, env=ALONE, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        return done.stdout

    assert "2 passed, 7 deselected" in said(str(tmp_path))
    assert "SYNCSRV_TEST_SEED=" in said(str(tmp_path))
    assert "9 passed" in said("-m", "", str(tmp_path))
    assert "9 passed" in said(f"{test}::test_it")
