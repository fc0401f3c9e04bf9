"""Softmax regression on the mean of a line's rows, the rows learnt too: fastText's supervised mode, one line a step.

Rows are float32, flat, each padded with zeros to D, a multiple of 16 (alignment, and no remainders of vectors).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wildsage.algorithms.kernel import kernel
from wildsage.algorithms.vector import WIDTH, fma, load, prefetch, splat, store, total

if TYPE_CHECKING:
    from numpy.typing import NDArray

AHEAD = 128  # entries whose rows are fetched beforehand, across line ends: 1.35 to 1.06 s on 12 M features at dim 100
LINE = 16  # floats of a cache line


class Lines(NamedTuple):
    """Lines of text as sparse vectors; n lines."""

    rows: NDArray[np.int32]  # of each entry
    weights: NDArray[np.float32]  # of each entry
    starts: NDArray[np.int64]  # (n + 1,), entries before each line
    inverses: NDArray[np.float32]  # (n,), one over the line's features
    labels: NDArray[np.int32]  # -1: not known
    label_starts: NDArray[np.int64]  # (n + 1,), labels before each line
    tokens: NDArray[np.int64]  # (n + 1,), tokens of text before each line


class Output(NamedTuple):
    """The output rows, C * D floats, three times: alone, a thread has `own` is `shared`."""

    shared: NDArray[np.float32]
    own: NDArray[np.float32]  # what this thread works on
    seen: NDArray[np.float32]  # `shared` as last read by this thread


class Scratch(NamedTuple):
    hidden: NDArray[np.float32]  # (D,)
    gradient: NDArray[np.float32]  # (D,)
    scores: NDArray[np.float32]  # (C,)


@kernel
def initialise(table, width, rows, begin, end, dim, seed):
    """Fill the rows of the words begin..end: uniform between -1/dim and 1/dim.

    From a counter, so the same whichever thread does it. rows: int32, of each word; -1 none. Others stay as they are.
    """
    for word in range(begin, end):
        if rows[word] >= 0:
            for d in range(dim):
                # splitmix64's finaliser (Steele et al. 2014)
                x = (np.uint64(seed) << np.uint64(44)) ^ np.uint64(word * dim + d)
                x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
                x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
                x ^= x >> np.uint64(31)
                uniform = np.float32(np.int32(x & np.uint64(0xFFFFFFFF))) * np.float32(1 / 2147483648.0)
                table[np.int64(rows[word]) * width + d] = uniform / np.float32(dim)


@kernel
def gather(lines, i, table, width, hidden):
    """hidden = mean of the rows of line i. Rows of entries AHEAD, also of later lines, are fetched meanwhile.

    Bound by the memory that the rows come from; four rows a pass, since `hidden` is read and written once a pass.
    """
    rows, weights = lines.rows, lines.weights
    k, end = lines.starts[i], lines.starts[i + 1]
    last = lines.starts[lines.starts.size - 1]
    for d in range(0, width, WIDTH):
        store(hidden, d, splat(np.float32(0)))
    while k + 4 <= end:
        for later in range(k + AHEAD, min(k + AHEAD + 4, last)):
            row = np.int64(rows[later]) * width
            for d in range(0, width, LINE):
                prefetch(table, row + d)
        a, b = np.int64(rows[k]) * width, np.int64(rows[k + 1]) * width
        c, e = np.int64(rows[k + 2]) * width, np.int64(rows[k + 3]) * width
        for d in range(0, width, WIDTH):
            v = fma(splat(weights[k]), load(table, a + d), load(hidden, d))
            v = fma(splat(weights[k + 1]), load(table, b + d), v)
            v = fma(splat(weights[k + 2]), load(table, c + d), v)
            store(hidden, d, fma(splat(weights[k + 3]), load(table, e + d), v))
        k += 4
    while k < end:
        a = np.int64(rows[k]) * width
        for d in range(0, width, WIDTH):
            store(hidden, d, fma(splat(weights[k]), load(table, a + d), load(hidden, d)))
        k += 1
    inverse = splat(lines.inverses[i])
    for d in range(0, width, WIDTH):
        store(hidden, d, fma(inverse, load(hidden, d), splat(np.float32(0))))


@kernel
def score(hidden, output, row, width):
    """The dot product of `hidden` and an output row."""
    v = splat(np.float32(0))
    for d in range(0, width, WIDTH):
        v = fma(load(hidden, d), load(output, row * width + d), v)
    return total(v)


@kernel
def merge_output(output):
    """Add what this thread changed to the shared output rows, and take over what the others did."""
    shared, own, seen = output.shared, output.own, output.seen
    for d in range(shared.size):
        value = shared[d] + (own[d] - seen[d])
        shared[d] = value
        own[d] = value
        seen[d] = value


@kernel
def train_lines(lines, begin, end, table, output, scratch, width, schedule, random, sums, merge_every):
    """One step of gradient descent for each of the lines begin..end, in order.

    table: float32, input rows; threads share it and write without locks (Hogwild, Niu et al. 2011). schedule: float64
    (3,), learning rate, tokens that this part has done before its first line, tokens that it will do in all epochs; the
    rate falls to zero line by line. random: uint64 (1,), state that picks one label of a line with several, as fastText
    does. sums: float64 (2,), loss and steps, added to. merge_every: lines between two merges of the output rows, 0
    alone.
    Softmax and its gradient: facebookresearch/fastText, src/loss.cc (SoftmaxLoss) and src/model.cc (update).
    Bound by memory: an entry reads its row twice and writes it once.
    """
    hidden, gradient, scores = scratch.hidden, scratch.gradient, scratch.scores
    own, classes = output.own, scores.size
    state = random[0]
    loss, steps = 0.0, 0
    zero = splat(np.float32(0))
    for i in range(begin, end):
        named = lines.label_starts[i + 1] - lines.label_starts[i]
        choice = np.uint64(0)
        if named > 1:
            state ^= state << np.uint64(13)
            state ^= state >> np.uint64(7)
            state ^= state << np.uint64(17)
            choice = state % np.uint64(named)
        label = lines.labels[lines.label_starts[i] + np.int64(choice)]
        rate = np.float32(schedule[0] * (1 - (schedule[1] + lines.tokens[i]) / schedule[2]))
        gather(lines, i, table, width, hidden)
        highest = np.float32(-np.inf)
        for c in range(classes):
            scores[c] = score(hidden, own, c, width)
            highest = max(highest, scores[c])
        norm = np.float32(0)
        for c in range(classes):
            scores[c] = np.exp(scores[c] - highest)
            norm += scores[c]
        loss -= np.log(np.float64(scores[label] / norm) + 1e-5)
        steps += 1
        for d in range(0, width, WIDTH):
            store(gradient, d, zero)
        for c in range(classes):
            step = splat(rate * (np.float32(c == label) - scores[c] / norm))
            for d in range(0, width, WIDTH):
                row = load(own, c * width + d)
                store(gradient, d, fma(step, row, load(gradient, d)))
                store(own, c * width + d, fma(step, load(hidden, d), row))
        inverse = splat(lines.inverses[i])
        for d in range(0, width, WIDTH):
            store(gradient, d, fma(inverse, load(gradient, d), zero))
        for k in range(lines.starts[i], lines.starts[i + 1]):
            at = np.int64(lines.rows[k]) * width
            weight = splat(lines.weights[k])
            for d in range(0, width, WIDTH):
                store(table, at + d, fma(weight, load(gradient, d), load(table, at + d)))
        if merge_every > 0 and i % merge_every == 0:
            merge_output(output)
    random[0] = state
    sums[0] += loss
    sums[1] += steps


@kernel
def count_right(lines, begin, end, table, output, scratch, width):
    """How many of the lines begin..end have their best-scored label among their own. output: float32 (C * D,)."""
    right = 0
    for i in range(begin, end):
        gather(lines, i, table, width, scratch.hidden)
        best, highest = 0, np.float32(-np.inf)
        for c in range(scratch.scores.size):
            value = score(scratch.hidden, output, c, width)
            if value > highest:
                best, highest = c, value
        for k in range(lines.label_starts[i], lines.label_starts[i + 1]):
            if lines.labels[k] == best:
                right += 1
                break
    return right


@kernel
def collect_rows(table, width, rows, scales, dim, begin, end, out):
    """out[k] = table[rows[k]] * scales[k] for k in begin..end, zeros where rows[k] < 0. out: float32 (n * dim,)."""
    for k in range(begin, end):
        if rows[k] < 0:
            for d in range(dim):
                out[k * dim + d] = np.float32(0)
        else:
            at = np.int64(rows[k]) * width
            for d in range(dim):
                out[k * dim + d] = table[at + d] * scales[k]


@kernel
def place_rows(table, width, rows, dim, begin, end, given):
    """table[rows[k]] = given[k] for k in begin..end where rows[k] >= 0. given: float32 (n * dim,)."""
    for k in range(begin, end):
        if rows[k] >= 0:
            at = np.int64(rows[k]) * width
            for d in range(dim):
                table[at + d] = given[k * dim + d]
