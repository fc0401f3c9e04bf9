"""Features and their rows, against a list of numbers a line."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.algorithms.blazingtext.jobs import reviews
from tests.algorithms.blazingtext.naive import Naive
from wildsage.algorithms.blazingtext import corpus, features
from wildsage.algorithms.blazingtext.features import Features, Numbering
from wildsage.algorithms.blazingtext.kernels.features import UNSEEN
from wildsage.algorithms.blazingtext.kernels.supervised import Lines
from wildsage.algorithms.blazingtext.vocabulary import Vocabulary

PIECES = [b" a", b" b", b" c", b" dd", b" __label__x", b" __label__y", b"\n", b"\n", b" a-longer-word"]


def expanded(data: bytes, min_count: int, ngrams: int, buckets: int, threads: int = 1) -> tuple[Features, Vocabulary]:
    made = corpus.encode([corpus.Text.of(Path("a"), data)], threads, Event())
    vocabulary, kinds = Vocabulary.build(made.counts, min_count)
    shape = (ngrams, buckets, len(vocabulary.words))
    with ThreadPoolExecutor(threads) as pool:
        return features.expand(made, kinds, shape, pool, Event()), vocabulary


def numbered(made: Features, vocabulary: Vocabulary, ngrams: int, buckets: int, threads: int, *, merge: bool = True):  # type: ignore[no-untyped-def]
    shape = (ngrams, buckets, len(vocabulary.words))
    with ThreadPoolExecutor(threads) as pool:
        kept = None if merge else np.arange(shape[2] + (buckets if ngrams > 1 else 0))
        numbering = features.number(made, shape, threads, pool, Event(), kept)
        return numbering, features.compact(made, numbering, threads, pool)


@given(st.lists(st.sampled_from(PIECES), max_size=50).map(b"".join), st.integers(0, 3), st.integers(1, 4))
def test_features_are_fasttexts(data: bytes, min_count: int, ngrams: int) -> None:
    made, _ = expanded(data, min_count, ngrams, 37)
    naive = Naive(data, min_count, ngrams, 37)
    expected = naive.examples()
    assert made.lines == len(expected)
    for k, (wanted, labels, tokens) in enumerate(expected):
        assert sorted(made.features[made.starts[k] : made.starts[k + 1]].tolist()) == sorted(wanted)
        assert made.labels[made.label_starts[k] : made.label_starts[k + 1]].tolist() == labels
        assert made.tokens[k + 1] - made.tokens[k] == tokens
    without = [line for line in naive.lines if len(line) > 1 and not naive.labels_of(line)]
    assert made.unlabelled == len(without)


def vectors(numbering: Numbering, table: np.ndarray, count: int) -> np.ndarray:
    """What each feature's vector is, by its row and scale; zero for one that no line has."""
    rows, scales = numbering.rows_of(np.arange(count))
    return np.where(rows[:, None] >= 0, table[rows] * scales[:, None], 0)


