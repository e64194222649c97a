from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.clock import SystemClock
from syncsrv.config.model import Health
from syncsrv.services.base import HealthWord, ServiceState, ServiceStatus, environment
from syncsrv.services.health import BODY_KEPT, STEADY_S, Probed, Watch, await_healthy, probe
from tests.services.kit import HandClock
from tests.support.net import free_port

ENV = environment("fw1", "d")


def ask(**health: Any) -> Probed:
    return probe(Health.model_validate({"timeout": 2} | health), ENV, SystemClock())


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = int(self.path.strip("/").partition("?")[0] or 200)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/200")
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(b"the database is away\n" + b"x" * (10 * BODY_KEPT))

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@contextlib.contextmanager
def serving(server: http.server.HTTPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def page() -> Iterator[int]:
    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)) as port:
        yield port


@pytest.fixture
def silent() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_tcp_that_accepts_is_well(silent: int) -> None:
    assert ask(tcp=f"127.0.0.1:{silent}") == Probed(True, f"tcp 127.0.0.1:{silent} answers")
    assert ask(tcp=f"localhost:{silent}").ok


def test_tcp_refused_says_so() -> None:
    port = free_port()
    assert ask(tcp=f"127.0.0.1:{port}") == Probed(False, f"tcp 127.0.0.1:{port}: connection refused")


def test_tcp_that_never_answers_ends_with_the_timeout() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        with contextlib.ExitStack() as held:
            for _ in range(3):
                filler = held.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            assert ask(tcp=f"127.0.0.1:{port}", timeout=0.3).reason.endswith("no answer within 0.3 s")


def test_tcp_takes_an_ipv6_address() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        assert ask(tcp=f"[::1]:{server.getsockname()[1]}").ok


def test_a_name_that_does_not_exist_is_a_bad_answer() -> None:
    found = ask(tcp="no-such-host.invalid:80", timeout=5)
    assert not found.ok
    assert found.reason.startswith("tcp no-such-host.invalid:80: ")


def test_http_of_the_expected_status_is_well(page: int) -> None:
    assert ask(http=f"http://127.0.0.1:{page}/200?deep=1") == Probed(
        True, f"http http://127.0.0.1:{page}/200?deep=1 answers 200"
    )
    assert ask(http=f"http://127.0.0.1:{page}").ok
    assert ask(http=f"http://127.0.0.1:{page}/404", status=404).ok


def test_http_of_another_status_shows_it_and_a_bounded_answer(page: int) -> None:
    found = ask(http=f"http://127.0.0.1:{page}/503")
    assert found.reason.endswith("status 503 Service Unavailable where 200 is expected")
    assert found.output.startswith("the database is away\n")
    assert len(found.output) <= BODY_KEPT


def test_http_follows_no_redirect(page: int) -> None:
    assert "status 302 Found" in ask(http=f"http://127.0.0.1:{page}/302").reason
    assert ask(http=f"http://127.0.0.1:{page}/302", status=302).ok


def test_http_that_says_nothing_ends_with_the_timeout(silent: int) -> None:
    found = ask(http=f"http://127.0.0.1:{silent}/", timeout=0.3)
    assert found == Probed(False, f"http http://127.0.0.1:{silent}/: no answer within 0.3 s")


def test_http_that_drips_ends_with_the_timeout() -> None:
    done = threading.Event()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not done.wait(0.02):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        try:
            assert ask(http=f"http://127.0.0.1:{server.getsockname()[1]}/", timeout=0.5).reason.endswith(
                "no answer within 0.5 s"
            )
        finally:
            done.set()
            thread.join()


def test_what_is_no_http_is_a_bad_answer() -> None:
    def chat(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=chat, args=(server,))
        thread.start()
        found = ask(http=f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join()
    assert not found.ok


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1/", "http://", "http://127.0.0.1:x/", "http://[::1/"])
def test_a_url_that_is_none_is_a_bad_answer(url: str) -> None:
    found = ask(http=url)
    assert not found.ok
    assert found.reason.startswith(f"http {url}: ")


def _certificate(folder: Path) -> Path:
    """A certificate for another name by an unknown authority."""
    from datetime import timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "elsewhere.example")])
    now = SystemClock().utc()
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
    path = folder / "cert.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    return path


