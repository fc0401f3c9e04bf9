"""Requests of rows: every form in, every form out."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.assets.measuring import Measuring
from wildsage.contract.content_types import CSV, JSON, JSON_LINES, LIBSVM, PARQUET, RECORDIO_PROTOBUF
from wildsage.contract.errors import ClientError
from wildsage.data.batch import SparseRows
from wildsage.data.csv import write_csv
from wildsage.data.libsvm import write_libsvm
from wildsage.data.parquet import write_parquet
from wildsage.data.readers import read_body
from wildsage.data.record import Tensor, decode_all
from wildsage.data.recordio import write_numpy_to_dense_tensor, write_spmatrix_to_sparse_tensor
from wildsage.runtime.bodies import RequestError
from wildsage.runtime.forms import form_of
from wildsage.runtime.rows import SMALL, Request, Rows

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False).filter(lambda number: number != 13)
SMALL_NUMBERS = st.integers(-50, 50).filter(lambda number: number != 13 * 8).map(lambda number: number / 8)
ANSWER_TYPES = (JSON, JSON_LINES, CSV, RECORDIO_PROTOBUF)


def form(width: int = 4) -> Rows:
    found = form_of(Measuring(width))
    assert isinstance(found, Rows)
    return found


def answer(asked: Rows, body: bytes, content_type: str = "", accept: str = "") -> bytes:
    request = asked.read(body, content_type, accept)
    return asked.join(request, [asked.part(request, 0, len(request))])


def refusal(asked: Rows, body: bytes, content_type: str = "", accept: str = "") -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        asked.read(body, content_type, accept)
    return caught.value.status, str(caught.value)


def bodies(rows: np.ndarray) -> dict[str, list[bytes]]:
    """The same rows in every form."""
    listed = rows.tolist()
    sparse = read_body(_libsvm(rows), LIBSVM, feature_dim=rows.shape[1]).features
    assert isinstance(sparse, SparseRows)
    long = [{"data": {"features": {"values": row}}} for row in listed]
    short = [{"features": row} for row in listed]
    csv, dense, keyed, parquet = io.BytesIO(), io.BytesIO(), io.BytesIO(), io.BytesIO()
    write_csv(csv, rows)
    write_numpy_to_dense_tensor(dense, rows)
    write_spmatrix_to_sparse_tensor(keyed, sparse)
    write_parquet(parquet, rows)
    forms = (short, long, listed)
    return {
        CSV: [csv.getvalue(), csv.getvalue().replace(b"\n", b"\r\n"), csv.getvalue().removesuffix(b"\n")],
        JSON: [json.dumps({"instances": form}).encode() for form in forms],
        JSON_LINES: ["\n".join(map(json.dumps, form)).encode() for form in forms],
        RECORDIO_PROTOBUF: [dense.getvalue(), keyed.getvalue()],
        LIBSVM: [_libsvm(rows)],
        PARQUET: [parquet.getvalue()],
    }


def _libsvm(rows: np.ndarray) -> bytes:
    file = io.BytesIO()
    write_libsvm(file, rows, np.zeros(len(rows)))
    return file.getvalue()


def values(body: bytes, answer_type: str) -> list[list[float]]:
    """The numbers of an answer's rows."""
    if answer_type == CSV:
        return [[float(field) for field in line.split(",")] for line in body.decode().splitlines()]
    if answer_type == RECORDIO_PROTOBUF:
        records = decode_all(body)
        assert all(record.features == {} for record in records)
        tensors = [record.label.values() for record in records]
        return [[float(str(v)) for t in row if isinstance(t, Tensor) for v in t.values] for row in tensors]
    lines = json.loads(body)["predictions"] if answer_type == JSON else [json.loads(row) for row in body.splitlines()]
    return [[row["total"], row["largest"], *row.get("tenths", [])] for row in lines]


@given(st.data(), st.integers(1, 4), st.integers(1, 5))
def test_all_forms_of_the_same_rows_get_the_same_answers(data: st.DataObject, count: int, width: int) -> None:
    drawn = data.draw(st.lists(st.lists(SMALL_NUMBERS, min_size=width, max_size=width), min_size=count, max_size=count))
    rows = np.array(drawn, np.float32)
    asked = form(width)
    for verbose in ("", "; verbose=true"):
        expected = [
            [float(row.sum()), int(row.argmax()), *([float(str(v)) for v in row / np.float32(10)] if verbose else [])]
            for row in rows
        ]
        for content_type, forms in bodies(rows).items():
            for body in forms:
                for answer_type in ANSWER_TYPES:
                    got = answer(asked, body, content_type, answer_type + verbose)
                    assert values(got, answer_type) == expected


