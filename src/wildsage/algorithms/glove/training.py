"""GloVe from a channel's text to trained rows: epochs over the blocks of the matrix, on threads that never meet.

An epoch is SWEEPS sweeps. Large blocks are cut into shares, and each share falls into a sweep by chance: met whole, a
block of frequent words would pull their rows its own way, and the second epoch's cost was a tenth higher. In a sweep,
rows of blocks are shared out to groups at random, and columns to as many. In its round t, group g of the rows is
trained with group g + t of the columns: a round's cells have no word's row and no context's row in common, so any
number of threads gives the same result. Within a cell, shares are in random order.

Source: Pennington, Socher and Manning, "GloVe: Global Vectors for Word Representation", EMNLP 2014.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.algorithms.blazingtext import corpus as texts
from wildsage.algorithms.blazingtext import text_files
from wildsage.algorithms.blazingtext.corpus import StoppedEarlyError
from wildsage.algorithms.blazingtext.features import check
from wildsage.algorithms.blazingtext.kernels.random import END_OF_LINE
from wildsage.algorithms.blazingtext.ngrams import EOS
from wildsage.algorithms.blazingtext.training import run_watched
from wildsage.algorithms.blazingtext.vocabulary import Vocabulary, check_words
from wildsage.algorithms.blazingtext.word_vectors import make_stream
from wildsage.algorithms.checkpoint import Checkpoint
from wildsage.algorithms.clock import Clock
from wildsage.algorithms.glove.cooccurrence import Counting, Matrix, count
from wildsage.algorithms.glove.kernels.training import train_visits
from wildsage.contract.errors import ClientError
from wildsage.kernels.vector import aligned, padded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from threading import Event

    from numpy.typing import NDArray

    from wildsage.algorithms.blazingtext.corpus import Corpus
    from wildsage.algorithms.context import Reporter, TrainingContext
    from wildsage.algorithms.glove.hyperparameters import GloveHyperparameters
    from wildsage.algorithms.glove.model import GloveVectors

NO_WORD = END_OF_LINE - 1  # see make_stream
SWEEPS = 16
SHARE = 2048  # most non-zeros of a share; with two for each row that it touches, rows are still met in the cache
GROUPS = 64  # most groups of rows of blocks, and so most threads
STRIPES_OF_GROUP = 8  # fewer, and a round's cells are too different in size
PIECE = 1 << 20  # non-zeros between two looks at the stop flag, about a tenth of a second
INITIAL_ROWS = 1 << 14  # drawn at a time
MB = 1_000_000
LEAST_MEMORY, MOST_MEMORY = 64 * MB, 1024 * MB  # to count in, where memory_limit is auto


@dataclass
class TrainedRows:
    """What training leaves; V words."""

    vocabulary: Vocabulary
    words: NDArray[np.float32]  # (V, dim)
    contexts: NDArray[np.float32]  # (V, dim)
    biases: NDArray[np.float32]  # (2, V): of words, of contexts


@dataclass
class Position:
    """Where training stands, besides the rows: what a checkpoint holds."""

    epoch: int = 0  # epochs done
    round: int = 0  # of the present epoch
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])  # cost and non-zeros of the present epoch
    costs: list[float] = field(default_factory=list)  # mean, of each epoch done


class Training:
    """The table of rows, and the epochs that change it; see kernels/training.py for what a row is."""

    def __init__(
        self,
        parameters: GloveHyperparameters,
        words: int,
        matrix: Matrix,
        threads: int,
        pool: ThreadPoolExecutor,
        stop: Event,
        report: Reporter,
    ) -> None:
        self.parameters, self.words, self.matrix = parameters, words, matrix
        self.pool, self.stop, self.report = pool, stop, report
        self.width = table_width(parameters)
        self.table = aligned(2 * words * 2 * self.width)
        self.groups = max(1, min(GROUPS, matrix.counting.stripes // STRIPES_OF_GROUP))
        self.threads = max(1, min(threads, self.groups))
        self.non_zeros = matrix.non_zeros
        self.position, self.done = Position(), np.zeros(self.groups, np.int64)  # visits, of each cell of a round
        self.non_zeros_done_here, self.shares = 0, cut(matrix.blocks)
        self._visits, self._bounds, self._sizes = (np.empty(0, np.int64) for _ in range(3))

    @property
    def rounds(self) -> int:
        """Of an epoch."""
        return SWEEPS * self.groups

    @property
    def rows(self) -> NDArray[np.float32]:
        """float32 (2, V, 2, width): of words and of contexts, weights and rates."""
        return self.table.reshape(2, self.words, 2, self.width)

    def initialise(self, earlier: GloveVectors | None, vocabulary: Vocabulary) -> None:
        """Vectors between -0.5/dim and 0.5/dim, biases of zero; what an earlier model has starts from there."""
        dim, rows = self.parameters.vector_dim, self.rows
        random = np.random.default_rng([self.parameters.seed, 0])
        for side in range(2):
            for begin in range(0, self.words, INITIAL_ROWS):
                part = rows[side, begin : begin + INITIAL_ROWS]
                part[:, 0, :dim] = (random.random((part.shape[0], dim), np.float32) - np.float32(0.5)) / dim
        if earlier is not None:
            number = {word: place for place, word in enumerate(earlier.words)}
            ours = np.array([here for here, word in enumerate(vocabulary.words) if word in number], np.int64)
            theirs = np.array([number[vocabulary.words[here]] for here in ours], np.int64)
            words, contexts, biases = earlier.parts()
            rows[0, ours, 0, :dim], rows[1, ours, 0, :dim] = words[theirs], contexts[theirs]
            rows[0, ours, 0, dim], rows[1, ours, 0, dim + 1] = biases[:, theirs]
        rows[:, :, 1] = 1
        for side, one in ((0, dim + 1), (1, dim)):
            rows[side, :, 0, one] = 1
            rows[side, :, 1, one] = 0

    def plan_epoch(self) -> None:
        """Draw the epoch's groups and order; the same each time that this epoch is begun."""
        random = np.random.default_rng([self.parameters.seed, 1 + self.position.epoch])
        shares, stripes, groups = self.shares, self.matrix.counting.stripes, self.groups
        visits = 2 * np.arange(len(shares))
        if self.matrix.counting.symmetric:
            visits = np.concatenate([visits, 2 * np.flatnonzero(shares[:, 0] != shares[:, 1]) + 1])
        sides = shares[visits >> 1, :2]
        sides = np.where((visits & 1)[:, None] == 1, sides[:, ::-1], sides)
        sweeps = random.integers(0, SWEEPS, visits.size)
        row_groups, column_groups = (
            random.permuted(np.tile(np.arange(stripes) % groups, (SWEEPS, 1)), axis=1) for _ in range(2)
        )
        first = row_groups[sweeps, sides[:, 0]]
        turns = (column_groups[sweeps, sides[:, 1]] - first) % groups
        cells = (sweeps * groups + turns) * groups + first
        order = np.lexsort((random.random(visits.size), cells))
        self._visits = visits[order]
        self._bounds = np.searchsorted(cells[order], np.arange(self.rounds * groups + 1))
        self._sizes = np.bincount(cells, shares[visits >> 1, 3], self.rounds * groups)

    def run_epoch(self) -> None:
        """Train one epoch, or what is left of it, or until the stop flag is set.

        Raises ClientError if the cost is no longer a number.
        """
        self.plan_epoch()
        begun, before = time.perf_counter(), self.position.sums[1]
        while self.position.round < self.rounds:
            self._run_round(begun, before)
            if self.stop.is_set() and not self._round_is_done:
                break
            self.position.round += 1
            self.done[:] = 0
        self.non_zeros_done_here += int(self.position.sums[1] - before)

    @property
    def _cells(self) -> NDArray[np.int64]:
        """Bounds of the present round's cells."""
        return self._bounds[self.position.round * self.groups :][: self.groups + 1]

    @property
    def _round_is_done(self) -> bool:
        return bool(np.all(self.done >= np.diff(self._cells)))

    def _run_round(self, begun: float, before: float) -> None:
        # Costs are added up in order of the cells, whichever thread is first.
        sums, bounds, lock = np.zeros((self.groups, 2)), self._cells, Lock()
        sizes = self._sizes[self.position.round * self.groups :][: self.groups]
        largest_first = iter(np.argsort(-sizes, kind="stable").tolist())
        shares, values = self.shares.reshape(-1), self.matrix.values.reshape(-1)
        with np.errstate(over="ignore"):  # then the cost is no number, which is told
            rate = np.float32(self.parameters.learning_rate)

        def work(thread: int) -> None:
            while True:
                with lock:
                    cell = next(largest_first, None)
                if cell is None:
                    return
                first, end = int(bounds[cell]), int(bounds[cell + 1])
                while first + self.done[cell] < end and not self.stop.is_set():
                    at = train_visits(
                        self._visits, first + self.done[cell], end, PIECE, shares, self.matrix.cells, values,
                        self.table, self.words, self.width, rate, sums[cell],
                    )  # fmt: skip
                    self.done[cell] = at - first

        def tell() -> None:
            cost, met = np.sum(sums, axis=0) + self.position.sums
            speed = (met - before) / max(1e-9, time.perf_counter() - begun)
            total = self.parameters.epochs * self.non_zeros
            done = self.position.epoch * self.non_zeros + met
            figures = {"non_zeros_per_second": speed, "seconds_left": (total - done) / max(1.0, speed)}
            if met:
                figures["cost"] = cost / met
            self.report.progress(done, total, unit="non-zeros", **figures)

        run_watched(self.pool, work, self.threads, tell)
        self.position.sums = (np.sum(sums, axis=0) + self.position.sums).tolist()
        if not math.isfinite(self.position.sums[0]):
            raise ClientError(
                f"training diverged in epoch {self.position.epoch + 1}: the cost is no longer a number; "
                f"try a smaller learning_rate than {self.parameters.learning_rate:g}"
            )

    @property
    def epoch_is_done(self) -> bool:
        return self.position.round >= self.rounds

    def end_epoch(self) -> float:
        """Go to the next epoch; returns this one's mean cost."""
        cost = self.position.sums[0] / max(1.0, self.position.sums[1])
        self.position = Position(self.position.epoch + 1, costs=[*self.position.costs, cost])
        return cost

    @property
    def has_converged(self) -> bool:
        """Whether early stopping says that it is enough."""
        parameters, costs = self.parameters, self.position.costs
        if not parameters.early_stopping or len(costs) < max(parameters.min_epochs, parameters.patience + 1):
            return False
        last = costs[-parameters.patience - 1 :]
        least = 1 - parameters.early_stopping_tolerance
        return all(after >= least * before for before, after in pairwise(last))

    def save(self, checkpoint: Checkpoint) -> None:
        """Write all that resuming needs."""
        position = self.position
        facts = {"epoch": position.epoch, "round": position.round, "sums": position.sums, "costs": position.costs}
        checkpoint.write(facts, {"table": self.table, "done": self.done})

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint, if there is one and it is this job's. Says so to the user either way."""

        def take(facts: dict[str, Any], stored: Mapping[str, NDArray[Any]]) -> None:
            position = Position(facts["epoch"], facts["round"], facts["sums"], facts["costs"])
            table, done = stored["table"], stored["done"]
            if table.shape != self.table.shape or done.shape != self.done.shape:
                raise ValueError("it has other rows")
            self.table[:], self.done[:] = table, done
            self.position = position

        if checkpoint.resume(take):
            self.report.say(f"resuming from the checkpoint, in epoch {self.position.epoch + 1}")

    def rows_out(self, vocabulary: Vocabulary) -> TrainedRows:
        dim, rows = self.parameters.vector_dim, self.rows
        biases = np.stack([rows[0, :, 0, dim], rows[1, :, 0, dim + 1]])
        return TrainedRows(vocabulary, rows[0, :, 0, :dim].copy(), rows[1, :, 0, :dim].copy(), biases)


