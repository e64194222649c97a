"""The main job, step by step: each does something on the real nodes, reads back what came of it, and says so."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from syncsrv import process
from syncsrv.demo.network import VIP
from syncsrv.demo.programs import ENVIRONMENT, wait_for
from syncsrv.demo.scene import NotSoError, Scene, expect
from syncsrv.demo.site import ADMIN, COMMAND_S, LEFTOVER, PORTAL_FILE, Node
from syncsrv.demo.tree import differences, snapshot
from syncsrv.errors import SyncsrvError

START_S = 60.0
"""For two nodes to start and to hear each other, on a machine that is busy with other things."""

GOOD_LINE = "upstream = calendar 192.0.2.23:8080\n"
BROKEN_LINE = "upstream = printer 192.0.2.24\n"
"""It has no port."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it shows, and the function that does it."""

    name: str
    do: Callable[[Scene], None]


def _start(scene: Scene) -> None:
    site, say = scene.site, scene.show.say
    for node in site.nodes:
        site.build(node)
        scene.show.command(node.name, ("syncsrv", "init", "--node", node.name, "--role", node.role, "..."))
        site.init(node)
        site.start_services(node)
    site.configure()
    scene.type(scene.master, "check")
    for node in site.nodes:
        scene.show.command(node.name, ("syncsrv", "serve"))
        site.start(node)
    _await_start(scene)
    found = differences(snapshot(scene.master.root), snapshot(scene.backup.root))
    say(f"both run; each has a portal (a small web service) under supervisord, and {_count(found, 'path')} differ:")
    for one in found:
        say(f"  {one}")
    say(scene.state(scene.master, "awaiting_first_sync"))


def _await_start(scene: Scene) -> None:
    missing = ""

    def well() -> bool:
        nonlocal missing
        missing = next((why for node in scene.site.nodes if (why := _not_up(scene, node))), "")
        return not missing or bool(scene.site.ended())

    wait_for(well, START_S, scene.clock)
    expect(not missing, "the nodes did not start", f"both run within {START_S:g} s", scene.site.ended() or missing)


def _not_up(scene: Scene, node: Node) -> str:
    """What is still missing of a node; empty where it is up and hears the other one."""
    if node.portal_state().get("sha256") != _hash(node.portal_file.read_bytes()):
        return f"the portal of {node.name} does not serve its file"
    answer = node.ask("status")
    peers = answer.data.get("peers", {})
    silent = [name for name, peer in peers.items() if not peer["reachable"]]
    if answer.status != 0 or not peers:
        return f"syncsrv of {node.name} does not answer: {answer.text}"
    return f"{node.name} does not hear {silent[0]}: {peers[silent[0]]['reason']}" if silent else ""


def _first_sync(scene: Scene) -> None:
    tag, node = scene.sync("--reason", "first sync", result="done")
    scene.show.say(f"fw2: {_told(node)}")
    scene.show.say(f"read back from fw2's disk, byte for byte, with modes and owners: equal ({scene.expect_equal()})")
    _expect_serving_own_file(scene)
    kept = [one["subject"] for one in scene.type(scene.backup, "log", f"/{LEFTOVER}").data["commits"]]
    expect(len(kept) == 2, f"fw2's history has not what became of {LEFTOVER}", "it came, and went", str(kept))
    scene.show.say(f"what it overwrote and removed there is in fw2's own history, such as /{LEFTOVER}")
    scene.show.say(scene.state(scene.master, "in_sync"))
    scene.good, scene.good_tag = scene.master.portal_file.read_text(), tag


