"""Counting which words stand near which: pairs to sorted runs, runs to shuffled blocks.

The matrix of counts is cut into blocks of SIDE x SIDE words, a word's number being its rank by frequency. A count is
whole: sums of 1 / distance in units of 2^-28. So it doesn't depend on the order in which a text is counted, nor on
threads or memory.

Frequent words make most pairs, but few different ones: these are counted in an array, the corner, which holds the cells
(row, column), both from 1, whose product is up to a limit. All others are written down as keys that are then sorted and
added up. From the highest bit: block row, block column, row and column within the block, distance - 1.
With symmetric counts, the row is the lower number of the two words.
"""

from __future__ import annotations

import numpy as np

from wildsage.kernels.kernel import kernel, kernel_part

SIDE_BITS = 9
SIDE = 1 << SIDE_BITS  # words a side of a block
CELL_BITS = 2 * SIDE_BITS
CELLS = SIDE * SIDE
UNIT_BITS = 28
POSITION, PAIRS = 0, 1  # places in the state of list_pairs
BLOCKS, NON_ZEROS = 0, 1  # places in the state of merge_runs


@kernel_part
def cell_key(row, column, bits):
    """The key of a cell, without a distance. bits: for the number of a block's row or column."""
    block = (row >> SIDE_BITS) << bits | column >> SIDE_BITS
    return (block << SIDE_BITS | (row & (SIDE - 1))) << SIDE_BITS | (column & (SIDE - 1))


@kernel
def list_pairs(stream, end, shares, symmetric, limit, firsts, corner, bits, distance_bits, pairs, state):
    """Count pairs of the words up to stream[end] with those before them, till `pairs` is full.

    stream: int32, words, and negative where a line ends. shares: int64 (window + 1,), units of each distance.
    limit, firsts: the corner's shape; corner: int64, updated, with one more entry, which means nothing. pairs: int64,
    out: keys. state: int64 (2,): the position in the stream, and how many pairs there are.
    Bound by arithmetic, some 25 operations a pair, while the corner fits into the second cache.
    """
    window, at, n = shares.size - 1, state[0], state[1]
    nowhere = corner.size - 1
    transposed = nowhere // 2
    while at < end and n + window <= pairs.size:
        word = np.int64(stream[at])
        if word >= 0:
            for distance in range(1, min(window, at) + 1):
                other = np.int64(stream[at - distance])
                if other < 0:
                    break
                low, high = min(word, other), max(word, other)
                # Both ways are gone without a branch, which would be foreseen wrongly at every fifth pair.
                outside = (low + 1) * (high + 1) > limit
                entry = firsts[min(low, firsts.size - 1)] + high
                row, column = low, high
                if not symmetric:
                    row, column = word, other
                    entry += transposed if other < word else 0
                entry = nowhere if outside else entry
                corner[entry] += shares[distance]
                pairs[n] = cell_key(row, column, bits) << distance_bits | (distance - 1)
                n += outside
        at += 1
    state[0], state[1] = at, n


@kernel
def sort_pairs(pairs, n, distance_bits, digit_bits, passes, scratch, counts):
    """Sort pairs[:n] by their cells, in `passes` passes, an even number, each by a digit of so many bits.

    scratch: int64 (n,). counts: int64 (2**digit_bits + 1,). A counting sort: NumPy's takes four times as long on
    processors that are slow at compressing vectors.
    """
    source, target, mask = pairs, scratch, (1 << digit_bits) - 1
    for turn in range(passes):
        shift = distance_bits + turn * digit_bits
        for digit in range(mask + 2):
            counts[digit] = 0
        for k in range(n):
            counts[((source[k] >> shift) & mask) + 1] += 1
        for digit in range(mask + 1):
            counts[digit + 1] += counts[digit]
        for k in range(n):
            digit = (source[k] >> shift) & mask
            target[counts[digit]] = source[k]
            counts[digit] += 1
        source, target = target, source


@kernel
def add_up(pairs, n, shares, distance_bits, units):
    """Add up equal cells of sorted pairs[:n], in place: keys without distances. Returns how many cells there are.

    units: int64 (n,), out: each cell's count.
    """
    cells, mask = -1, (1 << distance_bits) - 1
    for k in range(n):
        key = pairs[k] >> distance_bits
        share = shares[(pairs[k] & mask) + 1]
        if cells >= 0 and pairs[cells] == key:
            units[cells] += share
        else:
            cells += 1
            pairs[cells] = key
            units[cells] = share
    return cells + 1


