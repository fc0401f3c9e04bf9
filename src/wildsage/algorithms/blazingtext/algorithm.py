"""BlazingText as a training job sees it."""

from __future__ import annotations

import gzip
import math
import os
import shutil
import tarfile
import tempfile
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wildsage.algorithms.base import Algorithm, MemoryEstimate
from wildsage.algorithms.blazingtext.fasttext_file import CBOW, SKIP_GRAM, FastTextSettings
from wildsage.algorithms.blazingtext.hyperparameters import BlazingTextHyperparameters
from wildsage.algorithms.blazingtext.memory import memory_advice, table_bytes
from wildsage.algorithms.blazingtext.model import TextClassifier
from wildsage.algorithms.blazingtext.word_model import WordVectors
from wildsage.contract.channels import InputMode
from wildsage.contract.errors import ClientError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wildsage.algorithms.context import TrainingContext
    from wildsage.contract.channels import Channel

SAMPLE = 1 << 18  # bytes of each file that an estimate looks at
COUNTED_ORDER = 4  # the longest n-grams that an estimate counts
GZIP_RATIO = 4  # text gains about three times
WARM_LINES = 300
BASE_BYTES = 200 << 20  # Python, NumPy, Numba with LLVM, and the kernels


class BlazingText(Algorithm[BlazingTextHyperparameters]):
    """Text classification (mode=supervised) and word vectors (the other modes)."""

    name = "blazingtext"
    hyperparameters = BlazingTextHyperparameters
    model = TextClassifier
    other_models = (WordVectors,)
    optional_channels = ("validation", "test", "model", "pretrained_vectors", "evaluation")

    def estimate_memory(self, context: TrainingContext[BlazingTextHyperparameters]) -> MemoryEstimate:
        """The peak, with the number of distinct words and n-grams extrapolated from the head of the text.

        Once the text is read they are known: training refuses then what this let pass.
        """
        from wildsage.algorithms.blazingtext import pretrained

        parameters = context.hyperparameters
        if parameters.mode != "supervised":
            return _words_estimate(context)
        text = Extent()
        for name in ("train", "validation", "test"):
            if name in context.channels:
                text = text + measure(context.channels[name], parameters.word_ngrams)
        words = min(text.words, text.tokens // max(1, parameters.min_count))
        buckets = parameters.buckets if parameters.word_ngrams > 1 else 0
        rows = words + min(buckets, text.ngrams)
        features = text.tokens * parameters.word_ngrams
        numbers = text.bytes + 4 * text.tokens  # the text, mapped, and its token ids
        folds = 4 * features if parameters.k_fold else 0  # a copy of those that a fold has
        vectors = 4 * words * parameters.vector_dim
        training = 8 * features + folds + 8 * (words + buckets) + vectors
        training += table_bytes(parameters, rows)
        peak = BASE_BYTES + max(numbers + 8 * features, training)
        if pretrained.CHANNEL in context.channels:
            channel = context.channels[pretrained.CHANNEL]
            peak = max(peak, BASE_BYTES + 4 * features + vectors + pretrained.memory(channel))
            peak += vectors  # as they were read, while the table is made
        return MemoryEstimate(peak, memory_advice(parameters))

    def train(self, context: TrainingContext[BlazingTextHyperparameters]) -> TextClassifier | WordVectors:
        """Train a text classifier or word vectors, from the checkpoint if there is one.

        Channel `model` may hold a model to go on from: model.bin or vectors.bin, also of fastText's, or model.tar.gz.
        """
        from wildsage.algorithms.blazingtext.cuda import device

        for note in (*context.hyperparameters.notes(), *_idle_channels(context)):
            context.report.say(note)
        context = device.settle(context)
        if context.hyperparameters.mode == "supervised":
            return self._train_classifier(context)
        return self._train_words(context)

    def _train_classifier(self, context: TrainingContext[BlazingTextHyperparameters]) -> TextClassifier:
        from wildsage.algorithms.blazingtext import losses, supervised

        parameters = context.hyperparameters
        earlier = None
        if "model" in context.channels:
            with ExitStack() as stack:
                earlier = supervised.EarlierRows(_earlier_model(context, stack).file)
                context.report.say(f"going on from a model of {len(earlier.words):,} words")
                rows = supervised.train(context, earlier)
        else:
            rows = supervised.train(context)
        settings = FastTextSettings(
            dim=parameters.vector_dim,
            epoch=parameters.epochs,
            min_count=parameters.min_count,
            neg=parameters.negative_samples,
            word_ngrams=parameters.word_ngrams,
            loss=losses.CODES[parameters.chosen_loss],
            bucket=parameters.buckets,
        )
        return TextClassifier.from_training(
            words=rows.vocabulary.words,
            word_counts=rows.vocabulary.word_counts,
            labels=rows.vocabulary.labels,
            label_counts=rows.vocabulary.label_counts,
            settings=settings,
            word_rows=rows.word_rows,
            bucket_ids=rows.bucket_ids,
            bucket_rows=rows.bucket_rows,
            output=rows.output,
        )

    def _train_words(self, context: TrainingContext[BlazingTextHyperparameters]) -> WordVectors:
        from wildsage.algorithms.blazingtext import similarity, word_epochs, word_vectors

        parameters = context.hyperparameters
        if parameters.evaluation and similarity.CHANNEL in context.channels:
            for path in context.channels[similarity.CHANNEL].files():  # what is wrong with them is told beforehand
                similarity.read_pairs(path)
        with ExitStack() as stack:
            earlier = None
            if "model" in context.channels:
                earlier = word_epochs.EarlierVectors(_earlier_words(context, stack).file)
                context.report.say(f"going on from a model of {len(earlier.words):,} words")
            rows = word_vectors.train(context, earlier)
        subwords = parameters.makes_subwords
        settings = FastTextSettings(
            dim=parameters.vector_dim,
            ws=parameters.window_size,
            epoch=parameters.epochs,
            min_count=parameters.min_count,
            neg=parameters.negative_samples,
            loss=word_epochs.LOSS_CODES[parameters.chosen_loss],
            model=CBOW if parameters.mode == "cbow" else SKIP_GRAM,
            bucket=parameters.buckets if subwords else 0,
            minn=parameters.min_char if subwords else 0,
            maxn=parameters.max_char if subwords else 0,
            t=parameters.sampling_threshold,
        )
        model = WordVectors.from_training(
            words=rows.vocabulary.words,
            word_counts=rows.vocabulary.word_counts,
            settings=settings,
            word_rows=rows.word_rows,
            bucket_ids=rows.bucket_ids,
            bucket_rows=rows.bucket_rows,
            output=rows.output,
        )
        if parameters.evaluation:
            evaluate(context, model)
        return model

    @classmethod
    def warm_up(cls) -> None:
        """Compile every kernel that training and answering need, by going through a small job and its model."""
        import numpy as np

        from wildsage.algorithms.blazingtext.kernels.rows import place_rows
        from wildsage.algorithms.blazingtext.kernels.text import copy_table
        from wildsage.algorithms.blazingtext.kernels.word_vectors import merge_copies
        from wildsage.algorithms.blazingtext.warm import use_models
        from wildsage.algorithms.context import Silence, TrainingContext
        from wildsage.contract.channels import Channel
        from wildsage.kernels.vector import HALVES

        with tempfile.TemporaryDirectory() as folder:
            base = Path(folder)
            channel = Channel("train", base / "train")
            channel.path.mkdir()
            # Quotes, a long word and several labels take the paths that plain text does not; two threads train at once.
            lines = '__label__a "first words"\n__label__b __label__c a word-of-some-length twice twice\n'
            (channel.path / "text").write_text(lines * WARM_LINES)
            values = {"mode": "supervised", "min_count": 1, "buckets": 100, "vector_dim": 4, "epochs": 1}
            channels = {"train": channel, "validation": channel}
            models = []
            for more in ({"storage": "float32", "k_fold": 2}, {"storage": "float16"}):
                parameters = BlazingTextHyperparameters.model_validate(values | more)
                context = TrainingContext(parameters, channels, base, base / str(more["storage"]), Silence(), threads=2)
                models.append(cls()._train_classifier(context))
            joined = {"mode": "cbow", "position_weights": True, "phrases": 1, "phrase_threshold": 1}
            for more in ({"mode": "skipgram", "subwords": True}, {"mode": "cbow", "loss": "hs"}, joined):
                parameters = BlazingTextHyperparameters.model_validate(values | more)
                cls()._train_words(TrainingContext(parameters, channels, base, base, Silence()))
            (base / "model").mkdir()
            use_models(base / "model", models[-1])
        # What so small a job does not come to: a prepared model's rows, a table of words that grows, threads in rounds.
        rows = np.zeros(16, np.float32)
        merge_copies(rows, rows, 1, np.zeros((1, 1), np.uint8), 16, 0, 1)
        for dtype in (np.float32, np.int16) if HALVES else (np.float32,):
            table, given = np.zeros(16, dtype), np.zeros(16, np.float32)
            place_rows(table, 16, np.zeros(1, np.int32), 4, 0, 1, given.copy(), given)
        copy_table(np.zeros(8, np.uint64), np.zeros(16, np.uint64))


def evaluate(context: TrainingContext[Any], model: WordVectors) -> None:
    """Score the vectors on the sets of word pairs in channel `evaluation`."""
    from wildsage.algorithms.blazingtext import similarity

    if similarity.CHANNEL not in context.channels:
        context.report.say(
            "not evaluated: WordSimilarity-353 may not be passed on with this program; give its files, lines of "
            f"two words and a score, in a channel named {similarity.CHANNEL}"
        )
        return
    scores, mean = similarity.evaluate(model, context.channels[similarity.CHANNEL].files())
    for name, each in scores.items():
        context.report.say(f"{name}: rho {each.rho:.4f}, {each.pairs} pairs, {each.unknown} of them with unknown words")
    if math.isfinite(mean):
        context.report.metric("train:mean_rho", mean)
    model.evaluation = similarity.to_json(scores, mean)


def _idle_channels(context: TrainingContext[BlazingTextHyperparameters]) -> list[str]:
    """What the user gave and this mode does not read: accepted, but worth a word."""
    mode = context.hyperparameters.mode
    if mode == "supervised":
        others = {"evaluation": "for the other modes"}
    else:
        others = dict.fromkeys(("validation", "test"), "for supervised")
        others["pretrained_vectors"] = "for supervised; word vectors go on from channel model"
    return [
        f"channel {name} has no effect in mode {mode} (it is {use})"
        for name, use in others.items()
        if name in context.channels
    ]


def _earlier_model(context: TrainingContext[BlazingTextHyperparameters], stack: ExitStack) -> TextClassifier:
    """Load the classifier in channel `model`, and check that training can go on from it."""
    from wildsage.algorithms.blazingtext.losses import CODES

    parameters = context.hyperparameters
    model = TextClassifier.load(model_folder(context, stack, TextClassifier, ("model.bin",)))
    settings, problems = model.file.settings, []
    if model.file.quantised:
        problems.append("it is quantised: go on from the .bin that it was made of")
    if settings.dim != parameters.vector_dim:
        problems.append(f"its vectors have {settings.dim} columns, so vector_dim must be {settings.dim}")
    if settings.bucket and parameters.word_ngrams > 1 and settings.bucket != parameters.buckets:
        problems.append(f"it has {settings.bucket} buckets, so buckets must be {settings.bucket}")
    if settings.loss != CODES[parameters.chosen_loss]:
        theirs = next(name for name, code in CODES.items() if code == settings.loss)
        problems.append(f"it was trained with loss = {theirs}, so loss must be {theirs}")
    if settings.maxn > 0:
        problems.append("it has character n-grams (maxn > 0), and this goes on with whole words only")
    if problems:
        raise ClientError(f"channel model: {'; '.join(problems)}")
    return model


def _earlier_words(context: TrainingContext[BlazingTextHyperparameters], stack: ExitStack) -> WordVectors:
    """Load the word vectors in channel `model`, and check that training can go on from them."""
    parameters = context.hyperparameters
    model = WordVectors.load(model_folder(context, stack, WordVectors, ("vectors.bin", "vectors.txt")))
    settings, problems = model.file.settings, []
    if model.file.quantised:
        problems.append("it is quantised: go on from the .bin that it was made of")
    if settings.dim != parameters.vector_dim:
        problems.append(f"its vectors have {settings.dim} columns, so vector_dim must be {settings.dim}")
    if (settings.maxn > 0) != parameters.makes_subwords:
        has, wanted = ("has", "true") if settings.maxn > 0 else ("has no", "false")
        problems.append(f"it {has} character n-grams, so subwords must be {wanted}")
    elif settings.maxn > 0:
        theirs = {"min_char": settings.minn, "max_char": settings.maxn, "buckets": settings.bucket}
        problems += [
            f"it has {name} = {value}, so {name} must be {value}"
            for name, value in theirs.items()
            if getattr(parameters, name) != value
        ]
    if problems:
        raise ClientError(f"channel model: {'; '.join(problems)}")
    return model


def model_folder(
    context: TrainingContext[Any],
    stack: ExitStack,
    kind: type[TextClassifier] | type[WordVectors],
    names: tuple[str, ...],
    beside: tuple[str, ...] = (),
) -> Path:
    """The folder of channel `model`, or one with what its archive holds of the files named, the first that it has.

    beside: more files that are wanted where the archive has them.
    """
    folder = context.channels["model"].path
    if not kind.recognises(folder):
        archives = [file for file in context.channels["model"].files() if file.name.endswith((".tar.gz", ".tgz"))]
        if archives:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            if not any(_unpacked(archives[0], folder, name) for name in names):
                raise DataError(f"holds no {' and no '.join(names)}", file=archives[0])
            for name in beside:
                _unpacked(archives[0], folder, name)
    return folder


def _unpacked(archive: Path, folder: Path, name: str) -> bool:
    """Copy one file of an archive, whatever else it holds and wherever it would put it; returns whether it has it."""
    try:
        with tarfile.open(archive) as opened:
            for member in opened:
                if member.isfile() and os.path.basename(member.name) == name:
                    source = opened.extractfile(member)
                    if source is not None:
                        with source, (folder / name).open("wb") as file:
                            shutil.copyfileobj(source, file, 1 << 20)
                        return True
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError(f"cannot be unpacked: {error}", file=archive) from error
    return False


def _words_estimate(context: TrainingContext[BlazingTextHyperparameters]) -> MemoryEstimate:
    """As estimate_memory, for word vectors; with subwords a word has 20 n-grams of its own."""
    from wildsage.algorithms.blazingtext.word_vectors import advice, table_bytes

    parameters = context.hyperparameters
    text = measure(context.channels["train"], 1)
    words = min(text.words, text.tokens)
    kept = min(words, text.tokens // max(1, parameters.min_count))
    buckets = min(parameters.buckets, 20 * kept) if parameters.makes_subwords else 0
    reading = text.bytes + (16 if parameters.phrases else 8) * text.tokens + 100 * words
    training = 4 * text.tokens + table_bytes(parameters, kept, buckets, context.threads)
    peak = BASE_BYTES + max(reading, training)
    return MemoryEstimate(peak, advice(parameters))


@dataclass(frozen=True)
class Extent:
    """How much text there is: bytes, tokens, and distinct words and n-grams, the latter two extrapolated."""

    bytes: int = 0
    tokens: int = 0
    words: int = 0
    ngrams: int = 0

    def __add__(self, other: Extent) -> Extent:
        return Extent(
            self.bytes + other.bytes,
            self.tokens + other.tokens,
            self.words + other.words,
            self.ngrams + other.ngrams,
        )


def measure(channel: Channel, order: int) -> Extent:
    """A channel's extent, from the head of each file; nothing is known of a pipe. order: the longest n-gram."""
    if channel.input_mode is InputMode.PIPE:
        return Extent()
    files = channel.files()
    size, tokens, sample = 0, 0, list[bytes]()
    for file in files:
        file_size, head = _head(file)
        size += file_size
        if head:
            tokens += int(file_size / len(head) * (len(head.split()) + head.count(b"\n")) * 1.1)
            sample += head[: max(1024, SAMPLE // len(files))].split()
    words = _distinct(sample, tokens)
    ngrams = sum(
        _distinct(list(zip(*(sample[k:] for k in range(n)), strict=False)), tokens) for n in range(2, order + 1)
    )
    return Extent(size, tokens, words, ngrams)


def _distinct(sample: Sequence[object], total: int) -> int:
    """How many distinct items `total` of them have, by Heaps' law (K n^b) through half of the sample and all of it.

    Its exponent falls as text grows, so that this is rather too many.
    """
    if not sample:
        return 0
    half, whole = len(set(sample[: len(sample) // 2])), len(set(sample))
    exponent = min(1.0, max(0.4, math.log2(whole / half))) if half else 1.0
    return math.ceil(whole * math.pow(max(1.0, total / len(sample)), exponent))


def _head(file: Path) -> tuple[int, bytes]:
    """A file's size, unpacked, and its first bytes."""
    try:
        size = os.path.getsize(file)
        with file.open("rb") as opened:
            head = opened.read(SAMPLE)
            if head[:2] != b"\x1f\x8b":
                return size, head
        with gzip.open(file) as packed:
            return size * GZIP_RATIO, packed.read(SAMPLE)
    except (OSError, EOFError, zlib.error):
        return 0, b""  # train names the file and what is wrong with it
