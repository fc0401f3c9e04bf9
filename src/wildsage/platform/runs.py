"""What stands behind a record: a folder in which an engine runs a command, and the notes left there by its hooks.

Beside the engine's own files the folder holds
- record.json: what the run's hooks must know of the record, since they run in the supervisor's process
- marks.json: the steps that were reached, [SecondaryStatus, epoch seconds] each
- ending.json: how the command ended, from the moment when the hook that finishes was called
- outcome.json: how the run ended. Once it is there, the end is decided, and whoever sees it first writes it into
  the record
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wildsage.contract.errors import InternalServerError
from wildsage.contract.failure import FAILURE_LIMIT, PREFIXES
from wildsage.contract.files import beside_name, is_beside_name, write_json
from wildsage.contract.layout import Layout
from wildsage.engines.base import Cause, Ending
from wildsage.platform.names import FOLDERS, Kind
from wildsage.platform.states import Status

if TYPE_CHECKING:
    from wildsage.platform.records import Record

CHARGE, MARKS, ENDING, OUTCOME = "record.json", "marks.json", "ending.json", "outcome.json"
INPUTS = "inputs"  # of a transform job: its input files
FAILURE = "failure"  # of a transform job: why it ended, in its own words
MODEL_LINK = "model"  # of an endpoint or a transform job: points to the unpacked model
_LAST_LINES = 3
_REASON_LINES = 20  # what is still written after the reason, such as by other workers

Mark = tuple[str, float]


@dataclass(frozen=True)
class Charge:
    """A record as its run's hooks see it. more: what else they need, by kind."""

    kind: Kind
    name: str
    arn: str
    id: str
    home: Path
    database_url: str
    created_at: float
    request: Mapping[str, Any]
    more: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, record: Record, database_url: str, more: Mapping[str, Any]) -> Charge:
        fields = (record.kind, record.name, record.arn, record.id, Path(record.home), database_url)
        return cls(*fields, record.created_at, record.request, more)

    def write(self, folder: Path) -> None:
        values = {**self.__dict__, "kind": self.kind.value, "home": str(self.home)}
        # A database URL and an environment may hold passwords.
        write_json(folder / CHARGE, values, durable=True, mode=0o600, make_folder=False)

    @classmethod
    def read(cls, folder: Path) -> Charge:
        """Raises InternalServerError if the folder holds none."""
        try:
            values = _read_json(folder / CHARGE)
            return cls(**{**values, "kind": Kind(values["kind"]), "home": Path(values["home"])})
        except (KeyError, TypeError, ValueError) as error:
            raise InternalServerError(f"{folder / CHARGE} is missing or damaged: this folder holds no run") from error


@dataclass(frozen=True)
class Outcome:
    """How a job ended. id: of the record that it belongs to. details: what else becomes part of the record's state."""

    id: str
    status: str
    secondary: str
    marks: list[Mark]
    failure_reason: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        write_json(folder / OUTCOME, asdict(self), durable=True, make_folder=False)

    @classmethod
    def read(cls, folder: Path, id_: str) -> Outcome | None:
        """The outcome of the run of record `id_`; None if there is none, or it is damaged or another record's."""
        try:
            values = _read_json(folder / OUTCOME)
            outcome = cls(**{**values, "marks": [(str(mark), float(at)) for mark, at in values["marks"]]})
        except (KeyError, TypeError, ValueError):
            return None
        return outcome if outcome.id == id_ else None


def folder_of(home: Path, kind: Kind, name: str) -> Path:
    return home / FOLDERS[kind] / name


def lock_of(home: Path, kind: Kind, name: str) -> Path:
    """The lock of whoever starts, finishes, restarts or removes the run."""
    return home / "locks" / FOLDERS[kind] / name


def charge_id(folder: Path) -> str | None:
    """Whose run the folder holds; None if nobody's."""
    try:
        return Charge.read(folder).id
    except InternalServerError:
        return None


def read_marks(folder: Path) -> list[Mark]:
    """The steps that the run has reached; none if they are damaged, for the record has those seen before."""
    try:
        return [(str(mark), float(at)) for mark, at in _read_json(folder / MARKS) or []]
    except (TypeError, ValueError):
        return []


def mark(folder: Path, secondary: str) -> None:
    """Note that the run has reached a step."""
    write_json(folder / MARKS, [*read_marks(folder), (secondary, time.time())], durable=True, make_folder=False)


