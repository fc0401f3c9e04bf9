"""Whole jobs beside the bare library."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import xgboost

from tests.algorithms.xgboost.jobs import Listener, binary, csv_of, job, libsvm_of, raw, rows, train
from tests.waiting import until
from wildsage.algorithms.context import Silence, TrainingContext
from wildsage.algorithms.xgboost import XGBoost, algorithm
from wildsage.algorithms.xgboost import rows as rows_module
from wildsage.algorithms.xgboost.hyperparameters import XGBoostHyperparameters
from wildsage.contract.channels import Channel, write_channels
from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.hyperparameters import write_hyperparameters
from wildsage.contract.layout import Layout
from wildsage.contract.metrics import read_metrics
from wildsage.data.parquet import write_parquet
from wildsage.data.recordio import write_numpy_to_dense_tensor

ROOT = Path(__file__).parents[3]


def bare(values: np.ndarray, rounds: int = 5, **parameters: Any) -> bytes:
    told = {"max_depth": 3, "nthread": 1, "objective": "reg:squarederror", **parameters}
    data = xgboost.DMatrix(values[:, 1:], values[:, 0])
    return bytes(xgboost.train(told, data, rounds, evals=[(data, "train")], verbose_eval=False).save_raw("ubj"))


def test_the_model_is_the_library_s_own_bit_by_bit(tmp_path: Path) -> None:
    values = rows(500, missing=0.1)
    assert raw(train(tmp_path, {"train": csv_of(values)})) == bare(values)


@pytest.mark.parametrize("kind", ["csv", "libsvm", "parquet", "recordio"])
def test_every_format_gives_the_same_trees(tmp_path: Path, kind: str) -> None:
    values = rows(200)
    files = {"csv": csv_of(values), "libsvm": libsvm_of(values)}
    types = {"csv": "text/csv", "libsvm": "text/libsvm", "parquet": "application/x-parquet"}
    path = tmp_path / "made"
    with path.open("wb") as file:
        if kind == "parquet":
            write_parquet(file, values[:, 1:], values[:, 0])
        elif kind == "recordio":
            write_numpy_to_dense_tensor(file, values[:, 1:], values[:, 0])
        else:
            file.write(files[kind])
    # Of a declared type, and of one that is found.
    for declared in (types.get(kind, "application/x-recordio-protobuf"), None):
        model = train(tmp_path / str(declared is None), {"train": path.read_bytes()}, content_type=declared)
        found, expected = (json.loads(_json(each))["learner"] for each in (raw(model), bare(values)))
        assert found["gradient_booster"] == expected["gradient_booster"]


def _json(booster: bytes) -> bytes:
    return bytes(xgboost.Booster(model_file=bytearray(booster)).save_raw("json"))


def test_the_log_has_the_published_form(tmp_path: Path) -> None:
    listener = Listener()
    files = {"train": csv_of(binary(200)), "validation": csv_of(binary(50, seed=1))}
    train(tmp_path, files, listener, objective="binary:logistic", eval_metric="auc,accuracy", num_round=2)
    lines = [line for line in listener.lines if line.startswith("[")]
    assert len(lines) == 2
    form = r"[1]#011train-auc:{}#011validation-auc:{}#011train-accuracy:{}#011validation-accuracy:{}"
    epoch, values = listener.rounds[1]
    assert epoch == 1
    assert list(values) == ["train:auc", "validation:auc", "train:accuracy", "validation:accuracy"]
    assert [float(part.split(":")[1]) for part in lines[1].split("#011")[1:]] == pytest.approx(list(values.values()))
    assert lines[1].split(":")[0] == form.split(":")[0]


OBJECTIVES: dict[str, dict[str, Any]] = {
    "reg:squarederror": {"eval_metric": "rmse,mae,mse,r2,mphe,mape"},
    "reg:linear": {},
    "reg:logistic": {"label": "unit", "eval_metric": "logloss,auc"},
    "reg:squaredlogerror": {"label": "positive", "eval_metric": "rmsle"},
    "reg:pseudohubererror": {},
    "reg:absoluteerror": {},
    "reg:gamma": {"label": "positive", "eval_metric": "gamma-nloglik,gamma-deviance"},
    "reg:tweedie": {"label": "positive", "tweedie_variance_power": 1.3},
    "binary:logistic": {"label": "binary", "eval_metric": "error,error@0.3,aucpr,f1,f1_binary,recall_micro"},
    "binary:logitraw": {"label": "binary", "eval_metric": "auc,balanced_accuracy"},
    "binary:hinge": {"label": "binary", "eval_metric": "precision,recall,error"},
    "count:poisson": {"label": "count", "eval_metric": "poisson-nloglik"},
    "multi:softmax": {"label": "class", "num_class": 3, "eval_metric": "merror,accuracy"},
    "multi:softprob": {"label": "class", "num_class": 3, "eval_metric": "mlogloss,auc,f1_macro,precision_macro"},
    "rank:pairwise": {"label": "count", "eval_metric": "ndcg@2"},
    "rank:ndcg": {"label": "count"},
    "rank:map": {"label": "binary", "eval_metric": "map"},
    "survival:aft": {
        "label": "positive", "aft_loss_distribution": "normal",
        "eval_metric": "aft-nloglik,interval-regression-accuracy",
    },
    "survival:cox": {"eval_metric": "cox-nloglik"},
}  # fmt: skip


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_trains_and_answers(tmp_path: Path, objective: str) -> None:
    values, parameters = rows(120), dict(OBJECTIVES[objective])
    kind = parameters.pop("label", "number")
    label = values[:, 0]
    labels = {"unit": 1 / (1 + np.exp(-label)), "positive": np.abs(label) + 0.1, "binary": label > 0, "number": label}
    labels |= {"count": np.floor(np.abs(label) * 2), "class": np.digitize(label, [-0.5, 0.5])}
    values[:, 0] = labels[kind]
    listener = Listener()
    files = {"train": csv_of(values), "validation": csv_of(values[:40])}
    model = train(tmp_path, files, listener, objective=objective, **parameters)
    asked = str(parameters.get("eval_metric", "")).split(",")
    for metric in filter(None, asked):
        assert np.isfinite(listener.rounds[-1][1][f"validation:{metric}"])
    answers = model._predict(values[:7, 1:])
    assert answers.shape == ((7, 3) if objective == "multi:softprob" else (7,))
    assert np.isfinite(answers).all()


@pytest.mark.parametrize(
    "more", [{"booster": "gblinear"}, {"booster": "dart", "rate_drop": 0.3}, {"tree_method": "exact"}]
)
def test_other_boosters(tmp_path: Path, more: dict[str, Any]) -> None:
    values = rows(150)
    files = {"train": csv_of(values), "validation": csv_of(values[:50])}
    model = train(tmp_path, files, early_stopping_rounds=2, **more)
    assert model._predict(values[:3, 1:]).shape == (3,)
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    loaded = XGBoost.load(tmp_path / "model")
    assert np.array_equal(loaded._predict(values[:, 1:]), model._predict(values[:, 1:]))  # type: ignore[attr-defined]


def test_weights_of_a_column(tmp_path: Path) -> None:
    values = rows(200)
    weights = np.arange(200, dtype=np.float32) % 3
    model = train(tmp_path, {"train": csv_of(np.insert(values, 1, weights, axis=1))}, csv_weights=1)
    data = xgboost.DMatrix(values[:, 1:], values[:, 0], weight=weights)
    expected = xgboost.train({"max_depth": 3, "nthread": 1, "objective": "reg:squarederror"}, data, 5)
    assert raw(model) == bytes(expected.save_raw("ubj"))


def test_bounds_of_survival_times_are_two_labels(tmp_path: Path) -> None:
    values = rows(100)
    lower = np.abs(values[:, 0]) + 0.1
    upper = np.where(np.arange(100) % 2, lower, -1)  # still alive
    given = np.column_stack([lower, upper, values[:, 1:]])
    model = train(tmp_path, {"train": csv_of(given)}, content_type="text/csv;label_size=2", objective="survival:aft")
    assert np.isfinite(model._predict(values[:, 1:])).all()
    given[:, 1] = 0.01
    with pytest.raises(DataError, match=r"line 1, column 2: label .* is not allowed: the first label or more"):
        train(tmp_path / "b", {"train": csv_of(given)}, content_type="text/csv;label_size=2", objective="survival:aft")


def test_queries_of_ranks_are_a_second_label(tmp_path: Path) -> None:
    values = rows(60)
    given = np.column_stack([np.arange(60) % 3, np.repeat(np.arange(6), 10), values[:, 1:]])
    kind = "text/csv;label_size=2"
    model = train(tmp_path, {"train": csv_of(given)}, content_type=kind, objective="rank:ndcg")
    data = xgboost.DMatrix(values[:, 1:], given[:, 0], qid=given[:, 1].astype(int))
    told = {"max_depth": 3, "nthread": 1, "objective": "rank:ndcg"}
    assert raw(model) == bytes(xgboost.train(told, data, 5).save_raw("ubj"))


@pytest.mark.parametrize(
    ("objective", "label", "allowed"),
    [
        ("binary:logistic", "2", "0 to 1"), ("count:poisson", "-1", "0 or more"),
        ("reg:gamma", "0", "above 0"), ("multi:softmax", "1.5", "a class, 0 to 2"), ("rank:ndcg", "-1", "0 or more"),
    ],
)  # fmt: skip
def test_a_wrong_label_is_named_with_its_place(tmp_path: Path, objective: str, label: str, allowed: str) -> None:
    more = {"num_class": 3} if objective.startswith("multi") else {}
    with pytest.raises(DataError, match=f"part, line 2, column 1: label .* is not allowed with {objective}: {allowed}"):
        train(tmp_path, {"train": f"1,2,3\n{label},5,6\n".encode()}, objective=objective, **more)


def test_what_the_library_refuses_is_a_client_error(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="training: The size of monotone constraint"):
        train(tmp_path, {"train": csv_of(rows(20))}, monotone_constraints="(1,1,1,1,1,1,1)", tree_method="hist")


def test_early_stopping_keeps_the_best_round(tmp_path: Path) -> None:
    listener = Listener()
    files = {"train": csv_of(rows(200)), "validation": csv_of(rows(60, seed=1))}
    model = train(
        tmp_path, files, listener, num_round=200, early_stopping_rounds=3, eta=1, max_depth=6, eval_metric="mae,rmse"
    )
    scores = [values["validation:rmse"] for _, values in listener.rounds]
    best = int(np.argmin(scores))
    assert len(scores) == best + 4
    handle = xgboost.Booster(model_file=bytearray(raw(model)))
    assert handle.num_boosted_rounds() == best + 1
    assert handle.best_iteration == best
    assert listener.facts["best_round"] == best
    assert listener.facts["stopped_early"] is True
    assert listener.facts["metrics"]["validation:rmse"] == pytest.approx(scores[best])


class Killed(Listener):
    """A job that dies after some rounds."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def metrics(self, values: Mapping[str, float], *, epoch: int, line: str) -> None:
        super().metrics(values, epoch=epoch, line=line)
        if epoch >= self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("more", [{}, {"booster": "gblinear"}, {"early_stopping_rounds": 50}])
