"""Rows that several threads train, each a copy of its own, brought together after each round; see ../rounds.py."""

from __future__ import annotations

import numpy as np

from wildsage.algorithms.blazingtext.kernels.supervised import NOISES
from wildsage.algorithms.kernel import kernel
from wildsage.algorithms.vector import WIDTH, fma, load, splat, store, store_rounded

NOBODY, SEVERAL = -1, -2


@kernel
def mark_owners(rows, part, owners):
    """Say in owners, int32 (table's rows,), NOBODY at first, which rows only this part has, and which SEVERAL have."""
    for j in range(rows.size):
        owner = owners[rows[j]]
        if owner == NOBODY:
            owners[rows[j]] = part
        elif owner != part:
            owners[rows[j]] = SEVERAL


@kernel
def redirect(rows, slots, base):
    """Turn rows that have a slot, int32 (table's rows,), -1 for none, into base + slot; returns their number."""
    count = 0
    for j in range(rows.size):
        slot = slots[rows[j]]
        if slot >= 0:
            rows[j] = base + slot
            count += 1
    return count


@kernel
def list_touched(rows, begin, end, base, mark, marked, touched, count):
    """Append the slots of entries begin..end that are not marked yet to `touched`, and mark them. Returns the count.

    rows: int32, as redirect left them. marked: int32 (slots,). touched: int32. count: entries of it so far.
    """
    for j in range(begin, end):
        slot = rows[j] - base
        if slot >= 0 and marked[slot] != mark:
            marked[slot] = mark
            touched[count] = slot
            count += 1
    return count


@kernel
def merge_rows(table, width, homes, base, parts, touched, begin, end, noise, chance):
    """Add what each part changed in the slots touched[begin:end] to the rows at home, and take these over.

    homes: int32 (slots,), the row of each. Part t's copies begin at row base + t * slots. noise, chance: see
    store_rounded; where in the noise to begin.
    """
    one, minus = splat(np.float32(1)), splat(np.float32(-1))
    for k in range(begin, end):
        slot = np.int64(touched[k])
        home = np.int64(homes[slot]) * width
        for d in range(0, width, WIDTH):
            before = load(table, home + d)
            merged = before
            for t in range(parts):
                copy = load(table, (base + t * homes.size + slot) * width + d)
                merged = fma(one, fma(minus, before, copy), merged)
            store_rounded(table, home + d, merged, noise, (chance + k * width + d) & (NOISES - 1))
            merged = load(table, home + d)
            for t in range(parts):
                store(table, (base + t * homes.size + slot) * width + d, merged)