def test_https_asks_whether_it_answers_not_who_signed(tmp_path: Path) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(tmp_path))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server) as port:
        assert ask(http=f"https://127.0.0.1:{port}/").ok
        assert "status 500" in ask(http=f"https://127.0.0.1:{port}/500").reason


def test_https_whose_handshake_hangs_ends_with_the_timeout(silent: int) -> None:
    assert ask(http=f"https://127.0.0.1:{silent}/", timeout=0.3).reason.endswith("no answer within 0.3 s")


def test_exec_is_judged_by_its_status_and_shows_its_output() -> None:
    program = [sys.executable, "-ES", "-c", "import os; print(sorted(os.environ)); raise SystemExit(7)"]
    found = ask(exec=program)
    assert found.reason == f"{sys.executable}: status 7"
    assert "'NODE', 'PATH', 'SERVICE'" in found.output
    assert ask(exec=["/bin/true"]).ok


def test_exec_that_hangs_is_killed() -> None:
    found = ask(exec=["/bin/sleep", "60"], timeout=0.2)
    assert found.reason == "its health check `/bin/sleep 60` did not end within 0.2 s"
    assert len(ask(exec=["/bin/sleep", "60", *["0"] * 200], timeout=0.2).reason) < 150


def test_exec_that_does_not_exist_is_a_bad_answer() -> None:
    assert "cannot run /no/such/program" in ask(exec=["/no/such/program"]).reason


def word(watch: Watch, answers: str) -> HealthWord:
    for answer in answers:
        watch = watch.seen(answer == "+")
    return watch.word


@pytest.mark.parametrize(
    "rise, fall, answers, verdict",
    [
        (1, 3, "", HealthWord.UNKNOWN),
        (1, 3, "+", HealthWord.OK),
        (1, 3, "-", HealthWord.UNKNOWN),
        (1, 3, "---", HealthWord.FAILING),
        (1, 3, "+--", HealthWord.OK),
        (1, 3, "+--+--", HealthWord.OK),
        (1, 3, "+---", HealthWord.FAILING),
        (1, 3, "+---+", HealthWord.OK),
        (2, 1, "+-+", HealthWord.FAILING),
        (2, 1, "+-++", HealthWord.OK),
        (3, 3, "+-+-+-", HealthWord.UNKNOWN),
    ],
)
def test_so_many_in_a_row_make_a_verdict(rise: int, fall: int, answers: str, verdict: HealthWord) -> None:
    assert word(Watch(rise, fall), answers) is verdict


@given(st.integers(1, 5), st.integers(1, 5), st.text("+-", max_size=30))
def test_a_verdict_always_has_its_row_behind_it(rise: int, fall: int, answers: str) -> None:
    before, after = word(Watch(rise, fall), answers[:-1]), word(Watch(rise, fall), answers)
    if after is not before:
        row, sign = (rise, "+") if after is HealthWord.OK else (fall, "-")
        assert answers.endswith(sign * row)


def awaited(
    states: list[ServiceStatus], answers: str = "", health: Health | None = None
) -> tuple[Probed, ServiceStatus, float]:
    """await_healthy over readings and answers, the last of each repeated; and how long it took."""
    clock = HandClock()
    left, given_answers = list(states), list(answers)

    def read() -> ServiceStatus:
        return left.pop(0) if len(left) > 1 else left[0]

    def answer(_health: Health) -> Probed:
        one = given_answers.pop(0) if len(given_answers) > 1 else given_answers[0]
        return Probed(one == "+", "answers" if one == "+" else "connection refused", "" if one == "+" else "its output")

    began = clock.now
    verdict, status = await_healthy(health, read, answer, clock, clock.pause)
    return verdict, status, clock.now - began


