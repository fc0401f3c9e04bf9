"""The service's own metrics, which the library does not have: of classes, and mse and r2.

As the service has them, they do not look at instance weights. Definitions: scikit-learn's, of version 1.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.algorithms.xgboost.hyperparameters import CLASSIFICATION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray


def classes_of(predictions: NDArray[Any], objective: str) -> NDArray[np.int64]:
    """The class of each row, by what the library predicts: (n,) or, of multi:softprob, (n, classes)."""
    if predictions.ndim == 2:
        return np.asarray(predictions.argmax(axis=1), np.int64)
    if objective == "multi:softmax":
        return predictions.astype(np.int64)
    return (predictions > (0 if objective == "binary:logitraw" else 0.5)).astype(np.int64)


def confusion(labels: NDArray[Any], predicted: NDArray[np.int64]) -> NDArray[np.float64]:
    """How often class i was predicted as class j, (k, k)."""
    truth = labels.astype(np.int64)
    size = int(max(truth.max(initial=0), predicted.max(initial=0))) + 1
    return np.bincount(truth * size + predicted, minlength=size * size).reshape(size, size).astype(np.float64)


def of_classes(name: str, counts: NDArray[np.float64]) -> float:
    """A metric of classification by its confusion matrix; 0 of no rows."""
    total, hits = counts.sum(), np.diag(counts)
    if not total:
        return 0.0
    truth, predicted = counts.sum(axis=1), counts.sum(axis=0)
    if name in ("accuracy", "precision_micro", "recall_micro"):
        return float(hits.sum() / total)
    recall = _ratio(hits, truth)
    if name == "balanced_accuracy":
        return float(recall[truth > 0].mean())
    precision = _ratio(hits, predicted)
    score = {"precision": precision, "recall": recall, "f1": _ratio(2 * hits, truth + predicted)}
    kind, _, average = name.partition("_")
    if average == "binary" or name in ("precision", "recall"):
        # Of class 1, which need not be there.
        return float(score[kind][1]) if len(counts) > 1 else 0.0
    return float(score[kind][truth + predicted > 0].mean())


def of_numbers(name: str, labels: NDArray[Any], predictions: NDArray[Any]) -> float:
    """mse or r2; r2 of labels that are all the same is 1 or 0."""
    truth, found = labels.astype(np.float64), predictions.astype(np.float64)
    errors = float(np.square(truth - found).sum())
    if name == "mse":
        return errors / max(1, len(truth))
    spread = float(np.square(truth - truth.mean()).sum()) if len(truth) else 0.0
    if spread == 0:
        return float(errors == 0)
    return 1 - errors / spread


def evaluator(
    names: Sequence[str], objective: str, labels: Callable[[Any], NDArray[Any]]
) -> Callable[[NDArray[Any], Any], list[tuple[str, float]]]:
    """What the library calls with its predictions of some data. labels: those of the data."""

    def evaluate(predictions: NDArray[Any], data: Any) -> list[tuple[str, float]]:
        truth, counts, found = labels(data), None, []
        for name in names:
            if name in CLASSIFICATION:
                if counts is None:
                    counts = confusion(truth, classes_of(predictions, objective))
                found.append((name, of_classes(name, counts)))
            else:
                numbers = classes_of(predictions, objective) if predictions.ndim == 2 else predictions
                found.append((name, of_numbers(name, truth, numbers)))
        return found

    return evaluate


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
