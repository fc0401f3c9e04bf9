"""Word vectors: skip-gram and CBOW, from a channel's text to trained rows.

The models are word2vec's, with fastText's subwords and fastText's view of a text: "</s>", the end of a line, is a word
of the line, windows do not leave a line, and a line may be of any length. Negatives are drawn from counts^0.75, as in
word2vec (fastText itself takes the square root of counts). Rows start at random between -1/dim and 1/dim, n-grams'
and output rows at zero.

Sources: Mikolov et al. 2013 (arXiv 1301.3781, 1310.4546), Bojanowski et al. 2017 (arXiv 1607.04606),
facebookresearch/fastText.
"""

from __future__ import annotations

import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from wildsage.algorithms.blazingtext import corpus as texts
from wildsage.algorithms.blazingtext import phrases, text_files
from wildsage.algorithms.blazingtext.corpus import StoppedEarlyError
from wildsage.algorithms.blazingtext.features import check
from wildsage.algorithms.blazingtext.kernels.random import END_OF_LINE
from wildsage.algorithms.blazingtext.kernels.word_vectors import (
    write_stream,
)
from wildsage.algorithms.blazingtext.ngrams import EOS
from wildsage.algorithms.blazingtext.vocabulary import Vocabulary, check_words
from wildsage.algorithms.blazingtext.word_epochs import (
    LOSS_CODES,
    EarlierVectors,
    Subwords,
    TrainedVectors,
    Training,
    position_rows,
)
from wildsage.algorithms.checkpoint import Checkpoint
from wildsage.algorithms.clock import Clock
from wildsage.contract.errors import ClientError
from wildsage.kernels.vector import padded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wildsage.algorithms.blazingtext.corpus import Corpus
    from wildsage.algorithms.blazingtext.hyperparameters import BlazingTextHyperparameters
    from wildsage.algorithms.context import TrainingContext

WORDS_PER_THREAD = 5000  # fewer, and a thread is not worth its start
NGRAM_BYTES = 2 * 8 + 2 * 4  # of an n-gram, while they are listed: buckets and hashes, then rows and weights
PLACE_BYTES = 88  # of a place on one side of a window, or of a negative, in each thread; see word_epochs.py


def training_kind(device: str) -> type[Training]:
    """The class that trains on a device."""
    if device != "cuda":
        return Training
    from wildsage.algorithms.blazingtext.cuda.training import WordTraining

    return WordTraining


def read_vocabulary(
    corpus: Corpus, parameters: BlazingTextHyperparameters, earlier: EarlierVectors | None
) -> tuple[Vocabulary, NDArray[np.int32]]:
    """The words to learn, and what each of the corpus's is in the stream: a word, END_OF_LINE, or less than that."""
    vocabulary, kinds = Vocabulary.build(corpus.counts, parameters.min_count, labelled=False)
    if earlier is not None:
        vocabulary = vocabulary.with_earlier(earlier.words, {})
        known = {word: number for number, word in enumerate(vocabulary.words)}
        names = corpus.counts.names(np.arange(len(corpus.counts)))
        kinds = np.array([known.get(name, END_OF_LINE - 1) for name in names], np.int32)
        counts = np.zeros(len(vocabulary.words), np.int64)
        counts[kinds[kinds >= 0]] = corpus.counts.counts[kinds >= 0]
        vocabulary = Vocabulary(vocabulary.words, counts, [], vocabulary.label_counts[:0])
    kinds = np.where(kinds >= 0, kinds, END_OF_LINE - 1).astype(np.int32)
    if EOS not in vocabulary.words:
        kinds[[name == EOS for name in corpus.counts.names(np.arange(len(corpus.counts)))]] = END_OF_LINE
    return vocabulary, kinds


def make_stream(corpus: Corpus, kinds: NDArray[np.int32], words: int) -> NDArray[np.int32]:
    """The text as one array; the corpus's parts go as they are written. words: how many of its words will be in it."""
    lines = sum(part.starts.size for part in corpus.parts)
    stream, at = np.empty(words + lines, np.int32), 0
    while corpus.parts:
        part = corpus.parts.pop(0)
        at = write_stream(part.tokens, kinds[part.numbers], stream, at)
    return stream[:at]


