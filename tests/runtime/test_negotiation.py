"""Bodies to instances and answers to bytes."""

from __future__ import annotations

import csv
import io
import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.runtime.negotiation import CSV, JSON, JSON_LINES, TEXT, Request, RequestError, join, read, write

ALL = (JSON, JSON_LINES, CSV, TEXT)
# What a JSON document can hold and give back.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def ask(body: bytes, content_type: str = "", accept: str = "", types: tuple[str, ...] = ALL) -> Request:
    return read(body, content_type, accept, types)


def refusal(body: bytes, content_type: str = "", accept: str = "", types: tuple[str, ...] = ALL) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        read(body, content_type, accept, types)
    return caught.value.status, str(caught.value)


@given(instances=st.lists(VALUES, max_size=5), configuration=st.dictionaries(TEXTS, VALUES, max_size=3))
@pytest.mark.parametrize(
    "content_type", [JSON, "application/json; charset=utf-8", "APPLICATION/JSON", "", "application/octet-stream"]
)
def test_json_round_trip(content_type: str, instances: list[Any], configuration: dict[str, Any]) -> None:
    body = json.dumps({"instances": instances, "configuration": configuration}).encode()
    request = ask(body, content_type, accept="text/html")
    assert request.instances == instances
    assert request.options == [configuration] * len(instances)
    assert request.answer_type == JSON


@given(
    lines=st.lists(
        st.tuples(VALUES, st.dictionaries(TEXTS.filter(lambda key: key != "source"), VALUES, max_size=2)), min_size=1
    )
)
@pytest.mark.parametrize("content_type", [JSON_LINES, "application/x-ndjson", "application/jsonl"])
def test_json_lines_of_sources(content_type: str, lines: list[tuple[Any, dict[str, Any]]]) -> None:
    body = "\n".join(json.dumps({"source": source, **options}) for source, options in lines).encode()
    request = ask(body, content_type)
    assert request.instances == [source for source, _ in lines]
    assert request.options == [options for _, options in lines]
    assert request.answer_type == JSON_LINES


def test_json_lines_of_bare_values_and_blank_lines() -> None:
    request = ask(b'"a"\r\n\n[1, 2]\n{"features": [1]}\n', JSON_LINES)
    assert request.instances == ["a", [1, 2], {"features": [1]}]
    assert request.options == [{}, {}, {}]


