"""One changed file, committed and brought to another host: syncsrv beside git, etckeeper and rsync.

    .venv/bin/python bench/commit_and_sync.py [--files N]... [--rounds N]

Prints medians, and each as so many times ours. Asserts nothing: a figure is as good as the machine is calm.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP))

from syncsrv.apply.record import Recorder  # noqa: E402  # the checkout is found first
from syncsrv.clock import SystemClock  # noqa: E402
from syncsrv.config.model import Area, Cluster  # noqa: E402
from syncsrv.plan.areas import Areas  # noqa: E402
from syncsrv.store.repo import Store  # noqa: E402
from syncsrv.watch.scan import Scanner  # noqa: E402
from tests.integration.pair import end_pair, make_pair, start_pair  # noqa: E402
from tests.support.net import accepts, free_port  # noqa: E402
from tests.support.testroot import TestRoot, TestRootError, ensure, stop  # noqa: E402
from tests.support.wait import until  # noqa: E402

SIZES = (100, 1_000, 10_000)
AREA = "etc/tree"
CLUSTER = f"cluster: bench\nareas:\n  tree: {{paths: [/{AREA}]}}\n"
DURABLE = ("-c", "core.fsync=all", "-c", "gc.auto=0", "-c", "user.name=bench", "-c", "user.email=bench@localhost")
"""Git as durable as we are, and not busy with collecting."""

Times = dict[str, list[float]]


def make_tree(top: Path, files: int) -> None:
    """Files of about a kilobyte, a hundred in each directory."""
    for number in range(files):
        path = file_of(top, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"option-{number} = value\n" * 40)


def file_of(top: Path, number: int) -> Path:
    return top / f"part{number // 100:03}" / f"file{number % 100:02}.conf"


def edit(top: Path, files: int, number: int) -> None:
    """Save one file, another one each time."""
    with file_of(top, number * 7919 % files).open("a") as file:
        file.write(f"edited = {number}\n")


def timed(act: Callable[[], object]) -> float:
    began_at = time.perf_counter()
    act()
    return time.perf_counter() - began_at


def call(*argv: str | Path, cwd: Path | None = None) -> str:
    """A program that has to succeed."""
    done = subprocess.run([str(word) for word in argv], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{argv[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def git(where: Path, *words: str) -> str:
    return call("git", "-C", where, *DURABLE, *words)


def git_commit(where: Path) -> None:
    git(where, "add", "-A")
    git(where, "commit", "-q", "-m", "edit")


def commits(files: int, rounds: int, home: Path) -> Times:
    """(a) one changed file committed durably, where it is known which (as the watch knows it), and where it is not."""
    ours, theirs = home / "ours", home / "git"
    for top in (ours / AREA, theirs):
        make_tree(top, files)
    clock = SystemClock()
    store = Store.create(home / "config.git")
    scanner = Scanner(ours, store.put_blob, clock)
    recorder = Recorder(store, scanner, home / "cluster.yaml", "bench", clock)
    areas = Areas.of(Cluster(cluster="bench", areas={"tree": Area(paths=(f"/{AREA}",))}))

    def record(only: set[bytes] | None) -> float:
        return timed(lambda: recorder.record(areas, via="watch", only=only))

    record(None)
    git(theirs, "init", "-q")
    git_commit(theirs)
    times: Times = {"syncsrv, told which": [], "syncsrv, full scan": [], "git add -A && git commit": []}
    kept = etckeeper(home / "etckeeper", files)
    for number in range(rounds):
        for name, only in (("syncsrv, told which", True), ("syncsrv, full scan", False)):
            which = 2 * number + only
            edit(ours / AREA, files, which)
            path = file_of(Path(AREA), which * 7919 % files)
            settled()
            times[name].append(record({os.fsencode(path)} if only else None))
        edit(theirs, files, number)
        settled()
        times["git add -A && git commit"].append(timed(lambda: git_commit(theirs)))
        if kept is not None:
            edit(home / "etckeeper", files, number)
            settled()
            times.setdefault("etckeeper commit", []).append(timed(kept))
    return times


def etckeeper(where: Path, files: int) -> Callable[[], object] | None:
    """A tree under etckeeper, and how it commits; None where it is not installed."""
    if shutil.which("etckeeper") is None:
        return None
    make_tree(where, files)
    call("etckeeper", "init", "-d", where)
    call("etckeeper", "commit", "-d", where, "all")
    return lambda: call("etckeeper", "commit", "-d", where, "edit")


def settled() -> None:
    """Let the clock of the file system move on, so that nobody has to look at the file twice; not measured."""
    time.sleep(0.05)


def syncs(files: int, rounds: int, home: Path) -> Times:
    """(b) one changed file brought to the other node: command line, tag, signature, fetch, plan, write, read back."""
    pair = make_pair(home, CLUSTER)
    make_tree(pair.fw1.root / AREA, files)
    times: Times = {"syncsrv sync": [], "syncsrv sync, its steps": []}
    try:
        start_pair(pair)
        pair.synced()
        for number in range(rounds):
            edit(pair.fw1.root / AREA, files, number)
            settled()
            began_at = time.perf_counter()
            result = pair.synced()
            times["syncsrv sync"].append(time.perf_counter() - began_at)
            times["syncsrv sync, its steps"].append(sum(step["seconds"] for step in result["steps"]))
            assert result["result"] == "done", result
    finally:
        end_pair(pair)
    return times


@contextmanager
def sshd(root: TestRoot, home: Path) -> Iterator[str]:
    """A real sshd that sees ``home``; the ssh command that logs in there."""
    port = free_port()
    for name in ("host", "person"):
        call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / name)
    settings = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": home / "host", "AuthorizedKeysFile": home / "person.pub",
        "StrictModes": "no", "PermitRootLogin": "yes", "UsePAM": "no", "PidFile": "none",
    }  # fmt: skip
    (home / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    known = f"-o UserKnownHostsFile={home}/known -o StrictHostKeyChecking=accept-new -o BatchMode=yes"
    argv = ("/usr/sbin/sshd", "-D", "-e", "-f", home / "sshd_config")
    daemon = root.popen(*argv, binds=[home], log=home / "sshd.log")
    try:
        until(lambda: accepts(port), what="sshd")
        yield f"ssh -F none -q -p {port} -i {home}/person {known} -o IdentitiesOnly=yes"
    finally:
        stop(daemon)


def peers(files: int, rounds: int, home: Path, root: TestRoot) -> Times:
    """(b) the same by rsync, and by git pull of what was committed before, each over ssh to a real sshd."""
    source, mirror, clone = home / "source", home / "mirror", home / "clone"
    make_tree(source, files)
    git(source, "init", "-q")
    git_commit(source)
    times: Times = {"rsync -a --delete over ssh": [], "git pull over ssh": []}
    with sshd(root, home) as ssh:
        rsync = ("rsync", "-a", "--delete", "--exclude=.git", "-e", ssh, f"{source}/", f"root@127.0.0.1:{mirror}/")
        pull = ("-c", f"core.sshCommand={ssh}", "pull", "-q", "--ff-only")
        call(*rsync)
        git(home, "-c", f"core.sshCommand={ssh}", "clone", "-q", f"root@127.0.0.1:{source}", str(clone))
        for number in range(rounds):
            edit(source, files, number)
            git_commit(source)
            settled()
            times["rsync -a --delete over ssh"].append(timed(lambda: call(*rsync)))
            times["git pull over ssh"].append(timed(lambda: git(clone, *pull)))
    return times


def report(what: str, files: int, times: Times) -> None:
    """Medians, and each as so many times the first."""
    first = statistics.median(next(iter(times.values())))
    for name, found in times.items():
        middle = statistics.median(found)
        print(f"{what:8} {files:7,} files  {name:28} {middle * 1000:9.1f} ms  {middle / first:7.2f} x", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, action="append", help=f"size of the tree; default: {SIZES}")
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    try:
        root: TestRoot | None = ensure()
    except TestRootError as error:
        print(f"without rsync and git over ssh: {error}")
        root = None
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors; {options.rounds} rounds, medians")
    for files in options.files or SIZES:
        home = Path(tempfile.mkdtemp(prefix="s-", dir="/tmp")).resolve()
        try:
            for part in ("commits", "syncs", "peers"):
                (home / part).mkdir()
            report("commit", files, commits(files, options.rounds, home / "commits"))
            moved = syncs(files, options.rounds, home / "syncs")
            if root is not None:
                moved |= peers(files, options.rounds, home / "peers", root)
            report("sync", files, moved)
        finally:
            shutil.rmtree(home)


if __name__ == "__main__":
    main()
