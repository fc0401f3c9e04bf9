"""Training jobs as real processes."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.platform.conftest import CheckedPlatform, train, trained
from tests.platform.requests import channel, job_request
from tests.waiting import until
from wildsage.engines.base import Cause, Ending
from wildsage.engines.run_folder import LOG, read_record
from wildsage.platform.errors import ServiceError
from wildsage.platform.names import Kind
from wildsage.platform.runs import Charge, Outcome
from wildsage.platform.training_jobs import settle


def steps(job: dict[str, Any]) -> list[str]:
    return [step["Status"] for step in job["SecondaryStatusTransitions"]]


def waiting(platform: CheckedPlatform, name: str) -> None:
    """Until the job's program says that it waits."""
    next(line for line in platform.follow_training_log(name) if line.endswith("waiting"))


def test_a_job_from_request_to_model(platform: CheckedPlatform, words: Path, home: Path) -> None:
    created = platform.create_training_job(
        **job_request(
            "first",
            words,
            hyperparameters={"rounds": "2"},
            Tags=[{"Key": "team", "Value": "birds"}],
            VpcConfig={"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
            RoleArn="me",
        )
    )
    assert created["TrainingJobArn"] == "arn:aws:sagemaker:us-east-1:000000000000:training-job/first"
    early = platform.describe_training_job(TrainingJobName="first")
    assert "S3ModelArtifacts" in early["ModelArtifacts"]
    job = trained(platform, "first")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Completed", "Completed")
    assert steps(job) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert all(step["EndTime"] >= step["StartTime"] for step in job["SecondaryStatusTransitions"])
    archive = Path(job["ModelArtifacts"]["S3ModelArtifacts"])
    assert archive == home / "artifacts" / "first" / "output" / "model.tar.gz"
    with tarfile.open(archive) as tar:
        assert tar.getnames() == ["counts.json"]
    assert job["RoleArn"] == "arn:aws:iam::000000000000:role/me"
    assert job["OutputDataConfig"]["KmsKeyId"] == ""
    assert job["EnableManagedSpotTraining"] is False
    assert job["StoppingCondition"]["MaxRuntimeInSeconds"] == 86400
    assert job["ResourceConfig"]["VolumeSizeInGB"] == 30
    assert job["VpcConfig"]["Subnets"] == ["subnet-1"]
    assert job["TrainingTimeInSeconds"] >= 1
    assert job["TrainingEndTime"] >= job["TrainingStartTime"] >= job["CreationTime"]
    assert platform.list_tags(ResourceArn=created["TrainingJobArn"])["Tags"] == [{"Key": "team", "Value": "birds"}]
    assert [record.value for record in platform.training_metrics("first")] == [4.0, 8.0]
    assert platform.training_summary("first")["words"] == 3
    assert platform.training_progress("first")["done"] == 2
    inside = home / "jobs" / "first" / "ml"
    # What was packed, or is needed no more; the record may be a moment earlier.
    until(lambda: not any((inside / name).exists() for name in ("input/data", "model", "checkpoints")))
    assert (words / "words.txt").is_file()  # its link is gone, not the file
    config = inside / "input" / "config"
    assert json.loads((config / "hyperparameters.json").read_text()) == {"rounds": "2"}
    assert json.loads((config / "resourceconfig.json").read_text())["hosts"] == ["algo-1"]


def test_every_error_of_a_request_at_once_and_no_record(platform: CheckedPlatform, words: Path) -> None:
    request = job_request("bad", words / "words.tx", RoleArn="me")
    request["InputDataConfig"] += [
        channel(words, "train"),
        channel(words, "x", InputMode="Pipe", ShuffleConfig={"Seed": 1}),
    ]
    request["ResourceConfig"] = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    request["CheckpointConfig"] = {"S3Uri": str(words), "LocalPath": "/elsewhere"}
    request["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "m", "Regex": "("}]
    with pytest.raises(ServiceError) as caught:
        platform.create_training_job(**request)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    for part in (
        'did you mean "words.txt"?',
        'channel "train" is there twice',
        "Pipe is not supported yet",
        "ShuffleConfig is not supported yet",
        "InstanceCount = 2",
        "/opt/ml/checkpoints",
        'metric "m"',
    ):
        assert part in str(caught.value)
    with pytest.raises(ServiceError, match="Requested resource not found"):
        platform.describe_training_job(TrainingJobName="bad")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"AlgorithmSpecification": {"TrainingImage": "countin", "TrainingInputMode": "File"}}, "did you mean"),
        ({"AlgorithmSpecification": {"TrainingImage": "x/y:1", "TrainingInputMode": "File"}}, "not an algorithm"),
        ({"HyperParameters": {"sagemaker_program": "train.py"}}, "script"),
        ({"TrainingJobNam": "x"}, 'did you mean "TrainingJobName"?'),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 10, "MaxWaitTimeInSeconds": 5}}, "MaxWaitTimeInSeconds = 5"),
    ],
)
def test_refused_requests_say_what_is_allowed(
    platform: CheckedPlatform, words: Path, change: dict[str, Any], part: str
) -> None:
    with pytest.raises(ServiceError, match=re.escape(part)) as caught:
        platform.create_training_job(**{**job_request("bad", words), **change})
    assert caught.value.code == "ValidationException"


