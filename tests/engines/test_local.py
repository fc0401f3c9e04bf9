"""The local engine with real processes."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines.conftest import kill_supervisor, python
from tests.waiting import until
from wildsage.contract.errors import ClientError
from wildsage.engines import local, processes, run_folder
from wildsage.engines.base import Cause, Ending, Phase, Specification
from wildsage.engines.local import LocalEngine, last_log_lines, read_specification
from wildsage.engines.supervisor import WAKE_SIGNAL

Specify = Callable[..., Specification]

WAITS = "import time; print('up', flush=True); time.sleep(60)"
# Forks a child that ignores SIGTERM and one in a session of its own; their pids go to files, complete when renamed.
FORKS = """
import os, signal, time
def child(name, setup):
    if os.fork() == 0:
        setup()
        open(name + ".new", "w").write(str(os.getpid()))
        os.rename(name + ".new", name)
        time.sleep(60)
child("deaf", lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN))
child("apart", os.setsid)
while not (os.path.exists("deaf") and os.path.exists("apart")): time.sleep(0.005)
print("up", flush=True)
"""
SERVER = """
import os, socket
listener = socket.socket(fileno=int(os.environ["WILDSAGE_LISTEN_FD"]))
while True:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(str(os.getpid()).encode())
"""


def is_up(folder: Path) -> bool:
    return "up" in last_log_lines(folder, 5)


def runs(pid: int) -> bool:
    process = processes.look_up(pid)
    return process is not None and not process.dead


def ask(address: tuple[str, int] | None) -> int:
    """The pid of the server that answers."""
    assert address is not None
    with socket.create_connection(address, timeout=20) as connection:
        return int(connection.recv(100))


# --- start and end


def test_a_run_is_a_command_in_its_folder_with_its_log(engine: LocalEngine, specify: Specify, tmp_path: Path) -> None:
    script = """
import os, sys
print(os.getcwd()); print(os.environ["COLOUR"], file=sys.stderr); print(repr(sys.stdin.read()))
print(os.getsid(0) == os.getpid(), os.listdir("/proc/self/fd") if os.path.exists("/proc") else "")
sys.exit(3)
"""
    specification = specify(script, environment={"COLOUR": "grün"})
    with open(tmp_path / "held open by the caller", "w") as file:
        os.set_inheritable(file.fileno(), True)
        engine.start(specification)
    state = engine.wait(specification.folder)
    assert state.phase is Phase.ENDED
    assert not state.alive
    assert state.ending == Ending(Cause.EXITED, exit_code=3)
    assert state.started_at is not None
    assert state.ended_at is not None
    assert 0 < state.created_at <= state.started_at <= state.ended_at
    cwd, stdin, session = (line for line in last_log_lines(specification.folder, 9) if line != "grün")
    assert cwd == str(specification.folder)
    assert stdin == "''"
    assert session.startswith("True")
    if processes.LINUX:
        assert session.endswith("['0', '1', '2', '3']")  # 3 is the listing itself
    assert "grün" in last_log_lines(specification.folder, 9)
    assert read_specification(specification.folder) == specification
    if processes.LINUX:
        assert (specification.folder / "specification.json").stat().st_mode & 0o077 == 0


def test_the_caller_keeps_no_child(engine: LocalEngine, specify: Specify) -> None:
    engine.start(specify(WAITS))
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_run_outlives_its_creator_and_its_signals(engine: LocalEngine, specify: Specify, tmp_path: Path) -> None:
    specification = specify(WAITS)
    creator = f"""
