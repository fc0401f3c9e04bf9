"""What a job's rows take, and what a user can change to need less."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wildsage.contract.errors import ClientError

if TYPE_CHECKING:
    from wildsage.algorithms.blazingtext.hyperparameters import BlazingTextHyperparameters

_FLOAT = 4  # bytes
_WIDTH = 16  # rows are padded to whole vectors


def table_bytes(parameters: BlazingTextHyperparameters, rows: int, *, copies: int | None = None) -> int:
    """Bytes of a table of rows; copies: how many of it, by default those that training holds."""
    width = -(-parameters.vector_dim // _WIDTH) * _WIDTH
    return _FLOAT * rows * width * (copies or (2 if parameters.early_stopping else 1))


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
