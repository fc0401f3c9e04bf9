"""The notes in a run's folder, and the words for its end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.platform.conftest import CheckedPlatform, trained
from tests.platform.requests import job_request
from wildsage.contract.failure import FAILURE_LIMIT
from wildsage.contract.files import beside_name
from wildsage.engines import run_folder
from wildsage.engines.base import Cause, Ending
from wildsage.platform import runs

LOG = "first\nsecond\n\n 50 %\r100 %\nlast\n"


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (Ending(Cause.EXITED, exit_code=3), "AlgorithmError: the program ended with exit code 3"),
        (Ending(Cause.KILLED, signal=11), "InternalServerError: the program was ended by signal 11"),
        (Ending(Cause.OUT_OF_MEMORY, signal=9), "InternalServerError: this machine ran out of memory and ended the"),
        (Ending(Cause.LOST), "InternalServerError: the process that watched the program died"),
    ],
)
def test_ends_are_told_apart_with_the_last_lines_of_the_log(ending: Ending, reason: str, tmp_path: Path) -> None:
    assert runs.reason(tmp_path, ending, "program").startswith(reason)
    (tmp_path / "log").write_text(LOG)
    told = runs.reason(tmp_path, ending, "program")
    assert told.startswith(reason)
    assert told.endswith(". Last log lines: second | 100 % | last")
    (tmp_path / "log").write_text("x" * 5000)
    assert len(runs.reason(tmp_path, ending, "program")) == FAILURE_LIMIT


def test_what_was_not_started_says_who_can_mend_it(tmp_path: Path) -> None:
    for said, reason in (
        ("InternalServerError: no room", "InternalServerError: no room"),
        ("no such file", "ClientError: no such file"),
        ("", "ClientError: the program could not be started"),
    ):
        assert runs.reason(tmp_path, Ending(Cause.NOT_STARTED, reason=said), "program") == reason


def test_a_job_that_is_killed_says_so(platform: CheckedPlatform, words: Path, home: Path) -> None:
    platform.create_training_job(**job_request("job", words, hyperparameters={"rounds": "9", "behaviour": "wait"}))
    next(line for line in platform.follow_training_log("job") if line.endswith("waiting"))
    record = run_folder.read_record(home / "jobs" / "job")
    assert record is not None
    assert record.command_pid is not None
    os.kill(record.command_pid, signal.SIGKILL)
    job = trained(platform, "job")
    assert job["TrainingJobStatus"] == "Failed"
    assert "the training program was ended by signal 9. Last log lines: " in job["FailureReason"]
    assert job["FailureReason"].endswith("waiting")


def test_steps_of_one_time_stay_in_order() -> None:
    old, new = [("a", 1.0), ("b", 2.0)], [("c", 2.0), ("d", 2.0), ("b", 2.0), ("e", 1.5)]
    assert runs.merged(old, new) == [("a", 1.0), ("e", 1.5), ("b", 2.0), ("c", 2.0), ("d", 2.0)]


def test_what_earlier_removals_left_goes_too(tmp_path: Path) -> None:
    names = [tmp_path / "job", beside_name(tmp_path / "job"), beside_name(tmp_path / "other"), tmp_path / "third"]
    for folder in names:
        folder.mkdir()
        (folder / "log").write_text("x")
    runs.remove(tmp_path / "job")
    assert [path.name for path in tmp_path.iterdir()] == ["third"]
    runs.remove(tmp_path / "job")
