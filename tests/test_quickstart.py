"""The quickstart: what it finds out, what it leaves, and that nothing of it runs on, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import until
from wildsage import quickstart, samples
from wildsage.contract.errors import ClientError
from wildsage.platform.service import Platform

ROOT = Path(__file__).parents[1]


class Listening:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.results: dict[str, str] = {}
        self.accuracies: list[float] = []

    def step(self, title: str) -> None:
        self.steps.append(title)

    def done(self, title: str, seconds: float, result: str) -> None:
        assert seconds >= 0
        self.results[title] = result

    def epoch(self, number: int, asked: int, validation_accuracy: float) -> None:
        self.accuracies.append(validation_accuracy)
        assert number == len(self.accuracies)
        assert number <= asked


@pytest.fixture
def platform(home: Path) -> Iterator[Platform]:
    with Platform(home) as platform:
        yield platform


def left_running(platform: Platform) -> list[str]:
    """Names of jobs and endpoints that are not at their end."""
    jobs = platform.list_training_jobs()["TrainingJobSummaries"]
    going = [job["TrainingJobName"] for job in jobs if job["TrainingJobStatus"] in ("InProgress", "Stopping")]
    return going + [endpoint["EndpointName"] for endpoint in platform.list_endpoints()["Endpoints"]]


def test_the_whole_tour(platform: Platform, home: Path, tmp_path: Path) -> None:
    listening = Listening()
    outcome = quickstart.run(platform, listening, tmp_path / "files", command="wildsage")

    assert listening.steps == ["Data", "Train", "Deploy", "Ask"] == list(listening.results)
    assert outcome.held_out_accuracy > 0.6
    assert outcome.held_out_accuracy > outcome.majority_accuracy + 0.2
    assert outcome.best_validation_accuracy == pytest.approx(max(listening.accuracies), abs=1e-3)
    assert outcome.epochs_run == len(listening.accuracies)
    assert outcome.early_stopping_saved_epochs == quickstart.HYPERPARAMETERS["epochs"] - outcome.epochs_run
    assert outcome.early_stopping_saved_s is not None
    assert set(outcome.seconds) == {"data", "train", "deploy", "ask", "total"}
    assert [answer.sentiment for answer in outcome.answers] == ["positive", "neutral", "negative"]
    assert Path(outcome.model_file).stat().st_size == outcome.model_bytes
    assert len(outcome.commands) == 3
    assert outcome.commands[2].startswith("curl ")
    assert json.loads(json.dumps(outcome.as_dict()))["job"] == outcome.job

    assert left_running(platform) == []
    assert platform.list_models()["Models"] == []
    assert platform.list_endpoint_configs()["EndpointConfigs"] == []
    with pytest.raises(OSError, match="refused"):
        quickstart.ask(outcome.url, ["anyone there?"])

    held_out = samples.split(samples.reviews()).held_out
    seen = (tmp_path / "files" / "train.txt").read_text() + (tmp_path / "files" / "validation.txt").read_text()
    lines = set(seen.splitlines())
    assert not any(f"__label__{label} {quickstart.tokenise(held_out[0].text)}" in lines for label in (-1, 0, 1))


def test_a_training_that_fails_tells_why(platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(quickstart.HYPERPARAMETERS, "learning_rate", -1)
    with pytest.raises(ClientError, match="learning_rate"):
        quickstart.run(platform, Listening(), tmp_path)
    assert left_running(platform) == []


def test_an_error_while_asking_leaves_no_endpoint(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **more: object) -> list[quickstart.Answer]:
        assert len(platform.list_endpoints()["Endpoints"]) == 1
        raise OSError("no answer")

    monkeypatch.setattr(quickstart, "ask", fail)
    with pytest.raises(OSError, match="no answer"):
        quickstart.run(platform, Listening(), tmp_path)
    assert left_running(platform) == []
    assert platform.list_models()["Models"] == []


@pytest.mark.parametrize(
    ("during", "ended_by"), [("Train", signal.SIGTERM), ("Deploy", signal.SIGINT), ("Deploy", signal.SIGHUP)]
)
def test_an_interrupted_tour_leaves_nothing_running(
    platform: Platform, home: Path, tmp_path: Path, during: str, ended_by: signal.Signals
) -> None:
    code = "import sys; sys.argv = ['wildsage', 'quickstart']; from wildsage.cli import main; main()"
    tour = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        listed = platform.list_training_jobs if during == "Train" else platform.list_endpoints
        key = "TrainingJobSummaries" if during == "Train" else "Endpoints"
        until(lambda: listed()[key] or tour.poll() is not None, 120, f"the tour comes to {during}")
        tour.send_signal(ended_by)
        out, err = tour.communicate(timeout=60)
    finally:
        tour.kill()
    assert tour.returncode == 128 + ended_by, out + err
    assert "Traceback" not in err
    until(lambda: not left_running(platform), what="everything has ended")


def test_tokens_are_parted_by_spaces() -> None:
    assert quickstart.tokenise("I don't LOVE it, sadly:  too small!") == "i do n't love it , sadly : too small !"
