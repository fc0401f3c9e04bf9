"""Small training jobs, and someone who listens to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from wildsage.algorithms.blazingtext.corpus import Corpus
from wildsage.algorithms.blazingtext.hyperparameters import BlazingTextHyperparameters
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


def job(
    folder: Path,
    channels: Channels,
    listener: Listener | None = None,
    *,
    threads: int = 1,
    content_type: str | None = None,
    **hyperparameters: Any,
) -> TrainingContext[BlazingTextHyperparameters]:
    """Lay out a job."""
    listener = listener or Listener()
    values = {"mode": "supervised", "min_count": 1, "buckets": 1000, "vector_dim": 8, "learning_rate": 0.5}
    return TrainingContext(
        BlazingTextHyperparameters.parse({**values, **hyperparameters}),
        lay_out(folder, channels, content_type),
        folder / "output",
        folder / "checkpoints",
        listener,
        listener.stop,
        threads=threads,
    )


def reviews(lines: int, seed: int = 1) -> bytes:
    """Lines of three classes whose words overlap; some have two labels."""
    import random

    rng = random.Random(seed)
    words = {"a": ["good", "nice", "fine"], "b": ["bad", "poor", "awful"], "c": ["so", "meh", "average"]}
    made = []
    for k in range(lines):
        label = rng.choice("abc")
        text = [rng.choice(words[rng.choice("abc")] if rng.random() < 0.4 else words[label]) for _ in range(8)]
        labels = f"__label__{label}" + (" __label__a" if rng.random() < 0.1 else "")
        made.append(f"{labels} {' '.join(text)} only{k}\n")
    return "".join(made).encode()


def words_of_lines(made: Corpus) -> list[list[bytes]]:
    """The lines of a text that was read, as words."""
    names = made.counts.names(np.arange(len(made.counts)))
    found = []
    for part in made.parts:
        numbers = part.numbers[part.tokens].tolist()
        found += [[names[n] for n in numbers[begin:end]] for begin, end in pairwise(part.starts.tolist())]
    return found
