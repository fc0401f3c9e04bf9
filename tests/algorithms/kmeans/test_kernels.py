"""Nearest centres beside a plain NumPy reference."""

from __future__ import annotations

import numpy as np
import pytest

from tests.algorithms.kmeans import naive
from tests.algorithms.kmeans.jobs import sparse
from wildsage.algorithms.kmeans.assignment import Assignment, Centres, TooLargeError
from wildsage.algorithms.kmeans.model import KMeansModel
from wildsage.algorithms.streaming import Workers

SIZES = [(1, 1, 1), (3, 2, 2), (70, 15, 16), (257, 16, 17), (1000, 50, 64), (3000, 33, 130), (600, 100, 5)]


@pytest.mark.parametrize(("rows", "features", "count"), SIZES)
@pytest.mark.parametrize("kind", ["dense", "sparse", "far"])
@pytest.mark.parametrize("threads", [1, 3])
def test_sums_counts_and_loss(rows: int, features: int, count: int, kind: str, threads: int) -> None:
    random = np.random.default_rng(rows)
    data = random.normal(size=(rows, features)).astype(np.float32)
    values = random.normal(size=(count, features)).astype(np.float32)
    origin = np.zeros(features, np.float32)
    if kind == "far":
        origin += 1e5
        data += origin
    if kind == "sparse":
        data[random.random(data.shape) < 0.7] = 0
    _, squares = naive.nearest(data - origin, values)
    with Workers(threads) as workers:
        centres = Centres(count, features)
        centres.put(slice(0, count), values)
        assignment = Assignment(centres, workers, origin)
        loss = assignment.run(sparse(data) if kind == "sparse" else data)
        # Distances all but equal may be told apart differently.
        mine = assignment.places[:rows]
        both = ((data - origin - values[mine]) ** 2).sum(axis=1, dtype=np.float64)
        assert both == pytest.approx(squares, rel=1e-4, abs=1e-4)
        assert assignment.squares[:rows] == pytest.approx(squares, rel=1e-3, abs=1e-3)
        assert loss == pytest.approx(squares.sum(), rel=1e-4)
        counts = assignment.counts.reshape(threads, -1).sum(axis=0)
        assert (counts == np.bincount(mine, minlength=centres.columns)).all()

        weights, idle = np.zeros(count), np.zeros(count, np.int64)
        assignment.move(weights, idle, 1.0, rows)
    for centre in range(count):
        held = (data - origin)[mine == centre]
        expected = held.mean(axis=0) if len(held) else values[centre]
        assert centres.values[centre] == pytest.approx(expected, abs=2e-3 if kind == "far" else 1e-4)
        assert idle[centre] == (0 if len(held) else rows)
    assert not assignment.counts.any()
    assert not assignment.sums.any()
    forms = -(centres.values.astype(np.float64) ** 2).sum(axis=1) / 2
    assert centres.forms[:count, features] == pytest.approx(forms, rel=1e-4, abs=1e-5)


def test_a_tie_goes_to_the_lower_centre_and_free_ones_get_nothing() -> None:
    with Workers(1) as workers:
        centres = Centres(40, 3)
        centres.put(np.array([7, 30]), np.ones((2, 3), np.float32))
        assignment = Assignment(centres, workers)
        assignment.run(np.full((20, 3), 1e4, np.float32))
        assert (assignment.places[:20] == 7).all()


def test_weights_shrink_before_rows_are_counted() -> None:
    with Workers(1) as workers:
        centres = Centres(2, 1)
        centres.put(slice(0, 2), np.array([[0.0], [100.0]], np.float32))
        assignment = Assignment(centres, workers)
        assignment.run(np.full((4, 1), 6, np.float32))
        weights, idle = np.array([16.0, 8.0]), np.array([5, 5])
        assignment.move(weights, idle, 0.5, 4)
    assert weights.tolist() == [12, 4]
    assert idle.tolist() == [0, 9]
    assert centres.values[:, 0] == pytest.approx([2, 100])  # 4 of 12 parts of the way to 6


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_numbers_too_large_are_told_by_their_row(kind: str, sign: int) -> None:
    data = np.ones((900, 4), np.float32)
    data[600, 2] = sign * 3e38
    with Workers(2) as workers:
        centres = Centres(2, 4)
        centres.put(slice(0, 2), np.array([[0, 0, 0, 0], [1e3, 2, 3, 4]], np.float32))
        with pytest.raises(TooLargeError) as caught:
            Assignment(centres, workers).run(sparse(data) if kind == "sparse" else data)
    assert caught.value.row == 600


@pytest.mark.parametrize(("rows", "features", "count"), [(0, 3, 2), *SIZES])
def test_answers(rows: int, features: int, count: int) -> None:
    random = np.random.default_rng(rows)
    data = random.normal(size=(rows, features)).astype(np.float32)
    values = random.normal(size=(count, features)).astype(np.float32)
    model = KMeansModel(values, np.ones(count))
    places, distances = model.nearest(data)
    owners, squares = naive.nearest(data, values)
    assert (places == owners).all()
    assert distances == pytest.approx(np.sqrt(squares), rel=1e-6)
    for row in range(min(rows, 5)):  # alone, to the bit
        alone = model.nearest(data[row : row + 1])
        assert (alone[0][0], alone[1][0]) == (places[row], distances[row])


def test_answers_for_huge_numbers_are_exact() -> None:
    values = np.array([[0, 0], [3e38, 3e38], [-1e30, 1e25]], np.float32)
    model = KMeansModel(values, np.ones(3))
    places, distances = model.nearest(np.array([[2e38, 3e38], [-2e30, 0], [0, 0]], np.float32))
    assert places.tolist() == [1, 2, 0]
    assert distances == pytest.approx([1e38, 1e30, 0], rel=1e-4)
