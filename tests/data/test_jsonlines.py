"""JSON Lines: features dense and sparse, in the short form and the long."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.channels import JSON_LINES, batches, numbers, put, whole
from wildsage.contract.errors import DataError
from wildsage.data import prefetch
from wildsage.data.batch import SparseRows
from wildsage.data.jsonlines import row_of, write_json_lines
from wildsage.data.readers import read_body


def test_the_forms_of_a_line() -> None:
    content = (
        b'{"features": [1, 2.5, 0], "label": 1}\n\r\n'
        b'{"data": {"features": {"values": [1, 2, 3]}, "label": 2}}\r\n'
        b'{"data": {"features": {"keys": [2], "shape": [3], "values": [7]}}, "label": [3]}\n'
        b'{"features": {"values": [4, 5, 6]}, "label": {"values": [4]}}'
    )
    batch = read_body(content, JSON_LINES, label_width=1)
    assert batch.dense().tolist() == [[1, 2.5, 0], [1, 2, 3], [0, 0, 7], [4, 5, 6]]
    assert batch.labels is not None
    assert batch.labels.tolist() == [1, 2, 3, 4]
    assert str(batch.error(1, "x")) == "the request, line 3: x"
    assert read_body(content, JSON_LINES).labels is None


def test_sparse_and_weighted() -> None:
    first = b'{"data": {"features": {"keys": [1], "shape": [3], "values": [7]}}, "weight": 2}'
    content = first + b'\n{"features": [1, 2, 3], "weight": 3}'
    batch = read_body(content, JSON_LINES)
    assert isinstance(batch.features, SparseRows)
    assert batch.dense().tolist() == [[0, 7, 0], [1, 2, 3]]
    assert batch.weights is not None
    assert batch.weights.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "wanted is"),
        ("[1, 2]", "wanted is"),
        ("{}", "there are no features"),
        ('{"features": ["a", 2]}', "wanted is"),
        ('{"features": [1]}', "1 features, but the channel has 2"),
        ('{"features": [null, 1], "label": 1}', "column 1: NaN and infinity"),
        ('{"features": [1, 1e39], "label": 1}', "column 2: NaN and infinity"),
        ('{"features": [1, 2]}', "0 labels, but the channel's first line has 1"),
        ('{"features": {"keys": [2], "shape": [2], "values": [7]}, "label": 1}', "key 2 is not allowed: 0 to 1"),
        ('{"features": {"keys": [0, 1], "shape": [2], "values": [7]}, "label": 1}', "2 keys for 1 values"),
        ('{"features": {"keys": [0], "values": [7]}, "label": 1}', "needs a shape"),
        ('{"features": {"keys": [-1], "shape": [2], "values": [7]}, "label": 1}', "keys are to be places"),
        ('{"features": {"keys": [0], "shape": [-2], "values": [7]}, "label": 1}', "shape [-2] is not allowed"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(line: str, reason: str) -> None:
    with pytest.raises(DataError, match=f"^the request, line 2.*{re.escape(reason)}"):
        read_body(b'{"features": [1, 2], "label": 1}\n' + line.encode(), JSON_LINES, label_width=1)


def test_null_may_be_nan() -> None:
    rows = read_body(b'{"features": [null, 1]}', JSON_LINES, missing="nan").dense()
    np.testing.assert_array_equal(rows, [[np.nan, 1]])


def test_an_instance_of_a_request_has_the_same_forms() -> None:
    row = row_of({"data": {"features": {"keys": [1], "shape": [3], "values": [7]}}})
    assert (row.features.values.tolist(), row.features.shape) == ([7], (3,))
    assert row_of({"features": [1, 2]}).features.values.tolist() == [1, 2]
    with pytest.raises(DataError, match=r"wanted is"):
        row_of([1, 2])


@pytest.mark.parametrize("piece", [1, 100, 10_000])
@pytest.mark.parametrize("sparse", [False, True])
def test_what_is_written_is_read_again(
    tmp_path: Path, piece: int, sparse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "PIECE", piece)
    rows, labels = numbers(30, 4), np.arange(30, dtype=np.float32)
    columns = np.tile(np.arange(4, dtype=np.int32), 30)
    file = io.BytesIO()
    write_json_lines(file, SparseRows(np.arange(31) * 4, columns, rows.reshape(-1), 4) if sparse else rows, labels)
    channel = put(tmp_path, {"a.jsonl": file.getvalue(), "b.jsonl": file.getvalue()}, JSON_LINES)
    assert [len(batch) for batch in batches(channel)] == [7] * 8 + [4]
    batch = whole(channel, threads=2)
    np.testing.assert_array_equal(batch.dense(), np.concatenate([rows, rows]))
    np.testing.assert_array_equal(batch.labels, np.concatenate([labels, labels]))  # type: ignore[arg-type]
    assert isinstance(batch.features, SparseRows) == sparse


@given(st.binary(max_size=100))
def test_any_bytes_give_rows_or_an_error(content: bytes) -> None:
    with contextlib.suppress(DataError):
        read_body(content, JSON_LINES)


@given(st.data())
def test_mutated_rows_give_rows_or_an_error(data: st.DataObject) -> None:
    content = bytearray(b'{"features": [1, 2.5], "label": 1}\n')
    content += b'{"data": {"features": {"keys": [1], "shape": [2], "values": [7]}}}'
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.sampled_from(b'01.-e:,[]{}"\n') | st.integers(0, 255))
    with contextlib.suppress(DataError):
        read_body(bytes(content), JSON_LINES, label_width=data.draw(st.integers(0, 1)))
