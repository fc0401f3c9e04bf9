"""Calls of the command line within the test's process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.third_party import environment, install
from wildsage import quickstart, samples
from wildsage.cli.app import run


@dataclass(frozen=True)
class Result:
    """How a command went."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Call = Callable[..., Result]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run `wildsage …` here; its exit code and what it wrote."""

    def call(*arguments: str | Path) -> Result:
        monkeypatch.setattr(sys, "argv", ["wildsage", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            run()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tests' own algorithm, for this process and those that it starts."""
    packages = tmp_path / "packages"
    packages.mkdir()
    install(packages)
    monkeypatch.setenv("PYTHONPATH", environment(packages)["PYTHONPATH"])
    monkeypatch.setattr(sys, "path", [str(packages), *sys.path])
    return packages


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small train and validation file."""
    folder = tmp_path_factory.mktemp("files")
    parts = samples.split(samples.reviews())
    quickstart.write_lines(parts.train[:400], folder / "train.txt")
    quickstart.write_lines(parts.validation[:80], folder / "validation.txt")
    return {"train": folder / "train.txt", "validation": folder / "validation.txt"}
