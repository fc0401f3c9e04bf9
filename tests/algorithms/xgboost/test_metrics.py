"""The service's own metrics against slow, obvious ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.algorithms.xgboost import metrics
from wildsage.algorithms.xgboost.hyperparameters import CLASSIFICATION


def slow(name: str, truth: list[int], predicted: list[int]) -> float:
    """One class at a time."""

    def of(kind: str, label: int) -> float:
        hits = sum(t == p == label for t, p in zip(truth, predicted, strict=True))
        actual, found = truth.count(label), predicted.count(label)
        if kind == "precision":
            return hits / found if found else 0.0
        if kind == "recall":
            return hits / actual if actual else 0.0
        return 2 * hits / (actual + found) if actual + found else 0.0

    kind, _, average = name.partition("_")
    if name == "accuracy" or average == "micro":
        return sum(t == p for t, p in zip(truth, predicted, strict=True)) / len(truth)
    if name == "balanced_accuracy":
        return float(np.mean([of("recall", label) for label in sorted(set(truth))]))
    if average == "binary" or name in ("precision", "recall"):
        return of(kind, 1)
    return float(np.mean([of(kind, label) for label in sorted({*truth, *predicted})]))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40), st.sampled_from(CLASSIFICATION)
)
def test_metrics_of_classes(pairs: list[tuple[int, int]], name: str) -> None:
    truth, predicted = [t for t, _ in pairs], [p for _, p in pairs]
    counts = metrics.confusion(np.array(truth, np.float32), np.array(predicted))
    assert metrics.of_classes(name, counts) == pytest.approx(slow(name, truth, predicted))


def test_metrics_of_numbers() -> None:
    truth, found = np.array([1.0, 2.0, 4.0]), np.array([1.5, 2.0, 3.0])
    assert metrics.of_numbers("mse", truth, found) == pytest.approx(1.25 / 3)
    assert metrics.of_numbers("r2", truth, found) == pytest.approx(1 - 1.25 / np.square(truth - truth.mean()).sum())
    assert metrics.of_numbers("r2", np.ones(3), np.ones(3)) == 1
    assert metrics.of_numbers("r2", np.ones(3), np.zeros(3)) == 0


@pytest.mark.parametrize(
    ("objective", "predictions", "classes"),
    [
        ("binary:logistic", [0.4, 0.6], [0, 1]),
        ("binary:logitraw", [-0.1, 0.1], [0, 1]),
        ("binary:hinge", [0, 1], [0, 1]),
        ("multi:softmax", [2, 0], [2, 0]),
        ("multi:softprob", [[0.2, 0.7, 0.1], [0.5, 0.2, 0.3]], [1, 0]),
    ],
)
def test_classes_by_objective(objective: str, predictions: list[float], classes: list[int]) -> None:
    assert metrics.classes_of(np.array(predictions, np.float32), objective).tolist() == classes


def test_no_rows() -> None:
    nothing = np.empty(0)
    assert metrics.of_classes("f1", metrics.confusion(nothing, nothing.astype(int))) == 0
    assert metrics.of_numbers("mse", nothing, nothing) == 0
