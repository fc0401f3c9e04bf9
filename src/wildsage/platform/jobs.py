"""What training and transform jobs have in common: a record, a run in a folder, an end that is decided once.

The order of writes is such that any of them may be the last one of its process:
  1. the record (InProgress), under the lock of its name
  2. the folder with record.json and all that the run reads
  3. the engine's start; then the lock is given up
  4. the run's finish hook, under the same lock: artifacts, then outcome.json, then the record
Whoever looks at a record that is not settled puts right what is missing: no run means that the creator died (nobody
holds the lock); a run that is over without an outcome is finished by the one who looks; an outcome that is not in the
record is written there.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from wildsage.contract.errors import ClientError, WildsageError
from wildsage.contract.failure import classify
from wildsage.engines.base import Cause, Ending, Phase, Specification
from wildsage.platform import locks, runs
from wildsage.platform.context import Context
from wildsage.platform.errors import ServiceError, invalid
from wildsage.platform.names import Kind
from wildsage.platform.records import Record
from wildsage.platform.runs import Charge, Mark, Outcome
from wildsage.platform.states import SETTLED, Secondary, Status
from wildsage.platform.store import Store
from wildsage.platform.supervised import Supervised

logger = logging.getLogger(__name__)

_DELETE_WAIT_S = 10.0
NEVER_STARTED = "InternalServerError: the process that created this job died before the job was started"


class Jobs(Supervised, ABC):
    """The jobs of one kind. Subclasses say what runs, and how its end is settled."""

    program: ClassVar[str]  # what runs, in a sentence

    @abstractmethod
    def lay_out(self, record: Record, folder: Path) -> Specification:
        """Write what the run reads into its new folder and say what to run."""

    @abstractmethod
    def may_retry(self, record: Record) -> bool:
        """Whether a run that was lost is started again."""

    @staticmethod
    @abstractmethod
    def settle(charge: Charge, folder: Path, ending: Ending) -> Outcome:
        """Decide how a job ended: write its artifacts, and say what becomes of the record. May be called twice."""

    def create(self, record: Record, request: Mapping[str, Any], more: Mapping[str, Any], operation: str) -> None:
        """Record the job and start it. Raises ServiceError for a name in use, and if it cannot be started."""
        with locks.held(self._lock(record.name)):
            self.context.insert(record, request, operation)
            try:
                folder = self._new_folder(record.name)
                Charge.of(record, self.context.store.url, more).write(folder)
                self.context.engine.start(self.lay_out(record, folder))
            except (WildsageError, OSError) as error:
                text = runs.prefixed(str(error), f"{type(error).__name__}: ")
                self._fail(record, text)
                raise ServiceError("InternalFailure", text, operation=operation, status=500) from error
        # A request to stop that came meanwhile found nothing to stop.
        current = self.context.store.get(self.kind, record.name)
        if current is not None and current.id == record.id and current.status is Status.STOPPING:
            self.context.engine.stop(folder)

    def get(self, name: str, operation: str) -> Record:
        """The record, put right. Raises ServiceError if there is none."""
        record = self.look(self.context.get(self.kind, name, operation))
        if record is None:
            raise self.context.missing(self.kind, name, operation)
        return record

    def stop(self, name: str, operation: str) -> None:
        """Ask a job to stop. Raises ServiceError if it has ended; a second request does nothing."""
        record = self.get(name, operation)
        if record.status not in (Status.IN_PROGRESS, Status.STOPPING):
            raise invalid(
                f"The request was rejected because the {self.kind.words} is in status {record.status}.",
                operation=operation,
            )

        def stopping(old: Record) -> Record | None:
            if old.id != record.id or old.status is not Status.IN_PROGRESS:
                return None
            return with_marks(replace(old, status=Status.STOPPING), [(Secondary.STOPPING, time.time())])

        self.context.store.change(self.kind, name, stopping)
        with suppress(ClientError):  # its creator has not come that far, and will see the record
            self.context.engine.stop(self.folder(name))

    def delete(self, name: str, operation: str) -> None:
        """Forget a job that has ended: its record and its folder. What it wrote to its output path stays."""
        record = self.get(name, operation)
        if record.status not in SETTLED[self.kind]:
            raise ServiceError(
                "ResourceInUse",
                f"The {self.kind.words} {name} is in status {record.status}: stop it, or wait for its end",
                operation=operation,
            )
        self.context.store.change(
            self.kind, name, lambda old: replace(old, status=Status.DELETING) if old.id == record.id else None
        )
        self._remove(record, _DELETE_WAIT_S)

    def log_lines(self, name: str, operation: str) -> Iterator[str]:
        """The lines of the job's log as they come, until it has ended."""
        self.get(name, operation)
        return follow_lines(self.context, self.folder(name))

    def look(self, record: Record) -> Record | None:
        """The record after it was held against what really runs; None if that completed its removal."""
        if record.status in SETTLED[self.kind] or record.home != str(self.context.home):
            return record
        if record.status is Status.DELETING:
            return None if self._remove(record, 0) else record
        folder = self.folder(record.name)
        if (outcome := Outcome.read(folder, record.id)) is not None:
            # Who wrote it may have died before it tidied. If it lives it holds the lock, under which no other run of
            # this name can take the folder.
            with locks.held(self._lock(record.name), wait_s=locks.MOMENT_S) as held:
                if held and Outcome.read(folder, record.id) is not None:
                    runs.tidy(folder, outcome)
            return record_outcome(self.context.store, self.kind, record.name, outcome)
        state = self._run_state(record)
        if state is not None and state.alive:
            if record.status is Status.STOPPING and state.phase not in (Phase.FINISHING, Phase.ENDED):
                self.context.engine.stop(folder)
            return self._in_step(record, folder)
        with locks.held(self._lock(record.name), wait_s=locks.MOMENT_S) as held:
            return self._put_right(record, folder) if held else record

    def _put_right(self, record: Record, folder: Path) -> Record | None:
        """Under the lock: finish, restart or fail a job behind which nothing lives. All is looked at once more."""
        current = self.context.store.get(self.kind, record.name)
        if current is None or current.id != record.id or current.status in SETTLED[self.kind]:
            return current
        state = self._run_state(current)
        if state is not None and state.alive:
            return current
        outcome = Outcome.read(folder, current.id)
        if outcome is None:
            if state is None or state.ending is None:
                return self._never_started(current)
            ending = runs.known_ending(folder, state.ending)
            if current.status is Status.STOPPING and ending.cause in (Cause.LOST, Cause.KILLED):
                # Its user wanted it to end, and it has, though not by our hand.
                ending = replace(ending, cause=Cause.STOPPED, reason="")
            if ending.cause is Cause.LOST and current.status is Status.IN_PROGRESS and self.may_retry(current):
                return self._start_again(current, folder)
            outcome = finished(Charge.read(folder), folder, ending, self.settle)
        else:
            runs.tidy(folder, outcome)  # who wrote it has died meanwhile, perhaps before that
        return record_outcome(self.context.store, self.kind, current.name, outcome)

    def _start_again(self, record: Record, folder: Path) -> Record | None:
        def restarting(old: Record) -> Record | None:
            if old.id != record.id or old.status is not Status.IN_PROGRESS:
                return None
            again = replace(old, state={**old.state, "attempts": old.state.get("attempts", 0) + 1})
            marks = runs.merged(runs.read_marks(folder), [(Secondary.RESTARTING, time.time())])
            return with_marks(again, marks)

        changed = self.context.store.change(self.kind, record.name, restarting)
        if changed is not None and changed.id == record.id and changed.status is Status.IN_PROGRESS:
            try:
                runs.forget_end(folder)
                self.context.engine.start(self.lay_out(changed, folder))
            except (WildsageError, OSError) as error:
                return self._fail(record, runs.prefixed(str(error), f"{type(error).__name__}: "))
        return changed

    def _never_started(self, record: Record) -> Record | None:
        now = time.time()
        if record.status is Status.STOPPING:
            outcome = Outcome(record.id, Status.STOPPED, Secondary.STOPPED, [(Secondary.STOPPED, now)])
        else:
            outcome = Outcome(record.id, Status.FAILED, Secondary.FAILED, [(Secondary.FAILED, now)], NEVER_STARTED)
        return record_outcome(self.context.store, self.kind, record.name, outcome)

    def _fail(self, record: Record, reason: str) -> Record | None:
        outcome = Outcome(record.id, Status.FAILED, Secondary.FAILED, [(Secondary.FAILED, time.time())], reason)
        return record_outcome(self.context.store, self.kind, record.name, outcome)

    def _in_step(self, record: Record, folder: Path) -> Record | None:
        """The record with the steps that its run has reached meanwhile."""
        marks = runs.read_marks(folder)

        def reached(old: Record) -> Record | None:
            return with_marks(old, marks) if old.id == record.id and old.status not in SETTLED[self.kind] else None

        if with_marks(record, marks) == record:
            return record
        return self.context.store.change(self.kind, record.name, reached)


