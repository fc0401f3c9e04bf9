from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import json_values
from wildsage.contract.errors import DataError
from wildsage.contract.files import parse_json, read_json, read_json_object, shown, write_atomically, write_json


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        value = parse_json(raw, file="a.json")
    except DataError as error:
        told = str(error)
    else:
        told = f"a.json {json.dumps(value, allow_nan=False)}"
    assert told.startswith("a.json")


@given(value=json_values)
def test_what_is_written_is_read(value: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("json") / "value.json"
    write_json(path, value)
    assert read_json(path) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1,\n "b" 2}', "x.json, line 2, column 6: not valid JSON: Expecting ':' delimiter"),
        ('{"a":\n', "(the file ends there)"),
        ("", "(the file ends there)"),
        ('{"a": 1, "a": 2}', 'the key "a" is there twice'),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ("[" * 100_000, "nested too deeply"),
        ("1" * 5000, "not valid JSON"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, reason: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_json(text, file="x.json")
    assert reason in str(caught.value)


def test_bytes_that_are_not_utf_8_are_told() -> None:
    with pytest.raises(DataError, match=r"x.json, byte 2: the text is not UTF-8"):
        parse_json(b'{"\xff', file="x.json")


def test_a_byte_order_mark_is_no_error() -> None:
    assert parse_json("\ufeff{}".encode()) == {}


def test_another_kind_of_value_is_told(tmp_path: Path) -> None:
    write_json(tmp_path / "list.json", [1])
    with pytest.raises(DataError, match="a list is not allowed: one object, names to values"):
        read_json_object(tmp_path / "list.json", "names to values")


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_atomically(path, "old")
    path.chmod(0o444)
    with pytest.raises(ValueError, match="Out of range"):
        write_json(path, float("nan"))
    write_atomically(path, "new \udcff")
    assert path.read_text() == "new \\udcff"
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(path, "never", durable=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.json"]


def test_long_values_are_cut() -> None:
    assert len(shown("x" * 1000)) == 100
    assert shown("\ud800") == '"\\ud800"'
