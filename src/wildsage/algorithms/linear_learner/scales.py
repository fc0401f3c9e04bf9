"""Means and deviations of the first rows, and weights folded by them: rows are learnt from as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wildsage.data.batch import SparseRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wildsage.algorithms.linear_learner.hyperparameters import LinearLearnerHyperparameters

    Floats = NDArray[np.float64]

REACH = 20.0  # deviations that a value is from the mean, at most: one of 100 would move its row's score by too much
FAR = 1000.0  # a mean so many deviations from 0 costs float32 too much, so it is taken off rows before
PIECE_BYTES = 1 << 20  # of rows that are measured at once


class Scales:
    """What features and labels are shifted and divided by.

    table: float64 (5, d + 1) of features and, behind them, the label: rows counted, mean, sum of squared deviations,
    lowest and highest.
    """

    def __init__(self, parameters: LinearLearnerHyperparameters, d: int) -> None:
        self.parameters, self.d = parameters, d
        self.table = np.zeros((5, d + 1))

    def measure(self, features: NDArray[np.float32] | SparseRows, labels: NDArray[np.float32]) -> None:
        """Take in the first rows, num_point_for_scaler of them at most; told once."""
        d, rows = self.d, min(len(features), self.parameters.num_point_for_scaler)
        count, mean, squares, low, high = self.table
        if isinstance(features, SparseRows):
            part = features.part(0, rows)
            values = part.values.astype(np.float64)
            np.minimum.at(low, part.columns, values)
            np.maximum.at(high, part.columns, values)
            sums = np.bincount(part.columns, values, d)
            mean[:d] = sums / rows
            squares[:d] = np.maximum(np.bincount(part.columns, values * values, d) - sums**2 / rows, 0)
        else:
            step = max(1, PIECE_BYTES // (8 * d))
            for at in range(0, rows, step):
                piece = features[at : min(at + step, rows)].astype(np.float64)
                _pool(mean[:d], squares[:d], at, piece)
                least, greatest = piece.min(axis=0), piece.max(axis=0)
                low[:d] = np.minimum(low[:d], least) if at else least
                high[:d] = np.maximum(high[:d], greatest) if at else greatest
        if self.parameters.is_regressor:
            _pool(mean[d:], squares[d:], 0, labels[:rows, None].astype(np.float64))
        count[:] = rows

    def merge(self, other: Scales) -> None:
        """Take in what another has measured (Chan, Golub and LeVeque, 1979)."""
        count, mean, squares, low, high = self.table
        more, their_mean, their_squares, their_low, their_high = other.table
        total = np.maximum(count + more, 1)
        squares += their_squares + (their_mean - mean) ** 2 * count * more / total
        mean += (their_mean - mean) * more / total
        count += more
        np.minimum(low, their_low, out=low)
        np.maximum(high, their_high, out=high)

    @property
    def shift(self) -> Floats:
        """(d,), what is taken off features."""
        chosen = self.parameters.unbias_data
        wanted = self.parameters.use_bias if chosen == "auto" else chosen
        return self.table[1, : self.d] if wanted else np.zeros(self.d)

    @property
    def deviation(self) -> Floats:
        """(d,), what features are divided by; 1 for one that is constant, which then says nothing."""
        wanted = self.parameters.normalize_data is not False
        return self._deviations[: self.d] if wanted else np.ones(self.d)

    @property
    def far(self) -> NDArray[np.bool_]:
        """(d,), which means are so far from 0 that they are to be taken off rows before these are multiplied."""
        return np.abs(self.shift) > FAR * self.deviation

    @property
    def _deviations(self) -> Floats:
        """(d + 1,). For a value that is far out, as that of a class which few rows have, more than the deviation."""
        count, mean, squares, low, high = self.table
        deviations = np.sqrt(squares / np.maximum(count, 1))
        deviations = np.where(deviations > 1e-7 * np.maximum(np.abs(mean), 1e-30), deviations, 1.0)
        deviations[: self.d] = np.maximum(deviations, np.maximum(high - mean, mean - low) / REACH)[: self.d]
        return deviations

    @property
    def label_mean(self) -> float:
        parameters = self.parameters
        wanted = parameters.is_regressor and parameters.use_bias and parameters.unbias_label is not False
        return float(self.table[1, self.d]) if wanted else 0.0

    @property
    def label_scale(self) -> float:
        wanted = self.parameters.is_regressor and self.parameters.normalize_label is not False
        return float(self._deviations[self.d]) if wanted else 1.0

    def folded(self, values: NDArray[np.float32] | Floats) -> Floats:
        """Weights and biases (blocks, d + 1, width) for features as they come; labels are still scaled."""
        made = values.astype(np.float64)
        made[:, : self.d] /= self.deviation[:, None]
        made[:, self.d] -= np.einsum("j,bjq->bq", self.shift, made[:, : self.d])
        return made

    def unfolded(self, weights: Floats) -> Floats:
        """The other way round."""
        made = weights.copy()
        made[:, self.d] += np.einsum("j,bjq->bq", self.shift, made[:, : self.d])
        made[:, : self.d] *= self.deviation[:, None]
        return made


def _pool(mean: Floats, squares: Floats, count: int, rows: Floats) -> None:
    """Add rows to a mean and a sum of squared deviations of `count` rows (Chan, Golub and LeVeque, 1979)."""
    own = rows.mean(axis=0)
    squares += ((rows - own) ** 2).sum(axis=0) + (own - mean) ** 2 * (count * len(rows) / (count + len(rows)))
    mean += (own - mean) * (len(rows) / (count + len(rows)))
