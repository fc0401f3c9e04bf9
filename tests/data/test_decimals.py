"""32-bit floats as their shortest decimals, against NumPy's own printing one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wildsage.data.decimals import FEW, plain, shortest


def slow(numbers: np.ndarray) -> np.ndarray:
    return np.array([float(str(number)) for number in numbers.ravel()], np.float64).reshape(numbers.shape)


@given(arrays(np.uint32, st.sampled_from([0, 1, 5, FEW, FEW + 1, 200])))
def test_any_bits(bits: np.ndarray) -> None:
    numbers = bits.view(np.float32)
    np.testing.assert_array_equal(shortest(numbers), slow(numbers))


@given(arrays(np.float32, st.integers(FEW + 1, 60), elements=st.floats(-1e6, 1e6, width=32)))
def test_usual_numbers(numbers: np.ndarray) -> None:
    np.testing.assert_array_equal(shortest(numbers), slow(numbers))


@pytest.mark.parametrize("step", [-1, 0, 1])
def test_beside_powers_of_two_and_ten(step: int) -> None:
    powers = [np.ldexp(np.float32(1), np.arange(-149, 128)), np.float32(10.0) ** np.arange(-44, 39, dtype=np.float32)]
    bits = np.concatenate(powers).astype(np.float32).view(np.uint32) + np.uint32(step % 2**32)
    numbers = bits.view(np.float32)
    np.testing.assert_array_equal(shortest(numbers), slow(numbers))
    np.testing.assert_array_equal(shortest(-numbers), slow(-numbers))


def test_lists_keep_their_form_and_other_types_their_values() -> None:
    assert plain(np.array([[0.1, 3.0]], np.float32)) == [[0.1, 3.0]]
    assert plain(np.full(FEW + 1, 0.1, np.float32)) == [0.1] * (FEW + 1)
    assert plain(np.array([0.1])) == [0.1]
    assert plain(np.arange(2)) == [0, 1]
    assert str(plain(np.array([-0.0], np.float32))) == "[-0.0]"
