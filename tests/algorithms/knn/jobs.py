"""Small k-NN jobs, and data for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.algorithms.jobs import Channels, Listener, job_of
from wildsage.algorithms.context import TrainingContext
from wildsage.algorithms.knn import KNN
from wildsage.algorithms.knn.hyperparameters import KNNHyperparameters
from wildsage.data.batch import Batch, Origin

SMALL = {"k": 3, "predictor_type": "classifier", "sample_size": 1000, "mini_batch_size": 64}


def job(
    folder: Path,
    channels: Channels,
    listener: Listener | None = None,
    *,
    threads: int = 1,
    content_type: str | None = None,
    **hyperparameters: Any,
) -> TrainingContext[KNNHyperparameters]:
    """Lay out a job."""
    return job_of(
        KNN, folder, channels, {**SMALL, **hyperparameters}, listener,
        threads=threads, content_type=content_type,
    )  # fmt: skip


def clusters(count: int, dim: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rows of three classes that overlap a little, and their labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    centres = np.random.default_rng(99).normal(0, 2, (3, dim))
    return (centres[labels] + random.normal(0, 1, (count, dim))).astype(np.float32), labels.astype(np.float32)


def csv(rows: NDArray[np.float32], labels: NDArray[np.float32] | None = None) -> str:
    if labels is not None:
        rows = np.column_stack([labels, rows])
    return "".join(",".join(f"{value:.9g}" for value in row) + "\n" for row in rows)


def batch(
    rows: NDArray[np.float32], labels: NDArray[np.float32] | None, first: int = 1, name: str = "train.csv"
) -> Batch:
    """Rows as a reader gives them, the first from line `first`."""
    files, numbers = np.zeros(len(rows), np.int32), np.arange(first, first + len(rows))
    return Batch(rows, labels, None, Origin([name], files, numbers))
