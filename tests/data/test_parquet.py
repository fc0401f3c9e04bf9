"""Parquet: numbers of any type, names, missing values, and what is wrong with its place."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.channels import PARQUET, batches, numbers, pipes, put, whole
from wildsage.contract.errors import DataError
from wildsage.data.parquet import write_parquet
from wildsage.data.readers import open_channel, read_body

pa = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")


def table(columns: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    pa.parquet.write_table(pa.table(columns), file)
    return file.getvalue()


def test_labels_first_and_names(tmp_path: Path) -> None:
    rows, labels = numbers(50, 3), np.arange(50)
    file = io.BytesIO()
    write_parquet(file, rows, labels, feature_names=["a", "b", "c"])
    channel = put(tmp_path, {"a.parquet": file.getvalue(), "b.parquet": file.getvalue()}, PARQUET)
    stream = open_channel(channel, batch_rows=20)
    assert (stream.feature_names, stream.feature_dim, stream.label_width) == (("a", "b", "c"), 3, 1)
    for _ in range(2):
        assert [len(batch) for batch in stream] == [20] * 5
    batch = whole(channel)
    np.testing.assert_array_equal(batch.dense(), np.concatenate([rows, rows]))
    np.testing.assert_array_equal(batch.labels, np.concatenate([labels, labels]))  # type: ignore[arg-type]
    assert str(batch.error(51, "x")) == "train/b.parquet, record 2: x"
    weighted = whole(channel, weights=True)
    np.testing.assert_array_equal(weighted.weights, batch.dense()[:, 0])  # type: ignore[arg-type]
    shares = [whole(channel, rank=rank, world_size=2, batch_rows=30) for rank in range(2)]
    assert [len(share) for share in shares] == [60, 40]


def test_types_of_numbers() -> None:
    content = table(
        {"y": [True, False], "a": pa.array([1, -2], pa.int8()), "b": pa.array([3, 2**40]), "c": [0.5, 1e30]}
    )
    assert (
        read_body(content, PARQUET).dense().tolist()
        == np.array([[1, 1, 3, 0.5], [0, -2, 2**40, 1e30]], np.float32).tolist()
    )


def test_what_is_wrong_is_named_with_its_place() -> None:
    with pytest.raises(DataError, match=r'^the request, column 2: column "b" is of type .*string: numbers are wanted'):
        read_body(table({"a": [1], "b": ["x"]}), PARQUET)
    with pytest.raises(DataError, match=r'^the request, record 2, column 1: column "a" has no value'):
        read_body(table({"a": [1, None], "b": [1, 2]}), PARQUET)
    with pytest.raises(DataError, match=r'^the request, record 1, column 2: column "b" has a value that is not'):
        read_body(table({"a": [1, 2], "b": [1e300, 2]}), PARQUET)
    with pytest.raises(DataError, match=r"^the request: not read as Parquet"):
        read_body(b"no parquet", PARQUET)
    with pytest.raises(DataError, match=r'^the request, record 2, column 1: column "a" has no value'):
        read_body(table({"a": [1, None], "b": [1, 2]}), PARQUET, label_width=1, missing="nan")
    rows = read_body(table({"a": [1.0, None], "b": [1e300, 2]}), PARQUET, missing="nan").dense()
    np.testing.assert_array_equal(rows, [[1, np.nan], [np.nan, 2]])


def test_files_of_other_columns(tmp_path: Path) -> None:
    channel = put(tmp_path, {"a": table({"y": [1], "a": [1]}), "b": table({"y": [1], "a": [1], "b": [2]})}, PARQUET)
    with pytest.raises(DataError, match=r"^train/b: 3 columns, but the channel's first file has 2"):
        whole(channel)


def test_pipes(tmp_path: Path) -> None:
    rows = numbers(500, 4)
    file = io.BytesIO()
    write_parquet(file, rows)
    with pipes(tmp_path, [file.getvalue()] * 2, PARQUET) as channel:
        stream = open_channel(channel, batch_rows=100, label_width=0)
        for _ in range(2):
            np.testing.assert_array_equal(np.concatenate([batch.dense().copy() for batch in stream]), rows)


def test_leaving_early_ends_the_reader(tmp_path: Path) -> None:
    channel = put(tmp_path, {"a": table({"y": list(range(1000)), "a": list(range(1000))})}, PARQUET)
    for _ in open_channel(channel, batch_rows=3):
        break
    assert len(batches(channel, batch_rows=300)) == 4


@given(st.data())
def test_mutated_files_give_rows_or_an_error(data: st.DataObject) -> None:
    content = bytearray(table({"a": [1, 2, 3], "b": [1.0, 2, 3]}))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DataError):
        read_body(bytes(content), PARQUET)
