"""What each feature adds to a row's score, and which sampled rows a row with missing features is most like."""

from __future__ import annotations

import numpy as np

from wildsage.algorithms.randomcutforest.kernels.tree import SINGLE, outside
from wildsage.kernels.kernel import kernel, kernel_part


@kernel_part
def add_shares(trees, b, rows, r, d, half, weight, shares, s):
    """Add a weight to the features, in proportion to how far the row lies outside of a box along each."""
    for f in range(d):
        below, above = trees.box[b + f] + rows[r + f], trees.box[b + half + f] + rows[r + half + f]
        shares[s + f] += weight * max(below, above, SINGLE(0))


@kernel
def attribute(trees, count_of_trees, rows, d, width, samples, tables, path, parts, shares, begin, end):
    """Add what each feature contributes to the score of the rows begin to end: shares, float32 (n * d,), zeros before.

    A cut that would set the row apart falls into a feature as likely as the row lies outside of the box along it, and
    its part of the score is that feature's; what is left where the row lies on a leaf is shared equally. So the shares
    of a row add up to its score. path: int32 (samples + 1,) and parts: float32 (2 * (samples + 1),), to use.
    """
    logs, half = samples + 2, width // 2
    for i in range(begin, end):
        r = i * width
        for t in range(count_of_trees):
            root, n = np.int64(trees.root[t]), t * 2 * samples
            if root < 0:
                continue
            node, depth = root, 0
            while node < samples:
                path[depth] = node
                depth += 1
                right = np.int64(rows[r + half + trees.axis[n + node]] > trees.cut[n + node])
                node = np.int64(trees.children[2 * (n + node) + right])
            path[depth] = node
            top = depth + 1
            for level in range(depth, -1, -1):
                node = np.int64(path[level])
                gap = outside(trees.box, (n + node) * width, rows, r, width)
                if gap <= 0:
                    break
                parts[2 * level], parts[2 * level + 1] = gap, gap / (gap + trees.span[n + node])
                top = level
            every, mass = SINGLE(trees.mass[n + root]), trees.mass[n + node]
            left = tables[logs + trees.mass[n + root]] / count_of_trees
            for level in range(top, depth + 1):
                weight = left * parts[2 * level + 1] * tables[level + 1]
                b = (n + np.int64(path[level])) * width
                add_shares(trees, b, rows, r, d, half, weight / parts[2 * level], shares, i * d)
                left *= SINGLE(1) - parts[2 * level + 1]
            if top == depth + 1:  # on the leaf
                value = (SINGLE(1) - SINGLE(0.5) * SINGLE(mass) / every) / (SINGLE(depth) + tables[logs + mass])
                for f in range(d):
                    shares[i * d + f] += left * value / d


@kernel
def most_alike(trees, count_of_trees, rows, known, d, width, samples, stack, leaves, begin, end):
    """For the rows begin to end, in each tree the leaf most like it in the known features: leaves, int32 (n * T,).

    Along a feature that is known a cut leads to one side; along one that is not, both sides are looked at, the heavier
    first, so that it wins where nothing is known. rows: laid out; what is not known may be anything. known: bool
    (n * d,). stack: int32 (samples + 1,), to use. -1 where a tree is empty.
    """
    half = width // 2
    for i in range(begin, end):
        r = i * width
        for t in range(count_of_trees):
            n = t * 2 * samples
            best, found = np.inf, -1
            height = 0
            if trees.root[t] >= 0:
                stack[0], height = trees.root[t], 1
            while height > 0:
                height -= 1
                node = np.int64(stack[height])
                b = (n + node) * width
                far = 0.0
                for f in range(d):
                    if known[i * d + f]:
                        far += max(
                            trees.box[b + f] + rows[r + f], trees.box[b + half + f] + rows[r + half + f], SINGLE(0)
                        )
                if far >= best:
                    continue
                if node >= samples:
                    best, found = far, node
                    continue
                axis, two = trees.axis[n + node], 2 * (n + node)
                first, second = np.int64(trees.children[two]), np.int64(trees.children[two + 1])
                if known[i * d + axis]:
                    stack[height] = second if rows[r + half + axis] > trees.cut[n + node] else first
                    height += 1
                else:
                    if trees.mass[n + first] < trees.mass[n + second]:
                        first, second = second, first
                    stack[height], stack[height + 1] = second, first
                    height += 2
            leaves[i * count_of_trees + t] = found
