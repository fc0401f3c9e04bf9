"""Vectors as text: floats to the shortest decimals that nine digits allow and back, exactly, many lines a call."""

from __future__ import annotations

import numpy as np

from wildsage.kernels.kernel import kernel
from wildsage.kernels.vector import load8

# Powers of ten as float64; exact up to 1e22, which is where nearly every number of a vector stays.
POWERS = np.array([10.0**k for k in range(64)])
DIGITS = 9  # what a float32 needs to be read back as itself
THOUSAND, MILLION = np.uint32(1000), np.uint32(1_000_000)
TRIPLES = np.frombuffer(b"".join(b"%03d" % number for number in range(1000)), np.uint8)
LONGEST_NUMBER = 17  # "-0.0000123456789" and the blank before it
UPPER, SIXES = np.uint64(0xF0F0F0F0F0F0F0F0), np.uint64(0x0606060606060606)
ZEROS, DIGIT_PAIRS = np.uint64(0x3030303030303030), np.uint64(0x3333333333333333)
PAIRS = np.uint64(0x000000FF000000FF)
MOST_DIGITS = 18  # of a number that is read; they fit a signed 64-bit integer
NOT_A_NUMBER, TOO_FEW, TOO_MANY, NO_WORD, ZERO_BYTE, CUT_OFF = 1, 2, 3, 4, 5, 6


@kernel
def write_triple(number, out, at):
    """out[at:at + 3] = the three digits of a number below 1,000."""
    place = 3 * np.int64(number)
    out[at], out[at + 1], out[at + 2] = TRIPLES[place], TRIPLES[place + 1], TRIPLES[place + 2]


@kernel
def write_number(value, out, at):
    """Append a finite float32 as decimal digits to out[at:], uint8, with LONGEST_NUMBER free. Returns the new end.

    One rounding to nine digits in float64, so reading it back gives the same float32. Three digits at a time: one by
    one, with their divisions, took twice as long.
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
    if a < 1:
        while a * POWERS[-exponent] < 1:
            exponent -= 1
    else:
        while a >= POWERS[exponent + 1]:
            exponent += 1
    shift = DIGITS - 1 - exponent
    number = np.uint32(np.rint(a * POWERS[shift] if shift >= 0 else a / POWERS[-shift]))
    if number >= np.uint32(1_000_000_000):
        number //= np.uint32(10)
        exponent += 1
    high = number // MILLION
    rest = number - high * MILLION
    middle = rest // THOUSAND
    scientific = not -5 <= exponent < DIGITS
    if exponent < 0 and not scientific:
        for _ in range(1 - exponent):
            out[at] = 48
            at += 1
        out[at + exponent] = 46
    else:
        at += 1
    write_triple(high, out, at)
    write_triple(middle, out, at + 3)
    write_triple(rest - middle * THOUSAND, out, at + 6)
    end = at + DIGITS
    if exponent >= 0 or scientific:  # the digits before the point move one to the left
        point = 1 if scientific else exponent + 1
        for j in range(point):
            out[at - 1 + j] = out[at + j]
        out[at - 1 + point] = 46
    while out[end - 1] == 48:
        end -= 1
    if out[end - 1] == 46:
        end -= 1
    if scientific:
        out[end] = 101
        out[end + 1] = 45 if exponent < 0 else 43
        exponent = abs(exponent)
        out[end + 2] = 48 + exponent // 10
        out[end + 3] = 48 + exponent % 10
        end += 4
    return end


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
def are_digits(eight):
    """Whether the eight bytes of a uint64 are all digits: 0x30 to 0x39, and so also with 6 added."""
    return (eight & UPPER) | ((eight + SIXES) & UPPER) >> np.uint64(4) == DIGIT_PAIRS


@kernel
def eight_digits(eight):
    """The number that eight digits are, the lowest byte first: pairs, then fours, then all, each in one multiplication.

    Numbers of nine digits take two thirds of the time that digits one by one take. Source: Lemire, "Quickly parsing
    eight digits with AVX-512", 2018; simdjson, parse_eight_digits_unrolled.
    """
    x = eight - ZEROS
    x = x * np.uint64(10) + (x >> np.uint64(8))
    low = (x & PAIRS) * np.uint64(0x000F424000000064)
    high = ((x >> np.uint64(16)) & PAIRS) * np.uint64(0x0000271000000001)
    return np.int64((low + high) >> np.uint64(32))


@kernel
def read_long_mantissa(data, at, end):
    """The digits and the point at data[at:end] as (mantissa, exponent): of more digits than fit, the first ones."""
    mantissa, exponent, digits, fraction = np.int64(0), 0, 0, False
    while at < end and (48 <= data[at] <= 57 or data[at] == 46):
        if data[at] == 46:
            fraction = True
        elif digits < MOST_DIGITS:
            mantissa = mantissa * 10 + np.int64(data[at] - 48)
            digits += mantissa > 0
            exponent -= fraction
        else:
            exponent += not fraction
        at += 1
    return mantissa, exponent


@kernel
def read_number(data, at, end):
    """The number at data[at:end], and where it ends; (0, -1) for what is no number. Finite or not, as float64."""
    negative = False
    if at < end and (data[at] == 45 or data[at] == 43):
        negative = data[at] == 45
        at += 1
    begin, mantissa, exponent = at, np.int64(0), 0
    while at < end and 48 <= data[at] <= 57:
        mantissa = mantissa * 10 + np.int64(data[at] - 48)
        at += 1
    digits = at - begin
    if at < end and data[at] == 46:
        at += 1
        first = at
        if at + 8 <= end:
            eight = load8(data, at)
            if are_digits(eight):
                mantissa = mantissa * 100_000_000 + eight_digits(eight)
                at += 8
        while at < end and 48 <= data[at] <= 57:
            mantissa = mantissa * 10 + np.int64(data[at] - 48)
            at += 1
        exponent = first - at
        digits -= exponent
    if digits == 0:
        return 0.0, -1
    if digits > MOST_DIGITS:
        mantissa, exponent = read_long_mantissa(data, begin, at)
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
