"""Requests checked against the service's own shapes, cut from botocore's models into shapes.json.

Everything that is wrong with a request is said at once. Where this machine allows more than the managed service, the
difference stands in LOOSER and OPTIONAL and nowhere else.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from wildsage.contract.errors import nearest
from wildsage.contract.files import shown
from wildsage.platform.errors import invalid

Shape = dict[str, Any]

_ANY_TEXT: Shape = {"type": "string", "min": 1, "max": 4096}
_INSTANCE_TYPE: Shape = {
    "type": "string",
    "pattern": r"local|local_gpu|ml\.[A-Za-z0-9.\-]+",
    "allowed": "local, local_gpu or ml.<family>.<size>; each runs on this machine",
}
# Local paths and any fsspec URL stand where the service wants S3; a role is recorded and means nothing here.
LOOSER: dict[str, Shape] = {
    "S3Uri": _ANY_TEXT,
    "Url": _ANY_TEXT,
    "RoleArn": _ANY_TEXT,
    "TrainingInstanceType": _INSTANCE_TYPE,
    "ProductionVariantInstanceType": _INSTANCE_TYPE,
    "TransformInstanceType": _INSTANCE_TYPE,
}
OPTIONAL: dict[str, frozenset[str]] = {"CreateTrainingJobRequest": frozenset({"RoleArn", "OutputDataConfig"})}

_TYPES = {
    "string": ("text", (str,)),
    "integer": ("an integer", (int,)),
    "long": ("an integer", (int,)),
    "float": ("a number", (int, float)),
    "double": ("a number", (int, float)),
    "boolean": ("true or false", (bool,)),
    "blob": ("bytes or text", (bytes, bytearray, memoryview, str)),
}


@cache
def _services() -> dict[str, Any]:
    services: dict[str, Any] = json.loads(Path(__file__).with_name("shapes.json").read_text("utf-8"))["services"]
    return services


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _shape(service: str, name: str) -> Shape:
    if name in LOOSER:
        return LOOSER[name]
    shape: Shape = _services()[service]["shapes"][name]
    return shape


def response_members(service: str, operation: str) -> frozenset[str]:
    """Names of the members that the operation's response may have."""
    output = _services()[service]["operations"][operation].get("output")
    return frozenset(_shape(service, output)["members"]) if output else frozenset()


def operations(service: str) -> list[str]:
    """The operations of a service that Wildsage knows, in the wire's spelling."""
    return sorted(_services()[service]["operations"])


def check(service: str, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """The request with times as aware datetimes and members that are None left out.

    Raises ServiceError (ValidationException) that names every bad member at once.
    """
    name = _services()[service]["operations"][operation]["input"]
    problems: list[str] = []
    checked: dict[str, Any] = _check(service, name, request, "", problems)
    if problems:
        count = "1 validation error" if len(problems) == 1 else f"{len(problems)} validation errors"
        raise invalid(f"{count} detected: {'; '.join(problems)}", operation=operation)
    return checked


def _check(service: str, name: str, value: Any, path: str, problems: list[str]) -> Any:
    shape = _shape(service, name)
    kind = shape["type"]
    if kind == "structure":
        return _structure(service, name, shape, value, path, problems)
    if kind == "list":
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            problems.append(f"{path} = {shown(value)} is not allowed: a list")
            return None
        _size(shape, len(value), "items", path, problems)
        return [_check(service, shape["member"], item, f"{path}[{i}]", problems) for i, item in enumerate(value)]
    if kind == "map":
        if not isinstance(value, Mapping):
            problems.append(f"{path} = {shown(value)} is not allowed: a map from text to values")
            return None
        _size(shape, len(value), "entries", path, problems)
        checked = {}
        for key, item in value.items():
            _check(service, shape["key"], key, f"{path} (key)", problems)
            checked[key] = _check(service, shape["value"], item, f"{path}.{key}", problems)
        return checked
    if kind == "timestamp":
        return _time(value, path, problems)
    return _scalar(shape, value, path, problems)


def _structure(service: str, name: str, shape: Shape, value: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(value, Mapping):
        problems.append(f"{path or 'the request'} = {shown(value)} is not allowed: a structure")
        return None
    members: dict[str, str] = shape["members"]
    prefix = f"{path}." if path else ""
    checked = {}
    for key, item in value.items():
        if key not in members:
            problems.append(f"{prefix}{key} is not a known member{nearest(str(key), members)}")
        elif item is not None:
            checked[key] = _check(service, members[key], item, f"{prefix}{key}", problems)
    optional = OPTIONAL.get(name, frozenset())
    missing = [key for key in shape.get("required", ()) if value.get(key) is None and key not in optional]
    problems.extend(f"{prefix}{key} is missing" for key in missing)
    return checked


def _scalar(shape: Shape, value: Any, path: str, problems: list[str]) -> Any:
    kind = shape["type"]
    what, types = _TYPES[kind]
    if not isinstance(value, types) or (isinstance(value, bool) and kind != "boolean"):
        problems.append(f"{path} = {shown(value)} is not allowed: {what}")
        return None
    if kind in ("string", "blob"):
        return _text(shape, value, path, problems)
    if isinstance(value, float) and not math.isfinite(value):  # JSON has no way to write it
        problems.append(f"{path} = {value} is not allowed: {what}")
        return None
    low, high = shape.get("min"), shape.get("max")
    if (low is not None and value < low) or (high is not None and value > high):
        span = f"{low} to {high}" if low is not None and high is not None else f"{low} or more" if high is None else ""
        problems.append(f"{path} = {value} is not allowed: {what}, {span or f'at most {high}'}")
    return value


def _text(shape: Shape, value: Any, path: str, problems: list[str]) -> Any:
    if "enum" in shape and value not in shape["enum"]:
        allowed = ", ".join(shape["enum"])
        problems.append(f"{path} = {shown(value)} is not allowed: {allowed}{nearest(value, shape['enum'])}")
    _size(shape, len(value), "bytes" if shape["type"] == "blob" else "characters", path, problems)
    if "pattern" in shape and not _compiled(shape["pattern"]).fullmatch(value):
        allowed = shape.get("allowed") or f"text that matches {shape['pattern']}"
        problems.append(f"{path} = {shown(value)} is not allowed: {allowed}")
    return value


def _size(shape: Shape, size: int, unit: str, path: str, problems: list[str]) -> None:
    low, high = shape.get("min"), shape.get("max")
    if low is not None and size < low:
        problems.append(f"{path} has {size} {unit}: at least {low}")
    if high is not None and size > high:
        problems.append(f"{path} has {size} {unit}: at most {high}")


def _time(value: Any, path: str, problems: list[str]) -> datetime | None:
    """A datetime (a naive one is local, as botocore takes it), epoch seconds, or ISO 8601 text."""
    try:
        if isinstance(value, datetime):
            return value.astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        pass
    problems.append(f"{path} = {shown(value)} is not allowed: a datetime, epoch seconds or ISO 8601 text")
    return None
