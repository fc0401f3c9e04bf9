"""Slow and obvious references."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def distances(base: NDArray[np.float32], queries: NDArray[np.float32], metric: str) -> Numbers:
    """Of each query to each row, in float64; the less the nearer."""
    x, y = base.astype(np.float64), queries.astype(np.float64)
    if metric == "L2":
        return np.stack([np.sqrt(np.square(x - query).sum(axis=1)) for query in y])
    if metric == "INNER_PRODUCT":
        return -(y @ x.T)
    lengths = np.linalg.norm(y, axis=1)[:, None] * np.linalg.norm(x, axis=1)
    return 1 - np.divide(y @ x.T, lengths, out=np.zeros((len(y), len(x))), where=lengths > 0)


def majority(labels: NDArray[np.float32]) -> float:
    """The label that most have; of equally many, the one that comes first."""
    return float(Counter(labels.tolist()).most_common(1)[0][0])


def hadamard(length: int) -> Numbers:
    if length == 1:
        return np.ones((1, 1))
    half = hadamard(length // 2)
    return np.block([[half, half], [half, -half]])


def least(keys: list[tuple[int, int]], capacity: int) -> set[int]:
    """Of pairs of key and row, the rows with the least keys."""
    return {row for _, row in sorted(keys)[:capacity]}