import os, signal
from pathlib import Path
from wildsage.engines.base import Specification
from wildsage.engines.local import LocalEngine
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGCHLD, signal.SIGTERM])
LocalEngine().start(Specification("x", Path({str(specification.folder)!r}), {specification.command!r}))
os.killpg(0, signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", creator], start_new_session=True, check=False)
    assert ended.returncode == -signal.SIGKILL
    until(lambda: is_up(specification.folder))
    assert engine.state(specification.folder).alive
    engine.stop(specification.folder, wait_s=20)
    # The command got a working SIGTERM, though its creator ignored and blocked it.
    assert engine.state(specification.folder).ending == Ending(Cause.STOPPED, signal=signal.SIGTERM)


def test_a_second_start_in_one_folder_is_refused(engine: LocalEngine, specify: Specify) -> None:
    engine.start(specify(WAITS))
    with pytest.raises(ClientError, match="already has a run"):
        engine.start(specify("print('second')"))
    specification = specify()
    until(lambda: is_up(specification.folder))
    assert read_specification(specification.folder).command == python(WAITS)


def test_of_two_processes_that_start_at_once_one_wins(engine: LocalEngine, specify: Specify) -> None:
    specification = specify(WAITS)
    starter = f"""
import sys
from pathlib import Path
from wildsage.contract.errors import ClientError
from wildsage.engines.base import Specification
from wildsage.engines.local import LocalEngine
sys.stdin.read()
try:
    LocalEngine().start(Specification(sys.argv[1], Path({str(specification.folder)!r}), {specification.command!r}))
except ClientError:
    sys.exit(7)
"""
    starters = [
        subprocess.Popen([sys.executable, "-c", starter, str(number)], stdin=subprocess.PIPE) for number in range(2)
    ]
    for process in starters:
        assert process.stdin is not None
        process.stdin.close()
    codes = [process.wait() for process in starters]
    assert sorted(codes) == [0, 7]
    assert read_specification(specification.folder).name == str(codes.index(0))
    assert engine.state(specification.folder).alive


def test_a_folder_can_be_used_again_after_the_end(engine: LocalEngine, specify: Specify) -> None:
    for word in ("first", "second"):
        engine.start(specify(f"print({word!r})"))
        state = engine.wait(specify().folder)
        assert state.ending == Ending(Cause.EXITED, exit_code=0)
    assert last_log_lines(specify().folder, 5) == ["first", "second"]


def test_a_long_folder_path(engine: LocalEngine, specify: Specify, tmp_path: Path) -> None:
    folder = tmp_path / ("long " * 40).strip() / ("ünïcode" * 20)
    specification = specify(WAITS, folder=folder)
    engine.start(specification)
    engine.stop(folder, wait_s=20)
    ending = engine.state(folder).ending
    assert ending is not None
    assert ending.cause is Cause.STOPPED


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("no-such-program-anywhere",), "No such file"),
        (("/",), "Permission denied"),
        (("a\0b",), "null byte"),
    ],
)
def test_a_command_that_cannot_start(
    engine: LocalEngine, specify: Specify, command: tuple[str, ...], words: str
) -> None:
    specification = specify(command=command, finish="finish")
    engine.start(specification)
    ending = engine.wait(specification.folder).ending
    assert ending is not None
    assert ending.cause is Cause.NOT_STARTED
    assert words in ending.reason
    assert (specification.folder / "finished").read_text() == repr(ending)


def test_an_empty_command(engine: LocalEngine, specify: Specify) -> None:
    with pytest.raises(ClientError, match="empty command"):
        engine.start(specify(command=()))


def test_a_folder_without_a_run(engine: LocalEngine, tmp_path: Path) -> None:
    for call in (engine.state, engine.stop, engine.wait, engine.log, read_specification):
        with pytest.raises(ClientError, match="no run was ever started"):
            call(tmp_path)


def test_a_folder_that_cannot_be_made(engine: LocalEngine, specify: Specify, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ClientError, match="cannot be made"):
        engine.start(specify(folder=tmp_path / "file" / "run"))


