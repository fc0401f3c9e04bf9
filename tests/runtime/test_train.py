"""Training jobs as real processes, with an algorithm that a third party's package registers."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest

from tests.algorithms.jobs import Listener
from tests.runtime.third_party import environment, install, lay_out, start
from tests.waiting import until
from wildsage.contract import machine
from wildsage.contract.builtins import table
from wildsage.contract.channels import Channel, InputMode
from wildsage.contract.files import beside_name
from wildsage.contract.hyperparameters import Hyperparameters
from wildsage.contract.layout import Layout
from wildsage.contract.metrics import read_metrics
from wildsage.contract.resources import Resources
from wildsage.runtime import train

LINE = re.compile(r"\[\d\d/\d\d/\d{4} \d\d:\d\d:\d\d [A-Z]+ \d+\] ")


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    folder = tmp_path / "packages"
    folder.mkdir()
    return install(folder)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "ml"
    folder.mkdir()
    return folder


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    return process.returncode, output


def failure(base: Path) -> str:
    return (base / "output" / "failure").read_text()


def test_a_job_leaves_model_metrics_summary_and_success(packages: Path, base: Path) -> None:
    code, output = finish(start(packages, lay_out(base, rounds="2", weight="0.5")))
    assert code == 0, output
    assert json.loads((base / "model" / "counts.json").read_text()) == {"a": 2.0, "b": 1.0, "c": 1.0}
    assert (base / "output" / "success").exists()
    assert not (base / "output" / "failure").exists()
    records = read_metrics(base / "output" / "metrics.jsonl")
    assert [(record.name, record.value, record.epoch) for record in records] == [
        ("train:words", 2.0, 1),
        ("train:words", 4.0, 2),
    ]
    summary = json.loads((base / "output" / "summary.json").read_text())
    assert summary["words"] == 3
    assert summary["seconds"].keys() == {"count", "start", "save", "total"}
    progress = json.loads((base / "output" / "progress.json").read_text())
    assert (progress["done"], progress["total"], progress["unit"]) == (2, 2, "rounds")
    lines = output.splitlines()
    assert all(LINE.match(line) for line in lines), output
    assert lines[0].endswith("Starting training of counting")
    assert '"rounds":2' in output
    assert "Channel train: 1 file, 8 bytes" in output
    assert "#quality_metric: host=algo-1, epoch=2, train words <score>=4" in output
    ended = r"Completed after .* s, peak memory [0-9.]+ [MG]B; the model is saved: 1 file, \d+ bytes"
    assert re.search(ended, lines[-1])
    assert sorted(path.name for path in base.iterdir()) == ["checkpoints", "input", "model", "output"]


def test_metrics_of_a_run_that_left_half_a_checkpoint_are_not_told_twice(packages: Path, base: Path) -> None:
    lay_out(base, rounds="2", weight="0.5")
    for folder in ("checkpoints", "output"):
        (base / folder).mkdir(exist_ok=True)
    beside_name(base / "checkpoints" / "state.json").write_text("half")
    told = {"name": "train:words", "value": 2.0, "epoch": 1, "timestamp": 1.0}
    (base / "output" / "metrics.jsonl").write_text(json.dumps(told) + "\n")
    code, output = finish(start(packages, base))
    assert code == 0, output
    assert [record.epoch for record in read_metrics(base / "output" / "metrics.jsonl")] == [1, 2]


def test_all_that_is_wrong_is_told_at_once_in_one_line(packages: Path, base: Path) -> None:
    lay_out(base, train=None, rounds="0", behavior="crash", weight="heavy")
    code, output = finish(start(packages, base))
    assert code == 1
    reason = failure(base)
    assert reason.startswith("ClientError: ")
    assert "\n" not in reason
    assert "rounds = 0 is not allowed: an integer, 1 or more" in reason
    assert 'behavior is not a hyperparameter of Counting; did you mean "behaviour"?' in reason
    assert 'weight = "heavy" is not allowed: a number, above 0 and 10 or less' in reason
    assert 'channel "train" is missing' in reason
    assert "Traceback" not in output
    assert reason in output


def test_a_rule_over_several_hyperparameters_is_told_in_its_own_words(packages: Path, base: Path) -> None:
    code, _ = finish(start(packages, lay_out(base, rounds="3", limit="2")))
    assert (code, failure(base)) == (1, "ClientError: limit must not be below rounds")


def test_broken_json_is_told_with_its_place(packages: Path, base: Path) -> None:
    lay_out(base)
    (base / "input" / "config" / "hyperparameters.json").write_text('{"rounds":\n "3",}')
    code, output = finish(start(packages, base))
    assert code == 1
    assert "hyperparameters.json, line 2, column" in failure(base)
    assert "Traceback" not in output


def test_bad_data_is_told_with_file_and_line(packages: Path, base: Path) -> None:
    code, output = finish(start(packages, lay_out(base, train="good\nbad\n", rounds="1")))
    assert code == 1
    assert failure(base).endswith(": train/words.txt, line 2: a bad word")
    assert "Traceback" not in output


def test_an_empty_channel_is_refused(packages: Path, base: Path) -> None:
    lay_out(base, rounds="1")
    (base / "input" / "data" / "train" / "words.txt").unlink()
    code, _ = finish(start(packages, base))
    assert (code, failure(base).split(" in ")[0]) == (1, 'ClientError: channel "train" has no files')


def test_a_crash_leaves_a_traceback_on_the_log_and_one_line_in_the_file(packages: Path, base: Path) -> None:
    code, output = finish(start(packages, lay_out(base, rounds="1", behaviour="crash")))
    assert code == 1
    assert failure(base).startswith("AlgorithmError: an unexpected error, ZeroDivisionError: the second line of; the")
    assert "Traceback" in output
    assert "counting.py" in output
    assert not list((base / "model").iterdir())


def test_an_algorithm_that_calls_exit_has_failed(packages: Path, base: Path) -> None:
    code, _ = finish(start(packages, lay_out(base, rounds="1", behaviour="exit")))
    assert code == 1
    assert failure(base).startswith("AlgorithmError: ")


@pytest.mark.parametrize(("behaviour", "said"), [("memory", "memory is used up"), ("disk", "the disk is full")])
def test_what_the_machine_lacks_is_told_without_a_traceback(
    packages: Path, base: Path, behaviour: str, said: str
) -> None:
    code, output = finish(start(packages, lay_out(base, rounds="1", behaviour=behaviour)))
    assert code == 1
    assert failure(base).startswith("InternalServerError: ")
    assert said in failure(base)
    assert "Traceback" not in output


def test_what_cannot_fit_is_refused_with_advice(packages: Path, base: Path) -> None:
    code, _ = finish(start(packages, lay_out(base, rounds="1", needs_bytes=str(10**15))))
    assert code == 1
    assert re.fullmatch(
        r"ClientError: training needs about 1000000 GB of memory and .* is available: lower needs_bytes", failure(base)
    )


def test_an_unknown_algorithm_is_told_with_the_nearest(packages: Path, base: Path) -> None:
    command = [sys.executable, "-m", "wildsage.runtime.train", "--algorithm", "countin"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = subprocess.Popen(command, env=environment(packages, lay_out(base)), text=True, **streams)
    code, _ = finish(process)
    assert code == 1
    assert 'did you mean "counting"?' in failure(base)


def test_sigterm_saves_the_model_and_a_later_start_resumes(packages: Path, base: Path) -> None:
    lay_out(base, rounds="3", behaviour="wait")
    process = start(packages, base)
    assert process.stdout is not None
    for line in process.stdout:
        if line.endswith("waiting\n"):
            break
    process.send_signal(signal.SIGTERM)
    code, output = finish(process)
    assert code == 0, output
    assert "SIGTERM: stopping after a checkpoint" in output
    assert "Stopped after" in output
    assert json.loads((base / "model" / "counts.json").read_text())["a"] == 2.0

    code, output = finish(start(packages, lay_out(base, rounds="3")))
    assert code == 0, output
    assert "resumed after 1 rounds" in output
    assert json.loads((base / "model" / "counts.json").read_text())["a"] == 6.0
    assert [record.epoch for record in read_metrics(base / "output" / "metrics.jsonl")] == [1, 2, 3]


def test_a_stop_too_soon_for_a_model_is_no_failure(packages: Path, base: Path) -> None:
    process = start(packages, lay_out(base, train="\n", rounds="3", behaviour="wait"))
    assert process.stdout is not None
    for line in process.stdout:
        if line.endswith("waiting\n"):
            break
    process.send_signal(signal.SIGTERM)
    code, output = finish(process)
    assert code == 0, output
    assert "Stopped without a model: no words" in output
    assert not (base / "output" / "failure").exists()
    assert not (base / "output" / "success").exists()


def test_a_second_sigterm_ends_at_once(packages: Path, base: Path) -> None:
    counting = packages / "counting.py"
    counting.write_text(counting.read_text().replace("context.stop.wait(60)", "__import__('time').sleep(60)"))
    process = start(packages, lay_out(base, rounds="3", behaviour="wait"))
    assert process.stdout is not None
    for expected in ("waiting\n", "SIGTERM: stopping after a checkpoint\n"):
        for line in process.stdout:
            if line.endswith(expected):
                break
        process.send_signal(signal.SIGTERM)
    code, _ = finish(process)
    assert code == 128 + signal.SIGTERM


def test_a_start_forgets_the_ending_of_an_earlier_one(packages: Path, base: Path) -> None:
    lay_out(base, rounds="1")
    (base / "output").mkdir()
    (base / "output" / "failure").write_text("ClientError: old")
    (base / "model").mkdir()
    (base / "model" / "stale.bin").write_text("old")
    code, output = finish(start(packages, base))
    assert code == 0, output
    assert not (base / "output" / "failure").exists()
    assert [path.name for path in (base / "model").iterdir()] == ["counts.json"]


def test_a_model_folder_that_cannot_be_renamed_gets_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container, where the folder is a mount point."""
    folder = tmp_path / "model"
    (folder / "old").mkdir(parents=True)
    (folder / "old" / "stale").write_text("")
    (folder / "model.bin").write_text("old")

    def refuse(source: Path, target: Path) -> None:
        raise OSError(16, "Device or resource busy", str(source))

    class TwoFiles:
        def save(self, staging: Path) -> None:
            (staging / "model.bin").write_text("new")
            (staging / "more").mkdir()
            (staging / "more" / "labels.txt").write_text("labels")

    monkeypatch.setattr(os, "rename", refuse)
    assert train.save(TwoFiles(), folder)[:2] == (2, 9)
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == [
        "model.bin",
        "more",
        "more/labels.txt",
    ]
    assert (folder / "model.bin").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_failed_save_leaves_the_old_model(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.bin").write_text("old")

    class Broken:
        def save(self, staging: Path) -> None:
            (staging / "model.bin").write_text("half")
            raise MemoryError

    with pytest.raises(MemoryError):
        train.save(Broken(), folder)
    assert (folder / "model.bin").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_stop_before_training_leaves_no_model(
    packages: Path, base: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.syspath_prepend(str(packages))
    layout = Layout(lay_out(base, rounds="1"))
    stop = Event()
    stop.set()
    assert train.run("counting", layout, stop) == 0
    assert "Stopped before training began: there is no model" in caplog.text
    assert not list(layout.model.iterdir())


def test_input_modes_are_held_to_the_table(tmp_path: Path) -> None:
    validation = Channel("validation", tmp_path, input_mode=InputMode.PIPE)
    fast = Channel("train", tmp_path, input_mode=InputMode.FAST_FILE)
    problems = train.mode_problems({"validation": validation, "train": fast}, table("blazingtext"))
    assert problems == ['channel "validation": input mode Pipe is not allowed: FastFile, File']


def test_a_model_with_holes_is_measured_by_what_it_takes_of_the_disk(tmp_path: Path) -> None:
    class Hollow:
        def save(self, folder: Path) -> None:
            with (folder / "model.bin").open("wb") as file:
                file.write(bytes(1000))
                file.truncate(100 << 20)

    files, total, taken = train.save(Hollow(), tmp_path / "model")  # type: ignore[arg-type]
    assert (files, total) == (1, 100 << 20)
    assert taken < total / 10


def test_the_log_shows_that_the_job_runs_before_it_has_ended(packages: Path, base: Path) -> None:
    process = start(packages, lay_out(base, rounds="1", behaviour="wait"))
    try:
        assert process.stdout is not None
        assert process.stdout.readline().endswith("Starting training of counting\n")
        until(lambda: (base / "output" / "metrics.jsonl").exists() and read_metrics(base / "output" / "metrics.jsonl"))
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


def test_the_log_is_utf_8_in_any_locale(packages: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    code, output = finish(start(packages, lay_out(base, größe="1")))
    assert code == 1
    assert "größe is not a hyperparameter" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(("kind", "gpus", "device", "told"), [
    ("ml.g5.xlarge", 0, "cpu", 1), ("ml.g5.xlarge", 1, "cuda", 0), ("ml.c5.large", 1, "cpu", 0), (None, 0, "cpu", 0),
])  # fmt: skip
def test_an_instance_type_with_a_gpu_asks_for_one(
    kind: str | None, gpus: int, device: str, told: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: gpus)
    report = Listener()
    resources = Resources(current_instance_type=kind)
    context = train.make_context(Hyperparameters(), {}, Layout(tmp_path), resources, report, Event())  # type: ignore[arg-type]
    assert context.device == device
    assert [f"instance type {kind} has a GPU, and this machine has none" in line for line in report.lines] == [
        True
    ] * told
