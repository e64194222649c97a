"""The sample: laid out whole, and good in the eyes of the programs that it is for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from syncsrv.config.load import parse_cluster
from syncsrv.config.model import Managers, Node, Role, SupervisorAccess
from syncsrv.demo import portal
from syncsrv.demo.sample import BadSampleError, demo_cluster, lay_out
from syncsrv.shipped import folder
from tests.support.net import free_port
from tests.support.testroot import TestRoot

SAMPLE = folder("sample-repo")
NODE = Node(
    node="fw1", role=Role.MASTER, managers=Managers(supervisor=SupervisorAccess(socket=Path("/run/supervisor.sock")))
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    lay_out(path)
    return path


def test_links_empty_directories_and_modes_are_made(root: Path) -> None:
    link = root / "etc/nginx/sites-enabled/default"
    assert os.readlink(link) == "../sites-available/default"
    assert link.read_text() == (SAMPLE / "etc/nginx/sites-available/default").read_text()
    assert list((root / "etc/portal/conf.d").iterdir()) == []
    assert (root / "etc/nftables.conf").stat().st_mode & 0o7777 == 0o755
    assert (root / "etc/portal/portal.conf").stat().st_mode & 0o7777 == 0o640


def test_modes_do_not_depend_on_how_the_sample_was_checked_out(tmp_path: Path) -> None:
    private = tmp_path / "sample"
    shutil.copytree(SAMPLE, private)
    for path in private.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    (tmp_path / "root").mkdir()
    before = os.umask(0o077)
    try:
        lay_out(tmp_path / "root", private)
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "root").rglob("*") if not path.is_symlink()}
    assert modes == {0o755, 0o644, 0o640}


@pytest.mark.parametrize("line", ["link etc/x", "device etc/x 1", "link /etc/x y", "mode etc/../../x 0644", "x"])
def test_a_damaged_manifest_is_refused_by_line(tmp_path: Path, line: str) -> None:
    sample = tmp_path / "sample"
    shutil.copytree(SAMPLE, sample)
    (sample / "manifest").write_text(f"# a comment\n\n{line}\n")
    (tmp_path / "root").mkdir()
    with pytest.raises(BadSampleError, match="manifest:3: "):
        lay_out(tmp_path / "root", sample)


def test_both_cluster_files_are_good_and_have_the_same_areas(tmp_path: Path) -> None:
    real = parse_cluster((SAMPLE / "cluster.yaml").read_bytes(), "cluster.yaml", NODE, {})
    demo = parse_cluster(demo_cluster(tmp_path / 'odd "name"', sys.executable).encode(), "cluster.yaml", NODE, {})
    assert {name: area.paths for name, area in real.areas.items()} == {
        name: area.paths for name, area in demo.areas.items()
    }
    assert demo.areas["portal"].check[0] == sys.executable
    assert demo.services["portal"].health is not None
    assert demo.services["portal"].health.exec[-1] == str(tmp_path / 'odd "name"')


def test_every_file_of_the_sample_is_in_an_area(root: Path) -> None:
    cluster = parse_cluster((SAMPLE / "cluster.yaml").read_bytes(), "cluster.yaml", NODE, {})
    tops = tuple(path for area in cluster.areas.values() for path in area.paths)
    for path in (root / "etc").rglob("*"):
        shown = "/" + str(path.relative_to(root))
        assert path.is_dir() or shown.startswith(tops), shown


def test_the_portals_file_is_good(root: Path) -> None:
    assert portal.load(root / "etc/portal/portal.conf").title == "Edge portal"


def test_the_portals_health_check_finds_the_node_by_its_name(root: Path, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "fw1").write_text(f"{port}\n")
    argv = [sys.executable, "-ES", str(SAMPLE / "portal-health.py"), str(tmp_path)]

    def ask(node: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, env={"NODE": node}, capture_output=True, text=True, timeout=20, check=False)

    refused = ask("fw1")
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"the portal on port {port} does not answer: ")
    assert ask("fw2").returncode != 0
    conf = str(root / "etc/portal/portal.conf")
    served = [sys.executable, "-Es", "-m", "syncsrv.demo.portal", "--config", conf, "--port", str(port)]
    with subprocess.Popen(served, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
        try:
            assert child.stderr is not None
            assert b"serving" in child.stderr.readline()
            assert ask("fw1").returncode == 0
        finally:
            child.kill()


def test_real_nginx_unbound_and_nft_take_it(testroot: TestRoot, root: Path) -> None:
    testroot.run("nginx", "-t", "-q", "-c", root / "etc/nginx/nginx.conf", binds=[root])
    testroot.run("unbound-checkconf", root / "etc/unbound/unbound.conf", binds=[root])
    testroot.run("nft", "-c", "-f", root / "etc/nftables.conf", binds=[root])


def test_real_nginx_refuses_a_broken_addition(testroot: TestRoot, root: Path) -> None:
    (root / "etc/nginx/conf.d/broken.conf").write_text("upstream { }\n")
    done = testroot.run("nginx", "-t", "-q", "-c", root / "etc/nginx/nginx.conf", binds=[root], check=False)
    assert done.returncode != 0
    assert "conf.d/broken.conf:1" in done.stdout
