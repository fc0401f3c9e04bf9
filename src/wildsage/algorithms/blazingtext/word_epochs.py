"""Epochs of word vectors: the table of rows, and the parts of the text that threads train it on."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wildsage.algorithms.blazingtext.fasttext_file import dense
from wildsage.algorithms.blazingtext.features import run_all
from wildsage.algorithms.blazingtext.kernels.positions import Positions, train_stream_by_position
from wildsage.algorithms.blazingtext.kernels.random import END_OF_LINE, GROUP, Batch, Chances, fill_alias_table
from wildsage.algorithms.blazingtext.kernels.subwords import (
    hash_words_of_buckets,
    list_buckets,
    list_rows,
    number_buckets,
)
from wildsage.algorithms.blazingtext.kernels.supervised import initialise
from wildsage.algorithms.blazingtext.kernels.tree import build_tree, count_groups, write_paths
from wildsage.algorithms.blazingtext.kernels.word_vectors import (
    Plan,
    Rows,
    Scratch,
    exchange,
    merge_copies,
    train_stream,
)
from wildsage.algorithms.blazingtext.ngrams import EOS
from wildsage.algorithms.blazingtext.training import random_states, run_watched, tell_progress
from wildsage.algorithms.blazingtext.vocabulary import Vocabulary
from wildsage.algorithms.checkpoint import Checkpoint
from wildsage.algorithms.clock import Clock
from wildsage.contract.errors import ClientError
from wildsage.kernels.vector import aligned, padded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from threading import Event

    from numpy.typing import NDArray

    from wildsage.algorithms.blazingtext.fasttext_file import FastTextFile
    from wildsage.algorithms.blazingtext.hyperparameters import BlazingTextHyperparameters
    from wildsage.algorithms.context import Reporter

NEGATIVE_SAMPLING, HIERARCHICAL = 2, 1  # FastTextSettings.loss
LOSS_CODES = {"ns": NEGATIVE_SAMPLING, "hs": HIERARCHICAL}
NEGATIVE_POWER = 0.75
BATCH = 1000  # words drawn at a time
CHUNK = 3 << 30  # multiplications between two looks at the stop flag, about a tenth of a second
# Words of each thread between two merges of its rows, when deterministic: a hundredth of its text, within these.
SHORTEST_ROUND, LONGEST_ROUND = 2_000, 100_000
# Threads that write to the same rows wait for each other's cache lines: of the HOT commonest ones each has copies, and
# shares their changes with the others a hundred times an epoch, or once all have trained WORDS_APART words, but never
# so soon that sharing takes long.
HOT, WORDS_APART, SHORTEST_APART = 1000, 100_000, 20_000
TYPICAL_PATH = 20  # nodes, in a tree of words


@dataclass
class TrainedVectors:
    """What training leaves: rows in fastText's numbering. V words."""

    vocabulary: Vocabulary
    word_rows: NDArray[np.float32]  # (V, dim), the words' own input rows
    bucket_ids: NDArray[np.int64]  # ascending, those with a row
    bucket_rows: NDArray[np.float32]  # (len(bucket_ids), dim)
    output: NDArray[np.float32]  # (V, dim); with a tree, its V - 1 inner nodes and a row of zeros


class Shared(NamedTuple):
    """A thread's own copies of some rows."""

    rows: NDArray[np.int32]
    own: NDArray[np.float32]  # (len(rows) * width,)
    kept: NDArray[np.float32]  # what they were when they were last shared


class EarlierVectors:
    """The rows of a model that training goes on from. What it lacks starts as in a fresh model; what it has is kept."""

    def __init__(self, file: FastTextFile) -> None:
        self.words = {word: row for row, word in enumerate(file.words())}
        self.loss = file.settings.loss
        self.word_rows, self.output, self.bucket_rows = map(dense, (file.word_rows, file.output, file.bucket_rows))
        self.bucket_ids = np.arange(self.bucket_rows.shape[0]) if file.bucket_ids is None else file.bucket_ids


