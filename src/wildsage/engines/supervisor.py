"""The program that stays with one run: `python -m wildsage.engines.supervisor FOLDER`, the specification on stdin.

It detaches, takes the folder's lock, says so on stdout, and then prepares, runs, watches, ends and finishes the
command. It is the only writer of state.json. All of it happens in the main thread: signals wake it (SIGUSR1: look for
a stop request; SIGCHLD; SIGTERM: the machine goes down), nothing polls.
Start-up cost counts here, so that nothing heavy is imported.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from wildsage.contract.errors import ClientError, InternalServerError, WildsageError
from wildsage.contract.failure import failure_text
from wildsage.engines import processes, run_folder
from wildsage.engines.base import Cause, Ending, Phase, Specification
from wildsage.engines.run_folder import Record

RESTART_DELAYS_S = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
HEALTHY_S = 60.0  # a command that ran this long starts again from the first delay
QUICK_S = 5.0  # one that ended sooner than this failed quickly
QUICK_FAILURES = 5  # so many in a row and the server is given up
LOOK_S = 5.0  # between two looks whether the folder is still there; one costs microseconds
LONGEST_SLEEP_S = 86_400.0
COURTESY_S = 1.0  # for what a command leaves behind when it ends by itself: SIGTERM, then this long until SIGKILL
BACKLOG = 4096  # connections that wait while a server is started again; the kernel caps it (net.core.somaxconn)
WAKE_SIGNAL = signal.SIGUSR1


class _Interrupted(BaseException):
    """Raised inside a prepare hook when a stop is asked for; not an Exception, so that no hook swallows it."""


def describe(error: BaseException) -> str:
    """An error in one line, with the class name that says who can fix it in front, as FailureReason has it."""
    # What a hook did not mean to raise is this program's fault, not the algorithm's.
    known = isinstance(error, WildsageError)
    return failure_text(error if known else InternalServerError(f"{type(error).__name__}: {error}"))


def _load(hook: str) -> Callable[..., object]:
    module, _, function = hook.partition(":")
    loaded: Callable[..., object] = getattr(importlib.import_module(module), function)
    return loaded


class Supervisor:
    """One run, from the lock to its end. Call take_over(), then run()."""

    def __init__(self, folder: Path, specification: Specification) -> None:
        self.folder = folder
        self.specification = specification
        self.record = Record(
            token=os.urandom(16).hex(),
            pid=os.getpid(),
            identity=processes.identity(os.getpid()),
            created_at=time.time(),
        )
        self.listener: socket.socket | None = None
        self._interruptible = False
        self._told_to_end = ""  # the name of the signal that told this process to end
        self._wake_read, wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (WAKE_SIGNAL, signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    # --- signals

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._told_to_end = signal.Signals(number).name
        if self._interruptible and self._asked_to_end() is not None:
            self._interruptible = False
            raise _Interrupted

    def _asked_to_end(self) -> tuple[Cause, str] | None:
        """Who wants the run to end, if somebody does."""
        if run_folder.stop_request(self.folder, self.record.token).exists():
            return Cause.STOPPED, ""
        if self._told_to_end:
            return Cause.LOST, f"the supervisor got {self._told_to_end}, as when the machine goes down"
        if not self._has_folder():
            return Cause.LOST, "its folder was removed"
        return None

    def _has_folder(self) -> bool:
        return run_folder.is_mine(self.folder, self._lock)

    def _sleep(self, timeout_s: float | None) -> None:
        """Sleep until a signal or for timeout_s, or a day: whoever calls looks again, and select() has a limit."""
        select.select(
            [self._wake_read], [], [], None if timeout_s is None else min(max(0.0, timeout_s), LONGEST_SLEEP_S)
        )
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_read, 4096):
                pass

    # --- the start

    def take_over(self) -> None:
        """Take the lock, end what an earlier run left, bind the address, write specification and state.

        Raises ClientError if the folder has a live run or the address is taken.
        """
        lock = run_folder.acquire(self.folder)
        if lock is None:
            raise ClientError(f"{self.folder} already has a run that lives; stop it first, or take another folder")
        self._lock = lock
        earlier = run_folder.read_record(self.folder)
        if earlier is not None and earlier.phase is not Phase.ENDED:
            end_lost(earlier)
        for request in self.folder.glob("stop-*"):  # of earlier runs
            request.unlink(missing_ok=True)
        if self.specification.listen is not None:
            self.listener = _bind(self.specification.listen, earlier.address if earlier else None)
            host, port = self.listener.getsockname()[:2]
            self.record.address = (host, port)
        log = os.open(self.folder / run_folder.LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 2)  # a hook's words and a crash of our own belong in the log too
        self._log = log
        run_folder.write_specification(self.folder, self.specification)
        run_folder.write_record(self.folder, self.record)

    def _move(self, phase: Phase, **changes: Any) -> None:
        """Go to a phase and write it down. On a full disk the run goes on, though the last state then says "lost"."""
        self.record = replace(self.record, phase=phase, **changes)
        try:
            run_folder.write_record(self.folder, self.record)
        except InternalServerError:
            traceback.print_exc()

    # --- the run

    def run(self) -> None:
        """Prepare, run the command to its end, finish."""
        processes.adopt_orphans()
        ending = self._prepare() or (self._serve() if self.specification.restart else self._live())
        if self.listener is not None:
            self.listener.close()
        if not self._has_folder():  # what is there now under its name may be another run's
            return
        self._move(Phase.FINISHING, ending=ending)
        ending = self._finish(ending)
        self._move(Phase.ENDED, ending=ending, ended_at=time.time())

    def _prepare(self) -> Ending | None:
        """Call the prepare hook. An Ending if the run is over before its command began."""
        if self.specification.prepare is not None:
            self._move(Phase.PREPARING)
            try:
                try:
                    self._interruptible = True
                    if self._asked_to_end() is not None:
                        raise _Interrupted
                    _load(self.specification.prepare)(self.folder)
                finally:
                    self._interruptible = False
            except _Interrupted:
                pass
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the hook's outermost frame: every error becomes the reason
                if not isinstance(error, ClientError):
                    traceback.print_exc()
                return Ending(Cause.NOT_STARTED, reason=describe(error))
        asked = self._asked_to_end()
        return Ending(asked[0], reason=asked[1] or "stopped before the command was started") if asked else None

    def _finish(self, ending: Ending) -> Ending:
        """Call the finish hook. An error of it is added to the reason of the ending."""
        if self.specification.finish is None:
            return ending
        try:
            _load(self.specification.finish)(self.folder, ending)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - as in _prepare
            traceback.print_exc()
            failed = f"finish failed: {describe(error)}"
            return replace(ending, reason=f"{ending.reason}; {failed}" if ending.reason else failed)
        return ending

    def _serve(self) -> Ending:
        """Live again and again, until asked to end or given up. The listening socket stays open all the while."""
        quick = step = 0
        while True:
            began = time.monotonic()
            ending = self._live()
            if ending.cause in (Cause.STOPPED, Cause.MAX_RUNTIME, Cause.LOST, Cause.NOT_STARTED):
                return ending
            if ending.exit_code in self.specification.final_exit_codes:
                return ending
            lasted = time.monotonic() - began
            quick = quick + 1 if lasted < QUICK_S else 0
            if quick >= QUICK_FAILURES:
                last = run_folder.last_log_lines(self.folder, 1)
                said = f": {last[0]}" if last else ""
                return replace(ending, reason=f"gave up: ended within {QUICK_S:g} s {quick} times in a row{said}")
            if lasted >= HEALTHY_S:
                step = 0
            resume_at = time.monotonic() + RESTART_DELAYS_S[step]
            step = min(step + 1, len(RESTART_DELAYS_S) - 1)
            self._move(Phase.RUNNING, restarts=self.record.restarts + 1, command_pid=None, command_identity="")
            while (rest := resume_at - time.monotonic()) > 0 and self._asked_to_end() is None:
                self._sleep(rest)
            if (asked := self._asked_to_end()) is not None:
                return Ending(asked[0], reason=asked[1])

    def _live(self) -> Ending:
        """Start the command and stay with it to its end; nothing of it is left afterwards."""
        kills_before = processes.out_of_memory_kills()
        try:
            command = self._start()
        except (OSError, ValueError) as error:  # ValueError: a null byte in an argument
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            return Ending(
                Cause.NOT_STARTED, reason=f'ClientError: cannot start "{self.specification.command[0]}": {reason}'
            )
        sent: tuple[Cause, str] | None = None
        kill_at: float | None = None
        warned: set[int] = set()
        began = time.monotonic()
        limit = self.specification.max_runtime_s
        limit_at = math.inf if limit is None else began + limit
        while (code := _exit_code(command)) is None:
            now = time.monotonic()
            if sent is None:
                sent = self._asked_to_end()
                if sent is None and now >= limit_at:
                    sent = (Cause.MAX_RUNTIME, "")
                if sent is not None:
                    kill_at = now + self.specification.grace_s
                    warned = {process.pid for process in processes.left_of_command(command) if process.group == command}
                    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a dead leader
                        os.killpg(command, signal.SIGTERM)
            if kill_at is not None and now >= kill_at:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(command, signal.SIGKILL)
                wake_at = None
            else:
                wake_at = kill_at if sent is not None else min(now + LOOK_S, limit_at)
            processes.reap_orphans(command)
            self._sleep(wake_at - time.monotonic() if wake_at is not None else None)
        if sent is None and code < 0 and run_folder.stop_request(self.folder, self.record.token).exists():
            sent = (Cause.STOPPED, "")  # somebody's signal was faster than ours
        if kill_at is not None:  # what a shell that left at SIGTERM had started may use the rest of the grace
            gentle_s = max(0.0, kill_at - time.monotonic())
        else:  # a server's clients wait for its next life
            gentle_s = 0.0 if self.specification.restart else min(COURTESY_S, self.specification.grace_s)
        processes.end(lambda: processes.left_of_command(command), gentle_s=gentle_s, warned=warned)
        return _ending(code, sent, processes.out_of_memory_kills() > kills_before)

    def _start(self) -> int:
        """Start the command in a session of its own. Raises OSError if it cannot be."""
        environment = {**os.environ, **self.specification.environment, processes.TOKEN_VARIABLE: self.record.token}
        inherited: tuple[int, ...] = ()
        if self.listener is not None:
            inherited = (self.listener.fileno(),)
            environment["WILDSAGE_LISTEN_FD"] = str(self.listener.fileno())
        command = subprocess.Popen(
            self.specification.command,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            pass_fds=inherited,
            preexec_fn=processes.tie_to_parent(),
        )
        command.returncode = 0  # we wait for it ourselves; tells Popen that it need not
        self._move(
            Phase.RUNNING,
            started_at=time.time(),
            command_pid=command.pid,
            command_identity=processes.identity(command.pid),
        )
        if self.specification.finish is not None:
            # Imported while the command runs, so that it costs nothing at the end.
            module = self.specification.finish.partition(":")[0]
            threading.Thread(target=_import_quietly, args=(module,), daemon=True).start()
        return command.pid


def _import_quietly(module: str) -> None:
    with contextlib.suppress(Exception):  # comes again, and counts, when the hook is called
        importlib.import_module(module)


def _exit_code(pid: int) -> int | None:
    """The exit code of a child that has ended, negative for a signal; None while it runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _ending(code: int, sent: tuple[Cause, str] | None, out_of_memory: bool) -> Ending:
    """Tell the kinds of end apart. code: negative for a signal. A shell reports a child's signal as 128 + number."""
    exit_code, number = (code, None) if code >= 0 else (None, -code)
    if sent is not None:
        return Ending(sent[0], exit_code, number, sent[1])
    if out_of_memory and (number == signal.SIGKILL or exit_code == 128 + signal.SIGKILL):
        return Ending(Cause.OUT_OF_MEMORY, exit_code, number, "the machine ran out of memory, so the system ended it")
    return Ending(Cause.EXITED if number is None else Cause.KILLED, exit_code, number)


