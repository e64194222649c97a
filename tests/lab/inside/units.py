"""Units of the machine that a test runs in, and services of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from syncsrv.clock import Clock, SystemClock
from syncsrv.config.model import ManagerKind, Service
from syncsrv.services.base import ServiceStatus
from syncsrv.services.control import Services
from syncsrv.services.systemd import Systemd
from tests.services.kit import Remembered

FOLDER = Path("/etc/systemd/system")


def systemctl(*words: str, check: bool = True) -> str:
    """What it says; for what a test does behind our back."""
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, timeout=60, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


class Units:
    """Unit files that go with the test, and what runs by them."""

    def __init__(self) -> None:
        self._names: list[str] = []

    def put(self, name: str, service: str, *, section: str = "Service", unit: str = "", install: str = "") -> None:
        """A unit file, and systemd has read it."""
        text = f"[Unit]\n{unit}\n[{section}]\n{service}\n" + (f"[Install]\n{install}\n" if install else "")
        (FOLDER / name).write_text(text)
        self._names.append(name)
        systemctl("daemon-reload")

    def keep(self) -> None:
        """They stay: the machine is switched off next."""
        self._names.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        parts = (name.partition("@.") for name in self._names)
        patterns = [f"{stem}@*.{rest}" if at else stem for stem, at, rest in parts]
        if patterns:
            systemctl("kill", "--signal=KILL", *patterns, check=False)
            systemctl("stop", *patterns, check=False)
            systemctl("reset-failed", *patterns, check=False)
        for name in self._names:
            (FOLDER / name).unlink(missing_ok=True)
            shutil.rmtree(FOLDER / f"{name}.d", ignore_errors=True)
        systemctl("daemon-reload")


def control(units: Mapping[str, Mapping[str, Any]] | list[str], clock: Clock | None = None, **more: Any) -> Services:
    """Control over units of this machine, each a service of its own name without ``.service``."""
    given = units if isinstance(units, Mapping) else {name: {} for name in units}
    services = {
        name: Service.model_validate({"manager": "systemd", "unit": name} | dict(settings))
        for name, settings in given.items()
    }
    clock = clock or SystemClock()
    settings: dict[str, Any] = {"node": "fw1", "reloads": Remembered()} | more
    return Services(services, {ManagerKind.SYSTEMD: Systemd(clock)}, clock, **settings)


def reading(services: Services, name: str) -> ServiceStatus:
    """One of the services, read now."""
    return next(status for status in services.statuses() if status.name == name)
