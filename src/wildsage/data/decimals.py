"""32-bit floats as the doubles that print in the fewest digits: 0.1, not 0.10000000149011612."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEW = 24  # numbers up to which one by one is faster
FEWEST, MOST = 6, 9  # significant digits: six come back from any decimal, nine tell all floats apart
WHOLE = 1 << 24  # up to which all integers are floats
SMALLEST, LARGEST = 1e-13, 1e15  # between which a power of ten and an integer of nine digits give the exact quotient


def shortest(numbers: NDArray[np.float32]) -> NDArray[np.float64]:
    """For each 32-bit float the double whose shortest decimal is the float's own; of the same shape.

    A decimal of up to nine digits is m / 10**s with m and 10**s exact in doubles, so one division rounds it right, and
    a double gives back any decimal of 15 digits: what is printed are the digits of m.
    """
    if numbers.size <= FEW:
        return np.array([float(str(number)) for number in numbers.ravel()], np.float64).reshape(numbers.shape)
    flat = numbers.ravel()
    with np.errstate(all="ignore"):
        found = flat.astype(np.float64)
        left = np.flatnonzero((found != np.rint(found)) | (np.abs(found) > WHOLE))
        sizes = np.abs(found[left])
        plain = (sizes > SMALLEST) & (sizes < LARGEST)
        odd = [left[~plain]]
        left, sizes = left[plain], sizes[plain]
        powers = np.floor(np.log10(sizes)).astype(np.int64)
        for digits in range(FEWEST, MOST + 1):
            scales = digits - 1 - powers
            up = 10.0 ** np.maximum(scales, 0)
            down = 10.0 ** np.maximum(-scales, 0)
            tried = np.rint(found[left] * up / down) / up * down
            missed = tried.astype(np.float32) != flat[left]
            found[left[~missed]] = tried[~missed]
            left, powers = left[missed], powers[missed]
            # Below a power of two floats lie closer than above: the nearest decimal may miss where another one hits.
            edge = np.frexp(flat[left])[0] == np.copysign(np.float32(0.5), flat[left])
            odd.append(left[edge])
            left, powers = left[~edge], powers[~edge]
        odd.append(left)
    for place in np.concatenate(odd).tolist():
        found[place] = float(str(flat[place]))
    return found.reshape(numbers.shape)


def plain(column: NDArray[Any]) -> list[Any]:
    """An array as nested lists of Python's numbers; 32-bit floats as their shortest decimals."""
    found: list[Any] = (shortest(column) if column.dtype == np.float32 else column).tolist()
    return found
