from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from syncsrv.control.ask import Client, CoreAwayError
from syncsrv.control.connection import Connection
from syncsrv.control.dispatch import Caller
from syncsrv.control.errors import NotLoggedInError
from syncsrv.control.frames import (
    HEADER,
    ConnectionLostError,
    Frame,
    Kind,
    ProtocolMismatchError,
    Wire,
    encode_json,
)
from syncsrv.control.serve import Server
from syncsrv.control.sockets import SocketInUseError
from syncsrv.control.verbs import Door
from syncsrv.control.waiting import NoAnswerError
from syncsrv.errors import DeniedError, RefusedError, SyncsrvError, UnreachableError, UsageError
from tests.control.conftest import Connect
from tests.control.toys import TABLE, Toys
from tests.support.wait import until


def test_a_question_is_answered(core_sock: Path) -> None:
    with Client(core_sock) as client:
        assert client.call("echo", {"text": "ö", "names": ["a"]}, deadline_s=5) == {
            "text": "ö",
            "number": 0,
            "names": ["a"],
        }
        assert client.call("echo", {"text": "again"}, deadline_s=5)["text"] == "again"


def test_the_socket_has_its_mode_and_goes_with_the_server(server: Server, core_sock: Path) -> None:
    assert stat.S_IMODE(core_sock.stat().st_mode) == 0o600
    server.close()
    assert not core_sock.exists()


def test_web_sock_gets_its_group(server: Server, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to give a socket to a group")
    server.serve_unix(tmp_path / "web.sock", Door.WEB, mode=0o660, group=65534)
    status = (tmp_path / "web.sock").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o660, 65534)


