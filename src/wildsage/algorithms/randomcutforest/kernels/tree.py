"""Random cut trees in flat arrays: insert a row, remove one.

Node numbers of a tree go from 0 to 2 * samples: those from `samples` on are leaves. A row p is laid out as -p, then
p, each in a half of `width` floats and with zeros behind it; a box as its lower corner, then its upper corner negated.
So a box around two others is the lesser of each two numbers, and how far a row lies outside of one is the sum of what
is positive in box + row: no branch, and eight columns are one vector.

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

    box: NDArray[np.float32]  # (T * N * width + 16,)
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
    mask: NDArray[np.float32]  # (16,), eight ones, eight zeros


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
def cover(trees, target, first, second, width):
    """Make a node's box the smallest around two others; returns whether it has changed.

    Sides are added up one by one, lower to upper corner: sums of the corners would cancel.
    """
    one, minus, half = splat(SINGLE(1)), splat(SINGLE(-1)), width // 2
    box, b, k, m = trees.box, target * width, first * width, second * width
    sides = moved = splat(SINGLE(0))
    whole = half // WIDTH * WIDTH
    for f in range(0, whole, WIDTH):
        low, high = least(load(box, k + f), load(box, m + f)), least(load(box, k + half + f), load(box, m + half + f))
        moved = fma(fma(load(box, b + f), minus, low), one, moved)
        moved = fma(fma(load(box, b + half + f), minus, high), one, moved)
        sides = fma(low, one, fma(high, one, sides))
        store(box, b + f, low)
        store(box, b + half + f, high)
    if whole < half:
        # Of the last eight of each half the loads overlap: with the other half, and with what lies behind the box.
        f, last = half - WIDTH // 2, width - WIDTH
        low, high = least(load(box, k + f), load(box, m + f)), least(load(box, k + half + f), load(box, m + half + f))
        end = least(load(box, k + last), load(box, m + last))
        moved = fma(fma(load(box, b + f), minus, low), one, fma(fma(load(box, b + last), minus, end), one, moved))
        sides = fma(fma(low, one, high), load(trees.mask, 0), sides)
        store(box, b + f, low)
        store(box, b + last, end)
    trees.span[target] = -total(sides)
    return total(moved) != 0


@kernel_part
def draw_cut(box, b, rows, r, d, half, left):
    """The axis and value of a cut between a box and a row, `left` of the way through the gap, axis after axis."""
    axis, gap = 0, SINGLE(0)
    for f in range(d):
        here = max(max(box[b + f] + rows[r + f], box[b + half + f] + rows[r + half + f]), SINGLE(0))
        axis, gap = (f, here) if here > 0 else (axis, gap)
        if here > 0 and here >= left:
            break
        left -= here
    p, low, high = rows[r + half + axis], box[b + axis], -box[b + half + axis]
    begin, end = (p, low) if p < low else (high, p)
    value = begin + min(left, gap)
    return axis, value if value < end else begin


@kernel_part
def insert(trees, t, slot, rows, r, d, width, samples):
    """Insert a row as that of a slot of the sample, each cut drawn as if the tree were made anew."""
    n, half, stack = t * 2 * samples, width // 2, t * 2 * (samples + 1)
    leaves = stack + samples + 1
    leaf = np.int64(trees.free[leaves + trees.free[leaves]])
    b = (n + leaf) * width
    for f in range(0, width, WIDTH):
        store(trees.box, b + f, fma(load(rows, r + f), splat(SINGLE(-1)), splat(SINGLE(0))))
    node, gap = np.int64(trees.root[t]), SINGLE(0)
    while node >= 0:
        gap = outside(trees.box, (n + node) * width, rows, r, width)
        if gap > 0:
            if SINGLE(next_uniform(trees.state, t)) * (gap + trees.span[n + node]) <= gap or node >= samples:
                break
            cover(trees, n + node, n + node, n + leaf, width)
        trees.mass[n + node] += 1
        if node >= samples:  # a row that is there: one leaf, more mass
            trees.slot_leaf[t * samples + slot] = node
            return
        right = np.int64(rows[r + half + trees.axis[n + node]] > trees.cut[n + node])
        node = np.int64(trees.children[2 * (n + node) + right])
    trees.free[leaves] -= 1
    trees.slot_leaf[t * samples + slot] = leaf
    trees.span[n + leaf], trees.mass[n + leaf], trees.parent[n + leaf] = 0, 1, -1
    trees.children[2 * (n + leaf)] = trees.children[2 * (n + leaf) + 1] = leaf
    trees.axis[n + leaf], trees.cut[n + leaf] = 0, 0
    if node < 0:  # the first row
        trees.root[t] = leaf
        return
    new, up = np.int64(trees.free[stack + trees.free[stack]]), np.int64(trees.parent[n + node])
    trees.free[stack] -= 1
    left = SINGLE(next_uniform(trees.state, t)) * gap
    axis, value = draw_cut(trees.box, (n + node) * width, rows, r, d, half, left)
    right = np.int64(rows[r + half + axis] > value)
    trees.children[2 * (n + new) + right], trees.children[2 * (n + new) + 1 - right] = leaf, node
    trees.axis[n + new], trees.cut[n + new], trees.parent[n + new] = axis, value, up
    trees.mass[n + new] = trees.mass[n + node] + 1
    trees.parent[n + leaf] = trees.parent[n + node] = new
    cover(trees, n + new, n + node, n + leaf, width)
    if up < 0:
        trees.root[t] = new
    else:
        trees.children[2 * (n + up) + np.int64(trees.children[2 * (n + up) + 1] == node)] = new


@kernel_part
def remove(trees, t, slot, width, samples):
    """Remove the row of a slot: with its leaf goes the leaf's parent, and the sibling moves up."""
    n, stack = t * 2 * samples, t * 2 * (samples + 1)
    leaves = stack + samples + 1
    leaf = np.int64(trees.slot_leaf[t * samples + slot])
    node = leaf
    if trees.mass[n + leaf] == 1:
        gone = np.int64(trees.parent[n + leaf])
        trees.free[leaves] += 1
        trees.free[leaves + trees.free[leaves]] = leaf
        if gone < 0:
            trees.root[t] = -1
            return
        trees.free[stack] += 1
        trees.free[stack + trees.free[stack]] = gone
        sibling = np.int64(trees.children[2 * (n + gone)]) + trees.children[2 * (n + gone) + 1] - leaf
        node = np.int64(trees.parent[n + gone])
        trees.parent[n + sibling] = node
        if node < 0:
            trees.root[t] = sibling
            return
        trees.children[2 * (n + node) + np.int64(trees.children[2 * (n + node) + 1] == gone)] = sibling
        up = node
        # As soon as one box is as before, so are those above it: the row touched none of their sides.
        while up >= 0:
            left, right = np.int64(trees.children[2 * (n + up)]), np.int64(trees.children[2 * (n + up) + 1])
            if not cover(trees, n + up, n + left, n + right, width):
                break
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
    """Put a row of d features as -p, zeros, p, zeros."""
    half = width // 2
    for f in range(d):
        rows[r + f], rows[r + half + f] = -points[p + f], points[p + f]
    for f in range(d, half):
        rows[r + f] = rows[r + half + f] = 0


@kernel
def lay_out_rows(points, count, rows, d, width):
    """Lay out rows, float32 (count * d,), into float32 (count * width,)."""
    for i in range(count):
        lay_out(points, i * d, rows, i * width, d, width)
