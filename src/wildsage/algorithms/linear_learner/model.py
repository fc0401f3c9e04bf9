"""A trained linear model: its weights for rows as they come, in one file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from wildsage.algorithms.row_model import RowModel
from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.files import write_atomically
from wildsage.data.batch import SparseRows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from wildsage.algorithms.row_model import Columns
    from wildsage.data.batch import Batch

FILE = "model_algo-1"
FORMAT = "wildsage linear-learner 1"
KEY = "linear_learner"  # of the one entry of the file's metadata
MOST_HEAD = 1 << 26  # bytes of a header that is looked at
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
        from safetensors.numpy import save

        facts = {"format": FORMAT, **asdict(self.facts)}
        # One entry: with several, their order in the file is another each time.
        metadata = {KEY: json.dumps(facts, sort_keys=True)}
        write_atomically(folder / FILE, save({"weights": self.weights, "biases": self.biases}, metadata))

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        return _head(folder / FILE) is not None

    @classmethod
    def load(cls, folder: Path) -> Self:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = folder / FILE
        facts = _head(path)
        if facts is None:
            raise DataError("not a model of linear-learner", file=path)
        try:
            names = facts.get("feature_names")
            known = Facts(
                str(facts["predictor_type"]), str(facts["loss"]), float(facts["threshold"]),
                None if names is None else tuple(map(str, names)),
            )  # fmt: skip
            arrays = load_file(path)
            weights, biases = arrays["weights"], arrays["biases"]
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            raise DataError(f"the model is damaged: {error}", file=path) from error
        if (
            weights.dtype != np.float64 or biases.dtype != np.float64 or weights.ndim != 2 or not weights.size
            or biases.shape != weights.shape[:1] or known.predictor_type not in PREDICTORS
            or (known.predictor_type != "multiclass_classifier") != (len(biases) == 1)
        ):  # fmt: skip
            raise DataError("the model is damaged: its parts do not fit", file=path)
        return cls(weights, biases, known)


def _sigmoid(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    e = np.exp(-np.abs(scores))
    return np.where(scores >= 0, 1 / (1 + e), e / (1 + e))


def _head(path: Path) -> dict[str, Any] | None:
    """What a file says that it is; None for one of another kind."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= MOST_HEAD:
                return None
            metadata = json.loads(file.read(length))["__metadata__"]
            facts = json.loads(metadata[KEY])
            return facts if facts["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
