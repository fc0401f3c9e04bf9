"""Every path of a job below one base folder: /opt/ml in a container, a folder of the job's own elsewhere."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_BASE = Path("/opt/ml")


@dataclass(frozen=True)
class Layout:
    """The folder layout of the container contract."""

    base: Path = DEFAULT_BASE

    @classmethod
    def from_environment(cls) -> Layout:
        """The layout below SAGEMAKER_BASE_DIR, or /opt/ml."""
        return cls(Path(os.environ.get("SAGEMAKER_BASE_DIR") or DEFAULT_BASE))

    @property
    def input(self) -> Path:
        return self.base / "input"

    @property
    def input_config(self) -> Path:
        return self.input / "config"

    @property
    def hyperparameters(self) -> Path:
        return self.input_config / "hyperparameters.json"

    @property
    def input_data_config(self) -> Path:
        return self.input_config / "inputdataconfig.json"

    @property
    def resource_config(self) -> Path:
        return self.input_config / "resourceconfig.json"

    def channel(self, name: str) -> Path:
        """The folder of a channel in File and FastFile mode."""
        return self.input / "data" / name

    def pipe(self, name: str, epoch: int) -> Path:
        """The named pipe of a channel in Pipe mode; epochs count from 0."""
        return self.input / "data" / f"{name}_{epoch}"

    @property
    def code(self) -> Path:
        return self.base / "code"

    @property
    def model(self) -> Path:
        return self.base / "model"

    @property
    def output(self) -> Path:
        return self.base / "output"

    @property
    def output_data(self) -> Path:
        return self.output / "data"

    @property
    def intermediate(self) -> Path:
        return self.output / "intermediate"

    @property
    def failure(self) -> Path:
        return self.output / "failure"

    @property
    def success(self) -> Path:
        return self.output / "success"

    @property
    def metrics(self) -> Path:
        """Metrics as JSON Lines, one a line, beside the contract's own files (see contract.metrics)."""
        return self.output / "metrics.jsonl"

    @property
    def summary(self) -> Path:
        """Facts of the finished training as one JSON object, such as the best epoch and the seconds of each phase."""
        return self.output / "summary.json"

    @property
    def progress(self) -> Path:
        """How far training is, as one JSON object, rewritten at most once a second."""
        return self.output / "progress.json"

    @property
    def pictures(self) -> Path:
        """What the algorithm would have people look at, as numbers (see contract.pictures)."""
        return self.output / "plots.json"

    @property
    def checkpoints(self) -> Path:
        return self.base / "checkpoints"

    def create(self) -> None:
        """Make every folder of the layout."""
        for folder in (self.input_config, self.input / "data", self.model, self.output_data, self.checkpoints):
            folder.mkdir(parents=True, exist_ok=True)
