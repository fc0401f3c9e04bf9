"""What jobs and endpoints have in common: a folder in which a supervisor runs a command, and the lock of its name."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from wildsage.contract.errors import ClientError, InternalServerError
from wildsage.engines.base import State
from wildsage.platform import locks, runs
from wildsage.platform.context import Context
from wildsage.platform.names import Kind
from wildsage.platform.records import Record

_LOCK_WAIT_S = 10.0
_LEFTOVER_WAIT_S = 35.0  # more than the grace of a server


class Supervised:
    """The runs behind the records of one kind."""

    kind: ClassVar[Kind]

    def __init__(self, context: Context) -> None:
        self.context = context

    def folder(self, name: str) -> Path:
        return runs.folder_of(self.context.home, self.kind, name)

    def _lock(self, name: str) -> Path:
        return runs.lock_of(self.context.home, self.kind, name)

    def _run_state(self, record: Record) -> State | None:
        """The state of the record's run; None if there is none, or the folder is of another record."""
        folder = self.folder(record.name)
        if runs.charge_id(folder) != record.id:
            return None
        try:
            return self.context.engine.state(folder)
        except ClientError:
            return None

    def _new_folder(self, name: str) -> Path:
        """An empty folder; what an earlier run of this name has left is ended and removed.

        Raises InternalServerError if that does not end.
        """
        folder = self.folder(name)
        if folder.exists():
            with suppress(ClientError):  # nothing ever ran in it
                self.context.engine.stop(folder, wait_s=_LEFTOVER_WAIT_S)
                if self.context.engine.state(folder).alive:
                    raise InternalServerError(f"{folder} has a run that does not end")
            runs.remove(folder)
        folder.mkdir(parents=True)
        return folder

    def _remove(self, record: Record, wait_s: float) -> bool:
        """End the run, then remove folder and record, in this order. Returns whether that is done."""
        folder = self.folder(record.name)
        with locks.held(self._lock(record.name), wait_s=wait_s and _LOCK_WAIT_S) as held:
            if not held:
                return False
            if runs.charge_id(folder) in (record.id, None):
                with suppress(ClientError):  # nothing ever ran
                    self.context.engine.stop(folder)
                    # A job's outcome is there before its supervisor's last write, which must not meet a later folder.
                    if self.context.engine.wait(folder, timeout_s=wait_s).alive:
                        return False
                runs.remove(folder)
            self.context.store.delete(record)
            locks.discard(self._lock(record.name))
            return True
