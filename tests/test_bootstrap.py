"""What make does on a bare machine, as far as it can be shown on one that is not; .ci/bare shows the rest."""

from __future__ import annotations

import hashlib
import http.server
import importlib.util
import io
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

TOP = Path(__file__).parents[1]
SCRIPT = TOP / ".ci" / "bootstrap.py"


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel(version: str, program: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"uv-{version}.data/scripts/uv", program)
    return packed.getvalue()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The URL at which tmp_path/served is."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, request: object, address: object, server: object) -> None:
            super().__init__(request, address, server, directory=str(folder))  # type: ignore[arg-type]  # handed on

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(argv, env=dict(os.environ) | env, capture_output=True, text=True, check=False)


def test_the_pinned_program_is_put_in_place(bootstrap: ModuleType, served: str, tmp_path: Path) -> None:
    data = wheel(bootstrap.UV_VERSION, b"#!/bin/sh\necho it runs\n")
    (tmp_path / "served/uv.whl").write_bytes(data)
    uv = tmp_path / "cache" / "uv-0" / "uv"
    uv.parent.parent.mkdir()
    bootstrap.install(("uv.whl", hashlib.sha256(data).hexdigest()), uv, served)
    assert subprocess.run([uv], capture_output=True, text=True, check=True).stdout == "it runs\n"
    assert os.listdir(uv.parent) == ["uv"]


def test_another_file_than_the_pinned_one_is_refused(bootstrap: ModuleType, served: str, tmp_path: Path) -> None:
    (tmp_path / "served/uv.whl").write_bytes(wheel(bootstrap.UV_VERSION, b"#!/bin/sh\nevil\n"))
    with pytest.raises(SystemExit, match=r"cannot use uv\.whl: what came is not the file that was pinned"):
        bootstrap.install(("uv.whl", "0" * 64), tmp_path / "uv-0" / "uv", served)
    assert not (tmp_path / "uv-0").exists()


def test_a_file_that_is_gone_is_one_sentence(bootstrap: ModuleType, served: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^bootstrap: cannot fetch uv .*: HTTP Error 404"):
        bootstrap.install(("uv.whl", "0" * 64), tmp_path / "uv-0" / "uv", served)


def test_without_network_it_ends_with_one_sentence(tmp_path: Path) -> None:
    done = run(XDG_CACHE_HOME=str(tmp_path), https_proxy="http://127.0.0.1:9", HTTPS_PROXY="http://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stderr.startswith("bootstrap: cannot fetch uv ")
    assert done.stderr.endswith("; the first run needs the network\n")
    assert done.stderr.count("\n") == 1


def test_a_cache_that_cannot_be_written_is_one_sentence() -> None:
    done = run(XDG_CACHE_HOME="/proc/no-such-folder")
    assert done.returncode == 1
    assert done.stderr == ("bootstrap: cannot write uv below /proc/no-such-folder/syncsrv: No such file or directory\n")


def test_what_it_does_not_understand_is_one_sentence() -> None:
    done = run("frobnicate", UV="/bin/true")
    assert done.returncode == 1
    assert done.stderr.startswith("bootstrap: cannot understand 'frobnicate'")


def test_a_failing_uv_fails_make() -> None:
    done = run(UV="/bin/false")
    assert done.returncode == 1
    assert "cannot make .venv from uv.lock" in done.stderr


def test_uv_gets_nothing_that_leads_it_elsewhere(tmp_path: Path) -> None:
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\necho args $*\nexec env\n")
    uv.chmod(0o755)
    done = run(
        UV=str(uv), PYTHONDONTWRITEBYTECODE="1", VIRTUAL_ENV="/another/place", UV_PROJECT_ENVIRONMENT="/another/place"
    )
    assert done.returncode == 0
    assert f"args sync --frozen --compile-bytecode --quiet -p {sys.executable}" in done.stdout
    assert "UV_PYTHON_DOWNLOADS=never" in done.stdout
    assert "UV_SYSTEM_CERTS=1" in done.stdout
    assert "/another/place" not in done.stdout
    assert "PYTHONDONTWRITEBYTECODE" not in done.stdout
