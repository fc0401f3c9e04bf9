"""Files of a run's folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.contract.errors import InternalServerError
from wildsage.engines import run_folder
from wildsage.engines.base import Cause, Ending, Phase, Specification
from wildsage.engines.run_folder import Record, last_log_lines

endings = st.builds(Ending, st.sampled_from(Cause), st.none() | st.integers(), st.none() | st.integers(), st.text())
records = st.builds(
    Record,
    token=st.text(),
    pid=st.integers(),
    identity=st.text(),
    phase=st.sampled_from(Phase),
    created_at=st.floats(allow_nan=False, allow_infinity=False),
    ending=st.none() | endings,
    address=st.none() | st.tuples(st.text(), st.integers(0, 65535)),
)


@given(records)
def test_records_come_back_as_they_were(record: Record) -> None:
    assert Record.from_json(json.loads(json.dumps(asdict(record)))) == record


@given(content=st.binary())
def test_any_bytes_are_a_record_or_none(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("run")
    (folder / "state.json").write_bytes(content)
    assert run_folder.read_record(folder) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(list(asdict(Record("", 0, "")))), inner),
)


@given(value=json_values)
def test_any_json_is_a_record_or_none(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    folder = tmp_path_factory.mktemp("run")
    (folder / "state.json").write_text(json.dumps(value))
    run_folder.read_record(folder)


def test_specifications_come_back_as_they_were() -> None:
    specification = Specification(
        "name", Path("/x"), ("a", "b"), MappingProxyType({"K": "v"}), 3.5, 2.0, ("::1", 0), True, "m:f", "m:g", (78,)
    )
    back = run_folder.specification_from_json(json.loads(json.dumps(run_folder.specification_to_json(specification))))
    assert back == specification
    plain = Specification("name", Path("/x"), ("a",))
    assert run_folder.specification_from_json(run_folder.specification_to_json(plain)) == plain


def test_a_state_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    path = tmp_path / run_folder.STATE
    path.mkdir()
    with pytest.raises(InternalServerError, match=r"state\.json cannot be written"):
        run_folder.write_record(tmp_path, Record("token", 1, "identity"))
    assert list(tmp_path.iterdir()) == [path]


def test_a_record_is_not_written_into_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(InternalServerError, match="cannot be written: No such file"):
        run_folder.write_record(tmp_path / "gone", Record("token", 1, "identity"))
    assert not (tmp_path / "gone").exists()


def test_only_the_owner_may_read_a_specification(tmp_path: Path) -> None:
    run_folder.write_specification(tmp_path, Specification("name", tmp_path, ("a",), {"SECRET": "x"}))
    assert (tmp_path / run_folder.SPECIFICATION).stat().st_mode & 0o777 == 0o600


@given(lines=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r"))), count=st.integers(0, 9))
def test_the_last_lines_of_a_log(tmp_path_factory: pytest.TempPathFactory, lines: list[str], count: int) -> None:
    folder = tmp_path_factory.mktemp("run")
    (folder / "log").write_text("\n".join(lines), "utf-8")
    wanted = [line.rstrip() for line in lines if line.strip()]
    assert last_log_lines(folder, count) == (wanted[-count:] if count else [])


def test_the_last_lines_of_a_long_log(tmp_path: Path) -> None:
    assert last_log_lines(tmp_path, 5) == []
    with open(tmp_path / "log", "wb") as file:
        file.write(b"".join(b"line %d \xff\n" % i for i in range(100_000)))
        file.write(b"\n 10 %\r 50 %\r100 %\r\n")
    assert last_log_lines(tmp_path, 3) == ["line 99998 \ufffd", "line 99999 \ufffd", "100 %"]


def test_the_lock(tmp_path: Path) -> None:
    assert not run_folder.is_held(tmp_path)
    run_folder.wait_until_free(tmp_path)
    assert run_folder.acquire(tmp_path) is not None
    assert run_folder.is_held(tmp_path)
    assert run_folder.acquire(tmp_path) is None
