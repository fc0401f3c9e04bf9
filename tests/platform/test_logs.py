"""Logs as boto3's client shows them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.platform.conftest import CheckedPlatform, train
from wildsage.platform import logs
from wildsage.platform.errors import ServiceError
from wildsage.platform.logs import Event, Stream

GROUP = "/aws/sagemaker/TrainingJobs"


def stream_of(platform: CheckedPlatform, name: str) -> str:
    streams = platform.logs.describe_log_streams(
        logGroupName=GROUP, logStreamNamePrefix=f"{name}/", orderBy="LogStreamName", limit=1
    )
    assert "nextToken" not in streams
    found: str = streams["logStreams"][0]["logStreamName"]
    return found


def test_a_job_has_one_stream_that_is_read_page_by_page(platform: CheckedPlatform, words: Path) -> None:
    with pytest.raises(ServiceError) as none:
        platform.logs.describe_log_streams(logGroupName=GROUP)
    assert none.value.code == "ResourceNotFoundException"
    train(platform, "talks", words)
    whole = list(platform.follow_training_log("talks"))
    stream = stream_of(platform, "talks")
    assert stream.startswith("talks/algo-1-")
    messages: list[str] = []
    request: dict[str, Any] = {"logGroupName": GROUP, "logStreamName": stream, "startFromHead": True, "limit": 2}
    while page := (answer := platform.logs.get_log_events(**request))["events"]:
        messages += [event["message"] for event in page]
        request["nextToken"] = answer["nextForwardToken"]
    assert answer["nextForwardToken"] == request["nextToken"]
    assert messages == [line for line in whole if line]
    last = platform.logs.get_log_events(logGroupName=GROUP, logStreamName=stream, limit=1)
    assert [event["message"] for event in last["events"]] == messages[-1:]
    before = platform.logs.get_log_events(
        logGroupName=GROUP, logStreamName=stream, limit=1, nextToken=last["nextBackwardToken"]
    )
    assert [event["message"] for event in before["events"]] == messages[-2:-1]
    for request in (
        {"logStreamName": "talks/algo-2-1", "logGroupName": GROUP},
        {"logStreamName": stream, "logGroupName": "/aws/other"},
    ):
        with pytest.raises(ServiceError) as missing:
            platform.logs.get_log_events(**request)
        assert missing.value.code == "ResourceNotFoundException"
    with pytest.raises(ServiceError, match="nextToken is invalid"):
        platform.logs.get_log_events(logGroupName=GROUP, logStreamName=stream, nextToken="x")


LINE = st.one_of(
    st.binary(max_size=20).map(lambda raw: raw.replace(b"\n", b"")),
    st.sampled_from(
        [b"[11/24/2026 08:30:00 INFO 1] x", b"[11/24/2025 08:30:00 INFO 1] y", b"[99/99/9999 00:00:00 ] z"]
    ),
)


@given(lines=st.lists(LINE, max_size=12), limit=st.integers(1, 4), rest=st.binary(max_size=5), ended=st.booleans())
def test_pages_forward_and_backward_give_the_same_lines(
    lines: list[bytes], limit: int, rest: bytes, ended: bool
) -> None:
    with TemporaryDirectory() as folder:
        stream = Stream("s", Path(folder) / "log", 1000, ended)
        stream.file.write_bytes(b"".join(line + b"\n" for line in lines) + rest.replace(b"\n", b""))
        everything = list(logs._events(stream, 0, 1000))
        whole = [*lines, rest.replace(b"\n", b"")] if ended else lines
        texts = [line.rstrip(b"\r").decode("utf-8", "replace") for line in whole]
        assert [event.message for event in everything] == [text for text in texts if text]
        times = [event.at_ms for event in everything]
        assert times == sorted(times)
        forward: list[Event] = []
        request: dict[str, Any] = {"limit": limit, "startFromHead": True}
        while (answer := logs.page_of(stream, request))[0]:
            forward += answer[0]
            request["nextToken"] = answer[1]
        backward: list[Event] = []
        request = {"limit": limit}
        while (answer := logs.page_of(stream, request))[0]:
            backward = answer[0] + backward
            request["nextToken"] = answer[2]
        assert forward == backward == everything
