"""CSV to float32: the bits of NumPy, and what is wrong with its place."""

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

from tests.data.channels import batches, csv_of, numbers, put, whole
from wildsage.contract.errors import DataError
from wildsage.data import prefetch
from wildsage.data.csv import write_csv
from wildsage.data.readers import read_body

SIGNS, EXPONENTS = st.sampled_from(["", "-", "+"]), st.integers(-50, 50)
DIGITS = st.text("0123456789", min_size=1, max_size=25)
TEXTS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr),
    st.floats(allow_nan=False, allow_infinity=False, min_value=-3e38, max_value=3e38).map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.tuples(SIGNS, DIGITS, st.just("."), DIGITS).map("".join),
    st.tuples(SIGNS, st.just("."), DIGITS).map("".join),
    st.tuples(SIGNS, DIGITS, st.just(".")).map("".join),
    st.tuples(SIGNS, DIGITS, st.sampled_from(["e", "E", "e+"]), st.integers(0, 12).map(str)).map("".join),
    st.tuples(SIGNS, DIGITS, st.just("e-"), st.integers(0, 60).map(str)).map("".join),
)


def bits(values: Any) -> list[int]:
    return np.ascontiguousarray(values, np.float32).view(np.uint32).reshape(-1).tolist()


def expected(texts: list[str]) -> list[int]:
    with np.errstate(over="ignore", under="ignore"):
        return bits(np.array([float(text) for text in texts]).astype(np.float32))


@given(st.lists(TEXTS, min_size=1, max_size=20))
def test_numbers_have_the_bits_of_numpy(texts: list[str]) -> None:
    texts = [text for text in texts if abs(float(text)) < 3.4e38] or ["0"]
    assert bits(read_body((",".join(texts) + "\n").encode()).features) == expected(texts)


@given(st.integers(0, 2**31 - 2**23 - 2), st.integers(-3, 3))
def test_numbers_beside_the_middle_of_two_floats_have_the_bits_of_numpy(pattern: int, off: int) -> None:
    low, high = np.array([pattern, pattern + 1], np.uint32).view(np.float32).astype(np.float64)
    middle = np.array([(low + high) / 2])
    near = (middle.view(np.int64) + off).view(np.float64)[0]
    texts = [repr(float(near)), f"{near:.40e}", f"{near:.17g}"]
    assert bits(read_body(",".join(texts).encode()).features) == expected(texts)


def test_many_numbers_have_the_bits_of_numpy() -> None:
    random = np.random.default_rng(1)
    values = random.normal(size=20_000) * 10.0 ** random.integers(-30, 30, 20_000)
    for form in ("%.3f", "%.6g", "%.9g", "%.17g", "%.0f", "%.25f"):
        texts = [form % value for value in values]
        assert bits(read_body(",".join(texts).encode()).features) == expected(texts), form


def test_labels_come_first_then_weights(tmp_path: Path) -> None:
    channel = put(tmp_path, {"a.csv": b"1,2,3,4\n5,6,7,8\n"})
    one = whole(channel)
    assert (one.labels.tolist(), one.weights, one.dense().tolist()) == ([1, 5], None, [[2, 3, 4], [6, 7, 8]])  # type: ignore[union-attr]
    weighted = whole(channel, weights=True)
    assert (weighted.labels.tolist(), weighted.weights.tolist()) == ([1, 5], [2, 6])  # type: ignore[union-attr]
    assert weighted.dense().tolist() == [[3, 4], [7, 8]]
    two = whole(channel, content_type="text/csv; label_size=2")
    assert two.labels.tolist() == [[1, 2], [5, 6]]  # type: ignore[union-attr]
    assert whole(channel, content_type="text/csv;label_size=0").labels is None
    assert whole(channel, label_width=0).dense().shape == (2, 4)


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"1,2\n3,4", [[1, 2], [3, 4]]),
        (b"1,2\r\n3,4\r\n", [[1, 2], [3, 4]]),
        (b"1,2\r\n3,4", [[1, 2], [3, 4]]),
        (b"\xef\xbb\xbf1,2\n3,4\n", [[1, 2], [3, 4]]),
        (b"\n\n1,2\n\r\n\n3,4\n\n\n", [[1, 2], [3, 4]]),
        (b' 1 ,\t2\n"3","4" \n" 5 ",6\n', [[1, 2], [3, 4], [5, 6]]),
        (b"+1,-2\n.5,1.\n1e2,1E-1\n", [[1, -2], [0.5, 1], [100, 0.1]]),
    ],
)
def test_how_rows_may_be_written(content: bytes, rows: list[list[float]]) -> None:
    assert read_body(content).dense().tolist() == np.array(rows, np.float32).tolist()