def test_bytes_of_the_published_forms() -> None:
    body = b"1.5,16.0,14.0,23.0\n0.1,0,0,0\n"
    asked = form()
    assert answer(asked, body, CSV, JSON) == b'{"predictions":[{"total":54.5,"largest":3},{"total":0.1,"largest":0}]}'
    assert answer(asked, body, CSV, JSON_LINES) == b'{"total":54.5,"largest":3}\n{"total":0.1,"largest":0}\n'
    assert answer(asked, body, CSV, CSV) == b"54.5,3\n0.1,0\n"
    assert answer(asked, body, CSV, f"{CSV};verbose=true") == b"54.5,3,0.15,1.6,1.4,2.3\n0.1,0,0.01,0.0,0.0,0.0\n"
    float_01, float_0 = b"\xcd\xcc\xcc\x3d", bytes(4)
    payload = (
        b"\x12\x11\x0a\x05total\x12\x08\x12\x06\x0a\x04" + float_01  # label {"total": float32 tensor {values}}
        + b"\x12\x13\x0a\x07largest\x12\x08\x12\x06\x0a\x04" + float_0
    )  # fmt: skip
    frame = b"\x0a\x23\xd7\xce" + len(payload).to_bytes(4, "little") + payload
    assert answer(asked, b"0.1,0,0,0\n", CSV, RECORDIO_PROTOBUF) == frame


@pytest.mark.parametrize(
    ("content_type", "accept", "default", "answer_type"),
    [
        (CSV, "", "", JSON),
        (CSV, "*/*", "", JSON),
        (CSV, "*/*", CSV, CSV),
        (CSV, "application/*", "", JSON),
        (CSV, "text/csv;q=0.5, application/jsonlines", "", JSON_LINES),
        (CSV, "text/html, */*;q=0.1", "", JSON),
        (JSON, "", "", JSON),
        (JSON, CSV, "", CSV),
        (JSON_LINES, "", "", JSON_LINES),
        (JSON_LINES, "", CSV, CSV),
        (JSON_LINES, "*/*", "", JSON_LINES),
        (JSON_LINES, JSON, "", JSON),
        (RECORDIO_PROTOBUF, "", "", RECORDIO_PROTOBUF),
        (RECORDIO_PROTOBUF, JSON, "", JSON),
        (RECORDIO_PROTOBUF, "application/x-recordio-protobuf; verbose=true", "", RECORDIO_PROTOBUF),
        (LIBSVM, "", "", JSON),
    ],
)
def test_the_type_of_the_answer(content_type: str, accept: str, default: str, answer_type: str) -> None:
    body = bodies(np.ones((1, 4), np.float32))[content_type][0]
    assert form_of(Measuring(), default).read(body, content_type, accept).answer_type == answer_type


@pytest.mark.parametrize("content_type", ["", "application/octet-stream", "application/x-www-form-urlencoded"])
def test_a_body_of_no_declared_type_is_looked_into(content_type: str) -> None:
    rows = np.array([[0, 1.5, -2, 4], [1, 0, 0, 1]], np.float32)
    for kind, forms in bodies(rows).items():
        for body in forms:
            if body.startswith(b"[") and kind == JSON_LINES and b"\n" not in body:
                continue
            request = form().read(body, content_type, "")
            np.testing.assert_array_equal(request.rows.dense(), rows)
            if kind != LIBSVM:
                assert request.answer_type == form().read(body, kind, "").answer_type


def test_a_byte_order_mark_and_charsets() -> None:
    asked = form(2)
    assert answer(asked, b"\xef\xbb\xbf1,2\n", CSV, CSV) == b"3.0,1\n"
    assert answer(asked, b"\xef\xbb\xbf1,2\n", "", CSV) == b"3.0,1\n"
    assert answer(asked, "1,2\n".encode("utf-16"), "text/csv; charset=utf-16", CSV) == b"3.0,1\n"
    assert answer(asked, "1,2\n".encode("utf-16"), "text/csv; encoding=utf-16", CSV) == b"3.0,1\n"
    told = 'Content-Type names the charset "klingon", which is not known'
    assert refusal(asked, b"1,2\n", "text/csv; charset=klingon") == (415, told)


