"""The sample: the same rows however they come."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.algorithms.knn.jobs import batch, clusters
from wildsage.algorithms.knn.preparation import Preparation
from wildsage.algorithms.knn.state import Sample
from wildsage.algorithms.streaming import Workers, merged
from wildsage.contract.errors import DataError
from wildsage.data.batch import SparseRows

ROWS, LABELS = clusters(400, 5)


def sample(capacity: int, *, whole_labels: bool = True, target: int | None = None) -> Sample:
    preparation = Preparation.draw(5, "sign" if target else None, target, 1, False, 3)
    return Sample(capacity, preparation, Workers(1), seed="3 1", whole_labels=whole_labels)


def fed(state: Sample, begin: int, end: int, size: int) -> Sample:
    for at in range(begin, end, size):
        stop = min(at + size, end)
        state.update(batch(ROWS[at:stop], LABELS[at:stop], first=at + 1))
    return state


def content(state: Sample) -> list[tuple[float, ...]]:
    """The sample without the order of its rows."""
    order = np.argsort(state.keys)
    return [tuple(row) for row in np.column_stack([state.rows.used, state.labels])[order].tolist()]


@settings(max_examples=30)
@given(
    capacity=st.integers(1, 450),
    size=st.integers(1, 150),
    cuts=st.lists(st.integers(0, 400), max_size=4),
    target=st.sampled_from([None, 2]),
)
def test_states_of_parts_merge_to_what_one_pass_gives(
    capacity: int, size: int, cuts: list[int], target: int | None
) -> None:
    whole = fed(sample(capacity, target=target), 0, 400, 64)
    bounds = [0, *sorted(cuts), 400]
    parts = [fed(sample(capacity, target=target), begin, end, size) for begin, end in pairwise(bounds)]
    joined = merged(parts)
    assert isinstance(joined, Sample)
    assert (joined.seen, joined.rows.count) == (400, min(capacity, 400))
    assert content(joined) == content(whole)


def test_every_row_is_as_likely_kept() -> None:
    kept = np.zeros(400)
    for seed in range(300):
        state = Sample(40, Preparation(5, 5), Workers(1), seed=str(seed), whole_labels=True)
        state.update(batch(np.arange(2000, dtype=np.float32).reshape(400, 5), LABELS))
        kept[(state.rows.used[:, 0] / 5).astype(int)] += 1
    assert kept.sum() == 300 * 40
    # 30 are expected of each, with a deviation of 5.2.
    assert 3 < kept.min() < kept.max() < 60
    assert abs(kept[:200].sum() - kept[200:].sum()) < 600


def test_labels_stay_with_their_rows() -> None:
    state = fed(sample(50), 0, 400, 30)
    label_of = {tuple(row): label for row, label in zip(ROWS.tolist(), LABELS.tolist(), strict=True)}
    assert [label_of[tuple(row)] for row in state.rows.used.tolist()] == state.labels.tolist()


@pytest.mark.parametrize("capacity", [50, 1000])
def test_a_restored_state_goes_on_as_the_one_it_was_made_of(capacity: int) -> None:
    first = fed(sample(capacity), 0, 200, 50)
    second = sample(capacity)
    second.restore({name: array.copy() for name, array in first.arrays().items()})
    fed(first, 200, 400, 50)
    fed(second, 200, 400, 50)
    for name, array in first.arrays().items():
        assert (array == second.arrays()[name]).all()


def test_arrays_of_another_sample_are_refused() -> None:
    arrays = fed(sample(50), 0, 100, 50).arrays()
    with pytest.raises(ValueError, match="another sample"):
        sample(49).restore(arrays)
    with pytest.raises(ValueError, match="another sample"):
        sample(50, target=2).restore(arrays)


def test_sparse_rows_become_dense() -> None:
    starts, columns = np.array([0, 2, 2, 3]), np.array([0, 4, 2], np.int32)
    rows = SparseRows(starts, columns, np.array([1, 2, 3], np.float32), 5)
    state = sample(10)
    state.update(batch(rows, LABELS[:3]))  # type: ignore[arg-type]
    assert state.rows.used.tolist() == [[1, 0, 0, 0, 2], [0] * 5, [0, 0, 3, 0, 0]]


@pytest.mark.parametrize("label", [0.5, -1.25, 2.0**25])
def test_a_label_that_is_no_class_is_named(label: float) -> None:
    labels = LABELS[:10].copy()
    labels[6] = label
    with pytest.raises(DataError, match=r"^train\.csv, line 7: label .* is not allowed: a whole number"):
        sample(10).update(batch(ROWS[:10], labels))
    sample(10, whole_labels=False).update(batch(ROWS[:10], labels))


def test_rows_without_labels_are_refused() -> None:
    with pytest.raises(DataError, match="no label"):
        sample(10).update(batch(ROWS[:10], None))
