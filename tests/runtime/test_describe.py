from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.runtime.third_party import environment, install


def describe(packages: Path, name: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wildsage.runtime.describe", name]
    return subprocess.run(command, env=environment(packages), capture_output=True, text=True, check=False)


def test_a_third_partys_algorithm_describes_itself(tmp_path: Path) -> None:
    answer = describe(install(tmp_path), "Counting")
    assert answer.returncode == 0, answer.stderr
    facts = json.loads(answer.stdout)
    assert facts["name"] == "counting"
    assert facts["required_channels"] == ["train"]
    rows = {row["name"]: row for row in facts["hyperparameters"]}
    assert rows["rounds"]["required"]
    assert rows["rounds"]["allowed"] == "an integer, 1 or more"
    assert rows["limit"]["allowed"] == "an integer, or auto"
    assert rows["weight"] == {
        "name": "weight",
        "type": "float",
        "required": False,
        "default": 1.0,
        "meaning": "what each word counts",
        "minimum": 0,
        "minimum_inclusive": False,
        "maximum": 10,
        "allowed": "a number, above 0 and 10 or less",
    }


def test_an_unknown_name_is_told(tmp_path: Path) -> None:
    answer = describe(tmp_path, "blazingtxt")
    assert answer.returncode == 1
    assert answer.stderr.startswith("ClientError: ")
    assert 'did you mean "blazingtext"?' in answer.stderr
