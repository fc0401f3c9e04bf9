"""What a job's rows take, and what a user can change to need less."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wildsage.contract.errors import ClientError
from wildsage.kernels.vector import HALVES, padded

if TYPE_CHECKING:
    from wildsage.algorithms.blazingtext.hyperparameters import BlazingTextHyperparameters

_FLOAT, _HALF = 4, 2  # bytes
LARGE_TABLE = 64 << 20  # bytes of float32; below, it may well be in the processor's cache, and halves gain nothing


def stores_halves(parameters: BlazingTextHyperparameters, rows: int) -> bool:
    """Whether a table of so many rows is float16."""
    if parameters.storage == "auto":
        return HALVES and _FLOAT * rows * padded(parameters.vector_dim) > LARGE_TABLE
    return HALVES and parameters.storage == "float16"


def table_bytes(parameters: BlazingTextHyperparameters, rows: int) -> int:
    """Bytes of the tables of rows that training holds: two of them if it must remember the best."""
    item = _HALF if stores_halves(parameters, rows) else _FLOAT
    return item * rows * padded(parameters.vector_dim) * (2 if parameters.early_stopping else 1)


def memory_advice(parameters: BlazingTextHyperparameters) -> str:
    """What would make the job smaller."""
    return (
        f"lower vector_dim (now {parameters.vector_dim}), word_ngrams (now {parameters.word_ngrams}) or buckets "
        f"(now {parameters.buckets:,}), raise min_count (now {parameters.min_count}), or give less text"
    )


def check_rows(parameters: BlazingTextHyperparameters, rows: int, available: int | None) -> None:
    """Refuse rows that cannot fit, before they are allocated. available: bytes, None if not known.

    Raises ClientError with advice.
    """
    needed = table_bytes(parameters, rows)
    if available is not None and needed > available:
        raise ClientError(
            f"the text has {rows:,} distinct words and n-grams, whose rows need {needed / 1e9:.1f} GB of memory, and "
            f"{available / 1e9:.1f} GB is available: {memory_advice(parameters)}"
        )
