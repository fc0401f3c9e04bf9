"""The largest eigenvalues alone, beside all of them."""

from __future__ import annotations

import numpy as np
import pytest

from wildsage.algorithms.pca.leading import LEAST_DIM, leading


def _with_values(values: np.ndarray) -> np.ndarray:
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((len(values), len(values))))[0]
    made = (turn * values) @ turn.T
    return np.asarray((made + made.T) / 2)


@pytest.mark.parametrize("count", [1, 7, 30])
@pytest.mark.parametrize("base", [0.5, 0.9, 0.97])
def test_it_finds_what_an_eigendecomposition_finds(count: int, base: float) -> None:
    matrix = _with_values(1e6 * base ** np.arange(LEAST_DIM) + 1e-2)
    found = leading(matrix, count)
    if found is None:  # where values are no longer told from rounding
        assert base == 0.5
        return
    values, vectors = np.linalg.eigh(matrix)
    assert found[0] == pytest.approx(values[-count:], rel=1e-9)
    some = values[-count:] > 1e-3 * values[-1]
    assert np.abs((found[1] * vectors[:, -count:]).sum(axis=0))[some] == pytest.approx(1, abs=1e-12)
    assert found[1].T @ found[1] == pytest.approx(np.eye(count), abs=1e-11)


def test_copies_of_a_value_that_a_block_does_not_see_are_never_left_out() -> None:
    values = np.linspace(0, 1, LEAST_DIM)
    values[-25:] = 5
    found = leading(_with_values(values), 30)
    assert found is None or (found[0] > 4.99).sum() == 25


@pytest.mark.parametrize("rank", [0, 3, 12])
def test_a_matrix_of_low_rank_is_right_or_left_to_others(rank: int) -> None:
    values = np.zeros(LEAST_DIM)
    values[:rank] = np.arange(1, rank + 1)
    found = leading(_with_values(values), 5)
    if found is not None:
        assert found[0] == pytest.approx(np.sort(values)[-5:], abs=1e-9)


def test_flat_values_and_small_matrices_are_left_to_others() -> None:
    random = np.random.default_rng(0).standard_normal((LEAST_DIM, LEAST_DIM))
    assert leading(random + random.T + 100 * np.eye(LEAST_DIM), 33) is None
    assert leading(np.eye(50), 2) is None
    assert leading(np.eye(LEAST_DIM), LEAST_DIM // 10) is None
