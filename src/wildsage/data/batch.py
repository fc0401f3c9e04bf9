"""What readers yield: rows of features with their labels and weights, and where each row came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wildsage.contract.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class SparseRows:
    """Compressed rows. Row i has values[starts[i]:starts[i + 1]] in the columns of the same places, counted from 0."""

    starts: NDArray[np.int64]  # (n + 1,), the first is 0
    columns: NDArray[np.int32]
    values: NDArray[np.float32]
    width: int  # columns that a row has

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self.width

    def dense(self, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """The rows with their zeros, float32 (n, width), into `out` if given. Of a column twice, the last."""
        rows = np.zeros(self.shape, np.float32) if out is None else out
        if out is not None:
            rows[...] = 0
        numbers = np.repeat(np.arange(len(self)), np.diff(self.starts))
        rows[numbers, self.columns] = self.values
        return rows

    def take(self, order: NDArray[np.int64]) -> SparseRows:
        """The rows of these numbers, in this order."""
        lengths = (self.starts[1:] - self.starts[:-1])[order]
        starts = np.zeros(len(order) + 1, np.int64)
        np.cumsum(lengths, out=starts[1:])
        places = np.arange(starts[-1]) + np.repeat(self.starts[order] - starts[:-1], lengths)
        return SparseRows(starts, self.columns[places], self.values[places], self.width)

    def part(self, begin: int, end: int) -> SparseRows:
        """Rows begin to end, sharing memory with these but for the starts."""
        first, last = int(self.starts[begin]), int(self.starts[end])
        return SparseRows(
            self.starts[begin : end + 1] - first, self.columns[first:last], self.values[first:last], self.width
        )

    @staticmethod
    def joined(parts: Sequence[SparseRows], width: int) -> SparseRows:
        """Several after each other."""
        starts = [np.zeros(1, np.int64)]
        total = 0
        for part in parts:
            starts.append(part.starts[1:] + total)
            total += int(part.starts[-1])
        return SparseRows(
            np.concatenate(starts),
            np.concatenate([part.columns for part in parts] or [np.zeros(0, np.int32)]),
            np.concatenate([part.values for part in parts] or [np.zeros(0, np.float32)]),
            width,
        )


@dataclass(frozen=True)
class Origin:
    """Where rows came from, for messages. unit: what numbers count: "line" or "record", from 1; "instance", from 0."""

    names: Sequence[str]  # of all files of the channel, and more as they are met
    files: NDArray[np.int32]  # (n,), which of them
    numbers: NDArray[np.int64]  # (n,), the line, record or instance in it
    unit: str = "line"

    def part(self, begin: int, end: int) -> Origin:
        return Origin(self.names, self.files[begin:end], self.numbers[begin:end], self.unit)

    def take(self, order: NDArray[np.int64]) -> Origin:
        return Origin(self.names, self.files[order], self.numbers[order], self.unit)

    def error(self, row: int, reason: str, column: int | None = None) -> DataError:
        """The error to raise about a row, with its file and line (or record). column counts from 1, labels included."""
        file, number = self.names[int(self.files[row])], int(self.numbers[row])
        if self.unit == "line":
            return DataError(reason, file=file, line=number, column=column)
        if self.unit == "instance":
            return DataError(reason, file=file or None, instance=number, column=column)
        return DataError(reason, file=file, record=number, column=column)


@dataclass(frozen=True)
class Batch:
    """Some rows of a channel. The arrays are the reader's own: they hold until the next batch is asked for."""

    features: NDArray[np.float32] | SparseRows  # (n, d), C order
    labels: NDArray[np.float32] | None  # (n,), or (n, w) where a row has several
    weights: NDArray[np.float32] | None  # (n,)
    origin: Origin

    def __len__(self) -> int:
        return len(self.features)

    def dense(self) -> NDArray[np.float32]:
        """The features as an array, zeros and all."""
        return self.features.dense() if isinstance(self.features, SparseRows) else self.features

    def error(self, row: int, reason: str, column: int | None = None) -> DataError:
        """The error to raise about a row of the batch: "train.csv, line 7: reason"."""
        return self.origin.error(row, reason, column)

    def copy(self) -> Batch:
        """The same rows in memory of their own, to be kept."""
        features = self.features
        return Batch(
            SparseRows.joined([features], features.width) if isinstance(features, SparseRows) else features.copy(),
            None if self.labels is None else self.labels.copy(),
            None if self.weights is None else self.weights.copy(),
            Origin(self.origin.names, self.origin.files.copy(), self.origin.numbers.copy(), self.origin.unit),
        )

    def part(self, begin: int, end: int) -> Batch:
        """Rows begin to end, sharing memory with these."""
        features = self.features
        return Batch(
            features.part(begin, end) if isinstance(features, SparseRows) else features[begin:end],
            None if self.labels is None else self.labels[begin:end],
            None if self.weights is None else self.weights[begin:end],
            self.origin.part(begin, end),
        )

    @staticmethod
    def joined(parts: Sequence[Batch]) -> Batch:
        """Several after each other, in memory of their own. They are of one channel."""
        first = parts[0]
        sparse = [part.features for part in parts if isinstance(part.features, SparseRows)]
        features: NDArray[np.float32] | SparseRows
        if sparse:
            features = SparseRows.joined(sparse, max(part.width for part in sparse))
        else:
            features = np.concatenate([part.features for part in parts if not isinstance(part.features, SparseRows)])
        labels = [part.labels for part in parts if part.labels is not None]
        weights = [part.weights for part in parts if part.weights is not None]
        origin = Origin(
            first.origin.names,
            np.concatenate([part.origin.files for part in parts]),
            np.concatenate([part.origin.numbers for part in parts]),
            first.origin.unit,
        )
        return Batch(
            features, np.concatenate(labels) if labels else None, np.concatenate(weights) if weights else None, origin
        )

    def take(self, order: NDArray[np.int64]) -> Batch:
        """A copy with the rows of these numbers, in this order."""
        features = self.features
        return Batch(
            features.take(order) if isinstance(features, SparseRows) else features[order],
            None if self.labels is None else self.labels[order],
            None if self.weights is None else self.weights[order],
            self.origin.take(order),
        )
