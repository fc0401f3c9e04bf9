"""Text classification: features numbered once, then epochs over them, validated after each.

The model is fastText's in supervised mode: a line's label from the mean of the rows of its words and hashed word
n-grams. Equal in result, not in order of work: text is read once, only the n-gram buckets that the text
touches have a row in memory, and an epoch sees compact rows (kernels/features.py says what that saves).
"""

from __future__ import annotations

import json
import math
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.algorithms.blazingtext import corpus as texts
from wildsage.algorithms.blazingtext.corpus import StoppedEarlyError
from wildsage.algorithms.blazingtext.fasttext_file import dense
from wildsage.algorithms.blazingtext.features import check, compact, expand, look_up, number, run_all
from wildsage.algorithms.blazingtext.kernels.features import UNKNOWN_LABEL, UNSEEN
from wildsage.algorithms.blazingtext.kernels.predict import HIERARCHICAL, NEGATIVE
from wildsage.algorithms.blazingtext.kernels.supervised import (
    Lines,
    Output,
    Scratch,
    collect_rows,
    count_right,
    find_best,
    initialise,
    merge_output,
    place_rows,
    train_lines,
)
from wildsage.algorithms.blazingtext.losses import make_loss
from wildsage.algorithms.blazingtext.memory import check_rows
from wildsage.algorithms.blazingtext.training import Checkpoint, Clock, random_states, run_watched, tell_progress
from wildsage.algorithms.blazingtext.vocabulary import Vocabulary
from wildsage.algorithms.vector import aligned, padded
from wildsage.contract.errors import ClientError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from threading import Event

    from numpy.typing import NDArray

    from wildsage.algorithms.blazingtext.fasttext_file import FastTextFile
    from wildsage.algorithms.blazingtext.features import Features, Numbering
    from wildsage.algorithms.blazingtext.hyperparameters import BlazingTextHyperparameters
    from wildsage.algorithms.context import Reporter, TrainingContext

# Lines between two merges of a thread's own output rows into the shared ones. Threads that all wrote to the shared rows
# took 1.7 times as long with 20 labels: they are few, so every step would take them from the other core.
MERGE_EVERY = 16
# With these losses a line writes to few of the output rows, so that threads share them; with few labels they do not.
SPARSE_LOSSES, MANY_LABELS = (HIERARCHICAL, NEGATIVE), 100
LINES_PER_THREAD = 256  # fewer, and a thread is not worth its start
CHUNK = 1 << 27  # floats read or written between two looks at the stop flag, a fraction of a second


@dataclass
class TrainedRows:
    """What training leaves: rows in fastText's numbering."""

    vocabulary: Vocabulary
    word_rows: NDArray[np.float32]  # (V, dim)
    bucket_ids: NDArray[np.int64]  # ascending, those with a row
    bucket_rows: NDArray[np.float32]  # (len(bucket_ids), dim)
    output: NDArray[np.float32]  # (C, dim)


class EarlierRows:
    """The rows of a model that training goes on from.

    Labels that it lacks start at zero, words that it lacks at random, as in a fresh model; what only it has is kept.
    """

    def __init__(self, file: FastTextFile) -> None:
        data, count = file.entries.tobytes(), file.word_rows.shape[0]
        names = [data[start : data.index(b"\0", start)] for start in file.places.tolist()]
        self.words = {word: row for row, word in enumerate(names[:count])}
        self.labels = {label: row for row, label in enumerate(names[count:])}
        self.label_counts = file.label_counts()
        self.word_rows, self.output, self.bucket_rows = map(dense, (file.word_rows, file.output, file.bucket_rows))
        self.bucket_ids = np.arange(file.bucket_rows.shape[0]) if file.bucket_ids is None else file.bucket_ids


@dataclass
class Position:
    """Where training stands, besides the rows: what a checkpoint holds."""

    epoch: int = 0  # epochs done
    lines: list[int] = field(default_factory=list)  # of each part, done in the present epoch
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])  # loss and steps of the present epoch
    accuracies: list[float] = field(default_factory=list)  # of each epoch done, if validated
    best_epoch: int = 0  # 0: none


