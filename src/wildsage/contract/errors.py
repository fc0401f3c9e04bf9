"""The exception family: who can fix what went wrong.

The class name is also the prefix of FailureReason, as the managed service writes it.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class WildsageError(Exception):
    """Base of every error that Wildsage raises on purpose."""


class ClientError(WildsageError):
    """The user can fix it: a wrong value, a bad file, a name that does not exist."""


class AlgorithmError(WildsageError):
    """We can fix it: an algorithm broke one of its own rules."""


class InternalServerError(WildsageError):
    """The machine's fault: no memory, no disk, a process that vanished."""


class DataError(ClientError):
    """A bad place in a user's file or request. line, record and column count from 1; byte and instance from 0."""

    def __init__(
        self,
        reason: str,
        *,
        file: str | Path | None = None,
        line: int | None = None,
        record: int | None = None,
        column: int | None = None,
        byte: int | None = None,
        instance: int | None = None,
    ) -> None:
        self.reason, self.file, self.line, self.column, self.byte = reason, file, line, column, byte
        self.record, self.instance = record, instance
        places = [
            str(file) if file is not None else None,
            f"line {line}" if line is not None else None,
            f"record {record}" if record is not None else None,
            f"instance {instance}" if instance is not None else None,
            f"column {column}" if column is not None else None,
            f"byte {byte}" if byte is not None else None,
        ]
        where = ", ".join(place for place in places if place is not None)
        super().__init__(f"{where}: {reason}" if where else reason)


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return '; did you mean "x"?' for the allowed name closest to `name`, or '' if none is close."""
    by_lower = {candidate.lower(): candidate for candidate in allowed}
    close = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f'; did you mean "{by_lower[close[0]]}"?' if close else ""
