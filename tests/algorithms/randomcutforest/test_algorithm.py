"""Jobs: training, going on, being killed, channel test, scores of a stream."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.algorithms.jobs import Listener
from tests.algorithms.randomcutforest.jobs import csv, job, rows_of
from wildsage.algorithms.randomcutforest import RandomCutForest
from wildsage.algorithms.randomcutforest.algorithm import quality
from wildsage.algorithms.randomcutforest.model import RandomCutForestModel
from wildsage.algorithms.randomcutforest.state import ForestState
from wildsage.algorithms.streaming import Workers
from wildsage.contract.channels import Channel, write_channels
from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.hyperparameters import write_hyperparameters
from wildsage.contract.layout import Layout
from wildsage.data.readers import read_body
from wildsage.data.recordio import write_numpy_to_dense_tensor


def fit(folder: Path, data: str | bytes, listener: Listener | None = None, **more: Any) -> RandomCutForestModel:
    return RandomCutForest().train(job(folder, {"train": data}, listener, **more))


def saved(model: RandomCutForestModel, folder: Path) -> bytes:
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder)
    (path,) = folder.iterdir()
    return path.read_bytes()


def test_formats_and_threads_make_no_difference(tmp_path: Path) -> None:
    rows = rows_of(5000, 3)
    packed = io.BytesIO()
    write_numpy_to_dense_tensor(packed, rows)
    one = fit(tmp_path / "csv", csv(rows))
    assert one.seen == 5000
    two = fit(tmp_path / "gz", gzip.compress(csv(rows).encode()), threads=2)
    three = fit(tmp_path / "record", packed.getvalue(), content_type="application/x-recordio-protobuf")
    contents = [saved(model, tmp_path / f"model{k}") for k, model in enumerate((one, two, three))]
    assert contents[0] == contents[1] == contents[2]


def test_fewer_rows_than_samples_are_all_kept(tmp_path: Path) -> None:
    listener = Listener()
    model = fit(tmp_path, csv(rows_of(20, 2)), listener)
    assert model.forest.filled.tolist() == [20] * 50
    assert any("20 rows are fewer than num_samples_per_tree = 32" in line for line in listener.lines)
    assert listener.facts["samples_per_tree"] == 20


def test_two_states_merged_are_one(tmp_path: Path) -> None:
    rows = rows_of(900, 2)
    parameters = job(tmp_path, {}).hyperparameters
    workers = Workers(1)
    one, first, second = (ForestState(parameters, 2, workers) for _ in range(3))
    one.update(read_body(csv(rows).encode(), "text/csv"))
    first.update(read_body(csv(rows[:400]).encode(), "text/csv"))
    second.seen = 400  # where its rows begin
    second.update(read_body(csv(rows[400:]).encode(), "text/csv"))
    second.seen -= 400
    first.merge(second)
    assert saved(first.finalise(), tmp_path / "first") == saved(one.finalise(), tmp_path / "one")


def test_workers_number_their_rows_apart(tmp_path: Path) -> None:
    parameters = job(tmp_path, {}).hyperparameters
    states = [ForestState(parameters, 2, Workers(1), rank=rank) for rank in range(2)]
    for state in states:
        state.update(read_body(csv(rows_of(100, 2)).encode(), "text/csv"))
    assert not set(states[0].forest.keys.flat) & set(states[1].forest.keys.flat)
    states[0].merge(states[1])
    assert (states[0].seen, len(np.unique(states[0].forest.keys))) == (200, 50 * 32)


def test_training_goes_on_from_a_model_as_if_it_had_not_ended(tmp_path: Path) -> None:
    rows = rows_of(900, 2)
    whole = fit(tmp_path / "whole", csv(rows), time_decay=0.001)
    first = fit(tmp_path / "first", csv(rows[:500]), time_decay=0.001)
    content = saved(first, tmp_path / "first model")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("model_algo-1")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    for k, files in enumerate(({"model_algo-1": content}, {"model.tar.gz": packed.getvalue()})):
        channels = {"train": csv(rows[500:]), "model": files}
        more = RandomCutForest().train(job(tmp_path / f"more{k}", channels, time_decay=0.001))
        assert saved(more, tmp_path / f"model{k}") == saved(whole, tmp_path / "whole model")


def test_a_model_of_another_shape_is_refused_with_all_that_differs(tmp_path: Path) -> None:
    content = saved(fit(tmp_path / "first", csv(rows_of(50, 2))), tmp_path / "model")
    channels = {"train": csv(rows_of(50, 3)), "model": {"model_algo-1": content}}
    with pytest.raises(ClientError, match=r"num_trees = 50, and the job 60; it has feature_dim = 2, and the job 3"):
        RandomCutForest().train(job(tmp_path / "second", channels, num_trees=60))


def test_scores_of_a_stream_are_told_before_each_row_is_learnt(tmp_path: Path) -> None:
    rows = rows_of(3000, 2)
    rows[2000] = [50, 0]
    model = fit(tmp_path / "stream", csv(rows), stream_scores=True)
    plain = fit(tmp_path / "plain", csv(rows))
    assert saved(model, tmp_path / "one") == saved(plain, tmp_path / "two")
    (path,) = (tmp_path / "stream" / "output").iterdir()
    scores = np.loadtxt(path)
    assert (path.name, len(scores), scores[0], int(scores.argmax())) == ("scores.csv", 3000, 0, 2000)
    assert fit(tmp_path / "stream", csv(rows), stream_scores=True).seen == 3000  # once more, over the old file
    np.testing.assert_array_equal(np.loadtxt(path), scores)


def test_shingles_are_learnt_and_the_first_rows_end_none(tmp_path: Path) -> None:
    wave = np.sin(np.arange(6000) / 5)[:, None].astype(np.float32)
    wave[5000:5010] = 0.3
    model = fit(tmp_path, csv(wave), shingle_size=20, stream_scores=True)
    assert (model.seen, model.feature_dim, model.forest.dim) == (5981, 1, 20)
    scores = np.loadtxt(tmp_path / "output" / "scores.csv")
    assert len(scores) == 6000
    assert scores[:20].tolist() == [0] * 20
    assert 5000 < scores[1000:].argmax() + 1000 < 5030


def test_a_constant_series_gets_no_alarm_from_noise(tmp_path: Path) -> None:
    rows = np.full((500, 1), 100, np.float32)
    rows[300], rows[400] = 100.05, 120
    fit(tmp_path, csv(rows), stream_scores=True, num_samples_per_tree=256)
    scores = np.loadtxt(tmp_path / "output" / "scores.csv")
    assert scores[300] < 1 < 5 < scores[400]


def test_channel_test_is_scored(tmp_path: Path) -> None:
    rows = np.concatenate([rows_of(400, 2), [[30, 0], [0, -40]]])
    labels = np.array([0] * 400 + [1] * 2)
    listener = Listener()
    channels = {"train": csv(rows_of(400, 2, seed=2)), "test": csv(rows, labels)}
    RandomCutForest().train(job(tmp_path, channels, listener))
    metrics = {name: value for name, value, _ in listener.metrics if name.startswith("test:")}
    assert set(metrics) == {"test:accuracy", "test:precision", "test:recall", "test:f1"}
    assert metrics["test:recall"] == 1
    assert listener.facts["test"]["f1"] == pytest.approx(metrics["test:f1"], abs=1e-6)
    shown = {picture.name: picture.panels[0].series[0].y for picture in listener.pictures}
    assert {name: len(values) for name, values in shown.items()} == {"scores": 400, "test-scores": 402}
    assert min(shown["test-scores"][400:]) > max(shown["test-scores"][:400])
    listener = Listener()
    RandomCutForest().train(job(tmp_path, channels, listener, eval_metrics='["accuracy"]'))
    assert [name for name, _, _ in listener.metrics if name.startswith("test:")] == ["test:accuracy"]


@pytest.mark.parametrize("size", [2, 5])
def test_channel_test_is_a_series_where_train_is(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels = rows_of(300, 1), np.zeros(300)
    rows[200], labels[200 : 200 + size] = 40, 1
    seen: list[tuple[int, int]] = []

    def spy(scores: np.ndarray, anomalies: np.ndarray) -> dict[str, float]:
        seen.append((len(scores), int(np.abs(scores[anomalies]).argmax() >= 0)))
        assert scores[anomalies].min() > scores[~anomalies].max()
        return quality(scores, anomalies)

    monkeypatch.setattr("wildsage.algorithms.randomcutforest.algorithm.quality", spy)
    monkeypatch.setattr("wildsage.algorithms.randomcutforest.algorithm.MOST_BATCH", 64)
    channels = {"train": csv(rows_of(300, 1, seed=3)), "test": csv(rows, labels)}
    RandomCutForest().train(job(tmp_path, channels, shingle_size=size))
    assert seen == [(300 - size + 1, 1)]


def test_quality_counts_what_is_three_deviations_above_the_mean() -> None:
    scores = np.array([1.0] * 98 + [9.0, 10.0])
    anomalies = np.zeros(100, bool)
    anomalies[[97, 99]] = True
    found = quality(scores, anomalies)
    assert (found["precision"], found["recall"], found["f1"], found["accuracy"]) == (0.5, 0.5, 0.5, 0.98)
    nothing = quality(np.ones(5), np.zeros(5, bool))
    assert (nothing["precision"], nothing["recall"], nothing["f1"], nothing["accuracy"]) == (0, 0, 0, 1)


def test_bad_data_is_named(tmp_path: Path) -> None:
    train = csv(rows_of(30, 2))
    for name, channels, more, message in (
        ("label", {"train": train, "test": "0,1,2\n3,1,2\n"}, {}, r"line 2, column 1: label 3 is not allowed: 0, or 1"),
        (
            "width",
            {"train": train, "test": "0,1\n"},
            {},
            r"test/text.txt, line 1: 2 columns, but .* make 3",
        ),
        ("nan", {"train": "1,2\nnan,3\n"}, {}, r"line 2, column 1"),
        ("dim", {"train": train}, {"feature_dim": 3}, r"3"),
        ("long", {"train": train}, {"shingle_size": 31}, r"fewer rows than shingle_size = 31"),
        ("wide", {"train": train}, {"shingle_size": 6000}, r"2 features x shingle_size = 6000 is not allowed"),
    ):
        with pytest.raises((ClientError, DataError), match=message):
            RandomCutForest().train(job(tmp_path / name, channels, **more))


def test_a_series_is_not_dealt_out_among_instances(tmp_path: Path) -> None:
    context = job(tmp_path, {"train": csv(rows_of(30, 2))}, shingle_size=2)
    with pytest.raises(ClientError, match="ShardedByS3Key"):
        RandomCutForest().train(replace(context, world_size=2))


def test_the_estimate_grows_with_what_is_kept(tmp_path: Path) -> None:
    estimate = RandomCutForest().estimate_memory
    small = estimate(job(tmp_path, {"train": "1,2\n"})).peak_bytes
    large = estimate(job(tmp_path, {"train": "1,2\n"}, num_trees=1000, num_samples_per_tree=2048, shingle_size=100))
    assert large.peak_bytes - small > 1000 * 2048 * 200 * 4 * 4
    assert "num_trees" in large.advice


PROGRAM = """
import sys, threading
from wildsage.algorithms import checkpoint, streaming
from wildsage.algorithms.randomcutforest.state import ForestState
from wildsage.runtime.train import main
streaming.CHECKPOINT_SECONDS, checkpoint.CHECKPOINT_SHARE = 0, 1e9
update, left = ForestState.update, [int(sys.argv[1])]
def counted(self, batch):
    if not left[0]:
        print("waiting", flush=True)
        threading.Event().wait()
    left[0] -= 1
    update(self, batch)