def finished(charge: Charge, folder: Path, ending: Ending, settle: Any) -> Outcome:
    """Settle a run and write its outcome. Called under the lock; a run that has its outcome keeps it.

    A run that cannot be settled has failed: else it would never end, and every look at it would raise the same error.
    """
    outcome = Outcome.read(folder, charge.id)
    if outcome is None:
        runs.write_ending(folder, ending)
        runs.mark(folder, Secondary.UPLOADING)
        try:
            outcome = settle(charge, folder, ending)
        except Exception as error:  # the outermost frame of settling: every error becomes the reason
            logger.exception("%s %s could not be settled", charge.kind.words, charge.name)
            said = str(classify(error)).removesuffix("; its traceback is on the log")
            reason = f"InternalServerError: the end of the job could not be settled: {said}; its files are in {folder}"
            marks = [*runs.read_marks(folder), (Secondary.FAILED.value, time.time())]
            outcome = Outcome(charge.id, Status.FAILED, Secondary.FAILED, marks, runs.shortened(reason))
        outcome.write(folder)
        runs.tidy(folder, outcome)
    return outcome


def finish(folder: Path, ending: Ending, settle: Any, retried: Any) -> None:
    """What the finish hooks do, in the supervisor's process. retried: whether a lost run is to be started again."""
    charge = Charge.read(folder)
    if ending.cause is Cause.LOST and retried(charge):
        return  # whoever looks next starts it again
    with locks.held(runs.lock_of(charge.home, charge.kind, charge.name)):
        outcome = finished(charge, folder, ending, settle)
    store = Store(charge.home, charge.database_url)
    try:
        record_outcome(store, charge.kind, charge.name, outcome)
    finally:
        store.close()


