"""Skip-gram and CBOW on a GPU: the steps of kernels/word_vectors.py, a warp for each sentence in flight.

After FULL-W2V (Randall et al., "FULL-W2V: Fully Exploiting Data Reuse for W2V on GPU-Accelerated Systems", arXiv
2312.07743): a word's output rows are in registers while its window is trained, and the rows of the window are in a ring
in shared memory while the window passes over them, so that each comes and goes once. A row's columns are spread over
the lanes. What has changed is added to the table by atomic additions, so that no sentence's work is lost.

With one sentence in flight this is what the CPU's kernels do, draw by draw and step by step.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import cuda, float32, int32, int64

from wildsage.algorithms.blazingtext.cuda.draws import (
    FRESH,
    LAST,
    SLOT,
    TIMES,
    draw_batch,
    find_same,
    number_words,
    place_in_ring,
)
from wildsage.algorithms.blazingtext.cuda.lanes import GATHERED, LANES, add_up, columns_of, entry, part
from wildsage.algorithms.blazingtext.kernels.random import GROUP
from wildsage.algorithms.blazingtext.kernels.skipgram import HIGHEST_SCORE
from wildsage.algorithms.blazingtext.kernels.word_vectors import LOSS_EVERY

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAIR = 2 * GROUP  # scores of two contexts


class Text(NamedTuple):
    """The stream and where each of B blocks is in its part of it. On the device."""

    stream: NDArray[np.int32]  # words and line ends
    begins: NDArray[np.int64]  # (B + 1,), of each block's part
    positions: NDArray[np.int64]  # (B,), within its part
    ends: NDArray[np.int64]  # (B,), where this launch is to stop
    random: NDArray[np.uint64]  # (B,)


class Steps(NamedTuple):
    """How words are trained."""

    rate: float
    epoch: int
    epochs: int
    share: float  # of the gradient, that each context takes in CBOW; 0: one over the contexts


def shared_bytes(width: int, window: int) -> int:
    """What a block keeps in shared memory, at most."""
    scores = max(PAIR * (window + 1), GATHERED)
    return 4 * ((2 * window + 1) * (LANES * columns_of(width) + 1) + scores) + 64


@part
def step(score, label, rate):
    """kernels/skipgram.py, `steps`, for one score: rate * (label - sigmoid(score))."""
    sign = np.float32(-1) if label else np.float32(1)
    x = np.float32(0.5) * sign * score
    if x < np.float32(-HIGHEST_SCORE / 2):
        x = np.float32(-HIGHEST_SCORE / 2)
    if x > np.float32(HIGHEST_SCORE / 2):
        x = np.float32(HIGHEST_SCORE / 2)
    y = x * x
    p = x * (y * (y * (y + np.float32(378)) + np.float32(17325)) + np.float32(135135))
    q = y * (y * (np.float32(28) * y + np.float32(3150)) + np.float32(62370)) + np.float32(135135)
    return np.float32(-0.5) * rate * sign * (np.float32(1) + p / q)


@part
def loss_of(error, rate):
    """-log(1 - |error| / rate); not a number if the error is none."""
    wrong = abs(error) / rate
    return -math.log(max(np.float32(1) - wrong, np.float32(1e-7))) if wrong == wrong else wrong


@part
def times_of(pattern, k):
    """How often row k of a group is trained."""
    return (pattern >> (TIMES + 3 * k)) & 7


@lru_cache(maxsize=16)
def make_kernel(width: int, window: int, *, cbow: bool, composed: bool) -> Any:
    """A kernel for rows of `width` floats: registers and shared memory need sizes that are known when it is compiled.

    It takes a Text, the Chances, the Rows, their Shares and a Workspace, all on the device, Steps, and sums: float64
    (B, 2), to which it adds loss and examples. A block is one warp. composed: whether words have several rows.
    """
    columns = columns_of(width)
    stride, ring_size = LANES * columns, 2 * window + 1
    ring_floats, errors_size, group_floats = ring_size * stride, max(PAIR * (window + 1), GATHERED), GROUP * columns

    @part
    def load_row(table, row, out, at, lane):
        for c in range(columns):
            d = lane + LANES * c
            out[at + c] = table[row * width + d] if d < width else np.float32(0)

    @part
    def come(rows, work, b, j, ring, lane):
        """Take position j's row into the ring, if it is not there yet."""
        place = work.slots[b, j]
        if place & FRESH:
            base, word = (place & SLOT) * stride, int64(work.words[b, j])
            for c in range(columns):
                d = lane + LANES * c
                value = np.float32(0)
                if d < width:
                    if composed:
                        value = work.local[b, work.rows[b, j] * width + d]
                    else:
                        value = rows.inputs[word * width + d]
                        work.kept[b, base + d] = value
                ring[base + d] = value

    @part
    def go(rows, shares, work, b, j, ring, lane):
        """Bring back position j's row, if no later one in the ring has its word."""
        place = work.slots[b, j]
        if place & LAST:
            base, word = (place & SLOT) * stride, int64(work.words[b, j])
            for c in range(columns):
                d = lane + LANES * c
                if d < width:
                    if composed:
                        work.local[b, work.rows[b, j] * width + d] = ring[base + d]
                    else:
                        change = (ring[base + d] - work.kept[b, base + d]) * shares.inputs[word]
                        cuda.atomic.add(rows.inputs, word * width + d, change)

    @part
    def take_outputs(outputs, work, b, g, pattern, p, before, lane):
        for k in range(GROUP):
            row = int64(work.targets[b, g * GROUP + k]) if times_of(pattern, k) else int64(-1)
            for c in range(columns):
                d = lane + LANES * c
                value = np.float32(0)
                if row >= 0 and d < width:
                    value = outputs[row * width + d]
                p[k * columns + c] = value
                before[k * columns + c] = value

    @part
    def give_outputs(outputs, shares, work, b, g, pattern, p, before, lane):
        for k in range(GROUP):
            if times_of(pattern, k):
                row = int64(work.targets[b, g * GROUP + k])
                share = shares.outputs[row]
                for c in range(columns):
                    d = lane + LANES * c
                    if d < width:
                        change = (p[k * columns + c] - before[k * columns + c]) * share
                        cuda.atomic.add(outputs, row * width + d, change)

    @part
    def most_times(pattern):
        most = 1
        for k in range(GROUP):
            most = max(most, times_of(pattern, k))
        return most

    @part
    def base_of(work, b, i, left, number):
        """Where the ring has context `number` of word i, whose window begins at `left`: the word itself is none."""
        j = left + number
        if j >= i:
            j += 1
        return (work.slots[b, j] & SLOT) * stride

    @part
    def train_contexts(outputs, shares, work, b, i, left, n, g, rate, told, ring, errors, lane):
        """kernels/skipgram.py, `train_contexts`, on contexts left..left + n; returns the loss of this lane's scores."""
        pattern = work.patterns[b, g]
        p, before = cuda.local.array(group_floats, float32), cuda.local.array(group_floats, float32)
        x, y = cuda.local.array(columns, float32), cuda.local.array(columns, float32)
        v, w = cuda.local.array(columns, float32), cuda.local.array(columns, float32)
        sums = cuda.local.array(GATHERED, float32)
        take_outputs(outputs, work, b, g, pattern, p, before, lane)
        pairs = (n + 1) // 2
        for q in range(pairs):
            one = base_of(work, b, i, left, 2 * q)
            two = base_of(work, b, i, left, min(2 * q + 1, n - 1))
            for k in range(GATHERED):
                sums[k] = np.float32(0)
            for c in range(columns):
                x[c] = ring[one + lane + LANES * c]
                y[c] = ring[two + lane + LANES * c]
                for k in range(GROUP):
                    sums[k] += x[c] * p[k * columns + c]
                    sums[GROUP + k] += y[c] * p[k * columns + c]
            add_up(sums, PAIR, lane, errors, PAIR * q)
        cuda.syncthreads()
        loss = np.float32(0)
        for s in range(lane, PAIR * pairs, LANES):
            k = s % GROUP
            times = times_of(pattern, k)
            error = np.float32(0)
            if times > 0 and s // GROUP < n:
                error = step(errors[s], (pattern >> k) & 1, rate)
                if told:
                    loss += np.float32(times) * loss_of(error, rate)
            errors[s] = error
        cuda.syncthreads()
        repeats = most_times(pattern)
        for q in range(pairs):
            one = base_of(work, b, i, left, 2 * q)
            two = base_of(work, b, i, left, min(2 * q + 1, n - 1))
            for c in range(columns):
                x[c] = ring[one + lane + LANES * c]
                y[c] = ring[two + lane + LANES * c]
                v[c] = x[c]
                w[c] = y[c]
            for time in range(repeats):
                for k in range(GROUP):
                    if times_of(pattern, k) > time:
                        e, h = errors[PAIR * q + k], errors[PAIR * q + GROUP + k]
                        for c in range(columns):
                            value = p[k * columns + c]
                            v[c] += e * value
                            w[c] += h * value
                            p[k * columns + c] = value + e * x[c] + h * y[c]
            for c in range(columns):
                ring[two + lane + LANES * c] = w[c]
                ring[one + lane + LANES * c] = v[c]
        give_outputs(outputs, shares, work, b, g, pattern, p, before, lane)
        cuda.syncthreads()
        return loss

    @part
    def train_mean(rows, shares, work, b, i, left, n, first, last, rate, share, told, ring, errors, lane):
        """kernels/cbow.py, `train_mean`, on contexts left..left + n; returns the loss of this lane's scores."""
        p, before = cuda.local.array(group_floats, float32), cuda.local.array(group_floats, float32)
        hidden, gradient = cuda.local.array(columns, float32), cuda.local.array(columns, float32)
        sums = cuda.local.array(GATHERED, float32)
        whole = np.float32(n)
        if composed:
            whole = np.float32(0)
            for number in range(n):
                j = left + number
                whole += rows.sizes[work.words[b, j + 1 if j >= i else j]]
        for c in range(columns):
            hidden[c] = np.float32(0)
            gradient[c] = np.float32(0)
        for number in range(n):
            weight, base = np.float32(1) / whole, base_of(work, b, i, left, number)
            if composed:
                j = left + number
                weight = rows.sizes[work.words[b, j + 1 if j >= i else j]] / whole
            for c in range(columns):
                hidden[c] += weight * ring[base + lane + LANES * c]
        loss = np.float32(0)
        for g in range(first, last):
            pattern = work.patterns[b, g]
            take_outputs(rows.outputs, work, b, g, pattern, p, before, lane)
            for k in range(GATHERED):
                sums[k] = np.float32(0)
            for c in range(columns):
                for k in range(GROUP):
                    sums[k] += hidden[c] * p[k * columns + c]
            add_up(sums, GROUP, lane, errors, 0)
            cuda.syncthreads()
            for k in range(lane, GROUP, LANES):
                times = times_of(pattern, k)
                error = np.float32(0)
                if times > 0:
                    error = step(errors[k], (pattern >> k) & 1, rate)
                    if told:
                        loss += np.float32(times) * loss_of(error, rate)
                errors[k] = error
            cuda.syncthreads()
            for time in range(most_times(pattern)):
                for k in range(GROUP):
                    if times_of(pattern, k) > time:
                        e = errors[k]
                        for c in range(columns):
                            value = p[k * columns + c]
                            gradient[c] += e * value
                            p[k * columns + c] = value + e * hidden[c]
            give_outputs(rows.outputs, shares, work, b, g, pattern, p, before, lane)
            cuda.syncthreads()
        taken = share if share > 0 else np.float32(1) / np.float32(n)
        for number in range(n):
            base = base_of(work, b, i, left, number)
            for c in range(columns):
                ring[base + lane + LANES * c] += taken * gradient[c]
        return loss

    @part
    def compose(rows, work, b, count, lane):
        """kernels/subwords.py, `compose_batch`, for the distinct words."""
        for number in range(count):
            word = work.distinct[b, number]
            share = np.float32(1) / rows.sizes[word]
            for c in range(columns):
                d = lane + LANES * c
                if d < width:
                    value = np.float32(0)
                    for k in range(rows.starts[word], rows.starts[word + 1]):
                        value += rows.inputs[int64(rows.lists[k]) * width + d] * rows.weights[k]
                    work.local[b, number * width + d] = value * share
                    work.composed[b, number * width + d] = value * share

    @part
    def scatter(rows, shares, work, b, count, lane):
        """kernels/subwords.py, `scatter_batch`."""
        for number in range(count):
            word = work.distinct[b, number]
            for c in range(columns):
                d = lane + LANES * c
                if d < width:
                    change = work.local[b, number * width + d] - work.composed[b, number * width + d]
                    for k in range(rows.starts[word], rows.starts[word + 1]):
                        row = int64(rows.lists[k])
                        cuda.atomic.add(rows.inputs, row * width + d, change * shares.inputs[row])

    @part
    def train_word(i, rows, shares, work, b, chances, rate, share, ring, errors, lane, examples):
        """kernels/word_vectors.py, `train_window`, for position i; returns the loss. examples: int32 (1,), added to."""
        left = work.lefts[b, i]
        count, first, told = work.rights[b, i] - left - 1, work.firsts[b, i], i % LOSS_EVERY == 0
        loss = np.float32(0)
        if count > 0:
            sets = (count + chances.share - 1) // chances.share
            groups = (work.firsts[b, i + 1] - first) // sets
            for begun in range(0, count, chances.share):
                n = min(chances.share, count - begun)
                if cbow:
                    loss += train_mean(
                        rows,
                        shares,
                        work,
                        b,
                        i,
                        left + begun,
                        n,
                        first,
                        first + groups,
                        rate,
                        share,
                        told,
                        ring,
                        errors,
                        lane,
                    )
                    examples[0] += 1 if told else 0
                else:
                    for g in range(first, first + groups):
                        loss += train_contexts(
                            rows.outputs, shares, work, b, i, left + begun, n, g, rate, told, ring, errors, lane
                        )
                    examples[0] += n if told else 0
                first += groups
        return loss

    @entry
    def train_words(text, chances, rows, shares, work, steps, sums):
        b, lane = cuda.blockIdx.x, cuda.threadIdx.x
        ring = cuda.shared.array(ring_floats, float32)
        errors = cuda.shared.array(errors_size, float32)
        free = cuda.shared.array(ring_size, int32)
        counts = cuda.shared.array(2, int64)
        examples = cuda.local.array(1, int64)
        examples[0] = 0
        begin, end = text.begins[b], text.ends[b]
        size = text.begins[b + 1] - begin
        position, loss = text.positions[b], 0.0
        cuda.syncthreads()  # the first lane is about to change what the others read here
        while position < end:
            if lane == 0:
                n, at, state = draw_batch(text.stream, begin, position, end, chances, work, b, text.random[b])
                text.positions[b] = at
                text.random[b] = state
                counts[0] = n
            cuda.syncthreads()
            n, position = counts[0], text.positions[b]
            find_same(work.words, work.slots, b, n, ring_size - 1, lane)
            if composed:
                find_same(work.words, work.rows, b, n, n, lane)
            cuda.syncthreads()
            if lane == 0:
                place_in_ring(work.slots, b, n, ring_size, free)
                if composed:
                    counts[1] = number_words(work, b, n)
            cuda.syncthreads()
            if composed:
                compose(rows, work, b, counts[1], lane)
            done = (steps.epoch * size + position) / (steps.epochs * size)
            rate = np.float32(steps.rate * max(1e-4, 1 - done))
            for i in range(-window, n + window + 1):
                if i > window:
                    go(rows, shares, work, b, i - window - 1, ring, lane)
                if i + window < n:
                    come(rows, work, b, i + window, ring, lane)
                if i >= 0 and i < n:
                    loss += train_word(
                        i, rows, shares, work, b, chances, rate, np.float32(steps.share), ring, errors, lane, examples
                    )
            if composed:
                scatter(rows, shares, work, b, counts[1], lane)
            cuda.syncthreads()
        cuda.atomic.add(sums, (b, 0), loss)
        if lane == 0:
            cuda.atomic.add(sums, (b, 1), float(examples[0]))

    return train_words
