"""The laws about which module may do what, held by reading the source.

Each exception stands in a table here with its reason. A law that finds nothing may only be one that does not look, so
each is also shown a source that breaks it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.support.source import Source, Use, bare_suppressions, catch_alls, imports, shells, sources, uses

TOP = Path(__file__).parents[1]
OURS = sources(TOP, "syncsrv")
TESTS = sources(TOP, "tests")

LAYERS: tuple[frozenset[str], ...] = (
    frozenset(
        {
            "errors",
            "clock",
            "log",
            "notify",
            "process",
            "durable",
            "single",
            "shipped",
            "signals",
            "version",
            "privilege",
        }
    ),
    frozenset({"config"}),
    frozenset({"plan", "carp"}),
    frozenset({"store", "watch", "services", "control", "failover"}),
    frozenset({"disk"}),
    frozenset({"checks"}),
    frozenset({"apply"}),
    frozenset({"core", "install", "transport", "web"}),
    frozenset({"demo"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
"""From the ground up: a part imports parts of lower layers and itself; parts of one layer do not know each other."""

UPWARD: dict[tuple[str, str], str] = {}
"""(module, part that it imports against the layers): why."""

LIBRARIES: dict[str, tuple[str, ...]] = {
    "apscheduler": ("syncsrv/core/schedule.py",),
    "argon2": ("syncsrv/core/",),
    "cheroot": ("syncsrv/web/server.py",),
    "click": ("syncsrv/cli/",),
    "cryptography": ("syncsrv/store/signing.py", "syncsrv/transport/", "syncsrv/core/certificate.py"),
    "dulwich": ("syncsrv/store/",),
    "flask": ("syncsrv/web/",),
    "flask_wtf": ("syncsrv/web/",),
    "jinja2": ("syncsrv/web/",),  # which comes with flask, as do the next two
    "markupsafe": ("syncsrv/web/",),
    "werkzeug": ("syncsrv/web/",),
    "paramiko": ("syncsrv/transport/",),
    "prometheus_client": ("syncsrv/web/api/metrics.py",),
    "pydantic": ("syncsrv/config/", "syncsrv/control/codec.py", "syncsrv/core/", "syncsrv/web/api/"),
    "pydantic_core": ("syncsrv/config/", "syncsrv/control/codec.py", "syncsrv/core/", "syncsrv/web/api/"),
    "pygments": ("syncsrv/web/views/highlight.py",),
    "rich": ("syncsrv/cli/", "syncsrv/demo/"),
    "ruamel": ("syncsrv/config/yamltext.py",),
    "supervisor": (),  # a program of its own, spoken to over its socket
    "watchdog": ("syncsrv/watch/notify.py",),
}
"""Third-party library: the adapter where it may be imported."""

WALL_CLOCK = (
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "time.ctime",
    "time.gmtime",
    "time.localtime",
    "time.time",
    "time.time_ns",
)
ENVIRONMENT = ("os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv", "os.unsetenv")
PROGRAMS = (
    "multiprocessing",
    "os.exec*",
    "os.fork*",
    "os.posix_spawn*",
    "os.spawn*",
    "pty",
    "subprocess",
)
SHELLS = ("os.popen", "os.system", "subprocess.getoutput", "subprocess.getstatusoutput")
UNTYPED = ("marshal", "pickle", "shelve")

BANNED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # what it is: (names; a final * stands for any ending), (where they may be used)
    "reads the wall clock": (WALL_CLOCK, ("syncsrv/clock.py",)),
    "reads the environment": (ENVIRONMENT, ("syncsrv/cli/",)),
    "starts programs": (
        PROGRAMS,
        (
            "syncsrv/process.py",
            "syncsrv/checks/sandbox",
            "syncsrv/cli/carp.py",
            "syncsrv/cli/serve.py",
            "syncsrv/core/ssh/gitserve.py",
            "syncsrv/demo/",
            "syncsrv/failover/companion.py",
            "syncsrv/failover/guardian.py",
            "syncsrv/failover/statesync/daemon.py",
        ),
    ),
    "uses a shell": (SHELLS, ()),
    "waits for a time instead of an event": (("time.sleep",), ()),
    "reads data that can hold code": (UNTYPED, ()),
}

PURE = ("syncsrv/plan/", "syncsrv/carp/")
IMPURE = (
    *("asyncio", "builtins.open", "io", "logging", "open", "os", "pathlib.Path", "random", "secrets", "select"),
    *("selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time"),
)
"""What a pure part never uses: anything that could read a disk, a network, a clock or chance."""

LOOP_TOPS: dict[tuple[str, str], str] = {
    ("syncsrv.control.dispatch", "Dispatcher.answer"): "top of the request loop: one bad request ends only itself",
    ("syncsrv.core.carp.declare", "Declaring._run"): "top of the thread that tells peers: else a change waits for ever",
    ("syncsrv.core.carp.split", "Split._run"): "top of the thread that compares nodes: else a deaf one serves for ever",
    ("syncsrv.core.carp.link", "Link._run"): "top of the thread that listens to carp: no old report may look fresh",
    ("syncsrv.core.peers", "PeerBook._poll"): "top of a polling thread: what one answer does must not end the polling",
    ("syncsrv.web.wsgi", "Outermost.__call__"): "top of the request loop of the page: an answer in every case",
    ("syncsrv.core.jobs", "Jobs._run"): "top of a job: it ends as failed, with the traceback in the log",
}
"""(module, function) that may catch every exception: why."""

LONGEST = 400
LONG: dict[str, tuple[int, str]] = {}
"""Module: (its own limit in lines, why it is one idea all the same)."""

BANNED_IN_TESTS = ("mock", "pytest_mock", "time.sleep", "unittest.mock")
PATCHING = re.compile(r"\bmonkeypatch\.(setattr|delattr|setitem|delitem)\b|\bMonkeyPatch\.context\b")
TEST_EXCEPTIONS: dict[tuple[str, str], str] = {}
"""(test module, what it uses that tests must not): why."""

UNTESTED: dict[str, str] = {
    "syncsrv.__main__": "cannot be imported without running; tests/integration/test_wheel.py runs it",
}
"""Module that no test names: why."""

LIGHT = {"", "cli", "clock", "control", "errors", "log", "plan", "version"}
ALONE = {"durable", "failover", "single"}
"""The parts that a command that only asks core may load; "" is the package itself. ALONE: where core is away, too."""
LIGHT_MODULES = {"syncsrv.config", "syncsrv.config.rundir"}  # finds core's socket without reading YAML
HEAVY = {"asyncio", "email", "http", "multiprocessing", "sqlite3", "ssl", "unittest", "xml", "xmlrpc"}
"""Of the standard library, what such a command has no use for and would wait for at each start."""


def part_of(module: str) -> str:
    """``store`` for syncsrv.store.repo, ``clock`` for syncsrv.clock."""
    return [*module.split("."), ""][1]


def layer_of(part: str) -> int | None:
    return next((number for number, parts in enumerate(LAYERS) if part in parts), None)


def matches(name: str, patterns: Iterable[str]) -> str | None:
    """The pattern that names it or something around it: os.path.join is of ``os``."""
    for pattern in patterns:
        if pattern.endswith("*") and name.startswith(pattern[:-1]):
            return pattern
        if name == pattern or name.startswith(pattern + "."):
            return pattern
    return None


def stands_in(path: str, places: Iterable[str]) -> bool:
    return any(path.startswith(place) for place in places)


def say(source: Source, use: Use, what: str) -> str:
    return f"{source.path}:{use.line}: {use.name} {what}"


def against_layers(source: Source) -> list[str]:
    own = part_of(source.module)
    if not own:
        return [say(source, use, "is imported by the package itself") for use in imports(source)]
    rank = layer_of(own)
    if rank is None:
        return [f"{source.path}: {own} stands in no layer"]
    found = []
    for use in imports(source):
        part = part_of(use.name)
        if use.name.split(".")[0] != "syncsrv" or not part or part == own or (source.module, part) in UPWARD:
            continue
        other = layer_of(part)
        if other is None or other > rank or (other == rank and rank > 0):
            found.append(say(source, use, f"stands not below {own}"))
    return found


def against_adapters(source: Source) -> list[str]:
    found = []
    for use in imports(source):
        library = use.name.split(".")[0]
        if library in sys.stdlib_module_names or library == "syncsrv":
            continue
        if not stands_in(source.path, LIBRARIES.get(library, ())):
            found.append(say(source, use, f"is a library whose place is {LIBRARIES.get(library) or 'nowhere'}"))
    return found


def against_bans(source: Source) -> list[str]:
    found = [say(source, use, "uses a shell") for use in shells(source)]
    for use in uses(source):
        for what, (names, places) in BANNED.items():
            if matches(use.name, names) and not stands_in(source.path, places):
                found.append(say(source, use, what))
        if stands_in(source.path, PURE) and matches(use.name, IMPURE):
            found.append(say(source, use, "is not for a pure part"))
    return found


def against_narrow_catching(source: Source) -> list[str]:
    return [
        say(source, use, "catches everything and is not the top of a loop")
        for use in catch_alls(source)
        if (source.module, use.name) not in LOOP_TOPS
    ]


def against_length(source: Source) -> list[str]:
    lines = len(source.text.splitlines())
    limit, _ = LONG.get(source.path, (LONGEST, ""))
    return [f"{source.path}: {lines} lines, {limit} at most"] if lines > limit else []


def against_silence(source: Source) -> list[str]:
    return [say(source, use, "does not say which rule and why") for use in bare_suppressions(source)]


def against_test_rules(source: Source) -> list[str]:
    patching = [Use(match[0], 0) for match in PATCHING.finditer(source.text)]
    used = [*imports(source), *uses(source)]
    return [
        say(source, use, "is not for tests")
        for use in [*(use for use in used if matches(use.name, BANNED_IN_TESTS)), *patching]
        if (source.module, matches(use.name, BANNED_IN_TESTS) or use.name) not in TEST_EXCEPTIONS
    ]


def report(found: list[str]) -> None:
    if found:
        pytest.fail("\n".join(found), pytrace=False)


Law = Callable[[Source], list[str]]
LAWS: tuple[Law, ...] = (
    against_layers,
    against_adapters,
    against_bans,
    against_narrow_catching,
    against_length,
    against_silence,
)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__.removeprefix("against_"))
def test_our_source_keeps_the_law(law: Law) -> None:
    report([line for source in OURS for line in law(source)])


def test_tests_keep_the_law_for_tests() -> None:
    others = [
        source for source in TESTS if source.path not in {"tests/test_architecture.py", "tests/support/source.py"}
    ]
    report([line for source in others for law in (against_test_rules, against_silence) for line in law(source)])


BREAKS: list[tuple[Law, str, str]] = [
    (against_layers, "syncsrv/plan/x.py", "from syncsrv.store.repo import Store"),
    (against_layers, "syncsrv/plan/x.py", "from ..store import repo"),
    (against_layers, "syncsrv/store/x.py", "def f():\n    import syncsrv.watch.scan"),
    (against_layers, "syncsrv/clock.py", "from syncsrv.config.model import Node"),
    (against_layers, "syncsrv/carp/x.py", "from syncsrv.plan.words import x"),
    (against_layers, "syncsrv/failover/x.py", "from syncsrv.store.repo import Store"),
    (against_layers, "syncsrv/newpart/x.py", ""),
    (against_adapters, "syncsrv/core/x.py", "import dulwich.repo"),
    (against_adapters, "syncsrv/config/load.py", "from ruamel.yaml import YAML"),
    (against_adapters, "syncsrv/store/x.py", "import requests"),
    (against_bans, "syncsrv/store/x.py", "import time\nnow = time.time()"),
    (against_bans, "syncsrv/store/x.py", "from time import time as now\nnow()"),
    (against_bans, "syncsrv/core/x.py", "from datetime import datetime\ndatetime.now()"),
    (against_bans, "syncsrv/core/x.py", "import datetime as d\nfield(default_factory=d.datetime.utcnow)"),
    (against_bans, "syncsrv/core/x.py", "import os\nos.environ['HOME']"),
    (against_bans, "syncsrv/core/x.py", "from os import getenv\ngetenv('HOME')"),
    (against_bans, "syncsrv/store/x.py", "import subprocess\nsubprocess.run(['git'])"),
    (against_bans, "syncsrv/store/x.py", "import os\nos.execvp('git', [])"),
    (against_bans, "syncsrv/process.py", "import os\nos.system('true')"),
    (against_bans, "syncsrv/process.py", "import subprocess\nsubprocess.run('true', shell=True)"),
    (against_bans, "syncsrv/core/x.py", "from time import sleep\nsleep(1)"),
    (against_bans, "syncsrv/control/x.py", "import pickle\npickle.loads(b'')"),
    (against_bans, "syncsrv/plan/x.py", "open('/etc/passwd')"),
    (against_bans, "syncsrv/plan/x.py", "from pathlib import Path\nPath('/').exists()"),
    (against_bans, "syncsrv/plan/x.py", "import time\ntime.monotonic()"),
    (against_bans, "syncsrv/carp/x.py", "import socket\nsocket.socket()"),
    (against_narrow_catching, "syncsrv/core/x.py", "try:\n    f()\nexcept Exception:\n    pass"),
    (against_narrow_catching, "syncsrv/core/x.py", "try:\n    f()\nexcept:\n    pass"),
    (against_narrow_catching, "syncsrv/core/x.py", "try:\n    f()\nexcept (OSError, BaseException) as e:\n    log(e)"),
    (against_narrow_catching, "syncsrv/core/x.py", "with contextlib.suppress(Exception):\n    f()"),
    (against_length, "syncsrv/core/x.py", "\n" * (LONGEST + 1)),
    (against_silence, "syncsrv/core/x.py", "import x  # noqa"),
    (against_silence, "syncsrv/core/x.py", "import x  # noqa: F401"),
    (against_silence, "syncsrv/core/x.py", "x = 1  # type: ignore[assignment]"),
    (against_test_rules, "tests/x.py", "from unittest import mock"),
    (against_test_rules, "tests/x.py", "from unittest.mock import patch"),
    (against_test_rules, "tests/x.py", "import time\ntime.sleep(1)"),
    (against_test_rules, "tests/x.py", "def test_it(monkeypatch):\n    monkeypatch.setattr(a, 'b', c)"),
]


@pytest.mark.parametrize(("law", "path", "text"), BREAKS)
def test_a_source_that_breaks_the_law_is_found(law: Law, path: str, text: str) -> None:
    assert len(law(Source(path, text))) == 1


KEEPS: list[tuple[Law, str, str]] = [
    (against_layers, "syncsrv/apply/x.py", "from syncsrv.store.repo import Store\nfrom syncsrv import process"),
    (against_adapters, "syncsrv/store/x.py", "import os, dulwich.objects"),
    (against_bans, "syncsrv/core/x.py", "import time, os\ntime.monotonic()\nos.path.join('a', 'b')\nself.time.time()"),
    (against_bans, "syncsrv/core/x.py", "def f(subprocess): pass\nshell = True"),
    (against_narrow_catching, "syncsrv/core/x.py", "try:\n    f()\nexcept BaseException:\n    undo()\n    raise"),
    (against_narrow_catching, "syncsrv/core/x.py", "try:\n    f()\nexcept OSError:\n    pass"),
    (against_silence, "syncsrv/core/x.py", "import x  # noqa: F401 - kept for its effect"),
    (against_silence, "syncsrv/core/x.py", "x = 1  # type: ignore[assignment]  # the stubs are wrong"),
    (against_test_rules, "tests/x.py", "def test_it(monkeypatch):\n    monkeypatch.setenv('A', 'b')"),
]


@pytest.mark.parametrize(("law", "path", "text"), KEEPS)
def test_a_source_that_keeps_the_law_is_left_alone(law: Law, path: str, text: str) -> None:
    assert law(Source(path, text)) == []


def test_no_exception_outlives_its_cause() -> None:
    modules = {source.module: source for source in OURS}
    paths = {source.path for source in OURS}
    broad = {(source.module, use.name) for source in OURS for use in catch_alls(source)}
    named = {(source.module, part_of(use.name)) for source in OURS for use in imports(source)}
    assert set(LOOP_TOPS) <= broad
    assert set(UPWARD) <= named
    assert set(LONG) <= paths
    assert set(UNTESTED) <= set(modules)
    for path, (limit, _) in LONG.items():
        assert LONGEST < len(modules[path.removesuffix(".py").replace("/", ".")].text.splitlines()) <= limit


def test_every_module_is_named_by_a_test() -> None:
    """A module that no test names, nor a neighbour that a test names, is tested by accident at best.

    A test names what it imports, and by its own file's name the module that it starts as a program.
    """
    imported = {source.module: {use.name for use in imports(source)} for source in [*OURS, *TESTS]}
    for source in TESTS:
        imported[source.module].add(re.sub(r"^tests\.(.*\.)?test_", r"syncsrv.\1", source.module))
    reached = [source.module for source in TESTS]
    left = {source.module: source.path for source in OURS if not source.path.endswith("__init__.py")}
    while reached:
        module = reached.pop()
        for name in [name for name in left if any(matches(one, [name]) for one in imported[module])]:
            if module.startswith("tests.") or part_of(name) == part_of(module):
                reached.append(name)
                del left[name]
    report([f"{path}: no test names it" for name, path in left.items() if name not in UNTESTED])


def test_test_folders_mirror_ours() -> None:
    ours = {part_of(source.module) for source in OURS}
    others = {"support", "integration", "scenarios", "golden", "browser", "lab"}
    found = {Path(source.path).parts[1] for source in TESTS if len(Path(source.path).parts) > 2}
    assert found <= ours | others


COMES_WITH = {"jinja2": "flask", "markupsafe": "flask", "werkzeug": "flask", "pydantic_core": "pydantic"}
"""A library that another one brings, and that we use ourselves."""
IMPORTED_AS = {"argon2-cffi": "argon2", "ruamel.yaml": "ruamel"}
"""Where the name on the package index is not the one to import."""


def test_the_libraries_are_those_of_the_project_file() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[^\w.-]", line)[0] for line in project["dependencies"]]
    wanted = {IMPORTED_AS.get(name, name.replace("-", "_")) for name in names}
    assert wanted == set(LIBRARIES) - set(COMES_WITH)


def loaded_by(arguments: list[str], config: Path) -> set[str]:
    """The modules in a fresh interpreter after the command line has run."""
    code = (
        "import json, sys\n"
        "before = set(sys.modules)\n"
        "from syncsrv.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('\\n' + json.dumps(sorted(set(sys.modules) - before)))\n"
    )
    env = {"PATH": os.defpath, "SYNCSRV_CONFIG": str(config), "LANG": "C.UTF-8"}
    argv = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, env=env, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "arguments", [["--help"], ["status"], ["status", "--json"], ["log"], ["sync", "--dry-run"], ["vip"]]
)
def test_a_command_that_only_asks_core_loads_little(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text(f"node: fw1\nrole: master\nrun_dir: {tmp_path}\nstate_dir: {tmp_path}\n")
    (tmp_path / "cluster.yaml").write_text("cluster: edge\nareas: {proxy: {paths: [/etc/nginx]}}\n")
    modules = loaded_by(arguments, tmp_path)
    assert arguments == ["--help"] or "syncsrv.control.ask" in modules, "it did not come as far as asking"
    libraries = {name.partition(".")[0] for name in modules}
    assert libraries - set(sys.stdlib_module_names) == {"syncsrv", "click"}
    assert not libraries & HEAVY
    ours = {name for name in modules if name.partition(".")[0] == "syncsrv"} - LIGHT_MODULES
    light = LIGHT | ALONE if arguments[0] == "vip" else LIGHT
    assert {name for name in ours if part_of(name) not in light} == set()


def test_the_carp_process_loads_little() -> None:
    """All that its agent imports lies in locked memory, and is waited for when the guardian starts it again."""
    code = (
        "import json, sys\n"
        "before = set(sys.modules)\n"
        "import syncsrv.failover.agent\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))\n"
    )
    argv = [sys.executable, "-Es", "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=TOP, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    modules = set(json.loads(done.stdout))
    libraries = {name.partition(".")[0] for name in modules}
    assert libraries - set(sys.stdlib_module_names) == {"syncsrv"}
    assert not libraries & HEAVY
    ours = {part_of(name) for name in modules if name.partition(".")[0] == "syncsrv"}
    assert ours <= {"", "carp", "failover"} | LAYERS[0]
