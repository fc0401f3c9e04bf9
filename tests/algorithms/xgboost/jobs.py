"""Small jobs of XGBoost, and what they tell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wildsage.algorithms.context import Silence, TrainingContext
from wildsage.algorithms.xgboost.algorithm import XGBoost
from wildsage.algorithms.xgboost.hyperparameters import XGBoostHyperparameters
from wildsage.algorithms.xgboost.model import XGBoostModel
from wildsage.contract.channels import Channel
from wildsage.contract.pictures import Picture


class Listener(Silence):
    """Keeps what a job tells."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.rounds: list[tuple[int, dict[str, float]]] = []
        self.facts: dict[str, Any] = {}
        self.pictures: list[Picture] = []

    def picture(self, picture: Picture) -> None:
        self.pictures.append(picture)

    def metrics(self, values: Mapping[str, float], *, epoch: int, line: str) -> None:
        self.lines.append(line)
        self.rounds.append((epoch, dict(values)))

    def say(self, text: str) -> None:
        self.lines.append(text)

    def summary(self, **facts: Any) -> None:
        self.facts |= facts

    def told(self, text: str) -> bool:
        return any(text in line for line in self.lines)


def rows(count: int, columns: int = 5, *, seed: int = 0, missing: float = 0.0) -> NDArray[np.float32]:
    """Label and features; the label tells a sum and a product of features."""
    random = np.random.default_rng(seed)
    made = random.normal(size=(count, columns + 1)).astype(np.float32)
    made[:, 0] = made[:, 1] + made[:, 2] * made[:, 3] + 0.1 * random.normal(size=count)
    made[:, 1:][random.random((count, columns)) < missing] = np.nan
    return made


def binary(count: int, columns: int = 5, **more: Any) -> NDArray[np.float32]:
    made = rows(count, columns, **more)
    made[:, 0] = made[:, 0] > 0
    return made


def csv_of(values: NDArray[Any]) -> bytes:
    return "".join(
        ",".join("" if np.isnan(value) else repr(float(value)) for value in row) + "\n" for row in values
    ).encode()


def libsvm_of(values: NDArray[Any]) -> bytes:
    """Missing values are left out, zeros are not."""
    lines = (
        " ".join([repr(float(row[0])), *(f"{k}:{float(v)!r}" for k, v in enumerate(row[1:]) if not np.isnan(v))])
        for row in values
    )
    return "".join(f"{line}\n" for line in lines).encode()


def job(
    base: Path,
    files: Mapping[str, bytes],
    listener: Silence | None = None,
    *,
    content_type: str | None = "text/csv",
    memory_bytes: int | None = None,
    stop: Event | None = None,
    **parameters: Any,
) -> TrainingContext[XGBoostHyperparameters]:
    channels = {}
    for name, content in files.items():
        folder = base / "input" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "part").write_bytes(content)
        channels[name] = Channel(name, folder, content_type if name != "model" else None)
    (base / "output").mkdir(exist_ok=True)
    (base / "checkpoints").mkdir(exist_ok=True)
    texts = {name: str(value) for name, value in {"num_round": 5, "max_depth": 3, **parameters}.items()}
    return TrainingContext(
        XGBoostHyperparameters.parse(texts), channels, base / "output", base / "checkpoints", listener or Listener(),
        stop or Event(), 1, memory_bytes=memory_bytes,
    )  # fmt: skip


def train(base: Path, files: Mapping[str, bytes], listener: Silence | None = None, **more: Any) -> XGBoostModel:
    base.mkdir(exist_ok=True)
    return XGBoost().train(job(base, files, listener, **more))


def raw(model: XGBoostModel) -> bytes:
    """The file of its only booster."""
    (booster,) = model.boosters.values()
    return booster.raw
