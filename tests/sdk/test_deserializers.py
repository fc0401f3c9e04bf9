from __future__ import annotations

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.sdk import deserializers
from wildsage.sdk.exceptions import ArgumentError, NotSupportedError


def body(data: bytes | str) -> io.BytesIO:
    return io.BytesIO(data.encode() if isinstance(data, str) else data)


def test_json_lines_csv_text_and_bytes() -> None:
    assert deserializers.JSONDeserializer().deserialize(body('{"a": [1]}'), "application/json") == {"a": [1]}
    assert deserializers.JSONLinesDeserializer().deserialize(body("1\n[2]\n"), "application/jsonlines") == [1, [2]]
    assert deserializers.CSVDeserializer().deserialize(body('a,"b\nc"\n1,2'), "text/csv") == [["a", "b\nc"], ["1", "2"]]
    assert deserializers.StringDeserializer().deserialize(body("é"), "text/plain") == "é"
    assert deserializers.BytesDeserializer().deserialize(body(b"\xff"), "x/y") == b"\xff"


def test_the_default_takes_json_and_leaves_the_rest() -> None:
    default = deserializers.PythonDeserializer()
    assert default.deserialize(body("[1]"), "application/json; charset=utf-8") == [1]
    assert default.deserialize(body('{"a":1}\n{"a":2}\n'), "application/jsonlines") == [{"a": 1}, {"a": 2}]
    assert default.deserialize(body("1,2"), "text/csv") == b"1,2"


def test_streams_stay_open_and_others_are_closed() -> None:
    stream = body("x")
    assert deserializers.StreamDeserializer().deserialize(stream, "text/plain") == (stream, "text/plain")
    assert not stream.closed
    deserializers.BytesDeserializer().deserialize(stream, "text/plain")
    assert stream.closed
    broken = body("{")
    with pytest.raises(json.JSONDecodeError):
        deserializers.JSONDeserializer().deserialize(broken, "application/json")
    assert broken.closed


@given(st.lists(st.lists(st.integers(-9, 9), min_size=2, max_size=2), min_size=2, max_size=4))
def test_numpy_reads_every_form(rows: list[list[int]]) -> None:
    numpy = deserializers.NumpyDeserializer()
    array = np.array(rows)
    npy, npz = io.BytesIO(), io.BytesIO()
    np.save(npy, array)
    np.savez(npz, a=array)
    text = "\n".join(",".join(map(str, row)) for row in rows)
    assert numpy.deserialize(body(npy.getvalue()), "application/x-npy").tolist() == rows
    assert numpy.deserialize(body(npz.getvalue()), "application/x-npz")["a"].tolist() == rows
    assert numpy.deserialize(body(json.dumps(rows)), "application/json").tolist() == rows
    assert deserializers.NumpyDeserializer(dtype="int64").deserialize(body(text), "text/csv").tolist() == rows


def test_numpy_never_unpickles() -> None:
    pickled = io.BytesIO()
    np.save(pickled, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        deserializers.NumpyDeserializer().deserialize(body(pickled.getvalue()), "application/x-npy")
    with pytest.raises(NotSupportedError, match="unpickled"):
        deserializers.NumpyDeserializer(allow_pickle=True)
    with pytest.raises(ArgumentError, match="text/html"):
        deserializers.NumpyDeserializer().deserialize(body("x"), "text/html")


def test_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    frame = deserializers.PandasDeserializer().deserialize(body("a,b\n1,2"), "text/csv")
    assert isinstance(frame, pandas.DataFrame)
    assert frame.to_dict("list") == {"a": [1], "b": [2]}


@pytest.mark.parametrize(
    ("name", "accept"),
    [
        ("StringDeserializer", ("application/json",)),
        ("BytesDeserializer", ("*/*",)),
        ("CSVDeserializer", ("text/csv",)),
        ("StreamDeserializer", ("*/*",)),
        ("NumpyDeserializer", ("application/x-npy",)),
        ("JSONDeserializer", ("application/json",)),
        ("PandasDeserializer", ("text/csv", "application/json")),
        ("JSONLinesDeserializer", ("application/jsonlines",)),
    ],
)
def test_accepts_are_sagemakers(name: str, accept: tuple[str, ...]) -> None:
    assert tuple(getattr(deserializers, name)().ACCEPT) == accept
