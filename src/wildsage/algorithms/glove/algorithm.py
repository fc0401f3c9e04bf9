"""GloVe as a training job sees it."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wildsage.algorithms.base import Algorithm, MemoryEstimate
from wildsage.algorithms.blazingtext import algorithm as shared
from wildsage.algorithms.blazingtext.word_model import WordVectors
from wildsage.algorithms.glove.hyperparameters import GloveHyperparameters
from wildsage.algorithms.glove.model import BIASES_FILE, GloveVectors
from wildsage.contract.errors import ClientError

if TYPE_CHECKING:
    from wildsage.algorithms.context import TrainingContext

WARM_LINES = 20


class Glove(Algorithm[GloveHyperparameters]):
    """Word vectors whose products are the logarithms of how often words stand together."""

    name = "glove"
    hyperparameters = GloveHyperparameters
    model = GloveVectors
    optional_channels = ("model", "evaluation")

    def estimate_memory(self, context: TrainingContext[GloveHyperparameters]) -> MemoryEstimate:
        """The peak, with the number of distinct words extrapolated from the head of the text."""
        from wildsage.algorithms.glove.training import advice, counting_bytes, table_bytes

        parameters = context.hyperparameters
        text = shared.measure(context.channels["train"], 1)
        words = min(text.words, text.tokens)
        kept = min(words, text.tokens // max(1, parameters.min_count))
        reading = text.bytes + 8 * text.tokens + 100 * words
        # A small text does not fill what counting may take.
        counting = 4 * text.tokens + min(
            counting_bytes(context), 32 * parameters.window_size * text.tokens + (64 << 20)
        )
        peak = shared.BASE_BYTES + max(reading, counting, table_bytes(parameters, kept))
        return MemoryEstimate(peak, advice(parameters))

    def train(self, context: TrainingContext[GloveHyperparameters]) -> GloveVectors:
        """Train word vectors, from the checkpoint if there is one.

        Channel `model` may hold a model to go on from: one of ours, its model.tar.gz, or any file of word vectors.
        """
        from wildsage.algorithms.glove import training

        parameters = context.hyperparameters
        for note in parameters.notes():
            context.report.say(note)
        with ExitStack() as stack:
            earlier = None
            if "model" in context.channels:
                earlier = _earlier(context, stack)
                context.report.say(f"going on from a model of {len(earlier.words):,} words")
            rows = training.train(context, earlier)
        model = GloveVectors.of_rows(
            rows.vocabulary.words,
            rows.vocabulary.word_counts,
            rows.words,
            rows.contexts,
            rows.biases,
            window=parameters.window_size,
            epochs=parameters.epochs,
            min_count=parameters.min_count,
        )
        if parameters.evaluation:
            shared.evaluate(context, model)
        return model

    @classmethod
    def warm_up(cls) -> None:
        """Compile every kernel that training and answering need, by going through a small job and its model."""
        from wildsage.algorithms.context import Silence, TrainingContext
        from wildsage.contract.channels import Channel

        with tempfile.TemporaryDirectory() as folder:
            base = Path(folder)
            channel = Channel("train", base / "train")
            channel.path.mkdir()
            (channel.path / "text").write_text("a first text , a second text\n" * WARM_LINES)
            parameters = GloveHyperparameters.parse({"min_count": 1, "epochs": 1, "vector_dim": 4})
            context: TrainingContext[Any] = TrainingContext(
                parameters, {"train": channel}, base, base / "checkpoints", Silence()
            )
            model = cls().train(context)
            (base / "model").mkdir()
            model.save(base / "model")
            loaded = GloveVectors.load(base / "model")
            loaded.warm_up()
            loaded.nearest("text", 1)


def _earlier(context: TrainingContext[GloveHyperparameters], stack: ExitStack) -> GloveVectors:
    """Load the word vectors in channel `model`, and check that training can go on from them."""
    dim = context.hyperparameters.vector_dim
    folder = shared.model_folder(context, stack, WordVectors, ("vectors.bin", "vectors.txt"), (BIASES_FILE,))
    model = GloveVectors.load(folder)
    problems = []
    if model.dim != dim:
        problems.append(f"its vectors have {model.dim} columns, so vector_dim must be {model.dim}")
    if model.file.settings.maxn > 0:
        problems.append("it has character n-grams, and GloVe learns whole words only")
    if problems:
        raise ClientError(f"channel model: {'; '.join(problems)}")
    return model
