"""BlazingText as a training job sees it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from wildsage.algorithms.base import Algorithm, MemoryEstimate
from wildsage.algorithms.blazingtext.hyperparameters import BlazingTextHyperparameters
from wildsage.algorithms.blazingtext.model import TextClassifier
from wildsage.contract.channels import InputMode

if TYPE_CHECKING:
    from pathlib import Path

    from wildsage.algorithms.context import TrainingContext
    from wildsage.contract.channels import Channel

SAMPLE = 1 << 16  # bytes of each file that an estimate looks at
GZIP_RATIO = 4  # text gains about three times
COMPILE_SECONDS = 10
BASE_BYTES = 200 << 20  # Python, NumPy, Numba with LLVM, and the kernels


class BlazingText(Algorithm[BlazingTextHyperparameters]):
    """Text classification (mode=supervised)."""

    name = "blazingtext"
    hyperparameters = BlazingTextHyperparameters
    model = TextClassifier

    def estimate_memory(self, context: TrainingContext[BlazingTextHyperparameters]) -> MemoryEstimate:
        """A bound: that no two n-grams are equal is assumed, until every bucket has a row."""
        parameters = context.hyperparameters
        size, tokens = 0, 0
        for name in ("train", "validation"):
            if name in context.channels:
                channel_size, channel_tokens = _measure(context.channels[name])
                size, tokens = size + channel_size, tokens + channel_tokens
        ngrams = parameters.word_ngrams
        features = tokens * ngrams
        buckets = parameters.buckets if ngrams > 1 else 0
        words = tokens // max(1, parameters.min_count)
        rows = min(features, words + buckets)
        width = -(-parameters.vector_dim // 16) * 16
        table = 4 * rows * width
        text = size + 4 * tokens  # mapped, and as numbers
        training = 8 * features + 8 * (words + buckets) + table * (2 if parameters.early_stopping else 1)
        model = table + 4 * rows * parameters.vector_dim
        peak = BASE_BYTES + max(text + 8 * features, training, model)
        advice = (
            f"lower vector_dim (now {parameters.vector_dim}), word_ngrams (now {ngrams}) or buckets "
            f"(now {parameters.buckets:,}), raise min_count (now {parameters.min_count}), or give less text"
        )
        return MemoryEstimate(peak, advice)

    def train(self, context: TrainingContext[BlazingTextHyperparameters]) -> TextClassifier:
        """Train a text classifier, from the checkpoint if there is one, or from an earlier model in channel `model`."""
        for note in context.hyperparameters.notes():
            context.report.say(note)
        begun = time.perf_counter()
        from wildsage.algorithms.blazingtext import supervised
        from wildsage.algorithms.blazingtext.fasttext_file import FastTextSettings
        from wildsage.algorithms.kernel import missing

        if missing("wildsage.algorithms.blazingtext.kernels"):
            context.report.say(f"compiling kernels, once for this machine: about {COMPILE_SECONDS} s")
        context.report.summary(load_seconds=round(time.perf_counter() - begun, 3))
        rows = supervised.train(context)
        parameters = context.hyperparameters
        settings = FastTextSettings(
            dim=parameters.vector_dim,
            epoch=parameters.epochs,
            min_count=parameters.min_count,
            word_ngrams=parameters.word_ngrams,
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


def _measure(channel: Channel) -> tuple[int, int]:
    """(bytes of text, tokens) of a channel, the latter from the head of each file; nothing is known of a pipe."""
    if channel.input_mode is InputMode.PIPE:
        return 0, 0
    size, tokens = 0, 0
    for file in channel.files():
        file_size, head = _head(file)
        size += file_size
        if head:
            tokens += int(file_size / len(head) * (len(head.split()) + head.count(b"\n")) * 1.1)
    return size, tokens


def _head(file: Path) -> tuple[int, bytes]:
    """A file's size, unpacked, and its first bytes."""
    import gzip
    import zlib

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
