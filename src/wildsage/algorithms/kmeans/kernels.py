"""The nearest centre of each row: products of dense or of sparse rows, then the largest of each row.

Arrays are flat. A *table* holds a centre a row: `width` floats, a multiple of 16, of which the first `features` are the
centre's, the next is 1, the others 0. A *form* is as large, with -|c|^2 / 2 in the place of the 1, so that the product
of a row (with its own 1) and a centre's form is x.c - |c|^2 / 2: largest where the distance is smallest. `columns` is
the number of products of a row, a multiple of 16; those of no centre are as small as NOTHING.
"""

from __future__ import annotations

import numpy as np

from wildsage.kernels.kernel import kernel, kernel_part
from wildsage.kernels.vector import fma, greatest, load, splat, store, total

NOTHING = np.float32(-3e38)  # what the product with a centre that there is not comes to
LARGEST = 1e38  # products are below it, or a row's numbers are too large for float32 squares


@kernel
def fill_tile(rows, begin, count, features, origin, tile, width):
    """Copy rows, less the origin, into a tile of `width` floats a row. What is behind the features stays as it is.

    rows: float32 (n * features). Bound by memory: 3 ns a row of 50 floats, where products with 400 centres take 220.
    """
    whole = features // 16 * 16
    minus = splat(np.float32(-1))
    for i in range(count):
        row, place = (begin + i) * features, i * width
        for f in range(0, whole, 16):
            store(tile, place + f, fma(minus, load(origin, f), load(rows, row + f)))
        for f in range(whole, features):
            tile[place + f] = rows[row + f] - origin[f]


@kernel
def multiply(tile, begin, count, width, features, forms, columns, biases, products):
    """Products of a tile's rows, from place `begin`, with centres: one multiplication of 16 a cycle.

    forms: float32 (features * columns), sixteen centres after sixteen, a feature a row; biases: (columns,), -|c|^2 / 2.
    Rows are taken eight at once, each read once for sixteen centres: what is read of the tile and written of the
    products is a multiple of eight rows. A matrix product takes 1.4 to 1.8 times as long: it packs rows first.
    """
    wide, step = np.uint64(width), np.uint64(16)
    for j in range(0, columns, 16):
        panel, bias = np.uint64(j * features), load(biases, j)
        for i in range(0, count, 8):
            # Unsigned places: no look whether they are negative.
            r0 = np.uint64(begin + i * width)
            r1, r2, r3 = r0 + wide, r0 + wide * np.uint64(2), r0 + wide * np.uint64(3)
            r4, r5, r6 = r0 + wide * np.uint64(4), r0 + wide * np.uint64(5), r0 + wide * np.uint64(6)
            r7 = r0 + wide * np.uint64(7)
            a = b = c = d = e = g = h = k = bias
            for f in range(np.uint64(features)):
                weights = load(forms, panel + f * step)
                a = fma(splat(tile[r0 + f]), weights, a)
                b = fma(splat(tile[r1 + f]), weights, b)
                c = fma(splat(tile[r2 + f]), weights, c)
                d = fma(splat(tile[r3 + f]), weights, d)
                e = fma(splat(tile[r4 + f]), weights, e)
                g = fma(splat(tile[r5 + f]), weights, g)
                h = fma(splat(tile[r6 + f]), weights, h)
                k = fma(splat(tile[r7 + f]), weights, k)
            at = i * columns + j
            store(products, at, a)
            store(products, at + columns, b)
            store(products, at + 2 * columns, c)
            store(products, at + 3 * columns, d)
            store(products, at + 4 * columns, e)
            store(products, at + 5 * columns, g)
            store(products, at + 6 * columns, h)
            store(products, at + 7 * columns, k)


@kernel_part
def largest_at(products, keys, row, columns, lanes, lane_keys):
    """The first place of the largest of a row's products, relative to `row`, or `columns` if they are no numbers.

    LLVM does not vectorise a largest float, nor one that carries its place along: hence two sweeps, of explicit vectors
    (15 ns for 400 centres) and of an integer minimum (20 ns; 210 without the slice). keys: products seen as int32.
    lanes: float32 (16,), scratch, and lane_keys the same as int32.
    """
    first, second = load(products, row), splat(NOTHING)
    third, fourth = second, second
    j = 16
    while j + 64 <= columns:
        first = greatest(first, load(products, row + j))
        second = greatest(second, load(products, row + j + 16))
        third = greatest(third, load(products, row + j + 32))
        fourth = greatest(fourth, load(products, row + j + 48))
        j += 64
    while j < columns:
        first = greatest(first, load(products, row + j))
        j += 16
    store(lanes, 0, greatest(greatest(first, second), greatest(third, fourth)))
    for step in (8, 4, 2, 1):
        for k in range(step):
            lanes[k] = max(lanes[k], lanes[k + step])
    best, none = lane_keys[0], np.int32(columns)
    place, row_keys = none, keys[row : row + columns]
    for k in range(none):
        place = min(place, np.int32(k) if row_keys[k] == best else none)
    return place


