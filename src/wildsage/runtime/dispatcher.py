"""Which worker answers which request: queue, batches, retries, limits. Knows no HTTP and no model.

Only an idle worker gets requests, and it takes what has queued meanwhile: batches form by themselves, and no request
waits for others to come. A request is held here until its answer, so a worker's death loses nothing.

A worker puts a request that takes long off, and is then idle for others, which it answers between two slices of it.
What may itself take long, or has seen a worker die, goes alone to a worker that has put nothing off. Where none
ever comes to that, it does not wait for ever: see Limits.alone_s.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from wildsage.runtime import frames

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """Bounds of the queue and of a worker's time."""

    waiting: int = 2048  # requests in the queue
    # Workers that may die over a request while they hold no other. Two may have been dead, one after the other, when
    # they were given it: whoever kills one may kill all.
    tries_alone: int = 3
    answer_s: float = 60.0  # a worker's time for a batch, and a request's time in the queue
    batch_requests: int = 64
    batch_bytes: int = 64 * 1024
    put_off: int = 8  # requests that one worker may have put off and still get others
    # A request that goes alone and has waited so long goes to a worker that has put others off, too; if it has seen a
    # worker die, one worker gets nothing more until it is free.
    alone_s: float = 1.0
    short_queue_s: float = 0.001  # a queue that one worker would be done with in this time


@dataclass
class Counters:
    """What happened since the start."""

    requests: int = 0
    refused: int = 0  # answered with 4xx, or 503 for want of room
    failed: int = 0  # answered with 5xx
    retried: int = 0
    replaced: int = 0  # workers


class Job(ABC):
    """A request until its answer."""

    __slots__ = ("accept", "body", "content_type", "since", "tries", "tries_alone")

    def __init__(self) -> None:
        self.content_type = b""
        self.accept = b""
        self.body = b""
        self.tries = 0  # times that a worker died or was killed while it held this
        self.tries_alone = 0  # of those, times that it held nothing else
        self.since = 0.0  # when it came into the queue

    @property
    @abstractmethod
    def abandoned(self) -> bool:
        """Nobody waits for the answer any more."""

    @abstractmethod
    def answered(self, status: int, content_type: bytes, body: bytes) -> None:
        """The answer of a worker."""

    @abstractmethod
    def refused(self, status: int, message: str) -> None:
        """No worker's answer will come; why."""


