"""The reporter: what stands on the log and what in the files."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.contract.builtins import table
from wildsage.contract.errors import ClientError
from wildsage.contract.layout import Layout
from wildsage.contract.metrics import read_metrics, scan
from wildsage.contract.pictures import Picture, explained_variance, read_pictures, scores
from wildsage.runtime.report import JobReporter, count, duration, plain, size


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def report(tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> Iterator[JobReporter]:
    caplog.set_level(logging.INFO)
    reporter = JobReporter(Layout(tmp_path), table=table("blazingtext"), clock=clock, stopwatch=clock)
    yield reporter
    reporter.close()


def test_a_metric_stands_on_the_log_in_its_published_form(
    report: JobReporter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    report.metric("validation:accuracy", 0.9721, epoch=3)
    assert caplog.messages == ["#validation_accuracy: 0.9721"]
    found = list(scan(caplog.messages, table("blazingtext").metric_definitions))
    assert [(record.name, record.value) for record in found] == [("validation:accuracy", 0.9721)]
    # It is in the file while the job still runs.
    (record,) = read_metrics(Layout(tmp_path).metrics)
    assert (record.name, record.value, record.epoch, record.timestamp) == ("validation:accuracy", 0.9721, 3, 1000.0)


def test_a_metric_that_the_table_lacks_has_the_common_form(
    report: JobReporter, caplog: pytest.LogCaptureFixture
) -> None:
    report.metric("validation:mse", 0.25)
    assert caplog.messages == ["#quality_metric: host=algo-1, validation mse <loss>=0.25"]


def test_a_metric_that_is_not_finite_is_null_in_json(
    report: JobReporter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    report.metric("train:accuracy", math.nan)
    report.metric("train:accuracy", math.inf)
    assert caplog.messages == ["#train_accuracy: nan", "#train_accuracy: inf"]
    lines = Layout(tmp_path).metrics.read_text().splitlines()
    assert [json.loads(line)["value"] for line in lines] == [None, None]
    assert all(math.isnan(record.value) for record in read_metrics(Layout(tmp_path).metrics))


def test_progress_has_a_rate_and_the_time_left(
    report: JobReporter, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    report.progress(0, 5_000_000, unit="words")
    clock.now += 2
    report.progress(2_000_000, 5_000_000, unit="words", learning_rate=0.031)
    assert caplog.messages == [
        "2.00 million of 5.00 million words, 40 %, 1.00 million words/s, 3 s left, learning rate 0.031"
    ]
    assert json.loads(Layout(tmp_path).progress.read_text()) == {
        "done": 2_000_000,
        "total": 5_000_000,
        "unit": "words",
        "figures": {"learning_rate": 0.031},
        "timestamp": 1002.0,
    }


def test_progress_is_written_once_a_second_and_at_the_end(
    report: JobReporter, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1000):
        report.progress(number, 1000, unit="rows")
        clock.now += 0.01
    seen = len(caplog.messages)
    assert seen == 9
    report.progress(1000, 1000, unit="rows")
    report.progress(1000, 1000, unit="rows")
    assert len(caplog.messages) == seen + 1
    assert caplog.messages[-1] == "1,000 of 1,000 rows, 100 %, 100 rows/s"
    assert json.loads(Layout(tmp_path).progress.read_text())["done"] == 1000


def test_a_long_job_leaves_few_lines(report: JobReporter, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(7200):
        report.progress(number, 7200, unit="rows")
        clock.now += 1
    assert 60 < len(caplog.messages) < 200


def test_a_resumed_job_counts_its_rate_from_where_it_began(
    report: JobReporter, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    report.progress(900, 1000, unit="rows")
    clock.now += 5
    report.progress(950, 1000, unit="rows")
    assert caplog.messages == ["950 of 1,000 rows, 95 %, 10 rows/s, 5 s left"]


def test_an_algorithm_may_know_better(report: JobReporter, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    report.progress(0, 1000, unit="rows")
    clock.now += 5
    report.progress(500, 1000, unit="rows", rows_per_second=250, seconds_left=2.0, seen=123_456, loss=math.nan)
    assert caplog.messages == ["500 of 1,000 rows, 50 %, 250 rows/s, 2 s left, seen 123,456, loss nan"]


def test_the_rate_of_a_unit_that_is_no_identifier_is_told_once(
    report: JobReporter, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    report.progress(0, 100, unit="non-zeros")
    clock.now += 5
    report.progress(50, 100, unit="non-zeros", non_zeros_per_second=10)
    assert caplog.messages == ["50 of 100 non-zeros, 50 %, 10 non-zeros/s, 5 s left"]


def test_the_summary_grows(report: JobReporter, tmp_path: Path) -> None:
    report.summary(best_epoch=4, seconds={"read": 0.5})
    report.summary(seconds={"save": 0.25}, accuracy=math.nan)
    assert json.loads(Layout(tmp_path).summary.read_text()) == {
        "best_epoch": 4,
        "seconds": {"read": 0.5, "save": 0.25},
        "accuracy": None,
    }


def test_a_picture_takes_the_place_of_its_namesake(report: JobReporter, tmp_path: Path) -> None:
    report.picture(explained_variance([0.5]))
    report.picture(scores({"score": [1, 2]}))
    report.picture(explained_variance([0.7, 0.2]))
    found = read_pictures(Layout(tmp_path).pictures)
    assert found == [explained_variance([0.7, 0.2]), scores({"score": [1, 2]})]


def test_a_picture_that_cannot_be_drawn_does_no_harm_to_others(report: JobReporter, tmp_path: Path) -> None:
    report.picture(explained_variance([0.5]))
    with pytest.raises(ClientError, match="no panels"):
        report.picture(Picture("x", "t", []))
    report.picture(scores({"score": [1, 2]}))
    assert [each.name for each in read_pictures(Layout(tmp_path).pictures)] == ["explained-variance", "scores"]


def test_threads_may_report_at_once(report: JobReporter, tmp_path: Path) -> None:
    def work(number: int) -> None:
        for step in range(50):
            report.metric("train:accuracy", step, epoch=number)
            report.progress(step, 50, unit="steps")
            report.summary(**{f"thread{number}": step})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert len(read_metrics(Layout(tmp_path).metrics)) == 200
    assert json.loads(Layout(tmp_path).summary.read_text()) == {f"thread{number}": 49 for number in range(4)}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    )
)
def test_plain_is_strict_json(value: object) -> None:
    json.dumps(plain(value), allow_nan=False)


def test_plain_takes_numpy() -> None:
    numpy = pytest.importorskip("numpy")
    assert plain({"a": numpy.float32(0.5), "b": numpy.arange(2), "c": numpy.float64("nan")}) == {
        "a": 0.5,
        "b": [0, 1],
        "c": None,
    }


def test_quantities_are_readable() -> None:
    assert [count(value) for value in (3, 0.5, 12_345, 1_234_567, 2.5e9)] == [
        "3",
        "0.5",
        "12,345",
        "1.23 million",
        "2.50 billion",
    ]
    assert [duration(value) for value in (0.042, 9.96, 59.6, 3599, 12_000)] == [
        "0.042 s",
        "10 s",
        "1 min 0 s",
        "59 min 59 s",
        "3 h 20 min",
    ]
    assert [size(value) for value in (12, 1234, 34_000_000, 999_999_999, 5.6e9)] == [
        "12 bytes",
        "1.2 kB",
        "34 MB",
        "1000 MB",
        "5.6 GB",
    ]