def _edit(scene: Scene) -> None:
    scene.remember_backup()
    scene.show.say(f"fw1: a line is added to /{PORTAL_FILE}, saved by rename as editors do\n{GOOD_LINE}")
    took_s = scene.edit(scene.good + GOOD_LINE)
    newest = scene.type(scene.master, "log", f"/{PORTAL_FILE}", "-n", "1").data["commits"][0]
    wanted = {"via": "watch", "node": "fw1", "paths": [f"/{PORTAL_FILE}"]}
    seen = {key: newest.get(key) for key in wanted}
    expect(seen == wanted, "the commit is not what was edited", str(wanted), str(seen))
    scene.show.say(
        f"committed by itself, {took_s:.1f} s after it was saved: {newest['commit'][:10]} {newest['subject']}"
    )
    scene.type(scene.master, "services", "reload", "portal")
    scene.expect_served(scene.master, _hash(scene.master.portal_file.read_bytes()))
    scene.show.say("fw1's portal serves it")
    scene.expect_untouched()
    scene.show.say("fw2: disk and portal as they were; nothing spreads by itself")
    scene.show.say(scene.state(scene.master, "changes_pending"))


def _diff(scene: Scene) -> None:
    node = scene.type(scene.master, "diff", status=1).data["nodes"]["fw2"]
    wanted = [(f"/{PORTAL_FILE}", "changed", "portal")]
    seen = [(one["path"], one["status"], one["area"]) for one in node["files"]]
    expect(seen == wanted, "it would bring something else", str(wanted), str(seen))
    expect(node["deletions"] == 0, "it would delete something", "0", str(node["deletions"]))
    scene.show.say(f"fw2 would get /{PORTAL_FILE} (area portal): 1 changed, nothing deleted")


def _sync(scene: Scene) -> None:
    before = scene.backup.portal_state()
    tag, node = scene.sync("--reason", "the calendar is new", result="done")
    names = [step["name"] for step in node["steps"] if step["result"] == "done"]
    missing = [name for name in ("fetch", "verify", "check portal", "write", "read back") if name not in names]
    expect(not missing, f"a step is missing: {', '.join(missing)}", "all of them", ", ".join(names))
    scene.show.say(f"fw2: {_told(node)}")
    scene.show.say(f"read back from fw2's disk: equal ({scene.expect_equal()})")
    _expect_serving_own_file(scene)
    after = scene.backup.portal_state()
    expect(after["sha256"] != before["sha256"], "nothing has changed", "another configuration", str(after))
    expect(after["pid"] == before["pid"], "the portal was not reloaded but restarted", str(before), str(after))
    scene.show.say(
        f"fw2's portal was reloaded and serves {after['sha256'][:12]} over HTTP; before {before['sha256'][:12]}"
    )
    scene.show.say(scene.state(scene.master, "in_sync"))
    scene.good, scene.good_tag = scene.master.portal_file.read_text(), tag


def _again(scene: Scene) -> None:
    scene.remember_backup()
    tag, _ = scene.sync("--reason", "once more", result="unchanged")
    expect(tag == scene.good_tag, "another tag was made", scene.good_tag, tag)
    scene.expect_untouched()
    scene.show.say(f"fw2: unchanged, at {tag} as before; nothing was written, nothing reloaded")


def _broken(scene: Scene) -> None:
    scene.remember_backup()
    scene.show.say(f"fw1: a line with a mistake is added to /{PORTAL_FILE}: it has no port\n{BROKEN_LINE}")
    scene.edit(scene.good + BROKEN_LINE)
    complaint = scene.master.check_portal_file().rpartition(PORTAL_FILE)[2]
    expect("upstream" in complaint, "the portal takes the broken file", "a complaint", complaint or "none")
    tag, node = scene.sync("--reason", "the printer is new", result="failed")
    said = "\n".join([node["reason"], *(step["output"] for step in node["steps"])])
    expect(complaint in said, "the check's own words are missing", complaint, said)
    expect("portal" in node["reason"] and bool(node["remedy"]), "there is no reason and remedy", "both", str(node))
    scene.show.say(f"fw2 refuses {tag}: the check of area portal exited with 1 and says\n{PORTAL_FILE}{complaint}")
    scene.expect_untouched()
    scene.show.say("fw2: disk untouched; its portal goes on serving the known-good configuration")
    scene.state(scene.master, "failed")
    scene.show.say("status on fw1: failed, with the check's words as the reason")


