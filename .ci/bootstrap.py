"""Make .venv from uv.lock on a machine that has only python3: no pip, no ensurepip, no venv module that works.

``bootstrap.py`` alone makes or corrects .venv; ``bootstrap.py uv ARGUMENT…`` runs the pinned uv. uv comes from PyPI as
a wheel whose hash is written below, once, into the user's cache; ``UV=/path/to/uv`` names another one (for a platform
that is not listed). Standard library only, and nothing that a Python older than the project's would not even parse:
it is this script that has to say that the Python is too old.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import NoReturn

OLDEST_PYTHON = (3, 11)
UV_VERSION = "0.13.9"
FILES = "https://files.pythonhosted.org/packages"

# What https://pypi.org/simple/uv/ lists for this version: where it is, and its sha256.
WHEELS = {
    "x86_64": (
        "3d/aa/26d64642d808de4a652579ef950d7cd2d37f080a8babf9c67c6b75fc4c3f/"
        "uv-0.13.9-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19",
    ),
    "x86_64-musl": (
        "fe/fe/794884de0efd3ac77a427cab21aa72c0483e100c55a42cd5cbb02c141b84/"
        "uv-0.13.9-py3-none-musllinux_1_1_x86_64.whl",
        "2c45530751517d6c3bbc69a19473f6effe47cce047bede01ffd8af7ea7b36b25",
    ),
    "aarch64": (  # one file for both C libraries
        "57/15/94b6cd62ac3ff6550288328e8035288875197cbc183f51554b266a69877b/"
        "uv-0.13.9-py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64.whl",
        "5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe",
    ),
}

TOP = Path(__file__).resolve().parent.parent


def main(arguments: list[str]) -> NoReturn:
    """Do what the arguments say; never returns."""
    python = find_python()
    uv = find_uv()
    if arguments[:1] == ["uv"]:
        command = [uv, *arguments[1:]]
    elif not arguments:
        command = [uv, "sync", "--frozen", "--compile-bytecode", "--quiet", "-p", python]
    else:
        stop(f"cannot understand {' '.join(arguments)!r}: say nothing, or `uv` and its arguments")
    os.chdir(TOP)
    done = subprocess.run(command, env=environment(), check=False)
    if done.returncode and not arguments:
        stop("cannot make .venv from uv.lock: uv's own words are above; is PyPI reachable from here?")
    sys.exit(done.returncode)


def stop(sentence: str) -> NoReturn:
    """End with one sentence for the person who ran make."""
    sys.exit(f"bootstrap: {sentence}")


def find_python() -> str:
    """The interpreter that .venv is made of: the one that runs this, else the newest on PATH that will do.

    The path is the interpreter's own: what PATH names may be a shim that uv cannot use.
    """
    if sys.version_info >= OLDEST_PYTHON:
        return sys.executable
    for minor in range(20, OLDEST_PYTHON[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found:
            return found
    wanted = ".".join(map(str, OLDEST_PYTHON))
    stop(f"cannot go on with Python {platform.python_version()}: syncsrv needs {wanted} or newer; install it")


def environment() -> dict[str, str]:
    """Our environment, less what would lead uv elsewhere or keep it from writing bytecode."""
    env = dict(os.environ)
    for name in ("PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "UV_PYTHON", "UV"):
        env.pop(name, None)
    env["UV_PYTHON_DOWNLOADS"] = "never"  # they come from GitHub; a machine that has python3 needs none
    env["UV_SYSTEM_CERTS"] = "1"  # the machine's certificates, as every other program here trusts them
    return env


def find_uv() -> str:
    """The pinned uv, taken from PyPI at first use."""
    named = os.environ.get("UV")
    if named:
        return named
    machine = platform.machine()
    if machine == "x86_64" and platform.libc_ver()[0] != "glibc":
        machine = "x86_64-musl"
    if machine not in WHEELS:
        stop(f"cannot bring uv to a {machine} machine: install uv {UV_VERSION} and say UV=/path/to/uv")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "syncsrv"
    uv = cache / f"uv-{UV_VERSION}-{machine}" / "uv"
    if not uv.exists():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            install(WHEELS[machine], uv)
        except OSError as error:
            stop(f"cannot write uv below {cache}: {error.strerror or error}")
    return str(uv)


def install(pinned: tuple[str, str], uv: Path, files: str = FILES) -> None:
    """Fetch the wheel, check it, and put its one program in place by a rename."""
    where, sha256 = pinned
    wheel = fetch(f"{files}/{where}")
    if hashlib.sha256(wheel).hexdigest() != sha256:
        stop(f"cannot use {where.rpartition('/')[2]}: what came is not the file that was pinned; is something between?")
    uv.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        program = archive.read(f"uv-{UV_VERSION}.data/scripts/uv")
    with tempfile.NamedTemporaryFile(dir=uv.parent, delete=False) as temp:
        temp.write(program)
    Path(temp.name).chmod(0o755)
    Path(temp.name).replace(uv)  # two that do this at once put the same file there


def fetch(url: str) -> bytes:
    """What the URL holds; proxies and certificates as the environment says."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            body: bytes = answer.read()
            return body
    except urllib.error.HTTPError as error:
        error.close()
        why = str(error)
    except (OSError, http.client.HTTPException) as error:  # URLError, time-outs and TLS are OSErrors
        why = str(getattr(error, "reason", None) or error)
    stop(f"cannot fetch uv {UV_VERSION} from {url.split('/')[2]}: {why}; the first run needs the network")


if __name__ == "__main__":
    main(sys.argv[1:])
