"""An object's id becomes a path: what is none is absent, and never opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncsrv.store.files import MissingObjectError
from syncsrv.store.objects import Objects
from syncsrv.store.repo import Store


@pytest.mark.parametrize(
    "word", ["", "ab", "../../../../../../etc/passwd", "ab/../../../config", "g" * 40, "A" * 40, "0" * 41]
)
def test_what_is_no_id_is_absent(tmp_path: Path, word: str) -> None:
    store = Store.create(tmp_path / "config.git")
    assert not store.has(word)
    with pytest.raises(MissingObjectError, match="no object's id"):
        store.kind(word)
    assert isinstance(store.objects, Objects)
    store.close()
