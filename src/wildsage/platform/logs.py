"""`platform.logs`: boto3's `logs` client for the logs of jobs and endpoints.

A run has one stream. Its log file has no times, so that a line bears the one at its beginning, where it has one in the
form "[11/24/2026 08:30:00 INFO …]", and else that of the line before it; the first has the run's creation. Times thus
never go back, and a line's time is the same at every look. A token is a byte offset and the time of the line before.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wildsage.engines.run_folder import LOG
from wildsage.platform import runs, shapes
from wildsage.platform.context import Context
from wildsage.platform.errors import ServiceError
from wildsage.platform.names import ACCOUNT, Kind
from wildsage.platform.records import Record
from wildsage.platform.states import SETTLED
from wildsage.platform.store import Query

HOST_STREAM = "algo-1"
JOB_GROUPS = {
    "/aws/sagemaker/TrainingJobs": Kind.TRAINING_JOB,
    "/aws/sagemaker/TransformJobs": Kind.TRANSFORM_JOB,
}
ENDPOINT_GROUP = "/aws/sagemaker/Endpoints/"
_MOST_EVENTS = 10_000
_MOST_STREAMS = 50
_MOST_BYTES = 1 << 20  # of one page, as the service has it
_TOKEN = re.compile(r"([fb])/([0-9]+)/([0-9]+)")
_STAMP = re.compile(rb"\[(\d\d)/(\d\d)/(\d{4}) (\d\d):(\d\d):(\d\d) ")


@dataclass(frozen=True)
class Stream:
    """ended: nothing more will be written, so that a last line without its end is whole, too."""

    name: str
    file: Path
    created_ms: int
    ended: bool = False


@dataclass(frozen=True)
class Event:
    """A line. start, end: where it stands in the file, in bytes."""

    at_ms: int
    message: str
    start: int
    end: int


class Logs:
    def __init__(self, context: Context) -> None:
        self._context = context

    def describe_log_streams(self, **request: Any) -> dict[str, Any]:
        """The streams of a group, all of them in one answer: a client that asks again without the token never ends."""
        operation = "DescribeLogStreams"
        request = shapes.check("logs", operation, request)
        group = _group(request, operation)
        streams = self._streams(group, request.get("logStreamNamePrefix", ""), operation)
        streams.sort(key=lambda stream: stream.name, reverse=request.get("descending", False))
        found = []
        for stream in streams[: request.get("limit", _MOST_STREAMS)]:
            arn = f"arn:aws:logs:{self._context.region}:{ACCOUNT}:log-group:{group}:log-stream:{stream.name}"
            entry = {"logStreamName": stream.name, "creationTime": stream.created_ms, "arn": arn, "storedBytes": 0}
            try:
                last = int(stream.file.stat().st_mtime * 1000)
            except FileNotFoundError:
                pass  # nothing was written yet
            else:
                entry |= {
                    "firstEventTimestamp": stream.created_ms,
                    "lastEventTimestamp": last,
                    "lastIngestionTime": last,
                }
            found.append(entry)
        return {"logStreams": found}

    def get_log_events(self, **request: Any) -> dict[str, Any]:
        """A page of a stream. With startFromHead or a token forward, in order; otherwise its last lines."""
        operation = "GetLogEvents"
        request = shapes.check("logs", operation, request)
        stream = self._stream(_group(request, operation), request["logStreamName"], operation)
        events, forward, backward = page_of(stream, request)
        return {
            "events": [_plain(event) for event in events],
            "nextForwardToken": forward,
            "nextBackwardToken": backward,
        }

    def filter_log_events(self, **request: Any) -> dict[str, Any]:
        """Lines of all streams of a group that hold the pattern's words; other pattern syntax is refused."""
        operation = "FilterLogEvents"
        request = shapes.check("logs", operation, request)
        group = _group(request, operation)
        pattern = request.get("filterPattern", "").strip()
        if pattern[:1] in ("{", "[", "%", "?"):
            text = f"filterPattern = {pattern} is not supported yet: words that a line holds"
            raise ServiceError("InvalidParameterException", text, operation=operation)
        words = [part.strip('"') for part in re.findall(r'"[^"]*"|\S+', pattern)]
        names = request.get("logStreamNames")
        streams = self._streams(group, request.get("logStreamNamePrefix", ""), operation)
        start, end = request.get("startTime", 0), request.get("endTime")
        found = [
            {"logStreamName": stream.name, **_plain(event), "eventId": f"{stream.name}/{event.start}"}
            for stream in sorted(streams, key=lambda stream: stream.name)
            if names is None or stream.name in names
            for event in _events(stream, 0, stream.created_ms)
            if event.at_ms >= start and (end is None or event.at_ms < end) and all(w in event.message for w in words)
        ]
        try:
            offset = int(request.get("nextToken", "0"))
        except ValueError:
            text = "The specified nextToken is invalid."
            raise ServiceError("InvalidParameterException", text, operation=operation) from None
        after = offset + request.get("limit", _MOST_EVENTS)
        response: dict[str, Any] = {"events": found[offset:after], "searchedLogStreams": []}
        return {**response, "nextToken": str(after)} if after < len(found) else response

    def _streams(self, group: str, prefix: str, operation: str) -> list[Stream]:
        kind = JOB_GROUPS.get(group)
        if kind is None:
            name = group.removeprefix(ENDPOINT_GROUP)
            record = self._context.store.get(Kind.ENDPOINT, name) if group.startswith(ENDPOINT_GROUP) else None
            if record is None:
                raise _missing("log group", operation)
            streams = [self._endpoint_stream(record)]
        else:
            streams = [self._job_stream(record) for record in self._jobs(kind, prefix)]
            if not streams and self._context.store.page(Query(kind, limit=1)) == ([], None):
                raise _missing("log group", operation)
        return [stream for stream in streams if stream.name.startswith(prefix)]

    def _jobs(self, kind: Kind, prefix: str) -> list[Record]:
        """The jobs whose streams may begin with the prefix."""
        name, slash, _ = prefix.partition("/")
        if slash:
            record = self._context.store.get(kind, name)
            return [] if record is None else [record]
        records: list[Record] = []
        token = None
        while True:
            page, token = self._context.store.page(Query(kind, name_contains=name or None, sort_by="Name", token=token))
            records += page
            if token is None:
                return records

    def _stream(self, group: str, name: str, operation: str) -> Stream:
        found = [stream for stream in self._streams(group, name, operation) if stream.name == name]
        if not found:
            raise _missing("log stream", operation)
        return found[0]

    def _job_stream(self, record: Record) -> Stream:
        name = f"{record.name}/{HOST_STREAM}-{int(record.created_at)}"
        return self._of(record, name)

    def _endpoint_stream(self, record: Record) -> Stream:
        variant = record.request["ProductionVariant"]["VariantName"]
        return self._of(record, f"{variant}/i-{record.id[:17]}")

    def _of(self, record: Record, name: str) -> Stream:
        folder = runs.folder_of(self._context.home, record.kind, record.name)
        return Stream(name, folder / LOG, int(record.created_at * 1000), record.status in SETTLED[record.kind])


