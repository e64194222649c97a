from __future__ import annotations

from pathlib import Path

import pytest

from syncsrv.store import trailers
from syncsrv.store.commits import Person
from syncsrv.store.receipts import AUDIT, BadReceiptError, append_receipt, read_receipts
from syncsrv.store.repo import Store
from syncsrv.store.signing import BadSignatureError, Signer, generate_key
from tests.store import stock
from tests.store.conftest import WHEN


def test_receipts_are_a_chain_of_signed_commits(store: Store, signer: Signer, tmp_path: Path) -> None:
    assert read_receipts(store, 5) == []
    bodies = [{"job": f"j{n}", "result": "done", "paths": ["/etc/a\udcff", "ä"], "steps": []} for n in range(3)]
    commits = [append_receipt(store, signer, body, f"sync j{n}: done", WHEN, "fw2") for n, body in enumerate(bodies)]
    found = read_receipts(store, 2, {signer.public_blob: "fw2"})
    assert [one.commit for one in found] == [commits[2], commits[1]]
    assert (found[0].body, found[0].node, found[0].at_utc) == (bodies[2], "fw2", WHEN)
    assert (found[0].subject, found[0].signer) == ("sync j2: done", signer.fingerprint)
    assert store.ref(AUDIT) == commits[2]
    assert store.parents(commits[2]) == (commits[1],)
    option = stock.allow(tmp_path, [signer])
    for commit in commits:
        stock.git(store.path, "-c", option, "verify-commit", commit)
    stock.assert_clean(store)


def test_people_who_clone_do_not_see_them(store: Store, signer: Signer) -> None:
    append_receipt(store, signer, {}, "x", WHEN, "fw2")
    assert stock.git(store.path, "ls-remote", store.path) == b""


def test_receipts_that_were_tampered_with_are_named(store: Store, signer: Signer, tmp_path: Path) -> None:
    first = append_receipt(store, signer, {"job": "j1"}, "x", WHEN, "fw2")
    data = store.read(first, "commit")
    with store.writer():
        changed = store.objects.put("commit", data.replace(b"j1", b"j2"))
    store.move_ref(AUDIT, changed, first)
    with pytest.raises(BadReceiptError, match="does not belong") as caught:
        read_receipts(store, 5)
    assert caught.value.commit == changed
    unsigned = store.commit(store.tree_of(first), [], "x\n\n{}\n\nNode: fw2\n", Person("e", "e"), WHEN)
    store.move_ref(AUDIT, unsigned, changed)
    with pytest.raises(BadReceiptError, match="not signed"):
        read_receipts(store, 5)
    with pytest.raises(BadSignatureError):
        store.signed_by(unsigned)


def test_a_receipt_by_an_unknown_key_is_named(store: Store, signer: Signer, tmp_path: Path) -> None:
    generate_key(tmp_path / "other")
    append_receipt(store, Signer.load(tmp_path / "other"), {"job": "j1"}, "x", WHEN, "fw2")
    assert len(read_receipts(store, 5)) == 1
    with pytest.raises(BadReceiptError, match="not known here"):
        read_receipts(store, 5, {signer.public_blob: "fw2"})


@pytest.mark.parametrize("body", ["no json", "[1]", ""])
def test_a_signed_commit_that_is_no_record_is_named(store: Store, signer: Signer, body: str) -> None:
    message = trailers.compose("x", body, {"Node": "fw2"})
    commit = store.commit(store.build_tree(None, {}), [], message, Person("a", "a"), WHEN, signer)
    store.move_ref(AUDIT, commit, None)
    with pytest.raises(BadReceiptError, match="no record"):
        read_receipts(store, 5)
