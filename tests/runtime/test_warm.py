"""Kernels at install."""

from __future__ import annotations

import pytest

from wildsage.algorithms import kernel
from wildsage.runtime import warm


def test_it_compiles_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert warm.main(["blazingtext"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "blazingtext: compiling kernels"
    assert told[1].startswith("blazingtext: ready after ")
    assert str(kernel.cache_folder()) in told[2]
    assert kernel.missing("wildsage") == []


def test_a_name_that_there_is_not_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert warm.main(["blazingtxt"]) == 1
    assert "blazingtxt" in capsys.readouterr().out
