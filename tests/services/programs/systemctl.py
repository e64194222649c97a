"""As much of systemctl (252) as syncsrv asks of it, with real processes: made from a recording of the real one.

Beside a link to this file named ``systemctl`` lies ``units.json``: {"a.service": {"argv": [...], "masked": false,
"reload": true, "hang": false}}. Units are Type=simple: ``start`` is done when the program was executed. The state of a
unit is in files beside it; a small process per started unit waits for its end, as systemd does.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

HOME = Path(sys.argv[0]).parent
UNITS = json.loads((HOME / "units.json").read_text())
BURST, BURST_S = 5, 10
pause = threading.Event()


def micros() -> int:
    return time.monotonic_ns() // 1000


class Unit:
    def __init__(self, name: str) -> None:
        self.name = name if "." in name else name + ".service"
        self.known = UNITS.get(self.name)
        self.path = HOME / f"{self.name}.state"
        fresh: dict[str, Any] = {"pid": 0, "active": "inactive", "sub": "dead", "result": "success", "status": 0}
        fresh |= {"began": 0, "entered": 0, "changed": 0, "starts": [], "stopping": False}
        self.state: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else fresh

    def save(self, **changes: object) -> None:
        self.state |= changes
        temp = self.path.with_suffix(f".{os.getpid()}")
        temp.write_text(json.dumps(self.state))
        temp.replace(self.path)

    def show(self) -> dict[str, str]:
        load, error = "loaded", ""
        if self.known is None:
            load, error = "not-found", f'org.freedesktop.systemd1.NoSuchUnit "Unit {self.name} not found."'
        elif self.known.get("masked"):
            load, error = "masked", f'org.freedesktop.systemd1.UnitMasked "Unit {self.name} is masked."'
        state = self.state
        return {
            "MainPID": str(state["pid"]),
            "Result": state["result"],
            "ExecMainStartTimestampMonotonic": str(state["began"]),
            "ExecMainStatus": str(state["status"]),
            "Id": self.name,
            "LoadState": load,
            "ActiveState": state["active"],
            "SubState": state["sub"],
            "UnitFileState": "static" if self.known else "",
            "NRestarts": "0",
            "NeedDaemonReload": "no",
            "StateChangeTimestampMonotonic": str(state["changed"]),
            "ActiveEnterTimestampMonotonic": str(state["entered"]),
            "CanReload": "yes" if self.known and self.known.get("reload") else "no",
            "Job": "",
            "LoadError": error,
        }

    def refused(self, verb: str) -> int:
        if self.known is None:
            print(f"Failed to {verb} {self.name}: Unit {self.name} not found.")
            return 5
        if self.known.get("masked"):
            print(f"Failed to {verb} {self.name}: Unit {self.name} is masked.")
            return 1
        return 0

    def start(self, verb: str = "start") -> int:
        if wrong := self.refused(verb):
            return wrong
        if self.state["active"] == "active":
            return 0
        while self.known.get("hang"):
            pause.wait(1)
        recent = [at for at in self.state["starts"] if at > micros() - BURST_S * 1_000_000]
        if len(recent) >= BURST:
            self.save(active="failed", sub="failed", result="start-limit-hit", changed=micros())
            print(f"Job for {self.name} failed because start of the service was attempted too often.")
            print(f'See "systemctl status {self.name}" and "journalctl -xeu {self.name}" for details.')
            return 1
        now = micros()
        self.save(starts=[*recent, now], stopping=False, result="success", status=0, began=now)
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.close(reader)
            self.supervise(writer)
        os.close(writer)
        os.read(reader, 1)
        return 0

    def supervise(self, writer: int) -> None:
        os.setsid()
        with open(os.devnull, "rb") as null, (HOME / f"{self.name}.journal").open("ab") as journal:
            child = subprocess.Popen(
                self.known["argv"], stdin=null, stdout=journal, stderr=journal, start_new_session=True
            )
            for fd in (0, 1, 2):
                os.dup2(null.fileno(), fd)
        now = micros()
        self.save(pid=child.pid, active="active", sub="running", entered=now, changed=now)
        os.write(writer, b"x")
        os.close(writer)
        status = child.wait()
        asked = Unit(self.name).state["stopping"]
        self.state = Unit(self.name).state
        well = status == 0 or (asked and status == -signal.SIGTERM)
        words = {"active": "inactive", "sub": "dead"} if well else {"active": "failed", "sub": "failed"}
        self.save(pid=0, status=abs(status), result="success" if well else "exit-code", changed=micros(), **words)
        os._exit(0)

    def stop(self) -> int:
        if self.known is None:
            print(f"Failed to stop {self.name}: Unit {self.name} not loaded.")
            return 5
        if self.state["active"] == "active":
            self.save(stopping=True)
            os.kill(self.state["pid"], signal.SIGTERM)
            while Unit(self.name).state["active"] == "active":
                pause.wait(0.01)
        return 0

    def restart(self) -> int:
        if wrong := self.refused("restart"):
            return wrong
        self.stop()
        return Unit(self.name).start("restart")

    def reload(self) -> int:
        if wrong := self.refused("reload"):
            return wrong
        if self.state["active"] != "active" or not self.known.get("reload"):
            print(f"Failed to reload {self.name}: Job type reload is not applicable for unit {self.name}.")
            return 3
        self.save(changed=micros())
        os.kill(self.state["pid"], signal.SIGHUP)
        return 0

    def reset_failed(self) -> int:
        if self.known is None:
            print(f"Failed to reset failed state of unit {self.name}: Unit {self.name} not loaded.")
            return 1
        failed = self.state["active"] == "failed"
        self.save(starts=[], **({"active": "inactive", "sub": "dead", "result": "success"} if failed else {}))
        return 0

    def status(self) -> int:
        print(f"x {self.name}\n     Active: {self.state['active']} (Result: {self.state['result']})")
        journal = HOME / f"{self.name}.journal"
        print(journal.read_text() if journal.exists() else "", end="")
        return 0 if self.state["active"] == "active" else 3


def main() -> int:
    words, dashes = sys.argv[1:], sys.argv.index("--") - 1
    options, units = words[:dashes], words[dashes + 1 :]
    verb = next(word for word in options if not word.startswith("-"))
    if verb == "show":
        wanted = options[options.index("-p") + 1].split(",")
        blocks = [Unit(name).show() for name in units]
        print("\n\n".join("\n".join(f"{k}={v}" for k, v in block.items() if k in wanted) for block in blocks))
        return 0
    return max(int(getattr(Unit(name), verb.replace("-", "_"))()) for name in units)


sys.exit(main())