def record_outcome(store: Store, kind: Kind, name: str, outcome: Outcome) -> Record | None:
    """Write an outcome into its record, unless it is there. Returns the record as it then is."""

    def settled(old: Record) -> Record | None:
        if old.id != outcome.id or old.status in SETTLED[kind] or old.status is Status.DELETING:
            return None
        new = with_marks(replace(old, status=Status(outcome.status)), outcome.marks)
        details = {**new.state, **outcome.details}
        if outcome.failure_reason:
            details["failure_reason"] = runs.shortened(outcome.failure_reason)
        return replace(new, state=details)

    return store.change(kind, name, settled)


def with_marks(record: Record, marks: list[Mark]) -> Record:
    """The record with steps added, each once, in order of time."""
    known = [(step, at) for step, at in record.state.get("marks", [])]
    merged = runs.merged(known, marks)
    if merged == known:
        return record
    steps = [[step, at] for step, at in merged]
    return replace(record, modified_at=max(record.modified_at, time.time()), state={**record.state, "marks": steps})


def follow_lines(context: Context, folder: Path) -> Iterator[str]:
    """The lines of a run's log, without line ends, until the run has ended."""
    rest = b""
    try:
        for chunk in context.engine.log(folder, follow=True):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.decode("utf-8", "replace")
    except ClientError:
        return  # there never was a run
    if rest:
        yield rest.decode("utf-8", "replace")
