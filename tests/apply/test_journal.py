"""The journal: what is written is read back, and whatever is not ours is refused with a sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.apply.journal import Confirm, JobKind, Journal, JournalBusyError, JournalFormatError, Phase, Record
from syncsrv.apply.journal_format import FORMAT, decode, encode
from syncsrv.disk.operations import Op, Operation
from syncsrv.errors import DamagedError

RECORD = Record(
    job="20261123-7f3a",
    kind=JobKind.SYNC,
    pre_image="a" * 40,
    wanted="b" * 40,
    started_utc=datetime(2026, 11, 23, 2, 13, 4, tzinfo=UTC),
    operations=(
        Operation(Op.MKDIR, b"etc/new", b"etc/.syncsrv-20261123-7f3a-0.tmp"),
        Operation(Op.CREATE, b'etc/new/\xff \x01"%41', b"etc/.syncsrv-20261123-7f3a-1.tmp"),
        Operation(Op.META, b"etc/old"),
        Operation(Op.REMOVE, b"etc/old/\xc3\xa4"),
    ),
    target="e" * 40,
    main_expected="c" * 40,
    tag="sync/000041",
    tag_object="d" * 40,
    areas=("proxy", "dns"),
    requested_by="alice via fw1",
    via="sync",
    reason="Open port 8443 für das Portal\n",
    forced=("older",),
    services={"nginx": "reload"},
    restart_all=True,
    confirm=Confirm("0f0e", 1234.5, datetime(2026, 11, 23, 2, 23, 4, tzinfo=UTC)),
    services_before={"nginx": "running"},
)

WRITTEN = """\
{"format":1,"job":"20261123-7f3a","kind":"sync","phase":"prepared",\
"pre_image":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","wanted":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",\
"target":"eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",\
"main_expected":"cccccccccccccccccccccccccccccccccccccccc","tag":"sync/000041",\
"tag_object":"dddddddddddddddddddddddddddddddddddddddd","areas":["proxy","dns"],"requested_by":"alice via fw1",\
"via":"sync","reason":"Open port 8443 f\\u00fcr das Portal\\n","forced":["older"],\
"started_utc":"2026-11-23T02:13:04Z","paths":[\
["mkdir","etc/new","etc/.syncsrv-20261123-7f3a-0.tmp"],\
["create","etc/new/%FF%20%01%22%2541","etc/.syncsrv-20261123-7f3a-1.tmp"],\
["meta","etc/old",""],["remove","etc/old/%C3%A4",""]],\
"services":{"nginx":"reload"},"restart_all":true,\
"confirm":{"boot_id":"0f0e","boottime_s":1234.5,"utc":"2026-11-23T02:23:04Z"},"services_before":{"nginx":"running"}}
"""


def test_the_format_on_disk() -> None:
    """Another version may have to read this: a change here is a new FORMAT."""
    assert encode(RECORD).decode() == WRITTEN
    assert decode(WRITTEN.encode(), Path("j")) == RECORD


def test_a_life(tmp_path: Path) -> None:
    steps: list[str] = []
    journal = Journal(tmp_path, steps.append)
    assert journal.load() is None
    journal.begin(RECORD)
    assert journal.load() == RECORD
    for phase in (Phase.WRITING, Phase.APPLIED, Phase.REVERTING):
        assert journal.advance(phase) == replace(RECORD, phase=phase)
        assert Journal(tmp_path).load() == replace(RECORD, phase=phase)
    journal.remove()
    assert journal.load() is None
    assert list(tmp_path.iterdir()) == []
    assert steps == ["journal.begun", "journal.writing", "journal.applied", "journal.reverting", "journal.removed"]


def test_it_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin(RECORD)
    assert journal.path.stat().st_mode & 0o777 == 0o600


def test_a_second_apply_cannot_begin(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin(RECORD)
    with pytest.raises(JournalBusyError, match="neither finished nor undone"):
        journal.begin(replace(RECORD, job="other"))
    assert journal.load() == RECORD


def test_a_journal_that_vanished_stops_the_apply(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(DamagedError, match="has gone"):
        journal.advance(Phase.APPLIED)


def test_a_crash_while_it_is_written_leaves_the_old_one(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin(RECORD)
    whole = encode(replace(RECORD, phase=Phase.APPLIED))
    (tmp_path / ".journal.json.new").write_bytes(whole[: len(whole) // 2])
    assert Journal(tmp_path).load() == RECORD
    assert Journal(tmp_path).advance(Phase.WRITING).phase is Phase.WRITING


def test_fifty_thousand_paths(tmp_path: Path) -> None:
    operations = tuple(
        Operation(Op.CREATE, b"etc/area/folder/file%d" % number, b"etc/area/folder/.syncsrv-j-%d.tmp" % number)
        for number in range(50_000)
    )
    journal = Journal(tmp_path)
    journal.begin(replace(RECORD, operations=operations))
    assert journal.advance(Phase.APPLIED).operations == operations
    assert journal.path.stat().st_size < 8_000_000


@given(st.integers(0, len(WRITTEN) - 2))
def test_a_torn_one_is_damaged(length: int) -> None:
    with pytest.raises(DamagedError, match=r"cannot read the journal /s/journal\.json") as caught:
        decode(WRITTEN.encode()[:length], Path("/s/journal.json"))
    assert "rescue" in caught.value.remedy


@pytest.mark.parametrize("text", [b"", b"\0" * 500, b"null", b"[]", b'"x"', b"\xff\xfe", b"[" * 100_000, b"{}"])
def test_what_is_no_journal_is_damaged(text: bytes, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.path.write_bytes(text)
    with pytest.raises(DamagedError, match="cannot read the journal"):
        journal.load()


@pytest.mark.parametrize("found", [0, FORMAT + 1, "1", None, True, 1.5])
def test_another_format_is_refused_with_what_to_do(found: object) -> None:
    document = json.loads(WRITTEN) | {"format": found}
    with pytest.raises(JournalFormatError, match=f"it has format {re.escape(repr(found))}") as caught:
        decode(json.dumps(document).encode(), Path("j"))
    assert "version that wrote it" in caught.value.remedy


def _set(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document.update(changes)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_set(job="../x"), "job is '../x'"),
        (_set(job=7), "job is int, not str"),
        (_set(kind="steal"), "kind is 'steal'"),
        (_set(phase=""), "phase is ''"),
        (_set(pre_image=None), "pre_image is NoneType"),
        (_set(pre_image="HEAD"), "pre_image is 'HEAD'"),
        (_set(wanted="A" * 40), "wanted is 'AAAA"),
        (_set(tag_object=""), "tag_object is ''"),
        (_set(areas="proxy"), "areas is str, not list"),
        (_set(areas=[1]), "areas is not a list of texts"),
        (_set(restart_all=1), "restart_all is int, not bool"),
        (_set(services=[]), "services is list, not dict"),
        (_set(services={"nginx": None}), "services is not an object of texts"),
        (_set(started_utc="yesterday"), "started_utc is 'yesterday'"),
        (_set(started_utc="2026-11-23T02:13:04+01:00"), "started_utc is"),
        (_set(confirm={}), "confirm.boot_id is missing"),
        (_set(confirm={"boot_id": "x", "boottime_s": "1", "utc": "2026-11-23T02:13:04Z"}), "confirm.boottime_s is str"),
        (_set(confirm={"boot_id": "x", "boottime_s": float("nan"), "utc": "2026-11-23T02:13:04Z"}), "is nan"),
        (_set(confirm=False), "confirm is bool, not dict"),
        (_set(extra=1), "extra is unknown"),
        (_set(paths={}), "paths is dict, not list"),
        (_set(paths=[["create", "etc/x"]]), r"paths\[0\] is not three texts"),
        (_set(paths=[["create", "etc/x", None]]), r"paths\[0\] is not three texts"),
        (_set(paths=[["chmod", "etc/x", ""]]), r"paths\[0\]: 'chmod'"),
        (_set(paths=[["remove", "../etc/x", ""]]), r"paths\[0\]: .* '..'"),
        (_set(paths=[["remove", "/etc/x", ""]]), r"paths\[0\]: .* absolute"),
        (_set(paths=[["remove", "etc/%00", ""]]), r"paths\[0\]: .* NUL"),
        (_set(paths=[["remove", "etc/%41", ""]]), r"paths\[0\]: '.*' is not percent-encoded"),
        (_set(paths=[["create", "etc/x", "etc/passwd"]]), r"paths\[0\]: .*own temporary"),
        (lambda document: document.pop("services_before"), "services_before is missing"),
        (lambda document: document.pop("format"), "it says no format"),
    ],
)
def test_each_malformed_member_is_named(spoil: Callable[[dict[str, Any]], object], why: str) -> None:
    document = json.loads(WRITTEN)
    spoil(document)
    with pytest.raises(DamagedError, match=why):
        decode(json.dumps(document).encode(), Path("j"))


@given(st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name and name not in {b".", b".."}))
def test_any_name_survives(name: bytes) -> None:
    path = b"etc/" + name.replace(b"/", b"_")
    record = replace(RECORD, operations=(Operation(Op.REMOVE, path),))
    assert decode(encode(record), Path("j")) == record
    assert encode(record).isascii()
