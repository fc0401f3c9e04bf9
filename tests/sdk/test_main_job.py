"""The whole way, for real: reviews to a trained model, an endpoint, answers, and files of answers."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import wildsage as sagemaker
from tests.waiting import until
from wildsage.contract.errors import ClientError
from wildsage.sdk.estimator import Estimator
from wildsage.sdk.exceptions import ArgumentError, UnexpectedStatusException
from wildsage.sdk.model import Model
from wildsage.sdk.predictor import Predictor
from wildsage.sdk.serializers import JSONLinesSerializer, JSONSerializer
from wildsage.sdk.session import Session

GOOD = ["nice", "great", "lovely", "perfect", "soft", "beautiful", "comfortable", "flattering", "wonderful"]
BAD = ["bad", "awful", "poor", "cheap", "itchy", "ugly", "terrible", "worst", "disappointing"]
PLAIN = [
    "the",
    "dress",
    "was",
    "really",
    "so",
    "very",
    "this",
    "top",
    "fit",
    "fabric",
    "and",
    "i",
    "it",
    "color",
    "size",
]
SMALL = {
    "mode": "supervised",
    "vector_dim": 10,
    "buckets": 1000,
    "min_count": 1,
    "word_ngrams": 2,
    "learning_rate": 0.5,
}


def reviews(count: int, seed: int) -> str:
    chance = random.Random(seed)
    lines = []
    for _ in range(count):
        label = chance.random() < 0.5
        words = chance.choices(PLAIN, k=8) + chance.choices(GOOD if label else BAD, k=3)
        chance.shuffle(words)
        lines.append(f"__label__{int(label)} {' '.join(words)}\n")
    return "".join(lines)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sentiment")
    (folder / "train.txt").write_text(reviews(300, 1))
    (folder / "validation.txt").write_text(reviews(60, 2))
    return folder


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    session = Session(home=tmp_path_factory.mktemp("wildsage") / "home")
    yield session
    platform = session.sagemaker_client
    for endpoint in platform.list_endpoints()["Endpoints"]:
        platform.delete_endpoint(EndpointName=endpoint["EndpointName"])
    for job in platform.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"]:
        platform.stop_training_job(TrainingJobName=job["TrainingJobName"])
        session.wait_for_job(job["TrainingJobName"])
    session.close()


def estimator(session: Session, **arguments: object) -> Estimator:
    image = sagemaker.image_uris.retrieve("blazingtext", region="eu-west-1")
    base = {"instance_count": 1, "instance_type": "local", "hyperparameters": {**SMALL, "epochs": 10}}
    return Estimator(image, sagemaker_session=session, **{**base, **arguments})


@pytest.fixture(scope="module")
def trained(session: Session, folder: Path) -> Estimator:
    one = estimator(session)
    one.fit({"train": folder / "train.txt", "val": str(folder / "validation.txt")}, logs=None)
    return one


@pytest.fixture(scope="module")
def predictor(trained: Estimator) -> Predictor:
    return trained.deploy(initial_instance_count=1, instance_type="local", endpoint_name="sentiment")


# -- training --


def test_fit_writes_states_and_log_as_they_come(
    session: Session, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = estimator(session)
    one.fit(f"file://{folder}/train.txt")
    out = capsys.readouterr().out
    order = ["Starting - ", "Training - ", "epoch 1 of 10", "epoch 10 of 10", "Completed - ", "Training seconds: "]
    places = [out.index(text) for text in order]
    assert places == sorted(places)
    (channel,) = one.latest_training_job.describe()["InputDataConfig"]  # type: ignore[union-attr]
    assert channel["ChannelName"] == "train"
    assert one.hyperparameters()["epochs"] == 10


def test_the_model_is_a_file_to_keep(trained: Estimator, folder: Path) -> None:
    with tarfile.open(trained.model_data) as archive:
        assert archive.getnames() == ["model.bin"]


def test_the_metrics_are_a_table(trained: Estimator) -> None:
    table = trained.training_job_analytics.table()
    accuracies = [row for row in table if row["metric_name"] == "validation:accuracy"]
    assert [row["epoch"] for row in accuracies] == list(range(1, 11))
    assert accuracies[-1]["value"] > 0.9
    assert trained.training_job_analytics.dataframe().shape == (len(table), 4)


def test_all_that_is_wrong_is_said_at_once(session: Session, folder: Path) -> None:
    one = estimator(session, hyperparameters={"mode": "supervised", "epochs": -1, "lerning_rate": 3})
    with pytest.raises(ArgumentError) as caught:
        one.fit({"train": folder / "train.txt"}, job_name="never")
    assert str(caught.value).split("\n") == [
        "epochs = -1 is not allowed: an integer, 1 or more",
        'lerning_rate is not a hyperparameter of blazingtext; did you mean "learning_rate"?',
    ]
    with pytest.raises(ClientError, match="not found"):
        Estimator.attach("never", session)
    # A rule over several of them is the algorithm's own, and fails the job.
    two = estimator(session, hyperparameters={"mode": "cbow", "loss": "softmax"})
    with pytest.raises(UnexpectedStatusException, match="ClientError: loss = softmax is not allowed in mode cbow"):
        two.fit({"train": folder / "train.txt"}, logs=None)
    one = estimator(session, hyperparameters={"mode": "supervised"})
    with pytest.raises(ClientError, match=r'channel "train": .*trian.txt does not exist; did you mean "train.txt"'):
        one.fit({"train": folder / "trian.txt"})


def test_attach_finds_a_job_again(trained: Estimator, session: Session) -> None:
    name = trained.latest_training_job.name  # type: ignore[union-attr]
    again = Estimator.attach(name, Session(home=session.sagemaker_client.home))
    assert again.model_data == trained.model_data
    assert again.hyperparameters()["learning_rate"] == "0.5"
    with pytest.raises(ClientError, match="not found"):
        Estimator.attach("nothing", session)


def test_a_job_goes_on_from_a_model(trained: Estimator, session: Session, folder: Path) -> None:
    one = estimator(session, model_uri=trained.model_data)
    one.fit({"train": folder / "train.txt"}, wait=False)
    job = one.latest_training_job.describe()  # type: ignore[union-attr]
    assert [channel["ChannelName"] for channel in job["InputDataConfig"]] == ["train", "model"]
    one.latest_training_job.wait(logs=None)  # type: ignore[union-attr]


def test_a_job_can_be_stopped(session: Session, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = estimator(session, hyperparameters={**SMALL, "epochs": 1_000_000})
    one.fit({"train": folder / "train.txt"}, wait=False)
    job = one.latest_training_job
    assert job is not None
    until(lambda: session.sagemaker_client.training_progress(job.name), what="progress")
    one.stop_training_job()
    with caplog.at_level(logging.WARNING):
        one.logs()
    assert job.describe()["TrainingJobStatus"] == "Stopped"
    assert "ended with status Stopped" in caplog.text


def test_an_interrupt_does_not_end_the_job(session: Session, folder: Path) -> None:
    code = f"""
