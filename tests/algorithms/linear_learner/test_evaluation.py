"""Thresholds and metrics against their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.algorithms.linear_learner import naive
from wildsage.algorithms.linear_learner.evaluation import Cuts, Scored, choose_cut, losses
from wildsage.algorithms.linear_learner.hyperparameters import LOSSES, LinearLearnerHyperparameters


def parameters(**values: Any) -> LinearLearnerHyperparameters:
    return LinearLearnerHyperparameters.parse({"predictor_type": "binary_classifier", **values})


rows = st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 1), st.integers(0, 3)), min_size=1, max_size=30)


@given(rows)
def test_cuts_count_what_is_called_positive(rows: list[tuple[int, int, int]]) -> None:
    z, y, w = (np.array(column, float) for column in zip(*rows, strict=True))
    cuts = Cuts.of(z, y, w)
    for place, hits, alarms in zip(cuts.places, cuts.hits, cuts.alarms, strict=True):
        called = z >= place
        assert hits == (w * y)[called].sum()
        assert alarms == (w * (1 - y))[called].sum()
    assert len(cuts.places) == len(set(z)) + 1
    pairs = sum(w[i] * w[j] * (z[i] > z[j]) + w[i] * w[j] * (z[i] == z[j]) / 2
                for i in range(len(z)) for j in range(len(z)) if y[i] and not y[j])  # fmt: skip
    whole = cuts.positives * cuts.negatives
    assert cuts.area == pytest.approx(pairs / whole if whole else 0.5)


@given(rows, st.sampled_from(["f_beta", "precision_at_target_recall", "recall_at_target_precision"]))
def test_the_best_cut_is_chosen(rows: list[tuple[int, int, int]], criterion: str) -> None:
    z, y, _ = (np.array(column, float) for column in zip(*rows, strict=True))
    asked = parameters(binary_classifier_model_selection_criteria=criterion, target_recall=0.6, target_precision=0.7)
    cut, _ = choose_cut(asked, Cuts.of(z, y, None))
    if not 0 < y.sum() < len(y):
        assert cut == 0
        return

    def value(place: float) -> tuple[float, float]:
        called = z >= place
        hits = (called & (y == 1)).sum()
        precision, recall = hits / max(1, called.sum()), hits / y.sum()
        if criterion == "f_beta":
            return (2 * hits / (called.sum() + y.sum()), 0)
        if criterion == "precision_at_target_recall":
            return (precision if recall >= 0.6 else -1, recall)
        return (recall if precision >= 0.7 and hits else precision - 1, 0)

    places = [*(np.unique(z) - 0.25), z.max() + 1]
    assert value(cut)[0] == pytest.approx(max(value(place)[0] for place in places), abs=1e-6)


def test_accuracy_leaves_the_threshold_unless_much_is_won() -> None:
    z, y = np.arange(-50, 50) + 0.5, np.zeros(100)
    y[51:] = 1  # a threshold of 1 would win one row, which is chance
    assert choose_cut(parameters(), Cuts.of(z, y, None)) == (0.0, 0.99)
    y[:] = 0
    y[80:] = 1
    cut, accuracy = choose_cut(parameters(), Cuts.of(z, y, None))
    assert (cut, accuracy) == (30, 1)
    loss = parameters(binary_classifier_model_selection_criteria="loss_function")
    assert choose_cut(loss, Cuts.of(z, y, None))[0] == 0


@pytest.mark.parametrize("name", [name for names in LOSSES.values() for name in names])
def test_losses(name: str) -> None:
    random = np.random.default_rng(1)
    predictor = next(key for key, names in LOSSES.items() if name in names)
    asked = parameters(
        predictor_type=predictor, loss=name, margin=0.7, quantile=0.7, huber_delta=0.7, loss_insensitivity=0.7,
        **({"num_classes": 4} if predictor == "multiclass_classifier" else {}),
    )  # fmt: skip
    if name == "softmax_loss":
        z, y = random.normal(0, 3, (50, 4)), random.integers(0, 4, 50).astype(float)
        np.testing.assert_allclose(losses(asked, z, y), naive.softmax(z, y)[0])
        return
    z, y = random.normal(0, 3, 50), random.integers(0, 2, 50).astype(float)
    np.testing.assert_allclose(losses(asked, z, y), naive.loss_and_gradient(name, z, y, 0.7)[0])


def test_metrics_of_classes() -> None:
    asked = parameters(predictor_type="multiclass_classifier", num_classes=4, accuracy_top_k=2)
    z = np.array([[3, 2, 1, 0], [0, 3, 2, 1], [2, 3, 1, 0], [0, 1, 3, 2]], float)
    scored = Scored(asked)
    for part in (slice(0, 1), slice(1, 4)):
        scored.add(z[part], np.array([0.0, 1, 0, 0])[part], None)
    found = scored.metrics()
    assert found["multiclass_accuracy"] == 0.5
    assert found["multiclass_top_k_accuracy"] == 0.75
    assert found["dcg"] == pytest.approx((1 + 1 + 1 / np.log2(3) + 1 / np.log2(5)) / 4)
    assert found["macro_recall"] == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert found["macro_precision"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert found["multiclass_balanced_accuracy"] == pytest.approx((1 / 3 + 1) / 2)


def test_metrics_of_two_classes() -> None:
    scored = Scored(parameters(f_beta=2), 0.5)
    scored.add(np.array([[1.0], [0], [2], [-1]]), np.array([1.0, 1, 0, 0]), np.array([2.0, 1, 1, 1]))
    found = scored.metrics()
    assert found["binary_classification_accuracy"] == pytest.approx(3 / 5)
    assert (found["precision"], found["recall"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert found["binary_f_beta"] == pytest.approx(2 / 3)
    assert found["roc_auc_score"] == pytest.approx(3 / 6)
    assert Scored(parameters()).metrics() == {}


def test_metrics_of_regression_are_in_the_labels_unit() -> None:
    scored = Scored(parameters(predictor_type="regressor"), 0, 100, 10)
    scored.add(np.array([[110.0], [90]]), np.array([100.0, 100]), None)
    assert scored.metrics() == {"objective_loss": 1, "mse": 100, "absolute_loss": 10, "rmse": 10}
