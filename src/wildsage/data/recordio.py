"""RecordIO-protobuf: rows as Record messages in RecordIO frames, dense and sparse; reader and writers.

The writers write what the SageMaker SDK's functions of the same names write, byte for byte.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import numpy as np

from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.record import frame
from wildsage.data.batch import SparseRows
from wildsage.data.formats import Broken, Missing, Rows, Shape, Slab
from wildsage.data.kernels import recordio as kernels
from wildsage.data.record import Record, Tensor, decode, encode

if TYPE_CHECKING:
    from numpy.typing import NDArray

VALUES = "values"  # what features and labels are called
ROWS_AT_ONCE = 1 << 16  # bytes of rows that are written at once, about


class RecordIO:
    """Records with `shape.features` features each."""

    unit = "record"
    line_ends = False

    def __init__(self, shape: Shape, *, missing: Missing = "refuse") -> None:
        self.shape = shape
        self._missing = missing == "nan"

    def scratch(self) -> Any:
        width = self.shape.features or 0
        memory = (np.zeros(kernels.LAYOUT, np.int64), np.zeros(width, np.int32), np.zeros(width, np.float32))
        return memory, np.zeros(4, np.int64)

    def find(self, data: NDArray[np.uint8], begin: int, limit: int, end: int, wanted: int) -> tuple[int, int, int]:
        found = np.zeros(2, np.int64)
        code = kernels.find_records(data, begin, limit, end, wanted, found)
        rows, at = int(found[0]), int(found[1])
        if code == kernels.BROKEN:
            magic = data[at : at + 4].tobytes()
            reason = "the record has flags of MXNet's RecordIO, or is of 512 MB or more: neither is read"
            if magic != b"\x0a\x23\xd7\xce":
                reason = f"no RecordIO record begins here: 0a23d7ce is wanted, not {magic.hex()}"
            raise Broken(reason, at, rows)
        return rows, at, rows

    def parse(self, rows: Rows, slab: Slab, first: int, scratch: Any) -> None:
        end = first + rows.count
        slab.numbers[first:end] = np.arange(rows.number, rows.number + rows.count)
        if slab.features is None:
            slab.parts.append((first, self._parse_sparse(rows, slab, first, scratch)))
            return
        memory, state = scratch
        width, labels = self.shape.features or 0, self.shape.labels
        leading, features = slab.leading.reshape(-1), slab.features.reshape(-1)
        state[0], state[1] = first, rows.begin
        while state[0] < end:
            code = kernels.parse_dense(
                rows.data, int(state[1]), end - int(state[0]), leading, features, width, labels, int(state[0]),
                self._missing, memory, state,
            )  # fmt: skip
            if code == kernels.DONE:
                return
            row = int(state[0])
            if code != kernels.ODD:
                raise self._error(rows, code, state.tolist(), rows.number + row - first)
            columns, values, behind = self._odd(rows, slab, row, first, int(state[1]))
            if columns is None:
                slab.features[row] = values
            else:
                slab.features[row] = 0
                slab.features[row, columns] = values
            state[0], state[1] = row + 1, behind

    def _parse_sparse(self, rows: Rows, slab: Slab, first: int, scratch: Any) -> SparseRows:
        memory, state = scratch
        width, labels = self.shape.features or 0, self.shape.labels
        end = first + rows.count
        room = (rows.end - rows.begin) // 4 + width  # a float32 and its key are five bytes, a float64 nine
        columns, values = np.empty(room, np.int32), np.empty(room, np.float32)
        starts = np.zeros(rows.count + 1, np.int64)
        state[0], state[1] = first, rows.begin
        leading = slab.leading.reshape(-1)
        while state[0] < end:
            code = kernels.parse_sparse(
                rows.data, int(state[1]), rows.count, leading, starts, columns, values, width, labels, first,
                self._missing, memory, state,
            )  # fmt: skip
            row = int(state[0])
            if code == kernels.DONE:
                break
            if code == kernels.ODD:
                found, numbers, behind = self._odd(rows, slab, row, first, int(state[1]))
                at = int(starts[row - first])
                if found is None:
                    found = np.arange(width, dtype=np.int32)
                if at + len(found) > len(columns):
                    columns, values = _longer(columns, len(found)), _longer(values, len(found))
                columns[at : at + len(found)], values[at : at + len(found)] = found, numbers
                starts[row - first + 1] = at + len(found)
                state[0], state[1] = row + 1, behind
            elif code == kernels.FULL:
                columns, values = _longer(columns, width), _longer(values, width)
            else:
                raise self._error(rows, code, state.tolist(), rows.number + row - first)
        filled = int(starts[-1])
        return SparseRows(starts, columns[:filled].copy(), values[:filled].copy(), width)

    def _odd(
        self, rows: Rows, slab: Slab, row: int, first: int, at: int
    ) -> tuple[NDArray[np.int32] | None, NDArray[np.float32], int]:
        """Read a record the slow way: its columns (None if all are there), their values, and the next frame's place."""
        number = rows.number + row - first
        length = int.from_bytes(rows.data[at + 4 : at + 8].tobytes(), "little")
        payload = rows.data[at + 8 : at + 8 + length].tobytes()
        try:
            record = decode(payload)
            tensor = named_values(record.features, "feature")
            width, source = self.shape.features or 0, self.shape.source
            columns, values = row_of(tensor, width, missing=self._missing, source=source)
            if self.shape.labels:
                label = named_values(record.label, "label")
                if len(label.values) != self.shape.labels:
                    raise DataError(self._label_reason())
                _, slab.leading[row] = row_of(Tensor(label.values), self.shape.labels, missing=False)
        except DataError as error:
            byte = rows.offset + at + (8 + error.byte if error.byte is not None else 0)
            raise DataError(error.reason, file=rows.file, record=number, byte=byte) from error
        return columns, values, at + 8 + length + -length % 4

    def _label_reason(self) -> str:
        count = self.shape.labels
        return f"the record has not the {count} label{'s' if count > 1 else ''} that the first one has"

    def _error(self, rows: Rows, code: int, state: list[int], number: int) -> DataError:
        _, at, first, second = state
        width = self.shape.features
        column: int | None = None
        if code == kernels.BROKEN:
            reason = "the record is no protobuf message: a field is longer than it, or of no known kind"
        elif code == kernels.NO_FEATURES:
            reason = 'the record has no features called "values"'
        elif code == kernels.WIDTH:
            reason = f"{first} features, but {self.shape.source} {width}"
        elif code == kernels.KEY:
            reason = f"key {first + 1} of the record is not allowed: 0 to {(width or 0) - 1}"
        elif code == kernels.SHAPELESS:
            reason = "a sparse record needs a shape: how many features there are"
        elif code == kernels.COUNT:
            reason = f"{first} keys for {second} values"
        elif code == kernels.LABELS:
            reason = self._label_reason()
        elif first < 0:
            reason = "a label that is not finite is not allowed"
        else:
            reason, column = "NaN and infinity are not allowed: a finite 32-bit float", first + 1
        return DataError(reason, file=rows.file, record=number, column=column, byte=rows.offset + at)