@given(
    rows=st.lists(st.lists(TEXTS.filter(lambda text: "\0" not in text), min_size=1, max_size=3), min_size=1, max_size=5)
)
def test_csv_takes_the_first_column(rows: list[list[str]]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows(rows)
    request = ask(out.getvalue().encode(), "text/csv; label_size=0")
    assert request.instances == [row[0] for row in rows]
    assert request.answer_type == JSON


@given(lines=st.lists(TEXTS.filter(lambda text: "\n" not in text and "\r" not in text), min_size=1))
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_plain_text_is_an_instance_a_line(end: str, lines: list[str]) -> None:
    body = "".join(line + end for line in lines)
    if body.encode().isspace():
        assert refusal(body.encode(), TEXT)[0] == 400
    else:
        assert ask(body.encode(), TEXT).instances == lines
        if lines[-1]:
            assert ask(body.removesuffix(end).encode(), TEXT).instances == lines  # the last line may lack its end


@pytest.mark.parametrize("charset", ["utf-8", "UTF-16", "latin-1", "utf-32-le", "cp1252"])
def test_charsets(charset: str) -> None:
    body = json.dumps({"instances": ["é"]}, ensure_ascii=False).encode(charset)
    assert ask(body, f"application/json; charset={charset}").instances == ["é"]
    assert ask("é\nè".encode(charset), f'text/plain;charset="{charset}"').instances == ["é", "è"]


def test_a_byte_order_mark_is_no_content() -> None:
    for content_type in (JSON, ""):
        assert ask(b'\xef\xbb\xbf{"instances": ["a"]}', content_type).instances == ["a"]
    assert ask(b"\xef\xbb\xbfa", TEXT).instances == ["a"]


@pytest.mark.parametrize("content_type", ["", "application/octet-stream", "application/x-www-form-urlencoded", "*/*"])
@pytest.mark.parametrize(
    ("body", "instances", "answer_type"),
    [
        (b'{"instances": ["a"]}', ["a"], JSON),
        (b' \n{"configuration": {}, "instances": ["a"]}', ["a"], JSON),
        (b'{"source": "a"}', ["a"], JSON_LINES),
        (b'{"source": "a"}\n{"source": "b"}\n', ["a", "b"], JSON_LINES),
        (b'"a"\n"b"', ["a", "b"], JSON_LINES),
        (b"[1, 2]\n[3, 4]", [[1, 2], [3, 4]], JSON_LINES),
        (b"[sic] a text", ["[sic] a text"], JSON),
        (b'"Lovely", she said', ['"Lovely", she said'], JSON),
        (b"one\ntwo, three\n", ["one", "two, three"], JSON),
    ],
)
def test_undeclared_bodies_are_looked_into(
    content_type: str, body: bytes, instances: list[Any], answer_type: str
) -> None:
    request = ask(body, content_type)
    assert (request.instances, request.answer_type) == (instances, answer_type)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "says"),
    [
        (b"", JSON, 400, 'no body; the form is {"instances": [...]}'),
        (b" \n", "", 400, "no body"),
        (b'{"instances": ["a"', JSON, 400, "the body is not JSON: Input data was truncated"),
        (b'{"instances": ["a"]]', "", 400, "the body is not JSON: JSON is malformed: expected ',' or '}' (byte 19)"),
        (b'{"instances": [NaN]}', JSON, 400, "the body is not JSON"),
        (b'{"instances": ["\xff"]}', JSON, 400, "the body is not UTF-8"),
        (b"[" * 5000 + b"]" * 5000, JSON, 400, "nested too deeply"),
        (b'["a"]', JSON, 400, "the body is a JSON list; the form is"),
        (b'["a"]', "", 400, "the body is a JSON list; the form is"),
        (b'"a"', JSON, 400, "the body is a JSON string"),
        (b"3", JSON, 400, "the body is a JSON number"),
        (b'{"instance": ["a"]}', JSON, 400, 'the body has no "instances"; did you mean "instances"?'),
        (b'{"instance": ["a"]}', "", 400, 'the body has no "instances"; did you mean "instances"?'),
        (b'{"instances": "a"}', JSON, 400, '"instances" is a JSON string; it must be a list'),
        (b'{"instances": ["a"], "configuraton": {}}', JSON, 400, 'did you mean "configuration"?'),
        (
            b'{"instances": ["a"], "configuration": 3}',
            JSON,
            400,
            '"configuration" is a JSON number; it must be an object',
        ),
        (b'{"source": "a"}\n{"source"\n', JSON_LINES, 400, "line 2 is not JSON"),
        (b'"a"\n\n"\xff"\n', JSON_LINES, 400, "line 3 is not UTF-8"),
        (b'a,b\n"c', CSV, 400, "line 2 is not CSV"),
        (b"a\xff", TEXT, 400, "the body is not UTF-8: byte 1 is 0xff"),
        (b"a", "image/png", 415, 'Content-Type "image/png" is not supported; allowed: application/json,'),
        (b"a", "aplication/json", 415, 'did you mean "application/json"?'),
        (b"a", "text/plain; charset=klingon", 415, '"klingon"'),
        (b"a", "text/plain; charset=rot13", 415, '"rot-13"'),
        (b"a", "text/plain; charset=idna", 415, '"idna"'),
        (b"\x00\xd8", "text/plain; charset=utf-16-le", 400, "utf-16"),
    ],
)
def test_bad_requests_are_named(body: bytes, content_type: str, status: int, says: str) -> None:
    got, message = refusal(body, content_type)
    assert got == status
    assert says in message


