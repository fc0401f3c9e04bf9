"""Vectors as text: floats to the shortest decimals that nine digits allow and back, exactly, many lines a call."""

from __future__ import annotations

import numpy as np

from wildsage.algorithms.kernel import kernel

# Powers of ten as float64; exact up to 1e22, which is where nearly every number of a vector stays.
POWERS = np.array([10.0**k for k in range(64)])
DIGITS = 9  # what a float32 needs to be read back as itself
LONGEST_NUMBER = 16  # "-1.23456789e-38" and the blank before it
MOST_DIGITS = 18  # of a number that is read; they fit a signed 64-bit integer
NOT_A_NUMBER, TOO_FEW, TOO_MANY, NO_WORD, ZERO_BYTE, CUT_OFF = 1, 2, 3, 4, 5, 6


@kernel
def write_number(value, out, at):
    """Append a finite float32 as decimal digits to out[at:], uint8. Returns the new end.

    One rounding to nine digits in float64, so reading it back gives the same float32. Bound by nine divisions by ten.
    """
    a = np.float64(value)
    if a < 0:
        out[at] = 45
        at += 1
        a = -a
    if a == 0:
        out[at] = 48
        return at + 1
    exponent = 0  # of ten, of the first digit
    while a >= POWERS[exponent + 1]:
        exponent += 1
    while exponent > -63 and a * POWERS[max(0, -exponent)] < 1 and exponent <= 0:
        exponent -= 1
    shift = DIGITS - 1 - exponent
    number = np.int64(np.rint(a * POWERS[shift] if shift >= 0 else a / POWERS[-shift]))
    if number >= 1_000_000_000:
        number //= 10
        exponent += 1
    length = DIGITS
    while length > 1 and number % 10 == 0:
        number //= 10
        length -= 1
    point, scientific = exponent + 1, not -5 <= exponent < DIGITS  # digits before the point
    if scientific:
        point = 1
    if point <= 0:
        out[at], out[at + 1] = 48, 46
        at += 2
        for _ in range(-point):
            out[at] = 48
            at += 1
    size = length + 1 if 0 < point < length else length
    for j in range(size - 1, -1, -1):
        if 0 < point < length and j == point:
            out[at + j] = 46
        else:
            out[at + j] = 48 + number % 10
            number //= 10
    at += size
    for _ in range(point - length):
        out[at] = 48
        at += 1
    if scientific:
        out[at] = 101
        out[at + 1] = 45 if exponent < 0 else 43
        exponent = abs(exponent)
        out[at + 2] = 48 + exponent // 10
        out[at + 3] = 48 + exponent % 10
        at += 4
    return at


@kernel
def write_lines(words, starts, rows, out):
    """Write a line a row: word, blank, numbers parted by blanks, newline.

    Returns the bytes written, or -1 - i for a row i that has a number that is not finite.

    words: uint8, one behind the other, from starts, int64 (n + 1,). rows: float32 (n, d). out: uint8, with room for
    starts[n] + n * (LONGEST_NUMBER * d + 1).
    """
    at = 0
    for i in range(rows.shape[0]):
        for j in range(starts[i], starts[i + 1]):
            out[at] = words[j]
            at += 1
        for f in range(rows.shape[1]):
            if not np.isfinite(rows[i, f]):
                return -1 - i
            out[at] = 32
            at = write_number(rows[i, f], out, at + 1)
        out[at] = 10
        at += 1
    return at


@kernel
def is_blank(c):
    return c == 32 or c == 9