@kernel
def list_corner(words, symmetric, limit, firsts, corner, bits, keys, units):
    """Write the corner's cells in order of their keys; returns how many. keys, units: int64, out, as large as it."""
    n, transposed = 0, (corner.size - 1) // 2
    rows = min(words, limit)
    for row_block in range((rows + SIDE - 1) >> SIDE_BITS):
        first_row = row_block << SIDE_BITS
        columns = min(words, limit // (first_row + 1))
        for column_block in range((columns + SIDE - 1) >> SIDE_BITS):
            first_column = column_block << SIDE_BITS
            for row in range(first_row, min(rows, first_row + SIDE)):
                end = min(words, limit // (row + 1), first_column + SIDE)
                for column in range(max(first_column, row) if symmetric else first_column, end):
                    entry = firsts[min(row, column)] + max(row, column)
                    if row > column:  # the pairs of a word with one that stands before it, and is more frequent
                        entry += transposed
                    if corner[entry] != 0:
                        keys[n] = cell_key(row, column, bits)
                        units[n] = corner[entry]
                        n += 1
    return n


@kernel_part
def shuffled(cell, key):
    """A number of CELL_BITS bits for each cell, each another one, as if drawn at random: a Feistel network."""
    left, right = np.uint64(cell >> SIDE_BITS), np.uint64(cell & (SIDE - 1))
    for turn in range(4):
        mixed = (right + key + np.uint64(turn)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        left, right = right, left ^ (mixed >> np.uint64(64 - SIDE_BITS))
    return np.int64(left << np.uint64(SIDE_BITS) | right)


@kernel_part
def sort_codes(codes, n, scratch, counts):
    """Sort codes[:n] by the CELL_BITS bits above the lowest CELL_BITS, in two passes of a counting sort."""
    source, target = codes, scratch
    for turn in range(2):
        shift = CELL_BITS + turn * SIDE_BITS
        for digit in range(SIDE + 1):
            counts[digit] = 0
        for k in range(n):
            counts[((source[k] >> shift) & (SIDE - 1)) + 1] += 1
        for digit in range(SIDE):
            counts[digit + 1] += counts[digit]
        for k in range(n):
            digit = (source[k] >> shift) & (SIDE - 1)
            target[counts[digit]] = source[k]
            counts[digit] += 1
        source, target = target, source


@kernel
def merge_runs(keys, units, cursors, ends, symmetric, bits, seed, square, codes, scratch, counts, blocks, cells, totals,
               state):  # fmt: skip
    """Merge runs block by block, each in random order, till the arrays `blocks` and `cells` could be too small.

    keys, units: int64, the runs, run r from cursors[r], which is moved on, up to ends[r]. square: int64 (CELLS,),
    zeros, and again at the end. codes, scratch: int64 (CELLS,); counts: int64 (SIDE + 1,). blocks: int64 (4 * n,),
    out, of each block: its row, column, first cell and number of cells. cells: int32, out, row * SIDE + column;
    totals: float64, out, their counts. state: int64 (2,): blocks, cells, both zero beforehand.
    Symmetric blocks on the diagonal get both halves, and the diagonal itself counts twice: a word that stands before
    its equal also stands behind it.
    Returns whether all is merged.
    """
    n_blocks, n_cells = 0, 0
    scale = 1.0 / (1 << UNIT_BITS)
    last = np.int64(0x7FFFFFFFFFFFFFFF)
    while 4 * n_blocks < blocks.size and n_cells + CELLS <= cells.size:
        block = last
        for r in range(cursors.size):
            if cursors[r] < ends[r]:
                block = min(block, keys[cursors[r]] >> CELL_BITS)
        if block == last:
            state[0], state[1] = n_blocks, n_cells
            return True
        row, column = block >> bits, block & ((1 << bits) - 1)
        twice = symmetric and row == column
        key = (np.uint64(block) + np.uint64(seed) * np.uint64(0xD1342543DE82EF95)) * np.uint64(0x94D049BB133111EB)
        n = 0
        for r in range(cursors.size):
            k, end = cursors[r], ends[r]
            while k < end and keys[k] >> CELL_BITS == block:
                cell = keys[k] & (CELLS - 1)
                if square[cell] == 0:
                    codes[n] = shuffled(cell, key) << CELL_BITS | cell
                    n += 1
                square[cell] += units[k]
                if twice:
                    mirror = (cell & (SIDE - 1)) << SIDE_BITS | cell >> SIDE_BITS
                    if square[mirror] == 0:
                        codes[n] = shuffled(mirror, key) << CELL_BITS | mirror
                        n += 1
                    square[mirror] += units[k]
                k += 1
            cursors[r] = k
        sort_codes(codes, n, scratch, counts)
        for k in range(n):
            cell = codes[k] & (CELLS - 1)
            cells[n_cells + k] = cell
            totals[n_cells + k] = square[cell] * scale
            square[cell] = 0
        blocks[4 * n_blocks] = row
        blocks[4 * n_blocks + 1] = column
        blocks[4 * n_blocks + 2] = n_cells
        blocks[4 * n_blocks + 3] = n
        n_blocks += 1
        n_cells += n
    state[0], state[1] = n_blocks, n_cells
    return False
