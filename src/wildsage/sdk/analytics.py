"""The metrics of a training job, as a table."""

from __future__ import annotations

import csv
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from wildsage.contract.errors import ClientError
from wildsage.sdk.session import Session

logger = logging.getLogger(__name__)

METRICS_PERIOD_DEFAULT = 60  # seconds


class PandasMissingError(ClientError, ImportError):
    """pandas, which is not needed otherwise, is not installed."""


@dataclass(frozen=True)
class Table:
    """Rows under named columns; prints as a table."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows as dicts."""
        return (dict(zip(self.columns, row, strict=True)) for row in self.rows)

    def __getitem__(self, column: str) -> list[Any]:
        """The values of a column."""
        index = self.columns.index(column)
        return [row[index] for row in self.rows]

    def __str__(self) -> str:
        texts = [self.columns, *(tuple(_text(value) for value in row) for row in self.rows)]
        widths = [max(len(row[index]) for row in texts) for index in range(len(self.columns))]
        numeric = [
            all(not isinstance(row[index], str) for row in self.rows) for index in range(len(self.columns))
        ]  # numbers to the right, words to the left
        return "\n".join(
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(row, widths, numeric, strict=True)
            ).rstrip()
            for row in texts
        )

    def __repr__(self) -> str:
        return str(self)


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)


class AnalyticsMetricsBase(ABC):
    """A table that is fetched on first use and kept."""

    def __init__(self) -> None:
        self._table: Table | None = None

    @abstractmethod
    def _fetch_table(self) -> Table:
        """Ask for the figures."""

    def table(self, force_refresh: bool = False) -> Table:
        """Return the figures; needs no pandas. force_refresh: ask again."""
        if force_refresh:
            self.clear_cache()
        if self._table is None:
            self._table = self._fetch_table()
        return self._table

    def dataframe(self, force_refresh: bool = False) -> Any:
        """Return the figures as a pandas DataFrame. Raises PandasMissingError where pandas is not installed."""
        try:
            import pandas as pd  # type: ignore[import-not-found,import-untyped,unused-ignore]
        except ImportError:
            raise PandasMissingError("dataframe() needs pandas: pip install pandas; table() works without") from None
        table = self.table(force_refresh)
        return pd.DataFrame(list(table.rows), columns=list(table.columns))

    def export_csv(self, filename: str | os.PathLike[str]) -> None:
        """Write the table to a CSV file whose first column is the number of the row, as pandas would."""
        table = self.table()
        temporary = f"{os.fspath(filename)}.part"
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["", *table.columns])
            writer.writerows([number, *row] for number, row in enumerate(table.rows))
        os.replace(temporary, filename)

    def clear_cache(self) -> None:
        """Forget the table, so that the next use asks again."""
        self._table = None


class TrainingJobAnalytics(AnalyticsMetricsBase):
    """Metrics of a training job: timestamp (seconds since its first metric), metric_name, value.

    Embedded, each value that the job reported is a row, and a fourth column is its epoch. Remote, they are CloudWatch's
    averages over a period.
    """

    CLOUDWATCH_NAMESPACE = "/aws/sagemaker/TrainingJobs"

    def __init__(
        self,
        training_job_name: str,
        metric_names: Sequence[str] | None = None,
        sagemaker_session: Session | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        period: int | None = None,
    ) -> None:
        """metric_names: all metrics of the job by default. start_time, end_time: the job's own by default.

        period: seconds over which CloudWatch averages.
        """
        super().__init__()
        self._session = sagemaker_session or Session()
        self._name = training_job_name
        self._metric_names = list(metric_names) if metric_names else None
        self._start_time = start_time
        self._end_time = end_time
        self._period = period or METRICS_PERIOD_DEFAULT

    @property
    def name(self) -> str:
        """The name of the training job."""
        return self._name

    def __repr__(self) -> str:
        return f"<TrainingJobAnalytics for {self.name}>"

    def _fetch_table(self) -> Table:
        return self._reported() if self._session.embedded else self._averages()

    def _reported(self) -> Table:
        records = [
            record
            for record in self._session.sagemaker_client.training_metrics(self.name)
            if (self._metric_names is None or record.name in self._metric_names)
            and (self._start_time is None or record.timestamp >= self._start_time.timestamp())
            and (self._end_time is None or record.timestamp <= self._end_time.timestamp())
        ]
        if not records:
            logger.warning("No metrics found for %s", self.name)
        start = min((record.timestamp for record in records), default=0.0)
        rows = tuple(
            (round(record.timestamp - start, 3), record.name, record.value, record.epoch) for record in records
        )
        return Table(("timestamp", "metric_name", "value", "epoch"), rows)

    def _averages(self) -> Table:
        job = self._session.describe_training_job(self.name)
        start = self._start_time or job["TrainingStartTime"]
        # A minute on, since CloudWatch cuts times down to whole minutes, and would leave out the last one.
        end = (self._end_time or job.get("TrainingEndTime") or datetime.now(UTC)) + timedelta(minutes=1)
        names = self._metric_names or [
            metric["Name"] for metric in job["AlgorithmSpecification"].get("MetricDefinitions", [])
        ]
        rows: list[tuple[Any, ...]] = []
        for name in names:
            points = self._session.boto_session.client("cloudwatch").get_metric_statistics(
                Namespace=self.CLOUDWATCH_NAMESPACE,
                MetricName=name,
                Dimensions=[{"Name": "TrainingJobName", "Value": self.name}],
                StartTime=start,
                EndTime=end,
                Period=self._period,
                Statistics=["Average"],
            )["Datapoints"]
            if not points:
                logger.warning("No metrics called %s found", name)
                continue
            first = min(point["Timestamp"] for point in points)
            found = sorted(((point["Timestamp"] - first).total_seconds(), point["Average"]) for point in points)
            rows += [(seconds, name, value) for seconds, value in found]
        return Table(("timestamp", "metric_name", "value"), tuple(rows))
