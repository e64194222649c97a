"""What a sync or a rollback would bring, in sentences; and pages of long lists."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from flask import Flask

from syncsrv.clock import SystemClock
from syncsrv.control.shapes import PeerInfo
from syncsrv.control.shapes_history import AreaCount, NodeDiff
from syncsrv.control.shapes_page import GuardInfo, NodePreview, ServicePlan
from syncsrv.web import colours
from syncsrv.web.views.changes import (
    Seen,
    Target,
    Totals,
    guards_of,
    hindrance,
    knowledge,
    marks,
    missing,
    newly,
    rollback_steps,
    same_areas,
    sync_steps,
    ticks,
    untouched,
)
from syncsrv.web.views.guardwords import on_page
from syncsrv.web.views.pager import pager

PREVIEW = NodePreview(
    plan="digest",
    base="b" * 40,
    target="t" * 40,
    tag="",
    tag_next="sync/000042",
    reachable=True,
    age_s=4.0,
    areas=(AreaCount("proxy", 1, 1, 2), AreaCount("dns", changed=1), AreaCount("cluster")),
    deletions=("/etc/nginx/legacy.conf",),
    services=(ServicePlan("nginx", "reload"), ServicePlan("kea", "none", "it is stopped")),
    checks=(("proxy", "nginx -t"), ("dns", "unbound-checkconf")),
    guards=(GuardInfo("drift", "changed there", "look", False), GuardInfo("commands", "others", "ask", True)),
)
PEER = PeerInfo("backup", True, None, 1.0, "1", "changes_pending", "", "")


def target(preview: NodePreview = PREVIEW, source: str = "fw1", behind: int = 0) -> Target:
    return Target("fw2", source, preview, Totals.of(preview.areas), behind)


def test_sentences_count_what_there_is() -> None:
    one = target()
    assert (one.counts, one.areas) == ("2 areas, 5 files", ("proxy", "dns"))
    assert one.totals.words == "5 files: 1 deleted, 1 added, 3 changed"
    assert Totals(0, 0, 0).words == "no file"
    assert Totals(0, 12_000, 0).words == "12,000 files: 12,000 added"


def test_the_steps_of_a_sync_say_what_is_done_where() -> None:
    steps = sync_steps(target())
    assert [(step.text, step.where) for step in steps] == [
        ("Tag what fw1 runs as sync/000042, signed by fw1", "fw1"),
        ("Stage 5 files and run on the stage", "fw2"),
        ("Write 4 files, delete 1 file last; read all back", "fw2"),
        ("Reload nginx", "fw2"),
        ("Check that the services are well, then mark the state as known good", "fw2"),
    ]
    assert steps[1].commands == ("nginx -t", "unbound-checkconf")
    assert [one.name for one in untouched(PREVIEW.services)] == ["kea"]
    assert sync_steps(target(replace(PREVIEW, tag="sync/000041")))[0].text.startswith("Use sync/000041")
    pulled = sync_steps(target(replace(PREVIEW, tag="sync/000041", tag_next="")))
    assert pulled[0].text == "Fetch sync/000041 from fw1 and check its signature"


def test_the_steps_of_a_rollback_begin_with_what_is_kept() -> None:
    steps = rollback_steps("fw1", replace(PREVIEW, checks=(), services=(), areas=(AreaCount("dns", deleted=2),)))
    assert [step.text for step in steps] == [
        "Keep what fw1 runs now in its history",
        "Stage 2 files",
        "Delete 2 files; read all back",
        "Check that the services are well, then mark the state as known good",
    ]


def test_what_is_not_certain_is_said() -> None:
    assert knowledge("fw2", "fw1", PREVIEW, PEER) == ""
    away = replace(PREVIEW, reachable=False, age_s=7300.0)
    assert knowledge("fw2", "fw1", away, PEER) == (
        "fw2 does not answer. What is shown of it is what was last known, as it was 2 hours ago."
    )
    assert knowledge("fw2", "fw1", away, None).startswith("fw1 does not answer")
    assert "never reached" in knowledge("fw2", "fw1", replace(away, base=None), PEER)
    assert "not known here yet" in knowledge("fw2", "fw1", replace(PREVIEW, base=None), PEER)


def test_ticks_are_of_the_areas_that_differ() -> None:
    diff = NodeDiff("b", "t", (), 1, counts=(AreaCount("proxy", 1, 1, 2), AreaCount("dhcp", added=1)))
    found = ticks(diff, PREVIEW)
    assert {one.count.area: one.ticked for one in found} == {"proxy": True, "dhcp": False, "dns": True}
    assert same_areas(PREVIEW) == ("cluster",)
    assert [one.count.area for one in ticks(None, PREVIEW)] == ["proxy", "dns"]


@pytest.mark.parametrize(
    "may, admin, refusals, said",
    [
        (False, False, (), "you are viewer"),
        (True, False, (), "Only an admin can go on in spite of commands."),
        (True, True, (), ""),
        (True, True, ("cannot: a setuid bit",), "Nothing can force this"),
    ],
)
def test_a_button_that_cannot_work_says_why(may: bool, admin: bool, refusals: tuple[str, ...], said: str) -> None:
    why = hindrance([target(replace(PREVIEW, refusals=refusals))], may, "viewer", admin)
    assert said in why
    assert bool(why) == bool(said)


def test_a_guard_of_several_nodes_has_one_tick() -> None:
    one = target()
    other = replace(one, node="fw3", preview=replace(PREVIEW, guards=PREVIEW.guards[:1]))
    assert [(nodes, guard.guard) for nodes, guard in guards_of([one, other])] == [
        ("fw2, fw3", "drift"),
        ("fw2", "commands"),
    ]
    assert guards_of([one, other])[0][1].saw == "fw2: changed there; fw3: changed there"
    assert guards_of([one])[0][0] == "fw2"


@pytest.mark.parametrize(
    "name, saw, said",
    [
        ("drift", "changed here since the last sync: /etc/a", "changed on fw2 since its last sync: /etc/a"),
        ("commands", "it would run other commands as root on this node:\n  a: b", "as root on fw2:\n  a: b"),
        ("version", "this node runs syncsrv 2, the master 1", "fw2 runs syncsrv 2, the master 1"),
        ("older", "sync/000001 is older than sync/000002, which is applied here", "which is applied on fw2"),
        ("lock-out", "this could lock you out of the node: /etc/ssh", "lock you out of fw2: /etc/ssh"),
        ("mass-deletion", "60 files would be deleted", "60 files would be deleted"),
        ("soak", "of a newer version", "of a newer version"),
    ],
)
def test_a_guard_names_the_node_and_what_to_do_here(name: str, saw: str, said: str) -> None:
    found = on_page(GuardInfo(name, saw, "core's words", False), "fw2", "fw1")
    assert said in found.saw
    assert "here" not in found.saw
    assert (found.remedy == "core's words") == (name == "soak")


def test_guards_that_were_not_forced_are_named_once() -> None:
    assert missing(["drift", "older", "drift"], {"older"}) == ["drift"]


def test_what_is_new_since_the_last_look() -> None:
    before = Seen(frozenset(marks([target()])))
    assert newly(before, [target()]) == frozenset()
    assert newly(None, [target()]) == frozenset()
    now = replace(
        PREVIEW,
        deletions=(*PREVIEW.deletions, "/etc/x"),
        services=(ServicePlan("nginx", "restart"),),
        commands=(("areas.proxy.check", "nginx -t"),),
    )
    assert newly(before, [target(now)]) == {"fw2 /etc/x", "fw2 restart nginx", "fw2 areas.proxy.check nginx -t"}
    assert not any(re.search(r"[\x00-\x1f]", text) for text in marks([target(replace(now, deletions=("/a\n\x1b",)))]))
    other = replace(PREVIEW, guards=(GuardInfo("drift", "something else", "", False),))
    assert newly(before, [target(other)]) == {"drift something else"}


def test_of_several_nodes_each_has_its_own_news() -> None:
    two, three = target(), replace(target(replace(PREVIEW, deletions=(), services=())), node="fw3")
    before = Seen(frozenset(marks([two, three])))
    assert newly(before, [two, three]) == frozenset()
    now = replace(three, preview=replace(PREVIEW, services=()))
    assert newly(before, [two, now]) == {"fw3 /etc/nginx/legacy.conf"}, "also what was shown of the other before"


@pytest.mark.parametrize(
    "page, total, shown",
    [
        (1, 0, (1, 1, 1, 0)),
        (1, 50, (1, 1, 1, 50)),
        (2, 51, (2, 2, 51, 51)),
        (9, 120, (3, 3, 101, 120)),
        (-4, 60, (1, 2, 1, 50)),
    ],
)
def test_a_page_that_there_is_not_is_the_nearest(page: int, total: int, shown: tuple[int, int, int, int]) -> None:
    found = pager(page, total, 50, lambda number: f"?page={number}")
    assert (found.page, found.last, found.start, found.end) == shown
    assert found.previous == (f"?page={found.page - 1}" if found.page > 1 else "")
    assert found.next == (f"?page={found.page + 1}" if found.page < found.last else "")


def test_colours_are_remembered_by_the_process() -> None:
    app = Flask("test")
    app.extensions["syncsrv-clock"] = SystemClock()
    with app.app_context():
        first = colours.colours()("/etc/a.conf", "key value\n", "blob")
        assert first == colours.colours()("/etc/a.conf", "another", "blob")