@dataclass
class Subwords:
    """Input rows of each word: see kernels/subwords.py. V words; without subwords all arrays but `starts` are empty."""

    starts: NDArray[np.int64]  # (V + 1,)
    lists: NDArray[np.int32]
    weights: NDArray[np.float32]  # of each entry of `lists`
    sizes: NDArray[np.float32]  # (V,)
    ids: NDArray[np.int64]  # the buckets that words have
    row_of: NDArray[np.int64]  # of each of them, counted from V
    rows: int  # of them all

    @property
    def there(self) -> bool:
        """Whether words are made of several rows, be it that none happens to be."""
        return self.starts.size > 1

    @classmethod
    def none(cls) -> Subwords:
        floats, numbers = np.empty(0, np.float32), np.empty(0, np.int64)
        return cls(np.zeros(1, np.int64), np.empty(0, np.int32), floats, floats, numbers, numbers, 0)

    @classmethod
    def of(cls, words: list[bytes], minn: int, maxn: int, buckets: int, *, merge: bool = True) -> Subwords:
        """The n-grams of `minn` to `maxn` characters of all words but "</s>", each in its bucket.

        merge: whether one row may stand for several buckets; they must then start alike.
        """
        lengths = np.array([len(word) for word in words], np.int64)
        places = np.cumsum(lengths) - lengths
        text = np.frombuffer(b"".join(words), np.uint8)
        lengths[[word == EOS for word in words]] = 0
        starts = np.empty(len(words) + 1, np.int64)
        room = int(np.sum((lengths + 2) * np.minimum(maxn - minn + 1, lengths + 2))) + maxn
        numbers, ids = np.empty(room, np.int64), np.empty(room, np.int64)
        list_buckets(text, places, lengths, minn, maxn, buckets, starts, numbers)
        numbers = numbers[: starts[-1]]
        count = number_buckets(numbers, np.full(buckets, -1, np.int32), ids)
        first = row_of = np.arange(count)
        if merge:
            hashes = np.zeros(count, np.uint64)
            hash_words_of_buckets(starts, numbers, hashes)
            _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
            order = np.argsort(first)  # by first sight, so that rows of frequent words are together
            first, row_of = first[order], np.argsort(order)[inverse]
        listed = np.full(count, -1, np.int32)
        listed[first] = len(words) + row_of[first]
        row_starts, lists = np.empty(len(words) + 1, np.int64), np.empty(numbers.size + len(words), np.int32)
        lists = lists[: list_rows(starts, numbers, listed, row_starts, lists)].copy()
        row_weights = np.concatenate([np.ones(len(words)), np.bincount(row_of, minlength=first.size)])
        sizes = 1 + np.diff(starts)
        return cls(
            row_starts, lists, row_weights[lists].astype(np.float32), sizes.astype(np.float32), ids[:count].copy(),
            row_of, first.size,
        )  # fmt: skip


@dataclass
class Position:
    """Where training stands, besides the rows: what a checkpoint holds."""

    epoch: int = 0  # epochs done
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])  # loss and examples of the present epoch
    losses: list[float] = field(default_factory=list)  # of each epoch done


