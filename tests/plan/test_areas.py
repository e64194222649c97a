"""Which path belongs to which area."""

from __future__ import annotations

import os

import pytest

from syncsrv.config.model import Cluster
from syncsrv.plan.areas import DEFAULT_IGNORES, Areas, Never
from syncsrv.plan.tree import CLUSTER_PATH
from tests.support.work import calls


def areas(never: tuple[Never, ...] = (), **given: dict[str, object]) -> Areas:
    return Areas.of(Cluster.model_validate({"cluster": "edge", "areas": given}), never=never)


def test_area_is_file_or_directory_with_all_below() -> None:
    both = areas(proxy={"paths": ["/etc/nginx"]}, hosts={"paths": ["/etc/hosts", "/srv/x/"]})
    assert both.names == ("proxy", "hosts", "cluster")
    assert both.area_of(b"etc/nginx") == "proxy"
    assert both.area_of(b"etc/nginx/conf.d/a.conf") == "proxy"
    assert both.area_of(b"etc/hosts") == "hosts"
    assert both.area_of(b"srv/x/deep/er") == "hosts"
    for outside in (b"etc", b"etc/nginx2", b"etc/ngin", b"srv", b"", b"nginx", b"etc/hosts.allow"):
        assert both.area_of(outside) is None
        assert not both.excluded(outside)
    assert both.tops("hosts") == (b"etc/hosts", b"srv/x")


def test_cluster_area_is_one_path_whatever_the_areas_say() -> None:
    everything = areas(all={"paths": ["/"], "exclude": ["cluster.yaml"]})
    assert everything.area_of(CLUSTER_PATH) == "cluster"
    assert everything.tops("cluster") == (CLUSTER_PATH,)
    assert everything.area_of(b".syncsrv") is None
    assert everything.area_of(b".syncsrv/meta/+etc/entries") is None
    assert everything.excluded(b".syncsrv/other")
    assert everything.area_of(b"etc/passwd") == "all"
    assert everything.area_of(b"") == "all"


def test_exclude_with_slash_is_one_path_with_all_below() -> None:
    one = areas(proxy={"paths": ["/etc/nginx"], "exclude": ["/etc/nginx/local.d", "etc/nginx/*.x"]})
    assert one.area_of(b"etc/nginx/local.d") is None
    assert one.area_of(b"etc/nginx/local.d/deep/file") is None
    assert one.excluded(b"etc/nginx/local.d/deep/file")
    assert one.area_of(b"etc/nginx/local.d2") == "proxy"
    assert one.area_of(b"etc/nginx/sub/local.d") == "proxy"
    assert one.area_of(b"etc/nginx/a.x") == "proxy", "a path is literal, its star is a star"
    assert one.excluded(b"etc/nginx/*.x")


def test_exclude_without_slash_is_a_base_name_anywhere() -> None:
    one = areas(proxy={"paths": ["/etc/nginx"], "exclude": ["*.bak", "cache", "?.[ab]"]})
    assert one.excluded(b"etc/nginx/deep/x.bak")
    assert one.excluded(b"etc/nginx/x.bak/inside/of/it"), "a directory that matches takes all below it along"
    assert one.excluded(b"etc/nginx/cache/f")
    assert one.excluded(b"etc/nginx/x.a")
    assert not one.excluded(b"etc/nginx/x.bak.conf")
    assert not one.excluded(b"etc/nginx/CACHE"), "case counts"
    assert not one.excluded(b"etc/nginx/xx.a")
    assert not one.excluded(b"srv/x.bak"), "outside all areas nothing is excluded"
    assert one.area_around(b"etc/nginx/deep/x.bak") == "proxy"