class Training:
    """Rows, and the epochs that change them."""

    def __init__(
        self,
        parameters: BlazingTextHyperparameters,
        parts: list[Lines],
        validation: list[Lines],
        rows: int,
        label_counts: NDArray[np.int64],
        pool: ThreadPoolExecutor,
        stop: Event,
        report: Reporter,
    ) -> None:
        self.parameters, self.parts, self.validation = parameters, parts, validation
        self.pool, self.stop, self.report = pool, stop, report
        self.rows, self.classes, self.width = rows, label_counts.size, padded(parameters.vector_dim)
        self.loss = make_loss(parameters.chosen_loss, label_counts, parameters.negative_samples)
        self.table = aligned(rows * self.width)
        self.output = aligned(self.classes * self.width)
        self.best: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        self.random = random_states(parameters.seed, len(parts))
        self.position = Position(lines=[0] * len(parts))
        self.clock = Clock()
        self.tokens = sum(int(part.tokens[-1]) for part in parts)
        self.tokens_done_here = 0  # by this process, for the speed

    def initialise(self, numbering: Numbering, words: int) -> None:
        """Words start at random, n-grams at zero: fastText, too, leaves most of its buckets at zero.

        (src/densematrix.cc, `uniform`, fills a tenth of the table for each thread.)
        """
        seed, dim = (self.parameters.seed * 7919 + 1) % 2**31, self.parameters.vector_dim
        rows, _ = numbering.rows_of(np.arange(words))
        rows[numbering.states[: 2 * words : 2] < 0] = -1  # what only one line has shares its row with n-grams
        self._share_out(words, lambda begin, end: initialise(self.table, self.width, rows, begin, end, dim, seed))

    def _share_out(self, count: int, job: Callable[[int, int], Any]) -> None:
        """Run a job over a share of range(count) in each thread."""
        shares = len(self.parts)
        run_all(self.pool, [(job, (count * k // shares, count * (k + 1) // shares)) for k in range(shares)])

    def run_epoch(self) -> None:
        """Train one epoch, or what is left of it, or until the stop flag is set.

        Raises ClientError if the loss is no longer a number.
        """
        alone = len(self.parts) == 1 or (self.loss.kind in SPARSE_LOSSES and self.classes > MANY_LABELS)
        sums = [np.zeros(2) for _ in self.parts]
        carried = list(self.position.sums)
        begun, before = time.perf_counter(), self._tokens_of_epoch()

        def work(k: int) -> None:
            part = self.parts[k]
            own, seen = (self.output, self.output) if alone else (aligned(self.output.size), aligned(self.output.size))
            output = Output(self.output, own, seen)
            if not alone:
                own[:] = self.output
                seen[:] = own
            scratch = self._scratch()
            tokens = float(part.tokens[-1])
            schedule = np.array(
                [self.parameters.learning_rate, self.position.epoch * tokens, self.parameters.epochs * tokens]
            )
            for first, last in self._chunks(part, self.position.lines[k]):
                if self.stop.is_set():
                    break
                train_lines(
                    part, first, last, self.table, output, self.loss, scratch, self.width, schedule, self.random[k],
                    sums[k], 0 if alone else MERGE_EVERY,
                )  # fmt: skip
                self.position.lines[k] = last
                if not math.isfinite(sums[k][0]):
                    break
            if not alone:
                merge_output(output)

        def tell() -> None:
            done = self._tokens_of_epoch()
            speed = (done - before) / max(1e-9, time.perf_counter() - begun)
            tokens_done, tokens = self.position.epoch * self.tokens + done, self.parameters.epochs * self.tokens
            tell_progress(self.report, tokens_done, tokens, speed, np.sum(sums, axis=0) + carried)

        run_watched(self.pool, work, len(self.parts), tell)
        self.position.sums = (np.sum(sums, axis=0) + carried).tolist()
        self.tokens_done_here += self._tokens_of_epoch() - before
        if not math.isfinite(self.position.sums[0]):
            raise ClientError(
                f"training diverged in epoch {self.position.epoch + 1}: the loss is no longer a number; "
                f"try a smaller learning_rate than {self.parameters.learning_rate:g}"
            )

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
        right = sum(count_right(part, 0, count, best) for part, count, best in zip(parts, lines, found, strict=True))
        return float(right / max(1, sum(lines)))

    def _scratch(self) -> Scratch:
        return Scratch(
            aligned(self.width), aligned(self.width), aligned(self.classes), np.empty(self.classes, np.int64)
        )

    def _chunks(self, part: Lines, begin: int) -> list[tuple[int, int]]:
        """Ranges of lines that take about CHUNK floats each; a line costs its entries and the output rows twice."""
        lines = part.starts.size - 1
        a_line = self.width * (int(part.starts[-1]) / max(1, lines) + 2 * self.classes)
        step = max(1, int(CHUNK / a_line))
        return [(first, min(first + step, lines)) for first in range(begin, lines, step)]

    def keep_best(self) -> None:
        """Copy the rows as they are: the best so far."""
        if self.best is None:
            self.best = (aligned(self.table.size, zero=False), aligned(self.output.size, zero=False))
        table, output = self.best

        def copy(begin: int, end: int) -> None:
            table[begin:end] = self.table[begin:end]

        self._share_out(table.size, copy)
        output[:] = self.output

    def take_best(self) -> None:
        if self.best is not None:
            self.table, self.output = self.best
            self.best = None

    def save(self, checkpoint: Checkpoint) -> None:
        """Write all that resuming needs."""
        facts = {
            "epoch": self.position.epoch, "lines": self.position.lines, "sums": self.position.sums,
            "accuracies": self.position.accuracies, "best_epoch": self.position.best_epoch,
        }  # fmt: skip
        arrays = {"table": self.table, "output": self.output, "random": np.concatenate(self.random)}
        if self.best is not None:
            arrays |= {"best_table": self.best[0], "best_output": self.best[1]}
        checkpoint.write(facts, arrays)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint, if there is one and it is this job's. Says so to the user either way."""

        def take(facts: dict[str, Any], stored: Mapping[str, NDArray[Any]]) -> None:
            self.table[:], self.output[:] = stored["table"], stored["output"]
            if "best_table" in stored:
                self.best = (aligned(self.table.size, zero=False), aligned(self.output.size, zero=False))
                self.best[0][:], self.best[1][:] = stored["best_table"], stored["best_output"]
            random = stored["random"]
            self.position = Position(
                facts["epoch"], facts["lines"], facts["sums"], facts["accuracies"], facts["best_epoch"]
            )  # fmt: skip
            if random.size == len(self.parts):
                for state, value in zip(self.random, random, strict=True):
                    state[0] = value
            else:  # another number of threads: its places within the epoch mean nothing here
                self.position.lines, self.position.sums = [0] * len(self.parts), [0.0, 0.0]

        if checkpoint.resume(take):
            self.report.say(f"resuming from the checkpoint, in epoch {self.position.epoch + 1}")

    def take_earlier(self, earlier: EarlierRows, vocabulary: Vocabulary, numbering: Numbering) -> None:
        """Start from an earlier model's rows where it has any. The numbering must not be merged."""
        dim, words = self.parameters.vector_dim, len(vocabulary.words)

        def place(features: NDArray[np.int64], given: NDArray[np.float32]) -> None:
            rows, _ = numbering.rows_of(features)
            place_rows(self.table, self.width, rows, dim, 0, rows.size, np.ascontiguousarray(given).reshape(-1))

        ours, theirs = _pairs(vocabulary.words, earlier.words)
        place(ours, earlier.word_rows[theirs])
        _, ours, theirs = np.intersect1d(
            _touched(numbering, words), earlier.bucket_ids, assume_unique=True, return_indices=True
        )  # fmt: skip
        place(words + _touched(numbering, words)[ours], earlier.bucket_rows[theirs])
        ours, theirs = _pairs(vocabulary.labels, earlier.labels)
        self.output.reshape(-1, self.width)[ours, :dim] = earlier.output[theirs]

    def rows_out(self, vocabulary: Vocabulary, numbering: Numbering, earlier: EarlierRows | None) -> TrainedRows:
        """The rows in fastText's numbering; words that no labelled line has are the earlier model's, or zero."""
        dim, words = self.parameters.vector_dim, len(vocabulary.words)

        def collect(features: NDArray[np.int64]) -> NDArray[np.float32]:
            rows, scales = numbering.rows_of(features)
            out = np.empty(rows.size * dim, np.float32)
            self._share_out(
                rows.size,
                lambda begin, end: collect_rows(self.table, self.width, rows, scales, dim, begin, end, out),
            )
            return out.reshape(-1, dim)

        buckets = _touched(numbering, words)
        word_rows, bucket_rows = collect(np.arange(words)), collect(words + buckets)
        if earlier is not None:
            ours, theirs = _pairs(vocabulary.words, earlier.words)
            idle = numbering.states[2 * ours] == UNSEEN
            word_rows[ours[idle]] = earlier.word_rows[theirs[idle]]
            every = np.union1d(buckets, earlier.bucket_ids)
            rows = np.empty((every.size, dim), np.float32)
            rows[np.searchsorted(every, earlier.bucket_ids)] = earlier.bucket_rows
            rows[np.searchsorted(every, buckets)] = bucket_rows
            buckets, bucket_rows = every, rows
        output = np.ascontiguousarray(self.output.reshape(-1, self.width)[:, :dim])
        return TrainedRows(vocabulary, word_rows, buckets, bucket_rows, output)


def _touched(numbering: Numbering, words: int) -> NDArray[np.int64]:
    """The buckets that have a row, ascending."""
    return np.flatnonzero(numbering.states[2 * words :: 2] != UNSEEN)


def _pairs(names: list[bytes], earlier: dict[bytes, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the names that the earlier model has, here and there."""
    pairs = [(here, earlier[name]) for here, name in enumerate(names) if name in earlier]
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def train(context: TrainingContext[BlazingTextHyperparameters], earlier: EarlierRows | None = None) -> TrainedRows:
    """Read the channels, train, and return the rows of the last epoch, or of the best with early_stopping.

    Memory: see algorithm.py. One thread and one seed make the same bytes each time; with more threads, which write to
    shared rows without locks, results differ in the third digit. Resuming on one thread is exact as well.
    Raises ClientError for text that cannot be learnt from.
    """
    with ThreadPoolExecutor(max(1, context.threads)) as pool:
        try:
            return _train(context, earlier, pool)
        except StoppedEarlyError:
            raise ClientError("stopped before the first line was learnt, so there is no model to keep") from None


def _train(
    context: TrainingContext[BlazingTextHyperparameters], earlier: EarlierRows | None, pool: ThreadPoolExecutor
) -> TrainedRows:
    parameters, report, stop = context.hyperparameters, context.report, context.stop
    clock, threads = Clock(), max(1, context.threads)
    if parameters.early_stopping and "validation" not in context.channels:
        raise ClientError("early_stopping = true needs a channel named validation, beside train")

    with clock.phase("read"):
        loaded = texts.read(context.channels["train"])
        corpus = texts.encode(loaded, threads, stop)
        vocabulary, kinds = Vocabulary.build(corpus.counts, parameters.min_count)
        _check_vocabulary(vocabulary, loaded, parameters)
        if earlier is not None:
            vocabulary = vocabulary.with_earlier(earlier.words, earlier.labels)
            if parameters.chosen_loss == "hs":
                vocabulary = _keep_tree(vocabulary, earlier)
            kinds = vocabulary.kinds(corpus.counts)
        del loaded
        shape = (parameters.word_ngrams, parameters.buckets, len(vocabulary.words))
        if sum(shape[1:]) >= 2**31:
            raise ClientError(f"buckets = {shape[1]} is too many beside {shape[2]} words: together up to {2**31 - 1}")
        words_read = corpus.tokens
        made = expand(corpus, kinds, shape, pool, stop)
        lines_read = sum(part.starts.size - 1 for part in corpus.parts)
        del corpus, kinds
        _tell_lines("train", made, report)
        if not made.lines:
            raise ClientError(
                f"no line of channel train has both a label and a word seen {parameters.min_count} times or more "
                "(min_count)"
            )
    report.say(
        f"read {lines_read:,} lines, {words_read:,} words, in {clock.seconds['read']:.1f} s; "
        f"vocabulary: {len(vocabulary.words):,} words, {len(vocabulary.labels):,} labels"
    )

    with clock.phase("features"):
        marks = [zlib.adler32(made.features.data), zlib.adler32(made.labels.data), zlib.adler32(made.starts.data)]
        threads = max(1, min(threads, made.lines // LINES_PER_THREAD))
        numbering = number(made, shape, threads, pool, stop, merge=earlier is None)
        check_rows(parameters, numbering.rows, context.memory_bytes)
        parts = compact(made, numbering, threads, pool)
        check(stop)
        validation: list[Lines] = []
        if "validation" in context.channels:
            validation_made = _read_validation(context, vocabulary, shape, pool)
            marks += [zlib.adler32(validation_made.features.data), zlib.adler32(validation_made.labels.data)]
            validation = look_up(validation_made, numbering, threads, pool)
        training = Training(
            parameters, parts, validation, numbering.rows, vocabulary.label_counts, pool, stop, report
        )  # fmt: skip
        training.initialise(numbering, len(vocabulary.words))
        if earlier is not None:
            training.take_earlier(earlier, vocabulary, numbering)
            marks.append(zlib.adler32(training.table.data))
        check(stop)

    fingerprint = json.dumps([parameters.model_dump(mode="json"), marks, vocabulary.label_counts.tolist()])
    checkpoint = Checkpoint(context.checkpoints / "supervised.npz", fingerprint, report)
    training.resume(checkpoint)
    epochs_before = training.position.epoch
    stopped_early = _run(training, checkpoint, clock)

    position = training.position
    if parameters.early_stopping and 0 < position.best_epoch != position.epoch:
        training.take_best()
        report.say(
            f"keeping epoch {position.best_epoch}, the best "
            f"(validation accuracy {position.accuracies[position.best_epoch - 1]:.4f})"
        )
    if not stop.is_set():
        with clock.phase("train accuracy"):
            accuracy = training.accuracy(parts)
        report.metric("train:accuracy", accuracy)
    with clock.phase("model"):
        rows = training.rows_out(vocabulary, numbering, earlier)
    an_epoch = (clock.seconds.get("train", 0.0) + clock.seconds.get("validate", 0.0)) / max(
        1, position.epoch - epochs_before
    )
    saved = (parameters.epochs - position.epoch) * an_epoch if stopped_early else 0.0
    report.summary(
        epochs_run=position.epoch,
        epochs_asked=parameters.epochs,
        best_epoch=position.best_epoch or None,
        stopped_early=stopped_early,
        train_examples=made.lines,
        words=words_read,
        labels=len(vocabulary.labels),
        vocabulary_size=len(vocabulary.words),
        seconds=clock.rounded(),
        seconds_saved=round(saved, 6),
        best_validation_accuracy=max(position.accuracies, default=None),
        words_per_second=round(training.tokens_done_here / max(1e-9, clock.seconds.get("train", 0.0))),
        threads=threads,
    )
    return rows


def _run(training: Training, checkpoint: Checkpoint, clock: Clock) -> bool:
    """Run the epochs that are left, or until the stop flag. Returns whether early stopping ended them."""
    parameters, position, report = training.parameters, training.position, training.report
    while position.epoch < parameters.epochs:
        if _has_stalled(position, parameters):  # so a job that was resumed ends as the first would have
            return True
        with clock.phase("train"):
            training.run_epoch()
        if not training.epoch_is_done:
            training.save(checkpoint)
            report.say(f"stopped in epoch {position.epoch + 1} of {parameters.epochs}; a checkpoint is kept")
            return False
        loss = position.sums[0] / max(1.0, position.sums[1])
        told = f"epoch {position.epoch + 1} of {parameters.epochs}: loss {loss:.4f}"
        if training.validation:
            try:
                with clock.phase("validate"):
                    accuracy = training.accuracy(training.validation)
            except StoppedEarlyError:  # the epoch is validated when the job is resumed
                training.save(checkpoint)
                return False
            training.end_epoch()
            position.accuracies.append(accuracy)
            if position.best_epoch == 0 or accuracy > position.accuracies[position.best_epoch - 1]:
                position.best_epoch = position.epoch
                if parameters.early_stopping and position.epoch < parameters.epochs:
                    training.keep_best()
            report.say(f"{told}, validation accuracy {accuracy:.4f}")
            report.metric("validation:accuracy", accuracy, epoch=position.epoch)
        else:
            training.end_epoch()
            report.say(told)
        last = position.epoch == parameters.epochs
        if training.stop.is_set() or (not last and checkpoint.is_due):
            with clock.phase("checkpoint"):
                training.save(checkpoint)
        if training.stop.is_set():
            report.say(f"stopped after epoch {position.epoch} of {parameters.epochs}; a checkpoint is kept")
            return False
    return False


def _has_stalled(position: Position, parameters: BlazingTextHyperparameters) -> bool:
    """Whether early stopping ends training after the epochs done."""
    return (
        parameters.early_stopping
        and position.epoch >= parameters.min_epochs
        and position.epoch - position.best_epoch >= parameters.patience
    )


def _check_vocabulary(vocabulary: Vocabulary, loaded: list[texts.Text], parameters: BlazingTextHyperparameters) -> None:
    """Raise for text that no classifier can be learnt from."""
    for label in vocabulary.labels:
        try:
            label.decode()
        except UnicodeDecodeError as error:
            for text in loaded:
                place = text.buffer.find(label, 0, text.size)
                if place >= 0:
                    line = bytes(memoryview(text.buffer)[:place]).count(b"\n") + 1
                    raise DataError(f"label {label!r} is not UTF-8", file=text.file, line=line) from error
            raise DataError(f"label {label!r} is not UTF-8") from error
    prefix = "__label__"
    if not vocabulary.labels:
        raise ClientError(
            f"{loaded[0].file}, line 1: no label; each line of channel train needs at least one word that begins "
            f"with {prefix}, such as {prefix}positive, and none has"
        )
    if len(vocabulary.labels) == 1:
        only = vocabulary.labels[0].decode()
        raise ClientError(
            f"channel train has one label only, {only}, so there is nothing to learn: two or more are needed"
        )
    if not vocabulary.words:
        raise ClientError(
            f"no word is seen {parameters.min_count} times or more in channel train: lower min_count, or give more text"
        )


def _keep_tree(vocabulary: Vocabulary, earlier: EarlierRows) -> Vocabulary:
    """The vocabulary with an earlier model's labels in its order and with its counts, which make the labels' tree.

    Raises ClientError for a label that it lacks.
    """
    new = [label.decode() for label in vocabulary.labels if label not in earlier.labels]
    if new:
        named = ", ".join(new[:3]) + (", …" if len(new) > 3 else "")
        raise ClientError(
            f"channel train has labels that the model in channel model lacks ({named}), and loss = hs cannot take new "
            "ones, since its tree is made of the labels' counts: train anew, or with another loss"
        )
    return replace(vocabulary, labels=list(earlier.labels), label_counts=earlier.label_counts)


def _tell_lines(channel: str, made: Features, report: Reporter) -> None:
    if made.unlabelled and made.first_unlabelled is not None:
        file, line = made.first_unlabelled
        report.say(
            f"channel {channel}: {made.unlabelled:,} lines without a label were left out, the first in {file.name}, "
            f"line {line}"
        )
    if made.empty:
        report.say(f"channel {channel}: {made.empty:,} lines without a word of the vocabulary were left out")


def _read_validation(
    context: TrainingContext[BlazingTextHyperparameters],
    vocabulary: Vocabulary,
    shape: tuple[int, int, int],
    pool: ThreadPoolExecutor,
) -> Features:
    channel = context.channels["validation"]
    corpus = texts.encode(texts.read(channel), max(1, context.threads), context.stop)
    kinds = vocabulary.kinds(corpus.counts)
    unknown = int(np.count_nonzero(kinds == UNKNOWN_LABEL))
    made = expand(corpus, kinds, shape, pool, context.stop)
    _tell_lines("validation", made, context.report)
    if unknown:
        context.report.say(
            f"channel validation: {unknown} labels are not in channel train, so their lines count as wrong"
        )
    if not made.lines:
        raise ClientError("no line of channel validation has both a label and a word that channel train has")
    return made
