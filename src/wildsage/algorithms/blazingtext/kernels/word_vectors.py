"""The loop of word-vector training: draw a batch of words, fetch their rows ahead, train each word's window.

Rows are float32, flat, each padded with zeros to `width`, a multiple of 16. Threads share them and write without locks
(Hogwild, Niu et al. 2011). The negatives of a word are shared by its window (Ji et al., "Parallelizing Word2Vec in
Shared and Distributed Memory", arXiv 1604.04661), which leaves the number of products and saves the traffic of rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wildsage.algorithms.blazingtext.kernels.cbow import train_mean
from wildsage.algorithms.blazingtext.kernels.random import GROUP, draw_batch
from wildsage.algorithms.blazingtext.kernels.skipgram import train_contexts
from wildsage.algorithms.blazingtext.kernels.subwords import compose_batch, scatter_batch
from wildsage.kernels.kernel import kernel, kernel_part
from wildsage.kernels.vector import WIDTH, fma, load, prefetch_far, splat, store

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Words between the fetch of rows and their use. With 2, too few for what comes from the third level, CBOW took 1.17
# times as long.
AHEAD = 16
LINE = 16  # floats of a cache line
LOSS_EVERY = 16  # words; the loss is the mean over these


class Rows(NamedTuple):
    """What is learnt. V words, R rows of n-grams' buckets. Without subwords `starts` has one entry and R is 0."""

    inputs: NDArray[np.float32]  # ((V + R) * width,), words first
    outputs: NDArray[np.float32]  # (V * width,)
    starts: NDArray[np.int64]  # (V + 1,), places in `lists` of each word's input rows
    lists: NDArray[np.int32]  # input rows
    weights: NDArray[np.float32]  # of each entry of `lists`
    sizes: NDArray[np.float32]  # (V,), the sum of each word's weights
    # The thread's own copies of the rows of the first `hot` words, the commonest: how many rows behind theirs they lie.
    # With subwords, `lists` has the copies of the commonest rows instead of these.
    hot: int = 0
    hot_inputs: int = 0
    hot_outputs: int = 0


class Scratch(NamedTuple):
    """A thread's own. W is the window, B what a batch has room for; the last four are empty without subwords."""

    contexts: NDArray[np.int64]  # (2 * W + 1,)
    weights: NDArray[np.float32]  # (2 * W + 1,)
    errors: NDArray[np.float32]  # (16 * the larger of W + 1 and the groups of a word,)
    hidden: NDArray[np.float32]  # (width,)
    gradient: NDArray[np.float32]  # (width,)
    touched: NDArray[np.uint8]  # (V + R + V,), set to 1 for rows that change, inputs first; or empty
    local: NDArray[np.float32]  # (B * width,), the batch's composed words
    kept: NDArray[np.float32]  # (B * width,), as they were composed
    distinct: NDArray[np.int32]  # (B,), the word of each
    slots: NDArray[np.int32]  # (V,), all -1


class Plan(NamedTuple):
    """How words are trained."""

    cbow: bool
    window: int
    share: int  # contexts that share negatives
    whole_gradient: bool  # in CBOW: whether each context takes the gradient whole, or its share of it
    width: int


@kernel_part
def fetch(rows, row, width):
    """Ask for the cache lines of a row, in the second level: those of so many words would fill the first."""
    at = np.int64(row) * width
    for d in range(0, width, LINE):
        prefetch_far(rows, at + d)


@kernel
def add_loss(errors, count, lanes, rate, sums):
    """Add -log(1 - |error| / rate) of the first `lanes` of each 16 of errors[:count] to sums[0]."""
    loss = 0.0
    for k in range(count):
        if k % 16 < lanes:
            wrong = np.float64(abs(errors[k]) / rate)
            loss -= np.log(max(1 - wrong, 1e-7)) if wrong == wrong else -wrong
    sums[0] += loss


@kernel_part
def train_window(i, batch, rows, scratch, plan, rate, told, sums):
    """Train word i of a batch and its contexts; with subwords, those composed in scratch.local.

    told: whether to add the loss to sums[0], and to sums[1] the examples: contexts, or in CBOW 1.
    """
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
                if composed:
                    weights[n] = rows.sizes[batch.words[j]]
                    parts += weights[n]
                n += 1
            j += 1
        if n == 0:
            break
        if plan.cbow:
            for c in range(n):
                weights[c] = weights[c] / parts if composed else np.float32(1) / np.float32(n)
            share = np.float32(1) if plan.whole_gradient else np.float32(1) / np.float32(n)
            train_mean(
                local, contexts, weights, n, rows.outputs, batch.targets, first, first + groups, batch.patterns, width,
                rate, share, scratch.hidden, scratch.gradient, scratch.errors,
            )  # fmt: skip
            if told:
                add_loss(scratch.errors, 16 * groups, GROUP, rate, sums)
                sums[1] += 1
        else:
            for g in range(first, first + groups):
                train_contexts(
                    local, contexts, n, rows.outputs, batch.targets, g, np.int64(batch.patterns[g]), width, rate,
                    scratch.errors,
                )  # fmt: skip
                if told:
                    add_loss(scratch.errors, 8 * n + 8 * (n % 2), 2 * GROUP, rate, sums)
            if told:
                sums[1] += n
        first += groups


