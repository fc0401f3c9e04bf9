"""Rows into tables and out of them, as floats and as halves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wildsage.algorithms.blazingtext.fasttext_file import TableRows, dense
from wildsage.algorithms.blazingtext.kernels.rows import collect_rows, place_rows, scale_rows, spread_rows
from wildsage.kernels.vector import HALVES, padded

DTYPES = [np.float32, pytest.param(np.int16, marks=pytest.mark.skipif(not HALVES, reason="no vectors of halves"))]


def table_of(rows: NDArray[np.float32], dtype: Any) -> NDArray[Any]:
    """The padded table that holds these rows, flat; they are numbers that halves can hold."""
    wide = np.zeros((rows.shape[0], padded(rows.shape[1])), np.float32)
    wide[:, : rows.shape[1]] = rows
    return wide.reshape(-1) if dtype == np.float32 else wide.astype(np.float16).view(np.int16).reshape(-1)


def some_rows(count: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).integers(-64, 64, (count, dim)).astype(np.float32) / 32


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [1, 16, 37])
@pytest.mark.parametrize("count", [0, 1, 40])
def test_what_is_placed_is_collected(count: int, dim: int, dtype: Any) -> None:
    width = padded(dim)
    rows, places = some_rows(count, dim), np.random.default_rng(1).permutation(count + 3)[:count].astype(np.int32)
    places[::5] = -1
    table = np.zeros((count + 3) * width, dtype)
    place_rows(table, width, places, dim, 0, count, np.zeros(width, np.float32), rows.reshape(-1))
    out = np.full(count * dim, 9, np.float32)
    collect_rows(
        table, width, places, np.full(count, 2, np.float32), dim, 0, count, np.zeros(width, np.float32), out
    )  # fmt: skip
    np.testing.assert_array_equal(out.reshape(-1, dim), np.where(places[:, None] < 0, 0, 2 * rows))


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_are_scaled(dtype: Any) -> None:
    rows = some_rows(6, 20)
    table = table_of(rows, dtype)
    sources, targets = np.array([1, -1, 2], np.int32), np.array([1, 3, 5], np.int32)
    scale_rows(table, 32, sources, targets, np.array([0.5, 3, 2], np.float32), 0, 3)
    rows[1], rows[5] = rows[1] / 2, 2 * rows[2]
    np.testing.assert_array_equal(table, table_of(rows, dtype))


@given(st.sets(st.integers(0, 60), min_size=1, max_size=30), st.integers(1, 40), st.booleans(), st.data())
def test_rows_are_spread_with_zeros_between(numbers: set[int], dim: int, floats: bool, data: st.DataObject) -> None:
    dtype = np.float32 if floats or not HALVES else np.int16
    ids = np.array(sorted(numbers), np.int64)
    begin = data.draw(st.integers(0, ids.size - 1))
    end = data.draw(st.integers(begin + 1, ids.size))
    rows, places = some_rows(ids.size + 2, dim), np.random.default_rng(2).permutation(ids.size).astype(np.int32)
    out = np.full((ids[-1] + 1) * dim + padded(dim), 9, np.float32)
    spread_rows(table_of(rows, dtype), padded(dim), places, ids, begin, end, dim, out)
    expected = np.zeros((ids[end - 1] - ids[begin] + 1, dim), np.float32)
    expected[ids[begin:end] - ids[begin]] = rows[places[begin:end]]
    np.testing.assert_array_equal(out[: expected.size].reshape(-1, dim), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_rows_of_a_table_are_rows(dtype: Any) -> None:
    rows = some_rows(5, 20)
    table = np.zeros((5, 32), dtype)
    table[:, :20] = rows
    found = TableRows(20, table, np.array([4, 0, 0], np.int32))
    assert found.shape == (3, 20)
    np.testing.assert_array_equal(dense(found), rows[[4, 0, 0]])
    np.testing.assert_array_equal(dense(found[np.array([1])]), rows[[0]])
    assert dense(found).dtype == np.float32
