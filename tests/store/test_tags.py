from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from syncsrv.errors import DamagedError
from syncsrv.plan.tree import Entry, Kind
from syncsrv.store import gitformat
from syncsrv.store.commits import Person
from syncsrv.store.files import MissingObjectError
from syncsrv.store.records import MovedTagError, TagRecords
from syncsrv.store.repo import Store
from syncsrv.store.signing import Signer, fingerprint, generate_key
from syncsrv.store.tags import (
    BadTagError,
    ForeignKeyError,
    ForgedTagError,
    LightweightTagError,
    MalformedTagError,
    NameMismatchError,
    UnsignedTagError,
    make_tag,
    read_tag,
    verify_tag,
)
from tests.store import stock
from tests.store.conftest import WHEN

NAME = "sync/000041"


@dataclass
class Tagged:
    store: Store
    signer: Signer
    commit: str
    tag: str

    def verify(self, object_id: str, name: str = NAME) -> None:
        verify_tag(self.store, object_id, name, {self.signer.public_blob: "fw1"})

    def altered(self, old: bytes, new: bytes) -> str:
        data = self.store.read(self.tag, "tag")
        assert old in data
        return self.store.objects.put("tag", data.replace(old, new))

    def signed(self, text: bytes) -> str:
        return self.store.objects.put("tag", text + self.signer.sshsig(text))

    def head(self, message: bytes = b"Why\n\nFormat: 1\nNode: fw1\n") -> bytes:
        return (
            b"object %s\ntype commit\ntag sync/000041\ntagger fw1 <fw1@fw1> 1795399984 +0000\n\n" % self.commit.encode()
            + message
        )


@pytest.fixture
def tagged(store: Store, signer: Signer) -> Tagged:
    tree = store.build_tree(None, {b"etc/motd": Entry(Kind.FILE, 0o644, blob=store.put_blob(b"hello\n"))})
    commit = store.commit(tree, [], "first\n", Person("fw1", "fw1@fw1"), WHEN)
    tag = make_tag(
        store,
        NAME,
        commit,
        reason="Open port 8443\n\nfor the new portal\nof sales",
        areas=["proxy", "dns"],
        node="fw1",
        requested_by="alice",
        signer=signer,
        when_utc=WHEN,
    )
    return Tagged(store, signer, commit, tag)


def test_a_tag_reads_back_and_stock_git_verifies_it(tagged: Tagged, tmp_path: Path) -> None:
    store = tagged.store
    store.move_ref("refs/heads/main", tagged.commit, None)
    store.move_ref("refs/tags/" + NAME, tagged.tag, None)
    tag, node = verify_tag(store, tagged.tag, NAME, {tagged.signer.public_blob: "fw1"})
    assert node == "fw1"
    assert (tag.name, tag.object_id, tag.commit, tag.at_utc) == (NAME, tagged.tag, tagged.commit, WHEN)
    assert tag.reason == "Open port 8443\n\nfor the new portal\nof sales"
    assert (tag.areas, tag.node, tag.requested_by, tag.format) == (("proxy", "dns"), "fw1", "alice", "1")
    assert tag.signer == tagged.signer.fingerprint
    assert replace(tag, signer="") == read_tag(store, tagged.tag, NAME) == read_tag(store, tagged.tag)
    stock.git(store.path, "-c", stock.allow(tmp_path, [tagged.signer]), "verify-tag", NAME)
    body = stock.git(store.path, "for-each-ref", "--format=%(contents:body)", "refs/tags").decode()
    assert "Format: 1\nNode: fw1\nAreas: proxy, dns\nRequested-By: alice\n" in body
    stock.assert_clean(store)


def test_a_key_that_stock_git_does_not_know_is_refused_by_both(tagged: Tagged, tmp_path: Path) -> None:
    generate_key(tmp_path / "other")
    other = Signer.load(tmp_path / "other")
    tagged.store.move_ref("refs/tags/" + NAME, tagged.tag, None)
    with pytest.raises(AssertionError, match="No principal matched"):
        stock.git(tagged.store.path, "-c", stock.allow(tmp_path, [other]), "verify-tag", NAME)
    with pytest.raises(ForeignKeyError) as caught:
        verify_tag(tagged.store, tagged.tag, NAME, {other.public_blob: "fw9"})
    assert caught.value.fingerprint == fingerprint(tagged.signer.public_blob)