def reading(state: ServiceState = ServiceState.RUNNING, pid: int | None = 7, reason: str = "") -> ServiceStatus:
    return ServiceStatus("d", state, pid=pid, reason=reason)


def test_well_as_soon_as_the_check_agrees() -> None:
    verdict, _, took = awaited([reading()], "-+", Health(tcp="a:1"))
    assert verdict.ok
    assert took < 1


def test_rise_answers_in_a_row_are_waited_for() -> None:
    few, _, few_s = awaited([reading()], "+", Health(tcp="a:1", rise=1))
    many, _, many_s = awaited([reading()], "++-+", Health(tcp="a:1", rise=5))
    assert few.ok
    assert many.ok
    assert many_s > few_s


def test_not_well_within_the_time_says_what_was_found_last() -> None:
    verdict, _, took = awaited([reading()], "-", Health.model_validate({"tcp": "a:1", "within": 3}))
    assert verdict == Probed(False, "not well within 3 s: connection refused", "its output")
    assert 3 <= took < 3.2


def test_a_check_that_answers_is_not_believed_while_the_manager_says_that_it_does_not_run() -> None:
    starting = reading(ServiceState.STARTING, None, "it ends too soon")
    verdict, _, _ = awaited([starting], "+", Health.model_validate({"tcp": "a:1", "within": 3}))
    assert verdict.reason == "not well within 3 s: it is starting: it ends too soon"


def test_a_failed_service_is_not_waited_for() -> None:
    verdict, status, took = awaited([reading(), reading(ServiceState.FAILED, None, "status 1")], "-", Health(tcp="a:1"))
    assert verdict.reason == "it is failed: status 1"
    assert status.state is ServiceState.FAILED
    assert took < 1


def test_without_a_check_it_has_to_run_with_one_pid() -> None:
    verdict, _, took = awaited([reading()])
    assert verdict.ok
    assert STEADY_S <= took < STEADY_S + 0.3


def test_without_a_check_one_that_is_started_again_and_again_is_not_well() -> None:
    verdict, _, took = awaited([reading(pid=pid // 10) for pid in range(1000)])
    assert verdict == Probed(False, "not well within 20 s: its process does not last")
    assert took >= 20


def test_without_a_check_the_two_seconds_begin_anew_with_a_new_process() -> None:
    verdict, status, took = awaited([*[reading(pid=1)] * 10, reading(ServiceState.STARTING, None), reading(pid=2)])
    assert verdict.ok
    assert status.pid == 2
    assert took > STEADY_S + 1


def test_one_that_its_manager_had_to_start_again_must_last_though_it_answers() -> None:
    health = Health.model_validate({"tcp": "a:1", "within": 10})
    fresh, again = reading(), replace(reading(), restarts=3)
    quick, _, quick_s = awaited([fresh], "+", health)
    lasting, _, lasting_s = awaited([again], "+", health)
    assert quick.ok
    assert lasting.ok
    assert quick_s < 1 < STEADY_S <= lasting_s < STEADY_S + 0.3
    looping, _, took = awaited([replace(reading(pid=pid // 10), restarts=pid) for pid in range(1000)], "+", health)
    assert looping == Probed(False, "not well within 10 s: its process does not last")
    assert took >= 10


def test_an_answer_counts_only_of_the_process_that_is_still_there() -> None:
    health = Health.model_validate({"tcp": "a:1", "within": 10})
    changing, _, took = awaited([reading(pid=pid) for pid in range(1000)], "+", health)
    assert changing == Probed(False, "not well within 10 s: its process does not last")
    assert took >= 10


def test_a_oneshot_is_well_when_it_has_ended() -> None:
    ended = replace(reading(ServiceState.STOPPED, None), oneshot=True)
    verdict, status, took = awaited([reading(ServiceState.STARTING, None), ended], "-", Health(tcp="a:1"))
    assert (verdict, status) == (Probed(True, "it ran to its end"), ended)
    assert took < 1
