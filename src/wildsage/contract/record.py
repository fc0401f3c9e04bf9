"""Records of RecordIO-protobuf as bytes: frames, and the message in them, with its numbers still packed.

proto2, package aialgs.data (the SageMaker SDK, sagemaker/amazon/record.proto): Record {map<string, Value> features = 1,
label = 2; string uid = 3, metadata = 4, configuration = 5}, Value {oneof Float32Tensor = 2, Float64Tensor = 3,
Int32Tensor = 7, Bytes = 9}, each tensor {packed values = 1, uint64 keys = 2, uint64 shape = 3}. No protobuf library is
needed, nor NumPy: both wings read and write records, and make arrays of the numbers themselves.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from wildsage.contract.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"\x0a\x23\xd7\xce"
LARGEST_LENGTH = 1 << 29
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
VALUE_FIELDS = {"float32": 2, "float64": 3, "int32": 7}
TYPES: dict[int, str] = {number: name for name, number in VALUE_FIELDS.items()}
SIZES = {"float32": 4, "float64": 8, "int32": 4}
BYTES_FIELD = 9
LARGEST_KEY = 1 << 62

T = TypeVar("T")


@dataclass(frozen=True)
class Packed:
    """Numbers as little-endian bytes. kind: of VALUE_FIELDS. keys: places among those of `shape`; (): all."""

    kind: str
    values: bytes
    keys: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Record(Generic[T]):
    """One record, with tensors of some type. Values that are bytes, not numbers, are left as bytes."""

    features: dict[str, T | bytes] = field(default_factory=dict)
    label: dict[str, T | bytes] = field(default_factory=dict)
    uid: str | None = None
    metadata: str | None = None
    configuration: str | None = None


def encode(record: Record[Packed]) -> bytes:
    """The message, as the protobuf library serialises it."""
    parts = [_part(1, _entry(name, value)) for name, value in record.features.items()]
    parts += [_part(2, _entry(name, value)) for name, value in record.label.items()]
    for number, text in ((3, record.uid), (4, record.metadata), (5, record.configuration)):
        if text is not None:
            parts.append(_part(number, text.encode()))
    return b"".join(parts)


def decode(payload: bytes | memoryview) -> Record[Packed]:
    """A message's record. Raises DataError, with the byte in the message, for what is none."""
    features: dict[str, Packed | bytes] = {}
    label: dict[str, Packed | bytes] = {}
    texts: dict[int, str] = {}
    view = memoryview(payload)
    for number, wire, begin, end, _ in _fields(view, 0, len(view)):
        if number in (1, 2) and wire == BYTES:
            name, value = _decode_entry(view, begin, end)
            (features if number == 1 else label)[name] = value
        elif number in (3, 4, 5) and wire == BYTES:
            texts[number] = _text(view, begin, end)
    return Record(features, label, texts.get(3), texts.get(4), texts.get(5))


def frame(payload: bytes) -> bytes:
    """A payload as a RecordIO frame."""
    return MAGIC + len(payload).to_bytes(4, "little") + payload + bytes(-len(payload) % 4)


def frames(content: bytes | memoryview) -> Iterator[memoryview]:
    """The payloads of frames that follow each other. Raises DataError where no frame begins, or one is cut off."""
    view = memoryview(content)
    at = 0
    while at < len(view):
        if bytes(view[at : at + 4]) != MAGIC:
            raise DataError("no RecordIO record begins here", byte=at)
        length = int.from_bytes(view[at + 4 : at + 8], "little")
        if at + 8 + length > len(view) or at + 8 > len(view):
            raise DataError("the record is cut off", byte=at)
        yield view[at + 8 : at + 8 + length]
        at += 8 + length + -length % 4


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def _part(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | BYTES) + _varint(len(content)) + content


