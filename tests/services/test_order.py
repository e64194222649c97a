from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.config.model import Area, OnChange
from syncsrv.services.order import CycleError, concerned, ordered
from tests.services.kit import command


def test_each_comes_behind_those_it_is_after_and_otherwise_by_name() -> None:
    services = {"web": command(after=["db", "cache"]), "db": command(), "cache": command(after=["db"]), "a": command()}
    assert ordered(services) == ["a", "db", "cache", "web"]


def test_some_keep_the_order_that_they_have_among_all() -> None:
    services = {"a": command(after=["b"]), "b": command(after=["c"]), "c": command()}
    assert ordered(services, {"a", "c"}) == ["c", "a"]


def test_an_after_that_is_not_configured_counts_for_nothing() -> None:
    assert ordered({"a": command(after=["gone"])}) == ["a"]


@pytest.mark.parametrize(
    "after, circle",
    [({"a": ["a"]}, ("a",)), ({"a": ["b"], "b": ["c"], "c": ["b"]}, ("b", "c"))],
)
def test_a_circle_is_named(after: dict[str, list[str]], circle: tuple[str, ...]) -> None:
    with pytest.raises(CycleError, match="cannot order services: ") as caught:
        ordered({name: command(after=earlier) for name, earlier in after.items()})
    assert caught.value.names == circle
    assert caught.value.exit_status == 2


@given(st.permutations("abcdef"), st.data())
def test_the_order_holds_whatever_the_graph(names: list[str], data: st.DataObject) -> None:
    after = {
        name: data.draw(st.lists(st.sampled_from(names[:place]), unique=True)) if place else []
        for place, name in enumerate(names)
    }
    order = ordered({name: command(after=after[name]) for name in names})
    assert sorted(order) == sorted(names)
    assert all(order.index(earlier) < order.index(name) for name in names for earlier in after[name])


def test_a_service_of_two_changed_areas_is_concerned_once() -> None:
    services = {"nginx": command(on_change="reload"), "db": command(on_change="none"), "other": command()}
    areas = {
        "proxy": Area(paths=("/etc/nginx",), services=("nginx", "db")),
        "certs": Area(paths=("/etc/ssl",), services=("nginx",)),
        "calm": Area(paths=("/etc/calm",), services=("other",)),
    }
    wanted = concerned(areas, services, ["certs", "proxy", "gone"])
    assert wanted == {"db": OnChange.NONE, "nginx": OnChange.RELOAD}
