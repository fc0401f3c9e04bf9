"""Whole jobs: formats, scores, going on from models and checkpoints, errors."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.algorithms.jobs import Listener
from tests.algorithms.knn.jobs import SMALL, clusters, csv, job
from tests.waiting import until
from wildsage.algorithms.knn import KNN, algorithm
from wildsage.algorithms.knn.hyperparameters import FLAT, IVF_FLAT, IVF_PQ
from wildsage.algorithms.knn.model import NearestNeighbours
from wildsage.contract.channels import Channel, write_channels
from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.hyperparameters import write_hyperparameters
from wildsage.contract.layout import Layout
from wildsage.data.recordio import write_numpy_to_dense_tensor

ROOT = Path(__file__).parents[3]
ROWS, LABELS = clusters(600, 8)
TEST_ROWS, TEST_LABELS = clusters(200, 8, seed=5)


def saved(model: NearestNeighbours, folder: Path) -> Path:
    folder.mkdir()
    model.save(folder)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", [FLAT, IVF_FLAT, IVF_PQ])
@pytest.mark.parametrize("reduction", [{}, {"dimension_reduction_type": "sign", "dimension_reduction_target": 6}])
def test_every_index_classifies_well_and_tells_its_accuracy(
    kind: str, reduction: dict[str, Any], tmp_path: Path
) -> None:
    listener = Listener()
    channels = {"train": csv(ROWS, LABELS), "test": csv(TEST_ROWS, TEST_LABELS)}
    subvectors = {"faiss_index_pq_m": 4} if kind == IVF_PQ else {}
    model = KNN().train(job(tmp_path, channels, listener, index_type=kind, threads=2, **reduction, **subvectors))
    metrics = {name: value for name, value, _ in listener.metrics}
    assert metrics["test:accuracy"] > 0.85
    predicted = np.array([a["predicted_label"] for a in model.predict(TEST_ROWS.tolist(), [{}] * 200)])
    assert (predicted == TEST_LABELS).mean() == metrics["test:accuracy"]
    assert f"#test_score (algo-1) : ('accuracy', {metrics['test:accuracy']})" in listener.lines
    assert set(metrics) == {"train:progress", "train:throughput", "test:accuracy"}
    assert listener.facts["test_accuracy"] == metrics["test:accuracy"]
    assert (listener.facts["index_rows"], listener.facts["train_examples"]) == (600, 600)
    assert listener.facts["dimensions"] == (8 if not reduction else 8 if kind == IVF_PQ else 6)


def test_a_regressor_tells_its_error(tmp_path: Path) -> None:
    listener = Listener()
    target, test_target = ROWS.sum(axis=1), TEST_ROWS.sum(axis=1)
    channels = {"train": csv(ROWS, target), "test": csv(TEST_ROWS, test_target)}
    KNN().train(job(tmp_path, channels, listener, predictor_type="regressor"))
    (error,) = (value for name, value, _ in listener.metrics if name == "test:mse")
    assert error < 0.2 * test_target.var()


def test_recordio_and_csv_give_one_model(tmp_path: Path) -> None:
    file = io.BytesIO()
    write_numpy_to_dense_tensor(file, ROWS, LABELS)
    kind = "application/x-recordio-protobuf"
    context = job(tmp_path / "a", {"train": {"rows": file.getvalue()}}, content_type=kind, feature_dim=8)
    first = saved(KNN().train(context), tmp_path / "first")
    context = job(tmp_path / "b", {"train": {"rows": csv(ROWS, LABELS).encode()}})
    assert content(saved(KNN().train(context), tmp_path / "second")) == content(first)


def test_any_number_of_threads_gives_one_model(tmp_path: Path) -> None:
    models = []
    for threads in (1, 2):
        context = job(
            tmp_path / f"{threads}", {"train": csv(ROWS, LABELS)}, threads=threads, sample_size=100,
            dimension_reduction_type="fjlt", dimension_reduction_target=5,
        )  # fmt: skip
        models.append(content(saved(KNN().train(context), tmp_path / f"model{threads}")))
    assert models[0] == models[1]


def test_sparse_rows_are_made_dense(tmp_path: Path) -> None:
    lines = "".join(f"{int(label)} {label * 2:.0f}:1 5:0.5\n" for label in LABELS[:50])
    context = job(tmp_path, {"train": lines}, content_type="text/libsvm", feature_dim=6)
    model = KNN().train(context)
    assert model.index.vectors()[0, 5] == 0.5
    assert model.predict([[0, 0, 1, 0, 0, 0.5]], [{}]) == [{"predicted_label": 1.0}]
    with pytest.raises(ClientError, match="set feature_dim"):
        KNN().train(job(tmp_path / "second", {"train": lines}, content_type="text/libsvm"))


@pytest.mark.parametrize("kind", [FLAT, IVF_FLAT])
@pytest.mark.parametrize("packed", [False, True])
def test_a_model_goes_on_with_new_rows(kind: str, packed: bool, tmp_path: Path) -> None:
    reduction = {"dimension_reduction_type": "sign", "dimension_reduction_target": 6}
    first = KNN().train(job(tmp_path / "one", {"train": csv(ROWS[:300], LABELS[:300])}, index_type=kind, **reduction))
    folder = saved(first, tmp_path / "saved")
    if packed:
        (tmp_path / "packed").mkdir()
        with tarfile.open(tmp_path / "packed" / "model.tar.gz", "w:gz") as archive:
            for path in folder.iterdir():
                archive.add(path, path.name)
        folder = tmp_path / "packed"
    context = job(tmp_path / "two", {"train": csv(ROWS[300:], LABELS[300:])}, seed=9, **reduction)
    context = replace(context, channels={**context.channels, "model": Channel("model", folder)})
    second = KNN().train(context)
    whole = KNN().train(job(tmp_path / "whole", {"train": csv(ROWS, LABELS)}, **reduction))
    assert (second.index.vectors() == whole.index.vectors()).all()
    assert (second.labels == whole.labels).all()
    assert (second.settings.rows_seen, second.settings.rounds) == (600, 2)


def test_going_on_from_a_model_samples_old_and_new_rows_alike(tmp_path: Path) -> None:
    """Also from the very same file: its rows must not have the keys that they had before."""
    counts = []
    for seed in range(40):
        base = tmp_path / f"{seed}"
        options = {"sample_size": 60, "predictor_type": "regressor", "seed": seed}
        first = KNN().train(job(base / "one", {"train": csv(ROWS[:300], np.zeros(300, "f4"))}, **options))
        context = job(base / "two", {"train": csv(ROWS[300:], np.ones(300, "f4"))}, **options)
        model = Channel("model", saved(first, base / "saved"))
        counts.append(KNN().train(replace(context, channels={**context.channels, "model": model})).labels.sum())
    # 30 of 60 are expected, with a deviation of 3.7 of each and 0.6 of the mean.
    assert 27 < np.mean(counts) < 33
    assert np.std(counts) > 1.5


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"index_metric": "COSINE"}, "it was trained with index_metric = L2"),
        ({"dimension_reduction_type": "sign", "dimension_reduction_target": 2}, "its dimension_reduction_type is none"),
        ({"predictor_type": "classifier"}, "its labels are no classes, so predictor_type must be regressor"),
    ],
)
def test_a_model_that_cannot_be_gone_on_from_is_told(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    first = KNN().train(job(tmp_path / "one", {"train": csv(ROWS, LABELS + 0.5)}, predictor_type="regressor"))
    context = job(tmp_path / "two", {"train": csv(ROWS, LABELS)}, **{"predictor_type": "regressor", **changes})
    model = Channel("model", saved(first, tmp_path / "saved"))
    with pytest.raises(ClientError, match=f"channel model: {told}"):
        KNN().train(replace(context, channels={**context.channels, "model": model}))


@pytest.mark.parametrize(
    ("channels", "values", "error", "told"),
    [
        ({"train": "1,2\n0.5,3\n"}, {}, DataError, r"train/text\.txt, line 2: label 0\.5 is not allowed"),
        ({"train": "1,2\n1,nan\n"}, {}, DataError, r"train/text\.txt, line 2, column 2"),
        ({"train": "1,2\n1,3\n"}, {}, ClientError, "k = 3 is not allowed: there are 2 rows in channel train"),
        ({"train": "1,2,3\n"}, {"feature_dim": 3}, ClientError, "feature_dim"),
        (
            {"train": "1,2,3\n" * 5},
            {"dimension_reduction_type": "sign", "dimension_reduction_target": 2},
            ClientError,
            "dimension_reduction_target = 2 is not allowed: below feature_dim, which is 2",
        ),
        ({"train": "1,2\n" * 9, "test": "1,2\n1.5,2\n"}, {}, DataError, r"test/text\.txt, line 2: label 1\.5"),
        ({"train": "1,2\n" * 9, "test": "1,2,3\n"}, {}, ClientError, r"test"),
    ],
)
def test_what_is_wrong_with_data_is_told(
    channels: dict[str, str], values: dict[str, Any], error: type[ClientError], told: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=told):
        KNN().train(job(tmp_path, channels, **values))


@pytest.mark.parametrize("kind", [IVF_FLAT, IVF_PQ])
def test_few_and_equal_rows_are_indexed_all_the_same(kind: str, tmp_path: Path) -> None:
    listener = Listener()
    context = job(tmp_path, {"train": "1,2,2\n" * 5}, listener, index_type=kind, faiss_index_ivf_nlists=50)
    model = KNN().train(context)
    assert model.predict([[2, 2]], [{}]) == [{"predicted_label": 1.0}]
    assert "the index gets 5 lists, one a row: 50 were asked for" in listener.lines


def test_a_stop_before_there_are_enough_rows_leaves_no_model(tmp_path: Path) -> None:
    listener = Listener()
    listener.stop.set()
    with pytest.raises(ClientError, match="there are 0 rows before training was stopped"):
        KNN().train(job(tmp_path, {"train": csv(ROWS, LABELS)}, listener))


def test_a_stop_keeps_what_was_read_and_a_later_job_goes_on(tmp_path: Path) -> None:
    listener = Listener(stop_at=3)
    half = KNN().train(job(tmp_path / "a", {"train": csv(ROWS, LABELS)}, listener, sample_size=100))
    assert 0 < half.settings.rows_seen < 600
    later = KNN().train(job(tmp_path / "a", {"train": csv(ROWS, LABELS)}, sample_size=100))
    whole = KNN().train(job(tmp_path / "b", {"train": csv(ROWS, LABELS)}, sample_size=100))
    assert content(saved(later, tmp_path / "x")) == content(saved(whole, tmp_path / "y"))


def lay_out(base: Path, rows: int) -> Layout:
    layout = Layout(base)
    layout.create()
    values = {**SMALL, "sample_size": 500, "index_type": IVF_FLAT}
    write_hyperparameters(layout.hyperparameters, {name: str(value) for name, value in values.items()})
    layout.channel("train").mkdir(parents=True)
    random = np.random.default_rng(0)
    lines = csv(random.normal(size=(1000, 8)).astype(np.float32), random.integers(0, 2, 1000).astype(np.float32))
    (layout.channel("train") / "rows.csv").write_text(lines * (rows // 1000))
    write_channels(layout, [Channel("train", layout.channel("train"))])
    return layout


# Checkpoints as often as their cost allows, so that a short job has one.
OFTEN = """
import sys
from wildsage.algorithms import streaming
from wildsage.runtime.train import main
streaming.CHECKPOINT_SECONDS = 0
sys.exit(main(["--algorithm", "knn"]))
"""


def start(layout: Layout, *command: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "SAGEMAKER_BASE_DIR": str(layout.base)}
    return subprocess.Popen(
        [sys.executable, *command], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def test_a_killed_job_goes_on_and_ends_with_the_same_model(tmp_path: Path) -> None:
    layout = lay_out(tmp_path / "killed", 300_000)
    killed = start(layout, "-c", OFTEN)
    try:
        until(lambda: (layout.checkpoints / "state.npz").exists() or killed.poll() is not None)
        assert killed.poll() is None
        killed.send_signal(signal.SIGKILL)
    finally:
        killed.kill()
        killed.communicate()
    models = []
    for place in (layout, lay_out(tmp_path / "whole", 300_000)):
        process = start(place, "-m", "wildsage.runtime.train", "--algorithm", "knn")
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        assert ("going on from the checkpoint" in output) == (place is layout)
        models.append(content(place.model))
    assert models[0] == models[1]
    assert json.loads(models[0]["model_algo-1.json"])["rows_seen"] == 300_000


def test_an_unknown_amount_of_data_is_bounded_by_the_sample(tmp_path: Path) -> None:
    small = KNN().estimate_memory(job(tmp_path / "a", {"train": csv(ROWS, LABELS)}))
    large = KNN().estimate_memory(job(tmp_path / "b", {"train": csv(ROWS, LABELS)}, index_type=IVF_FLAT))
    assert small.peak_bytes < large.peak_bytes < (300 << 20)
    assert "sample_size" in small.advice


def test_a_sample_that_is_smaller_than_the_data_is_what_is_kept(tmp_path: Path) -> None:
    rows = np.zeros((20_000, 50), np.float32)
    context = job(tmp_path, {"train": csv(rows, np.zeros(20_000))}, sample_size=10)
    allowance = algorithm.BASE_BYTES + (1 << 14)  # whatever feature_dim says
    assert KNN().estimate_memory(context).peak_bytes < allowance


def test_it_warms_up() -> None:
    from wildsage.kernels.kernel import missing

    KNN.warm_up()
    assert missing("wildsage.algorithms.knn") == []
