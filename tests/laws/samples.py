"""What the laws need of each algorithm: a small job and something to ask its model. A new one adds itself here."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sample:
    """A small job. channels: name to files, each a name to its text."""

    hyperparameters: Mapping[str, str]
    channels: Mapping[str, Mapping[str, str]]
    instances: tuple[Any, ...]
    wrong: Mapping[str, str] = field(default_factory=dict)  # hyperparameters with values that are not allowed


def blazingtext() -> Sample:
    return Sample(
        hyperparameters={
            "mode": "supervised",
            "epochs": "5",
            "vector_dim": "8",
            "min_count": "1",
            "word_ngrams": "2",
            "buckets": "1000",
            "learning_rate": "0.5",
            "seed": "7",
        },
        channels={"train": {"train.txt": labelled(200, seed=1)}, "validation": {"val.txt": labelled(50, seed=2)}},
        instances=("good nice fine", "bad poor awful", "word never seen"),
        wrong={"epochs": "0", "learning_rate": "-1", "mode": "supervized", "early_stopping": "maybe"},
    )


def glove() -> Sample:
    return Sample(
        hyperparameters={
            "epochs": "3",
            "vector_dim": "8",
            "min_count": "1",
            "window_size": "4",
            "x_max": "10",
            "seed": "7",
        },
        channels={"train": {"train.txt": labelled(200, seed=1)}},
        instances=("good", "bad", "unheard"),
        wrong={"epochs": "0", "learning_rate": "-1", "memory_limit": "3", "symmetric": "maybe", "alpha": "2"},
    )


def pca() -> Sample:
    rng = random.Random(3)
    rows = [[rng.gauss(0, 3), rng.gauss(5, 2)] for _ in range(300)]
    text = "".join(f"{a:.4f},{b:.4f},{a + b + rng.gauss(0, 1):.4f},{a - 2 * b:.4f}\n" for a, b in rows)
    return Sample(
        hyperparameters={"num_components": "2", "mini_batch_size": "50"},
        channels={"train": {"train.csv": text}, "test": {"test.csv": text[: text.index("\n", 500) + 1]}},
        instances=({"features": [1.5, 2, 3, 4]}, {"features": [0, -1, 2.25, 7]}, {"features": [9, 9, 9, 9]}),
        wrong={"num_components": "0", "algorithm_mode": "regulr", "subtract_mean": "maybe", "extra_components": "-2"},
    )


def labelled(lines: int, *, seed: int) -> str:
    """Lines of two classes, whose words overlap a little."""
    rng = random.Random(seed)
    words = {"1": ["good", "nice", "fine", "great"], "0": ["bad", "poor", "awful", "sad"]}
    common = ["the", "dress", "shirt", "fits", "is"]
    made = []
    for _ in range(lines):
        label = rng.choice("01")
        text = [rng.choice(words[label] if rng.random() < 0.6 else common) for _ in range(rng.randint(3, 9))]
        made.append(f"__label__{label} {' '.join(text)}\n")
    return "".join(made)


SAMPLES: dict[str, Callable[[], Sample]] = {"blazingtext": blazingtext, "glove": glove, "pca": pca}
