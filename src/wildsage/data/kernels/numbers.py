"""Decimal numbers in text to float32, with the bits that NumPy gives: text to the nearest float64, that to float32.

A number of at most 19 digits is an integer times a power of ten. In float64 arithmetic the product is right to less
than 3 units in the last place; of a longer one, its first 19 digits tell as much. So its float32 is the right one,
unless the product lies that close to the middle between two float32, which happens to one number in 30 million: those
are left to the caller ("late").
"""

from __future__ import annotations

import numpy as np

from wildsage.kernels.kernel import kernel, kernel_part
from wildsage.kernels.vector import load8, number_bits, trailing_zeros

MOST_DIGITS = 19  # that fit 64 bits
LARGEST_POWER = 60  # of ten; beyond is zero or infinity, or late
POWERS = np.array([float(f"1e{power}") for power in range(-LARGEST_POWER, LARGEST_POWER + 1)])
TENS = np.array([10**power for power in range(9)], np.uint64)
TIE, HALF, DOUBT = np.int64(0x1FFFFFFF), np.int64(0x10000000), np.int64(8)
SMALLEST, LARGEST = np.int64(897), np.int64(1149)  # exponents in a float64; beyond, a float32 has fewer bits, or none
ZEROS, ABOVE_NINE = np.uint64(0x3030303030303030), np.uint64(0x7676767676767676)
HIGH, LOW = np.uint64(0x8080808080808080), np.uint64(0x7F7F7F7F7F7F7F7F)
NIBBLES, BYTES, SHORTS = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
TEN, HUNDRED, MYRIAD = np.uint64(2561), np.uint64(6553601), np.uint64(42949672960001)
POINT = np.uint8(46)

GOOD, LATE, NONE = 0, 1, 2


@kernel_part
def not_digits(word):
    """The high bit of each of eight bytes that is no ASCII digit."""
    digits = word ^ ZEROS
    return (((digits & LOW) + ABOVE_NINE) | digits) & HIGH


@kernel_part
def is_digit(byte):
    """Whether a byte is an ASCII digit."""
    return np.uint8(byte - np.uint8(48)) < 10


@kernel_part
def value8(word, count):
    """The value of the first `count` of eight ASCII digits: paired, the pairs paired, and those; 0 if count is."""
    word = word << np.uint64(8 * (7 - min(count, 7))) << np.uint64(8 * np.int64(count < 8))
    word = (word & NIBBLES) * TEN >> np.uint64(8)
    word = (word & BYTES) * HUNDRED >> np.uint64(16)
    return (word & SHORTS) * MYRIAD >> np.uint64(32)


@kernel_part
def digits_from(data, at, mantissa):
    """Append the digits at data[at:] to a mantissa. Returns it and the place behind them.

    A jump for each eight of them, none for each: how many there are is what a processor can not guess.
    """
    while True:
        word = load8(data, at)
        count = trailing_zeros(not_digits(word)) >> 3
        mantissa = mantissa * TENS[count] + value8(word, count)
        at += count
        if count < 8:
            return mantissa, at


@kernel
def long_number(data, at):
    """The first 19 digits that count of the number at data[at:], as a mantissa, and the power of ten it lacks.

    What is dropped is less than a float64 can tell, so it changes nothing but what is close to the middle.
    """
    mantissa, digits, power, point = np.uint64(0), np.int64(0), np.int64(0), False
    while is_digit(data[at]) or (data[at] == POINT and not point):
        if data[at] == POINT:
            point = True
        elif digits < MOST_DIGITS:
            mantissa = mantissa * np.uint64(10) + np.uint64(data[at] - np.uint8(48))
            digits += np.int64(mantissa != np.uint64(0))
            power -= np.int64(point)
        else:
            power += np.int64(not point)
        at += 1
    return mantissa, power


@kernel_part
def number_at(data, at):
    """Read the number at data[at:], uint8 with eight bytes to spare: [-]digits[.digits][e[+-]digits].

    Returns (value as float64, place behind it, GOOD, LATE or NONE): NONE where there is none; LATE where its text is a
    number, but this arithmetic does not tell which float32.
    """
    negative = data[at] == 45
    at += np.int64(negative)
    begin = at
    # Most numbers are eight bytes or less, point and all: the point is taken out of the word that holds them.
    word = load8(data, at)
    others = not_digits(word)
    whole = trailing_zeros(others) >> 3
    exponent = np.int64(0)
    if whole < 8 and data[at + whole] == POINT:
        rest = others & (others - np.uint64(1))
        size = trailing_zeros(rest) >> 3
        before = (np.uint64(1) << np.uint64(8 * whole)) - np.uint64(1)
        mantissa = value8((word & before) | ((word >> np.uint64(8)) & ~before), size - 1)
        at += size
        if size == 8 and is_digit(data[at]):
            mantissa, at = digits_from(data, at, mantissa)
        length = at - begin - 1
        exponent = whole - length
    else:
        mantissa = value8(word, whole)
        at += whole
        if whole == 8:
            mantissa, at = digits_from(data, at, mantissa)
        length = at - begin
        if data[at] == POINT:
            mantissa, last = digits_from(data, at + 1, mantissa)
            exponent = at + 1 - last
            length -= exponent
            at = last
    if length == 0:
        return 0.0, at, NONE
    if length > MOST_DIGITS:
        mantissa, exponent = long_number(data, begin)
    if data[at] | np.uint8(32) == 101:
        minus = data[at + 1] == 45
        first = at + 1 + np.int64(minus or data[at + 1] == 43)
        power = np.int64(0)
        last = first
        while is_digit(data[last]):
            power = min(power * 10 + np.int64(data[last]) - 48, np.int64(1_000_000))
            last += 1
        if last == first:
            return 0.0, at, NONE
        at = last
        exponent += -power if minus else power
    if np.uint64(exponent + LARGEST_POWER) > np.uint64(2 * LARGEST_POWER):
        return 0.0, at, LATE
    value = np.float64(mantissa) * POWERS[exponent + LARGEST_POWER]
    bits = number_bits(value)
    close = abs((bits & TIE) - HALF) < DOUBT
    outside = np.uint64((bits >> 52) - SMALLEST) > np.uint64(LARGEST - SMALLEST) and mantissa != np.uint64(0)
    return -value if negative else value, at, LATE if close or outside else GOOD


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
