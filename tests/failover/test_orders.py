"""Orders and how they change the intent."""

from __future__ import annotations

import pytest

from syncsrv.errors import UsageError
from syncsrv.failover.intent import Intent
from syncsrv.failover.orders import ENDS, SAID, SWITCHES, check_name, demoted, is_built_in, promoted, with_demotion


def test_each_switch_turns_one_thing_and_back() -> None:
    some = Intent(demotions={"upgrade": 20}, hold_preempt="fw2 is diverged")
    for on, off, name in (("maintenance-on", "maintenance-off", "maintenance"), ("disable", "enable", "disabled")):
        given = SWITCHES[on](some)
        assert getattr(given, name) is True
        assert SWITCHES[on](given) == given
        assert SWITCHES[off](given) == some
    assert SAID.keys() == SWITCHES.keys()
    assert ENDS.keys() <= SWITCHES.keys()


def test_demotions_by_name() -> None:
    one = demoted("upgrade", 20)(Intent())
    two = demoted("disk-1", 240)(one)
    assert two.demotions == {"disk-1": 240, "upgrade": 20}
    assert demoted("upgrade", 30)(two).demotions["upgrade"] == 30
    assert promoted(two, "disk-1")(two) == one
    assert with_demotion(one, "upgrade", None) == Intent()


@pytest.mark.parametrize("weight", [0, 241, -5])
def test_a_weight_that_means_nothing(weight: int) -> None:
    with pytest.raises(UsageError, match=f"cannot demote by {weight}: a weight is 1 to 240"):
        demoted("upgrade", weight)


def test_what_is_not_there_cannot_end() -> None:
    intent = Intent(demotions={"upgrade": 20, "unproven": 240, "health:nginx": 30})
    with pytest.raises(UsageError, match=r"it is demoted for upgrade$"):
        promoted(intent, "disk")
    with pytest.raises(UsageError, match="syncsrv itself gives and takes it"):
        promoted(intent, "unproven")


@pytest.mark.parametrize(
    "name", ["maintenance", "switchover", "not-ready", "state-sync", "link:eth0", "send-errors:eth0", "addresses:eth0"]
)
def test_the_process_has_names_of_its_own(name: str) -> None:
    assert is_built_in(name)
    with pytest.raises(UsageError):
        check_name(name)


@pytest.mark.parametrize("name", ["upgrade", "disk-1", "a.b_c", "0", "x" * 32])
def test_good_names(name: str) -> None:
    check_name(name)
    assert not is_built_in(name)


@pytest.mark.parametrize("name", ["", "A", "-x", "x" * 33, "a b", "é", "a\n"])
def test_no_names(name: str) -> None:
    with pytest.raises(UsageError, match="a name has 1 to 32"):
        check_name(name)
