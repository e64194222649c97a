"""What ``diff`` prints, and that 0, 1 and 2 mean none, some and could not be found out."""

from __future__ import annotations

import pytest

from syncsrv.control.shapes_history import DiffReply, NodeDiff
from syncsrv.errors import SyncsrvError, UnreachableError
from tests.cli.test_show import FILES
from tests.cli.toycore import Toy

SOME = NodeDiff("a" * 40, "b" * 40, FILES, 1)
NONE = NodeDiff("a" * 40, "b" * 40, (), 0)


def test_what_synchronize_would_bring_to_each_backup(toy: Toy) -> None:
    stale = NodeDiff("a" * 40, "b" * 40, FILES[2:], 0, 12.4)
    toy.will("diff", DiffReply({"fw2": SOME, "fw3": stale, "fw4": NONE}))
    said = toy.cli("diff", "--stat")
    assert said.status == 1
    assert said.out.splitlines() == [
        "fw2: 3 paths would change, 1 deleted",
        "removed  /etc/b  (binary)",
        "changed  /etc/a  (mode 0644 -> 0600, owner root:root -> www:www)",
        "added    /etc/new",
        "fw3: 1 path would change, as it was 12 s ago: it cannot be reached now",
        "added    /etc/new",
        "fw4: nothing to bring",
    ]


def test_between_revisions(toy: Toy) -> None:
    toy.will("diff", DiffReply({"fw1": SOME}))
    said = toy.cli("diff", "main~1", "main", "--area", "proxy", "--area", "dns")
    assert (said.status, said.out.splitlines()[0]) == (1, "removed  /etc/b  (binary)")
    request = toy.request("diff")
    assert (request.revs, request.areas, request.patch) == (("main~1", "main"), ("proxy", "dns"), True)


def test_nothing_differs(toy: Toy) -> None:
    toy.will("diff", DiffReply({"fw1": NONE}))
    assert toy.cli("diff", "main").out == "Nothing differs.\n"
    assert toy.cli("diff").status == 0


@pytest.mark.parametrize("error", [SyncsrvError("cannot: no"), UnreachableError("cannot reach fw2: away", "look")])
def test_what_could_not_be_found_out_is_2_and_never_1(toy: Toy, error: SyncsrvError) -> None:
    toy.will("diff", error)
    said = toy.cli("diff", "--json")
    assert (said.status, said.json["error"]["message"]) == (2, error.message)
    assert toy.cli("diff", "a", "b", "c").status == 2
    toy.server.close()
    assert toy.cli("diff").status == 2


def test_json_is_the_contracts(toy: Toy) -> None:
    toy.will("diff", DiffReply({"fw2": SOME}))
    said = toy.cli("diff", "--json")
    node = said.json["nodes"]["fw2"]
    assert node.keys() >= {"base", "target", "files", "deletions"}
    assert node["files"][0].keys() >= {"path", "status", "area", "old_mode", "new_mode"}
    assert all("patch" not in one for one in node["files"])
    assert (said.status, toy.request("diff").patch) == (1, False)
