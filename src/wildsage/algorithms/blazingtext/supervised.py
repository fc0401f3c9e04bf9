"""Text classification: features numbered once, then epochs over them, validated after each.

The model is fastText's in supervised mode: a line's label from the mean of the rows of its words and hashed word
n-grams. Equal in result, not in order of work: text is read once, only the n-gram buckets that the text
touches have a row in memory, and an epoch sees compact rows (kernels/features.py says what that saves).
"""

from __future__ import annotations

import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from wildsage.algorithms.blazingtext import corpus as texts
from wildsage.algorithms.blazingtext import evaluation, folds, pretrained, text_files
from wildsage.algorithms.blazingtext.corpus import StoppedEarlyError
from wildsage.algorithms.blazingtext.epochs import Position, Training
from wildsage.algorithms.blazingtext.evaluation import Evaluation
from wildsage.algorithms.blazingtext.fasttext_file import TableRows, dense
from wildsage.algorithms.blazingtext.features import check, choose, compact, expand, look_up, number
from wildsage.algorithms.blazingtext.kernels.features import LABEL, UNKNOWN_LABEL, UNSEEN
from wildsage.algorithms.blazingtext.memory import check_features, check_rows
from wildsage.algorithms.blazingtext.vocabulary import Vocabulary
from wildsage.algorithms.checkpoint import Checkpoint
from wildsage.algorithms.clock import Clock
from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.files import write_json
from wildsage.kernels.vector import HALVES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wildsage.algorithms.blazingtext.corpus import Corpus
    from wildsage.algorithms.blazingtext.fasttext_file import FastTextFile
    from wildsage.algorithms.blazingtext.features import Features
    from wildsage.algorithms.blazingtext.hyperparameters import BlazingTextHyperparameters
    from wildsage.algorithms.blazingtext.kernels.supervised import Lines
    from wildsage.algorithms.blazingtext.pretrained import PretrainedVectors
    from wildsage.algorithms.context import Reporter, TrainingContext

LINES_PER_THREAD = 256  # fewer, and a thread is not worth its start
HELD_OUT = ("validation", "test")  # channels of lines that are not trained on


