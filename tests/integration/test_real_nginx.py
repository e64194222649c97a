"""The main job with a real nginx on each node: Debian's own files, nginx's own check, its reload, its answers."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.pair import Node, Pair, end_pair, listing, make_pair, start_pair
from tests.integration.rsync import differences
from tests.support.net import accepts, free_port
from tests.support.testroot import TestRoot, stop
from tests.support.wait import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files of other owners, mount namespaces")

CLUSTER = """\
cluster: edge
areas:
  proxy:
    description: Reverse proxy
    paths: [/etc/nginx]
    exclude: ["*.bak", /etc/nginx/local.d]
    check: [{nginx}, -t, -p, "{{stage}}/", -c, "{{stage}}/etc/nginx/nginx.conf"]
    services: [nginx]
services:
  nginx:
    manager: supervisor
    program: nginx
    on_change: reload
    health: {{exec: [{python}, -Es, {home}/answers], timeout: 2s, within: 10s}}
"""
EXCLUDED = ("*.bak", "/nginx/local.d")

ANSWERS = """\
import os, urllib.request
port = open(f"{home}/{{os.environ['NODE']}}.port").read()
urllib.request.urlopen(f"http://127.0.0.1:{{port}}/healthz", timeout=2)
"""
"""The health check: cluster.yaml is the same on both nodes, their ports on this one machine are not."""

NGINX = """\
user www-data;
worker_processes 1;
pid run/nginx.pid;
error_log var/log/nginx.log;
events {}
http {
    client_body_temp_path var/lib/body;
    proxy_temp_path var/lib/proxy;
    fastcgi_temp_path var/lib/fastcgi;
    uwsgi_temp_path var/lib/uwsgi;
    scgi_temp_path var/lib/scgi;
    access_log off;
    include mime.types;
    include conf.d/*.conf;
    include sites-enabled/*;
}
"""
"""Debian's with paths that stay below the node's root: relative ones are taken from the prefix, -p."""

SITE = """\
server {
    include local.d/*.conf;
    location /healthz { return 200 "well\\n"; }
    location / { return 200 "VERSION\\n"; }
}
"""

SUPERVISORD = """\
[unix_http_server]
file = {home}/supervisor.sock

[supervisord]
nodaemon = true
logfile = /dev/null
logfile_maxbytes = 0
pidfile = {home}/supervisord.pid

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[program:nginx]
command = {nginx} -p {root}/ -c {root}/etc/nginx/nginx.conf -g "daemon off;"
startsecs = 0
redirect_stderr = true
stdout_logfile = {home}/nginx.log
"""


@dataclass(frozen=True, slots=True)
class Edge:
    """The pair, and the port of each node's nginx."""

    pair: Pair
    ports: dict[str, int]

    def site(self, version: str) -> None:
        """Edit the site on the master."""
        self.pair.fw1.write("/etc/nginx/sites-available/default", SITE.replace("VERSION", version))

    def answer(self, node: Node) -> str:
        """What the node's nginx serves."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[node.name]}/", timeout=5) as response:
            text: bytes = response.read()
        return text.decode().strip()

    def serves(self, node: Node, version: str) -> None:
        """Wait until the node's nginx serves this version: its old workers may answer for a moment."""
        until(lambda: self.answer(node) == version, what=f"nginx of {node.name} to serve {version}")

    def pid(self, node: Node) -> int:
        """The process of the node's nginx, as syncsrv reads it."""
        (service,) = node.status()["services"]
        assert (service["name"], service["state"], service["health"]) == ("nginx", "running", "ok"), service
        os.kill(service["pid"], 0)
        number: int = service["pid"]
        return number


def serve_nginx(node: Node, port: int, testroot: TestRoot) -> subprocess.Popen[bytes]:
    """Debian's /etc/nginx below the node's root, and nginx running on it under a supervisord of its own."""
    etc = node.file("/etc/nginx")
    shutil.copytree(testroot.path / "etc/nginx", etc, symlinks=True)
    (etc / "nginx.conf").write_text(NGINX)
    (etc / "sites-enabled/default").unlink()
    (etc / "sites-enabled/default").symlink_to("../sites-available/default")
    (etc / "sites-available/default").write_text(SITE.replace("VERSION", f"as {node.name} was set up"))
    (etc / "local.d").mkdir()
    (etc / "local.d/listen.conf").write_text(f"listen 127.0.0.1:{port};\n")
    for folder in ("run", "var/lib", "var/log"):
        (node.root / folder).mkdir(parents=True)
    (node.home.parent / f"{node.name}.port").write_text(str(port))
    with (node.etc / "node.yaml").open("a") as settings:
        settings.write(f"managers: {{supervisor: {{socket: {node.home}/supervisor.sock}}}}\n")
    conf = node.home / "supervisord.conf"
    argv = " ".join(testroot.outside("usr/sbin/nginx"))
    conf.write_text(SUPERVISORD.format(home=node.home, root=node.root, nginx=argv))
    with (node.home / "supervisord.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-Es", "-m", "supervisor.supervisord", "-c", str(conf)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


@pytest.fixture(scope="module")
def edge(testroot: TestRoot) -> Iterator[Edge]:
    """Both nodes with their nginx, synchronized once."""
    home = Path(tempfile.mkdtemp(prefix="s-", dir="/tmp")).resolve()
    words = {"nginx": ", ".join(testroot.outside("usr/sbin/nginx")), "python": sys.executable, "home": home}
    pair = make_pair(home, CLUSTER.format(**words))
    (home / "answers").write_text(ANSWERS.format(home=home))
    made = Edge(pair, {"fw1": free_port(), "fw2": free_port()})
    with contextlib.ExitStack() as ending:
        ending.callback(shutil.rmtree, home)
        for node in (pair.fw1, pair.fw2):
            ending.callback(stop, serve_nginx(node, made.ports[node.name], testroot))
        ending.callback(end_pair, pair)
        start_pair(pair)
        until(lambda: all(map(accepts, made.ports.values())), what="both to listen")
        assert pair.synced("--reason", "first")["result"] == "done"
        yield made


def equal(edge: Edge, testroot: TestRoot) -> None:
    """Nothing is left to do for rsync; and it would see a difference."""
    etc, other = edge.pair.fw1.file("/etc/nginx"), edge.pair.fw2.file("/etc/nginx")
    assert differences(testroot, etc.parent, other.parent, EXCLUDED) == []
    (seen,) = differences(testroot, etc.parent, other.parent, EXCLUDED[:1])
    assert seen.endswith(" nginx/local.d/listen.conf")


def moved_in(etc: Path) -> None:
    made = etc.parent.parent / "made"
    made.mkdir()
    (made / "deep").mkdir()
    (made / "deep/one.conf").write_text("# one\n")
    made.rename(etc / "snippets/made")


def dressed(etc: Path) -> None:
    """A mode, an owner, links of both kinds and an empty directory."""
    (etc / "proxy_params").chmod(0o640)
    shutil.chown(etc / "fastcgi_params", "www-data", "www-data")
    (etc / "conf.d/dangling.conf.off").symlink_to("/nowhere/at/all")
    (etc / "snippets/up").symlink_to("../../..")
    (etc / "snippets/empty").mkdir(mode=0o2750)
    (etc / "snippets/empty").chmod(0o2750)


@pytest.mark.parametrize(
    "edit, changed",
    [
        pytest.param(lambda etc: (etc / "mime.types").write_text("types {}\n"), {"mime.types"}, id="in place"),
        pytest.param(moved_in, {"snippets/made", "snippets/made/deep", "snippets/made/deep/one.conf"}, id="moved in"),
        pytest.param(
            dressed,
            {"proxy_params", "fastcgi_params", "conf.d/dangling.conf.off", "snippets/up", "snippets/empty"},
            id="mode, owner, links, empty directory",
        ),
        pytest.param(lambda etc: (etc / "koi-utf").unlink(), {"koi-utf"}, id="removed"),
    ],
)
def test_an_edit_is_on_main_by_itself(edge: Edge, edit: Callable[[Path], object], changed: set[str]) -> None:
    node, before = edge.pair.fw1, listing(edge.pair.fw2.root)
    edge.pair.fw1.do("commit")
    main = node.repository / "refs/heads/main"
    old = main.read_text()
    edit(node.file("/etc/nginx"))
    until(lambda: main.read_text() != old, deadline_s=30, what="the edit to be on main")
    shown = node.do("show", "main")
    assert {one["path"] for one in shown["files"]} == {f"/etc/nginx/{path}" for path in changed}
    for path in changed:
        live = node.file(f"/etc/nginx/{path}")
        if live.is_file() and not live.is_symlink():
            assert node.git("show", f"main:etc/nginx/{path}") == live.read_text()
    assert listing(edge.pair.fw2.root) == before, "the backup is touched only when it is asked to"


def test_a_sync_makes_the_disks_equal_and_the_backups_nginx_serves_it(edge: Edge, testroot: TestRoot) -> None:
    fw1, fw2 = edge.pair.fw1, edge.pair.fw2
    etc = fw1.file("/etc/nginx")
    edge.site("version 2")
    (etc / "key.pem").write_text("s3cret\n")
    (etc / "key.pem").chmod(0o640)
    shutil.chown(etc / "key.pem", "www-data", "www-data")
    (etc / "sites-enabled/off").symlink_to("/dev/null")
    (etc / "hollow/within").mkdir(parents=True)
    fw2.file("/etc/nginx/only-here.bak").write_text("excluded\n")
    fw2.write("/etc/nginx/conf.d/only-here.conf", "# extra\n")
    fw2.do("commit")
    assert differences(testroot, etc, fw2.file("/etc/nginx"), EXCLUDED)
    before, served = edge.pid(fw2), edge.answer(fw2)
    assert served != "version 2"
    result = edge.pair.synced("--reason", "version 2", "--force", "drift")
    assert result["result"] == "done"
    assert ("reload nginx", "done") in [(step["name"], step["result"]) for step in result["steps"]], result["steps"]
    equal(edge, testroot)
    edge.serves(fw2, "version 2")
    assert edge.pid(fw2) == before, "it was reloaded, not restarted"
    key = fw2.file("/etc/nginx/key.pem").stat()
    assert (stat.S_IMODE(key.st_mode), fw2.file("/etc/nginx/key.pem").owner()) == (0o640, "www-data")
    assert os.readlink(fw2.file("/etc/nginx/sites-enabled/default")) == "../sites-available/default"
    assert fw2.file("/etc/nginx/hollow/within").is_dir()
    assert fw2.file("/etc/nginx/only-here.bak").exists()
    assert edge.answer(fw1) != "version 2", "whoever edited the master's file reloads its nginx"


def test_what_nginx_refuses_is_refused_in_its_own_words_and_the_live_one_goes_on(
    edge: Edge, testroot: TestRoot
) -> None:
    fw1, fw2 = edge.pair.fw1, edge.pair.fw2
    edge.site("version 3")
    assert edge.pair.synced()["result"] in ("done", "unchanged")
    edge.serves(fw2, "version 3")
    before, pid = listing(fw2.root), edge.pid(fw2)
    fw1.write("/etc/nginx/conf.d/portal.conf", "server {\n    lissten 8443;\n}\n")
    answer = fw1.ask("sync", "--reason", "a slip")
    assert answer.status == 1
    node = answer.data["nodes"]["fw2"]
    assert node["result"] == "failed"
    slip = f'unknown directive "lissten" in {fw2.file("/etc/nginx/conf.d/portal.conf")}:2'
    assert slip in node["reason"]
    assert slip in fw2.status()["sync"]["reason"]
    assert listing(fw2.root) == before
    assert (edge.answer(fw2), edge.pid(fw2)) == ("version 3", pid)
    fw1.file("/etc/nginx/conf.d/portal.conf").unlink()
    edge.site("version 4")
    assert edge.pair.synced()["result"] == "done"
    edge.serves(fw2, "version 4")
    equal(edge, testroot)


def test_a_rollback_restores_files_and_what_nginx_serves(edge: Edge, testroot: TestRoot) -> None:
    fw1, fw2 = edge.pair.fw1, edge.pair.fw2
    edge.site("good")
    good = fw1.do("sync")["tag"]
    before = listing(fw1.root)
    edge.site("not so good")
    fw1.file("/etc/nginx/mime.types").chmod(0o600)
    fw1.file("/etc/nginx/sites-enabled/default").unlink()
    fw1.file("/etc/nginx/sites-enabled/default").symlink_to("/nowhere")
    fw1.file("/etc/nginx/sites-enabled/default").unlink()
    fw1.file("/etc/nginx/sites-enabled/site").symlink_to("../sites-available/default")
    assert edge.pair.synced()["result"] == "done"
    edge.serves(fw2, "not so good")
    for node in (fw2, fw1):
        assert node.do("rollback", good, "--reason", "not so good")["nodes"][node.name]["result"] == "done"
        edge.serves(node, "good")
    assert listing(fw1.root) == before
    equal(edge, testroot)
    assert edge.pair.synced()["result"] in ("done", "unchanged")
    assert fw2.status()["sync"]["state"] == "in_sync"


def test_stock_git_reads_both_repositories(edge: Edge, tmp_path: Path) -> None:
    signers = tmp_path / "signers"
    signers.write_text("".join(f"{node.name} {node.do('key')['key']}\n" for node in (edge.pair.fw1, edge.pair.fw2)))
    for node in (edge.pair.fw1, edge.pair.fw2):
        assert node.git("fsck", "--strict") == ""
        for tag in node.git("tag").split():
            node.git("-c", "gpg.format=ssh", "-c", f"gpg.ssh.allowedSignersFile={signers}", "verify-tag", tag)
        assert len(node.git("log", "--format=%h", "main").split()) > 1
        assert node.git("show", "main:etc/nginx/nginx.conf") == NGINX
