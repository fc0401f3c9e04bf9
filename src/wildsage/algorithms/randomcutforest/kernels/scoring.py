"""Scores of rows, and the one kernel that scores and learns a stream.

No tree looks at another, so trees are the outer loop and a block of rows the inner one: the answers are those of a
stream (score a row, then learn it, in each tree), while the boxes of one tree stay in the second cache. Between two
rows that a tree keeps it does not change, so runs of rows are scored LANES at a time, whose descents, bound by latency,
go on side by side.

The score: the mean over the trees of the expected inverse depth of a row, over the cuts that would set it apart, times
log2(rows + 1), as the usual library of random cut forests has it (aws/random-cut-forest-by-aws, CommonUtils and
ScoreVisitor): about 1 for rows like the others, more for those that few cuts set apart.
"""

from __future__ import annotations

import numpy as np

from wildsage.algorithms.randomcutforest.kernels.sampling import key_of, next_kept, worst_of
from wildsage.algorithms.randomcutforest.kernels.tree import SINGLE, insert, outside, remove
from wildsage.kernels.kernel import kernel, kernel_part

LANES = 8


def scratch_size(samples: int) -> int:
    """Numbers that scoring needs to itself: of each lane its path, its node and its depth."""
    return LANES * (samples + 1) + 2 * LANES


@kernel_part
def score_run(trees, t, rows, begin, end, width, samples, tables, scratch, scores, s):
    """The scores of rows begin to end in one tree, into scores[s + begin:s + end]."""
    root, n, half = np.int64(trees.root[t]), t * 2 * samples, width // 2
    if root < 0:
        for i in range(begin, end):
            scores[s + i] = 0
        return
    every = SINGLE(trees.mass[n + root])
    logs = samples + 2  # where logarithms begin in the tables
    scale = tables[logs + trees.mass[n + root]]
    nodes, depths = LANES * (samples + 1), LANES * (samples + 2)
    for first in range(begin, end, LANES):
        count = min(LANES, end - first)
        for k in range(count):
            scratch[nodes + k], scratch[depths + k] = root, 0
        level, least = 0, root
        while least < samples:
            least = 2 * samples
            for k in range(count):
                node = np.int64(scratch[nodes + k])
                scratch[level * LANES + k] = node
                scratch[depths + k] += node < samples
                place = n + node
                right = np.int64(rows[(first + k) * width + half + trees.axis[place]] > trees.cut[place])
                node = np.int64(trees.children[2 * place + right])
                scratch[nodes + k] = node
                least = min(least, node)
            level += 1
        for k in range(count):
            node, depth, r = np.int64(scratch[nodes + k]), np.int64(scratch[depths + k]), (first + k) * width
            if outside(trees.box, (n + node) * width, rows, r, width) > 0:
                value = tables[depth + 1]
            else:
                mass = trees.mass[n + node]
                value = (SINGLE(1) - SINGLE(0.5) * SINGLE(mass) / every) / (SINGLE(depth) + tables[logs + mass])
            for up in range(depth - 1, -1, -1):
                node = np.int64(scratch[up * LANES + k])
                gap = outside(trees.box, (n + node) * width, rows, r, width)
                if gap <= 0:  # inside this box, hence inside all the larger ones
                    break
                apart = gap / (gap + trees.span[n + node])
                value += apart * (tables[up + 1] - value)
            scores[s + first + k] = scale * value


@kernel
def score(trees, rows, count, width, samples, tables, scratch, scores, begin, end):
    """Score `count` rows, laid out, in the trees begin to end: scores, float32 (T * count,).

    tables: 1 / k, then log2(k + 1), k from 0 to samples + 1. scratch: int32 (scratch_size(samples),).
    Bound by latency and by loads from the second cache: two or more boxes of `width` floats for each row and tree.
    """
    for t in range(begin, end):
        score_run(trees, t, rows, 0, count, width, samples, tables, scratch, scores, t * count)


@kernel
def stream(
    trees, asked, rows, count, first, time, decay, d, width, samples, seeds, keys, filled, points,
    tables, scratch, scores, begin, end,
):  # fmt: skip
    """Score each row in each tree, then offer it to the tree's sample; a row that leaves it leaves the tree, too.

    asked: the rows as they are scored; rows: as they are learnt. The others as of score() and choose().
    """
    for t in range(begin, end):
        base, i, place = t * samples, 0, 0
        if filled[t] == samples:
            place = worst_of(keys, base, samples)
        while i < count:
            full = filled[t] == samples
            if full:
                kept, key = next_kept(seeds[t], first, time, i, count, decay, keys[base + place])
            else:
                kept, key = np.int64(i), key_of(seeds[t], first + i, time + i, decay)
            score_run(trees, t, asked, i, min(kept + 1, count), width, samples, tables, scratch, scores, t * count)
            if kept < count:
                if full:
                    remove(trees, t, place, width, samples)
                else:
                    place = np.int64(filled[t])
                    filled[t] += 1
                insert(trees, t, place, rows, kept * width, d, width, samples)
                for f in range(d):
                    points[(base + place) * d + f] = rows[kept * width + width // 2 + f]
                keys[base + place] = key
                if filled[t] == samples:
                    place = worst_of(keys, base, samples)
            i = kept + 1