def test_a_name_in_use(platform: CheckedPlatform, words: Path) -> None:
    train(platform, "taken", words)
    with pytest.raises(
        ServiceError, match="Training job names must be unique within an AWS account and region"
    ) as error:
        platform.create_training_job(**job_request("taken", words))
    assert error.value.response["Error"]["Code"] == "ResourceInUse"
    assert platform.describe_training_job(TrainingJobName="taken")["TrainingJobStatus"] == "Completed"


def test_a_users_error_is_the_reason(platform: CheckedPlatform, words: Path) -> None:
    (words / "more.txt").write_text("fine\nbad\n")
    job = train(platform, "bad-data", words)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Failed", "Failed")
    assert job["FailureReason"].startswith("ClientError: ")
    assert "more.txt, line 2: a bad word" in job["FailureReason"]
    assert job["SecondaryStatusTransitions"][-1]["StatusMessage"] == job["FailureReason"]
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == ""


def test_a_bad_hyperparameter_is_the_reason(platform: CheckedPlatform, words: Path) -> None:
    job = train(platform, "bad-value", words, hyperparameters={"rounds": "0", "weigth": "1"})
    assert "rounds = 0" in job["FailureReason"]
    assert 'did you mean "weight"?' in job["FailureReason"]


def test_an_output_path_that_cannot_be_written(platform: CheckedPlatform, words: Path, tmp_path: Path) -> None:
    for path in (words / "words.txt", words / "words.txt" / "below"):
        with pytest.raises(ServiceError, match=r"words\.txt is a file"):
            platform.create_training_job(**job_request("no", words, OutputDataConfig={"S3OutputPath": str(path)}))
    if importlib.util.find_spec("s3fs") is None:
        with pytest.raises(ServiceError, match="pip install s3fs"):
            platform.create_training_job(**job_request("no", words, OutputDataConfig={"S3OutputPath": "s3://far/"}))
    # What is in the way comes to light only at the end.
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "nowhere").write_text("in the way")
    job = train(platform, "nowhere", words, OutputDataConfig={"S3OutputPath": str(tmp_path / "out")})
    assert job["TrainingJobStatus"] == "Failed"
    assert str(tmp_path / "out" / "nowhere") in job["FailureReason"]
    assert (
        tmp_path / "home" / "jobs" / "nowhere" / "ml" / "model" / "counts.json"
    ).is_file()  # nobody has it otherwise


