"""The failure and success files, and the exit codes of a job."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from wildsage.contract.errors import AlgorithmError, ClientError, InternalServerError
from wildsage.contract.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

EXIT_OK = 0
EXIT_FAILURE = 1
# Of a server: what is wrong is its user's to put right, and the same start fails again (sysexits.h: EX_CONFIG).
EXIT_FINAL = 78

# What the service reads of the failure file; the rest is for whoever opens it.
FAILURE_LIMIT = 1024

FAMILIES: tuple[type[Exception], ...] = (ClientError, AlgorithmError, InternalServerError)
PREFIXES = tuple(f"{family.__name__}: " for family in FAMILIES)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def classify(error: BaseException) -> Exception:
    """The error of the family that says who can fix it, worded for the one who reads it."""
    if isinstance(error, FAMILIES):
        return error
    if isinstance(error, MemoryError):
        detail = f" ({error})" if str(error) else ""
        return InternalServerError(f"the machine's memory is used up{detail}; use less data, or a machine with more")
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        place = f" while writing {error.filename}" if error.filename else ""
        return InternalServerError(f"the disk is full{place}; free some space and start again")
    said = str(error)
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return AlgorithmError(f"an unexpected error, {text}; its traceback is on the log")


def failure_text(error: BaseException) -> str:
    """The reason in one line, with the prefix that the service gives it: "ClientError: k = 0 is not allowed: …"."""
    known = classify(error)
    family = next(family for family in FAMILIES if isinstance(known, family))
    lines = (line.strip() for line in str(known).splitlines())
    return f"{family.__name__}: {'; '.join(line for line in lines if line)}"


def write_failure(path: Path, error: BaseException | str) -> None:
    """Write the failure file, whole or not at all. A text is written as it is."""
    write_atomically(path, error if isinstance(error, str) else failure_text(error))


def read_failure(path: Path) -> str | None:
    """The reason that a job left: the first 1024 characters of its failure file, None if there is none or it is empty.

    The file is the container's own, so any bytes may be in it; those that are not UTF-8 are replaced.
    """
    try:
        with path.open("rb") as file:
            # A UTF-8 character takes four bytes at most.
            raw = file.read(4 * FAILURE_LIMIT)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    return raw.decode("utf-8", "replace")[:FAILURE_LIMIT].strip() or None


def write_success(path: Path) -> None:
    """Write the empty success file."""
    write_atomically(path, b"")
