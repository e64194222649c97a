"""Tags and trees that no honest master offers: refused by name, whoever signed them, and nothing here changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncsrv.plan.tree import CLUSTER_PATH, Entry, Kind, Owner
from syncsrv.store.records import TagRecords
from syncsrv.store.signing import fingerprint
from tests.integration.faults import ended, equal, running, sound, untouched
from tests.integration.forge import FILE, FOLDER, LINK, Forge, Line, forging, stranger
from tests.integration.pair import Pair
from tests.support.wait import until

UNKNOWN = Owner("nobody-has-this-name", 61234)
FORGED = b"forged\n"
FORCED = tuple(word for guard in ("drift", "commands", "older", "version", "lock-out") for word in ("--force", guard))


@pytest.fixture(scope="module")
def lab() -> Iterator[Pair]:
    with running() as pair:
        yield pair
        equal(pair)
        sound(pair.fw1, pair.fw2)


@pytest.fixture
def forge(lab: Pair) -> Iterator[Forge]:
    with forging(lab.fw1) as made:
        yield made


def fresh(pair: Pair) -> str:
    """A name that neither node has seen."""
    return max(TagRecords(node.state / "tags.json").next_name() for node in (pair.fw1, pair.fw2))


def pulled(pair: Pair, *words: str, state: str, options: tuple[str, ...] = (), new_tag: bool = False) -> None:
    """The backup pulls what its master offers: it says why not, nothing changes, and the status of both shows it."""
    with untouched(pair.fw2, new_tag=new_tag):
        found = ended(pair.fw2.ask("sync", *options), *words)
    own = pair.fw2.status()["sync"]
    assert (own["state"], own["reason"], own["remedy"]) == (state, found["reason"], found["remedy"])
    until(lambda: pair.fw1.status()["peers"]["fw2"]["state"] == state, deadline_s=15, what=f"{state} on the master")


def unsigned(forge: Forge, name: str, folder: Path) -> str:
    forge.by_hand(name, "-a", "-m", "by hand")
    return "it has no trailer Format"


def unsigned_in_form(forge: Forge, name: str, folder: Path) -> str:
    text = "by hand\n\nFormat: 1\nNode: fw1\nAreas: proxy, dns, cluster\nRequested-By: mallory"
    forge.by_hand(name, "-a", "-m", text)
    return "it is not signed"


def lightweight(forge: Forge, name: str, folder: Path) -> str:
    forge.offer(name, forge.head)
    return "it is a lightweight tag"


def foreign(forge: Forge, name: str, folder: Path) -> str:
    signer = stranger(folder)
    forge.offer(name, forge.signed(name, forge.head, signer))
    return f"it is signed by the key {fingerprint(signer.public_blob)}, which this node has not pinned"


def forged(forge: Forge, name: str, folder: Path) -> str:
    honest = forge.store.read(forge.signed(name, forge.head), "tag")
    forge.offer(name, forge.put("tag", honest.replace(b"Areas: proxy, dns", b"Areas: proxy")))
    return "its signature is not good"


def renamed(forge: Forge, name: str, folder: Path) -> str:
    forge.offer(name, forge.signed("sync/000700", forge.head))
    return "it was signed under the name sync/000700"


def for_a_dry_run(forge: Forge, name: str, folder: Path) -> str:
    forge.offer(name, forge.signed("dry-run/x", forge.head))
    return "it was signed under the name dry-run/x"


@pytest.mark.sample(16)
@pytest.mark.parametrize("offer", [unsigned, unsigned_in_form, lightweight, foreign, forged, renamed, for_a_dry_run])
def test_a_tag_that_is_not_the_masters_word_blocks(
    lab: Pair, forge: Forge, tmp_path: Path, offer: Callable[[Forge, str, Path], str]
) -> None:
    name = fresh(lab)
    why = offer(forge, name, tmp_path)
    pulled(lab, f"cannot accept {name}: {why}", state="blocked")
    assert lab.fw1.ask("log", "-n", "1").status == 0


def test_the_master_itself_passes_over_a_bad_tag_and_says_so(lab: Pair, forge: Forge, tmp_path: Path) -> None:
    name = fresh(lab)
    why = lightweight(forge, name, tmp_path)
    assert any(name in said and why in said for said in lab.fw1.status()["notices"])
    named = lab.fw1.ask("sync", "--rev", name)
    ended(named, f"cannot accept {name}: {why}")
    lab.fw1.write("/etc/dns/zone", "a 192.0.2.44\n")
    answer = lab.fw1.do("sync")
    assert (answer["nodes"]["fw2"]["result"], answer["tag"] > name) == ("done", True)


def test_a_moved_tag_blocks_until_a_new_one_comes(lab: Pair, forge: Forge) -> None:
    lab.fw1.write("/etc/dns/zone", "a 192.0.2.9\n")
    name = lab.fw1.do("sync")["tag"]
    honest = forge.store.ref(f"refs/tags/{name}")
    assert honest is not None
    blob = forge.put("blob", FORGED)
    moved = forge.signed(name, forge.changed({b"etc/dns/zone": Entry(Kind.FILE, 0o644, blob=blob)}))
    forge.offer(name, moved)
    pulled(lab, f"cannot accept {name}: it has moved: recorded here is {honest[:12]}", moved[:12], state="blocked")
    ended(lab.fw1.ask("sync", "--rev", name), "it has moved")
    answer = lab.fw1.do("sync")
    assert (answer["nodes"]["fw2"]["result"], answer["tag"] > name) == ("unchanged", True), "the moved one is not used"
    assert lab.fw2.status()["sync"]["state"] == "in_sync"


@pytest.mark.sample(16)
@pytest.mark.parametrize(
    "lines, words",
    [
        ([(FOLDER, b"..", "sub")], ("what fw1 sent", "holds '..'")),
        ([(FOLDER, b".git", "sub")], ("holds '.git'", "Git takes this name for its own .git")),
        ([(FILE, b".GIT", "blob")], ("holds '.GIT'",)),
        ([(FOLDER, b"git~1", "sub")], ("holds 'git~1'",)),
        ([(FILE, b".g\xe2\x80\x8cit", "blob")], ("Git takes this name for its own .git",)),
        ([(FILE, b".gitmodules", "blob")], (".gitmodules",)),
        ([(FILE, b"../../up", "blob")], ("a slash",)),
        ([(LINK, b"x", "blob"), (FOLDER, b"x", "sub")], ("fw1", "double or out of order at b'x'")),
        ([(b"160000", b"module", "blob")], ("fw1", "160000")),
        ([(FILE, b"main.conf", "sub")], ("fw1",)),
        ([(FILE, b"gone", "missing")], ("fw1", "1" * 40)),
    ],
)
def test_a_tree_that_git_must_not_hold_is_refused(
    lab: Pair, forge: Forge, lines: list[Line], words: tuple[str, ...]
) -> None:
    blob = forge.put("blob", b"/etc")
    ids = {"blob": blob, "sub": forge.tree((FILE, b"y", blob)), "missing": "1" * 40}
    name = fresh(lab)
    forge.offer(name, forge.signed(name, forge.commit(forge.grafted(*[(m, n, ids[one]) for m, n, one in lines]))))
    pulled(lab, *words, state="failed")


def entry(forge: Forge, **more: object) -> Entry:
    return Entry(Kind.FILE, **{"mode": 0o644, "blob": forge.put("blob", FORGED), **more})  # type: ignore[arg-type] # a test's shorthand


@pytest.mark.sample(16)
@pytest.mark.parametrize(
    "path, more, words",
    [
        (b"etc/proxy/tool", {"mode": 0o4755}, ("/etc/proxy/tool", "setuid")),
        (b"etc/proxy/tool", {"mode": 0o2755}, ("/etc/proxy/tool", "setgid")),
        (b"etc/proxy/tool", {"xattrs": (("security.capability", b"\1\0\0\2" + bytes(16)),)}, ("file capability",)),
        (b"etc/proxy/tool", {"xattrs": (("trusted.x", b"1"),)}, ("/etc/proxy/tool", "trusted.x")),
        (b"etc/proxy/main.conf", {"user": UNKNOWN}, ("/etc/proxy/main.conf", "user nobody-has-this-name")),
        (b"etc/dns/zone", {"group": UNKNOWN}, ("/etc/dns/zone", "group nobody-has-this-name")),
        (CLUSTER_PATH, {}, ("cluster.yaml is not valid on this node", "cluster.yaml:1:")),
    ],
)
def test_an_entry_that_this_node_never_takes_is_refused_even_when_forced(
    lab: Pair, forge: Forge, path: bytes, more: dict[str, object], words: tuple[str, ...]
) -> None:
    name = fresh(lab)
    forge.offer(name, forge.signed(name, forge.changed({path: entry(forge, **more)})))
    pulled(lab, *words, state="failed", options=FORCED, new_tag=True)
    ended(lab.fw2.ask("sync", "--dry-run", *FORCED), *words)


@pytest.mark.sample(16)
@pytest.mark.parametrize("areas", [("proxy", "nothing"), ("../proxy",), ()])
def test_a_tag_for_areas_that_its_own_configuration_has_not(lab: Pair, forge: Forge, areas: tuple[str, ...]) -> None:
    name = fresh(lab)
    forge.offer(name, forge.signed(name, forge.head, areas=areas))
    pulled(lab, f"cannot accept {name}: it is for ", state="blocked", new_tag=True)


@pytest.mark.sample(16)
@pytest.mark.parametrize(
    "line, why",
    [
        (b"main.conf\tf\t9999\troot:0\troot:0\n", "octal"),
        (b"main.conf\tf\t0600\troot:0\troot:0\n" * 2, "twice"),
        (b"main.conf\tf\t0600\troot:-1\troot:0\n", "owner"),
        (b"main.conf\tf\t0600\t:4294967295\t:4294967295\n", "owner"),
        (b"nonsense", "line 1"),
    ],
)
def test_metadata_that_is_none_is_named_by_its_line(lab: Pair, forge: Forge, line: bytes, why: str) -> None:
    name = fresh(lab)
    forge.offer(name, forge.signed(name, forge.described(line)))
    pulled(lab, ".syncsrv/meta/+etc/+proxy/entries", why, state="failed", new_tag=True)


def test_a_path_in_no_area_of_the_tag_is_not_even_looked_at(lab: Pair, forge: Forge) -> None:
    name = fresh(lab)
    forge.offer(name, forge.signed(name, forge.changed({b"etc/shadow": entry(forge), b"root/x": entry(forge)})))
    with untouched(lab.fw2):
        assert lab.fw2.do("sync", "--dry-run")["nodes"]["fw2"]["result"] == "unchanged"
