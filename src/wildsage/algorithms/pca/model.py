"""A trained PCA: components, and what training goes on from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from wildsage.algorithms import model_file
from wildsage.algorithms.pca import kernels
from wildsage.algorithms.pca.state import without_repeats
from wildsage.algorithms.row_model import RowModel
from wildsage.contract.errors import DataError
from wildsage.contract.files import write_atomically
from wildsage.data.batch import SparseRows
from wildsage.kernels.vector import padded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from wildsage.algorithms.pca.state import Components, Moments
    from wildsage.algorithms.row_model import Columns
    from wildsage.data.batch import Batch

STATE_FILE = "state.safetensors"
FORMAT = "pca"


@dataclass(frozen=True)
class Facts:
    """What the model's file says beside its numbers. total: the sum of squares that components share."""

    rows: int
    total: float
    subtract_mean: bool
    mode: str
    feature_names: tuple[str, ...] | None = None


class PCAModel(RowModel):
    """Projects rows onto components, which are in ascending order of variance: the largest is last.

    mean: float64 (d,). vectors: float32 (d, k). singular: float64 (k,), singular values of the (centred) rows.
    state: the bytes of state.safetensors, which training goes on from; None where there are none.
    """

    answers_name: ClassVar[str] = "projections"

    def __init__(
        self,
        mean: NDArray[np.float64],
        vectors: NDArray[np.float32],
        singular: NDArray[np.float64],
        facts: Facts,
        state: NDArray[np.uint8] | bytes | None = None,
    ) -> None:
        self.mean, self.vectors, self.singular, self.facts, self.state = mean, vectors, singular, facts, state
        dim, count = vectors.shape
        self._width = padded(count)
        self._matrix = np.zeros((dim, self._width), np.float32)
        self._matrix[:, :count] = vectors
        # A row minus the mean in float32 is exact near it; what rounding took from the mean comes off afterwards.
        self._shift = mean.astype(np.float32)
        self._rest = (mean - self._shift) @ vectors
        self._whole = mean @ vectors

    @classmethod
    def of(cls, found: Components, facts: Facts, state: Moments) -> Self:
        """The model of components, and of the state that they came from."""
        kept = {name: np.ascontiguousarray(array) for name, array in _packed(state.arrays()).items()}
        raw = save(kept | {"mode": np.frombuffer(state.kind.encode(), np.uint8)})
        return cls(found.mean, found.vectors.astype(np.float32), np.sqrt(found.scatter), facts, raw)

    @property
    def feature_dim(self) -> int:
        return len(self.mean)

    @property
    def explained(self) -> NDArray[np.float64]:
        """Shares of the variance, float64 (k,), in the order of the components."""
        return self.singular**2 / self.facts.total if self.facts.total > 0 else np.zeros(len(self.singular))

    def answer(self, rows: Batch, options: Mapping[str, Any]) -> Columns:
        """Column `projection`, float32 (n, k), in the order of the components."""
        return {"projection": self.project(rows.features)}

    def project(self, features: NDArray[np.float32] | SparseRows, begin: int = 0, end: int | None = None) -> Any:
        """The rows begin to end, minus the mean, on the components: float32 (n, k)."""
        end = len(features) if end is None else end
        out = np.empty((end - begin, self._width), np.float32)
        matrix, count = self._matrix.reshape(-1), len(self.singular)
        if isinstance(features, SparseRows):
            part = without_repeats(features.part(begin, end))
            given = (part.starts, part.columns, part.values)
            kernels.project_sparse(*given, 0, len(part), matrix, self._width, out.reshape(-1))
            return (out[:, :count] - self._whole).astype(np.float32)
        rows = np.ascontiguousarray(features[begin:end])
        shape = (0, len(rows), self.feature_dim)
        kernels.project_rows(rows.reshape(-1), *shape, self._shift, matrix, self._width, out.reshape(-1))
        return (out[:, :count] - self._rest).astype(np.float32)

    def squared_errors(self, features: NDArray[np.float32] | SparseRows) -> tuple[float, float]:
        """Sums over rows of the squared distance to their reconstruction, and to the mean."""
        if isinstance(features, SparseRows):
            features = features.dense()
        shifted = (features - self._shift) - (self.mean - self._shift)
        lost = shifted - (shifted @ self.vectors) @ self.vectors.T
        return float(np.vdot(lost, lost)), float(np.vdot(shifted, shifted))

    def state_arrays(self) -> tuple[str, dict[str, NDArray[Any]]] | None:
        """Mode and arrays of the state that training goes on from; None where the model has none."""
        if self.state is None:
            return None
        try:
            arrays = load(bytes(self.state))
            mode = bytes(arrays.pop("mode")).decode()
            return mode, _unpacked(arrays)
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise DataError(f"not the state of a PCA: {error}", file=STATE_FILE) from error

    def save(self, folder: Path) -> None:
        """model_algo-1, with mean, v and s, as the cloud's names are; and state.safetensors."""
        arrays: dict[str, NDArray[Any]] = {"mean": self.mean, "v": self.vectors, "s": self.singular}
        model_file.save(folder, FORMAT, asdict(self.facts), arrays)
        if self.state is not None:
            write_atomically(folder / STATE_FILE, bytes(self.state))

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        return model_file.holds(folder, FORMAT)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See Model; the state is mapped."""
        model = model_file.load(folder, FORMAT, cls._of)
        state = folder / STATE_FILE
        if state.is_file() and state.stat().st_size > 0:
            model.state = np.memmap(state, np.uint8, "r")
        return model

    @classmethod
    def _of(cls, told: model_file.Facts, arrays: model_file.Arrays) -> Self:
        mean, vectors, singular = (arrays[name] for name in ("mean", "v", "s"))
        shapes = vectors.ndim == 2 and (mean.shape, singular.shape) == ((vectors.shape[0],), vectors.shape[1:])
        kinds = mean.dtype == singular.dtype == np.float64 and vectors.dtype == np.float32
        if not shapes or not kinds or not vectors.size:
            raise ValueError("mean, v and s do not fit together")
        if not all(np.isfinite(array).all() for array in (mean, vectors, singular)):
            raise ValueError("it has numbers that are not finite")
        names = model_file.feature_names(told, len(mean))
        facts = Facts(int(told["rows"]), float(told["total"]), bool(told["subtract_mean"]), str(told["mode"]), names)
        return cls(mean, vectors, singular, facts)

    def warm_up(self) -> None:
        row = np.zeros((1, self.feature_dim), np.float32)
        self.project(row)
        empty = SparseRows(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), self.feature_dim)
        self.project(empty)


def _packed(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Arrays of a state, of the products of columns the upper triangle alone: half of the bytes."""
    packed = dict(arrays)
    if "products" in packed:
        packed["products"] = packed["products"][np.triu_indices(len(packed["products"]))]
    return packed


def _unpacked(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    unpacked = dict(arrays)
    if "products" in unpacked:
        dim = len(unpacked["shift"])
        products = np.zeros((dim, dim))
        products[np.triu_indices(dim)] = unpacked["products"]
        unpacked["products"] = products
    return unpacked
