"""What the operating system knows about processes: who they are, who descends from whom, who ran out of memory."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

LINUX = sys.platform.startswith("linux")
SUPERVISOR_MODULE = "wildsage.engines.supervisor"
TOKEN_VARIABLE = "WILDSAGE_RUN"  # noqa: S105 - the name of a variable; marks a run's processes, so that none is mistaken

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_PR_SET_CHILD_SUBREAPER = 36


class Process(NamedTuple):
    """One process as listed now. identity: differs between two processes that had the same pid one after the other."""

    pid: int
    parent: int
    group: int
    session: int
    dead: bool  # ended, but not yet waited for by its parent
    identity: str


# --- listing


def boot() -> str:
    """A text that changes with each start of the machine, "" if there is none to be had."""
    try:
        if LINUX:
            return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        answer = subprocess.run(["sysctl", "-n", "kern.boottime"], capture_output=True, text=True, check=False)
        return answer.stdout.strip()
    except OSError:
        return ""


def _from_proc(pid: int, since: str) -> Process | None:
    """Read /proc/PID/stat; its second field, the name, may hold anything, so fields count from the last bracket."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    dead = fields[0] in (b"Z", b"X", b"x")
    return Process(pid, int(fields[1]), int(fields[2]), int(fields[3]), dead, f"{since}:{int(fields[19])}")


def _from_ps(*selection: str) -> list[Process]:
    """List processes by the ps command, which every Unix has; start times are to the second."""
    answer = subprocess.run(
        ["ps", "-o", "pid=,ppid=,pgid=,stat=,lstart=", *selection],
        capture_output=True,
        env={**os.environ, "LC_ALL": "C"},
        check=False,
    )
    found = []
    for line in answer.stdout.decode(errors="replace").splitlines():
        pid, parent, group, status, *started = line.split()
        try:
            session = os.getsid(int(pid))
        except OSError:  # gone meanwhile, or another user's
            continue
        found.append(Process(int(pid), int(parent), int(group), session, status[:1] == "Z", " ".join(started)))
    return found


def every_process() -> list[Process]:
    """All processes that this user may see."""
    if not LINUX:
        return _from_ps("-A")
    since = boot()
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [process for process in (_from_proc(pid, since) for pid in pids) if process is not None]


def look_up(pid: int) -> Process | None:
    """The process with this pid, or None."""
    if LINUX:
        return _from_proc(pid, boot())
    found = _from_ps("-p", str(pid))
    return found[0] if found else None


def identity(pid: int) -> str:
    """The identity of a process, "" if there is none with this pid."""
    process = look_up(pid)
    return process.identity if process is not None else ""


# --- signalling


def send(process: Process, number: int) -> bool:
    """Signal exactly this process, never a later one that took over its pid. False if it is gone."""
    try:
        descriptor = _descriptor(process.pid)  # from here on it means one process for good
        try:
            if identity(process.pid) != process.identity:
                return False
            if descriptor is None:
                os.kill(process.pid, number)
            else:
                signal.pidfd_send_signal(descriptor, number)
        finally:
            if descriptor is not None:
                os.close(descriptor)
    except ProcessLookupError:
        return False
    return True


def _descriptor(pid: int) -> int | None:
    """A descriptor of a process; None where the system has none. Raises ProcessLookupError."""
    if not LINUX or not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        # Linux before 5.3, or a container's filter of system calls
        if error.errno in (errno.ENOSYS, errno.EPERM):
            return None
        raise


def _is_supervisor(pid: int) -> bool:
    try:
        if LINUX:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        else:
            arguments = subprocess.run(
                ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, check=False
            ).stdout.split()
    except OSError:
        return False
    return SUPERVISOR_MODULE.encode() in arguments


