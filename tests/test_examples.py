"""Every example runs, as a user would start it, and leaves nothing running."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from wildsage.platform.service import Platform

ROOT = Path(__file__).parents[1]
EXPECTED = {"sentiment.py": r"accuracy on \d+ held-out reviews: 0\.[6-9]\d*"}


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_example(example: Path, home: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(temporary)}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(EXPECTED[example.name], done.stdout), done.stdout
    assert Platform(home).list_endpoints()["Endpoints"] == []
    assert list(temporary.iterdir()) == []
