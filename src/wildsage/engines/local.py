"""The local engine: each run is a process on this machine under a supervisor of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from wildsage.contract.errors import ClientError, InternalServerError, WildsageError
from wildsage.engines import processes, run_folder
from wildsage.engines.base import Cause, Ending, Engine, Phase, Specification, State
from wildsage.engines.run_folder import Record, last_log_lines
from wildsage.engines.supervisor import WAKE_SIGNAL, end_lost

__all__ = ["LocalEngine", "last_log_lines", "read_specification"]

START_TIMEOUT_S = 60.0  # a fifth of a second is normal; a machine that swaps may need long
FOLLOW_S = 0.05
CHUNK_BYTES = 1 << 16

_waiting: dict[str, threading.Event] = {}  # folder to "its lock became free"; one waiting thread a folder
_waiting_guard = threading.Lock()


def _after_fork() -> None:
    """A fork does not take the threads along: neither those that wait, nor one that holds the guard."""
    global _waiting_guard
    _waiting.clear()
    _waiting_guard = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


class LocalEngine(Engine):
    """Runs commands as processes of this machine. Holds nothing itself: all is in the folders."""

    def start(self, specification: Specification) -> None:
        """Start a supervisor, detached from this process; return once it holds the lock and has written the state.

        Raises ClientError if the folder has a live run, the address is taken or the command is empty,
        InternalServerError if the supervisor cannot be started.
        """
        folder = specification.folder.absolute()
        if not specification.command:
            raise ClientError(f"the run {specification.name} has an empty command")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ClientError(f"{folder} cannot be made: {error.strerror}") from error
        content = json.dumps(run_folder.specification_to_json(replace(specification, folder=folder))).encode()
        supervisor = subprocess.Popen(
            # -P: a file beside the caller that is called like a module of the library must not be taken for it
            [sys.executable, "-P", "-m", processes.SUPERVISOR_MODULE, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",  # no mount is kept busy
            env=_environment(),
        )
        try:
            output, _ = supervisor.communicate(content, timeout=START_TIMEOUT_S)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(supervisor.pid, 9)
            supervisor.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise InternalServerError(
                    f"the supervisor of {folder} was not ready in {START_TIMEOUT_S:g} s"
                ) from error
            raise
        _raise_refusal(folder, output.decode(errors="replace"))

    def state(self, folder: Path) -> State:
        """Lock first, then state: what is read while the lock is free cannot change any more."""
        alive, record = run_folder.look(folder)
        if not alive and record is not None and record.phase is Phase.ENDED:
            return record.state(alive=False)
        if not alive and (record is not None or (folder / run_folder.SPECIFICATION).exists()):
            return _lost(folder, record)
        if alive:
            # Without a readable record it is the moment between the lock and the first write.
            return record.state(alive=True) if record is not None else State(Phase.STARTING, alive=True)
        raise ClientError(f"no run was ever started in {folder}")

    def stop(self, folder: Path, *, wait_s: float | None = None) -> None:
        """Leave a stop request and wake the supervisor. A run that has ended, or is finishing, is left alone."""
        if not self.state(folder).alive:
            return
        while run_folder.is_held(folder):
            record = run_folder.read_record(folder)
            # Until the supervisor has written its first record, the one here may be an earlier run's.
            if record is not None and record.phase is not Phase.ENDED:
                supervisor = processes.look_up(record.pid)
                if supervisor is not None and supervisor.identity == record.identity:
                    run_folder.stop_request(folder, record.token).touch()
                    if processes.send(supervisor, WAKE_SIGNAL):
                        break
            time.sleep(0.005)
        if wait_s is not None:
            self.wait(folder, timeout_s=wait_s)

    def wait(self, folder: Path, *, timeout_s: float | None = None) -> State:
        """Block on the lock until the run has ended, or for timeout_s."""
        state = self.state(folder)
        if not state.alive:
            return state
        if timeout_s is None:
            run_folder.wait_until_free(folder)
        else:
            _freed(folder).wait(timeout_s)
        return self.state(folder)

    def log(self, folder: Path, *, follow: bool = False, offset: int = 0) -> Iterator[bytes]:
        """Yield the log from a byte offset; with follow as it grows, until the run has ended and all is read."""
        self.state(folder)  # raises if there never was a run
        return self._read_log(folder, follow, offset)

    def _read_log(self, folder: Path, follow: bool, offset: int) -> Iterator[bytes]:
        path = folder / run_folder.LOG
        while not path.exists():  # the moment after the lock was taken, or a run lost in that moment
            if not (follow and run_folder.is_held(folder)):
                return
            time.sleep(FOLLOW_S)
        with open(path, "rb", buffering=0) as file:
            file.seek(offset)
            while True:
                ended = not follow or not run_folder.is_held(folder)  # asked before the read: nothing is missed
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
                if ended:
                    return
                time.sleep(FOLLOW_S)


def read_specification(folder: Path) -> Specification:
    """What was started in a folder, to start it again. Raises ClientError if nothing readable is there."""
    try:
        return run_folder.specification_from_json(json.loads((folder / run_folder.SPECIFICATION).read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClientError(f"no run was ever started in {folder}") from error


def _environment() -> dict[str, str]:
    """The caller's, less what an outer run says of itself; relative search paths hold only in the caller's folder."""
    environment = dict(os.environ)
    for name in (processes.TOKEN_VARIABLE, "WILDSAGE_LISTEN_FD"):
        environment.pop(name, None)
    if environment.get("PYTHONPATH"):
        environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, environment["PYTHONPATH"].split(os.pathsep)))
    return environment


def _raise_refusal(folder: Path, output: str) -> None:
    """Raise the error that a supervisor reported in its last line of output, if it did."""
    try:
        error = json.loads(output.splitlines()[-1])["error"]
    except (IndexError, ValueError, KeyError, TypeError):
        raise InternalServerError(f"the supervisor of {folder} ended at once: {output.strip()[-2000:]}") from None
    if error is None:
        return
    family, _, text = error.partition(": ")
    raise next((cls for cls in WildsageError.__subclasses__() if cls.__name__ == family), InternalServerError)(text)


def _lost(folder: Path, record: Record | None) -> State:
    """The state of a run whose supervisor died before it wrote the end. What is left of the command is ended here.

    On Linux the command itself died with its supervisor, by the kernel's hand; its children, and all of it elsewhere,
    end at this look.
    """
    if record is None:  # torn by a power cut
        reason = "its state could not be read"
        return State(Phase.ENDED, alive=False, ending=Ending(Cause.LOST, reason=reason), ended_at=_last_sign(folder))
    end_lost(record)
    known = record.ending
    reason = f"the supervisor died while the run was {record.phase.lower()}"
    if known is not None:
        how = f"signal {known.signal}" if known.signal is not None else f"exit code {known.exit_code}"
        reason += f"; its command had ended ({known.cause}, {how})"
    ending = Ending(
        Cause.LOST, known.exit_code if known is not None else None, known.signal if known is not None else None, reason
    )
    return replace(record.state(alive=False), phase=Phase.ENDED, ending=ending, ended_at=_last_sign(folder))


def _last_sign(folder: Path) -> float:
    """When the run last wrote something, as near as can be told to when it was lost."""
    times = [0.0]
    for name in (run_folder.LOG, run_folder.STATE, run_folder.SPECIFICATION, run_folder.LOCK):
        with contextlib.suppress(OSError):
            times.append((folder / name).stat().st_mtime)
    return max(times)


def _freed(folder: Path) -> threading.Event:
    """An event that is set when the folder's lock is free. A lock cannot be waited for with a limit, a thread can."""
    key = os.path.realpath(folder)
    with _waiting_guard:
        event = _waiting.get(key)
        if event is None:
            event = _waiting[key] = threading.Event()
            threading.Thread(target=_watch, args=(key, event), name=f"wait {key}", daemon=True).start()
    return event


def _watch(key: str, event: threading.Event) -> None:
    try:
        run_folder.wait_until_free(Path(key))
    finally:
        with _waiting_guard:
            _waiting.pop(key, None)
        event.set()
