"""The file that core writes and carp reads: strict, by name, both ways."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syncsrv.failover import settings
from syncsrv.failover.settings import BadSettingsError, SetSettings
from tests.failover.kit import FULL, SETTINGS, VIP


def test_what_is_written_is_read_back() -> None:
    assert settings.decode(settings.encode(SETTINGS)) == SETTINGS
    assert settings.decode(settings.encode(FULL)) == FULL
    assert json.loads(settings.encode(FULL))["format"] == 1


def test_without_state_sync_the_file_is_the_one_of_versions_that_did_not_know_it() -> None:
    plain = settings.to_json(SETTINGS)
    assert "state_sync" not in plain
    assert settings.from_json(plain) == settings.from_json({**plain, "state_sync": None}) == SETTINGS


def test_the_same_settings_have_the_same_digest_and_others_another() -> None:
    assert settings.decode(settings.encode(FULL)).digest == FULL.digest
    assert replace(FULL, advskew=1).digest != FULL.digest
    assert replace(FULL, vips=(replace(VIP, password="two"),)).digest != FULL.digest


def test_a_password_of_any_bytes_survives() -> None:
    odd = replace(SETTINGS, vips=(replace(VIP, password='é"\\ \udcff'),))
    assert settings.decode(settings.encode(odd)) == odd


def test_the_set_on_the_wire_is_the_own_one_unless_said_otherwise() -> None:
    assert VIP.wire_set == SetSettings(("192.0.2.10", "2001:db8::10"), "one")
    assert FULL.vips[1].wire_set == SetSettings(("192.0.2.10",), "old")


def changed(path: str, value: Any) -> dict[str, Any]:
    """FULL as JSON with one thing different; ``path`` is its keys with dots; value ``...`` takes the key away."""
    plain = settings.to_json(FULL)
    at: Any = plain
    *above, last = path.split(".")
    for key in above:
        at = at[int(key)] if isinstance(at, list) else at[key]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return plain


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("format", 2, "format: is 2, and this version knows 1"),
        ("format", ..., "format: is missing"),
        ("advskew", ..., "advskew: is missing"),
        ("surprise", 1, "surprise: is not known"),
        ("advskew", "1", "advskew: is no whole number"),
        ("advskew", True, "advskew: is no whole number"),
        ("advskew", 240, "advskew is 240, not 0..239"),
        ("preempt", "sometimes", "preempt: is none of always, delayed, never"),
        ("preempt_delay_s", -1, "preempt_delay_s is less than 0"),
        ("preempt_delay_s", None, "preempt_delay_s: is no number"),
        ("vips", {}, "vips: is no list"),
        ("vips.1.vhid", 0, "vips[1]: vhid is 0, not 1..255"),
        ("vips.1.vhid", 1, "vhid 1 on eth0 twice"),
        ("vips.1.advbase", 255, "vips[1]: advbase is 255"),
        ("vips.1.device", "a" * 16, "which no device can be called"),
        ("vips.1.addresses", [], "addresses is empty"),
        ("vips.1.addresses", ["192.0.2.10"], "'192.0.2.10', which has no prefix length"),
        ("vips.1.addresses", ["192.0.2.300/24"], "192.0.2.300"),
        ("vips.1.addresses", [3], "vips[1].addresses[0]: is no text"),
        ("vips.1.password", "p" * 20, "vips[1]: password has 20 bytes, 19 at most"),
        ("vips.1.unicast", ["peer"], "'peer'"),
        ("vips.1.wire", {"addresses": []}, "vips[1].wire.password: is missing"),
        ("vips.1.wire", {"addresses": ["x"], "password": ""}, "vips[1].wire: 'x'"),
        ("vips.1.accept", [None], "vips[1].accept[0]: is no object"),
        ("vips.1.virtual_mac", 1, "vips[1].virtual_mac: is neither true nor false"),
        ("state_sync", {}, "state_sync.engine: is missing"),
        ("state_sync.engine", "pfsync", "state_sync.engine: is none of conntrackd"),
        ("state_sync.links", [], "state_sync: links is empty"),
        ("state_sync.links.0.device", "", "which no device can be called"),
        ("state_sync.links.0.address", "fw1", "'fw1'"),
        ("state_sync.links.0.peer", "", "some with a peer and some without"),
        ("state_sync.links.0.peer", "10.3.0.1", "which is this node's own address"),
        ("state_sync.links.1.peer", "10.3.0.2", "of another family than fd03::1"),
        ("state_sync.links.1.peer", "", "state_sync.links[1]: address is fd03::1: multicast goes by IPv4 only"),
        ("state_sync.group", "10.3.0.1", "no IPv4 multicast group"),
        ("state_sync.port", 65535, "port is 65535, not 1..65534 with 2 links"),
        ("state_sync.ignore", ["10.3.0.0/24"], "'10.3.0.0/24'"),
        ("state_sync.timeout_s", 0, "timeout_s is not above 0"),
        ("own_peers", {"fw2": "192.0.2.2"}, "own_peers.fw2: is no list"),
        ("own_peers", {"fw2": ["fw2.example"]}, "'fw2.example'"),
    ],
)
def test_what_is_wrong_is_named(path: str, value: Any, said: str) -> None:
    with pytest.raises(BadSettingsError) as caught:
        settings.from_json(changed(path, value))
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is no JSON"),
        (b"[1]", "is no object"),
        (b'{"format":1,"format":1}', "a key stands in it twice"),
        (b'{"format":NaN}', "NaN is no number"),
        (b'{"format":1e999}', "knows 1"),
        (b"[" * 100000, "is no JSON"),
        (b"\xff", "is no JSON"),
    ],
)
def test_a_file_that_is_torn_or_strange_is_an_error_and_no_accident(data: bytes, said: str) -> None:
    with pytest.raises(BadSettingsError) as caught:
        settings.decode(data)
    assert said in caught.value.message


def test_a_file_that_is_not_there_is_no_error_and_one_that_cannot_be_read_is(tmp_path: Path) -> None:
    assert settings.load(tmp_path) is None
    (tmp_path / "carp").mkdir()
    path = tmp_path / settings.FILE
    path.write_bytes(settings.encode(SETTINGS))
    assert settings.load(tmp_path) == SETTINGS
    path.unlink()
    path.mkdir()
    with pytest.raises(BadSettingsError, match="is a directory"):
        settings.load(tmp_path)
