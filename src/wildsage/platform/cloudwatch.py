"""`platform.cloudwatch`: boto3's `cloudwatch` client for the metrics of training jobs."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

from wildsage.platform import shapes
from wildsage.platform.context import when
from wildsage.platform.errors import ServiceError
from wildsage.platform.training_jobs import TrainingJobs

NAMESPACE = "/aws/sagemaker/TrainingJobs"
DIMENSION = "TrainingJobName"
_SMALLEST = 1


class CloudWatch:
    def __init__(self, training_jobs: TrainingJobs) -> None:
        self._training_jobs = training_jobs

    def get_metric_statistics(self, **request: Any) -> dict[str, Any]:
        """A metric's statistics by period. Unknown namespaces and metrics have no datapoints, as in the service."""
        request = shapes.check("cloudwatch", "GetMetricStatistics", request)
        name = request["MetricName"]
        if request["EndTime"] <= request["StartTime"]:
            text = "The parameter StartTime must be less than the parameter EndTime."
            raise ServiceError("InvalidParameterCombination", text, operation="GetMetricStatistics")
        response: dict[str, Any] = {"Label": name, "Datapoints": []}
        jobs = [d["Value"] for d in request.get("Dimensions", ()) if d["Name"] == DIMENSION]
        if request["Namespace"] != NAMESPACE or len(jobs) != 1:
            return response
        try:
            records = self._training_jobs.metrics(jobs[0])
        except ServiceError:
            return response
        period = max(_SMALLEST, request["Period"])
        start, end = request["StartTime"].timestamp(), request["EndTime"].timestamp()
        values: dict[float, list[float]] = defaultdict(list)
        for record in records:
            if record.name == name and math.isfinite(record.value) and start <= record.timestamp < end:
                values[record.timestamp // period * period].append(record.value)
        wanted = request.get("Statistics", ["Average"])
        for at in sorted(values):
            found = values[at]
            statistics = {
                "SampleCount": float(len(found)),
                "Average": sum(found) / len(found),
                "Sum": sum(found),
                "Minimum": min(found),
                "Maximum": max(found),
            }
            kept = {statistic: statistics[statistic] for statistic in wanted}
            response["Datapoints"].append({"Timestamp": when(at), **kept, "Unit": "None"})
        return response
