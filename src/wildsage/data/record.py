"""Single records of RecordIO-protobuf with their numbers as arrays, to bytes and back.

The bytes are contract/record.py's. Rows by the million go through kernels; this is for single records: answers of a
model, records of an odd form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wildsage.contract import record as packed
from wildsage.contract.record import Packed, frames
from wildsage.contract.record import frame as frame

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Tensor:
    """Numbers. keys: where each is among those of `shape`; None: they are all there."""

    values: NDArray[np.float32] | NDArray[np.float64] | NDArray[np.int32]
    keys: NDArray[np.int64] | None = None
    shape: tuple[int, ...] = ()


Record = packed.Record[Tensor]


def encode(record: Record) -> bytes:
    """The message, as the protobuf library serialises it. Raises TypeError for arrays that have no form in it."""
    features, label = ({name: _pack(each) for name, each in part.items()} for part in (record.features, record.label))
    return packed.encode(packed.Record(features, label, record.uid, record.metadata, record.configuration))


def decode(payload: bytes | memoryview) -> Record:
    """A message's record. Raises DataError, with the byte in the message, for what is none."""
    record = packed.decode(payload)
    features, label = ({name: _unpack(each) for name, each in part.items()} for part in (record.features, record.label))
    return Record(features, label, record.uid, record.metadata, record.configuration)


def decode_all(content: bytes | memoryview) -> list[Record]:
    """The records of frames that follow each other."""
    return [decode(payload) for payload in frames(content)]


def encode_all(records: Iterable[Record]) -> bytes:
    """Records as frames that follow each other."""
    return b"".join(frame(encode(record)) for record in records)


def _pack(value: Tensor | bytes) -> Packed | bytes:
    if isinstance(value, bytes):
        return value
    kind = value.values.dtype.name
    if kind not in packed.VALUE_FIELDS:
        raise TypeError(f"a tensor of {kind} has no form in a record: {', '.join(packed.VALUE_FIELDS)}")
    numbers = value.values.astype(value.values.dtype.newbyteorder("<"), copy=False).tobytes()
    return Packed(kind, numbers, () if value.keys is None else tuple(value.keys.tolist()), value.shape)


def _unpack(value: Packed | bytes) -> Tensor | bytes:
    if isinstance(value, bytes):
        return value
    keys = np.array(value.keys, np.int64) if value.keys else None
    little = np.frombuffer(value.values, np.dtype(value.kind).newbyteorder("<"))
    return Tensor(little.astype(value.kind), keys, value.shape)
