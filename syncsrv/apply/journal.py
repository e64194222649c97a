"""What an apply is about to do, on disk before it does it, so that a crash is undone or finished at the next start.

One JSON document, ``state_dir/journal.json``, written whole (temporary file, fsync, rename, fsync of the directory),
so that it is there and complete or not there at all. Its shape is ``journal_format``'s.

The phases, and what a start finds to do:

- ``prepared``: nothing live has changed; leftovers of temporaries may lie about. Undo.
- ``writing``: live files change. Undo.
- ``applied``: every path is written and main says so. Finish: services, known-good or confirmation, receipt.
- ``reverting``: it was applied, did not serve well, and is being put back. Undo.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from syncsrv import durable
from syncsrv.apply.journal_format import Confirm, JobKind, JournalFormatError, Phase, Record, decode, encode
from syncsrv.disk.fault import Checkpoint, no_checkpoint
from syncsrv.errors import DamagedError, SyncsrvError
from syncsrv.store.files import writing

__all__ = ["Confirm", "JobKind", "Journal", "JournalBusyError", "JournalFormatError", "Phase", "Record"]

FILE_NAME = "journal.json"
_WHAT = "the journal"


class JournalBusyError(SyncsrvError):
    """There is a journal already: an apply has neither been finished nor undone."""

    code = "journal-busy"

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"cannot begin an apply: {path} is left of an earlier one that is neither finished nor undone",
            "restart syncsrv, which undoes or finishes it first, and look at its log",
        )


class Journal:
    """The journal of a node.

    Args:
        directory: state_dir.
        checkpoint: see fault.py.
    """

    def __init__(self, directory: Path, checkpoint: Checkpoint = no_checkpoint) -> None:
        self.path = directory / FILE_NAME
        self._checkpoint = checkpoint

    def load(self) -> Record | None:
        """The apply that was under way; None where none was.

        Raises:
            DamagedError: it does not read as a journal; the message says where.
            JournalFormatError: another version wrote it.
        """
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DamagedError(
                f"cannot read the journal {self.path}: {error.strerror}", "see the system's log for its file system"
            ) from error
        return decode(text, self.path)

    def begin(self, record: Record) -> None:
        """Write the journal of an apply that starts.

        Raises:
            JournalBusyError: there is one.
            NoSpaceError, UnwritableError: it could not be written, and there is none.
        """
        if self.path.exists():
            raise JournalBusyError(self.path)
        try:
            self._write(record)
            self._checkpoint("journal.begun")
        except SyncsrvError:
            with suppress(OSError):  # it may be there, and be in doubt after a crash only: nothing has begun
                self.path.unlink()
            raise

    def advance(self, phase: Phase) -> Record:
        """Note that the apply has come to ``phase``; what is noted is durable when this returns.

        Raises:
            NoSpaceError, UnwritableError: it says the earlier phase, or, in doubt, this one.
        """
        record = self.load()
        if record is None:
            raise DamagedError(
                f"cannot go on with the apply: its journal {self.path} has gone",
                "look at what removed it; run it again",
            )
        record = replace(record, phase=phase)
        self._write(record)
        self._checkpoint(f"journal.{phase}")
        return record

    def remove(self) -> None:
        """The apply is over.

        Raises:
            UnwritableError: the next start may find it once more.
        """
        with writing(self.path, _WHAT):
            durable.remove(self.path)
        self._checkpoint("journal.removed")

    def _write(self, record: Record) -> None:
        with writing(self.path, _WHAT):
            durable.write(self.path, encode(record))
