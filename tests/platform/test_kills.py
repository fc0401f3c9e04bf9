"""kill -9 at each step of fit, deploy, stop and delete: the next command tells the truth and works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.platform import killing
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
from wildsage.platform import locks, runs
from wildsage.platform.errors import ServiceError
from wildsage.platform.jobs import NEVER_STARTED
from wildsage.platform.names import Kind
from wildsage.platform.training_jobs import TrainingJobs

# A child that forks is there at once, where a program would take as long to start as the rest of a test.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def killed_at(platform: CheckedPlatform, step: str, action: str, name: str, path: Path | str = "") -> None:
    """Do the action in a child that dies at the step."""
    home = platform.plain.home
    platform.plain.close()  # SQLite's open files must not go into a child
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(60)
            killing.act(step, action, home, name, Path(path))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


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
def test_create_training_job(platform: CheckedPlatform, words: Path, step: str, status: str | None) -> None:
    killed_at(platform, step, "train", "job", words)
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
    assert not any((folder / "ml" / name).exists() for name in ("input/data", "model", "checkpoints"))


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
    killed_at(platform, step, "describe", "job")
    assert platform.describe_training_job(TrainingJobName="job")["TrainingJobStatus"] == "Completed"


@pytest.mark.parametrize("step", ["before the change of state", "after the change of state", "after the stop"])
def test_stop(platform: CheckedPlatform, words: Path, step: str) -> None:
    values = {"rounds": "99", "behaviour": "wait"}
    platform.create_training_job(**job_request("job", words, hyperparameters=values))
    next(line for line in platform.follow_training_log("job") if line.endswith("waiting"))
    # So that the change which the step means is the one to Stopping, not that of the steps the job has reached.
    platform.describe_training_job(TrainingJobName="job")
    killed_at(platform, step, "stop", "job")
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
    killed_at(platform, step, "delete job", "job")
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
def test_create_endpoint(platform: CheckedPlatform, archive: str, step: str) -> None:
    platform.create_model(ModelName="other", PrimaryContainer={"Image": "counting", "ModelDataUrl": archive})
    variant = {"VariantName": "AllTraffic", "ModelName": "other"}
    platform.create_endpoint_config(EndpointConfigName="up", ProductionVariants=[variant])
    killed_at(platform, step, "deploy", "up")
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
    killed_at(platform, step, "delete endpoint", "gone")
    if step == "before the change of state":
        assert platform.list_endpoints()["Endpoints"][0]["EndpointStatus"] == "InService"
        platform.delete_endpoint(EndpointName="gone")
    until(lambda: platform.list_endpoints()["Endpoints"] == [], what="the endpoint's end")
    assert not (home / "endpoints" / "gone").exists()
    platform.create_endpoint(EndpointName="gone", EndpointConfigName="gone")
    in_status(platform, "gone", "InService")


def test_a_lock_that_is_just_being_given_up_does_not_hide_the_truth(
    platform: CheckedPlatform, words: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was killed may have lost the lock of its run, and not yet the lock of its record."""
    killed_at(platform, "after the record", "train", "job", words)
    monkeypatch.setattr(locks, "MOMENT_S", 60.0)
    with ThreadPoolExecutor(1) as pool:
        with locks.held(runs.lock_of(home, Kind.TRAINING_JOB, "job")):
            asked = pool.submit(platform.describe_training_job, TrainingJobName="job")
        assert asked.result(60)["TrainingJobStatus"] == "Failed"


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
