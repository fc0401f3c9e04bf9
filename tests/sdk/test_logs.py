"""Following a job with a scripted service: order, pages, streams that come late, ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.sdk.recording import NOW, RecordingBoto, RecordingClient, RefusedError
from wildsage.sdk import logs
from wildsage.sdk.exceptions import UnexpectedStatusException
from wildsage.sdk.logs import LogReader
from wildsage.sdk.session import Session

GROUP = "/aws/sagemaker/TrainingJobs"


class Streams:
    """A logs service whose streams grow as the test says, in pages of two events."""

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = {}
        self.client = RecordingClient("logs", {"describe_log_streams": self.streams, "get_log_events": self.events})

    def streams(self, request: dict[str, Any]) -> dict[str, Any]:
        if not self.lines:
            raise RefusedError("ResourceNotFoundException", "The specified log group does not exist.")
        return {"logStreams": [{"logStreamName": name} for name in sorted(self.lines)][: request["limit"]]}

    def events(self, request: dict[str, Any]) -> dict[str, Any]:
        start = int(request.get("nextToken", "0"))
        page = self.lines[request["logStreamName"]][start : start + 2]
        return {
            "events": [{"timestamp": 0, "message": line} for line in page],
            "nextForwardToken": str(start + len(page)),
        }


def test_a_reader_gives_each_line_once_in_order() -> None:
    service = Streams()
    reader = LogReader(service.client, GROUP, "job", 2)
    assert reader.lines() == []
    service.lines["job/algo-1"] = ["a", "b", "c"]
    assert reader.lines() == ["a", "b", "c"]
    assert reader.lines() == []
    service.lines["job/algo-1"] += ["d"]
    service.lines["job/algo-2"] = ["x"]
    assert reader.lines() == ["d", "x"]
    assert reader.lines() == []
    looks = service.client.names().count("describe_log_streams")
    reader.lines()
    assert service.client.names().count("describe_log_streams") == looks  # all machines have a stream: no more looking


def test_a_reader_lets_other_errors_through() -> None:
    client = RecordingClient("logs", {"describe_log_streams": RefusedError("AccessDeniedException", "no")})
    with pytest.raises(RefusedError):
        LogReader(client, GROUP, "job", 1).lines()


def described(status: str, *transitions: tuple[str, str], **members: Any) -> dict[str, Any]:
    return {
        "TrainingJobStatus": status,
        "ResourceConfig": {"InstanceCount": 1},
        "LastModifiedTime": NOW,
        "SecondaryStatusTransitions": [
            {"Status": state, "StatusMessage": message, "StartTime": NOW + timedelta(seconds=number)}
            for number, (state, message) in enumerate(transitions)
        ],
        **members,
    }


def test_states_and_lines_come_as_they_happen(capsys: pytest.CaptureFixture[str]) -> None:
    service = Streams()
    starting, training = ("Starting", "Launching"), ("Training", "Training in progress")
    looks = iter(
        [
            described("InProgress"),
            described("InProgress", starting),
            described("InProgress", starting),
            described("InProgress", starting, training),
            described("Completed", starting, training, ("Completed", "Done")),
        ]
    )

    def describe() -> dict[str, Any]:
        found = next(looks)
        if found["SecondaryStatusTransitions"][1:]:
            service.lines.setdefault("job/algo-1", []).append(f"line at {found['TrainingJobStatus']}\n")
        return found

    last = logs.follow(describe, "TrainingJobStatus", LogReader(service.client, GROUP, "job", 1), poll_s=0, wait=True)
    assert last["TrainingJobStatus"] == "Completed"
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == f"{NOW.astimezone():%Y-%m-%d %H:%M:%S} Starting - Launching"
    assert [line.partition(" - ")[2] or line for line in rest] == [
        "Training in progress",
        "line at InProgress",
        "Done",
        "line at Completed",
    ]


def test_without_waiting_one_look_is_all(capsys: pytest.CaptureFixture[str]) -> None:
    logs.follow(lambda: described("InProgress", ("Starting", "x")), "TrainingJobStatus", None, poll_s=9, wait=False)
    assert capsys.readouterr().out.endswith("Starting - x\n")


def test_a_time_limit_ends_the_looking(capsys: pytest.CaptureFixture[str]) -> None:
    logs.follow(lambda: described("InProgress"), "TrainingJobStatus", None, poll_s=0, wait=True, timeout_s=0)
    assert "Timeout Exceeded" in capsys.readouterr().out


@pytest.mark.parametrize("log_type", ["All", "Training", "Rules", "None", None])
def test_which_logs_are_asked_for(log_type: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    service = Streams()
    service.lines["job/algo-1"] = ["hello"]
    client = RecordingClient(
        "sagemaker", {"describe_training_job": described("Completed", TrainingTimeInSeconds=3, BillableTimeInSeconds=2)}
    )
    session = Session(RecordingBoto(logs=service.client), client)
    session.logs_for_job("job", wait=True, log_type=log_type)
    out = capsys.readouterr().out
    assert ("hello" in out) is (log_type in ("All", "Training"))
    assert out.endswith("Training seconds: 3\nBillable seconds: 2\n")


def test_a_failed_job_is_followed_to_its_last_line_then_raised(capsys: pytest.CaptureFixture[str]) -> None:
    service = Streams()
    service.lines["job/algo-1"] = ["the last line"]
    client = RecordingClient(
        "sagemaker", {"describe_training_job": described("Failed", FailureReason="ClientError: x")}
    )
    session = Session(RecordingBoto(logs=service.client), client)
    with pytest.raises(UnexpectedStatusException, match=r"Error for Training job job: Failed\. Reason: ClientError: x"):
        session.logs_for_job("job", wait=True)
    assert "the last line" in capsys.readouterr().out
    session.logs_for_job("job")  # without waiting, a failure is only told


def test_an_unknown_kind_of_log_is_refused() -> None:
    session = Session(RecordingBoto(), RecordingClient("sagemaker"))
    with pytest.raises(ValueError, match='did you mean "Training"'):
        session.logs_for_job("job", log_type="Trainin")
