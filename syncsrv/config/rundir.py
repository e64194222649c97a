"""Where a node's sockets are, for commands that only ask core: without a YAML parser, which would double their time.

A plain ``run_dir: PATH`` at the left margin of node.yaml is read here, everything else by the real reader.
"""

from __future__ import annotations

import re
from pathlib import Path

DEFAULT = Path("/run/syncsrv")
_MAX_BYTES = 1 << 20
_MARGIN = re.compile(rb"^node:", re.MULTILINE)
"""Shows that the keys stand at the left margin."""
_SPECIAL = re.compile(rb"^[%{?&!*\"']|^---|^run_dir[^:]|\r(?!\n)|\xc2\x85|\xe2\x80[\xa8\xa9]", re.MULTILINE)
"""What makes it possible that a line at the margin means something else."""
_PATH = rb"((?:/[\w@+-][\w.@+-]*)+)"
_PLAIN = re.compile(rb"^run_dir: +(?:\"%b\"|'%b'|%b)(?: +#.*)?\r?$" % (_PATH, _PATH, _PATH), re.ASCII)


def run_dir_of(directory: Path) -> Path:
    """The run_dir that node.yaml in this directory names.

    Args:
        directory: the configuration directory.

    Raises:
        ConfigurationError: node.yaml is missing, or has to be read whole and is wrong.
    """
    try:
        with (directory / "node.yaml").open("rb") as file:
            text = file.read(_MAX_BYTES)
    except OSError:
        return _read_whole(directory)
    lines = [line for line in text.split(b"\n") if line.startswith(b"run_dir:")]
    if len(lines) > 1 or _SPECIAL.search(text) or not _MARGIN.search(text):
        return _read_whole(directory)
    if not lines:
        return DEFAULT
    found = _PLAIN.match(lines[0])
    if found is None:
        return _read_whole(directory)
    return Path(next(filter(None, found.groups())).decode("ascii"))


def _read_whole(directory: Path) -> Path:
    from syncsrv.config.load import load_node

    return load_node(directory).run_dir