@kernel
def read_number(data, at, end):
    """The number at data[at:end], and where it ends; (0, -1) for what is no number. Finite or not, as float64."""
    negative = False
    if at < end and (data[at] == 45 or data[at] == 43):
        negative = data[at] == 45
        at += 1
    mantissa, exponent, digits, seen, fraction = np.int64(0), 0, 0, 0, False
    while at < end:
        c = data[at]
        if 48 <= c <= 57:
            seen += 1
            if digits < MOST_DIGITS:
                mantissa = mantissa * 10 + np.int64(c - 48)
                digits += mantissa > 0
                exponent -= fraction
            else:
                exponent += not fraction
        elif c == 46 and not fraction:
            fraction = True
        else:
            break
        at += 1
    if seen == 0:
        return 0.0, -1
    if at < end and (data[at] == 101 or data[at] == 69):
        at += 1
        below = False
        if at < end and (data[at] == 45 or data[at] == 43):
            below = data[at] == 45
            at += 1
        given, figures = 0, 0
        while at < end and 48 <= data[at] <= 57:
            given = min(given * 10 + np.int64(data[at] - 48), 100_000)
            figures += 1
            at += 1
        if figures == 0:
            return 0.0, -1
        exponent += -given if below else given
    value = np.float64(mantissa)
    if exponent >= POWERS.size or exponent <= -POWERS.size:
        value *= 10.0 ** np.float64(exponent) if mantissa != 0 else 0.0
    elif exponent >= 0:
        value *= POWERS[exponent]
    else:
        value /= POWERS[-exponent]
    return (-value if negative else value), at


@kernel
def read_numbers(data, at, end, row):
    """Fill row, float32 (d,), with the numbers of data[at:end]. Returns 0 or what is wrong, and where."""
    for f in range(row.size):
        while at < end and is_blank(data[at]):
            at += 1
        if at == end:
            return TOO_FEW, at
        value, past = read_number(data, at, end)
        if past < 0 or (past < end and not is_blank(data[past])):
            return NOT_A_NUMBER, at
        row[f] = value
        if not np.isfinite(row[f]):
            return NOT_A_NUMBER, at
        at = past
    while at < end and is_blank(data[at]):
        at += 1
    return (TOO_MANY if at < end else 0), at


@kernel
def read_lines(data, at, rows, places, lengths):
    """Read lines of a word and its numbers from data[at:], uint8, into rows, float32 (n, d), at most n of them.

    places, lengths: int64 (n,), filled: where each word is. A word may hold blanks, as some of GloVe's do: then it is
    all that the last d fields leave. Returns (lines read, where it stopped, 0, or what is wrong there). Empty lines are
    passed over. Bound by the digits: 1 to 2 ns each.
    """
    count = 0
    dim = rows.shape[1]
    while count < rows.shape[0] and at < data.size:
        end = at
        while end < data.size and data[end] != 10:
            end += 1
        begin, next_line = at, end + 1
        if end > begin and data[end - 1] == 13:
            end -= 1
        if begin == end:
            at = min(next_line, data.size)
            continue
        split = begin
        while split < end and not is_blank(data[split]):
            split += 1
        if split == begin:
            return count, begin, NO_WORD
        wrong, where = read_numbers(data, split, end, rows[count])
        if wrong in (TOO_MANY, NOT_A_NUMBER):
            split = end
            for _ in range(dim):
                while split > begin and is_blank(data[split - 1]):
                    split -= 1
                while split > begin and not is_blank(data[split - 1]):
                    split -= 1
            while split > begin and is_blank(data[split - 1]):
                split -= 1
            if split > begin:
                again, _ = read_numbers(data, split, end, rows[count])
                if again == 0:
                    wrong = 0
        if wrong != 0:
            return count, where, wrong
        for j in range(begin, split):
            if data[j] == 0:
                return count, j, ZERO_BYTE
        places[count], lengths[count] = begin, split - begin
        count += 1
        at = min(next_line, data.size)
    return count, at, 0


@kernel
def read_records(data, at, row_bytes, places, lengths):
    """Read word2vec's binary records from data[at:]: a word, a blank, its floats, perhaps a newline.

    row_bytes: uint8 (n, 4 * d), filled. places, lengths: int64 (n,), filled. Returns as read_lines does.
    """
    width = row_bytes.shape[1]
    for i in range(row_bytes.shape[0]):
        while at < data.size and data[at] == 10:
            at += 1
        begin = at
        while at < data.size and data[at] != 32:
            if data[at] == 0:
                return i, at, ZERO_BYTE
            at += 1
        if at + 1 + width > data.size:
            return i, data.size, CUT_OFF
        if at == begin:
            return i, at, NO_WORD
        places[i], lengths[i] = begin, at - begin
        at += 1
        for f in range(width):
            row_bytes[i, f] = data[at + f]
        at += width
    return row_bytes.shape[0], at, 0
