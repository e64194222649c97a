"""Who holds the addresses: the sentence for every state, and never good news about what is not known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from syncsrv.control.shapes import Status
from syncsrv.control.shapes_failover import Demotion, DeviceInfo
from syncsrv.web.views.holders import Standing, lead, standing
from syncsrv.web.views.verdict import answer
from tests.web.views.failovers import (
    AT,
    STANDINGS,
    on_fw2,
    serving,
    told,
    two,
    vip,
    vips,
    waiting,
)
from tests.web.views.standings import master, peer

SAID = {
    "serves": ("ok", "same", "fw1 holds all 3 addresses; fw2 is ready behind it."),
    "backup serves": ("todo", "different", "fw2 holds all 3 addresses; fw1 is back and stays BACKUP: it is BACKUP."),
    "two masters": (
        "bad",
        "conflict",
        "Two masters: fw1 and fw2 both hold 192.0.2.10, 2001:db8::10, 198.51.100.10 on lan and wan.",
    ),
    "nobody": ("bad", "different", "Nobody holds 192.0.2.10, 2001:db8::10, 198.51.100.10."),
    "unknown": ("bad", "unknown", "UNKNOWN: the carp process on fw1 does not answer."),
    "unknown there": ("bad", "unknown", "UNKNOWN: the carp process on fw2 does not answer."),
    "unreachable": (
        "bad",
        "unknown",
        "fw1 holds all 3 addresses; fw2 does not answer, so whether it is ready is not known.",
    ),
    "maintenance": (
        "warn",
        "different",
        "fw2 holds all 3 addresses; fw1 is back and stays BACKUP because it is in maintenance.",
    ),
    "not taken": (
        "bad",
        "different",
        "fw1 holds all 3 addresses; it is in maintenance, and no peer took over.",
    ),
    "demoted": ("warn", "different", "fw1 holds all 3 addresses; fw2 is demoted by 240 (link:eth1 240)."),
    "held back": (
        "warn",
        "different",
        "fw2 holds all 3 addresses; fw1 is back and stays BACKUP because fw2 is diverged.",
    ),
    "apart": (
        "warn",
        "different",
        "fw1 holds 2 of 3 addresses and fw2 holds 198.51.100.10; they do not move together.",
    ),
    "alone": ("off", "different", "fw1 holds all 3 addresses; no other node is configured."),
    "stranger": (
        "warn",
        "different",
        "192.0.2.9, which is no node of this cluster, holds all 3 addresses; what 192.0.2.9 runs is not known here.",
    ),
}


def found(status: Status) -> Standing:
    said = standing(status, AT)
    assert said is not None
    return said


@pytest.mark.parametrize("name", STANDINGS)
def test_the_sentence(name: str) -> None:
    said = found(STANDINGS[name])
    assert (said.kind, said.sign, said.title) == SAID[name]


def test_where_none_are_configured_nothing_is_said() -> None:
    assert standing(master(), AT) is None
    plain = answer(master())
    assert lead(plain, None, master(), "operator") is plain


def test_only_what_is_well_is_green() -> None:
    assert [name for name, status in STANDINGS.items() if found(status).kind == "ok"] == ["serves"]


@pytest.mark.parametrize("name", [name for name in STANDINGS if name not in {"serves", "alone", "stranger"}])
def test_what_is_wrong_has_a_first_step(name: str) -> None:
    assert found(STANDINGS[name]).step


def test_a_takeover_is_not_two_masters_because_the_peer_was_read_before_it() -> None:
    """fw2 was read at 04:21:10, as MASTER; fw1 has become MASTER since."""
    just = two({"vips": vips("MASTER", since="2026-11-23T04:21:11Z"), "failover": told()}, serving())
    said = found(just)
    assert said.sign != "conflict"
    assert said.title.startswith("fw1 holds all 3 addresses")
    late = two({"vips": vips("MASTER", since="2026-11-23T04:21:09Z"), "failover": told()}, serving())
    assert found(late).sign == "conflict"


def test_nobody_is_not_said_while_somebody_may_be_about_to_take_over() -> None:
    young = vips("BACKUP", since="2026-11-23T04:21:09Z")
    said = found(two({"vips": young, "failover": told()}, {"vips": young, "failover": told()}))
    assert (said.kind, said.sign) == ("todo", "unknown")
    old = vips("BACKUP")
    assert found(two({"vips": old, "failover": told()}, {"vips": old, "failover": told()})).title.startswith("Nobody")


def test_what_is_heard_on_the_wire_holds_where_ssh_is_silent() -> None:
    said = found(two(waiting("fw2"), serving(), "unreachable"))
    assert said.title.startswith("fw2 holds all 3 addresses")
    assert said.kind == "bad"


def test_what_a_lost_node_said_last_is_no_proof() -> None:
    alone = vips("BACKUP", since="2026-11-22T22:05:00Z")
    said = found(two({"vips": alone, "failover": told()}, serving(), "unreachable"))
    assert said.title == "Who holds the addresses is not known now."
    assert (said.kind, said.text) == ("bad", "fw2 does not answer.")


def test_the_cause_of_two_masters_is_what_was_counted() -> None:
    deaf = DeviceInfo("eth0", ("lan",), True, ("192.0.2.1",), badauth=("192.0.2.2 vhid 1",))
    there = told(devices=(DeviceInfo("eth0", ("lan",), True, ("192.0.2.2",)),))
    said = found(two(serving(failover=told(devices=(deaf,))), serving(failover=there)))
    assert "192.0.2.2 vhid 1 with other addresses or another password" in said.text
    assert "password of the VIP equal" in said.step
    stranger = replace(deaf, badauth=("192.0.2.77 vhid 1",))
    assert "192.0.2.77" not in found(two(serving(failover=told(devices=(stranger,))), serving(failover=there))).text
    both = "1@lan: fw1 and fw2 are both MASTER for 9 s: fw1 hears fw2, and fw2 does not hear fw1; let it pass"
    said = found(two(serving(failover=told(troubles=("eth9: another thing; mend it", both))), serving()))
    assert said.text == "1@lan: fw1 and fw2 are both MASTER for 9 s: fw1 hears fw2, and fw2 does not hear fw1."
    assert said.step.startswith("Let it pass. Until then, on the node that should not serve: `syncsrv vip disable`")
    assert "syncsrv vip disable" in found(two(serving(), serving())).step


def test_a_trouble_is_never_green() -> None:
    said = found(two(serving(failover=told(troubles=("1@lan: fw1 drops what fw2 sends; see it", "more"))), waiting()))
    assert (said.kind, said.step) == ("warn", "See it.")
    assert "trouble on fw1: 1@lan: fw1 drops what fw2 sends (and 1 other trouble)" in said.title


@pytest.mark.parametrize(
    ("more", "twice"),
    [
        ({"contested_by": "fw2", "contested_s": 0.5}, True),
        ({"contested_by": "fw2", "contested_s": 30.0}, False),
        ({"contested_by": "fw2", "contested_s": 0.5, "since": "2026-11-23T04:21:11Z"}, False),
        ({"contested_by": "", "contested_s": None}, False),
    ],
)
def test_a_rival_that_is_only_heard_is_a_second_master(more: dict[str, Any], twice: bool) -> None:
    """SSH is silent, and this node is the better one: it stays MASTER and hears the other advertise."""
    said = found(two(serving(vips=vips("MASTER", **more)), waiting(), "unreachable"))
    assert (said.sign == "conflict") is twice


def test_one_vip_of_two_may_be_held_twice() -> None:
    there = {"vips": (vip("BACKUP", node="fw1"), vip("MASTER", "wan")), "failover": told()}
    said = found(two(serving(), there))
    assert (said.title, said.wrong) == ("Two masters: fw1 and fw2 both hold 198.51.100.10 on wan.", 1)


def test_an_address_that_is_not_there_and_one_that_another_machine_answers_for_are_said() -> None:
    gone = replace(vip("MASTER"), held=())
    said = found(two({"vips": (gone,), "failover": told()}, {"vips": (vip("BACKUP", node="fw1"),), "failover": told()}))
    assert said.kind == "bad"
    assert "192.0.2.10/24, 2001:db8::10/64 is not on its device" in said.title
    other = vip("MASTER", conflicts=("02:00:00:00:00:07 answers for 192.0.2.10 too",))
    said = found(
        two({"vips": (other,), "failover": told()}, {"vips": (vip("BACKUP", node="fw1"),), "failover": told()})
    )
    assert "02:00:00:00:00:07 answers for 192.0.2.10 too" in said.title


def test_best_effort_and_hold_down_are_said() -> None:
    slow = told(timing="best effort: no real-time scheduling")
    assert "best effort" in found(two(serving(), waiting(failover=slow))).title
    booted = found(two(serving(), waiting(failover=told(hold_down_s=8.0))))
    assert (booted.kind, "takes nothing over for 8 s yet" in booted.title) == ("todo", True)


def test_a_backup_says_the_same_of_both() -> None:
    said = found(on_fw2(waiting(), serving()))
    assert said.title == "fw1 holds all 3 addresses; fw2 is ready behind it."


def test_a_node_without_the_newest_vips_is_not_ready() -> None:
    bare = {"vips": (vip("BACKUP", node="fw1"),), "failover": told()}
    assert found(two(serving(), bare)).title.endswith("fw2 does not have 2@wan yet.")
    none = two(serving(), {})
    assert found(none).title.endswith("fw2 has no virtual addresses configured.")


LEADS = {
    "serves": "fw1 and fw2 are the same; fw1 holds all 3 addresses.",
    "unreachable": "fw2 does not answer; what it runs now is not known.",
    **{name: SAID[name][2] for name in ("two masters", "nobody", "unknown", "maintenance", "demoted", "apart")},
}


@pytest.mark.parametrize("name", LEADS)
def test_the_overview_says_the_worse_of_both_first(name: str) -> None:
    status = STANDINGS[name]
    said = lead(answer(status), standing(status, AT), status, "operator")
    assert said.title == LEADS[name]
    if name == "unreachable":
        assert "fw1 holds all 3 addresses" in said.also
    assert said.kind == SAID[name][0]


def test_what_is_worse_than_failover_stays_first() -> None:
    status = master({"fw2": peer("diverged", **waiting(demotion=Demotion(10, {"disk": 10})))}, **serving())
    said = lead(answer(status), standing(status, AT), status, "operator")
    assert said.title == answer(status).title
    assert "fw1 holds all 3 addresses; fw2 is demoted by 10 (disk 10)" in said.also


def test_the_verbs() -> None:
    def labels(name: str, power: str = "operator") -> list[tuple[str, str]]:
        status = STANDINGS[name]
        said = lead(answer(status, power), standing(status, AT), status, power)
        return [(way.label, way.why) for way in said.ways]

    assert labels("two masters")[0] == ("Resolve two masters…", "")
    assert labels("nobody")[0] == ("See virtual IPs", "")
    assert ("Switch over…", "") in labels("serves")
    assert ("See virtual IPs", "") in labels("backup serves")
    assert ("Switch over…", "It needs the role operator") in labels("serves", "viewer")
    assert len(labels("serves")) == 3
