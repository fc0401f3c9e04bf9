"""A model's answers to rows, which are columns of numbers, as bytes: JSON, JSON Lines, CSV, RecordIO-protobuf."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from wildsage.contract.content_types import CSV, JSON, RECORDIO_PROTOBUF
from wildsage.contract.record import frame
from wildsage.data.decimals import plain
from wildsage.data.record import Record, Tensor, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from wildsage.algorithms.row_model import Columns

    Writer = Callable[[int, int], bytes]
    """The bytes of the rows from begin to end, at least one, as a piece of the answer to a request."""

_ENCODER = msgspec.json.Encoder()


def writer(columns: Columns, answer_type: str) -> Writer:
    """Write rows of answers in the common form: fields in the order of the columns.

    In JSON and JSON Lines a number that is none is null, in CSV an empty field. 32-bit floats have their own shortest
    decimals. In RecordIO all are 32-bit floats.
    """
    if answer_type == RECORDIO_PROTOBUF:
        records = _records(columns)
        return lambda begin, end: records[begin:end].tobytes()
    values = [plain(column) for column in columns.values()]
    if answer_type == CSV:
        rows = (
            _fields(values) if any(column.ndim > 1 for column in columns.values()) else list(zip(*values, strict=True))
        )
        # As JSON and then its brackets away: numbers have neither brackets nor commas.
        return lambda begin, end: (
            _ENCODER.encode(rows[begin:end])[2:-2].replace(b"],[", b"\n").replace(b"null", b"") + b"\n"
        )
    names = list(columns)
    answers = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
    if answer_type == JSON:
        return lambda begin, end: _ENCODER.encode(answers[begin:end])[1:-1]
    return lambda begin, end: _ENCODER.encode_lines(answers[begin:end])


def own_writer(rows: Sequence[bytes], answer_type: str) -> Writer:
    """The same for rows that the model has written itself."""
    if answer_type == JSON:
        return lambda begin, end: b",".join(rows[begin:end])
    if answer_type == RECORDIO_PROTOBUF:
        return lambda begin, end: b"".join(rows[begin:end])
    return lambda begin, end: b"\n".join(rows[begin:end]) + b"\n"


def _fields(values: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Rows whose lists are fields each."""
    return [
        [field for value in row for field in (value if isinstance(value, list) else (value,))]
        for row in zip(*values, strict=True)
    ]


def _records(columns: Columns) -> NDArray[np.uint8]:
    """A record for each row, its answers in labels: (n, bytes of one)."""
    numbers = [np.ascontiguousarray(column.reshape(len(column), -1), "<f4") for column in columns.values()]
    first, places = _layout(tuple(zip(columns, [part.shape[1] for part in numbers], strict=True)))
    rows = np.tile(np.frombuffer(first, np.uint8), (len(numbers[0]), 1))
    for (begin, end), part in zip(places, numbers, strict=True):
        rows[:, begin:end] = part.view(np.uint8).reshape(len(part), -1)
    return rows


@lru_cache(maxsize=64)
def _layout(columns: tuple[tuple[str, int], ...]) -> tuple[bytes, list[tuple[int, int]]]:
    """A record of these columns (name, width) in its frame, and where the numbers of each are: of all rows the same."""
    record = bytearray()
    places = []
    for name, width in columns:
        record += encode(Record(label={name: Tensor(np.ones(width, np.float32))}))  # ends with the numbers
        places.append((8 + len(record) - 4 * width, 8 + len(record)))
    return frame(bytes(record)), places
