"""A row model for tests: a row's sum and the place of its largest number; more with verbose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

import numpy as np

from wildsage.algorithms.base import Algorithm
from wildsage.algorithms.row_model import RowModel
from wildsage.contract.content_types import LIBSVM, PARQUET
from wildsage.contract.errors import ClientError
from wildsage.contract.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from wildsage.algorithms.row_model import Columns
    from wildsage.data.batch import Batch

UNLUCKY = 13.0


class Measuring(RowModel):
    request_types: ClassVar[tuple[str, ...]] = (*RowModel.request_types, LIBSVM, PARQUET)

    def __init__(self, width: int = 4) -> None:
        self.width = width
        self.calls: list[int] = []  # rows of each

    @property
    def feature_dim(self) -> int:
        return self.width

    def save(self, folder: Path) -> NoReturn:
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path) -> Self:
        width = folder / "width"
        return cls(int(width.read_text())) if width.exists() else cls()

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        return (folder / "width").exists()

    def answer(self, rows: Batch, options: Mapping[str, Any]) -> Columns:
        if unknown := options.keys() - {"verbose"}:
            raise ClientError(f"{sorted(unknown)[0]} is no option of this model; there is verbose")
        self.calls.append(len(rows))
        numbers = rows.dense()
        places = np.argwhere(numbers == UNLUCKY)
        if len(places):
            raise rows.error(int(places[0, 0]), "13 is not allowed", int(places[0, 1]) + 1)
        columns: Columns = {"total": numbers.sum(axis=1), "largest": numbers.argmax(axis=1)}
        if options.get("verbose") in (True, "true"):
            columns["tenths"] = numbers / np.float32(10)
        return columns


class MeasuringAlgorithm(Algorithm[Hyperparameters]):
    name, model, hyperparameters = "measuring", Measuring, Hyperparameters

    def estimate_memory(self, context: object) -> NoReturn:
        raise NotImplementedError

    def train(self, context: object) -> NoReturn:
        raise NotImplementedError
