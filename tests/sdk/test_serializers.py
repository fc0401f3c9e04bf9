from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.sdk import serializers
from wildsage.sdk.exceptions import ArgumentError

CELLS = st.one_of(st.integers(), st.floats(allow_nan=False), st.text(max_size=20))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=10,
)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=5), min_size=1, max_size=5))
def test_csv_comes_back(rows: list[list[object]]) -> None:
    text = serializers.CSVSerializer().serialize(rows)
    back = list(csv.reader(io.StringIO(text, newline="")))
    assert back == [[str(cell) for cell in row] for row in rows]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ([1, 2], "1,2"),
        ((1, 2.5, "x"), "1,2.5,x"),
        ([[1, 2], [3, 4]], "1,2\n3,4"),
        (np.array([1, 2]), "1,2"),
        (np.array([[1.5, 2], [3, 4]]), "1.5,2.0\n3.0,4.0"),
        (["1,2", "3,4"], "1,2\n3,4"),
        (("a", "b"), "a,b"),
        ("1,2\n3,4", "1,2\n3,4"),
        (io.StringIO("5,6"), "5,6"),
        (range(3), "0,1,2"),
    ],
)
def test_csv_forms(data: object, text: str) -> None:
    assert serializers.CSVSerializer().serialize(data) == text


@pytest.mark.parametrize("data", [[], [[]], np.zeros((0, 3)), 5, None])
def test_csv_refuses_nothing_and_no_rows(data: object) -> None:
    with pytest.raises(ArgumentError):
        serializers.CSVSerializer().serialize(data)


@given(JSON)
def test_json_comes_back(data: object) -> None:
    assert json.loads(serializers.JSONSerializer().serialize(data)) == data


def test_json_takes_arrays_at_any_depth() -> None:
    text = serializers.JSONSerializer().serialize({"instances": [{"x": np.arange(3), "y": np.float32(0.5)}]})
    assert json.loads(text) == {"instances": [{"x": [0, 1, 2], "y": 0.5}]}


def test_json_says_what_it_cannot_write() -> None:
    with pytest.raises(ArgumentError, match="object can not be written as JSON"):
        serializers.JSONSerializer().serialize({"a": object()})


@given(st.lists(JSON, min_size=1, max_size=4))
def test_json_lines_come_back(rows: list[object]) -> None:
    text = serializers.JSONLinesSerializer().serialize(rows)
    assert [json.loads(line) for line in text.split("\n")] == rows


def test_json_lines_refuse_one_object() -> None:
    with pytest.raises(ArgumentError, match="list of objects"):
        serializers.JSONLinesSerializer().serialize({"a": 1})


def test_numpy_comes_back_and_never_pickles() -> None:
    body = serializers.NumpySerializer(dtype="float32").serialize([[1, 2]])
    array = np.load(io.BytesIO(body), allow_pickle=False)
    assert array.dtype == np.float32
    assert array.tolist() == [[1, 2]]
    with pytest.raises(ArgumentError, match="object"):
        serializers.NumpySerializer().serialize(np.array([{}], dtype=object))
    with pytest.raises(ArgumentError, match="empty"):
        serializers.NumpySerializer().serialize([])


def test_strings_data_and_libsvm(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"\x00\xff")
    assert serializers.StringSerializer().serialize("é") == "é".encode()
    assert serializers.DataSerializer().serialize(str(file)) == b"\x00\xff"
    assert serializers.DataSerializer().serialize({"data": b"1"}) == b"1"
    assert serializers.LibSVMSerializer().serialize("1 1:2") == "1 1:2"
    for serializer in (serializers.StringSerializer(), serializers.DataSerializer(), serializers.LibSVMSerializer()):
        with pytest.raises(ArgumentError):
            serializer.serialize(5)
    with pytest.raises(ArgumentError, match="No such file"):
        serializers.DataSerializer().serialize(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("CSVSerializer", "text/csv"),
        ("NumpySerializer", "application/x-npy"),
        ("JSONSerializer", "application/json"),
        ("IdentitySerializer", "application/octet-stream"),
        ("JSONLinesSerializer", "application/jsonlines"),
        ("SparseMatrixSerializer", "application/x-npz"),
        ("LibSVMSerializer", "text/libsvm"),
        ("DataSerializer", "file-path/raw-bytes"),
        ("StringSerializer", "text/plain"),
    ],
)
def test_content_types_are_sagemakers(name: str, content_type: str) -> None:
    serializer = getattr(serializers, name)
    assert content_type == serializer().CONTENT_TYPE
    assert serializer(content_type="x/y").CONTENT_TYPE == "x/y"
