"""kill -9 at each step of fit, deploy, stop and delete: the next command tells the truth and works."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.platform.conftest import (
    SETTLED,
    CheckedPlatform,
    deploy,
    ended,
    in_status,
    train,
    trained,
)
from tests.platform.requests import job_request
from tests.waiting import until
from wildsage.engines.base import Specification
from wildsage.engines.local import LocalEngine
from wildsage.platform.errors import ServiceError
from wildsage.platform.jobs import NEVER_STARTED
from wildsage.platform.training_jobs import TrainingJobs


def killed_at(step: str, action: str, home: Path, name: str, path: Path | str = "") -> None:
    """Run the action in a process that dies at the step."""
    command = [sys.executable, "-m", "tests.platform.killing", step, action, str(home), name, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.fixture
def archive(tmp_path: Path) -> str:
    """A model as training would leave it, in a folder."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "counts.json").write_text('{"a": 2.0}')
    return str(folder)


@pytest.mark.parametrize(
    ("step", "status"),
    [
        ("before the record", None),
        ("after the record", "Failed"),
        ("after the job's folder", "Failed"),
        ("before the start", "Failed"),
        ("after the start", "Completed"),
    ],
)
def test_create_training_job(platform: CheckedPlatform, words: Path, home: Path, step: str, status: str | None) -> None:
    killed_at(step, "train", home, "job", words)
    listed = [job["TrainingJobName"] for job in platform.list_training_jobs()["TrainingJobSummaries"]]
    assert listed == ([] if status is None else ["job"])
    if status is not None:
        job = trained(platform, "job")
        assert job["TrainingJobStatus"] == status
        if status == "Failed":
            assert job["FailureReason"] == NEVER_STARTED
        platform.delete_training_job(TrainingJobName="job")
    assert train(platform, "job", words)["TrainingJobStatus"] == "Completed"