def test_a_signal_that_we_did_not_send(engine: LocalEngine, specify: Specify) -> None:
    specification = specify("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    engine.start(specification)
    assert engine.wait(specification.folder).ending == Ending(Cause.KILLED, signal=signal.SIGSEGV)


# --- hooks


def test_hooks_run_before_and_after(engine: LocalEngine, specify: Specify) -> None:
    specification = specify("print(open('prepared').read())", prepare="prepare", finish="finish")
    engine.start(specification)
    state = engine.wait(specification.folder)
    assert last_log_lines(specification.folder, 5) == ["yes"]
    assert (specification.folder / "finished").read_text() == repr(state.ending)


@pytest.mark.parametrize(
    ("hook", "reason"),
    [
        ("prepare_refuses", "ClientError: train.csv, line 3: is not a number"),
        ("prepare_breaks", "InternalServerError: ZeroDivisionError: no divisor"),
        ("not_there", "InternalServerError: AttributeError: module 'tests.engines.hooks' has no attribute 'not_there'"),
    ],
)
def test_a_failing_prepare(engine: LocalEngine, specify: Specify, hook: str, reason: str) -> None:
    specification = specify("print('ran')", prepare=hook, finish="finish")
    engine.start(specification)
    ending = engine.wait(specification.folder).ending
    assert ending == Ending(Cause.NOT_STARTED, reason=reason)
    assert (specification.folder / "finished").read_text() == repr(ending)
    assert "ran" not in last_log_lines(specification.folder, 100)


def test_a_failing_finish_is_told(engine: LocalEngine, specify: Specify) -> None:
    specification = specify(finish="finish_refuses")
    engine.start(specification)
    reason = "finish failed: ClientError: the bucket does not exist"
    assert engine.wait(specification.folder).ending == Ending(Cause.EXITED, exit_code=0, reason=reason)


# --- stop


def test_stop_gives_the_command_time(engine: LocalEngine, specify: Specify) -> None:
    script = """
import signal, sys, time
def leave(*_):
    print("checkpoint", flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("up", flush=True)
while True: time.sleep(0.01)  # one long sleep would miss a signal that comes just before it
"""
    specification = specify(script, finish="finish")
    engine.start(specification)
    until(lambda: is_up(specification.folder))
    engine.stop(specification.folder)
    engine.stop(specification.folder, wait_s=20)
    state = engine.state(specification.folder)
    assert state.ending == Ending(Cause.STOPPED, exit_code=0)
    assert last_log_lines(specification.folder, 1) == ["checkpoint"]
    assert (specification.folder / "finished").read_text() == repr(state.ending)
    engine.stop(specification.folder, wait_s=20)  # of an ended run: nothing
    assert engine.state(specification.folder) == state


def test_stop_after_grace_kills(engine: LocalEngine, specify: Specify) -> None:
    specification = specify("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WAITS, grace_s=0.1)
    engine.start(specification)
    until(lambda: is_up(specification.folder))
    engine.stop(specification.folder, wait_s=20)
    assert engine.state(specification.folder).ending == Ending(Cause.STOPPED, signal=signal.SIGKILL)


def test_stop_just_after_the_start(engine: LocalEngine, specify: Specify) -> None:
    specification = specify(WAITS)
    engine.start(specification)
    engine.stop(specification.folder, wait_s=20)
    ending = engine.state(specification.folder).ending
    assert ending is not None
    assert ending.cause is Cause.STOPPED


def test_stop_while_preparing(engine: LocalEngine, specify: Specify) -> None:
    specification = specify("print('ran')", prepare="prepare_waits", finish="finish")
    engine.start(specification)
    until((specification.folder / "preparing").exists)
    assert engine.state(specification.folder).phase is Phase.PREPARING
    engine.stop(specification.folder, wait_s=20)
    ending = engine.state(specification.folder).ending
    assert ending == Ending(Cause.STOPPED, reason="stopped before the command was started")
    assert (specification.folder / "finished").read_text() == repr(ending)
    assert last_log_lines(specification.folder, 5) == []


def test_stop_while_finishing_changes_nothing(engine: LocalEngine, specify: Specify) -> None:
    specification = specify(finish="finish_waits")
    engine.start(specification)
    until((specification.folder / "finishing").exists)
    engine.stop(specification.folder)
    assert engine.state(specification.folder).phase is Phase.FINISHING
    (specification.folder / "go on").touch()
    assert engine.wait(specification.folder).ending == Ending(Cause.EXITED, exit_code=0)


def test_stop_from_many_threads(engine: LocalEngine, specify: Specify) -> None:
    specification = specify(WAITS)
    engine.start(specification)
    threads = [threading.Thread(target=engine.stop, args=(specification.folder,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ending = engine.wait(specification.folder).ending
    assert ending is not None
    assert ending.cause is Cause.STOPPED


def test_the_time_limit(engine: LocalEngine, specify: Specify) -> None:
    specification = specify(WAITS, max_runtime_s=0.2)
    engine.start(specification)
    assert engine.wait(specification.folder).ending == Ending(Cause.MAX_RUNTIME, signal=signal.SIGTERM)


@pytest.mark.parametrize("anew", [False, True])
def test_a_run_whose_folder_was_removed_ends_and_writes_nothing(
    engine: LocalEngine, specify: Specify, anew: bool
) -> None:
    specification = specify(WAITS, finish="finish")
    folder = specification.folder
    engine.start(specification)
    until(lambda: is_up(folder))
    # The command may say that it is up before the state says so.
    record = until(lambda: (found := run_folder.read_record(folder)) and found.command_pid and found)
    shutil.rmtree(folder)
    if anew:
        engine.start(specification)
        with contextlib.suppress(ProcessLookupError):  # on a busy machine it has looked by itself
            os.kill(record.pid, WAKE_SIGNAL)
    until(lambda: not runs(record.command_pid) and not runs(record.pid))
    if anew:
        until(lambda: is_up(folder))
        engine.stop(folder, wait_s=20)
        assert engine.state(folder).ending == Ending(Cause.STOPPED, signal=signal.SIGTERM)
    else:
        assert not folder.exists()


def test_a_time_limit_beyond_what_the_system_can_sleep(engine: LocalEngine, specify: Specify) -> None:
    specification = specify("print('up')", max_runtime_s=1e15)
    engine.start(specification)
    assert engine.wait(specification.folder).ending == Ending(Cause.EXITED, exit_code=0)


@pytest.mark.parametrize("way", ["by itself", "stop", "killed"])
def test_no_process_is_left_after_the_end(engine: LocalEngine, specify: Specify, way: str) -> None:
    script = FORKS + ("" if way == "by itself" else "time.sleep(60)")
    specification = specify(script, grace_s=0.3)
    engine.start(specification)
    until(lambda: is_up(specification.folder))
    if way == "stop":
        engine.stop(specification.folder)
    if way == "killed":
        record = run_folder.read_record(specification.folder)
        assert record is not None
        assert record.command_pid is not None
        os.kill(record.command_pid, signal.SIGKILL)
    state = engine.wait(specification.folder)
    assert state.ending is not None
    expected = {"by itself": Cause.EXITED, "stop": Cause.STOPPED, "killed": Cause.KILLED}[way]
    assert state.ending.cause is expected
    pids = [int((specification.folder / name).read_text()) for name in ("deaf", "apart")]
    assert not runs(pids[0])
    if processes.LINUX:  # elsewhere a process may leave the group
        assert not runs(pids[1])


def test_what_a_shell_started_may_use_the_grace(engine: LocalEngine, specify: Specify) -> None:
    script = """
import os, signal, sys, time
def leave(*_):
    time.sleep(1.5)  # longer than what is left behind gets without a stop
    print("saved", flush=True); os._exit(0)
if os.fork() == 0:
    signal.signal(signal.SIGTERM, leave)
    print("up", flush=True)
    while True: time.sleep(0.01)
time.sleep(60)
"""
    specification = specify(script)
    engine.start(specification)
    until(lambda: is_up(specification.folder))
    engine.stop(specification.folder, wait_s=20)
    assert engine.state(specification.folder).ending == Ending(Cause.STOPPED, signal=signal.SIGTERM)
    assert last_log_lines(specification.folder, 1) == ["saved"]


def test_a_run_started_by_a_run_lives_on(engine: LocalEngine, specify: Specify, tmp_path: Path) -> None:
    inner = specify(WAITS, folder=tmp_path / "inner")
    script = f"""
from pathlib import Path
from wildsage.engines.base import Specification
from wildsage.engines.local import LocalEngine
LocalEngine().start(Specification("inner", Path({str(inner.folder)!r}), {inner.command!r}))
"""
    outer = specify(folder=tmp_path / "outer", command=(sys.executable, "-c", script))
    engine.start(outer)
    assert engine.wait(outer.folder).ending == Ending(Cause.EXITED, exit_code=0)
    until(lambda: is_up(inner.folder))
    assert engine.state(inner.folder).phase is Phase.RUNNING
    kill_supervisor(inner.folder)


# --- the supervisor dies


def test_lost_while_preparing(engine: LocalEngine, specify: Specify) -> None:
    specification = specify(prepare="prepare_waits")
    engine.start(specification)
    until((specification.folder / "preparing").exists)
    kill_supervisor(specification.folder)
    state = engine.state(specification.folder)
    assert (state.phase, state.alive) == (Phase.ENDED, False)
    assert state.ending == Ending(Cause.LOST, reason="the supervisor died while the run was preparing")
    assert state == engine.wait(specification.folder)


def test_lost_while_running(engine: LocalEngine, specify: Specify) -> None:
    specification = specify(FORKS + "time.sleep(60)", finish="finish")
    engine.start(specification)
    until(lambda: is_up(specification.folder))
    record = run_folder.read_record(specification.folder)
    assert record is not None
    assert record.command_pid is not None
    os.kill(record.pid, signal.SIGKILL)
    run_folder.wait_until_free(specification.folder)
    if processes.LINUX:  # by the kernel, before anybody looks
        until(lambda: not runs(record.command_pid or 0))
    state = engine.state(specification.folder)
    assert state.ending == Ending(Cause.LOST, reason="the supervisor died while the run was running")
    assert state.started_at == record.started_at
    assert state.ended_at is not None
    assert not (specification.folder / "finished").exists()
    assert not runs(record.command_pid)
    if processes.LINUX:
        assert not any(runs(int((specification.folder / name).read_text())) for name in ("deaf", "apart"))
    engine.stop(specification.folder)  # nothing to stop
    engine.start(specify("print('again')"))
    assert engine.wait(specification.folder).ending == Ending(Cause.EXITED, exit_code=0)


def test_lost_while_finishing(engine: LocalEngine, specify: Specify) -> None:
    specification = specify("import sys; sys.exit(4)", finish="finish_waits")
    engine.start(specification)
    until((specification.folder / "finishing").exists)
    kill_supervisor(specification.folder)
    ending = engine.state(specification.folder).ending
    assert ending is not None
    assert (ending.cause, ending.exit_code) == (Cause.LOST, 4)
    assert ending.reason.endswith("finishing; its command had ended (Exited, exit code 4)")


def test_lost_at_once(engine: LocalEngine, specify: Specify) -> None:
    specification = specify(WAITS)
    engine.start(specification)
    kill_supervisor(specification.folder)
    ending = engine.state(specification.folder).ending
    assert ending is not None
    assert ending.cause is Cause.LOST


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"phase": "Flying"}', "\x00" * 300])
def test_a_torn_state_is_a_lost_run(engine: LocalEngine, specify: Specify, text: str) -> None:
    specification = specify()
    engine.start(specification)
    engine.wait(specification.folder)
    (specification.folder / "state.json").write_text(text)
    state = engine.state(specification.folder)
    assert state.ending == Ending(Cause.LOST, reason="its state could not be read")
    assert (state.phase, state.alive) == (Phase.ENDED, False)


def test_a_fork_of_a_hook_does_not_keep_the_lock(engine: LocalEngine, specify: Specify) -> None:
    specification = specify(prepare="prepare_forks")
    engine.start(specification)
    until((specification.folder / "forked").exists)
    engine.wait(specification.folder)
    assert not engine.state(specification.folder).alive
    (specification.folder / "leave").touch()


def test_a_recycled_pid_is_never_touched(engine: LocalEngine, specify: Specify) -> None:
    """A record that names a living stranger, as after a reboot, with another identity."""
    specification = specify()
    engine.start(specification)
    engine.wait(specification.folder)
    with subprocess.Popen(python(WAITS), stdout=subprocess.DEVNULL, start_new_session=True) as stranger:
        path = specification.folder / "state.json"
        values = json.loads(path.read_text())
        values.update(phase="Running", ending=None, pid=stranger.pid, command_pid=stranger.pid)
        path.write_text(json.dumps(values))
        ending = engine.state(specification.folder).ending
        assert ending is not None
        assert ending.cause is Cause.LOST
        engine.stop(specification.folder)
        assert stranger.poll() is None
        stranger.kill()


def test_a_machine_that_goes_down(engine: LocalEngine, specify: Specify) -> None:
    """SIGTERM to the supervisor ends the command in order; it was not somebody's stop."""
    specification = specify(WAITS, finish="finish")
    engine.start(specification)
    until(lambda: is_up(specification.folder))
    record = run_folder.read_record(specification.folder)
    assert record is not None
    os.kill(record.pid, signal.SIGHUP)  # no terminal: means nothing
    os.kill(record.pid, signal.SIGTERM)
    state = engine.wait(specification.folder)
    assert state.ending is not None
    assert (state.ending.cause, state.ending.signal) == (Cause.LOST, signal.SIGTERM)
    assert "SIGTERM" in state.ending.reason
    assert (specification.folder / "finished").read_text() == repr(state.ending)


# --- waiting and logs


def test_wait_with_a_limit(engine: LocalEngine, specify: Specify) -> None:
    specification = specify("import os, time\nwhile not os.path.exists('leave'): time.sleep(0.005)")
    engine.start(specification)

    def waiting() -> int:
        return sum(thread.name.endswith(str(specification.folder)) for thread in threading.enumerate())

    for _ in range(5):
        assert engine.wait(specification.folder, timeout_s=0.01).alive
    assert waiting() == 1
    (specification.folder / "leave").touch()
    assert not engine.wait(specification.folder, timeout_s=30).alive
    until(lambda: waiting() == 0)


def test_the_log_is_followed_to_its_end(engine: LocalEngine, specify: Specify) -> None:
    script = """
import os, sys, time
for i in range(200):
    os.write(1, (f"{i} " * 500).encode() + b"\\n")
    if i % 20 == 0: time.sleep(0.01)
while not os.path.exists("leave"): time.sleep(0.005)
os.write(2, b"last words without a line end")
"""
    expected = b"".join((f"{i} " * 500).encode() + b"\n" for i in range(200)) + b"last words without a line end"
    specification = specify(script)
    engine.start(specification)
    seen = b""
    for chunk in engine.log(specification.folder, follow=True):
        seen += chunk
        if seen.endswith(b"199 \n"):
            (specification.folder / "leave").touch()
    assert seen == expected
    assert b"".join(engine.log(specification.folder)) == expected
    assert b"".join(engine.log(specification.folder, follow=True, offset=7)) == expected[7:]
    assert b"".join(engine.log(specification.folder, offset=len(expected) + 5)) == b""


# --- servers


def test_a_server_gets_a_socket_and_starts_again(engine: LocalEngine, specify: Specify) -> None:
    specification = specify(SERVER, listen=("127.0.0.1", 0), restart=True)
    engine.start(specification)
    address = engine.state(specification.folder).address
    first = ask(address)  # the socket listens before the server is up: the connection waits
    os.kill(first, signal.SIGKILL)
    until(lambda: not runs(first))  # a dying server may still take a connection
    second = ask(address)
    assert second != first
    state = until(lambda: (found := engine.state(specification.folder)).restarts == 1 and found)
    assert (state.phase, state.alive, state.address) == (Phase.RUNNING, True, address)
    engine.stop(specification.folder, wait_s=20)
    assert engine.state(specification.folder).ending == Ending(Cause.STOPPED, signal=signal.SIGTERM)
    assert address is not None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)


def test_a_server_keeps_its_port_for_its_next_run(engine: LocalEngine, specify: Specify) -> None:
    specification = specify(SERVER, listen=("127.0.0.1", 0), restart=True)
    engine.start(specification)
    address = engine.state(specification.folder).address
    ask(address)
    kill_supervisor(specification.folder)
    engine.start(specification)
    assert engine.state(specification.folder).address == address
    ask(address)
    kill_supervisor(specification.folder)
    with socket.create_server(address or ("", 0)):  # somebody else has it now
        engine.start(specification)
        moved = engine.state(specification.folder).address
        assert moved != address
        ask(moved)


def test_a_port_that_is_taken(engine: LocalEngine, specify: Specify) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ClientError, match=f"cannot listen on 127.0.0.1, port {port}: {os.strerror(errno.EADDRINUSE)}"
        ):
            engine.start(specify(SERVER, listen=("127.0.0.1", port)))
    with pytest.raises(ClientError):
        engine.state(specify().folder)


def test_a_server_that_fails_again_and_again_is_given_up(engine: LocalEngine, specify: Specify) -> None:
    specification = specify("print('no model'); raise SystemExit(2)", listen=("127.0.0.1", 0), restart=True)
    engine.start(specification)
    state = engine.wait(specification.folder)
    reason = "gave up: ended within 5 s 5 times in a row: no model"
    assert state.ending == Ending(Cause.EXITED, exit_code=2, reason=reason)
    assert state.restarts == 4
    assert last_log_lines(specification.folder, 9) == ["no model"] * 5


def test_a_server_that_says_that_no_start_will_help_is_not_started_again(engine: LocalEngine, specify: Specify) -> None:
    specification = specify("raise SystemExit(78)", listen=("127.0.0.1", 0), restart=True, final_exit_codes=(78,))
    engine.start(specification)
    state = engine.wait(specification.folder)
    assert state.ending == Ending(Cause.EXITED, exit_code=78)
    assert state.restarts == 0


def test_stop_between_two_lives_of_a_server(engine: LocalEngine, specify: Specify) -> None:
    specification = specify("print('up')", restart=True)
    engine.start(specification)
    until(lambda: engine.state(specification.folder).restarts >= 3)  # its next life is half a second or more away
    engine.stop(specification.folder, wait_s=20)
    ending = engine.state(specification.folder).ending
    assert ending is not None
    assert ending.cause is Cause.STOPPED


def test_what_a_dead_server_left_is_gone_before_its_next_life(engine: LocalEngine, specify: Specify) -> None:
    script = """
import os, time
if os.path.exists("deaf"):
    pid = int(open("deaf").read())
    try: os.kill(pid, 0)
    except ProcessLookupError: print("up", flush=True)
    time.sleep(60)
"""
    specification = specify(script + FORKS.replace('"up"', '"first"') + "os._exit(1)", restart=True)
    engine.start(specification)
    until(lambda: is_up(specification.folder))


# --- memory


def test_out_of_memory_is_told_from_a_kill(engine: LocalEngine, specify: Specify, tmp_path: Path) -> None:
    """A real one, in a control group with little memory."""
    group = _small_control_group(f"wildsage-test-{os.getpid()}", 150 << 20)
    try:
        specification = specify("hog = bytearray(300 << 20)\nfor i in range(0, len(hog), 4096): hog[i] = 1")
        starter = f"""
from pathlib import Path
from wildsage.engines.base import Specification
from wildsage.engines.local import LocalEngine
LocalEngine().start(Specification("hog", Path({str(specification.folder)!r}), {specification.command!r}))
"""
        enter = 'echo $$ > "$0/cgroup.procs" && exec "$1" -c "$2"'
        subprocess.run(["sh", "-c", enter, str(group), sys.executable, starter], check=True)
        ending = engine.wait(specification.folder).ending
        assert ending is not None
        assert (ending.cause, ending.signal) == (Cause.OUT_OF_MEMORY, signal.SIGKILL)
    finally:
        until(lambda: not (group / "cgroup.procs").read_text().strip())
        group.rmdir()


def _small_control_group(name: str, limit_bytes: int) -> Path:
    """Make a control group, or skip the test."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "memory":
                group, limit = Path("/sys/fs/cgroup/memory") / path.lstrip("/") / name, "memory.limit_in_bytes"
            elif controllers == "" and "memory" in Path("/sys/fs/cgroup/cgroup.subtree_control").read_text():
                group, limit = Path("/sys/fs/cgroup") / name, "memory.max"
            else:
                continue
            group.mkdir()
            try:
                (group / limit).write_text(str(limit_bytes))
                swap = group / ("memory.swap.max" if limit == "memory.max" else "memory.swappiness")
                swap.write_text("0")
            except OSError:
                group.rmdir()
                continue
            return group
    pytest.skip("no control group with a memory limit can be made here")


def test_a_forked_child_can_wait_although_its_parent_was_about_to(tmp_path: Path) -> None:
    with local._waiting_guard:
        child = os.fork()
        if child == 0:
            try:
                signal.alarm(60)
                os._exit(0 if local._freed(tmp_path).wait(30) else 2)
            finally:
                os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
