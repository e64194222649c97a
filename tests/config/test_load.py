"""From the directory to one frozen Configuration, or to an error that names every file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from syncsrv.config.load import load, load_node, parse_cluster, parse_node
from syncsrv.config.model import Node, Role, SecretRef
from syncsrv.config.problem import ConfigurationError, Problem, Severity
from syncsrv.config.yamledit import flow
from syncsrv.errors import SyncsrvError
from tests.config.test_golden import GOLDEN

NODE = "node: fw1\nrole: master\n"
CLUSTER = "cluster: edge\nareas:\n  proxy: {paths: [/etc/nginx]}\n"


def write(
    directory: Path, node: str | bytes = NODE, cluster: str | bytes = CLUSTER, secrets: str | None = None
) -> Path:
    for name, text in (("node.yaml", node), ("cluster.yaml", cluster), ("secrets.yaml", secrets)):
        if text is not None:
            (directory / name).write_bytes(text if isinstance(text, bytes) else text.encode())
            (directory / name).chmod(0o600)
    return directory


def problems(directory: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(directory)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return [str(problem).removeprefix(f"{directory}/") for problem in caught.value.problems]


def test_the_example_of_the_contract(tmp_path: Path) -> None:
    for name in ("node.yaml", "cluster.yaml", "secrets.yaml"):
        (tmp_path / name).write_bytes((GOLDEN / "design" / name).read_bytes())
        (tmp_path / name).chmod(0o600)
    configuration = load(tmp_path)
    node, cluster = configuration.node, configuration.cluster
    assert (node.node, node.role, node.root, node.allow) == ("fw1", Role.MASTER, Path("/"), ("/etc",))
    assert node.peers["fw2"].address == "192.0.2.2:8022"
    assert node.web.tls == "auto"
    area = cluster.areas["proxy"]
    assert area.paths == ("/etc/nginx",)
    assert area.limit == 16 * 1024 * 1024
    assert area.check == ("nginx", "-t", "-c", "{stage}/etc/nginx/nginx.conf")
    health = cluster.services["nginx"].health
    assert health is not None
    assert (health.tcp, health.timeout_s, health.rise, health.fall, health.within_s) == ("127.0.0.1:80", 5, 1, 3, 20)
    assert cluster.overrides[0].set == "${kea_server}"
    assert cluster.overrides[1].keep is True
    assert cluster.vips[0].password == SecretRef("carp_lan")
    assert cluster.schedules[0].soak_s == 6 * 3600
    assert configuration.secrets == {"carp_lan": "a b"}
    assert configuration.directory == tmp_path
    assert [problem.severity for problem in configuration.warnings] == [Severity.WARNING]


def test_the_least_that_a_node_needs(tmp_path: Path) -> None:
    configuration = load(write(tmp_path, cluster="cluster: edge\n"))
    assert configuration.secrets == {}
    assert configuration.warnings == ()
    assert configuration.node.state_dir == Path("/var/lib/syncsrv")
    with pytest.raises(ValidationError, match="frozen"):
        configuration.node.role = Role.BACKUP


def test_keys_whose_content_is_commented_out_say_nothing(tmp_path: Path) -> None:
    cluster = load(
        write(tmp_path, NODE + "peers:\nallow:\n", "cluster: e\nareas:\nservices:\nvips:\noverrides:\n")
    ).cluster
    assert (cluster.areas, cluster.services, cluster.vips, cluster.overrides) == ({}, {}, (), ())


def test_paths_that_are_equal_are_equal_text(tmp_path: Path) -> None:
    cluster = load(write(tmp_path, cluster="cluster: e\nareas: {a: {paths: [//etc/./nginx/]}}\n")).cluster
    assert cluster.areas["a"].paths == ("/etc/nginx",)


def test_files_that_are_missing_are_named_together(tmp_path: Path) -> None:
    assert problems(tmp_path) == [
        "cluster.yaml:1:1: cannot be read: there is no such file; `syncsrv init` writes one",
        "node.yaml:1:1: cannot be read: there is no such file; `syncsrv init` writes one",
    ]


def test_the_problems_of_all_files_come_together_and_sorted(tmp_path: Path) -> None:
    write(tmp_path, "node: fw1\nrole: master\nrol: x\n", "cluster: edge\nareas: {a: {paths: [/]}}\n", "x: 1\n")
    assert problems(tmp_path) == [
        "cluster.yaml:2:21: areas.a.paths.0: cannot be /: an area is a part of the tree; "
        "list the directories that are meant",
        "node.yaml:3:1: rol: cannot be understood: there is no key rol here; did you mean role?",
        "secrets.yaml:1:4: x: cannot be this: text is needed here; write it in quotes",
    ]


def test_a_key_that_is_missing_is_looked_for_where_it_should_be(tmp_path: Path) -> None:
    write(tmp_path, "# nothing yet\n", "cluster: e\nareas:\n  a:\n    description: x\n")
    assert problems(tmp_path) == [
        "cluster.yaml:3:3: areas.a.paths: cannot be left out",
        "node.yaml:1:1: node: cannot be left out",
        "node.yaml:1:1: role: cannot be left out",
    ]


def test_an_unknown_key_that_is_like_nothing_gets_the_list(tmp_path: Path) -> None:
    assert problems(write(tmp_path, NODE + "ssh: {xyzzy: 1}\n")) == [
        "node.yaml:3:7: ssh.xyzzy: cannot be understood: there is no key xyzzy here; the keys are from, listen"
    ]


@pytest.mark.parametrize("text", ["[]\n", "x\n", "5\n", "- a\n"])
def test_a_file_that_is_no_mapping(tmp_path: Path, text: str) -> None:
    (problem,) = problems(write(tmp_path, text))
    assert problem.startswith("node.yaml:1:1: cannot be ")
    assert problem.endswith("a mapping (`key: value`) is needed here")


@pytest.mark.parametrize(
    "mode, refused", [(0o600, False), (0o400, False), (0o640, True), (0o604, True), (0o601, True), (0o660, True)]
)
def test_secrets_that_others_can_read_are_refused(tmp_path: Path, mode: int, refused: bool) -> None:
    write(tmp_path, secrets="carp_lan: hush\n")
    path = tmp_path / "secrets.yaml"
    path.chmod(mode)
    if refused:
        assert problems(tmp_path) == [
            f"secrets.yaml:1:1: cannot be used: others can read it (mode {mode:04o}); run `chmod 600 {path}`"
        ]
    else:
        assert load(tmp_path).secrets == {"carp_lan": "hush"}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_secrets_of_a_stranger_are_refused(tmp_path: Path) -> None:
    write(tmp_path, secrets="carp_lan: hush\n")
    os.chown(tmp_path / "secrets.yaml", 12345, 0)
    assert "belongs to uid 12345" in problems(tmp_path)[0]


@pytest.mark.parametrize("device", ["eth0", "bond0.100", "wg-a_b@x", "x" * 15])
def test_a_device_that_there_can_be(tmp_path: Path, device: str) -> None:
    write(tmp_path, NODE + f'interfaces: {{lan: "{device}"}}\n')
    assert load(tmp_path).node.interfaces == {"lan": device}


@pytest.mark.parametrize("device", ["x" * 16, "ü" * 15, "a b", "a/b", "eth0:1", "x{", "x}", "#x", ".", ""])
def test_a_device_that_there_cannot_be(tmp_path: Path, device: str) -> None:
    """The kernel counts bytes (IFNAMSIZ), and the process carp refuses what is longer."""
    write(tmp_path, NODE + f'interfaces: {{lan: "{device}"}}\n')
    (problem,) = problems(tmp_path)
    assert "interfaces.lan: cannot be" in problem


def test_while_secrets_cannot_be_read_nothing_is_said_of_those_that_are_named(tmp_path: Path) -> None:
    vips = "vips:\n  - {vhid: 1, interface: lan, addresses: [192.0.2.10/24], password: !secret carp_lan}\n"
    write(tmp_path, NODE + "interfaces: {lan: eth0}\n", CLUSTER + vips, "carp_lan: hush\n")
    (tmp_path / "secrets.yaml").chmod(0o644)
    assert [line.split(":")[0] for line in problems(tmp_path)] == ["secrets.yaml"]
    (tmp_path / "secrets.yaml").unlink()
    assert problems(tmp_path) == [
        "cluster.yaml:5:69: vips.0.password: cannot be found: secrets.yaml has no carp_lan; "
        "add a line `carp_lan: PASSWORD` there (mode 0600)"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "carp: !hunter2\n",
        "carp: *hunter2\n",
        "carp: &hunter2\n",
        "carp: @hunter2\n",
        "carp: hunter2: x\n",
        "carp: [hunter2\n",
        "carp: !<hunter2> x\n",
        "carp: {hunter2: 1}\n",
        "carp: [hunter2]\n",
        'carp: "\\hunter2"\n',
    ],
)
def test_no_message_shows_a_secret(tmp_path: Path, text: str) -> None:
    found = "\n".join(problems(write(tmp_path, secrets=text)))
    assert "secrets.yaml:" in found
    assert "hunter2" not in found


def test_a_password_in_cluster_yaml_is_not_shown_either(tmp_path: Path) -> None:
    vips = "vips:\n  - {vhid: 1, interface: lan, addresses: [192.0.2.10/24], password: 8675309}\n"
    assert "8675309" not in "\n".join(problems(write(tmp_path, cluster=CLUSTER + vips)))


@pytest.mark.parametrize("name", ["node.yaml", "cluster.yaml", "secrets.yaml"])
def test_what_is_no_file_is_not_opened_for_long(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name, 0o600)
    assert problems(tmp_path) == [f"{name}:1:1: cannot be read: it is not a regular file"]
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir(0o700)
    assert problems(tmp_path) == [f"{name}:1:1: cannot be read: it is not a regular file"]
    (tmp_path / name).rmdir()
    (tmp_path / name).symlink_to(name)
    assert problems(tmp_path) == [f"{name}:1:1: cannot be read: Too many levels of symbolic links"]


def test_a_file_that_cannot_be_read_after_all(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "cluster.yaml").unlink()
    (tmp_path / "cluster.yaml").symlink_to("/proc/self/mem")  # a regular file whose first page nobody can read
    assert problems(tmp_path) == ["cluster.yaml:1:1: cannot be read: Input/output error"]


def test_another_file_can_be_tried_as_cluster_yaml(tmp_path: Path) -> None:
    write(tmp_path)
    other = tmp_path / "new.yaml"
    other.write_text("cluster: new\n")
    assert load(tmp_path, cluster_file=other).cluster.cluster == "new"
    other.write_text("cluster: new\nvip: []\n")
    with pytest.raises(ConfigurationError, match=r"new\.yaml:2:1: vip: .*did you mean vips\?"):
        load(tmp_path, cluster_file=other)


def test_node_yaml_alone_while_cluster_yaml_is_broken(tmp_path: Path) -> None:
    write(tmp_path, cluster="[")
    assert load_node(tmp_path).node == "fw1"
    write(tmp_path, NODE + "web: {listen: '192.0.2.1:1', tls: none}\n")
    with pytest.raises(ConfigurationError, match=r"node\.yaml:3:35: web\.tls: cannot be none on 192\.0\.2\.1"):
        load_node(tmp_path)


def test_a_tags_cluster_yaml_is_judged_with_this_nodes_files() -> None:
    node = parse_node(b"node: fw2\nrole: backup\nvariables: {a: x}\n", "node.yaml")
    assert parse_cluster(CLUSTER.encode(), "sync/000001:cluster.yaml", node, {}).cluster == "edge"
    wrong = CLUSTER + "services:\n  app: {manager: supervisor, program: app}\noverrides:\n"
    wrong += "  - {path: /etc/nginx/x, match: '(a)', set: '${a}${b}'}\n"
    with pytest.raises(ConfigurationError) as caught:
        parse_cluster(wrong.encode(), "sync/000001:cluster.yaml", node, {})
    assert [str(problem) for problem in caught.value.problems] == [
        "node.yaml:1:1: managers.supervisor: cannot be left out: cluster.yaml has services under supervisor (app); "
        "write `managers: {supervisor: {socket: PATH}}`",
        "sync/000001:cluster.yaml:7:45: overrides.0.set: cannot be filled in: node.yaml has no b under variables",
    ]


def test_warnings_alone_are_no_error(tmp_path: Path) -> None:
    write(tmp_path, "node: fw2\nrole: backup\nallow: [/etc/ssl]\n")
    (warning,) = load(tmp_path).warnings
    assert str(warning) == (
        f"{tmp_path}/cluster.yaml:3:19: areas.proxy.paths.0: warning: /etc/nginx is outside what node.yaml allows "
        "to be written here (/etc/ssl): a sync of it is refused"
    )
    assert not isinstance(parse_cluster(CLUSTER.encode(), "x", load_node(tmp_path), {}), SyncsrvError)


def test_a_message_repeats_a_bounded_part_of_what_was_written(tmp_path: Path) -> None:
    long = "x" * 100_000
    write(tmp_path, f"node: {long}\nrole: {long}\n{long}: 1\n", f"cluster: e\nareas: {{a: {{paths: [{long}]}}}}\n")
    found = problems(tmp_path)
    assert len(found) == 4
    assert max(map(len, found)) < 1000


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["5s", "/etc", "a:1", "192.0.2.1/24", "nginx", "sync", "0 3 * * *", SecretRef("x")]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["tcp", "a", "paths", "x y"]), inner, max_size=2)
    ),
    max_leaves=5,
)


def variations(data: Any) -> Iterator[tuple[Any, ...]]:
    """Every path of nested data."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    yield ()
    for key, one in inner:
        yield from ((key, *below) for below in variations(one))


