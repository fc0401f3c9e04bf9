"""PCA as a job: what it reports, refuses, goes on from, and survives."""

from __future__ import annotations

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
from tests.algorithms.pca.jobs import apart, csv, job, slow, table
from tests.waiting import until
from wildsage.algorithms.pca import PCA
from wildsage.algorithms.pca import algorithm as module
from wildsage.algorithms.pca.model import STATE_FILE, PCAModel
from wildsage.contract.channels import Channel, write_channels
from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.hyperparameters import write_hyperparameters
from wildsage.contract.layout import Layout
from wildsage.data.libsvm import write_libsvm


def fit(folder: Path, channels: dict[str, Any], listener: Listener | None = None, **values: Any) -> PCAModel:
    return PCA().train(job(folder, channels, listener, **values))


def saved(model: PCAModel, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder)
    return folder


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("mini_batch_size", ["auto", 7, 5000])
def test_a_job_finds_the_exact_components(threads: int, mini_batch_size: Any, tmp_path: Path) -> None:
    rows, listener = table(3000, 12), Listener()
    channels = {"train": csv(rows), "test": csv(table(200, 12, seed=4))}
    model = fit(tmp_path, channels, listener, threads=threads, num_components=4, mini_batch_size=mini_batch_size)
    vectors, singular, mean = slow(rows, 4)
    assert apart(model.vectors, vectors) < 1e-6
    assert np.allclose(model.singular, singular, rtol=1e-6)
    assert np.allclose(model.mean, mean, atol=1e-7)
    assert [name for name, *_ in listener.metrics] == [
        "train:progress",
        "train:throughput",
        "test:reconstruction_error",
        "test:explained_variance_ratio",
    ]
    shares = listener.facts["explained_variance_ratio"]
    assert np.allclose(shares, (singular**2)[::-1] / ((rows - mean) ** 2).sum(), rtol=1e-5)
    assert listener.facts["train_rows"] == listener.facts["rows"] == 3000
    assert np.isclose(listener.facts["total_variance"], rows.astype(float).var(axis=0, ddof=1).sum(), rtol=1e-5)
    assert any(line.startswith("4 components explain") for line in listener.lines)


def test_the_test_channel_is_put_together_again(tmp_path: Path) -> None:
    rows, others, listener = table(500, 6), table(90, 6, seed=8), Listener()
    model = fit(tmp_path, {"train": csv(rows), "test": csv(others)}, listener)
    shifted = others - model.mean
    lost = shifted - shifted @ model.vectors @ model.vectors.T
    figures = {name: value for name, value, _ in listener.metrics}
    assert np.isclose(figures["test:reconstruction_error"], (lost**2).mean(), rtol=1e-5)
    assert np.isclose(figures["test:explained_variance_ratio"], 1 - (lost**2).sum() / (shifted**2).sum(), rtol=1e-5)
    assert listener.facts["test_rows"] == 90


def test_many_columns_by_a_sketch(tmp_path: Path) -> None:
    rows, listener = table(600, 120), Listener()
    model = fit(tmp_path, {"train": csv(rows)}, listener, algorithm_mode="randomized", num_components=3, epochs=3)
    assert apart(model.vectors, slow(rows, 3)[0]) < 1e-4
    assert listener.facts["train_rows"] == 1800
    assert listener.facts["rows"] == 600


def test_sparse_files(tmp_path: Path) -> None:
    rows = table(400, 30) * (np.random.default_rng(1).random((400, 30)) < 0.05)
    path = tmp_path / "train" / "rows.libsvm"
    path.parent.mkdir()
    with path.open("wb") as file:
        write_libsvm(file, rows, np.zeros(400))
    context = job(tmp_path, {"train": {}}, content_type="text/libsvm", feature_dim=30)
    assert apart(PCA().train(context).vectors, slow(rows, 2)[0]) < 1e-6
    context = job(tmp_path / "again", {"train": {"rows.libsvm": path.read_bytes()}}, content_type="text/libsvm")
    with pytest.raises(ClientError, match="set feature_dim"):
        PCA().train(context)


@pytest.mark.parametrize(
    ("text", "values", "told"),
    [
        ("1,2\n3,4\n", {"num_components": 3}, "num_components = 3 is not allowed: channel train has 2 features"),
        ("1,2\n", {}, "channel train has 1 row, and num_components = 2 needs 2 or more"),
        ("1,2\n1,2\n1,2\n", {}, "all 3 rows of channel train are equal: there is no variance to explain"),
        ("0,0\n0,0\n", {"subtract_mean": "false"}, "all 2 rows of channel train are zero"),
        ("1,2\n3,4\n", {"feature_dim": 3}, "feature_dim"),
        ("1,2\n3,nan\n", {}, "line 2, column 2"),
        ("1,2\n3\n", {}, "line 2"),
        ("", {}, "empty"),
    ],
)
def test_what_cannot_be_is_told(text: str, values: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=told):
        fit(tmp_path, {"train": text}, **values)


def test_a_constant_column_is_none_of_the_components(tmp_path: Path) -> None:
    rows = table(200, 4)
    rows[:, 2] = 7
    model = fit(tmp_path, {"train": csv(rows)})
    assert np.allclose(model.vectors[2], 0, atol=1e-9)


def test_advice_where_a_sketch_is_faster(tmp_path: Path) -> None:
    listener = Listener()
    fit(tmp_path, {"train": csv(table(5, 2001))}, listener)
    assert any("algorithm_mode=randomized would be faster" in line for line in listener.lines)
    fit(tmp_path, {"train": csv(table(5, 20))}, listener, extra_components=3, seed=1)
    assert listener.lines[-3:-1] == [
        f"{name} has no effect with algorithm_mode=regular" for name in ("extra_components", "seed")
    ]