ForestState.update = counted
raise SystemExit(main(["--algorithm", "randomcutforest"]))
"""


def test_a_killed_job_goes_on_and_ends_as_one_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3] / "src"))
    rows = rows_of(20_000, 2)
    ends = []
    for name, killed in (("killed", True), ("whole", False)):
        layout = Layout(tmp_path / name)
        layout.create()
        monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / name))
        write_hyperparameters(
            layout.hyperparameters,
            {"num_trees": "50", "num_samples_per_tree": "64", "stream_scores": "true", "shingle_size": "2"},
        )
        layout.channel("train").mkdir(parents=True)
        (layout.channel("train") / "rows.csv").write_text(csv(rows))
        write_channels(layout, [Channel("train", layout.channel("train"))])
        if killed:
            process = subprocess.Popen([sys.executable, "-c", PROGRAM, "3"], stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            assert any("waiting" in line for line in process.stdout)
            process.kill()
            process.wait()
            process.stdout.close()
            assert not (layout.output_data / "scores.csv").exists()
        done = subprocess.run([sys.executable, "-c", PROGRAM, "99"], capture_output=True, text=True, check=True)
        assert ("going on from the checkpoint" in done.stdout) == killed
        ends.append(((layout.model / "model_algo-1").read_bytes(), np.loadtxt(layout.output_data / "scores.csv")))
    assert ends[0][0] == ends[1][0]
    scores = [end[1] for end in ends]
    assert len(scores[0]) == len(scores[1]) == len(rows)
    assert np.corrcoef(scores)[0, 1] > 0.9  # trees are grown anew from the samples


WARM = """
import json
from wildsage.algorithms import registry
from wildsage.kernels import kernel
registry.get("randomcutforest").warm_up()
print(json.dumps(kernel.missing("wildsage.algorithms.randomcutforest.kernels", "wildsage.data")))
"""


def test_no_kernel_is_left_to_the_first_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3] / "src"))
    done = subprocess.run([sys.executable, "-c", WARM], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
