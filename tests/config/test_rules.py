"""Rules one by one: what fires, what must not, and what is kept quiet because it was said already."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncsrv.config.load import load
from syncsrv.config.problem import ConfigurationError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA"


def said(directory: Path, node: str = "", cluster: str = "", secrets: str = "") -> list[str]:
    """What is said of these files, without the positions: those are in the golden files."""
    (directory / "node.yaml").write_text(f"node: fw1\nrole: master\ninterfaces: {{lan: eth0, wan: eth1}}\n{node}")
    (directory / "cluster.yaml").write_text(f"cluster: edge\n{cluster}")
    (directory / "secrets.yaml").write_text(secrets)
    (directory / "secrets.yaml").chmod(0o600)
    try:
        problems = load(directory).warnings
    except ConfigurationError as error:
        problems = error.problems
    return [f"{one.key_path}: {'warning: ' if one.severity == 'warning' else ''}{one.message}" for one in problems]


def areas(**paths: str) -> str:
    return "areas:\n" + "".join(f"  {name}: {{paths: {listed}}}\n" for name, listed in paths.items())


@pytest.mark.parametrize(
    "cluster",
    [
        areas(a="[/etc/nginx]", b="[/etc/nginx2, /etc/nginx.d]"),
        areas(a="[/etc/hosts]", b="[/etc/hosts.allow]"),
        areas(a="[/etc/a/b, /etc/a/c]", b="[/etc/a/d]"),
    ],
)
def test_neighbours_do_not_overlap(tmp_path: Path, cluster: str) -> None:
    assert said(tmp_path, cluster=cluster) == []


@pytest.mark.parametrize(
    "cluster, message",
    [
        (areas(a="[/etc/x]", b="[/etc/x]"), "areas.b.paths.0: cannot be managed twice: area a has /etc/x already"),
        (areas(a="[/etc/x, /etc/x/]"), "areas.a.paths.1: cannot be managed twice: area a has /etc/x already"),
        (
            areas(a="[/etc/x]", b="[/etc/x/y/z]"),
            "areas.b.paths.0: cannot be managed twice: /etc/x/y/z lies inside /etc/x of area a",
        ),
        (
            areas(b="[/etc/x/y/z]", a="[/etc/x]"),
            "areas.a.paths.0: cannot be managed twice: /etc/x/y/z of area b lies inside /etc/x",
        ),
        (
            areas(a="[/.syncsrv/meta]"),
            "areas.a.paths.0: cannot be /.syncsrv/meta: history keeps owners and modes under this name",
        ),
    ],
)
def test_overlaps_and_reserved_names(tmp_path: Path, cluster: str, message: str) -> None:
    assert said(tmp_path, cluster=cluster) == [message]


def test_thousands_of_paths_are_judged_at_once(tmp_path: Path) -> None:
    paths = [f"/etc/x/{number}" for number in range(5000)]
    found = said(tmp_path, cluster=areas(a=f"[{', '.join(paths)}]", b="[/etc/x]"))
    assert found == ["areas.b.paths.0: cannot be managed twice: /etc/x/0 of area a lies inside /etc/x"]


def test_excludes(tmp_path: Path) -> None:
    area = 'areas: {a: {paths: [/etc/x, /srv], exclude: ["*.bak", /etc/x/y, /srv, "", a/b, /etc/z]}}\n'
    assert said(tmp_path, node="allow: [/etc, /srv]", cluster=area) == [
        "areas.a.exclude.3: cannot be empty",
        "areas.a.exclude.4: cannot be 'a/b': write an absolute path, as seen under root; "
        "a pattern without `/` is a base name anywhere in the area",
        "areas.a.exclude.5: warning: /etc/z lies in none of the paths of area a, so nothing is left out by it",
    ]


def test_a_description_may_have_paragraphs(tmp_path: Path) -> None:
    assert said(tmp_path, cluster="areas: {a: {paths: [/etc/x]}}\n") == []
    assert (
        said(tmp_path, cluster="areas:\n  a:\n    paths: [/etc/x]\n    description: |\n      One.\n\n      Two.\n")
        == []
    )


def test_a_path_outside_allow_is_a_warning_on_either_node(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("cluster: edge\n" + areas(a="[/etc/x, /opt/y]"))
    text = "node: fw1\nrole: master\n"
    for role, refused in (("master", "rolling it back is refused"), ("backup", "a sync of it is refused")):
        text = text.replace("master", role)
        (tmp_path / "node.yaml").write_text(text)
        (warning,) = load(tmp_path).warnings
        assert warning.key_path == "areas.a.paths.1"
        assert warning.message.endswith(refused)
    (tmp_path / "node.yaml").write_text(text + "allow: [/]\n")
    assert load(tmp_path).warnings == ()


def services(text: str) -> str:
    return f"services:\n{text}"


@pytest.mark.parametrize(
    "service, messages",
    [
        ("{manager: systemd, unit: a.service}", []),
        ("{manager: command, start: [a], stop: [b], status: [c], reload: [d], restart: [e]}", []),
        ("{manager: systemd}", ["services.a.unit: cannot be left out: the manager systemd needs it"]),
        ("{manager: systemd, unit: ''}", ["services.a.unit: cannot be left out: the manager systemd needs it"]),
        (
            "{manager: command, start: [a]}",
            [
                "services.a.status: cannot be left out: the manager command needs it",
                "services.a.stop: cannot be left out: the manager command needs it",
            ],
        ),
        (
            "{manager: systemd, unit: a, program: b}",
            [
                "services.a.program: cannot be given here: it is for the manager supervisor, "
                "and this service has systemd"
            ],
        ),
        ("{manager: systemd, unit: 5}", ["services.a.unit: cannot be 5: text is needed here; write it in quotes"]),
        (
            "{manager: command, start: [''], stop: [b], status: [c]}",
            ["services.a.start: cannot begin with an empty argument: the first is the program"],
        ),
        (
            "{manager: command, start: a b, stop: [b], status: [c]}",
            ["services.a.start: cannot be a single value: write a list, such as [a, b]"],
        ),
        (
            '{manager: command, start: ["a\\0"], stop: [b], status: [c]}',
            ["services.a.start.0: cannot hold a NUL character"],
        ),
        (
            '{manager: systemd, unit: "a\\nb"}',
            ["services.a.unit: cannot hold line breaks or other control characters"],
        ),
        ("{manager: systemd, unit: 'openvpn@site-a.b'}", []),
        (r"{manager: systemd, unit: 'inst@a\x2db.service'}", []),
        (
            "{manager: systemd, unit: 'openvpn@.service'}",
            [
                "services.a.unit: cannot be 'openvpn@.service': that is a template; "
                "name an instance, such as openvpn@office"
            ],
        ),
        *(
            (
                f"{{manager: systemd, unit: '{unit}'}}",
                [
                    f"services.a.unit: cannot be '{unit}': a unit's name has letters, digits and `:-_.\\@` only; "
                    "`systemd-escape` writes others so"
                ],
            )
            for unit in ("nginx*", "ngin?.service", "[n]ginx", "-x", "--all", "a b", "/dev/sda", "ä", "a" * 256)
        ),
        ("{manager: init}", ["services.a.manager: cannot be 'init': write systemd, supervisor or command"]),
        (
            "{manager: systemd, unit: a, run_on: carp_master}",
            [
                "services.a.run_on: cannot be 'carp_master': write always, carp-master or never; "
                "did you mean carp-master?"
            ],
        ),
    ],
)
def test_managers_and_their_fields(tmp_path: Path, service: str, messages: list[str]) -> None:
    assert said(tmp_path, cluster=services(f"  a: {service}\n")) == messages


def test_supervisor_needs_its_socket_only_where_it_is_used(tmp_path: Path) -> None:
    cluster = services("  a: {manager: supervisor, program: a}\n")
    (found,) = said(tmp_path, cluster=cluster)
    assert found.startswith("managers.supervisor: cannot be left out: cluster.yaml has services under supervisor (a)")
    assert said(tmp_path, "managers: {supervisor: {socket: /run/s.sock}}\n", cluster) == []
    assert said(tmp_path, "managers: {supervisor: {}}\n", cluster) == ["managers.supervisor.socket: cannot be left out"]


def unit(name: str, after: str) -> str:
    return f"  {name}: {{manager: systemd, unit: {name}.service, after: {after}}}\n"


@pytest.mark.parametrize(
    "text, messages",
    [
        (unit("a", "[]") + unit("b", "[a]") + unit("c", "[a, b]") + unit("d", "[b, c]"), []),
        (unit("a", "[a]"), ["services.a.after.0: cannot be ordered: a after a"]),
        (
            unit("a", "[b]") + unit("b", "[c]") + unit("c", "[a]"),
            ["services.a.after.0: cannot be ordered: a after b after c after a"],
        ),
        (
            unit("x", "[b]") + unit("b", "[c]") + unit("c", "[b]"),
            ["services.b.after.0: cannot be ordered: b after c after b"],
        ),
        (
            unit("a", "[b]") + unit("b", "[a]") + unit("c", "[d]") + unit("d", "[c, nope]"),
            [
                "services.a.after.0: cannot be ordered: a after b after a",
                "services.c.after.0: cannot be ordered: c after d after c",
                "services.d.after.1: cannot be found: there is no service nope",
            ],
        ),
        (
            unit("nginx", "[]") + unit("b", "[ngnix]"),
            ["services.b.after.0: cannot be found: there is no service ngnix; did you mean nginx?"],
        ),
    ],
)
def test_the_order_of_starting(tmp_path: Path, text: str, messages: list[str]) -> None:
    assert said(tmp_path, cluster=services(text)) == messages


def test_a_long_chain_is_walked_without_recursion(tmp_path: Path) -> None:
    chain = "".join(unit(f"s{number}", f"[s{number + 1}]") for number in range(2000)) + unit("s2000", "[s0]")
    (found,) = said(tmp_path, cluster=services(chain))
    assert found.startswith("services.s0.after.0: cannot be ordered: s0 after s1 after s2")


@pytest.mark.parametrize(
    "health, messages",
    [
        ("{tcp: '127.0.0.1:80', timeout: 5s, rise: 1, fall: 3, within: 20s}", []),
        ("{http: 'http://[::1]:8080/health', status: 204}", []),
        ("{exec: [true-ish]}", []),
        ("{}", [": cannot tell what to probe: exactly one of tcp, http and exec is needed, none is given"]),
        (
            "{tcp: 'a:1', exec: [b]}",
            [": cannot tell what to probe: exactly one of tcp, http and exec is needed, tcp and exec are given"],
        ),
        (
            "{tcp: 'a:1', status: 200}",
            [".status: cannot be given without http: it is the status that http must answer"],
        ),
        ("{tcp: 'a:99999'}", [".tcp: cannot be 'a:99999': the port after the last colon is a number from 1 to 65535"]),
        ("{http: 'localhost/x'}", [".http: cannot be 'localhost/x': write a URL such as http://127.0.0.1:8080/health"]),
        (
            "{http: 'http://u:p@h/'}",
            [".http: cannot be 'http://u:p@h/': leave out the user name and password: cluster.yaml is in Git"],
        ),
        ("{http: 'http://h:0/'}", [".http: cannot be 'http://h:0/': the port is a number from 1 to 65535"]),
        ("{http: 'http://h:x/'}", [".http: cannot be 'http://h:x/': Port could not be cast to integer value as 'x'"]),
        ("{http: 'http://h/a b'}", [".http: cannot be 'http://h/a b': a URL has no spaces and no control characters"]),
        ("{tcp: 'a:1', timeout: 0}", [".timeout: cannot be 0: more than 0"]),
        ("{tcp: 'a:1', within: soon}", [".within: cannot be 'soon': write a duration such as 5s, 10m or 6h"]),
        ("{http: 'http://h/', status: 99}", [".status: cannot be 99: at least 100"]),
    ],
)
def test_health(tmp_path: Path, health: str, messages: list[str]) -> None:
    found = said(tmp_path, cluster=services(f"  a: {{manager: systemd, unit: a, health: {health}}}\n"))
    assert found == [f"services.a.health{message}" for message in messages]


@pytest.mark.parametrize(
    "override, messages",
    [
        ("{path: /etc/x/f, pointer: /a/b, set: 1}", []),
        ("{path: /etc/x/f, pointer: '', keep: true}", []),
        ("{path: /etc/x/f, pointer: /a~1b~0, set: null}", []),
        ("{path: /etc/x/f, match: 'a (?:b)(c)', set: '${v}-$x'}", []),
        (
            "{path: /etc/x/f, pointer: /a, match: (a), keep: true}",
            ["0: cannot tell the place: exactly one of pointer and match is needed, both are given"],
        ),
        (
            "{path: /etc/x/f, pointer: /a, set: 1, keep: true}",
            ["0: cannot tell the value: exactly one of `set` and `keep: true` is needed, both are given"],
        ),
        (
            "{path: /etc/x/f, pointer: /a, keep: false}",
            ["0: cannot tell the value: exactly one of `set` and `keep: true` is needed, neither is given"],
        ),
        (
            "{path: /etc/x/f, pointer: /a~b, keep: true}",
            ["0.pointer: cannot be '/a~b': ~ is written ~0 there, and / inside a key ~1"],
        ),
        (
            "{path: /etc/x/f, match: a, keep: true}",
            ["0.match: cannot have 0 groups: exactly one ( ) marks what is replaced, others are (?: )"],
        ),
        (
            "{path: /etc/x/f, match: '(a)', set: '${vv}'}",
            ["0.set: cannot be filled in: node.yaml has no vv under variables; did you mean v?"],
        ),
        ("{path: /etc/xy, pointer: /a, keep: true}", ["0.path: cannot be overridden: /etc/xy lies in no area"]),
        ("{path: x, pointer: /a, keep: true}", ["0.path: cannot be 'x': write an absolute path, as seen under root"]),
    ],
)
def test_overrides(tmp_path: Path, override: str, messages: list[str]) -> None:
    cluster = areas(a="[/etc/x]") + f"overrides: [{override}]\n"
    assert said(tmp_path, "variables: {v: x}\n", cluster) == [f"overrides.{message}" for message in messages]


def vip(rest: str) -> str:
    return f"vips: [{{vhid: 1, interface: lan, addresses: [192.0.2.10/24], {rest}}}]\n"


@pytest.mark.parametrize(
    "password, secrets, messages",
    [
        ("nineteen-bytes-long", "", []),
        ("twenty-bytes-long-it-is", "", ["cannot be used: it is 23 bytes long, and a CARP password has at most 19"]),
        ("'ééééééééé1'", "", ["warning: it holds a letter outside ASCII, which OPNsense treats differently"]),
        (
            "'éééééééééé'",
            "",
            [
                "cannot be used: it is 20 bytes long, and a CARP password has at most 19",
                "warning: it holds a letter outside ASCII, which OPNsense treats differently",
            ],
        ),
        ("'a b'", "", ["warning: it holds a space, which OPNsense treats differently"]),
        ("'a\"b'", "", ["warning: it holds a quote, which OPNsense treats differently"]),
        ("'a''b'", "", ["warning: it holds a quote, which OPNsense treats differently"]),
        ("'a\\b'", "", ["warning: it holds a backslash, which OPNsense treats differently"]),
        ('"a\\0b"', "", ["cannot be used: it holds a NUL character"]),
        ("!secret x", "x: fine\n", []),
        (
            "!secret x",
            "x: much-too-long-for-carp\n",
            ["cannot be used: the secret x is 22 bytes long, and a CARP password has at most 19"],
        ),
        ("!secret y", "xy: fine\n", ["cannot be found: secrets.yaml has no y; did you mean xy?"]),
    ],
)
def test_carp_passwords(tmp_path: Path, password: str, secrets: str, messages: list[str]) -> None:
    found = said(tmp_path, cluster=vip(f"password: {password}"), secrets=secrets)
    assert found == [f"vips.0.password: {message}" for message in messages]


def test_vhids_are_counted_by_device(tmp_path: Path) -> None:
    def two(first: str, second: str) -> list[str]:
        return said(
            tmp_path,
            "",
            f"vips:\n  - {{vhid: 7, interface: {first}, addresses: [192.0.2.10/24]}}\n"
            f"  - {{vhid: 7, interface: {second}, addresses: [192.0.2.11/24]}}\n",
        )

    assert two("lan", "wan") == []
    assert two("lan", "lan") == ["vips.1.vhid: cannot be 7 twice on lan: a vip above has it"]
    assert two("lan", "dmz") == ["vips.1.interface: cannot be found: node.yaml has no dmz under interfaces"]


def test_addresses_are_counted_once(tmp_path: Path) -> None:
    cluster = "vips:\n  - {vhid: 1, interface: lan, addresses: [192.0.2.10/24, '2001:db8::1/64', '2001:0db8::1/64']}\n"
    cluster += "  - {vhid: 2, interface: wan, addresses: [192.0.2.10/32]}\n"
    assert said(tmp_path, cluster=cluster) == [
        "vips.0.addresses.2: cannot be given twice: 2001:db8::1 stands above already",
        "vips.1.addresses.0: cannot be given twice: 192.0.2.10 stands above already",
    ]


@pytest.mark.parametrize(
    ("written", "messages"),
    [
        ("[192.0.2.1, 192.0.2.2]", []),
        ("[]", []),
        ("192.0.2.1", ["cannot be a single value: write a list, such as [a, b]"]),
        ("[192.0.2.1/24]", [".0: cannot be '192.0.2.1/24': no IPv4 or IPv6 address; write it without a prefix length"]),
        ("[224.0.0.18]", [".0: cannot be '224.0.0.18': no address of one host on the network"]),
        ("['fe80::1%eth0']", [".0: cannot be 'fe80::1%eth0': leave out %eth0; `interface` says where"]),
        ("[192.0.2.1, 192.0.2.1]", [".1: cannot be given twice: 192.0.2.1 stands above already"]),
        (
            "[192.0.2.10, 192.0.2.2]",
            [".0: cannot be 192.0.2.10: that is an address of this vip, and moves; write the nodes' own addresses"],
        ),
        (
            "['2001:db8::1']",
            [": cannot leave out IPv4: the vip has an IPv4 address, whose adverts need a receiver"],
        ),
    ],
)
def test_unicast_receivers(tmp_path: Path, written: str, messages: list[str]) -> None:
    found = said(tmp_path, cluster=vip(f"unicast: {written}"))
    assert found == [f"vips.0.unicast{one if one[0] in '.:' else ': ' + one}" for one in messages]


def test_adverts_need_an_interval(tmp_path: Path) -> None:
    assert said(tmp_path, "carp: {advskew: 100}\n", vip("advbase: 0")) == []
    assert said(tmp_path, "", vip("advbase: 0")) == [
        "vips.0.advbase: cannot be 0 while carp.advskew is 0: adverts would have no interval"
    ]


@pytest.mark.parametrize(
    "advskew, well",
    [(0, True), (239, True), (240, False), (254, False), (-1, False), ("'5'", False), ("true", False), ("1.0", False)],
)
def test_advskew(tmp_path: Path, advskew: object, well: bool) -> None:
    found = said(tmp_path, f"carp: {{advskew: {advskew}}}\n")
    assert (found == []) is well
    assert all(one.startswith("carp.advskew: cannot be ") for one in found)


@pytest.mark.parametrize(
    "web, messages",
    [
        ("{listen: '127.0.0.1:8443', tls: none}", []),
        ("{listen: '[::1]:8443', tls: none}", []),
        ("{listen: '192.0.2.1:8443', tls: {cert: /a, key: /b}}", []),
        (
            "{listen: '192.0.2.1:8443', tls: none}",
            [
                "web.tls: cannot be none on 192.0.2.1: passwords would cross the network in clear; "
                "only loopback may do so"
            ],
        ),
        ("{listen: '127.0.0.1:8022'}", ["web.listen: cannot be 127.0.0.1:8022: ssh listens there"]),
        ("{tls: yes}", ["web.tls: cannot be 'yes': write auto or none"]),
        ("{tls: {cert: /a}}", ["web.tls.key: cannot be left out"]),
        ("{tls: {cert: a, key: /b}}", ["web.tls.cert: cannot be 'a': write an absolute path"]),
        ("{tls: [a]}", ["web.tls: cannot be a list: write auto or none"]),
    ],
)
def test_the_page(tmp_path: Path, web: str, messages: list[str]) -> None:
    assert said(tmp_path, f"web: {web}\n") == messages


def test_peers(tmp_path: Path) -> None:
    peer = f"{{address: 'fw2.example.net:8022', key: '{KEY}'}}"
    other = f"{{address: '192.0.2.3:8022', key: '{OTHER_KEY} comment', may: admin}}"
    assert said(tmp_path, f"peers:\n  fw2: {peer}\n  fw3: {other}\n") == []
    assert said(tmp_path, f"peers:\n  fw2: {peer}\n  fw1: {peer}\n") == [
        "peers.fw1: cannot be a peer: fw1 is this node's own name",
        "peers.fw1.key: cannot be the key of two nodes: fw2 has it too",
    ]


def test_what_was_wrong_by_itself_is_not_missed_by_others(tmp_path: Path) -> None:
    node = "variables: {v: 1}\nmanagers: {supervisor: {sock: /x}}\n"
    cluster = (
        "areas: {a: {paths: [/etc/x], services: [svc, gone]}}\n"
        "services: {svc: {manger: systemd}, b: {manager: supervisor, program: 7, after: [svc]}}\n"
        "overrides: [{path: /etc/x/f, match: (a), set: '${v}'}]\n"
    )
    assert said(tmp_path, node, cluster) == [
        "areas.a.services.1: cannot be found: there is no service gone",
        "services.svc.manager: cannot be left out",
        "services.svc.manger: cannot be understood: there is no key manger here; did you mean manager?",
        "services.b.program: cannot be 7: text is needed here; write it in quotes",
        "variables.v: cannot be 1: text is needed here; write it in quotes",
        "managers.supervisor.socket: cannot be left out",
        "managers.supervisor.sock: cannot be understood: there is no key sock here; did you mean socket?",
    ]


def test_findings_after_cut_out_list_items_stand_at_their_own_lines(tmp_path: Path) -> None:
    cluster = (
        "vips:\n  - 5\n  - {vhid: 1, interface: lan, addresses: [192.0.2.10/24]}\n  - {vhid: x}\n"
        "  - {vhid: 1, interface: lan, addresses: [192.0.2.10, 192.0.2.11/24, 192.0.2.10/24]}\n"
    )
    said(tmp_path, cluster=cluster)
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path)
    places = [(one.line, one.column, one.key_path) for one in caught.value.problems]
    assert places == [
        (3, 5, "vips.0"),
        (5, 5, "vips.2.addresses"),
        (5, 5, "vips.2.interface"),
        (5, 12, "vips.2.vhid"),
        (6, 12, "vips.3.vhid"),
        (6, 43, "vips.3.addresses.0"),
        (6, 70, "vips.3.addresses.2"),
    ]
