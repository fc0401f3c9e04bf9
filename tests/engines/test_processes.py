"""What the system tells of processes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.engines.conftest import python
from tests.waiting import until
from wildsage.engines import processes


def test_the_two_listings_agree() -> None:
    """The ps command stands in where there is no /proc."""
    by_ps = {process.pid: process for process in processes._from_ps("-A")}
    by_proc = {process.pid: process for process in processes.every_process()}
    for pid in (os.getpid(), os.getppid()):
        assert by_ps[pid][:5] == by_proc[pid][:5]
    assert processes._from_ps("-p", str(os.getpid()))[0].identity


@pytest.mark.parametrize("descriptors", [True, False])
def test_an_identity_is_one_process_alone(descriptors: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> int:
        raise OSError(errno.ENOSYS, "an old kernel")

    if not descriptors:
        monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    with subprocess.Popen(python("import time; time.sleep(60)")) as child:
        process = processes.look_up(child.pid)
        assert process is not None
        assert not processes.send(process._replace(identity="another"), signal.SIGKILL)
        assert child.poll() is None
        assert processes.send(process, signal.SIGKILL)
        until(lambda: (found := processes.look_up(child.pid)) is None or found.dead)
    assert processes.look_up(child.pid) is None
    assert not processes.send(process, signal.SIGKILL)


def test_a_name_with_brackets_is_read(tmp_path: Path) -> None:
    """The name of a program is free text in the middle of /proc/PID/stat."""
    program = tmp_path / ") R 1 (x"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "60"]) as child:
        process = processes.look_up(child.pid)
        assert process is not None
        assert (process.pid, process.parent, process.dead) == (child.pid, os.getpid(), False)
        child.kill()


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, 0),
        ({"proc/vmstat": "nr_free_pages 4\noom_kill 7\n"}, 7),
        ({"proc/self/cgroup": "0::/a/b\n", "cg/a/b/memory.events": "low 0\noom 3\noom_kill 2\n"}, 2),
        ({"proc/self/cgroup": "0::/not/mounted\n", "cg/memory.events": "oom_kill 5\n"}, 5),
        (
            {
                "proc/self/cgroup": "5:devices:/\n4:cpu,memory:/x\n0::/\n",
                "cg/memory/x/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
                "proc/vmstat": "oom_kill 9\n",
            },
            3,
        ),
        ({"proc/self/cgroup": "0::/\n", "proc/vmstat": "oom_kill 9\n"}, 9),
    ],
)
def test_counts_of_out_of_memory(tmp_path: Path, files: dict[str, str], count: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert processes.out_of_memory_kills(tmp_path / "proc", tmp_path / "cg") == count