@kernel
def absorb(
    tile, products, keys, count, columns, table, width, sums, counts, squares, places, begin, lanes, lane_keys
):  # fmt: skip
    """Find the nearest centre of each row of a tile, the lower one at a tie, and add the row's difference to its sum.

    sums: float32 (K * width): of x - c, which lose less to rounding than those of x. counts: int64 (K,), both added to.
    squares: float32, the squared distances, summed anew from differences; places: int32; rows from `begin` on.
    Returns the sum of squares, or -1 - i at the first row i of the tile whose numbers are too large.
    """
    one, minus = splat(np.float32(1)), splat(np.float32(-1))
    loss = 0.0
    for i in range(count):
        place = np.int64(largest_at(products, keys, i * columns, columns, lanes, lane_keys))
        if place == columns or not abs(products[i * columns + place]) < LARGEST:
            return -1.0 - i
        row, centre = i * width, place * width
        square = splat(np.float32(0))
        for f in range(0, width, 16):
            difference = fma(load(table, centre + f), minus, load(tile, row + f))
            square = fma(difference, difference, square)
            store(sums, centre + f, fma(difference, one, load(sums, centre + f)))
        distance = total(square)
        if not distance < LARGEST:
            return -1.0 - i
        counts[place] += 1
        squares[begin + i] = distance
        places[begin + i] = place
        loss += np.float64(distance)
    return loss


@kernel
def multiply_sparse(starts, numbers, values, begin, count, forms, columns, biases, products):
    """Products of sparse rows with centres: nnz * K multiplications for a row of nnz values.

    forms: float32 (features * columns), a feature a row; biases: (columns,), -|c|^2 / 2.
    """
    for i in range(count):
        first, end, row = starts[begin + i], starts[begin + i + 1], i * columns
        for j in range(0, columns, 16):
            product = load(biases, j)
            for at in range(first, end):
                product = fma(splat(values[at]), load(forms, np.int64(numbers[at]) * columns + j), product)
            store(products, row + j, product)


@kernel
def absorb_sparse(
    starts, numbers, values, begin, count, products, keys, columns, width, sums, counts, squares, places, lanes,
    lane_keys,
):  # fmt: skip
    """As `absorb`, for sparse rows; sums are of x, and a squared distance is |x|^2 less twice the product."""
    loss = 0.0
    for i in range(count):
        place = np.int64(largest_at(products, keys, i * columns, columns, lanes, lane_keys))
        if place == columns or not abs(products[i * columns + place]) < LARGEST:
            return -1.0 - i
        square, centre = 0.0, place * width
        for at in range(starts[begin + i], starts[begin + i + 1]):
            square += np.float64(values[at]) * np.float64(values[at])
            sums[centre + numbers[at]] += values[at]
        square = max(0.0, square - 2 * np.float64(products[i * columns + place]))
        if not square < LARGEST:
            return -1.0 - i
        counts[place] += 1
        squares[begin + i] = square
        places[begin + i] = place
        loss += square
    return loss


@kernel
def move(table, forms, width, features, weights, idle, sums, counts, threads, centres, decay, rows):
    """Move centres by what a batch's rows differ from them, each by 1 / weight of it, and empty sums and counts.

    sums: float32 (threads, columns * width), counts: int64 (threads, columns), flat. weights: float64 (K,), rows that a
    centre stands for; before these rows they shrink by `decay`. idle: int64 (K,), rows since a centre's last one.
    """
    stride = counts.shape[0] // threads
    size = stride * width
    for j in range(centres):
        found = 0
        for t in range(threads):
            found += counts[t * stride + j]
            counts[t * stride + j] = 0
        weights[j] *= decay
        if found == 0:
            idle[j] += rows
            continue
        idle[j] = 0
        weights[j] += found
        rate = splat(np.float32(1 / weights[j]))
        for f in range(0, width, 16):
            at = j * width + f
            centre = load(table, at)
            for t in range(threads):
                centre = fma(rate, load(sums, t * size + at), centre)
                store(sums, t * size + at, splat(np.float32(0)))
            store(table, at, centre)
            store(forms, at, centre)
        square = 0.0
        for f in range(features):
            square += np.float64(table[j * width + f]) * np.float64(table[j * width + f])
        forms[j * width + features] = -square / 2


