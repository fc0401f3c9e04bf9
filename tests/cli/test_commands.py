"""The commands against a real platform: a job, its log, its model, an endpoint, and what they print."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import tarfile
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.waiting import until
from wildsage.cli import show
from wildsage.contract.errors import ClientError
from wildsage.engines.run_folder import read_record
from wildsage.platform import endpoints
from wildsage.platform.service import Platform
from wildsage.sdk.estimator import Estimator

TEXT = "i love this dress , so soft and it fits ."


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One home for all tests of this module, so that they share a trained job. No endpoint outlives it."""
    folder = tmp_path_factory.mktemp("home") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WILDSAGE_HOME", str(folder))
        yield folder
        platform = Platform(folder)
        for endpoint in platform.list_endpoints()["Endpoints"]:
            platform.delete_endpoint(EndpointName=endpoint["EndpointName"])


@pytest.fixture(scope="module")
def job(home: Path, files: dict[str, Path]) -> str:
    """A completed training job."""
    estimator = Estimator(image_uri="blazingtext", instance_count=1, instance_type="local")
    estimator.set_hyperparameters(mode="supervised", epochs=3, vector_dim=8, min_count=1, buckets=5000)
    estimator.fit({name: str(path) for name, path in files.items()}, logs=None, job_name="first-job")
    return "first-job"


@pytest.fixture
def model_file(home: Path, job: str) -> str:
    return str(Platform(home).describe_training_job(TrainingJobName=job)["ModelArtifacts"]["S3ModelArtifacts"])


@pytest.fixture
def endpoint(home: Path, job: str, call: Call) -> Iterator[str]:
    result = call("deploy", job, "--name", "reviews", "--json")
    assert result.code == 0, result.err
    yield "reviews"
    if any(each["EndpointName"] == "reviews" for each in Platform(home).list_endpoints()["Endpoints"]):
        call("delete", "endpoint", "reviews")


def test_algorithms(call: Call) -> None:
    assert "blazingtext\tyes\t" in call("algorithms").out
    listed = {each["name"]: each["available"] for each in call("algorithms", "--json").json}
    assert listed["blazingtext"] is True
    assert listed["kmeans"] is True
    assert listed["seq2seq"] is False


