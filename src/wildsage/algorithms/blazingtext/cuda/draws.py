"""The draws of word-vector training, by the generator and in the order of kernels/random.py, by one lane of a block.

They go to a block's part of `Workspace`, in global memory, and are trained on by all lanes then. A lane alone takes
about as long for a word as all lanes take to train it; other blocks use the machine meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wildsage.algorithms.blazingtext.cuda.lanes import LANES, part
from wildsage.algorithms.blazingtext.kernels import random
from wildsage.algorithms.blazingtext.kernels.random import GROUP, HALF

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Of an entry of Workspace.slots: the position is the first in the ring that has its word, or the last.
FRESH, LAST, SLOT = 1 << 24, 1 << 25, (1 << 24) - 1
TIMES = 8  # bits of a pattern before the repeats, three for each row of a group

_compiled: Any = random
advance, draw_word = part(_compiled.advance.py_func), part(_compiled.draw_word.py_func)


class Workspace(NamedTuple):
    """What each of B blocks has for a batch, of up to N words; see random.Batch. On the device."""

    words: NDArray[np.int32]  # (B, N)
    lefts: NDArray[np.int32]  # (B, N)
    rights: NDArray[np.int32]  # (B, N)
    firsts: NDArray[np.int32]  # (B, N + 1)
    targets: NDArray[np.int32]  # (B, groups * GROUP)
    patterns: NDArray[np.int32]  # (B, groups), with how often each row of a group is trained: see add_repeats
    slots: NDArray[np.int32]  # (B, N), of the ring, with FRESH and LAST
    kept: NDArray[np.float32]  # (B, ring), rows as they came into the ring
    rows: NDArray[np.int32]  # (B, N), with subwords: the number of each position's word
    distinct: NDArray[np.int32]  # (B, N), the word of each number
    local: NDArray[np.float32]  # (B, N * width), the composed word of each number
    composed: NDArray[np.float32]  # (B, N * width), as it was composed


@part
def add_repeats(work, b, g, pattern):
    """Note in group g's pattern how often each of its rows is trained: 0 if an earlier one is the same row."""
    size = 0
    while (2 << size) <= pattern:
        size += 1
    times = 0
    for k in range(size):
        first = k
        for j in range(k):
            if first == k and work.targets[b, g * GROUP + j] == work.targets[b, g * GROUP + k]:
                first = j
        times += 1 << (3 * first)
    work.patterns[b, g] = pattern | (times << TIMES)


@part
def draw_batch(stream, begin, at, end, chances, work, b, state):
    """As random.draw_batch, from stream[begin + at:begin + end]. Returns (words drawn, `at` moved on, the state)."""
    n, first, group, most = 0, 0, 0, work.words.shape[1]
    while 2 * n < most and at < end:
        line_ends = False
        while not line_ends and n < most and at < end:
            word = stream[begin + at]
            at += 1
            line_ends = word < 0 or word == chances.end_of_line
            if word >= 0:
                state = advance(state)
                if (state >> HALF) < chances.keep[word]:
                    work.words[b, n] = word
                    n += 1
        for i in range(first, n):
            state = advance(state)
            reach = 1 + np.int64(((state >> HALF) * np.uint64(chances.window)) >> HALF)
            left, right = max(first, i - reach), min(n, i + reach + 1)
            work.lefts[b, i] = left
            work.rights[b, i] = right
            word = work.words[b, i]
            if chances.negatives == 0:
                for g in range(chances.path_starts[word], chances.path_starts[word + 1]):
                    for k in range(GROUP):
                        work.targets[b, group * GROUP + k] = chances.path_targets[g * GROUP + k]
                    add_repeats(work, b, group, chances.path_patterns[g])
                    group += 1
            else:
                for _ in range((right - left - 1 + chances.share - 1) // chances.share):
                    k, size = 1, chances.negatives + 1
                    work.targets[b, group * GROUP] = word
                    while k < size:
                        state = advance(state)
                        drawn = draw_word(chances.alias, state)
                        if drawn != word:
                            work.targets[b, group * GROUP + k] = drawn
                            k += 1
                    label = 1
                    while size > 0:
                        add_repeats(work, b, group, (1 << min(size, GROUP)) | label)
                        label = 0
                        size -= GROUP
                        group += 1
            work.firsts[b, i + 1] = group
        first = n
    return n, at, state


@part
def find_same(words, found, b, n, reach, lane):
    """found[b, i] = the last position before i, by up to `reach`, with the word of position i, or -1. By all lanes."""
    for i in range(lane, n, LANES):
        same = -1
        for j in range(max(0, i - reach), i):
            if words[b, j] == words[b, i]:
                same = j
        found[b, i] = same


@part
def place_in_ring(slots, b, n, size, free):
    """Give each position its slot of a ring; positions i - size + 1..i are in it when i comes, after i - size has gone.

    Equal words share a slot, so that each is there once, as it is in the table. slots: what find_same found, replaced.
    free: int32 (size,), scratch.
    """
    height = size
    for k in range(size):
        free[k] = k
    for i in range(n):
        if i >= size and slots[b, i - size] & LAST:
            free[height] = slots[b, i - size] & SLOT
            height += 1
        same = slots[b, i]
        if same >= 0:
            slots[b, i] = (slots[b, same] & SLOT) | LAST
            slots[b, same] &= ~LAST
        else:
            height -= 1
            slots[b, i] = free[height] | FRESH | LAST


@part
def number_words(work, b, n):
    """Number the distinct words by first sight; rows: what find_same found, replaced. Returns how many there are."""
    count = 0
    for i in range(n):
        same = work.rows[b, i]
        if same >= 0:
            work.rows[b, i] = work.rows[b, same]
        else:
            work.rows[b, i] = count
            work.distinct[b, count] = work.words[b, i]
            count += 1
    return count
