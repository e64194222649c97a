from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from syncsrv.clock import SystemClock
from syncsrv.config.model import ManagerKind, Service
from syncsrv.services.base import WORDS_LETTERS, HealthWord, ServiceState, ServiceStatus
from syncsrv.services.health import STEADY_S
from syncsrv.services.reading import Memory, Reader
from tests.services.kit import Fake, FakeManager, HandClock, command


class Hanging(FakeManager):
    def __init__(self, release: threading.Event) -> None:
        super().__init__({})
        self.release = release

    def statuses(self, services: Mapping[str, Service], deadline_s: float) -> dict[str, ServiceStatus]:
        self.release.wait(30)
        return super().statuses({}, deadline_s)


def test_a_manager_that_hangs_costs_only_its_own_services_their_reading() -> None:
    release = threading.Event()
    services = {"a": command(), "b": command(manager="systemd", unit="b.service")}
    managers = {
        ManagerKind.COMMAND: FakeManager({"a": Fake(ServiceState.RUNNING, 7)}),
        ManagerKind.SYSTEMD: Hanging(release),
    }
    try:
        readings = Reader(services, managers, "fw1", SystemClock(), read_s=0.1).states(["a", "b"])
    finally:
        release.set()
    assert readings["a"].state is ServiceState.RUNNING
    assert readings["b"].state is ServiceState.UNKNOWN
    assert readings["b"].reason == "systemd did not answer within 0.1 s"


def reader(service: Service, fake: Fake, clock: HandClock, memory: Memory | None = None) -> Reader:
    return Reader({"a": service}, {service.manager: FakeManager({"a": fake})}, "fw1", clock, memory)


def health(read: Reader) -> tuple[HealthWord, str]:
    status = read.with_health(read.states(["a"]))["a"]
    return status.health, status.reason


def test_health_falls_after_so_many_bad_answers_and_says_why_from_the_first(tmp_path: Path) -> None:
    service = command(health={"exec": ["/bin/test", "-e", f"{tmp_path}/well"], "fall": 2})
    clock = HandClock()
    read = reader(service, Fake(ServiceState.RUNNING, 7), clock)
    (tmp_path / "well").touch()
    assert health(read) == (HealthWord.OK, "")
    (tmp_path / "well").unlink()
    assert health(read) == (HealthWord.OK, "/bin/test: status 1")
    assert health(read) == (HealthWord.FAILING, "/bin/test: status 1")


def test_a_stopped_service_forgets_how_well_it_was() -> None:
    fake = Fake(ServiceState.RUNNING, 7)
    read = reader(command(health={"exec": ["/bin/false"], "fall": 1}), fake, HandClock())
    assert health(read)[0] is HealthWord.FAILING
    fake.state, fake.pid = ServiceState.STOPPED, None
    assert health(read)[0] is HealthWord.NONE
    fake.state, fake.reason = ServiceState.FAILED, "status 1"
    assert health(read) == (HealthWord.FAILING, "status 1")


def test_without_a_check_health_is_unknown_until_one_process_ran_steadily() -> None:
    clock, fake = HandClock(), Fake(ServiceState.RUNNING, 7)
    read = reader(command(health=None), fake, clock)
    assert health(read) == (HealthWord.UNKNOWN, "it has run for less than 2 s")
    clock.now += STEADY_S
    assert health(read) == (HealthWord.OK, "")
    fake.pid = 8
    assert health(read)[0] is HealthWord.UNKNOWN


def test_bad_answers_add_up_over_readers_that_share_their_memory_until_the_check_is_another_one() -> None:
    memory, fake, clock = Memory(), Fake(ServiceState.RUNNING, 7), HandClock()
    bad = command(health={"exec": ["/bin/false"], "fall": 2})
    assert health(reader(bad, fake, clock, memory))[0] is HealthWord.UNKNOWN
    assert health(reader(bad, fake, clock, memory))[0] is HealthWord.FAILING
    other = command(health={"exec": ["/bin/false"], "fall": 3})
    assert health(reader(other, fake, clock, memory))[0] is HealthWord.UNKNOWN


def test_a_manager_that_says_something_of_a_healthy_service_is_heard() -> None:
    read = reader(command(), Fake(ServiceState.RUNNING, 7, reason="it is being stopped"), HandClock())
    assert health(read) == (HealthWord.OK, "it is being stopped")


class Wordy(FakeManager):
    def last_words(self, name: str, service: Service) -> str:
        self.calls.append(("words", name))
        return "long " * 10_000 + name


def test_only_logs_of_what_failed_are_read_and_so_much_of_each() -> None:
    fakes = {
        "runs": Fake(ServiceState.RUNNING, 7),
        "failed": Fake(ServiceState.FAILED),
        "starting": Fake(ServiceState.STARTING),
        "again": Fake(ServiceState.STARTING, restarts=3),
    }
    manager = Wordy(fakes)
    read = Reader(dict.fromkeys(fakes, command()), {ManagerKind.COMMAND: manager}, "fw1", HandClock())
    readings = read.with_logs(read.with_health(read.states(list(fakes))))
    assert sorted(manager.calls) == [("words", "again"), ("words", "failed")]
    assert {name: len(one.log) for name, one in readings.items()} == {
        "runs": 0,
        "failed": WORDS_LETTERS,
        "starting": 0,
        "again": WORDS_LETTERS,
    }
    assert readings["failed"].log.endswith(" failed")
    assert {name for name, one in readings.items() if one.health is HealthWord.FAILING} == {"failed", "again"}
