"""The promises of every manager, kept by a real systemd: run inside a machine of the lab, see ../test_services.py."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsrv.clock import SystemClock
from syncsrv.config.model import Health, ManagerKind, Service
from syncsrv.services.systemd import Systemd
from tests.lab.inside.units import Units, systemctl
from tests.services.kit import PROGRAMS, Bench

pytest.register_assert_rewrite("tests.services.test_contract")
test_contract = importlib.import_module("tests.services.test_contract")
globals().update({name: one for name, one in vars(test_contract).items() if name.startswith("test_")})


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """The daemon's, and a unit by which it is a service of this machine."""
    folder = Path("/srv/d")
    with Units() as units:
        start = f"ExecStart={sys.executable} -ES {PROGRAMS}/daemon.py {folder}"
        units.put("d.service", f"{start}\nExecReload=kill -HUP $MAINPID")
        yield folder


@pytest.fixture
def bench(folder: Path) -> Iterator[Bench]:
    """The daemon, with nothing that an earlier one has left."""
    folder.mkdir()
    (folder / "conf").write_text("one")
    health = Health.model_validate({"exec": ["/bin/test", "-e", str(folder / "loaded")], "within": 10})
    service = Service(manager=ManagerKind.SYSTEMD, unit="d.service", health=health)
    absent = Service(manager=ManagerKind.SYSTEMD, unit="absent.service", health=health)
    yield Bench(folder, service, ManagerKind.SYSTEMD, Systemd(SystemClock()), absent)
    for words in (("kill", "--signal=KILL"), ("stop",), ("reset-failed",)):
        systemctl(*words, "d.service", check=False)
    shutil.rmtree(folder)