class Worker(asyncio.Protocol):
    """The front's end of one worker's socket."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._transport: asyncio.Transport | None = None
        self._pieces: list[bytes] = []  # of an answer that has not come whole
        self._come = self._wanted = 0  # bytes of them, and of it as far as is known
        self.held: deque[Job] = deque()  # in the order in which it will answer
        self.put_off: deque[Job] = deque()  # in the same
        self.turn = 0.0  # when the first of those became the first
        self.idle = False  # waits for requests
        self._now = False  # the next answer is that of the first put off
        self.pid: int | None = None
        self.ready = False
        self.answers = 0
        self.since = 0.0  # when it got its batch, or last answered
        self._given = 0.0  # when it got its batch
        self._batch = 0  # requests in that
        self.started = time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is no subclass of it
        self._transport.set_write_buffer_limits(high=2**30)  # what may be held is bounded by the front

    def data_received(self, data: bytes) -> None:
        if self._pieces:
            # Joined when it is whole: with each piece anew, a long answer would take time by the square of its length.
            self._pieces.append(data)
            self._come += len(data)
            if self._come < self._wanted:
                self.since = time.monotonic()
                return
            data = b"".join(self._pieces)
            self._pieces = []
        at, size, head = 0, len(data), frames.ANSWER.size
        self._wanted = head
        while size - at >= head:
            status, type_size, body_size = frames.ANSWER.unpack_from(data, at)
            body_at = at + head + type_size
            end = body_at + body_size
            if end > size:
                self._wanted = end - at
                break
            if status >= 100:
                self.answers += 1
                if self._now:
                    self._now, self.turn = False, time.monotonic()
                    job = self.put_off.popleft()
                else:
                    job = self.held.popleft()
                job.answered(status, data[at + head : body_at], data[body_at:end])
            elif status == frames.LATER:
                if not self.put_off:
                    self.turn = time.monotonic()
                self.put_off.append(self.held.popleft())
            elif status == frames.NOW:
                self._now = True
            elif status == frames.READY:
                self.pid = int(data[body_at:end])
                self.ready = True
                self._dispatcher.worker_ready(self)
            else:
                self._dispatcher.worker_failed(data[body_at:end].decode())
            at = end
        if at < size:
            self._pieces, self._come = [data[at:]], size - at
        self.since = time.monotonic()
        if not self.held and self.ready:
            if self._batch:
                self._dispatcher.learn((self.since - self._given) / self._batch)
                self._batch = 0
            self._dispatcher.worker_idle(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._dispatcher.worker_lost(self)

    def send(self, jobs: list[Job]) -> None:
        """Give the worker a batch."""
        assert self._transport is not None
        self.held.extend(jobs)
        self.since = self._given = time.monotonic()
        self._batch = len(jobs)
        self._transport.writelines(frames.batch((job.content_type, job.accept, job.body) for job in jobs))

    def kill(self) -> None:
        """End the worker at once; its socket's end is then seen as its death."""
        # Its number is not another's: the socket has just been open, and numbers are taken in turn. It may be gone all
        # the same, and its socket's end not read yet.
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Dispatcher:
    """The queue before the workers, and the workers."""

    def __init__(self, workers: int, limits: Limits | None = None) -> None:
        # Gives the other end of a worker's socket to a process that will be the worker; None while nothing can.
        self.start_worker: Callable[[socket.socket], None] | None = None
        self.limits = limits or Limits()
        self.counters = Counters()
        self.when_ready: Callable[[], None] = lambda: None  # called when a worker is
        self.when_failed: Callable[[str], None] = lambda reason: None  # a worker says that it cannot load the model
        self._count = workers
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Job] = deque()  # those that go in batches
        self._alone: deque[Job] = deque()  # those that go alone: that are long, or have been tried
        self._workers: set[Worker] = set()
        self._idle: deque[Worker] = deque()
        self._by_pid: dict[int, Worker] = {}
        self._turn_ends: asyncio.Handle | None = None
        self._losses: deque[float] = deque()  # when workers were lost that have no replacement yet
        self._early_deaths = 0  # in a row, of workers that had answered nothing
        self._tasks: set[asyncio.Task[None]] = set()
        self._request_s = 0.0  # a request's time in a worker, moving average
        self._closing = False

    @property
    def ready(self) -> bool:
        """There is a worker that answers."""
        return any(worker.ready for worker in self._workers)

    def submit(self, job: Job) -> None:
        """Queue a request; refuses it at once, through itself, when the queue is full."""
        if len(self._queue) + len(self._alone) >= self.limits.waiting:
            waiting = len(self._queue) + len(self._alone)
            job.refused(503, f"{waiting:,} requests are waiting already; try again later")
            return
        self.counters.requests += 1
        job.since = time.monotonic()
        (self._queue if len(job.body) <= self.limits.batch_bytes else self._alone).append(job)
        if self._turn_ends is None and self._idle:
            # Not at once: what else was read in this turn of the loop goes into the same batches.
            self._turn_ends = self._loop.call_soon(self._hand_out)

    def _hand_out(self) -> None:
        self._turn_ends = None
        while self._idle:
            while self._alone and self._alone[0].abandoned:
                self._alone.popleft()
            workers = list(self._idle)
            free = next((worker for worker in workers if not worker.put_off), None)
            goes_alone = bool(self._alone) and self._alone_is_next()
            if goes_alone and free is None and time.monotonic() - self._alone[0].since >= self.limits.alone_s:
                soonest = min(workers, key=lambda worker: len(worker.put_off))
                if self._alone[0].tries:
                    workers.remove(soonest)
                    if not workers:
                        return
                else:
                    free = soonest
            jobs = [self._alone.popleft()] if goes_alone and free is not None else self._batch()
            if not jobs:
                return
            worker = free or workers[0]
            self._idle.remove(worker)
            worker.idle = False
            worker.send(jobs)

    def _alone_is_next(self) -> bool:
        """Whether the first that goes alone comes before the first of the others: by its turn, or tried before."""
        first = self._alone[0]
        return bool(first.tries) or not self._queue or first.since <= self._queue[0].since

    def _batch(self) -> list[Job]:
        """What one worker takes of the queue."""
        queue, limits = self._queue, self.limits
        # One worker takes all of a short queue, since every batch costs about 20 us of CPU more; of a long one it
        # leaves the other workers their shares, the busy ones too: they come back sooner than it would be done.
        share = len(queue)
        if share * self._request_s > limits.short_queue_s:
            share = -(-share // self._count)
        share = min(share, limits.batch_requests)
        jobs: list[Job] = []
        size = 0
        while queue and len(jobs) < share:
            job = queue[0]
            if job.abandoned:
                queue.popleft()
                continue
            size += len(job.body)
            if jobs and size > limits.batch_bytes:
                break
            jobs.append(queue.popleft())
        return jobs

    def learn(self, request_s: float) -> None:
        """Take in how long a request of some batch took."""
        self._request_s += 0.1 * (request_s - self._request_s)

    def worker_idle(self, worker: Worker) -> None:
        """A worker has answered all that it held, or has just become ready."""
        if self._closing:
            return
        if worker.answers:
            self._early_deaths = 0
        if not worker.idle and len(worker.put_off) < self.limits.put_off:
            worker.idle = True
            self._idle.append(worker)
        if (self._queue or self._alone) and self._turn_ends is None:
            self._turn_ends = self._loop.call_soon(self._hand_out)

    def worker_ready(self, worker: Worker) -> None:
        """A worker has its model."""
        if worker.pid is not None:
            self._by_pid[worker.pid] = worker
        if self._losses:
            took_ms = (time.monotonic() - self._losses.popleft()) * 1000
            logger.info("Worker %s is ready, %.0f ms after the loss of another", worker.pid, took_ms)
        self.when_ready()

    def worker_failed(self, reason: str) -> None:
        """A worker that loads the model itself could not."""
        self.when_failed(reason)

    def worker_lost(self, worker: Worker) -> None:
        """A worker's socket has ended: put what it held first in the queue, and start another."""
        self._workers.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        if self._closing:
            return
        self.counters.replaced += 1
        self._losses.append(time.monotonic())
        self._early_deaths = 0 if worker.answers else self._early_deaths + 1
        now = time.monotonic()
        alone = len(worker.held) + len(worker.put_off) == 1
        late = bool(worker.put_off) and now - worker.turn >= self.limits.answer_s
        if late or (alone and now - worker.since >= self.limits.answer_s):
            job = worker.put_off.popleft() if late else worker.held.popleft()
            if not job.abandoned:
                job.refused(500, f"the model took longer than {self.limits.answer_s:g} s, and was stopped")
        for job in (*reversed(worker.held), *reversed(worker.put_off)):
            job.tries += 1
            # In company it is not known which request did it, or whether any did: that one is not held against it.
            job.tries_alone += alone
            if job.abandoned:
                continue
            if job.tries_alone >= self.limits.tries_alone:
                job.refused(500, f"a worker ended each of the {job.tries} times that it answered this request")
            else:
                self.counters.retried += 1
                job.since = now
                self._alone.appendleft(job)
        worker.held.clear()
        worker.put_off.clear()
        if self._alone and self._idle and self._turn_ends is None:
            self._turn_ends = self._loop.call_soon(self._hand_out)
        # At once, unless workers die one after the other without an answer: then slower and slower, up to 2 s.
        wait = 0.0 if self._early_deaths < 4 else min(2.0, 0.05 * 2 ** (self._early_deaths - 4))
        self._loop.call_later(wait, self.fill)

    def fill(self) -> None:
        """Start workers until there are as many as wanted."""
        while self.start_worker is not None and not self._closing and len(self._workers) < self._count:
            here, there = socket.socketpair()
            worker = Worker(self)
            self._workers.add(worker)
            task = self._loop.create_task(self._connect(worker, here))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            with there:
                self.start_worker(there)

    async def _connect(self, worker: Worker, here: socket.socket) -> None:
        here.setblocking(False)
        await self._loop.create_unix_connection(lambda: worker, sock=here)

    def worker_ended(self, pid: int, how: str) -> None:
        """How a worker's process ended, said after its socket's end or before."""
        worker = self._by_pid.pop(pid, None)
        if self._closing:
            return
        if worker is None:
            logger.warning("Worker %d ended (%s) before it was ready", pid, how)
        else:
            served = f"after {worker.answers:,} answers in {time.monotonic() - worker.started:.1f} s"
            logger.warning("Worker %d ended (%s) %s", pid, how, served)

    def check(self, now: float) -> None:
        """Kill workers over their time, and refuse requests that have waited as long; call several times a second."""
        for worker in list(self._workers):
            late = worker.put_off and now - worker.turn >= self.limits.answer_s
            if late or (worker.held and now - worker.since >= self.limits.answer_s):
                logger.warning("Worker %s took longer than %g s and is killed", worker.pid, self.limits.answer_s)
                worker.kill()
        for queue in (self._queue, self._alone):
            while queue and now - queue[0].since >= self.limits.answer_s:
                job = queue.popleft()
                if not job.abandoned:
                    job.refused(503, f"no worker was free within {self.limits.answer_s:g} s")
        if self._alone and self._idle and self._turn_ends is None:
            self._turn_ends = self._loop.call_soon(self._hand_out)

    def close(self) -> None:
        """Close the workers' sockets, which ends them; what waits is refused."""
        self._closing = True
        for worker in list(self._workers):
            for waiting in (worker.held, worker.put_off):
                _refuse_all(waiting)
            worker.close()
        for waiting in (self._queue, self._alone):
            _refuse_all(waiting)


def _refuse_all(jobs: deque[Job]) -> None:
    while jobs:
        jobs.popleft().refused(503, "the server is stopping")