def _group(request: dict[str, Any], operation: str) -> str:
    identifier = request.get("logGroupName") or request.get("logGroupIdentifier")
    if identifier is None:
        raise ServiceError("InvalidParameterException", "logGroupName is missing", operation=operation)
    return str(identifier).rpartition(":log-group:")[2].removesuffix(":*")


def _missing(what: str, operation: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", f"The specified {what} does not exist.", operation=operation)


def _plain(event: Event) -> dict[str, Any]:
    return {"timestamp": event.at_ms, "message": event.message, "ingestionTime": event.at_ms}


def page_of(stream: Stream, request: Mapping[str, Any]) -> tuple[list[Event], str, str]:
    """A page of a stream, and the tokens of the pages after and before it."""
    limit, token = request.get("limit", _MOST_EVENTS), request.get("nextToken")
    start, end = request.get("startTime", 0), request.get("endTime")
    forward, offset, at_ms = request.get("startFromHead", False), None, stream.created_ms
    if token is not None:
        match = _TOKEN.fullmatch(token)
        if match is None:
            text = "The specified nextToken is invalid."
            raise ServiceError("InvalidParameterException", text, operation="GetLogEvents")
        forward, offset, at_ms = match[1] == "f", int(match[2]), int(match[3])
    events: list[Event] = []
    if forward:
        begin = offset or 0
        place = (begin, at_ms)
        for event in _events(stream, begin, at_ms):
            if len(events) >= limit or (events and event.end - begin > _MOST_BYTES):
                break
            place = (event.end, event.at_ms)
            if event.at_ms >= start and (end is None or event.at_ms < end):
                events.append(event)
    else:
        before = [e for e in _events(stream, 0, stream.created_ms) if offset is None or e.end <= offset]
        place = (before[-1].end, before[-1].at_ms) if before else (0, stream.created_ms)
        events = [e for e in before if e.at_ms >= start and (end is None or e.at_ms < end)][-limit:]
        begin = 0
    first = events[0].start if events else begin
    return events, f"f/{place[0]}/{place[1]}", f"b/{first}/{stream.created_ms}"


def _events(stream: Stream, offset: int, at_ms: int) -> Iterator[Event]:
    """The whole lines from a byte offset on; blank ones are left out, as the service has no empty message."""
    try:
        file = stream.file.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n") and not stream.ended:
                return  # it is still being written
            start, offset = offset, offset + len(line)
            at_ms = max(at_ms, _stamp(line) or 0)
            message = line.rstrip(b"\r\n").decode("utf-8", "replace")
            if message:
                yield Event(at_ms, message, start, offset)


def _stamp(line: bytes) -> int | None:
    """The local time at a line's beginning, in ms."""
    match = _STAMP.match(line)
    if match is None:
        return None
    month, day, year, hour, minute, second = map(int, match.groups())
    try:
        return int(time.mktime((year, month, day, hour, minute, second, 0, 0, -1)) * 1000)
    except (ValueError, OverflowError):
        return None
