"""Small training jobs, and someone who listens to them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tests.algorithms.jobs import Channels, Listener, job_of
from wildsage.algorithms.blazingtext import BlazingText
from wildsage.algorithms.blazingtext.corpus import Corpus
from wildsage.algorithms.blazingtext.hyperparameters import BlazingTextHyperparameters
from wildsage.algorithms.context import TrainingContext

SMALL = {"mode": "supervised", "min_count": 1, "buckets": 1000, "vector_dim": 8, "learning_rate": 0.5}


def job(
    folder: Path,
    channels: Channels,
    listener: Listener | None = None,
    *,
    threads: int = 1,
    content_type: str | None = None,
    **hyperparameters: Any,
) -> TrainingContext[BlazingTextHyperparameters]:
    """Lay out a job."""
    return job_of(
        BlazingText, folder, channels, {**SMALL, **hyperparameters}, listener,
        threads=threads, content_type=content_type,
    )  # fmt: skip


def reviews(lines: int, seed: int = 1) -> bytes:
    """Lines of three classes whose words overlap; some have two labels."""
    import random

    rng = random.Random(seed)
    words = {"a": ["good", "nice", "fine"], "b": ["bad", "poor", "awful"], "c": ["so", "meh", "average"]}
    made = []
    for k in range(lines):
        label = rng.choice("abc")
        text = [rng.choice(words[rng.choice("abc")] if rng.random() < 0.4 else words[label]) for _ in range(8)]
        labels = f"__label__{label}" + (" __label__a" if rng.random() < 0.1 else "")
        made.append(f"{labels} {' '.join(text)} only{k}\n")
    return "".join(made).encode()


def words_of_lines(made: Corpus) -> list[list[bytes]]:
    """The lines of a text that was read, as words."""
    names = made.counts.names(np.arange(len(made.counts)))
    found = []
    for part in made.parts:
        numbers = part.numbers[part.tokens].tolist()
        found += [[names[n] for n in numbers[begin:end]] for begin, end in pairwise(part.starts.tolist())]
    return found
