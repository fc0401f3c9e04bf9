"""Lines of libsvm to compressed rows of float32: label[:weight] index:value index:value …, and # to the line's end."""

from __future__ import annotations

import numpy as np

from wildsage.data.kernels.numbers import GOOD, NONE, number_at, word_at
from wildsage.kernels.kernel import kernel

# What a number can be, or what is wrong with a row.
NUMBER, UNSURE, MISSING, BAD = 0, 1, 2, 3
DONE, FULL, NO_NUMBER, NOT_FINITE, NO_INDEX, INDEX, NO_WEIGHT, WEIGHT = range(8)
LEADING, VALUE = 0, 1  # where a number that is left to the caller belongs
LARGEST_INDEX = np.int64((1 << 31) - 2)


@kernel
def plain_number(data, at, value, place):
    """Read the number at data[at:], with a plus too. place[0] gets the place behind it. Returns what it is."""
    begin = at
    at += np.int64(data[at] == 43 and data[at + 1] != 45)
    number, behind, state = number_at(data, at)
    kind = BAD
    place[0] = begin
    if state != NONE:
        value[0] = number
        place[0] = behind
        kind = NUMBER if state == GOOD else UNSURE
    else:
        word = word_at(data, begin)
        if word > 0:
            place[0] = begin + np.int64(data[begin] == 45 or data[begin] == 43) + word
            kind = MISSING
    return kind


@kernel
def is_space(byte):
    """Whether a byte parts what is on a line."""
    return byte == 32 or byte == 9 or byte == 13


@kernel
def parse_lines(
    data, at, rows, leading, lines, starts, columns, values, width, labelled, weighted, first, allow_missing, late,
    scratch, state,
):  # fmt: skip
    """Read rows from row `first` on: label and weight into leading, float32 (R, L), features into columns and values.

    data: uint8 with 64 bytes to spare, from the beginning of a line at `at`; each ends with a newline. rows: to be
    read; state[2] of them are already. starts: int64 (rows + 1,) that begins with a 0. width: columns there are, or -1.
    late: int64 (N, 4), gets where (LEADING or VALUE, and the flat place) and the bytes of numbers that the caller must
    read. scratch: (float64 (1,), int64 (1,)).
    state: int64 (8,): the line; the place; rows done; the byte of an error; how many are late; the widest row; and
    values that are there. Returns DONE; FULL when columns or late are, to be called again from there; or what is wrong.
    """
    value, place = scratch
    line, unsure, widest = state[0], np.int64(0), state[5]
    missing = np.float32(np.nan)
    for i in range(state[2], rows):
        state[0], state[1], state[2], state[4], state[5] = line, at, i, unsure, widest
        filled = starts[i]
        while data[at] == 10 or (data[at] == 13 and data[at + 1] == 10):
            at += 1 + np.int64(data[at] == 13)
            line += 1
        lines[first + i] = line
        begun = False
        while True:
            while is_space(data[at]):
                at += 1
            if data[at] == 35:
                while data[at] != 10:
                    at += 1
            if data[at] == 10:
                break
            if unsure == late.shape[0] or filled == columns.shape[0]:
                return FULL
            begin = at
            state[0], state[3] = line, at
            colon = at
            while data[colon] != 58 and data[colon] != 10 and not is_space(data[colon]):
                colon += 1
            pair = data[colon] == 58
            if not begun and (labelled or not pair):
                begun = True
                kind = plain_number(data, at, value, place)
                at = place[0]
                if kind == BAD or not (data[at] == 58 or data[at] == 10 or data[at] == 35 or is_space(data[at])):
                    return NO_NUMBER
                if kind == MISSING:
                    return NOT_FINITE
                if labelled:
                    leading[first + i, 0] = np.float32(value[0])
                    if kind == UNSURE:
                        late[unsure, 0], late[unsure, 1], late[unsure, 2], late[unsure, 3] = (
                            LEADING, (first + i) * leading.shape[1], begin, at,
                        )  # fmt: skip
                        unsure += 1
                if data[at] == 58:
                    if not weighted:
                        return WEIGHT
                    kind = plain_number(data, at + 1, value, place)
                    at = place[0]
                    # A weight at the edge of what is float32 has nothing to say.
                    if kind in (BAD, MISSING) or not (data[at] == 10 or data[at] == 35 or is_space(data[at])):
                        return NO_NUMBER
                    leading[first + i, 1] = np.float32(value[0])
                elif weighted:
                    return NO_WEIGHT
                if unsure == late.shape[0]:
                    return FULL
                continue
            begun = True
            index = np.int64(0)
            while at < colon and data[at] >= 48 and data[at] <= 57 and index <= LARGEST_INDEX:
                index = index * 10 + np.int64(data[at]) - 48
                at += 1
            if not pair or at == begin or at != colon:
                return INDEX if pair and index > LARGEST_INDEX else NO_INDEX
            if index > LARGEST_INDEX or (width >= 0 and index >= width):
                return INDEX
            kind = plain_number(data, colon + 1, value, place)
            at = place[0]
            if kind == BAD or not (data[at] == 10 or data[at] == 35 or is_space(data[at])):
                return NO_NUMBER
            if kind == MISSING:
                if not allow_missing:
                    return NOT_FINITE
                values[filled] = missing
            else:
                values[filled] = np.float32(value[0])
                if kind == UNSURE:
                    late[unsure, 0], late[unsure, 1], late[unsure, 2], late[unsure, 3] = VALUE, filled, colon + 1, at
                    unsure += 1
            columns[filled] = np.int32(index)
            widest = max(widest, index + 1)
            filled += 1
        if labelled and not begun:
            state[0], state[3] = line, at
            return NO_NUMBER
        starts[i + 1] = filled
        at += 1
        line += 1
    state[0], state[1], state[2], state[4], state[5] = line, at, rows, unsure, widest
    return DONE
