"""Commits without end, saying so after each; run by test_crash.py, which kills it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from syncsrv.plan.tree import Entry, Kind
from syncsrv.store.commits import Person
from syncsrv.store.repo import MAIN, Store

WHEN = datetime(2026, 11, 23, tzinfo=UTC)


def main() -> None:
    store = Store.open(Path(sys.argv[1]))
    seed = sys.argv[2]
    n = 0
    while True:
        n += 1
        many = 80 if n % 3 == 0 else 1
        with store.writer():
            head = store.head()
            changes = {
                b"etc/d%d/f%d" % (i % 7, i): Entry(Kind.FILE, 0o640, blob=store.put_blob(f"{seed} {n} {i}".encode()))
                for i in range(many)
            }
            tree = store.build_tree(head, changes)
            commit = store.commit(tree, [head] if head else [], f"{seed} {n}\n", Person("n", "n"), WHEN)
            store.move_ref(MAIN, commit, head)
            if n % 2:
                store.move_ref(f"refs/syncsrv/job/{seed}-{n}", commit, None)
            else:
                store.move_ref(f"refs/syncsrv/job/{seed}-{n - 1}", None, store.ref(f"refs/syncsrv/job/{seed}-{n - 1}"))
        print(commit, flush=True)


main()
