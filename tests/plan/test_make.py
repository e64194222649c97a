"""The plan: the planned result, what changes, and what nobody can force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from syncsrv.config.model import Extra
from syncsrv.plan.areas import CLUSTER_AREA
from syncsrv.plan.make import Obstacle, Wanted, make_plan
from syncsrv.plan.tree import CLUSTER_PATH, Entry, parents
from tests.plan.trees import areas, directory, file, link

AREAS = areas(proxy=["/etc/nginx"], dns=["/etc/unbound"])


def wanted(target: Mapping[bytes, Entry], live: Mapping[bytes, Entry], **more: object) -> Wanted:
    base = Wanted(
        target=target,
        areas=AREAS,
        chosen=("proxy",),
        extra={},
        live=live,
        obstacles=(),
        brought=frozenset(),
        allow=(b"etc",),
    )
    return replace(base, **more)  # type: ignore[arg-type] # a test's own keywords


def test_the_area_becomes_equal_and_the_others_are_left_alone() -> None:
    target = {b"etc/nginx": directory(), b"etc/nginx/a": file("new"), b"etc/unbound/u": file("new")}
    live = {b"etc/nginx": directory(), b"etc/nginx/a": file("old"), b"etc/nginx/b": file(), b"etc/unbound/u": file()}
    plan = make_plan(wanted(target, live))
    assert {(c.path, c.difference.value) for c in plan.changes} == {
        (b"etc/nginx/a", "changed"),
        (b"etc/nginx/b", "removed"),
    }
    assert plan.result == {b"etc/nginx": directory(), b"etc/nginx/a": file("new")}
    assert plan.refusals == ()


def test_equal_trees_change_nothing() -> None:
    tree = {b"etc/nginx": directory(), b"etc/nginx/a": file()}
    assert make_plan(wanted(tree, tree)).changes == ()


def test_extra_keep_deletes_only_what_an_apply_brought() -> None:
    live = {b"etc/nginx": directory(), b"etc/nginx/own": file("own"), b"etc/nginx/ours": file("ours")}
    plan = make_plan(
        wanted(
            {b"etc/nginx": directory()},
            live,
            extra={"proxy": Extra.KEEP},
            brought=frozenset({b"etc/nginx/ours"}),
        )
    )
    assert [c.path for c in plan.changes] == [b"etc/nginx/ours"]
    assert plan.result[b"etc/nginx/own"] == file("own")


def test_a_directory_that_holds_something_excluded_stays() -> None:
    live = {b"etc/nginx": directory(), b"etc/nginx/d": directory(), b"etc/nginx/d/e": directory(0o700)}
    excluded = Obstacle(b"etc/nginx/d/e/x.bak", "excluded", blocks=False)
    plan = make_plan(wanted({b"etc/nginx": directory()}, live, obstacles=(excluded,)))
    assert plan.changes == ()
    assert plan.result[b"etc/nginx/d/e"] == directory(0o700)


def test_a_file_cannot_take_the_place_of_a_directory_that_holds_something_excluded() -> None:
    live = {b"etc/nginx": directory(), b"etc/nginx/d": directory()}
    excluded = Obstacle(b"etc/nginx/d/x.bak", "excluded", blocks=False)
    plan = make_plan(wanted({b"etc/nginx": directory(), b"etc/nginx/d": file()}, live, obstacles=(excluded,)))
    assert any("it holds /etc/nginx/d/x.bak" in sentence for sentence in plan.refusals)


def test_what_cannot_be_saved_is_not_overwritten_or_deleted() -> None:
    live = {b"etc/nginx": directory()}
    big = Obstacle(b"etc/nginx/big", "100 MiB, over the limit", blocks=True)
    for target in ({b"etc/nginx": directory()}, {b"etc/nginx": directory(), b"etc/nginx/big": file()}):
        plan = make_plan(wanted(target, live, obstacles=(big,)))
        assert any("/etc/nginx/big" in sentence for sentence in plan.refusals)
    elsewhere = make_plan(wanted({}, {}, obstacles=(Obstacle(b"etc/unbound/big", "big", blocks=True),)))
    assert elsewhere.refusals == ()


def test_outside_allow_is_refused_and_the_built_in_area_is_not_subject_to_it() -> None:
    plan = make_plan(wanted({b"etc/nginx/a": file()}, {}, allow=(b"srv",)))
    assert any("node.yaml of this node allows /srv only" in sentence for sentence in plan.refusals)
    own = make_plan(wanted({CLUSTER_PATH: file()}, {}, chosen=(CLUSTER_AREA,), allow=(b"srv",)))
    assert own.refusals == ()
    near = make_plan(wanted({b"etc/nginx/a": file()}, {}, allow=(b"etc/ngin",)))
    assert near.refusals, "a prefix of a name is not a directory"


def test_setuid_and_file_capabilities_are_refused_and_links_are_content() -> None:
    cases = {
        b"etc/nginx/suid": file(mode=0o4755),
        b"etc/nginx/sgid": file(mode=0o2755),
        b"etc/nginx/caps": replace(file(), xattrs=(("security.capability", b"\1"),)),
    }
    for path, entry in cases.items():
        assert make_plan(wanted({path: entry}, {})).refusals, path
    fine = {b"etc/nginx/dir": directory(0o2750), b"etc/nginx/link": link("../../../../root/x")}
    assert make_plan(wanted(fine, {})).refusals == ()
    assert make_plan(wanted({}, {b"etc/nginx/suid": file(mode=0o4755)})).refusals == (), "to delete one is well"


NAMES = st.sampled_from([b"a", b"b", b"c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda names: b"etc/nginx/" + b"/".join(names))
ENTRIES = st.sampled_from([file("1"), file("2"), file("2", mode=0o600), link("x")])


def closed(files: Mapping[bytes, Entry]) -> dict[bytes, Entry]:
    """A tree that a disk could hold: directories above every file, no file above a file."""
    tree: dict[bytes, Entry] = {}
    for path in sorted(files):
        above = parents(path)
        if any(parent in files for parent in above):
            continue
        tree[path] = files[path]
        tree.update({parent: directory() for parent in above if parent.startswith(b"etc/nginx")})
    return tree


@given(st.dictionaries(PATHS, ENTRIES), st.dictionaries(PATHS, ENTRIES))
def test_applying_the_changes_to_what_is_live_gives_the_planned_result(
    target_files: dict[bytes, Entry], live_files: dict[bytes, Entry]
) -> None:
    target, live = closed(target_files), closed(live_files)
    plan = make_plan(wanted(target, live))
    applied = dict(live)
    for change in plan.changes:
        if change.new is None:
            del applied[change.path]
        else:
            applied[change.path] = change.new
    assert applied == plan.result == target


def test_what_lies_outside_allow_is_one_sentence() -> None:
    target = {b"etc/nginx": directory(), **{b"etc/nginx/%d" % number: file() for number in range(9)}}
    (said,) = make_plan(wanted(target, {}, allow=(b"srv",))).refusals
    assert said.startswith("cannot write /etc/nginx, /etc/nginx/0, ")
    assert " and 5 more: node.yaml of this node allows /srv only; extend `allow` there" in said
