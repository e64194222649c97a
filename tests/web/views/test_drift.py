"""Which nodes drifted, and between which two states to look."""

from __future__ import annotations

from syncsrv.web.views.drift import calm, drifted
from tests.web.views.standings import backup, master, peer


def test_on_a_master_a_peers_live_state_is_its_main_as_last_known() -> None:
    (found,) = drifted(master({"fw2": peer("drifted", drift=("etc/a",)), "fw3": peer()}))
    assert (found.node, found.base, found.live, found.paths) == ("fw2", "sync/000002", "fw2/main", ("etc/a",))


def test_on_a_backup_it_is_its_own_disk() -> None:
    (found,) = drifted(backup("drifted", sync={"drift": ("etc/a",)}))
    assert (found.node, found.live, found.lost) == ("fw2", "", False)


def test_nothing_is_said_of_a_node_that_does_not_answer_or_was_never_synchronized() -> None:
    peers = {"fw2": peer(), "fw3": peer("unreachable"), "fw4": peer("awaiting_first_sync", applied_tag=None)}
    assert calm(master(peers)) == ("fw2",)
    assert calm(backup("awaiting_first_sync", sync={"applied_tag": None})) == ()
    assert calm(backup()) == ("fw2",)
