"""Small training jobs of any algorithm, and someone who listens to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from wildsage.algorithms.base import Algorithm
from wildsage.algorithms.context import TrainingContext
from wildsage.contract.channels import Channel
from wildsage.contract.pictures import Picture


@dataclass
class Listener:
    """A reporter that remembers. stop_at: sets `stop` after so many calls of progress."""

    stop_at: int | None = None
    stop: Event = field(default_factory=Event)
    metrics: list[tuple[str, float, int | None]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    calls: list[tuple[float, float]] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)

    def metric(self, name: str, value: float, *, epoch: int | None = None) -> None:
        self.metrics.append((name, value, epoch))

    def progress(self, done: float, total: float, *, unit: str, **figures: float) -> None:
        self.calls.append((done, total))
        if self.stop_at is not None and len(self.calls) >= self.stop_at:
            self.stop.set()

    def say(self, text: str) -> None:
        self.lines.append(text)

    def summary(self, **facts: Any) -> None:
        self.facts.update(facts)

    def picture(self, picture: Picture) -> None:
        self.pictures.append(picture)

    def validations(self) -> list[float]:
        return [value for name, value, _ in self.metrics if name == "validation:accuracy"]


Channels = Mapping[str, bytes | str | Mapping[str, bytes]]


def lay_out(folder: Path, channels: Channels, content_type: str | None = None) -> dict[str, Channel]:
    """Write channels below a folder; a channel is the content of its one file, or names and contents."""
    made = {}
    for name, files in channels.items():
        path = folder / name
        path.mkdir(parents=True, exist_ok=True)
        for file, content in ({"text.txt": files} if isinstance(files, bytes | str) else files).items():
            (path / file).write_bytes(content.encode() if isinstance(content, str) else content)
        made[name] = Channel(name, path, content_type)
    return made


def job_of(
    algorithm: type[Algorithm[Any]],
    folder: Path,
    channels: Channels,
    hyperparameters: Mapping[str, Any],
    listener: Listener | None = None,
    *,
    threads: int = 1,
    content_type: str | None = None,
    memory_bytes: int | None = None,
) -> TrainingContext[Any]:
    """Lay out a job."""
    listener = listener or Listener()
    return TrainingContext(
        algorithm.hyperparameters.parse(hyperparameters),
        lay_out(folder, channels, content_type),
        folder / "output",
        folder / "checkpoints",
        listener,
        listener.stop,
        threads=threads,
        memory_bytes=memory_bytes,
    )
