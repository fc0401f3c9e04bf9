"""CBOW with position weights: each context's row is multiplied, element by element, by its position's before the mean.

A window of W words to each side has 2 * W positions, from the farthest left to the farthest right, and each of them a
learnt row that starts at ones. Source: Mikolov et al., "Advances in Pre-Training Distributed Word Representations",
arXiv 1712.09405, section 2.2. What the mean is trained on is as in kernels/cbow.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wildsage.algorithms.blazingtext.kernels.cbow import train_mean
from wildsage.algorithms.blazingtext.kernels.random import GROUP, draw_batch
from wildsage.algorithms.blazingtext.kernels.word_vectors import (
    AHEAD,
    LOSS_EVERY,
    add_loss,
    begin_batch,
    end_batch,
    fetch_window,
    mark_touched,
)
from wildsage.kernels.kernel import kernel, kernel_part
from wildsage.kernels.vector import WIDTH, aligned, fma, load, splat, store

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray


class Positions(NamedTuple):
    """Rows of positions, shared by threads, and a thread's own copy: every window writes to nearly all of them.

    The copy is made before each batch, and what changed is added to the shared rows after it.
    """

    rows: NDArray[np.float32]  # (2 * W * width,)
    local: NDArray[np.float32]  # (2 * W * width,)
    kept: NDArray[np.float32]  # (2 * W * width,), as they were copied
    places: NDArray[np.int64]  # (2 * W,), in `local`, of a window's contexts
    mean: NDArray[np.float32]  # (width,)
    alone: tuple[NDArray[np.int64], NDArray[np.float32]]  # of the mean: place 0, weight 1

    @classmethod
    def of(cls, rows: NDArray[np.float32], width: int) -> Self:
        """Over shared rows."""
        alone = (np.zeros(1, np.int64), np.ones(1, np.float32))
        return cls(
            rows, aligned(rows.size), aligned(rows.size), aligned(rows.size // width, np.int64), aligned(width), alone
        )  # fmt: skip


@kernel_part
def weigh(rows, contexts, weights, n, positions, width):
    """positions.mean = the sum of n contexts' rows times their positions' rows times their weights."""
    zero = splat(np.float32(0))
    for d in range(0, width, WIDTH):
        v = zero
        for c in range(n):
            scaled = fma(splat(weights[c]), load(positions.local, positions.places[c] + d), zero)
            v = fma(scaled, load(rows, contexts[c] + d), v)
        store(positions.mean, d, v)


@kernel_part
def hand_back(rows, contexts, n, positions, gradient, share, width):
    """Give each context and its position what is theirs of the mean's gradient, times share."""
    part, zero = splat(share), splat(np.float32(0))
    for d in range(0, width, WIDTH):
        v = fma(part, load(gradient, d), zero)
        for c in range(n):
            u, p = load(rows, contexts[c] + d), load(positions.local, positions.places[c] + d)
            store(rows, contexts[c] + d, fma(v, p, u))
            store(positions.local, positions.places[c] + d, fma(v, u, p))


@kernel_part
def train_window_by_position(i, batch, rows, positions, scratch, plan, rate, told, sums):
    """As train_window, for CBOW with position weights."""
    width, contexts, weights = plan.width, scratch.contexts, scratch.weights
    first, left, right = np.int64(batch.firsts[i]), np.int64(batch.lefts[i]), np.int64(batch.rights[i])
    composed = rows.starts.size > 1
    local = scratch.local if composed else rows.inputs
    if right - left < 2:
        return
    sets = (right - left - 1 + plan.share - 1) // plan.share
    groups = (np.int64(batch.firsts[i + 1]) - first) // sets
    j = left
    while j < right:
        n, parts = 0, np.float32(0)
        while n < plan.share and j < right:
            if j != i:
                contexts[n] = np.int64(batch.rows[j]) * width
                positions.places[n] = (plan.window + j - i - (1 if j > i else 0)) * width
                weights[n] = rows.sizes[batch.words[j]] if composed else np.float32(1)
                parts += weights[n]
                n += 1
            j += 1
        if n == 0:
            break
        for c in range(n):
            weights[c] = weights[c] / parts
        weigh(local, contexts, weights, n, positions, width)
        train_mean(
            positions.mean, positions.alone[0], positions.alone[1], 1, rows.outputs, batch.targets, first,
            first + groups, batch.patterns, width, rate, np.float32(1), scratch.hidden, scratch.gradient,
            scratch.errors,
        )  # fmt: skip
        share = np.float32(1) if plan.whole_gradient else np.float32(1) / np.float32(n)
        hand_back(local, contexts, n, positions, scratch.gradient, share, width)
        if told:
            add_loss(scratch.errors, 16 * groups, GROUP, rate, sums)
            sums[1] += 1
        first += groups


@kernel
def train_batch_by_position(batch, n, rows, positions, scratch, plan, rate, sums):
    """As train_batch, for CBOW with position weights."""
    for d in range(0, positions.rows.size, WIDTH):
        store(positions.local, d, load(positions.rows, d))
        store(positions.kept, d, load(positions.rows, d))
    count = begin_batch(batch, n, rows, scratch, plan.width)
    for i in range(-AHEAD, n):
        if i + AHEAD < n:
            fetch_window(i + AHEAD, batch, rows, plan.width)
        if i >= 0:
            train_window_by_position(i, batch, rows, positions, scratch, plan, rate, i % LOSS_EVERY == 0, sums)
    end_batch(count, rows, scratch, plan.width)
    minus, one = splat(np.float32(-1)), splat(np.float32(1))
    for d in range(0, positions.rows.size, WIDTH):
        change = fma(load(positions.kept, d), minus, load(positions.local, d))
        store(positions.rows, d, fma(change, one, load(positions.rows, d)))


@kernel
def train_stream_by_position(
    stream, position, end, chances, batch, rows, positions, scratch, plan, schedule, random, sums
):  # fmt: skip
    """As train_stream, for CBOW with position weights; `touched` has their rows last."""
    while position[0] < end:
        n = draw_batch(stream, position, end, chances, batch, random)
        rate = np.float32(schedule[0] * max(1e-4, 1 - (schedule[1] + position[0]) / schedule[2]))
        train_batch_by_position(batch, n, rows, positions, scratch, plan, rate, sums)
        if scratch.touched.size > 0:
            mark_touched(batch, n, rows, scratch.touched, rows.inputs.size // plan.width)
            for k in range(positions.rows.size // plan.width):
                scratch.touched[scratch.touched.size - 1 - k] = 1
