"""The interface of an engine: start a command in a folder of its own, watch it, stop it, read its log."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


@dataclass(frozen=True)
class Specification:
    """What to run. Everything in it can be written as JSON, since a supervisor process reads it."""

    name: str
    folder: Path  # the run's own: its log, lock and state live here, beside what the caller put in it
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)  # added to the caller's
    max_runtime_s: float | None = None
    grace_s: float = 120.0  # between SIGTERM and SIGKILL
    listen: tuple[str, int] | None = None  # a server: the supervisor binds this (port 0: any) and hands the socket down
    restart: bool = False  # start the command again when it ends by itself (servers)
    prepare: str | None = None  # "module:function", called with the folder in the supervisor before the command
    finish: str | None = None  # "module:function", called with the folder and the Ending after it
    final_exit_codes: tuple[int, ...] = ()  # a server that ends with one of these is not started again


class Phase(StrEnum):
    STARTING = "Starting"
    PREPARING = "Preparing"
    RUNNING = "Running"
    FINISHING = "Finishing"
    ENDED = "Ended"


class Cause(StrEnum):
    """Why a run ended."""

    EXITED = "Exited"  # by itself, with an exit code
    KILLED = "Killed"  # by a signal that we did not send
    OUT_OF_MEMORY = "OutOfMemory"
    STOPPED = "Stopped"  # somebody called stop
    MAX_RUNTIME = "MaxRuntime"
    NOT_STARTED = "NotStarted"  # prepare failed, or the command could not be started; see `reason`
    LOST = "Lost"  # the supervisor itself died; the command was ended with it


@dataclass(frozen=True)
class Ending:
    """How the command of a run ended."""

    cause: Cause
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class State:
    """A run as seen now. Times are epoch seconds."""

    phase: Phase
    alive: bool  # the supervisor holds its lock
    ending: Ending | None = None
    created_at: float = 0.0
    started_at: float | None = None  # the command's start
    ended_at: float | None = None
    address: tuple[str, int] | None = None  # bound host and port of a server
    restarts: int = 0


class Engine(ABC):
    """Starts runs and tells the truth about them. Every method may be called from any process."""

    @abstractmethod
    def start(self, specification: Specification) -> None:
        """Start a supervisor for the run, detached from this process; return once it holds its lock."""

    @abstractmethod
    def state(self, folder: Path) -> State:
        """Read lock and state of the run in `folder`. Raises ClientError if there never was one."""

    @abstractmethod
    def stop(self, folder: Path, *, wait_s: float | None = None) -> None:
        """Ask the run to stop: SIGTERM, then SIGKILL after its grace. wait_s: wait that long for the end."""

    @abstractmethod
    def wait(self, folder: Path, *, timeout_s: float | None = None) -> State:
        """Block until the run has ended (a lock, not a poll, where the platform can), or until the time is up."""

    @abstractmethod
    def log(self, folder: Path, *, follow: bool = False, offset: int = 0) -> Iterator[bytes]:
        """Yield the log from a byte offset in chunks; with follow, until the run has ended."""
