"""Rows of numbers as CSV to float32."""

from __future__ import annotations

import numpy as np

from wildsage.data.kernels.numbers import GOOD, NONE, number_at, word_at
from wildsage.kernels.kernel import kernel

# What a field can be, or what is wrong with a row.
NUMBER, UNSURE, MISSING, INFINITE, BAD = 0, 1, 2, 3, 4
DONE, FULL, TOO_FEW, TOO_MANY, NO_NUMBER, NO_VALUE, NOT_FINITE = 0, 1, 2, 3, 4, 5, 6
QUOTE = np.uint8(34)


@kernel
def odd_field(data, at, separator, value, place):
    """Read a field that is not a plain number: blanks or quotes around it, a plus, a word, or nothing at all.

    value: float64 (1,). place: int64 (3,), gets the first byte of the number, the place behind it, and the place of the
    separator or newline behind the field. Returns NUMBER, UNSURE, MISSING, INFINITE, or BAD, with the bad byte in
    place[2].
    """
    while (data[at] == 32 or data[at] == 9) and data[at] != separator:
        at += 1
    quoted = data[at] == QUOTE
    if quoted:
        at += 1
        while data[at] == 32:
            at += 1
    kind = MISSING
    place[0] = at
    if data[at] == 43 and data[at + 1] != 45:
        at += 1
    number, behind, state = number_at(data, at)
    if state != NONE:
        value[0] = number
        kind = NUMBER if state == GOOD else UNSURE
        at = behind
    else:
        word = word_at(data, at)
        if word > 0:
            at += np.int64(data[at] == 45) + word
            kind = MISSING if word == 3 and data[at - 1] | np.uint8(32) == 110 else INFINITE
        elif at > place[0]:
            at = place[0]
    place[1] = at
    if quoted:
        while data[at] == 32:
            at += 1
        if data[at] != QUOTE:
            place[2] = at
            return BAD
        at += 1
    while (data[at] == 32 or data[at] == 9) and data[at] != separator:
        at += 1
    place[2] = at
    if data[at] == separator or data[at] == 10 or (data[at] == 13 and data[at + 1] == 10):
        return kind
    return BAD


@kernel
def parse_rows(data, at, rows, separator, lead, features, lines, first, allow_missing, late, scratch, state):
    """Fill `rows` rows from row `first` on: the first columns into lead, float32 (R, L), the rest into features (R, d).

    data: uint8 with 64 bytes to spare, from the beginning of a line at `at`; each line ends with a newline. Empty lines
    are passed over. lines: int64 (R,), gets the number of each row's line, counted on from state[0].
    late: int64 (N, 4) with N > 2 (L + d), gets row, column and bytes from and to of numbers that the caller must read.
    scratch: (float64 (1,), int64 (3,)). state: int64 (6,): the line; the place; rows done; the column and the byte of
    an error; how many are late. Returns DONE; FULL when late is, to be called again from there; or what is wrong.
    """
    value, place = scratch
    leading = lead.shape[1]
    width = leading + features.shape[1]
    line, unsure = state[0], np.int64(0)
    missing = np.float32(np.nan)
    for i in range(first, first + rows):
        if unsure + width > late.shape[0]:
            state[0], state[1], state[2], state[5] = line, at, i, unsure
            return FULL
        while data[at] == 10 or (data[at] == 13 and data[at + 1] == 10):
            at += 1 + np.int64(data[at] == 13)
            line += 1
        lines[i] = line
        for j in range(width):
            begin = at
            number, at, kind = number_at(data, at)
            end = data[at]
            last = j == width - 1
            if kind != GOOD or end != (np.uint8(10) if last else separator):
                kind = odd_field(data, begin, separator, value, place)
                at = place[2]
                wrong = DONE
                if kind == NUMBER:
                    number = value[0]
                elif kind == UNSURE:
                    number = 0.0
                    late[unsure, 0], late[unsure, 1], late[unsure, 2], late[unsure, 3] = i, j, place[0], place[1]
                    unsure += 1
                elif kind == BAD:
                    wrong = NO_NUMBER
                elif allow_missing and j >= leading:
                    number = missing
                else:
                    wrong = NO_VALUE if kind == MISSING else NOT_FINITE
                if wrong == DONE:
                    if data[at] == 13:
                        at += 1
                    if not last and data[at] == 10:
                        wrong = TOO_FEW
                    elif last and data[at] != 10:
                        wrong = TOO_MANY
                if wrong != DONE:
                    state[0], state[1], state[2], state[3], state[4], state[5] = line, begin, i, j, at, unsure
                    return wrong
            if j < leading:
                lead[i, j] = np.float32(number)
            else:
                features[i, j - leading] = np.float32(number)
            at += 1
        line += 1
    state[0], state[1], state[2], state[5] = line, at, first + rows, unsure
    return DONE
