"""The filters of transform jobs."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.contract.errors import ClientError
from wildsage.platform.filters import Filters, selector

LINES = "application/jsonlines"


def filters(content_type: str = LINES, accept: str = LINES, **processing: str) -> Filters:
    return Filters.of(processing, content_type, accept)


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("$.a", {"a": 1}, 1),
        ("$['a']", {"a": [2]}, [2]),
        ("$.a.b[0]", {"a": {"b": [7]}}, 7),
        ("$[1:]", [1, 2, 3], [2, 3]),
        ("$[-1]", [1, 2], 2),
        ("$['a','b']", {"a": 1, "b": 2}, [1, 2]),
        ("$.*", {"a": 1, "b": 2}, [1, 2]),
        ("$[5:]", [1], []),
    ],
)
def test_paths(path: str, value: Any, found: Any) -> None:
    select = selector(path, "InputFilter")
    assert select is not None
    assert select(value) == found


def test_the_whole_is_not_touched() -> None:
    assert filters().before(b'{ "a":1 }', "f") == b'{ "a":1 }'
    assert filters().after(b"anything", [b"x", b"y"]) == b"anything"


def test_csv_columns() -> None:
    both = filters("text/csv", "text/csv", InputFilter="$[1:]", JoinSource="Input", OutputFilter="$[0,-1]")
    assert both.before(b'id1,"a,b",2', "f") == b'"a,b",2'
    assert both.after(b"0.5\n0.7\n", [b'id1,"a,b",2', b"id2,c,3"]) == b"id1,0.5\nid2,0.7"


def test_json_is_joined_under_its_own_key() -> None:
    joined = filters(JoinSource="Input").after(b'{"p": 1}\n[2]', [b'{"id": 1}', b"[3]"])
    assert list(map(json.loads, joined.splitlines())) == [{"id": 1, "SageMakerOutput": {"p": 1}}, [3, 2]]
    odd = filters(JoinSource="Input").after(b"4", [b"3"])
    assert json.loads(odd) == {"SageMakerInput": 3, "SageMakerOutput": 4}


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ClientError, match="not a JSONPath"):
        filters(InputFilter="$[")
    with pytest.raises(ClientError, match="cannot be filtered"):
        filters("image/png", InputFilter="$.a")
    with pytest.raises(ClientError, match="cannot join"):
        filters("text/csv", LINES, JoinSource="Input")
    with pytest.raises(ClientError, match=r"f, record 1: InputFilter .* finds nothing"):
        filters(InputFilter="$.a").before(b'{"b": 1}', "f, record 1")
    with pytest.raises(ClientError, match="3 lines for 2 records"):
        filters(OutputFilter="$.a").after(b"1\n2\n3", [b"1", b"2"])


@given(path=st.text("$.[]'*:,ab0-@?() ", max_size=12), value=st.binary(max_size=12))
def test_any_path_and_any_bytes_give_a_result_or_a_client_error(path: str, value: bytes) -> None:
    with suppress(ClientError):
        filters(InputFilter="$" + path).before(value, "f")
