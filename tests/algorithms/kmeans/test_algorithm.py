"""k-means as a job: channels, metrics, models to go on from, resuming, errors."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.algorithms.jobs import Listener
from tests.algorithms.kmeans import naive
from tests.algorithms.kmeans.jobs import CSV, RECORDIO, csv, job, recordio
from tests.data.channels import pipes
from tests.waiting import until
from wildsage.algorithms.kmeans import KMeans
from wildsage.algorithms.kmeans import state as states
from wildsage.algorithms.kmeans.hyperparameters import KMeansHyperparameters
from wildsage.algorithms.kmeans.model import KMeansModel
from wildsage.algorithms.streaming import CHECKPOINT_FILE
from wildsage.contract.channels import Channel, write_channels
from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.hyperparameters import write_hyperparameters
from wildsage.contract.layout import Layout
from wildsage.data.record import Record, Tensor, encode, frame

ROWS, MIDDLES = naive.clustered(1500, 4, 5, seed=2, spread=15)
BEST = naive.loss(ROWS, MIDDLES)


def fit(context: object) -> KMeansModel:
    return KMeans().train(context)  # type: ignore[arg-type]


@pytest.mark.parametrize("settles", [False, True])
@pytest.mark.parametrize("form", ["csv", "recordio", "sparse"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_job_reports_its_scores(
    form: str, threads: int, settles: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if settles:
        monkeypatch.setattr(states, "SMALL_ROWS", 200)
    if form == "sparse":
        keys = np.arange(4, dtype=np.int64)
        content = b"".join(frame(encode(Record({"values": Tensor(row, keys, (4,))}))) for row in ROWS)
    else:
        content = csv(ROWS) if form == "csv" else recordio(ROWS)
    listener = Listener()
    content_type = CSV if form == "csv" else RECORDIO
    context = job(
        tmp_path, {"train": content, "test": content}, listener, content_type=content_type, threads=threads, k=5,
        epochs=2, eval_metrics='["msd", "ssd"]',
    )  # fmt: skip
    model = fit(context)
    loss = naive.loss(ROWS, model.centres)
    assert loss == pytest.approx(BEST, rel=0.02)
    told = {name: value for name, value, epoch in listener.metrics if epoch == 2}
    assert list(told) == [
        "train:progress", "train:throughput", "train:msd", "train:ssd", "test:msd", "test:ssd",
    ]  # fmt: skip
    assert told["test:msd"] == pytest.approx(loss, rel=1e-5)
    assert told["test:ssd"] == pytest.approx(loss * 1500, rel=1e-5)
    assert told["train:msd"] == pytest.approx(loss, rel=0.1 if settles else 1e-5)
    assert told["train:ssd"] == pytest.approx(1500 * told["train:msd"])
    assert listener.facts["rows"] == 3000
    assert len(listener.facts["cluster_sizes"]) == 5
    assert any("drawn from all of them" in line for line in listener.lines) == settles
    [drawn] = listener.pictures
    *clouds, centres = drawn.panels[0].series
    assert (drawn.name, len(clouds), len(centres.x)) == ("clusters", 5, 5)
    assert 200 <= sum(len(cloud.x) for cloud in clouds) <= 1500


def test_only_the_scores_that_were_asked_for(tmp_path: Path) -> None:
    listener = Listener()
    fit(job(tmp_path, {"train": csv(ROWS)}, listener, k=3, eval_metrics='["ssd"]'))
    assert [name for name, *_ in listener.metrics][2:] == ["train:ssd"]


def test_labels_in_csv_are_left_out(tmp_path: Path) -> None:
    rows = np.concatenate([np.full((1500, 1), 1e6, np.float32), ROWS], axis=1)
    model = fit(job(tmp_path, {"train": csv(rows)}, content_type="text/csv;label_size=1", k=5))
    assert model.feature_dim == 4
    assert naive.loss(ROWS, model.centres) == pytest.approx(BEST, rel=0.02)


def test_csv_has_no_labels_where_nothing_is_said(tmp_path: Path) -> None:
    for content_type in (None, "text/csv"):
        model = fit(job(tmp_path / str(content_type), {"train": csv(ROWS)}, content_type=content_type, k=2))
        assert model.feature_dim == 4


def test_names_of_features_are_kept_and_told(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {name: ROWS[:, k] for k, name in enumerate(("north", "east", "high", "warm"))}
    context = job(tmp_path, {"train": b""}, content_type="application/x-parquet;label_size=0", k=2)
    path = context.channels["train"].path / "rows"
    parquet.write_table(pyarrow.table(columns), path)
    model = fit(context)
    assert model.names == ("north", "east", "high", "warm")
    columns["east"] = np.where(np.arange(1500) == 700, np.float32(1e20), columns["east"])
    parquet.write_table(pyarrow.table(columns), path)
    with pytest.raises(DataError, match=r"rows, record 701: east = 1e\+20 is too large"):
        fit(dataclasses.replace(context, checkpoints=tmp_path / "other"))


@pytest.mark.parametrize(
    ("content", "values", "problem"),
    [
        ("1,2\n3,x\n", {}, r'text.txt, line 2, column 2: "x"'),
        ("1,2\n3,nan\n", {}, r"text.txt, line 2, column 2"),
        ("1,2\n3,4,5\n", {}, r"text.txt, line 2"),
        ("1,2\n3,4\n", {"feature_dim": 3}, r"text.txt, line 1"),
        ("1,2\n3,4\n", {"k": 3}, "2 distinct rows, of 2, and k = 3 are wanted"),
        ("1,2\n1,2\n1,2\n", {}, "1 distinct row, of 3, and k = 2 are wanted"),
        ("1,2\n3,1e30\n", {}, r"line 2: feature 2 = 1e\+30 is too large"),
        ("", {}, "channel train is empty"),
    ],
)
def test_bad_input_is_named(content: str, values: dict[str, int], problem: str, tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=problem):
        fit(job(tmp_path, {"train": content.encode()}, **{"k": 2, **values}))


def test_one_pass_over_pipes(tmp_path: Path) -> None:
    with pipes(tmp_path, [csv(ROWS), csv(ROWS)], CSV) as channel:
        context = job(tmp_path / "job", {}, k=5, epochs=2)
        model = fit(dataclasses.replace(context, channels={"train": channel}))
    assert naive.loss(ROWS, model.centres) == pytest.approx(BEST, rel=0.02)


@pytest.mark.parametrize("packed", [False, True])
def test_going_on_from_a_model(packed: bool, tmp_path: Path) -> None:
    before = fit(job(tmp_path / "first", {"train": csv(ROWS)}, k=5))
    context = job(tmp_path / "second", {"train": csv(ROWS[:300] + np.float32(0.5))}, listener := Listener(), k=5)
    folder = tmp_path / "model"
    folder.mkdir()
    before.save(folder)
    if packed:
        with tarfile.open(folder / "model.tar.gz", "w:gz") as archive:
            archive.add(folder / "model_algo-1", "model_algo-1")
        (folder / "model_algo-1").unlink()
    channels = {**context.channels, "model": Channel("model", folder)}
    after = fit(dataclasses.replace(context, channels=channels))
    assert any("going on from a model of 5 centres, for 1,500 rows" in line for line in listener.lines)
    assert after.weights.sum() == pytest.approx(1800)
    owners, _ = naive.nearest(after.centres, before.centres)
    moved = np.average(after.centres - before.centres[owners], axis=0, weights=after.weights)
    assert moved == pytest.approx(np.full(4, 0.5 / 6), abs=0.04)
    fewer = job(tmp_path / "fewer", {"train": csv(ROWS[:300])}, k=1, extra_center_factor=1)
    fewer = dataclasses.replace(fewer, channels={**fewer.channels, "model": Channel("model", folder)})
    assert fit(fewer).weights == pytest.approx([1800])
    context = job(tmp_path / "third", {"train": csv(ROWS[:, :3])}, k=5)
    context = dataclasses.replace(context, channels={**context.channels, "model": Channel("model", folder)})
    with pytest.raises(ClientError, match="its centres have 4 features; channel train has 3"):
        fit(context)


def test_a_model_that_is_none(tmp_path: Path) -> None:
    context = job(tmp_path, {"train": csv(ROWS), "model": b"hello"}, k=2)
    with pytest.raises(ClientError, match="channel model holds no model of kmeans"):
        fit(context)


def lay_out(base: Path, content: bytes, **values: object) -> Layout:
    layout = Layout(base)
    layout.create()
    write_hyperparameters(layout.hyperparameters, {name: str(value) for name, value in values.items()})
    layout.channel("train").mkdir(parents=True)
    (layout.channel("train") / "rows.csv").write_bytes(content)
    write_channels(layout, [Channel("train", layout.channel("train"), CSV)])
    return layout


def start(layout: Layout) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "wildsage.runtime.train", "--algorithm", "kmeans"],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(layout.base), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def finish(process: subprocess.Popen[bytes]) -> str:
    try:
        output, _ = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, output
    return output.decode()


def test_a_killed_job_goes_on_from_its_checkpoint_and_ends_the_same(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(18_000, 3)).astype(np.float32)
    content = csv(rows.round(3))
    values = {"k": 4, "epochs": 150}
    whole, parts = lay_out(tmp_path / "whole", content, **values), lay_out(tmp_path / "parts", content, **values)
    finish(start(whole))
    process = start(parts)
    try:
        until((parts.checkpoints / CHECKPOINT_FILE).exists, 60, "a checkpoint")
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    assert not (parts.model / "model_algo-1").exists()
    assert "going on from the checkpoint" in finish(start(parts))
    assert (parts.model / "model_algo-1").read_bytes() == (whole.model / "model_algo-1").read_bytes()


def test_memory_is_estimated_with_advice(tmp_path: Path) -> None:
    context = job(tmp_path, {"train": csv(ROWS)}, k=5)
    small = KMeans().estimate_memory(context)
    wide = dataclasses.replace(context, hyperparameters=KMeansHyperparameters.parse({"k": 1000, "feature_dim": 10_000}))
    large = KMeans().estimate_memory(wide)
    assert large.peak_bytes > small.peak_bytes + 4 * 3 * 4000 * 10_000
    assert "lower k (now 1,000)" in large.advice


def test_it_warms_up() -> None:
    from wildsage.kernels.kernel import missing

    KMeans.warm_up()
    assert missing("wildsage.algorithms.kmeans.kernels") == []


def test_hyperparameters() -> None:
    parsed = KMeansHyperparameters.parse({"k": "10", "force_dense": "True", "eval_metrics": '["msd","ssd"]'})
    assert (parsed.feature_dim, parsed.factor, parsed.eval_metrics) == ("auto", 4, ["msd", "ssd"])
    assert [KMeansHyperparameters.parse({"k": k}).factor for k in (1000, 1001, 5001)] == [4, 2, 1]
    assert KMeansHyperparameters.parse({"k": 3, "extra_center_factor": "7"}).factor == 7
