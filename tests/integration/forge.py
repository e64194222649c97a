"""A master's repository in hostile hands: objects and tags that syncsrv itself would never write, signed as fw1."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from syncsrv.plan.tree import Entry
from syncsrv.store import gitformat
from syncsrv.store.commits import Person
from syncsrv.store.repo import MAIN, Store
from syncsrv.store.signing import Signer, generate_key
from syncsrv.store.tags import make_tag
from tests.integration.pair import Node

WHO = Person("mallory", "mallory@fw1")
AREAS = ("proxy", "dns", "cluster")
FOLDER, FILE, LINK = b"40000", b"100644", b"120000"

Line = tuple[bytes, bytes, str]
"""Mode, name and id of a line of a tree, as Git has it."""


class Forge:
    """Works in the repository of a node, beside its core.

    Args:
        node: whose.
        signer: the key that signs; the node's own is what a thief of it would have.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.store = Store(node.repository)
        self.signer = Signer.load(node.state / "key", f"syncsrv-{node.name}")
        self._made: list[str] = []
        self._before: dict[str, str | None] = {}

    @property
    def head(self) -> str:
        head = self.store.ref(MAIN)
        assert head is not None
        return head

    def put(self, kind: str, data: bytes) -> str:
        """An object with any content at all."""
        with self.store.writer():
            made = self.store.objects.put(kind, data)
        self._made.append(made)
        return made

    def tree(self, *lines: Line) -> str:
        """A tree with exactly these lines, in this order."""
        return self.put("tree", b"".join(mode + b" " + name + b"\0" + bytes.fromhex(one) for mode, name, one in lines))

    def grafted(self, *lines: Line) -> str:
        """The tree of main in which etc/proxy has further lines, sorted as Git sorts."""
        root = self._lines(self.store.tree_of(self.head))
        etc = self._lines(root[b"etc"].id)
        proxy = [(self._mode(child), name, child.id) for name, child in self._lines(etc[b"proxy"].id).items()]
        made = self.tree(*sorted([*proxy, *lines], key=lambda line: line[1] + (b"/" if line[0] == FOLDER else b"")))
        above = self._with(etc, b"proxy", made)
        return self._with(root, b"etc", above)

    def commit(self, tree: str) -> str:
        """A commit on top of main."""
        with self.store.writer():
            made = self.store.commit(tree, [self.head], "forged\n\nFormat: 1\nVia: cli\nNode: fw1\n", WHO, _now())
        self._made.append(made)
        return made

    def changed(self, changes: Mapping[bytes, Entry | None]) -> str:
        """A commit on top of main with some entries changed, as syncsrv would make it of such a disk."""
        before = set(self.store.objects.ids())
        with self.store.writer():
            tree = self.store.build_tree(self.head, changes)
        self._made += set(self.store.objects.ids()) - before
        return self.commit(tree)

    def described(self, lines: bytes) -> str:
        """A commit in which the metadata of etc/proxy is these lines."""
        made = self.tree((FILE, b"entries", self.put("blob", lines)))
        for folder in (b"+proxy", b"+etc"):
            made = self.tree((FOLDER, folder, made))
        root = self._lines(self.store.tree_of(self.head))
        beside = self._with(self._lines(root[b".syncsrv"].id), b"meta", made)
        return self.commit(self._with(root, b".syncsrv", beside))

    def signed(self, name: str, commit: str, signer: Signer | None = None, areas: Sequence[str] = AREAS) -> str:
        """A tag object as syncsrv makes it."""
        made = make_tag(
            self.store,
            name,
            commit,
            reason="forged",
            areas=areas,
            node=self._node.name,
            requested_by="mallory",
            signer=signer or self.signer,
            when_utc=_now(),
        )
        self._made.append(made)
        return made

    def offer(self, name: str, object_id: str) -> None:
        """Make the node serve it under that name; a tag of that name moves."""
        ref = f"refs/tags/{name}"
        before = self.store.ref(ref)
        self._before.setdefault(ref, before)
        self.store.move_ref(ref, object_id, before)

    def by_hand(self, name: str, *options: str) -> None:
        """A tag of main made by stock Git."""
        who = ["-c", "user.name=mallory", "-c", "user.email=m@fw1", "-c", "tag.gpgSign=false"]
        argv = ["git", "-c", "safe.directory=*", *who, "-C", str(self.store.path), "tag", *options, name, self.head]
        subprocess.run(argv, check=True)
        made = self.store.ref(f"refs/tags/{name}")
        assert made is not None
        self._made.append(made)
        self._before[f"refs/tags/{name}"] = None

    def withdraw(self) -> None:
        """Leave the repository as it was: the refs and the objects go."""
        for ref, before in self._before.items():
            self.store.move_ref(ref, before, self.store.ref(ref))
        for made in self._made:
            (self._node.repository / "objects" / made[:2] / made[2:]).unlink(missing_ok=True)
        self.store.close()

    def _lines(self, tree: str) -> dict[bytes, gitformat.Child]:
        return self.store.children(tree)

    def _with(self, children: Mapping[bytes, gitformat.Child], name: bytes, tree: str) -> str:
        changed = {**children, name: gitformat.Child(gitformat.DIRECTORY, tree)}
        return self.put("tree", gitformat.format_tree(changed.items()))

    def _mode(self, child: gitformat.Child) -> bytes:
        return b"%o" % child.mode


@contextmanager
def forging(node: Node) -> Iterator[Forge]:
    """A forge whose traces are gone afterwards."""
    forge = Forge(node)
    try:
        yield forge
    finally:
        forge.withdraw()


def stranger(folder: Path) -> Signer:
    """A key that nobody has pinned."""
    generate_key(folder / "stranger")
    return Signer.load(folder / "stranger", "syncsrv-fw1")


def _now() -> datetime:
    return datetime.now(UTC)
