"""The Huffman tree of hierarchical softmax, fastText's to the node, so that files are interchangeable."""

from __future__ import annotations

import numpy as np

from wildsage.kernels.kernel import kernel

TOP = 10**15  # fastText's count for a node that is not made yet


@kernel
def build_tree(counts, weights, parents, sides):
    """Join the two lightest nodes, V - 1 times; leaves come from the back of `counts`, which descend.

    counts: int64 (V,). weights: int64 (2 * V - 1,), scratch. parents: int32 (2 * V - 1,), out: inner nodes are numbered
    from V on; the root has -1. sides: uint8, as long, out: whether a node is its parent's second child, label 1.
    Source: facebookresearch/fastText, src/loss.cc (buildTree); of equal weights it takes the inner node.
    """
    size = counts.size
    for i in range(2 * size - 1):
        weights[i] = counts[i] if i < size else TOP
        parents[i] = -1
        sides[i] = 0
    leaf, node = size - 1, size
    for inner in range(size, 2 * size - 1):
        weight = 0
        for side in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                child = leaf
                leaf -= 1
            else:
                child = node
                node += 1
            parents[child] = inner
            sides[child] = side
            weight += weights[child]
        weights[inner] = weight


@kernel
def count_groups(parents, size, group, starts):
    """Set starts, int64 (V + 1,), to the groups before each leaf's: its path to the root, `group` nodes each."""
    starts[0] = 0
    for leaf in range(size):
        node, length = parents[leaf], 0
        while node >= 0:
            node, length = parents[node], length + 1
        starts[leaf + 1] = starts[leaf] + (length + group - 1) // group


@kernel
def write_paths(parents, sides, size, group, starts, targets, patterns):
    """Write each leaf's path, from below: targets, int32, output rows (inner nodes from 0), and patterns of labels.

    What the last group lacks is its first row again; the pattern has no label for it. See kernels/random.py.
    """
    for leaf in range(size):
        node, g = leaf, starts[leaf]
        while parents[node] >= 0:
            k, pattern = 0, 0
            while k < group and parents[node] >= 0:
                targets[g * group + k] = parents[node] - size
                pattern |= np.int64(sides[node]) << k
                node = parents[node]
                k += 1
            patterns[g] = (1 << k) | pattern
            while k < group:
                targets[g * group + k] = targets[g * group]
                k += 1
            g += 1
