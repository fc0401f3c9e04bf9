"""The hashes against plain Python, and against the fastText package."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.algorithms.blazingtext.ngrams import (
    EOS,
    EOS_HASH,
    character_ngrams,
    extend_ngram,
    hash_word,
    widen,
)

U64 = 2**64


def slow_hash(word: bytes) -> int:
    h = 2166136261
    for byte in word:
        signed = byte - 256 if byte >= 128 else byte
        h = ((h ^ (signed % 2**32)) * 16777619) % 2**32
    return h


def signed(h: int) -> int:
    return h - 2**32 if h >= 2**31 else h


def slow_ngrams(words: list[bytes], longest: int, bucket: int) -> list[int]:
    hashes = [signed(slow_hash(word)) for word in words]
    found = []
    for i in range(len(hashes)):
        h = hashes[i] % U64
        for j in range(i + 1, min(len(hashes), i + longest)):
            h = (h * 116049371 + hashes[j]) % U64
            found.append(h % bucket)
    return found


def slow_character_ngrams(word: bytes, minn: int, maxn: int, bucket: int) -> list[int]:
    framed = b"<" + word + b">"
    found = []
    for i in range(len(framed)):
        if framed[i] & 0xC0 == 0x80:
            continue
        j = i
        for n in range(1, maxn + 1):
            if j >= len(framed):
                break
            j += 1
            while j < len(framed) and framed[j] & 0xC0 == 0x80:
                j += 1
            if n >= minn and not (n == 1 and (i == 0 or j == len(framed))):
                found.append(slow_hash(framed[i:j]) % bucket)
    return found


def fast_character_ngrams(word: bytes, minn: int, maxn: int, bucket: int) -> list[int]:
    data = np.frombuffer(b"xx" + word + b"yy", np.uint8)
    out = np.empty((len(word) + 2) * max(1, maxn), np.int64)
    count = 0
    for first in range(len(word) + 2):
        count = character_ngrams(data, 2, 2 + len(word), first, minn, maxn, bucket, out, count)
    return out[:count].tolist()


@given(st.binary(max_size=30))
def test_hash_word_is_the_slow_one(word: bytes) -> None:
    data = np.frombuffer(b"ab" + word + b"c", np.uint8)
    assert int(hash_word(data, 2, 2 + len(word))) == slow_hash(word)


def test_hash_of_the_line_end() -> None:
    assert slow_hash(EOS) == int(EOS_HASH)


@given(st.lists(st.binary(min_size=1, max_size=8), min_size=2, max_size=5), st.integers(1, 2**31 - 1))
def test_word_ngrams_are_the_slow_ones(words: list[bytes], bucket: int) -> None:
    h = np.uint64(widen(np.uint32(slow_hash(words[0]))))
    found = []
    for word in words[1:]:
        h = np.uint64(extend_ngram(h, np.uint32(slow_hash(word))))
        found.append(int(h) % bucket)
    assert found == slow_ngrams(words, len(words), bucket)[: len(words) - 1]


@given(
    st.one_of(st.binary(max_size=12), st.text(max_size=8).map(lambda text: text.encode())),
    st.integers(0, 4),
    st.integers(0, 6),
    st.integers(1, 2**31 - 1),
)
def test_character_ngrams_are_the_slow_ones(word: bytes, minn: int, maxn: int, bucket: int) -> None:
    assert fast_character_ngrams(word, minn, maxn, bucket) == slow_character_ngrams(word, minn, maxn, bucket)


@pytest.mark.parametrize("word", ["a", "where", "Größe", "日本語", "naïve…", "🙂"])
def test_character_ngrams_are_those_of_the_package(word: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    fasttext = pytest.importorskip("fasttext", reason="the fasttext package is not installed")
    text = tmp_path_factory.mktemp("text") / "train.txt"
    text.write_text("__label__a one two\n__label__b three four\n" * 5)
    model = fasttext.train_supervised(
        str(text), dim=10, epoch=1, bucket=1000, minn=2, maxn=4, minCount=1, thread=11, verbose=0
    )
    ids = model.get_subwords(word)[1]
    assert (ids - len(model.words)).tolist() == fast_character_ngrams(word.encode(), 2, 4, 1000)
