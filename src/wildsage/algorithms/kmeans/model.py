"""Centres: which is the nearest to a row, and how far it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from wildsage.algorithms.kmeans import kernels
from wildsage.algorithms.row_model import RowModel
from wildsage.contract.errors import DataError
from wildsage.contract.files import shown, write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from wildsage.algorithms.row_model import Columns
    from wildsage.data.batch import Batch

MODEL_FILE = "model_algo-1"
KEY = "wildsage"  # the only one of the metadata, since several come out in any order
FORMAT, VERSION = "kmeans", 1
CENTRES, WEIGHTS = "centres", "weights"
MOST_HEADER_BYTES = 1 << 20
BLOCK = 64  # centres at once in the kernel


class KMeansModel(RowModel):
    """centres: float32 (k, d). weights: float64 (k,), the rows that each stands for. names: of the features, or None.

    File model_algo-1: safetensors of the two. In its metadata under "wildsage", as JSON: {"format": "kmeans",
    "version": 1, "feature_names": […] or null}.
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
        facts = {"format": FORMAT, "version": VERSION, "feature_names": self.names}
        tensors: dict[str, NDArray[Any]] = {
            CENTRES: np.ascontiguousarray(self.centres),
            WEIGHTS: np.ascontiguousarray(self.weights),
        }
        write_atomically(folder / MODEL_FILE, save(tensors, {KEY: json.dumps(facts)}))

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """By the file's name, which other algorithms share, and the format in its header."""
        return _header_format(folder / MODEL_FILE) == FORMAT

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See Model."""
        path = folder / MODEL_FILE
        try:
            with safe_open(path, "np") as file:
                facts = json.loads((file.metadata() or {})[KEY])
                if facts["format"] != FORMAT or facts["version"] != VERSION:
                    told = f"{shown(facts['format'])} of version {shown(facts['version'])}"
                    raise DataError(f"a model of {told}; known is {FORMAT} of version {VERSION}", file=path)
                names = facts["feature_names"]
                centres, weights = file.get_tensor(CENTRES), file.get_tensor(WEIGHTS)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"not a model of kmeans: {error}", file=path) from error
        fits = centres.ndim == 2 and min(centres.shape) > 0 and weights.shape == centres.shape[:1]
        fits = fits and centres.dtype == np.float32 and weights.dtype == np.float64
        if names is not None:
            fits = fits and isinstance(names, list) and all(isinstance(name, str) for name in names)
            fits = fits and len(names) == centres.shape[1]
        if not fits or not np.isfinite(centres).all() or not np.isfinite(weights).all() or (weights < 0).any():
            raise DataError("not a model of kmeans: its arrays do not fit each other", file=path)
        return cls(centres, weights, None if names is None else tuple(names))


def _header_format(path: Path) -> str | None:
    """What the header of a file of safetensors says that it is; None for other files."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= MOST_HEADER_BYTES:
                return None
            header = json.loads(file.read(length))
        found = json.loads(header["__metadata__"][KEY])["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, str) else None
