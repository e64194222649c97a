"""What an init script does, for the daemon beside it: ctl.py start|stop|reload|status FOLDER."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

verb, folder = sys.argv[1], Path(sys.argv[2])
pause = threading.Event()


def running() -> int:
    try:
        pid = int((folder / "pid").read_text())
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (OSError, ValueError):
        return 0
    return 0 if stat.rpartition(")")[2].split()[0] == "Z" else pid


def start() -> int:
    if running():
        return 0
    argv = [sys.executable, "-ES", str(Path(__file__).with_name("daemon.py")), str(folder), "--pidfile"]
    child = subprocess.Popen(argv, start_new_session=True, stdin=subprocess.DEVNULL)
    while running() != child.pid:
        if child.poll() is not None:
            return 1
        pause.wait(0.01)
    os.environ["PYTHONUNBUFFERED"] = "1"
    child.returncode = 0  # it stays, and we need no warning about that
    return 0


def stop() -> int:
    pid = running()
    if pid:
        os.kill(pid, signal.SIGTERM)
    while running():
        pause.wait(0.01)
    return 0


def reload() -> int:
    pid = running()
    if not pid:
        return 1
    os.kill(pid, signal.SIGHUP)
    return 0


def status() -> int:
    pid = running()
    print(f"running, pid {pid}" if pid else "stopped")
    return 0 if pid else 3


sys.exit({"start": start, "stop": stop, "reload": reload, "status": status}[verb]())
