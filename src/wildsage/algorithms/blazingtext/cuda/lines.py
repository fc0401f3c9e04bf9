"""Text classification on a GPU: the steps of kernels/supervised.py, a block for each line in flight.

A row's columns are spread over the lanes of a warp; a line's entries, and the output rows, over the block's warps. What
changes is added to the rows by atomic additions. With one line in flight this is what the CPU's kernels do, draw by
draw and step by step, but for the order in which the entries of a line are summed.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import cuda, float32, int64

from wildsage.algorithms.blazingtext.cuda.draws import advance, draw_word
from wildsage.algorithms.blazingtext.cuda.lanes import (
    LANES,
    WARPS,
    columns_of,
    entry,
    part,
    warp_highest,
    warp_total,
)
from wildsage.algorithms.blazingtext.kernels.predict import HIERARCHICAL, NEGATIVE, ONE_VS_ALL, SOFTMAX

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST = np.float32(1e-5)  # added to a probability before its logarithm is taken
FARTHEST = np.float32(80)  # a score; exp of it is still a float32


class Places(NamedTuple):
    """Where each of B blocks is. On the device."""

    begins: NDArray[np.int64]  # (B + 1,), lines of each block's part
    lines: NDArray[np.int64]  # (B,), done of its part
    ends: NDArray[np.int64]  # (B,), where this launch is to stop
    random: NDArray[np.uint64]  # (B,)
    scores: NDArray[np.float32]  # (B, C) with softmax
    targets: NDArray[np.int64]  # (B, 1 + negatives) with negative sampling


class Steps(NamedTuple):
    """How lines are trained."""

    rate: float
    epoch: int
    epochs: int


def shared_bytes(width: int) -> int:
    """What a block keeps in shared memory."""
    return 4 * WARPS * LANES * columns_of(width) + 64


@lru_cache(maxsize=16)
def make_kernel(width: int, kind: int) -> Any:
    """A kernel for rows of `width` floats and a loss, by fastText's code.

    It takes Lines and the Loss, all on the device, the table, the output rows and their Shares, Places, Steps, and
    sums: float64 (B, 2), to which it adds loss and steps. A block is WARPS warps.
    """
    columns = columns_of(width)
    stride = LANES * columns
    partial_floats = WARPS * stride

    @part
    def dot(hidden, rows, at, lane):
        value = np.float32(0)
        for c in range(columns):
            d = lane + LANES * c
            if d < width:
                value += hidden[c] * rows[at + d]
        return value

    @part
    def share(values, partial, warp, lane):
        """Replace each lane's values, one for each of its columns, by their sums over the warps."""
        for c in range(columns):
            partial[warp * stride + LANES * c + lane] = values[c]
        cuda.syncthreads()
        for c in range(columns):
            value = np.float32(0)
            for other in range(WARPS):
                value += partial[other * stride + LANES * c + lane]
            values[c] = value
        cuda.syncthreads()

    @part
    def learn(hidden, gradient, output, shares, row, positive, mine, rate, lane):
        """kernels/supervised.py, `learn_binary`, for a row that this warp may have (`mine`); returns the loss."""
        at, value = row * width, np.float32(0)
        if mine:
            value = dot(hidden, output, at, lane)
        score = warp_total(value)
        if score > FARTHEST:
            score = FARTHEST
        if score < -FARTHEST:
            score = -FARTHEST
        probability = np.float32(1) / (np.float32(1) + np.float32(math.exp(-score)))
        loss = np.float32(0)
        if mine:
            step = rate * ((np.float32(1) if positive else np.float32(0)) - probability)
            taken = step * shares.outputs[row]
            for c in range(columns):
                d = lane + LANES * c
                if d < width:
                    gradient[c] += step * output[at + d]
                    cuda.atomic.add(output, at + d, taken * hidden[c])
            loss = -np.float32(math.log((probability if positive else np.float32(1) - probability) + LEAST))
        return loss

    @part
    def learn_softmax(hidden, gradient, output, shares, scores, b, classes, label, rate, warp, lane):
        """kernels/supervised.py, `learn_softmax`; all warps return the loss."""
        for first in range(0, classes, WARPS):
            row, value = first + warp, np.float32(0)
            if row < classes:
                value = dot(hidden, output, row * width, lane)
            value = warp_total(value)
            if row < classes and lane == 0:
                scores[b, row] = value
        cuda.syncthreads()
        highest, norm = scores[b, 0], np.float32(0)
        for c in range(lane, classes, LANES):
            highest = max(highest, scores[b, c])
        highest = warp_highest(highest)
        for c in range(lane, classes, LANES):
            norm += np.float32(math.exp(scores[b, c] - highest))
        norm = warp_total(norm)
        for row in range(warp, classes, WARPS):
            probability = np.float32(math.exp(scores[b, row] - highest)) / norm
            step = rate * ((np.float32(1) if row == label else np.float32(0)) - probability)
            taken = step * shares.outputs[row]
            for c in range(columns):
                d = lane + LANES * c
                if d < width:
                    gradient[c] += step * output[row * width + d]
                    cuda.atomic.add(output, row * width + d, taken * hidden[c])
        return -np.float32(math.log(np.float32(math.exp(scores[b, label] - highest)) / norm + LEAST))

    @entry
    def train_lines(lines, loss, table, output, shares, places, steps, sums):
        b, warp, lane = cuda.blockIdx.x, cuda.threadIdx.x // LANES, cuda.threadIdx.x % LANES
        partial = cuda.shared.array(partial_floats, float32)
        chosen = cuda.shared.array(1, int64)
        hidden, gradient = cuda.local.array(columns, float32), cuda.local.array(columns, float32)
        begin = places.begins[b]
        before, tokens = lines.tokens[begin], lines.tokens[places.begins[b + 1]] - lines.tokens[begin]
        first, last = begin + places.lines[b], begin + places.ends[b]
        classes, negatives = output.size // width, 0
        state, total = places.random[b], 0.0
        if kind == NEGATIVE:
            negatives = loss.negatives
        for i in range(first, last):
            labels = lines.label_starts[i]
            named = lines.label_starts[i + 1] - labels
            if warp == 0 and lane == 0:
                state = advance(state)
                label = int64(lines.labels[labels + int64(state % np.uint64(named))])
                chosen[0] = label
                for t in range(negatives):
                    drawn = label
                    while drawn == label:
                        state = advance(state)
                        drawn = draw_word(loss.alias, state)
                    places.targets[b, t] = drawn
            done = (steps.epoch * tokens + lines.tokens[i] - before) / (steps.epochs * tokens)
            rate, inverse = np.float32(steps.rate * (1 - done)), lines.inverses[i]
            for c in range(columns):
                hidden[c] = np.float32(0)
                gradient[c] = np.float32(0)
            for k in range(lines.starts[i] + warp, lines.starts[i + 1], WARPS):
                at, weight = int64(lines.rows[k]) * width, lines.weights[k]
                for c in range(columns):
                    d = lane + LANES * c
                    if d < width:
                        hidden[c] += weight * table[at + d]
            share(hidden, partial, warp, lane)
            for c in range(columns):
                hidden[c] *= inverse
            label, line_loss = chosen[0], np.float32(0)
            if kind == SOFTMAX:
                line_loss = learn_softmax(
                    hidden, gradient, output, shares, places.scores, b, classes, label, rate, warp, lane
                )  # fmt: skip
                if warp > 0:
                    line_loss = np.float32(0)
            elif kind == HIERARCHICAL:
                for k in range(loss.path_starts[label], loss.path_starts[label + 1]):
                    row = int64(loss.path_nodes[k])
                    line_loss += learn(
                        hidden, gradient, output, shares, row, loss.path_sides[k] == 3, row % WARPS == warp, rate, lane
                    )
            elif kind == ONE_VS_ALL:
                for c in range(0, classes, WARPS):
                    row, yes = min(c + warp, classes - 1), False
                    for k in range(labels, labels + named):
                        yes = yes or lines.labels[k] == row
                    line_loss += learn(hidden, gradient, output, shares, row, yes, c + warp < classes, rate, lane)
            else:
                # Equal rows are with one warp, one after the other.
                line_loss += learn(hidden, gradient, output, shares, label, True, label % WARPS == warp, rate, lane)
                for t in range(negatives):
                    row = places.targets[b, t]
                    line_loss += learn(hidden, gradient, output, shares, row, False, row % WARPS == warp, rate, lane)
            share(gradient, partial, warp, lane)
            for k in range(lines.starts[i] + warp, lines.starts[i + 1], WARPS):
                row = int64(lines.rows[k])
                at, weight = row * width, lines.weights[k] * inverse * shares.inputs[row]
                for c in range(columns):
                    d = lane + LANES * c
                    if d < width:
                        cuda.atomic.add(table, at + d, weight * gradient[c])
            total += line_loss
            cuda.syncthreads()
        if lane == 0:
            cuda.atomic.add(sums, (b, 0), total)
            if warp == 0:
                places.lines[b] = places.ends[b]
                places.random[b] = state
                cuda.atomic.add(sums, (b, 1), float(last - first))

    return train_lines