class Training:
    """Rows, and the epochs that change them.

    stream: int32, the text as words, with END_OF_LINE where "</s>" is no word. Each thread has its share of it.
    """

    batch_words = BATCH
    batch_targets = 1 << 24  # output rows of a batch, at most
    chunk_work = CHUNK
    keeps_copies = True  # of common words' rows, for each of several threads

    def __init__(
        self,
        parameters: BlazingTextHyperparameters,
        vocabulary: Vocabulary,
        stream: NDArray[np.int32],
        subwords: Subwords,
        threads: int,
        pool: ThreadPoolExecutor,
        stop: Event,
        report: Reporter,
    ) -> None:
        self.parameters, self.vocabulary, self.subwords = parameters, vocabulary, subwords
        self.pool, self.stop, self.report = pool, stop, report
        self.width, self.words = padded(parameters.vector_dim), len(vocabulary.words)
        self.input_rows = self.words + subwords.rows
        self.threads = threads
        shares = self.shares(stream.size)
        bounds = [stream.size * k // shares for k in range(shares + 1)]
        self.parts = [stream[begin:end] for begin, end in pairwise(bounds)]
        self.positions = [aligned(1, np.int64) for _ in self.parts]
        self.random = random_states(parameters.seed, shares)
        self.position, self.clock = Position(), Clock()
        self.words_done_here = 0  # by this process, for the speed
        self.chances = _chances(vocabulary, parameters)
        # One array, so that a copy for each thread is one, too: input rows, output rows, rows of positions.
        self.rows = self.input_rows + self.words + position_rows(parameters)
        self._in_rounds = parameters.deterministic and shares > 1
        copies = shares > 1 and not (self._in_rounds or parameters.weighs_positions or not self.chances.negatives)
        self.hot = min(HOT, self.words) if copies and self.keeps_copies else 0
        self._hot_inputs = self._commonest_inputs()
        self._whole = aligned((self.rows + shares * 2 * self.hot) * self.width)
        self.table = self._whole[: self.rows * self.width]
        work = self.width * 2 * parameters.window_size * (1 + (self.chances.negatives or TYPICAL_PATH))
        self.chunk = max(1, self.chunk_work // work)
        # Windows see up to a batch; very many negatives would make one too large.
        self.batch = max(4, min(self.batch_words, self.chunk, self.batch_targets // (GROUP * self.groups)))
        self._prepare()

    def shares(self, words: int) -> int:
        """Parts that the text is cut to, which are trained at once."""
        return self.threads

    def _prepare(self) -> None:
        """Allocate what epochs need besides the rows."""
        self._scratches = [self._scratch() for _ in self.parts]
        apart = self.subwords.there or self.hot > 0
        self._batches = [Batch.empty(self.batch, self.groups, apart=apart) for _ in self.parts]
        if self._in_rounds:
            self._tables = aligned(len(self.parts) * self.table.size, zero=False)
            self._touched = np.zeros((len(self.parts), self.rows), np.uint8)

    @property
    def groups(self) -> int:
        """Groups of output rows that a word may have: see Batch."""
        if self.chances.negatives == 0:
            return max(1, int(np.diff(self.chances.path_starts).max(initial=0)))
        sets = -(-2 * self.parameters.window_size // self.chances.share)
        return sets * -(-(1 + self.chances.negatives) // GROUP)

    def _scratch(self) -> Scratch:
        window = self.parameters.window_size
        room = 2 * self.batch if self.subwords.there else 0
        return Scratch(
            contexts=aligned(2 * window + 1, np.int64),
            weights=aligned(2 * window + 1),
            errors=aligned(16 * max(window + 1, self.groups)),
            hidden=aligned(self.width),
            gradient=aligned(self.width),
            touched=np.empty(0, np.uint8),
            local=aligned(room * self.width),
            kept=aligned(room * self.width),
            distinct=aligned(room, np.int32),
            slots=np.full(self.words if room else 0, -1, np.int32),
        )

    def _rows(self, table: NDArray[np.float32]) -> Rows:
        inputs, outputs = self.input_rows * self.width, (self.input_rows + self.words) * self.width
        subwords = self.subwords
        return Rows(
            table[:inputs], table[inputs:outputs], subwords.starts, subwords.lists, subwords.weights, subwords.sizes
        )  # fmt: skip

    def _copies(self, k: int) -> list[Shared]:
        """Thread k's copies of the rows that all threads write to most often: of inputs, and of outputs."""
        if not self.hot:
            return []
        size = self.hot * self.width
        own = self._whole[self.table.size + 2 * k * size :]
        outputs = self.input_rows + np.arange(self.hot, dtype=np.int32)
        return [
            Shared(rows, own[at : at + size], aligned(size)) for rows, at in ((self._hot_inputs, 0), (outputs, size))
        ]

    def _commonest_inputs(self) -> NDArray[np.int32]:
        """Of `hot` input rows that training meets most often: of words, or, with subwords, of n-grams."""
        if not self.subwords.there:
            return np.arange(self.hot, dtype=np.int32)
        lengths = np.diff(self.subwords.starts)
        met = np.bincount(self.subwords.lists, np.repeat(self.vocabulary.word_counts, lengths), self.input_rows)
        return np.argsort(-met, kind="stable")[: self.hot].astype(np.int32)

    def _rows_with_copies(self, k: int, rows: Rows) -> Rows:
        """The rows as thread k sees them, which has copies of the commonest ones behind all of them."""
        first, lists = self.rows + 2 * k * self.hot, rows.lists
        if self.subwords.there:
            place = np.arange(self.input_rows, dtype=np.int32)
            place[self._hot_inputs] = first + np.arange(self.hot, dtype=np.int32)
            lists = place[lists]
        return rows._replace(
            inputs=self._whole,
            outputs=self._whole[self.input_rows * self.width :],
            lists=lists,
            hot=self.hot,
            hot_inputs=first,
            hot_outputs=first + self.hot - self.input_rows,
        )

    def _positions(self, table: NDArray[np.float32]) -> NDArray[np.float32]:
        return table[(self.input_rows + self.words) * self.width :]

    def initialise(self) -> None:
        seed, dim = (self.parameters.seed * 7919 + 1) % 2**31, self.parameters.vector_dim
        rows = np.arange(self.words, dtype=np.int32)
        self._positions(self.table).reshape(-1, self.width)[:, :dim] = 1

        def work(begin: int, end: int) -> None:
            initialise(self.table, self.width, rows, begin, end, dim, seed, aligned(self.width))

        self._share_out(self.words, work)

    def _share_out(self, count: int, job: Callable[[int, int], Any]) -> None:
        """Run a job over a share of range(count) in each thread."""
        shares = self.threads
        run_all(self.pool, [(job, (count * k // shares, count * (k + 1) // shares)) for k in range(shares)])

    def take_earlier(self, earlier: EarlierVectors, loss: int) -> None:
        """Start from an earlier model's rows where it has any. A tree has other nodes with other counts, so not those.

        Words of this text's vocabulary alone stay as they are.
        """
        dim, table = self.parameters.vector_dim, self.table.reshape(-1, self.width)
        ours, theirs = self._shared_words(earlier)
        table[ours, :dim] = earlier.word_rows[theirs]
        if len(earlier.output) == len(earlier.words) and loss == earlier.loss == NEGATIVE_SAMPLING:
            table[self.input_rows + ours, :dim] = earlier.output[theirs]
        _, ours, theirs = np.intersect1d(self.subwords.ids, earlier.bucket_ids, return_indices=True)
        table[self.words + self.subwords.row_of[ours], :dim] = earlier.bucket_rows[theirs]

    def _shared_words(self, earlier: EarlierVectors) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        words = enumerate(self.vocabulary.words)
        pairs = np.array([(here, earlier.words[word]) for here, word in words if word in earlier.words], np.int64)
        pairs = pairs.reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]

    def run_epoch(self) -> None:
        """Train one epoch, or what is left of it, or until the stop flag is set.

        Raises ClientError if the loss is no longer a number.
        """
        sums = [aligned(2, np.float64) for _ in self.parts]
        carried, begun, before = list(self.position.sums), time.perf_counter(), self._done()
        total = sum(part.size for part in self.parts)

        def tell() -> None:
            done = self._done()
            speed = (done - before) / max(1e-9, time.perf_counter() - begun)
            words_done = self.position.epoch * total + done
            tell_progress(
                self.report, words_done, self.parameters.epochs * total, speed, np.sum(sums, axis=0) + carried
            )

        self._run(sums, tell)
        self.position.sums = (np.sum(sums, axis=0) + carried).tolist()
        self.words_done_here += self._done() - before
        if not math.isfinite(self.position.sums[0]):
            raise ClientError(
                f"training diverged in epoch {self.position.epoch + 1}: the loss is no longer a number; "
                f"try a smaller learning_rate than {self.parameters.learning_rate:g}"
            )

    def _run(self, sums: list[NDArray[np.float64]], tell: Callable[[], None]) -> None:
        """Train all parts until the epoch is done, the stop flag set, or a loss no number."""
        if self._in_rounds:
            self._run_rounds(sums, tell)
            return
        rows, positions = self._rows(self.table), self._positions(self.table)
        step, one_exchanges = self.chunk, Lock()
        if self.hot:
            apart = max(SHORTEST_APART, WORDS_APART // len(self.parts))
            step = min(step, apart, max(SHORTEST_ROUND, self.parts[0].size // 100))

        def work(k: int) -> None:
            size, mine, copies = self.parts[k].size, rows, self._copies(k)
            if copies:
                mine = self._rows_with_copies(k, rows)
                for copy in copies:
                    copy.own[:] = copy.kept[:] = self.table.reshape(-1, self.width)[copy.rows].reshape(-1)
            while self.positions[k][0] < size and not self.stop.is_set() and math.isfinite(sums[k][0]):
                # Chunks are counted from the beginning, so that a resumed job has the same ones.
                self._train(k, (int(self.positions[k][0]) // step + 1) * step, mine, positions, sums[k])
                with one_exchanges:
                    for copy in copies:
                        exchange(self.table, copy.rows, copy.own, copy.kept, self.width)

        run_watched(self.pool, work, len(self.parts), tell)

    def _train(
        self, k: int, end: int, rows: Rows, positions: NDArray[np.float32], sums: NDArray[np.float64]
    ) -> None:  # fmt: skip
        """Train thread k's part up to `end`."""
        parameters, part = self.parameters, self.parts[k]
        schedule = np.array(
            [parameters.learning_rate, self.position.epoch * part.size, parameters.epochs * part.size], np.float64
        )
        plan = Plan(
            parameters.mode == "cbow", parameters.window_size, self.chances.share, not parameters.cbow_mean_gradient,
            self.width,
        )  # fmt: skip
        if positions.size:
            train_stream_by_position(
                part, self.positions[k], min(end, part.size), self.chances, self._batches[k], rows,
                Positions.of(positions, self.width), self._scratches[k], plan, schedule, self.random[k], sums,
            )  # fmt: skip
            return
        train_stream(
            part, self.positions[k], min(end, part.size), self.chances, self._batches[k], rows, self._scratches[k],
            plan, schedule, self.random[k], sums,
        )  # fmt: skip

    def _run_rounds(self, sums: list[NDArray[np.float64]], tell: Callable[[], None]) -> None:
        """Train in rounds: each thread on rows of its own, whose changes are then added up, always in one order."""

        def copy(begin: int, end: int) -> None:
            for table in tables:
                table[begin:end] = self.table[begin:end]

        size = self.table.size
        tables = [self._tables[size * k : size * (k + 1)] for k in range(len(self.parts))]
        self._share_out(size, copy)
        rows, positions = [self._rows(table) for table in tables], [self._positions(table) for table in tables]
        scratches = self._scratches
        self._scratches = [
            scratch._replace(touched=touched) for scratch, touched in zip(scratches, self._touched, strict=True)
        ]
        told = time.perf_counter()
        longest = max(part.size for part in self.parts)
        step = min(max(SHORTEST_ROUND, longest // 100), LONGEST_ROUND, self.chunk)

        def work(k: int) -> None:
            self._train(k, (int(self.positions[k][0]) // step + 1) * step, rows[k], positions[k], sums[k])

        def merge(begin: int, end: int) -> None:
            merge_copies(self.table, self._tables, len(tables), self._touched, self.width, begin, end)

        while not self.epoch_is_done and not self.stop.is_set() and np.isfinite(sums).all():
            run_all(self.pool, [(work, (k,)) for k in range(len(self.parts))])
            self._share_out(self.rows, merge)
            if time.perf_counter() - told > 0.2:
                tell()
                told = time.perf_counter()
        self._scratches = scratches
        tell()

    def _done(self) -> int:
        return sum(int(position[0]) for position in self.positions)

    @property
    def epoch_is_done(self) -> bool:
        return all(position[0] >= part.size for position, part in zip(self.positions, self.parts, strict=True))

    def end_epoch(self) -> float:
        """Go to the next epoch; returns this one's loss."""
        loss = self.position.sums[0] / max(1.0, self.position.sums[1])
        self.position = Position(self.position.epoch + 1, losses=[*self.position.losses, loss])
        for position in self.positions:
            position[0] = 0
        return loss

    def save(self, checkpoint: Checkpoint) -> None:
        """Write all that resuming needs."""
        facts = {"epoch": self.position.epoch, "sums": self.position.sums, "losses": self.position.losses}
        positions, random = np.concatenate(self.positions), np.concatenate(self.random)
        checkpoint.write(facts, {"table": self.table, "positions": positions, "random": random})

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint, if there is one and it is this job's. Says so to the user either way."""

        def take(facts: dict[str, Any], stored: Mapping[str, NDArray[Any]]) -> None:
            position = Position(facts["epoch"], facts["sums"], facts["losses"])
            positions, random = stored["positions"], stored["random"]
            table = stored["table"]
            if table.shape != self.table.shape:
                raise ValueError("it has other rows")
            self.table[:] = table
            self.position = position
            if random.size != len(self.parts):  # another number of threads: its places in the epoch mean nothing here
                self.position.sums = [0.0, 0.0]
                return
            for ours, theirs in zip([*self.positions, *self.random], [*positions, *random], strict=True):
                ours[0] = theirs

        if checkpoint.resume(take):
            self.report.say(f"resuming from the checkpoint, in epoch {self.position.epoch + 1}")

    def rows_out(self, earlier: EarlierVectors | None) -> TrainedVectors:
        """The rows in fastText's numbering, with what only the earlier model has."""
        table = self.table.reshape(-1, self.width)[:, : self.parameters.vector_dim]
        order = np.argsort(self.subwords.ids)
        ids, bucket_rows = self.subwords.ids[order], table[self.words + self.subwords.row_of[order]]
        if earlier is not None:
            every = np.union1d(ids, earlier.bucket_ids)
            rows = np.empty((every.size, table.shape[1]), np.float32)
            rows[np.searchsorted(every, earlier.bucket_ids)] = earlier.bucket_rows
            rows[np.searchsorted(every, ids)] = bucket_rows
            ids, bucket_rows = every, rows
        word_rows, output = table[: self.words].copy(), table[self.input_rows : self.input_rows + self.words].copy()
        return TrainedVectors(self.vocabulary, word_rows, ids, bucket_rows, output)


def _chances(vocabulary: Vocabulary, parameters: BlazingTextHyperparameters) -> Chances:
    counts, words = vocabulary.word_counts, len(vocabulary.words)
    frequencies = counts / max(1, counts.sum())
    with np.errstate(divide="ignore", over="ignore"):
        # sqrt(t / f) + t / f: word2vec.c, and facebookresearch/fastText, src/dictionary.cc (initTableDiscard)
        ratios = parameters.sampling_threshold / frequencies
        keep = np.minimum(1.0, np.sqrt(ratios) + ratios) * 2.0**32
    hierarchical = parameters.chosen_loss == "hs"
    alias, starts = np.zeros(0, np.uint64), np.zeros(1, np.int64)
    targets, patterns = np.zeros(0, np.int32), np.zeros(0, np.int32)
    share = 2 * parameters.window_size
    if hierarchical:
        parents, sides = np.empty(2 * words - 1, np.int32), np.empty(2 * words - 1, np.uint8)
        build_tree(counts, np.empty(2 * words - 1, np.int64), parents, sides)
        starts = np.empty(words + 1, np.int64)
        count_groups(parents, words, GROUP, starts)
        targets, patterns = np.empty(GROUP * starts[-1], np.int32), np.empty(starts[-1], np.int32)
        write_paths(parents, sides, words, GROUP, starts, targets, patterns)
    else:
        weights = counts.astype(np.float64) ** NEGATIVE_POWER
        alias, scratch = np.empty(words, np.uint64), np.empty((3, words), np.int64)
        fill_alias_table(weights / weights.mean(), scratch[0], scratch[1], scratch[2], alias)
        if parameters.mode == "batch_skipgram":
            share = min(share, parameters.batch_size)
    end_of_line = vocabulary.words.index(EOS) if EOS in vocabulary.words else END_OF_LINE
    return Chances(
        keep=keep.astype(np.uint64),
        alias=alias,
        end_of_line=end_of_line,
        window=parameters.window_size,
        share=share,
        negatives=0 if hierarchical else parameters.negative_samples,
        path_starts=starts,
        path_targets=targets,
        path_patterns=patterns,
    )


def position_rows(parameters: BlazingTextHyperparameters) -> int:
    """How many rows of position weights there are."""
    return 2 * parameters.window_size if parameters.weighs_positions else 0
