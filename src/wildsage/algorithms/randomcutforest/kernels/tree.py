"""Random cut trees in flat arrays: insert a row, remove one.

Node numbers of a tree go from 0 to 2 * samples: those from `samples` on are leaves. A row p of d features is laid out
as (-p, p), and a box as (its lower corner, its upper corner negated), each padded with zeros to a whole number of
vectors, so that a box around two others is the lesser of each two numbers, and how far a row lies outside of one is the
sum of what is positive in box + row: no branch, and few columns share a vector.

Source: Guha, Mishra, Roy and Schrijvers, "Robust Random Cut Forest Based Anomaly Detection On Streams", ICML 2016,
sections 2 (cuts), 3 (insert and delete).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wildsage.algorithms.randomcutforest.kernels.sampling import GAMMA, mixed, uniform
from wildsage.kernels.kernel import kernel, kernel_part
from wildsage.kernels.vector import WIDTH, fma, greatest, least, load, splat, store, total

if TYPE_CHECKING:
    from numpy.typing import NDArray

SINGLE = np.float32


class Trees(NamedTuple):
    """T trees of up to `samples` rows each, N = 2 * samples nodes a tree."""

    box: NDArray[np.float32]  # (T * N * width,)
    span: NDArray[np.float32]  # (T * N,), the sum of a box's sides
    cut: NDArray[np.float32]  # (T * N,), rows above it are on the right
    axis: NDArray[np.int32]  # (T * N,)
    children: NDArray[np.int32]  # (T * N * 2,), left and right; of a leaf itself, so that a descent may overrun
    parent: NDArray[np.int32]  # (T * N,), -1 above the root
    mass: NDArray[np.int32]  # (T * N,), rows below a node, equal ones counted
    free: NDArray[np.int32]  # (T * 2 * (samples + 1),), stacks of unused inner nodes and leaves, their heights first
    slot_leaf: NDArray[np.int32]  # (T * samples,), the leaf of each row of the sample
    root: NDArray[np.int32]  # (T,), -1 where there is none
    state: NDArray[np.uint64]  # (T,), of the random numbers for cuts


@kernel_part
def next_uniform(state, t):
    """The next random number of a tree, above 0 and below 1."""
    state[t] += GAMMA
    return uniform(mixed(state[t], 0))


@kernel_part
def outside(box, b, rows, r, width):
    """How far the row at rows[r:] lies outside the box at box[b:], summed over the axes; exactly 0 inside it."""
    zero, one = splat(SINGLE(0)), splat(SINGLE(1))
    s = greatest(fma(load(box, b), one, load(rows, r)), zero)
    for f in range(WIDTH, width, WIDTH):
        s = fma(greatest(fma(load(box, b + f), one, load(rows, r + f)), zero), one, s)
    return total(s)


@kernel_part
def span_of(box, b, d):
    """The sum of a box's sides; side by side, since sums of the corners would cancel."""
    s = SINGLE(0)
    for f in range(d):
        s -= box[b + f] + box[b + d + f]
    return s


@kernel_part
def draw_cut(box, b, rows, r, d, left):
    """The axis and value of a cut between a box and a row, `left` of the way through the gap, axis after axis."""
    axis, value = 0, SINGLE(0)
    for f in range(d):
        p, low, high = rows[r + d + f], box[b + f], -box[b + d + f]
        if p < low or p > high:
            begin, end = (p, low) if p < low else (high, p)
            axis, value = f, begin + min(left, end - begin)
            if value >= end:
                value = begin
            left -= end - begin
            if left <= 0:
                break
    return axis, value


