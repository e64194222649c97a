"""What ``show`` prints of one commit."""

from __future__ import annotations

from dataclasses import replace

from syncsrv.control.shapes_history import FileChange, ShowReply
from syncsrv.store.revisions import UnknownRevisionError
from tests.cli.test_log import ONE
from tests.cli.toycore import Toy

PATCH = "--- a/etc/a\n+++ b/etc/a\n@@ -1 +1 @@\n-\told\n+\tnew"
FILES = (
    FileChange("/etc/a", "changed", "proxy", "0644", "0600", "root:root", "www:www", patch=PATCH),
    FileChange("/etc/b", "removed", "proxy", "0644", None, binary=True),
    FileChange("/etc/new", "added", "proxy", None, "0644", None, "root:root"),
)
REPLY = ShowReply(ONE, "because\nof a ticket", ("c" * 40,), FILES)


def test_the_head_then_deletions_then_the_rest(toy: Toy) -> None:
    toy.will("show", REPLY)
    said = toy.cli("show", "main~1")
    assert said.status == 0
    assert said.out.splitlines() == [
        "commit " + "a" * 40 + " [sync/000001] [sync/000002]",
        "by     alice on fw1 via cli, 2026-11-23T02:13:04Z",
        "",
        "    open the port",
        "    because",
        "    of a ticket",
        "",
        "removed  /etc/b  (binary)",
        "changed  /etc/a  (mode 0644 -> 0600, owner root:root -> www:www)",
        "  --- a/etc/a",
        "  +++ b/etc/a",
        "  @@ -1 +1 @@",
        "  -       old",
        "  +       new",
        "added    /etc/new",
    ]
    assert (toy.request("show").rev, toy.request("show").patch) == ("main~1", True)


def test_only_which_files(toy: Toy) -> None:
    toy.will("show", REPLY)
    assert "@@" not in toy.cli("show", "--stat", "main").out
    assert not toy.request("show").patch


def test_json_is_data_without_renderings(toy: Toy) -> None:
    toy.will("show", replace(REPLY, files=FILES[:1]))
    data = toy.cli("show", "main", "--json").json
    assert data["commit"]["commit"] == "a" * 40
    (file,) = data["files"]
    assert "patch" not in file
    assert (file["old_mode"], file["new_mode"], file["binary"]) == ("0644", "0600", False)


def test_a_revision_that_does_not_exist(toy: Toy) -> None:
    toy.will("show", UnknownRevisionError("nothing"))
    said = toy.cli("show", "nothing", "--json")
    assert said.status == UnknownRevisionError.exit_status
    assert "nothing" in said.json["error"]["message"]
    assert toy.cli("show").status == 2
