"""Small jobs of linear models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.algorithms.jobs import Channels, Listener, job_of
from wildsage.algorithms.context import TrainingContext
from wildsage.algorithms.linear_learner import LinearLearner
from wildsage.algorithms.linear_learner.hyperparameters import LinearLearnerHyperparameters
from wildsage.algorithms.linear_learner.model import LinearModel
from wildsage.data.batch import Batch, Origin


def job(
    folder: Path,
    channels: Channels,
    listener: Listener | None = None,
    *,
    threads: int = 1,
    content_type: str | None = None,
    **hyperparameters: Any,
) -> TrainingContext[LinearLearnerHyperparameters]:
    """Lay out a job."""
    return job_of(
        LinearLearner, folder, channels, {"predictor_type": "binary_classifier", **hyperparameters}, listener,
        threads=threads, content_type=content_type,
    )  # fmt: skip


def fit(folder: Path, channels: Channels, listener: Listener | None = None, **values: Any) -> LinearModel:
    return LinearLearner().train(job(folder, channels, listener, **values))


def csv(labels: np.ndarray, rows: np.ndarray) -> str:
    return "".join(
        ",".join([f"{label:g}", *(f"{value:.6g}" for value in row)]) + "\n"
        for label, row in zip(labels, rows, strict=True)
    )


def libsvm(labels: np.ndarray, rows: np.ndarray) -> str:
    return "".join(
        " ".join([f"{label:g}", *(f"{k}:{value:.6g}" for k, value in enumerate(row) if value)]) + "\n"
        for label, row in zip(labels, rows, strict=True)
    )


def batch(labels: np.ndarray, rows: np.ndarray, weights: np.ndarray | None = None) -> Batch:
    count = len(rows)
    origin = Origin(["rows.csv"], np.zeros(count, np.int32), np.arange(1, count + 1))
    given = None if weights is None else weights.astype(np.float32)
    return Batch(rows.astype(np.float32), labels.astype(np.float32), given, origin)


def blobs(count: int, *, classes: int = 2, d: int = 5, seed: int = 1, noise: float = 1.0) -> tuple[Any, Any]:
    """Labels and rows of classes that overlap; features have scales and means of their own."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 1.5, (classes, d))
    labels = random.integers(0, classes, count)
    rows = centres[labels] + random.normal(0, noise, (count, d))
    return labels.astype(float), rows * np.linspace(0.1, 30, d) + np.linspace(-20, 50, d)


def line(count: int, *, d: int = 4, seed: int = 1, noise: float = 0.5) -> tuple[Any, Any]:
    """Labels that lie on a plane above rows, but for noise."""
    random = np.random.default_rng(seed)
    rows = random.normal(0, 1, (count, d)) * np.linspace(1, 20, d) + 7
    return rows @ np.linspace(-1, 2, d) + 100 + random.normal(0, noise, count), rows