def cut(blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Blocks of more than SHARE non-zeros in shares of equal size, in the same form: (n, 4)."""
    parts = -(-blocks[:, 3] // SHARE)
    of = np.repeat(np.arange(len(blocks)), parts)
    number = np.arange(of.size) - np.repeat(np.cumsum(parts) - parts, parts)
    begin, end = (blocks[of, 3] * (number + k) // parts[of] for k in (0, 1))
    return np.stack([blocks[of, 0], blocks[of, 1], blocks[of, 2] + begin, end - begin], axis=1)


def train(context: TrainingContext[GloveHyperparameters], earlier: GloveVectors | None = None) -> TrainedRows:
    """Read the channel, count, train, and return the rows. One seed makes the same bytes, on any number of threads.

    Raises ClientError for text that cannot be learnt from.
    """
    with ThreadPoolExecutor(max(1, context.threads)) as pool:
        try:
            return _train(context, earlier, pool, Path(tempfile.gettempdir()))
        except StoppedEarlyError:
            raise ClientError("stopped before the first word was learnt, so there is no model to keep") from None


def _train(
    context: TrainingContext[GloveHyperparameters],
    earlier: GloveVectors | None,
    pool: ThreadPoolExecutor,
    folder: Path,
) -> TrainedRows:
    parameters, report, stop = context.hyperparameters, context.report, context.stop
    clock, threads = Clock(), max(1, context.threads)
    with clock.phase("read"):
        loaded = text_files.read(context.channels["train"], labelled=False)
        corpus = texts.encode(loaded, threads, stop, labelled=False, memory_bytes=context.memory_bytes)
        del loaded
        vocabulary, kinds = read_vocabulary(corpus, parameters, earlier)
        check_words(vocabulary, parameters.min_count)
        _check_memory(context, len(vocabulary.words))
        words, seen = len(vocabulary.words), int(vocabulary.word_counts.sum())
        lines = sum(part.starts.size - 1 for part in corpus.parts)
        stream = make_stream(corpus, kinds, seen)
        del corpus
    report.say(
        f"read {lines:,} lines in {clock.seconds['read']:.1f} s; vocabulary: {words:,} words, seen {seen:,} times"
    )
    check(stop)
    with clock.phase("count"):
        counting = Counting(
            words, parameters.window_size, parameters.symmetric, parameters.x_max, parameters.alpha, parameters.seed
        )
        matrix = count(
            stream, counting, folder, threads, counting_bytes(context), pool, stop, _counted(context, stream)
        )
    if not matrix.non_zeros:
        raise ClientError(
            f"no two words of the vocabulary stand within window_size = {parameters.window_size} of each other on a "
            "line of channel train: give lines of several words, or lower min_count"
        )
    report.say(
        f"counted {matrix.non_zeros:,} pairs of words that stand together (non-zeros) in {clock.seconds['count']:.1f} s"
    )
    marks = [zlib.adler32(stream.data), zlib.adler32(vocabulary.word_counts.data)]
    del stream
    with clock.phase("rows"):
        training = Training(parameters, words, matrix, threads, pool, stop, report)
        training.initialise(earlier, vocabulary)
        if earlier is not None:
            marks.append(zlib.adler32(training.table.data))
        check(stop)
    given = parameters.model_dump(mode="json", exclude={"memory_limit", "deterministic", "evaluation"})
    checkpoint = Checkpoint(
        context.checkpoints / "glove.npz", json.dumps([given, marks]), report, training.table.nbytes
    )
    training.resume(checkpoint)
    epochs_before = training.position.epoch
    _run(training, checkpoint, clock)
    with clock.phase("model"):
        rows = training.rows_out(vocabulary)
    position = training.position
    epochs, asked = position.epoch, parameters.epochs
    spent = clock.seconds.get("train", 0.0)
    stopped_early = training.has_converged and epochs < asked
    report.summary(
        epochs_run=epochs,
        epochs_asked=asked,
        stopped_early=stopped_early,
        words=seen,
        vocabulary_size=words,
        non_zeros=matrix.non_zeros,
        costs=[round(cost, 8) for cost in position.costs],
        seconds=clock.rounded(),
        seconds_saved=round((asked - epochs) * spent / max(1, epochs - epochs_before), 3) if stopped_early else 0.0,
        non_zeros_per_second=round(training.non_zeros_done_here / max(1e-9, spent)),
        threads=training.threads,
    )
    return rows


def _run(training: Training, checkpoint: Checkpoint, clock: Clock) -> None:
    """Run the epochs that are left, or until the stop flag, or until the cost has ceased to fall."""
    epochs, report = training.parameters.epochs, training.report
    while training.position.epoch < epochs and not training.has_converged:
        epoch = training.position.epoch + 1
        with clock.phase("train"):
            training.run_epoch()
        if not training.epoch_is_done:
            training.save(checkpoint)
            report.say(f"stopped in epoch {epoch} of {epochs}; a checkpoint is kept")
            return
        cost = training.end_epoch()
        report.say(f"epoch {epoch} of {epochs}: cost {cost:.6f}")
        report.metric("train:cost", cost, epoch=epoch)
        if training.stop.is_set() or (epoch < epochs and checkpoint.is_due):
            with clock.phase("checkpoint"):
                training.save(checkpoint)
        if training.stop.is_set():
            report.say(f"stopped after epoch {epoch} of {epochs}; a checkpoint is kept")
            return
    if training.position.epoch < epochs:
        report.say(
            f"stopped early: the cost fell by less than {training.parameters.early_stopping_tolerance:g} of itself in "
            f"each of {training.parameters.patience} epochs"
        )


def _counted(
    context: TrainingContext[GloveHyperparameters], stream: NDArray[np.int32]
) -> Callable[[int], None]:  # fmt: skip
    """A function that reports the words counted, told how many more there are."""
    begun, done, lock = time.perf_counter(), [0], Lock()

    def tell(more: int) -> None:
        with lock:
            done[0] += more
            speed = done[0] / max(1e-9, time.perf_counter() - begun)
            context.report.progress(done[0], stream.size, unit="words counted", words_counted_per_second=speed)

    return tell


def read_vocabulary(
    corpus: Corpus, parameters: GloveHyperparameters, earlier: GloveVectors | None
) -> tuple[Vocabulary, NDArray[np.int32]]:
    """The words to learn, and what each of the corpus's is in the stream: a word, END_OF_LINE or NO_WORD.

    "</s>", the end of a line, is no word here: nothing is counted across it.
    """
    vocabulary, _ = Vocabulary.build(corpus.counts, parameters.min_count, labelled=False)
    kept = np.array([word != EOS for word in vocabulary.words], np.bool_)
    words = [word for word in vocabulary.words if word != EOS]
    vocabulary = Vocabulary(words, vocabulary.word_counts[kept], [], vocabulary.label_counts[:0])
    if earlier is not None:
        vocabulary = vocabulary.with_earlier({word: place for place, word in enumerate(earlier.words)}, {})
    number = {word: place for place, word in enumerate(vocabulary.words)} | {EOS: END_OF_LINE}
    names = corpus.counts.names(np.arange(len(corpus.counts)))
    kinds = np.array([number.get(name, NO_WORD) for name in names], np.int32)
    counts = np.zeros(len(vocabulary.words), np.int64)
    counts[kinds[kinds >= 0]] = corpus.counts.counts[kinds >= 0]
    return Vocabulary(vocabulary.words, counts, [], vocabulary.label_counts), kinds


def table_width(parameters: GloveHyperparameters) -> int:
    """Floats of a row's weights: the vector, its bias and a one."""
    return padded(parameters.vector_dim + 2)


def table_bytes(parameters: GloveHyperparameters, words: int) -> int:
    """Memory of the rows while training, and of their copies for the model."""
    return 4 * 2 * words * (2 * table_width(parameters) + parameters.vector_dim)


def counting_bytes(context: TrainingContext[GloveHyperparameters]) -> int:
    """Memory to count in."""
    given = context.hyperparameters.memory_limit
    if given != "auto":
        return given * MB
    if context.memory_bytes is None:
        return MOST_MEMORY
    return min(MOST_MEMORY, max(LEAST_MEMORY, context.memory_bytes // 4))


def advice(parameters: GloveHyperparameters) -> str:
    """What to change to need less memory."""
    return (
        f"lower vector_dim (now {parameters.vector_dim}), raise min_count (now {parameters.min_count}), "
        f"lower memory_limit (now {parameters.memory_limit}), or give less text"
    )


def _check_memory(context: TrainingContext[GloveHyperparameters], words: int) -> None:
    """Refuse what cannot fit, now that the vocabulary is known, before it is allocated."""
    need = table_bytes(context.hyperparameters, words)
    if context.memory_bytes is not None and need > context.memory_bytes:
        raise ClientError(
            f"the vectors of {words:,} words need {need / 1e9:.1f} GB of memory and "
            f"{context.memory_bytes / 1e9:.1f} GB is available: {advice(context.hyperparameters)}"
        )