def put(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(data) if isinstance(data, dict) else dict(enumerate(data))
    copy[path[0]] = put(copy[path[0]], path[1:], value)
    return copy if isinstance(data, dict) else list(copy.values())


def golden_data(name: str) -> Any:
    from syncsrv.config.yamltext import parse

    return parse((GOLDEN / "design" / name).read_bytes()).data


NODE_DATA, CLUSTER_DATA = golden_data("node.yaml"), golden_data("cluster.yaml")
A_NODE = Node(node="fw9", role=Role.MASTER)


def judged(text: bytes) -> list[Problem]:
    """All that both readers say; anything but a ConfigurationError is a failure."""
    said: list[Problem] = []
    for name in ("node", "cluster"):
        try:
            if name == "node":
                parse_node(text, name)
            else:
                parse_cluster(text, name, A_NODE, {})
        except ConfigurationError as error:
            said += error.problems
    for problem in said:
        assert problem.severity is Severity.WARNING or problem.message.startswith("cannot ")
        assert problem.line >= 1
        assert problem.column >= 1
    return said


@given(st.data(), ANYTHING)
def test_any_value_anywhere_is_taken_or_refused_with_a_sentence(data: st.DataObject, value: Any) -> None:
    whole = data.draw(st.sampled_from([NODE_DATA, CLUSTER_DATA]))
    path = data.draw(st.sampled_from(list(variations(whole))))
    judged(flow(put(whole, path, value)).encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=300))
@example(b"\xff\xfea\x00")
@example(b"cluster: e\nareas: {a: {paths: [/a], limit: }}")
def test_any_bytes_are_a_configuration_or_a_configuration_error(text: bytes) -> None:
    judged(text)


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=6), st.integers(0, 20))
def test_a_file_with_a_dent_is_a_configuration_or_a_configuration_error(at: int, dent: bytes, gone: int) -> None:
    for name in ("node.yaml", "cluster.yaml"):
        text = (GOLDEN / "design" / name).read_bytes()
        judged(text[:at] + dent + text[at + gone :])