def test_a_job_goes_on_from_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    monkeypatch.setattr("wildsage.algorithms.xgboost.checkpoints.SHARE", 1e9)  # one each round
    files = {"train": csv_of(rows(200)), "validation": csv_of(rows(60, seed=1))}
    expected = raw(train(tmp_path / "whole", files, num_round=9, **more))
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", files, Killed(6), num_round=9, **more)
    kept = sorted(path.name for path in (tmp_path / "parts" / "checkpoints").iterdir())
    assert kept == [f"xgboost-checkpoint.{number}" for number in range(1, 6)]
    # The last one is damaged: the one before it is as good.
    (tmp_path / "parts" / "checkpoints" / "xgboost-checkpoint.5").write_bytes(b"{L")
    listener = Listener()
    assert raw(train(tmp_path / "parts", files, listener, num_round=9, **more)) == expected
    assert listener.told("5 of 9 rounds are done")
    assert [epoch for epoch, _ in listener.rounds] == [5, 6, 7, 8]
    other = Listener()
    train(tmp_path / "parts", files, other, num_round=9, eta=0.2, **more)
    assert other.told("another job")


def test_a_killed_program_goes_on(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "ml")
    layout.create()
    values = binary(3000, 20)
    layout.channel("train").mkdir(parents=True)
    (layout.channel("train") / "train.csv").write_bytes(csv_of(values))
    rounds = 400
    write_hyperparameters(layout.hyperparameters, {"num_round": str(rounds), "objective": "binary:logistic"})
    write_channels(layout, [Channel("train", layout.channel("train"), "text/csv")])
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(layout.base), "PYTHONPATH": str(ROOT / "src")}
    environment["OMP_NUM_THREADS"] = "1"
    command = [sys.executable, "-m", "wildsage.runtime.train", "--algorithm", "xgboost"]
    program = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        until(lambda: any(layout.checkpoints.glob("xgboost-checkpoint.*")), what="a checkpoint")
        program.send_signal(signal.SIGKILL)
    finally:
        program.kill()
        program.wait()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rounds are done" in done.stdout
    assert f"[{rounds - 1}]#011train-logloss:" in done.stdout
    assert {record.epoch for record in read_metrics(layout.metrics)} == set(range(rounds))
    handle = xgboost.Booster(model_file=bytearray((layout.model / "xgboost-model").read_bytes()))
    assert handle.num_boosted_rounds() == rounds


