"""How changes of many blocks at once are added up, so that no row takes too much at a time.

Each block changes rows without sight of what the others do meanwhile. Where a few hold the same row that does no harm.
A frequent word's row is held by many, and a label's by all: there the sum of changes, each right by itself, goes too
far. In an emulation where all blocks read before any writes, skip-gram on 2.3 million words learnt with 200 sentences
in flight (up to 19 of them on one output row) as with one; with 1,000 (up to 97) it diverged at the usual rate, as did
classification by two labels with 64 lines in flight at a rate of 0.5.

So a row takes only a part of each change if more blocks hold it, on average, than its learning rate allows: as much in
all as that many would give it. Such rows get so many changes that they learn as well. One block's are taken whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wildsage.algorithms.blazingtext.kernels.predict import HIERARCHICAL, NEGATIVE
from wildsage.algorithms.blazingtext.kernels.random import GROUP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wildsage.algorithms.blazingtext.kernels.random import Chances
    from wildsage.algorithms.blazingtext.kernels.supervised import Lines, Loss
    from wildsage.algorithms.blazingtext.word_epochs import Subwords

# Changes of one row at a time, times the learning rate, that are taken whole. Four times as many of words diverged.
WORDS_AT_ONCE = 0.8
LINES_AT_ONCE = 4.0


class Shares(NamedTuple):
    """What part of a change each row takes."""

    inputs: NDArray[np.float32]
    outputs: NDArray[np.float32]


def shares(inputs: NDArray[np.float64], outputs: NDArray[np.float64], others: int, at_once: float) -> Shares:
    """The rows' shares. inputs, outputs: how likely a block holds each at any time. others: blocks but one.

    at_once: how many changes a row takes whole; one at least.
    """
    most = max(1.0, at_once)
    parts = ((most / np.maximum(each * others, most)).astype(np.float32) for each in (inputs, outputs))
    return Shares(*parts)


def held_by_words(
    counts: NDArray[np.int64], weights: NDArray[np.float64], chances: Chances, subwords: Subwords, batch: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How likely a block that trains words holds each input row, and each output row.

    counts: of the words. weights: that negatives are drawn by.
    """
    kept = counts * (chances.keep / 2.0**32)
    kept /= max(1e-9, kept.sum())
    outputs = kept.copy()
    if chances.negatives:
        outputs += chances.negatives * weights / weights.sum()
    else:
        words = np.repeat(np.arange(counts.size), np.diff(chances.path_starts))
        sizes = np.frexp(chances.path_patterns)[1] - 1  # the highest bit says how many rows a group has
        outputs[:] = 0
        for k in range(GROUP):
            np.add.at(outputs, chances.path_targets[k::GROUP][sizes > k], kept[words[sizes > k]])
    if not subwords.there:
        return kept * (2 * chances.window + 1), outputs
    held = np.repeat(1 - (1 - kept) ** batch, np.diff(subwords.starts))  # a batch holds the rows of all its words
    return np.bincount(subwords.lists, held, counts.size + subwords.rows).astype(np.float64), outputs


def held_by_lines(
    lines: Lines, rows: int, label_counts: NDArray[np.int64], weights: NDArray[np.float64], loss: Loss
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """As held_by_words, for blocks that train on lines: how much of each of the input rows, and of each output row.

    An input row weighs as much as its share of a line, since that is what it moves the line's vector by. An output row
    of softmax and one-vs-all weighs as much as its label is uncertain beside one of two equally frequent labels.
    """
    parts = lines.weights * np.repeat(lines.inverses, np.diff(lines.starts))
    inputs = np.bincount(lines.rows, parts, rows) / max(1, lines.starts.size - 1)
    frequencies = label_counts / max(1, label_counts.sum())
    if loss.kind == HIERARCHICAL:
        above = np.repeat(frequencies, np.diff(loss.path_starts))
        return inputs, np.bincount(loss.path_nodes, above, frequencies.size).astype(np.float64)
    if loss.kind == NEGATIVE:
        return inputs, frequencies + loss.negatives * weights / weights.sum()
    return inputs, 4 * frequencies * (1 - frequencies)