def named_values(entries: dict[str, Tensor | bytes], what: str) -> Tensor:
    """The numbers called "values" of a record's features or labels. Raises DataError where there are none."""
    found = entries.get(VALUES)
    if isinstance(found, Tensor):
        return found
    names = ", ".join(map(repr, entries)) or "none"
    raise DataError(f'the record has no {what} numbers called "values": {names}')


def row_of(
    tensor: Tensor, width: int, *, missing: bool, source: str = "the channel has"
) -> tuple[NDArray[np.int32] | None, NDArray[np.float32]]:
    """A tensor's columns (None if all are there) and values as float32. Raises DataError for what is no such row.

    source: what says that there are `width` columns.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        values = tensor.values.astype(np.float32)
    bad = ~np.isfinite(values)
    if bad.any():
        if not missing:
            raise DataError("NaN and infinity are not allowed: a finite 32-bit float", column=int(bad.argmax()) + 1)
        values[bad] = np.nan
    if tensor.keys is None and (len(values) or not tensor.shape):
        if len(values) != width:
            raise DataError(f"{len(values)} features, but {source} {width}")
        return None, values
    keys = np.zeros(0, np.int64) if tensor.keys is None else tensor.keys
    told = width_of(tensor)
    if told != width:
        raise DataError(f"{told} features, but {source} {width}")
    if len(keys) != len(values):
        raise DataError(f"{len(keys)} keys for {len(values)} values")
    if len(keys) and (keys.min() < 0 or keys.max() >= width):
        raise DataError(f"key {int(keys.max())} is not allowed: 0 to {width - 1}")
    return keys.astype(np.int32), values


def width_of(tensor: Tensor) -> int:
    """Features of a row. Raises DataError for a sparse tensor without a shape."""
    if tensor.keys is None and (len(tensor.values) or not tensor.shape):
        return len(tensor.values)
    if not tensor.shape:
        raise DataError("a sparse record needs a shape: how many features there are")
    width = 1
    for size in tensor.shape:
        width *= size
    if width > 1 << 31:
        raise DataError(f"a shape of {width} features is not allowed: up to {1 << 31}")
    return width


def _longer(array: NDArray[Any], more: int) -> NDArray[Any]:
    longer = np.empty(len(array) * 3 // 2 + 2 * more, array.dtype)
    longer[: len(array)] = array
    return longer


def write_numpy_to_dense_tensor(file: IO[bytes], array: NDArray[Any], labels: NDArray[Any] | None = None) -> None:
    """Write the rows of a matrix as records, each with its label if there are labels.

    array: (n, d) of float32, float64 or integers, which are written as 32-bit ones. labels: (n,), of any of these.
    Raises ClientError for other shapes and types.
    """
    rows, label = _checked(array, labels)
    if rows.dtype == np.int32 or (label is not None and label.dtype == np.int32) or rows.shape[1] == 0:
        for number, row in enumerate(rows):
            file.write(frame(encode(_record(Tensor(row), label, number))))
        return
    if not len(rows):
        return
    # Records of one length: the bytes of the first, again and again, with the numbers of each put in.
    payload = frame(encode(_record(Tensor(rows[0]), label, 0)))
    values, end = _place(payload, rows[0], 0)
    at_once = max(1, ROWS_AT_ONCE // len(payload))
    for begin in range(0, len(rows), at_once):
        part = rows[begin : begin + at_once]
        content = np.tile(np.frombuffer(payload, np.uint8), (len(part), 1))
        content[:, values:end] = _little(part)
        if label is not None:
            first, last = _place(payload, label[:1], end)
            content[:, first:last] = _little(label[begin : begin + at_once, None])
        file.write(content.tobytes())


def write_spmatrix_to_sparse_tensor(file: IO[bytes], array: Any, labels: NDArray[Any] | None = None) -> None:
    """Write the rows of a sparse matrix, SciPy's or SparseRows, as sparse records.

    Raises ClientError for other shapes and types.
    """
    if isinstance(array, SparseRows):
        starts, columns, values, shape = array.starts, array.columns, array.values, array.shape
    elif hasattr(array, "tocsr"):
        compressed = array.tocsr()
        starts, columns, values, shape = compressed.indptr, compressed.indices, compressed.data, compressed.shape
    else:
        raise ClientError(f"a {type(array).__name__} is not allowed: a sparse matrix of SciPy, or SparseRows")
    numbers, label = _checked(values.reshape(1, -1), None)[0][0], _checked_labels(labels, shape[0])
    for row in range(shape[0]):
        part = slice(int(starts[row]), int(starts[row + 1]))
        tensor = Tensor(numbers[part], columns[part].astype(np.int64), (int(shape[1]),))
        file.write(frame(encode(_record(tensor, label, row))))


def _record(features: Tensor, labels: NDArray[Any] | None, row: int) -> Record:
    return Record({VALUES: features}, {} if labels is None else {VALUES: Tensor(labels[row : row + 1])})


def _place(payload: bytes, numbers: NDArray[Any], start: int) -> tuple[int, int]:
    """Where some numbers are in a payload: behind their own length, so the first such place from `start` on."""
    packed = _little(numbers[None]).tobytes()
    length = len(packed)
    size = bytearray()
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    size.append(length)
    at = payload.index(b"\x0a" + bytes(size) + packed, start) + 1 + len(size)
    return at, at + len(packed)


def _little(rows: NDArray[Any]) -> NDArray[np.uint8]:
    """The bytes of each row of floats."""
    little = np.ascontiguousarray(rows, rows.dtype.newbyteorder("<"))
    return little.view(np.uint8).reshape(len(rows), -1)


def _checked(array: NDArray[Any], labels: NDArray[Any] | None) -> tuple[NDArray[Any], NDArray[Any] | None]:
    if array.ndim != 2:
        raise ClientError(f"an array of {array.ndim} dimensions is not allowed: 2, rows and features")
    return _written(array, "array"), _checked_labels(labels, len(array))


def _checked_labels(labels: NDArray[Any] | None, rows: int) -> NDArray[Any] | None:
    if labels is None:
        return None
    if labels.shape != (rows,):
        raise ClientError(f"labels of shape {labels.shape} are not allowed: ({rows},), one a row")
    return _written(labels, "labels")


def _written(array: NDArray[Any], what: str) -> NDArray[Any]:
    """The numbers in the type that a record has for them."""
    if array.dtype in (np.float32, np.float64):
        return array
    if array.dtype.kind not in "iu":
        raise ClientError(f"{what} of {array.dtype} are not allowed: float32, float64 or integers")
    if array.size and (array.min() < -(2**31) or array.max() >= 2**31):
        raise ClientError(f"{what} has integers that do not fit 32 bits, which is what a record has")
    return array.astype(np.int32)
