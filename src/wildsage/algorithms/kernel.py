"""`@kernel`, our one njit: the flags that every kernel shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])

# No "nnan" and "ninf": a kernel must be able to see a NaN.
FAST_MATH = {"reassoc", "contract", "arcp", "nsz", "afn"}


def kernel(function: F) -> F:
    """Compile a numeric function: no interpreter lock, cached on disk, float sums may be reordered."""
    return cast(F, njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST_MATH)(function))
