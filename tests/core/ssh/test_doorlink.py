"""A door that lies: all that core gives it is what it would give an honest one."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from syncsrv.clock import SystemClock
from syncsrv.control.connection import Answer, Connection
from syncsrv.control.dispatch import Caller
from syncsrv.control.doorverbs import TO_CORE, TO_DOOR, Dial, Dialled, pack, unpack
from syncsrv.control.frames import close_fds
from syncsrv.control.serve import Server
from syncsrv.control.shapes import Empty
from syncsrv.control.verbs import Door
from syncsrv.core.ssh.authority import Authority, Keys, PersonKey, Pin
from syncsrv.core.ssh.doorlink import MAX_STREAMS, DoorAwayError, DoorLink
from syncsrv.core.ssh.gitserve import GitPipes, GitRefusedError
from syncsrv.core.ssh.usedlogins import UsedLogins
from syncsrv.core.ssh.wire import string
from syncsrv.errors import SyncsrvError, UsageError
from syncsrv.store.signing import Signer, generate_key, verify_raw
from tests.control.toys import TABLE, Toys
from tests.support.wait import until

H = bytes(range(32))


@dataclass
class Core:
    """Core's half with a socket to be a door on."""

    signer: Signer
    peer: Signer
    keys: Keys
    git_commands: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server = Server(TABLE, Toys().handlers(), node="fw1", version="1.0")
        used = UsedLogins(None)
        self.link = DoorLink(
            new_authority=lambda: Authority(self.signer, lambda: self.keys, used, SystemClock()),
            own_key=self.signer.public_blob,
            serve=self.server.start_socket,
            git=self.git,
            node="fw1",
            version="1.0",
        )
        self.fakes: list[Server] = []

    def git(self, command: str, protocol: str = "") -> GitPipes:
        self.git_commands.append(command)
        if "config" not in command:
            raise GitRefusedError("cannot find this repository")
        pairs = [os.pipe() for _ in range(4)]
        close_fds([pairs[0][0], *(writer for _, writer in pairs[1:])])
        return GitPipes(pairs[0][1], pairs[1][0], pairs[2][0], pairs[3][0])

    def door(self) -> Connection:
        """A door whose every word we choose; it answers nothing that core asks."""
        ours, theirs = socket.socketpair()
        fake = Server(TO_DOOR, {"configure": lambda *_: Empty()}, node="door", version="1.0")
        self.fakes.append(fake)
        met: list[Connection] = []
        fake.start_socket(
            ours, Caller(Door.DOOR, ""), takes_fds=True, on_connection=lambda connection, _: met.append(connection)
        )
        self.link.attach(theirs)
        return until(lambda: met, what="HELLO")[0]

    def close(self) -> None:
        self.link.close()
        self.server.close()
        for fake in self.fakes:
            fake.close()


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Signer, Signer]:
    directory = tmp_path_factory.mktemp("keys")
    for name in ("node", "peer"):
        generate_key(directory / name)
    return Signer.load(directory / "node"), Signer.load(directory / "peer")


@pytest.fixture
def core(signers: tuple[Signer, Signer]) -> Iterator[Core]:
    node, peer = signers
    core = Core(node, peer, Keys({"fw2": Pin("fw2", peer.public_blob, "operator")}, {}))
    yield core
    core.close()


def ask(door: Connection, verb: str, **body: object) -> Answer:
    return door.ask(verb, dict(body), deadline_s=5)


def ticket(core: Core, door: Connection, session: bytes = H) -> str:
    """Whatever the peer really signed gets the ticket that it deserves."""
    ask(door, "sign-kex", hash=pack(session))
    blob = string(session) + b"\x32" + string(b"x") + string(b"ssh-connection") + string(b"publickey") + b"\x01"
    blob += string(b"ssh-ed25519") + string(core.peer.public_blob)
    signature = string(b"ssh-ed25519") + string(core.peer.sign_raw(blob))
    return str(ask(door, "verify-client", blob=pack(blob), signature=pack(signature)).body["ticket"])


def test_every_verb_of_the_door_is_for_the_door_alone() -> None:
    assert all(verb.doors == {Door.DOOR} for verb in (*TO_CORE.values(), *TO_DOOR.values()))


def test_an_honest_door_gets_a_stream_for_the_peer_that_signed(core: Core) -> None:
    door = core.door()
    (fd,) = ask(door, "open-stream", ticket=ticket(core, door)).fds
    frames = Connection(socket.socket(fileno=fd), version="1.0")
    frames.start()
    assert frames.call("who", deadline_s=5)["label"] == "fw2"
    frames.close()


def test_a_hash_is_signed_and_nothing_else(core: Core) -> None:
    door = core.door()
    signature = unpack(ask(door, "sign-kex", hash=pack(H)).body["signature"])
    assert verify_raw(core.signer.public_blob, signature, H)
    for data in (b"SSHSIG" + b"x" * 40, b"", b"x" * 33):
        with pytest.raises(SyncsrvError, match="cannot sign for the door"):
            ask(door, "sign-kex", hash=pack(data))


@pytest.mark.parametrize(
    "lie",
    [
        lambda door, good: ask(door, "open-stream", ticket="made-up"),
        lambda door, good: ask(door, "open-stream", ticket=""),
        lambda door, good: ask(door, "open-git", ticket="made-up", command="git-upload-pack '/config'", protocol=""),
        lambda door, good: ask(door, "verify-client", blob=pack(b"x"), signature=pack(b"x")),
        lambda door, good: ask(door, "verify-host", peer="fw2", hash=pack(H), signature=pack(b"x")),
        lambda door, good: ask(door, "verify-host", peer="fw3", hash=pack(H), signature=pack(b"x")),
        lambda door, good: ask(door, "sign-auth", blob=pack(b"x")),
        lambda door, good: ask(door, "sign-auth", blob=pack(b"SSHSIG")),
    ],
)
def test_a_lie_opens_nothing(core: Core, lie: Callable[[Connection, str], Answer]) -> None:
    door = core.door()
    good = ticket(core, door)
    with pytest.raises(SyncsrvError) as caught:
        lie(door, good)
    assert caught.value.exit_status == 4
    assert core.git_commands == []
    answer = ask(door, "open-stream", ticket=good)  # the honest part still works
    close_fds(answer.fds)


