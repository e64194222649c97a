"""Two nodes through two real door processes."""

from __future__ import annotations

import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.control.frames import TooLargeError
from syncsrv.core.ssh.authority import Keys
from syncsrv.core.ssh.peerlink import (
    DOOR_S,
    NotKnownThereError,
    PeerAddress,
    PeerUnreachableError,
    UnknownPeerError,
    WrongHostKeyError,
    resolve,
)
from syncsrv.errors import DeniedError, RefusedError, UnreachableError
from syncsrv.store.signing import fingerprint
from tests.support.wait import until
from tests.transport.fakecore import Node, node

Pair = tuple[Node, Node]


def test_a_peer_answers_as_itself_and_names_its_person(pair: Pair) -> None:
    fw1, fw2 = pair
    who = fw1.links.call("fw2", "who", deadline_s=10)
    assert who == {"label": "fw1", "power": "operator", "door": "peer", "via": "peer"}
    assert fw2.links.call("fw1", "who", deadline_s=10, person="alice")["label"] == "alice via fw2"
    assert fw1.links.version("fw2") == "1.0"


def test_what_the_peer_answers_arrives_as_it_is(pair: Pair) -> None:
    fw1, fw2 = pair
    fw2.knows(fw1, may="viewer")
    with pytest.raises(RefusedError) as refused:
        fw1.links.call("fw2", "refuse", deadline_s=10)
    assert refused.value.guards == ("drift", "commands")
    with pytest.raises(DeniedError, match="needs the role operator, fw1 is viewer"):
        fw1.links.call("fw2", "change", deadline_s=10)


def test_large_answers_and_streams_pass(pair: Pair) -> None:
    fw1, _ = pair
    text = "x" * 1_000_000
    assert fw1.links.call("fw2", "echo", {"text": text}, deadline_s=30)["text"] == text
    with pytest.raises(TooLargeError):
        fw1.links.call("fw2", "echo", {"text": "ö" * 1_000_000}, deadline_s=30)
    with fw1.links.stream("fw2", "endless", deadline_s=60) as stream:
        chunks = iter(stream)
        got = sum(len(next(chunks)) for _ in range(100))
    assert got == 30_000_000
    assert fw1.links.call("fw2", "echo", {"text": "x"}, deadline_s=10)["text"] == "x"


def test_many_questions_at_once_share_one_connection(pair: Pair) -> None:
    fw1, fw2 = pair
    answers: list[str] = []
    before = fw2.log.count("logged in as fw1")

    def ask(number: int) -> None:
        answers.append(fw1.links.call("fw2", "echo", {"text": str(number)}, deadline_s=20)["text"])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers, key=int) == [str(number) for number in range(30)]
    until(lambda: fw2.log.count("logged in as fw1") == before + 1, what="one login in the log")


def test_an_unknown_peer_is_a_usage_error(pair: Pair) -> None:
    with pytest.raises(UnknownPeerError, match=r"node\.yaml has no such peer; the peers are: fw2"):
        pair[0].links.call("fw9", "who", deadline_s=1)


def test_a_wrong_host_key_names_both_keys_and_nothing_was_asked(pair: Pair) -> None:
    fw1, fw2 = pair
    pinned = fw1.signer.public_blob
    fw1.peers["fw2"] = replace(fw1.peers["fw2"], key=pinned)
    with pytest.raises(WrongHostKeyError) as caught:
        fw1.links.call("fw2", "change", deadline_s=10)
    message = str(caught.value)
    assert f"cannot trust fw2 at {fw2.address}: it shows the key {fingerprint(fw2.signer.public_blob)}" in message
    assert f"has pinned {fingerprint(pinned)}" in message
    assert "correct peers.fw2.key" in message
    assert caught.value.exit_status == 3
    assert fw2.toys.handled == []


def test_a_host_whose_signature_core_does_not_accept_is_refused_although_the_door_let_it_pass(pair: Pair) -> None:
    """The key that the door compares with comes from core with the question; core verifies by what is pinned now."""
    fw1, _ = pair
    fw1.keys = Keys({}, {})
    with pytest.raises(
        PeerUnreachableError, match="core stopped it: cannot admit the other side: no peer is called fw2"
    ):
        fw1.links.call("fw2", "who", deadline_s=10)


def test_a_peer_that_does_not_know_our_key_says_so(pair: Pair) -> None:
    fw1, fw2 = pair
    fw2.keys = Keys({}, {})
    with pytest.raises(NotKnownThereError) as caught:
        fw1.links.call("fw2", "who", deadline_s=10)
    assert caught.value.message == (
        f"cannot log in at fw2: it does not know this node's key ({fingerprint(fw1.signer.public_blob)})"
    )
    assert "on fw2" in caught.value.remedy
    assert caught.value.exit_status == 3