def test_rounds_are_added_to_a_model(tmp_path: Path) -> None:
    values = rows(200)
    first = train(tmp_path / "first", {"train": csv_of(values)}, num_round=4)
    (tmp_path / "saved").mkdir()
    first.save(tmp_path / "saved")
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(tmp_path / "saved" / "xgboost-model", "xgboost-model")
    expected = raw(train(tmp_path / "whole", {"train": csv_of(values)}, num_round=9))
    for number, source in enumerate((archive, tmp_path / "saved" / "xgboost-model")):
        base = tmp_path / f"second{number}"
        base.mkdir()
        context = job(base, {"train": csv_of(values), "model": b""}, num_round=5)
        place = context.channels["model"].path
        (place / "part").unlink()
        (place / source.name).write_bytes(source.read_bytes())
        assert raw(XGBoost().train(context)) == expected
    context = job(tmp_path / "second1", {"train": csv_of(values)}, num_round=5, objective="reg:gamma")
    context = type(context)(**{**vars(context), "channels": {**context.channels, "model": Channel("model", place)}})
    with pytest.raises(ClientError, match="its objective is reg:squarederror"):
        XGBoost().train(context)


def test_trees_are_refreshed(tmp_path: Path) -> None:
    values = rows(200)
    first = train(tmp_path / "first", {"train": csv_of(values)}, num_round=4)
    context = job(
        tmp_path,
        {"train": csv_of(rows(200, seed=5)), "model": b""},
        num_round=4,
        process_type="update",
        updater="refresh",
    )
    (context.channels["model"].path / "part").unlink()
    first.save(context.channels["model"].path)
    renewed = XGBoost().train(context)
    assert renewed.boosters["xgboost-model"].rounds == 4
    assert raw(renewed) != raw(first)
    with pytest.raises(ClientError, match="in channel model"):
        train(tmp_path / "b", {"train": csv_of(values)}, process_type="update", updater="refresh")