def _entry(name: str, value: Packed | bytes) -> bytes:
    if isinstance(value, bytes):
        content = _part(BYTES_FIELD, _part(1, value))
    else:
        packed = value.values
        if value.kind == "int32":
            packed = b"".join([_varint(number) for (number,) in struct.iter_unpack("<i", packed)])
        parts = [_part(1, packed)] if packed else []
        if value.keys:
            parts.append(_part(2, b"".join(map(_varint, value.keys))))
        if value.shape:
            parts.append(_part(3, b"".join(map(_varint, value.shape))))
        content = _part(VALUE_FIELDS[value.kind], b"".join(parts))
    return _part(1, name.encode()) + _part(2, content)


def _fields(view: memoryview, at: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """(number, wire type, begin, end, value of a varint) of each field of a message."""
    while at < end:
        place = at
        tag, at = _read_varint(view, at, end)
        number, wire, value = tag >> 3, tag & 7, 0
        begin = at
        if wire == VARINT:
            value, at = _read_varint(view, at, end)
        elif wire == BYTES:
            length, begin = _read_varint(view, at, end)
            at = begin + length
        elif wire == FIXED64:
            at += 8
        elif wire == FIXED32:
            at += 4
        else:
            raise DataError(f"the record is no protobuf message: wire type {wire}", byte=place)
        if at > end:
            raise DataError("the record is no protobuf message: a field is longer than it", byte=place)
        yield number, wire, begin, at, value


def _read_varint(view: memoryview, at: int, end: int) -> tuple[int, int]:
    number = shift = 0
    while at < end and shift < 64:
        byte = view[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number & ((1 << 64) - 1), at
        shift += 7
    raise DataError("the record is no protobuf message: a number does not end", byte=at)


def _text(view: memoryview, begin: int, end: int) -> str:
    try:
        return bytes(view[begin:end]).decode()
    except UnicodeDecodeError as error:
        raise DataError(f"a text of the record is not UTF-8: {error}", byte=begin) from error


def _decode_entry(view: memoryview, begin: int, end: int) -> tuple[str, Packed | bytes]:
    name = ""
    value: Packed | bytes = Packed("float32", b"")
    for number, wire, at, behind, _ in _fields(view, begin, end):
        if number == 1 and wire == BYTES:
            name = _text(view, at, behind)
        elif number == 2 and wire == BYTES:
            for kind, inner, first, last, _ in _fields(view, at, behind):
                if inner == BYTES and kind in TYPES:
                    value = _decode_tensor(view, first, last, TYPES[kind])
                elif inner == BYTES and kind == BYTES_FIELD:
                    value = b"".join(
                        bytes(view[a:b]) for n, w, a, b, _ in _fields(view, first, last) if (n, w) == (1, 2)
                    )
    return name, value


def _decode_tensor(view: memoryview, begin: int, end: int, kind: str) -> Packed:
    values: list[bytes] = []
    numbers: dict[int, list[int]] = {1: [], 2: [], 3: []}
    single = {"float32": FIXED32, "float64": FIXED64, "int32": VARINT}[kind]
    for number, wire, at, behind, value in _fields(view, begin, end):
        if number not in numbers:
            continue
        if number == 1 and kind != "int32":
            if wire not in (single, BYTES) or (behind - at) % SIZES[kind]:
                raise DataError(f"the values of a {kind} tensor are cut off", byte=at)
            values.append(bytes(view[at:behind]))
        elif wire == VARINT:
            numbers[number].append(value)
        elif wire == BYTES:
            while at < behind:
                value, at = _read_varint(view, at, behind)
                numbers[number].append(value)
        else:
            raise DataError(f"a tensor has numbers of wire type {wire}", byte=at)
    for number in (2, 3):
        if any(value > LARGEST_KEY for value in numbers[number]):
            raise DataError("a key or a shape of the record is too large", byte=begin)
    if kind == "int32":
        values = [(value & 0xFFFFFFFF).to_bytes(4, "little") for value in numbers[1]]
    return Packed(kind, b"".join(values), tuple(numbers[2]), tuple(numbers[3]))