def write_ending(folder: Path, ending: Ending) -> None:
    write_json(folder / ENDING, asdict(ending), durable=True, make_folder=False)


def known_ending(folder: Path, seen: Ending) -> Ending:
    """How the command ended, of a run whose supervisor is dead. seen: what its engine says.

    A supervisor that died while it finished makes the run look lost; what the command did counts all the same.
    """
    with suppress(KeyError, TypeError, ValueError):  # none there, or a damaged one
        values = _read_json(folder / ENDING)
        return Ending(**{**values, "cause": Cause(values["cause"])})
    if seen.cause is Cause.LOST and seen.exit_code is not None:
        return replace(seen, cause=Cause.EXITED, reason="")
    return seen


def forget_end(folder: Path) -> None:
    """Make the folder ready for the same run once more."""
    (folder / ENDING).unlink(missing_ok=True)


def merged(old: list[Mark], new: list[Mark]) -> list[Mark]:
    """Both, each step once, in order of time, and of one time in the order given."""
    return sorted(dict.fromkeys((step, at) for step, at in [*old, *new]), key=lambda entry: entry[1])


def link_model(folder: Path, model: Path) -> None:
    """Let <folder>/model mean the unpacked model, so that the command could be written before it was there."""
    beside = folder / f"{MODEL_LINK}.new"
    beside.unlink(missing_ok=True)
    beside.symlink_to(model, target_is_directory=True)
    beside.replace(folder / MODEL_LINK)


def tidy(folder: Path, outcome: Outcome) -> None:
    """Remove what a settled run needs no more: its input (links, which keep deleted files on the disk, or copies), and
    what was packed. Log, metrics and configuration stay; so do the model and checkpoints of a run that failed.
    May be called again.
    """
    layout = Layout(folder / "ml")
    unwanted = [folder / INPUTS, folder / MODEL_LINK, layout.input / "data"]
    if outcome.status != Status.FAILED:
        unwanted.append(layout.model)
    if outcome.details.get("output"):
        unwanted.append(layout.output_data)
    if outcome.status == Status.COMPLETED:
        unwanted.append(layout.checkpoints)  # where they are to be kept, this is a link to them
    for path in unwanted:
        if path.is_symlink():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path, ignore_errors=True)


def remove(folder: Path) -> None:
    """Remove a run's folder. Renamed first, so that nobody takes half a folder for a run.

    What removals that were killed have left half done goes too.
    """
    with suppress(FileNotFoundError):
        folder.rename(beside_name(folder))
    for gone in folder.parent.glob(".*"):
        if is_beside_name(gone.name):
            shutil.rmtree(gone, ignore_errors=True)


def last_lines(folder: Path, count: int = _LAST_LINES) -> list[str]:
    from wildsage.engines.run_folder import last_log_lines

    return last_log_lines(folder, count)


def own_reason(folder: Path) -> str | None:
    """The reason that a program gave with its last words, as it goes into a failure file; None if it gave none."""
    lines = (line for line in reversed(last_lines(folder, _REASON_LINES)) if line.startswith(PREFIXES))
    found = next(lines, None)
    return None if found is None else shortened(found)


def reason(folder: Path, ending: Ending, program: str) -> str:
    """Why a run ended that left no reason of its own: what happened, and the last lines of its log."""
    if ending.cause is Cause.NOT_STARTED:
        return prefixed(ending.reason or f"the {program} could not be started", "ClientError: ")
    if ending.cause is Cause.OUT_OF_MEMORY:
        text = f"InternalServerError: this machine ran out of memory and ended the {program}"
    elif ending.cause is Cause.KILLED:
        text = f"InternalServerError: the {program} was ended by signal {ending.signal}"
    elif ending.cause is Cause.LOST:
        text = f"InternalServerError: the process that watched the {program} died, and the {program} with it"
    else:
        text = f"AlgorithmError: the {program} ended with exit code {ending.exit_code}"
    lines = last_lines(folder)
    return shortened(f"{text}. Last log lines: {' | '.join(lines)}" if lines else text)


def prefixed(text: str, prefix: str) -> str:
    """The text with a prefix that says who can fix it, unless it has one."""
    return shortened(text if text.startswith(PREFIXES) else prefix + text)


def shortened(text: str) -> str:
    return text if len(text) <= FAILURE_LIMIT else text[: FAILURE_LIMIT - 1] + "…"


def _read_json(path: Path) -> Any:
    """None where there is no file, or no JSON in it (torn by a power cut)."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
