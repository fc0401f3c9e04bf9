from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.contract.errors import AlgorithmError, ClientError, DataError, InternalServerError
from wildsage.contract.failure import PREFIXES, failure_text, read_failure, write_failure, write_success


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ClientError("k = 0 is not allowed"), "ClientError: k = 0 is not allowed"),
        (DataError("bad", file="a.txt", line=3), "ClientError: a.txt, line 3: bad"),
        (ClientError("one\n two\n\nthree"), "ClientError: one; two; three"),
        (AlgorithmError("no"), "AlgorithmError: no"),
        (InternalServerError("no"), "InternalServerError: no"),
        (KeyError("x"), "AlgorithmError: an unexpected error, KeyError: 'x'; its traceback is on the log"),
        (ValueError(), "AlgorithmError: an unexpected error, ValueError; its traceback is on the log"),
        (
            MemoryError("5 GB"),
            "InternalServerError: the machine's memory is used up (5 GB); use less data, or a machine with more",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "/m/model.bin"),
            "InternalServerError: the disk is full while writing /m/model.bin; free some space and start again",
        ),
        (
            FileNotFoundError(2, "No such file", "x"),
            "AlgorithmError: an unexpected error, FileNotFoundError: [Errno 2]",
        ),
    ],
)
def test_an_error_says_who_can_fix_it(error: Exception, text: str) -> None:
    assert failure_text(error).startswith(text)


@given(st.text())
def test_a_reason_is_one_line_and_starts_with_its_prefix(text: str) -> None:
    for family in (ClientError, AlgorithmError, InternalServerError, ValueError):
        reason = failure_text(family(text))
        assert reason.startswith(PREFIXES)
        assert len(reason.splitlines()) == 1


def test_the_first_1024_characters_are_read(tmp_path: Path) -> None:
    path = tmp_path / "output" / "failure"
    assert read_failure(path) is None
    write_failure(path, ClientError("é" * 2000))
    reason = read_failure(path)
    assert reason is not None
    assert (len(reason), reason[:14], reason[-1]) == (1024, "ClientError: é", "é")
    assert len(path.read_text()) > 2000


@given(raw=st.binary(max_size=5000))
def test_any_bytes_are_read(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.mktemp("output") / "failure"
    path.write_bytes(raw)
    reason = read_failure(path)
    assert reason is None or 0 < len(reason) <= 1024


def test_a_text_is_written_as_it_is(tmp_path: Path) -> None:
    write_failure(tmp_path / "failure", "Framework Error: \nlines")
    assert read_failure(tmp_path / "failure") == "Framework Error: \nlines"
    write_success(tmp_path / "success")
    assert (tmp_path / "success").read_bytes() == b""
