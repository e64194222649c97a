"""Real nginx, nft and unbound-checkconf as checks of an area, on a stage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syncsrv.checks.check import CheckResult, Status
from tests.checks.stagekit import Change, Node
from tests.support.testroot import TestRoot

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mount namespaces")

NGINX = """
user root;
error_log ROOT/var/log/nginx/error.log;
pid ROOT/run/nginx.pid;
events {}
http {
    client_body_temp_path ROOT/var/lib/nginx/body;
    proxy_temp_path ROOT/var/lib/nginx/proxy;
    fastcgi_temp_path ROOT/var/lib/nginx/fastcgi;
    uwsgi_temp_path ROOT/var/lib/nginx/uwsgi;
    scgi_temp_path ROOT/var/lib/nginx/scgi;
    access_log ROOT/var/log/nginx/access.log;
    include ROOT/etc/nginx/conf.d/*.conf;
    include ROOT/etc/nginx/sites-enabled/*;
}
"""
SITE = (
    "upstream named { server localhost:9; }\nserver { listen 127.0.0.1:1; location / { proxy_pass http://named; } }\n"
)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(tmp_path, tops=["etc/nginx"])
    made.write("etc/nginx/nginx.conf", NGINX.replace("ROOT", str(made.root)))
    made.write("etc/nginx/conf.d/kept.conf", "map $host $b { default 1; }\n")
    made.write("etc/nginx/sites-available/default", SITE)
    enabled = made.root / "etc/nginx/sites-enabled"
    enabled.mkdir()
    (enabled / "default").symlink_to(made.root / "etc/nginx/sites-available/default")
    for folder in ("run", "var/lib/nginx", "var/log/nginx"):
        (made.root / folder).mkdir(parents=True)
    made.write("var/log/nginx/error.log", "x" * (2 << 20))
    return made


def nginx(node: Node, testroot: TestRoot, changes: dict[str, Change]) -> CheckResult:
    node.changes = changes
    result = node.check(*testroot.outside("usr/sbin/nginx"), "-t", "-c", "{stage}/etc/nginx/nginx.conf")
    assert result.isolated
    assert result.note == ""
    return result


def test_nginx_takes_what_is_live_and_leaves_no_trace_of_its_test(node: Node, testroot: TestRoot) -> None:
    result = nginx(node, testroot, {})
    assert result.ok, result.output
    assert "test is successful" in result.output
    assert list((node.root / "run").iterdir()) == []
    assert list((node.root / "var/lib/nginx").iterdir()) == []


def test_nginx_refuses_a_staged_addition_in_its_own_words(node: Node, testroot: TestRoot) -> None:
    result = nginx(node, testroot, {"etc/nginx/conf.d/bad.conf": "server { lissten 8443; }\n"})
    assert result.status is Status.FAILED
    assert f'unknown directive "lissten" in {node.root}/etc/nginx/conf.d/bad.conf:1' in result.output
    assert 'unknown directive "lissten"' in result.sentence()


def test_nginx_sees_a_deletion(node: Node, testroot: TestRoot) -> None:
    node.write("etc/nginx/conf.d/bad.conf", "broken;\n")
    assert nginx(node, testroot, {}).status is Status.FAILED
    assert nginx(node, testroot, {"etc/nginx/conf.d/bad.conf": None}).ok


def test_nginx_reads_a_staged_site_through_its_absolute_link(node: Node, testroot: TestRoot) -> None:
    result = nginx(node, testroot, {"etc/nginx/sites-available/default": "server { broken; }\n"})
    assert f'unknown directive "broken" in {node.root}/etc/nginx/sites-enabled/default:1' in result.output
    result = nginx(node, testroot, {"etc/nginx/sites-enabled/new": "-> ROOT/etc/nginx/sites-available/new"})
    assert "No such file or directory" in result.output


def test_nft_asks_the_kernel_about_interfaces_of_this_node(tmp_path: Path, testroot: TestRoot) -> None:
    node = Node(tmp_path, tops=["etc/nftables.conf"])
    node.write("etc/nftables.conf", "")
    rules = 'flush ruleset\ntable inet f {{ chain i {{ type filter hook input priority 0; iif "{}" accept; }}; }}\n'
    argv = [*testroot.outside("usr/sbin/nft"), "-c", "-f", "{stage}/etc/nftables.conf"]
    node.changes = {"etc/nftables.conf": rules.format("lo")}
    good = node.check(*argv)
    assert (good.status, good.isolated) == (Status.OK, True), good.output
    node.changes = {"etc/nftables.conf": rules.format("no-such-device")}
    bad = node.check(*argv)
    assert bad.status is Status.FAILED
    assert "Interface does not exist" in bad.output


def test_unbound_checks_its_staged_files(tmp_path: Path, testroot: TestRoot) -> None:
    node = Node(tmp_path, tops=["etc/unbound"])
    conf = 'server:\n chroot: ""\n username: ""\n directory: "ROOT/etc/unbound"\n include: ROOT/etc/unbound/d/*.conf\n'
    node.write("etc/unbound/unbound.conf", conf.replace("ROOT", str(node.root)))
    argv = [*testroot.outside("usr/sbin/unbound-checkconf"), "{stage}/etc/unbound/unbound.conf"]
    node.changes = {"etc/unbound/d/a.conf": "server:\n verbosity: 1\n"}
    good = node.check(*argv)
    assert (good.status, good.isolated) == (Status.OK, True), good.output
    node.changes = {"etc/unbound/d/a.conf": "server:\n verbositty: 1\n"}
    bad = node.check(*argv)
    assert bad.status is Status.FAILED
    assert f"{node.root}/etc/unbound/d/a.conf:2: error: unknown keyword 'verbositty'" in bad.output
