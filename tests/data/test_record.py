"""The Record message: bytes of the protobuf library, there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.contract.errors import DataError
from wildsage.data.record import Record, Tensor, decode, decode_all, encode, encode_all

# What protobuf 4.25 serialises for the SDK's Record message.
GOLDEN = (
    b"\n\x16\n\x06values\x12\x0c\x12\n\n\x08\x00\x00\x80?\x00\x00\x00@"
    b"\x12\x15\n\x05score\x12\x0c\x1a\n\n\x08\x00\x00\x00\x00\x00\x00\xe0?"
    b'\x1a\x02u1"\x08{"a": 1}*\x01c'
)


def test_the_bytes_are_the_protobuf_librarys() -> None:
    features = {"values": Tensor(np.array([1, 2], np.float32))}
    record = Record(features, {"score": Tensor(np.array([0.5]))}, "u1", '{"a": 1}', "c")
    assert encode(record) == GOLDEN
    assert encode(decode(GOLDEN)) == GOLDEN


VALUES = st.one_of(
    st.lists(st.floats(width=32), max_size=5).map(lambda values: np.array(values, np.float32)),
    st.lists(st.floats(), max_size=5).map(np.array),
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=5).map(lambda values: np.array(values, np.int32)),
)
TENSORS = st.builds(
    lambda values, keys, shape: Tensor(values, np.array(keys, np.int64) if keys else None, tuple(shape)),
    VALUES,
    st.lists(st.integers(0, 2**40), max_size=5),
    st.lists(st.integers(0, 2**40), max_size=3),
)
ENTRIES = st.dictionaries(st.text(max_size=10), st.one_of(TENSORS, st.binary(max_size=20)), max_size=3)
TEXTS = st.none() | st.text(max_size=10)


@given(st.lists(st.builds(Record, ENTRIES, ENTRIES, TEXTS, TEXTS, TEXTS), max_size=4))
def test_what_is_encoded_is_decoded(records: list[Record]) -> None:
    content = encode_all(records)
    found = decode_all(content)
    assert len(found) == len(records)
    assert encode_all(found) == content


@given(st.binary(max_size=100))
def test_any_bytes_are_a_record_or_an_error(content: bytes) -> None:
    try:
        record = decode(content)
    except DataError:
        return
    assert encode(decode(encode(record))) == encode(record)


def test_a_frame_that_is_cut_off() -> None:
    content = encode_all([Record(uid="x"), Record(uid="y")])
    with pytest.raises(DataError, match=r"byte 12: the record is cut off"):
        decode_all(content[:-2])
    with pytest.raises(DataError, match=r"byte 0: no RecordIO record"):
        decode_all(b"abcdefgh")
