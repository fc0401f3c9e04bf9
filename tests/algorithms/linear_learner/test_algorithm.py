"""Linear Learner as a job: kinds of prediction, channels, files, going on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.algorithms.jobs import Listener
from tests.algorithms.linear_learner.jobs import blobs, csv, fit, job, libsvm, line
from tests.waiting import until
from wildsage.algorithms.linear_learner import LinearLearner
from wildsage.algorithms.linear_learner.hyperparameters import LOSSES, LinearLearnerHyperparameters
from wildsage.algorithms.linear_learner.model import LinearModel
from wildsage.algorithms.model_file import MODEL_FILE
from wildsage.contract.channels import Channel, write_channels
from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.hyperparameters import write_hyperparameters
from wildsage.contract.layout import Layout
from wildsage.data.readers import read_body
from wildsage.kernels.kernel import missing


def metrics(listener: Listener) -> dict[str, float]:
    return {name: value for name, value, _ in listener.metrics}


def three(make: Any, count: int = 900, **more: Any) -> dict[str, str]:
    """Channels train, validation and test."""
    return {
        name: csv(*make(rows, seed=seed, **more))
        for seed, (name, rows) in enumerate([("train", count), ("validation", count // 4), ("test", count // 2)])
    }


@pytest.mark.parametrize("optimizer", ["auto", "sgd", "rmsprop"])
@pytest.mark.parametrize("loss", LOSSES["binary_classifier"])
def test_two_classes(loss: str, optimizer: str, tmp_path: Path) -> None:
    listener = Listener()
    fit(tmp_path, three(blobs), listener, loss=loss, optimizer=optimizer)
    found = metrics(listener)
    assert found["test:binary_classification_accuracy"] > 0.95
    assert found["test:roc_auc_score"] > 0.98
    names = ("objective_loss", "binary_classification_accuracy", "binary_f_beta", "precision", "recall")
    assert {f"test:{name}" for name in names} <= set(found)
    assert {f"validation:{name}" for name in (*names[1:], "objective_loss:final", "objective_loss")} <= set(found)
    assert listener.facts["models"] == 32
    epochs = listener.facts["epochs_run"]
    assert [epoch for name, _, epoch in listener.metrics if name == "train:objective_loss"] == [*range(1, epochs + 1)]


@pytest.mark.parametrize("models", ["auto", 1, 5])
@pytest.mark.parametrize("balanced", [False, True])
def test_several_classes(models: Any, balanced: bool, tmp_path: Path) -> None:
    listener = Listener()
    model = fit(
        tmp_path, three(blobs, classes=4), listener, predictor_type="multiclass_classifier", num_classes=4,
        num_models=models, accuracy_top_k=2, balance_multiclass_weights=balanced,
    )  # fmt: skip
    found = metrics(listener)
    assert found["test:multiclass_accuracy"] > 0.85
    assert found["test:multiclass_top_k_accuracy"] > found["test:multiclass_accuracy"]
    assert {"test:dcg", "test:macro_f_beta", "test:macro_precision", "test:macro_recall"} <= set(found)
    labels, rows = blobs(200, classes=4, seed=9)
    answers = model.answer(read_body(csv(labels, rows).encode(), "text/csv;label_size=1"), {})
    assert answers["score"].shape == (200, 4)
    np.testing.assert_allclose(answers["score"].sum(axis=1), 1)
    assert (answers["predicted_label"] == answers["score"].argmax(axis=1)).all()
    assert (answers["predicted_label"] == labels).mean() > 0.8


@pytest.mark.parametrize("loss", LOSSES["regressor"])
def test_regression(loss: str, tmp_path: Path) -> None:
    listener = Listener()
    model = fit(tmp_path, three(line), listener, predictor_type="regressor", loss=loss)
    found = metrics(listener)
    assert found["test:rmse"] < 0.6
    assert found["test:mse"] == pytest.approx(found["test:rmse"] ** 2)
    assert found["test:absolute_loss"] < 0.5
    labels, rows = line(100, seed=7)
    answers = model.answer(read_body(csv(labels, rows).encode(), "text/csv;label_size=1"), {})
    assert list(answers) == ["score"]
    assert np.abs(answers["score"] - labels).mean() < 0.5


def test_a_quantile_is_one(tmp_path: Path) -> None:
    labels, rows = line(4000, noise=5)
    model = fit(
        tmp_path, {"train": csv(labels, rows)}, predictor_type="regressor", loss="quantile_loss", quantile=0.8
    )  # fmt: skip
    scores = model.answer(read_body(csv(labels, rows).encode(), "text/csv;label_size=1"), {})["score"]
    assert (labels < scores).mean() == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("settings", [
    {"normalize_data": False, "learning_rate": 0.5}, {"normalize_label": False}, {"unbias_data": False},
    {"unbias_label": False, "learning_rate": 0.3}, {"use_bias": False}, {"init_method": "normal"}, {"init_bias": 2},
    {"mini_batch_size": 100}, {"l1": 1e-4}, {"use_lr_scheduler": False}, {"bias_lr_mult": 3, "bias_wd_mult": 0.1},
    {"lr_scheduler_step": 50, "lr_scheduler_factor": 0.9, "lr_scheduler_minimum_lr": 1e-4}, {"num_models": 1},
    {"num_point_for_scaler": 100}, {"wd": 1e-5},
])  # fmt: skip
def test_settings(settings: dict[str, Any], tmp_path: Path) -> None:
    listener = Listener()
    rows = three(line)
    fit(tmp_path, rows, listener, predictor_type="regressor", epochs=40, early_stopping_patience=40, **settings)
    limit = 2.0 if "normalize_label" in settings or "normalize_data" in settings else 0.7
    assert metrics(listener)["test:rmse"] < (40 if "use_bias" in settings else limit)


def test_l1_leaves_few_weights(tmp_path: Path) -> None:
    labels, rows = blobs(1000, d=20)
    rows[:, 10:] = np.random.default_rng(3).normal(size=(1000, 10))
    model = fit(tmp_path, {"train": csv(labels, rows)}, l1=0.02, num_models=1, learning_rate=0.05)
    assert (model.weights == 0).sum() >= 8


@pytest.mark.parametrize(("criterion", "measure", "least"), [
    ("precision_at_target_recall", "recall", 0.95), ("recall_at_target_precision", "precision", 0.95),
    ("f_beta", "binary_f_beta", 0.5), ("loss_function", "binary_classification_accuracy", 0.7),
])  # fmt: skip
def test_criteria(criterion: str, measure: str, least: float, tmp_path: Path) -> None:
    listener = Listener()
    channels = three(blobs, 1600, noise=4.0)
    settings = {"binary_classifier_model_selection_criteria": criterion, "target_recall": 0.95}
    fit(tmp_path, channels, listener, target_precision=0.95, **settings)
    assert metrics(listener)[f"validation:{measure}"] >= least


@pytest.mark.parametrize("weight", ["balanced", "auto", 20])
def test_rare_positives_count_more(weight: Any, tmp_path: Path) -> None:
    labels, rows = blobs(6000, noise=5.0)
    kept = np.flatnonzero((labels == 0) | (np.arange(6000) % 15 == 0))
    recalls = []
    for mult in (1.0, weight):
        listener = Listener()
        fit(
            tmp_path / str(mult), {"train": csv(labels[kept], rows[kept])}, listener,
            positive_example_weight_mult=mult, binary_classifier_model_selection_criteria="loss_function",
        )  # fmt: skip
        recalls.append(listener.facts["train_metrics"]["recall"])
    assert recalls[1] >= recalls[0] if weight == "auto" else recalls[1] > recalls[0] + 0.2


def test_sparse_rows_give_what_dense_ones_do(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    rows = np.where(random.random((600, 30)) < 0.2, random.normal(1, 1, (600, 30)), 0)
    labels = (rows[:, :5].sum(axis=1) > 1).astype(float)
    settings = {"feature_dim": 30, "mini_batch_size": 50}
    dense = fit(tmp_path / "dense", {"train": csv(labels, rows)}, **settings)
    sparse = fit(tmp_path / "sparse", {"train": libsvm(labels, rows)}, content_type="text/libsvm", **settings)
    np.testing.assert_allclose(sparse.weights, dense.weights, rtol=0.01, atol=0.01)
    given = read_body(libsvm(labels, rows).encode(), "text/libsvm", feature_dim=30, label_width=1)
    other = read_body(csv(labels, rows).encode(), "text/csv;label_size=1")
    np.testing.assert_allclose(sparse.answer(given, {})["score"], sparse.answer(other, {})["score"], rtol=1e-6)


def test_answers_have_the_contracts_form(tmp_path: Path) -> None:
    model = fit(tmp_path, three(blobs))
    answer = model.predict([{"features": [1, 2, 3, 4, 5]}], [{}])[0]
    assert list(answer) == ["score", "predicted_label"]
    assert 0 <= answer["score"] <= 1
    assert answer["predicted_label"] in (0, 1)
    with pytest.raises(ClientError, match="4"):
        model.predict([{"features": [1, 2, 3, 4]}], [{}])


def test_early_stopping_and_its_patience(tmp_path: Path) -> None:
    first, second = Listener(), Listener()
    fit(tmp_path / "a", three(blobs), first, epochs=40, early_stopping_tolerance=0.5, early_stopping_patience=1)
    fit(tmp_path / "b", three(blobs), second, epochs=12, early_stopping_patience=20)
    assert first.facts["stopped_early"]
    assert first.facts["epochs_run"] < 40
    assert second.facts["epochs_run"] == 12


@pytest.mark.parametrize("packed", [True, False])
def test_training_goes_on_from_a_model(packed: bool, tmp_path: Path) -> None:
    channels = three(line)
    first, second = Listener(), Listener()
    model = fit(tmp_path / "first", channels, first, predictor_type="regressor")
    folder = tmp_path / "model"
    folder.mkdir()
    model.save(folder)
    if packed:
        (tmp_path / "packed").mkdir()
        with tarfile.open(tmp_path / "packed" / "model.tar.gz", "w:gz") as archive:
            archive.add(folder / MODEL_FILE, MODEL_FILE)
        folder = tmp_path / "packed"
    settings = {"predictor_type": "regressor", "epochs": 1, "learning_rate": 1e-4}
    context = job(tmp_path / "second", channels, second, **settings)
    context.channels["model"] = Channel("model", folder)  # type: ignore[index]
    LinearLearner().train(context)
    assert metrics(second)["test:mse"] < 1.05 * metrics(first)["test:mse"]
    for wrong, told in [({"predictor_type": "binary_classifier"}, "it is a regressor, not a binary_classifier")]:
        context = job(tmp_path / "third", three(blobs, d=4), **wrong)
        context.channels["model"] = Channel("model", folder)  # type: ignore[index]
        with pytest.raises(ClientError, match=f"channel model: {told}"):
            LinearLearner().train(context)


def test_a_stop_within_an_epoch_is_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wildsage.algorithms.linear_learner.algorithm.BATCH_BYTES", 100)
    channels = three(blobs, 3000)
    settings = {"mini_batch_size": 100, "num_point_for_scaler": 300, "epochs": 3}
    expected = fit(tmp_path / "whole", channels, **settings)
    fit(tmp_path / "parts", channels, Listener(stop_at=14), **settings)
    listener = Listener()
    resumed = fit(tmp_path / "parts", channels, listener, **settings)
    assert any("going on from the checkpoint: 1 epochs and 1,200 rows are done" in line for line in listener.lines)
    assert np.array_equal(resumed.weights, expected.weights)
    assert resumed.facts == expected.facts


def test_a_killed_job_goes_on(tmp_path: Path) -> None:
    def lay_out(name: str) -> Layout:
        layout = Layout(tmp_path / name)
        layout.create()
        values = {"predictor_type": "regressor", "epochs": "400", "early_stopping_patience": "500"}
        write_hyperparameters(layout.hyperparameters, {**values, "mini_batch_size": "5"})
        layout.channel("train").mkdir(parents=True)
        (layout.channel("train") / "rows.csv").write_text(csv(*line(1500)))
        write_channels(layout, [Channel("train", layout.channel("train"))])
        return layout

    def start(layout: Layout) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "wildsage.runtime.train", "--algorithm", "linear-learner"]
        environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(layout.base), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    models = []
    for name in ("killed", "whole"):
        layout = lay_out(name)
        process = start(layout)
        try:
            if name == "killed":
                until(lambda layout=layout: any(layout.checkpoints.glob("*.npz")), 60)  # type: ignore[misc]
                process.send_signal(signal.SIGKILL)
                process.communicate()
                assert not (layout.model / MODEL_FILE).exists()
                process = start(layout)
            output, _ = process.communicate()
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        assert process.returncode == 0, output
        assert (b"going on from the checkpoint" in output) == (name == "killed")
        models.append((layout.model / MODEL_FILE).read_bytes())
    assert models[0] == models[1]


def test_a_damaged_model_is_told(tmp_path: Path) -> None:
    model = fit(tmp_path / "job", three(blobs))
    folder = tmp_path / "model"
    folder.mkdir()
    model.save(folder)
    whole = (folder / MODEL_FILE).read_bytes()
    (folder / MODEL_FILE).write_bytes(whole[:-5])
    assert LinearModel.recognises(folder)
    with pytest.raises(DataError, match="not a model of linear-learner: Error while"):
        LinearModel.load(folder)
    (folder / MODEL_FILE).write_bytes(b"PK\3\4" + whole)
    assert not LinearModel.recognises(folder)


def test_what_cannot_be_is_told_at_once(tmp_path: Path) -> None:
    parse = LinearLearnerHyperparameters.parse
    with pytest.raises(ClientError, match=r'loss = "logistic" is not allowed: with predictor_type = regressor'):
        parse({"predictor_type": "regressor", "loss": "logistic"})
    with pytest.raises(ClientError, match="num_classes is missing"):
        parse({"predictor_type": "multiclass_classifier"})
    listener = Listener()
    fit(tmp_path / "a", three(blobs), listener, momentum=0.5, num_classes=4)
    assert listener.lines[:2] == ["num_classes has no effect here", "momentum has no effect here"]
    with pytest.raises(DataError, match=r"text.txt, line 2: label 7 is not allowed: 0 or 1"):
        fit(tmp_path / "b", {"train": "1,2,3\n7,2,3\n"})
    with pytest.raises(ClientError, match="the labels and feature_dim make 10"):
        fit(tmp_path / "c", {"train": "1,2,3\n0,2,3\n"}, feature_dim=9)
    with pytest.raises(ClientError, match="diverged"):
        fit(tmp_path / "d", three(line), predictor_type="regressor", optimizer="sgd", learning_rate=1e20, num_models=1)


def test_a_single_row_and_a_single_class_are_enough(tmp_path: Path) -> None:
    fit(tmp_path / "a", {"train": "1,2,3\n"})
    fit(tmp_path / "b", {"train": "1,2,3\n1,2,4\n", "validation": "1,2,3\n"})
    fit(tmp_path / "c", {"train": "5,2,3\n"}, predictor_type="regressor")


def test_a_validation_channel_too_large_to_keep_is_read_each_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fit(tmp_path / "kept", three(blobs))
    monkeypatch.setattr("wildsage.algorithms.linear_learner.algorithm.HELD_BYTES", 100)
    read = fit(tmp_path / "read", three(blobs))
    np.testing.assert_allclose(read.weights, expected.weights, rtol=1e-6)
    folder = tmp_path / "stopped"
    fit(folder, three(blobs), Listener(stop_at=1))
    np.testing.assert_allclose(fit(folder, three(blobs)).weights, read.weights, rtol=1e-6)


def test_breast_cancer(data_folder: Path, tmp_path: Path) -> None:
    lines = (data_folder / "breast-cancer" / "wdbc.csv").read_text().splitlines()[1:]
    rows = [line.replace("M,", "1,", 1).replace("B,", "0,", 1) for line in lines]
    listener = Listener()
    channels = {"train": rows[::2], "validation": rows[1::4], "test": rows[3::4]}
    fit(tmp_path, {name: "\n".join(each) + "\n" for name, each in channels.items()}, listener)
    assert metrics(listener)["test:binary_classification_accuracy"] > 0.95


def test_memory_is_estimated_with_advice(tmp_path: Path) -> None:
    small = LinearLearner().estimate_memory(job(tmp_path / "a", three(blobs)))
    large = LinearLearner().estimate_memory(
        job(tmp_path / "b", three(blobs), predictor_type="multiclass_classifier", num_classes=100_000)
    )
    assert large.peak_bytes > small.peak_bytes + (1 << 20)
    assert "num_models" in large.advice


def test_it_warms_up() -> None:
    LinearLearner.warm_up()
    assert missing("wildsage.algorithms.linear_learner") == []


def test_facts_are_json(tmp_path: Path) -> None:
    listener = Listener()
    fit(tmp_path, three(blobs), listener)
    json.dumps(listener.facts, allow_nan=False)
    assert {"epochs_run", "best_epoch", "best_model", "seconds", "models"} <= set(listener.facts)
