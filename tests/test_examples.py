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
EXPECTED = {
    "abalone_linear_learner.py": r"error on 400 held-out abalones: 2\.[0-3]\d rings",
    "abalone_xgboost.py": r"error on 400 held-out abalones: 2\.[0-3]\d rings",
    "bank_marketing_xgboost.py": r"area under the curve on 4000 held-out calls: 0\.(7[7-9]|8)\d*",
    "breast_cancer_linear_learner.py": r"accuracy on 100 held-out images: (0\.9\d|1\.00)",
    "mnist_kmeans.py": r"0\.(6[5-9]|7)\d* of the digits have the name of their cluster",
    "mnist_knn.py": r"accuracy on 1000 held-out digits: 0\.9[3-9]\d*",
    "mnist_pca.py": r"50 of 784 numbers keep 0\.8[0-4]\d* of the variance",
    "nyc_taxi_randomcutforest.py": r"5 of 5 known events found",
    "sentiment.py": r"accuracy on \d+ held-out reviews: 0\.[6-9]\d*",
}
# Examples whose data do not come with the package: skipped where there is no data folder at all, and only there.
NEEDS_DATA = {
    "bank_marketing_xgboost.py", "mnist_kmeans.py", "mnist_knn.py", "mnist_pca.py", "nyc_taxi_randomcutforest.py"
}  # fmt: skip


def test_every_example_has_a_test() -> None:
    assert set(EXPECTED) == {path.name for path in (ROOT / "examples").glob("*.py")}
    assert set(EXPECTED) >= NEEDS_DATA


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_example(example: Path, home: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(temporary)}
    environment.pop("WILDSAGE_DATA", None)
    if example.name in NEEDS_DATA:
        environment["WILDSAGE_DATA"] = str(request.getfixturevalue("data_folder"))
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


@pytest.mark.parametrize("name", sorted(NEEDS_DATA))
def test_an_example_without_its_data_says_what_is_missing(name: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "WILDSAGE_DATA": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / name)],
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert re.fullmatch(
        rf"{re.escape(str(tmp_path))}/\S+ is missing: set WILDSAGE_DATA to the folder .*\n", done.stderr
    )
