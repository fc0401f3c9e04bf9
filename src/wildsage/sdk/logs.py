"""Follow a job: its states and its log, written to standard output as they come."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wildsage.sdk.exceptions import CapacityError, UnexpectedStatusException

Description = dict[str, Any]
FINAL = ("Completed", "Failed", "Stopped")


def say(text: str, end: str = "\n") -> None:
    """Write to standard output at once, also where it is a pipe."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def is_missing(error: Exception) -> bool:
    """Whether the logs service says that a group or stream is not there (yet). Both botocore and we have `response`."""
    response = getattr(error, "response", None)
    return isinstance(response, Mapping) and response.get("Error", {}).get("Code") == "ResourceNotFoundException"


@dataclass
class LogReader:
    """Reads what has come to the log streams of one job since the last look.

    client: boto3's `logs` client, or the platform's member of the same shape.
    """

    client: Any
    group: str
    job: str
    streams: int  # machines of the job, each with a stream of its own
    tokens: dict[str, str | None] = field(default_factory=dict)  # stream -> where to go on

    def lines(self) -> list[str]:
        """Return the new messages, stream by stream."""
        try:
            if len(self.tokens) < self.streams:
                self._find_streams()
            return [message for stream in self.tokens for message in self._new(stream)]
        except Exception as error:
            if is_missing(error):  # a job that has not written anything yet
                return []
            raise

    def _find_streams(self) -> None:
        request: dict[str, Any] = {
            "logGroupName": self.group,
            "logStreamNamePrefix": f"{self.job}/",
            "orderBy": "LogStreamName",
            "limit": min(self.streams, 50),
        }
        while True:
            answer = self.client.describe_log_streams(**request)
            for stream in answer["logStreams"]:
                self.tokens.setdefault(stream["logStreamName"], None)
            if not answer.get("nextToken"):
                return
            request["nextToken"] = answer["nextToken"]

    def _new(self, stream: str) -> list[str]:
        messages: list[str] = []
        while True:
            token = self.tokens[stream]
            request = {"logGroupName": self.group, "logStreamName": stream, "startFromHead": True}
            answer = self.client.get_log_events(**request, **({"nextToken": token} if token else {}))
            messages += [event["message"] for event in answer["events"]]
            self.tokens[stream] = answer["nextForwardToken"]
            if answer["nextForwardToken"] == token or not answer["events"]:
                return messages


def transitions(description: Description, shown: int) -> list[str]:
    """Return a line for each state that a training job has gone through beyond the first `shown` ones."""
    lines = []
    for transition in (description.get("SecondaryStatusTransitions") or [])[shown:]:
        when = transition.get("StartTime") or description.get("LastModifiedTime")
        stamp = when.astimezone().strftime("%Y-%m-%d %H:%M:%S") if when is not None else ""
        lines.append(f"{stamp} {transition['Status']} - {transition.get('StatusMessage', '')}".strip(" -"))
    return lines


def follow(
    describe: Callable[[], Description],
    status: str,
    reader: LogReader | None,
    *,
    poll_s: float,
    wait: bool,
    timeout_s: float | None = None,
) -> Description:
    """Write states and log lines of a job until it has ended (or, without wait, those of now); return its description.

    status: the description's member that holds the state. reader: None to write no log lines.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    shown = 0
    while True:
        description = describe()
        # Read the log after the state: when the state is final, all of the log has been written.
        for line in transitions(description, shown):
            say(line)
        shown = len(description.get("SecondaryStatusTransitions") or [])
        for message in reader.lines() if reader is not None else ():
            say(message.rstrip("\n"))
        if description[status] in FINAL or not wait:
            return description
        if deadline is not None and time.monotonic() > deadline:
            say(f"Timeout Exceeded. {timeout_s:g} seconds elapsed.")
            return description
        time.sleep(poll_s)


def until_final(describe: Callable[[], Description], status: str, *, poll_s: float) -> Description:
    """Describe a job again and again, and in silence, until it has ended."""
    while True:
        description = describe()
        if description[status] in FINAL:
            return description
        time.sleep(poll_s)


def check(kind: str, name: str, description: Description, status: str) -> None:
    """Raise UnexpectedStatusException with the reason if the job has failed. A stopped one passes."""
    if description[status] in ("Completed", "Stopped"):
        return
    reason = description.get("FailureReason") or "(no reason given)"
    error = CapacityError if "CapacityError" in reason else UnexpectedStatusException
    raise error(
        f"Error for {kind} job {name}: {description[status]}. Reason: {reason}",
        allowed_statuses=["Completed", "Stopped"],
        actual_status=description[status],
    )