@pytest.mark.parametrize("mode", ["regular", "randomized"])
@pytest.mark.parametrize("packed", [True, False])
def test_training_goes_on_from_a_model(mode: str, packed: bool, tmp_path: Path) -> None:
    rows = table(800, 15)
    values = {"algorithm_mode": mode, "extra_components": 8}
    folder = saved(fit(tmp_path / "first", {"train": csv(rows[:500])}, **values), tmp_path / "model")
    if packed:
        (tmp_path / "packed").mkdir()
        with tarfile.open(tmp_path / "packed" / "model.tar.gz", "w:gz") as archive:
            for path in folder.iterdir():
                archive.add(path, path.name)
        folder = tmp_path / "packed"
    listener = Listener()
    context = job(tmp_path / "second", {"train": csv(rows[500:])}, listener, **values)
    context.channels["model"] = Channel("model", folder)  # type: ignore[index]
    model = PCA().train(context)
    whole = fit(tmp_path / "whole", {"train": csv(rows)}, **values)
    assert model.facts.rows == 800
    assert listener.facts["rows_of_earlier_model"] == 500
    assert apart(model.vectors, whole.vectors) < 1e-5
    assert np.allclose(model.singular, whole.singular, rtol=1e-5)


@pytest.mark.parametrize(
    ("columns", "values", "told"),
    [
        (5, {}, "it has 6 features, and channel train 5"),
        (6, {"algorithm_mode": "regular"}, "it was trained with algorithm_mode=randomized"),
        (6, {"epochs": 2}, "epochs must be 1"),
        (6, {"extra_components": 2}, "make 3 together, not 4"),
    ],
)
def test_a_model_that_does_not_fit_is_told(columns: int, values: dict[str, Any], told: str, tmp_path: Path) -> None:
    first = {"algorithm_mode": "randomized", "extra_components": 1}
    folder = saved(fit(tmp_path / "first", {"train": csv(table(50, 6))}, **first), tmp_path / "model")
    context = job(tmp_path / "second", {"train": csv(table(50, columns))}, **(first | values))
    context.channels["model"] = Channel("model", folder)  # type: ignore[index]
    with pytest.raises(ClientError, match=f"channel model: .*{told}"):
        PCA().train(context)
    (folder / STATE_FILE).unlink()
    with pytest.raises(ClientError, match=r"no state\.safetensors"):
        PCA().train(context)


def test_a_stop_before_any_row_leaves_no_model(tmp_path: Path) -> None:
    listener = Listener()
    listener.stop.set()
    with pytest.raises(ClientError):
        fit(tmp_path, {"train": csv(table(50, 3))}, listener)


def test_a_test_channel_of_another_width_is_refused(tmp_path: Path) -> None:
    with pytest.raises((ClientError, DataError), match="test"):
        fit(tmp_path, {"train": csv(table(50, 3)), "test": csv(table(50, 4))})


def test_memory_is_estimated_with_advice(tmp_path: Path) -> None:
    regular = PCA().estimate_memory(job(tmp_path / "a", {"train": csv(table(5, 3000))}))
    sketch = PCA().estimate_memory(job(tmp_path / "b", {"train": csv(table(5, 3000))}, algorithm_mode="randomized"))
    assert regular.peak_bytes > sketch.peak_bytes + 8 * 3000 * 3000
    assert "randomized" in regular.advice
    assert "extra_components" in sketch.advice


def test_a_killed_job_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real process, killed while it reads a pipe of files, ends as one that was left alone."""
    rows = table(4_000, 40)
    text = csv(rows)
    layouts = [Layout(tmp_path / name) for name in ("killed", "whole")]
    for layout in layouts:
        layout.create()
        layout.channel("train").mkdir(parents=True)
        for part in range(20):
            (layout.channel("train") / f"{part:02}.csv").write_text(text)
        write_hyperparameters(layout.hyperparameters, {"num_components": "3", "mini_batch_size": "5000"})
        write_channels(layout, [Channel("train", layout.channel("train"))])

    def start(layout: Layout) -> subprocess.Popen[str]:
        program = (
            "import sys, wildsage.algorithms.streaming as s; s.CHECKPOINT_SECONDS = 0.0; "
            "import wildsage.algorithms.checkpoint as c; c.CHECKPOINT_SHARE = 1.0; "
            "from wildsage.runtime.train import main; sys.exit(main(['--algorithm', 'pca']))"
        )
        environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(layout.base), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", program]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    process = start(layouts[0])
    checkpoint = layouts[0].checkpoints / "state.npz"
    try:
        until(lambda: checkpoint.exists() or process.poll() is not None)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert checkpoint.exists()
    logs = []
    for layout in layouts:
        process = start(layout)
        logs.append(process.communicate(timeout=120)[0])
        assert process.returncode == 0, logs[-1]
    assert "going on from the checkpoint" in logs[0]
    models = [PCAModel.load(layout.model) for layout in layouts]
    assert models[0].facts.rows == models[1].facts.rows == 80_000
    assert np.array_equal(models[0].vectors, models[1].vectors)
    assert np.array_equal(models[0].singular, models[1].singular)


def test_it_warms_up() -> None:
    from wildsage.kernels.kernel import missing

    PCA.warm_up()
    assert missing("wildsage.algorithms.pca") == []


def test_rows_taken_at_once_are_whole_mini_batches() -> None:
    def rows(dim: int, **values: Any) -> int:
        return module._batch_rows(PCA.hyperparameters.parse({"num_components": 1, **values}), dim)

    assert rows(8) == module.LARGEST_BATCH
    assert rows(100_000) == module.SMALLEST_BATCH
    assert rows(50, mini_batch_size=500) % 500 == 0
    assert rows(50, mini_batch_size=100_000) == 100_000
