"""Small jobs of k-means."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.algorithms.jobs import Channels, Listener, job_of
from wildsage.algorithms.context import TrainingContext
from wildsage.algorithms.kmeans import KMeans
from wildsage.algorithms.kmeans.hyperparameters import KMeansHyperparameters
from wildsage.data.batch import Batch, Origin, SparseRows
from wildsage.data.recordio import write_numpy_to_dense_tensor

CSV, RECORDIO = "text/csv;label_size=0", "application/x-recordio-protobuf"


def csv(rows: NDArray[np.float32]) -> bytes:
    return "".join(",".join(map(repr, row)) + "\n" for row in rows.astype(float).tolist()).encode()


def recordio(rows: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    write_numpy_to_dense_tensor(file, rows)
    return file.getvalue()


def batch(rows: NDArray[np.float32] | SparseRows) -> Batch:
    """Rows of one file."""
    count = len(rows)
    return Batch(rows, None, None, Origin(["a.csv"], np.zeros(count, np.int32), np.arange(1, count + 1), "line"))


def sparse(rows: NDArray[np.float32]) -> SparseRows:
    """The same rows without their zeros."""
    numbers, columns = np.nonzero(rows)
    starts = np.searchsorted(numbers, np.arange(len(rows) + 1)).astype(np.int64)
    return SparseRows(starts, columns.astype(np.int32), rows[numbers, columns], rows.shape[1])


def job(
    folder: Path,
    channels: Channels,
    listener: Listener | None = None,
    *,
    threads: int = 1,
    content_type: str | None = CSV,
    **hyperparameters: Any,
) -> TrainingContext[KMeansHyperparameters]:
    """Lay out a job."""
    return job_of(KMeans, folder, channels, hyperparameters, listener, threads=threads, content_type=content_type)
