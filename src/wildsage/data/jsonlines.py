"""JSON Lines: {"features": [1.5, 2]} a line, or {"data": {"features": {"values": …, "keys": …, "shape": …}}}.

Beside the features there may be a "label", a number or a list of them, and a "weight". Reader and writer; `row_of`
serves a model's answers too, for an instance of a JSON request has the same form.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import msgspec
import numpy as np

from wildsage.contract.errors import DataError
from wildsage.data.batch import SparseRows
from wildsage.data.formats import Missing, Rows, Shape, Slab, find_text_rows
from wildsage.data.record import Tensor
from wildsage.data.recordio import row_of as columns_and_values
from wildsage.data.recordio import width_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

WANTED = '{"features": [1.5, 2.0], "label": 1}, or {"data": {"features": {"values": [1.5, 2.0]}}}'
Numbers = list[float | None]


class Values(msgspec.Struct):
    """Numbers, all or those at `keys` among those of `shape`."""

    values: Numbers
    keys: list[int] | None = None
    shape: list[int] | None = None


class Data(msgspec.Struct):
    """The long form's inner object. Features are called so, or in the SDK's examples data."""

    features: Values | Numbers
    label: Values | Numbers | float | None = None
    weight: float | None = None


class Line(msgspec.Struct):
    """A line, or an instance of a request."""

    features: Values | Numbers | None = None
    data: Data | None = None
    label: Values | Numbers | float | None = None
    weight: float | None = None


decoder = msgspec.json.Decoder(Line)


class Row(msgspec.Struct):
    """What a line says."""

    features: Tensor
    labels: NDArray[np.float64]
    weight: float | None


def decode_line(content: bytes | memoryview) -> Row:
    """Read a line. Raises DataError that says what is wrong with it."""
    try:
        return row_of(decoder.decode(content))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise DataError(f"{error}; wanted is {WANTED}") from error


def row_of(line: Line | Any) -> Row:
    """What a line, or a decoded instance of a request, says. Raises DataError that says what is wrong with it."""
    if not isinstance(line, Line):
        try:
            line = msgspec.convert(line, Line)
        except msgspec.ValidationError as error:
            raise DataError(f"{error}; wanted is {WANTED}") from error
    inner = line.data
    features = inner.features if inner is not None else line.features
    if features is None:
        raise DataError(f"there are no features; wanted is {WANTED}")
    label = line.label if inner is None or inner.label is None else inner.label
    weight = line.weight if inner is None or inner.weight is None else inner.weight
    return Row(_tensor(features), _tensor(label).values.astype(np.float64), weight)


def _tensor(numbers: Values | Numbers | float | None) -> Tensor:
    if numbers is None:
        return Tensor(np.zeros(0))
    if isinstance(numbers, (int, float)):
        return Tensor(np.array([numbers], np.float64))
    if isinstance(numbers, list):
        return Tensor(np.array(numbers, np.float64))
    shape = tuple(numbers.shape or ())
    if any(size < 0 or size > 1 << 31 for size in shape):
        raise DataError(f"shape {list(shape)} is not allowed: how many features there are")
    keys = None
    if numbers.keys is not None:
        if any(key < 0 or key >= 1 << 31 for key in numbers.keys):
            raise DataError("keys are to be places among the features, from 0")
        keys = np.array(numbers.keys, np.int64)
    return Tensor(np.array(numbers.values, np.float64), keys, shape)


class JsonLines:
    """Lines of JSON, each an object."""

    unit = "line"
    line_ends = True

    def __init__(self, shape: Shape, *, missing: Missing = "refuse") -> None:
        self.shape = shape
        self._missing = missing == "nan"

    def scratch(self) -> Any:
        return None

    def find(self, data: NDArray[np.uint8], begin: int, limit: int, end: int, wanted: int) -> tuple[int, int, int]:
        return find_text_rows(data, begin, limit, end, wanted)

    def parse(self, rows: Rows, slab: Slab, first: int, scratch: Any) -> None:
        content = rows.data[rows.begin : rows.end].tobytes()
        if rows.offset + rows.begin == 0:
            content = content.removeprefix(b"\xef\xbb\xbf")
        width, row = self.shape.features or 0, first
        starts, columns, values = [0], [], []
        for number, line in enumerate(content.split(b"\n"), rows.number):
            if not line or line == b"\r":
                continue
            if row == first + rows.count:
                break
            slab.numbers[row] = number
            try:
                found, numbers = self._fill(decode_line(line), slab, row, width)
            except DataError as error:
                raise DataError(error.reason, file=rows.file, line=number, column=error.column) from error
            if slab.features is not None:
                if found is None:
                    slab.features[row] = numbers
                else:
                    slab.features[row] = 0
                    slab.features[row, found] = numbers
            else:
                columns.append(np.arange(width, dtype=np.int32) if found is None else found)
                values.append(numbers)
                starts.append(starts[-1] + len(numbers))
            row += 1
        if slab.features is None:
            part = SparseRows(
                np.array(starts, np.int64),
                np.concatenate(columns or [np.zeros(0, np.int32)]),
                np.concatenate(values or [np.zeros(0, np.float32)]),
                width,
            )
            slab.parts.append((first, part))

    def _fill(
        self, found: Row, slab: Slab, row: int, width: int
    ) -> tuple[NDArray[np.int32] | None, NDArray[np.float32]]:
        columns, values = columns_and_values(found.features, width, missing=self._missing)
        labels = self.shape.labels
        if labels:
            if len(found.labels) != labels:
                raise DataError(f"{len(found.labels)} labels, but the channel's first line has {labels}")
            _, slab.leading[row, :labels] = columns_and_values(Tensor(found.labels), labels, missing=False)
        if self.shape.weighted:
            if found.weight is None:
                raise DataError("there is no weight, but the channel's first line has one")
            _, slab.leading[row, labels:] = columns_and_values(Tensor(np.array([found.weight])), 1, missing=False)
        return columns, values


def shape_of(line: bytes, feature_dim: int | None, label_width: int) -> Shape:
    """What a channel's rows are made of, by its first line. Raises DataError for one that is none."""
    row = decode_line(line)
    width = width_of(row.features) if feature_dim is None else feature_dim
    sparse = row.features.keys is not None
    return Shape(width, len(row.labels) if label_width else 0, row.weight is not None, sparse)


def write_json_lines(
    file: IO[bytes], features: NDArray[np.float32] | SparseRows, labels: NDArray[Any] | None = None
) -> None:
    """Write rows as {"features": …, "label": …} lines, sparse ones in the long form."""
    for row in range(len(features)):
        fields: dict[str, Any]
        if isinstance(features, SparseRows):
            part = slice(int(features.starts[row]), int(features.starts[row + 1]))
            numbers = {"keys": features.columns[part].tolist(), "shape": [features.width]}
            fields = {"data": {"features": {**numbers, "values": features.values[part].tolist()}}}
        else:
            fields = {"features": features[row].tolist()}
        if labels is not None:
            fields["label"] = labels[row].tolist()
        file.write(msgspec.json.encode(fields) + b"\n")
