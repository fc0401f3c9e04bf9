"""Counts beside a dictionary's; the same for any threads, memory and order; files that grow, and full disks."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.algorithms.glove import naive
from wildsage.algorithms.blazingtext.corpus import StoppedEarlyError
from wildsage.algorithms.glove import cooccurrence
from wildsage.algorithms.glove.cooccurrence import Corner, Counting, Matrix, count
from wildsage.algorithms.glove.kernels.counting import SIDE
from wildsage.contract.errors import ClientError


def counting(words: int, **values: Any) -> Counting:
    given = {"window": 4, "symmetric": True, "x_max": 10.0, "alpha": 0.75, "seed": 3}
    return Counting(words=words, **{**given, **values})


def run(
    lines: list[list[int]],
    what: Counting,
    folder: Path,
    threads: int = 1,
    memory: int = 1 << 26,
    stop: Event | None = None,
) -> Matrix:
    stream = np.array([word for line in lines for word in (*line, -1)], np.int32)
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(threads) as pool:
        return count(stream, what, folder, threads, memory, pool, stop or Event())


def non_zeros(matrix: Matrix) -> dict[tuple[int, int], tuple[float, float]]:
    """Cell to log x and weight; a symmetric matrix's other half comes from the blocks' mirror images."""
    found: dict[tuple[int, int], tuple[float, float]] = {}
    for row, column, first, size in matrix.blocks.tolist():
        for k in range(first, first + size):
            cell = int(matrix.cells[k])
            place = row * SIDE + cell // SIDE, column * SIDE + cell % SIDE
            places = [place, place[::-1]] if matrix.counting.symmetric and row != column else [place]
            for each in places:
                assert each not in found
                found[each] = (float(matrix.values[k, 0]), float(matrix.values[k, 1]))
    return found


def text(lines: int, words: int, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [np.minimum(rng.zipf(1.3, 15) - 1, words - 1).tolist() for _ in range(lines)]


def check(matrix: Matrix, lines: list[list[int]]) -> None:
    what = matrix.counting
    expected = naive.counts(lines, what.window, symmetric=what.symmetric)
    found = non_zeros(matrix)
    assert found.keys() == expected.keys()
    assert matrix.non_zeros == len(expected)
    for cell, x in expected.items():
        log, weight = found[cell]
        assert log == pytest.approx(np.log(x), abs=1e-5)
        assert weight == pytest.approx(min(1, (x / what.x_max) ** what.alpha), rel=1e-5)


@pytest.fixture
def small_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little memory, so that there are many runs, and pieces."""
    monkeypatch.setattr(cooccurrence, "LARGEST_CORNER", 200)
    monkeypatch.setattr(cooccurrence, "LARGEST_LIST", 500)
    monkeypatch.setattr(cooccurrence, "PIECE", 777)


@pytest.mark.usefixtures("small_lists")
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("words", "window"), [(40, 4), (2000, 1), (2000, 17), (70_000, 5)])
def test_counts_are_those_of_a_dictionary(symmetric: bool, words: int, window: int, tmp_path: Path) -> None:
    lines = text(300, words)
    check(run(lines, counting(words, symmetric=symmetric, window=window), tmp_path), lines)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.lists(st.integers(0, 1100), max_size=30), max_size=20),
    window=st.integers(1, 40),
    symmetric=st.booleans(),
)
def test_any_lines_are_counted(lines: list[list[int]], window: int, symmetric: bool, tmp_path: Path) -> None:
    check(run(lines, counting(1101, window=window, symmetric=symmetric), tmp_path), lines)
    for path in tmp_path.iterdir():
        path.unlink()


@pytest.mark.parametrize("symmetric", [True, False])
def test_memory_and_threads_change_nothing(symmetric: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines, what = text(2000, 3000), counting(3000, symmetric=symmetric)
    one = run(lines, what, tmp_path / "one")
    monkeypatch.setattr(cooccurrence, "LARGEST_CORNER", 1000)
    monkeypatch.setattr(cooccurrence, "LARGEST_LIST", 3000)
    monkeypatch.setattr(cooccurrence, "PIECE", 1000)
    other = run(lines, what, tmp_path / "other", threads=3)
    assert np.array_equal(one.blocks[:, [0, 1, 3]], other.blocks[:, [0, 1, 3]])
    for (_, _, a, size), (_, _, b, _) in zip(one.blocks.tolist(), other.blocks.tolist(), strict=True):
        assert np.array_equal(one.cells[a : a + size], other.cells[b : b + size])
        assert np.array_equal(one.values[a : a + size], other.values[b : b + size])


def test_cells_are_shuffled_by_the_seed(tmp_path: Path) -> None:
    lines = text(500, 300)
    first, second = (run(lines, counting(300, seed=seed), tmp_path / str(seed)) for seed in (1, 2))
    assert not np.array_equal(first.cells, second.cells)
    assert np.array_equal(np.sort(first.cells), np.sort(second.cells))
    spread = np.corrcoef(np.arange(first.cells.size), first.cells)[0, 1]
    assert abs(spread) < 5 / np.sqrt(first.cells.size)


@pytest.mark.parametrize(("words", "most"), [(1, 1), (5, 3), (5, 1000), (1000, 200), (1000, 131072)])
def test_a_corner_has_its_cells_one_entry_each(words: int, most: int) -> None:
    corner = Corner.of(counting(words), most)
    entries = [
        int(corner.firsts[low]) + high
        for low in range(words)
        for high in range(low, words)
        if (low + 1) * (high + 1) <= corner.limit
    ]
    assert entries == list(range(corner.size))
    assert corner.size <= most


def test_too_many_words_for_a_key_are_refused() -> None:
    with pytest.raises(ClientError, match=r"1,000,000,000 words with window_size = 100 are too many .* min_count"):
        counting(10**9, window=100)


def test_it_stops(tmp_path: Path) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(StoppedEarlyError):
        run(text(10, 10), counting(10), tmp_path, stop=stop)


@pytest.mark.parametrize("number", [errno.ENOSPC, None])
def test_a_full_disk_is_told(number: int | None, tmp_path: Path) -> None:
    class Full(np.ndarray):
        def tofile(self, *_: Any) -> Any:
            raise OSError(number, "no room") if number else OSError("3 requested and 0 written")

    with (
        closing(cooccurrence.Appended(tmp_path, np.int64)) as file,
        pytest.raises(ClientError, match=r"no space is left in .*: set TMPDIR"),
    ):
        file.add(np.zeros(3, np.int64).view(Full))


def test_a_process_that_is_killed_leaves_no_file(tmp_path: Path) -> None:
    with closing(cooccurrence.Appended(tmp_path, np.int64)) as file:
        assert [file.add(np.arange(3)), file.add(np.arange(3, 5))] == [0, 3]
        assert not any(tmp_path.iterdir())
        mapped = file.mapped()
    assert mapped.tolist() == [0, 1, 2, 3, 4]
    assert not any(tmp_path.iterdir())
