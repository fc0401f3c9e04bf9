"""What a training job sees of the world, and nothing else: no engine, no platform, no environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from wildsage.contract.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from pathlib import Path

    from wildsage.contract.channels import Channel
    from wildsage.contract.pictures import Picture

H = TypeVar("H", bound=Hyperparameters)


class Reporter(Protocol):
    """Where an algorithm says how it is doing."""

    def metric(self, name: str, value: float, *, epoch: int | None = None) -> None:
        """Report a metric under its published name, such as "validation:accuracy"."""

    def metrics(self, values: Mapping[str, float], *, epoch: int, line: str) -> None:
        """Report several metrics of one epoch at once. line: what the log shows of them, in its published form."""

    def progress(self, done: float, total: float, *, unit: str, **figures: float) -> None:
        """Report that `done` of `total` units are done; call as often as you like, it prints at most once a second."""

    def say(self, text: str) -> None:
        """One line for the user."""

    def summary(self, **facts: Any) -> None:
        """Facts of the training that outlive it, such as best_epoch=4; values that JSON can hold; later calls add."""

    def picture(self, picture: Picture) -> None:
        """Leave a picture for `wildsage plot`, as numbers (see contract.pictures); one of the same name replaces it."""


class Silence(Reporter):
    """A reporter that nobody listens to."""

    def metric(self, name: str, value: float, *, epoch: int | None = None) -> None:
        pass

    def metrics(self, values: Mapping[str, float], *, epoch: int, line: str) -> None:
        pass

    def progress(self, done: float, total: float, *, unit: str, **figures: float) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def summary(self, **facts: Any) -> None:
        pass

    def picture(self, picture: Picture) -> None:
        pass


@dataclass(frozen=True)
class TrainingContext(Generic[H]):
    """A training job as its algorithm sees it."""

    hyperparameters: H
    channels: Mapping[str, Channel]
    output_data: Path
    checkpoints: Path
    report: Reporter
    stop: Event = field(default_factory=Event)  # set on SIGTERM: write a checkpoint, return what there is
    threads: int = 1
    device: str = "cpu"
    rank: int = 0
    world_size: int = 1
    memory_bytes: int | None = None  # what this job may use; None: not known
