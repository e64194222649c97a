"""A node with live files and a planned result, to run checks on; also as a program, for other namespaces and users.

python -m tests.checks.stagekit < order.json > results.json
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syncsrv.checks.check import CheckResult, run_check
from syncsrv.checks.stage import Stage
from syncsrv.plan.tree import Entry, Kind, is_below
from tests.support import trees

TOP = Path(__file__).parents[2]
Change = str | None
"""Content of a planned file, ``-> TARGET`` for a link, ``/`` for a directory, None for a deletion."""


@dataclass
class Node:
    """A managed root and a state directory below ``home``.

    Attributes:
        home: an empty directory.
        root: the managed root; default ``home/root``.
        tops: of the one area.
        changes: what the planned result has other than the live one, by tree path; contents with ``ROOT`` replaced.
    """

    home: Path
    root: Path = Path()
    tops: Sequence[str] = ("etc/app",)
    changes: Mapping[str, Change] = field(default_factory=dict)
    blobs: trees.Blobs = field(default_factory=trees.Blobs)

    def __post_init__(self) -> None:
        if self.root == Path():
            self.root = self.home / "root"
            self.root.mkdir(exist_ok=True)
        self.state.mkdir(mode=0o700, exist_ok=True)

    @property
    def state(self) -> Path:
        return self.home / "state"

    def write(self, path: str, data: str = "", mode: int = 0o644) -> Path:
        """A live file, with the directories above it."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(data)
        file.chmod(mode)
        return file

    def live(self, ignored: Sequence[str] = ()) -> dict[bytes, Entry]:
        """The live files of the area as a scan sees them, without the ``ignored`` paths."""
        found: dict[bytes, Entry] = {}
        for top in map(os.fsencode, self.tops):
            real = self.root / os.fsdecode(top)
            if os.path.lexists(real):
                beside = trees.scan(real.parent).items()
                above = {os.path.join(os.path.dirname(top), name): entry for name, entry in beside}
                found |= {path: entry for path, entry in above.items() if is_below(path, top)}
        for path in [path for path in found if any(is_below(path, os.fsencode(one)) for one in ignored)]:
            del found[path]
        for path, entry in found.items():
            here = Path(os.fsdecode(os.path.join(os.fsencode(self.root), path)))
            if entry.kind is Kind.LINK:
                self.blobs[entry.blob] = os.fsencode(os.readlink(here))
            elif entry.kind is Kind.FILE:
                self.blobs[entry.blob] = here.read_bytes()
        return found

    def planned(self, live: Mapping[bytes, Entry]) -> dict[bytes, Entry]:
        """The live files with the changes."""
        result = dict(live)
        for shown, change in self.changes.items():
            path = os.fsencode(shown)
            for old in [old for old in result if is_below(old, path)]:
                if change != "/" or old == path:
                    del result[old]
            if change is None:
                continue
            data = os.fsencode(change.replace("ROOT", str(self.root)))
            if change == "/":
                result[path] = trees.folder()
            elif change.startswith("-> "):
                result[path] = trees.link(self.blobs, data[3:])
            else:
                result[path] = trees.file(self.blobs, data)
        return result

    def stage(self, ignored: Sequence[str] = ()) -> Stage:
        """The stage of the planned result."""
        live = self.live(ignored)
        return Stage(
            self.state / "stage",
            root=self.root,
            planned=self.planned(live),
            live=live,
            tops=[os.fsencode(top) for top in self.tops],
            read_blob=self.blobs.read,
            hidden=[self.state],
        )

    def check(
        self, *argv: str, deadline_s: float = 20, isolate: bool = True, ignored: Sequence[str] = ()
    ) -> CheckResult:
        """Run one check on the stage, and see that neither it nor the stage left a trace."""
        before = self.traces()
        with self.stage(ignored) as stage:
            result = run_check(stage, "app", argv, node="fw1", deadline_s=deadline_s, isolate=isolate)
        assert self.traces() == before, "a check changed live files"
        assert list((self.state / "stage").iterdir()) == [], "a stage was left behind"
        return result

    def traces(self) -> dict[str, tuple[int, ...]]:
        """What a write below the root or the state directory would change; nothing for the machine's root."""
        if self.root == Path("/"):
            return {}
        places = [*self.root.rglob("*"), *(one for one in self.state.rglob("*") if "stage" not in one.parts)]
        statuses = {str(place): place.lstat() for place in places}
        return {place: (one.st_mode, one.st_uid, one.st_size, one.st_mtime_ns) for place, one in statuses.items()}

    def sh(
        self, script: str, *, deadline_s: float = 20, isolate: bool = True, ignored: Sequence[str] = ()
    ) -> CheckResult:
        """Run a check that is a script for sh."""
        return self.check("sh", "-c", script, deadline_s=deadline_s, isolate=isolate, ignored=ignored)


def elsewhere(
    enter: Sequence[str], home: Path, argv: Sequence[str], deadline_s: float = 100, **node: Any
) -> dict[str, Any]:
    """Run one check in a process that the command ``enter`` starts; what the result says, as data."""
    order = {"home": str(home), "argv": list(argv), **{key: value for key, value in node.items() if value is not None}}
    done = subprocess.run(
        [*enter, sys.executable, "-m", "tests.checks.stagekit"],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(TOP), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=TOP,
        timeout=deadline_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def main() -> None:
    order = json.load(sys.stdin)
    node = Node(
        Path(order["home"]), Path(order.get("root", "")), order.get("tops", ("etc/app",)), order.get("changes", {})
    )
    before = Path("/proc/self/mountinfo").read_text()
    result = node.check(*order["argv"], deadline_s=order.get("deadline_s", 20))
    assert Path("/proc/self/mountinfo").read_text() == before, "a mount of the check's came back to us"
    json.dump(
        {
            "status": result.status,
            "output": result.output,
            "isolated": result.isolated,
            "note": result.note,
            "why": result.why,
            "left": sorted(path.name for path in (node.state / "stage").iterdir()),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
