"""Metrics by regex from logs of any kind, regexes without an end among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from wildsage.contract.metrics import MetricDefinition
from wildsage.engines.run_folder import LOG
from wildsage.platform import log_metrics

ENDLESS = MetricDefinition("endless", r"((a+)+)$")
LOSS = MetricDefinition("loss", r"loss=(\S+)")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "src"))
    (tmp_path / LOG).write_text("loss=0.5\n" + "a" * 60 + "!\nloss=inf\nloss=none\n")
    return tmp_path


@pytest.mark.parametrize("trusted", [[], [LOSS]])
def test_values_in_order(folder: Path, trusted: list[MetricDefinition]) -> None:
    found = log_metrics.read(folder, [LOSS], trusted=trusted, at=3.0)
    assert [(record.name, record.value, record.timestamp) for record in found] == [
        ("loss", 0.5, 3.0),
        ("loss", float("inf"), 3.0),
    ]


def test_a_regex_without_end_is_left_out_and_said_so_once(folder: Path) -> None:
    for _ in range(2):
        found = log_metrics.read(folder, [ENDLESS, LOSS], trusted=[], at=3.0)
        assert [record.value for record in found] == [0.5, float("inf")]
    said = (folder / LOG).read_text().splitlines()[4:]
    assert said == ['metric "endless" is left out: its regex "((a+)+)$" takes too long on this log']


def test_a_line_without_end_is_cut(folder: Path) -> None:
    (folder / LOG).write_text("x" * 3_000_000 + " loss=1\nloss=2\n")
    slow_by_length = MetricDefinition("loss", r"(?:.*)loss=(\S+)")
    found = log_metrics.read(folder, [slow_by_length], trusted=[slow_by_length], at=3.0)
    assert [record.value for record in found] == [2.0]


def test_a_run_without_a_log(tmp_path: Path) -> None:
    assert log_metrics.read(tmp_path, [LOSS], trusted=[], at=3.0) == []


def test_a_log_that_is_no_text(folder: Path) -> None:
    (folder / LOG).write_bytes(b"\xff\xfeloss=1\n\x00loss=2")
    assert [record.value for record in log_metrics.read(folder, [LOSS], trusted=[], at=3.0)] == [1.0, 2.0]
