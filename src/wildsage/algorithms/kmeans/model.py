"""Centres: which is the nearest to a row, and how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from wildsage.algorithms import model_file
from wildsage.algorithms.kmeans import kernels
from wildsage.algorithms.row_model import RowModel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from wildsage.algorithms.model_file import Arrays, Facts
    from wildsage.algorithms.row_model import Columns
    from wildsage.data.batch import Batch

FORMAT = "kmeans"
BLOCK = 64  # centres at once in the kernel


class KMeansModel(RowModel):
    """centres: float32 (k, d). weights: float64 (k,), the rows that each stands for. names: of the features, or None.

    File model_algo-1 (see model_file): the two arrays, and feature_names.
    """

    def __init__(
        self, centres: NDArray[np.float32], weights: NDArray[np.float64], names: tuple[str, ...] | None = None
    ) -> None:
        self.centres, self.weights, self.names = centres, weights, names
        count, features = centres.shape
        self._columns = -(-count // BLOCK) * BLOCK
        turned = np.zeros((features, self._columns), np.float32)
        turned[:, :count] = centres.T
        self._turned = turned.reshape(-1)

    @property
    def feature_dim(self) -> int:
        return int(self.centres.shape[1])

    def answer(self, rows: Batch, options: Mapping[str, Any]) -> Columns:
        """closest_cluster, from 0, and the Euclidean distance_to_cluster, both float32 (n,)."""
        features = np.ascontiguousarray(rows.dense())
        places, distances = self.nearest(features)
        limit = np.finfo(np.float32).max
        return {
            "closest_cluster": places.astype(np.float32),
            "distance_to_cluster": np.minimum(distances, limit).astype(np.float32),
        }

    def nearest(self, rows: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """The nearest centre of each row of float32 (n, d), the lower one at a tie, and the distance to it."""
        count = len(rows)
        places, distances = np.empty(count, np.int32), np.empty(count)
        kernels.nearest(
            rows.reshape(-1), count, self.feature_dim, self._turned, self._columns, len(self.centres), places,
            distances, np.empty(BLOCK, np.float32),
        )  # fmt: skip
        for place in np.flatnonzero(distances < 0).tolist():  # squares that float32 cannot hold
            squares = ((self.centres.astype(np.float64) - rows[place].astype(np.float64)) ** 2).sum(axis=1)
            places[place] = squares.argmin()
            distances[place] = np.sqrt(squares.min())
        return places, distances

    def warm_up(self) -> None:
        self.nearest(np.zeros((1, self.feature_dim), np.float32))

    def save(self, folder: Path) -> None:
        """See Model: one file, model_algo-1."""
        arrays: dict[str, NDArray[Any]] = {"centres": self.centres, "weights": self.weights}
        model_file.save(folder, FORMAT, {"feature_names": self.names}, arrays)

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        return model_file.holds(folder, FORMAT)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See Model."""
        return model_file.load(folder, FORMAT, cls._of)

    @classmethod
    def _of(cls, facts: Facts, arrays: Arrays) -> Self:
        centres, weights = arrays["centres"], arrays["weights"]
        fits = centres.ndim == 2 and min(centres.shape) > 0 and weights.shape == centres.shape[:1]
        fits = fits and centres.dtype == np.float32 and weights.dtype == np.float64
        if not fits or not np.isfinite(centres).all() or not np.isfinite(weights).all() or (weights < 0).any():
            raise ValueError("its arrays do not fit each other")
        return cls(centres, weights, model_file.feature_names(facts, centres.shape[1]))
