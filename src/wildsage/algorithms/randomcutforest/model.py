"""A random cut forest that answers: scores, what features add to them, and missing features."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from wildsage.algorithms import model_file
from wildsage.algorithms.randomcutforest.forest import Forest
from wildsage.algorithms.randomcutforest.shingles import shingled
from wildsage.algorithms.row_model import RowModel
from wildsage.algorithms.streaming import Workers
from wildsage.contract.content_types import JSON, JSON_LINES, RECORDIO_PROTOBUF
from wildsage.contract.errors import ClientError, nearest
from wildsage.contract.files import shown
from wildsage.data.batch import SparseRows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from wildsage.algorithms.model_file import Arrays, Facts
    from wildsage.algorithms.row_model import Columns
    from wildsage.data.batch import Batch
    from wildsage.data.formats import Missing

FORMAT = "randomcutforest"
OPTIONS = ("attribution", "imputation")
MOST_TREES, MOST_SAMPLES, MOST_FEATURES = 1000, 2048, 10_000
DENSE_BYTES = 16 << 20  # of rows that are made dense at a time


def level(rows: NDArray[np.float32], columns: NDArray[np.int64], values: NDArray[np.float32], share: float) -> None:
    """Move rows towards what constant columns have: by up to `share` of the value's size, in place.

    All that a forest knows of such a column is its value, so the smallest change would set a row apart as the largest
    does; where all columns are constant, it would get the highest score there is.
    """
    given = rows[:, columns]
    change = given - values
    left = np.sign(change) * np.maximum(np.abs(change) - np.float32(share) * np.abs(values), np.float32(0))
    rows[:, columns] = np.where(left == 0, values, values + left)


class RandomCutForestModel(RowModel):
    """The forest, and how rows become what it has samples of. seen: rows that it was trained on."""

    answer_types: ClassVar[tuple[str, ...]] = (JSON, JSON_LINES, RECORDIO_PROTOBUF, "text/csv")
    answers_name: ClassVar[str] = "scores"
    missing: ClassVar[Missing] = "nan"

    def __init__(
        self,
        forest: Forest,
        *,
        shingle_size: int = 1,
        scale_floor: float = 0.0,
        seen: int = 0,
        feature_names: tuple[str, ...] | None = None,
    ) -> None:
        self.forest, self.shingle_size, self.scale_floor = forest, shingle_size, scale_floor
        self.seen, self.feature_names = seen, feature_names
        self.workers = Workers(1)
        forest.grow(self.workers)
        self._columns, self._values = forest.constants()

    @property
    def feature_dim(self) -> int:
        return self.forest.dim // self.shingle_size

    @property
    def rows_before(self) -> int:
        """Rows of the same request before a row that its answer depends on."""
        return self.shingle_size - 1

    def answer(self, rows: Batch, options: Mapping[str, Any]) -> Columns:
        """The score of each row; with the option attribution what each feature adds to it, with imputation the row.

        A feature that is missing (NaN) is imputed before a row is scored. With shingle_size above 1 the rows of a
        request are a series in order of time: a row's score is that of the shingle that it ends, and the first
        shingle_size - 1, which end none, have a score of 0.
        """
        wanted = {name: _flag(name, options[name]) for name in OPTIONS if name in options}
        for name in options:
            if name not in OPTIONS:
                raise ClientError(f"option {shown(name)} is not allowed: {', '.join(OPTIONS)}{nearest(name, OPTIONS)}")
        columns: Columns = {"score": np.zeros(len(rows))}
        for name, column in (("attribution", "attribution"), ("imputation", "imputed")):
            if wanted.get(name):
                columns[column] = np.zeros((len(rows), self.forest.dim), np.float32)
        # Shingles overlap, so the pieces that rows are answered in do, too.
        before, size = self.rows_before, max(1, DENSE_BYTES // (4 * self.forest.dim))
        for start, stop in self._series(rows):
            for begin in range(start, stop, size):
                end = min(begin + size, stop)
                part = rows.part(max(start, begin - before), end).features
                dense = part.dense() if isinstance(part, SparseRows) else part
                asked = shingled(np.array(dense, np.float32), self.shingle_size)
                if len(asked):
                    self._answer(asked, slice(end - len(asked), end), columns)
        return columns

    def _series(self, rows: Batch) -> list[tuple[int, int]]:
        """Where each series among the rows begins and ends: those of several requests may be answered together."""
        if self.shingle_size == 1 or not len(rows):
            return [(0, len(rows))]
        files, numbers = rows.origin.files, rows.origin.numbers
        ends = np.flatnonzero((files[1:] != files[:-1]) | (numbers[1:] <= numbers[:-1])) + 1
        bounds = [0, *ends.tolist(), len(rows)]
        return list(pairwise(bounds))

    def _answer(self, asked: NDArray[np.float32], places: slice, columns: Columns) -> None:
        if np.isnan(asked).any():
            asked = self.forest.impute(asked, self.workers)
        if "imputed" in columns:
            columns["imputed"][places] = asked
        if self.scale_floor and len(self._columns):
            level(asked, self._columns, self._values, self.scale_floor)
        columns["score"][places] = self.forest.score(asked, self.workers)
        if "attribution" in columns:
            columns["attribution"][places] = self.forest.attribute(asked, self.workers)

    def scores(self, asked: NDArray[np.float32] | SparseRows, workers: Workers) -> NDArray[np.float64]:
        """The scores of whole shingles, float64 (n,), on several threads."""
        found, size = np.zeros(len(asked)), max(1, DENSE_BYTES // (4 * self.forest.dim))
        for begin in range(0, len(asked), size):
            end = min(begin + size, len(asked))
            part = asked.part(begin, end).dense() if isinstance(asked, SparseRows) else asked[begin:end].copy()
            if self.scale_floor and len(self._columns):
                level(part, self._columns, self._values, self.scale_floor)
            found[begin:end] = self.forest.score(part, workers)
        return found

    def warm_up(self) -> None:
        """Load the kernels and touch the forest."""
        asked = np.zeros((1, self.forest.dim), np.float32)
        self.forest.score(asked, self.workers)
        self.forest.attribute(asked, self.workers)
        self.forest.impute(np.full_like(asked, np.nan), self.workers)

    def save(self, folder: Path) -> None:
        """Write the samples; trees are grown from them when they are read, always the same ones."""
        most = int(self.forest.filled.max(initial=0))
        arrays = {
            "points": self.forest.points[:, :most],
            "keys": self.forest.keys[:, :most],
            "filled": self.forest.filled,
        }
        facts = {
            "samples": self.forest.samples,
            "seed": self.forest.seed,
            "decay": self.forest.decay,
            "shingle_size": self.shingle_size,
            "scale_floor": self.scale_floor,
            "seen": self.seen,
            "feature_names": self.feature_names,
        }
        model_file.save(folder, FORMAT, facts, arrays)

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        return model_file.holds(folder, FORMAT)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See Model."""
        return model_file.load(folder, FORMAT, cls._of)

    @classmethod
    def _of(cls, facts: Facts, arrays: Arrays) -> Self:
        points, keys, filled = (arrays[name] for name in ("points", "keys", "filled"))
        count, most, dim = points.shape
        samples, size = int(facts["samples"]), int(facts["shingle_size"])
        if points.dtype != np.float32 or keys.dtype != np.float64 or filled.dtype != np.int32:
            raise ValueError("arrays of other types")
        if keys.shape != (count, most) or filled.shape != (count,) or not most <= samples:
            raise ValueError("arrays of other shapes")
        if not (1 <= count <= MOST_TREES and 1 <= samples <= MOST_SAMPLES and size >= 1 and dim % size == 0 < dim):
            raise ValueError(f"{count} trees, {samples} rows in each, {dim} features")
        if filled.min() < 0 or filled.max() != most or not np.isfinite(points).all() or np.isnan(keys).any():
            raise ValueError("values that no forest has")
        forest = Forest(count, samples, dim, seed=int(facts["seed"]), decay=float(facts["decay"]))
        forest.points[:, :most], forest.keys[:, :most], forest.filled[:] = points, keys, filled
        return cls(
            forest,
            shingle_size=size,
            scale_floor=float(facts["scale_floor"]),
            seen=int(facts["seen"]),
            feature_names=model_file.feature_names(facts, dim // size),
        )


def _flag(name: str, value: Any) -> bool:
    found = {"true": True, "false": False, "1": True, "0": False}.get(str(value).lower())
    if found is None:
        raise ClientError(f"option {name} = {shown(value)} is not allowed: true or false")
    return found
