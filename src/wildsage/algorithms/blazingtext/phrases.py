"""Words that keep company become one: "new york" is then the word new_york, with a vector of its own.

A pair's score is (count(a b) - discount) * words of the text / (count(a) * count(b)). Pairs above a threshold are
joined with "_", from left to right, none across the end of a line. A later pass joins what came of the ones before, and
so makes longer phrases; its threshold is half of the last one's. Source: Mikolov et al., "Distributed Representations
of Words and Phrases and their Compositionality", arXiv 1310.4546, section 4; tmikolov/word2vec, word2phrase.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wildsage.algorithms.blazingtext.corpus import Part
from wildsage.algorithms.blazingtext.features import check
from wildsage.algorithms.blazingtext.kernels.phrases import count_pairs, enter_keys, join_pairs, sketch_pairs
from wildsage.algorithms.blazingtext.kernels.text import Words
from wildsage.algorithms.blazingtext.ngrams import EOS
from wildsage.algorithms.blazingtext.vocabulary import MINIMUM
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


def join(corpus: Corpus, parameters: BlazingTextHyperparameters, report: Reporter, stop: Event) -> None:
    """Join the phrases of a corpus in place, in as many passes as `phrases` says.

    Memory, besides the corpus: up to 8 bytes a token, 32 a pair that may be a phrase.
    Raises StoppedEarlyError once `stop` is set.
    """
    threshold = parameters.phrase_threshold
    end_of_line = np.flatnonzero([name == EOS for name in corpus.counts.names(np.arange(len(corpus.counts)))])
    for number in range(parameters.phrases):
        counts = corpus.counts.counts.astype(np.float64)
        counts[end_of_line] = np.inf  # it joins nothing
        keys = _find(corpus, counts, threshold, parameters.phrase_discount, stop)
        before = corpus.tokens
        most = _join(corpus, keys, stop)
        report.say(
            f"phrases, pass {number + 1} of {parameters.phrases} (score above {threshold:g}): {keys.size:,} pairs, "
            f"joined {before - corpus.tokens:,} times{', such as ' + ', '.join(most) if most else ''}"
        )
        threshold /= 2


def _find(
    corpus: Corpus, counts: NDArray[np.float64], threshold: float, discount: int, stop: Event
) -> NDArray[np.uint64]:
    """The keys of all phrases, ascending. counts: as kernels/phrases.py wants them."""
    total = counts[np.isfinite(counts)].sum()
    scale = threshold / max(1.0, total)
    room = sum(part.tokens.size for part in corpus.parts)
    sketch = np.zeros(min(LARGEST_SKETCH, 1 << max(10, room.bit_length())), np.uint32)
    for part in corpus.parts:
        check(stop)
        sketch_pairs(part.tokens, part.numbers, counts, scale, float(discount), sketch)
    keys, tallies, size = np.zeros(SMALLEST_TABLE, np.uint64), np.zeros(SMALLEST_TABLE, np.int64), np.zeros(1, np.int64)
    for part in corpus.parts:
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


def _join(corpus: Corpus, keys: NDArray[np.uint64], stop: Event) -> list[str]:
    """Join these pairs wherever they are. Returns the names of the most frequent ones."""
    words = len(corpus.counts)
    first, second = (corpus.counts.names(numbers) for numbers in _words_of(keys, words))
    names = [JOINT.join(pair) for pair in zip(first, second, strict=True)]
    values = _enter(corpus, names)
    if len(corpus.counts) > 2**31 - 1:
        raise ClientError("the text has more than 2,147,483,647 words and phrases: raise phrase_threshold")
    table = np.zeros(1 << max(4, (2 * keys.size).bit_length()), np.uint64)
    numbers_of = np.zeros(table.size, np.int64)
    enter_keys(keys, values, table, numbers_of)
    counts = np.zeros(len(corpus.counts), np.int64)
    same = np.arange(len(corpus.counts), dtype=np.int32)
    for number, part in enumerate(corpus.parts):
        check(stop)
        tokens, starts = np.empty(part.tokens.size, np.int32), np.zeros(part.starts.size, np.int64)
        size = join_pairs(part.tokens, part.starts, part.numbers, words, table, numbers_of, tokens, starts)
        tokens = tokens[:size].copy()
        counts += np.bincount(tokens, minlength=counts.size)
        corpus.parts[number] = Part(part.file, tokens, starts, same)
    corpus.counts.counts[:] = counts
    most = np.argsort(-counts[values], kind="stable")[:NAMED].tolist()
    return [names[k].decode("utf-8", "replace") for k in most]


def _enter(corpus: Corpus, names: list[bytes]) -> NDArray[np.int32]:
    """Add words to a corpus's, with no count; returns their numbers. One that the text has already is that word."""
    lengths = np.array([len(name) for name in names], np.int64)
    text = np.frombuffer(b"".join(names) + bytes(MINIMUM), np.uint8)
    empty = Words.empty(2)
    words = Words(empty.table, np.cumsum(lengths) - lengths, lengths.astype(np.int32), np.zeros(len(names), np.int64))
    return corpus.counts.add(text, words, len(names))
