"""Counts, order and kinds."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.algorithms.blazingtext.jobs import reviews
from tests.algorithms.blazingtext.naive import Naive
from wildsage.algorithms.blazingtext import corpus
from wildsage.algorithms.blazingtext.kernels.features import LABEL, OUT_OF_VOCABULARY, UNKNOWN_LABEL
from wildsage.algorithms.blazingtext.vocabulary import Vocabulary, WordCounts


def counted(data: bytes) -> WordCounts:
    return corpus.encode([corpus.Text.of(Path("a"), data)], 1, Event()).counts


WORDS = st.sampled_from([b"a", b"b", b"ccc", b"a-long-long-word", b"__label__x", b"__label__y", b"\n", "ÿ".encode()])


@given(st.lists(WORDS, max_size=80), st.integers(0, 4))
def test_order_and_counts_are_fasttexts(words: list[bytes], min_count: int) -> None:
    data = b" ".join(words)
    naive = Naive(data, min_count, 1, 1)
    vocabulary, kinds = Vocabulary.build(counted(data), min_count)
    assert vocabulary.words == naive.words
    assert vocabulary.labels == naive.labels
    assert vocabulary.word_counts.tolist() == [naive.counts[word] for word in naive.words]
    assert vocabulary.label_counts.tolist() == [naive.counts[label] for label in naive.labels]
    assert kinds.tolist() == vocabulary.kinds(counted(data)).tolist()


def test_kinds_of_another_text() -> None:
    vocabulary, _ = Vocabulary.build(counted(b"__label__a w w\n__label__b v w\n"), 2)
    assert vocabulary.words == [b"w", b"</s>"]
    kinds = vocabulary.kinds(counted(b"__label__b w __label__z v\n"))
    assert kinds.tolist() == [LABEL - 1, 0, UNKNOWN_LABEL, OUT_OF_VOCABULARY, 1]


def test_an_earlier_models_words_come_behind() -> None:
    vocabulary, _ = Vocabulary.build(counted(b"__label__a w\n"), 1)
    both = vocabulary.with_earlier({b"old": 0, b"w": 1}, {b"__label__a": 0, b"__label__old": 1})
    assert (both.words, both.labels) == ([b"w", b"</s>", b"old"], [b"__label__a", b"__label__old"])
    assert (both.word_counts.tolist(), both.label_counts.tolist()) == ([1, 1, 0], [1, 0])


@pytest.mark.parametrize("threads", [1, 2])
def test_many_words_from_many_parts(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "SMALL_PART", 10_000)
    texts = [b"\n".join(b"word%d" % k for k in range(begin, begin + 30_000)) for begin in (0, 15_000)]
    made = corpus.encode([corpus.Text.of(Path("a"), text) for text in texts], threads, Event())
    counts, names = made.counts.counts.tolist(), made.counts.names(np.arange(len(made.counts)))
    assert names == [b"word0", b"</s>", *(b"word%d" % k for k in range(1, 45_000))]
    assert counts == [1, 2 * 29_999, *[1] * 14_999, *[2] * 15_000, *[1] * 15_000]


def test_the_fasttext_package_counts_the_same(tmp_path: Path) -> None:
    fasttext = pytest.importorskip("fasttext")
    file = tmp_path / "text"
    file.write_bytes(reviews(300) + "__label__a caf\u00e9\t\vtab </s> after\n\nlast line".encode())
    # It fills a tenth of its rows a thread and leaves the rest as the memory was, so fewer threads may meet a NaN.
    model = fasttext.train_supervised(str(file), epoch=1, dim=10, minCount=2, thread=10, verbose=0)
    vocabulary, _ = Vocabulary.build(counted(file.read_bytes()), 2)
    words, counts = model.get_words(include_freq=True)
    assert sorted(zip(words, counts.tolist(), strict=True)) == sorted(
        (word.decode(), count) for word, count in zip(vocabulary.words, vocabulary.word_counts.tolist(), strict=True)
    )
    assert counts.tolist() == vocabulary.word_counts.tolist()
    labels, counts = model.get_labels(include_freq=True)
    assert dict(zip(labels, counts.tolist(), strict=True)) == {
        label.decode(): count for label, count in zip(vocabulary.labels, vocabulary.label_counts.tolist(), strict=True)
    }
