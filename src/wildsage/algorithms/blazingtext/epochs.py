"""A classifier's rows, and the epochs that change them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.algorithms.blazingtext.fasttext_file import TableRows
from wildsage.algorithms.blazingtext.features import check, run_all
from wildsage.algorithms.blazingtext.kernels import features as states
from wildsage.algorithms.blazingtext.kernels.predict import HIERARCHICAL, NEGATIVE
from wildsage.algorithms.blazingtext.kernels.rows import collect_rows, place_rows, scale_rows
from wildsage.algorithms.blazingtext.kernels.supervised import (
    Lines,
    Output,
    Scratch,
    count_right,
    find_best,
    initialise,
    merge_output,
    rounding_noise,
    train_lines,
)
from wildsage.algorithms.blazingtext.losses import make_loss
from wildsage.algorithms.blazingtext.memory import fresh, stores_halves
from wildsage.algorithms.blazingtext.training import random_states, run_watched, tell_progress
from wildsage.contract.errors import ClientError
from wildsage.kernels.vector import aligned, padded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import ThreadPoolExecutor
    from threading import Event

    from numpy.typing import NDArray

    from wildsage.algorithms.blazingtext.features import Numbering
    from wildsage.algorithms.blazingtext.hyperparameters import BlazingTextHyperparameters
    from wildsage.algorithms.checkpoint import Checkpoint
    from wildsage.algorithms.context import Reporter

    Table = NDArray[np.float32] | NDArray[np.int16]

# Lines between two merges of a thread's own output rows into the shared ones. Threads that all wrote to the shared rows
# took 1.7 times as long with 20 labels: they are few, so every step would take them from the other core.
MERGE_EVERY = 16
# With these losses a line writes to few of the output rows, so that threads share them, unless labels are few.
SPARSE_LOSSES, MANY_LABELS = (HIERARCHICAL, NEGATIVE), 100
CHUNK = 1 << 27  # floats read or written between two looks at the stop flag, a fraction of a second
SAMPLE_LINES, SAMPLE_BLOCKS = 4_000, 100  # training lines that an accuracy is taken of, and the pieces these come in


@dataclass
class Position:
    """Where training stands, besides the rows: what a checkpoint holds."""

    epoch: int = 0  # epochs done
    lines: list[int] = field(default_factory=list)  # of each part, done in the present epoch
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])  # loss and steps of the present epoch
    accuracies: list[float] = field(default_factory=list)  # of each epoch done, if validated
    best_epoch: int = 0  # 0: none


class Training:
    """Rows, and the epochs that change them.

    The table has the rows of the numbering, and one for each n-gram that only one line has, but repeatedly, which is
    used at the very end.
    """

    def __init__(
        self,
        parameters: BlazingTextHyperparameters,
        numbering: Numbering,
        parts: list[Lines],
        validation: list[Lines],
        words: int,
        label_counts: NDArray[np.int64],
        pool: ThreadPoolExecutor,
        threads: int,
        stop: Event,
        report: Reporter,
    ) -> None:
        """Begin with zeros. threads: of the pool, for what is not training; that takes as many as there are parts."""
        self.parameters, self.numbering, self.parts, self.validation = parameters, numbering, parts, validation
        self.words, self.classes, self.width = words, label_counts.size, padded(parameters.vector_dim)
        self.label_counts = label_counts
        self.pool, self.stop, self.report, self.threads = pool, stop, report, threads
        self.loss = make_loss(parameters.chosen_loss, label_counts, parameters.negative_samples)
        self.repeated = numbering.repeated(words)
        self.dtype = np.int16 if stores_halves(parameters, numbering.rows) else np.float32
        self.noise = rounding_noise()
        self.table: Table = fresh((numbering.rows + self.repeated.size) * self.width, self.dtype)
        self.output = aligned(self.classes * self.width)
        self.best: tuple[Table, NDArray[np.float32]] | None = None
        self.random = random_states(parameters.seed, len(parts))
        self.position = Position(lines=[0] * len(parts))
        self.tokens = sum(int(part.tokens[-1]) for part in parts)
        self.tokens_done_here = 0  # by this process, for the speed

    def initialise(self) -> None:
        """Words start at random, n-grams at zero: fastText, too, leaves most of its buckets at zero.

        (src/densematrix.cc, `uniform`, fills a tenth of the table for each thread.)
        """
        seed, dim = (self.parameters.seed * 7919 + 1) % 2**31, self.parameters.vector_dim
        rows, _ = self.numbering.rows_of(np.arange(self.words))
        # What only one line has shares its row with n-grams.
        rows[self.numbering.states[: 2 * self.words : 2] < 0] = -1

        def work(begin: int, end: int) -> None:
            initialise(self.table, self.width, rows, begin, end, dim, seed, aligned(self.width))

        self._share_out(self.words, work)

    def place(self, features: NDArray[np.int64], given: NDArray[np.float32]) -> None:
        """Set the rows of features, which share theirs with none, where lines have them. given: float32 (n, dim)."""
        rows, _ = self.numbering.rows_of(features)
        flat = np.ascontiguousarray(given).reshape(-1)
        place_rows(self.table, self.width, rows, given.shape[1], 0, rows.size, aligned(self.width), flat)

    def _share_out(self, count: int, job: Callable[[int, int], Any]) -> None:
        """Run a job over a share of range(count) in each thread."""
        shares = self.threads
        run_all(self.pool, [(job, (count * k // shares, count * (k + 1) // shares)) for k in range(shares)])

    def run_epoch(self) -> None:
        """Train one epoch, or what is left of it, or until the stop flag is set.

        Raises ClientError if the loss is no longer a number.
        """
        sums = [aligned(2, np.float64) for _ in self.parts]
        carried = list(self.position.sums)
        begun, before = time.perf_counter(), self._tokens_of_epoch()

        def tell() -> None:
            done = self._tokens_of_epoch()
            speed = (done - before) / max(1e-9, time.perf_counter() - begun)
            tokens_done, tokens = self.position.epoch * self.tokens + done, self.parameters.epochs * self.tokens
            tell_progress(self.report, tokens_done, tokens, speed, np.sum(sums, axis=0) + carried)

        self._run(sums, tell)
        self.position.sums = (np.sum(sums, axis=0) + carried).tolist()
        self.tokens_done_here += self._tokens_of_epoch() - before
        if not math.isfinite(self.position.sums[0]):
            raise ClientError(
                f"training diverged in epoch {self.position.epoch + 1}: the loss is no longer a number; "
                f"try a smaller learning_rate than {self.parameters.learning_rate:g}"
            )

    def _run(self, sums: list[NDArray[np.float64]], tell: Callable[[], None]) -> None:
        """Train all parts until the epoch is done, the stop flag set, or a loss no number."""
        run_watched(self.pool, lambda k: self._train_part(k, sums[k]), len(self.parts), tell)

    def _train_part(self, k: int, sums: NDArray[np.float64]) -> None:
        """Train the lines of a part that are left, beside other threads."""
        part, output, merge_every = self.parts[k], Output(self.output, self.output, self.output), 0
        if len(self.parts) > 1 and not (self.loss.kind in SPARSE_LOSSES and self.classes > MANY_LABELS):
            output, merge_every = Output(self.output, aligned(self.output.size), aligned(self.output.size)), MERGE_EVERY
            output.own[:] = self.output
            output.seen[:] = output.own
        scratch, tokens = self._scratch(), float(part.tokens[-1])
        schedule = np.array(
            [self.parameters.learning_rate, self.position.epoch * tokens, self.parameters.epochs * tokens]
        )
        for first, last in self._chunks(part, self.position.lines[k]):
            if self.stop.is_set():
                break
            train_lines(
                part, first, last, self.table, output, self.loss, scratch, self.width, schedule, self.random[k], sums,
                merge_every,
            )  # fmt: skip
            self.position.lines[k] = last
            if not math.isfinite(sums[0]):
                break
        if merge_every:
            merge_output(output)

    def _tokens_of_epoch(self) -> int:
        return sum(int(part.tokens[line]) for part, line in zip(self.parts, self.position.lines, strict=True))

    @property
    def epoch_is_done(self) -> bool:
        return all(line == part.starts.size - 1 for part, line in zip(self.parts, self.position.lines, strict=True))

    def end_epoch(self) -> None:
        self.position.epoch += 1
        self.position.lines = [0] * len(self.parts)
        self.position.sums = [0.0, 0.0]

    def answers(self, parts: list[Lines]) -> list[NDArray[np.int32]]:
        """The most probable label of each line, -1 for none."""

        def work(part: Lines) -> NDArray[np.int32]:
            scratch, best = self._scratch(), np.empty(part.starts.size - 1, np.int32)
            for begin, end in self._chunks(part, 0):
                check(self.stop)
                find_best(part, begin, end, self.table, self.output, self.loss, scratch, self.width, best)
            return best

        return run_all(self.pool, [(work, (part,)) for part in parts])

    def accuracy(self, parts: list[Lines]) -> float:
        """The share of lines whose best label is among their own."""
        lines = [part.starts.size - 1 for part in parts]
        found = self.answers(parts)
        right = sum(
            int(count_right(part, 0, count, best)) for part, count, best in zip(parts, lines, found, strict=True)
        )
        return right / max(1, sum(lines))

    def train_accuracy(self) -> float:
        """The share of training lines that are answered right, of SAMPLE_LINES of them, evenly spread, if more."""
        total = sum(part.starts.size - 1 for part in self.parts)

        def work(part: Lines) -> tuple[int, int]:
            lines = part.starts.size - 1
            size = lines if total <= SAMPLE_LINES else max(1, lines * SAMPLE_LINES // (total * SAMPLE_BLOCKS))
            scratch, best, right, seen = self._scratch(), np.empty(lines, np.int32), 0, 0
            for begin in range(0, lines, max(1, size, lines // SAMPLE_BLOCKS)):  # a GPU's part may have no line
                check(self.stop)
                end = min(begin + size, lines)
                find_best(part, begin, end, self.table, self.output, self.loss, scratch, self.width, best)
                right, seen = right + int(count_right(part, begin, end, best)), seen + end - begin
            return right, seen

        counts = run_all(self.pool, [(work, (part,)) for part in self.parts])
        return float(sum(right for right, _ in counts) / max(1, sum(seen for _, seen in counts)))

    def _scratch(self) -> Scratch:
        return Scratch(
            aligned(self.width),
            aligned(self.width),
            aligned(self.classes),
            aligned(self.classes, np.int64),
            self.noise,
        )

    def _chunks(self, part: Lines, begin: int) -> list[tuple[int, int]]:
        """Ranges of lines that take about CHUNK floats each; a line costs its entries and the output rows twice."""
        lines = part.starts.size - 1
        outputs = max(self.classes, 1 + self.loss.negatives if self.loss.kind == NEGATIVE else 0)
        a_line = self.width * (int(part.starts[-1] - part.starts[0]) / max(1, lines) + 2 * outputs)
        step = max(1, int(CHUNK / a_line))
        return [(first, min(first + step, lines)) for first in range(begin, lines, step)]

    @property
    def _numbered(self) -> int:
        """Items of the table that are rows of the numbering: what is to be kept."""
        return self.numbering.rows * self.width

    def keep_best(self) -> None:
        """Copy the rows as they are: the best so far."""
        if self.best is None:
            self.best = (fresh(self.table.size, self.dtype), aligned(self.output.size, zero=False))
        table, output = self.best

        def copy(begin: int, end: int) -> None:
            table[begin:end] = self.table[begin:end]

        self._share_out(self._numbered, copy)
        output[:] = self.output

    def take_best(self) -> None:
        if self.best is not None:
            self.table, self.output = self.best
            self.best = None

    def checkpoint_bytes(self) -> int:
        """How large a checkpoint is, about."""
        return self._numbered * self.table.itemsize * (2 if self.parameters.early_stopping else 1)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write all that resuming needs."""
        facts = {
            "epoch": self.position.epoch, "lines": self.position.lines, "sums": self.position.sums,
            "accuracies": self.position.accuracies, "best_epoch": self.position.best_epoch,
        }  # fmt: skip
        table = self.table[: self._numbered]
        arrays = {"table": table, "output": self.output, "random": np.concatenate(self.random)}
        if self.best is not None:
            arrays |= {"best_table": self.best[0][: self._numbered], "best_output": self.best[1]}
        checkpoint.write(facts, arrays)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint, if there is one and it is this job's. Says so to the user either way."""

        def take(facts: dict[str, Any], stored: Mapping[str, NDArray[Any]]) -> None:
            # All is read before any of it is taken: what follows may be damaged.
            table, output = _stored_as(stored["table"], self.dtype), stored["output"]
            best = None
            if "best_table" in stored:
                best = _stored_as(stored["best_table"], self.dtype), stored["best_output"]
            random = stored["random"]
            position = Position(
                facts["epoch"], facts["lines"], facts["sums"], facts["accuracies"], facts["best_epoch"]
            )  # fmt: skip
            self.table[: self._numbered], self.output[:] = table, output
            if best is not None:
                self.best = (fresh(self.table.size, self.dtype), aligned(self.output.size, zero=False))
                self.best[0][: self._numbered], self.best[1][:] = best
            self.position = position
            if random.size == len(self.parts):
                for state, value in zip(self.random, random, strict=True):
                    state[0] = value
            else:  # another number of threads: its places within the epoch mean nothing here
                self.position.lines, self.position.sums = [0] * len(self.parts), [0.0, 0.0]

        if checkpoint.resume(take):
            self.report.say(f"resuming from the checkpoint, in epoch {self.position.epoch + 1}")

    def rows_out(self) -> tuple[NDArray[np.float32], NDArray[np.int64], TableRows, NDArray[np.float32]]:
        """(rows of words, ids of buckets that have a row, their rows, output rows), by fastText's numbers.

        A word or n-gram of no line is zero. The buckets' rows stay in the table, which is not to be trained on then:
        what n-grams shared is scaled to be the row of each.
        """
        dim, numbering = self.parameters.vector_dim, self.numbering
        places, scales = numbering.rows_of(np.arange(self.words))
        words = np.empty(self.words * dim, np.float32)

        def collect(begin: int, end: int) -> None:
            collect_rows(self.table, self.width, places, scales, dim, begin, end, aligned(self.width), words)

        self._share_out(self.words, collect)
        own, weights = numbering.own_rows, 1 / numbering.own_weights

        def settle(begin: int, end: int) -> None:
            scale_rows(self.table, self.width, own, own, weights, begin, end)

        self._share_out(own.size, settle)
        lines = states.OWN - numbering.states[2 * self.repeated]
        times = (numbering.states[2 * self.repeated + 1] + 1).astype(np.float32)
        more = numbering.rows + np.arange(self.repeated.size, dtype=np.int32)
        scale_rows(self.table, self.width, own[lines], more, times, 0, more.size)
        buckets = numbering.touched(self.words)
        rows = numbering.states[2 * (self.words + buckets)]
        alone = np.flatnonzero(rows <= states.OWN)
        rows[alone] = own[states.OWN - rows[alone]]
        rows[np.searchsorted(buckets, self.repeated - self.words)] = more
        table: Any = self.table.view(np.float16) if self.dtype == np.int16 else self.table
        output = np.ascontiguousarray(self.output.reshape(-1, self.width)[:, :dim])
        return words.reshape(-1, dim), buckets, TableRows(dim, table.reshape(-1, self.width), rows), output


def _stored_as(rows: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Rows of a checkpoint as this table stores them: it may be of a machine that had halves, or that had none."""
    floats = rows.view(np.float16) if rows.dtype == np.int16 else rows
    return floats.astype(np.float16, copy=False).view(np.int16) if dtype == np.int16 else floats.astype(np.float32)
