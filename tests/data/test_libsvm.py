"""libsvm: rows as they are written, and what is wrong with its place."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.channels import LIBSVM, batches, numbers, put, whole
from wildsage.contract.errors import ClientError, DataError
from wildsage.data import prefetch
from wildsage.data.batch import SparseRows
from wildsage.data.libsvm import write_libsvm
from wildsage.data.readers import open_channel, read_body


def test_lines_of_many_forms() -> None:
    content = b"1 0:1.5 3:-2 # what follows is a remark\r\n\r\n-1\n+2.5  1:1e2\t2:.5 \n0 #1:2\n3 0:1"
    batch = read_body(content, LIBSVM, label_width=1)
    assert batch.dense().tolist() == [[1.5, 0, 0, -2], [0] * 4, [0, 100, 0.5, 0], [0] * 4, [1, 0, 0, 0]][:5]
    assert batch.labels is not None
    assert batch.labels.tolist() == [1, -1, 2.5, 0, 3]
    assert [str(batch.error(row, "x")) for row in (1, 4)] == ["the request, line 3: x", "the request, line 6: x"]


def test_weights_and_labels_that_are_left_out() -> None:
    batch = read_body(b"1:0.5 0:2\n0:2 1:3\n", LIBSVM, label_width=1)
    assert batch.weights is not None
    assert (batch.weights.tolist(), batch.dense().tolist()) == ([0.5, 2], [[2, 0], [0, 3]])
    request = read_body(b"0:5.1 1:3.5\n7 1:2\n", LIBSVM, feature_dim=3)
    assert (request.labels, request.dense().tolist()) == (
        None,
        np.array([[5.1, 3.5, 0], [0, 2, 0]], np.float32).tolist(),
    )


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("piece", [1, 50, 3000])
def test_pieces_of_any_size_give_the_same_rows(
    tmp_path: Path, threads: int, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "PIECE", piece)
    monkeypatch.setattr(prefetch, "SLACK", 7)
    rows = numbers(50, 9)
    rows[rows < 0] = 0
    rows[3] = 0
    rows[0, 8] = 0
    labels = np.arange(50, dtype=np.float32)
    file = io.BytesIO()
    write_libsvm(file, rows, labels)
    channel = put(tmp_path, {"a": file.getvalue(), "b": file.getvalue()}, LIBSVM)
    stream = open_channel(channel, batch_rows=11, threads=threads)
    assert stream.feature_dim is None
    assert [len(batch) for batch in stream] == [11] * 9 + [1]
    assert (stream.feature_dim, stream.rows) == (9, 100)
    together = whole(channel, threads=threads)
    np.testing.assert_array_equal(together.dense(), np.concatenate([rows, rows]))
    np.testing.assert_array_equal(together.labels, np.concatenate([labels, labels]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "where", "reason"),
    [
        ("x 0:1", 1, '"x" is not a number'),
        ("1 0", 3, '"0" is not allowed: INDEX:VALUE, such as 3:0.5'),
        ("1 :5", 3, '":5" is not allowed: INDEX:VALUE'),
        ("1 -1:5", 3, '"-1:5" is not allowed: INDEX:VALUE'),
        ("1 qid:5", 3, '"qid:5" is not allowed: INDEX:VALUE'),
        ("1 0:1 5:1", 7, 'the index of "5:1" is not allowed: 0 to 4'),
        ("1 99999999999999999999:1", 3, "is not allowed: 0 to 4"),
        ("1 0:a", 3, '"0:a" is not a number'),
        ("1 0:", 3, '"0:" is not a number'),
        ("1 0:1:2", 3, '"0:1:2" is not a number'),
        ("1 0:nan", 3, '"0:nan" is not allowed: a finite number'),
        ("1 0:1e39", None, '"1e39" is too large for a 32-bit float'),
        ("nan 0:1", 1, '"nan" is not allowed: a finite number'),
        ("1:2 0:1", 1, '"1:2" has a weight, but the channel\'s first line has none'),
        ("# nothing", 10, "the line has no label"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(line: str, where: int | None, reason: str) -> None:
    place = "line 3" if where is None else f"line 3, column {where}"
    with pytest.raises(DataError, match=f"^the request, {place}: .*{re.escape(reason)}"):
        read_body(f"1 4:1\n0\n{line}\n".encode(), LIBSVM, label_width=1, feature_dim=5)


def test_weights_that_some_lines_lack() -> None:
    with pytest.raises(DataError, match=r"line 2, column 1: .*no weight"):
        read_body(b"1:2 0:1\n1 0:1\n", LIBSVM, label_width=1)


def test_what_is_missing_may_be_nan() -> None:
    rows = read_body(b"1 0:nan 1:1e39\n2 1:inf\n", LIBSVM, label_width=1, missing="nan").dense()
    np.testing.assert_array_equal(rows, [[np.nan, np.nan], [0, np.nan]])


def test_many_numbers_of_many_digits() -> None:
    values = np.random.default_rng(0).random(20_000)
    line = b"1 " + b" ".join(b"%d:%.25f" % (number, value) for number, value in enumerate(values))
    rows = read_body(b"1 0:1\n" + line + b"\n" + line, LIBSVM, label_width=1).dense()
    np.testing.assert_array_equal(rows[1:], [values.astype(np.float32)] * 2)


@given(st.binary(max_size=100))
def test_any_bytes_give_rows_or_an_error(content: bytes) -> None:
    for labels in (0, 1):
        with contextlib.suppress(DataError):
            read_body(content, LIBSVM, label_width=labels)


@given(st.data())
def test_mutated_rows_give_rows_or_an_error(data: st.DataObject) -> None:
    content = bytearray(b"1 0:1.5 3:-2 # x\n\r\n-1\n+2.5  1:1e2\t2:.5 \n")
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.sampled_from(b"0159.,-+e:# \n\r\tnaif") | st.integers(0, 255))
    try:
        rows: Any = read_body(bytes(content), LIBSVM, label_width=1)
    except DataError:
        return
    assert np.isfinite(rows.features.values).all()


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0)


@given(st.lists(st.lists(FLOATS, min_size=4, max_size=4), min_size=1), st.booleans())
def test_what_is_written_is_read_again(rows: list[list[float]], weighted: bool) -> None:
    array = np.array(rows, np.float32)
    features, labels, weights = array[:, 2:], array[:, 0], array[:, 1]
    file = io.BytesIO()
    write_libsvm(file, features, labels, weights if weighted else None)
    batch = read_body(file.getvalue(), LIBSVM, label_width=1, feature_dim=2)
    np.testing.assert_array_equal(batch.dense(), features)
    np.testing.assert_array_equal(batch.labels, labels)  # type: ignore[arg-type]
    if weighted:
        np.testing.assert_allclose(batch.weights, weights)  # type: ignore[arg-type]
    again = io.BytesIO()
    assert isinstance(batch.features, SparseRows)
    write_libsvm(again, batch.features, labels, weights if weighted else None)
    assert again.getvalue() == file.getvalue()


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(ClientError, match=r"one a row"):
        write_libsvm(io.BytesIO(), np.zeros((2, 3), np.float32), np.zeros(3))


def test_real_data(data_folder: Path, tmp_path: Path) -> None:
    import gzip

    content = (data_folder / "abalone" / "abalone.libsvm.gz").read_bytes()
    channel = put(tmp_path, {"abalone.gz": content}, LIBSVM)
    batch = whole(channel)
    lines = gzip.decompress(content).decode().splitlines()
    assert len(batch) == len(lines)
    for row in (0, 100, len(lines) - 1):
        label, *pairs = lines[row].split()
        assert batch.labels is not None
        assert batch.labels[row] == np.float32(label)
        expected = np.zeros(batch.features.shape[1], np.float32)
        for pair in pairs:
            index, value = pair.split(":")
            expected[int(index)] = float(value)
        np.testing.assert_array_equal(batch.dense()[row], expected)
    assert len(batches(channel, batch_rows=1000)) == -(-len(lines) // 1000)
