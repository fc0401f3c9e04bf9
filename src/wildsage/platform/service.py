"""Platform: the control plane as plain calls. One method an operation, with the names and shapes of boto3's client.

Requests are keyword arguments and responses dicts, as boto3 has them; errors are ServiceError. All state is in one
folder, any number of processes may use it at once, and no daemon need be up: whoever asks puts right what has died.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from wildsage.contract.errors import DataError
from wildsage.contract.files import read_json
from wildsage.contract.metrics import MetricRecord
from wildsage.contract.pictures import Picture, learning_curves, read_pictures
from wildsage.engines.base import Engine
from wildsage.platform import names, runtime
from wildsage.platform.cloudwatch import CloudWatch
from wildsage.platform.context import Context
from wildsage.platform.endpoints import Endpoints
from wildsage.platform.logs import Logs
from wildsage.platform.models import Models
from wildsage.platform.names import Kind
from wildsage.platform.reconcile import reconcile
from wildsage.platform.runtime import Runtime
from wildsage.platform.store import Store
from wildsage.platform.training_jobs import TrainingJobs
from wildsage.platform.transform_jobs import TransformJobs

Response = dict[str, Any]
DATABASE_VARIABLE = "WILDSAGE_DATABASE_URL"


class Platform:
    """Everything of one home folder. Members named after boto3's other clients: runtime, logs, cloudwatch."""

    def __init__(
        self,
        home: Path | None = None,
        *,
        region: str | None = None,
        engine: Engine | None = None,
        database_url: str | None = None,
    ) -> None:
        """home: WILDSAGE_HOME or ~/.wildsage. engine: the local one. database_url: wildsage.db in the home folder."""
        if engine is None:
            from wildsage.engines.local import LocalEngine

            engine = LocalEngine()
        self.home = names.checked_home((home or names.default_home()).expanduser().absolute())
        self.region = region or names.default_region()
        store = Store(self.home, database_url or os.environ.get(DATABASE_VARIABLE) or None)
        self._context = Context(self.home, self.region, engine, store)
        self._models = Models(self._context)
        self._training_jobs = TrainingJobs(self._context)
        self._endpoints = Endpoints(self._context, self._models)
        self._transform_jobs = TransformJobs(self._context, self._models)
        self.runtime = Runtime(self._context, self._endpoints)
        self.logs = Logs(self._context)
        self.cloudwatch = CloudWatch(self._training_jobs)

    def close(self) -> None:
        """Give up connections; jobs and endpoints go on."""
        self.runtime.close()
        self._context.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- training jobs

    def create_training_job(self, **request: Any) -> Response:
        return self._training_jobs.create_training_job(**request)

    def describe_training_job(self, **request: Any) -> Response:
        return self._training_jobs.describe_training_job(**request)

    def list_training_jobs(self, **request: Any) -> Response:
        reconcile(self._context, Kind.TRAINING_JOB, self._training_jobs.look)
        return self._training_jobs.list_training_jobs(**request)

    def stop_training_job(self, **request: Any) -> Response:
        return self._training_jobs.stop_training_job(**request)

    def delete_training_job(self, **request: Any) -> Response:
        return self._training_jobs.delete_training_job(**request)

    # --- models

    def create_model(self, **request: Any) -> Response:
        return self._models.create_model(**request)

    def describe_model(self, **request: Any) -> Response:
        return self._models.describe_model(**request)

    def list_models(self, **request: Any) -> Response:
        return self._models.list_models(**request)

    def delete_model(self, **request: Any) -> Response:
        return self._models.delete_model(**request)

    # --- endpoints and their configurations

    def create_endpoint_config(self, **request: Any) -> Response:
        return self._endpoints.create_endpoint_config(**request)

    def describe_endpoint_config(self, **request: Any) -> Response:
        return self._endpoints.describe_endpoint_config(**request)

    def list_endpoint_configs(self, **request: Any) -> Response:
        return self._endpoints.list_endpoint_configs(**request)

    def delete_endpoint_config(self, **request: Any) -> Response:
        return self._endpoints.delete_endpoint_config(**request)

    def create_endpoint(self, **request: Any) -> Response:
        return self._endpoints.create_endpoint(**request)

    def describe_endpoint(self, **request: Any) -> Response:
        return self._endpoints.describe_endpoint(**request)

    def list_endpoints(self, **request: Any) -> Response:
        reconcile(self._context, Kind.ENDPOINT, self._endpoints.look)
        return self._endpoints.list_endpoints(**request)

    def update_endpoint(self, **request: Any) -> Response:
        return self._endpoints.update_endpoint(**request)

    def delete_endpoint(self, **request: Any) -> Response:
        return self._endpoints.delete_endpoint(**request)

    # --- transform jobs

    def create_transform_job(self, **request: Any) -> Response:
        return self._transform_jobs.create_transform_job(**request)

    def describe_transform_job(self, **request: Any) -> Response:
        return self._transform_jobs.describe_transform_job(**request)

    def list_transform_jobs(self, **request: Any) -> Response:
        reconcile(self._context, Kind.TRANSFORM_JOB, self._transform_jobs.look)
        return self._transform_jobs.list_transform_jobs(**request)

    def stop_transform_job(self, **request: Any) -> Response:
        return self._transform_jobs.stop_transform_job(**request)

    # --- tags

    def add_tags(self, **request: Any) -> Response:
        return self._context.add_tags(**request)

    def list_tags(self, **request: Any) -> Response:
        return self._context.list_tags(**request)

    def delete_tags(self, **request: Any) -> Response:
        return self._context.delete_tags(**request)

    # --- what boto3 lacks

    def endpoint_url(self, name: str) -> str:
        """The address to POST to: http://127.0.0.1:PORT/invocations."""
        return runtime.endpoint_url(self._endpoints, name)

    def training_progress(self, name: str) -> dict[str, Any] | None:
        """How far a job is: done, total, unit, figures, timestamp. None before it has said so."""
        return _object(self._training_jobs.layout(name).progress)

    def training_summary(self, name: str) -> dict[str, Any] | None:
        """What a finished training says of itself; None before that."""
        return _object(self._training_jobs.layout(name).summary)

    def training_pictures(self, name: str) -> list[Picture]:
        """What there is to draw of a job: its learning curves, and what its algorithm left."""
        curves = learning_curves(self.training_metrics(name))
        left = read_pictures(self._training_jobs.layout(name).pictures)
        return [*([curves] if curves is not None else []), *left]

    def training_output(self, name: str) -> str | None:
        """Where the output data of an ended job is packed, such as the scores by label; None if there is none."""
        return self._training_jobs.output(name)

    def training_metrics(self, name: str) -> list[MetricRecord]:
        """Every value that a job has reported, in order."""
        return self._training_jobs.metrics(name)

    def follow_training_log(self, name: str) -> Iterator[str]:
        """The lines of a job's log as they come, until it has ended."""
        return self._training_jobs.log_lines(name, "DescribeTrainingJob")

    def follow_transform_log(self, name: str) -> Iterator[str]:
        """The lines of a transform job's log as they come, until it has ended."""
        return self._transform_jobs.log_lines(name, "DescribeTransformJob")

    def follow_endpoint_log(self, name: str) -> Iterator[str]:
        """The lines of an endpoint's log as they come, until it is gone."""
        return self._endpoints.log_lines(name, "DescribeEndpoint")


def _object(path: Path) -> dict[str, Any] | None:
    try:
        found = read_json(path)
    except (FileNotFoundError, DataError):
        return None
    return found if isinstance(found, dict) else None
