"""Single values: what is taken, what is refused, and in which words."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.config import values


@pytest.mark.parametrize(
    "written, seconds",
    [
        ("5s", 5),
        ("10m", 600),
        ("6h", 21600),
        ("2d", 172800),
        ("500ms", 0.5),
        ("1.5h", 5400),
        (20, 20),
        (0.25, 0.25),
        ("0s", 0),
    ],
)
def test_durations(written: object, seconds: float) -> None:
    assert values.parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written, why",
    [
        ("5", "write a duration"),
        ("5 s", "write a duration"),
        ("5S", "write a duration"),
        ("s", "write a duration"),
        ("٥s", "write a duration"),
        ("", "write a duration"),
        (True, "write a duration"),
        (None, "write a duration"),
        ([], "write a duration"),
        (-1, "between 0 and 366d"),
        ("367d", "between 0 and 366d"),
        (float("nan"), "between 0 and 366d"),
        (float("inf"), "between 0 and 366d"),
    ],
)
def test_what_is_no_duration(written: object, why: str) -> None:
    with pytest.raises(ValueError, match=f"cannot be .*{why}"):
        values.parse_duration(written)


@pytest.mark.parametrize(
    "written, size", [("16MiB", 16 << 20), ("1B", 1), ("3KiB", 3072), ("1GiB", 1 << 30), (4096, 4096)]
)
def test_sizes(written: object, size: int) -> None:
    assert values.parse_size(written) == size


@pytest.mark.parametrize("written", ["16MB", "16M", "1.5MiB", "16 MiB", "", 0, -5, "0KiB", "2000GiB", 1.0, True, None])
def test_what_is_no_size(written: object) -> None:
    with pytest.raises(ValueError, match=r"^cannot be "):
        values.parse_size(written)


@pytest.mark.parametrize(
    "written, parts",
    [
        ("192.0.2.1:8022", ("192.0.2.1", 8022)),
        ("[2001:db8::1]:22", ("2001:db8::1", 22)),
        ("fw2.example.net:1", ("fw2.example.net", 1)),
        ("localhost:65535", ("localhost", 65535)),
        ("web_1:80", ("web_1", 80)),
    ],
)
def test_hosts_and_ports(written: str, parts: tuple[str, int]) -> None:
    assert values.split_host_port(written) == parts


@pytest.mark.parametrize(
    "written, why",
    [
        ("192.0.2.1", "write HOST:PORT"),
        (":80", "write HOST:PORT"),
        ("a:", "the port after"),
        ("a:0", "the port after"),
        ("a:65536", "the port after"),
        ("a:+1", "the port after"),
        ("a: 80", "the port after"),
        ("a:٨٠", "the port after"),
        ("2001:db8::1:22", "stands in brackets"),
        ("[2001:db8::zz]:22", "no IPv6 address"),
        ("[::1%eth0]x:22", "no address and no host name|stands in brackets"),
        ("192.0.2.256:22", "no IPv4 address"),
        ("192.0.2:22", "no IPv4 address"),
        ("-a:22", "no address and no host name"),
        ("a..b:22", "no address and no host name"),
        ("a b:22", "no address and no host name"),
        ("a/b:22", "no address and no host name"),
        ("a" * 300 + ":22", "no address and no host name"),
    ],
)
def test_what_is_no_host_and_port(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        values.split_host_port(written)
    assert str(caught.value).startswith("cannot be ")


def test_to_listen_a_name_is_not_enough() -> None:
    assert values.split_listen("[::]:8443") == ("::", 8443)
    with pytest.raises(ValueError, match=r"such as 127\.0\.0\.1:8022, not a name"):
        values.split_listen("localhost:8022")


@pytest.mark.parametrize(
    "address, loopback", [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("0.0.0.0", False), ("::", False)]
)
def test_loopback(address: str, loopback: bool) -> None:
    assert values.is_loopback(address) is loopback


@pytest.mark.parametrize("written", ["192.0.2.10/24", "2001:db8::10/64", "192.0.2.10/32", "192.0.2.0/31", "fe80::1/64"])
def test_virtual_addresses(written: str) -> None:
    assert str(values.parse_vip(written)) == written


@pytest.mark.parametrize(
    "written, why",
    [
        ("192.0.2.10", "with its prefix length"),
        ("192.0.2.10/255.255.255.0", "the prefix length is a number"),
        ("192.0.2.10/", "the prefix length is a number"),
        ("192.0.2.10/33", "no IPv4 or IPv6 address"),
        ("192.0.2.300/24", "no IPv4 or IPv6 address"),
        ("224.0.0.18/24", "cannot serve"),
        ("127.0.0.1/8", "cannot serve"),
        ("0.0.0.0/0", "cannot serve"),
        ("::/64", "cannot serve"),
        ("192.0.2.0/24", "network's own or its broadcast"),
        ("192.0.2.255/24", "network's own or its broadcast"),
        ("fe80::1%eth0/64", "leave out %eth0"),
    ],
)
def test_what_is_no_virtual_address(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        values.parse_vip(written)


@pytest.mark.parametrize(
    "written, why", [("192.0.2.1/24", "host bits are set"), ("x", "no address and no network"), ("", "no address")]
)
def test_what_is_no_network(written: str, why: str) -> None:
    assert str(values.parse_network("192.0.2.7")) == "192.0.2.7/32"
    with pytest.raises(ValueError, match=why):
        values.parse_network(written)


@pytest.mark.parametrize(
    "written, normal",
    [
        ("/etc/nginx", "/etc/nginx"),
        ("/etc/nginx/", "/etc/nginx"),
        ("//etc/./nginx//", "/etc/nginx"),
        ("/", "/"),
        ("/...", "/..."),
    ],
)
def test_paths_become_normal(written: str, normal: str) -> None:
    assert values.normal_path(written) == normal


@pytest.mark.parametrize("written", ["etc", "", "./etc", "/etc/../passwd", "/..", "/etc\0/x", "~/x"])
def test_paths_that_are_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"^cannot "):
        values.normal_path(written)


def test_below_means_whole_components() -> None:
    assert values.is_under("/etc/nginx/a", "/etc/nginx")
    assert values.is_under("/etc/nginx", "/etc/nginx")
    assert values.is_under("/etc", "/")
    assert not values.is_under("/etc/nginx2", "/etc/nginx")
    assert not values.is_under("/etc", "/etc/nginx")


BLOB = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + bytes(range(32))
LINE = "ssh-ed25519 " + base64.b64encode(BLOB).decode()


def test_a_public_key_with_and_without_comment() -> None:
    assert values.parse_public_key(LINE) == BLOB
    assert values.parse_public_key(LINE + " syncsrv-fw2") == BLOB


@pytest.mark.parametrize(
    "written, why",
    [
        ("", "`syncsrv key` prints"),
        ("ssh-ed25519", "cut or mistyped"),
        ("ssh-ed25519 AAAA…", "cut or mistyped"),
        (LINE[:-4], "cut or mistyped"),
        (LINE + "AAAA", "cut or mistyped"),
        (LINE.replace("ssh-ed25519 ", "ssh-rsa "), "ssh-rsa is another algorithm"),
        ("ssh-ed25519 " + base64.b64encode(BLOB[:11] + b"X" + BLOB[12:]).decode(), "cut or mistyped"),
    ],
)
def test_what_is_no_public_key(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        values.parse_public_key(written)


@given(st.text(max_size=60))
def test_any_text_is_a_value_or_a_sentence(written: str) -> None:
    for parse in (
        values.parse_duration,
        values.parse_size,
        values.split_host_port,
        values.split_listen,
        values.parse_vip,
        values.parse_network,
        values.normal_path,
        values.parse_public_key,
    ):
        sentence = "cannot be refused: it was taken"
        try:
            parse(written)
        except ValueError as error:
            sentence = str(error)
        assert sentence.startswith("cannot ")
