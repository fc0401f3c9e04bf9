"""Hyperparameters: what is allowed together, and what the library is told."""

from __future__ import annotations

from typing import Any

import pytest

from wildsage.algorithms.xgboost.hyperparameters import XGBoostHyperparameters, is_maximised
from wildsage.contract.errors import ClientError


def parse(**values: Any) -> XGBoostHyperparameters:
    return XGBoostHyperparameters.parse({"num_round": "3", **values})


def test_only_what_is_set_is_told_to_the_library() -> None:
    assert parse().parameters("cpu") == {"objective": "reg:squarederror"}
    told = parse(reg_lambda="2", learning_rate="0.1", min_split_loss="3", alpha="4", max_depth="2").parameters("cpu")
    assert told == {
        "objective": "reg:squarederror", "lambda": 2.0, "eta": 0.1, "gamma": 3.0, "alpha": 4.0, "max_depth": 2,
    }  # fmt: skip


def test_two_names_of_one_are_refused() -> None:
    with pytest.raises(ClientError, match="eta and learning_rate are two names") as caught:
        parse(eta="0.1", learning_rate="0.2", alpha="-1")
    assert "alpha = -1 is not allowed" in str(caught.value)


@pytest.mark.parametrize("given", ["auc,error@0.4", '["auc", "error@0.4"]', " auc , error@0.4,auc"])
def test_metrics_come_as_a_list_or_as_text(given: str) -> None:
    assert parse(eval_metric=given, objective="binary:logistic").metrics() == ["auc", "error@0.4"]


def test_a_tuning_job_s_metric_is_the_last() -> None:
    found = parse(eval_metric="rmse,mae", _tuning_objective_metric="validation:rmse")
    assert found.metrics() == ["mae", "rmse"]


def test_our_metrics_are_not_told_to_the_library() -> None:
    told = parse(eval_metric="accuracy,auc", objective="binary:logistic").parameters("cpu")
    assert told["eval_metric"] == ["auc"]
    assert told["disable_default_eval_metric"] == 1


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"objective": "multi:softmax"}, "num_class is missing"),
        ({"num_class": "3"}, "num_class = 3 is not allowed"),
        ({"objective": "binary:logistic", "base_score": "1"}, "base_score = 1.0 is not allowed"),
        ({"eval_metric": "accuracy"}, "eval_metric = accuracy is not allowed"),
        ({"eval_metric": "rsme"}, "rsme is no metric"),
        ({"eval_metric": "auc@3"}, "only error, ndcg, map take a number"),
        ({"eval_metric": "error@x"}, "a number must follow error@"),
        ({"eval_metric": "aft-nloglik"}, "it needs objective survival:aft"),
        ({"objective": "multi:softmax", "num_class": "3", "eval_metric": "f1_binary"}, "it needs two classes"),
        ({"updater": "grow_colmaker,grow_histmaker"}, "at most one of"),
        ({"updater": "shotgun"}, "with trees"),
        ({"booster": "gblinear", "updater": "prune"}, "with gblinear"),
        ({"booster": "gblinear", "monotone_constraints": "(1)"}, "monotone_constraints is not allowed"),
        ({"process_type": "update"}, "updater is missing"),
        ({"process_type": "update", "updater": "grow_colmaker"}, "refresh and prune with process_type update"),
        ({"monotone_constraints": "(2, 0)"}, "a list of -1, 0, 1"),
        ({"interaction_constraints": "[1, 2]"}, "lists of features by their numbers"),
        ({"max_bin": "1"}, "max_bin = 1 is not allowed"),
        ({"seed": str(2**31)}, "seed = 2147483648 is not allowed"),
        ({"subsample": "0"}, "subsample = 0 is not allowed: a number, above 0 and 1 or less"),
        ({"tree_method": "histogram"}, "tree_method ="),
    ],
)
def test_what_is_not_allowed_is_named(values: dict[str, str], told: str) -> None:
    with pytest.raises(ClientError) as caught:
        parse(**values)
    assert told in str(caught.value)


def test_old_names_work_with_a_word() -> None:
    found = parse(objective="reg:linear", tree_method="gpu_hist", predictor="gpu_predictor", silent="1", dsplit="row")
    assert found.parameters("cuda") == {"objective": "reg:squarederror", "tree_method": "hist", "device": "cuda"}
    assert "device" not in found.parameters("cpu")
    notes = "\n".join(found.notes("cpu"))
    for word in ("reg:squarederror", "gpu_hist is now called hist", "predictor = gpu_predictor", "verbosity", "dsplit"):
        assert word in notes
    assert not parse().notes("cpu")


def test_a_bin_accuracy_becomes_a_number_of_bins() -> None:
    found = parse(tree_method="approx", sketch_eps="0.1")
    assert found.parameters("cpu")["max_bin"] == 10
    assert "max_bin = 10" in found.notes("cpu")[0]


def test_updaters_that_are_gone_are_replaced() -> None:
    found = parse(updater="distcol,prune")
    assert found.parameters("cpu")["updater"] == "grow_colmaker,prune"
    assert "grow_colmaker is used" in found.notes("cpu")[0]


@pytest.mark.parametrize(
    ("values", "binned"),
    [
        ({}, True), ({"tree_method": "hist"}, True), ({"booster": "dart"}, True), ({"tree_method": "exact"}, False),
        ({"tree_method": "approx"}, False), ({"booster": "gblinear"}, False), ({"updater": "grow_colmaker"}, False),
    ],
)  # fmt: skip
def test_bins_are_enough_for_some(values: dict[str, str], binned: bool) -> None:
    assert parse(**values).quantised is binned


def test_what_is_maximised() -> None:
    assert is_maximised("auc")
    assert is_maximised("ndcg@3-")
    assert not is_maximised("error@0.3")
