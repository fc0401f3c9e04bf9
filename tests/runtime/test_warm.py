"""Kernels at install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


def test_check_tells_what_is_missing_until_the_warm_up_has_compiled_it(tmp_path: Path) -> None:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "wildsage.runtime.warm", *arguments, "blazingtext"]
        environment = {**os.environ, "WILDSAGE_CACHE": str(tmp_path)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    for _ in range(2):  # to ask compiles nothing
        answer = call("--check")
        assert answer.returncode == 1
        assert "wildsage.algorithms.blazingtext.kernels.supervised." in answer.stdout
    assert call().returncode == 0
    answer = call("--check")
    assert (answer.returncode, answer.stdout) == (0, "every kernel is compiled\n")