def test_nobody_listens(pair: Pair) -> None:
    fw1, _ = pair
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    fw1.peers["fw2"] = replace(fw1.peers["fw2"], address=f"127.0.0.1:{port}")
    with pytest.raises(PeerUnreachableError, match=r"cannot reach fw2: connection refused at 127\.0\.0\.1"):
        fw1.links.call("fw2", "who", deadline_s=10)


def test_a_server_that_accepts_and_says_nothing_ends_within_the_deadline(pair: Pair) -> None:
    fw1, _ = pair
    with socket.create_server(("127.0.0.1", 0)) as silent:
        fw1.peers["fw2"] = replace(fw1.peers["fw2"], address=f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(PeerUnreachableError, match=r"no answer within 0\.5 s"):
            fw1.links.call("fw2", "who", deadline_s=0.5)


def test_a_server_that_is_no_ssh_server_is_named(pair: Pair) -> None:
    fw1, _ = pair
    with socket.create_server(("127.0.0.1", 0)) as other:
        fw1.peers["fw2"] = replace(fw1.peers["fw2"], address=f"127.0.0.1:{other.getsockname()[1]}")

        def hang_up() -> None:
            sock, _ = other.accept()
            sock.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(PeerUnreachableError, match="may not list this node's address"):
            fw1.links.call("fw2", "who", deadline_s=5)
        thread.join()


def test_a_slow_answer_is_unreachable_and_the_next_question_gets_a_connection_of_its_own(pair: Pair) -> None:
    fw1, _ = pair
    with pytest.raises(PeerUnreachableError, match='it did not answer "wait" within'):
        fw1.links.call("fw2", "wait", deadline_s=0.5)
    assert fw1.links.call("fw2", "echo", {"text": "x"}, deadline_s=10)["text"] == "x"


def test_what_is_under_way_on_a_connection_that_went_slow_may_end(pair: Pair) -> None:
    fw1, _ = pair
    with fw1.links.stream("fw2", "endless", deadline_s=60) as stream:
        chunks = iter(stream)
        assert next(chunks)
        with pytest.raises(UnreachableError):
            fw1.links.call("fw2", "wait", deadline_s=0.3)
        assert fw1.links.call("fw2", "echo", {"text": "x"}, deadline_s=10)["text"] == "x"
        for _ in range(20):
            assert next(chunks)


def test_a_peer_whose_door_is_killed_within_an_answer_and_comes_back(own_pair: Pair) -> None:
    fw1, fw2 = own_pair
    assert fw1.links.call("fw2", "echo", {"text": "x"}, deadline_s=10)
    caught: list[Exception] = []

    def ask() -> None:
        try:
            fw1.links.call("fw2", "wait", deadline_s=30)
        except UnreachableError as error:
            caught.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    assert fw2.toys.entered.wait(10)
    assert fw2.door is not None
    fw2.door.kill()
    asking.join(10)
    assert not asking.is_alive()
    assert 'ended before it answered "wait"' in str(caught[0])
    fw2.door.wait(10)
    fw2.door = None
    fw2.start_door()
    assert fw1.links.call("fw2", "echo", {"text": "back"}, deadline_s=10)["text"] == "back"


def test_a_frozen_peer_is_noticed_by_the_deadline_and_is_back_when_it_wakes(own_pair: Pair) -> None:
    fw1, fw2 = own_pair
    assert fw1.links.call("fw2", "echo", {"text": "x"}, deadline_s=10)
    assert fw2.door is not None
    fw2.door.send_signal(signal.SIGSTOP)
    until(lambda: _is_frozen(fw2), what="every thread of it to stand still")
    try:
        for _ in range(2):  # the second finds the kept connection suspect and dials anew: a timeout as well
            with pytest.raises(PeerUnreachableError):
                fw1.links.call("fw2", "echo", {"text": "x"}, deadline_s=1)
    finally:
        fw2.door.send_signal(signal.SIGCONT)
    until(lambda: _answers(fw1), what="the peer to be back")


def _is_frozen(node: Node) -> bool:
    """The signal is sent before it has reached every thread: one may answer meanwhile."""
    assert node.door is not None
    try:
        stats = [path.read_text() for path in Path(f"/proc/{node.door.pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):  # one has just ended
        return False
    return all(text.rpartition(")")[2].split()[0] == "T" for text in stats)


def _answers(node: Node) -> bool:
    try:
        return bool(node.links.call("fw2", "echo", {"text": "x"}, deadline_s=3))
    except UnreachableError:
        return False


def test_our_own_door_is_killed_and_replaced(own_pair: Pair) -> None:
    fw1, _ = own_pair
    assert fw1.links.call("fw2", "echo", {"text": "x"}, deadline_s=10)
    assert fw1.door is not None
    fw1.door.kill()
    fw1.door.wait(10)
    fw1.door = None
    until(lambda: not fw1.link.wait(0), what="core to notice that its door is gone")
    with pytest.raises(PeerUnreachableError, match="the door process is not running"):
        fw1.links.call("fw2", "echo", {"text": "x"}, deadline_s=0.5)
    with ThreadPoolExecutor(1) as waiting:
        asked = waiting.submit(fw1.links.call, "fw2", "echo", {"text": "x"}, deadline_s=10)
        fw1.start_door()
        assert asked.result(20)["text"] == "x", "who asks while the door comes back is answered"


def test_who_waits_for_a_door_is_let_go_when_core_ends(tmp_path: Path, fw2: Node) -> None:
    with node("fw9", tmp_path / "fw9", door=False) as fw9, ThreadPoolExecutor(1) as waiting:
        fw9.knows(fw2)
        asked = waiting.submit(fw9.links.call, "fw2", "who", deadline_s=100)
        fw9.link.end_waiting()
        with pytest.raises(PeerUnreachableError, match="door process is not running"):
            asked.result(DOOR_S / 2)


def test_a_key_that_is_no_longer_pinned_ends_the_streams_and_opens_none(pair: Pair) -> None:
    fw1, fw2 = pair
    assert fw1.links.call("fw2", "echo", {"text": "x"}, deadline_s=10)
    fw2.keys = Keys({}, {})
    fw2.link.recheck()
    until(lambda: not _answers(fw1), what="fw1 to be out")
    with pytest.raises(UnreachableError):
        fw1.links.call("fw2", "echo", {"text": "x"}, deadline_s=3)


def test_a_peer_that_is_hung_up_on_can_be_dialled_again(pair: Pair) -> None:
    fw1, fw2 = pair
    before = fw2.log.count("logged in as fw1")
    assert fw1.links.call("fw2", "echo", {"text": "x"}, deadline_s=10)
    fw1.links.hang_up("fw2")
    assert fw1.links.call("fw2", "echo", {"text": "x"}, deadline_s=10)["text"] == "x"
    until(lambda: fw2.log.count("logged in as fw1") == before + 2, what="two logins in the log")


def test_without_a_door_it_says_so(tmp_path: Path, fw2: Node) -> None:
    with node("fw9", tmp_path / "fw9", door=False) as fw9:
        fw9.knows(fw2)
        with pytest.raises(PeerUnreachableError, match="door process is not running"):
            fw9.links.call("fw2", "who", deadline_s=1)


@pytest.mark.parametrize("address", ["", "fw2", "fw2:", ":22", "fw2:x", "fw2:0", "fw2:70000"])
def test_an_address_that_is_none_is_named_with_its_key(address: str) -> None:
    with pytest.raises(PeerUnreachableError) as caught:
        resolve(PeerAddress("fw2", address, b""), 1)
    assert "peers.fw2.address" in caught.value.remedy


def test_addresses_are_resolved_in_core() -> None:
    assert resolve(PeerAddress("fw2", "192.0.2.1:8022", b""), 1) == ("192.0.2.1", 8022)
    assert resolve(PeerAddress("fw2", "[2001:db8::1]:22", b""), 1) == ("2001:db8::1", 22)
    assert resolve(PeerAddress("fw2", "localhost:22", b""), 5)[0] in ("127.0.0.1", "::1")
    with pytest.raises(PeerUnreachableError, match=r"no-such-host.invalid"):
        resolve(PeerAddress("fw2", "no-such-host.invalid:22", b""), 10)


def test_connections_leave_nothing_behind(own_pair: Pair) -> None:
    fw1, fw2 = own_pair
    assert fw1.links.call("fw2", "echo", {"text": "x"}, deadline_s=10)
    assert fw1.door is not None
    assert fw2.door is not None
    doors = (fw1.door.pid, fw2.door.pid) if os.geteuid() == 0 else ()  # their /proc is closed to others
    pids = (os.getpid(), *doors)

    def descriptors() -> tuple[int, ...]:
        return tuple(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)

    fw1.links.hang_up("fw2")
    idle = until_stable(descriptors)
    for _ in range(5):
        assert fw1.links.call("fw2", "echo", {"text": "x"}, deadline_s=10)
        fw1.links.hang_up("fw2")
    until(lambda: descriptors() <= idle, what=f"descriptors to be {idle} again")


def until_stable(read: object) -> tuple[int, ...]:
    assert callable(read)
    last: list[tuple[int, ...]] = []

    def same() -> bool:
        last.append(read())
        return len(last) > 20 and len(set(last[-20:])) == 1

    until(same, what="the descriptors to settle")
    return last[-1]