def test_only_the_models_own_types_are_read() -> None:
    assert refusal(b"a", TEXT, types=(JSON,))[0] == 415
    assert refusal(b"a", "", types=(JSON,)) == (
        415,
        'Content-Type "text/plain" is not supported; allowed: application/json',
    )


@pytest.mark.parametrize(
    ("accept", "answer_type"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/json; verbose=true", JSON),
        ("text/csv", CSV),
        ("text/*", CSV),
        ("text/html, application/jsonlines;q=0.5, text/csv;q=0.9", CSV),
        ("text/csv;q=0, */*;q=0.1", JSON),
        ("application/x-ndjson", JSON_LINES),
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", JSON),  # Java's, unasked
    ],
)
def test_accept_chooses_the_answer_to_text(accept: str, answer_type: str) -> None:
    assert ask(b"a", TEXT, accept).answer_type == answer_type
    assert ask(b"a", CSV, accept).answer_type == answer_type


def test_an_accept_that_cannot_be_met() -> None:
    for accept in ("text/html", "image/png;q=1, text/html", "text/csv;q=x, text/html"):
        assert refusal(b"a", TEXT, accept)[0] == 406


def test_the_default_accept_stands_for_a_missing_one() -> None:
    assert read(b"a", TEXT, "", ALL, "text/csv").answer_type == CSV
    assert read(b"a", TEXT, "*/*", ALL, "text/csv").answer_type == CSV
    assert read(b"a", TEXT, "application/json", ALL, "text/csv").answer_type == JSON


@given(
    body=st.binary(max_size=200),
    content_type=st.sampled_from(["", *ALL]) | st.text(max_size=40),
    accept=st.text(max_size=40),
)
def test_any_request_is_read_or_refused(body: bytes, content_type: str, accept: str) -> None:
    try:
        request = ask(body, content_type, accept)
    except RequestError as error:
        assert error.status in (400, 406, 415)  # noqa: PT017
        assert str(error)  # noqa: PT017
    else:
        assert len(request.instances) == len(request.options)
        write(request.instances, request.answer_type)


@given(answers=st.lists(VALUES, max_size=5))
def test_answers_round_trip(answers: list[Any]) -> None:
    assert json.loads(write(answers, JSON)) == answers
    lines = write(answers, JSON_LINES).decode()
    assert [json.loads(line) for line in lines.split("\n")[:-1]] == answers
    assert lines.endswith("\n") or not answers


@given(
    answers=st.lists(st.dictionaries(st.text(max_size=5), st.integers(-9, 9), max_size=3), min_size=1),
    cuts=st.lists(st.integers(1, 20), max_size=4),
    answer_type=st.sampled_from([JSON, JSON_LINES, CSV]),
)
def test_slices_join_to_the_same_answer(answers: list[Any], cuts: list[int], answer_type: str) -> None:
    places = sorted({0, *(cut for cut in cuts if cut < len(answers)), len(answers)})
    parts = [write(answers[start:end], answer_type) for start, end in pairwise(places)]
    assert join(parts, answer_type) == write(answers, answer_type)


def test_numbers_that_are_none_become_null() -> None:
    answers = [{"label": ["a"], "prob": [math.nan, math.inf, 0.5]}]
    assert json.loads(write(answers, JSON)) == [{"label": ["a"], "prob": [None, None, 0.5]}]
    assert write(answers, CSV) == b"a,,,0.5\n"


def test_numpy_values_are_written_as_pythons() -> None:
    answers = [{"score": np.float32(0.5), "vector": np.arange(2, dtype=np.int64)}]
    assert json.loads(write(answers, JSON)) == [{"score": 0.5, "vector": [0, 1]}]
    assert write(answers, CSV) == b"0.5,0,1\n"


def test_an_answer_that_json_cannot_hold() -> None:
    with pytest.raises(TypeError, match="an answer holds a object"):
        write([object()], JSON)


def test_csv_answers_are_quoted() -> None:
    assert write([{"label": ['a,"b'], "prob": [1]}, 3], CSV) == b'"a,""b",1\n3\n'
