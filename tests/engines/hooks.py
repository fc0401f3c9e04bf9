"""Prepare and finish hooks for the engine's tests; the supervisor imports them by name."""

from __future__ import annotations

import os
import time
from pathlib import Path

from wildsage.contract.errors import ClientError, DataError
from wildsage.engines.base import Ending


def prepare(folder: Path) -> None:
    (folder / "prepared").write_text("yes")


def prepare_refuses(folder: Path) -> None:
    raise DataError("is not a number", file="train.csv", line=3)


def prepare_breaks(folder: Path) -> None:
    raise ZeroDivisionError("no divisor")


def prepare_waits(folder: Path) -> None:
    (folder / "preparing").touch()
    while not (folder / "go on").exists():
        time.sleep(0.005)


def prepare_forks(folder: Path) -> None:
    """Leave a forked child behind, as a library with workers might; it waits for its own file."""
    if os.fork() == 0:
        try:
            (folder / "forked").write_text(str(os.getpid()))
            while not (folder / "leave").exists():
                time.sleep(0.005)
        finally:
            os._exit(0)


def finish(folder: Path, ending: Ending) -> None:
    (folder / "finished").write_text(repr(ending))


def finish_refuses(folder: Path, ending: Ending) -> None:
    raise ClientError("the bucket does not exist")


def finish_waits(folder: Path, ending: Ending) -> None:
    (folder / "finishing").touch()
    while not (folder / "go on").exists():
        time.sleep(0.005)
