from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import content_type_texts
from wildsage.contract import content_types
from wildsage.contract.content_types import CSV, JSON, JSON_LINES, ContentType, choose, parse, parse_accept
from wildsage.contract.errors import ClientError


def test_parameters_are_read() -> None:
    found = parse('Text/CSV; label_size=0;charset=utf-8 ; header="a;\\"b\\""')
    assert found.name == CSV
    assert found.parameters == {"label_size": "0", "charset": "utf-8", "header": 'a;"b"'}
    assert (found.integer("label_size", 1), found.integer("none", 1), found.charset) == (0, 1, "utf-8")
    assert parse("application/json").charset == "utf-8"
    assert str(parse("text/csv;label_size=0")) == "text/csv; label_size=0"


@pytest.mark.parametrize(
    "text", ["", "text", "text/", "/csv", "text/csv text/csv", "a/b; c", "*/*", "text/*", "a/b,c/d"]
)
def test_what_is_no_content_type_is_refused(text: str) -> None:
    with pytest.raises(ClientError, match="content type"):
        parse(text)


@pytest.mark.parametrize("value", ["-1", "x", "1.5", ""])
def test_a_parameter_that_counts_is_held_to_it(value: str) -> None:
    with pytest.raises(ClientError, match=r"label_size = .* is not allowed: an integer, 0 or more"):
        ContentType(CSV, {"label_size": value}).integer("label_size", 0)


def test_other_spellings_mean_the_published_ones() -> None:
    assert parse("application/x-ndjson").name == JSON_LINES
    assert all(parse(name).name == known for name, known in content_types.SYNONYMS.items())


@given(content_type_texts)
def test_what_is_written_is_read(text: str) -> None:
    found = parse(text)
    assert parse(str(found)) == found


@given(st.text() | st.text(alphabet='ab/*;=", q0.1\\'))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (parse, parse_accept, lambda accept: choose(accept, [JSON, CSV])):
        try:
            read(text)
        except ClientError as error:
            str(error).encode()


OFFERED = [JSON, JSON_LINES, CSV]


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("text/csv", CSV),
        ("TEXT/CSV", CSV),
        ("text/*", CSV),
        ("application/*", JSON),
        ("application/x-ndjson", JSON_LINES),
        ("application/json;q=0.5, text/csv", CSV),
        ("text/csv, application/json", CSV),
        ("text/html, */*;q=0.1", JSON),
        ("*/*, application/json;q=0", JSON_LINES),
        ("application/*;q=0.9, application/json;q=0.1", JSON_LINES),
        ("text/html", None),
        ("application/json;q=0", None),
        ("text/html, image/gif, *; q=.2, */*; q=.2", JSON),
        ("*", JSON),
    ],
)
def test_accept_chooses(accept: str | None, chosen: str | None) -> None:
    found = choose(accept, OFFERED)
    assert (found.name if found else None) == chosen


def test_the_chosen_type_keeps_its_parameters() -> None:
    assert choose("application/json; verbose=true; q=0.5", OFFERED) == ContentType(JSON, {"verbose": "true"})


def test_a_default_is_the_favourite() -> None:
    assert choose("*/*", OFFERED, default=CSV) == ContentType(CSV)
    assert choose(None, [], default=None) is None


@pytest.mark.parametrize(
    "bad", ["application/json;q=2", "application/json;q=x", "application/json;q=", "text", "*/json", "a/b c/d", "*;q=1"]
)
def test_what_is_no_accept_is_passed_over(bad: str) -> None:
    assert choose(f"{bad}, text/csv;q=.2", OFFERED) == ContentType(CSV)
    assert choose(f"x/y, {bad}", OFFERED) is None
    assert choose(bad, OFFERED) == ContentType(JSON)
