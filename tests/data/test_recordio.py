"""RecordIO-protobuf: the SDK's own bytes, rows dense and sparse, and what is wrong with its place."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.data.channels import RECORDIO, batches, numbers, put, whole
from wildsage.contract.errors import ClientError, DataError
from wildsage.data import prefetch
from wildsage.data.batch import SparseRows
from wildsage.data.readers import open_channel, read_body
from wildsage.data.record import Record, Tensor, encode, frame
from wildsage.data.recordio import write_numpy_to_dense_tensor, write_spmatrix_to_sparse_tensor

# What the SageMaker SDK 2.257.7 writes for these arrays, with protobuf 4.25.
CASES: dict[str, Any] = json.loads((Path(__file__).parent / "assets" / "sdk_records.json").read_text())


def sparse_of(array: NDArray[Any]) -> SparseRows:
    rows, columns = np.nonzero(array)
    starts = np.zeros(len(array) + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=len(array)), out=starts[1:])
    return SparseRows(starts, columns.astype(np.int32), array[rows, columns], array.shape[1])


def dense(array: NDArray[Any], labels: NDArray[Any] | None = None) -> bytes:
    file = io.BytesIO()
    write_numpy_to_dense_tensor(file, array, labels)
    return file.getvalue()


def sparse(array: NDArray[Any], labels: NDArray[Any] | None = None) -> bytes:
    file = io.BytesIO()
    write_spmatrix_to_sparse_tensor(file, sparse_of(array), labels)
    return file.getvalue()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_bytes_are_the_sdks(case: dict[str, Any]) -> None:
    array = np.array(case["array"], case["dtype"]).reshape(case["shape"])
    labels = None if case["labels"] is None else np.array(case["labels"], case["label_dtype"])
    content = (sparse if case["sparse"] else dense)(array, labels)
    assert content == base64.b64decode(case["bytes"])
    if array.size:
        batch = read_body(content, RECORDIO, label_width=1)
        np.testing.assert_array_equal(batch.dense(), array.astype(np.float32))
        assert isinstance(batch.features, SparseRows) == case["sparse"]
        assert (batch.labels is None) == (labels is None)
        if batch.labels is not None and labels is not None:
            np.testing.assert_array_equal(batch.labels, labels.astype(np.float32))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("piece", [30, 100, 5000])
@pytest.mark.parametrize("write", [dense, sparse])
def test_pieces_of_any_size_give_the_same_rows(
    tmp_path: Path, threads: int, piece: int, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "PIECE", piece)
    monkeypatch.setattr(prefetch, "SLACK", 7)
    rows = numbers(60, 37)
    rows[rows < 0] = 0
    rows[5] = 0
    labels = np.arange(60, dtype=np.float32)
    content = write(rows, labels)
    channel = put(tmp_path, {"a.pbr": content, "b.pbr": b"", "c.pbr": content}, RECORDIO)
    assert [len(batch) for batch in batches(channel, threads=threads, batch_rows=16)] == [16] * 7 + [8]
    together = whole(channel, threads=threads)
    np.testing.assert_array_equal(together.dense(), np.concatenate([rows, rows]))
    np.testing.assert_array_equal(together.labels, np.concatenate([labels, labels]))  # type: ignore[arg-type]
    assert str(together.error(61, "x")) == "train/c.pbr, record 2: x"


def test_records_of_many_forms_follow_each_other() -> None:
    f32 = np.float32
    records = [
        Record({"values": Tensor(np.array([1, 2, 3], f32))}, {"values": Tensor(np.array([1], f32))}),
        Record({"values": Tensor(np.array([1, 2, 4], f32))}, {"values": Tensor(np.array([2], f32))}, "id"),
        Record({"values": Tensor(np.array([1.5, 2, 4]))}, {"values": Tensor(np.array([3], np.int32))}),
        Record({"values": Tensor(np.array([-1, 2, 300], np.int32))}, {"values": Tensor(np.array([4.0]))}, None, "{}"),
        Record({"values": Tensor(np.array([7], f32), np.array([2]), (3,))}, {"values": Tensor(np.array([5], f32))}),
        Record({"values": Tensor(np.array([7], f32), np.array([2]), (1, 3))}, {"values": Tensor(np.array([6], f32))}),
        Record({"values": Tensor(np.zeros(0, f32), None, (3,))}, {"values": Tensor(np.array([7], f32))}),
    ]
    content = b"".join(frame(encode(record)) for record in records)
    # Numbers one by one, as a writer without packing has them, labels first, and a field that there is not.
    tensor = b"".join(b"\x0d" + struct.pack("<f", value) for value in (9, 8, 7))
    value = b"\x0a\x06values\x12" + bytes([len(tensor) + 2]) + b"\x12" + bytes([len(tensor)]) + tensor
    label = b"\x0a\x06values\x12\x08\x12\x06\x0a\x04" + struct.pack("<f", 8)
    odd = b"\x12" + bytes([len(label)]) + label + b"\x0a" + bytes([len(value)]) + value + b"\x78\x01"
    expected = [[1, 2, 3], [1, 2, 4], [1.5, 2, 4], [-1, 2, 300], [0, 0, 7], [0, 0, 7], [0, 0, 0], [9, 8, 7]]
    for order in (slice(None), slice(None, None, -1)):
        parts = [*(frame(encode(record)) for record in records), frame(odd)][order]
        batch = read_body(b"".join(parts), RECORDIO, label_width=1)
        assert batch.dense().tolist() == expected[order]
        assert batch.labels is not None
        assert batch.labels.tolist() == list(range(1, 9))[order]
    assert content


def test_labels_may_be_left_out() -> None:
    content = dense(numbers(3, 4), np.arange(3.0))
    assert read_body(content, RECORDIO).labels is None
    assert read_body(content, RECORDIO, label_width=1).labels is not None
    assert read_body(dense(numbers(3, 4)), RECORDIO, label_width=1).labels is None


ONE = dense(np.array([[1, 2]], np.float32), np.array([1.0], np.float32))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (ONE + dense(np.array([[1, 2, 3]], np.float32)), "record 2, byte 52: 3 features, but the channel has 2"),
        (ONE + dense(np.array([[1, 2]], np.float32)), "record 2, byte 52: the record has not the 1 label"),
        (ONE + dense(np.array([[1, np.nan]], np.float32)), "record 2, column 2, byte 52: NaN and infinity"),
        (ONE + dense(np.array([[np.inf, 1]])), "record 2, column 1, byte 52: NaN and infinity"),
        (ONE + dense(np.array([[1e300, 1]])), "record 2, column 1, byte 52: NaN and infinity"),
        (ONE + b"abcdefgh", "record 2, byte 52: no RecordIO record begins here"),
        (ONE + ONE[:-1], "byte 52: it ends within a record"),
        (ONE + frame(b""), "record 2, byte 52: the record has no features"),
        (ONE + frame(b"\x0a\xff"), "record 2, byte 52: the record is no protobuf message"),
        (ONE + frame(encode(Record({"pixels": Tensor(np.zeros(2))}))), 'record 2, byte 52: .*called "values"'),
        (ONE + frame(encode(Record({"values": b"jpeg"}))), 'record 2, byte 52: .*called "values"'),
        (ONE + sparse(np.array([[0, 0, 1]], np.float32)), "record 2, byte 52: 3 features"),
        (
            ONE + frame(encode(Record({"values": Tensor(np.ones(1), np.array([2]), (2,))}))),
            "record 2, byte 52: key 1 of the record is not allowed: 0 to 1",
        ),
        (
            ONE + frame(encode(Record({"values": Tensor(np.ones(1), np.array([1]))}))),
            "record 2, byte 52: .*needs a shape",
        ),
        (
            ONE + frame(encode(Record({"values": Tensor(np.ones(1), np.array([0, 1]), (2,))}))),
            "record 2, byte 52: 2 keys for 1 values",
        ),
        (b"no record at all", "record 1, byte 0: no RecordIO record begins here"),
        (frame(b"\x0a\x02\x0a\x00"), "record 1, byte 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_named_with_its_place(content: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=f"^the request, {reason}"):
        read_body(content, RECORDIO, label_width=1)


def test_what_is_missing_may_be_nan() -> None:
    for array in (np.array([[1, np.inf]] * 3, np.float32), np.array([[np.nan, 1e300]] * 3)):
        for write in (dense, sparse):
            rows = read_body(write(array), RECORDIO, missing="nan").dense()
            np.testing.assert_array_equal(rows, np.where(np.isfinite(array) & (np.abs(array) < 1e38), array, np.nan))


def test_files_that_are_cut_off(tmp_path: Path) -> None:
    channel = put(tmp_path, {"a.pbr": ONE + ONE[:30]}, RECORDIO)
    with pytest.raises(DataError, match=r"^train/a.pbr, byte 52: the file ends within a row: it is cut off"):
        whole(channel)


@given(st.binary(max_size=200))
def test_any_bytes_give_rows_or_an_error(content: bytes) -> None:
    for body in (content, frame(content), ONE + frame(content)):
        with contextlib.suppress(DataError):
            read_body(body, RECORDIO, label_width=1)


@given(st.data(), st.sampled_from([dense, sparse]), st.sampled_from(["float32", "float64", "int64"]))
def test_mutated_records_give_rows_or_an_error(data: st.DataObject, write: Any, kind: str) -> None:
    array = np.array([[1, 0, 3], [300, -5, 0], [0, 0, 1]]).astype(kind)
    content = bytearray(write(array, np.array([0, 1, 2]).astype(kind)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(
            st.one_of(st.sampled_from([0, 1, 2, 10, 18, 26, 127, 128, 255]), st.integers(0, 255))
        )
    try:
        rows = read_body(bytes(content), RECORDIO, label_width=1)
    except DataError:
        return
    assert np.isfinite(rows.dense()).all()


def test_a_shape_of_gigabytes_allocates_nothing(tmp_path: Path) -> None:
    record = Record({"values": Tensor(np.ones(1, np.float32), np.array([5]), (1 << 40,))})
    with pytest.raises(DataError, match=r"a shape of"):
        read_body(frame(encode(record)), RECORDIO)
    wide = frame(encode(Record({"values": Tensor(np.ones(1, np.float32), np.array([1 << 20]), ((1 << 20) + 1,))})))
    stream = open_channel(put(tmp_path, {"a": wide * 3}, RECORDIO), batch_rows=2)
    assert [len(batch.features) for batch in stream] == [2, 1]


@pytest.mark.parametrize(
    ("array", "labels", "reason"),
    [
        (np.zeros(3), None, "2, rows and features"),
        (np.zeros((2, 3)), np.zeros(3), r"\(2,\), one a row"),
        (np.zeros((2, 3), np.complex64), None, "float32, float64 or integers"),
        (np.full((2, 3), 1 << 40), None, "do not fit 32 bits"),
    ],
)
def test_what_can_not_be_written(array: NDArray[Any], labels: NDArray[Any] | None, reason: str) -> None:
    with pytest.raises(ClientError, match=reason):
        dense(array, labels)
    with pytest.raises(ClientError, match=r"sparse matrix"):
        write_spmatrix_to_sparse_tensor(io.BytesIO(), np.zeros((2, 2)))
