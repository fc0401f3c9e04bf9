"""A model folder to a model that is ready to answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wildsage.algorithms import registry
from wildsage.algorithms.base import Algorithm, Model
from wildsage.algorithms.row_model import RowModel
from wildsage.contract.errors import ClientError


def find(folder: Path, algorithm: str | None) -> type[Algorithm[Any]]:
    """The algorithm that is named, or else the one that knows the files in the folder. Raises ClientError."""
    if not folder.is_dir():
        raise ClientError(f"there is no model folder {folder}")
    return registry.get(algorithm or registry.recognise(folder))


def load(algorithm: type[Algorithm[Any]], folder: Path) -> Model:
    """Read the model and load what its first answer needs."""
    model = algorithm.load(folder)
    model.warm_up()
    if isinstance(model, RowModel):
        from wildsage.data import warm  # and the readers: only where they are needed

        warm.warm_up(*(kind for kind in model.request_types if kind in warm.CONTENT_TYPES))
    return model
