"""inputdataconfig.json: the channels of a training job."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class InputMode(StrEnum):
    FILE = "File"
    FAST_FILE = "FastFile"
    PIPE = "Pipe"


class Distribution(StrEnum):
    FULLY_REPLICATED = "FullyReplicated"
    SHARDED_BY_S3_KEY = "ShardedByS3Key"


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
        """The files of the channel below its folder, in order of name; hidden files are left out."""
        found = (path for path in self.path.rglob("*") if path.is_file())
        return sorted(
            path for path in found if not any(part.startswith(".") for part in path.relative_to(self.path).parts)
        )