def test_a_path_longer_than_the_kernel_takes_works(server: Server, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    server.serve_unix(deep / "core.sock", Door.LOCAL, mode=0o600)
    with Client(deep / "core.sock") as client:
        assert client.call("echo", {"text": "x"}, deadline_s=5)["text"] == "x"


def test_a_socket_left_by_a_dead_process_is_replaced(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "core.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server.serve_unix(path, Door.LOCAL, mode=0o600)
    with Client(path) as client:
        assert client.call("echo", {"text": "x"}, deadline_s=5)["text"] == "x"


def test_a_second_core_is_refused_and_the_first_lives_on(core_sock: Path, toys: Toys) -> None:
    second = Server(TABLE, toys.handlers(), node="fw1", version="1.0")
    with pytest.raises(SocketInUseError, match="another process"):
        second.serve_unix(core_sock, Door.LOCAL, mode=0o600)
    with Client(core_sock) as client:
        assert client.call("echo", {"text": "x"}, deadline_s=5)["text"] == "x"


@pytest.mark.parametrize("left", [False, True])
def test_without_core_the_error_says_what_to_do(tmp_path: Path, left: bool) -> None:
    path = tmp_path / "core.sock"
    if left:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    with pytest.raises(CoreAwayError) as caught:
        Client(path).call("echo", deadline_s=1)
    assert str(caught.value).startswith(f"cannot ask core at {path}: it is not running")
    assert str(caught.value).endswith("where that is not installed, with `syncsrv serve`")
    assert caught.value.exit_status == 1


def test_on_core_sock_the_caller_is_an_admin_by_the_kernels_word_or_the_name_it_gives(core_sock: Path) -> None:
    with Client(core_sock) as client:
        who = client.call("who", deadline_s=5)
        assert (who["power"], who["door"], who["via"]) == ("admin", "local", "cli")
        assert who["label"]
    with Client(core_sock, person="alice") as client:
        assert client.call("who", deadline_s=5)["label"] == "alice"


@pytest.mark.parametrize("name", ["a\nTrailer: x", "a <b>", "x" * 65, " a", "\x1b[31m"])
def test_a_name_that_could_forge_a_trailer_is_refused(core_sock: Path, name: str) -> None:
    with Client(core_sock, person=name) as client, pytest.raises(UsageError, match="cannot act for this person"):
        client.call("who", deadline_s=5)


def test_a_peers_person_is_recorded_as_via_that_peer_and_elsewhere_the_name_counts_for_nothing(
    connect: Connect,
) -> None:
    peer = connect(Caller(Door.PEER, "operator", node="fw2", via="peer"))
    assert peer.call("who", deadline_s=5)["label"] == "fw2"
    assert peer.call("who", deadline_s=5, person="alice")["label"] == "alice via fw2"
    person = connect(Caller(Door.PERSON, "viewer", "bob", via="ssh"))
    assert person.call("who", deadline_s=5, person="alice")["label"] == "bob"


def test_the_door_and_the_power_are_checked_before_the_handler_runs(connect: Connect, toys: Toys) -> None:
    viewer = connect(Caller(Door.PERSON, "viewer", "bob"))
    with pytest.raises(DeniedError, match="needs the role operator, bob is viewer"):
        viewer.call("change", deadline_s=5)
    operator = connect(Caller(Door.PEER, "operator", node="fw2"))
    with pytest.raises(UsageError, match="does not know it"):
        operator.call("own", deadline_s=5)
    with pytest.raises(DeniedError, match="it is for web only"):
        connect().call("login", deadline_s=5)
    assert toys.handled == []
    assert operator.call("change", deadline_s=5) == {}
    assert toys.handled == ["change"]


def test_a_verb_without_a_power_is_for_those_who_have_none_yet(connect: Connect) -> None:
    page = connect(Caller(Door.WEB, ""))
    assert page.call("login", deadline_s=5) == {}
    with pytest.raises(NotLoggedInError, match="nobody is logged in"):
        page.call("echo", {"text": "x"}, deadline_s=5)


@pytest.mark.parametrize("verb", ["ecko", "unhandled", "x" * 1000])
def test_an_unknown_verb_is_named_with_a_remedy(connect: Connect, verb: str) -> None:
    with pytest.raises(UsageError, match="does not know it") as caught:
        connect().call(verb, deadline_s=5)
    assert caught.value.exit_status == 2
    if verb == "ecko":
        assert "did you mean echo?" in caught.value.remedy


def test_a_bad_field_is_named_and_its_value_is_not_repeated(connect: Connect) -> None:
    with pytest.raises(UsageError) as caught:
        connect().call("echo", {"text": "x", "number": "hunter2"}, deadline_s=5)
    assert 'cannot do "echo": field number' in str(caught.value)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(UsageError, match=r"there is no field nmber \(did you mean number\?\)"):
        connect().call("echo", {"text": "x", "nmber": 1}, deadline_s=5)


def test_errors_arrive_as_what_they_are(connect: Connect) -> None:
    with pytest.raises(RefusedError) as refused:
        connect().call("refuse", deadline_s=5)
    assert refused.value.guards == ("drift", "commands")
    assert (refused.value.exit_status, refused.value.remedy) == (4, "force them")
    with pytest.raises(UnreachableError) as away:
        connect().call("away", deadline_s=5)
    assert away.value.exit_status == 3
    assert "\x1b" not in away.value.message


@pytest.mark.parametrize("verb", ["crash", "wrong-type"])
def test_a_fault_of_ours_is_named_by_its_request_and_tells_nothing(
    connect: Connect, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    connection = connect()
    with pytest.raises(SyncsrvError) as caught:
        connection.call(verb, deadline_s=5)
    assert caught.value.code == "internal"
    assert "a secret" not in str(caught.value)
    request = caught.value.message.split("(request ")[1].rstrip(")")
    assert request in caplog.text
    assert "Traceback" in caplog.text
    assert connection.call("echo", {"text": "still here"}, deadline_s=5)["text"] == "still here"


def test_a_slow_handler_holds_up_nothing_else_on_its_connection(connect: Connect, toys: Toys) -> None:
    connection = connect()
    slow = threading.Thread(target=lambda: connection.call("wait", deadline_s=30))
    slow.start()
    assert toys.entered.wait(10)
    assert connection.call("echo", {"text": "x"}, deadline_s=5)["text"] == "x"
    toys.release.set()
    slow.join(10)
    assert not slow.is_alive()


def test_too_many_requests_at_once_are_answered_as_busy(connect: Connect, toys: Toys, server: Server) -> None:
    connection = connect()
    threads = [threading.Thread(target=lambda: connection.call("wait", deadline_s=30)) for _ in range(4)]
    for thread in threads:
        thread.start()

    until(lambda: len(toys.inside) == 4, what="four requests under way")
    with pytest.raises(SyncsrvError) as caught:
        connection.call("echo", {"text": "x"}, deadline_s=5)
    assert caught.value.code == "busy"
    assert server.counts["busy"] == 1
    toys.release.set()
    for thread in threads:
        thread.join(10)

    def free() -> bool:
        try:
            return bool(connection.call("echo", {"text": "x"}, deadline_s=5))
        except SyncsrvError:
            return False

    until(free, what="room for another request")


def test_every_call_ends_at_its_deadline_and_the_handler_learns_it(connect: Connect, toys: Toys) -> None:
    connection = connect()
    with pytest.raises(NoAnswerError, match=r'cannot get an answer to "wait": none came within 0.05 s'):
        connection.call("wait", deadline_s=0.05)
    assert connection.call("echo", {"text": "x"}, deadline_s=5)["text"] == "x"
    toys.release.set()
    assert toys.gone.wait(10)


def test_a_server_that_ends_ends_the_calls_that_wait(connect: Connect, toys: Toys, server: Server) -> None:
    connection = connect()
    caught: list[SyncsrvError] = []

    def ask() -> None:
        try:
            connection.call("wait", deadline_s=30)
        except SyncsrvError as error:
            caught.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    assert toys.entered.wait(10)
    closing = threading.Thread(target=server.close)
    closing.start()
    asking.join(10)
    assert isinstance(caught[0], ConnectionLostError)
    assert closing.is_alive()  # close() waits for the handler
    toys.release.set()
    closing.join(10)
    assert not closing.is_alive()


def test_a_client_asks_again_when_core_was_restarted(tmp_path: Path) -> None:
    path = tmp_path / "core.sock"
    client = Client(path)
    for _ in range(2):
        server = Server(TABLE, Toys().handlers(), node="fw1", version="1.0")
        server.serve_unix(path, Door.LOCAL, mode=0o600)
        assert client.call("echo", {"text": "x"}, deadline_s=5)["text"] == "x"
        server.close()
    client.close()


def test_core_that_dies_within_an_answer_is_named(tmp_path: Path) -> None:
    path = tmp_path / "core.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def half() -> None:
            sock, _ = listener.accept()
            with sock:
                wire = Wire(sock)
                wire.greet("1.0", "fw1", 5)
                wire.read(5)
                sock.sendall(HEADER.pack(100, Kind.REPLY, 1) + b"{")

        thread = threading.Thread(target=half)
        thread.start()
        with pytest.raises(CoreAwayError, match="ended within a frame"):
            Client(path).call("status", deadline_s=5)
        thread.join()


def test_a_silent_core_is_named_within_the_deadline(tmp_path: Path) -> None:
    path = tmp_path / "core.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        sock, theirs = socket.socketpair()
        with sock, theirs, pytest.raises(ConnectionLostError, match="stopped talking"):
            Connection(sock).start(0.05)


def test_a_stream_brings_its_reply_and_then_its_bytes(connect: Connect) -> None:
    with connect().stream("count", {"number": 100}, deadline_s=5) as stream:
        assert stream.reply == {"number": 100}
        assert b"".join(stream) == bytes(range(100))


def test_a_stream_that_breaks_raises_where_it_is_read(connect: Connect) -> None:
    chunks = iter(connect().stream("breaks", deadline_s=5))
    assert next(chunks) == b"one"
    with pytest.raises(RefusedError, match="it broke"):
        next(chunks)


def test_a_stream_that_nobody_reads_further_is_stopped_and_the_connection_lives(connect: Connect, toys: Toys) -> None:
    connection = connect()
    with connection.stream("endless", deadline_s=30) as stream:
        assert next(iter(stream))
    assert toys.closed.wait(10)
    assert connection.call("echo", {"text": "x"}, deadline_s=5)["text"] == "x"


def test_a_call_is_not_answered_by_a_stream_nor_a_stream_by_a_call(connect: Connect) -> None:
    with connect().stream("count", {"number": 0}, deadline_s=5) as stream:
        assert b"".join(stream) == b""
    connection = connect()
    stream = connection.stream("echo", {"text": "x"}, deadline_s=0.2)
    with pytest.raises(NoAnswerError):
        list(stream)


def test_descriptors_go_in_and_come_back(connect: Connect) -> None:
    reader, writer = os.pipe()
    answer = connect(Caller(Door.DOOR, "admin"), takes_fds=True).ask("swap", deadline_s=5, fds=[writer])
    os.close(writer)
    assert os.read(reader, 100) == b"from the handler"
    assert os.read(reader, 100) == b""
    (fd,) = answer.fds
    assert os.read(fd, 100) == b"from a pipe"
    assert os.read(fd, 100) == b""
    os.close(fd)
    os.close(reader)


def test_both_sides_may_ask(toys: Toys, server: Server) -> None:
    other = Server(TABLE, Toys().handlers(), node="fw2", version="1.0")
    ours, theirs = socket.socketpair()
    met: list[Connection] = []
    server.start_socket(theirs, Caller(Door.DOOR, "admin"), on_connection=lambda connection, _: met.append(connection))
    connection = other.serve_socket(ours, Caller(Door.DOOR, "admin"))
    (back,) = until(lambda: met, what="HELLO")
    assert connection.call("echo", {"text": "there"}, deadline_s=5)["text"] == "there"
    assert back.call("echo", {"text": "and back"}, deadline_s=5)["text"] == "and back"
    assert (connection.hello.node, back.hello.node) == ("fw1", "fw2")
    other.close()


def raw_client(server: Server) -> socket.socket:
    ours, theirs = socket.socketpair()
    server.start_socket(theirs, Caller(Door.PEER, "operator", node="fw2"))
    return ours


@pytest.mark.parametrize(
    "payload, kind, count",
    [
        (b"not json", Kind.REQUEST, "bad frame: json"),
        (b"[]", Kind.REQUEST, "bad frame: request"),
        (b'{"verb":1}', Kind.REQUEST, "bad frame: request"),
        (b'{"verb":"echo","admin":true}', Kind.REQUEST, "bad frame: request"),
        (b'{"verb":"echo","as":1}', Kind.REQUEST, "bad frame: request"),
        (b'{"verb":"echo","from":1}', Kind.REQUEST, "bad frame: request"),
        (b'{"verb":"echo","form":"x"}', Kind.REQUEST, "bad frame: request"),
        (b"{}", Kind.HELLO, "bad frame: hello"),
    ],
)
def test_garbage_closes_the_connection_and_is_counted(server: Server, payload: bytes, kind: Kind, count: str) -> None:
    with raw_client(server) as sock:
        wire = Wire(sock)
        wire.greet("1.0", "fw2", 5)
        wire.send(Frame(kind, 1, payload), 5)
        assert wire.read(5) is None
    until(lambda: server.counts[count] == 1, what=f"{count} to be counted, not {server.counts}")


def test_a_connection_that_never_says_hello_is_closed(server: Server) -> None:
    with raw_client(server) as sock:
        assert Wire(sock).read(5) is not None  # its HELLO
        assert Wire(sock).read(5) is None


def test_a_call_number_in_use_is_a_bad_frame(server: Server, toys: Toys) -> None:
    with raw_client(server) as sock:
        wire = Wire(sock)
        wire.greet("1.0", "fw2", 5)
        wire.send(Frame(Kind.REQUEST, 1, encode_json({"verb": "wait"})), 5)
        assert toys.entered.wait(10)
        wire.send(Frame(Kind.REQUEST, 1, encode_json({"verb": "wait"})), 5)
        assert wire.read(5) is None
    until(lambda: server.counts["bad frame: number"] == 1)


def test_an_old_peer_is_told_which_protocol_is_spoken_here(server: Server) -> None:
    with raw_client(server) as sock:
        hello = b'{"protocol":0,"version":"0.1","node":"fw2"}'
        sock.sendall(HEADER.pack(len(hello), Kind.HELLO, 0) + hello)
        frame = Wire(sock).read(5)
        assert frame is not None
        assert b'"protocol":1' in frame.payload


def test_a_client_names_the_protocol_mismatch(tmp_path: Path) -> None:
    path = tmp_path / "core.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def old() -> None:
            sock, _ = listener.accept()
            with sock:
                Wire(sock).send(Frame(Kind.HELLO, 0, b'{"protocol":99,"version":"3.0","node":"fw1"}'), 5)
                Wire(sock).read(5)

        thread = threading.Thread(target=old)
        thread.start()
        with pytest.raises(ProtocolMismatchError) as caught:
            Client(path).call("status", deadline_s=5)
        thread.join()
    assert caught.value.code == "protocol"
    assert "same version" in caught.value.remedy


def test_connections_beyond_the_limit_are_closed_and_those_that_are_there_work_on(
    server: Server, core_sock: Path
) -> None:
    clients = [Client(core_sock) for _ in range(8)]
    for client in clients:
        client.call("echo", {"text": "x"}, deadline_s=5)
    with pytest.raises(CoreAwayError):
        Client(core_sock).call("echo", {"text": "x"}, deadline_s=5)
    assert server.counts["too many connections"] == 1
    for client in clients:
        assert client.call("echo", {"text": "x"}, deadline_s=5)["text"] == "x"
        client.close()

    def works() -> bool:
        try:
            with Client(core_sock) as client:
                return bool(client.call("echo", {"text": "x"}, deadline_s=5))
        except CoreAwayError:
            return False

    until(works, what="room for a new connection")


def test_connections_of_one_door_do_not_take_the_room_of_another(
    server: Server, core_sock: Path, connect: Connect
) -> None:
    for _ in range(10):
        connect(Caller(Door.PEER, "operator", node="fw2"))
    with Client(core_sock) as client:
        assert client.call("echo", {"text": "x"}, deadline_s=5)["text"] == "x"


def test_no_thread_and_no_descriptor_is_left(tmp_path: Path, toys: Toys) -> None:
    def once() -> None:
        server = Server(TABLE, toys.handlers(), node="fw1", version="1.0")
        server.serve_unix(tmp_path / "s", Door.LOCAL, mode=0o600)
        for _ in range(5):
            with Client(tmp_path / "s") as client:
                client.call("echo", {"text": "x"}, deadline_s=5)
        server.close()

    once()
    before = len(os.listdir("/proc/self/fd"))
    once()
    assert len(os.listdir("/proc/self/fd")) == before
    assert not [thread.name for thread in threading.enumerate() if "request" in thread.name or "frames" in thread.name]
