"""inputdataconfig.json: the channels of a training job."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from wildsage.contract.errors import ClientError, nearest
from wildsage.contract.files import kind_of, read_json_object, shown, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wildsage.contract.layout import Layout

MAX_CHANNELS = 20
MAX_NAME_LENGTH = 64
NAME = re.compile(r"[A-Za-z0-9.\-_]+")

# Names that people give a channel, and the one that every algorithm knows.
SYNONYMS = {"val": "validation"}


class InputMode(StrEnum):
    FILE = "File"
    FAST_FILE = "FastFile"
    PIPE = "Pipe"


class Distribution(StrEnum):
    FULLY_REPLICATED = "FullyReplicated"
    SHARDED_BY_S3_KEY = "ShardedByS3Key"


class RecordWrapper(StrEnum):
    NONE = "None"
    RECORD_IO = "RecordIO"


@dataclass(frozen=True)
class Channel:
    """One channel as a training job sees it. path: its folder (in Pipe mode the pipes are path_0, path_1, …)."""

    name: str
    path: Path
    content_type: str | None = None
    input_mode: InputMode = InputMode.FILE
    distribution: Distribution = Distribution.FULLY_REPLICATED
    record_wrapper: str | None = None

    def files(self) -> list[Path]:
        """The files of the channel below its folder, in order of name; hidden files are left out.

        Links are followed, to folders too: data that is already on this machine is linked, not copied.
        """
        if self.path.is_file():
            return [self.path]
        found: list[Path] = []
        # A folder met again below itself, through a link, would never end; met again beside itself, it counts.
        pending = [(self.path, frozenset({os.path.realpath(self.path)}))]
        while pending:
            folder, above = pending.pop()
            try:
                entries = list(os.scandir(folder))
            except (FileNotFoundError, NotADirectoryError):
                continue
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                path = Path(entry.path)
                if entry.is_dir():
                    real = os.path.realpath(path)
                    if real not in above:
                        pending.append((path, above | {real}))
                elif entry.is_file():
                    found.append(path)
        return sorted(found)

    def to_json(self) -> dict[str, str]:
        """The channel's object in inputdataconfig.json."""
        fields = {} if self.content_type is None else {"ContentType": self.content_type}
        return fields | {
            "TrainingInputMode": self.input_mode.value,
            "S3DistributionType": self.distribution.value,
            "RecordWrapperType": self.record_wrapper or RecordWrapper.NONE.value,
        }


def canonical(name: str) -> str:
    """The name under which an algorithm knows a channel: validation for val."""
    return SYNONYMS.get(name, name)


def read_channels(layout: Layout) -> dict[str, Channel]:
    """Read inputdataconfig.json; no file means no channels.

    Raises DataError with file and line for broken JSON, ClientError that names all that is wrong in it.
    """
    try:
        settings = read_json_object(layout.input_data_config, "channel names to settings")
    except FileNotFoundError:
        return {}
    return parse_channels(settings, layout)


def parse_channels(settings: Mapping[str, Any], layout: Layout) -> dict[str, Channel]:
    """The channels of a job by canonical name, in their order. Raises ClientError that names all that is wrong."""
    problems = name_problems(settings)
    channels: dict[str, Channel] = {}
    for name, fields in settings.items():
        known = canonical(name)
        if known in channels:
            problems.append(f'the channels "{channels[known].path.name}" and "{name}" are one: both mean {known}')
        if not isinstance(fields, dict):
            problems.append(f"channel {shown(name)} is {kind_of(fields)}: an object, such as TrainingInputMode to File")
            continue
        content_type = fields.get("ContentType")
        if content_type is not None and not isinstance(content_type, str):
            problems.append(f"channel {shown(name)}: ContentType = {shown(content_type)} is not allowed: text")
            content_type = None
        wrapper = _choice(name, fields, "RecordWrapperType", RecordWrapper.NONE, problems)
        channels[known] = Channel(
            name=known,
            path=layout.channel(name),
            content_type=content_type,
            input_mode=_choice(name, fields, "TrainingInputMode", InputMode.FILE, problems),
            distribution=_choice(name, fields, "S3DistributionType", Distribution.FULLY_REPLICATED, problems),
            record_wrapper=None if wrapper is RecordWrapper.NONE else wrapper.value,
        )
    if problems:
        raise ClientError("\n".join(problems))
    return channels


def write_channels(layout: Layout, channels: Iterable[Channel]) -> None:
    """Write inputdataconfig.json; each channel under the name of its folder. Raises ClientError for a wrong name."""
    settings = {channel.path.name: channel.to_json() for channel in channels}
    problems = name_problems(settings)
    if problems:
        raise ClientError("\n".join(problems))
    write_json(layout.input_data_config, settings)


def name_problems(names: Iterable[str]) -> list[str]:
    """What is wrong with the names of a job's channels, and with their number."""
    listed = list(names)
    problems = []
    if len(listed) > MAX_CHANNELS:
        problems.append(f"{len(listed)} channels are not allowed: up to {MAX_CHANNELS}")
    for name in listed:
        # "." and ".." fit the contract's pattern, but would leave the folder of the channels.
        if not NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH or set(name) == {"."}:
            allowed = f'1 to {MAX_NAME_LENGTH} of the characters A-Z, a-z, 0-9, ".", "-", "_"'
            problems.append(f"channel name {shown(name)} is not allowed: {allowed}")
    return problems


def channel_problems(channels: Mapping[str, Channel], required: Iterable[str], optional: Iterable[str]) -> list[str]:
    """What an algorithm misses among the channels of a job, and what it does not know."""
    required = list(required)
    allowed = [*required, *(name for name in optional if name not in required)]
    problems = []
    for name in required:
        if name not in channels:
            others = [other for other in allowed if other != name]
            beside = f"; beside it there may be {', '.join(others)}" if others else ""
            problems.append(f'channel "{name}" is missing{beside}')
    for name, channel in channels.items():
        if name not in allowed:
            problems.append(f'channel "{name}" is not allowed: {", ".join(allowed)}{nearest(name, allowed)}')
        elif channel.input_mode is not InputMode.PIPE and not channel.files():
            problems.append(f'channel "{name}" has no files in {channel.path}')
    return problems


Choice = TypeVar("Choice", InputMode, Distribution, RecordWrapper)


def _choice(channel: str, fields: Mapping[str, Any], field: str, default: Choice, problems: list[str]) -> Choice:
    value = fields.get(field)
    if value is None:
        return default
    try:
        return type(default)(value)
    except ValueError:
        allowed = [member.value for member in type(default)]
        hint = nearest(value, allowed) if isinstance(value, str) else ""
        reason = f"{field} = {shown(value)} is not allowed: one of {', '.join(allowed)}{hint}"
        problems.append(f"channel {shown(channel)}: {reason}")
        return default
