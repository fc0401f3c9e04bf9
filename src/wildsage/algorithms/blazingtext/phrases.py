"""Words that keep company become one: "new york" is then the word new_york, with a vector of its own.

A pair's score is (count(a b) - discount) * words of the text / (count(a) * count(b)). Pairs above a threshold are
joined with "_", from left to right, none across the end of a line. A later pass joins what came of the ones before, and
so makes longer phrases; its threshold is half of the last one's. Source: Mikolov et al., "Distributed Representations
of Words and Phrases and their Compositionality", arXiv 1310.4546, section 4; tmikolov/word2vec, word2phrase.c.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from wildsage.algorithms.blazingtext.corpus import Part
from wildsage.algorithms.blazingtext.features import check
from wildsage.algorithms.blazingtext.kernels.phrases import count_pairs, enter_keys, join_pairs, sketch_pairs
from wildsage.algorithms.blazingtext.ngrams import EOS
from wildsage.algorithms.blazingtext.vocabulary import WordCounts
from wildsage.contract.errors import ClientError

if TYPE_CHECKING:
    from threading import Event

    from numpy.typing import NDArray

    from wildsage.algorithms.blazingtext.corpus import Corpus
    from wildsage.algorithms.blazingtext.hyperparameters import BlazingTextHyperparameters
    from wildsage.algorithms.context import Reporter

JOINT = b"_"
NAMED = 5  # phrases that the log names
SMALLEST_TABLE = 1 << 16
LARGEST_SKETCH = 1 << 30


class PhraseCounts(WordCounts):
    """The words of a text, and phrases numbered behind them."""

    def __init__(self, words: WordCounts, phrases: list[bytes], counts: NDArray[np.int64]) -> None:
        self.words, self.phrases, self.counts = words, phrases, counts

    def __len__(self) -> int:
        return len(self.words) + len(self.phrases)

    def names(self, numbers: NDArray[np.int64]) -> list[bytes]:
        words = len(self.words)
        plain = iter(self.words.names(numbers[numbers < words]))
        return [next(plain) if number < words else self.phrases[number - words] for number in numbers.tolist()]


def join(corpus: Corpus, parameters: BlazingTextHyperparameters, report: Reporter, stop: Event) -> Corpus:
    """The corpus with its phrases joined, in as many passes as `phrases` says; the parts of the one given are used up.

    Memory, besides the corpus: up to 8 bytes a token, 32 a pair that may be a phrase.
    Raises StoppedEarlyError once `stop` is set.
    """
    threshold, counts = parameters.phrase_threshold, PhraseCounts(corpus.counts, [], corpus.counts.counts)
    names = corpus.counts.names(np.arange(len(corpus.counts)))
    end_of_line = np.flatnonzero([name == EOS for name in names])
    known = {name: number for number, name in enumerate(names) if JOINT in name}
    del names
    for number in range(parameters.phrases):
        keys = _find(corpus.parts, counts.counts, end_of_line, threshold, parameters.phrase_discount, stop)
        before = int(counts.counts.sum())
        counts, most = _join(corpus.parts, counts, keys, known, stop)
        report.say(
            f"phrases, pass {number + 1} of {parameters.phrases} (score above {threshold:g}): {keys.size:,} pairs, "
            f"joined {before - int(counts.counts.sum()):,} times{', such as ' + ', '.join(most) if most else ''}"
        )
        threshold /= 2
    return replace(corpus, counts=counts)


def _find(
    parts: list[Part],
    word_counts: NDArray[np.int64],
    end_of_line: NDArray[np.int64],
    threshold: float,
    discount: int,
    stop: Event,
) -> NDArray[np.uint64]:
    """The keys of all phrases, ascending."""
    counts = word_counts.astype(np.float64)
    counts[end_of_line] = np.inf  # it joins nothing
    total = counts[np.isfinite(counts)].sum()
    scale = threshold / max(1.0, total)
    room = sum(part.tokens.size for part in parts)
    sketch = np.zeros(min(LARGEST_SKETCH, 1 << max(10, room.bit_length())), np.uint32)
    for part in parts:
        check(stop)
        sketch_pairs(part.tokens, part.numbers, counts, scale, float(discount), sketch)
    keys, tallies, size = np.zeros(SMALLEST_TABLE, np.uint64), np.zeros(SMALLEST_TABLE, np.int64), np.zeros(1, np.int64)
    for part in parts:
        at = 0
        while at < part.tokens.size - 1:
            check(stop)
            at = count_pairs(
                part.tokens, at, part.numbers, counts, scale, float(discount), sketch, keys, tallies, size
            )  # fmt: skip
            if 2 * size[0] >= keys.size:
                old_keys, old_tallies = keys, tallies
                keys, tallies = np.zeros(2 * old_keys.size, np.uint64), np.zeros(2 * old_keys.size, np.int64)
                used = old_keys > 0
                enter_keys(old_keys[used], old_tallies[used], keys, tallies)
    used = keys > 0
    keys, tallies = keys[used], tallies[used]
    first, second = _words_of(keys, counts.size)
    scores = (tallies - discount) * total / (counts[first] * counts[second])
    return np.sort(keys[scores > threshold])


def _words_of(keys: NDArray[np.uint64], words: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    first, second = np.divmod(keys.astype(np.int64) - 1, max(1, words))
    return first, second


def _join(
    parts: list[Part], counts: PhraseCounts, keys: NDArray[np.uint64], known: dict[bytes, int], stop: Event
) -> tuple[PhraseCounts, list[str]]:
    """Join these pairs wherever they are, in place. Returns the new counts, and the names of the most frequent ones.

    known: numbers of the words that may be a phrase; phrases are added.
    """
    words = len(counts)
    first, second = (counts.names(numbers) for numbers in _words_of(keys, words))
    names = [JOINT.join(pair) for pair in zip(first, second, strict=True)]
    new = [name for name in dict.fromkeys(names) if name not in known]
    known.update((name, words + place) for place, name in enumerate(new))
    size = words + len(new)
    if size > np.iinfo(np.int32).max:
        raise ClientError(f"the text has {size:,} words and phrases, too many to number: raise phrase_threshold")
    values = np.array([known[name] for name in names], np.int64)
    table = np.zeros(1 << max(4, (2 * keys.size).bit_length()), np.uint64)
    numbers_of = np.zeros(table.size, np.int64)
    enter_keys(keys, values, table, numbers_of)
    seen, same = np.zeros(size, np.int64), np.arange(size, dtype=np.int32)
    for number, part in enumerate(parts):
        check(stop)
        tokens, starts = np.empty(part.tokens.size, np.int32), np.zeros(part.starts.size, np.int64)
        length = join_pairs(part.tokens, part.starts, part.numbers, words, table, numbers_of, tokens, starts)
        tokens = tokens[:length].copy()
        seen += np.bincount(tokens, minlength=size)
        parts[number] = Part(part.file, tokens, starts, same)
    most = np.argsort(-seen[values], kind="stable")[:NAMED].tolist()
    joined = PhraseCounts(counts.words, counts.phrases + new, seen)
    return joined, [names[k].decode("utf-8", "replace") for k in most]
