"""Small training jobs, and someone who listens to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from wildsage.algorithms.blazingtext.hyperparameters import BlazingTextHyperparameters
from wildsage.algorithms.context import TrainingContext
from wildsage.contract.channels import Channel


@dataclass
class Listener:
    """A reporter that remembers. stop_at: sets `stop` after so many calls of progress."""

    stop_at: int | None = None
    stop: Event = field(default_factory=Event)
    metrics: list[tuple[str, float, int | None]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    calls: list[tuple[float, float]] = field(default_factory=list)

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

    def validations(self) -> list[float]:
        return [value for name, value, _ in self.metrics if name == "validation:accuracy"]


def job(
    folder: Path,
    channels: Mapping[str, bytes | str | Mapping[str, bytes]],
    listener: Listener | None = None,
    *,
    threads: int = 1,
    content_type: str | None = None,
    **hyperparameters: Any,
) -> TrainingContext[BlazingTextHyperparameters]:
    """Lay out a job; a channel is the content of its one file, or names and contents."""
    listener = listener or Listener()
    made = {}
    for name, files in channels.items():
        path = folder / name
        path.mkdir(parents=True, exist_ok=True)
        for file, content in ({"text.txt": files} if isinstance(files, bytes | str) else files).items():
            (path / file).write_bytes(content.encode() if isinstance(content, str) else content)
        made[name] = Channel(name, path, content_type)
    values = {"mode": "supervised", "min_count": 1, "buckets": 1000, "vector_dim": 8, "learning_rate": 0.5}
    return TrainingContext(
        BlazingTextHyperparameters.parse({**values, **hyperparameters}),
        made,
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
