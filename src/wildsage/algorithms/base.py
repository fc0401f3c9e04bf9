"""The interface of an algorithm: train to a model; a model saves, loads and answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self

from wildsage.algorithms.context import H, TrainingContext
from wildsage.contract.hyperparameters import Hyperparameters


class Model(ABC):
    """What training leaves: files in a folder, and answers to instances."""

    request_types: ClassVar[tuple[str, ...]] = ("application/json", "application/jsonlines")
    fork_safe: ClassVar[bool] = True  # may be loaded once and forked into the workers of an endpoint

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the model's files into an existing folder, each under a temporary name first."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Read a model from its folder; large arrays are mapped. Raises DataError for a file that is not one."""

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether a folder holds a model of this kind: by the names of files and a few first bytes, without loading."""
        return False

    @abstractmethod
    def predict(self, instances: Sequence[Any], options: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Answer each instance with a value that JSON can hold.

        instances: decoded values, such as a text. options: as long; each what the request said beside its instance,
        such as {"k": 2}.
        Raises ClientError, naming the instance by its number from 0, for one that cannot be answered.
        """

    def warm_up(self) -> None:  # noqa: B027 (a model without kernels has nothing to do)
        """Load what the first answer needs (kernels, pages), so that no request pays for it."""


@dataclass(frozen=True)
class MemoryEstimate:
    """What a job will allocate at its peak, and what a user can change to need less."""

    peak_bytes: int
    advice: str


class Algorithm(ABC, Generic[H]):
    """One built-in, as `runtime` sees it."""

    name: ClassVar[str]
    hyperparameters: ClassVar[type[Hyperparameters]]
    model: ClassVar[type[Model]]
    other_models: ClassVar[tuple[type[Model], ...]] = ()  # kinds that some of its jobs leave instead
    required_channels: ClassVar[tuple[str, ...]] = ("train",)
    optional_channels: ClassVar[tuple[str, ...]] = ("validation", "model")

    @classmethod
    def model_in(cls, folder: Path) -> type[Model] | None:
        """Which kind of its models a folder holds; None if none."""
        return next((kind for kind in (cls.model, *cls.other_models) if kind.recognises(folder)), None)

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Read a model of whichever kind from its folder. Raises DataError where there is none."""
        return (cls.model_in(folder) or cls.model).load(folder)

    @abstractmethod
    def estimate_memory(self, context: TrainingContext[H]) -> MemoryEstimate:
        """Bound the job's peak memory from file sizes and hyperparameters, cheaply, before anything is allocated."""

    @abstractmethod
    def train(self, context: TrainingContext[H]) -> Model:
        """Train, from the checkpoint if there is one. On context.stop: checkpoint and return the best model so far."""

    @classmethod
    def warm_up(cls) -> None:
        """Compile what training and answering need, so that the first job need not; called at install."""
