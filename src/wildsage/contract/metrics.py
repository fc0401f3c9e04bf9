"""Metrics: a name and a regex, the lines of metrics.jsonl, and the values that a log shows."""

from __future__ import annotations

import json
import math
import re
import threading
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeGuard

from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.files import parse_json, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

MAX_DEFINITIONS = 40
MAX_NAME_LENGTH = 255
MAX_REGEX_LENGTH = 500

_LOSSES = re.compile(r"loss|error|mse|rmse|mae|mape|perplexity|entropy|msd|ssd", re.IGNORECASE)


@dataclass(frozen=True)
class MetricDefinition:
    """A metric of a log: its name, and a regex whose first group is the value."""

    name: str
    regex: str

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The compiled regex. Raises ClientError for one that is not valid, or that has no group."""
        try:
            pattern = re.compile(self.regex)
        except (re.error, RecursionError, OverflowError) as error:
            raise ClientError(f'metric "{self.name}": {shown(self.regex)} is not a regex: {error}') from error
        if not pattern.groups:
            wanted = "a regex with a group around the value, such as loss=(\\S+)"
            raise ClientError(f'metric "{self.name}": {shown(self.regex)} is not allowed: {wanted}')
        return pattern


@dataclass(frozen=True)
class MetricRecord:
    """One value of a metric. timestamp: epoch seconds. value: NaN where the value was not finite (see to_json)."""

    name: str
    value: float
    timestamp: float
    epoch: int | None = None

    def to_json(self) -> str:
        """One line of metrics.jsonl. JSON knows no NaN and no infinity: both become null, which reads as NaN."""
        fields: dict[str, Any] = {"name": self.name, "value": self.value if math.isfinite(self.value) else None}
        if self.epoch is not None:
            fields["epoch"] = self.epoch
        fields["timestamp"] = self.timestamp
        return json.dumps(fields, allow_nan=False)

    @classmethod
    def from_json(cls, line: str | bytes) -> MetricRecord:
        """Read one line of metrics.jsonl. Raises DataError for one that is not."""
        fields = parse_json(line)
        if not isinstance(fields, dict):
            raise DataError(f"{shown(fields)} is not a metric: an object with name, value and timestamp")
        name, value, epoch, timestamp = (fields.get(key) for key in ("name", "value", "epoch", "timestamp"))
        if not isinstance(name, str) or not name:
            raise DataError(f"name = {shown(name)} is not allowed: the metric's name")
        if value is not None and not _is_number(value):
            raise DataError(f"value = {shown(value)} is not allowed: a number or null")
        if epoch is not None and (not isinstance(epoch, int) or isinstance(epoch, bool)):
            raise DataError(f"epoch = {shown(epoch)} is not allowed: an integer")
        if not _is_number(timestamp):
            raise DataError(f"timestamp = {shown(timestamp)} is not allowed: epoch seconds")
        try:
            return cls(name, math.nan if value is None else float(value), float(timestamp), epoch)
        except OverflowError as error:
            raise DataError(f"{shown(fields)} is not a metric: a number is too large") from error


class MetricWriter:
    """Appends records to metrics.jsonl, each line flushed as it comes; any thread may call it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._file = path.open("ab+")
        # A job that died while it wrote left half a line, which must not swallow our first one.
        if self._file.seek(0, 2):
            self._file.seek(-1, 2)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")

    def write(self, *records: MetricRecord) -> None:
        lines = b"".join(record.to_json().encode("ascii") + b"\n" for record in records)
        with self._lock:
            self._file.write(lines)
            self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_metrics(path: Path) -> list[MetricRecord]:
    """The records of metrics.jsonl, in order; none where there is no file.

    The last line may be half written, by a job that runs or by one that was killed: it is left out, as is every other
    line that is no record.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    records = []
    for line in lines[:-1]:
        try:
            records.append(MetricRecord.from_json(line))
        except DataError:
            continue
    return records


def check_definitions(definitions: Sequence[MetricDefinition]) -> None:
    """Hold metric definitions to the contract's limits. Raises ClientError that names all that is wrong."""
    problems = []
    if len(definitions) > MAX_DEFINITIONS:
        problems.append(f"{len(definitions)} metric definitions are not allowed: up to {MAX_DEFINITIONS}")
    for definition in definitions:
        if not 1 <= len(definition.name) <= MAX_NAME_LENGTH:
            problems.append(f"metric name {shown(definition.name)} is not allowed: 1 to {MAX_NAME_LENGTH} characters")
        if not 1 <= len(definition.regex) <= MAX_REGEX_LENGTH:
            limit = f"1 to {MAX_REGEX_LENGTH} characters"
            problems.append(f'metric "{definition.name}": regex {shown(definition.regex)} is not allowed: {limit}')
            continue
        try:
            _ = definition.pattern
        except ClientError as error:
            problems.append(str(error))
    if problems:
        raise ClientError("\n".join(problems))


def scan(
    lines: Iterable[str], definitions: Sequence[MetricDefinition], *, clock: Callable[[], float] = time.time
) -> Iterator[MetricRecord]:
    """Yield the metrics that log lines show; where a regex matches something that is no number, nothing is yielded."""
    for line in lines:
        for definition in definitions:
            match = definition.pattern.search(line)
            if match is None or match[1] is None:
                continue
            try:
                value = float(match[1])
            except ValueError:
                continue
            yield MetricRecord(definition.name, value, clock())


def published_line(
    name: str, value: float, *, template: str | None = None, host: str = "algo-1", epoch: int | None = None
) -> str:
    """The log line of a metric. template: the built-in's own form, with {value}, {host} and {epoch} in it.

    Without one: "#quality_metric: host=algo-1, epoch=3, validation accuracy <score>=0.9", the common form.
    """
    number = _plain(value)
    if template is not None:
        # By replacement: a template may hold braces of its own.
        filled = template.replace("{host}", host).replace("{epoch}", str(0 if epoch is None else epoch))
        return filled.replace("{value}", number)
    words = name.replace(":", " ")
    kind = "loss" if _LOSSES.search(name) else "score"
    at = "" if epoch is None else f" epoch={epoch},"
    return f"#quality_metric: host={host},{at} {words} <{kind}>={number}"


def _plain(value: float) -> str:
    """Six digits that count, as people read them; whole numbers in full."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f"{value:.6g}"


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