def test_we_verify_a_tag_that_stock_git_signed(tagged: Tagged, tmp_path: Path) -> None:
    stock.git(
        tagged.store.path, "-c", "gpg.format=ssh", "-c", f"user.signingkey={tmp_path / 'key'}",
        "tag", "-s", NAME, tagged.commit, "-m", "By hand\n\nFormat: 1\nNode: fw1\nAreas: proxy",
    )  # fmt: skip
    object_id = tagged.store.ref("refs/tags/" + NAME)
    assert object_id is not None
    tag, _ = verify_tag(tagged.store, object_id, NAME, {tagged.signer.public_blob: "fw1"})
    assert (tag.reason, tag.areas) == ("By hand", ("proxy",))


def test_each_kind_of_bad_tag_has_its_name(tagged: Tagged) -> None:
    commit = tagged.commit.encode()
    put = tagged.store.objects.put
    unsigned = put("tag", tagged.head())
    pgp = put("tag", tagged.head() + b"-----BEGIN PGP SIGNATURE-----\n\nxx\n-----END PGP SIGNATURE-----\n")
    of_tree = tagged.signed(tagged.head().replace(b"type commit", b"type tree"))
    tree = tagged.store.tree_of(tagged.commit).encode()
    claims_commit = tagged.signed(tagged.head().replace(commit, tree))
    cases: list[tuple[str, type[BadTagError], str]] = [
        (tagged.commit, LightweightTagError, "points to a commit itself"),
        (put("blob", b"x"), LightweightTagError, "points to a blob itself"),
        (unsigned, UnsignedTagError, "not signed"),
        (pgp, UnsignedTagError, "another kind"),
        (tagged.altered(b"8443", b"8444"), ForgedTagError, "does not belong"),
        (tagged.altered(b"END SSH", b"END PGP"), ForgedTagError, "not an armored"),
        (tagged.altered(b"tag sync/000041", b"tag sync/000040"), NameMismatchError, "under the name sync/000040"),
        (tagged.signed(tagged.head(b"Why\n")), MalformedTagError, "no trailer Format"),
        (tagged.signed(tagged.head(b"Why\n\nFormat: 2\n")), MalformedTagError, "this version reads 1"),
        (tagged.signed(tagged.head(b"Why\n\nFormat: 1\nNode: a\nNode: b\n")), MalformedTagError, "stands twice"),
        (of_tree, MalformedTagError, "does not tag a commit"),
        (claims_commit, MalformedTagError, "is no commit"),
        (tagged.signed(tagged.head() + b"x" * 70000), MalformedTagError, "larger than"),
        (tagged.signed(tagged.head().replace(b"tagger", b"toggle")), MalformedTagError, "head is not"),
        (tagged.signed(b"nonsense"), MalformedTagError, "last line|no name|head is not|zero"),
        (tagged.signed(tagged.head().replace(b"<fw1@fw1>", b"fw1@fw1")), MalformedTagError, "malformed"),
    ]
    for object_id, kind, why in cases:
        with pytest.raises(BadTagError, match=why) as caught:
            tagged.verify(object_id)
        assert type(caught.value) is kind, why
        assert NAME in caught.value.message
        assert caught.value.remedy
        assert caught.value.exit_status == 4


def test_a_second_signature_hides_nothing(tagged: Tagged) -> None:
    payload = tagged.store.read(tagged.tag, "tag")
    twice = tagged.store.objects.put("tag", payload + tagged.signer.sshsig(payload))
    with pytest.raises(MalformedTagError, match="more than one signature"):
        tagged.verify(twice)


