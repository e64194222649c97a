"""What an installation did, or would do: told step by step, also when one of them fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from syncsrv.errors import SyncsrvError


class InstallError(SyncsrvError):
    """It was not done, or not to its end; the message says how far it came."""

    code = "install"


@dataclass(slots=True)
class Outcome:
    """Grows while it works.

    Attributes:
        dry_run: nothing is done, only told.
        steps: what was changed, or would be; empty where all is as it should be.
        remarks: what an operator should know or do, a sentence each.
    """

    dry_run: bool = False
    steps: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def step(self, what: str, work: Callable[[], object]) -> None:
        """Do it and tell of it; nothing is done in a dry run.

        Raises:
            InstallError: it failed.
        """
        if not self.dry_run:
            try:
                work()
            except OSError as error:
                raise self._failed(
                    what, f"{error.filename or 'it'}: {(error.strerror or str(error)).lower()}"
                ) from error
            except SyncsrvError as error:
                raise self._failed(what, error.message, error.remedy) from error
        self.steps.append(what)

    def _failed(self, what: str, why: str, remedy: str = "") -> InstallError:
        before = f"; done before that: {', '.join(self.steps)}" if self.steps else "; nothing was done before that"
        return InstallError(f"cannot {what}: {why}{before}", remedy or "correct that, and run the same command again")
