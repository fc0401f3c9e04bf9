"""Start a zygote. Imports next to nothing: serve does this first, so that the model loads while the front starts."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import NamedTuple

# A forked worker has only the thread that forked, so a pool of threads made before would be dead in it; and workers
# that each ran a thread a core would be in each other's way.
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class Launched(NamedTuple):
    """A zygote's process and our end of its control socket."""

    pid: int
    control: socket.socket


def zygote(folder: Path, algorithm: str | None) -> Launched:
    """Start one for the model in `folder`."""
    here, there = socket.socketpair()
    command = [
        sys.executable,
        "-m",
        "wildsage.runtime.zygote",
        "--control",
        str(there.fileno()),
        "--model",
        str(folder),
    ]
    if algorithm:
        command += ["--algorithm", algorithm]
    # Unbuffered, so that what a model prints is in the log at once, and not lost with a killed worker.
    environment = dict.fromkeys((*_ONE_THREAD, "PYTHONUNBUFFERED"), "1") | dict(os.environ)
    with there:
        there.set_inheritable(True)
        pid = os.posix_spawn(sys.executable, command, environment)
    return Launched(pid, here)
