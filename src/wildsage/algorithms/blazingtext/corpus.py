"""A channel's text, read once and tokenised on several threads to numbers, as fastText splits it.

fastText splits at space, tab, newline, carriage return, vertical tab and form feed; each newline is also a word,
"</s>", and a line has no limit of length here (fastText's limit of 1,024 tokens is not for supervised text:
src/dictionary.cc, `getLine`). Zero bytes, where fastText splits too, and what is not UTF-8 are refused.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.algorithms.blazingtext.kernels.text import (
    BLOCK,
    LINES,
    NEEDED,
    POSITION,
    TOKENS,
    Scratch,
    Words,
    scan,
    unquote,
)
from wildsage.algorithms.blazingtext.memory import fresh
from wildsage.algorithms.blazingtext.ngrams import LABEL_PREFIX
from wildsage.algorithms.blazingtext.text_files import Piece, Text, check_bytes, from_manifest
from wildsage.algorithms.blazingtext.vocabulary import WordCounts
from wildsage.contract.errors import AlgorithmError, ClientError, DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PART = 1 << 24  # bytes at most that are encoded between two looks at the stop flag, a tenth of a second; then they go
SMALL_PART = 1 << 20  # and at least, where there are threads to share with
_NONE, _NOTHING = Text.of(Path(), b""), Piece(bytearray(), 0, 0)

_NO_NUMBERS = np.empty(0, np.int32)


class StoppedEarlyError(Exception):
    """The stop flag was set while text was read, so there is nothing yet to keep."""


@dataclass(frozen=True)
class Part:
    """Whole lines of one file as numbers."""

    file: Path
    tokens: NDArray[np.int32]  # word numbers of its own
    starts: NDArray[np.int64]  # (lines + 1,), tokens before each line
    numbers: NDArray[np.int32]  # word numbers of its own -> the corpus's


@dataclass(frozen=True)
class Corpus:
    """A channel's text as numbers."""

    parts: list[Part]
    counts: WordCounts
    size: int  # bytes of text
    unquoted: int  # lines whose text was in quotes

    @property
    def tokens(self) -> int:
        return int(self.counts.counts.sum())


