"""Where rows of text end."""

from __future__ import annotations

import numpy as np

from wildsage.kernels.kernel import kernel
from wildsage.kernels.vector import matches, ones, trailing_zeros

NEWLINE, RETURN = np.uint8(10), np.uint8(13)
BEGINNING = np.uint64(1) << np.uint64(63)


@kernel
def find_lines(data, begin, limit, end, wanted, found):
    """Pass over up to `wanted` lines that begin before `limit` and end before `end`, and the empty lines between.

    data: uint8 with 64 bytes to spare behind `end`. begin: the beginning of a line. found: int64 (3,), gets the lines
    that are not empty, the place behind the last line passed, and how many lines there were with the empty ones.
    """
    rows, lines, behind = np.int64(0), np.int64(0), begin
    before, returns_before = BEGINNING, np.uint64(0)
    at = begin
    while at < end and rows < wanted and behind < limit:
        newlines = matches(data, at, NEWLINE)
        returns = matches(data, at, RETURN)
        if at + 64 > end:
            newlines &= (np.uint64(1) << np.uint64(end - at)) - np.uint64(1)
        after_newline = newlines << np.uint64(1) | before >> np.uint64(63)
        after_return = (returns << np.uint64(1) | returns_before >> np.uint64(63)) & (
            newlines << np.uint64(2) | before >> np.uint64(62)
        )
        empty = newlines & (after_newline | after_return)
        filled = ones(newlines) - ones(empty)
        if rows + filled <= wanted and at + 64 <= limit:
            rows += filled
            lines += ones(newlines)
            if newlines != np.uint64(0):
                last = newlines
                while last & (last - np.uint64(1)) != np.uint64(0):
                    last &= last - np.uint64(1)
                behind = at + trailing_zeros(last) + 1
        else:
            while newlines != np.uint64(0) and rows < wanted and behind < limit:
                lowest = newlines & (~newlines + np.uint64(1))
                rows += np.int64(empty & lowest == np.uint64(0))
                lines += 1
                behind = at + trailing_zeros(lowest) + 1
                newlines ^= lowest
        before, returns_before = matches(data, at, NEWLINE), returns
        at += 64
    found[0], found[1], found[2] = rows, behind, lines
