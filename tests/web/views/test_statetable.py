"""The tables of connections on the pages: side by side, in the overview's row, and what a failover would do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncsrv.control.shapes import Status
from syncsrv.web.views.failover import outlooks
from syncsrv.web.views.holders import standing
from syncsrv.web.views.ledger import ledger
from syncsrv.web.views.members import members
from syncsrv.web.views.nodes import pairs
from syncsrv.web.views.statetable import Value, lines
from tests.web.views.failovers import AT, STANDINGS, TABLE, TABLES, serving, tables, two, waiting
from tests.web.views.standings import NOW


def shown(status: Status) -> dict[str, tuple[Value, ...]]:
    return {line.label: line.values for line in lines(members(status, AT))}


def test_all_is_well() -> None:
    found = shown(TABLES["ready"])
    assert [*found] == [
        *("State", "Connections", "Carried to the other node", "Received from the other node", "Messages that wait"),
        "Errors since its start",
        *("The other node", "Its table", "Last order", "Links", "Read"),
    ]
    assert {label: [one.text for one in values] for label, values in found.items()} == {
        "State": ["ready", "ready"],
        "Connections": ["18,437", "18,431"],
        "Carried to the other node": ["18,001", "18,001"],
        "Received from the other node": ["912", "912"],
        "Messages that wait": ["0", "3"],
        "Errors since its start": ["0", "0"],
        "The other node": ["is heard", "is heard"],
        "Its table": ["is here", "is here"],
        "Last order": ["commit, flush, resync, bulk update"] * 2,
        "Links": ["sync: 10.3.0.1 on eth2"] * 2,
        "Read": ["0.3 s ago", "0.3 s ago"],
    }
    assert found["State"][0].kind == "ok"
    assert found["Last order"][0].notes == ("done 5 min ago, in 0.04 s",)
    assert found["Links"][0].notes == ("multicast, UDP port 3780",)


def test_without_a_state_sync_there_is_no_table() -> None:
    assert lines(members(STANDINGS["serves"], AT)) == ()
    assert [row.label for row in pairs(STANDINGS["serves"], NOW)[0].rows if row.label == "State table"] == []


@pytest.mark.parametrize("name", ["dead", "missing", "off", "unknown", "one has none", "waiting", "a newer word"])
def test_only_a_ready_node_is_green(name: str) -> None:
    here, there = shown(TABLES[name])["State"]
    assert here.kind == "ok"
    assert there.kind != "ok"


def test_what_is_old_is_last_known() -> None:
    found = shown(TABLES["unknown"])
    assert (found["Connections"][1].text, found["Connections"][1].lost) == ("18,437", True)
    assert (found["State"][1].text, found["State"][1].notes) == ("unknown", ("Nothing was said for 40 s.",))
    assert not found["Connections"][0].lost


def test_what_was_never_counted_is_not_0() -> None:
    assert [one.text for one in shown(TABLES["off"])["Connections"]] == ["18,437", "?"]
    assert [one.text for one in shown(TABLES["off"])["Errors since its start"]] == ["0", "?"]


def test_an_order_that_failed_and_errors_are_named() -> None:
    found = shown(TABLES["failed order"])
    order, errors = found["Last order"][0], found["Errors since its start"][0]
    assert (order.kind, order.notes[0]) == ("bad", "It failed: conntrackd did not answer.")
    assert (errors.text, errors.kind, errors.notes) == ("3", "warn", ("full: 1", "lost: 2"))


def test_several_links_have_several_ports() -> None:
    links = (TABLE.links[0], replace(TABLE.links[0], interface="spare", device="eth3"))
    value = shown(tables(replace(TABLE, links=links), TABLE))["Links"][0]
    assert value.notes == ("multicast, UDP port 3780 to 3781; the first is used, the others stand by",)


@pytest.mark.parametrize(
    ("name", "sign", "kind"),
    [
        ("ready", "same", ""),
        ("waiting", "different", "todo"),
        ("alone", "different", "warn"),
        ("dead", "different", "bad"),
        ("unknown", "unknown", ""),
        ("one has none", "different", "warn"),
    ],
)
def test_the_row_of_the_overview(name: str, sign: str, kind: str) -> None:
    (row,) = (row for row in pairs(TABLES[name], NOW)[0].rows if row.label == "State table")
    assert (row.sign, row.kind) == (sign, kind)


CLAIMS = {
    "ready": ("ok", "Open connections would live on", "fw1 carries 18,001 connections, fw2 knows 18,431."),
    "waiting": ("warn", "Open connections would break", "fw2: it waits for the table of fw1."),
    "dead": ("warn", "Open connections would break", "fw2: conntrackd ended with status 1."),
    "unknown": ("off", "Whether open connections would live on is not known", "Nothing was said for 40 s."),
    "timed out": ("warn", "Some open connections would break", "fw2 did not get the whole table."),
    "one has none": ("warn", "Open connections would break", "fw2 has no state sync."),
    "far apart": (
        "warn",
        "Open connections would break",
        "fw1: this node knows 18437 connections, fw2 3: a failover now breaks open connections.",
    ),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_whether_connections_would_live_on(name: str) -> None:
    (outlook,) = outlooks(TABLES[name], NOW)
    said = [(one.kind, one.claim, one.evidence) for one in outlook.facts if "connections" in one.claim]
    assert said == [CLAIMS[name]]
    assert (outlook.kind == "ok") == (name == "ready")


def test_a_pair_that_never_had_one_is_no_worse_for_it() -> None:
    (outlook,) = outlooks(STANDINGS["serves"], NOW)
    (fact,) = (one for one in outlook.facts if "connections" in one.claim)
    assert (fact.kind, fact.icon) == ("off", "later")
    assert outlook.kind == "ok"
    (held,) = outlooks(two(waiting("fw2"), serving()), NOW)
    assert held.node == "fw1"


def test_the_sentence_of_the_overview_knows_it() -> None:
    found = standing(TABLES["dead"], AT)
    assert found is not None
    assert found.kind == "warn"
    assert "trouble on fw1: a failover now breaks open connections: fw2 does not take this node's" in found.title
    assert found.step == "See its log."


def test_the_ledger_looks_at_it_where_there_is_one() -> None:
    labels = {name: [entry.label for entry in ledger(members(status, AT))] for name, status in TABLES.items()}
    assert all("state table" in found for found in labels.values())
    assert "state table" not in [entry.label for entry in ledger(members(STANDINGS["serves"], AT))]
