"""k-means the slow way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def nearest(rows: NDArray[np.float32], centres: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest centre of each row, the lower at a tie, and the squared distance to it."""
    differences = rows.astype(np.float64)[:, None] - centres.astype(np.float64)[None]
    squares = (differences**2).sum(axis=2)
    return squares.argmin(axis=1), squares.min(axis=1)


def loss(rows: NDArray[np.float32], centres: NDArray[np.float32]) -> float:
    """The mean squared distance."""
    return float(nearest(rows, centres)[1].mean())


def lloyd(rows: NDArray[np.float32], k: int, seed: int, rounds: int = 100) -> float:
    """The mean squared distance that Lloyd's algorithm ends with, from rows at random."""
    centres = rows[np.random.default_rng(seed).choice(len(rows), k, replace=False)].astype(np.float64)
    for _ in range(rounds):
        owners, _ = nearest(rows, centres.astype(np.float32))
        moved = np.array([rows[owners == j].mean(axis=0) if (owners == j).any() else centres[j] for j in range(k)])
        if np.allclose(moved, centres):
            break
        centres = moved
    return loss(rows, centres.astype(np.float32))


def clustered(
    rows: int, features: int, clusters: int, *, seed: int = 0, spread: float = 8.0, offset: float = 0.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rows around some middles, and these."""
    random = np.random.default_rng(seed)
    middles = spread * random.normal(size=(clusters, features)) + offset
    made = middles[random.integers(0, clusters, rows)] + random.normal(size=(rows, features))
    return made.astype(np.float32), middles.astype(np.float32)