def _carries(pid: int, token: str) -> bool:
    """Whether a process was started with this run's token in its environment (Linux; elsewhere never)."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"{TOKEN_VARIABLE}={token}".encode() in variables


def _below(root: int, processes: Iterable[Process]) -> set[int]:
    """Pids of all descendants of `root`, leaving out a supervisor that one of them started and what is below that.

    Such a supervisor has detached on purpose: a script that starts a job of its own may end before that job.
    """
    children: dict[int, list[int]] = {}
    for process in processes:
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    stack = list(children.get(root, ()))
    while stack:
        pid = stack.pop()
        if pid not in found and not _is_supervisor(pid):
            found.add(pid)
            stack.extend(children.get(pid, ()))
    return found


def left_of_command(command: int) -> list[Process]:
    """What still runs, or waits to be reaped, of a command that this process started in a session of its own.

    Orphans are found too: this process adopts them (Linux, after adopt_orphans()), elsewhere they keep the group.
    Children of this process in its own session (a hook's) are not the command's.
    """
    processes = every_process()
    own_session, below = os.getsid(0), _below(os.getpid(), processes)
    return [
        process
        for process in processes
        if process.pid != command
        and ((process.pid in below and process.session != own_session) or command in (process.group, process.session))
    ]


def left_of_lost_run(command: int, command_identity: str, token: str) -> list[Process]:
    """What still runs of a command whose supervisor is gone; found by identity and token, so never a stranger's."""
    return [
        process
        for process in every_process()
        if not process.dead
        and (
            (process.pid == command and process.identity == command_identity)
            or _carries(process.pid, token)
            or (not LINUX and process.group == command and identity(command) == command_identity)
        )
    ]


def end(
    find: Callable[[], list[Process]], *, gentle_s: float = 0.0, warned: Iterable[int] = (), patience_s: float = 10.0
) -> bool:
    """SIGTERM, after gentle_s SIGKILL, to what `find` returns, until it returns nothing. False: patience ran out.

    warned: pids that have had their SIGTERM; a second one means "at once" to many programs.
    Repeats because a process may fork between the look and the signal. Dead children of this process are reaped.
    """
    started = time.monotonic()
    warned = set(warned)
    delay = 0.001
    while True:
        found = find()
        waiting = False
        for process in found:
            if process.dead:
                waiting = _reap(process) or waiting
                continue
            waiting = True
            if time.monotonic() - started >= gentle_s:
                send(process, signal.SIGKILL)
            elif process.pid not in warned:
                warned.add(process.pid)
                send(process, signal.SIGTERM)
        if not waiting:
            return True
        if time.monotonic() - started > gentle_s + patience_s:
            return False
        time.sleep(delay)
        delay = min(delay * 2, 0.05)


def _reap(process: Process) -> bool:
    """Wait for a dead child. True if it was ours, and others may now have come to us."""
    if process.parent != os.getpid():
        return False
    try:
        os.waitpid(process.pid, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def reap_orphans(command: int) -> None:
    """Wait for the dead among adopted orphans, so that they do not pile up while the command runs."""
    for process in left_of_command(command):
        if process.dead:
            _reap(process)


# --- ties between parent and child


def adopt_orphans() -> None:
    """Make this process the new parent of every orphan below it (Linux; elsewhere nothing)."""
    if LINUX:
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def tie_to_parent() -> Callable[[], None] | None:
    """A function for a forked child to call before exec: SIGKILL it when this process dies (Linux; elsewhere None).

    The kernel sends the signal when the *thread* that forked ends: fork from the main thread only.
    """
    if not LINUX:
        return None
    import ctypes

    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it died before the call; the signal will not come
            os._exit(1)

    return tie


# --- memory


def out_of_memory_kills(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """How many processes the kernel has ended for lack of memory: in our control group, else on the machine; 0 unknown.

    Control group v2: memory.events; v1: memory.oom_control; the whole machine: oom_kill of /proc/vmstat (Linux 4.13).
    Only a rise between two calls means something.
    """
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        lines = []
    files = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            files += [cgroups / path.lstrip("/") / "memory.events", cgroups / "memory.events"]
        elif "memory" in controllers.split(","):
            memory = cgroups / "memory"
            files += [memory / path.lstrip("/") / "memory.oom_control", memory / "memory.oom_control"]
    for file in (*files, proc / "vmstat"):
        try:
            text = file.read_text()
        except OSError:
            continue
        for line in text.splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill" and value.strip().isdigit():
                return int(value)
    return 0
