"""What the steps of the walk share: the nodes, how to type a command on one, and what is expected of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from syncsrv.clock import Clock
from syncsrv.demo.programs import wait_for
from syncsrv.demo.show import Show
from syncsrv.demo.site import Answer, Node, Site
from syncsrv.demo.tree import Snapshot, differences, snapshot, summary
from syncsrv.errors import SyncsrvError

COMMIT_S = 20.0
"""For a change to be committed by itself; the quiet period is 2 s."""

RELOAD_S = 5.0
"""For a daemon to have read its file after it was told to."""

POLL_S = 15.0
"""For a node to have heard of what happened on the other one."""


class NotSoError(SyncsrvError):
    """A step did not hold.

    Attributes:
        wanted: what was expected.
        seen: what was found instead.
    """

    code = "demo"

    def __init__(self, why: str, wanted: str, seen: str) -> None:
        super().__init__(why)
        self.wanted = wanted
        self.seen = seen


def expect(holds: bool, why: str, wanted: str, seen: str) -> None:
    """Say what was expected and what was seen, unless it holds.

    Raises:
        NotSoError: it does not.
    """
    if not holds:
        raise NotSoError(why, wanted, seen)


HOLDER_S = 20.0
"""For a node to become MASTER: its master-down time, and the polls that tell of it."""

ANSWERS = 20
"""Of the client, before and after something is done to the network: so many that it is served for certain."""


@dataclass(slots=True)
class Scene:
    """The nodes, and what earlier steps left for later ones.

    Attributes:
        site: the nodes.
        show: tells people.
        clock: tells the time.
        good: the portal's file as the last successful sync brought it.
        good_tag: that sync's tag.
    """

    site: Site
    show: Show
    clock: Clock
    good: str = ""
    good_tag: str = ""
    _before: Snapshot = field(default_factory=dict)
    _served: Mapping[str, Any] = field(default_factory=dict)

    @property
    def master(self) -> Node:
        return self.site.master

    @property
    def backup(self) -> Node:
        return self.site.backup

    def type(self, node: Node, *words: str, status: int = 0) -> Answer:
        """Type a command and expect its exit status."""
        self.show.command(node.name, ("syncsrv", *words))
        answer = node.ask(*words)
        how = "no end within its deadline" if answer.status is None else f"exit status {answer.status}"
        why = f"`syncsrv {words[0]}` on {node.name} did not end as it should"
        expect(answer.status == status, why, f"exit status {status}", f"{how}\n{answer.text}")
        return answer

    def sync(self, *words: str, result: str) -> tuple[str, Mapping[str, Any]]:
        """Synchronize from the master; the tag, and what the backup says that became of it.

        Args:
            words: options.
            result: what is expected: done, unchanged or failed.
        """
        answer = self.type(self.master, "sync", *words, status=1 if result == "failed" else 0)
        node: Mapping[str, Any] = answer.data.get("nodes", {}).get(self.backup.name, {})
        found = str(node.get("result"))
        expect(found == result, "the synchronization did not end as it should", result, f"{found}\n{answer.text}")
        return str(answer.data.get("tag")), node

    def state(self, node: Node, wanted: str) -> str:
        """Expect a node's word for how it stands, soon; the reason that it gives."""
        found: Mapping[str, Any] = {}

        def well() -> bool:
            nonlocal found
            found = node.ask("status").data.get("sync", {})
            return found.get("state") == wanted

        held = wait_for(well, POLL_S, self.clock)
        seen = f"{found.get('state')}: {found.get('reason')}"
        expect(held, f"`syncsrv status` on {node.name} says something else", wanted, seen)
        return f"status on {node.name}: {seen}"

    def newest(self, node: Node) -> Mapping[str, Any]:
        """The newest entry of a node's log; empty where there is none."""
        commits = node.ask("log", "-n", "1").data.get("commits", [])
        return commits[0] if commits else {}

    def edit(self, text: str) -> float:
        """Save the portal's file on the master as editors do, and wait until it is committed; after how many seconds.

        Args:
            text: the new content.
        """
        path = self.master.portal_file
        before = self.newest(self.master)
        began_at = self.clock.monotonic()
        draft = path.with_name(f".{path.name}.swp")
        draft.write_text(text)
        draft.chmod(path.stat().st_mode & 0o7777)
        os.replace(draft, path)
        done = wait_for(lambda: self.newest(self.master) != before, COMMIT_S, self.clock)
        newest = f"the newest commit is {before.get('subject', 'none')}"
        expect(done, "the change was not committed", f"a commit within {COMMIT_S:g} s", newest)
        return self.clock.monotonic() - began_at

    def remember_backup(self) -> None:
        """Keep how the backup is, for ``expect_untouched``."""
        self._before = snapshot(self.backup.root)
        self._served = self.backup.portal_state()

    def expect_untouched(self) -> None:
        """The backup is as it was remembered: its disk byte for byte, its portal with the same process and file."""
        found = differences(self._before, snapshot(self.backup.root))
        expect(not found, "something was written on fw2", "every path as it was", "\n".join(found))
        served = self.backup.portal_state()
        expect(served == self._served, "fw2's portal is not as it was", str(self._served), str(served))

    def expect_equal(self) -> str:
        """Both trees are equal in everything; what they hold."""
        ours = snapshot(self.master.root)
        found = differences(ours, snapshot(self.backup.root))
        expect(not found, "fw2's disk is not equal to fw1's", "every path equal", "\n".join(found))
        return summary(ours)

    def expect_served(self, node: Node, sha256: str) -> None:
        """The portal of a node runs, soon, with the file of this content."""
        well = wait_for(lambda: node.portal_state().get("sha256") == sha256, RELOAD_S, self.clock)
        seen = str(node.portal_state().get("sha256", "no answer"))
        expect(well, f"the portal of {node.name} serves another configuration", sha256, seen)

    def vip(self, node: Node) -> Mapping[str, Any]:
        """The one VIP as a node tells of it; empty where it tells nothing."""
        vips = node.ask("status").data.get("vips", [])
        return vips[0] if vips else {"state": "none", "reason": ""}

    def expect_holder(self, node: Node) -> float:
        """The node is MASTER, soon, and the other one is not; after how many seconds."""
        other = self.backup if node is self.master else self.master
        began_at = self.clock.monotonic()
        seen: list[str] = []

        def well() -> bool:
            seen[:] = [str(self.vip(one)["state"]) for one in (node, other)]
            return seen[0] == "MASTER" and seen[1] != "MASTER"

        held = wait_for(well, HOLDER_S, self.clock)
        found = f"{node.name} {seen[0]}, {other.name} {seen[1]}\n{self.vip(node)['reason']}"
        expect(held, "another node holds the virtual address", f"{node.name} is MASTER, {other.name} not", found)
        return self.clock.monotonic() - began_at

    def await_answers(self) -> None:
        """The client is served."""
        network = self.site.network
        before = network.answers()
        held = wait_for(lambda: network.answers() >= before + ANSWERS, HOLDER_S, self.clock)
        expect(held, "the client gets no answer from the virtual address", "answers", "none")
