"""How good scores are: losses, the threshold between two classes, and the metrics of the contract.

Scores are those before the link: of two classes the logarithm of the odds (or the margin), of several one a class.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wildsage.algorithms.linear_learner.hyperparameters import LinearLearnerHyperparameters

    Floats = NDArray[np.float64]

MOST_AUC_ROWS = 10_000_000  # whose scores are kept for the curve


def losses(parameters: LinearLearnerHyperparameters, scores: Floats, labels: Floats) -> Floats:
    """The loss of each row. scores: (n,), or (n, classes)."""
    name, z, y = parameters.loss_function, scores, labels
    made: Floats
    if name == "softmax_loss":
        z = z - z.max(axis=1, keepdims=True)
        made = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), y.astype(np.int64)]
        return made
    if name == "logistic":
        return np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))
    if name == "hinge_loss":
        return np.maximum(parameters.margin - (2 * y - 1) * z, 0)
    error = z - y
    if name == "squared_loss":
        return error * error
    if name == "absolute_loss":
        return np.abs(error)
    if name == "quantile_loss":
        return np.maximum((1 - parameters.quantile) * error, -parameters.quantile * error)
    if name == "huber_loss":
        near = np.clip(error, -parameters.huber_delta, parameters.huber_delta)
        return near * (error - near / 2)
    beyond = np.maximum(np.abs(error) - parameters.loss_insensitivity, 0)
    return beyond * beyond if name == "eps_insensitive_squared_loss" else beyond


@dataclass(frozen=True)
class Cuts:
    """All ways to part rows into two classes by a threshold on their scores, from none positive to all."""

    places: Floats  # thresholds: a row is positive from it on
    hits: Floats  # (k,), weight of positive rows that are called positive
    alarms: Floats  # (k,), weight of negative rows that are called positive
    positives: float
    negatives: float

    @classmethod
    def of(cls, scores: Floats, labels: Floats, weights: Floats | None) -> Cuts:
        order = np.argsort(-scores, kind="stable")
        z, y = scores[order], labels[order]
        w = np.ones(len(z)) if weights is None else weights[order]
        hits = np.concatenate([[0.0], np.cumsum(w * y)])
        alarms = np.concatenate([[0.0], np.cumsum(w * (1 - y))])
        if not len(z):
            return cls(np.zeros(1), hits, alarms, 0.0, 0.0)
        ends = np.concatenate([[True], z[1:] != z[:-1], [True]])  # rows of equal scores are not parted
        places = np.concatenate([[z[0] + 1], (z[1:] + z[:-1]) / 2, [z[-1] - 1]])
        return cls(places[ends], hits[ends], alarms[ends], float(hits[-1]), float(alarms[-1]))

    @property
    def precision(self) -> Floats:
        return self.hits / np.maximum(self.hits + self.alarms, 1e-300)

    @property
    def recall(self) -> Floats:
        return self.hits / max(self.positives, 1e-300)

    @property
    def accuracy(self) -> Floats:
        return (self.hits + self.negatives - self.alarms) / max(self.positives + self.negatives, 1e-300)

    def f_beta(self, beta: float) -> Floats:
        square = beta * beta
        missed = self.positives - self.hits
        return (1 + square) * self.hits / np.maximum((1 + square) * self.hits + square * missed + self.alarms, 1e-300)

    @property
    def area(self) -> float:
        """Under the curve of hits over false alarms; 0.5 where there is only one class."""
        if not self.positives or not self.negatives:
            return 0.5
        return float(np.trapezoid(self.hits / self.positives, self.alarms / self.negatives))


def choose_cut(parameters: LinearLearnerHyperparameters, cuts: Cuts) -> tuple[float, float]:
    """The threshold that the criterion likes best, the one next to 0 among equals, and the criterion's value there.

    For accuracy it stays 0 unless another wins more rows than the root of those that it decides otherwise (one
    deviation, as in McNemar's test): the best of many thresholds on few rows is chance.
    """
    name = parameters.binary_classifier_model_selection_criteria
    places = cuts.places
    if name == "loss_function" or not cuts.positives or not cuts.negatives:
        return 0.0, float(cuts.accuracy[np.argmin(np.abs(places))])
    if name == "accuracy":
        at_zero = max(int(np.searchsorted(-places, 0.0, side="right")) - 1, 0)  # the last whose rows are all above 0
        changed = np.abs(cuts.hits - cuts.hits[at_zero]) + np.abs(cuts.alarms - cuts.alarms[at_zero])
        right = cuts.hits - cuts.alarms
        gain = right - right[at_zero] - np.sqrt(changed)
        best = int(np.argmax(gain))
        if gain[best] <= 0:
            return 0.0, float(cuts.accuracy[at_zero])
        return float(places[best]), float(cuts.accuracy[best])
    if name == "f_beta":
        values = cuts.f_beta(parameters.f_beta)
    elif name == "precision_at_target_recall":
        # Of equal precisions the larger recall.
        values = np.where(cuts.recall >= parameters.target_recall, cuts.precision + 1e-9 * cuts.recall, -1.0)
    else:
        enough = (cuts.precision >= parameters.target_precision) & (cuts.hits > 0)
        values = np.where(enough, cuts.recall + 1e-9 * cuts.precision, cuts.precision - 1)
    equals = np.flatnonzero(values == values.max())
    place = int(equals[np.argmin(np.abs(places[equals]))])
    return float(places[place]), float(min(max(values[place], 0.0), 1.0))


@dataclass
class Scored:
    """Sums over scored rows, of which metrics are made. cut: the threshold between two classes."""

    parameters: LinearLearnerHyperparameters
    cut: float = 0.0
    label_mean: float = 0.0
    label_scale: float = 1.0
    class_weights: NDArray[np.float64] | None = None  # of each class in the loss
    rows: int = 0
    weight: float = 0.0
    loss: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    table: NDArray[np.float64] | None = None  # (3, classes): called and right, called, there
    kept: list[tuple[Floats, Floats, Floats | None]] = field(default_factory=list)

    def add(self, scores: Floats, labels: Floats, weights: Floats | None) -> None:
        """Take in rows. scores: (n, classes), of a regressor in the label's own unit; labels: (n,)."""
        w = np.ones(len(labels)) if weights is None else weights
        self.rows += len(labels)
        self.weight += float(w.sum())
        z = scores if self.parameters.classes > 1 else scores[:, 0]
        if self.parameters.is_regressor:
            trained = [(each - self.label_mean) / self.label_scale for each in (z, labels)]
            self.loss += float(w @ losses(self.parameters, *trained))
            self._add("squares", w @ (z - labels) ** 2)
            self._add("absolutes", w @ np.abs(z - labels))
            return
        in_loss = w if self.class_weights is None else w * self.class_weights[labels.astype(np.int64)]
        self.loss += float(in_loss @ losses(self.parameters, z, labels))
        if self.parameters.is_binary:
            if sum(len(each) for each, _, _ in self.kept) < MOST_AUC_ROWS:
                self.kept.append((z, labels.copy(), None if weights is None else weights.astype(np.float64)))
            called = (z >= self.cut).astype(np.float64)
            self._add("right", w @ (called == labels))
            self._add("hits", w @ (called * labels))
            self._add("called", w @ called)
            self._add("there", w @ labels)
            return
        self._add_classes(z, labels.astype(np.int64), w)

    def _add(self, name: str, value: Any) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + float(value)

    def _add_classes(self, z: Floats, labels: NDArray[np.int64], w: Floats) -> None:
        classes = self.parameters.classes
        if self.table is None:
            self.table = np.zeros((3, classes))
        called = z.argmax(axis=1)
        right = called == labels
        for row, (which, weights) in enumerate([(labels[right], w[right]), (called, w), (labels, w)]):
            self.table[row] += np.bincount(which, weights, classes)
        rank = 1 + (z > z[np.arange(len(z)), labels][:, None]).sum(axis=1)  # of the class that is right
        self._add("top", w @ (rank <= self.parameters.accuracy_top_k))
        self._add("gain", w @ (1 / np.log2(rank + 1.0)))

    def metrics(self) -> dict[str, float]:
        """The contract's metrics by name, without a channel's; none where there were no rows."""
        if not self.weight:
            return {}
        total, sums = self.weight, self.sums
        found = {"objective_loss": self.loss / total}
        if self.parameters.is_regressor:
            mse = sums["squares"] / total
            return found | {"mse": mse, "absolute_loss": sums["absolutes"] / total, "rmse": float(np.sqrt(mse))}
        square = self.parameters.f_beta**2
        if self.parameters.is_binary:
            hits, called, there = sums["hits"], sums["called"], sums["there"]
            found["binary_classification_accuracy"] = sums["right"] / total
            found["binary_f_beta"] = _ratio((1 + square) * hits, square * there + called)
            found["precision"] = _ratio(hits, called)
            found["recall"] = _ratio(hits, there)
            scores, labels = (np.concatenate([each[k] for each in self.kept]) for k in (0, 1))
            weights = [each[2] for each in self.kept]
            known = [each for each in weights if each is not None]
            found["roc_auc_score"] = Cuts.of(scores, labels, np.concatenate(known) if known else None).area
            return found
        table = np.zeros((3, 1)) if self.table is None else self.table
        right, called_of, there_of = table
        seen = there_of + called_of > 0
        precision = right / np.maximum(called_of, 1e-300)
        recall = right / np.maximum(there_of, 1e-300)
        f_beta = (1 + square) * right / np.maximum(square * there_of + called_of, 1e-300)
        return found | {
            "multiclass_accuracy": float(right.sum()) / total,
            "multiclass_top_k_accuracy": sums["top"] / total,
            "dcg": sums["gain"] / total,
            "macro_recall": float(recall[seen].mean()),
            "macro_precision": float(precision[seen].mean()),
            "macro_f_beta": float(f_beta[seen].mean()),
            "multiclass_balanced_accuracy": float(recall[there_of > 0].mean()),
            "multiclass_log_loss": self.loss / total,
        }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
