"""The demo's service, as a process of its own, asked over HTTP."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from syncsrv.demo.portal import Configuration, RefusedError, Upstream, load, main
from tests.support.net import free_port
from tests.support.wait import until

GOOD = "# the edge\nlisten = 127.0.0.1:8080\ntitle = Edge <portal>\n\nupstream = wiki 192.0.2.21:8080\n"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "portal.conf"
    path.write_text(GOOD)
    return path


def test_a_good_file_is_read_with_the_hash_that_sha256sum_gives(conf: Path) -> None:
    assert load(conf) == Configuration(
        host="127.0.0.1",
        port=8080,
        title="Edge <portal>",
        notice="",
        upstreams=(Upstream("wiki", "192.0.2.21", 8080),),
        sha256=hashlib.sha256(GOOD.encode()).hexdigest(),
    )


def test_includes_are_read_in_the_order_of_their_names_and_count_for_the_hash(conf: Path) -> None:
    conf.write_text(GOOD + "include = conf.d/*.conf\n")
    alone = load(conf).sha256
    (conf.parent / "conf.d").mkdir()
    (conf.parent / "conf.d" / "b.conf").write_text("upstream = b [2001:db8::1]:1\n")
    (conf.parent / "conf.d" / "a.conf").write_text("notice = a = b\nupstream = a mail.example.net:2\n")
    (conf.parent / "conf.d" / ".a.conf.tmp").write_text("rubbish\n")
    found = load(conf)
    assert [up.name for up in found.upstreams] == ["wiki", "a", "b"]
    assert found.notice == "a = b"
    assert found.upstreams[2].host == "2001:db8::1"
    assert found.sha256 != alone


@pytest.mark.parametrize(
    "text, problem",
    [
        ("", "1: the key listen is missing"),
        ("listen = 127.0.0.1:80\n", "1: the key title is missing"),
        (GOOD + "rubbish\n", "6: expected `key = value`, found 'rubbish'"),
        (GOOD + "= x\n", "6: expected `key = value`, found '= x'"),
        (GOOD + "titel = x\n", "6: unknown key 'titel'; known are include, listen, title, notice and upstream"),
        (GOOD + "title = x\n", "6: title is given twice"),
        (GOOD + "notice =\n", "6: notice has no value"),
        (GOOD + "upstream = wiki 192.0.2.1:1\n", "6: upstream wiki is given twice"),
        (GOOD + "upstream = x\n", "6: upstream is NAME HOST:PORT, found 'x'"),
        (GOOD + "upstream = x a_b:1\n", "6: upstream is NAME HOST:PORT, found 'x a_b:1'"),
        ("listen = 80\ntitle = x\n", "1: listen is ADDRESS:PORT, found '80'"),
        ("listen = host:80\ntitle = x\n", "1: listen is ADDRESS:PORT, found 'host:80'"),
        ("listen = 127.0.0.1:99999\ntitle = x\n", "1: listen is ADDRESS:PORT, found '127.0.0.1:99999'"),
        (GOOD + "include = /etc/*\n", "6: include is a pattern below "),
        (GOOD + "include = ../*\n", "6: include is a pattern below "),
    ],
)
def test_a_bad_file_is_refused_with_file_and_line(conf: Path, text: str, problem: str) -> None:
    conf.write_text(text)
    with pytest.raises(RefusedError) as caught:
        load(conf)
    assert str(caught.value).startswith(f"{conf}:{problem}")


def test_all_problems_are_told_at_once_also_those_of_included_files(conf: Path) -> None:
    conf.write_text(GOOD + "a = 1\ninclude = *.more\nb = 2\n")
    (conf.parent / "x.more").write_text("include = y\n")
    with pytest.raises(RefusedError) as caught:
        load(conf)
    places = [line.split(": ")[0] for line in str(caught.value).splitlines()]
    assert places == [f"{conf}:6", f"{conf.parent}/x.more:1", f"{conf}:8"]


def test_bytes_that_are_no_text_and_a_missing_file_are_refused(conf: Path) -> None:
    conf.write_bytes(GOOD.encode() + b"title = \xff\n")
    with pytest.raises(RefusedError, match="6: is not UTF-8"):
        load(conf)
    with pytest.raises(RefusedError, match="cannot be read: No such file or directory"):
        load(conf.parent / "none")


def test_check_says_so_and_has_the_status(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", str(conf)]) == 0
    assert "is good" in capsys.readouterr().out
    conf.write_text("rubbish\n")
    assert main(["--check", str(conf)]) == 1
    assert capsys.readouterr().out == f"{conf}:1: expected `key = value`, found 'rubbish'\n"


@dataclass
class Running:
    child: subprocess.Popen[bytes]
    port: int
    log: Path

    def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get("/state")[1])
        return found


@contextlib.contextmanager
def portal(conf: Path) -> Iterator[Running]:
    port, log = free_port(), conf.parent / "log"
    argv = [sys.executable, "-Es", "-m", "syncsrv.demo.portal", "--config", str(conf), "--port", str(port)]
    with log.open("wb") as stream:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
    try:
        until(lambda: b"serving" in log.read_bytes() or child.poll() is not None, what="the portal")
        yield Running(child, port, log)
    finally:
        child.kill()
        child.wait()


def test_it_serves_its_title_its_hash_and_its_health(conf: Path) -> None:
    with portal(conf) as running:
        status, page = running.get("/")
        assert status == 200
        assert "<h1>Edge &lt;portal&gt;</h1>" in page
        assert hashlib.sha256(GOOD.encode()).hexdigest() in page
        assert "192.0.2.21:8080" in page
        assert running.get("/healthz?x") == (200, "ok\n")
        assert running.get("/", "HEAD") == (200, "")
        assert running.get("/none")[0] == 404
        assert running.get("/", "POST")[0] == 501
        assert running.state()["pid"] == running.child.pid


def test_on_sighup_it_loads_the_new_file_in_the_same_process(conf: Path) -> None:
    with portal(conf) as running:
        conf.write_text(GOOD.replace("Edge <portal>", "New"))
        os.kill(running.child.pid, signal.SIGHUP)
        until(lambda: running.state()["title"] == "New")
        assert running.state()["sha256"] == hashlib.sha256(conf.read_bytes()).hexdigest()
        assert running.state()["pid"] == running.child.pid


def test_on_sighup_a_bad_file_leaves_the_old_in_force_and_is_logged(conf: Path) -> None:
    with portal(conf) as running:
        before = running.state()
        conf.write_text("rubbish\n")
        os.kill(running.child.pid, signal.SIGHUP)
        until(lambda: "the old configuration stays in force" in running.log.read_text())
        assert f"{conf}:1: expected" in running.log.read_text()
        assert running.state() == before


def test_a_bad_file_is_refused_at_start(conf: Path) -> None:
    conf.write_text("rubbish\n")
    with portal(conf) as running:
        assert running.child.wait(10) == 1
        assert f"{conf}:1: expected" in running.log.read_text()


def test_a_taken_port_is_an_error_in_a_sentence(conf: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        conf.write_text(GOOD.replace("8080\ntitle", f"{taken.getsockname()[1]}\ntitle"))
        argv = [sys.executable, "-Es", "-m", "syncsrv.demo.portal", "--config", str(conf)]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 1
    assert done.stderr == f"cannot listen on 127.0.0.1:{taken_port(conf)}: Address already in use\n"


def taken_port(conf: Path) -> int:
    return load(conf).port


def test_sigterm_ends_it_well(conf: Path) -> None:
    with portal(conf) as running:
        running.child.terminate()
        assert running.child.wait(10) == 0