import wildsage as sagemaker
one = sagemaker.estimator.Estimator("blazingtext", instance_count=1, instance_type="local")
one.set_hyperparameters(**{ {**SMALL, "epochs": 1_000_000}!r})
one.fit({str(folder / "train.txt")!r}, job_name="interrupted")
"""
    home = {"WILDSAGE_HOME": str(session.sagemaker_client.home)}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **home},
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if " Training - " in line:
                break
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to everything in its group
        rest, error = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in error
    assert 'Estimator.attach("interrupted")' in rest
    assert session.describe_training_job("interrupted")["TrainingJobStatus"] == "InProgress"
    session.stop_training_job("interrupted")
    assert session.wait_for_job("interrupted")["TrainingJobStatus"] == "Stopped"


# -- an endpoint --


def test_the_examples_of_the_readme(predictor: Predictor) -> None:
    (good, bad) = predictor.predict({"instances": ["nice soft lovely", "itchy ugly cheap"]})
    assert good["label"] == ["__label__1"]
    assert bad["label"] == ["__label__0"]
    assert good["prob"][0] > 0.8


def test_sagemakers_own_ways_of_asking(predictor: Predictor) -> None:
    payload = {"instances": ["nice soft lovely"]}
    wanted = predictor.predict(payload)
    assert json.loads(predictor.predict(json.dumps(payload))) == wanted
    with_serializer = Predictor("sentiment", predictor.sagemaker_session, serializer=JSONSerializer())
    assert json.loads(with_serializer.predict(payload)) == wanted
    lines = Predictor("sentiment", predictor.sagemaker_session, serializer=JSONLinesSerializer())
    lines.accept = "application/jsonlines"
    answer = lines.predict([{"source": "nice soft lovely"}, {"source": "ugly"}])
    assert [json.loads(line)["label"] for line in answer.splitlines()] == [["__label__1"], ["__label__0"]]


def test_the_address_takes_a_post(predictor: Predictor) -> None:
    body = json.dumps({"instances": ["nice soft lovely"]}).encode()
    request = urllib.request.Request(predictor.url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer) == predictor.predict({"instances": ["nice soft lovely"]})


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/csv", b'"nice, soft lovely"\nugly cheap\n'),
        ("text/plain", b"nice soft lovely\nugly cheap\n"),
        ("application/x-www-form-urlencoded", b'{"instances": ["nice soft lovely", "ugly cheap"]}'),  # as curl -d says
    ],
)
def test_texts_come_in_other_forms_too(predictor: Predictor, content_type: str, body: bytes) -> None:
    request = urllib.request.Request(predictor.url, body, {"Content-Type": content_type})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert [row["label"] for row in json.load(answer)] == [["__label__1"], ["__label__0"]]


def test_a_bad_request_comes_back_with_the_endpoints_words(predictor: Predictor) -> None:
    with pytest.raises(ClientError, match="instances"):
        predictor.predict({"nothing": 1})
    assert predictor.predict({"instances": ["nice"]})


def test_a_taken_name_is_refused_before_anything_is_made(trained: Estimator, predictor: Predictor) -> None:
    platform = predictor.sagemaker_session.sagemaker_client
    before = len(platform.list_models()["Models"])
    with pytest.raises(ArgumentError, match=r'there is an endpoint "sentiment" already \(InService\)'):
        trained.deploy(1, "local", endpoint_name="sentiment")
    assert len(platform.list_models()["Models"]) == before


def test_deploy_without_waiting_then_delete_it_all(trained: Estimator) -> None:
    predictor = trained.deploy(1, "ml.m5.large", wait=False)
    assert predictor.predict({"instances": ["ugly"]})[0]["label"] == ["__label__0"]
    session = trained.sagemaker_session
    predictor.delete_endpoint()
    predictor.delete_model()
    assert not session.endpoint_in_service_or_not(predictor.endpoint_name)
    for describe in (session.describe_endpoint, session.describe_endpoint_config, session.describe_model):
        with pytest.raises(ClientError, match="Could not find"):
            describe(predictor.endpoint_name)


def test_a_bare_fasttext_file_can_be_deployed(trained: Estimator, tmp_path: Path) -> None:
    with tarfile.open(trained.model_data) as archive:
        archive.extract("model.bin", tmp_path, filter="data")
    bare = (tmp_path / "model.bin").rename(tmp_path / "mine.bin")
    # Without an image, too: the platform recognises whose model it is.
    predictor = Model(model_data=bare, sagemaker_session=trained.sagemaker_session).deploy(1, "local")
    assert predictor.predict({"instances": ["nice soft lovely"]})[0]["label"] == ["__label__1"]
    predictor.delete_endpoint()
    predictor.delete_model()


# -- files of answers --


def test_a_transform_answers_line_by_line(
    trained: Estimator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = tmp_path / "in" / "ask.jsonl"
    asked.parent.mkdir()
    asked.write_text('{"source": "nice soft lovely"}\n{"source": "ugly itchy"}\n')
    transformer = trained.transformer(
        1, "local", strategy="MultiRecord", assemble_with="Line", accept="application/jsonlines",
        output_path=tmp_path / "out",
    )  # fmt: skip
    transformer.transform(asked.parent, content_type="application/jsonlines", split_type="Line")
    answers = (tmp_path / "out" / "ask.jsonl.out").read_text().splitlines()
    assert [json.loads(line)["label"] for line in answers] == [["__label__1"], ["__label__0"]]
    assert "ask.jsonl" in capsys.readouterr().out
    transformer.delete_model()


def test_a_transform_over_the_sessions_own_bucket(trained: Estimator, tmp_path: Path) -> None:
    session = trained.sagemaker_session
    (tmp_path / "a.jsonl").write_text('{"source": "nice soft lovely"}\n')
    uri = session.upload_data(tmp_path / "a.jsonl", key_prefix="ask")
    transformer = trained.transformer(1, "local", output_path=f"s3://{session.default_bucket()}/answers")
    transformer.transform(uri, content_type="application/jsonlines", split_type="Line", logs=False)
    assert session.list_s3_files(session.default_bucket(), "answers") == ["answers/a.jsonl.out"]
    transformer.delete_model()


def test_training_from_the_sessions_own_bucket(session: Session, folder: Path) -> None:
    uri = session.upload_data(folder / "train.txt")
    one = estimator(session, output_path=f"s3://{session.default_bucket()}/models")
    one.fit(uri, logs=None)
    assert one.model_data.startswith(f"s3://{session.default_bucket()}/models/")
