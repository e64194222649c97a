"""Each guard fires when it should, stays quiet when it should, and says what it saw and how to go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncsrv.config.model import Area, Cluster, Health, ManagerKind, Node, Role, Service, Ssh, Web
from syncsrv.plan import guards
from syncsrv.plan.diff import Change
from syncsrv.plan.guards import Guard
from syncsrv.plan.tree import Entry
from tests.plan.trees import directory, file

NODE = Node(
    node="fw2", role=Role.BACKUP, root=Path("/"), ssh=Ssh(listen="192.0.2.2:8022"), web=Web(listen="127.0.0.1:8443")
)

LISTENERS = guards.listeners(NODE)


def gone(count: int, area: str = "proxy") -> list[Change]:
    return [Change(b"etc/%s/%d" % (area.encode(), n), area, file(), None) for n in range(count)]


def live(count: int, area: str = "proxy") -> tuple[dict[bytes, Entry], dict[bytes, str]]:
    tree = {b"etc/%s/%d" % (area.encode(), n): file() for n in range(count)}
    return tree, dict.fromkeys(tree, area)


@pytest.mark.parametrize(
    ("deleted", "held", "fires"),
    [
        (9, 9, False),  # all of it, but fewer than 10
        (10, 49, True),  # more than a fifth
        (10, 50, False),  # exactly a fifth
        (50, 1000, False),
        (51, 1000, True),
        (0, 10, False),
    ],
)
def test_mass_deletion(deleted: int, held: int, fires: bool) -> None:
    fired = guards.mass_deletion(gone(deleted), *live(held))
    assert (fired is not None) is fires
    if fired is not None:
        assert fired.guard is Guard.MASS_DELETION
        assert f"{deleted} of {held} in area proxy" in fired.saw
        assert "--force mass-deletion" in fired.remedy


def test_emptied_directories_are_no_mass_deletion() -> None:
    changes = [Change(b"etc/proxy/%d" % n, "proxy", directory(), None) for n in range(100)]
    assert guards.mass_deletion(changes, *live(100)) is None


def test_drift_fires_only_for_what_would_be_overwritten() -> None:
    changes = [Change(b"etc/nginx/a", "proxy", file("mine"), file("theirs"))]
    assert guards.drift([b"etc/nginx/other"], changes) is None
    fired = guards.drift([b"etc/nginx/a"], changes)
    assert fired is not None
    assert "/etc/nginx/a" in fired.saw
    assert "--force drift" in fired.remedy


def cluster(**services: Service) -> Cluster:
    return Cluster(
        cluster="edge",
        areas={"proxy": Area(paths=("/etc/nginx",), check=("nginx", "-t"), services=tuple(services))},
        services=dict(services),
    )


def test_commands_shows_old_and_new_of_everything_that_would_run() -> None:
    old = cluster(web=Service(manager=ManagerKind.COMMAND, start=("a",), stop=("b",), status=("c",)))
    new = cluster(
        web=Service(
            manager=ManagerKind.COMMAND,
            start=("evil", "x y"),
            stop=("b",),
            status=("c",),
            health=Health(exec=("probe",)),
        )
    )
    fired = guards.commands(old, new)
    assert fired is not None
    assert "\n  services.web.start: a -> evil 'x y'" in fired.saw
    assert "services.web.health.exec: nothing -> probe" in fired.saw
    assert "stop" not in fired.saw
    assert guards.commands(new, new) is None


def test_a_command_that_goes_away_is_nothing_to_be_afraid_of() -> None:
    with_service = cluster(web=Service(manager=ManagerKind.COMMAND, start=("a",), stop=("b",), status=("c",)))
    assert guards.commands(with_service, cluster()) is None


def test_version_and_older() -> None:
    assert guards.version("1.0", "1.0") is None
    fired = guards.version("1.0", "1.1")
    assert fired is not None
    assert "1.0" in fired.saw
    assert "1.1" in fired.saw
    assert guards.older(False, "sync/000002", "sync/000001") is None
    old = guards.older(True, "sync/000001", "sync/000002")
    assert old is not None
    assert "sync/000001 is older than sync/000002" in old.saw


@pytest.mark.parametrize("path", [b"etc/ssh/sshd_config", b"etc/network/interfaces", b"etc/netplan/10.yaml"])
def test_lock_out_by_path(path: bytes) -> None:
    fired = guards.lock_out([Change(path, "base", file("a"), file("b"))], {}, LISTENERS)
    assert fired is not None
    assert path.decode() in fired.saw


def test_lock_out_when_a_rule_no_longer_speaks_of_our_listener() -> None:
    path = b"etc/nftables.conf"
    change = [Change(path, "fw", file("a"), file("b"))]
    old, new = b"tcp dport { 22, 8022 } accept\n", b"tcp dport 22 accept\n"
    fired = guards.lock_out(change, {path: (old, new)}, LISTENERS)
    assert fired is not None
    assert "ssh.listen" in fired.saw
    assert guards.lock_out(change, {path: (new, new)}, LISTENERS) is None
    assert guards.lock_out(change, {path: (b"dport 18022", b"")}, LISTENERS) is None  # another port that contains it


def test_the_sentence_names_five_and_counts_the_rest() -> None:
    drifted = [b"etc/nginx/%d" % n for n in range(9)]
    changes = [Change(path, "proxy", file("a"), file("b")) for path in drifted]
    fired = guards.drift(drifted, changes)
    assert fired is not None
    assert "and 4 more" in fired.saw


def test_a_word_that_is_no_guard_is_refused() -> None:
    guards.refuse_unknown(guard.value for guard in guards.Guard)
    with pytest.raises(guards.UnknownGuardError) as said:
        guards.refuse_unknown(["older", "drfit"])
    assert (said.value.message, said.value.remedy) == (
        "cannot force drfit: there is no guard of that name",
        "did you mean drift?",
    )
    assert said.value.exit_status == 2
    assert "mass-deletion, " in guards.UnknownGuardError("x").remedy


def test_a_listener_written_with_its_address_counts_too() -> None:
    assert guards.names_listener(b"ip daddr 192.0.2.2:8022 accept", "192.0.2.2:8022")
    assert guards.names_listener(b"proxy_pass 127.0.0.1:8443;", "127.0.0.1:8443")
    assert not guards.names_listener(b"proxy_pass 127.0.0.1:18443;", "127.0.0.1:8443")


def test_a_node_that_serves_and_one_of_which_that_is_unknown() -> None:
    assert guards.target_is_master("fw2", []) is None
    fired = guards.target_is_master("fw2", ["1@lan (192.0.2.10/24)", "2@wan (198.51.100.10/24)"], "it is silent")
    assert fired is not None
    assert fired.guard is Guard.TARGET_IS_MASTER
    assert "fw2 is MASTER of 1@lan (192.0.2.10/24), 2@wan (198.51.100.10/24)" in fired.saw
    assert "`syncsrv vip switchover` on fw2" in fired.remedy
    unknown = guards.target_is_master("fw2", [], "it is silent")
    assert unknown is not None
    assert unknown.saw == "whether fw2 is MASTER of a virtual address cannot be told: it is silent"
    for one in (fired, unknown):
        assert "an admin repeats with --force target-is-master" in one.remedy
    assert Guard.TARGET_IS_MASTER in guards.NEEDS_ADMIN
