"""Small jobs of random cut forests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.algorithms.jobs import Channels, Listener, job_of
from wildsage.algorithms.context import TrainingContext
from wildsage.algorithms.randomcutforest import RandomCutForest
from wildsage.algorithms.randomcutforest.hyperparameters import RandomCutForestHyperparameters

SMALL = {"num_trees": 50, "num_samples_per_tree": 32}


def job(
    folder: Path,
    channels: Channels,
    listener: Listener | None = None,
    *,
    threads: int = 1,
    content_type: str | None = None,
    **hyperparameters: Any,
) -> TrainingContext[RandomCutForestHyperparameters]:
    """Lay out a job."""
    return job_of(
        RandomCutForest, folder, channels, {**SMALL, **hyperparameters}, listener,
        threads=threads, content_type=content_type,
    )  # fmt: skip


def rows_of(count: int, width: int, seed: int = 1) -> np.ndarray:
    return np.round(np.random.default_rng(seed).normal(size=(count, width)), 3).astype(np.float32)


def csv(rows: np.ndarray, labels: np.ndarray | None = None) -> str:
    lines = (",".join(f"{value:.6g}" for value in row) for row in rows.tolist())
    if labels is None:
        return "".join(f"{line}\n" for line in lines)
    return "".join(f"{label:g},{line}\n" for label, line in zip(labels, lines, strict=True))