def test_a_reason_that_quotes_a_signature_stays_a_reason(tagged: Tagged) -> None:
    object_id = make_tag(
        tagged.store,
        "sync/000042",
        tagged.commit,
        reason="see\n-----BEGIN SSH SIGNATURE-----\nFormat: 9",
        areas=[],
        node="fw1",
        requested_by="",
        signer=tagged.signer,
        when_utc=WHEN,
    )
    tagged.verify(object_id, "sync/000042")
    assert read_tag(tagged.store, object_id, "sync/000042").format == "1"


def test_the_name_asked_for_decides(tagged: Tagged) -> None:
    with pytest.raises(NameMismatchError):
        tagged.verify(tagged.tag, "sync/000042")
    odd = tagged.signed(tagged.head().replace(b"tag sync/000041", b"tag v1.0"))
    with pytest.raises(MalformedTagError, match=r"v1\.0"):
        read_tag(tagged.store, odd)
    for name in ("main", "sync/1", "sync/000041\n", "job/../x", "v1"):
        with pytest.raises(MalformedTagError, match="no name"):
            tagged.verify(tagged.tag, name)
    with pytest.raises(MissingObjectError):
        tagged.verify("1" * 40)


def test_a_tag_whose_commit_is_missing_is_not_accepted(tagged: Tagged) -> None:
    with pytest.raises(MissingObjectError):
        tagged.verify(tagged.signed(tagged.head().replace(tagged.commit.encode(), b"1" * 40)))


def test_records_tell_a_moved_tag_and_survive_a_restart(tmp_path: Path) -> None:
    records = TagRecords(tmp_path / "tags.json")
    assert records.next_name() == "sync/000001"
    records.record(NAME, "a" * 40, "SHA256:fw1")
    records.record(NAME, "a" * 40, "SHA256:fw1")
    again = TagRecords(tmp_path / "tags.json")
    assert again.next_name() == "sync/000042"
    again.check(NAME, "a" * 40, "SHA256:fw1")
    again.check(NAME, "b" * 40, "SHA256:fw2")  # two masters may use one number; each by itself never moves it
    with pytest.raises(MovedTagError) as caught:
        again.record(NAME, "b" * 40, "SHA256:fw1")
    assert (caught.value.recorded, caught.value.offered) == ("a" * 40, "b" * 40)
    assert caught.value.exit_status == 4


def test_numbers_seen_anywhere_are_used_up(tmp_path: Path) -> None:
    records = TagRecords(tmp_path / "tags.json")
    records.saw(["sync/000007", "v2", "sync/000003", "sync/999999999999", "sync/x"])
    assert TagRecords(tmp_path / "tags.json").next_name() == "sync/000008"
    records.saw(["sync/999999"])
    assert records.next_name() == "sync/1000000"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"format": 2, "highest": 1, "tags": {}}',
        b'{"format": 1, "highest": "x", "tags": {}}',
        b'{"format": 1, "highest": 1, "tags": {"a": []}}',
        b'{"format": 1, "highest": 1, "tags": {"a": {"b": 3}}}',
        b"\xff",
    ],
)
def test_damaged_records_are_an_error_never_a_fresh_start(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tags.json").write_bytes(content)
    with pytest.raises(DamagedError, match=r"tags\.json"):
        TagRecords(tmp_path / "tags.json")
    assert (tmp_path / "tags.json").read_bytes() == content


def test_the_records_file_is_plain_json_for_its_owner(tmp_path: Path) -> None:
    TagRecords(tmp_path / "tags.json").record(NAME, "a" * 40, "SHA256:fw1")
    assert (tmp_path / "tags.json").stat().st_mode & 0o777 == 0o600
    assert json.loads((tmp_path / "tags.json").read_text())["tags"] == {NAME: {"SHA256:fw1": "a" * 40}}


def test_a_tag_object_is_what_git_makes_of_it(tagged: Tagged) -> None:
    data = tagged.store.read(tagged.tag, "tag")
    assert gitformat.object_id("tag", data) == tagged.tag
    assert stock.git(tagged.store.path, "cat-file", "-t", tagged.tag).strip() == b"tag"
