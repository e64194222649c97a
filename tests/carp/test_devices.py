"""A device demotes while its link is bad or nothing can be sent, and no longer; and it does not flap."""

from __future__ import annotations

from syncsrv.carp.devices import HOLD_RETRY_MOST_S, RETRY_MOST_S, RETRY_S, SETTLE_MOST_S, SETTLE_S, Device


def linked(device: Device, now: float, *, up: bool) -> Device:
    return device.linked(up=up, has_source=True, why="", now=now).aged(now)


def sent(device: Device, now: float, *oks: bool) -> Device:
    for ok in oks:
        device = device.handed_over(ok=ok, why="" if ok else "no buffer space", now=now)
    return device


def test_what_is_not_known_yet_is_no_fault() -> None:
    device = Device("eth0")
    assert device.trouble == "the state of eth0 is not known yet"
    assert not device.link_demotes
    assert linked(device, 0, up=True).trouble == ""
    assert not linked(device, 0, up=True).link_demotes


def test_trouble_says_what_is_missing() -> None:
    assert linked(Device("eth0"), 0, up=False).trouble == "eth0 has no link"
    gone = Device("eth0").linked(up=False, has_source=False, why="eth0 does not exist", now=0)
    assert gone.trouble == "eth0 does not exist"
    bare = Device("eth0").linked(up=True, has_source=False, why="", now=0)
    assert bare.trouble == "eth0 has no address of its own to send adverts from"


def test_a_link_demotes_for_a_while_longer_than_it_is_away() -> None:
    device = linked(linked(linked(Device("eth0"), 0, up=True), 10, up=False), 11, up=True)
    assert device.link_demotes
    assert device.next_at() == 11 + SETTLE_S
    assert device.aged(11 + SETTLE_S - 0.001).link_demotes
    assert not device.aged(11 + SETTLE_S).link_demotes
    assert device.aged(11 + SETTLE_S).next_at() is None


def test_each_loss_doubles_that_while_and_a_quiet_minute_forgets_it() -> None:
    device, waits = linked(Device("eth0"), 0, up=True), []
    for now in range(10, 30, 2):
        device = linked(linked(device, now, up=False), now + 1, up=True)
        waits.append((device.settle_until_at or 0) - (now + 1))
    assert waits[:5] == [3, 6, 12, 24, 48]
    assert waits[-1] == SETTLE_MOST_S
    calm = linked(linked(device.aged(500), 500, up=False), 501, up=True)
    assert calm.settle_until_at == 501 + SETTLE_S


def test_three_errors_in_a_row_demote_and_three_successes_end_it() -> None:
    device = sent(Device("eth0"), 0, False, False, True, False, False)
    assert not device.sending_demotes
    device = sent(device, 1, False)
    assert device.sending_demotes
    assert device.send_why == "no buffer space"
    assert sent(device, 2, True, True).sending_demotes
    assert sent(device, 2, True, True, False, True, True).sending_demotes
    assert not sent(device, 2, True, True, True).sending_demotes


def test_it_is_tried_again_after_a_while_and_one_error_ends_the_trial() -> None:
    device = sent(Device("eth0"), 0, False, False, False)
    assert device.next_at() == RETRY_S
    trial = device.aged(RETRY_S)
    assert not trial.sending_demotes
    assert sent(trial, 31, False).next_at() == 31 + 2 * RETRY_S
    good = sent(trial, 31, True, True, True)
    assert not sent(good, 40, False, False).sending_demotes
    assert sent(good, 40, False, False, False).next_at() == 40 + RETRY_S


def test_the_while_between_trials_has_an_end() -> None:
    device, now = sent(Device("eth0"), 0, False, False, False), 0.0
    for _ in range(10):
        now = device.next_at() or 0
        device = sent(device.aged(now), now, False)
    assert device.next_at() == now + RETRY_MOST_S


def test_an_error_while_it_demotes_starts_the_wait_anew() -> None:
    device = sent(sent(Device("eth0"), 0, False, False, False), 10, False)
    assert device.next_at() == 10 + RETRY_S


def held(device: Device, now: float, *oks: bool) -> Device:
    for ok in oks:
        device = device.held(ok=ok, why="" if ok else "permission denied", now=now)
    return device


def test_addresses_that_the_kernel_refuses_twice_demote_until_they_are_there() -> None:
    assert not held(Device("eth0"), 0, False, True, False).holding_demotes
    device = held(Device("eth0"), 0, False, False)
    assert device.holding_demotes
    assert device.hold_why == "permission denied"
    assert held(device, 1, True) == Device("eth0", hold_why="permission denied")


def test_a_backup_tries_its_addresses_again_ever_more_seldom() -> None:
    device, now, waits = held(Device("eth0"), 0, False, False), 0.0, []
    for _ in range(10):
        wanted_at = device.next_at() or 0
        waits.append(wanted_at - now)
        device = device.aged(wanted_at)
        assert not device.holding_demotes
        device, now = held(device, wanted_at, False), wanted_at
        assert device.holding_demotes
    assert waits[:3] == [RETRY_S, 2 * RETRY_S, 4 * RETRY_S]
    assert waits[-1] == HOLD_RETRY_MOST_S
