"""The files of one run: who may be in its folder (the lock), what it is (specification) and where it stands (state)."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wildsage.contract.errors import InternalServerError
from wildsage.contract.files import write_json
from wildsage.engines.base import Cause, Ending, Phase, Specification, State

LOG, LOCK, STATE, SPECIFICATION = "log", "lock", "state.json", "specification.json"


@dataclass
class Record:
    """What state.json holds: the public state, and what identifies the processes of the run."""

    token: str  # of this run, not of the folder: a second run in one folder has another
    pid: int  # the supervisor's
    identity: str
    phase: Phase = Phase.STARTING
    created_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    address: tuple[str, int] | None = None
    restarts: int = 0
    ending: Ending | None = None
    command_pid: int | None = None
    command_identity: str = ""

    @classmethod
    def from_json(cls, value: Any) -> Record:
        """Raises KeyError, TypeError or ValueError if the value is not a record."""
        values = dict(value)
        values["phase"] = Phase(values["phase"])
        if values["address"] is not None:
            host, port = values["address"]
            values["address"] = (str(host), int(port))
        if values["ending"] is not None:
            values["ending"] = Ending(**{**values["ending"], "cause": Cause(values["ending"]["cause"])})
        return cls(**values)

    def state(self, *, alive: bool) -> State:
        return State(
            self.phase,
            alive,
            self.ending if self.phase is Phase.ENDED else None,
            self.created_at,
            self.started_at,
            self.ended_at,
            self.address,
            self.restarts,
        )


# --- files


def _write(path: Path, value: Any, *, durable: bool = False, mode: int = 0o644) -> None:
    """Write JSON whole. Raises InternalServerError if the disk will not have it, or the folder is gone."""
    try:
        write_json(path, value, durable=durable, mode=mode, make_folder=False)
    except OSError as error:
        raise InternalServerError(f"{path} cannot be written: {error.strerror}") from error


def read_record(folder: Path) -> Record | None:
    """The record of the folder's latest run; None if there is none, or it was torn by a power cut."""
    try:
        return Record.from_json(json.loads((folder / STATE).read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_record(folder: Path, record: Record) -> None:
    """A lost change before the end does no harm (the run then counts as lost anyway), so only the end is durable."""
    _write(folder / STATE, asdict(record), durable=record.phase is Phase.ENDED)


def stop_request(folder: Path, token: str) -> Path:
    """The empty file that asks one run to stop: a name alone, since it must be possible on a full disk too."""
    return folder / f"stop-{token}"


def write_specification(folder: Path, specification: Specification) -> None:
    """For the owner's eyes only: the environment may hold secrets."""
    _write(folder / SPECIFICATION, specification_to_json(specification), mode=0o600)


def specification_to_json(specification: Specification) -> dict[str, Any]:
    # Not dataclasses.asdict: it deep-copies, and a Mapping that is not a dict cannot be copied so.
    return {
        **vars(specification),
        "folder": str(specification.folder),
        "command": list(specification.command),
        "final_exit_codes": list(specification.final_exit_codes),
        "environment": dict(specification.environment),
    }


def specification_from_json(value: Any) -> Specification:
    """Raises KeyError or TypeError if the value is not a specification."""
    listen = value.get("listen")
    return Specification(
        **{
            **value,
            "folder": Path(value["folder"]),
            "command": tuple(value["command"]),
            "final_exit_codes": tuple(value.get("final_exit_codes", ())),
            "listen": (listen[0], listen[1]) if listen is not None else None,
        }
    )


def last_log_lines(folder: Path, count: int) -> list[str]:
    """The last lines of a run's log that are not empty, at most `count`, without line ends; bad UTF-8 is replaced.

    A progress bar counts as one line: only what followed its last carriage return is kept.
    """
    try:
        with open(folder / LOG, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            text, start = b"", size
            while start > 0 and text.count(b"\n") <= 2 * count and size - start < 1 << 20:
                start = max(0, start - (1 << 14))
                file.seek(start)
                text = file.read(size - start)
    except FileNotFoundError:
        return []
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.decode("utf-8", "replace").split("\n")]
    if start > 0:
        del lines[0]  # most likely begins in the middle
    return [line.rstrip() for line in lines if line.strip()][-count:] if count > 0 else []


# --- the lock
#
# flock, not a record lock (fcntl): a record lock is dropped when its process closes any descriptor of the file, so a
# hook that asked for the state of its own run would release it. flock belongs to the open file: a child that inherits
# the descriptor would keep it, so the descriptor is closed on exec and after a fork.
# A probe takes the lock shared, so that probes do not see each other.


def acquire(folder: Path) -> int | None:
    """Take the lock for good and return its descriptor; None if another run holds it."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + 0.25
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another supervisor, or a probe that lasts microseconds
            if time.monotonic() > deadline:
                os.close(descriptor)
                return None
            time.sleep(0.005)
        else:
            os.register_at_fork(after_in_child=lambda: os.close(descriptor))
            return descriptor


def is_mine(folder: Path, descriptor: int) -> bool:
    """Whether the lock that acquire() took is still the folder's: not if it was removed, or made anew for another."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(folder / LOCK))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # a disk that does not answer now is no removed folder
        return True


@contextlib.contextmanager
def _lock_file(folder: Path) -> Iterator[int | None]:
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        yield descriptor
    finally:
        # Explicitly, since closing leaves the lock with a process that another thread forked meanwhile.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def is_held(folder: Path) -> bool:
    """Whether a supervisor lives in this folder."""
    with _lock_file(folder) as descriptor:
        if descriptor is None:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def look(folder: Path) -> tuple[bool, Record | None]:
    """Whether a supervisor lives here, and the record.

    If none does, no new one can begin before the record is read: it would be mistaken for a run that was lost.
    """
    with _lock_file(folder) as descriptor:
        if descriptor is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True, read_record(folder)
        return False, read_record(folder)


def wait_until_free(folder: Path) -> None:
    """Block until no supervisor lives in this folder."""
    with _lock_file(folder) as descriptor:
        if descriptor is not None:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
