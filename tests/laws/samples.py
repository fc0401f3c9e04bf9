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


def xgboost() -> Sample:
    return Sample(
        hyperparameters={
            "num_round": "5",
            "objective": "binary:logistic",
            "eval_metric": "auc,accuracy",
            "max_depth": "3",
            "eta": "0.5",
            "seed": "7",
        },
        channels={
            "train": {"train.csv": numbered(200, seed=1)},
            "validation": {"validation.csv": numbered(50, seed=2)},
        },
        instances=({"features": [0.5, -1.0, 2.0]}, {"features": [-0.5, 1.0, 0.0]}, {"features": [3.0, 3.0, 3.0]}),
        wrong={
            "num_round": "0",
            "eta": "-1",
            "objective": "binary:logistics",
            "eval_metric": "rsme",
            "updater": "none",
        },
    )


def kmeans() -> Sample:
    return Sample(
        hyperparameters={
            "k": "4",
            "epochs": "3",
            "mini_batch_size": "50",
            "eval_metrics": '["msd", "ssd"]',
            "seed": "7",
        },
        channels={
            "train": {"a.csv": clusters(120, seed=1), "b.csv": clusters(90, seed=2)},
            "test": {"t.csv": clusters(40, seed=3)},
        },
        instances=({"features": [0.5, 0.1, -0.2]}, {"features": [9.5, 10.0, 11.0]}, {"features": [1e3, 0, 0]}),
        wrong={
            "k": "0",
            "epochs": "many",
            "init_method": "random++",
            "eval_metrics": '["mse"]',
            "local_lloyd_tol": "2",
        },
    )


def numbered(lines: int, *, seed: int) -> str:
    """Lines of a label, 0 or 1, and three numbers that tell it nearly always."""
    rng = random.Random(seed)
    made = []
    for _ in range(lines):
        numbers = [rng.gauss(0, 1) for _ in range(3)]
        label = int(numbers[0] + numbers[1] * numbers[2] + rng.gauss(0, 0.2) > 0)
        made.append(f"{label},{','.join(f'{number:.4f}' for number in numbers)}\n")
    return "".join(made)


def clusters(rows: int, *, seed: int) -> str:
    """Rows of three numbers in CSV, around four points."""
    rng = random.Random(seed)
    middles = [(0, 0, 0), (10, 10, 10), (0, 10, 0), (10, 0, 5)]
    made = []
    for _ in range(rows):
        middle = rng.choice(middles)
        made.append(",".join(f"{rng.gauss(value, 1):.4f}" for value in middle) + "\n")
    return "".join(made)


def linear_learner() -> Sample:
    return Sample(
        hyperparameters={"predictor_type": "binary_classifier", "epochs": "4", "seed": "7"},
        channels={"train": {"train.csv": numbers(300, seed=1)}, "validation": {"val.csv": numbers(80, seed=2)}},
        instances=({"features": [0.5, -1, 2]}, {"features": [-3, 0, 0.25]}, {"features": [0, 0, 0]}),
        wrong={"epochs": "0", "learning_rate": "-1", "loss": "logistics", "wd": "-0.1", "use_bias": "maybe"},
    )


def numbers(rows: int, *, seed: int) -> str:
    """Rows of a label, 0 or 1, and three features that tell it, but for some noise."""
    rng = random.Random(seed)
    made = []
    for _ in range(rows):
        features = [rng.gauss(0, 1), rng.gauss(3, 2), rng.gauss(-1, 0.5)]
        score = features[0] - 0.5 * (features[1] - 3) + rng.gauss(0, 0.5)
        made.append(",".join([str(int(score > 0)), *(f"{value:.4f}" for value in features)]) + "\n")
    return "".join(made)


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


def knn() -> Sample:
    rng = random.Random(4)

    def rows(count: int) -> str:
        made = []
        for _ in range(count):
            label = rng.randrange(3)
            made.append(",".join([str(label), *(f"{rng.gauss(label * (k % 3), 1):.4f}" for k in range(6))]) + "\n")
        return "".join(made)

    return Sample(
        hyperparameters={
            "k": "5",
            "predictor_type": "classifier",
            "sample_size": "150",
            "mini_batch_size": "64",
            "dimension_reduction_type": "sign",
            "dimension_reduction_target": "4",
            "seed": "7",
        },
        channels={"train": {"train.csv": rows(300)}, "test": {"test.csv": rows(40)}},
        instances=(
            {"features": [0.5, 1, -1, 0.25, 1, 2]},
            {"data": {"features": {"values": [0, 1, 2, 0, 1, 2]}}},
            {"features": [0, 2, 4, 0, 2, 4]},
        ),
        wrong={
            "k": "0",
            "sample_size": "-1",
            "predictor_type": "classifer",
            "index_type": "Flat",
            "faiss_index_pq_m": "5",
        },
    )


def randomcutforest() -> Sample:
    rng = random.Random(3)
    rows = [[rng.gauss(0, 1), rng.gauss(5, 2), rng.random()] for _ in range(300)]
    odd = [[9, 5, 0.5], [0, -20, 0.5], [0, 5, 8]]
    return Sample(
        hyperparameters={"num_trees": "50", "num_samples_per_tree": "64", "seed": "7"},
        channels={
            "train": {"train.csv": "".join(f"{a:.4f},{b:.4f},{c:.4f}\n" for a, b, c in rows)},
            "test": {
                "test.csv": "".join(
                    f"{label},{a:.4f},{b:.4f},{c:.4f}\n" for label, some in ((0, rows), (1, odd)) for a, b, c in some
                )
            },
        },
        instances=({"features": [0, 5, 0.5]}, {"features": [9, 5, 0.5]}, {"features": [0.5, 4, -3]}),
        wrong={
            "num_trees": "10",
            "num_samples_per_tree": "0",
            "feature_dim": "0",
            "time_decay": "2",
            "stream_scores": "maybe",
            "eval_metrics": '["precision"]',
        },
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


SAMPLES: dict[str, Callable[[], Sample]] = {
    "blazingtext": blazingtext,
    "glove": glove,
    "kmeans": kmeans,
    "knn": knn,
    "linear-learner": linear_learner,
    "randomcutforest": randomcutforest,
    "pca": pca,
    "xgboost": xgboost,
}
