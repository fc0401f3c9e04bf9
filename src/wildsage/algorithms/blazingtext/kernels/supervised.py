"""Classification of the mean of a line's rows, the rows learnt too: fastText's supervised mode, one line a step.

Rows are flat, each padded with zeros to D, a multiple of 16 (alignment, and no remainders of vectors): output rows
float32, input rows float32 or halves (kernels/vector.py), which are rounded at random, or what is small would be lost.
The four losses and their gradients: facebookresearch/fastText, src/loss.cc; the step: src/model.cc (update). Sigmoid
and logarithm are exact here, where fastText reads them from tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wildsage.algorithms.blazingtext.kernels.predict import (
    HIERARCHICAL,
    LEAST_SCORE,
    ONE_VS_ALL,
    SIGMOID_BINS,
    SIGMOID_REACH,
    SOFTMAX,
)
from wildsage.algorithms.blazingtext.kernels.random import advance, draw_word
from wildsage.kernels.kernel import kernel, kernel_part
from wildsage.kernels.vector import CACHE_LINE, NOISE, WIDTH, fma, load, prefetch, splat, store, store_rounded, total

if TYPE_CHECKING:
    from numpy.typing import NDArray

AHEAD = 128  # entries whose rows are fetched beforehand, across line ends: 1.35 to 1.06 s on 12 M features at dim 100
NOISES = 1024  # numbers that rounding at random takes its chances from, in ever new orders; they stay in the cache


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


class Loss(NamedTuple):
    """What is learnt from; C labels. What another loss needs is empty."""

    kind: int  # fastText's code
    path_starts: NDArray[np.int64]  # (C + 1,), HIERARCHICAL: inner nodes above the labels before each
    path_nodes: NDArray[np.int32]  # those of each label, from below; node n has output row n
    path_sides: NDArray[np.int32]  # 3 where the path leaves a node by its second child, else 2
    children: NDArray[np.int32]  # (2 * (C - 1),), of each inner node; a label, or C and above an inner node
    alias: NDArray[np.uint64]  # (C,), NEGATIVE: see random.py
    negatives: int  # drawn for a line


def rounding_noise() -> NDArray[np.int32]:
    """int32 (NOISES + 16,): the same number of each size, in random order, so that their mean is exact."""
    noise = np.random.default_rng(0).permutation(NOISES).astype(np.int32) * (NOISE // NOISES) + NOISE // NOISES // 2
    return np.concatenate([noise, noise[:WIDTH]])


class Scratch(NamedTuple):
    hidden: NDArray[np.float32]  # (D,)
    gradient: NDArray[np.float32]  # (D,)
    scores: NDArray[np.float32]  # (C,)
    nodes: NDArray[np.int64]  # (C,)
    noise: NDArray[np.int32]  # see rounding_noise


@kernel
def initialise(table, width, rows, begin, end, dim, seed, scratch):
    """Fill the rows of the words begin..end: uniform between -1/dim and 1/dim.

    From a counter, so the same whichever thread does it. rows: int32, of each word; -1 none. Others stay as they are.
    scratch: float32 (width,), zeros.
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
                scratch[d] = uniform / np.float32(dim)
            for d in range(0, width, WIDTH):
                store(table, np.int64(rows[word]) * width + d, load(scratch, d))


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
            for d in range(0, width, CACHE_LINE // table.itemsize):
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
def score_all(hidden, output, width, scores):
    """Fill scores, float32 (C,), with the dot products of `hidden` and each output row; returns the highest.

    Four rows a pass: `hidden` is read once for them, and their sums overlap.
    """
    highest, c = np.float32(-np.inf), 0
    while c + 4 <= scores.size:
        at = c * width
        p = q = r = s = splat(np.float32(0))
        for d in range(0, width, WIDTH):
            h = load(hidden, d)
            p = fma(h, load(output, at + d), p)
            q = fma(h, load(output, at + width + d), q)
            r = fma(h, load(output, at + 2 * width + d), r)
            s = fma(h, load(output, at + 3 * width + d), s)
        scores[c] = total(p)
        scores[c + 1] = total(q)
        scores[c + 2] = total(r)
        scores[c + 3] = total(s)
        highest = max(max(highest, max(scores[c], scores[c + 1])), max(scores[c + 2], scores[c + 3]))
        c += 4
    while c < scores.size:
        scores[c] = score(hidden, output, c, width)
        highest = max(highest, scores[c])
        c += 1
    return highest


@kernel
def merge_output(output):
    """Add what this thread changed to the shared output rows, and take over what the others did."""
    shared, own, seen = output.shared, output.own, output.seen
    for d in range(shared.size):
        value = shared[d] + (own[d] - seen[d])
        shared[d] = value
        own[d] = value
        seen[d] = value


@kernel_part
def learn_softmax(scratch, own, width, label, rate):
    """Add the gradient of the line's vector to `gradient`, and train all output rows. Returns the loss."""
    hidden, gradient, scores = scratch.hidden, scratch.gradient, scratch.scores
    highest = score_all(hidden, own, width, scores)
    norm = np.float32(0)
    for c in range(scores.size):
        scores[c] = np.exp(scores[c] - highest)
        norm += scores[c]
    loss = -np.log(np.float64(scores[label] / norm) + 1e-5)
    for c in range(scores.size):
        scores[c] = rate * (np.float32(c == label) - scores[c] / norm)
    for d in range(0, width, WIDTH):
        v, h = load(gradient, d), load(hidden, d)
        for c in range(scores.size):
            step, row = splat(scores[c]), load(own, c * width + d)
            v = fma(step, row, v)
            store(own, c * width + d, fma(step, h, row))
        store(gradient, d, v)
    return loss


@kernel
def learn_binary(hidden, gradient, own, row, width, positive, rate):
    """The same for one output row, which is to say yes or no to the line. Returns the loss."""
    at = row * width
    probability = 1 / (1 + np.exp(-np.float64(score(hidden, own, row, width))))
    step = splat(np.float32(rate * (np.float64(positive) - probability)))
    for d in range(0, width, WIDTH):
        v = load(own, at + d)
        store(gradient, d, fma(step, v, load(gradient, d)))
        store(own, at + d, fma(step, load(hidden, d), v))
    return -np.log((probability if positive else 1 - probability) + 1e-5)


@kernel
def train_lines(lines, begin, end, table, output, loss, scratch, width, schedule, random, sums, merge_every):
    """One step of gradient descent for each of the lines begin..end, in order.

    table: input rows; threads share it and write without locks (Hogwild, Niu et al. 2011). schedule: float64
    (3,), learning rate, tokens that this part has done before its first line, tokens that it will do in all epochs; the
    rate falls to zero line by line. random: uint64 (1,), state that picks one label of a line with several, as fastText
    does but for one-vs-all, which learns all of them, and draws negatives. sums: float64 (2,), loss and steps, added
    to. merge_every: lines between two merges of the output rows, 0 where they are shared.
    Bound by memory: an entry reads its row twice and writes it once.
    """
    hidden, gradient = scratch.hidden, scratch.gradient
    own = output.own
    state = random[0]
    loss_sum, steps = 0.0, 0
    zero = splat(np.float32(0))
    for i in range(begin, end):
        first, named = lines.label_starts[i], lines.label_starts[i + 1] - lines.label_starts[i]
        state = advance(state)
        label = np.int64(lines.labels[first + np.int64(state % np.uint64(named))])
        rate = np.float32(schedule[0] * (1 - (schedule[1] + lines.tokens[i]) / schedule[2]))
        gather(lines, i, table, width, hidden)
        for d in range(0, width, WIDTH):
            store(gradient, d, zero)
        if loss.kind == SOFTMAX:
            loss_sum += learn_softmax(scratch, own, width, label, rate)
        elif loss.kind == HIERARCHICAL:
            for k in range(loss.path_starts[label], loss.path_starts[label + 1]):
                row, yes = np.int64(loss.path_nodes[k]), loss.path_sides[k] == 3
                loss_sum += learn_binary(hidden, gradient, own, row, width, yes, rate)
        elif loss.kind == ONE_VS_ALL:
            for c in range(scratch.scores.size):
                yes = False
                for k in range(first, first + named):
                    yes = yes or lines.labels[k] == c
                loss_sum += learn_binary(hidden, gradient, own, c, width, yes, rate)
        else:
            loss_sum += learn_binary(hidden, gradient, own, label, width, True, rate)
            for _ in range(loss.negatives):
                drawn = label
                while drawn == label:
                    state = advance(state)
                    drawn = draw_word(loss.alias, state)
                loss_sum += learn_binary(hidden, gradient, own, drawn, width, False, rate)
        steps += 1
        inverse = splat(lines.inverses[i])
        for d in range(0, width, WIDTH):
            store(gradient, d, fma(inverse, load(gradient, d), zero))
        for k in range(lines.starts[i], lines.starts[i + 1]):
            at = np.int64(lines.rows[k]) * width
            weight = splat(lines.weights[k])
            chance = np.int64(state >> np.uint64(40)) + k * width
            for d in range(0, width, WIDTH):
                changed = fma(weight, load(gradient, d), load(table, at + d))
                store_rounded(table, at + d, changed, scratch.noise, (chance + d) & (NOISES - 1))
        if merge_every > 0 and i % merge_every == 0:
            merge_output(output)
    random[0] = state
    sums[0] += loss_sum
    sums[1] += steps


@kernel
def best_leaf(hidden, output, width, children, nodes, reached):
    """The most probable label of a tree, as the trained model finds it (predict.py, walk_tree); -1 below 1e-5.

    nodes, reached: scratch, at least (C,).
    """
    classes = children.size // 2 + 1
    best, found = LEAST_SCORE, -1
    nodes[0], reached[0], height = 2 * classes - 2, np.float32(0), 1
    while height > 0:
        height -= 1
        node, so_far = nodes[height], reached[height]
        if so_far < best:
            continue
        inner = node - classes
        if inner < 0:
            if so_far > best or found < 0 or node < found:
                best, found = so_far, node
            continue
        p = np.float32(1 / (1 + np.exp(-score(hidden, output, inner, width))))
        nodes[height], reached[height] = children[2 * inner + 1], so_far + np.float32(np.log(p + 1e-5))
        nodes[height + 1], reached[height + 1] = children[2 * inner], so_far + np.float32(np.log(1 - p + 1e-5))
        height += 2
    return found


@kernel
def find_best(lines, begin, end, table, output, loss, scratch, width, best):
    """The most probable label of each of the lines begin..end, as the trained model will answer; -1: none.

    output: float32 (C * D,). best: int32, out, of all lines. Sigmoids are compared as fastText's table has them, which
    makes equals of what is near: the lower label is then the answer.
    """
    bins = np.float32(SIGMOID_BINS / (2 * SIGMOID_REACH))
    reach = np.float32(SIGMOID_REACH)
    for i in range(begin, end):
        gather(lines, i, table, width, scratch.hidden)
        if loss.kind == HIERARCHICAL:
            best[i] = best_leaf(scratch.hidden, output, width, loss.children, scratch.nodes, scratch.scores)
            continue
        score_all(scratch.hidden, output, width, scratch.scores)
        found, highest = 0, np.float32(-np.inf)
        for c in range(scratch.scores.size):
            value = scratch.scores[c]
            if loss.kind != SOFTMAX:
                if value < -reach:
                    value = -reach - 1
                elif value > reach:
                    value = reach + 1
                else:
                    value = np.float32(np.floor((value + reach) * bins)) / bins - reach
            if value > highest:
                found, highest = c, value
        best[i] = found


@kernel
def count_right(lines, begin, end, best):
    """How many of the lines begin..end have their best label among their own."""
    right = 0
    for i in range(begin, end):
        for k in range(lines.label_starts[i], lines.label_starts[i + 1]):
            if lines.labels[k] == best[i]:
                right += 1
                break
    return right