def test_labels_of_a_request_are_passed_over() -> None:
    request = form(2).read(b"9,1,2\n", "text/csv; label_size=1", "")
    assert request.rows.dense().tolist() == [[1, 2]]
    assert request.rows.labels is None
    assert form(2).read(b'{"features": [1, 2], "label": 9}', JSON_LINES, "").rows.labels is None


def test_options() -> None:
    asked = form(2)
    assert asked.read(b"1,2", CSV, "application/json; verbose=true").options == {"verbose": "true"}
    assert asked.read(b"1,2", CSV, "application/json; q=0.5").options == {}
    body = b'{"instances": [[1, 2]], "configuration": {"verbose": true}}'
    assert asked.read(body, JSON, "").options == {"verbose": True}
    assert answer(asked, body, JSON, CSV) == b"3.0,1,0.1,0.2\n"
    with pytest.raises(ClientError, match="colour is no option of this model"):
        answer(asked, b"1,2", CSV, "application/json; colour=red")


NUMBER_FORM = '{"features": [1.5, 2.0]}, {"data": {"features": {"values": [1.5, 2.0]}}}, or [1.5, 2.0]'
RECORDS = bodies(np.array([[1, 2], [3, 4]], np.float32))[RECORDIO_PROTOBUF][0]
WIDE = bodies(np.array([[1, 2, 3]], np.float32))[RECORDIO_PROTOBUF]


@pytest.mark.parametrize(
    ("content_type", "body", "told"),
    [
        (CSV, b"1\n", "the request, line 1: 1 columns, but the model takes 2"),
        (CSV, b"1,2\n\n1,2,3\n", "the request, line 3: more than 2 columns, but the model takes 2"),
        (CSV, b"1,2\n3,x\n", 'the request, line 2, column 2: "x" is not a number'),
        (CSV, b"1,2\n3,\n", "the request, line 2, column 2: the field is empty: a number is wanted"),
        (CSV, b"a,b\n1,2\n", 'column 1: "a" is not a number; a header is not allowed: remove line 1'),
        (CSV, b"1,nan\n", "the request, line 1, column 2"),
        (CSV, b"1],[2\n", 'the request, line 1, column 1: "1]" is not a number'),
        (CSV, b"1,1e39\n", 'the request, line 1, column 2: "1e39" is too large for a 32-bit float: up to 3.4e38'),
        ("text/csv; label_size=1", b"1,2\n", "line 1: 2 columns, but the model takes 2, which with labels make 3"),
        (JSON, b'{"instances": [[1, 2], [3]]}', "instance 1: 1 feature, but the model takes 2"),
        (JSON, b'{"instances": [[1, 2], [3, "x"]]}', "instance 1: Expected `float | null`, got `str`"),
        (JSON, b'{"instance": [[1, 2]]}', 'the body has no "instances"; did you mean "instances"?'),
        (JSON, b"[[1, 2]]", 'the body is a JSON list; the form is {"instances": [...]}'),
        (JSON, b'{"instances": [[1, 2]', "the body is not JSON: Input data was truncated"),
        (JSON, b'{"instances": [{"features": [1, 2]}, {}]}', "instance 1: there are no features; wanted is"),
        (JSON_LINES, b'{"features": [1, 2]}\n\n[1]', "the request, line 3: 1 feature, but the model takes 2"),
        (JSON_LINES, b'{"features": [1, 2]}\n\n[1', "the request, line 3 is not JSON"),
        (JSON_LINES, b'[1, 2]\n"x"', 'the request, line 2: "x" is no text of numbers; wanted is'),
        (JSON_LINES, b"[1, 2]\nnull", "the request, line 2: Expected `float | str | object | array`, got `null`"),
        (RECORDIO_PROTOBUF, RECORDS + WIDE[0], "record 3, byte 64: 3 features, but the model takes 2"),
        (RECORDIO_PROTOBUF, WIDE[1], "record 1, byte 0: 3 features, but the model takes 2"),
        (RECORDIO_PROTOBUF, RECORDS[:-3], "the request, byte 32: it ends within a record: it is cut off"),
        (RECORDIO_PROTOBUF, b"1,2\n" * 9, "no RecordIO record begins here"),
        (LIBSVM, b"0:1\n2:1\n", 'the request, line 2, column 1: the index of "2:1" is not allowed: 0 to 1'),
        (PARQUET, b"PAR1", "the request: "),
        (CSV, b" \n", "the request has no body"),
        (JSON, b"", "the request has no body"),
    ],
)
def test_a_bad_body_is_refused_with_its_place(content_type: str, body: bytes, told: str) -> None:
    status, message = refusal(form(2), body, content_type)
    assert status == 400
    assert told in message