def encode(
    texts: list[Text], threads: int, stop: Event, *, labelled: bool = True, memory_bytes: int | None = None
) -> Corpus:
    """Count and number all words. Labelled texts lose quotes around a line's text, and those doubled within.

    memory_bytes: what numbers and words may take, None for any.
    Raises StoppedEarlyError once `stop` is set, DataError for what is not UTF-8 text, with its line, and ClientError
    for more than memory_bytes, before it is all read.
    """
    total = sum(text.size for text in texts)
    step = min(PART, max(SMALL_PART, -(-total // threads)))
    made: dict[int, tuple[Part, int]] = {}
    taken = np.zeros(3, np.int64)  # bytes, lines unquoted, bytes of memory
    one_reads, one_counts, ended = Lock(), Lock(), Event()
    waiting = enumerate(
        (text, piece)
        for k, text in enumerate(texts, 1)
        # Words of one file are no neighbours of the next one's, be it that the line between them has no end.
        for piece in text.pieces(step, cut_lines=not labelled, end_line=not labelled and k < len(texts))
    )

    def work(thread: int) -> Words:
        """Encode what pieces are left, in order, with a table of this thread's own."""
        words = Words.empty(1 << (16 if total > SMALL_PART else 13))
        try:
            while not ended.is_set():
                if stop.is_set():
                    raise StoppedEarlyError
                with one_reads:
                    k, (text, piece) = next(waiting, (-1, (_NONE, _NOTHING)))
                if k < 0:
                    break
                check_bytes(text, piece)
                size, unquoted, before = piece.size, 0, _bytes(words)
                if text.is_manifest:
                    piece = from_manifest(text, piece)
                if labelled and piece.buffer.find(b'"', 0, piece.size) >= 0:
                    unquoted = unquote(piece.array, 0, piece.size, np.array(list(LABEL_PREFIX), np.uint8))
                try:
                    words, tokens, starts = _encode(piece.array, 0, piece.size, k << 40, words)
                except MemoryError as error:
                    raise _too_much(text, int(taken[0]), int(taken[2]), None) from error
                made[k] = Part(text.file, tokens, starts, _NO_NUMBERS), thread
                # Words count twice: those of all threads are merged, and become names.
                memory = tokens.nbytes + starts.nbytes + 2 * (_bytes(words) - before)
                with one_counts:
                    taken[:] += (size, unquoted, memory)
                if memory_bytes is not None and taken[2] > memory_bytes:
                    raise _too_much(text, int(taken[0]), int(taken[2]), memory_bytes)
        finally:
            ended.set()
        return words

    with ThreadPoolExecutor(threads) as pool:
        tables = list(pool.map(work, range(threads)))
    counts, numbers = WordCounts.merged(tables)
    parts = [replace(part, numbers=numbers[thread]) for _, (part, thread) in sorted(made.items(), key=itemgetter(0))]
    made.clear()
    corpus = Corpus(parts, counts, int(taken[0]), int(taken[1]))
    _check_words(corpus)
    return corpus


def _bytes(words: Words) -> int:
    return sum(array.nbytes for array in words)


def _too_much(text: Text, size: int, needed: int, available: int | None) -> ClientError:
    there = "no more" if available is None else f"{available / 1e9:.1f} GB"
    return ClientError(
        f"{text.file}: after {size / 1e9:.1f} GB of text, its words and their numbers take {needed / 1e9:.1f} GB of "
        f"memory, and {there} is available: give less text, or text with fewer distinct words"
    )


def place_of(corpus: Corpus, number: int) -> tuple[Path, int]:
    """The file and line, from 1, where a word that the corpus has is first."""
    lines_before: dict[Path, int] = {}
    for part in corpus.parts:
        found = np.flatnonzero(part.numbers[part.tokens] == number)
        before = lines_before.get(part.file, 0)
        if found.size:
            return part.file, before + int(np.searchsorted(part.starts, found[0], side="right"))
        lines_before[part.file] = before + part.starts.size - 1
    raise AlgorithmError(f"word {number} is in no part of the text")


def _check_words(corpus: Corpus) -> None:
    """Raise DataError for the first word that is not UTF-8: no file or answer could hold it as it is."""
    bad = corpus.counts.first_not_utf8()
    if bad is not None:
        file, line = place_of(corpus, bad)
        word = corpus.counts.names(np.array([bad]))[0]
        raise DataError(f"{word[:80]!r} is not UTF-8: save the text as UTF-8", file=file, line=line)


def _encode(
    array: NDArray[np.uint8], begin: int, end: int, offset: int, words: Words
) -> tuple[Words, NDArray[np.int32], NDArray[np.int64]]:
    """(words, tokens, starts) of a piece. Arrays grow as they fill, for what a byte yields is not known.

    offset: position of array[0] in the whole text. words: those before; the table may have grown.
    """
    tokens = fresh((end - begin) // 4 + 4 * BLOCK, np.int32)
    starts = np.empty((end - begin) // 64 + 4 * BLOCK, np.int64)
    starts[0] = 0
    state = np.array([begin, 0, 0, -1, 0, 0], np.int64)
    scratch = Scratch.empty()
    while True:
        scan(array, end, offset, words, tokens, starts, scratch, state)
        if state[POSITION] >= end:
            break
        token, line = int(state[TOKENS]), int(state[LINES])
        if words.size + 2 * BLOCK > words.lengths.size:
            words = words.wider()
        if int(words.state[NEEDED]) > words.home.size:
            words = words.with_home(max(int(words.state[NEEDED]), 2 * words.home.size))
        if token + 2 * BLOCK > tokens.size:
            tokens = _longer(tokens)
        if line + 2 * BLOCK > starts.size:
            starts = _longer(starts)
    token, line = int(state[TOKENS]), int(state[LINES])
    if token > starts[line]:  # the last line has no newline
        line += 1
        starts[line] = token
    return words, _fitting(tokens, token), _fitting(starts, line + 1)


def _fitting(array: NDArray[Any], size: int) -> NDArray[Any]:
    """The first numbers of an array; of a mostly empty one a copy, since a text may be thousands of small files."""
    return array[:size].copy() if 4 * size < array.size else array[:size]


def _longer(array: NDArray[Any]) -> NDArray[Any]:
    longer = fresh(array.size * 3 // 2, array.dtype)
    longer[: array.size] = array
    return longer
