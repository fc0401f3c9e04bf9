"""Large arrays on huge pages."""

from __future__ import annotations

import numpy as np
import pytest

from wildsage.algorithms.blazingtext.memory import HUGE_PAGE, fresh


@pytest.mark.parametrize("count", [0, 1, HUGE_PAGE // 4 - 1, HUGE_PAGE // 4, HUGE_PAGE, HUGE_PAGE + 1])
def test_fresh_arrays_are_zeros_and_writable(count: int) -> None:
    array = fresh(count, np.int32)
    assert (array.size, array.dtype) == (count, np.int32)
    assert not array.any()
    array[:] = 7
    assert (array == 7).all()
    assert array.nbytes < HUGE_PAGE or array.ctypes.data % HUGE_PAGE == 0
