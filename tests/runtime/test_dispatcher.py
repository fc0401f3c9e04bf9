"""Queue, shares, retries and limits, with workers that the test plays itself."""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from select import select
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wildsage.runtime import frames
from wildsage.runtime.dispatcher import Dispatcher, Job, Limits


class Asked(Job):
    """A request that remembers its answer."""

    def __init__(self, body: bytes = b"body") -> None:
        super().__init__()
        self.body = body
        self.gone = False
        self.answer: tuple[int, bytes] | None = None

    @property
    def abandoned(self) -> bool:
        return self.gone

    def answered(self, status: int, content_type: bytes, body: bytes) -> None:
        assert self.answer is None, "answered twice"
        self.answer = status, body

    def refused(self, status: int, message: str) -> None:
        self.answered(status, b"", message.encode())


class Played:
    """The other end of a worker's socket."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.link.setblocking(False)
        self._rest = b""

    async def ready(self) -> None:
        await asyncio.get_running_loop().sock_sendall(self.link, frames.answer(frames.READY, b"", b"0"))

    async def batch(self) -> list[bytes]:
        """The bodies of the next batch."""
        loop = asyncio.get_running_loop()
        while len(self._rest) < frames.BATCH.size:
            self._rest += await loop.sock_recv(self.link, 65536)
        count, size = frames.BATCH.unpack_from(self._rest)
        while len(self._rest) < frames.BATCH.size + size:
            self._rest += await loop.sock_recv(self.link, 65536)
        bodies, at = [], frames.BATCH.size
        for _ in range(count):
            sizes = frames.REQUEST.unpack_from(self._rest, at)
            at += frames.REQUEST.size + sum(sizes)
            bodies.append(self._rest[at - sizes[2] : at])
        self._rest = self._rest[at:]
        return bodies

    async def answer(self, *bodies: bytes) -> None:
        data = b"".join(frames.answer(200, b"text/plain", body) for body in bodies)
        await asyncio.get_running_loop().sock_sendall(self.link, data)

    async def put_off(self) -> None:
        """Say that the next answer comes later."""
        await asyncio.get_running_loop().sock_sendall(self.link, frames.answer(frames.LATER, b"", b""))

    async def answer_first_put_off(self, body: bytes) -> None:
        data = frames.answer(frames.NOW, b"", b"") + frames.answer(200, b"text/plain", body)
        await asyncio.get_running_loop().sock_sendall(self.link, data)

    def die(self) -> None:
        self.link.close()


class Stage:
    def __init__(self, workers: int, **limits: Any) -> None:
        self.played: list[Played] = []
        self.readied = 0
        self.dispatcher = Dispatcher(workers, Limits(**limits))
        self.dispatcher.start_worker = lambda link: self.played.append(Played(link.dup()))
        self.dispatcher.when_ready = self._count
        self.dispatcher.fill()

    async def ready(self, *numbers: int) -> None:
        wanted = self.readied + len(numbers)
        for number in numbers:
            await self.played[number].ready()
        await condition(lambda: self.readied == wanted)

    def _count(self) -> None:
        self.readied += 1

    def ask(self, *bodies: bytes) -> list[Asked]:
        jobs = [Asked(body) for body in bodies]
        for job in jobs:
            self.dispatcher.submit(job)
        return jobs


async def condition(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.001)


def play(scenario: Callable[[Callable[..., Stage]], Awaitable[None]]) -> None:
    stages: list[Stage] = []

    def stage(workers: int, **limits: Any) -> Stage:
        stages.append(Stage(workers, **limits))
        return stages[-1]

    async def run() -> None:
        try:
            async with asyncio.timeout(20):
                await scenario(stage)
        finally:
            for each in stages:
                each.dispatcher.close()
                await asyncio.sleep(0.01)
                for played in each.played:
                    played.die()

    asyncio.run(run())


def test_waits_for_a_worker_and_answers_in_its_order() -> None:
    async def scenario(stage: Callable[..., Stage]) -> None:
        on = stage(1)
        jobs = on.ask(b"a", b"b", b"c")
        assert not on.dispatcher.ready
        await on.ready(0)
        assert on.dispatcher.ready
        assert await on.played[0].batch() == [b"a", b"b", b"c"]
        await on.played[0].answer(b"A")
        await condition(lambda: jobs[0].answer)
        assert jobs[1].answer is None
        await on.played[0].answer(b"B", b"C")
        await condition(lambda: jobs[2].answer)
        assert [job.answer for job in jobs] == [(200, b"A"), (200, b"B"), (200, b"C")]

    play(scenario)


def test_a_long_answer_is_not_copied_with_each_of_its_pieces() -> None:
    async def scenario(stage: Callable[..., Stage]) -> None:
        s = stage(1)
        await s.ready(0)
        job, last = s.ask(b"long", b"last")
        await s.played[0].batch()
        (worker,) = s.dispatcher._workers
        body = bytes(range(256)) * 512
        frame = frames.answer(200, b"", body) + frames.answer(200, b"", b"end")
        pieces = [frame[at : at + 1000] for at in range(0, len(frame), 1000)]
        for number, piece in enumerate(pieces[:-1]):
            owners = sys.getrefcount(piece)
            worker.data_received(piece)
            assert number == 0 or sys.getrefcount(piece) == owners + 1  # kept as it came
            assert job.answer is None
        worker.data_received(pieces[-1])
        assert (job.answer, last.answer) == ((200, body), (200, b"end"))

    play(scenario)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=6), st.lists(st.integers(1, 60), min_size=1))
def test_answers_come_in_pieces_of_any_size(bodies: list[bytes], sizes: list[int]) -> None:
    async def scenario(stage: Callable[..., Stage]) -> None:
        s = stage(1)
        await s.ready(0)
        jobs = s.ask(*bodies)
        await s.played[0].batch()
        (worker,) = s.dispatcher._workers
        data = b"".join(frames.answer(200, b"t", body) for body in bodies)
        for size in itertools.cycle(sizes):
            worker.data_received(data[:size])
            data = data[size:]
            if not data:
                break
        assert [job.answer for job in jobs] == [(200, body) for body in bodies]

    play(scenario)


def test_a_busy_worker_gets_nothing_and_an_idle_one_what_has_queued() -> None:
    async def scenario(stage: Callable[..., Stage]) -> None:
        on = stage(1)
        await on.ready(0)
        on.ask(b"first")
        assert await on.played[0].batch() == [b"first"]
        jobs = on.ask(b"a", b"b")
        await asyncio.sleep(0.01)
        assert all(job.answer is None for job in jobs)
        await on.played[0].answer(b"First")
        assert await on.played[0].batch() == [b"a", b"b"]

    play(scenario)


def test_a_long_queue_is_shared_among_all_workers() -> None:
    async def scenario(stage: Callable[..., Stage]) -> None:
        on = stage(2, short_queue_s=0.0)
        await on.ready(0, 1)
        on.dispatcher.learn(1.0)
        on.ask(*(b"%d" % number for number in range(9)))
        shares = [len(await played.batch()) for played in on.played]
        assert sum(shares) in (7, 8)  # half of nine, then half of what is left
        assert max(shares) == 5

    play(scenario)


def test_a_batch_is_bounded_in_requests_and_bytes() -> None:
    async def scenario(stage: Callable[..., Stage]) -> None:
        on = stage(1, batch_requests=3, batch_bytes=100)
        await on.ready(0)
        on.ask(*[b"x" * 40] * 3, *[b"y"] * 4, b"z" * 500)
        expected = [[b"x" * 40] * 2, [b"x" * 40, b"y", b"y"], [b"y", b"y"], [b"z" * 500]]
        for bodies in expected:
            assert await on.played[0].batch() == bodies
            await on.played[0].answer(*bodies)

    play(scenario)


def test_what_a_dead_worker_held_is_tried_again_alone() -> None:
    async def scenario(stage: Callable[..., Stage]) -> None:
        on = stage(1)
        await on.ready(0)
        jobs = on.ask(b"a", b"b", b"c")
        await on.played[0].batch()
        await on.played[0].answer(b"A")
        await condition(lambda: jobs[0].answer)
        later = on.ask(b"d")
        on.played[0].die()
        await condition(lambda: len(on.played) == 2)
        await on.ready(1)
        for body in (b"b", b"c", b"d"):
            assert await on.played[1].batch() == [body]
            await on.played[1].answer(body.upper())
        await condition(lambda: later[0].answer)
        assert [job.answer for job in jobs] == [(200, b"A"), (200, b"B"), (200, b"C")]
        assert on.dispatcher.counters.retried == 2
        assert on.dispatcher.counters.replaced == 1

    play(scenario)


def test_others_are_answered_while_one_is_put_off() -> None:
    async def scenario(stage: Callable[..., Stage]) -> None:
        on = stage(1)
        await on.ready(0)
        long, other, small = on.ask(b"long", b"other", b"small")
        assert await on.played[0].batch() == [b"long", b"other", b"small"]
        await on.played[0].put_off()
        await on.played[0].put_off()
        await on.played[0].answer(b"SMALL")
        await condition(lambda: small.answer)
        (next_,) = on.ask(b"next")
        assert await on.played[0].batch() == [b"next"]
        await on.played[0].answer_first_put_off(b"LONG")
        await on.played[0].answer(b"NEXT")
        await on.played[0].answer_first_put_off(b"OTHER")
        await condition(lambda: other.answer)
        assert [job.answer for job in (long, next_, small)] == [(200, b"LONG"), (200, b"NEXT"), (200, b"SMALL")]

    play(scenario)


def test_who_has_put_something_off_gets_little_and_last() -> None:
    async def scenario(stage: Callable[..., Stage]) -> None:
        on = stage(2, batch_bytes=10)
        await on.ready(0, 1)
        (long,) = on.ask(b"long, to go alone")
        busy, free = on.played if await _has_batch(on.played[0]) else reversed(on.played)
        await busy.batch()
        await busy.put_off()
        await condition(lambda: len(on.dispatcher._idle) == 2)
        second, small = on.ask(b"as long as that one", b"small")
        assert await free.batch() == [b"as long as that one"]
        assert await busy.batch() == [b"small"]
        (third,) = on.ask(b"a third long one")
        await free.put_off()
        await busy.answer(b"SMALL")
        await condition(lambda: small.answer)
        await busy.answer_first_put_off(b"LONG")
        assert await busy.batch() == [b"a third long one"]
        assert (long.answer, second.answer, third.answer) == ((200, b"LONG"), None, None)

    play(scenario)


def test_who_goes_alone_does_not_wait_for_a_worker_that_is_never_free() -> None:
    async def scenario(stage: Callable[..., Stage]) -> None:
        on = stage(1, batch_bytes=10, alone_s=0)
        await on.ready(0)
        (first,) = on.ask(b"first")
        assert await on.played[0].batch() == [b"first"]
        await on.played[0].put_off()
        await condition(lambda: on.dispatcher._idle)
        (large,) = on.ask(b"one that goes alone")
        assert await on.played[0].batch() == [b"one that goes alone"]
        await on.played[0].answer(b"LARGE")
        await on.played[0].answer_first_put_off(b"FIRST")
        await condition(lambda: first.answer)
        assert large.answer == (200, b"LARGE")

    play(scenario)


def test_who_has_seen_a_death_gets_a_worker_that_is_kept_free_for_it() -> None:
    async def scenario(stage: Callable[..., Stage]) -> None:
        on = stage(1, batch_bytes=10, alone_s=0)
        await on.ready(0)
        (tried,) = on.ask(b"tried")
        assert await on.played[0].batch() == [b"tried"]
        (first,) = on.ask(b"first")
        on.dispatcher._queue[0].since = 0.0
        on.played[0].die()
        await condition(lambda: on.dispatcher._alone)
        waiting = on.dispatcher._alone.popleft()
        await condition(lambda: len(on.played) == 2)
        await on.ready(1)
        assert await on.played[1].batch() == [b"first"]
        await on.played[1].put_off()
        await condition(lambda: on.dispatcher._idle)
        on.dispatcher._alone.append(waiting)
        (other,) = on.ask(b"other")
        await on.played[1].answer_first_put_off(b"FIRST")
        assert await on.played[1].batch() == [b"tried"]
        await on.played[1].answer(b"TRIED")
        assert await on.played[1].batch() == [b"other"]
        await on.played[1].answer(b"OTHER")
        await condition(lambda: other.answer)
        assert [job.answer for job in (tried, first)] == [(200, b"TRIED"), (200, b"FIRST")]

    play(scenario)


async def _has_batch(played: Played) -> bool:
    await asyncio.sleep(0.02)
    return bool(select([played.link], [], [], 0)[0])


def test_what_a_dead_worker_had_put_off_is_tried_again_alone() -> None:
    async def scenario(stage: Callable[..., Stage]) -> None:
        on = stage(1)
        await on.ready(0)
        jobs = on.ask(b"a", b"b")
        await on.played[0].batch()
        await on.played[0].put_off()
        on.played[0].die()
        await condition(lambda: len(on.played) == 2)
        await on.ready(1)
        for body in (b"a", b"b"):
            await on.played[1].batch()
            await on.played[1].answer(body.upper())
        await condition(lambda: all(job.answer for job in jobs))
        assert {job.answer for job in jobs} == {(200, b"A"), (200, b"B")}

    play(scenario)


def test_three_deaths_are_enough() -> None:
    async def scenario(stage: Callable[..., Stage]) -> None:
        on = stage(1)
        (job,) = on.ask(b"poison")
        for number in range(3):
            await condition(lambda wanted=number: len(on.played) > wanted)
            await on.ready(number)
            assert await on.played[number].batch() == [b"poison"]
            on.played[number].die()
        await condition(lambda: job.answer)
        assert job.answer == (500, b"a worker ended each of the 3 times that it answered this request")

    play(scenario)


def test_an_abandoned_request_is_not_handed_out() -> None:
    async def scenario(stage: Callable[..., Stage]) -> None:
        on = stage(1)
        jobs = on.ask(b"a", b"b")
        jobs[0].gone = True
        await on.ready(0)
        assert await on.played[0].batch() == [b"b"]

    play(scenario)


def test_a_full_queue_refuses() -> None:
    async def scenario(stage: Callable[..., Stage]) -> None:
        on = stage(1, waiting=2)
        *_, last = on.ask(b"a", b"b", b"c")
        assert last.answer == (503, b"2 requests are waiting already; try again later")

    play(scenario)


def test_a_request_that_no_worker_took_is_refused() -> None:
    async def scenario(stage: Callable[..., Stage]) -> None:
        on = stage(1, answer_s=60.0)
        (job,) = on.ask(b"a")
        on.dispatcher.check(time.monotonic())
        assert job.answer is None
        on.dispatcher.check(time.monotonic() + 61)
        assert job.answer == (503, b"no worker was free within 60 s")

    play(scenario)


def test_closing_refuses_what_is_left() -> None:
    async def scenario(stage: Callable[..., Stage]) -> None:
        on = stage(1)
        await on.ready(0)
        (held,) = on.ask(b"a")
        await on.played[0].batch()
        (waiting,) = on.ask(b"b")
        on.dispatcher.close()
        assert held.answer == waiting.answer == (503, b"the server is stopping")

    play(scenario)


def test_nothing_is_started_while_nothing_can() -> None:
    async def scenario(stage: Callable[..., Stage]) -> None:
        on = stage(1)
        start, on.dispatcher.start_worker = on.dispatcher.start_worker, None
        await on.ready(0)
        (job,) = on.ask(b"a")
        await on.played[0].batch()
        on.played[0].die()
        await condition(lambda: on.dispatcher.counters.replaced)
        await asyncio.sleep(0.02)
        assert len(on.played) == 1
        on.dispatcher.start_worker = start
        on.dispatcher.fill()
        await on.ready(1)
        assert await on.played[1].batch() == [b"a"]
        await on.played[1].answer(b"A")
        await condition(lambda: job.answer)

    play(scenario)


@settings(max_examples=25)
@given(
    steps=st.lists(st.sampled_from(["ask", "ask", "ask", "answer", "answer", "die"]), max_size=25),
    workers=st.integers(1, 3),
)
def test_every_request_gets_exactly_one_answer(steps: list[str], workers: int) -> None:
    async def scenario(stage: Callable[..., Stage]) -> None:
        on = stage(workers)
        jobs: list[Asked] = []
        alive: set[int] = set()
        tasks: dict[int, asyncio.Task[None]] = {}

        async def work(number: int, once: bool) -> None:
            while True:
                put_off = []
                for body in await on.played[number].batch():
                    if body.endswith(b"3"):
                        put_off.append(body)
                        await on.played[number].put_off()
                    else:
                        await on.played[number].answer(body.upper())
                for body in put_off:
                    await on.played[number].answer_first_put_off(body.upper())
                if once:
                    return

        async def refresh() -> None:
            for number in range(len(on.played)):
                if number not in alive and number not in tasks:
                    await on.played[number].ready()
                    alive.add(number)
            await asyncio.sleep(0.001)

        for step in steps:
            await refresh()
            if step == "ask":
                jobs += on.ask(b"job %d" % len(jobs))
            elif step == "die" and alive:
                number = alive.pop()
                tasks[number] = asyncio.create_task(asyncio.sleep(0))
                on.played[number].die()
            await asyncio.sleep(0.001)
        # From now on every worker answers, and those that are started too.
        running: dict[int, asyncio.Task[None]] = {}
        async with asyncio.timeout(10):
            while any(job.answer is None for job in jobs):
                await refresh()
                for number in alive:
                    if number not in running:
                        running[number] = asyncio.create_task(work(number, once=False))
        for task in running.values():
            task.cancel()
        await asyncio.gather(*running.values(), *tasks.values(), return_exceptions=True)
        for number, job in enumerate(jobs):
            assert job.answer is not None
            status, body = job.answer
            assert (status, body) == (200, b"JOB %d" % number) or (status == 500 and job.tries_alone == 3)

    play(scenario)
