"""The state of linear models: updates, scales, merging."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.algorithms.linear_learner import naive
from tests.algorithms.linear_learner.jobs import batch, blobs, line
from wildsage.algorithms.linear_learner.hyperparameters import LinearLearnerHyperparameters
from wildsage.algorithms.linear_learner.state import LinearState
from wildsage.algorithms.streaming import Workers
from wildsage.contract.errors import DataError


def state(d: int, *, threads: int = 1, start: Any = None, sample: bool = True, **values: Any) -> LinearState:
    parameters = LinearLearnerHyperparameters.parse({"predictor_type": "binary_classifier", **values})
    return LinearState(parameters, d, Workers(threads), keeps_sample=sample, start=start)


@pytest.mark.parametrize("l1", [0, 0.02])
@pytest.mark.parametrize(("predictor", "loss", "name", "parameter"), [
    ("binary_classifier", "logistic", "seed", 0), ("binary_classifier", "hinge_loss", "margin", 0.5),
    ("regressor", "squared_loss", "seed", 0), ("regressor", "huber_loss", "huber_delta", 0.5),
    ("regressor", "quantile_loss", "quantile", 0.8),
])  # fmt: skip
def test_updates_are_adams(predictor: str, loss: str, name: str, parameter: float, l1: float) -> None:
    labels, rows = blobs(64, d=6) if predictor == "binary_classifier" else line(64, d=6)
    given = {"predictor_type": predictor, "loss": loss, name: parameter, "learning_rate": 0.05, "wd": 0.01, "l1": l1}
    # Of a label whose mean is taken off, the bias would follow rounding alone with squares.
    unbias = loss != "squared_loss"
    made = state(6, **given, mini_batch_size=64, num_models=1, unbias_label=unbias)
    for _ in range(12):
        made.update(batch(labels, rows))
    random = np.random.default_rng(0)
    begin = random.uniform(-0.07, 0.07, (1, 7, 16))[0, :, 0]
    begin[6] = 0
    scaled = labels if predictor == "binary_classifier" else (labels - unbias * labels.mean()) / labels.std()
    last, mean = naive.adam(
        rows, scaled, begin, 12, rate=0.05, wd=0.01, l1=l1, kind=loss, parameter=parameter
    )  # fmt: skip
    np.testing.assert_allclose(made.stacks["values"].reshape(7, 16)[:, 0], last, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(made.stacks["mean"].reshape(7, 16)[:, 0], mean, rtol=2e-3, atol=2e-4)
    assert not made.stacks["values"].reshape(7, 16)[:, 1:].any()  # lanes of no model


@pytest.mark.parametrize("predictor", ["binary_classifier", "multiclass_classifier", "regressor"])
def test_weights_for_rows_as_they_come_give_the_scores_of_scaled_ones(predictor: str) -> None:
    labels, rows = line(200) if predictor == "regressor" else blobs(200, d=4, classes=3)
    labels = np.minimum(labels, 1) if predictor == "binary_classifier" else labels
    made = state(4, predictor_type=predictor, num_models=3, **({"num_classes": 3} if predictor[0] == "m" else {}))
    made.update(batch(labels, rows))
    weights, biases = made.weights_of(1, "values")
    x = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    values = made.stacks["values"].reshape(5, made.width)[:, 1::16]
    expected = x @ values[:4] + values[4]
    if predictor == "regressor":
        expected = expected * labels.std() + labels.mean()
    np.testing.assert_allclose(rows @ weights.T + biases, expected, rtol=1e-4, atol=1e-4)


def test_all_numbers_of_threads_give_the_same() -> None:
    labels, rows = blobs(500)
    both = [state(5, threads=threads) for threads in (1, 2)]
    for made in both:
        made.update(batch(labels, rows))
        made.workers.close()
    for name, array in both[0].arrays().items():
        assert np.array_equal(array, both[1].arrays()[name]), name


def test_models_differ_in_their_settings_and_the_first_is_as_given() -> None:
    made = state(5, learning_rate=0.02, wd=0.003)
    assert made.models == 32
    assert (made.settings[0].rate, made.settings[0].wd) == (0.02, 0.003)
    assert {each.wd for each in made.settings} == {0.003}
    assert {each.rate for each in made.settings} == {0.02, 0.01, 0.04, 0.005}
    assert len({(each.rate, each.wd) for each in state(5).settings}) == 32
    assert {each.balance for each in state(5, positive_example_weight_mult="auto").settings} == {0, 0.5, 1}
    assert state(100_000).models == 16
    assert state(1000, predictor_type="multiclass_classifier", num_classes=1000).models == 1


def test_merging_two_halves_equals_one_pass() -> None:
    labels, rows = blobs(20_000)
    held_labels, held = blobs(5000, seed=2)
    whole, first, second = (state(5) for _ in range(3))
    for at in range(0, 20_000, 2000):
        part = batch(labels[at : at + 2000], rows[at : at + 2000])
        whole.update(part)
        (first if at < 10_000 else second).update(part)
    alone = first.assess([batch(held_labels, held)])[0].min()
    first.merge(second)
    assert first.get("rows") == 20_000
    assert first.classes.tolist() == whole.classes.tolist()
    assert first.sample is not None
    assert len(first.sample) <= first.sample_rows
    losses = [made.assess([batch(held_labels, held)])[0].min() for made in (whole, first)]
    assert losses[1] < 1.02 * losses[0]
    assert losses[1] <= 1.001 * alone
    pooled = rows[:2000].mean(axis=0) / 2 + rows[10_000:12_000].mean(axis=0) / 2
    np.testing.assert_allclose(first.scales.table[1, :5], pooled, rtol=1e-5)
    first.update(batch(labels, rows))
    empty = state(5)
    empty.merge(first)
    assert np.array_equal(empty.stacks["values"], first.stacks["values"])


@pytest.mark.parametrize("predictor", ["binary_classifier", "multiclass_classifier", "regressor"])
def test_a_merge_with_itself_changes_nothing(predictor: str) -> None:
    more = {"num_classes": 3, "num_models": 1} if predictor == "multiclass_classifier" else {}
    labels, rows = line(300) if predictor == "regressor" else blobs(300, d=4, classes=3 if more else 2)
    both = [state(4, predictor_type=predictor, **more) for _ in range(2)]
    for made in both:
        made.update(batch(labels, rows))
    before = {name: stack.copy() for name, stack in both[0].stacks.items()}
    both[0].merge(both[1])
    for name, stack in before.items():
        np.testing.assert_allclose(both[0].stacks[name], stack, rtol=1e-5, atol=1e-6)


def test_restored_states_are_equal() -> None:
    labels, rows = blobs(300)
    made, other = state(5), state(5)
    made.update(batch(labels, rows, np.ones(300)))
    other.restore(made.arrays())
    for name, array in made.arrays().items():
        assert np.array_equal(array, other.arrays()[name]), name
    with pytest.raises(ValueError, match="of another state"):
        state(6).restore(made.arrays())


def test_weights_of_rows_count_as_often_as_rows_themselves() -> None:
    labels, rows = blobs(200)
    twice = np.concatenate([np.arange(200), np.arange(100)])
    weights = np.where(np.arange(200) < 100, 2.0, 1.0)
    settings = {"mini_batch_size": 1000, "num_models": 1, "normalize_data": "false", "unbias_data": "false"}
    one, other = (state(5, **settings) for _ in range(2))
    for _ in range(5):
        one.update(batch(labels, rows, weights))
        other.update(batch(labels[twice], rows[twice]))
    np.testing.assert_allclose(one.stacks["values"], other.stacks["values"], rtol=1e-3, atol=1e-4)


def test_far_means_are_taken_off_before() -> None:
    labels, rows = blobs(400)
    settings = {"mini_batch_size": 100, "num_models": 1}
    near, far = state(5, **settings), state(5, **settings)
    scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    moved = np.round(scaled * 64) / 64 + 2.0**17
    for _ in range(10):
        near.update(batch(labels, np.round(scaled * 64) / 64))
        far.update(batch(labels, moved))
    np.testing.assert_allclose(far.stacks["values"], near.stacks["values"], rtol=1e-3, atol=1e-3)


def test_constant_columns_do_no_harm() -> None:
    labels, rows = blobs(400)
    rows[:, 2] = 7e6
    made = state(5)
    made.update(batch(labels, rows))
    assert np.isfinite(made.stacks["values"]).all()
    assert made.scales.deviation[2] == 1


@pytest.mark.parametrize(("predictor", "label", "allowed"), [
    ("binary_classifier", 2, "0 or 1"), ("binary_classifier", 0.5, "0 or 1"),
    ("multiclass_classifier", 3, "0 to 2, num_classes being 3"), ("multiclass_classifier", -1, "0 to 2"),
])  # fmt: skip
def test_wrong_labels_are_named_with_their_place(predictor: str, label: float, allowed: str) -> None:
    labels, rows = blobs(40)
    labels[17] = label
    more = {"num_classes": 3} if predictor == "multiclass_classifier" else {}
    with pytest.raises(DataError, match=rf"rows.csv, line 18: label {label:g} is not allowed: {allowed}"):
        state(5, predictor_type=predictor, **more).update(batch(labels, rows))
    weights = np.ones(40)
    weights[3] = -1
    with pytest.raises(DataError, match=r"line 4: weight -1 is not allowed: 0 or more"):
        state(5, predictor_type="regressor").update(batch(labels, rows, weights))


def test_few_rows_make_small_updates_unless_told() -> None:
    labels, rows = blobs(400)
    made = state(5)
    made.update(batch(labels, rows))
    assert made.get("updates") == 13
    told = state(5, mini_batch_size=1000)
    told.update(batch(labels, rows))
    assert told.get("updates") == 1
