"""The kernels against plain references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.algorithms.knn import naive
from wildsage.algorithms.knn.kernels.lists import find_partners, gather, sort_by_list, swap
from wildsage.algorithms.knn.kernels.neighbours import rank, vote
from wildsage.algorithms.knn.kernels.reduction import to_unit_length
from wildsage.algorithms.knn.kernels.sampling import choose, make_heap, make_keys


def test_keys_depend_on_file_and_place_alone_and_are_spread() -> None:
    marks = np.array([7, 8], np.uint64)
    files, numbers = np.repeat(np.array([0, 1], np.int32), 500), np.tile(np.arange(500), 2)
    keys = np.empty(1000, np.uint64)
    make_keys(marks, files, numbers, keys)
    order = np.random.default_rng(0).permutation(1000)
    again = np.empty(1000, np.uint64)
    make_keys(marks, files[order], numbers[order], again)
    assert (again == keys[order]).all()
    assert len(set(keys.tolist())) == 1000
    quarters = np.bincount((keys >> np.uint64(62)).astype(int), minlength=4)
    assert quarters.min() > 200


@given(
    keys=st.lists(st.integers(0, 20), min_size=1, max_size=40),
    capacity=st.integers(1, 10),
)
def test_the_least_keys_stay(keys: list[int], capacity: int) -> None:
    capacity = min(capacity, len(keys))
    kept = np.array(keys[:capacity], np.uint64)
    owners = list(range(capacity))
    heap = np.empty(capacity, np.int64)
    make_heap(kept, heap)
    fresh = np.array(keys[capacity:], np.uint64)
    rows, slots = np.empty(len(fresh), np.int64), np.empty(len(fresh), np.int64)
    count = choose(fresh, kept, heap, rows, slots)
    for row, slot in zip(rows[:count].tolist(), slots[:count].tolist(), strict=True):
        owners[slot] = capacity + row
    assert sorted(kept.tolist()) == sorted(keys)[:capacity]
    assert [keys[owner] for owner in owners] == kept.tolist()


@pytest.mark.parametrize("width", [1, 15, 16, 17, 50])
@pytest.mark.parametrize("is_product", [False, True])
def test_rank_puts_what_was_found_in_order(width: int, is_product: bool) -> None:
    random = np.random.default_rng(width)
    base, queries = random.normal(size=(30, width)).astype(np.float32), random.normal(size=(5, width)).astype("f4")
    base[7] = base[3]  # a tie, which goes by number
    found = np.stack([random.permutation(30)[:12] for _ in range(5)])
    found[:, :2] = [7, 3]
    values, ids = np.empty(60, np.float32), np.empty(60, np.int64)
    flat = found.reshape(-1)
    rank(queries.reshape(-1), base.reshape(-1), width, flat, 12, is_product, 0, 5, 12, values, ids)
    nearest, its = np.empty(20, np.float32), np.empty(20, np.int64)
    rank(queries.reshape(-1), base.reshape(-1), width, flat, 12, is_product, 0, 5, 4, nearest, its)
    assert (nearest.reshape(5, 4) == values.reshape(5, 12)[:, :4]).all()
    assert (its.reshape(5, 4) == ids.reshape(5, 12)[:, :4]).all()
    exact = naive.distances(base, queries, "INNER_PRODUCT" if is_product else "L2")
    for i in range(5):
        wanted = sorted({*found[i].tolist()}, key=lambda row: (exact[i, row], row))
        ours = list(dict.fromkeys(ids[12 * i : 12 * i + 12].tolist()))
        assert ours == wanted
        told = exact[i, ids[12 * i : 12 * i + 4]]
        close = -told if is_product else told**2
        np.testing.assert_allclose(values[12 * i : 12 * i + 4], close, rtol=1e-4, atol=1e-5)


@given(st.lists(st.lists(st.integers(-2, 3), min_size=5, max_size=5), max_size=6))
def test_the_vote_is_the_majoritys_and_of_equals_the_nearest(rows: list[list[int]]) -> None:
    labels = np.array(rows, np.float32).reshape(-1, 5)
    out = np.empty(len(labels), np.float32)
    vote(labels.reshape(-1), 5, np.empty(5, np.int64), np.empty(5, np.float32), out)
    assert out.tolist() == [naive.majority(row) for row in labels]


@pytest.mark.parametrize("width", [1, 16, 33])
def test_unit_length(width: int) -> None:
    rows = np.random.default_rng(1).normal(size=(4, width)).astype(np.float32)
    rows[1], rows[2] = 0, rows[2] * np.float32(1e18)
    made = rows.copy()
    to_unit_length(made.reshape(-1), width, 0, 3)
    np.testing.assert_allclose(np.linalg.norm(made[[0, 2]].astype(np.float64), axis=1), 1, rtol=1e-6)
    assert not made[1].any()
    assert (made[3] == rows[3]).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 5))
def test_rows_are_moved_in_place_and_back(seed: int, count: int, width: int) -> None:
    random = np.random.default_rng(seed)
    rows = np.arange(count * width, dtype=np.float32).reshape(count, width)
    order, partners = random.permutation(count).astype(np.int32), np.empty(random.integers(0, count + 1), np.int32)
    moved = rows.copy()
    find_partners(order, partners)
    swap(moved.reshape(-1), width, partners, False)
    assert (moved[: len(partners)] == rows[order[: len(partners)]]).all()
    swap(moved.reshape(-1), width, partners, True)
    assert (moved == rows).all()
    kept = order.copy()
    gather(moved.reshape(-1), width, order, np.empty(width, np.float32))
    assert (moved == rows[order]).all()
    assert (order == kept).all()


@given(st.lists(st.integers(0, 7), max_size=80))
def test_rows_are_sorted_by_list(lists: list[int]) -> None:
    found, order = np.array(lists, np.int32), np.empty(len(lists), np.int32)
    ends = np.cumsum(np.bincount(found, minlength=8))
    sort_by_list(found, ends, order)
    assert (order == np.argsort(found, kind="stable")).all()
    assert (ends == [sum(each < number for each in lists) for number in range(8)]).all()
