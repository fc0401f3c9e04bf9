"""Small PCA jobs, and a slow PCA to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.algorithms.jobs import Channels, Listener, job_of
from wildsage.algorithms.context import TrainingContext
from wildsage.algorithms.pca import PCA
from wildsage.algorithms.pca.hyperparameters import PCAHyperparameters
from wildsage.data.batch import Batch, Origin, SparseRows


def job(
    folder: Path,
    channels: Channels,
    listener: Listener | None = None,
    *,
    threads: int = 1,
    content_type: str | None = None,
    **hyperparameters: Any,
) -> TrainingContext[PCAHyperparameters]:
    """Lay out a job."""
    return job_of(
        PCA, folder, channels, {"num_components": 2, **hyperparameters}, listener,
        threads=threads, content_type=content_type,
    )  # fmt: skip


def table(rows: int, dim: int, seed: int = 1, *, mean: float = 3, spread: float = 1, noise: float = 1) -> Any:
    """Rows whose variances fall from column to column, turned: float32 (rows, dim)."""
    random = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(99).standard_normal((dim, dim)))[0]
    scales = noise * 1.3 ** -np.arange(dim, dtype=float)
    made = (random.standard_normal((rows, dim)) * scales) @ turn
    return (made * spread + mean).astype(np.float32)


def csv(rows: NDArray[np.float32]) -> str:
    return "".join(",".join(map(repr, row)) + "\n" for row in rows.tolist())


def batch(features: NDArray[np.float32] | SparseRows) -> Batch:
    count = len(features)
    return Batch(features, None, None, Origin(["rows.csv"], np.zeros(count, np.int32), np.arange(1, count + 1)))


def sparse(rows: NDArray[np.float32]) -> SparseRows:
    numbers, columns = np.nonzero(rows)
    starts = np.concatenate([[0], np.cumsum((rows != 0).sum(axis=1))])
    return SparseRows(starts, columns.astype(np.int32), rows[numbers, columns], rows.shape[1])


def slow(rows: NDArray[Any], count: int, *, subtract_mean: bool = True) -> tuple[NDArray[Any], NDArray[Any], Any]:
    """Components, ascending, (d, k), their singular values, and the mean: by the singular values of all rows."""
    rows = rows.astype(np.float64)
    mean = rows.mean(axis=0) if subtract_mean else np.zeros(rows.shape[1])
    _, singular, turned = np.linalg.svd(rows - mean, full_matrices=False)
    return turned[:count][::-1].T, singular[:count][::-1], mean


def apart(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """The largest difference of two sets of components, whose signs are free."""
    signs = np.sign((ours * theirs).sum(axis=0))
    return float(np.abs(ours * signs - theirs).max())
