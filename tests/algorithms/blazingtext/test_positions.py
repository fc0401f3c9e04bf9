"""CBOW with position weights against the slow truth, and as jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.algorithms.blazingtext.naive_words import cbow_by_position
from tests.algorithms.blazingtext.test_word_kernels import PLAIN, WORDS, chances, draw, scratch, steps_of, stream_of
from tests.algorithms.blazingtext.test_word_vectors import (
    SMALL,
    often_told,  # noqa: F401 (a fixture)
    same,
    sentences,
    topic_gap,
    train,
)
from tests.algorithms.jobs import Listener
from wildsage.algorithms.blazingtext import word_epochs, word_vectors
from wildsage.algorithms.blazingtext.kernels.positions import Positions, train_batch_by_position
from wildsage.algorithms.blazingtext.kernels.random import Batch
from wildsage.algorithms.blazingtext.kernels.word_vectors import Plan, Rows, train_batch
from wildsage.algorithms.blazingtext.ngrams import EOS
from wildsage.algorithms.blazingtext.word_epochs import Subwords
from wildsage.algorithms.blazingtext.word_model import WordVectors
from wildsage.kernels.vector import aligned, padded

GIVEN = {**SMALL, "mode": "cbow", "position_weights": True}


def places_of(batch: Batch, n: int, window: int) -> list[list[int]]:
    """Of each word's contexts, from the farthest left, 0, to the farthest right, 2 * window - 1."""
    places = []
    for i in range(n):
        offsets = [j - i for j in range(batch.lefts[i], batch.rights[i]) if j != i]
        places.append([offset + window if offset < 0 else offset + window - 1 for offset in offsets])
    return places


