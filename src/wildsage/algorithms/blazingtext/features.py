"""A text's numbers to features, and features to compact rows: what epochs run over.

kernels/features.py says what the features are and what the numbering saves.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.algorithms.blazingtext.corpus import StoppedEarlyError
from wildsage.algorithms.blazingtext.kernels import features as kernels
from wildsage.algorithms.blazingtext.kernels.supervised import Lines
from wildsage.kernels.vector import aligned

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path
    from threading import Event

    from numpy.typing import NDArray

    from wildsage.algorithms.blazingtext.corpus import Corpus

BLOCK = 1 << 24  # features that are numbered between two looks at the stop flag, about 0.1 s


@dataclass
class Features:
    """The labelled lines of a text as features. L lines, N features."""

    features: NDArray[np.int32]  # (N,)
    starts: NDArray[np.int64]  # (L + 1,)
    labels: NDArray[np.int32]
    label_starts: NDArray[np.int64]  # (L + 1,)
    tokens: NDArray[np.int64]  # (L + 1,), tokens of text before each line
    unlabelled: int  # lines with words but no label: left out, as fastText does
    first_unlabelled: tuple[Path, int] | None  # its file and line, from 1
    empty: int  # lines with a label but no word of the vocabulary: left out too

    @property
    def lines(self) -> int:
        return self.starts.size - 1


@dataclass
class Numbering:
    """Which row each feature has. See kernels/features.py."""

    states: NDArray[np.int32]  # (2 * features,)
    own_rows: NDArray[np.int32]  # (L,)
    own_weights: NDArray[np.float32]  # (L,)
    rows: int

    def touched(self, first: int) -> NDArray[np.int64]:
        """The features from `first` on that have a row, ascending, less `first`."""
        return np.flatnonzero(self.states[2 * first :: 2] != kernels.UNSEEN)

    def repeated(self, first: int) -> NDArray[np.int64]:
        """The features from `first` on that only one line has, and more than once; known once lines are compact."""
        return first + np.flatnonzero(
            (self.states[2 * first :: 2] <= kernels.OWN) & (self.states[2 * first + 1 :: 2] > 0)
        )

    def rows_of(self, features: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Row (-1: none) and scale of each feature: its vector is row * scale."""
        state = self.states[2 * features]
        rows, scales = state.copy(), np.ones(features.size, np.float32)
        own = np.flatnonzero(state <= kernels.OWN)
        line = kernels.OWN - state[own]
        rows[own] = self.own_rows[line]
        scales[own] = (self.states[2 * features[own] + 1] + 1) / self.own_weights[line]
        return rows, scales


def expand(
    corpus: Corpus, kinds: NDArray[np.int32], shape: tuple[int, int, int], pool: ThreadPoolExecutor, stop: Event
) -> Features:
    """Make the features of a text's labelled lines. shape: longest n-gram, buckets, words in the vocabulary."""
    hashes, _ = corpus.counts.hashes()
    counts = []
    for part in corpus.parts:
        check(stop)
        features, labels = np.empty(part.starts.size - 1, np.int64), np.empty(part.starts.size - 1, np.int32)
        counts.append((features, labels))
    run_all(
        pool,
        [
            (kernels.count_features, (part.tokens, part.starts, kinds[part.numbers], shape[0], *count))
            for part, count in zip(corpus.parts, counts, strict=True)
        ],
    )
    kept, unlabelled, empty, first = [], 0, 0, None
    lines_before: dict[Path, int] = {}
    for part, (features, labels) in zip(corpus.parts, counts, strict=True):
        lengths = np.diff(part.starts)
        kept.append(np.flatnonzero((features > 0) & (labels > 0)))
        # An empty line is the newline alone.
        without = np.flatnonzero((labels == 0) & (lengths > 1))
        unlabelled += without.size
        empty += int(np.count_nonzero((labels > 0) & (features == 0)))
        before = lines_before.get(part.file, 0)
        if without.size and first is None:
            first = (part.file, before + int(without[0]) + 1)
        lines_before[part.file] = before + lengths.size

    def joined(pick: Callable[[int], NDArray[Any]]) -> NDArray[np.int64]:
        """The sums, from zero, over the kept lines of all parts."""
        return np.cumsum(np.concatenate([np.zeros(1, np.int64), *map(pick, range(len(kept)))]), dtype=np.int64)

    starts = joined(lambda k: counts[k][0][kept[k]])
    label_starts = joined(lambda k: counts[k][1][kept[k]])
    tokens = joined(lambda k: np.diff(corpus.parts[k].starts)[kept[k]])
    made = Features(
        np.empty(int(starts[-1]), np.int32), starts, np.empty(int(label_starts[-1]), np.int32), label_starts, tokens,
        unlabelled, first, empty,
    )  # fmt: skip
    firsts = np.cumsum([0] + [lines.size for lines in kept])
    jobs = []
    sizes = np.array(shape, np.int64)
    for part, lines, line in zip(corpus.parts, kept, firsts.tolist(), strict=False):
        scratch = np.empty(int(np.diff(part.starts).max(initial=0)), np.uint64)
        given = (part.tokens, part.starts, kinds[part.numbers], hashes[part.numbers], lines, line, sizes)
        jobs.append((kernels.expand, (*given, made.features, starts, made.labels, label_starts, scratch)))
    run_all(pool, jobs)
    check(stop)
    return made


