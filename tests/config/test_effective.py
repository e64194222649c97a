"""How values in force are shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncsrv.config.effective import effective, shown
from syncsrv.config.load import load
from syncsrv.config.model import Cluster, Node
from syncsrv.config.values import parse_duration, parse_size, show_duration, show_size

DESIGN = Path(__file__).parents[1] / "golden/config/design"


@pytest.mark.parametrize("text", ["0s", "0.5s", "1s", "90s", "90m", "6h", "25h", "2d", "0.0005s"])
def test_a_duration_is_shown_as_it_is_read(text: str) -> None:
    assert show_duration(parse_duration(text)) == text


@pytest.mark.parametrize("text", ["1B", "1023B", "1KiB", "1025B", "16MiB", "3GiB"])
def test_a_size_is_shown_as_it_is_read(text: str) -> None:
    assert show_size(parse_size(text)) == text


def test_the_values_of_a_shape_have_the_keys_that_people_write() -> None:
    node = shown(Node.model_validate({"node": "fw1", "role": "master", "peers": {}, "allow": ["/etc", "/opt"]}))
    assert node["ssh", "from"] == "[]"
    assert node["allow",] == "[/etc, /opt]"
    assert node["peers",] == "{}"
    assert node["managers", "supervisor"] == "none"
    assert node["state_dir",] == "/var/lib/syncsrv"
    cluster = shown(
        Cluster.model_validate(
            {
                "cluster": "edge",
                "services": {
                    "web": {"manager": "systemd", "unit": "w", "health": {"http": "http://u:secret@192.0.2.1/x"}}
                },
                "overrides": [{"path": "/etc/x", "match": "(a)", "set": True}],
                "schedules": [{"do": "sync", "cron": "0 3 * * *", "soak": "6h", "owner": "alice"}],
            }
        )
    )
    assert cluster["services", "web", "health", "http"] == "http://…@192.0.2.1/x"
    assert cluster["services", "web", "on_change"] == "reload"
    assert cluster["services", "web", "program"] == '""'
    assert cluster["overrides", 0, "set"] == "true"
    assert cluster["schedules", 0, "soak"] == "6h"
    assert cluster["carp", "preempt_delay_s"] == "0"


def test_what_an_alias_repeats_stands_where_the_alias_stands(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text("node: fw1\nrole: master\n")
    (tmp_path / "cluster.yaml").write_text(
        "cluster: edge\nareas:\n"
        "  a:\n    paths: [/etc/a]\n    exclude: &same\n      - x\n"
        "  b:\n    paths: [/etc/b]\n    exclude: *same\n"
    )
    found, changed = effective(load(tmp_path))
    lines = {one.key: one.line for one in found if one.file == "cluster.yaml"}
    assert (lines["areas.a.exclude"], lines["areas.b.exclude"], lines["areas.a.extra"]) == (5, 9, 0)
    assert changed == ()


def test_every_value_of_the_example_is_at_the_line_that_says_it(tmp_path: Path) -> None:
    for name in ("node.yaml", "cluster.yaml", "secrets.yaml"):
        (tmp_path / name).write_bytes((DESIGN / name).read_bytes())
        (tmp_path / name).chmod(0o600)
    found, changed = effective(load(tmp_path))
    written = [one for one in found if one.line]
    assert (len(written) > 40, changed) == (True, ())
    for one in written:
        line = (tmp_path / one.file).read_text().splitlines()[one.line - 1]
        assert one.key.rpartition(".")[2] in line, one