def test_types_that_the_model_has_not() -> None:
    status, message = refusal(form(), b"1,2", "text/html")
    assert (status, message[:38]) == (415, 'Content-Type "text/html" is not suppor')
    assert refusal(form(2), b"1,2", CSV, "image/png") == (
        406,
        f'Accept "image/png" cannot be met; the answer can be {JSON}, {JSON_LINES}, {CSV}, {RECORDIO_PROTOBUF}',
    )


def test_an_error_of_the_model_has_the_place_in_the_whole_request() -> None:
    rows = np.ones((10, 4), np.float32)
    rows[7, 2] = 13
    places = {CSV: "the request, line 8", JSON: "instance 7", JSON_LINES: "the request, line 8"}
    places[RECORDIO_PROTOBUF] = "the request, record 8"
    asked = form()
    for content_type, place in places.items():
        for body in bodies(rows)[content_type]:
            request = asked.read(body, content_type, "")
            asked.part(request, 0, 7)
            with pytest.raises(ClientError) as caught:
                asked.part(request, 5, 10)
            assert str(caught.value) == f"{place}, column 3: 13 is not allowed"


@given(st.integers(1, 30), st.lists(st.integers(0, 30), max_size=4), st.sampled_from(ANSWER_TYPES))
def test_slices_join_to_the_whole(count: int, cuts: list[int], answer_type: str) -> None:
    asked = form(3)
    rows = np.arange(3 * count, dtype=np.float32).reshape(count, 3) + np.float32(0.1)
    for body in (bodies(rows)[CSV][0], bodies(rows)[RECORDIO_PROTOBUF][1]):
        request = asked.read(body, "", answer_type)
        edges = sorted({0, count, *(min(cut, count) for cut in cuts)})
        parts = [asked.part(request, begin, end) for begin, end in pairwise(edges)]
        assert asked.join(request, parts) == asked.join(request, [asked.part(request, 0, count)])


def test_requests_are_answered_together_where_their_options_are_alike() -> None:
    model = Measuring(2)
    asked = form_of(model)
    plain, verbose = "application/json", "application/json; verbose=true"
    sparse = bodies(np.array([[0, 5]], np.float32))[RECORDIO_PROTOBUF][1]
    given = [
        (b"1,2\n3,4\n", CSV, plain),
        (b'{"instances": [[5, 6]]}', JSON, verbose),
        (b"[7, 8]", JSON_LINES, plain),
        (b'{"instances": []}', JSON, plain),
        (sparse, RECORDIO_PROTOBUF, plain),
        (b"9,10", CSV, f"{CSV}; verbose=true"),
    ]
    requests = [asked.read(*each) for each in given]
    alone = [asked.join(request, [asked.part(request, 0, len(request))]) for request in requests]
    model.calls.clear()
    assert asked.together(requests) == alone
    assert model.calls == [3, 2, 1]
    assert alone[3] == b'{"predictions":[]}'


@given(st.lists(st.lists(st.sampled_from('0123456789+-.eE ,\r\t[]nax"'), max_size=8).map("".join), max_size=4))
def test_small_csv_is_read_as_the_reader_reads_it(lines: list[str]) -> None:
    body = "\n".join(lines).encode()
    asked = form(2)
    try:
        expected: Any = read_body(body, CSV, feature_dim=2).features.tolist()
    except ClientError:
        expected = None
    if not body.strip():
        return
    try:
        request: Request | None = asked.read(body, CSV, "")
    except RequestError:
        request = None
    assert (None if request is None else request.rows.dense().tolist()) == expected


