from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Iterator

import pytest

from wildsage.contract import log


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    # pytest's own handlers must not be closed with the rest.
    root.handlers.clear()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines_logged() -> list[str]:
    stream = io.StringIO()
    log.configure(stream)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING):
        logging.getLogger("somebody").log(level, "text")
    return stream.getvalue().splitlines()


def test_lines_have_the_built_ins_form(monkeypatch: pytest.MonkeyPatch) -> None:
    number = os.getpid()
    monkeypatch.delenv(log.LEVEL_VARIABLE, raising=False)
    first, second = lines_logged()
    assert re.fullmatch(rf"\[\d\d/\d\d/\d{{4}} \d\d:\d\d:\d\d INFO {number}\] text", first)
    assert f" WARNING {number}] text" in second


@pytest.mark.parametrize(("level", "count"), [("10", 3), ("30", 1), ("", 2), ("info", 2), ("²", 2)])
def test_the_level_is_the_environments(level: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(log.LEVEL_VARIABLE, level)
    assert len(lines_logged()) == count
