"""What ``status`` tells a person, and a program."""

from __future__ import annotations

import json
from dataclasses import fields, replace

from syncsrv.control.shapes import HeadInfo, LastSync, PeerInfo, Status, SyncInfo
from syncsrv.control.shapes_history import LeftOutInfo
from syncsrv.control.shapes_services import ServiceInfo
from tests.cli.toycore import Toy

SYNC = SyncInfo(
    state="drifted", reason="fw2: changed there since sync/000003: /etc/a", remedy="look at `syncsrv diff`",
    applied_tag="sync/000003", areas={"proxy": "sync/000003"}, behind=2, drift=(), known_good=None, confirm_by=None,
    hold=None, last=LastSync("j1", "done", "2026-11-23T02:13:04Z"),
)  # fmt: skip
NGINX = ServiceInfo("nginx", "running", None, 17, True, "ok", "")
DNS = ServiceInfo("unbound-with-a-long-name", "failed", None, None, False, "failing", "it ended with status 1")
FW2 = PeerInfo(
    role="backup", reachable=True, seen_at="2026-11-23T02:13:04Z", age_s=3.1, version="1.0", state="drifted",
    reason="changed there since sync/000003: /etc/a", remedy="bring it to the master", applied_tag="sync/000003",
    behind=2, drift=("/etc/a",), services=(NGINX,),
)  # fmt: skip
MASTER = Status(
    node="fw1", role="master", version="1.0", cluster="edge",
    head=HeadInfo("a" * 40, "2026-11-23T02:13:04Z", "open the port"), last_tag="sync/000003", untagged=1, sync=SYNC,
    peers={"fw2": FW2}, services=(NGINX, DNS), left_out=(LeftOutInfo("/etc/pipe", "proxy", "fifo", "a FIFO"),),
    notices=("not started as root: one user",),
)  # fmt: skip


def test_a_master_for_people(toy: Toy) -> None:
    toy.will("status", MASTER)
    said = toy.cli("status")
    assert (said.status, said.err) == (0, "")
    assert said.out.splitlines() == [
        "fw1, master of edge: drifted  fw2: changed there since sync/000003: /etc/a",
        "  what to do: look at `syncsrv diff`",
        "  live       aaaaaaaaaa  open the port  (2026-11-23T02:13:04Z)",
        "  last tag   sync/000003; 1 untagged commit after it",
        "fw2, backup, heard 3 s ago: drifted  changed there since sync/000003: /etc/a",
        "  what to do: bring it to the master",
        "  applied    sync/000003; 2 behind",
        "  nginx  running  health ok  pid 17  restart pending: it runs with an older configuration",
        "services",
        "  nginx                     running  health ok       pid 17  "
        "restart pending: it runs with an older configuration",
        "  unbound-with-a-long-name  failed   health failing          it ended with status 1",
        "not in the history: /etc/pipe (a FIFO)",
        "note: not started as root: one user",
    ]


def test_a_backup_that_never_heard_its_master(toy: Toy) -> None:
    unheard = PeerInfo(None, False, None, None, None, "unknown", "fw1 was not heard since this node started", "look")
    sync = replace(SYNC, state="awaiting_first_sync", applied_tag=None, remedy="")
    toy.will("status", replace(MASTER, node="fw2", role="backup", head=None, sync=sync, peers={"fw1": unheard}))
    lines = toy.cli("status").out.splitlines()
    assert lines[1] == "  applied    nothing yet; known-good none"
    assert lines[2] == "fw1, never heard: unknown  fw1 was not heard since this node started"
    assert not any(line.startswith("  live") for line in lines)


def test_it_exits_0_whatever_it_says_and_json_is_the_whole_object(toy: Toy) -> None:
    toy.will("status", MASTER)
    said = toy.cli("status", "--json")
    assert said.status == 0
    assert said.json["peers"]["fw2"]["age_s"] == 3.1
    assert said.json.keys() == {field.name for field in fields(Status)}
    assert said.json == json.loads(toy.cli("--json", "status").out)


def test_a_core_that_is_not_there(toy: Toy) -> None:
    toy.server.close()
    said = toy.cli("status")
    assert (said.status, said.out) == (1, "")
    assert said.err.startswith(f"syncsrv: cannot ask core at {toy.socket}: it is not running")
    assert "start it with `systemctl start syncsrv-core`" in said.err
    error = toy.cli("status", "--json").json["error"]
    assert error.keys() == {"code", "message", "remedy"}
    assert error["code"] == "core-away"
