"""How the commands print: colour and tables on a terminal, plain lines elsewhere, one JSON value for --json.

Answers go to stdout, everything said on the way to stderr, so that stdout can be piped on.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console

COLOURS = {
    "Completed": "green",
    "InService": "green",
    "ok": "green",
    "yes": "green",
    "Failed": "red",
    "Deleting": "yellow",
    "problem": "red",
    "Stopped": "yellow",
    "Stopping": "yellow",
}


def on_terminal() -> bool:
    """Whether a person reads stdout: a terminal that can do more than plain text."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def console(*, stderr: bool = False) -> Console:
    """A rich console on stdout (or stderr); looked up anew each time, since tests exchange the streams."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def say(text: str) -> None:
    """One line on the way to the answer."""
    print(text, file=sys.stderr, flush=True)


def line(text: str) -> None:
    """One line of the answer."""
    print(text, flush=True)


def as_json(value: Any) -> None:
    """The whole answer as one JSON value."""
    print(json.dumps(value, indent=2, default=_plain, ensure_ascii=False), flush=True)


def as_json_line(value: Any) -> None:
    """One of many answers, on a line of its own."""
    print(json.dumps(value, default=_plain, ensure_ascii=False), flush=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """A table on a terminal; elsewhere a row a line, columns parted by tabs, without a header."""
    written = [[_cell(value) for value in row] for row in rows]
    if not on_terminal():
        for row in written:
            line("\t".join(row))
        return
    if not written:
        say(empty)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in written:
        drawn.add_row(*(Text(value, style=COLOURS.get(value, "")) for value in row))
    console().print(drawn)


def when(moment: datetime | None) -> str:
    """A moment in the reader's own time zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def number(value: float) -> str:
    """Three digits that count, with k, M or G for a thousand, a million, a billion."""
    for power, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= power:
            return f"{value / power:.3g} {letter}"
    return f"{value:.3g}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


@contextmanager
def working(what: str) -> Iterator[None]:
    """A spinner on stderr while the body works, where a person sees it."""
    if not sys.stderr.isatty():
        yield
        return
    with console(stderr=True).status(what):
        yield


def path(text: str) -> str:
    """A path with the user's home folder written as ~, as a shell takes it."""
    try:
        return f"~/{Path(text).relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return text


def command() -> str:
    """How this program was called, so that a printed command can be pasted: `wildsage`, or the path that was used."""
    import shutil

    called = Path(sys.argv[0])
    if called.name != "wildsage":
        return "wildsage"
    found = shutil.which("wildsage")
    if found and Path(found).resolve() == called.resolve():
        return "wildsage"
    try:
        return str(called.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(called.absolute())


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return when(value)
    return "" if value is None else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value)