@pytest.mark.parametrize(
    "step",
    [
        "before the ending",
        "before the model",
        "after the model",
        "before it is remembered",
        "before the outcome",
        "after the outcome",
        "before the outcome's record",
        "after the outcome's record",
    ],
)
def test_finish_in_the_supervisor(
    platform: CheckedPlatform, words: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    plain = TrainingJobs.lay_out

    def lay_out(self: TrainingJobs, record: Any, folder: Path) -> Specification:
        (folder / "kill-at").write_text(step)
        return replace(plain(self, record, folder), finish="tests.platform.killing:finish")

    monkeypatch.setattr(TrainingJobs, "lay_out", lay_out)
    platform.create_training_job(**job_request("job", words))
    folder = platform.plain.home / "jobs" / "job"
    assert LocalEngine().wait(folder, timeout_s=60).alive is False
    job = platform.describe_training_job(TrainingJobName="job")
    assert job["TrainingJobStatus"] == "Completed"
    assert Path(job["ModelArtifacts"]["S3ModelArtifacts"]).is_file()
    assert job["SecondaryStatusTransitions"][-1]["Status"] == "Completed"
    assert [path.name for path in Path(job["ModelArtifacts"]["S3ModelArtifacts"]).parent.iterdir()] == ["model.tar.gz"]


@pytest.mark.parametrize("step", ["before the model", "after the model", "before the outcome", "after the outcome"])
def test_finish_in_the_one_who_looks(
    platform: CheckedPlatform, words: Path, home: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    plain = TrainingJobs.lay_out

    def lay_out(self: TrainingJobs, record: Any, folder: Path) -> Specification:
        (folder / "kill-at").write_text("before the ending")
        return replace(plain(self, record, folder), finish="tests.platform.killing:finish")

    monkeypatch.setattr(TrainingJobs, "lay_out", lay_out)
    platform.create_training_job(**job_request("job", words))
    LocalEngine().wait(home / "jobs" / "job", timeout_s=60)
    killed_at(step, "describe", home, "job")
    assert platform.describe_training_job(TrainingJobName="job")["TrainingJobStatus"] == "Completed"


@pytest.mark.parametrize("step", ["before the change of state", "after the change of state", "after the stop"])
def test_stop(platform: CheckedPlatform, words: Path, home: Path, step: str) -> None:
    values = {"rounds": "99", "behaviour": "wait"}
    platform.create_training_job(**job_request("job", words, hyperparameters=values))
    next(line for line in platform.follow_training_log("job") if line.endswith("waiting"))
    # So that the change which the step means is the one to Stopping, not that of the steps the job has reached.
    platform.describe_training_job(TrainingJobName="job")
    killed_at(step, "stop", home, "job")
    if step == "before the change of state":
        assert platform.describe_training_job(TrainingJobName="job")["TrainingJobStatus"] == "InProgress"
        platform.stop_training_job(TrainingJobName="job")
    assert trained(platform, "job")["TrainingJobStatus"] == "Stopped"


@pytest.mark.parametrize(
    "step",
    [
        "before the change of state",
        "after the change of state",
        "before the folder goes",
        "while the folder goes",
        "after the folder has gone",
        "after the record has gone",
    ],
)
def test_delete_training_job(platform: CheckedPlatform, words: Path, home: Path, step: str) -> None:
    train(platform, "job", words)
    killed_at(step, "delete job", home, "job")
    listed = platform.list_training_jobs()["TrainingJobSummaries"]
    if step == "before the change of state":
        assert [job["TrainingJobStatus"] for job in listed] == ["Completed"]
        platform.delete_training_job(TrainingJobName="job")
    else:
        assert listed == []
        assert list((home / "jobs").iterdir()) == []
    assert train(platform, "job", words)["TrainingJobStatus"] == "Completed"


@pytest.mark.parametrize(
    "step",
    [
        "before the record",
        "after the record",
        "after the endpoint's folder",
        "before the start",
        "after the start",
    ],
)
def test_create_endpoint(platform: CheckedPlatform, archive: str, home: Path, step: str) -> None:
    platform.create_model(ModelName="other", PrimaryContainer={"Image": "counting", "ModelDataUrl": archive})
    variant = {"VariantName": "AllTraffic", "ModelName": "other"}
    platform.create_endpoint_config(EndpointConfigName="up", ProductionVariants=[variant])
    killed_at(step, "deploy", home, "up")
    if step == "before the record":
        with pytest.raises(ServiceError, match="Could not find"):
            platform.describe_endpoint(EndpointName="up")
    else:
        in_status(platform, "up", "InService")
        platform.delete_endpoint(EndpointName="up")
    platform.create_endpoint(EndpointName="up", EndpointConfigName="up")
    in_status(platform, "up", "InService")


@pytest.mark.parametrize(
    "step",
    [
        "before the change of state",
        "after the change of state",
        "after the stop",
        "before the folder goes",
        "after the folder has gone",
        "after the record has gone",
    ],
)
def test_delete_endpoint(platform: CheckedPlatform, archive: str, home: Path, step: str) -> None:
    deploy(platform, "gone", archive)
    in_status(platform, "gone", "InService")
    killed_at(step, "delete endpoint", home, "gone")
    if step == "before the change of state":
        assert platform.list_endpoints()["Endpoints"][0]["EndpointStatus"] == "InService"
        platform.delete_endpoint(EndpointName="gone")
    until(lambda: platform.list_endpoints()["Endpoints"] == [], what="the endpoint's end")
    assert not (home / "endpoints" / "gone").exists()
    platform.create_endpoint(EndpointName="gone", EndpointConfigName="gone")
    in_status(platform, "gone", "InService")


def test_two_processes_and_one_name(home: Path, installed: Path, words: Path, platform: CheckedPlatform) -> None:
    program = (
        "import sys, time; from pathlib import Path; from tests.platform.requests import job_request\n"
        "from wildsage.platform.service import Platform; from wildsage.platform.errors import ServiceError\n"
        "p = Platform(Path(sys.argv[1])); request = job_request('one', Path(sys.argv[2])); sys.stdin.readline()\n"
        "try: p.create_training_job(**request); print('won')\n"
        "except ServiceError as error: print(error.code)\n"
    )
    command = [sys.executable, "-c", program, str(home), str(words)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(3)]
    answers = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        output, _ = process.communicate(timeout=60)
        answers.append(output.strip())
    assert sorted(answers) == ["ResourceInUse", "ResourceInUse", "won"]
    assert trained(platform, "one")["TrainingJobStatus"] == "Completed"


def test_a_record_of_another_home_is_told_as_it_is(platform: CheckedPlatform, words: Path, tmp_path: Path) -> None:
    """Two homes may share a database; only its own home knows what runs behind a record."""
    from wildsage.platform.service import Platform

    url = f"sqlite:///{tmp_path / 'shared.db'}"
    request = job_request("far", words, hyperparameters={"rounds": "9", "behaviour": "wait"})
    with Platform(tmp_path / "a", database_url=url) as here, Platform(tmp_path / "b", database_url=url) as there:
        here.create_training_job(**request)
        assert there.describe_training_job(TrainingJobName="far")["TrainingJobStatus"] == "InProgress"
        assert there.list_training_jobs()["TrainingJobSummaries"][0]["TrainingJobStatus"] == "InProgress"
        here.stop_training_job(TrainingJobName="far")
        describe = lambda: here.describe_training_job(TrainingJobName="far")  # noqa: E731
        assert ended(describe, "TrainingJobStatus")["TrainingJobStatus"] in SETTLED
        assert there.describe_training_job(TrainingJobName="far")["TrainingJobStatus"] == "Stopped"