def test_names_that_are_not_utf8_match_as_bytes() -> None:
    pattern = os.fsdecode(b"\xff*.bin")
    one = areas(proxy={"paths": [os.fsdecode(b"/etc/d\xfe")], "exclude": ["?.o"]})
    assert one.area_of(b"etc/d\xfe/\xff1.bin") == "proxy"
    assert one.excluded(b"etc/d\xfe/\xff.o")
    two = Areas.of(Cluster(cluster="edge"), ignores=[pattern])
    assert two.names == ("cluster",)
    three = Areas.of(Cluster.model_validate({"cluster": "e", "areas": {"a": {"paths": ["/d"]}}}), ignores=[pattern])
    assert three.excluded(b"d/\xff1.bin")
    assert not three.excluded(b"d/\xfe1.bin")


@pytest.mark.parametrize(
    "name",
    [
        b"nginx.conf~", b".nginx.conf.swp", b".x.swo", b".x.swpx", b"4913", b".#nginx.conf", b"#nginx.conf#",
        b"DEADJOE", b"sites.dpkg-dist", b"a.dpkg-new", b"a.rpmnew", b"a.rpmsave", b"a.rpmorig", b"a.ucf-dist",
        b"a.pacnew", b".syncsrv-0123456789abcdef-1.tmp", b"._cfg0000_nginx.conf", b".nfs0000000000000000",
    ],
)  # fmt: skip
def test_leftovers_are_ignored(name: bytes) -> None:
    one = areas(proxy={"paths": ["/etc/nginx"]})
    assert one.excluded(b"etc/nginx/" + name)
    assert one.excluded(b"etc/nginx/" + name + b"/below")
    assert "leftover" in (one.why_excluded(b"etc/nginx/" + name) or "")


@pytest.mark.parametrize(
    "name", [b"nginx.conf", b".htaccess", b".swp", b"49130", b"a#b", b"x.swp", b"dpkg-x", b"a.old", b".syncsrv-x"]
)
def test_what_only_looks_like_a_leftover_is_kept(name: bytes) -> None:
    assert areas(proxy={"paths": ["/etc/nginx"]}).area_of(b"etc/nginx/" + name) == "proxy"


def test_listed_path_is_managed_though_its_name_is_ignored() -> None:
    one = areas(odd={"paths": ["/etc/4913", "/etc/apt", "/etc/apt/keep~"]})
    assert one.area_of(b"etc/4913") == "odd"
    assert one.area_of(b"etc/apt/keep~") == "odd"
    assert one.excluded(b"etc/apt/other~")
    assert one.tops("odd") == (b"etc/4913", b"etc/apt"), "a path below another is already walked"


def test_own_directories_are_never_read_whatever_the_areas_say() -> None:
    never = (Never(b"etc/syncsrv", "the configuration directory"), Never(b"var/lib/syncsrv", "state_dir"))
    wide = areas(never, all={"paths": ["/etc", "/etc/syncsrv/node.yaml", "/var/lib/syncsrv/x"]})
    for path in (b"etc/syncsrv", b"etc/syncsrv/node.yaml", b"etc/syncsrv/secrets.yaml", b"var/lib/syncsrv/x/y"):
        assert wide.area_of(path) is None
        assert wide.excluded(path)
    assert wide.why_excluded(b"etc/syncsrv/x") == "never read: the configuration directory"
    assert wide.area_of(b"etc/syncsrv2") == "all"


def test_area_whose_top_is_itself_never_read_or_excluded_is_closed() -> None:
    one = areas(
        (Never(b"etc/syncsrv", "the configuration directory"),),
        own={"paths": ["/etc/syncsrv"]},
        off={"paths": ["/srv/a.bak"], "exclude": ["*.bak"]},
        gone={"paths": ["/opt/x/y"], "exclude": ["/opt/x"]},
    )
    assert [one.area_of(top + b"/f") for name in ("own", "off", "gone") for top in one.tops(name)] == [None] * 3
    assert one.excluded(b"opt/x/y")


