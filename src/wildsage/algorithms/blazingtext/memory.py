"""What a job's rows take, what a user can change to need less, and large arrays that are soon at hand."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.contract.errors import ClientError
from wildsage.kernels.vector import HALVES, padded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wildsage.algorithms.blazingtext.hyperparameters import BlazingTextHyperparameters

_FLOAT, _HALF = 4, 2  # bytes
LARGE_TABLE = 1 << 20  # bytes of float32; below, it is in a core's own cache, and halves gain nothing

HUGE_PAGE = 2 << 20  # bytes


def fresh(count: int, dtype: Any) -> NDArray[Any]:
    """A flat array of zeros for what is large and is written once; it takes memory only where it is touched.

    Most of the time that new memory takes is the kernel's, a page at a time: 64 MB in pages of 4 kB took 37 ms, in huge
    ones 8. Arrays of NumPy's have them too, but not at their ends, since they do not start at one.
    """
    size = count * np.dtype(dtype).itemsize
    if size < HUGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.zeros(count, dtype)
    try:
        buffer = mmap.mmap(-1, size + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"no room for an array of {size / 1e9:.1f} GB") from error
    array = np.frombuffer(buffer, np.uint8)
    start = -array.ctypes.data % HUGE_PAGE
    # Whole pages only: the last one, if only begun, would be memory that nothing uses.
    if whole := (start + size) // HUGE_PAGE * HUGE_PAGE - start:
        buffer.madvise(mmap.MADV_HUGEPAGE, start, whole)
    return array[start : start + size].view(dtype)


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


def check_features(parameters: BlazingTextHyperparameters, tokens: int, available: int | None) -> None:
    """Refuse a text whose features cannot fit, before they are made. available: bytes, None if not known.

    Raises ClientError with advice.
    """
    needed = (4 + 8 * parameters.word_ngrams) * tokens
    if available is not None and needed > available:
        raise ClientError(
            f"the text has {tokens:,} words, whose features need {needed / 1e9:.1f} GB of memory, and "
            f"{available / 1e9:.1f} GB is available: lower word_ngrams (now {parameters.word_ngrams}), or give less "
            "text"
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
