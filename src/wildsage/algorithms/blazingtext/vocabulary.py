"""Words and labels: counts, fastText's order, and the kind of each token."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from wildsage.algorithms.blazingtext.kernels.features import LABEL, OUT_OF_VOCABULARY, UNKNOWN_LABEL
from wildsage.algorithms.blazingtext.kernels.text import USED, Words, hash_words, join_words, merge_words
from wildsage.algorithms.blazingtext.ngrams import EOS, LABEL_PREFIX
from wildsage.contract.errors import ClientError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MINIMUM = 64  # bytes that a kernel may read at once


class WordCounts:
    """The distinct tokens of a text, numbered by first sight, with their counts.

    It keeps their bytes, one behind the other, so that the text itself can go. Memory: about 120 bytes a distinct
    token.
    """

    def __init__(self, words: Words) -> None:
        self._words = words
        self.counts = words.counts()

    @classmethod
    def merged(cls, tables: list[Words]) -> tuple[WordCounts, list[NDArray[np.int32]]]:
        """The words of several tables, and for each table int32: the numbers of its words here."""
        if len(tables) == 1:
            return cls(tables[0]), [np.arange(tables[0].size, dtype=np.int32)]
        sizes = [table.size for table in tables]
        homes = [table.home[: int(table.state[USED])] for table in tables]
        home = np.concatenate([*homes, np.zeros(MINIMUM, np.uint8)])
        before = np.cumsum([0] + [part.size for part in homes]).tolist()
        begins = [table.begins[:size] + more for table, size, more in zip(tables, sizes, before, strict=False)]
        lengths = [table.lengths[:size] for table, size in zip(tables, sizes, strict=True)]
        seen = np.concatenate([table.seen[:size] for table, size in zip(tables, sizes, strict=True)])
        total = sum(sizes)
        words, numbers = Words.empty(2 << max(4, total.bit_length()), home.size), np.empty(total, np.int32)
        merge_words(
            home, np.concatenate(begins), np.concatenate(lengths), np.concatenate([table.counts() for table in tables]),
            seen, np.argsort(seen, kind="stable"), words, numbers,
        )  # fmt: skip
        return cls(words), np.split(numbers, np.cumsum(sizes)[:-1])

    def __len__(self) -> int:
        return self._words.size

    def hashes(self) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
        """fastText's hash of each word, and whether it is a label."""
        size, words = len(self), self._words
        hashes, is_label = np.empty(size, np.uint64), np.empty(size, np.bool_)
        prefix = np.array(list(LABEL_PREFIX), np.uint8)
        hash_words(words.home, words.begins[:size], words.lengths[:size], prefix, hashes, is_label)
        return hashes, is_label

    def first_not_utf8(self) -> int | None:
        """The first word that is not UTF-8, if there is one."""
        words = self._words
        home = words.home[: int(words.state[USED])]
        if not home.size or home.max() < 0x80:
            return None
        begins = words.begins[: len(self)][words.lengths[: len(self)] > 0]
        try:
            codecs.decode(home.data, "utf-8")
            # Words that are not whole might make some together; but then one of them begins within a character.
            if not ((home[begins] & 0xC0) == 0x80).any():
                return None
        except UnicodeDecodeError:
            pass
        for number, name in enumerate(self.names(np.arange(len(self)))):
            try:
                name.decode()
            except UnicodeDecodeError:
                return number
        return None

    def names(self, numbers: NDArray[np.int64]) -> list[bytes]:
        """The bytes of the words with these numbers."""
        words = self._words
        out = np.empty(int(np.maximum(words.lengths[numbers], len(EOS)).sum()) + numbers.size, np.uint8)
        size = join_words(words.home, words.begins, words.lengths, numbers, out)
        return out[:size].tobytes().split(b"\n")[:-1]


@dataclass(frozen=True)
class Vocabulary:
    """Words and labels in fastText's order: by descending count, ties by first sight.

    (fastText sorts ties as its C++ library happens to; every other order is the same.)
    """

    words: list[bytes]
    word_counts: NDArray[np.int64] = field(repr=False)
    labels: list[bytes]
    label_counts: NDArray[np.int64] = field(repr=False)

    @classmethod
    def build(
        cls, counts: WordCounts, min_count: int, *, labelled: bool = True
    ) -> tuple[Vocabulary, NDArray[np.int32]]:
        """Drop words seen fewer times than min_count; labels all stay. Returns also int32 (words,): kinds of tokens.

        Words that phrases used up are dropped whatever min_count is. Kinds are those of kernels/features.py. labelled:
        whether words with a label's prefix are labels.
        """
        is_label = counts.hashes()[1] if labelled else np.zeros(len(counts), np.bool_)
        order = np.argsort(-counts.counts, kind="stable")
        kept = order[~is_label[order] & (counts.counts[order] >= max(1, min_count))]
        named = order[is_label[order]]
        kinds = np.full(len(counts), OUT_OF_VOCABULARY, np.int32)
        kinds[kept] = np.arange(kept.size, dtype=np.int32)
        kinds[named] = LABEL - np.arange(named.size, dtype=np.int32)
        vocabulary = cls(counts.names(kept), counts.counts[kept], counts.names(named), counts.counts[named])
        return vocabulary, kinds

    def kinds(self, counts: WordCounts) -> NDArray[np.int32]:
        """The kinds of another text's tokens: int32 (words,)."""
        known = {word: number for number, word in enumerate(self.words)}
        known |= {label: LABEL - number for number, label in enumerate(self.labels)}
        _, is_label = counts.hashes()
        kinds = np.where(is_label, UNKNOWN_LABEL, OUT_OF_VOCABULARY).astype(np.int32)
        for number, name in enumerate(counts.names(np.arange(len(counts)))):
            kind = known.get(name)
            if kind is not None:
                kinds[number] = kind
        return kinds

    def with_earlier(self, words: dict[bytes, int], labels: dict[bytes, int]) -> Vocabulary:
        """Add what only an earlier model has, at the end and with a count of zero: it is still answered for."""
        ours, ours_labels = set(self.words), set(self.labels)
        more = [word for word in words if word not in ours]
        more_labels = [label for label in labels if label not in ours_labels]
        return Vocabulary(
            self.words + more,
            np.concatenate([self.word_counts, np.zeros(len(more), np.int64)]),
            self.labels + more_labels,
            np.concatenate([self.label_counts, np.zeros(len(more_labels), np.int64)]),
        )


def check_words(vocabulary: Vocabulary, min_count: int) -> None:
    """Raise ClientError for text that no vectors can be learnt from: a word is told from other words."""
    seen = int(np.count_nonzero(vocabulary.word_counts))
    if seen < 2:
        raise ClientError(
            f"{seen or 'no'} word is seen {min_count} times or more (min_count) in channel train, and two are needed "
            "at least: lower min_count, or give more text"
        )