@kernel_part
def begin_batch(batch, n, rows, scratch, width):
    """With subwords, compose the batch's words in scratch.local. Returns how many distinct ones there are."""
    if rows.starts.size <= 1:
        return 0
    return compose_batch(
        batch.words, n, rows.inputs, rows.starts, rows.lists, rows.weights, rows.sizes, width, batch.rows,
        scratch.slots, scratch.distinct, scratch.local, scratch.kept,
    )  # fmt: skip


@kernel_part
def fetch_window(i, batch, rows, width):
    """Ask for the rows that word i of a batch brings with it; with subwords, inputs are at hand already."""
    if rows.starts.size <= 1:
        fetch(rows.inputs, batch.rows[i], width)
    for k in range(GROUP * np.int64(batch.firsts[i]), GROUP * np.int64(batch.firsts[i + 1])):
        fetch(rows.outputs, batch.targets[k], width)


@kernel_part
def end_batch(count, rows, scratch, width):
    """With subwords, give what the `count` distinct words have changed by to their rows."""
    if rows.starts.size > 1:
        scatter_batch(
            scratch.distinct, count, rows.inputs, rows.starts, rows.lists, width, scratch.slots, scratch.local,
            scratch.kept,
        )  # fmt: skip


@kernel
def train_batch(batch, n, rows, scratch, plan, rate, sums):
    """Train the n words of a batch, in order."""
    count = begin_batch(batch, n, rows, scratch, plan.width)
    for i in range(-AHEAD, n):
        if i + AHEAD < n:
            fetch_window(i + AHEAD, batch, rows, plan.width)
        if i >= 0:
            train_window(i, batch, rows, scratch, plan, rate, i % LOSS_EVERY == 0, sums)
    end_batch(count, rows, scratch, plan.width)


@kernel
def mark_touched(batch, n, rows, touched, input_rows):
    """Set touched to 1 for all rows that a batch may change; output rows come behind the input_rows."""
    for i in range(n):
        word = batch.words[i]
        touched[word] = 1
        if rows.starts.size > 1:
            for k in range(rows.starts[word], rows.starts[word + 1]):
                touched[rows.lists[k]] = 1
    for k in range(GROUP * np.int64(batch.firsts[n])):
        touched[input_rows + np.int64(batch.targets[k])] = 1


@kernel
def point_to_copies(batch, n, rows):
    """Let a batch be trained on the thread's own copies, where there are any. With subwords, inputs have none."""
    for k in range(GROUP * np.int64(batch.firsts[n])):
        if batch.targets[k] < rows.hot:
            batch.targets[k] += rows.hot_outputs
    if rows.starts.size <= 1:
        for i in range(n):
            word = batch.words[i]
            batch.rows[i] = word + rows.hot_inputs if word < rows.hot else word


@kernel
def exchange(table, rows, own, kept, width):
    """Add to `rows` of `table` what `own` has changed by since it was `kept`, and take over what others did.

    table: float32 (R * width,). rows: int32 (n,). own, kept: float32 (n * width,).
    """
    minus, one = splat(np.float32(-1)), splat(np.float32(1))
    for k in range(rows.size):
        at = np.int64(rows[k]) * width
        for d in range(0, width, WIDTH):
            value = fma(fma(load(kept, k * width + d), minus, load(own, k * width + d)), one, load(table, at + d))
            store(table, at + d, value)
            store(own, k * width + d, value)
            store(kept, k * width + d, value)


@kernel
def train_stream(stream, position, end, chances, batch, rows, scratch, plan, schedule, random, sums):
    """Train on stream[position[0]:end], batch by batch.

    stream: int32, words and line ends. position: int64 (1,), moved on. schedule: float64 (3,), the learning rate, the
    tokens that this part has done before its first one, and those that it will do in all epochs; the rate falls from
    batch to batch, to 1e-4 of itself. random: uint64 (1,), not 0. sums: float64 (2,), loss and examples are added.
    """
    while position[0] < end:
        n = draw_batch(stream, position, end, chances, batch, random)
        if rows.hot > 0:
            point_to_copies(batch, n, rows)
        rate = np.float32(schedule[0] * max(1e-4, 1 - (schedule[1] + position[0]) / schedule[2]))
        train_batch(batch, n, rows, scratch, plan, rate, sums)
        if scratch.touched.size > 0:
            mark_touched(batch, n, rows, scratch.touched, rows.inputs.size // plan.width)


@kernel
def merge_copies(base, copies, threads, touched, width, begin, end):
    """Add what each thread changed in rows begin..end to `base`, in order of threads, and hand it to all of them.

    base: float32 (rows * width,). copies: float32 (threads * rows * width,), changed. touched: uint8 (threads, rows),
    reset.
    """
    minus, one = splat(np.float32(-1)), splat(np.float32(1))
    for row in range(begin, end):
        changed = False
        for t in range(threads):
            if touched[t, row]:
                changed = True
                touched[t, row] = 0
        if changed:
            for d in range(row * width, row * width + width, WIDTH):
                value = load(base, d)
                merged = value
                for t in range(threads):
                    merged = fma(fma(value, minus, load(copies, t * base.size + d)), one, merged)
                store(base, d, merged)
                for t in range(threads):
                    store(copies, t * base.size + d, merged)


@kernel
def write_stream(tokens, kinds, stream, at):
    """Append tokens, int32 numbers of words, to `stream` as kinds[token], but for those below END_OF_LINE: no words."""
    for k in range(tokens.size):
        kind = kinds[tokens[k]]
        if kind >= -1:
            stream[at] = kind
            at += 1
    return at