@kernel_part
def insert(trees, t, slot, rows, r, d, width, samples):
    """Insert a row as that of a slot of the sample, each cut drawn as if the tree were made anew."""
    n, free = t * 2 * samples, t * 2 * (samples + 1)
    leaves = free + samples + 1
    minus = splat(SINGLE(-1))
    node, gap = np.int64(trees.root[t]), SINGLE(0)
    while node >= 0:
        b = (n + node) * width
        gap = outside(trees.box, b, rows, r, width)
        if node >= samples and gap == 0:  # a row that is there: one leaf, more mass
            trees.slot_leaf[t * samples + slot] = node
            trees.mass[n + node] += 1
            return
        if gap > 0:
            if SINGLE(next_uniform(trees.state, t)) * (gap + trees.span[n + node]) <= gap or node >= samples:
                break
            for f in range(0, width, WIDTH):
                store(
                    trees.box, b + f, least(load(trees.box, b + f), fma(load(rows, r + f), minus, splat(SINGLE(-0.0))))
                )
            trees.span[n + node] = span_of(trees.box, b, d)
        trees.mass[n + node] += 1
        right = np.int64(rows[r + d + trees.axis[n + node]] > trees.cut[n + node])
        node = np.int64(trees.children[2 * (n + node) + right])
    leaf = np.int64(trees.free[leaves + trees.free[leaves]])
    trees.free[leaves] -= 1
    trees.slot_leaf[t * samples + slot] = leaf
    b = (n + leaf) * width
    for f in range(0, width, WIDTH):
        store(trees.box, b + f, fma(load(rows, r + f), minus, splat(SINGLE(-0.0))))
    trees.span[n + leaf], trees.mass[n + leaf], trees.parent[n + leaf] = 0, 1, -1
    trees.children[2 * (n + leaf)] = trees.children[2 * (n + leaf) + 1] = leaf
    trees.axis[n + leaf], trees.cut[n + leaf] = 0, 0
    if node < 0:  # the first row
        trees.root[t] = leaf
        return
    new, up = np.int64(trees.free[free + trees.free[free]]), np.int64(trees.parent[n + node])
    trees.free[free] -= 1
    left = SINGLE(next_uniform(trees.state, t)) * gap
    axis, value = draw_cut(trees.box, (n + node) * width, rows, r, d, left)
    right = np.int64(rows[r + d + axis] > value)
    trees.children[2 * (n + new) + right], trees.children[2 * (n + new) + 1 - right] = leaf, node
    trees.axis[n + new], trees.cut[n + new], trees.parent[n + new] = axis, value, up
    trees.mass[n + new] = trees.mass[n + node] + 1
    trees.parent[n + leaf] = trees.parent[n + node] = new
    cover(trees, n + new, n + node, n + leaf, d, width)
    if up < 0:
        trees.root[t] = new
    else:
        trees.children[2 * (n + up) + np.int64(trees.children[2 * (n + up) + 1] == node)] = new


@kernel_part
def cover(trees, target, first, second, d, width):
    """Make a node's box the smallest around two others; returns whether it was another before."""
    zero, one, minus = splat(SINGLE(0)), splat(SINGLE(1)), splat(SINGLE(-1))
    b, k, m = target * width, first * width, second * width
    s = zero
    for f in range(0, width, WIDTH):
        before, now = load(trees.box, b + f), least(load(trees.box, k + f), load(trees.box, m + f))
        s = fma(greatest(fma(before, minus, now), zero), one, s)
        store(trees.box, b + f, now)
    trees.span[target] = span_of(trees.box, b, d)
    return total(s) > 0


@kernel_part
def remove(trees, t, slot, d, width, samples):
    """Remove the row of a slot: with its leaf goes the leaf's parent, and the sibling moves up."""
    n, free = t * 2 * samples, t * 2 * (samples + 1)
    leaves = free + samples + 1
    leaf = np.int64(trees.slot_leaf[t * samples + slot])
    node = leaf
    if trees.mass[n + leaf] == 1:
        gone = np.int64(trees.parent[n + leaf])
        trees.free[leaves] += 1
        trees.free[leaves + trees.free[leaves]] = leaf
        if gone < 0:
            trees.root[t] = -1
            return
        trees.free[free] += 1
        trees.free[free + trees.free[free]] = gone
        sibling = np.int64(trees.children[2 * (n + gone)]) + trees.children[2 * (n + gone) + 1] - leaf
        node = np.int64(trees.parent[n + gone])
        trees.parent[n + sibling] = node
        if node < 0:
            trees.root[t] = sibling
            return
        trees.children[2 * (n + node) + np.int64(trees.children[2 * (n + node) + 1] == gone)] = sibling
        up = node
        # As soon as one box is as before, so are those above it: the row touched none of their sides.
        while up >= 0 and cover(
            trees, n + up, n + trees.children[2 * (n + up)], n + trees.children[2 * (n + up) + 1], d, width
        ):
            up = np.int64(trees.parent[n + up])
    while node >= 0:
        trees.mass[n + node] -= 1
        node = np.int64(trees.parent[n + node])


@kernel
def clear(trees, samples, begin, end):
    """Make the trees begin to end empty."""
    for t in range(begin, end):
        trees.root[t] = -1
        base = t * 2 * (samples + 1)
        trees.free[base] = trees.free[base + samples + 1] = samples
        for k in range(samples):
            trees.free[base + 1 + k] = samples - 1 - k
            trees.free[base + samples + 2 + k] = 2 * samples - 1 - k


@kernel
def grow(trees, points, filled, d, width, samples, row, begin, end):
    """Make the trees begin to end of the rows of their samples, points: float32 (T * samples * d,).

    row: float32 (width,), for this call to use. Bound by latency, as streams of rows are.
    """
    for t in range(begin, end):
        for slot in range(filled[t]):
            lay_out(points, (t * samples + slot) * d, row, 0, d, width)
            insert(trees, t, slot, row, 0, d, width, samples)


@kernel_part
def lay_out(points, p, rows, r, d, width):
    """Put a row of d features as (-p, p, zeros)."""
    for f in range(d):
        rows[r + f], rows[r + d + f] = -points[p + f], points[p + f]
    for f in range(2 * d, width):
        rows[r + f] = 0


@kernel
def lay_out_rows(points, count, rows, d, width):
    """Lay out rows, float32 (count * d,), into float32 (count * width,)."""
    for i in range(count):
        lay_out(points, i * d, rows, i * width, d, width)