def number(
    made: Features,
    shape: tuple[int, int, int],
    threads: int,
    pool: ThreadPoolExecutor,
    stop: Event,
    kept: NDArray[np.int64] | None = None,
) -> Numbering:
    """Give rows to the features; those `kept` share theirs with none.

    The numbers do not depend on the number of threads.
    """
    count = shape[2] + (shape[1] if shape[0] > 1 else 0)
    states = aligned(2 * count, np.int32, zero=False)
    states.fill(kernels.UNSEEN)
    if kept is not None:
        states[2 * kept] = kernels.KEPT
    own_rows = np.full(made.lines, -1, np.int32)
    blocks = _blocks(made.starts, 0, made.lines, BLOCK)

    def find(owner: int) -> None:
        for begin, end in blocks:
            check(stop)
            kernels.find_shared(made.features, made.starts, begin, end, owner, threads, states)

    run_all(pool, [(find, (owner,)) for owner in range(threads)])
    if kept is not None:
        idle = kept[states[2 * kept] == kernels.KEPT]
        states[2 * idle] = kernels.UNSEEN
    rows = 0
    for begin, end in blocks:
        check(stop)
        rows = kernels.number_rows(made.features, made.starts, begin, end, states, own_rows, rows)
    return Numbering(states, own_rows, np.ones(made.lines, np.float32), rows)


def compact(made: Features, numbering: Numbering, threads: int, pool: ThreadPoolExecutor) -> list[Lines]:
    """Split training lines into a part a thread, features turned into rows. `made.features` is used up."""

    def part(begin: int, end: int) -> Lines:
        lines = _part(made, begin, end)
        last = np.full(numbering.rows, -1, np.int64)
        starts = lines.starts - lines.starts[0]
        kernels.compact(
            lines.rows, starts, begin, numbering.states, numbering.own_rows, numbering.own_weights, last, lines.weights,
            lines.starts,
        )  # fmt: skip
        return lines

    return [future.result() for future in [pool.submit(part, *bounds) for bounds in shares(made.starts, threads)]]


def look_up(made: Features, numbering: Numbering, threads: int, pool: ThreadPoolExecutor) -> list[Lines]:
    """The same for lines that are not trained on."""

    def part(begin: int, end: int) -> Lines:
        lines = _part(made, begin, end)
        starts = lines.starts.copy()
        kernels.look_up(
            lines.rows, starts, 0, starts.size - 1, numbering.states, numbering.own_rows, numbering.own_weights,
            lines.weights, lines.starts,
        )  # fmt: skip
        return lines

    return [future.result() for future in [pool.submit(part, *bounds) for bounds in shares(made.starts, threads)]]


def choose(made: Features, lines: NDArray[np.int64], numbering: Numbering | None = None, words: int = 0) -> Features:
    """A copy of some lines; with a numbering, without words (features below `words`) that it has never seen.

    Lines that have no feature left stay, as lines without any: they are answered, too.
    """
    sizes = np.diff(made.starts)[lines]
    out, starts = np.empty(int(sizes.sum()), np.int32), np.empty(lines.size + 1, np.int64)
    states = np.empty(0, np.int32) if numbering is None else numbering.states
    kernels.take_lines(made.features, made.starts, lines, states, words, out, starts)
    counts = np.diff(made.label_starts)[lines]
    label_starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    places = np.repeat(made.label_starts[lines] - label_starts[:-1], counts) + np.arange(label_starts[-1])
    tokens = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.diff(made.tokens)[lines])])
    return Features(out[: starts[-1]], starts, made.labels[places], label_starts, tokens, 0, None, 0)


def _part(made: Features, begin: int, end: int) -> Lines:
    """Lines begin..end, with features still for rows, and offsets of their own."""
    first, last = int(made.starts[begin]), int(made.starts[end])
    first_label, last_label = int(made.label_starts[begin]), int(made.label_starts[end])
    return Lines(
        rows=made.features[first:last],
        weights=np.empty(last - first, np.float32),
        starts=made.starts[begin : end + 1] - first,
        inverses=(1 / np.maximum(1, np.diff(made.starts[begin : end + 1]))).astype(np.float32),
        labels=made.labels[first_label:last_label],
        label_starts=made.label_starts[begin : end + 1] - first_label,
        tokens=made.tokens[begin : end + 1] - made.tokens[begin],
    )


def shares(starts: NDArray[np.int64], threads: int) -> list[tuple[int, int]]:
    """Split lines into `threads` ranges with about as many features each, none of them empty."""
    lines = starts.size - 1
    cuts = np.searchsorted(starts, starts[-1] * np.arange(1, threads) / threads).tolist()
    bounds = [0, *cuts, lines]
    return [(begin, end) for begin, end in pairwise(bounds) if begin < end]


def _blocks(starts: NDArray[np.int64], begin: int, end: int, most: int) -> list[tuple[int, int]]:
    """Split lines begin..end into ranges of at most about `most` entries, of one line at least."""
    blocks = []
    while begin < end:
        stop = int(np.searchsorted(starts, starts[begin] + most, side="right")) - 1
        stop = min(end, max(begin + 1, stop))
        blocks.append((begin, stop))
        begin = stop
    return blocks


def run_all(pool: ThreadPoolExecutor, jobs: list[tuple[Callable[..., Any], tuple[Any, ...]]]) -> list[Any]:
    """Run all jobs in the pool and return their results in order; the first error is raised."""
    return [future.result() for future in [pool.submit(function, *given) for function, given in jobs]]


def check(stop: Event) -> None:
    if stop.is_set():
        raise StoppedEarlyError
