"""The kernels of word vectors against the slow truth, which gets the same draws."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.algorithms.blazingtext.naive import word_hash
from tests.algorithms.blazingtext.naive_words import Step, cbow, skipgram, tree_paths
from wildsage.algorithms.blazingtext.hyperparameters import BlazingTextHyperparameters
from wildsage.algorithms.blazingtext.kernels import word_vectors as kernels
from wildsage.algorithms.blazingtext.kernels.random import END_OF_LINE, GROUP, Batch, Chances, draw_batch
from wildsage.algorithms.blazingtext.kernels.skipgram import PATTERNS
from wildsage.algorithms.blazingtext.kernels.word_vectors import (
    Plan,
    Rows,
    Scratch,
    exchange,
    merge_copies,
    point_to_copies,
    train_batch,
)
from wildsage.algorithms.blazingtext.ngrams import EOS
from wildsage.algorithms.blazingtext.vocabulary import Vocabulary
from wildsage.algorithms.blazingtext.word_epochs import Subwords, _chances
from wildsage.kernels.vector import aligned, padded

WORDS = 40
NONE = np.empty(0, np.int64)
PLAIN = (np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.float32))


def vocabulary(counts: list[int]) -> Vocabulary:
    words = [b"w%d" % k for k in range(len(counts))]
    words[1] = EOS
    return Vocabulary(words, np.array(counts, np.int64), [], NONE)


def chances(counts: list[int], **values: Any) -> Chances:
    given = {"mode": "skipgram", "sampling_threshold": 100.0, **values}
    return _chances(vocabulary(counts), BlazingTextHyperparameters.model_validate(given))


def draw(
    chosen: Chances, stream: np.ndarray, seed: int = 1, *, size: int = 500, subwords: bool = False
) -> tuple[Any, int]:
    groups = max(1, int(np.diff(chosen.path_starts).max(initial=0)))
    if chosen.negatives:
        groups = -(-2 * chosen.window // chosen.share) * -(-(1 + chosen.negatives) // GROUP)
    batch = Batch.empty(size, groups, apart=subwords)
    position, random = np.zeros(1, np.int64), np.array([seed * 77777 + 1], np.uint64)
    return batch, int(draw_batch(stream, position, stream.size, chosen, batch, random))


def scratch(width: int, window: int, words: int, groups: int = 8, room: int = 1000) -> Scratch:
    return Scratch(
        contexts=np.zeros(2 * window + 1, np.int64),
        weights=np.zeros(2 * window + 1, np.float32),
        errors=aligned(16 * max(window + 1, groups)),
        hidden=aligned(width),
        gradient=aligned(width),
        touched=np.empty(0, np.uint8),
        local=aligned(room * width),
        kept=aligned(room * width),
        distinct=np.empty(room, np.int32),
        slots=np.full(words, -1, np.int32),
    )


def steps_of(batch: Batch, n: int, share: int) -> list[Step]:
    """A batch as the slow truth takes it."""
    steps = []
    for i in range(n):
        contexts = [int(batch.words[j]) for j in range(batch.lefts[i], batch.rights[i]) if j != i]
        sets = [contexts[k : k + share] for k in range(0, len(contexts), share)]
        groups = []
        for g in range(batch.firsts[i], batch.firsts[i + 1]):
            signs = PATTERNS.reshape(-1, 16)[batch.patterns[g]]
            rows = batch.targets[GROUP * g : GROUP * g + GROUP].tolist()
            groups.append([(row, int(sign < 0)) for row, sign in zip(rows, signs[:GROUP], strict=True) if sign])
        each = len(groups) // max(1, len(sets))
        steps.append(Step(sets, [groups[each * k : each * (k + 1)] for k in range(len(sets))]))
    return steps


def stream_of(length: int, words: int, seed: int, line: int = 9) -> np.ndarray:
    """Words at random, "</s>" (word 1) among them; neighbours differ, since of a pair of equal ones a step is lost."""
    made = np.random.default_rng(seed).integers(2, words, length).astype(np.int32)
    made[1:][made[1:] == made[:-1]] = 0
    made[line::line] = 1
    return made


@pytest.mark.parametrize("dim", [1, 16, 33])
@pytest.mark.parametrize(
    "values",
    [
        {"negative_samples": 5, "window_size": 3},
        {"negative_samples": 1, "window_size": 1},
        {"negative_samples": 13, "window_size": 2},
        {"mode": "batch_skipgram", "batch_size": 3, "window_size": 5, "negative_samples": 4},
        {"loss": "hs", "window_size": 3},
        {"mode": "cbow", "negative_samples": 5, "window_size": 3},
        {"mode": "cbow", "negative_samples": 12, "window_size": 2, "cbow_mean_gradient": True},
        {"mode": "cbow", "loss": "hs"},
    ],
    ids=str,
)
def test_rows_are_those_of_the_slow_truth(values: dict[str, Any], dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, width = np.random.default_rng(dim), padded(dim)
    chosen = chances(rng.integers(1, 100, WORDS).tolist(), **values)
    batch, n = draw(chosen, stream_of(120, WORDS, dim))
    inputs, outputs = aligned(WORDS * width), aligned(WORDS * width)
    for table in (inputs, outputs):
        table.reshape(-1, width)[:, :dim] = rng.normal(size=(WORDS, dim))
    rows = Rows(inputs, outputs, *PLAIN)
    slow = [table.reshape(-1, width).astype(np.float64) for table in (inputs, outputs)]
    is_cbow, whole = values.get("mode") == "cbow", not values.get("cbow_mean_gradient", False)
    plan = Plan(is_cbow, chosen.window, chosen.share, whole, width)
    sums = np.zeros(2)
    train_batch(batch, n, rows, scratch(width, chosen.window, WORDS), plan, np.float32(0.1), sums)
    steps = steps_of(batch, n, chosen.share)
    if is_cbow:
        cbow(slow[0], slow[1], steps, 0.1, np.ones(WORDS), whole)
    else:
        skipgram(slow[0], slow[1], steps, 0.1)
    np.testing.assert_allclose(inputs.reshape(-1, width), slow[0], rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(outputs.reshape(-1, width), slow[1], rtol=2e-3, atol=2e-4)
    assert not inputs.reshape(-1, width)[:, dim:].any()


@pytest.mark.parametrize("mode", ["skipgram", "cbow"])
def test_the_loss_is_that_of_the_slow_truth(mode: str) -> None:
    rng = np.random.default_rng(0)
    chosen = chances([5] * WORDS, mode=mode, negative_samples=8)
    batch, n = draw(chosen, stream_of(16, WORDS, 1, line=20))
    inputs, outputs = (rng.normal(size=WORDS * 16).astype(np.float32) for _ in range(2))
    rows = Rows(inputs, outputs, *PLAIN)
    slow = [table.reshape(-1, 16).astype(np.float64) for table in (inputs, outputs)]
    sums = np.zeros(2)
    plan = Plan(mode == "cbow", 5, 10, True, 16)
    train_batch(batch, n, rows, scratch(16, 5, WORDS), plan, np.float32(1e-5), sums)
    assert n <= kernels.LOSS_EVERY, "only the first word's loss is taken"
    first = steps_of(batch, 1, 10)
    if mode == "cbow":
        loss, examples = cbow(slow[0], slow[1], first, 1e-5, np.ones(WORDS)), 1
    else:
        loss, examples = skipgram(slow[0], slow[1], first, 1e-5), len(first[0].contexts[0])
    assert sums[1] == examples
    assert sums[0] == pytest.approx(loss, rel=1e-3)


def test_a_score_that_is_no_number_shows_in_the_loss() -> None:
    chosen = chances([5] * WORDS)
    batch, n = draw(chosen, stream_of(30, WORDS, 1))
    inputs, outputs = np.full((2, WORDS * 16), np.nan, np.float32)
    rows, sums = Rows(inputs, outputs, *PLAIN), np.zeros(2)
    train_batch(batch, n, rows, scratch(16, 5, WORDS), Plan(False, 5, 10, True, 16), np.float32(0.1), sums)
    assert np.isnan(sums[0])


def buckets_of(word: bytes, minn: int, maxn: int, buckets: int) -> list[int]:
    """The buckets of a word's n-grams, in fastText's order."""
    if word == EOS:
        return []
    text, found = "<" + word.decode() + ">", []
    for first in range(len(text)):
        for length in range(minn, maxn + 1):
            ngram = text[first : first + length]
            if len(ngram) == length and ngram not in "<>":
                found.append((word_hash(ngram.encode()) & 0xFFFFFFFF) % buckets)
    return found


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize(("mode", "dim"), [("skipgram", 10), ("cbow", 10), ("skipgram", 100)])
def test_subwords_are_composed_trained_and_written_back(mode: str, dim: int, merge: bool) -> None:
    rng, width = np.random.default_rng(3), padded(dim)
    words = [b"w%d" % k if k != 1 else EOS for k in range(WORDS)]
    words[2:5] = [b"banana", b"bananarama", "größer".encode()]
    subwords = Subwords.of(words, 1, 4, 90, merge=merge)
    assert (subwords.rows < subwords.ids.size) == merge
    count = WORDS + subwords.rows
    inputs, outputs = aligned(count * width), aligned(WORDS * width)
    inputs.reshape(-1, width)[:, :dim] = rng.normal(size=(count, dim))
    outputs.reshape(-1, width)[:, :dim] = rng.normal(size=(WORDS, dim))

    def in_fasttexts_numbering() -> np.ndarray:
        rows = inputs.reshape(-1, width).astype(np.float64)
        dense = np.zeros((90, width))
        dense[subwords.ids] = rows[WORDS + subwords.row_of]
        return np.vstack([rows[:WORDS], dense])

    before = in_fasttexts_numbering()
    lists = [[k, *(WORDS + bucket for bucket in buckets_of(word, 1, 4, 90))] for k, word in enumerate(words)]
    assert subwords.sizes.tolist() == [len(row_list) for row_list in lists]
    composed = np.array([before[row_list].mean(axis=0) for row_list in lists])
    slow_outputs = outputs.reshape(-1, width).astype(np.float64)
    chosen = chances([3] * WORDS, mode=mode)
    batch, n = draw(chosen, stream_of(60, WORDS, 2), subwords=True)
    used = scratch(width, 5, WORDS)
    rows = Rows(inputs, outputs, subwords.starts, subwords.lists, subwords.weights, subwords.sizes)
    train_batch(batch, n, rows, used, Plan(mode == "cbow", 5, 10, True, width), np.float32(0.05), np.zeros(2))
    trained = composed.copy()
    if mode == "cbow":
        cbow(trained, slow_outputs, steps_of(batch, n, 10), 0.05, subwords.sizes.astype(float))
    else:
        skipgram(trained, slow_outputs, steps_of(batch, n, 10), 0.05)
    expected = before.copy()
    for word, row_list in enumerate(lists):
        for row in row_list:
            expected[row] += trained[word] - composed[word]
    np.testing.assert_allclose(in_fasttexts_numbering(), expected, rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(outputs.reshape(-1, width), slow_outputs, rtol=2e-3, atol=1e-3)
    assert (used.slots == -1).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=2, max_size=40).map(lambda counts: sorted(counts, reverse=True)))
def test_paths_are_those_of_fasttexts_tree(counts: list[int]) -> None:
    chosen = chances(counts, loss="hs")
    signs = PATTERNS.reshape(-1, 16)
    for word, path in enumerate(tree_paths(counts)):
        found = []
        for g in range(chosen.path_starts[word], chosen.path_starts[word + 1]):
            rows = chosen.path_targets[GROUP * g : GROUP * g + GROUP].tolist()
            row_signs = signs[chosen.path_patterns[g]][:GROUP]
            found += [(row, int(sign < 0)) for row, sign in zip(rows, row_signs, strict=True) if sign]
        assert found == path


def test_the_tree_is_the_one_that_models_are_read_with() -> None:
    from wildsage.algorithms.blazingtext.model import label_tree

    counts = sorted(np.random.default_rng(0).zipf(1.5, 200).clip(max=10**6).tolist(), reverse=True)
    children = label_tree(np.array(counts))
    for word, path in enumerate(tree_paths(counts)):
        at = word
        for node, label in path:
            assert children[node, label] == at
            at = node + len(counts)


def test_negatives_come_as_often_as_the_power_of_their_counts() -> None:
    counts = [1000, 300, 100, 30, 10, 3, 1, 1]
    chosen = chances(counts, negative_samples=17, window_size=1)
    drawn: Counter[int] = Counter()
    for seed in range(1, 30):
        batch, n = draw(chosen, np.tile(np.array([7, 1], np.int32), 200), seed)
        targets = batch.targets[: GROUP * batch.firsts[n]].reshape(-1, 3 * GROUP)
        assert targets[:, 0].tolist() == batch.words[:n].tolist()
        of_word = targets[targets[:, 0] == 7]
        assert not (of_word[:, 1:] == 7).any(), "a word is no negative of its own"
        drawn.update(of_word[:, 1:].ravel().tolist())
    weights = np.array(counts[:-1]) ** 0.75
    shares = np.array([drawn[k] for k in range(7)]) / sum(drawn.values())
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=0.01)


def test_words_stay_as_often_as_subsampling_says_and_windows_shrink_evenly() -> None:
    counts = [6000, 3000, 900, 90, 10]
    chosen = chances(counts, sampling_threshold=0.01, window_size=3, negative_samples=1)
    rng, kept, reaches = np.random.default_rng(0), np.zeros(5), Counter[int]()
    stream = rng.choice(5, 4000, p=np.array(counts) / sum(counts)).astype(np.int32)
    stream[stream == 1] = 0
    seen = np.bincount(stream, minlength=5)
    for seed in range(1, 40):
        batch, n = draw(chosen, stream, seed, size=3000)
        kept += np.bincount(batch.words[:n], minlength=5)
        middle = np.arange(3, n - 3)
        reaches.update((middle - batch.lefts[3 : n - 3]).tolist())
    frequencies = np.array(counts) / sum(counts)
    expected = np.minimum(1, np.sqrt(0.01 / frequencies) + 0.01 / frequencies)
    np.testing.assert_allclose((kept / 39 / np.maximum(1, seen))[[0, 2, 3]], expected[[0, 2, 3]], atol=0.02)
    total = sum(reaches.values())
    assert set(reaches) == {1, 2, 3}
    assert all(abs(count / total - 1 / 3) < 0.02 for count in reaches.values())


@pytest.mark.parametrize("marker", ["word", "mark"])
def test_windows_end_with_lines(marker: str) -> None:
    counts = [5] * 6
    chosen = chances(counts, negative_samples=1)
    if marker == "mark":
        chosen = chosen._replace(end_of_line=END_OF_LINE)
    end = 1 if marker == "word" else END_OF_LINE
    stream = np.array([2, 3, end, end, 4, end, 5, 2, 3, 4], np.int32)
    batch, n = draw(chosen, stream)
    bounds = [(0, 3), (3, 4), (4, 6), (6, 10)] if marker == "word" else [(0, 2), (2, 3), (3, 7)]
    assert n == bounds[-1][1]
    for begin, after in bounds:
        assert (batch.lefts[begin:after] >= begin).all()
        assert (batch.rights[begin:after] <= after).all()
    assert (batch.rights[:n] - batch.lefts[:n] >= 1).all()


def test_a_batch_takes_whole_lines_and_no_more_than_it_has_room_for() -> None:
    chosen = chances([5] * 6, negative_samples=1)
    batch = Batch.empty(10, 2, apart=False)
    stream = np.array(([2, 3, 4, 1] * 3 + [2] * 31), np.int32)
    position, random, sizes = np.zeros(1, np.int64), np.array([1], np.uint64), []
    while position[0] < stream.size:
        sizes.append(draw_batch(stream, position, stream.size, chosen, batch, random))
    assert sizes == [12, 20, 11]


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_changes_are_added_up(threads: int) -> None:
    rng = np.random.default_rng(threads)
    base = rng.integers(-8, 8, 5 * 32).astype(np.float32)
    copies = np.tile(base, (threads, 1))
    changes = rng.integers(-8, 8, (threads, 5, 32)).astype(np.float32)
    changes[:, 3] = 0
    changes[0, 2] = 0
    copies += changes.reshape(threads, -1)
    touched = changes.any(axis=2).astype(np.uint8)
    expected = base + changes.sum(axis=0).reshape(-1)
    flat = copies.reshape(-1)
    merge_copies(base, flat, threads, touched, 32, 0, 5)
    assert (base == expected).all()
    assert (flat.reshape(threads, -1) == expected).all()
    assert not touched.any()


def test_a_words_rows_are_its_own_and_those_of_its_ngrams() -> None:
    words = ["über".encode(), EOS, b"a", b"word", b"word" * 20]
    subwords = Subwords.of(words, 2, 4, 1000, merge=False)
    for number, word in enumerate(words):
        rows = subwords.lists[subwords.starts[number] : subwords.starts[number + 1]]
        assert rows[0] == number
        assert subwords.ids[rows[1:] - len(words)].tolist() == buckets_of(word, 2, 4, 1000)
    assert len(set(subwords.ids.tolist())) == subwords.ids.size
    assert (subwords.weights == 1).all()


def test_buckets_of_the_same_words_share_a_row() -> None:
    words = [b"abc", b"abcx", b"zzz", b"yyy"]
    subwords = Subwords.of(words, 3, 3, 10**6)
    by_bucket = dict(zip(subwords.ids.tolist(), subwords.row_of.tolist(), strict=True))
    assert len(by_bucket) == 5 + 3 + 3, "<ab abc bc> bcx cx>; <zz zzz zz>; <yy yyy yy>"
    for shared in (b"<ab", b"abc"):
        assert by_bucket[word_hash(shared) % 2**32 % 10**6] == by_bucket[word_hash(b"<ab") % 2**32 % 10**6]
    assert subwords.rows == 5, "of both; of abc; of abcx; of zzz; of yyy"
    assert sorted(subwords.weights.tolist()) == [1, 1, 1, 1, 1, 2, 2, 2, 3, 3]


@pytest.mark.parametrize("subwords", [False, True])
def test_a_batch_is_pointed_to_the_thread_s_own_rows_of_common_words(subwords: bool) -> None:
    chosen = chances([9, 8, 7, 6, 5, 4], negative_samples=3)
    stream = np.random.default_rng(1).integers(0, 6, 60).astype(np.int32)
    batch, n = draw(chosen, stream, subwords=subwords)
    if not subwords:
        batch = batch._replace(rows=np.zeros_like(batch.words))
    words, rows, targets = (
        batch.words[:n].copy(),
        batch.rows[:n].copy(),
        batch.targets[: GROUP * batch.firsts[n]].copy(),
    )
    nothing = np.zeros(0, np.float32)
    starts = np.zeros(7 if subwords else 1, np.int64)
    lists = np.zeros(0, np.int32)
    point_to_copies(
        batch, n, Rows(nothing, nothing, starts, lists, nothing, nothing, hot=2, hot_inputs=40, hot_outputs=50)
    )
    assert batch.words[:n].tolist() == words.tolist()
    assert batch.targets[: len(targets)].tolist() == [t + 50 if t < 2 else t for t in targets.tolist()]
    if subwords:
        assert batch.rows[:n].tolist() == rows.tolist()
    else:
        assert batch.rows[:n].tolist() == [w + 40 if w < 2 else w for w in words.tolist()]


def test_threads_that_share_their_changes_lose_none() -> None:
    rng = np.random.default_rng(5)
    table = rng.integers(-8, 8, (10, 32)).astype(np.float32)
    expected, rows = table.copy(), np.array([7, 0, 3], np.int32)
    copies = [(table[rows], table[rows]) for _ in range(3)]
    flat = aligned(table.size)
    flat[:] = table.reshape(-1)
    for _ in range(4):
        for own, kept in copies:
            change = rng.integers(-8, 8, own.shape).astype(np.float32)
            own += change
            expected[rows] += change
            exchange(flat, rows, own.reshape(-1), kept.reshape(-1), 32)
            assert own.tolist() == kept.tolist() == expected[rows].tolist()
            assert flat.tolist() == expected.reshape(-1).tolist()
