"""All that is random in training word vectors: which words stay, how far windows reach, which negatives are drawn.

It is drawn for a batch of words at a time, before any of them is trained: their rows can then be fetched ahead, across
line ends, and training itself is a plain function of what was drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wildsage.kernels.kernel import kernel, kernel_part
from wildsage.kernels.vector import aligned

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

GROUP = 6  # output rows that a kernel meets at a time: a word and 5 negatives, or as many nodes of a tree
END_OF_LINE = -1  # in a stream of words, where "</s>" is not in the vocabulary itself
HALF = np.uint64(32)


class Batch(NamedTuple):
    """Words to train, and on what. Word i is met with the words lefts[i]..rights[i] but itself, its contexts.

    These are cut to sets of `share`, from the left. A set is trained on groups of GROUP output rows: word i's sets have
    groups firsts[i]..firsts[i + 1], equally many each. Group g is rows targets[6 * g:6 * g + 6]; patterns[g] says which
    labels they have: see pattern_signs. What a group lacks is its first row, again, without a label.
    """

    words: NDArray[np.int32]
    rows: NDArray[np.int32]  # where each has its row: `words` itself, a thread's copy, or, with subwords, in the batch
    lefts: NDArray[np.int32]
    rights: NDArray[np.int32]
    firsts: NDArray[np.int32]
    targets: NDArray[np.int32]
    patterns: NDArray[np.int32]

    @classmethod
    def empty(cls, size: int, groups: int, *, apart: bool) -> Self:
        """Room for `size` words and more, up to the end of a line or twice as many, with up to `groups` groups each.

        apart: whether words' rows are not their numbers.
        """
        words, rows, lefts, rights = (aligned(2 * size, np.int32) for _ in range(4))
        firsts, patterns = aligned(2 * size + 1, np.int32), aligned(2 * size * groups, np.int32)
        targets = aligned(patterns.size * GROUP, np.int32)
        return cls(words, rows if apart else words, lefts, rights, firsts, targets, patterns)


class Chances(NamedTuple):
    """What draws depend on; V words."""

    keep: NDArray[np.uint64]  # (V,), chance to stay times 2**32
    alias: NDArray[np.uint64]  # (V,), see fill_alias_table
    end_of_line: int  # the number of "</s>", or END_OF_LINE
    window: int
    share: int  # contexts that share negatives
    negatives: int  # 0 if there is a tree
    path_starts: NDArray[np.int64]  # (V + 1,), groups before each word's, if there is a tree
    path_targets: NDArray[np.int32]  # of its groups, GROUP each
    path_patterns: NDArray[np.int32]


def pattern_signs() -> NDArray[np.float32]:
    """float32 (2 << GROUP, 16), flat: for each pattern the signs of a group's scores, twice, for two contexts.

    Pattern (1 << n) | b stands for n rows, of which row k has label 1 if bit k of b is set. Signs are -1 for label 1, 1
    for label 0, and 0 for what the group lacks: rate * (label - sigmoid(s)) = -rate * sign * sigmoid(sign * s).
    """
    signs = np.zeros((2 << GROUP, 16), np.float32)
    for pattern in range(1, 2 << GROUP):
        size = pattern.bit_length() - 1
        for k in range(size):
            signs[pattern, [k, k + GROUP]] = -1 if pattern >> k & 1 else 1
    return signs.reshape(-1)


@kernel_part
def advance(state):
    """The next state of xorshift64 (Marsaglia 2003), which must not be 0; its upper half is what draws use."""
    state ^= state << np.uint64(13)
    state ^= state >> np.uint64(7)
    return state ^ (state << np.uint64(17))


@kernel
def fill_alias_table(share, alias, small, large, table):
    """Walker's table of V words, for draws in constant time that stay in the cache (Walker 1977; Vose 1991).

    share: float64 (V,), weights over their mean; changed. alias, small, large: int64 (V,), scratch. table: uint64
    (V,), out: in the upper half the share of 2**32 for which the word drawn stays, in the lower one the word instead.
    """
    poor, rich = 0, 0
    for i in range(share.size):
        alias[i] = i
        if share[i] < 1:
            small[poor] = i
            poor += 1
        else:
            large[rich] = i
            rich += 1
    while poor > 0 and rich > 0:
        poor -= 1
        here, there = small[poor], large[rich - 1]
        alias[here] = there
        share[there] -= 1 - share[here]
        if share[there] < 1:
            rich -= 1
            small[poor] = there
            poor += 1
    for i in range(share.size):
        whole = min(share[i] * 4294967296.0, 4294967295.0) if alias[i] != i else 4294967295.0
        table[i] = (np.uint64(whole) << HALF) | np.uint64(alias[i])


@kernel_part
def draw_word(table, state):
    """A word, drawn by its weight with the state's upper half."""
    x = (state >> HALF) * np.uint64(table.size)
    entry = table[np.int64(x >> HALF)]
    return np.int64(x >> HALF) if (x << HALF) < entry else np.int64(entry & np.uint64(0xFFFFFFFF))


@kernel
def draw_batch(stream, position, end, chances, batch, random):
    """Fill a batch from stream[position[0]:end], words and line ends; returns how many words it holds.

    stream: int32. position: int64 (1,), moved on. random: uint64 (1,), not 0.
    """
    at, state = position[0], random[0]
    words, lefts, rights, firsts = batch.words, batch.lefts, batch.rights, batch.firsts
    n, begin, group, most = 0, 0, 0, words.size
    while 2 * n < most and at < end:
        line_ends = False
        while not line_ends and n < most and at < end:
            word = stream[at]
            at += 1
            line_ends = word < 0 or word == chances.end_of_line
            if word >= 0:
                state = advance(state)
                if (state >> HALF) < chances.keep[word]:
                    words[n] = word
                    n += 1
        for i in range(begin, n):
            state = advance(state)
            reach = 1 + np.int64(((state >> HALF) * np.uint64(chances.window)) >> HALF)
            left, right = max(begin, i - reach), min(n, i + reach + 1)
            lefts[i] = left
            rights[i] = right
            word = words[i]
            if chances.negatives == 0:
                for g in range(chances.path_starts[word], chances.path_starts[word + 1]):
                    for k in range(GROUP):
                        batch.targets[group * GROUP + k] = chances.path_targets[g * GROUP + k]
                    batch.patterns[group] = chances.path_patterns[g]
                    group += 1
            else:
                for _ in range((right - left - 1 + chances.share - 1) // chances.share):
                    k, size = 1, chances.negatives + 1
                    batch.targets[group * GROUP] = word
                    while k < size:
                        state = advance(state)
                        drawn = draw_word(chances.alias, state)
                        if drawn != word:
                            batch.targets[group * GROUP + k] = drawn
                            k += 1
                    while k % GROUP:
                        batch.targets[group * GROUP + k] = batch.targets[group * GROUP + k - k % GROUP]
                        k += 1
                    label = 1
                    while size > 0:
                        batch.patterns[group] = (1 << min(size, GROUP)) | label
                        label = 0
                        size -= GROUP
                        group += 1
            firsts[i + 1] = group
        begin = n
    position[0], random[0] = at, state
    return n
