"""Arrays to RecordIO-protobuf and back: SageMaker's `serializer_utils`, without the protobuf library.

A Record that is read has the attributes of SageMaker's: `record.label["score"].float32_tensor.values[0]`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any

from wildsage.contract import record as packed
from wildsage.contract.record import Packed
from wildsage.sdk.exceptions import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VALUES = "values"  # what features and labels are called
_CODES = {"float32": "f", "float64": "d", "int32": "i"}


@dataclass(frozen=True)
class Tensor:
    """Numbers. keys: where each is among those of `shape`; [] where all are there."""

    values: list[Any] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    shape: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Bytes:
    """Bytes that are no numbers."""

    value: bytes = b""


@dataclass(frozen=True)
class Value:
    """A feature or label; those kinds that it is not are empty."""

    float32_tensor: Tensor = field(default_factory=Tensor)
    float64_tensor: Tensor = field(default_factory=Tensor)
    int32_tensor: Tensor = field(default_factory=Tensor)
    bytes: Bytes = field(default_factory=Bytes)


@dataclass(frozen=True)
class Record:
    """One record. Texts that it has not are empty."""

    features: dict[str, Value]
    label: dict[str, Value]
    uid: str = ""
    metadata: str = ""
    configuration: str = ""


def read_recordio(f: IO[bytes]) -> Iterator[bytes]:
    """The payloads of the frames of a file. Raises DataError where no frame begins, or one is cut off."""
    yield from map(bytes, packed.frames(f.read()))


def read_records(file: IO[bytes]) -> list[Record]:
    """The records of a file. Raises DataError for what is none."""
    found = []
    for payload in packed.frames(file.read()):
        record = packed.decode(payload)
        features, label = map(_values, (record.features, record.label))
        found.append(Record(features, label, record.uid or "", record.metadata or "", record.configuration or ""))
    return found


def write_numpy_to_dense_tensor(file: IO[bytes], array: Any, labels: Any = None) -> None:
    """Write the rows of a matrix as records, each with its label if there are labels.

    array: (n, d) of float32, float64 or integers, which are written as 32-bit ones. labels: (n,), of any of these.
    Raises ArgumentError for other shapes and types.
    """
    if array.ndim != 2:
        raise ArgumentError(f"an array of {array.ndim} dimensions is not allowed: 2, rows and features")
    label = _labels(labels, len(array))
    rows, kind = _little(array, "the array")
    for number, row in enumerate(rows):
        _write(file, Packed(kind, row.tobytes()), label, number)


def write_spmatrix_to_sparse_tensor(file: IO[bytes], array: Any, labels: Any = None) -> None:
    """Write the rows of a sparse matrix of SciPy as sparse records. Raises ArgumentError for what is none."""
    if not hasattr(array, "tocsr"):
        raise ArgumentError(f"a {type(array).__name__} is not allowed: a sparse matrix of SciPy")
    rows = array.tocsr()
    label = _labels(labels, rows.shape[0])
    values, kind = _little(rows.data, "the matrix")
    starts, columns = rows.indptr.tolist(), rows.indices.tolist()
    for number, (begin, end) in enumerate(pairwise(starts)):
        keys = tuple(columns[begin:end])
        _write(file, Packed(kind, values[begin:end].tobytes(), keys, (int(rows.shape[1]),)), label, number)


def _write(file: IO[bytes], features: Packed, label: tuple[Any, str] | None, row: int) -> None:
    labels = {} if label is None else {VALUES: Packed(label[1], label[0][row : row + 1].tobytes())}
    file.write(packed.frame(packed.encode(packed.Record({VALUES: features}, dict(labels)))))


def _labels(labels: Any, rows: int) -> tuple[Any, str] | None:
    if labels is None:
        return None
    if labels.shape != (rows,):
        raise ArgumentError(f"labels of shape {labels.shape} are not allowed: ({rows},), one a row")
    return _little(labels, "the labels")


def _little(array: Any, what: str) -> tuple[Any, str]:
    """The numbers in the type that a record has for them, little-endian, and its name."""
    if array.dtype.kind in "iu":
        if array.size and (array.min() < -(2**31) or array.max() >= 2**31):
            raise ArgumentError(f"{what} has integers that do not fit 32 bits, which is what a record has")
        return array.astype("<i4"), "int32"
    if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
        raise ArgumentError(f"{what} is of {array.dtype}, which is not allowed: float32, float64 or integers")
    return array.astype(f"<f{array.dtype.itemsize}", copy=False), array.dtype.name


def _values(part: Mapping[str, Packed | bytes]) -> dict[str, Value]:
    return {name: _value(each) for name, each in part.items()}


def _value(value: Packed | bytes) -> Value:
    if isinstance(value, bytes):
        return Value(bytes=Bytes(value))
    count = len(value.values) // packed.SIZES[value.kind]
    numbers = list(struct.unpack(f"<{count}{_CODES[value.kind]}", value.values))
    tensor: Any = Tensor(numbers, list(value.keys), list(value.shape))
    return replace(Value(), **{f"{value.kind}_tensor": tensor})