@pytest.mark.parametrize(
    "path",
    [b"etc/ssh/ssh_host_ed25519_key", b"etc/ssh/ssh_host_rsa_key.pub", b"etc/machine-id", b"etc/shadow", b"etc/shadow-",
     b"etc/gshadow", b"etc/gshadow-"],
)  # fmt: skip
def test_host_secrets_are_read_only_where_the_very_path_is_listed(path: bytes) -> None:
    assert areas(all={"paths": ["/etc"]}).excluded(path)
    assert areas(ssh={"paths": ["/etc/ssh"]}, rest={"paths": ["/etc/x"]}).area_of(path) is None
    assert areas(it={"paths": ["/" + path.decode()]}).area_of(path) == "it"
    assert areas(it={"paths": ["/etc", "/" + path.decode()]}).area_of(path) == "it"
    assert areas(it={"paths": ["/srv"]}).area_of(b"srv/" + path) == "it", "only the host's own"


def test_areas_hold_others_that_are_drawn_in_the_same_way() -> None:
    both = areas(proxy={"paths": ["/etc/nginx"]}, dns={"paths": ["/etc/dns"]})
    assert both.holds(both)
    assert both.holds(areas(dns={"paths": ["/etc/dns"]}))
    assert both.holds(both.restricted([]))
    assert not both.restricted(["dns"]).holds(both)
    assert not both.holds(areas(dns={"paths": ["/etc/dns"], "exclude": ["*.bak"]}))
    assert not both.holds(areas(dns={"paths": ["/etc/dns", "/etc/hosts"]}))
    assert not both.holds(areas(zones={"paths": ["/etc/dns"]}))


def test_restricted_knows_only_the_named_areas() -> None:
    both = areas(proxy={"paths": ["/etc/nginx"], "limit": 5}, dns={"paths": ["/etc/unbound"], "exclude": ["*.key"]})
    one = both.restricted(["cluster", "dns"])
    assert one.names == ("dns", "cluster")
    assert one.area_of(b"etc/nginx/x") is None
    assert one.area_of(b"etc/unbound/x") == "dns"
    assert one.area_of(CLUSTER_PATH) == "cluster"
    assert both.restricted([]).area_of(CLUSTER_PATH) is None
    assert both.limit("proxy") == 5
    with pytest.raises(KeyError):
        both.restricted(["nothing"])


def test_equal_when_they_decide_equally() -> None:
    given: dict[str, object] = {"paths": ["/etc/nginx"], "exclude": ["*.bak"]}
    assert areas(proxy=given) == areas(proxy=given)
    assert areas(proxy=given) != areas(proxy={"paths": ["/etc/nginx"]})
    assert areas(proxy=given) != areas((Never(b"etc/nginx/x", "x"),), proxy=given)
    cluster = Cluster.model_validate({"cluster": "edge", "areas": {"proxy": given}})
    assert Areas.of(cluster) != Areas.of(cluster, ignores=DEFAULT_IGNORES[1:])


def test_walker_gets_the_same_answer_level_by_level() -> None:
    one = areas(proxy={"paths": ["/etc/nginx"], "exclude": ["*.bak", "/etc/nginx/a/b"]})
    for path in (b"etc/nginx/a/b", b"etc/nginx/a/c", b"etc/nginx/x.bak", b"etc/nginx/x~", b"etc/nginx/x"):
        assert one.why_child_excluded("proxy", path) == one.why_excluded(path)


def test_many_paths_and_a_very_deep_one_cost_a_few_steps_each() -> None:
    one = areas(proxy={"paths": ["/etc/nginx"], "exclude": ["*.bak"]}, dns={"paths": ["/etc/unbound"]})
    paths = [b"etc/nginx/d%03d/file%05d.conf" % (number % 1000, number) for number in range(10_000)]
    found, steps = calls(lambda: {one.area_of(path) for path in paths})
    assert found == {"proxy"}
    assert steps < 100 * len(paths)
    assert one.area_of(b"etc/nginx/" + b"/".join([b"d"] * 2000)) == "proxy"
