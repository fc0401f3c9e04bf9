"""What both trainers share: threads' random states, watching threads, and telling progress."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import numpy as np

from wildsage.kernels.vector import aligned

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from wildsage.algorithms.context import Reporter


def random_states(seed: int, count: int) -> list[NDArray[np.uint64]]:
    """States of xorshift for so many threads: they must differ, and none may be zero."""
    states = [aligned(1, np.uint64) for _ in range(count)]
    for k, state in enumerate(states):
        state[0] = (seed * 7919 + 12345 + k) * 0x9E3779B97F4A7C15 % 2**64 | 1
    return states


def run_watched(pool: ThreadPoolExecutor, job: Callable[[int], None], count: int, tell: Callable[[], None]) -> None:
    """Run job(0), …, job(count - 1) in threads, and `tell` several times a second until all are done, and then."""
    running: set[Future[None]] = {pool.submit(job, k) for k in range(count)}
    while running:
        finished, running = wait(running, timeout=0.2)
        for future in finished:
            future.result()
        tell()


def tell_progress(report: Reporter, done: int, total: int, speed: float, sums: NDArray[np.float64]) -> None:
    """Report words done, with speed, mean loss (sums: its sum, and of how many) and time left where they are known."""
    figures = {"words_per_second": speed}
    if sums[1]:
        figures["loss"] = float(sums[0] / sums[1])
    if speed:
        figures["seconds_left"] = (total - done) / speed
    report.progress(done, total, unit="words", **figures)
