"""model_algo-1, the file that the managed service gives several algorithms' models, in a format of ours: safetensors.

Its metadata have one entry, "wildsage" (of several the order would be another each time): JSON that says the model's
kind as "format", its "version", and what is known of it beside its arrays.
"""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any, TypeVar

from wildsage.contract.errors import DataError
from wildsage.contract.files import shown, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Facts = Mapping[str, Any]
    Arrays = Mapping[str, NDArray[Any]]

MODEL_FILE = "model_algo-1"
KEY = "wildsage"
VERSION = 1
MOST_HEADER_BYTES = 100_000_000  # as the library has it

M = TypeVar("M")


def encode(kind: str, facts: Facts, arrays: Arrays) -> bytes:
    """The file's content; equal models give equal bytes."""
    import numpy as np
    from safetensors.numpy import save

    told = json.dumps({"format": kind, "version": VERSION, **facts}, sort_keys=True)
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, {KEY: told})


def save(folder: Path, kind: str, facts: Facts, arrays: Arrays) -> None:
    """Write the file, whole or not at all. kind: the algorithm's name. facts: what JSON can hold."""
    write_atomically(folder / MODEL_FILE, encode(kind, facts, arrays))


def load(folder: Path, kind: str, make: Callable[[Facts, Arrays], M]) -> M:
    """What `make` makes of the facts and arrays in a folder's file.

    `make` may raise ValueError, KeyError, TypeError or OverflowError for what is no such model. Raises DataError for
    that, for a file of another kind, and for one that cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / MODEL_FILE
    try:
        with path.open("rb") as file:
            facts = _facts(file)
        if (facts["format"], facts["version"]) != (kind, VERSION):
            told = f"of {shown(facts['format'])} version {shown(facts['version'])}"
            raise DataError(f"not a model of {kind}, version {VERSION}: one {told}", file=path)
        with safe_open(path, "numpy") as opened:
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (it has no iterator)
        return make(facts, arrays)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(f"not a model of {kind}: {error}", file=path) from error


def holds(folder: Path, kind: str) -> bool:
    """Whether a folder's file says that it is of this kind; no array is read."""
    try:
        with (folder / MODEL_FILE).open("rb") as file:
            return bool(_facts(file)["format"] == kind)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def feature_names(facts: Facts, width: int) -> tuple[str, ...] | None:
    """The names of `width` features, None where they have none. Raises ValueError for what are no names of them."""
    names = facts["feature_names"]
    if names is None:
        return None
    if not isinstance(names, list) or len(names) != width or not all(isinstance(name, str) for name in names):
        raise ValueError(f"feature_names are not those of {width} features")
    return tuple(names)


def _facts(file: IO[bytes]) -> dict[str, Any]:
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= MOST_HEADER_BYTES:
        raise ValueError("it has no header of safetensors")
    facts = json.loads(json.loads(file.read(length))["__metadata__"][KEY])
    if not isinstance(facts, dict):
        raise TypeError(f"its metadata {KEY} are no object")
    return facts