def sums(parts: list[Lines], table: np.ndarray) -> np.ndarray:
    """The weighted sum of rows of each line."""
    made = []
    for lines in parts:
        for begin, end in zip(lines.starts[:-1], lines.starts[1:], strict=True):
            made.append(lines.weights[begin:end] @ table[lines.rows[begin:end]])
    return np.array(made).reshape(-1, table.shape[1])


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize(("lines", "ngrams"), [(1, 1), (2, 2), (101, 1), (101, 3)])
def test_rows_stand_for_features(lines: int, ngrams: int, merge: bool, threads: int) -> None:
    data = reviews(lines) + b"__label__a same same same same\n"
    made, vocabulary = expanded(data, 1, ngrams, 500, threads)
    original = made.features.copy()
    numbering, parts = numbered(made, vocabulary, ngrams, 500, threads, merge=merge)
    support: dict[int, set[int]] = {}
    for line in range(made.lines):
        for x in original[made.starts[line] : made.starts[line + 1]].tolist():
            support.setdefault(x, set()).add(line)
    lonely = {x: lines_of for x, lines_of in support.items() if len(lines_of) == 1}
    shared = len(support) - len(lonely)
    own = len({min(lines_of) for lines_of in lonely.values()}) if merge else len(lonely)
    assert numbering.rows == shared + own

    table = np.random.default_rng(0).normal(size=(numbering.rows, 4))
    count = len(vocabulary.words) + (500 if ngrams > 1 else 0)
    by_feature = vectors(numbering, table, count)
    expected = [by_feature[original[a:b]].sum(axis=0) for a, b in zip(made.starts[:-1], made.starts[1:], strict=True)]
    np.testing.assert_allclose(sums(parts, table), np.array(expected), rtol=1e-5, atol=1e-6)
    # A line's own row has the norm of its features' counts, so the map is a rotation.
    for k in range(made.lines if merge else 0):
        mine = Counter(x for x in original[made.starts[k] : made.starts[k + 1]].tolist() if support[x] == {k})
        if mine:
            norm = np.sqrt(sum(m * m for m in mine.values()))
            assert numbering.own_weights[k] == pytest.approx(norm, rel=1e-6)
    untouched = sorted(set(range(count)) - set(support))
    assert np.flatnonzero(numbering.states[::2] == UNSEEN).tolist() == untouched


def test_numbers_do_not_depend_on_threads() -> None:
    found = []
    for threads in (1, 2, 4):
        made, vocabulary = expanded(reviews(300), 1, 2, 5000, threads)
        numbering, _ = numbered(made, vocabulary, 2, 5000, threads)
        rows, scales = numbering.rows_of(np.arange(len(vocabulary.words) + 5000))
        found.append((rows.tolist(), scales.tolist(), numbering.own_rows.tolist()))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("threads", [1, 2])
def test_other_lines_are_looked_up(threads: int) -> None:
    made, vocabulary = expanded(reviews(100), 1, 2, 500)
    numbering, _ = numbered(made, vocabulary, 2, 500, 1)
    table = np.random.default_rng(0).normal(size=(numbering.rows, 4))
    by_feature = vectors(numbering, table, len(vocabulary.words) + 500)
    text = corpus.encode([corpus.Text.of(Path("b"), reviews(40, seed=2) + b"__label__new never\n")], 1, Event())
    with ThreadPoolExecutor(threads) as pool:
        other = features.expand(text, vocabulary.kinds(text.counts), (2, 500, len(vocabulary.words)), pool, Event())
        expected = [
            by_feature[other.features[a:b]].sum(axis=0)
            for a, b in zip(other.starts[:-1], other.starts[1:], strict=True)
        ]
        assert other.labels[-1] == -1
        parts = features.look_up(other, numbering, threads, pool)
    np.testing.assert_allclose(sums(parts, table), np.array(expected), rtol=1e-5, atol=1e-6)
    inverses = np.concatenate([lines.inverses for lines in parts])
    np.testing.assert_allclose(inverses, 1 / np.diff(other.starts), rtol=1e-6)


def test_lines_are_shared_out_by_their_features() -> None:
    starts = np.array([0, 100, 101, 102, 103, 200])
    assert features.shares(starts, 1) == [(0, 5)]
    assert features.shares(starts, 2) == [(0, 1), (1, 5)]
    assert features.shares(np.array([0, 5]), 4) == [(0, 1)]
    assert features._blocks(starts, 0, 5, 102) == [(0, 3), (3, 5)]
    assert features._blocks(starts, 0, 5, 1) == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]


def test_a_stop_is_obeyed() -> None:
    made, vocabulary = expanded(reviews(10), 1, 2, 500)
    stop = Event()
    stop.set()
    with ThreadPoolExecutor(1) as pool, pytest.raises(corpus.StoppedEarlyError):
        features.number(made, (2, 500, len(vocabulary.words)), 1, pool, stop)
