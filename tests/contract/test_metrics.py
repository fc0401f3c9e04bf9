from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import metric_records
from wildsage.contract.builtins import names, table
from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.metrics import (
    MetricDefinition,
    MetricRecord,
    MetricWriter,
    check_definitions,
    published_line,
    read_metrics,
    scan,
)


@given(records=st.lists(metric_records), cut=st.integers(0, 200))
def test_a_file_that_is_cut_short_loses_its_last_line_only(
    tmp_path_factory: pytest.TempPathFactory, records: list[MetricRecord], cut: int
) -> None:
    path = tmp_path_factory.mktemp("metrics") / "metrics.jsonl"
    writer = MetricWriter(path)
    for record in records:
        writer.write(record)
    writer.close()
    assert read_metrics(path) == records
    raw = path.read_bytes()
    left = raw[: max(0, len(raw) - cut)]
    path.write_bytes(left)
    whole = left.count(b"\n")
    assert read_metrics(path) == records[:whole]
    again = MetricWriter(path)
    again.write(MetricRecord("after", 1.0, 2.0))
    again.close()
    found = read_metrics(path)
    assert found[:whole] == records[:whole]
    assert found[-1].name == "after"


@given(st.binary())
def test_any_line_is_read_or_refused(line: bytes) -> None:
    try:
        record = MetricRecord.from_json(line)
    except DataError:
        return
    assert record.name


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        '{"name": "a", "value": "1", "timestamp": 0}',
        '{"name": "", "value": 1, "timestamp": 0}',
        '{"name": "a", "value": true, "timestamp": 0}',
        '{"name": "a", "value": 1, "timestamp": null}',
        '{"name": "a", "value": 1, "epoch": 1.5, "timestamp": 0}',
        '{"name": "a", "value": 1' + "0" * 400 + ', "timestamp": 0}',
    ],
)
def test_what_is_no_record_is_refused(line: str) -> None:
    with pytest.raises(DataError):
        MetricRecord.from_json(line)


def test_a_value_that_is_not_finite_reads_as_nan() -> None:
    line = MetricRecord("a", math.inf, 5.0).to_json()
    assert line == '{"name": "a", "value": null, "timestamp": 5.0}'
    assert math.isnan(MetricRecord.from_json(line).value)


def test_no_file_means_no_metrics(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_a_log_is_scanned() -> None:
    log = [
        "[01/02/2026 03:04:05 INFO 1] #validation_accuracy: 0.9721",
        "nothing here",
        "#train_accuracy: not-a-number",
        "#train_accuracy: 0.5 of them",
    ]
    found = list(scan(log, table("blazingtext").metric_definitions, clock=lambda: 7.0))
    assert found == [MetricRecord("validation:accuracy", 0.9721, 7.0), MetricRecord("train:accuracy", 0.5, 7.0)]
    optional = MetricDefinition("a", "loss(=[0-9.]+)?")
    assert list(scan(["loss"], [optional])) == []


@given(st.lists(st.text()))
def test_any_lines_are_scanned(lines: list[str]) -> None:
    list(scan(lines, table("linear-learner").metric_definitions))


@pytest.mark.parametrize("name", names())
def test_a_built_ins_own_lines_are_found_by_its_regexes(name: str) -> None:
    for fact in table(name).metrics:
        assert fact.regex is not None
        line = published_line(fact.name, 0.125, template=fact.line, host="algo-1", epoch=3)
        (record,) = scan([line], [MetricDefinition(fact.name, fact.regex)])
        assert record.value == 0.125
    check_definitions(table(name).metric_definitions[:40])


def test_a_line_of_the_common_form() -> None:
    assert published_line("train:loss", 2.0, epoch=3) == "#quality_metric: host=algo-1, epoch=3, train loss <loss>=2"
    assert published_line("test:auc", 1 / 3) == "#quality_metric: host=algo-1, test auc <score>=0.333333"


def test_definitions_are_held_to_the_limits() -> None:
    with pytest.raises(ClientError) as caught:
        check_definitions(
            [
                MetricDefinition("a", "(\\S+"),
                MetricDefinition("b", "no group"),
                MetricDefinition("", "(x)"),
                MetricDefinition("c", "(" + "x" * 500 + ")"),
                *[MetricDefinition("d", "(x)")] * 40,
            ]
        )
    told = str(caught.value)
    assert "44 metric definitions are not allowed: up to 40" in told
    assert 'metric "a": "(\\\\S+" is not a regex' in told
    assert 'metric "b": "no group" is not allowed: a regex with a group around the value' in told
    assert 'metric name "" is not allowed: 1 to 255 characters' in told
    assert "1 to 500 characters" in told