def end_lost(record: Record) -> None:
    """End what a run without its supervisor has left behind."""
    command = record.command_pid if record.command_pid is not None else -1
    processes.end(lambda: processes.left_of_lost_run(command, record.command_identity, record.token))


def _bind(wanted: tuple[str, int], earlier: tuple[str, int] | None) -> socket.socket:
    """Listen at the wanted address. For port 0 the port of the folder's earlier run is tried first.

    Raises ClientError if the address cannot be had.
    """
    host, port = wanted
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    candidates = [port] if port or earlier is None or earlier[0] != host else [earlier[1], 0]
    for candidate in candidates:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart must not wait out TIME_WAIT
        try:
            listener.bind((host, candidate))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            if candidate == candidates[-1]:
                raise ClientError(f"cannot listen on {host}, port {port}: {error.strerror or error}") from error
        else:
            return listener
    raise InternalServerError("no address was tried")


def _detach() -> None:
    """Leave the starter's signals behind: what it ignored or blocked must not reach the command."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) is signal.SIG_IGN:
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)


def main() -> NoReturn:
    """Start the supervisor. One line of JSON on stdout says {"error": null}, or what kept it from starting."""
    folder = Path(sys.argv[1])
    specification = run_folder.specification_from_json(json.loads(sys.stdin.buffer.read()))
    if os.fork():  # the starter waits for this process only, so that it never owns a zombie
        os._exit(0)
    status = 1
    try:
        _detach()
        answer = os.dup(1)
        error = None
        try:
            supervisor = Supervisor(folder, specification)
            supervisor.take_over()
        except WildsageError as refused:
            error = describe(refused)
        os.write(answer, json.dumps({"error": error}).encode() + b"\n")
        os.close(answer)
        if error is None:
            os.dup2(2, 1)  # take_over() has pointed stderr at the log; the starter now sees the end of its pipe
            supervisor.run()
            status = 0
    except BaseException:  # noqa: BLE001 - the outermost frame; the traceback goes to the starter or the log
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)  # a thread that a hook left must not keep the lock


if __name__ == "__main__":
    main()
