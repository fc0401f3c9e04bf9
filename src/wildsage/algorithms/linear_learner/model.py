"""A trained linear model: its weights for rows as they come, in one file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from wildsage.algorithms import model_file
from wildsage.algorithms.row_model import RowModel
from wildsage.contract.errors import ClientError
from wildsage.data.batch import SparseRows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from wildsage.algorithms.row_model import Columns
    from wildsage.data.batch import Batch

FORMAT = "linear-learner"
PREDICTORS = ("regressor", "binary_classifier", "multiclass_classifier")


@dataclass(frozen=True)
class Facts:
    """What is known of a model beside its weights."""

    predictor_type: str
    loss: str
    threshold: float = 0.0  # between two classes, on scores before the link
    feature_names: tuple[str, ...] | None = None


class LinearModel(RowModel):
    """Scores are row @ weights + bias, in float64.

    weights: float64 (classes, d), for rows as they come: means and scales are folded in. biases: float64 (classes,).
    There is one class where there are two, and for regression.
    """

    def __init__(self, weights: NDArray[np.float64], biases: NDArray[np.float64], facts: Facts) -> None:
        self.weights = np.ascontiguousarray(weights, np.float64)
        self.biases = np.ascontiguousarray(biases, np.float64)
        self.facts = facts

    @property
    def feature_dim(self) -> int:
        return int(self.weights.shape[1])

    def scores(self, rows: Batch) -> NDArray[np.float64]:
        """Scores before the link, (n, classes); a row's do not depend on the others."""
        from wildsage.algorithms.linear_learner.kernels import score, score_sparse

        count, width = rows.features.shape
        if width != self.feature_dim:
            raise ClientError(f"a row has {width} features, and the model {self.feature_dim}")
        out = np.empty(count * len(self.biases))
        weights = self.weights.reshape(-1)
        if isinstance(rows.features, SparseRows):
            given = rows.features
            score_sparse(given.starts, given.columns, given.values, 0, count, width, weights, self.biases, out)
        else:
            flat = np.ascontiguousarray(rows.features).reshape(-1)
            score(flat, 0, count, width, weights, self.biases, out)
        return out.reshape(count, len(self.biases))

    def answer(self, rows: Batch, options: Mapping[str, Any]) -> Columns:
        """Column `score`, and `predicted_label` of classifiers."""
        scores = self.scores(rows)
        if self.facts.predictor_type == "regressor":
            return {"score": scores[:, 0].copy()}
        if self.facts.predictor_type == "binary_classifier":
            labels = (scores[:, 0] >= self.facts.threshold).astype(np.int64)
            shown = scores[:, 0].copy() if self.facts.loss == "hinge_loss" else _sigmoid(scores[:, 0])
            return {"score": shown, "predicted_label": labels}
        from_largest = np.exp(scores - scores.max(axis=1, keepdims=True))
        total = np.cumsum(from_largest, axis=1)[:, -1:]  # in one order, however many rows there are
        return {"score": from_largest / total, "predicted_label": scores.argmax(axis=1)}

    def warm_up(self) -> None:
        from wildsage.data.batch import Batch, Origin

        nowhere = Origin([""], np.zeros(1, np.int32), np.zeros(1, np.int64))
        self.answer(Batch(np.zeros((1, self.feature_dim), np.float32), None, None, nowhere), {})
        empty = SparseRows(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), self.feature_dim)
        self.answer(Batch(empty, None, None, nowhere), {})

    def save(self, folder: Path) -> None:
        """See Model: one file, model_algo-1."""
        model_file.save(folder, FORMAT, asdict(self.facts), {"weights": self.weights, "biases": self.biases})

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        return model_file.holds(folder, FORMAT)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See Model."""
        return model_file.load(folder, FORMAT, cls._of)

    @classmethod
    def _of(cls, told: model_file.Facts, arrays: model_file.Arrays) -> Self:
        weights, biases = arrays["weights"], arrays["biases"]
        fits = weights.ndim == 2 and weights.size > 0 and biases.shape == weights.shape[:1]
        if not fits or weights.dtype != np.float64 or biases.dtype != np.float64:
            raise ValueError("its arrays do not fit each other")
        names = model_file.feature_names(told, weights.shape[1])
        facts = Facts(str(told["predictor_type"]), str(told["loss"]), float(told["threshold"]), names)
        if facts.predictor_type not in PREDICTORS:
            raise ValueError(f"its predictor_type is {facts.predictor_type}")
        if (facts.predictor_type != "multiclass_classifier") != (len(biases) == 1):
            raise ValueError(f"a {facts.predictor_type} has no {len(biases)} biases")
        return cls(weights, biases, facts)


def _sigmoid(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    e = np.exp(-np.abs(scores))
    return np.where(scores >= 0, 1 / (1 + e), e / (1 + e))
