"""Runs that end with their test."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wildsage.engines import run_folder
from wildsage.engines.base import Specification
from wildsage.engines.local import LocalEngine

HOOKS = "tests.engines.hooks"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def hooks_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a supervisor import this test folder."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))


@pytest.fixture
def engine() -> LocalEngine:
    return LocalEngine()


def python(script: str) -> tuple[str, ...]:
    """The command that runs a script without the cost of site packages."""
    return (sys.executable, "-S", "-c", script)


@pytest.fixture
def specify(tmp_path: Path, hooks_on_path: None) -> Iterator[Callable[..., Specification]]:
    """A function that makes a specification from a script; afterwards its run is killed if it still lives."""
    folders = []

    def make(
        script: str = "", *, folder: Path | None = None, prepare: str = "", finish: str = "", **changes: object
    ) -> Specification:
        folder = folder or tmp_path / "run"
        folders.append(folder)
        values = {
            "name": folder.name,
            "folder": folder,
            "command": python(script),
            "grace_s": 20.0,
            "prepare": f"{HOOKS}:{prepare}" if prepare else None,
            "finish": f"{HOOKS}:{finish}" if finish else None,
        }
        return Specification(**{**values, **changes})

    yield make
    for folder in folders:
        if folder.is_dir() and run_folder.is_held(folder):
            kill_supervisor(folder)


def kill_supervisor(folder: Path) -> None:
    """SIGKILL the supervisor and wait until its lock is free; what is left of the command ends at the next look."""
    record = run_folder.read_record(folder)
    assert record is not None
    with contextlib.suppress(ProcessLookupError):
        os.kill(record.pid, signal.SIGKILL)
    run_folder.wait_until_free(folder)
    LocalEngine().state(folder)
