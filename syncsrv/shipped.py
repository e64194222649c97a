"""Where the folders are that are shipped beside the code: templates, hooks, sample-repo.

In a checkout they stand at its top, in an installation below the package, in ``data``. An editable installation
also leaves copies in site-packages, which are stale at the next edit: importlib.resources could find those, so this
looks only beside the code that runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from syncsrv.errors import SyncsrvError

Name = Literal["templates", "hooks", "sample-repo"]


class NotShippedError(SyncsrvError):
    """A folder that belongs to the program is missing from the installation."""

    code = "not-shipped"

    def __init__(self, name: str, package: Path) -> None:
        super().__init__(f"cannot find the folder {name} of the program in {package}", "install syncsrv again")
        self.name = name


def folder(name: Name, package: Path = Path(__file__).parent) -> Path:
    """The absolute path of a shipped folder.

    Args:
        name: templates, hooks or sample-repo.
        package: where the code is; tests give another place.

    Raises:
        NotShippedError: the installation is not complete.
    """
    for place in (package / "data" / name, package.parent / name):
        if place.is_dir():
            return place.resolve()
    raise NotShippedError(name, package)
