"""Small GloVe jobs."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tests.algorithms.jobs import Channels, Listener, job_of
from wildsage.algorithms.context import TrainingContext
from wildsage.algorithms.glove import Glove
from wildsage.algorithms.glove.hyperparameters import GloveHyperparameters

SMALL = {"min_count": 1, "vector_dim": 8, "window_size": 4, "epochs": 4, "x_max": 10}
TOPICS = [[f"{name}{k}" for k in range(12)] for name in ("sea", "law", "food", "star")]


def job(
    folder: Path,
    channels: Channels,
    listener: Listener | None = None,
    *,
    threads: int = 1,
    memory_bytes: int | None = None,
    **hyperparameters: Any,
) -> TrainingContext[GloveHyperparameters]:
    """Lay out a job."""
    return job_of(
        Glove, folder, channels, {**SMALL, **hyperparameters}, listener,
        threads=threads, memory_bytes=memory_bytes,
    )  # fmt: skip


def sentences(count: int, seed: int = 1) -> str:
    """Lines about one of four topics; words of a topic keep company."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        topic = rng.choice(TOPICS)
        made.append(" ".join(rng.choice(topic) if rng.random() < 0.8 else f"the{rng.randrange(5)}" for _ in range(10)))
    return "\n".join(made) + "\n"


def wide(lines: int, words: int, seed: int = 1) -> str:
    """Lines of many different words, by Zipf's law, so that the matrix has many blocks."""
    rng = random.Random(seed)
    names = [f"w{k}" for k in range(words)]
    weights = [1 / (k + 3) for k in range(words)]
    drawn = rng.choices(names, weights, k=lines * 12)
    return "\n".join([*(" ".join(drawn[12 * k : 12 * k + 12]) for k in range(lines)), " ".join(names)]) + "\n"
