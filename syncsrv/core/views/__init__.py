"""History and differences as a person asks for them: log, show, diff, file."""

from syncsrv.core.views.commits import log
from syncsrv.core.views.compare import diff, show
from syncsrv.core.views.content import file

__all__ = ["diff", "file", "log", "show"]