def test_an_endpoint_is_deleted_when_it_has_drained(
    call: Call, endpoint: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = read_record(home / "endpoints" / endpoint)
    assert record is not None
    assert record.command_pid is not None
    server = record.command_pid
    monkeypatch.setattr(endpoints, "_DELETE_WAIT_S", 0.05)
    said: list[str] = []
    seen: list[str] = []
    monkeypatch.setattr(show, "say", said.append)

    def let_it_drain() -> None:
        try:
            until(lambda: said, what="the word that it drains")
            with Platform(home) as platform:
                seen.extend(each["EndpointStatus"] for each in platform.list_endpoints()["Endpoints"])
        finally:
            os.kill(server, signal.SIGCONT)

    os.kill(server, signal.SIGSTOP)
    other = threading.Thread(target=let_it_drain)
    other.start()
    result = call("delete", "endpoint", endpoint)
    other.join()
    assert seen == ["Deleting"]
    assert said == [f"{endpoint} still answers requests that it has; it is gone once they are done"]
    assert result.out == f"endpoint {endpoint} is deleted\n"
    assert call("endpoints", "--json").json == []
    assert not (home / "endpoints" / endpoint).exists()


def test_an_algorithm_in_full(call: Call) -> None:
    shown = call("algorithms", "BlazingText").out
    for expected in ("learning_rate\tfloat\ta number, above 0\t0.05\t", "early_stopping", "validation:accuracy"):
        assert expected in shown
    facts = call("algorithms", "blazingtext", "--json").json
    assert {"name", "type", "default", "minimum", "meaning"} <= set(facts["hyperparameters"][0])


def test_a_third_partys_algorithm_is_one_of_them(call: Call, home: Path, installed: Path, tmp_path: Path) -> None:
    assert "counting\tyes\tof another package" in call("algorithms").out
    shown = call("algorithms", "counting").out
    assert "rounds\tint\tan integer, 1 or more\trequired\tpasses over the data" in shown
    words = tmp_path / "words.txt"
    words.write_text("a b a\n")
    refused = call("train", "counting", f"train={words}", "round=1")
    assert 'did you mean "rounds"?' in refused.err
    refused = call("train", "counting", f"train={words}", "rounds=0", "--name", "refused")
    assert refused.err == "wildsage: rounds = 0 is not allowed: an integer, 1 or more\n"
    assert call("jobs", "refused").code == 1
    trained = call("train", "counting", f"train={words}", "rounds=1", "--name", "counted", "--json")
    assert trained.code == 0, trained.err
    assert call("predict", "counted", "a", "--json").json == [{"count": 2.0}]


def test_a_name_comes_before_a_folder_of_that_name(
    call: Call, job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / job).mkdir()
    monkeypatch.chdir(tmp_path)
    assert "__label__" in call("predict", job, TEXT).out
    assert call("predict", f"./{job}", TEXT).code == 1


def test_train_shows_the_log_and_the_result(call: Call, home: Path, files: dict[str, Path], tmp_path: Path) -> None:
    arguments = [f"{name}={path}" for name, path in files.items()]
    result = call(
        "train", "blazingtext", *arguments, "mode=supervised", "epochs=2", "vector_dim=8", "min_count=1",
        "buckets=5000", "--name", "shown", "--output", tmp_path / "models",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "#validation_accuracy: " in result.out
    assert f"{tmp_path}/models/shown/output/model.tar.gz" in result.out
    with tarfile.open(tmp_path / "models" / "shown" / "output" / "model.tar.gz") as archive:
        assert any(name.endswith("model.bin") for name in archive.getnames())


def test_train_with_json_prints_one_value(call: Call, home: Path, files: dict[str, Path]) -> None:
    result = call(
        "train", "blazingtext", f"train={files['train']}", f"val={files['validation']}", "mode=supervised",
        "epochs=1", "vector_dim=8", "buckets=5000", "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert result.json["TrainingJobStatus"] == "Completed"
    assert result.json["HyperParameters"]["epochs"] == "1"
    assert result.json["Summary"]["epochs_run"] == 1


def test_a_failed_job_exits_with_its_reason(call: Call, home: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("a few words\n")
    result = call("train", "blazingtext", f"train={text}", "mode=cbow", "loss=softmax", "--name", "failed")
    assert result.code == 1
    assert "failed: ClientError: loss = softmax" in result.err
    assert "Traceback" not in result.err
    assert "failed" in call("jobs", "--status", "Failed").out


def test_a_detached_job_can_be_stopped(call: Call, home: Path, files: dict[str, Path]) -> None:
    result = call(
        "train", "blazingtext", f"train={files['train']}", "mode=supervised", "epochs=1000000", "vector_dim=8",
        "buckets=5000", "--name", "endless", "--detach",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert result.out == "endless\n"
    until(lambda: call("jobs", "endless", "--json").json["SecondaryStatus"] == "Training", what="the job trains")
    assert call("stop", "endless").code == 0
    until(lambda: call("jobs", "endless", "--json").json["TrainingJobStatus"] == "Stopped", what="the job stops")


def test_a_classifier_has_no_words_to_ask(call: Call, job: str) -> None:
    said = call("words", job, "nearest", "dress")
    assert said.err == "wildsage: a text classifier, not word vectors; `wildsage predict` asks it\n"


def test_checkpoints_have_a_folder_of_their_own(call: Call, files: dict[str, Path], tmp_path: Path) -> None:
    settings = ("mode=supervised", "epochs=2", "vector_dim=8", "min_count=1", "buckets=5000")
    command = ("train", "blazingtext", f"train={files['train']}", *settings, "--checkpoints", tmp_path / "points")
    said = call(*command, "--json")
    assert said.json["CheckpointConfig"]["S3Uri"] == str(tmp_path / "points")
    assert any((tmp_path / "points").iterdir())
    assert "resuming from the checkpoint" in call(*command).out


def test_training_goes_on_from_a_job_by_its_name(call: Call, job: str, files: dict[str, Path]) -> None:
    settings = ("mode=supervised", "epochs=1", "vector_dim=8", "min_count=1", "buckets=5000")
    said = call("train", "blazingtext", f"train={files['train']}", f"model={job}", *settings, "--name", "goes-on")
    assert said.code == 0, said.err
    assert "going on from a model of" in said.out
    said = call("train", "blazingtext", f"train={files['train']}", "model=nobody", *settings)
    assert said.code == 1
    assert 'channel "model": ' in said.err
    assert "nobody does not exist" in said.err


def test_jobs_and_logs(call: Call, job: str) -> None:
    assert f"{job}\tCompleted\t" in call("jobs").out
    shown = call("jobs", job).out
    assert "Completed" in shown
    assert "validation:accuracy" in shown
    assert f"{job}/output/output.tar.gz\n" in shown  # the scores by label
    assert "#validation_accuracy: " in call("logs", job).out
    assert call("logs", job).out == call("logs", "-f", job).out
    lines = [json.loads(line)["message"] for line in call("logs", job, "--json").out.splitlines()]
    assert lines == call("logs", job).out.splitlines()


def test_models_are_listed_with_their_files(call: Call, job: str, model_file: str) -> None:
    found = [each for each in call("models", "--json").json if each["Name"] == job]
    assert [(each["Kind"], each["File"]) for each in found] == [("job", model_file)]
    assert f"{job}\tjob\t" in call("models").out


@pytest.mark.parametrize("target", ["job", "model_file"])
def test_predict_straight_from_a_model(call: Call, request: pytest.FixtureRequest, target: str) -> None:
    name = request.getfixturevalue(target)
    result = call("predict", name, TEXT, "--json")
    assert result.code == 0, result.err
    ((label,), (probability,)) = result.json[0]["label"], result.json[0]["prob"]
    assert label.startswith("__label__")
    assert 0 < probability <= 1
    label_shown, probability_shown, text = call("predict", name, TEXT).out.rstrip("\n").split("\t")
    assert (label_shown, text) == (label, TEXT)
    assert float(probability_shown) == pytest.approx(probability, abs=1e-4)


def test_predict_explains_and_leaves_out_what_is_improbable(call: Call, job: str) -> None:
    everything = call("predict", job, TEXT, "-k", "-1", "--json").json[0]
    assert len(everything["label"]) == 3
    answer = call("predict", job, TEXT, "-k", "-1", "--threshold", "0.4", "--json").json[0]
    assert answer["label"] == everything["label"][: sum(p >= 0.4 for p in everything["prob"])]
    shown = call("predict", job, TEXT, "--explain").out
    best, _, weights = shown.partition("\n\n")
    assert best.startswith(everything["label"][0])
    words = {line.split("\t")[0] for line in weights.splitlines()}
    assert words & set(TEXT.split())
    assert "k = 0 is not allowed" in call("predict", job, TEXT, "-k", "0").err
    assert "threshold = 2.0 is not allowed" in call("predict", job, TEXT, "--threshold", "2").err
    assert call("predict", job, "--explain", "--content-type", "text/csv").code == 2


def test_predict_reads_a_file_and_stdin(call: Call, job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = f"{TEXT}\n\nbad quality .\n"
    (tmp_path / "texts.txt").write_text(lines)
    answers = call("predict", job, "--file", tmp_path / "texts.txt", "-k", "3", "--json").json
    assert [len(answer["label"]) for answer in answers] == [3, 3]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    assert call("predict", job, "-k", "3", "--json").json == answers


def test_an_endpoint_from_its_start_to_its_end(call: Call, home: Path, job: str, endpoint: str) -> None:
    url = call("endpoints", endpoint, "--url").out.strip()
    assert f"{endpoint}\tInService\t" in call("endpoints").out
    assert call("endpoints", endpoint, "--json").json["Url"] == url
    body = json.dumps({"instances": [TEXT]}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        answer = json.load(response)
    assert call("predict", endpoint, TEXT, "--json").json == answer
    assert call("predict", job, TEXT, "--json").json == answer

    lines = home / "rows.jsonl"
    lines.write_text(json.dumps({"source": TEXT, "k": 2}) + "\n")
    raw = call("predict", endpoint, "--content-type", "application/jsonlines", "--file", lines)
    assert len(json.loads(raw.out)["label"]) == 2

    assert call("predict", endpoint, "--content-type", "application/json", "--file", lines.with_name("no")).code == 1
    lines.write_text("{")
    refused = call("predict", endpoint, "--content-type", "application/json", "--file", lines)
    assert refused.code == 1
    assert refused.err.count("\n") == 1

    again = call("deploy", job, "--name", endpoint)
    assert again.code == 1
    assert f"delete endpoint {endpoint}" in again.err

    assert f"{endpoint}\tmodel\t" in call("models").out
    assert call("delete", "endpoint", endpoint).code == 0
    assert endpoint not in call("endpoints").out
    assert "\tmodel\t" not in call("models").out
    with pytest.raises(ClientError):
        Platform(home).describe_endpoint(EndpointName=endpoint)


def test_a_model_of_rows_says_how_it_is_asked(call: Call, home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    rows = home / "rows.csv"
    rows.write_text("".join(f"{k},{k * k % 7}\n" for k in range(50)))
    assert call("train", "pca", f"train={rows}", "num_components=1", "--name", "p").code == 0
    said = call("deploy", "p", "--name", "rows")
    assert said.code == 0, said.err
    for hint in ("-H 'Content-Type: text/csv' --data-binary @rows.csv http", "predict rows --file rows.csv"):
        assert hint in said.err
    assert call("predict", "rows", "--file", rows).out.count("projection") == 50
    assert call("predict", "rows", "3,2").out == call("predict", "p", "3,2").out
    assert "--data-binary @rows.csv" in call("endpoints", "rows").err
    assert call("delete", "endpoint", "rows").code == 0


def test_a_bare_model_file_can_be_deployed(call: Call, home: Path, model_file: str) -> None:
    result = call("deploy", model_file, "--name", "bare")  # the files tell whose model it is
    assert result.code == 0, result.err
    assert result.out.startswith("bare answers at http://127.0.0.1:")
    assert "__label__" in call("predict", "bare", TEXT).out
    assert call("delete", "endpoint", "bare", "--json").json == {"Deleted": "bare", "Kind": "endpoint"}


def test_a_model_whose_algorithm_nobody_named_can_be_asked_and_deployed(
    call: Call, home: Path, model_file: str
) -> None:
    Platform(home).create_model(ModelName="nameless", PrimaryContainer={"ModelDataUrl": model_file})
    assert "__label__" in call("predict", "nameless", TEXT).out
    assert call("deploy", "nameless", "--name", "nameless").code == 0
    assert call("delete", "endpoint", "nameless").code == 0
    assert call("delete", "model", "nameless").code == 0


def test_the_doctor_answers(call: Call, home: Path) -> None:
    assert {each["subject"] for each in call("doctor", "--json").json} >= {"cores", "memory", "disk"}
    assert "cores\tok\t" in call("doctor").out