def test_cross_validation_leaves_a_booster_a_fold(tmp_path: Path) -> None:
    listener = Listener()
    files = {"train": csv_of(binary(90)), "validation": csv_of(binary(30, seed=1))}
    more = {"objective": "binary:logistic", "eval_metric": "accuracy", "_kfold": 3, "_num_cv_round": 2}
    model = train(tmp_path, files, listener, **more)
    assert list(model.boosters) == [f"xgboost-model-{number}" for number in range(6)]
    assert listener.facts["folds"] == 6
    assert 0.5 < listener.facts["metrics"]["validation:accuracy"] < 1
    assert listener.rounds[-1][1]["validation:accuracy"] == listener.facts["metrics"]["validation:accuracy"]
    kept = np.loadtxt(tmp_path / "output" / "predictions.csv", delimiter=",")
    assert kept.shape == (120, 3)
    assert ((kept[:, 1] > 0.5) == kept[:, 2]).mean() > 0.9
    answers = [booster.handle.inplace_predict(binary(9)[:, 1:]) for booster in model.boosters.values()]
    assert model._predict(binary(9)[:, 1:]) == pytest.approx(np.mean(answers, axis=0))
    # Going on after the end trains nothing anew.
    again = Listener()
    assert [b.raw for b in train(tmp_path, files, again, **more).boosters.values()] == [
        b.raw for b in model.boosters.values()
    ]
    assert again.told("5 of 5 rounds are done")