def train(
    context: TrainingContext[BlazingTextHyperparameters], earlier: EarlierVectors | None = None
) -> TrainedVectors:
    """Read the channel, train, and return the rows.

    One thread and one seed make the same bytes each time, as do several with `deterministic`; otherwise threads write
    to shared rows without locks, and results differ a little. What is exact when run is so when resumed.
    Raises ClientError for text that cannot be learnt from.
    """
    with ThreadPoolExecutor(max(1, context.threads)) as pool:
        try:
            return _train(context, earlier, pool)
        except StoppedEarlyError:
            raise ClientError("stopped before the first word was learnt, so there is no model to keep") from None


def _train(
    context: TrainingContext[BlazingTextHyperparameters], earlier: EarlierVectors | None, pool: ThreadPoolExecutor
) -> TrainedVectors:
    parameters, report, stop = context.hyperparameters, context.report, context.stop
    clock = Clock()
    with clock.phase("read"):
        loaded = text_files.read(context.channels["train"], labelled=False)
        corpus = texts.encode(
            loaded, max(1, context.threads), stop, labelled=False, memory_bytes=context.memory_bytes
        )  # fmt: skip
        words_read = corpus.tokens
        if parameters.phrases:
            corpus = phrases.join(corpus, parameters, report, stop)
        vocabulary, kinds = read_vocabulary(corpus, parameters, earlier)
        check_words(vocabulary, parameters.min_count)
        words = int(vocabulary.word_counts.sum())
        lines = sum(part.starts.size - 1 for part in corpus.parts)
        stream = make_stream(corpus, kinds, words)
        del corpus
    report.say(
        f"read {lines:,} lines, {words_read:,} words, in {clock.seconds['read']:.1f} s; "
        f"vocabulary: {len(vocabulary.words):,} words, seen {words:,} times"
    )
    check(stop)
    with clock.phase("rows"):
        threads = max(1, min(context.threads, stream.size // WORDS_PER_THREAD))
        subwords = Subwords.none()
        if parameters.makes_subwords:
            shape = (parameters.min_char, parameters.max_char, parameters.buckets)
            _check_ngrams(context, vocabulary)
            subwords = Subwords.of(vocabulary.words, *shape, merge=earlier is None)
            report.say(
                f"character n-grams: {int(subwords.sizes.sum()) - len(vocabulary.words):,}, in {subwords.ids.size:,} "
                f"buckets; rows of words that have the same ones are shared: {subwords.rows:,}"
            )
        _check_memory(context, stream.size, len(vocabulary.words), subwords.ids.size, threads)
        training = training_kind(context.device)(parameters, vocabulary, stream, subwords, threads, pool, stop, report)
        training.initialise()
        marks = [zlib.adler32(stream.data), zlib.adler32(vocabulary.word_counts.data), subwords.ids.size]
        if earlier is not None:
            training.take_earlier(earlier, LOSS_CODES[parameters.chosen_loss])
            marks.append(zlib.adler32(training.table.data))
        check(stop)

    fingerprint = json.dumps([parameters.model_dump(mode="json"), marks])
    checkpoint = Checkpoint(context.checkpoints / "word_vectors.npz", fingerprint, report)
    training.resume(checkpoint)
    _run(training, checkpoint, clock)
    training.parts.clear()  # so that the text's memory goes before the rows are copied
    del stream
    with clock.phase("model"):
        rows = training.rows_out(earlier)
    position = training.position
    report.summary(
        epochs_run=position.epoch,
        epochs_asked=parameters.epochs,
        words=words_read,
        vocabulary_size=len(vocabulary.words),
        subword_buckets=subwords.ids.size,
        losses=[round(loss, 6) for loss in position.losses],
        seconds=clock.rounded(),
        words_per_second=round(training.words_done_here / max(1e-9, clock.seconds.get("train", 0.0))),
        threads=threads,
        device=context.device,
        in_flight=len(training.random) if context.device == "cuda" else None,
    )
    return rows


def _run(training: Training, checkpoint: Checkpoint, clock: Clock) -> None:
    """Run the epochs that are left, or until the stop flag."""
    epochs, report = training.parameters.epochs, training.report
    while training.position.epoch < epochs:
        with clock.phase("train"):
            training.run_epoch()
        epoch = training.position.epoch + 1
        if not training.epoch_is_done:
            training.save(checkpoint)
            report.say(f"stopped in epoch {epoch} of {epochs}; a checkpoint is kept")
            return
        if not training.position.sums[1]:
            report.say(
                f"epoch {epoch} trained hardly any word: sampling_threshold = "
                f"{training.parameters.sampling_threshold:g} leaves out the words of so small a text, "
                "or its lines have one word; raise it, or give more text"
            )
        report.say(f"epoch {epoch} of {epochs}: loss {training.end_epoch():.4f}")
        if training.stop.is_set() or (epoch < epochs and checkpoint.is_due):
            with clock.phase("checkpoint"):
                training.save(checkpoint)
        if training.stop.is_set():
            report.say(f"stopped after epoch {epoch} of {epochs}; a checkpoint is kept")
            return


def table_bytes(parameters: BlazingTextHyperparameters, words: int, buckets: int, threads: int) -> int:
    """Memory of the rows while training, and of their copies for the model."""
    copies = 1 + (threads if parameters.deterministic and threads > 1 else 0)
    rows = 2 * words + buckets + position_rows(parameters)
    return 4 * rows * (padded(parameters.vector_dim) * copies + parameters.vector_dim)


def advice(parameters: BlazingTextHyperparameters) -> str:
    """What to change to need less memory."""
    subwords = f", buckets (now {parameters.buckets:,})" if parameters.makes_subwords else ""
    return (
        f"lower vector_dim (now {parameters.vector_dim}){subwords}, raise min_count (now {parameters.min_count}), "
        "or give less text"
    )


def _check_ngrams(context: TrainingContext[BlazingTextHyperparameters], vocabulary: Vocabulary) -> None:
    """Refuse words whose n-grams cannot fit: one of 10,000 characters may have ten million."""
    parameters = context.hyperparameters
    sizes = np.array([2 + len(word.decode()) for word in vocabulary.words], np.int64)
    longest = np.minimum(parameters.max_char, sizes)
    kinds = np.maximum(0, longest - parameters.min_char + 1)
    count = int(np.sum(kinds * (2 * (sizes + 1) - parameters.min_char - longest) // 2))
    need = NGRAM_BYTES * count + 4 * parameters.buckets
    if context.memory_bytes is not None and need > context.memory_bytes:
        raise ClientError(
            f"{sizes.size:,} words, the longest of {sizes.max() - 2:,} characters, have {count:,} character n-grams, "
            f"which need {need / 1e9:.1f} GB of memory, and {context.memory_bytes / 1e9:.1f} GB is available: lower "
            f"max_char (now {parameters.max_char}) or buckets (now {parameters.buckets:,}), raise min_count (now "
            f"{parameters.min_count}), or give text of shorter words"
        )


def _check_memory(
    context: TrainingContext[BlazingTextHyperparameters], tokens: int, words: int, buckets: int, threads: int
) -> None:  # fmt: skip
    """Refuse what cannot fit, now that the text is known, before it is allocated."""
    parameters = context.hyperparameters
    need = 4 * tokens + table_bytes(parameters, words, buckets, threads)
    places = threads * PLACE_BYTES * (parameters.window_size + parameters.negative_samples)
    if context.memory_bytes is not None and places > need and need + places > context.memory_bytes:
        raise ClientError(
            f"window_size = {parameters.window_size:,} and negative_samples = {parameters.negative_samples:,} need "
            f"{places / 1e9:.1f} GB of memory, and {context.memory_bytes / 1e9:.1f} GB is available: lower them"
        )
    if context.memory_bytes is not None and need > context.memory_bytes:
        raise ClientError(
            f"{tokens:,} words of text, and the vectors of {words:,} words and {buckets:,} n-grams' buckets, need "
            f"{need / 1e9:.1f} GB of memory and {context.memory_bytes / 1e9:.1f} GB is available: "
            f"{advice(context.hyperparameters)}"
        )