@kernel
def reach(points, weights, count, width, place, nearest, reached):
    """Of each point the squared distance to the nearest so far or to the one at `place`; returns their weighted sum.

    points: float32 (n * width), zeros behind the features; nearest, reached: float32 (n,); weights: float64 (n,).
    """
    minus, loss = splat(np.float32(-1)), 0.0
    for i in range(count):
        square = splat(np.float32(0))
        for f in range(0, width, 16):
            difference = fma(load(points, place * width + f), minus, load(points, i * width + f))
            square = fma(difference, difference, square)
        reached[i] = min(nearest[i], total(square))
        loss += weights[i] * np.float64(reached[i])
    return loss


@kernel
def spread(points, weights, count, width, draws, nearest, reached, best, sums, chosen):
    """k-means++ from chosen[0] on; returns how many are chosen, fewer than draws has rows if no others are distinct.

    draws: float64 (k * candidates), uniform in [0, 1), as many a row as there are candidates; chosen: int64 (k,).
    nearest: float32 (n,), as large as floats are; reached, best: float32 (n,), sums: float64 (n,), scratch.
    """
    k = chosen.size
    candidates = draws.size // k
    reach(points, weights, count, width, chosen[0], nearest, nearest)
    for turn in range(1, k):
        so_far = 0.0
        for i in range(count):
            so_far += weights[i] * np.float64(nearest[i])
            sums[i] = so_far
        if not so_far > 0:
            return turn
        least, winner = np.inf, np.int64(-1)
        for c in range(candidates):
            wanted, place, end = draws[turn * candidates + c] * so_far, 0, count - 1
            while place < end:  # the first whose sum is above it
                middle = (place + end) // 2
                if sums[middle] > wanted:
                    end = middle
                else:
                    place = middle + 1
            if not nearest[place] > 0:
                continue  # rounding has led to one that is chosen already
            loss = reach(points, weights, count, width, place, nearest, reached)
            if loss < least:
                least, winner = loss, place
                for i in range(count):
                    best[i] = reached[i]
        if winner < 0:
            return turn
        chosen[turn] = winner
        for i in range(count):
            nearest[i] = best[i]
    return k


@kernel
def nearest(rows, count, features, turned, columns, centres, places, distances, lanes):
    """The nearest centre of each row, and the distance to it, by no matrix product: no answer depends on other rows.

    turned: float32 (features * columns), a feature a row; columns: a multiple of 64, those of no centre are not looked
    at. places: int32; distances: float64, Euclidean, summed in float64; -1 where the numbers are too large for float32.
    lanes: float32 (64,), scratch.
    """
    zero = splat(np.float32(0))
    for i in range(count):
        row, place, best = i * features, np.int64(-1), np.float32(LARGEST)
        for j in range(0, columns, 64):
            a, b, c, d = zero, zero, zero, zero
            for f in range(features):
                x, at = splat(-rows[row + f]), f * columns + j
                difference = fma(splat(np.float32(1)), load(turned, at), x)
                a = fma(difference, difference, a)
                difference = fma(splat(np.float32(1)), load(turned, at + 16), x)
                b = fma(difference, difference, b)
                difference = fma(splat(np.float32(1)), load(turned, at + 32), x)
                c = fma(difference, difference, c)
                difference = fma(splat(np.float32(1)), load(turned, at + 48), x)
                d = fma(difference, difference, d)
            store(lanes, 0, a)
            store(lanes, 16, b)
            store(lanes, 32, c)
            store(lanes, 48, d)
            for k in range(min(64, centres - j)):
                if lanes[k] < best:
                    best, place = lanes[k], j + k
        places[i] = place
        distances[i] = -1.0
        if place >= 0:
            square = 0.0
            for f in range(features):
                difference64 = np.float64(rows[row + f]) - np.float64(turned[f * columns + place])
                square += difference64 * difference64
            distances[i] = np.sqrt(square)
