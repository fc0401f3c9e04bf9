"""The process that loads the model once and forks the workers from itself, so that they share its memory.

Asked over a control socket by the front: one byte with the descriptor of a worker's socket asks for a worker. It tells,
a JSON object a line: {"ready": seconds, "algorithm": name}, {"failed": reason}, {"ended": [pid, status of wait]}. It
ends, with its workers, when the front does. A model that cannot be forked is not loaded here; its workers are started
as programs.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wildsage.contract.errors import ClientError
from wildsage.contract.failure import failure_text
from wildsage.runtime import log

if TYPE_CHECKING:
    from wildsage.algorithms.base import Model

logger = logging.getLogger(__name__)

ONE_WORKER = b"W"
WORKERS_END_S = 2.0  # the front is gone: workers get this long to see it, then SIGKILL


class Zygote:
    def __init__(self, control: socket.socket, algorithm: str, folder: Path, model: Model | None) -> None:
        self._control, self._algorithm, self._folder, self._model = control, algorithm, folder, model
        self._children: set[int] = set()
        self._waker, self._wake = socket.socketpair()

    def run(self) -> None:
        """Start workers when asked and report those that end, until the front is gone."""
        self._waker.setblocking(False)
        self._wake.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(self._waker, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._waker:
                        self._waker.recv(4096)
                        self._reap()
                    elif not self._start(selector):
                        self._end()
                        return

    def _start(self, selector: selectors.BaseSelector) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._control, 1, 1)
        if not data:
            return False
        if not descriptors:
            raise RuntimeError("the front asked for a worker without its socket; too many open files?")
        link = socket.socket(fileno=descriptors[0])
        with link:
            link.set_inheritable(False)
            pid = self._spawn(link) if self._model is None else self._fork(link, self._model, selector)
        self._children.add(pid)
        return True

    def _fork(self, link: socket.socket, model: Model, selector: selectors.BaseSelector) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            selector.close()
            for inherited in (self._control, self._waker, self._wake):
                inherited.close()
            from wildsage.runtime.worker import Worker

            Worker(model, os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "")).run(link)
            code = 0
        except BaseException:  # noqa: BLE001 (nothing of the zygote's own code may run in the fork)
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _spawn(self, link: socket.socket) -> int:
        link.set_inheritable(True)
        command = [sys.executable, "-m", "wildsage.runtime.worker", "--link", str(link.fileno())]
        command += ["--algorithm", self._algorithm, "--model", str(self._folder)]
        return os.posix_spawn(sys.executable, command, os.environ)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if pid in self._children:
                self._children.discard(pid)
                self._tell(ended=[pid, status])

    def _tell(self, **what: object) -> None:
        try:
            self._control.sendall(json.dumps(what).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            return  # the front is gone: the next read says so

    def _end(self) -> None:
        deadline = time.monotonic() + WORKERS_END_S
        while self._children and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.01)
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        import threading

        return threading.active_count()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="wildsage.runtime.zygote")
    parser.add_argument("--control", type=int, required=True, help="descriptor of the socket to the front")
    parser.add_argument("--algorithm")
    parser.add_argument("--model", type=Path, required=True)
    options = parser.parse_args(arguments)
    begun = time.monotonic()
    log.configure()
    control = socket.socket(fileno=options.control)
    control.set_inheritable(False)
    try:
        from wildsage.runtime import loader, worker

        worker.ignore_signals()
        algorithm = loader.find(options.model, options.algorithm)
        model = None
        # macOS's own libraries do not survive a fork without exec.
        if algorithm.model.fork_safe and sys.platform != "darwin":
            model = loader.load(algorithm, options.model)
            if (threads := _threads()) > 1:
                logger.warning("Loading the model started %d threads: workers load it themselves", threads - 1)
                model = None
    except Exception as error:  # noqa: BLE001 (the front is told, and says it)
        if not isinstance(error, ClientError):
            traceback.print_exception(error)
        control.sendall(json.dumps({"failed": failure_text(error)}).encode() + b"\n")
        return 1
    gc.collect()
    gc.freeze()  # a collection in a worker would write to every object's page and unshare it
    zygote = Zygote(control, algorithm.name, options.model, model)
    control.sendall(json.dumps({"ready": time.monotonic() - begun, "algorithm": algorithm.name}).encode() + b"\n")
    zygote.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