@pytest.mark.parametrize(
    ("content", "where", "reason"),
    [
        (b"1,2\n3,abc\n", "line 2, column 2", '"abc" is not a number'),
        (b"a,b\n3,4\n", "line 1, column 1", '"a" is not a number; a header is not allowed: remove line 1'),
        (b"M,0.5\nF,4\n", "line 1, column 1", '"M" is not a number; text is to be encoded as numbers'),
        (b"1,2\n3\n", "line 2", "1 columns, but line 1 of the channel has 2"),
        (b"1,2\n\n\n3,4,5\n", "line 4", "more than 2 columns, but line 1 of the channel has 2"),
        (b"1,2\n3,\n", "line 2, column 2", "the field is empty: a number is wanted"),
        (b"1,2\n3,nan\n", "line 2, column 2", '"nan" is not allowed: a number'),
        (b"1,2\n-inf,4\n", "line 2, column 1", '"-inf" is not allowed: a finite number'),
        (b"1,2\n1e39,4\n", "line 2, column 1", '"1e39" is too large for a 32-bit float: up to 3.4e38'),
        (b"1,2\n0x10,4\n", "line 2, column 1", '"0x10" is not a number'),
        (b"1,2\n1_0,4\n", "line 2, column 1", '"1_0" is not a number'),
        (b"1,2\n1 2,4\n", "line 2, column 1", '"1 2" is not a number'),
        (b"1,2\n1.2.3,4\n", "line 2, column 1", '"1.2.3" is not a number'),
        (b"1,2\n--1,4\n", "line 2, column 1", '"--1" is not a number'),
        (b"1,2\n+-1,4\n", "line 2, column 1", '"+-1" is not a number'),
        (b"1,2\n1e,4\n", "line 2, column 1", '"1e" is not a number'),
        (b'1,2\n"1,4\n', "line 2, column 1", "is not a number"),
        (b'1,2\n"1""2",4\n', "line 2, column 1", "is not a number"),
        (b"1,2\n1\x00,4\n", "line 2, column 1", "is not a number"),
        (b"1,2\n\xff\xfe,4\n", "line 2, column 1", "is not a number"),
        (b"1,2\n3,\xe2\x88\x925\n", "line 2, column 2", "is not a number"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(content: bytes, where: str, reason: str) -> None:
    with pytest.raises(DataError, match=f"^the request, {where}: .*{re.escape(reason)}"):
        read_body(content)


def test_what_is_missing_may_be_nan() -> None:
    content = b',1,nan\n2, ,NaN\n3,inf,-Infinity\n4,1e39,""\n'
    rows = read_body(content, missing="nan").dense()
    nan = np.nan
    np.testing.assert_array_equal(rows, [[nan, 1, nan], [2, nan, nan], [3, nan, nan], [4, nan, nan]])


@pytest.mark.parametrize("label", [b"", b"nan", b"inf", b"1e39"])
def test_a_label_is_never_missing(label: bytes) -> None:
    with pytest.raises(DataError, match=r"line 2, column 1: "):
        read_body(b"1,2\n" + label + b",2\n", label_width=1, missing="nan")


def test_delimiters() -> None:
    assert read_body(b"1;2;3\n4;5;6\n", delimiter=None).dense().shape == (2, 3)
    assert read_body(b"1\t2\t\n4\t5\t6\n", delimiter=None, missing="nan").dense().shape == (2, 3)
    assert read_body(b"1|2\n", delimiter="|").dense().tolist() == [[1, 2]]


def test_other_dimensions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^train/a.csv, line 1: 3 columns"):
        whole(put(tmp_path, {"a.csv": b"1,2,3\n"}), feature_dim=4)
    with pytest.raises(DataError, match=r"line 1: more than 2 columns, but the labels and feature_dim make 2"):
        whole(put(tmp_path, {"a.csv": b"1,2,3\n"}), feature_dim=1)
    with pytest.raises(DataError, match=r"leave no feature"):
        whole(put(tmp_path, {"a.csv": b"1\n"}))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("piece", [1, 7, 64, 1000])
def test_pieces_of_any_size_give_the_same_rows(
    tmp_path: Path, threads: int, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "PIECE", piece)
    monkeypatch.setattr(prefetch, "SLACK", 5)
    rows = numbers(83, 3)
    content = csv_of(rows)
    channel = put(
        tmp_path, {"a.csv": content[:-1], "b.csv": b"", "c.csv": b"\n\n" + content.replace(b"\n", b"\r\n\r\n")}
    )
    found = batches(channel, threads=threads, label_width=0, batch_rows=5)
    assert [len(batch) for batch in found] == [5] * 33 + [1]
    together = whole(channel, threads=threads, label_width=0)
    np.testing.assert_array_equal(together.dense(), np.concatenate([rows, rows]))
    assert str(together.error(82, "x")) == "train/a.csv, line 83: x"
    assert str(together.error(84, "x")) == "train/c.csv, line 5: x"


@pytest.mark.parametrize("threads", [1, 2])
def test_the_first_error_is_the_one_told(tmp_path: Path, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "PIECE", 64)
    lines = [b"1,2,3\n"] * 400
    lines[200], lines[300] = b"1,x,3\n", b"1,y,3\n"
    with pytest.raises(DataError, match=r'line 201, column 2: "x"'):
        whole(put(tmp_path, {"a.csv": b"".join(lines)}), threads=threads, batch_rows=3)


@given(st.binary(max_size=200), st.sampled_from(["refuse", "nan"]))
def test_any_bytes_give_rows_or_an_error(content: bytes, missing: Any) -> None:
    with contextlib.suppress(DataError):
        read_body(content, missing=missing)


@given(st.data())
def test_mutated_rows_give_rows_or_an_error(data: st.DataObject) -> None:
    content = bytearray(b'1.5,-2,3e5\n0.25,"4",5\r\n\n6,7,8.125\n')
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.one_of(st.sampled_from(b'0159.,-+eE"\n\r \tnaif'), st.integers(0, 255)))
    try:
        rows = read_body(bytes(content)).dense()
    except DataError:
        return
    assert np.isfinite(rows).all()


def test_a_field_of_megabytes_is_an_error_soon(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not a number"):
        whole(put(tmp_path, {"a.csv": b"1,2\n1," + b"x" * (1 << 22) + b"\n"}))
    with pytest.raises(DataError, match=r"too large"):
        whole(put(tmp_path, {"a.csv": b"1,2\n1," + b"9" * 5000 + b"\n"}))


@given(
    st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3), min_size=1)
)
def test_what_is_written_is_read_again(rows: list[list[float]]) -> None:

    array = np.array(rows, np.float32)
    file = io.BytesIO()
    write_csv(file, array[:, 1:], array[:, 0])
    assert bits(read_body(file.getvalue()).features) == bits(array)
