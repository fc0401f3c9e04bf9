"""The state of k-means: quality, order, forgetting, merging, resuming."""

from __future__ import annotations

from threading import Event
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.algorithms.kmeans import naive
from tests.algorithms.kmeans.jobs import batch, sparse
from wildsage.algorithms.kmeans import state as states
from wildsage.algorithms.kmeans.hyperparameters import KMeansHyperparameters
from wildsage.algorithms.kmeans.state import Finished, KMeansState, sample_rows
from wildsage.algorithms.streaming import Workers, merged
from wildsage.contract.errors import ClientError, DataError


@pytest.fixture
def workers() -> Any:
    """Two threads; what is shared among them is tested with one, too, in test_kernels and test_algorithm."""
    with Workers(2) as made:
        yield made


@pytest.fixture(autouse=True)
def small_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small data do not fit the sample."""
    monkeypatch.setattr(states, "SMALL_ROWS", 400)


def make(workers: Workers, features: int, *, rank: int = 0, earlier: Any = None, **values: Any) -> KMeansState:
    parameters = KMeansHyperparameters.parse({"mini_batch_size": 100, **values})
    return KMeansState(parameters, features, workers, rank=rank, earlier=earlier)


def feed(state: KMeansState, rows: NDArray[np.float32], *, size: int = 250, kind: str = "dense") -> KMeansState:
    for begin in range(0, len(rows), size):
        part = rows[begin : begin + size]
        state.update(batch(sparse(part) if kind == "sparse" else part))
    return state


def end(state: KMeansState) -> Finished:
    return state.finalise(Event())


def same(a: KMeansState, b: KMeansState) -> bool:
    first, second = a.arrays(), b.arrays()
    return list(first) == list(second) and all(np.array_equal(first[name], second[name]) for name in first)


VARIANTS: list[dict[str, Any]] = [
    {},
    {"extra_center_factor": 5},
    {"init_method": "kmeans++"},
    {"half_life_time_size": 100_000},
    {"extra_center_factor": 6, "init_method": "kmeans++", "local_lloyd_init_method": "random"},
]


@pytest.mark.parametrize("values", VARIANTS[:4])
@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_clusters_are_found(values: dict[str, Any], offset: float, workers: Workers) -> None:
    rows, middles = naive.clustered(6000, 5, 8, seed=2, spread=15, offset=offset)
    found = end(feed(make(workers, 5, k=8, **values), rows))
    best = naive.loss(rows, middles)
    assert naive.loss(rows, found.centres) == pytest.approx(best, rel=0.03)
    assert found.distance == pytest.approx(best, rel=0.1)
    assert found.weights.sum() == pytest.approx(6000, rel=0.04)
    assert (found.rows, found.sampled) == (6000, len(make(workers, 5, k=8, **values).sample))


def test_without_clusters_loss_is_near_lloyds_over_all_rows(workers: Workers) -> None:
    rows = np.random.default_rng(4).normal(size=(8000, 8)).astype(np.float32)
    found = end(feed(make(workers, 8, k=12), rows))
    best = min(naive.lloyd(rows, 12, seed, 50) for seed in range(2))
    assert naive.loss(rows, found.centres) <= 1.015 * best


def test_rows_that_all_fit_the_sample_are_gone_over_as_lloyd_does(workers: Workers) -> None:
    rows, _ = naive.clustered(390, 3, 6, seed=1, spread=2)
    state = feed(make(workers, 3, k=6), rows)
    assert not state.settled
    found = end(state)
    assert naive.loss(rows, found.centres) <= 1.02 * min(naive.lloyd(rows, 6, seed) for seed in range(8))
    assert found.distance == pytest.approx(naive.loss(rows, found.centres), rel=1e-5)
    assert found.weights.tolist() == np.bincount(naive.nearest(rows, found.centres)[0], minlength=6).tolist()


@pytest.mark.parametrize("values", [{}, {"extra_center_factor": 3}])
def test_a_sorted_file_is_clustered_as_well(values: dict[str, Any], workers: Workers) -> None:
    rows, middles = naive.clustered(12_000, 4, 10, seed=7, spread=20)
    rows = rows[np.argsort(naive.nearest(rows, middles)[0], kind="stable")]
    found = end(feed(make(workers, 4, k=10, **values), rows))
    # Centres that saw only the first clusters come to thirty times as much.
    assert naive.loss(rows, found.centres) <= 1.5 * naive.loss(rows, middles)


def test_more_epochs_do_not_make_it_worse(workers: Workers) -> None:
    rows = np.random.default_rng(5).normal(size=(8000, 6)).astype(np.float32)
    losses = []
    for epochs in (1, 4):
        state = make(workers, 6, k=10)
        for _ in range(epochs):
            feed(state, rows)
            state.end_epoch()
        found = end(state)
        losses.append(naive.loss(rows, found.centres))
    assert losses[1] <= 1.001 * losses[0]
    best = min(naive.lloyd(rows, 10, seed) for seed in range(2))
    assert losses[1] <= 1.02 * best


def test_a_half_life_follows_what_moves(workers: Workers) -> None:
    random = np.random.default_rng(0)
    early = random.normal(size=(6000, 2)).astype(np.float32)
    late = (random.normal(size=(6000, 2)) + np.array([50, 0])).astype(np.float32)
    late[::2] += [0, 30]
    rows = np.concatenate([early, late])
    following = end(feed(make(workers, 2, k=2, half_life_time_size=300), rows))
    assert naive.loss(late, following.centres) == pytest.approx(2, rel=0.2)
    assert following.weights.sum() == pytest.approx(300 / np.log(2), rel=0.05)
    remembering = end(feed(make(workers, 2, k=2), rows))
    assert naive.loss(early, remembering.centres) < 100


def test_sparse_rows_give_what_dense_ones_do(workers: Workers) -> None:
    rows, _ = naive.clustered(4000, 12, 6, seed=3, spread=10)
    rows[np.abs(rows) < 6] = 0
    found = [end(feed(make(workers, 12, k=6), rows, kind=kind)) for kind in ("dense", "sparse")]
    losses = [naive.loss(rows, each.centres) for each in found]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_the_sample_is_uniform(workers: Workers) -> None:
    """Means of many samples, within four standard errors; a bias for early or late rows would show."""
    places = np.arange(2000, dtype=np.float32)[:, None]
    means = []
    for seed in range(30):
        state = feed(make(workers, 1, k=1, seed=seed), places)
        sample = state.sample[: state.held, 0] + state.origin[0]
        assert len(np.unique(np.round(sample))) == len(sample) == 400
        means.append(float(sample.mean()))
    error = 577 / np.sqrt(400 * 30) * np.sqrt(1 - 400 / 2000)
    assert abs(np.mean(means) - 999.5) < 4 * error


@pytest.mark.parametrize("values", VARIANTS)
@pytest.mark.parametrize("cut", [1, 3, 20])
def test_a_state_restored_goes_on_as_the_same(values: dict[str, Any], cut: int, workers: Workers) -> None:
    rows, _ = naive.clustered(6000, 3, 5, seed=6)
    whole = feed(make(workers, 3, k=5, **values), rows)
    first = feed(make(workers, 3, k=5, **values), rows[: 250 * cut])
    second = make(workers, 3, k=5, **values)
    second.restore({name: array.copy() for name, array in first.arrays().items()})
    end(second)  # what is read off in between changes nothing
    feed(second, rows[250 * cut :])
    assert same(second, whole)
    assert np.array_equal(end(second).centres, end(whole).centres)


def test_arrays_of_another_state_are_refused(workers: Workers) -> None:
    arrays = feed(make(workers, 3, k=5), np.ones((10, 3), np.float32)).arrays()
    for other in (make(workers, 4, k=5), make(workers, 3, k=1, mini_batch_size=5, half_life_time_size=3)):
        with pytest.raises(ValueError, match="other shapes"):
            other.restore(arrays)
    with pytest.raises(KeyError):
        make(workers, 3, k=5).restore({})


@pytest.mark.parametrize("values", [{}, {"extra_center_factor": 4}])
@pytest.mark.parametrize("share", [0.5, 0.97, 0.995, 0.03])
def test_two_halves_merged_equal_one_pass(values: dict[str, Any], share: float, workers: Workers) -> None:
    """Also where one of them has not settled yet, or neither could on its own."""
    rows, _ = naive.clustered(8000, 4, 6, seed=9, spread=12)
    cut = int(share * len(rows))
    one = end(feed(make(workers, 4, k=6, **values), rows))
    halves = [
        feed(make(workers, 4, rank=rank, k=6, **values), part) for rank, part in enumerate((rows[:cut], rows[cut:]))
    ]
    total = merged(halves)
    assert isinstance(total, KMeansState)
    both = end(total)
    assert both.rows == one.rows == 8000
    assert naive.loss(rows, both.centres) == pytest.approx(naive.loss(rows, one.centres), rel=0.02)
    assert np.sort(both.weights) == pytest.approx(np.sort(one.weights), rel=0.15)
    sample = total.sample[: total.held] + total.origin
    assert sample.mean(axis=0) == pytest.approx(rows.mean(axis=0), abs=5 * rows.std() / np.sqrt(total.held))


def test_merging_states_that_hold_all_they_have_seen(workers: Workers) -> None:
    rows, _ = naive.clustered(300, 2, 3, seed=1)
    halves = [feed(make(workers, 2, rank=rank, k=3), part) for rank, part in enumerate((rows[:100], rows[100:]))]
    one, both = end(feed(make(workers, 2, k=3), rows)), end(merged(halves))  # type: ignore[arg-type]
    assert np.sort(both.centres, axis=0) == pytest.approx(np.sort(one.centres, axis=0), abs=1e-3)


def test_without_clusters_merging_costs_little(workers: Workers) -> None:
    rows = np.random.default_rng(4).normal(size=(16_000, 6)).astype(np.float32)
    one = end(feed(make(workers, 6, k=10), rows))
    both = end(merged([feed(make(workers, 6, rank=rank, k=10), rows[rank::2]) for rank in (0, 1)]))  # type: ignore[arg-type]
    assert naive.loss(rows, both.centres) <= 1.02 * naive.loss(rows, one.centres)


@pytest.mark.parametrize("values", [{}, {"extra_center_factor": 2}])
def test_fewer_distinct_rows_than_k(values: dict[str, Any], workers: Workers) -> None:
    rows = np.repeat(np.arange(4, dtype=np.float32)[:, None], 500, axis=0).reshape(-1, 1)
    for part in (rows, rows[:7], rows[::300]):
        distinct = len(np.unique(part))
        what = f"{distinct} distinct rows?, of {len(part):,}, and k = 5 are wanted"
        with pytest.raises(ClientError, match=f"channel train has {what}: lower k"):
            end(feed(make(workers, 1, k=5, **values), part))
        found = end(feed(make(workers, 1, k=distinct, **values), part))
        assert np.sort(found.centres[:, 0]) == pytest.approx(np.unique(part), abs=1e-5)
        assert found.distance == pytest.approx(0, abs=1e-9)


def test_rows_that_come_when_all_so_far_were_alike(workers: Workers) -> None:
    """Free centres are given to them."""
    rows = np.zeros((3000, 2), np.float32)
    rows[2000:] = np.random.default_rng(0).integers(1, 4, (1000, 1)) * 10
    found = end(feed(make(workers, 2, k=4), rows))
    assert np.sort(found.centres[:, 0]) == pytest.approx([0, 10, 20, 30], abs=1e-3)


@pytest.mark.parametrize("row", [3, 250, 620])
def test_a_number_that_is_too_large_is_named(row: int, workers: Workers) -> None:
    rows = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
    rows[row, 1] = -3e38
    state = make(workers, 3, k=2)
    with pytest.raises(DataError, match=rf"a\.csv, line {row % 250 + 1}: feature 2 = -3e\+38 is too large"):
        feed(state, rows)


def test_going_on_from_a_model(workers: Workers) -> None:
    """What the model has seen counts: a centre is the mean of all rows, before and after."""
    early, _ = naive.clustered(4000, 3, 4, seed=8, spread=15)
    before = end(feed(make(workers, 3, k=4), early))
    late = early[:2000] + np.float32(0.9)
    after = end(feed(make(workers, 3, k=4, earlier=(before.centres, before.weights)), late))
    assert after.weights.sum() == pytest.approx(6000, rel=0.01)
    owners, _ = naive.nearest(after.centres, before.centres)
    assert sorted(owners) == [0, 1, 2, 3]
    assert after.centres - before.centres[owners] == pytest.approx(np.full((4, 3), 0.3), abs=0.1)


def test_what_it_keeps_does_not_grow(workers: Workers) -> None:
    rows = np.random.default_rng(0).normal(size=(5000, 4)).astype(np.float32)
    state = feed(make(workers, 4, k=3), rows)
    size = sum(array.nbytes for array in state.arrays().values())
    feed(state, rows)
    assert sum(array.nbytes for array in state.arrays().values()) == size


def test_the_sample_is_bounded_whatever_a_row_takes() -> None:
    wide = KMeansHyperparameters.parse({"k": 10})
    assert sample_rows(wide, 10_000_000) == 40
    assert sample_rows(wide, 50) * 200 < states.KEPT_BYTES
