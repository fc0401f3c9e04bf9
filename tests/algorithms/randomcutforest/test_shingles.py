"""Shingles of a series, whole or in parts."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wildsage.algorithms.randomcutforest.shingles import Shingler, shingled


def test_a_shingle_has_the_oldest_row_first() -> None:
    rows = np.arange(8, dtype=np.float32).reshape(4, 2)
    assert shingled(rows, 2).tolist() == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]]
    assert shingled(rows, 1).tolist() == rows.tolist()
    assert shingled(rows, 5).shape == (0, 10)


@given(size=st.integers(1, 5), width=st.integers(1, 3), parts=st.lists(st.integers(0, 6), max_size=6))
def test_parts_have_the_shingles_of_the_whole(size: int, width: int, parts: list[int]) -> None:
    rows = np.random.default_rng(0).normal(size=(sum(parts), width)).astype(np.float32)
    shingler, found, begin = Shingler(size, width), [np.zeros((0, size * width), np.float32)], 0
    for count in parts:
        found.append(shingler.take(rows[begin : begin + count]))
        begin += count
    np.testing.assert_array_equal(np.concatenate(found), shingled(rows, size))
