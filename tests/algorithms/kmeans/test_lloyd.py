"""Extra centres down to k."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.algorithms.kmeans import naive
from wildsage.algorithms.kmeans.lloyd import assign, distinct_at_random, means, plus_plus, polish, reduce_centres
from wildsage.algorithms.streaming import Workers

NO_ANCHORS = {"anchors": np.zeros((0, 2), np.float32), "anchor_weights": np.zeros(0), "stop": None}


@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 8))
def test_means_and_owners_are_those_of_the_slow_way(seed: int, count: int, k: int) -> None:
    random = np.random.default_rng(seed)
    points, centres = random.normal(size=(count, 3)), random.normal(size=(k, 3))
    weights = random.random(count) + 0.1
    owners, squares = assign(points, (points**2).sum(axis=1), centres)
    expected = ((points[:, None] - centres[None]) ** 2).sum(axis=2)
    assert squares == pytest.approx(expected.min(axis=1), abs=1e-9)
    found, mass = means(points, weights, owners, k)
    for centre in range(k):
        mine = owners == centre
        assert mass[centre] == pytest.approx(weights[mine].sum())
        if mine.any():
            assert found[centre] == pytest.approx(np.average(points[mine], axis=0, weights=weights[mine]))


@pytest.mark.parametrize("start", ["random", "kmeans++"])
def test_the_clusters_of_weighted_points_are_found(start: str) -> None:
    points, middles = naive.clustered(200, 2, 5, seed=3, spread=60)
    weights = np.random.default_rng(0).random(200) + 0.5
    with Workers(2) as workers:
        centres, mass = reduce_centres(
            points, weights, 5, workers, start=start, trials=20, iterations=100, tolerance=0,
            random=np.random.default_rng(1),
        )  # fmt: skip
    assert mass.sum() == pytest.approx(weights.sum())
    assert sorted(np.round(centres[:, 0] / 10)) == sorted(np.round(middles[:, 0] / 10))


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(0, 2))
def test_there_are_always_k_different_centres(seed: int, k: int, kind: int) -> None:
    random = np.random.default_rng(seed)
    points = np.unique(random.normal(size=(30, 2)).astype(np.float32), axis=0)
    points[: [0, 15, 30][kind]] *= np.float32(1e-6)  # all but equal
    points = np.unique(points, axis=0)
    with Workers(1) as workers:
        centres, mass = reduce_centres(
            points, np.ones(len(points)), k, workers, start="kmeans++", trials=2, iterations=50, tolerance=1e-4,
            random=random,
        )  # fmt: skip
    assert len(np.unique(centres, axis=0)) == len(centres) == k
    assert mass.sum() == len(points)


def test_starts_choose_distinct_rows() -> None:
    points = np.repeat(np.arange(6, dtype=np.float32)[:, None], 50, axis=0)
    points[0] = -0.0
    random = np.random.default_rng(0)
    assert sorted(points[distinct_at_random(points, 9, random)][:, 0]) == list(range(6))
    assert len(distinct_at_random(points, 4, random)) == 4
    chosen = plus_plus(points.astype(np.float64), np.ones(300), 9, random)
    assert sorted(points[chosen][:, 0]) == list(range(6))


def test_polishing_is_lloyds_algorithm_and_leaves_a_centre_without_rows() -> None:
    sample, _ = naive.clustered(600, 2, 4, seed=5)
    begin = np.concatenate([sample[:4], [[1e4, 1e4]]]).astype(np.float64)
    with Workers(2) as workers:
        found = polish(begin, sample, workers, iterations=3, tolerance=0, **NO_ANCHORS)
    centres = begin.copy()
    for _ in range(3):
        owners, _ = naive.nearest(sample, centres.astype(np.float32))
        centres = np.array([sample[owners == j].mean(axis=0) if (owners == j).any() else centres[j] for j in range(5)])
    assert found.centres == pytest.approx(centres, abs=1e-3)
    assert found.masses.sum() == 600
    assert found.masses[4] == 0
    assert found.distance == pytest.approx(naive.loss(sample, found.centres), rel=1e-5)


def test_anchors_count_as_rows() -> None:
    sample = np.array([[0.0, 0], [2, 0]], np.float32)
    with Workers(1) as workers:
        found = polish(
            np.array([[0.0, 0]]), sample, workers, iterations=5, tolerance=0,
            anchors=np.array([[10, 0]], np.float32), anchor_weights=np.array([2.0]), stop=None,
        )  # fmt: skip
    assert found.centres[0] == pytest.approx([5.5, 0])  # (0 + 2 + 10 + 10) / 4
    assert found.masses.tolist() == [4]
