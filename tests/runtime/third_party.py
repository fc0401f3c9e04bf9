"""Installs the tests' own algorithms on a path, as pip would: modules beside a dist-info with the entry points."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def install(folder: Path) -> Path:
    """Put the algorithms `counting` and `measuring` into a folder that can be added to PYTHONPATH."""
    for name in ("counting", "measuring"):
        shutil.copy(ROOT / "tests" / "assets" / f"{name}.py", folder)
    info = folder / "counting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[wildsage.algorithms]\ncounting = counting:Counting\nmeasuring = measuring:MeasuringAlgorithm\n"
    )
    return folder


def environment(packages: Path, base: Path | None = None) -> dict[str, str]:
    """The variables of a program that has the algorithm installed, its job below `base`."""
    path = os.pathsep.join([str(packages), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    more = {} if base is None else {"SAGEMAKER_BASE_DIR": str(base)}
    return {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "error", **more}


def lay_out(base: Path, *, train: str | None = "a b a\nc\n", **hyperparameters: str) -> Path:
    """Write what a platform writes for a job: hyperparameters.json, inputdataconfig.json, the data."""
    config = base / "input" / "config"
    config.mkdir(parents=True, exist_ok=True)
    (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
    channels = {}
    if train is not None:
        (base / "input" / "data" / "train").mkdir(parents=True, exist_ok=True)
        (base / "input" / "data" / "train" / "words.txt").write_text(train)
        channels["train"] = {"TrainingInputMode": "File"}
    (config / "inputdataconfig.json").write_text(json.dumps(channels))
    return base


def start(packages: Path, base: Path) -> subprocess.Popen[str]:
    """Start a training job; its log is its standard output."""
    command = [sys.executable, "-m", "wildsage.runtime.train", "--algorithm", "counting"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, env=environment(packages, base), text=True, cwd=base, **streams)
