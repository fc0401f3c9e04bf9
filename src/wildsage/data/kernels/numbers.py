"""Decimal numbers in text to float32, with the bits that NumPy gives: text to the nearest float64, that to float32.

A number of at most 19 digits is an integer times a power of ten. In float64 arithmetic the product is right to less
than 3 units in the last place. So its float32 is the right one, unless the product lies that close to the middle
between two float32, which happens to one number in 30 million: those, and numbers of more digits, are left to the
caller ("late").
"""

from __future__ import annotations

import numpy as np

from wildsage.kernels.kernel import kernel, kernel_part
from wildsage.kernels.vector import load8, number_bits

MOST_DIGITS = 19  # that fit 64 bits
LARGEST_POWER = 60  # of ten; beyond is zero or infinity, or late
POWERS = np.array([float(f"1e{power}") for power in range(-LARGEST_POWER, LARGEST_POWER + 1)])
TIE, HALF, DOUBT = np.int64(0x1FFFFFFF), np.int64(0x10000000), np.int64(8)
SMALLEST, LARGEST = 1.2e-38, 3.4e38  # beyond these a float32 has fewer bits, or none
SIXES, ZEROS, HIGH = np.uint64(0x4646464646464646), np.uint64(0x3030303030303030), np.uint64(0x8080808080808080)
NIBBLES, BYTES, SHORTS = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
TEN, HUNDRED, MYRIAD = np.uint64(2561), np.uint64(6553601), np.uint64(42949672960001)
EIGHT_DIGITS = np.uint64(100_000_000)

GOOD, LATE, NONE = 0, 1, 2


@kernel_part
def all_digits(word):
    """Whether eight bytes are all ASCII digits."""
    return ((word + SIXES) | (word - ZEROS)) & HIGH == np.uint64(0)


@kernel_part
def value8(word):
    """The value of eight ASCII digits: paired, the pairs paired, and those, with a multiplication each."""
    word = (word & NIBBLES) * TEN >> np.uint64(8)
    word = (word & BYTES) * HUNDRED >> np.uint64(16)
    return (word & SHORTS) * MYRIAD >> np.uint64(32)


@kernel_part
def digits_from(data, at, mantissa):
    """Append the digits at data[at:] to a mantissa. Returns it and the place behind them."""
    word = load8(data, at)
    while all_digits(word):
        mantissa = mantissa * EIGHT_DIGITS + value8(word)
        at += 8
        word = load8(data, at)
    byte = np.uint8(data[at] - np.uint8(48))
    while byte < 10:
        mantissa = mantissa * np.uint64(10) + np.uint64(byte)
        at += 1
        byte = np.uint8(data[at] - np.uint8(48))
    return mantissa, at


@kernel_part
def number_at(data, at):
    """Read the number at data[at:], uint8 with eight bytes to spare: [-]digits[.digits][e[+-]digits].

    Returns (value as float64, place behind it, GOOD, LATE or NONE): NONE where there is none; LATE where its text is a
    number, but this arithmetic does not tell which float32.
    """
    negative = data[at] == 45
    at += np.int64(negative)
    begin = at
    mantissa, at = digits_from(data, at, np.uint64(0))
    length = at - begin
    exponent = np.int64(0)
    if data[at] == 46:
        point = at + 1
        mantissa, at = digits_from(data, point, mantissa)
        exponent = point - at
        length += at - point
    if length == 0:
        return 0.0, at, NONE
    if data[at] | np.uint8(32) == 101:
        minus = data[at + 1] == 45
        first = at + 1 + np.int64(minus or data[at + 1] == 43)
        power = np.int64(0)
        last = first
        byte = np.uint8(data[last] - np.uint8(48))
        while byte < 10:
            power = min(power * 10 + np.int64(byte), np.int64(1_000_000))
            last += 1
            byte = np.uint8(data[last] - np.uint8(48))
        if last == first:
            return 0.0, at, NONE
        at = last
        exponent += -power if minus else power
    within = min(max(exponent, -LARGEST_POWER), LARGEST_POWER)
    value = np.float64(mantissa) * POWERS[within + LARGEST_POWER]
    off = number_bits(value) & TIE
    close = abs(off - HALF) < DOUBT
    small = value < SMALLEST and mantissa != np.uint64(0)
    state = LATE if length > MOST_DIGITS or close or small or value > LARGEST or within != exponent else GOOD
    return -value if negative else value, at, state


@kernel
def word_at(data, at):
    """The length of nan, inf or infinity at data[at:], in any case, behind a sign; 0 if there is none."""
    at += np.int64(data[at] == 45 or data[at] == 43)
    a, b, c = data[at] | np.uint8(32), data[at + 1] | np.uint8(32), data[at + 2] | np.uint8(32)
    if a == 110 and b == 97 and c == 110:  # nan
        return 3
    if a == 105 and b == 110 and c == 102:  # inf, infinity
        long = (
            data[at + 3] | np.uint8(32) == 105
            and data[at + 4] | np.uint8(32) == 110
            and data[at + 5] | np.uint8(32) == 105
            and data[at + 6] | np.uint8(32) == 116
            and data[at + 7] | np.uint8(32) == 121
        )
        return 8 if long else 3
    return 0
