"""Sums, merged and resumed, against the singular values of all rows in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.algorithms.pca.jobs import apart, batch, slow, sparse, table
from wildsage.algorithms.pca.state import Covariance, Moments, Sketch, without_repeats
from wildsage.algorithms.streaming import Workers
from wildsage.contract.errors import DataError
from wildsage.data.batch import SparseRows


@pytest.fixture(params=[1, 3])
def workers(request: pytest.FixtureRequest) -> Iterator[Workers]:
    with Workers(request.param) as made:
        yield made


def fed(state: Any, rows: Any, size: int = 300) -> Any:
    for begin in range(0, len(rows), size):
        part = rows.part(begin, min(begin + size, len(rows))) if isinstance(rows, SparseRows) else rows[begin:][:size]
        state.update(batch(part))
    return state


@pytest.mark.parametrize("dim", [1, 2, 16, 17, 40, 300])
@pytest.mark.parametrize("subtract_mean", [True, False])
def test_components_are_exact(dim: int, subtract_mean: bool, workers: Workers) -> None:
    rows = table(1000, dim)
    count = min(dim, 4)
    found = fed(Covariance(dim, workers), rows).components(count, subtract_mean=subtract_mean)
    vectors, singular, mean = slow(rows, count, subtract_mean=subtract_mean)
    assert apart(found.vectors, vectors) < 1e-6
    assert np.allclose(np.sqrt(found.scatter), singular, rtol=1e-6)
    assert np.allclose(found.mean, mean, rtol=0, atol=1e-7)
    assert np.isclose(found.total, ((rows.astype(float) - mean) ** 2).sum(), rtol=1e-6)
    assert (np.diff(found.scatter) >= 0).all()
    assert (found.vectors[np.abs(found.vectors).argmax(axis=0), range(count)] > 0).all()


@pytest.mark.parametrize("count", [1, 128, 129, 641])
def test_any_number_of_rows(count: int, workers: Workers) -> None:
    rows = table(count, 20)
    state = fed(Covariance(20, workers), rows, 250)
    shifted = rows.astype(float) - state.shift
    assert np.allclose(np.triu(state.products), np.triu(shifted.T @ shifted), rtol=1e-6, atol=1e-5)
    assert np.allclose(state.sums, shifted.sum(axis=0), rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("mean", [1e3, -3e7])
@pytest.mark.parametrize("dim", [20, 300])
def test_a_large_mean_costs_no_digits(mean: float, dim: int, workers: Workers) -> None:
    """The spread is some units of the last place; NumPy in float64 is the truth, and float32 would see noise alone."""
    spread = abs(mean) * 2**-24 * 64
    rows = table(2000, dim, mean=mean, spread=spread)
    found = fed(Covariance(dim, workers), rows).components(3, subtract_mean=True)
    vectors, singular, _ = slow(rows, 3)
    assert apart(found.vectors, vectors) < 1e-6
    assert np.allclose(np.sqrt(found.scatter), singular, rtol=1e-6)


def test_a_mean_that_drifts_costs_few(workers: Workers) -> None:
    """What the drift adds has 5,000 times the variance of the last component looked at, and float32 has 24 bits."""
    rows = table(4000, 20) + np.linspace(0, 30, 4000, dtype=np.float32)[:, None]
    found = fed(Covariance(20, workers), rows).components(4, subtract_mean=True)
    assert apart(found.vectors, slow(rows, 4)[0]) < 5e-4


def make(kind: str, workers: Workers, dim: int = 40) -> Moments:
    return Covariance(dim, workers) if kind == "regular" else Sketch(dim, workers, 30, seed=5)


@pytest.mark.parametrize("kind", ["regular", "randomized"])
@pytest.mark.parametrize("subtract_mean", [True, False])
def test_two_halves_are_one_pass(kind: str, subtract_mean: bool, workers: Workers) -> None:
    rows = table(900, 40)
    rows[450:] += np.float32(0.3)  # so that their shifts differ
    whole, first, second = (make(kind, workers) for _ in range(3))
    fed(whole, rows)
    fed(first, rows[:450])
    fed(second, rows[450:])
    first.merge(second)
    first.merge(make(kind, workers))
    empty = make(kind, workers)
    empty.merge(first)
    wanted = whole.components(4, subtract_mean=subtract_mean)
    for state in (first, empty):
        found = state.components(4, subtract_mean=subtract_mean)
        assert found.rows == 900
        assert apart(found.vectors, wanted.vectors) < 1e-5
        assert np.allclose(found.scatter, wanted.scatter, rtol=1e-6)
        assert np.allclose(found.mean, wanted.mean)
        assert np.isclose(found.total, wanted.total)


@pytest.mark.parametrize("kind", ["regular", "randomized"])
def test_a_state_is_its_arrays(kind: str, workers: Workers) -> None:
    rows = table(600, 40)
    state, other = make(kind, workers), make(kind, workers)
    fed(state, rows[:300])
    other.restore({name: array.copy() for name, array in state.arrays().items()})
    for each in (state, other):
        fed(each, rows[300:])
    assert all(np.array_equal(array, other.arrays()[name]) for name, array in state.arrays().items())


@pytest.mark.parametrize("kind", ["regular", "randomized"])
def test_arrays_of_another_state_are_refused(kind: str, workers: Workers) -> None:
    state = make(kind, workers)
    with pytest.raises(ValueError, match="is of shape"):
        state.restore(make(kind, workers, 41).arrays())
    with pytest.raises(KeyError):
        state.restore({"count": np.array(1)})
    with pytest.raises(ValueError, match="not of the same kind"):
        state.merge(make("regular" if kind == "randomized" else "randomized", workers))


def test_sketches_of_other_directions_do_not_merge(workers: Workers) -> None:
    one, other = Sketch(8, workers, 4, seed=1), Sketch(8, workers, 4, seed=2)
    for state in (one, other):
        fed(state, table(10, 8))
    with pytest.raises(ValueError, match="different directions"):
        one.merge(other)


def test_a_sketch_finds_what_falls_off(workers: Workers) -> None:
    rows = table(2000, 200)
    found = fed(Sketch(200, workers, 30, seed=1), rows).components(5, subtract_mean=True)
    vectors, singular, _ = slow(rows, 5)
    assert apart(found.vectors, vectors) < 1e-2
    assert np.allclose(np.sqrt(found.scatter), singular, rtol=1e-3)
    assert np.isclose(found.total, ((rows - rows.mean(axis=0, dtype=float)) ** 2).sum(), rtol=1e-6)


@pytest.mark.parametrize("subtract_mean", [True, False])
def test_each_epoch_makes_a_sketch_more_exact(subtract_mean: bool, workers: Workers) -> None:
    rows = (np.random.default_rng(0).standard_normal((1000, 100)) * np.linspace(1, 3, 100)).astype(np.float32) + 1
    state = Sketch(100, workers, 20, seed=1)
    wanted = slow(rows, 3, subtract_mean=subtract_mean)[1]
    errors = []
    for _ in range(3):
        if state.count:
            state.sharpen(subtract_mean=subtract_mean)
        found = fed(state, rows).components(3, subtract_mean=subtract_mean)
        errors.append(np.abs(np.sqrt(found.scatter) / wanted - 1).max())
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] < 0.05


def test_a_sketch_of_few_directions_is_filled_up(workers: Workers) -> None:
    rows = np.outer(np.arange(20), np.ones(6)).astype(np.float32)
    found = fed(Sketch(6, workers, 4, seed=1), rows).components(3, subtract_mean=True)
    assert np.allclose(found.vectors.T @ found.vectors, np.eye(3), atol=1e-9)
    assert np.allclose(found.scatter[:2] / found.total, 0, atol=1e-6)
    assert np.isclose(found.scatter[2], found.total, rtol=1e-6)


@pytest.mark.parametrize("kind", ["regular", "randomized"])
@pytest.mark.parametrize("density", [0.02, 0.5])
@pytest.mark.parametrize("subtract_mean", [True, False])
def test_sparse_rows_are_dense_ones(kind: str, density: float, subtract_mean: bool, workers: Workers) -> None:
    rows = table(800, 40) * (np.random.default_rng(3).random((800, 40)) < density)
    made = [fed(make(kind, workers), each).components(3, subtract_mean=subtract_mean) for each in (rows, sparse(rows))]
    assert apart(made[1].vectors, made[0].vectors) < 1e-5
    assert np.allclose(made[1].scatter, made[0].scatter, rtol=1e-5)
    assert np.isclose(made[1].total, made[0].total, rtol=1e-6)


def test_sparse_rows_after_dense_ones(workers: Workers) -> None:
    rows = table(400, 40)
    rows[200:] *= np.random.default_rng(3).random((200, 40)) < 0.05
    state = fed(Covariance(40, workers), rows[:200])
    fed(state, sparse(rows[200:]))
    assert apart(state.components(3, subtract_mean=True).vectors, slow(rows, 3)[0]) < 1e-4


def test_of_a_column_twice_the_last_counts() -> None:
    rows = SparseRows(
        np.array([0, 3, 3, 5]), np.array([1, 0, 1, 2, 2], np.int32), np.array([1, 2, 3, 4, 5], np.float32), 3
    )
    assert np.array_equal(without_repeats(rows).dense(), rows.dense())
    single = sparse(table(5, 4))
    assert without_repeats(single) is single


@pytest.mark.parametrize("kind", ["regular", "randomized"])
def test_a_value_that_is_too_large_is_named(kind: str, workers: Workers) -> None:
    rows = table(200, 40)
    rows[70, 3] = 1e30
    with pytest.raises(DataError, match=r"rows\.csv, line 71, column 4: value 1e\+30 is too large"):
        fed(make(kind, workers), rows)
