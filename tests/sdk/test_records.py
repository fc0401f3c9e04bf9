"""Records: the bytes of SageMaker's SDK, and what is read from them."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wildsage as sagemaker
from wildsage.contract.errors import DataError
from wildsage.contract.record import Packed, encode, frame
from wildsage.contract.record import Record as PackedRecord
from wildsage.sdk.deserializers import RecordDeserializer
from wildsage.sdk.exceptions import ArgumentError
from wildsage.sdk.records import (
    read_recordio,
    read_records,
    write_numpy_to_dense_tensor,
    write_spmatrix_to_sparse_tensor,
)
from wildsage.sdk.serializers import RecordSerializer

ASSETS = Path(__file__).parents[1] / "data" / "assets"
CASES: dict[str, Any] = json.loads((ASSETS / "sdk_records.json").read_text())


def compressed(rows: np.ndarray) -> Any:
    """What the writer uses of a compressed matrix of SciPy."""
    places = [np.flatnonzero(row) for row in rows]
    indptr = np.cumsum([0, *map(len, places)])
    data = np.concatenate([row[place] for row, place in zip(rows, places, strict=True)])
    matrix = SimpleNamespace(indptr=indptr, indices=np.concatenate(places), data=data, shape=rows.shape)
    matrix.tocsr = lambda: matrix
    return matrix


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_bytes_are_those_of_sagemakers_sdk(name: str) -> None:
    case = CASES[name]
    array = np.array(case["array"], case["dtype"]).reshape(case["shape"])
    labels = None if case["labels"] is None else np.array(case["labels"], case["label_dtype"])
    file = io.BytesIO()
    if case["sparse"]:
        write_spmatrix_to_sparse_tensor(file, compressed(array), labels)
    else:
        write_numpy_to_dense_tensor(file, array, labels)
    assert file.getvalue() == base64.b64decode(case["bytes"])


@given(st.lists(st.lists(st.floats(width=32), min_size=3, max_size=3), min_size=1, max_size=4))
def test_what_is_written_is_read(rows: list[list[float]]) -> None:
    body = RecordSerializer().serialize(np.array(rows, np.float32))
    records = RecordDeserializer().deserialize(body, "application/x-recordio-protobuf")
    np.testing.assert_array_equal([record.features["values"].float32_tensor.values for record in records], rows)
    assert [record.label for record in records] == [{}] * len(rows)
    assert body.closed


def test_the_attributes_of_a_record() -> None:
    parts: dict[str, Packed | bytes] = {"score": Packed("float32", np.float32(0.5).tobytes()), "why": b"because"}
    record = PackedRecord({"values": Packed("int32", np.int32(-7).tobytes(), (3,), (9,))}, parts, "u", "m")
    (found,) = read_records(io.BytesIO(frame(encode(record))))
    assert found.label["score"].float32_tensor.values == [0.5]
    assert found.label["score"].float64_tensor.values == []
    assert found.label["why"].bytes.value == b"because"
    tensor = found.features["values"].int32_tensor
    assert (tensor.values, tensor.keys, tensor.shape) == ([-7], [3], [9])
    assert (found.uid, found.metadata, found.configuration) == ("u", "m", "")
    assert list(read_recordio(io.BytesIO(frame(b"abc")))) == [b"abc"]


@given(st.binary(max_size=60))
def test_any_bytes_are_records_or_an_error(content: bytes) -> None:
    try:
        read_records(io.BytesIO(frame(content)))
    except DataError:
        return


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ([[1.0]], "can not take a list"),
        (np.zeros((1, 1, 1)), "3 dimensions"),
        (np.array([["a"]]), "which is not allowed: float32, float64 or integers"),
        (np.array([[2**31]]), "do not fit 32 bits"),
    ],
)
def test_what_no_record_can_hold(data: Any, told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        RecordSerializer().serialize(data)
    with pytest.raises(ArgumentError, match="one a row"):
        write_numpy_to_dense_tensor(io.BytesIO(), np.zeros((2, 2)), np.zeros(3))
    with pytest.raises(ArgumentError, match="a sparse matrix of SciPy"):
        write_spmatrix_to_sparse_tensor(io.BytesIO(), np.zeros((2, 2)))


def test_sagemakers_names() -> None:
    assert sagemaker.serializer_utils.write_numpy_to_dense_tensor is write_numpy_to_dense_tensor
    assert sagemaker.serializers.RecordSerializer().CONTENT_TYPE == "application/x-recordio-protobuf"
    assert sagemaker.deserializers.RecordDeserializer().ACCEPT == ("application/x-recordio-protobuf",)
