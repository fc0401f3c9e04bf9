"""The forest of kernels against one of objects, on the same random cuts; and what merging promises."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.algorithms.randomcutforest.naive import NaiveForest
from wildsage.algorithms.randomcutforest.forest import Forest
from wildsage.algorithms.streaming import Workers
from wildsage.data.batch import SparseRows

ONE = Workers(1)


def exact_rows(count: int, width: int, seed: int = 1) -> np.ndarray:
    """Rows whose sums and differences are exact, some of them equal, some far off."""
    random = np.random.default_rng(seed)
    rows = random.integers(-12, 13, (count, width)).astype(np.float32) / 4
    rows[random.random(count) < 0.2] = rows[0]
    rows[random.random(count) < 0.05] *= 16
    return rows


def naive_of(forest: Forest) -> NaiveForest:
    """Of the same random numbers, before anything is learnt."""
    forest.grow(ONE)
    return NaiveForest(forest.samples, forest._seeds, forest.trees.state, forest.decay)


@pytest.mark.parametrize("width", [1, 2, 7, 8, 9, 17, 50])
@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_a_stream_is_scored_and_learnt_as_by_the_plain_forest(width: int, decay: float) -> None:
    rows = exact_rows(90, width, seed=width)
    forest = Forest(3, 8, width, seed=4, decay=decay)
    naive = naive_of(forest)
    expected = []
    for number, row in enumerate(rows):
        expected.append(naive.shares(row).sum())
        naive.learn(row, number, number)
    found = np.concatenate([forest.stream(rows[a:b], a, a, ONE) for a, b in ((0, 1), (1, 37), (37, 90))])
    np.testing.assert_allclose(found, expected, rtol=2e-5)
    np.testing.assert_allclose(forest.keys, naive.keys)
    np.testing.assert_array_equal(forest.points, naive.rows)
    asked = exact_rows(20, width, seed=99)
    shares = [naive.shares(row) for row in asked]
    np.testing.assert_allclose(forest.attribute(asked, ONE), shares, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(forest.score(asked, ONE), np.sum(shares, axis=1), rtol=2e-5)


def test_boxes_hold_their_rows_exactly_whatever_came_and_went() -> None:
    rows = np.random.default_rng(0).normal(size=(400, 5)).astype(np.float32)
    forest = Forest(4, 16, 5, decay=0.02)
    forest.stream(rows, 0, 0, ONE)
    trees, nodes = forest.trees, 32
    for t in range(4):
        box = forest._boxes()[t]
        children, mass = trees.children.reshape(4, nodes, 2)[t], trees.mass.reshape(4, nodes)[t]
        leaves = trees.slot_leaf.reshape(4, 16)[t]

        def below(
            node: int, t: int = t, box: np.ndarray = box, children: np.ndarray = children,
            mass: np.ndarray = mass, leaves: np.ndarray = leaves,
        ) -> np.ndarray:  # fmt: skip
            if node >= 16:
                held = forest.points[t][leaves == node]
            else:
                held = np.concatenate([below(child) for child in children[node]])
                axis, cut = trees.axis[t * nodes + node], trees.cut[t * nodes + node]
                assert (below(children[node, 0])[:, axis] <= cut).all()
                assert (below(children[node, 1])[:, axis] > cut).all()
            assert mass[node] == len(held)
            np.testing.assert_array_equal(box[node, :5], held.min(axis=0))
            np.testing.assert_array_equal(-box[node, 8:13], held.max(axis=0))
            return held

        assert len(below(int(trees.root[t]))) == 16


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("samples", [1, 2, 32, 500])
def test_samples_are_those_of_the_least_keys_however_rows_come(samples: int, decay: float) -> None:
    from tests.algorithms.randomcutforest.naive import key_of

    rows = np.arange(300, dtype=np.float32)[:, None]
    whole, streamed, parts = (Forest(5, samples, 1, seed=2, decay=decay) for _ in range(3))
    whole.sample(rows, 10, 0, ONE)
    streamed.stream(rows, 10, 0, Workers(2))
    for begin in range(0, 300, 70):
        parts.sample(rows[begin : begin + 70], 10 + begin, begin, ONE)
    for forest in (whole, streamed, parts):
        forest._trees = None
        forest.grow(ONE)
        for t, seed in enumerate(forest._seeds):
            keys = [key_of(int(seed), 10 + k, k, decay) for k in range(300)]
            kept = np.argsort(keys)[:samples]
            np.testing.assert_array_equal(forest.points[t, : len(kept), 0], rows[kept, 0])
            np.testing.assert_allclose(forest.keys[t, : len(kept)], np.array(keys)[kept], rtol=1e-12)
            assert forest.filled[t] == len(kept)


def test_two_halves_merged_are_one_pass_to_the_bit() -> None:
    rows = np.random.default_rng(1).normal(size=(700, 4)).astype(np.float32)
    one, first, second = (Forest(20, 64, 4, seed=3) for _ in range(3))
    one.sample(rows, 0, 0, ONE)
    first.sample(rows[:333], 0, 0, ONE)
    second.sample(rows[333:], 333, 333, ONE)
    first.merge(second)
    for forest in (one, first):
        forest.grow(ONE)
    np.testing.assert_array_equal(first.points, one.points)
    np.testing.assert_array_equal(first.keys, one.keys)
    np.testing.assert_array_equal(first.score(rows, ONE), one.score(rows, ONE))


def test_small_forests_merge_before_they_are_full() -> None:
    rows = exact_rows(30, 2)
    one, first, second = (Forest(4, 64, 2) for _ in range(3))
    one.sample(rows, 0, 0, ONE)
    first.sample(rows[:11], 0, 0, ONE)
    second.sample(rows[11:], 11, 11, ONE)
    first.merge(second)
    for forest in (one, first):
        forest.grow(ONE)
    assert first.filled.tolist() == [30] * 4
    np.testing.assert_array_equal(first.score(rows, ONE), one.score(rows, ONE))


@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_gives_the_same(threads: int) -> None:
    rows = np.random.default_rng(2).normal(size=(500, 6)).astype(np.float32)
    one, several = Forest(50, 32, 6, decay=0.01), Forest(50, 32, 6, decay=0.01)
    with Workers(threads) as workers:
        np.testing.assert_array_equal(several.stream(rows, 0, 0, workers), one.stream(rows, 0, 0, ONE))
        np.testing.assert_array_equal(several.score(rows, workers), one.score(rows, ONE))
        np.testing.assert_array_equal(several.attribute(rows, workers), one.attribute(rows, ONE))


def test_sparse_rows_are_those_rows() -> None:
    random = np.random.default_rng(5)
    dense = random.normal(size=(200, 30)).astype(np.float32) * (random.random((200, 30)) < 0.2)
    row, column = np.nonzero(dense)
    starts = np.concatenate([[0], np.cumsum((dense != 0).sum(axis=1))]).astype(np.int64)
    sparse = SparseRows(starts, column.astype(np.int32), dense[row, column], 30)
    first, second = Forest(10, 16, 30), Forest(10, 16, 30)
    first.sample(dense, 0, 0, ONE)
    second.sample(sparse, 0, 0, ONE)
    np.testing.assert_array_equal(first.points, second.points)
    for forest in (first, second):
        forest.grow(ONE)
    np.testing.assert_array_equal(first.score(dense, ONE), second.score(sparse, ONE))


def test_a_missing_feature_is_what_the_rows_most_like_it_have() -> None:
    random = np.random.default_rng(6)
    rows = np.repeat(np.array([[0, 0, 0], [10, 20, 30]], np.float32), 200, axis=0)
    rows += random.normal(size=rows.shape).astype(np.float32) / 10
    forest = Forest(50, 64, 3)
    forest.sample(rows, 0, 0, ONE)
    forest.grow(ONE)
    nothing = np.nan
    asked = np.array([[nothing, 20, 30], [0, nothing, 0], [10, nothing, nothing], [1, 2, 3]], np.float32)
    filled = forest.impute(asked, ONE)
    np.testing.assert_allclose(filled[:3], [[10, 20, 30], [0, 0, 0], [10, 20, 30]], atol=0.3)
    np.testing.assert_array_equal(filled[3], asked[3])
    assert np.isfinite(forest.impute(np.full((1, 3), nothing, np.float32), ONE)).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_leaf_most_alike_is_the_nearest_that_cuts_lead_to(seed: int) -> None:
    forest = Forest(1, 16, 3, seed=seed)
    naive = naive_of(forest)
    rows = exact_rows(16, 3, seed=seed)
    for number, row in enumerate(rows):
        naive.learn(row, number, number)
    forest.stream(rows, 0, 0, ONE)
    asked = exact_rows(40, 3, seed=seed + 9)
    asked[np.random.default_rng(seed).random(asked.shape) < 0.4] = np.nan
    asked = asked[np.isnan(asked).any(axis=1)]
    for row, filled in zip(asked, forest.impute(asked, ONE), strict=True):
        known = ~np.isnan(row)
        held = forest.points[0][(forest.points[0][:, ~known] == filled[~known]).all(axis=1)]
        assert np.abs(held - row)[:, known].sum(axis=1).min() == pytest.approx(naive.trees[0].most_alike(row))


def test_an_empty_forest_scores_nothing() -> None:
    forest = Forest(3, 8, 2)
    forest.grow(ONE)
    rows = np.zeros((2, 2), np.float32)
    assert forest.score(rows, ONE).tolist() == [0, 0]
    assert forest.attribute(rows, ONE).tolist() == [[0, 0], [0, 0]]
    assert forest.score(rows[:0], ONE).tolist() == []
    assert forest.constants()[0].tolist() == []


def test_equal_rows_make_one_leaf() -> None:
    forest = Forest(5, 16, 3)
    forest.stream(np.full((100, 3), 2.5, np.float32), 0, 0, ONE)
    assert forest.trees.mass.reshape(5, 32)[np.arange(5), forest.trees.root].tolist() == [16] * 5
    same, other = forest.score(np.array([[2.5, 2.5, 2.5], [2.5, 2.5, 2.75]], np.float32), ONE)
    assert same == pytest.approx(0.5)  # half of 1 / log2(16 + 1), times that
    assert other == pytest.approx(math.log2(17))
    assert [column.tolist() for column in forest.constants()] == [[0, 1, 2], [2.5, 2.5, 2.5]]


@pytest.mark.parametrize("size", [1e-38, 1.0, 1e30, 3e38])
def test_scores_of_numbers_of_any_size_are_finite(size: float) -> None:
    rows = (np.random.default_rng(1).uniform(-1, 1, (200, 20)) * size).astype(np.float32)
    forest = Forest(10, 32, 20, decay=0.1)
    scores = forest.stream(rows, 0, 0, ONE)
    assert np.isfinite(scores).all()
    assert np.isfinite(forest.attribute(rows, ONE)).all()
    assert (scores >= 0).all()


def test_large_offsets_leave_spans_right() -> None:
    rows = np.random.default_rng(1).normal(size=(300, 3)).astype(np.float32)
    moved = rows * 16 + np.float32(2**20)  # as many bits as there are
    near, far = Forest(50, 64, 3), Forest(50, 64, 3)
    scores = [forest.stream(data, 0, 0, ONE) for forest, data in ((near, np.round(rows * 16)), (far, np.round(moved)))]
    np.testing.assert_allclose(scores[0], scores[1], atol=0.15)  # cuts fall on fewer values


def test_samples_of_the_largest_numbers_score_finitely() -> None:
    forest = Forest(50, 8, 2, seed=1, decay=0.0)
    rows = np.array([[(-1) ** i * 3e38, i * 1e37] for i in range(30)], np.float32)
    forest.sample(rows, 0, 0, ONE)
    forest.grow(ONE)
    assert np.isfinite(forest.score(np.array([[0.5, 0.5], [3e38, -3e38]], np.float32), ONE)).all()