def _rollback(scene: Scene) -> None:
    answer = scene.type(scene.master, "rollback", scene.good_tag, "--reason", "the printer has no port yet")
    result = answer.data["nodes"]["fw1"]["result"]
    expect(result == "done", "the roll-back did not end as it should", "done", f"{result}\n{answer.text}")
    scene.show.say(f"fw1 is as it was at {scene.good_tag}; both disks are equal ({scene.expect_equal()})")
    _expect_serving_own_file(scene)
    scene.sync("--reason", "after the roll-back", result="unchanged")
    scene.expect_untouched()
    scene.show.say("fw2: unchanged, it never had anything else")
    scene.show.say(scene.state(scene.master, "in_sync"))
    scene.show.say(scene.state(scene.backup, "in_sync"))


def _page(scene: Scene) -> None:
    """Each node serves its page; nobody reads a word of it without the password."""
    for node in scene.site.nodes:
        with node.visit() as visit:
            shut = visit.get("/")[0]
            expect(shut == HTTPStatus.SEE_OTHER, "the page is open to everybody", "a way to the log-in", str(shut))
            wrong = visit.log_in(ADMIN, f"{node.password}!")
            expect(not wrong, "a wrong password is let in", "no", "yes")
            expect(visit.log_in(ADMIN, node.password), "the password that init printed is not let in", "yes", "no")
            sentence = visit.heading("/")
        scene.show.say(f"{node.name}, {visit.url}, over its own certificate, as {ADMIN}: {sentence}")
    scene.show.say("nobody reads it without a password; a wrong one is refused")


def _failover(scene: Scene) -> None:
    """A cable is pulled, and nobody does anything."""
    network = scene.site.network
    if network.note:
        scene.show.say(network.note)
    scene.expect_holder(scene.master)
    network.watch()
    scene.show.say(f"fw1 is MASTER of {VIP}, fw2 is BACKUP; a client asks the address every 5 ms")
    scene.await_answers()
    network.unplug("fw1")
    scene.show.say("fw1's cable is pulled")
    took_s = scene.expect_holder(scene.backup)
    scene.await_answers()
    gap = network.gap()
    why = scene.vip(scene.backup)["reason"]
    scene.show.say(
        f"fw2 is MASTER after {took_s:.1f} s: {why}\nthe client was without an answer for {gap.longest_ms} ms"
    )
    expect(scene.vip(scene.master)["state"] == "INIT", "fw1 does not see it", "INIT", str(scene.vip(scene.master)))
    scene.show.say(f"fw1 knows it too: {scene.vip(scene.master)['reason']}; its role is master all the same")
    network.plug("fw1")
    scene.expect_holder(scene.master)
    scene.show.say(f"the cable is back: {scene.vip(scene.master)['reason']}; fw1 is MASTER again")


def _switchover(scene: Scene) -> None:
    """Planned: no answer is lost but those on their way."""
    network = scene.site.network
    network.watch()
    scene.await_answers()
    answer = scene.type(scene.master, "vip", "switchover")
    scene.await_answers()
    gap = network.gap()
    scene.expect_holder(scene.backup)
    scene.show.say(f"{answer.data['text']}\nthe longest time without an answer was {gap.longest_ms} ms")
    answer = scene.type(scene.master, "vip", "switchover")
    scene.expect_holder(scene.master)
    scene.show.say(str(answer.data["text"]))


