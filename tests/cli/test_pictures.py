"""`wildsage plot` on real jobs."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.test_plots import size_of
from wildsage.cli.pictures import pictures_of


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WILDSAGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "src"))  # of jobs, which start in another folder
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_explained_variance_and_projections_of_a_job(call: Call, home: Path) -> None:
    rng = random.Random(1)
    rows = [[rng.gauss(0, 3), rng.gauss(5, 2), rng.gauss(0, 1)] for _ in range(200)]
    (home / "train.csv").write_text("".join(f"{a},{b},{c}\n" for a, b, c in rows))
    said = call("train", "pca", "train=train.csv", "num_components=2", "--name", "p")
    assert said.code == 0, said.err
    assert call("plot", "p", "--list").out == "explained-variance\tExplained variance\n"
    said = call("plot", "p", "--data", "train.csv", "--output", "pictures", "--dpi", "50", "--json")
    assert said.code == 0, said.err
    assert [each["name"] for each in said.json] == ["explained-variance", "projections"]
    files = [Path(each["file"]) for each in said.json]
    assert files == [Path("pictures/p-explained-variance.png"), Path("pictures/p-projections.png")]
    assert [size_of(file) for file in files] == [(600, 210), (300, 210)]
    said = call("plot", "p", "explaned-variance")
    assert said.code == 1
    assert 'no picture "explaned-variance"; did you mean "explained-variance"' in said.err
    (home / "bad.csv").write_text("1,2\n")
    assert call("plot", "p", "--data", "bad.csv").code == 1
    assert "No such file" in call("plot", "p", "--data", "none.csv").err


def test_curves_and_confusion_of_a_classifier(call: Call, home: Path, files: dict[str, Path]) -> None:
    channels = [f"train={files['train']}", f"validation={files['validation']}", f"test={files['validation']}"]
    settings = ["mode=supervised", "epochs=3", "min_count=1", "vector_dim=8", "buckets=1000"]
    said = call("train", "blazingtext", *channels, *settings, "--name", "t")
    assert said.code == 0, said.err
    said = call("plot", "t", "--json")
    assert said.code == 0, said.err
    names = [each["name"] for each in said.json]
    assert names[0] == "learning-curves"
    assert "confusion-test" in names
    assert all(size_of(home / each["file"])[0] > 500 for each in said.json)
    assert call("plot", "t", "learning-curves").out == "t-learning-curves.png\n"


def test_a_job_that_there_is_not(call: Call, home: Path) -> None:
    said = call("plot", "nobody")
    assert said.code == 1
    assert "nobody" in said.err


def test_answers_as_pictures() -> None:
    found = pictures_of([{"score": 1.5, "label": "a", "few": [1]}, {"score": 2, "label": "b", "few": [2]}])
    assert [picture.name for picture in found] == ["answers"]
    assert found[0].panels[0].series[0].y == [1.5, 2]
    (found,) = (pictures_of([{"projection": [1, 2, 3]}, {"projection": [4, 5, 6]}]),)
    assert (found[0].panels[0].series[0].x, found[0].panels[0].series[0].y) == ([3, 6], [2, 5])
    assert pictures_of([]) == pictures_of(["text"]) == pictures_of([{"label": "a"}]) == []
