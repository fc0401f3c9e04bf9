from __future__ import annotations

import builtins
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.recording import NOW, RecordingBoto, RecordingClient
from wildsage.contract.metrics import MetricRecord
from wildsage.sdk.analytics import PandasMissingError, Table, TrainingJobAnalytics
from wildsage.sdk.session import Session


def remote(**points: list[tuple[int, float]]) -> Session:
    client = RecordingClient(
        "sagemaker",
        {
            "describe_training_job": {
                "TrainingStartTime": NOW,
                "TrainingEndTime": NOW + timedelta(seconds=90),
                "AlgorithmSpecification": {"MetricDefinitions": [{"Name": name} for name in points]},
            }
        },
    )

    def statistics(request: dict[str, Any]) -> dict[str, Any]:
        assert request["EndTime"] == NOW + timedelta(seconds=150)
        found = points[request["MetricName"]]
        return {"Datapoints": [{"Timestamp": NOW + timedelta(seconds=at), "Average": value} for at, value in found]}

    return Session(
        RecordingBoto(cloudwatch=RecordingClient("cloudwatch", {"get_metric_statistics": statistics})), client
    )


class Embedded:
    """A platform's part that has metrics."""

    def endpoint_url(self, name: str) -> str:
        return name

    def training_metrics(self, name: str) -> list[MetricRecord]:
        return [
            MetricRecord("validation:accuracy", 0.5, 100.0, 1),
            MetricRecord("validation:accuracy", 0.75, 101.5, 2),
            MetricRecord("train:accuracy", 1.0, 102.0),
        ]


EMBEDDED = Session(sagemaker_client=Embedded())


def test_averages_in_order_of_time() -> None:
    found = TrainingJobAnalytics("job", sagemaker_session=remote(loss=[(60, 0.5), (0, 0.75)], empty=[])).table()
    assert found.columns == ("timestamp", "metric_name", "value")
    assert found.rows == ((0.0, "loss", 0.75), (60.0, "loss", 0.5))


def test_embedded_every_value_is_a_row() -> None:
    found = TrainingJobAnalytics("job", sagemaker_session=EMBEDDED).table()
    assert found.rows == (
        (0.0, "validation:accuracy", 0.5, 1),
        (1.5, "validation:accuracy", 0.75, 2),
        (2.0, "train:accuracy", 1.0, None),
    )
    assert found["value"] == [0.5, 0.75, 1.0]
    chosen = TrainingJobAnalytics("job", ["train:accuracy"], sagemaker_session=EMBEDDED).table()
    assert [row["metric_name"] for row in chosen] == ["train:accuracy"]


def test_it_prints_well() -> None:
    assert str(TrainingJobAnalytics("job", sagemaker_session=EMBEDDED).table()) == (
        "timestamp  metric_name          value  epoch\n"
        "        0  validation:accuracy    0.5      1\n"
        "      1.5  validation:accuracy   0.75      2\n"
        "        2  train:accuracy           1"
    )
    assert str(Table(("a",), ())) == "a"


def test_a_dataframe_and_a_file_where_pandas_is(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    analytics = TrainingJobAnalytics("job", sagemaker_session=EMBEDDED)
    frame = analytics.dataframe()
    assert list(frame.columns) == ["timestamp", "metric_name", "value", "epoch"]
    assert frame["value"].tolist() == [0.5, 0.75, 1.0]
    analytics.export_csv(tmp_path / "m.csv")
    assert pandas.read_csv(tmp_path / "m.csv", index_col=0).equals(frame)


def test_without_pandas_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *more: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(PandasMissingError, match=r"pip install pandas; table\(\) works without"):
        TrainingJobAnalytics("job", sagemaker_session=EMBEDDED).dataframe()