@dataclass
class TrainedRows:
    """What training leaves: rows in fastText's numbering."""

    vocabulary: Vocabulary
    word_rows: NDArray[np.float32]  # (V, dim)
    bucket_ids: NDArray[np.int64]  # ascending, those with a row
    bucket_rows: NDArray[np.float32] | TableRows  # (len(bucket_ids), dim)
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
class Material:
    """The channels, read and turned into features."""

    vocabulary: Vocabulary
    shape: tuple[int, int, int]  # longest n-gram, buckets, words
    train: Features
    held_out: dict[str, Features]
    lines_read: int
    words_read: int
    marks: list[int]  # hashes of all of it

    def start(
        self, context: TrainingContext[BlazingTextHyperparameters], pool: ThreadPoolExecutor, report: Reporter,
        kept: NDArray[np.int64] | None = None,
    ) -> tuple[Training, dict[str, list[Lines]]]:  # fmt: skip
        """A training over the lines, not begun, and the lines held out by its numbers. The features are used up.

        kept: features that are to share their row with none.
        """
        parameters = context.hyperparameters
        threads = max(1, min(max(1, context.threads), self.train.lines // LINES_PER_THREAD))
        numbering = number(self.train, self.shape, threads, pool, context.stop, kept)
        check_rows(parameters, numbering.rows, context.memory_bytes)
        # With one part, and so one thread, nothing depends on which thread is faster. A GPU cuts lines to parts itself.
        one_part = parameters.deterministic or context.device == "cuda"
        parts = compact(self.train, numbering, 1 if one_part else threads, pool)
        check(context.stop)
        held_out = {name: look_up(made, numbering, threads, pool) for name, made in self.held_out.items()}
        training = training_kind(context.device)(
            parameters, numbering, parts, held_out.get("validation", []), self.shape[2], self.vocabulary.label_counts,
            pool, threads, context.stop, report,
        )  # fmt: skip
        training.initialise()
        return training, held_out


def training_kind(device: str) -> type[Training]:
    """The class that trains on a device."""
    if device != "cuda":
        return Training
    from wildsage.algorithms.blazingtext.cuda.training import LineTraining

    return LineTraining


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
    parameters, report, stop, clock = context.hyperparameters, context.report, context.stop, Clock()
    _check_channels(context, earlier)
    with clock.phase("read"):
        material = _read(context, earlier, pool)
        vocabulary, words = material.vocabulary, len(material.vocabulary.words)
    report.say(
        f"read {material.lines_read:,} lines, {material.words_read:,} words, in {clock.seconds['read']:.1f} s; "
        f"vocabulary: {words:,} words, {len(vocabulary.labels):,} labels"
    )
    vectors = None
    if pretrained.CHANNEL in context.channels:
        with clock.phase("pretrained vectors"):
            vectors = _read_pretrained(context, vocabulary)
    facts = [parameters.model_dump(mode="json"), material.marks, vocabulary.label_counts.tolist()]
    if parameters.k_fold:
        with clock.phase("folds"):
            fingerprint = json.dumps([*facts, _start_marks(earlier, vectors)])
            _cross_validate(context, material, earlier, vectors, fingerprint, pool)
    with clock.phase("features"):
        training, held_out = material.start(context, pool, report, _kept(material, earlier, vectors))
        _take_start(training, vocabulary, earlier, vectors)
        if earlier is not None or vectors is not None:
            facts.append([zlib.adler32(training.table.data), zlib.adler32(training.output.data)])
        check(stop)
    checkpoint = Checkpoint(
        context.checkpoints / "supervised.npz", json.dumps(facts), report, training.checkpoint_bytes()
    )  # fmt: skip
    training.resume(checkpoint)
    position = training.position
    epochs_before = position.epoch
    stopped_early = _run(training, checkpoint, clock)
    if _keep_best(training):
        report.say(
            f"keeping epoch {position.best_epoch}, the best "
            f"(validation accuracy {position.accuracies[position.best_epoch - 1]:.4f})"
        )
    if not stop.is_set():
        with clock.phase("train accuracy"):
            report.metric("train:accuracy", training.train_accuracy())
        with clock.phase("evaluate"):
            _evaluate(context, training, vocabulary, held_out)
    training.parts.clear()  # their memory goes before the model takes its own
    held_out.clear()
    with clock.phase("model"):
        rows = _rows_out(training, vocabulary, earlier)
    an_epoch = (clock.seconds.get("train", 0.0) + clock.seconds.get("validate", 0.0)) / max(
        1, position.epoch - epochs_before
    )
    saved = (parameters.epochs - position.epoch) * an_epoch if stopped_early else 0.0
    report.summary(
        epochs_run=position.epoch,
        epochs_asked=parameters.epochs,
        best_epoch=position.best_epoch or None,
        stopped_early=stopped_early,
        train_examples=material.train.lines,
        words=material.words_read,
        labels=len(vocabulary.labels),
        vocabulary_size=words,
        seconds=clock.rounded(),
        seconds_saved=round(saved, 6),
        best_validation_accuracy=max(position.accuracies, default=None),
        words_per_second=round(training.tokens_done_here / max(1e-9, clock.seconds.get("train", 0.0))),
        threads=1 if parameters.deterministic else training.threads,
        device=context.device,
        in_flight=len(training.random) if context.device == "cuda" else None,
        storage="float16" if training.dtype == np.int16 else "float32",
    )
    return rows


def _check_channels(context: TrainingContext[BlazingTextHyperparameters], earlier: EarlierRows | None) -> None:
    """Raise for channels that do not go together, and for vectors of another width, before anything is read."""
    parameters = context.hyperparameters
    if parameters.early_stopping and "validation" not in context.channels:
        raise ClientError("early_stopping = true needs a channel named validation, beside train")
    if pretrained.CHANNEL in context.channels:
        if earlier is not None:
            raise ClientError(f"channels model and {pretrained.CHANNEL} both say where words start: give one of them")
        pretrained.check(context.channels[pretrained.CHANNEL], parameters.vector_dim)
    if parameters.storage == "float16" and not HALVES:
        context.report.say(
            "storage = float16 needs a processor, and a Numba, with vectors of halves: it is float32 here"
        )


def _read(
    context: TrainingContext[BlazingTextHyperparameters], earlier: EarlierRows | None, pool: ThreadPoolExecutor
) -> Material:
    parameters, stop, threads = context.hyperparameters, context.stop, max(1, context.threads)
    loaded = text_files.read(context.channels["train"])
    corpus = texts.encode(loaded, threads, stop, memory_bytes=context.memory_bytes)
    check_features(parameters, corpus.tokens, context.memory_bytes)
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
    words_read, lines_read = corpus.tokens, sum(part.starts.size - 1 for part in corpus.parts)
    made = expand(corpus, kinds, shape, pool, stop)
    del corpus, kinds
    _tell_lines("train", made, context.report)
    if not made.lines:
        raise ClientError(
            f"no line of channel train has both a label and a word seen {parameters.min_count} times or more "
            "(min_count)"
        )
    held_out = {
        name: _read_held_out(context, name, vocabulary, shape, pool) for name in HELD_OUT if name in context.channels
    }
    marks = [zlib.adler32(made.starts.data)]
    for each in (made, *(held_out[name] for name in ("validation",) if name in held_out)):
        marks += [zlib.adler32(each.features.data), zlib.adler32(each.labels.data)]
    return Material(vocabulary, shape, made, held_out, lines_read, words_read, marks)


def _read_pretrained(
    context: TrainingContext[BlazingTextHyperparameters], vocabulary: Vocabulary
) -> PretrainedVectors:  # fmt: skip
    vectors = pretrained.read(
        context.channels[pretrained.CHANNEL], vocabulary.words, context.hyperparameters.vector_dim
    )  # fmt: skip
    found, words = vectors.numbers.size, len(vocabulary.words)
    share = vocabulary.word_counts[vectors.numbers].sum() / max(1, vocabulary.word_counts.sum())
    context.report.say(
        f"pretrained vectors: {found:,} of {words:,} words start from one ({share:.1%} of the text), the others at "
        "random"
    )
    return vectors


def _kept(
    material: Material, earlier: EarlierRows | None, vectors: PretrainedVectors | None
) -> NDArray[np.int64] | None:  # fmt: skip
    """The features that start from given rows, which they can share with none."""
    if vectors is not None:
        return vectors.numbers
    if earlier is None:
        return None
    words, _ = _pairs(material.vocabulary.words, earlier.words)
    buckets = earlier.bucket_ids if material.shape[0] > 1 else earlier.bucket_ids[:0]
    return np.concatenate([words, material.shape[2] + buckets])


def _start_marks(earlier: EarlierRows | None, vectors: PretrainedVectors | None) -> list[int]:
    """Hashes of the rows that training starts from, if any are given."""
    given: list[NDArray[np.float32] | NDArray[np.int64]] = []
    if vectors is not None:
        given = [vectors.numbers, vectors.rows]
    if earlier is not None:
        given = [earlier.word_rows, earlier.bucket_ids, earlier.bucket_rows, earlier.output]
    names = [*earlier.words, *earlier.labels] if earlier is not None else []
    return [zlib.adler32(b"\n".join(names)), *(zlib.adler32(np.ascontiguousarray(rows).data) for rows in given)]


def _take_start(
    training: Training, vocabulary: Vocabulary, earlier: EarlierRows | None, vectors: PretrainedVectors | None
) -> None:
    """Set what starts from given rows."""
    if vectors is not None:
        training.place(vectors.numbers, vectors.rows)
    if earlier is not None:
        ours, theirs = _pairs(vocabulary.words, earlier.words)
        training.place(ours, earlier.word_rows[theirs])
        touched = training.numbering.touched(training.words)
        _, ours, theirs = np.intersect1d(touched, earlier.bucket_ids, assume_unique=True, return_indices=True)
        training.place(training.words + touched[ours], earlier.bucket_rows[theirs])
        ours, theirs = _pairs(vocabulary.labels, earlier.labels)
        training.output.reshape(-1, training.width)[ours, : earlier.output.shape[1]] = earlier.output[theirs]


def _cross_validate(
    context: TrainingContext[BlazingTextHyperparameters],
    material: Material,
    earlier: EarlierRows | None,
    vectors: PretrainedVectors | None,
    fingerprint: str,
    pool: ThreadPoolExecutor,
) -> None:
    """Train k times without a k-th of the lines, each time as the model will be, and report the accuracy on these."""
    parameters, report, made = context.hyperparameters, context.report, material.train
    fold_of = folds.assign(made, parameters.k_fold, parameters.seed)

    def run(k: int, quiet: Reporter) -> float:
        held_out = {name: replace(each, features=each.features.copy()) for name, each in material.held_out.items()}
        held_out.pop("test", None)
        part = replace(material, train=choose(made, np.flatnonzero(fold_of != k)), held_out=held_out)
        training, _ = part.start(context, pool, quiet, _kept(material, earlier, vectors))
        _take_start(training, material.vocabulary, earlier, vectors)
        _run(training, None, Clock())
        check(context.stop)
        _keep_best(training)
        left = choose(made, np.flatnonzero(fold_of == k), training.numbering, training.words)
        return training.accuracy(look_up(left, training.numbering, training.threads, pool))

    result = folds.cross_validate(
        parameters.k_fold, run, report, context.checkpoints / "supervised-folds.json", fingerprint
    )  # fmt: skip
    report.say(
        f"{parameters.k_fold} folds: accuracy {result.mean:.4f}, spread {result.spread:.4f}; the model that is kept is "
        "trained on all lines"
    )
    report.metric("k_fold:accuracy", result.mean)
    report.metric("k_fold:accuracy_spread", result.spread)
    report.summary(k_fold=result.to_json())
    context.output_data.mkdir(parents=True, exist_ok=True)
    write_json(context.output_data / folds.FILE, result.to_json())


def _evaluate(
    context: TrainingContext[BlazingTextHyperparameters],
    training: Training,
    vocabulary: Vocabulary,
    held_out: dict[str, list[Lines]],
) -> None:
    """Tell, and write down, how the model answers the channels that it was not trained on."""
    labels, found = [label.decode() for label in vocabulary.labels], {}
    for channel, parts in held_out.items():
        answers = np.concatenate(training.answers(parts))
        given = np.concatenate([part.labels for part in parts])
        counts = np.concatenate([np.diff(part.label_starts) for part in parts])
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        found[channel] = Evaluation.of(labels, answers, given, starts)
        context.report.say(found[channel].line(channel))
        context.report.picture(found[channel].picture(channel))
        if channel == "test":
            context.report.metric("test:accuracy", found[channel].accuracy)
    if found:
        evaluation.write(context.output_data, found)


def _rows_out(training: Training, vocabulary: Vocabulary, earlier: EarlierRows | None) -> TrainedRows:
    """The rows in fastText's numbering; words that no labelled line has are the earlier model's, or zero."""
    word_rows, buckets, bucket_rows, output = training.rows_out()
    if earlier is None:
        return TrainedRows(vocabulary, word_rows, buckets, bucket_rows, output)
    ours, theirs = _pairs(vocabulary.words, earlier.words)
    idle = training.numbering.states[2 * ours] == UNSEEN
    word_rows[ours[idle]] = earlier.word_rows[theirs[idle]]
    every = np.union1d(buckets, earlier.bucket_ids)
    rows = np.empty((every.size, word_rows.shape[1]), np.float32)
    rows[np.searchsorted(every, earlier.bucket_ids)] = earlier.bucket_rows
    rows[np.searchsorted(every, buckets)] = bucket_rows.decode()
    return TrainedRows(vocabulary, word_rows, every, rows, output)


def _keep_best(training: Training) -> bool:
    """With early stopping, go back to the best epoch, if anything was learnt after it; returns whether."""
    position = training.position
    later = position.best_epoch != position.epoch or any(position.lines)
    if training.parameters.early_stopping and position.best_epoch > 0 and later:
        training.take_best()
        return True
    return False


def _run(training: Training, checkpoint: Checkpoint | None, clock: Clock) -> bool:
    """Run the epochs that are left, or until the stop flag. Returns whether early stopping ended them.

    Raises StoppedEarlyError if the flag is set and there is no checkpoint to write.
    """
    parameters, position, report = training.parameters, training.position, training.report
    while position.epoch < parameters.epochs:
        if _has_stalled(position, parameters):  # so a job that was resumed ends as the first would have
            return True
        with clock.phase("train"):
            training.run_epoch()
        if not training.epoch_is_done:
            _save(training, checkpoint)
            report.say(f"stopped in epoch {position.epoch + 1} of {parameters.epochs}; a checkpoint is kept")
            return False
        loss = position.sums[0] / max(1.0, position.sums[1])
        told = f"epoch {position.epoch + 1} of {parameters.epochs}: loss {loss:.4f}"
        if training.validation:
            try:
                with clock.phase("validate"):
                    accuracy = training.accuracy(training.validation)
            except StoppedEarlyError:  # the epoch is validated when the job is resumed
                _save(training, checkpoint)
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
        if training.stop.is_set() or (not last and checkpoint is not None and checkpoint.is_due):
            with clock.phase("checkpoint"):
                _save(training, checkpoint)
        if training.stop.is_set():
            report.say(f"stopped after epoch {position.epoch} of {parameters.epochs}; a checkpoint is kept")
            return False
    return False


def _save(training: Training, checkpoint: Checkpoint | None) -> None:
    if checkpoint is None:
        raise StoppedEarlyError
    training.save(checkpoint)


def _has_stalled(position: Position, parameters: BlazingTextHyperparameters) -> bool:
    """Whether early stopping ends training after the epochs done."""
    return (
        parameters.early_stopping
        and position.epoch >= parameters.min_epochs
        and position.epoch - position.best_epoch >= parameters.patience
    )


def _check_vocabulary(
    vocabulary: Vocabulary, loaded: list[text_files.Text], parameters: BlazingTextHyperparameters
) -> None:
    """Raise for text that no classifier can be learnt from."""
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


def _read_held_out(
    context: TrainingContext[BlazingTextHyperparameters],
    name: str,
    vocabulary: Vocabulary,
    shape: tuple[int, int, int],
    pool: ThreadPoolExecutor,
) -> Features:
    loaded = text_files.read(context.channels[name])
    corpus = texts.encode(loaded, max(1, context.threads), context.stop, memory_bytes=context.memory_bytes)
    kinds = vocabulary.kinds(corpus.counts)
    _check_labels(name, corpus, kinds, vocabulary, context.report)
    made = expand(corpus, kinds, shape, pool, context.stop)
    _tell_lines(name, made, context.report)
    if not made.lines:
        file, line = made.first_unlabelled or (loaded[0].file, 1)
        raise DataError(
            f"no line of channel {name} has both a label and a word that channel train has", file=file, line=line
        )
    return made


def _check_labels(
    channel: str, corpus: Corpus, kinds: NDArray[np.int32], vocabulary: Vocabulary, report: Reporter
) -> None:  # fmt: skip
    """Tell which labels the channel, or channel train, lacks. Raises DataError if they have none in common."""
    unknown = np.flatnonzero(kinds == UNKNOWN_LABEL)
    seen = set((LABEL - kinds[(kinds <= LABEL) & (kinds != UNKNOWN_LABEL)]).tolist())
    if unknown.size:
        file, line = texts.place_of(corpus, int(unknown[0]))
        name = corpus.counts.names(unknown[:1])[0].decode()
        if not seen:
            raise DataError(
                f"label {name} is on no line of channel train, and neither is any other label of channel {channel}",
                file=file,
                line=line,
            )
        report.say(
            f"channel {channel}: {unknown.size} labels are not in channel train, so their lines count as wrong; the "
            f"first is {name}, in {file.name}, line {line}"
        )
    lacking = [label for number, label in enumerate(vocabulary.labels) if number not in seen]
    if seen and lacking:
        named = ", ".join(label.decode() for label in lacking[:3]) + (", …" if len(lacking) > 3 else "")
        report.say(
            f"channel {channel}: {len(lacking)} of {len(vocabulary.labels)} labels of channel train are on no line of "
            f"it ({named}), so its accuracy says nothing of them"
        )
