"""The sentence at the top of Changes: nothing is said to be equal that is not known to be."""

from __future__ import annotations

from dataclasses import replace

from syncsrv.control.shapes_history import AreaCount
from syncsrv.control.shapes_page import NodePreview
from syncsrv.web.views.changes import Target, Totals
from syncsrv.web.views.headline import headline, stop

PREVIEW = NodePreview(
    plan="digest",
    base="b" * 40,
    target="t" * 40,
    tag="sync/000005",
    tag_next="",
    reachable=True,
    age_s=4.0,
    areas=(AreaCount("dns"),),
    deletions=(),
    services=(),
    checks=(),
    guards=(),
)
EQUAL = Target("fw2", "fw1", PREVIEW, Totals(0, 0, 0), state="in_sync", applied="sync/000004")


def differing(target: Target, **more: object) -> Target:
    preview = replace(target.preview, areas=(AreaCount("dns", 0, 1, 2),), **more)  # type: ignore[arg-type] # its own
    return replace(target, preview=preview, totals=Totals.of(preview.areas))


def test_equal_is_said_only_where_it_is_certain() -> None:
    head = headline([EQUAL], (), (), ())
    assert (head.title, head.equal) == ("fw2 has everything that fw1 has", True)
    assert stop([EQUAL], head) == "Nothing differs: there is nothing to synchronize."
    again = replace(EQUAL, state="failed")
    assert stop([again], headline([again], (), (), ())) == "", "the tag is recorded as applied"
    pulled = replace(EQUAL, is_peer=False, preview=replace(PREVIEW, ahead=None))
    head = headline([pulled], (), (), ())
    assert head.title == "fw2 has everything of sync/000005; what fw1 has since is not known here"
    assert not head.equal
    assert stop([pulled], head) == "Nothing newer is tagged: synchronize from fw1's page."
    away = replace(EQUAL, state="unreachable", preview=replace(PREVIEW, reachable=False, age_s=7300.0))
    head = headline([away], ("dns",), (), ())
    assert head.title == "As last known (2 hours ago), nothing differs between fw1 and fw2 in dns"
    assert stop([away], head) == "Not possible: fw2 does not answer."


def test_a_backup_may_try_although_its_master_is_silent() -> None:
    pulled = replace(differing(EQUAL, reachable=False), is_peer=False, state="changes_pending")
    head = headline([pulled], (), (), ())
    assert head.title == "Synchronize would change 3 files on fw2, as last known (4 seconds ago)"
    assert stop([pulled], head) == ""


def test_of_several_one_that_is_away_does_not_keep_the_others() -> None:
    away = replace(EQUAL, node="fw3", state="unreachable", preview=replace(PREVIEW, reachable=False))
    head = headline([EQUAL, away], (), (), ())
    assert head.title == "As last known, nothing differs between fw1 and fw2 and fw3"
    assert not head.equal
    moving = differing(EQUAL)
    head = headline([moving, away], (), (), ())
    assert head.title == "Synchronize would change 1 of 2 backups"
    assert stop([moving, away], head) == ""
    both = headline([EQUAL, replace(EQUAL, node="fw3")], (), (), ())
    assert both.title == "fw2 and fw3 have everything that fw1 has"


def test_a_tag_is_what_the_master_runs_only_where_it_is() -> None:
    def text(**more: object) -> str:
        return headline([differing(replace(EQUAL, is_peer=False), **more)], (), (), ()).text

    assert "live on fw2, to what fw1 runs now, tagged sync/000005." in text()
    assert "to sync/000005, the newest tag of fw1, which has 4 untagged changes since." in text(ahead=4)
    assert "whether fw1 has changed since is not known here." in text(ahead=None)
    assert "refused: nginx -t failed; fw1 has moved on since." in text(ahead=1, failed="nginx -t failed:\nits output")
    assert "refused: nginx -t failed. 3 files" in text(failed="nginx -t failed")


def test_what_was_done_on_the_backup_is_told() -> None:
    drifted = replace(differing(EQUAL), drift=frozenset({"/etc/a", "/etc/b"}))
    assert headline([drifted], (), (), ()).text.startswith("From sync/000004 with 2 files changed on fw2 since ")
    back = replace(drifted, preview=replace(drifted.preview, rolled_back="to 13d4e3b000 by alice: because"))
    text = headline([back], (), (), ()).text
    assert text.startswith("fw2 was rolled back to 13d4e3b000 since sync/000004 (2 files differ). Synchronize would")
    head = headline([drifted], (), (), ())
    assert head.parts[1::2] == ["sync/000004", "sync/000005"], "the names of tags"


def test_what_cannot_be_is_said_first() -> None:
    notice = "cluster.yaml is not in force, it has problems: line 3"
    refused = replace(EQUAL, preview=replace(PREVIEW, refusals=(f"cannot tag main: {notice}",)))
    head = headline([refused], (), (AreaCount("dns", changed=2),), (notice,))
    assert head.title == "Synchronizing fw2 is not possible until cluster.yaml is mended"
    assert head.text == f"Cannot tag main: {notice}. What differs is listed below: 2 files."
    assert headline([refused], (), (), ()).title == "Synchronizing fw2 is not possible now"
