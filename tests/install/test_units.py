"""What the files of an installation say."""

from __future__ import annotations

import configparser
import re
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.install.program import Program
from syncsrv.install.units import SERVICES, SYSUSERS, TARGET, TMPFILES, UNITS_FOLDER, Node, PathError, built_of, files

PROGRAM = Program(Path("/opt/syncsrv/bin/python"), (Path("/opt/syncsrv"), Path("/usr")), "1.2.3-abc")
NODE = Node(PROGRAM, Path("/etc/other"), Path("/srv/state"), Path("/run/other"))


def unit(node: Node, name: str) -> str:
    return files(node)[UNITS_FOLDER / name]


def starts(text: str) -> str:
    (found,) = re.findall(r"(?m)^ExecStart=(.*)$", text)
    return str(found)


def test_each_unit_starts_its_word_with_the_paths_of_the_node() -> None:
    program = "/opt/syncsrv/bin/python -EsP -m syncsrv"
    assert starts(unit(NODE, "syncsrv-core.service")) == f"{program} --config /etc/other core"
    assert starts(unit(NODE, "syncsrv-door.service")) == f"{program} door"
    assert starts(unit(NODE, "syncsrv-web.service")) == f"{program} web"
    assert starts(unit(NODE, "syncsrv-carp.service")) == f"{program} carp --state-dir /srv/state --wait"
    for word in ("door", "web"):
        text = unit(NODE, f"syncsrv-{word}.service")
        assert "Environment=SYNCSRV_RUN_DIR=/run/other\n" in text
        assert "BindReadOnlyPaths=/opt/syncsrv /usr /run/other /run/systemd/notify\n" in text
    assert "ReadWritePaths=/srv/state /run/other\n" in unit(NODE, "syncsrv-carp.service")
    assert "\nd /run/other 0755 root root -\n" in files(NODE)[TMPFILES]
    assert re.findall(r"(?m)^u (\S+)", files(NODE)[SYSUSERS]) == ["syncsrv-door", "syncsrv-web"]


def test_the_failover_depends_on_nothing_of_ours_and_nothing_takes_it_along() -> None:
    text = unit(NODE, "syncsrv-carp.service")
    settings = configparser.RawConfigParser(strict=False)
    settings.optionxform = str  # type: ignore[assignment,method-assign]  # as its documentation says
    settings.read_string(text)
    assert set(settings["Unit"]) == {"Description", "After", "StartLimitIntervalSec"}
    assert settings["Unit"]["After"] == "network.target"
    assert settings["Service"]["KillMode"] == "process"
    assert settings["Service"]["OOMPolicy"] == "continue"
    for name in (*SERVICES[:-1], TARGET):
        for key in ("PartOf", "BindsTo", "Requires", "Conflicts", "PropagatesStopTo"):
            assert not re.search(rf"(?m)^{key}=.*carp", unit(NODE, name)), (name, key)


def test_a_unit_says_what_its_process_was_started_with() -> None:
    built = {name: built_of(unit(NODE, name)) for name in SERVICES}
    assert len(set(built.values())) == len(SERVICES)
    assert all(one.startswith("1.2.3-abc-") for one in built.values())
    newer = replace(NODE, program=replace(PROGRAM, build="1.2.4"))
    assert not any(built_of(unit(newer, name)) == built[name] for name in SERVICES)
    moved = replace(NODE, config=Path("/etc/moved"))
    assert [name for name in SERVICES if built_of(unit(moved, name)) != built[name]] == ["syncsrv-core.service"]
    assert built_of("[Service]\n") == ""


@pytest.mark.parametrize("path", ["/etc/with space", "/etc/per%cent", "/etc/col:on", "/etc/dol$lar", "/etc/umläut"])
def test_a_path_that_a_unit_cannot_name_is_refused(path: str) -> None:
    with pytest.raises(PathError, match="a unit file cannot name it"):
        files(replace(NODE, config=Path(path)))
