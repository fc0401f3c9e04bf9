"""Kernels at install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.third_party import environment, install
from wildsage.algorithms import registry
from wildsage.contract.errors import ClientError
from wildsage.kernels import kernel
from wildsage.runtime import warm


def test_it_compiles_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert warm.main(["blazingtext"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "blazingtext: compiling kernels"
    assert told[1].startswith("blazingtext: ready after ")
    assert str(kernel.cache_folder()) in told[2]
    assert kernel.missing("wildsage") == []
    assert warm.main(["--check", "blazingtext"]) == 0


def test_a_name_that_there_is_not_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert warm.main(["blazingtxt"]) == 1
    assert "blazingtxt" in capsys.readouterr().out


ALGORITHM = """
from counting import Counting
from halving.kernels import half

class Halving(Counting):
    name = "halving"

    @classmethod
    def warm_up(cls):
        half(1.0)
"""
KERNELS = """
from wildsage.kernels.kernel import kernel

@kernel
def half(x):
    return x * 0.5
"""


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """An algorithm with one kernel, since all of BlazingText's take half a minute to compile."""
    folder = tmp_path / "packages"
    folder.mkdir()
    install(folder)
    (folder / "halving").mkdir()
    (folder / "halving" / "__init__.py").write_text(ALGORITHM)
    (folder / "halving" / "kernels.py").write_text(KERNELS)
    entry_points = folder / "counting-1.0.dist-info" / "entry_points.txt"
    entry_points.write_text(entry_points.read_text() + "halving = halving:Halving\n")
    return folder


def test_check_tells_what_is_missing_until_the_warm_up_has_compiled_it(packages: Path, tmp_path: Path) -> None:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "wildsage.runtime.warm", *arguments, "halving"]
        variables = {**environment(packages), "WILDSAGE_CACHE": str(tmp_path / "cache")}
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)

    for _ in range(2):  # to ask compiles nothing
        answer = call("--check")
        assert (answer.returncode, answer.stdout) == (1, "halving.kernels.half\n"), answer.stderr
    assert call().returncode == 0
    answer = call("--check")
    assert (answer.returncode, answer.stdout) == (0, "every kernel is compiled\n")


def test_of_all_algorithms_one_without_its_extra_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Lacking:
        @classmethod
        def warm_up(cls) -> None:
            raise ClientError('lacking needs the package nowhere: pip install "wildsage[lacking]"')

    monkeypatch.setattr(registry, "names", lambda: ["lacking"])
    monkeypatch.setattr(registry, "get", lambda name: Lacking)
    assert warm.main([]) == 0
    assert "lacking: left out: lacking needs the package nowhere" in capsys.readouterr().out
    assert warm.main(["lacking"]) == 1
