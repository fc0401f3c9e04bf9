"""Nearest rows beside a sort of all cosines."""

from __future__ import annotations

import numpy as np
import pytest

from wildsage.algorithms.blazingtext import neighbours
from wildsage.algorithms.blazingtext.neighbours import Neighbours


@pytest.mark.parametrize("count", [1, 2, 17, 1000])
@pytest.mark.parametrize("dim", [1, 15, 16, 40, 100])
@pytest.mark.parametrize("queries", [1, 4, 5])
def test_the_best_are_found_in_order(count: int, dim: int, queries: int) -> None:
    rng = np.random.default_rng(count * dim)
    rows = rng.normal(size=(count, dim)).astype(np.float32)
    rows[count // 2] = 0
    asked = rng.normal(size=(queries, dim)).astype(np.float32) * 7
    ids, scores = Neighbours(rows, 1).nearest(asked, 5)
    norms = np.linalg.norm(rows, axis=1)
    cosines = (asked @ rows.T) / np.where(norms > 0, norms, 1) / np.linalg.norm(asked, axis=1, keepdims=True)
    expected = -np.sort(-cosines, axis=1)[:, :5]
    found = min(5, count)
    np.testing.assert_allclose(scores[:, :found], expected, atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(cosines, ids[:, :found], axis=1), expected, atol=1e-5)
    assert (ids[:, found:] == -1).all()


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "ROWS_PER_THREAD", 10)
    rows = np.random.default_rng(1).normal(size=(101, 20)).astype(np.float32)
    rows[50:60] = rows[3]  # ties are in order of id
    one, three = (Neighbours(rows, threads).nearest(rows[3:5], 15) for threads in (1, 3))
    np.testing.assert_array_equal(one[0], three[0])
    np.testing.assert_array_equal(one[1], three[1])
    assert one[0][0, :11].tolist() == [3, *range(50, 60)]


def test_rows_at_any_address() -> None:
    rows = np.random.default_rng(1).normal(size=(20, 20)).astype(np.float32)
    data = np.zeros(rows.nbytes + 3, np.uint8)
    data[3:] = rows.reshape(-1).view(np.uint8)
    moved = data[3:].view(np.float32).reshape(rows.shape)
    np.testing.assert_array_equal(Neighbours(moved).nearest(rows[:2], 4)[0], Neighbours(rows).nearest(rows[:2], 4)[0])


def test_rows_of_huge_and_of_no_values() -> None:
    rows = np.zeros((4, 3), np.float32)
    rows[1], rows[2] = 1e18, np.nan
    ids, scores = Neighbours(rows).nearest(np.ones((1, 3), np.float32), 2)
    assert ids[0, 0] == 1
    assert scores[0, 0] == pytest.approx(1)
    assert 2 not in ids


def test_no_rows() -> None:
    ids, _ = Neighbours(np.empty((0, 3), np.float32)).nearest(np.ones((1, 3), np.float32), 2)
    assert ids.tolist() == [[-1, -1]]
