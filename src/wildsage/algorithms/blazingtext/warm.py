"""Compile the kernels of models and their files, by using each on something small."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wildsage.algorithms.blazingtext.fasttext_file import SKIP_GRAM, FastTextSettings
from wildsage.algorithms.blazingtext.kernels.predict import NEGATIVE
from wildsage.algorithms.blazingtext.model import TextClassifier
from wildsage.algorithms.blazingtext.quantize import quantize
from wildsage.algorithms.blazingtext.word_model import WordVectors

if TYPE_CHECKING:
    from pathlib import Path

WORDS = 300  # more than a quantiser has centroids, so that its k-means runs


def use_models(folder: Path, classifier: TextClassifier) -> None:
    """Answer, explain, search, save, load and quantise, in and below `folder`, which must be empty."""
    classifier.save(folder)
    loaded = TextClassifier.load(folder)
    loaded.warm_up()
    loaded.predict(["a first text"], [{"k": -1, "explain": True}])
    rows = np.random.default_rng(0).normal(size=(WORDS, 4)).astype(np.float32)
    words = WordVectors.from_training(
        words=[b"w%d" % number for number in range(WORDS)],
        word_counts=np.ones(WORDS, np.int64),
        settings=FastTextSettings(dim=4, model=SKIP_GRAM, loss=NEGATIVE, bucket=4, minn=2, maxn=3),
        word_rows=rows,
        bucket_ids=np.arange(4),
        bucket_rows=rows[:4],
        output=rows,
    )
    beside = folder / "words"
    beside.mkdir()
    words.save(beside)
    WordVectors.load(beside).warm_up()
    words.analogy("w1", "w2", "w3", 1)
    for name in ("e.bin", "e.txt"):
        words.export(beside / name)
        WordVectors.read(beside / name).nearest("w1", 1)
    quantize(words.file, cutoff=WORDS)