def _git(scene: Scene) -> None:
    if shutil.which("git", path=ENVIRONMENT["PATH"]) is None:
        scene.show.say("left out: git is not installed")
        return
    for node in scene.site.nodes:
        _git_run(scene, node, "fsck", "--strict")
    subjects = _git_run(scene, scene.master, "log", "--format=%h %an: %s").splitlines()
    scene.show.say("\n".join(("stock Git reads the history of fw1:", *subjects)))
    written = _git_run(scene, scene.backup, "show", f"main:{PORTAL_FILE}", shown=False)
    expect(written == scene.good, "Git has another content of fw2's file", scene.good, written)
    if shutil.which("ssh-keygen", path=ENVIRONMENT["PATH"]) is None:
        scene.show.say("left out: `git verify-tag` needs ssh-keygen, which is not installed")
        return
    signers = scene.site.allowed_signers()
    said = _git_run(scene, scene.backup, "-c", f"gpg.ssh.allowedSignersFile={signers}", "verify-tag", scene.good_tag)
    expect("Good" in said and "fw1" in said, "Git does not say that fw1 signed it", "a good signature of fw1", said)
    scene.show.say(f"it verifies the tag on fw2: {said.strip().splitlines()[0]}")


def _git_run(scene: Scene, node: Node, *words: str, shown: bool = True) -> str:
    if shown:
        scene.show.command(node.name, ("git", *words))
    argv = ["git", "--git-dir", str(node.repository), *words]
    ended = process.run(argv, env=ENVIRONMENT, deadline_s=COMMAND_S)
    expect(ended.status == 0, f"`git {words[0]}` refuses the repository of {node.name}", "exit status 0", ended.text)
    return ended.text


def _expect_serving_own_file(scene: Scene) -> None:
    """Both portals run with what lies on their disks."""
    for node in scene.site.nodes:
        scene.expect_served(node, _hash(node.portal_file.read_bytes()))


def _hash(data: bytes) -> str:
    return sha256(data).hexdigest()


def _told(node: Mapping[str, Any]) -> str:
    """A backup's steps in one line."""
    steps = [step["name"] for step in node["steps"] if step["result"] == "done"]
    return f"{node['result']}, in {sum(step['seconds'] for step in node['steps']):.2f} s: {', '.join(steps)}"


def _count(found: list[str], what: str) -> str:
    return f"{len(found)} {what}{'' if len(found) == 1 else 's'}"


STEPS: tuple[Step, ...] = (
    Step("Two nodes start: fw1 is the master, fw2 is the backup and was set up by hand long ago", _start),
    Step("The first synchronization makes fw2 equal to fw1", _first_sync),
    Step("Somebody edits a file on fw1: it is committed, and goes nowhere", _edit),
    Step("What would a synchronization change on fw2?", _diff),
    Step("Synchronize: tagged and signed on fw1; fetched, verified, checked, written and read back on fw2", _sync),
    Step("A second synchronization has nothing to do", _again),
    Step("A broken edit on fw1: the portal's own check on fw2 refuses it", _broken),
    Step("Roll back on fw1", _rollback),
    Step("fw1's cable is pulled: fw2 serves the virtual address, without anybody's help", _failover),
    Step("Switch over to fw2 and back, by hand", _switchover),
    Step("The page of each node says the same", _page),
    Step("Stock Git agrees", _git),
)
"""The walk, in order; a step builds on those before it."""


def walk(scene: Scene, steps: tuple[Step, ...] = STEPS) -> bool:
    """Go through the steps until one does not hold.

    Returns:
        Whether all held.
    """
    for step in steps:
        scene.show.begin(step.name)
        began_at = scene.clock.monotonic()
        try:
            step.do(scene)
        except NotSoError as error:
            _failed(scene, began_at, error.message, {"expected": error.wanted, "seen": error.seen})
            return False
        except SyncsrvError as error:
            _failed(scene, began_at, error.message, {})
            return False
        except (OSError, LookupError) as error:
            _failed(scene, began_at, f"cannot go on: {type(error).__name__}: {error}", {})
            return False
        scene.show.end(scene.clock.monotonic() - began_at)
    return True


def _failed(scene: Scene, began_at: float, reason: str, details: Mapping[str, str]) -> None:
    seconds = scene.clock.monotonic() - began_at
    scene.show.fail(seconds, reason, details, scene.site.logs())