def test_stores_other_than_paths(platform: CheckedPlatform, words: Path, home: Path) -> None:
    """s3:// of a bucket that is a folder of the home, both ways."""
    bucket = home / "buckets" / "mine"
    (bucket / "data").mkdir(parents=True)
    (bucket / "data" / "words.txt").write_text("a a")
    request = job_request("bucket", words, OutputDataConfig={"S3OutputPath": "s3://mine/"})
    request["InputDataConfig"] = [channel(Path("x"))]
    request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] = "s3://mine/data/wor"
    platform.create_training_job(**request)
    job = trained(platform, "bucket")
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == "s3://mine/bucket/output/model.tar.gz"
    assert (bucket / "bucket" / "output" / "model.tar.gz").is_file()
    assert job["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] == "s3://mine/data/wor"


def test_a_stopped_job_keeps_its_model(platform: CheckedPlatform, words: Path) -> None:
    platform.create_training_job(**job_request("stopped", words, hyperparameters={"rounds": "9", "behaviour": "wait"}))
    waiting(platform, "stopped")
    platform.stop_training_job(TrainingJobName="stopped")
    assert platform.describe_training_job(TrainingJobName="stopped")["TrainingJobStatus"] in ("Stopping", "Stopped")
    job = trained(platform, "stopped")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert "Stopping" in steps(job)
    assert Path(job["ModelArtifacts"]["S3ModelArtifacts"]).is_file()
    with pytest.raises(ServiceError, match="status Stopped"):
        platform.stop_training_job(TrainingJobName="stopped")


@pytest.mark.parametrize("whom", ["supervisor", "command"])
def test_a_stopped_job_that_is_killed_besides_is_stopped(
    platform: CheckedPlatform, words: Path, home: Path, whom: str
) -> None:
    platform.create_training_job(**job_request("shot", words, hyperparameters={"rounds": "9", "behaviour": "wait"}))
    waiting(platform, "shot")
    record = read_record(home / "jobs" / "shot")
    assert record is not None
    assert record.command_pid is not None
    os.kill(record.pid, signal.SIGSTOP)  # so that the kill is there before it can act on the request
    platform.stop_training_job(TrainingJobName="shot")
    os.kill(record.pid if whom == "supervisor" else record.command_pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.kill(record.pid, signal.SIGCONT)
    job = trained(platform, "shot")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert "FailureReason" not in job


def test_a_job_that_runs_too_long_is_stopped_and_keeps_its_model(platform: CheckedPlatform, words: Path) -> None:
    values = {"rounds": "9", "behaviour": "wait"}
    # Long enough for the program to have begun on a busy machine; it would wait for ever.
    job = train(platform, "slow", words, hyperparameters=values, StoppingCondition={"MaxRuntimeInSeconds": 4})
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert Path(job["ModelArtifacts"]["S3ModelArtifacts"]).is_file()


def kill_supervisor(folder: Path) -> None:
    record = read_record(folder)
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)


def test_a_lost_job_is_failed_and_its_name_is_free_after_delete(
    platform: CheckedPlatform, words: Path, home: Path
) -> None:
    values = {"rounds": "9", "behaviour": "wait"}
    platform.create_training_job(**job_request("lost", words, hyperparameters=values))
    waiting(platform, "lost")
    with pytest.raises(ServiceError, match="InProgress") as error:
        platform.delete_training_job(TrainingJobName="lost")
    assert error.value.code == "ResourceInUse"
    kill_supervisor(home / "jobs" / "lost")
    job = trained(platform, "lost")
    assert job["TrainingJobStatus"] == "Failed"
    assert "the process that watched the training program died" in job["FailureReason"]
    platform.delete_training_job(TrainingJobName="lost")
    assert platform.list_training_jobs()["TrainingJobSummaries"] == []
    assert not (home / "jobs" / "lost").exists()
    assert train(platform, "lost", words)["TrainingJobStatus"] == "Completed"


def test_a_lost_job_with_checkpoints_goes_on(
    platform: CheckedPlatform, words: Path, home: Path, tmp_path: Path
) -> None:
    platform.create_training_job(
        **job_request(
            "resumed",
            words,
            hyperparameters={"rounds": "2", "behaviour": "wait"},
            CheckpointConfig={"S3Uri": str(tmp_path / "kept")},
            RetryStrategy={"MaximumRetryAttempts": 1},
        )
    )
    waiting(platform, "resumed")
    assert (tmp_path / "kept" / "counts.json").is_file()
    kill_supervisor(home / "jobs" / "resumed")
    until(
        lambda: "Restarting" in steps(platform.describe_training_job(TrainingJobName="resumed")),
        what="the second attempt",
    )
    lines = platform.follow_training_log("resumed")
    next(line for line in lines if "resumed after 1 rounds" in line)
    next(line for line in lines if line.endswith("waiting"))
    platform.stop_training_job(TrainingJobName="resumed")
    assert trained(platform, "resumed")["TrainingJobStatus"] == "Stopped"


def test_a_job_that_cannot_be_settled_has_failed(platform: CheckedPlatform, words: Path, home: Path) -> None:
    values = {"rounds": "9", "behaviour": "wait"}
    platform.create_training_job(**job_request("odd", words, hyperparameters=values))
    waiting(platform, "odd")
    metrics = home / "jobs" / "odd" / "ml" / "output" / "metrics.jsonl"
    metrics.unlink(missing_ok=True)
    metrics.mkdir()
    platform.stop_training_job(TrainingJobName="odd")
    job = trained(platform, "odd")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("InternalServerError: the end of the job could not be settled: ")
    assert "IsADirectoryError" in job["FailureReason"]
    assert str(home / "jobs" / "odd") in job["FailureReason"]
    assert "IsADirectoryError" in "\n".join(platform.follow_training_log("odd"))
    platform.delete_training_job(TrainingJobName="odd")


@pytest.mark.parametrize("name", ["outcome.json", "marks.json", "ending.json", "record.json"])
@pytest.mark.parametrize("text", ["{}", "[1]", "7", '{"id": 7, "marks": [[]]}'])
def test_a_note_of_another_shape_does_not_keep_a_job_from_its_end(
    platform: CheckedPlatform, words: Path, home: Path, name: str, text: str
) -> None:
    values = {"rounds": "9", "behaviour": "wait"}
    platform.create_training_job(**job_request("torn", words, hyperparameters=values))
    waiting(platform, "torn")
    (home / "jobs" / "torn" / name).write_text(text)
    kill_supervisor(home / "jobs" / "torn")
    job = trained(platform, "torn")
    assert job["TrainingJobStatus"] == "Failed"
    platform.delete_training_job(TrainingJobName="torn")
    assert not (home / "jobs" / "torn").exists()


def test_a_lost_job_that_cannot_start_again_has_failed(
    platform: CheckedPlatform, words: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.create_training_job(
        **job_request(
            "twice",
            words,
            hyperparameters={"rounds": "9", "behaviour": "wait"},
            CheckpointConfig={"S3Uri": str(tmp_path / "kept")},
            RetryStrategy={"MaximumRetryAttempts": 1},
        )
    )
    waiting(platform, "twice")
    kill_supervisor(home / "jobs" / "twice")
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    job = trained(platform, "twice")
    assert job["TrainingJobStatus"] == "Failed"
    assert "no-python" in job["FailureReason"]


def test_metrics_by_regex_and_by_cloudwatch(platform: CheckedPlatform, words: Path) -> None:
    definitions = [
        {"Name": "train:words", "Regex": r"train words <score>=(\S+)"},
        {"Name": "rounds:done", "Regex": r"(\d+) of \d+ rounds"},
    ]
    specification = {"TrainingImage": "counting", "TrainingInputMode": "File", "MetricDefinitions": definitions}
    job = train(platform, "metrics", words, AlgorithmSpecification=specification, hyperparameters={"rounds": "3"})
    final = {metric["MetricName"]: metric["Value"] for metric in job["FinalMetricDataList"]}
    assert final == {"train:words": 12.0, "rounds:done": 3.0}
    statistics = platform.cloudwatch.get_metric_statistics(
        Namespace="/aws/sagemaker/TrainingJobs",
        MetricName="train:words",
        Dimensions=[{"Name": "TrainingJobName", "Value": "metrics"}],
        StartTime=job["CreationTime"].timestamp() - 60,
        EndTime=job["TrainingEndTime"].timestamp() + 60,
        Period=600,
        Statistics=["Average", "Maximum", "SampleCount"],
    )
    points = statistics["Datapoints"]
    assert sum(point["SampleCount"] for point in points) == 3
    assert max(point["Maximum"] for point in points) == 12.0


def test_an_infinite_value_is_no_final_value(tmp_path: Path) -> None:
    (tmp_path / LOG).write_text("loss=0.5\nloss=inf\nrate=inf\n")
    definitions = [{"Name": name, "Regex": rf"{name}=(\S+)"} for name in ("loss", "rate")]
    request = {"AlgorithmSpecification": {"MetricDefinitions": definitions}}
    charge = Charge(Kind.TRAINING_JOB, "job", "arn", "id", tmp_path, "", 0.0, request)
    outcome = settle(charge, tmp_path, Ending(Cause.EXITED, 1))
    assert [(metric["MetricName"], metric["Value"]) for metric in outcome.details["final_metrics"]] == [("loss", 0.5)]
    outcome.write(tmp_path)
    assert Outcome.read(tmp_path, "id") == outcome


def test_a_built_in_brings_its_metric_definitions(platform: CheckedPlatform, words: Path) -> None:
    image = "811284229777.dkr.ecr.us-east-1.amazonaws.com/blazingtext:1"
    specification = {"TrainingImage": image, "TrainingInputMode": "File"}
    request = job_request("text", words, AlgorithmSpecification=specification)
    request["HyperParameters"] = {"mode": "nothing"}
    platform.create_training_job(**request)
    job = trained(platform, "text")
    assert "validation:accuracy" in [d["Name"] for d in job["AlgorithmSpecification"]["MetricDefinitions"]]
    request["InputDataConfig"] = [channel(words, "validation")]
    with pytest.raises(ServiceError, match='no channel "train"'):
        platform.create_training_job(**request)


def test_lists_filter_sort_and_page(platform: CheckedPlatform, words: Path) -> None:
    for name in ("b-one", "a-one", "c-two"):
        train(platform, name, words)
    page = platform.list_training_jobs(SortBy="Name", MaxResults=2)
    assert [job["TrainingJobName"] for job in page["TrainingJobSummaries"]] == ["a-one", "b-one"]
    rest = platform.list_training_jobs(SortBy="Name", MaxResults=2, NextToken=page["NextToken"])
    assert [job["TrainingJobName"] for job in rest["TrainingJobSummaries"]] == ["c-two"]
    assert "NextToken" not in rest
    found = platform.list_training_jobs(NameContains="ONE", StatusEquals="Completed", SortOrder="Descending")
    assert [job["TrainingJobName"] for job in found["TrainingJobSummaries"]] == ["a-one", "b-one"]
    assert platform.list_training_jobs(StatusEquals="Failed")["TrainingJobSummaries"] == []
    with pytest.raises(ServiceError, match="NextToken"):
        platform.list_training_jobs(SortBy="CreationTime", NextToken=page["NextToken"])