def test_rows_that_do_not_fit_are_read_several_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "BATCH_VALUES", 1)
    values = rows(1000, missing=0.1)
    listener = Listener()
    model = train(tmp_path, {"train": csv_of(values), "validation": csv_of(values)}, listener, memory_bytes=1000)
    assert listener.told("only bins are kept")
    whole = Listener()
    train(tmp_path / "whole", {"train": csv_of(values), "validation": csv_of(values)}, whole)
    # Bins of several batches are others by a little.
    ours, expected = listener.rounds[-1][1]["validation:rmse"], whole.rounds[-1][1]["validation:rmse"]
    assert ours == pytest.approx(expected, rel=0.02)
    assert model.feature_dim == 5
    with pytest.raises(DataError, match="line 3, column 1"):
        train(tmp_path / "bad", {"train": b"1,2\n2,3\nx,4\n"}, memory_bytes=1)


def test_sparse_rows_of_validation_may_be_wider(tmp_path: Path) -> None:
    files = {"train": b"1 0:1 2:3\n0 1:2\n" * 10, "validation": b"1 0:1 5:3\n0 1:2\n" * 10}
    model = train(tmp_path, files, content_type="text/libsvm")
    assert model.feature_dim == 6


def test_names_of_features_are_told(tmp_path: Path) -> None:
    values = rows(100, 3)
    with (tmp_path / "made").open("wb") as file:
        write_parquet(file, values[:, 1:], values[:, 0], feature_names=["age", "size [cm]", "weight"])
    listener = Listener()
    model = train(tmp_path, {"train": (tmp_path / "made").read_bytes()}, listener, content_type="application/x-parquet")
    assert model.feature_names == ["age", "size (cm)", "weight"]
    importance = listener.facts["feature_importance"]
    assert set(importance) == {"gain", "weight", "cover"}
    assert set(importance["gain"]) <= {"age", "size (cm)", "weight"}
    whole = json.loads((tmp_path / "output" / algorithm.IMPORTANCE_FILE).read_text())
    assert list(whole["gain"].values()) == sorted(whole["gain"].values(), reverse=True)
    panel = listener.pictures[0].panels[0]
    assert dict(zip(panel.columns, panel.series[0].y, strict=True)) == whole["gain"]


def test_a_stop_while_reading_is_no_model(tmp_path: Path) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(ClientError):
        train(tmp_path, {"train": csv_of(rows(10))}, stop=stop)


def test_without_the_library_the_line_that_installs_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(ClientError, match=r'pip install "wildsage\[xgboost\]"'):
        train(tmp_path, {"train": csv_of(rows(10))})


def test_columns_that_memory_does_not_hold_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a").write_text("1 1:1 2147483646:2\n0 5:1\n" * 5)
    channel = Channel("train", tmp_path / "train", "text/libsvm")
    parameters = XGBoostHyperparameters.parse({"num_round": "2"})
    context: TrainingContext[XGBoostHyperparameters] = TrainingContext(
        parameters, {"train": channel}, tmp_path, tmp_path / "checkpoints", Silence(), memory_bytes=16 << 30
    )
    with pytest.raises(ClientError, match=r"2,147,483,647 features, which take about 859 GB of memory, and 17 GB are"):
        XGBoost().train(context)
