"""Phrases against a slow truth that follows word2phrase.c, and as jobs."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.algorithms.blazingtext.jobs import Listener, job
from tests.algorithms.blazingtext.test_word_vectors import SMALL, same, train
from wildsage.algorithms.blazingtext import BlazingText, corpus, phrases
from wildsage.algorithms.blazingtext.corpus import Corpus, StoppedEarlyError, Text, encode
from wildsage.algorithms.blazingtext.hyperparameters import BlazingTextHyperparameters
from wildsage.algorithms.blazingtext.word_model import WordVectors


def joined(lines: list[list[str]], threshold: float, discount: int) -> list[list[str]]:
    """One pass, as one would write it down."""
    words = Counter(word for line in lines for word in line)
    pairs = Counter(pair for line in lines for pair in pairwise(line))
    made = []
    for line in lines:
        new: list[str] = []
        free = False  # whether the last word may still be the first of a phrase
        for word in line:
            if free:
                last = new[-1]
                score = (pairs[last, word] - discount) * words.total() / (words[last] * words[word])
                if score > threshold:
                    new[-1] = f"{last}_{word}"
                    free = False
                    continue
            new.append(word)
            free = True
        made.append(new)
    return made


def encoded(text: bytes) -> Corpus:
    return encode([Text.of(Path("text"), text)], 1, Event(), labelled=False)


def lines_of(read: Corpus) -> list[list[str]]:
    names = read.counts.names(np.arange(len(read.counts)))
    made = []
    for part in read.parts:
        words = part.numbers[part.tokens].tolist()
        for begin, end in zip(part.starts[:-1], part.starts[1:], strict=True):
            made.append([names[word].decode() for word in words[begin:end] if names[word] != b"</s>"])
    return made


def parameters(**values: Any) -> BlazingTextHyperparameters:
    return BlazingTextHyperparameters.model_validate({"mode": "skipgram", "phrases": 1, **values})


WORDS = st.sampled_from(["a", "b", "c", "a_b", "new", "york", "city", "new_york"])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(WORDS, max_size=12), min_size=1, max_size=12),
    st.sampled_from([0.5, 1.0, 2.0, 5.0]),
    st.integers(0, 3),
    st.integers(1, 3),
)
def test_phrases_are_those_of_the_slow_truth(
    lines: list[list[str]], threshold: float, discount: int, passes: int
) -> None:
    read = encoded("\n".join(" ".join(line) for line in lines).encode())
    given = parameters(phrases=passes, phrase_threshold=threshold, phrase_discount=discount)
    read = phrases.join(read, given, Listener(), Event())
    expected = lines
    for _ in range(passes):
        expected = joined(expected, threshold, discount)
        threshold /= 2
    assert [line for line in lines_of(read) if line] == [line for line in expected if line]
    names = [name.decode() for name in read.counts.names(np.arange(len(read.counts)))]
    counts = {name: count for name, count in zip(names, read.counts.counts.tolist(), strict=True) if count}
    counts.pop("</s>", None)
    assert counts == Counter(word for line in expected for word in line)
    assert len(set(names)) == len(names)


def test_many_words_in_many_parts_are_those_of_the_slow_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "PART", 5000)
    monkeypatch.setattr(corpus, "SMALL_PART", 5000)
    monkeypatch.setattr(phrases, "SMALLEST_TABLE", 16)
    monkeypatch.setattr(phrases, "LARGEST_SKETCH", 256)  # many pairs to a counter
    rng = np.random.default_rng(0)
    lines = [[f"w{word}" for word in rng.zipf(1.3, 12).clip(max=3000)] for _ in range(3000)]
    read = encoded("\n".join(" ".join(line) for line in lines).encode())
    assert len(read.parts) > 10
    listener = Listener()
    read = phrases.join(read, parameters(phrases=2, phrase_threshold=20, phrase_discount=2), listener, Event())
    expected = joined(joined(lines, 20, 2), 10, 2)
    assert lines_of(read) == expected
    assert expected != lines
    assert len(listener.lines) == 2
    assert listener.lines[0].startswith("phrases, pass 1 of 2 (score above 20)")


def text_with_phrases(count: int = 1500) -> str:
    rng = random.Random(3)
    others = [f"w{k}" for k in range(60)]
    made = []
    for _ in range(count):
        line = rng.choices(others, k=8)
        if rng.random() < 0.3:
            line[4:4] = ["new", "york", "city"] if rng.random() < 0.5 else ["san", "diego"]
        made.append(" ".join(line))
    return "\n".join(made) + "\n"


@pytest.mark.parametrize("values", [{}, {"subwords": True}, {"mode": "cbow"}, {"mode": "batch_skipgram"}], ids=str)
def test_saved_words_are_phrases(values: dict[str, Any], tmp_path: Path) -> None:
    listener = Listener()
    given = {**SMALL, "phrases": 2, "phrase_threshold": 10, **values}
    model = BlazingText().train(job(tmp_path, {"train": text_with_phrases()}, listener, **given))
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    loaded = WordVectors.load(tmp_path / "model")
    assert {b"new_york_city", b"san_diego"} <= set(loaded.words)
    assert not {b"new", b"york", b"san", b"diego"} & set(loaded.words)
    (answer,) = loaded.predict(["new_york_city"], [{}])
    assert any(answer["vector"])
    assert "san_diego" in [word for word, _ in loaded.nearest("new_york_city", 100)]
    assert any("san_diego" in line for line in listener.lines)
    assert listener.facts["words"] > loaded.file.counts.sum(), "words are those read"


def test_one_seed_one_model_and_none_without(tmp_path: Path) -> None:
    given = {"phrases": 1, "phrase_threshold": 10}
    text = text_with_phrases(200)
    assert same(train(tmp_path / "a", text, **given), train(tmp_path / "b", text, **given))
    assert b"san_diego" not in train(tmp_path / "c", text).vocabulary.words


def test_words_that_phrases_used_up_are_none(tmp_path: Path) -> None:
    rows = train(tmp_path, text_with_phrases(200), phrases=1, phrase_threshold=10, min_count=0)
    assert b"san_diego" in rows.vocabulary.words
    assert b"diego" not in rows.vocabulary.words
    assert rows.vocabulary.word_counts.min() > 0


def test_training_goes_on_from_a_model_of_phrases(tmp_path: Path) -> None:
    given = {**SMALL, "phrases": 1, "phrase_threshold": 10}
    before = BlazingText().train(job(tmp_path / "first", {"train": text_with_phrases(400)}, **given))
    (tmp_path / "model").mkdir()
    before.save(tmp_path / "model")
    files = {"vectors.bin": (tmp_path / "model" / "vectors.bin").read_bytes()}
    more = text_with_phrases(400).replace("san diego", "los angeles")
    after = BlazingText().train(job(tmp_path / "more", {"train": more, "model": files}, **given))
    assert isinstance(after, WordVectors)
    assert {b"san_diego", b"los_angeles"} <= set(after.words)


def test_a_stop_ends_it() -> None:
    stop = Event()
    read = encoded(text_with_phrases(50).encode())
    stop.set()
    with pytest.raises(StoppedEarlyError):
        phrases.join(read, parameters(), Listener(), stop)
