"""Settings in the words of the state machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncsrv.carp.effects import Key
from syncsrv.carp.packet import Advert
from syncsrv.carp.settings import Preempt
from syncsrv.failover.served import carrier_of, devices_of, mac_of, node_settings, refusal, served, vip_set
from syncsrv.failover.settings import SetSettings, VipSettings
from tests.failover.kit import FULL, SETTINGS, VIP

KEY = Key("eth0", 1)


@pytest.mark.parametrize(
    ("advbase", "advskew", "lifetime_s", "patience_s"),
    [(1, 0, 5.0, 3.0), (1, 128, 5.5, 3.0), (10, 0, 32.0, 30.0), (0, 10, 5.0, 30 / 256)],
)
def test_an_address_outlives_its_agent_until_a_peer_has_taken_over(
    advbase: int, advskew: int, lifetime_s: float, patience_s: float
) -> None:
    one = served(replace(SETTINGS, advskew=advskew, vips=(replace(VIP, advbase=advbase),)))[KEY]
    assert (one.lifetime_s, one.patience_s) == (lifetime_s, patience_s)


def accepts(vip: VipSettings, written: SetSettings) -> bool:
    """Whether an advert that was signed with a set is taken."""
    keyring = served(replace(SETTINGS, vips=(vip,)))[KEY].keyring
    theirs = served(replace(SETTINGS, vips=(replace(vip, wire=written, accept=()),)))[KEY].keyring
    return keyring.verify(Advert(1, 0, 1, 0, 7, theirs.sign(7))) is not None


def test_while_another_set_is_on_the_wire_the_own_one_is_accepted_too() -> None:
    old, older, strange = (SetSettings(("192.0.2.10",), word) for word in ("old", "older", "strange"))
    vip = replace(VIP, wire=old, accept=(older,))
    assert accepts(vip, old)
    assert accepts(vip, vip.own_set)
    assert accepts(vip, older)
    assert not accepts(vip, strange)
    assert served(replace(SETTINGS, vips=(vip,)))[KEY].keyring.send == vip_set(1, old)


def test_below_a_second_every_speaker_must_be_ours() -> None:
    quick = replace(VIP, advbase=0)
    assert refusal(VIP, replace(SETTINGS, own_peers={}), ["192.0.2.9"]) == ""
    assert refusal(quick, SETTINGS, []) == ""
    assert "no peer's address is known yet" in refusal(quick, replace(SETTINGS, own_peers={}), [])
    assert "and 192.0.2.8, 192.0.2.9 is not" in refusal(quick, SETTINGS, ["192.0.2.9", "192.0.2.8"])


def test_the_state_machine_gets_what_it_needs_and_no_secret() -> None:
    found = node_settings(replace(FULL, advskew=7, preempt="delayed", preempt_delay_s=5.0), {Key("eth0", 2): "no"})
    assert [(one.key, one.advskew, one.refused) for one in found.vhids] == [(KEY, 7, ""), (Key("eth0", 2), 7, "no")]
    assert (found.preempt, found.preempt_delay_s, found.tracked) == (Preempt.DELAYED, 5.0, ("eth0", "eth1"))
    assert "one" not in str(found)
    assert devices_of(FULL) == ("eth0", "eth1")


def test_the_macvlan_of_a_vhid_has_a_name_that_a_device_can_have() -> None:
    assert carrier_of("eth0", 1) == "vh1-eth0"
    long = carrier_of("enp0s31f6np1d2", 200)
    assert len(long) <= 15
    assert long != carrier_of("enp0s31f6np1d3", 200)
    assert mac_of(42).hex(":") == "00:00:5e:00:01:2a"
    two = served(FULL)[Key("eth0", 2)]
    assert (two.target, [str(one) for one in two.interfaces]) == ("vh2-eth0", ["192.0.2.10/24", "2001:db8::10/64"])