@given(st.lists(FLOATS, min_size=3, max_size=3), st.sampled_from([repr, "{:.9g}".format, "{:f}".format, str]))
def test_small_csv_has_the_readers_numbers(numbers: list[float], written: Any) -> None:
    body = ",".join(written(number) for number in numbers).encode()
    small = form(3).read(body, CSV, "").rows
    whole = read_body(body, CSV, feature_dim=3)
    np.testing.assert_array_equal(small.dense(), whole.dense())
    assert str(small.error(0, "x")) == str(whole.error(0, "x"))


def test_large_csv_and_blank_lines_have_the_same_places() -> None:
    for count in (3, SMALL):
        body = b"\n1,2\n\n" * count
        request = form(2).read(body, CSV, "")
        assert str(request.rows.error(count - 1, "x")) == f"the request, line {3 * count - 1}: x"


@given(st.binary(max_size=60), st.sampled_from(["", CSV, JSON, JSON_LINES, RECORDIO_PROTOBUF, LIBSVM, PARQUET]))
def test_any_bytes_give_rows_or_a_refusal(body: bytes, content_type: str) -> None:
    asked = form(2)
    try:
        request = asked.read(body, content_type, "")
    except RequestError:
        return
    assert request.rows.dense().shape == (len(request), 2)


class Own(Measuring):
    """Writes some of its answers itself, and has statuses of its own."""

    answers_name: ClassVar[str] = "scores"
    answer_types: ClassVar[tuple[str, ...]] = (CSV, JSON, JSON_LINES, RECORDIO_PROTOBUF)
    empty_status: ClassVar[int] = 204
    bad_body_status: ClassVar[int] = 415
    missing: ClassVar[Any] = "nan"

    def default_answer_type(self, request_type: str) -> str:
        return CSV

    def write(self, columns: Any, answer_type: str) -> list[bytes] | None:
        if answer_type == RECORDIO_PROTOBUF:
            return None
        return [b'"[%d]"' % total for total in columns["total"]]


def test_a_model_may_write_its_answers_itself() -> None:
    asked = form_of(Own(2))
    assert isinstance(asked, Rows)
    assert answer(asked, b"1,2\n3,4\n", CSV) == b'"[3]"\n"[7]"\n'
    assert answer(asked, b"1,2\n3,4\n", CSV, JSON) == b'{"scores":["[3]","[7]"]}'
    assert answer(asked, b"1,2\n3,4\n", CSV, JSON_LINES) == b'"[3]"\n"[7]"\n'
    assert len(decode_all(answer(asked, b"1,2\n3,4\n", CSV, RECORDIO_PROTOBUF))) == 2
    assert asked.read(RECORDS, RECORDIO_PROTOBUF, "").answer_type == CSV
    assert refusal(asked, b"", CSV)[0] == 204
    assert refusal(asked, b"1,x", CSV)[0] == 415
    assert np.isnan(asked.read(b"1,\n", CSV, "").rows.dense()[0, 1])


def test_numbers_that_are_none_are_null_or_empty() -> None:
    class Nothing(Measuring):
        def answer(self, rows: Any, options: Any) -> Any:
            return {"score": np.full(len(rows), np.nan, np.float32), "place": np.ones(len(rows))}

    asked = form_of(Nothing(1))
    assert isinstance(asked, Rows)
    assert answer(asked, b"1\n2\n", CSV, JSON_LINES) == b'{"score":null,"place":1.0}\n' * 2
    assert answer(asked, b"1\n2\n", CSV, CSV) == b",1.0\n" * 2


def test_answers_of_another_number_are_the_models_fault() -> None:
    class Short(Measuring):
        def answer(self, rows: Any, options: Any) -> Any:
            return {"score": np.ones(len(rows) - 1)}

    asked = form_of(Short(1))
    with pytest.raises(RuntimeError, match="the model gave 1 answers score to 2 rows"):
        answer(asked, b"1\n2\n", CSV)


def test_predict_agrees_with_requests(tmp_path: Path) -> None:
    model = Measuring.load(tmp_path)
    instances: list[Any] = [{"features": [0.1, 0, 0, 0]}, [1, 2, 3, 4]]
    body = json.dumps({"instances": instances}).encode()
    assert model.predict(instances, [{}, {}]) == json.loads(answer(form(), body, JSON))["predictions"]
    assert model.predict([], []) == []