@pytest.mark.parametrize("verb", ["status", "sync", "user-add", "configure", "dial"])
def test_a_door_cannot_ask_what_others_may(core: Core, verb: str) -> None:
    with pytest.raises(UsageError, match="does not know it"):
        ask(core.door(), verb)


def test_what_is_no_base64_is_a_usage_error(core: Core) -> None:
    with pytest.raises(UsageError, match="not base64"):
        ask(core.door(), "sign-kex", hash="%%%")


def test_a_closed_ticket_ends_its_streams_and_opens_no_more(core: Core) -> None:
    door = core.door()
    good = ticket(core, door)
    (fd,) = ask(door, "open-stream", ticket=good).fds
    frames = Connection(socket.socket(fileno=fd), version="1.0")
    frames.start()
    ask(door, "close-ticket", ticket=good)
    until(lambda: frames.ended, what="the stream to end")
    frames.close()
    with pytest.raises(SyncsrvError, match="connection is over"):
        ask(door, "open-stream", ticket=good)


def test_a_ticket_of_one_door_is_nothing_at_the_next(core: Core) -> None:
    first = core.door()
    good = ticket(core, first)
    (fd,) = ask(first, "open-stream", ticket=good).fds
    frames = Connection(socket.socket(fileno=fd), version="1.0")
    frames.start()
    second = core.door()
    until(lambda: first.ended, what="the first door to be let go")
    until(lambda: frames.ended, what="its streams to end")
    frames.close()
    with pytest.raises(SyncsrvError, match="connection is over"):
        ask(second, "open-stream", ticket=good)


def test_revoked_keys_end_streams(core: Core) -> None:
    door = core.door()
    (fd,) = ask(door, "open-stream", ticket=ticket(core, door)).fds
    frames = Connection(socket.socket(fileno=fd), version="1.0")
    frames.start()
    core.link.recheck()
    assert frames.call("who", deadline_s=5)["label"] == "fw2"
    core.keys = Keys({}, {})
    core.link.recheck()
    until(lambda: frames.ended, what="the stream to end")
    frames.close()


def test_other_rights_end_the_streams_that_began_with_the_old_ones(core: Core) -> None:
    door = core.door()
    good = ticket(core, door)
    (fd,) = ask(door, "open-stream", ticket=good).fds
    frames = Connection(socket.socket(fileno=fd), version="1.0")
    frames.start()
    core.keys = Keys({"fw2": Pin("fw2", core.peer.public_blob, "viewer")}, {})
    core.link.recheck()
    until(lambda: frames.ended, what="the stream to end")
    frames.close()
    (fd,) = ask(door, "open-stream", ticket=good).fds
    again = Connection(socket.socket(fileno=fd), version="1.0")
    again.start()
    assert again.call("who", deadline_s=5)["power"] == "viewer"
    again.close()


def test_streams_of_one_ticket_are_bounded_and_those_that_ended_do_not_count(core: Core) -> None:
    door = core.door()
    good = ticket(core, door)
    fds = [fd for _ in range(MAX_STREAMS) for fd in ask(door, "open-stream", ticket=good).fds]
    with pytest.raises(SyncsrvError, match="too many streams"):
        ask(door, "open-stream", ticket=good)
    close_fds(fds)

    def another() -> bool:
        try:
            close_fds(ask(door, "open-stream", ticket=good).fds)
        except SyncsrvError:
            return False
        return True

    until(another, what="room for another stream")


def test_git_pipes_travel_and_a_refusal_is_a_sentence(core: Core) -> None:
    door = core.door()
    with pytest.raises(SyncsrvError, match="for people with a listed key"):
        ask(door, "open-git", ticket=ticket(core, door), command="git-upload-pack '/config'", protocol="")
    peer = core.peer.public_blob
    core.keys = Keys({}, {peer: PersonKey("alice", peer, "viewer")})
    good = ticket(core, door, b"another session".ljust(32, b"."))
    answer = ask(door, "open-git", ticket=good, command="git-upload-pack '/config'", protocol="version=2")
    assert len(answer.fds) == 4
    close_fds(answer.fds)
    with pytest.raises(SyncsrvError, match="cannot find this repository"):
        ask(door, "open-git", ticket=good, command="git-upload-pack '/x'", protocol="")


def dial_request() -> Dial:
    return Dial("fw2", "127.0.0.1", 1, "", "", deadline_s=0.2)


def test_without_a_door_there_is_no_dialling(core: Core) -> None:
    assert not core.link.wait(0)
    with pytest.raises(DoorAwayError, match="the door process is not running"):
        core.link.dial(dial_request())
    core.link.hang_up("fw2")


def test_a_door_that_does_not_dial_leaves_nothing_open(core: Core) -> None:
    core.door()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(UsageError, match="does not know it"):
        core.link.dial(dial_request())
    until(lambda: len(os.listdir("/proc/self/fd")) == before, what="the descriptors to be closed")


def test_results_of_a_dial_are_words_of_the_table() -> None:
    assert {str(word) for word in Dialled} >= {"open", "wrong-host-key", "not-known-there", "timeout", "unreachable"}
