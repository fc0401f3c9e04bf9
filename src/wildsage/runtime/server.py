"""The front process as a whole: keeps a zygote and the workers alive, watches times, drains at SIGTERM."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import signal
import socket
import sys
import time
from argparse import Namespace
from dataclasses import astuple
from typing import Any

from wildsage.contract.failure import EXIT_FAILURE, EXIT_FINAL
from wildsage.runtime import launch
from wildsage.runtime.app import App
from wildsage.runtime.dispatcher import Counters, Dispatcher, Limits
from wildsage.runtime.front import Front, HttpLimits

logger = logging.getLogger(__name__)

CHECK_S = 0.25
COUNTERS_S = 60.0
DRAIN_S = 25.0  # the contract's 30 s, less the time to end the workers
ZYGOTE_ENDS_S = 3.0
EARLY_DEATHS = 3
MAX_PAYLOAD_MB = 100  # the largest that a batch transform may ask for


class Server:
    """One serve program."""

    def __init__(self, first: launch.Launched, listener: socket.socket, options: Namespace, begun: float) -> None:
        self._options, self._begun = options, begun
        self._listener = listener
        self._address = listener.getsockname()[:2]
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        http = HttpLimits(connections=min(HttpLimits.connections, _raise_open_files() - 128))
        if options.payload_mb:
            http = HttpLimits(body_bytes=min(options.payload_mb, MAX_PAYLOAD_MB) << 20, connections=http.connections)
        limits = Limits(answer_s=options.timeout_s) if options.timeout_s else Limits()
        self._dispatcher = Dispatcher(options.workers, limits)
        self._dispatcher.when_ready = self._worker_ready
        self._dispatcher.when_failed = self._worker_failed
        self._app = App(self._dispatcher, workers=options.workers, max_body_bytes=http.body_bytes)
        self._front = Front(self._app, self._dispatcher.counters, http)
        self._algorithm = options.algorithm or "the model"
        self._serving = False  # a worker has been ready
        self._early_deaths = 0  # of workers before that
        self._stopping = False
        self._zygote: launch.Launched | None = None
        self._zygote_said = b""
        self._zygote_failures = 0  # in a row
        self._watch(first)

    # the zygote

    def _watch(self, zygote: launch.Launched) -> None:
        zygote.control.setblocking(False)
        self._zygote = zygote
        self._zygote_said = b""
        self._loop.add_reader(zygote.control, self._hear, zygote)

    def _hear(self, zygote: launch.Launched) -> None:
        try:
            data = zygote.control.recv(65536)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self._zygote_lost(zygote)
            return
        *lines, self._zygote_said = (self._zygote_said + data).split(b"\n")
        for line in lines:
            self._told(zygote, json.loads(line))

    def _told(self, zygote: launch.Launched, said: dict[str, Any]) -> None:
        if "ended" in said:
            pid, status = said["ended"]
            self._dispatcher.worker_ended(pid, _how(status))
            if not self._serving:
                self._early_deaths += 1
                if self._early_deaths > EARLY_DEATHS:
                    self._fail(f"InternalServerError: workers end ({_how(status)}) before they have loaded the model")
        elif "ready" in said:
            self._algorithm = said["algorithm"]
            self._zygote_failures = 0
            self._dispatcher.start_worker = lambda link: _hand_over(zygote.control, link)
            self._dispatcher.fill()
        elif self._serving:
            logger.error("The model cannot be loaded again: %s", said["failed"])
        else:
            self._fail(said["failed"])

    def _zygote_lost(self, zygote: launch.Launched) -> None:
        self._loop.remove_reader(zygote.control)
        zygote.control.close()
        self._dispatcher.start_worker = None
        self._zygote = None
        _signal(zygote.pid, signal.SIGKILL)  # it is ending; should it only have closed its socket, it must not live on
        how = _how(os.waitpid(zygote.pid, 0)[1])
        if self._stopping or self._ended.done():
            return
        if not self._serving:
            self._fail(f"InternalServerError: the process that loads the model ended ({how}) before it was done")
            return
        wait = 0.0 if not self._zygote_failures else min(5.0, 0.25 * 2**self._zygote_failures)
        self._zygote_failures += 1
        logger.warning("The process that holds the model ended (%s); another loads it", how)
        self._loop.call_later(wait, self._relaunch)

    def _relaunch(self) -> None:
        if not self._stopping:
            self._watch(launch.zygote(self._options.model, self._options.algorithm))

    # what the dispatcher tells

    def _worker_ready(self) -> None:
        if self._serving:
            return
        self._serving = True
        host, port = self._address
        shown = f"[{host}]" if ":" in str(host) else host
        workers = f"{self._options.workers} worker{'s' if self._options.workers > 1 else ''}"
        took = time.monotonic() - self._begun
        logger.info(
            "Serving %s on http://%s:%d with %s (model ready in %.1f s)", self._algorithm, shown, port, workers, took
        )

    def _worker_failed(self, reason: str) -> None:
        if self._serving:
            logger.error("A new worker cannot load the model: %s", reason)
        else:
            self._fail(reason)

    def _fail(self, reason: str) -> None:
        if not self._ended.done():
            sys.stderr.write(f"{reason}\n")
            self._ended.set_result(EXIT_FINAL if reason.startswith("ClientError: ") else EXIT_FAILURE)

    # the whole

    async def run(self) -> int:
        """Serve until SIGTERM or Ctrl-C, or until the model cannot be loaded. Returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop)
        listening = await self._loop.create_server(self._front, sock=self._listener, backlog=1024)
        watching = self._loop.create_task(self._look_after())
        code = await self._ended
        watching.cancel()
        self._stopping = True
        if code == 0:
            logger.info("Stopping: %d open connections are answered first", len(self._front))
            self._app.draining = True
            self._front.drain()
            listening.close()
            await self._drain()
        self._dispatcher.close()
        self._front.abort()
        await asyncio.sleep(0)  # lets the sockets close
        self._end_zygote(patience_s=0.0 if code else ZYGOTE_ENDS_S)
        return code

    def _stop(self) -> None:
        if not self._ended.done():
            self._ended.set_result(0)

    async def _look_after(self) -> None:
        before = Counters()
        reported = time.monotonic()
        while True:
            await asyncio.sleep(CHECK_S)
            now = time.monotonic()
            self._dispatcher.check(now)
            self._front.check(now)
            if not self._serving and now - self._begun > self._options.startup_s:
                self._fail(f"AlgorithmError: the model was not ready within {self._options.startup_s} s")
            if now - reported >= COUNTERS_S:
                reported = now
                before = self._report(before)

    def _report(self, before: Counters) -> Counters:
        """Log the counters if anything happened since `before`."""
        now = Counters(*astuple(self._dispatcher.counters))
        if now != before:
            logger.info(
                "Requests %s since the start: %s refused, %s failed, %s retried; workers replaced %s",
                *(f"{value:,}" for value in astuple(now)),
            )
        return now

    async def _drain(self) -> None:
        deadline = time.monotonic() + DRAIN_S
        while len(self._front) and (now := time.monotonic()) < deadline:
            self._front.check(now)
            self._dispatcher.check(now)
            await asyncio.sleep(0.02)
        if len(self._front):
            logger.warning("%d connections were not done within %g s and are cut", len(self._front), DRAIN_S)
        self._report(Counters())

    def _end_zygote(self, patience_s: float) -> None:
        zygote = self._zygote
        if zygote is None:
            return
        self._loop.remove_reader(zygote.control)
        zygote.control.close()  # it ends with its workers
        deadline = time.monotonic() + patience_s
        while not os.waitpid(zygote.pid, os.WNOHANG)[0]:
            if time.monotonic() > deadline:
                _signal(zygote.pid, signal.SIGKILL)
                os.waitpid(zygote.pid, 0)
                return
            time.sleep(0.005)


def _hand_over(control: socket.socket, link: socket.socket) -> None:
    try:
        socket.send_fds(control, [b"W"], [link.fileno()])
    except (BrokenPipeError, ConnectionResetError):
        return  # the zygote is ending; the worker's socket closes unused, and is seen so


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _raise_open_files() -> int:
    """Allow ourselves as many open files as the system lets us. Returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return 65536 if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def run(first: launch.Launched, listener: socket.socket, options: Namespace, begun: float) -> int:
    """Serve on the fastest event loop there is. Returns the exit code."""
    try:
        import uvloop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop

    async def serve() -> int:
        return await Server(first, listener, options, begun).run()

    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(serve())