@pytest.mark.parametrize("dim", [1, 16, 33])
@pytest.mark.parametrize(
    "values",
    [
        {"window_size": 3},
        {"window_size": 1, "negative_samples": 1},
        {"window_size": 4, "negative_samples": 12, "cbow_mean_gradient": True},
        {"loss": "hs"},
    ],
    ids=str,
)
def test_rows_are_those_of_the_slow_truth(values: dict[str, Any], dim: int) -> None:
    rng, width = np.random.default_rng(dim), padded(dim)
    chosen = chances(rng.integers(1, 100, WORDS).tolist(), mode="cbow", **values)
    batch, n = draw(chosen, stream_of(120, WORDS, dim))
    tables = [aligned(count * width) for count in (WORDS, WORDS, 2 * chosen.window)]
    for table in tables:
        table.reshape(-1, width)[:, :dim] = rng.normal(size=(table.size // width, dim))
    slow = [table.reshape(-1, width).astype(np.float64) for table in tables]
    whole, sums = not values.get("cbow_mean_gradient", False), np.zeros(2)
    train_batch_by_position(
        batch, n, Rows(tables[0], tables[1], *PLAIN), Positions.of(tables[2], width),
        scratch(width, chosen.window, WORDS), Plan(True, chosen.window, chosen.share, whole, width), np.float32(0.1),
        sums,
    )  # fmt: skip
    steps = steps_of(batch, n, chosen.share)
    cbow_by_position(*slow, steps, places_of(batch, n, chosen.window), 0.1, np.ones(WORDS), whole)
    for table, expected in zip(tables, slow, strict=True):
        np.testing.assert_allclose(table.reshape(-1, width), expected, rtol=5e-3, atol=5e-4)
        assert not table.reshape(-1, width)[:, dim:].any()
    assert sums[1] > 0


def test_the_loss_is_that_of_the_slow_truth() -> None:
    rng = np.random.default_rng(0)
    chosen = chances([5] * WORDS, mode="cbow", negative_samples=8)
    batch, _ = draw(chosen, stream_of(16, WORDS, 1, line=20))
    tables = [rng.normal(size=count * 16).astype(np.float32) for count in (WORDS, WORDS, 10)]
    slow = [table.reshape(-1, 16).astype(np.float64) for table in tables]
    sums = np.zeros(2)
    train_batch_by_position(
        batch, 1, Rows(tables[0], tables[1], *PLAIN), Positions.of(tables[2], 16), scratch(16, 5, WORDS),
        Plan(True, 5, 10, True, 16), np.float32(1e-5), sums,
    )  # fmt: skip
    loss = cbow_by_position(*slow, steps_of(batch, 1, 10), places_of(batch, 1, 5), 1e-5, np.ones(WORDS))
    assert sums[1] == 1
    assert sums[0] == pytest.approx(loss, rel=1e-3)


def test_subwords_are_composed_and_written_back() -> None:
    rng, width = np.random.default_rng(3), 16
    words = [b"w%d" % k if k != 1 else EOS for k in range(WORDS)]
    subwords = Subwords.of(words, 1, 4, 90, merge=False)
    count = WORDS + subwords.rows
    tables = [rng.normal(size=rows * width).astype(np.float32) for rows in (count, WORDS, 10)]
    before = tables[0].reshape(-1, width).astype(np.float64)
    lists = [subwords.lists[subwords.starts[k] : subwords.starts[k + 1]] for k in range(WORDS)]
    composed = np.array([before[rows].mean(axis=0) for rows in lists])
    chosen = chances([3] * WORDS, mode="cbow")
    batch, n = draw(chosen, stream_of(60, WORDS, 2), subwords=True)
    slow = [table.reshape(-1, width).astype(np.float64) for table in tables[1:]]
    rows = Rows(tables[0], tables[1], subwords.starts, subwords.lists, subwords.weights, subwords.sizes)
    train_batch_by_position(
        batch, n, rows, Positions.of(tables[2], width), scratch(width, 5, WORDS), Plan(True, 5, 10, True, width),
        np.float32(0.05), np.zeros(2),
    )  # fmt: skip
    trained, sizes = composed.copy(), subwords.sizes.astype(float)
    cbow_by_position(trained, *slow, steps_of(batch, n, 10), places_of(batch, n, 5), 0.05, sizes)
    expected = before.copy()
    for word, row_list in enumerate(lists):
        for row in row_list:
            expected[row] += trained[word] - composed[word]
    np.testing.assert_allclose(tables[0].reshape(-1, width), expected, rtol=5e-3, atol=2e-3)
    for table, expected in zip(tables[1:], slow, strict=True):
        np.testing.assert_allclose(table.reshape(-1, width), expected, rtol=5e-3, atol=2e-3)


def test_with_ones_that_do_not_change_it_is_plain_cbow() -> None:
    rng, width = np.random.default_rng(1), 32
    chosen = chances([3] * WORDS, mode="cbow")
    batch, _ = draw(chosen, stream_of(60, WORDS, 2))
    plan = Plan(True, chosen.window, chosen.share, True, width)
    first = [rng.normal(size=WORDS * width).astype(np.float32) for _ in range(2)]
    second = [table.copy() for table in first]
    ones = np.ones(2 * chosen.window * width, np.float32)
    # One window alone: the next one has other weights.
    train_batch(batch, 1, Rows(*first, *PLAIN), scratch(width, 5, WORDS), plan, np.float32(0.1), np.zeros(2))
    train_batch_by_position(
        batch, 1, Rows(*second, *PLAIN), Positions.of(ones, width), scratch(width, 5, WORDS), plan, np.float32(0.1),
        np.zeros(2),
    )  # fmt: skip
    for ours, plain in zip(second, first, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-6)
    assert (ones != 1).any()


@pytest.mark.parametrize("values", [{}, {"subwords": True}, {"loss": "hs"}, {"cbow_mean_gradient": True}], ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_words_of_a_topic_come_together(values: dict[str, Any], threads: int, tmp_path: Path) -> None:
    given = {**GIVEN, "vector_dim": 20, "epochs": 8, "sampling_threshold": 0.01, **values}
    if "cbow_mean_gradient" in values:
        given["learning_rate"] = 0.2
    listener = Listener()
    rows = train(tmp_path, sentences(1500), listener, threads=threads, **given)
    assert listener.facts["losses"][-1] < listener.facts["losses"][0]
    assert rows.output.shape == rows.word_rows.shape
    if "subwords" not in values:
        gap = topic_gap(WordVectors.from_vectors(word_vectors_of(rows)))
        assert gap > 0.25


def word_vectors_of(rows: word_epochs.TrainedVectors) -> Any:
    from wildsage.algorithms.blazingtext.word2vec_file import Vectors

    return Vectors(rows.vocabulary.words, rows.word_rows, rows.vocabulary.word_counts)


def test_they_are_for_cbow_alone(tmp_path: Path) -> None:
    rows = [
        train(tmp_path / str(on), sentences(100), **{**GIVEN, "mode": "skipgram", "position_weights": on})
        for on in (False, True)
    ]
    assert same(*rows)


@pytest.mark.usefixtures("often_told")
@pytest.mark.parametrize(("threads", "deterministic"), [(1, False), (2, True)])
def test_a_stopped_job_ends_as_if_it_had_not_been(
    threads: int, deterministic: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_vectors, "WORDS_PER_THREAD", 100)
    text, given = sentences(60), {**GIVEN, "epochs": 4, "deterministic": deterministic}
    expected = train(tmp_path / "whole", text, threads=threads, **given)
    first = Listener(stop_at=2)
    train(tmp_path / "parts", text, first, threads=threads, **given)
    assert first.facts["epochs_run"] < 4
    resumed = train(tmp_path / "parts", text, threads=threads, **given)
    assert same(resumed, expected)
