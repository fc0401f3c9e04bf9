"""The losses of text classification: their names, fastText's codes for them, and what their kernels need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wildsage.algorithms.blazingtext.kernels.predict import HIERARCHICAL, NEGATIVE, ONE_VS_ALL, SOFTMAX
from wildsage.algorithms.blazingtext.kernels.random import fill_alias_table
from wildsage.algorithms.blazingtext.kernels.supervised import Loss
from wildsage.algorithms.blazingtext.kernels.tree import build_tree, count_groups, write_paths
from wildsage.algorithms.blazingtext.model import label_tree

if TYPE_CHECKING:
    from numpy.typing import NDArray

CODES = {"hs": HIERARCHICAL, "ns": NEGATIVE, "softmax": SOFTMAX, "ova": ONE_VS_ALL}
NEGATIVE_POWER = 0.5  # of counts: facebookresearch/fastText, src/loss.cc (NegativeSamplingLoss)


def make_loss(name: str, label_counts: NDArray[np.int64], negatives: int) -> Loss:
    """What the kernels need for a loss.

    label_counts: int64 (C,), descending, at least two of them not zero. negatives: drawn for a line.
    """
    kind, classes = CODES[name], label_counts.size
    starts, nodes, sides = np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.int32)
    children, alias = np.empty(0, np.int32), np.empty(0, np.uint64)
    if kind == HIERARCHICAL:
        parents, second = np.empty(2 * classes - 1, np.int32), np.empty(2 * classes - 1, np.uint8)
        build_tree(label_counts, np.empty(2 * classes - 1, np.int64), parents, second)
        starts = np.empty(classes + 1, np.int64)
        count_groups(parents, classes, 1, starts)
        nodes, sides = np.empty((2, starts[-1]), np.int32)
        write_paths(parents, second, classes, 1, starts, nodes, sides)
        children = label_tree(label_counts).reshape(-1)
    elif kind == NEGATIVE:
        weights = label_counts.astype(np.float64) ** NEGATIVE_POWER
        alias, scratch = np.empty(classes, np.uint64), np.empty((3, classes), np.int64)
        fill_alias_table(weights / weights.mean(), scratch[0], scratch[1], scratch[2], alias)
    return Loss(kind, starts, nodes, sides, children, alias, negatives)
