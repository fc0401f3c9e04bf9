"""Transform jobs: what create checks, what runs, how the end is settled."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from wildsage.contract.errors import ClientError
from wildsage.contract.failure import read_failure
from wildsage.engines.base import Cause, Ending, Specification
from wildsage.platform import jobs, places, runs, shapes
from wildsage.platform.context import Context, when
from wildsage.platform.errors import invalid
from wildsage.platform.filters import Filters
from wildsage.platform.jobs import Jobs
from wildsage.platform.models import Models
from wildsage.platform.names import Kind
from wildsage.platform.records import Record
from wildsage.platform.runs import Charge, Outcome
from wildsage.platform.states import SETTLED, Secondary, Status

MOST_MB_AT_ONCE = 100
GRACE_S = 15.0


class TransformJobs(Jobs):
    kind: ClassVar[Kind] = Kind.TRANSFORM_JOB
    program: ClassVar[str] = "transform program"

    def __init__(self, context: Context, models: Models) -> None:
        super().__init__(context)
        self._models = models

    def create_transform_job(self, **request: Any) -> dict[str, Any]:
        operation = "CreateTransformJob"
        request = shapes.check("sagemaker", operation, request)
        problems = _problems(request, self.context.home)
        if problems:
            raise invalid("; ".join(problems), operation=operation)
        served = self._models.served(request["ModelName"], operation)
        filled = _filled(request, self.context.home)
        record = self.context.new_record(self.kind, request["TransformJobName"], Status.IN_PROGRESS, filled)
        record = jobs.with_marks(record, [(Secondary.STARTING, record.created_at)])
        more = {
            "model": served.model_uri,
            "algorithm": served.algorithm,
            "environment": dict(served.environment),
        }
        self.create(record, request, more, operation)
        return {"TransformJobArn": record.arn}

    def describe_transform_job(self, **request: Any) -> dict[str, Any]:
        request = shapes.check("sagemaker", "DescribeTransformJob", request)
        record = self.get(request["TransformJobName"], "DescribeTransformJob")
        members = shapes.response_members("sagemaker", "DescribeTransformJob")
        began = next((at for step, at in record.state["marks"] if step == Secondary.TRAINING), None)
        response = {member: value for member, value in record.request.items() if member in members}
        response |= _summary(record)
        del response["LastModifiedTime"]
        if began is not None:
            response["TransformStartTime"] = when(began)
        return response

    def list_transform_jobs(self, **request: Any) -> dict[str, Any]:
        request = shapes.check("sagemaker", "ListTransformJobs", request)
        records, token = self.context.page(self.kind, request, "ListTransformJobs", descending=True)
        return {"TransformJobSummaries": [_summary(record) for record in records], **token}

    def stop_transform_job(self, **request: Any) -> dict[str, Any]:
        request = shapes.check("sagemaker", "StopTransformJob", request)
        self.stop(request["TransformJobName"], "StopTransformJob")
        return {}

    def lay_out(self, record: Record, folder: Path) -> Specification:
        return Specification(
            name=record.name,
            folder=folder,
            command=(sys.executable, "-m", "wildsage.platform.transform", str(folder)),
            environment={"PYTHONUNBUFFERED": "1"},
            grace_s=GRACE_S,
            prepare="wildsage.platform.hooks:prepare_transform",
            finish="wildsage.platform.transform_jobs:finish",
        )

    def may_retry(self, record: Record) -> bool:
        return False

    @staticmethod
    def settle(charge: Charge, folder: Path, ending: Ending) -> Outcome:
        return settle(charge, folder, ending)


def finish(folder: Path, ending: Ending) -> None:
    """The hook after the command: write the record."""
    jobs.finish(folder, ending, settle, lambda charge: False)


def settle(charge: Charge, folder: Path, ending: Ending) -> Outcome:
    """Decide what the job comes to; its program has written every output that there is."""
    reason = None
    if ending.cause is Cause.STOPPED:
        secondary = Secondary.STOPPED
    elif ending.cause is Cause.EXITED and ending.exit_code == 0:
        secondary = Secondary.COMPLETED
    else:
        secondary = Secondary.FAILED
        told = read_failure(folder / runs.FAILURE) if ending.cause is Cause.EXITED else None
        reason = told or runs.reason(folder, ending, TransformJobs.program)
    marks = [*runs.read_marks(folder), (secondary.value, time.time())]
    return Outcome(charge.id, secondary.value, secondary.value, marks, reason)


def _problems(request: Mapping[str, Any], home: Path) -> list[str]:
    problems = []
    source, resources = request["TransformInput"], request["TransformResources"]
    if source.get("SplitType") == "TFRecord":
        problems.append("TransformInput.SplitType = TFRecord is not supported yet: None, Line or RecordIO")
    if resources["InstanceCount"] != 1:
        problems.append(f"TransformResources.InstanceCount = {resources['InstanceCount']} is not supported yet: 1")
    if "DataCaptureConfig" in request:
        problems.append("DataCaptureConfig is not supported yet: leave it out")
    megabytes, at_once = request.get("MaxPayloadInMB"), request.get("MaxConcurrentTransforms") or 1
    if megabytes == 0:
        problems.append("MaxPayloadInMB = 0 (streaming) is not supported: 1 to 100")
    elif megabytes is not None and megabytes * at_once > MOST_MB_AT_ONCE:
        problems.append(
            f"MaxConcurrentTransforms * MaxPayloadInMB = {megabytes * at_once} is not allowed: up to {MOST_MB_AT_ONCE}"
        )
    data = source["DataSource"].get("S3DataSource")
    if data is None:
        problems.append("TransformInput.DataSource must be an S3DataSource: a path on this machine or any fsspec URL")
        return problems
    if data["S3DataType"] == "AugmentedManifestFile":
        problems.append("TransformInput: S3DataType = AugmentedManifestFile is not allowed: S3Prefix, ManifestFile")
    try:
        places.check_source(data["S3Uri"], home)
    except ClientError as error:
        problems.append(f"TransformInput: {error}")
    try:
        places.check_destination(request["TransformOutput"]["S3OutputPath"], home)
    except ClientError as error:
        problems.append(f"TransformOutput: {error}")
    try:
        Filters.of(
            request.get("DataProcessing", {}), source.get("ContentType"), request["TransformOutput"].get("Accept")
        )
    except ClientError as error:
        problems.append(str(error))
    return problems


def _filled(request: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """The request with the service's defaults; paths without a scheme no longer depend on the caller's folder."""
    kept = {member: value for member, value in request.items() if member not in ("Tags", "TransformJobName")}
    source, output = request["TransformInput"], request["TransformOutput"]
    data = source["DataSource"]["S3DataSource"]
    data = {**data, "S3Uri": places.absolute(data["S3Uri"], home)}
    return {
        "BatchStrategy": "MultiRecord",
        "MaxConcurrentTransforms": 1,
        "Environment": {},
        **kept,
        "TransformInput": {
            "CompressionType": "None",
            "SplitType": "None",
            **source,
            "DataSource": {"S3DataSource": data},
        },
        "TransformOutput": {
            "AssembleWith": "None",
            "KmsKeyId": "",
            **output,
            "S3OutputPath": places.absolute(output["S3OutputPath"], home),
        },
    }


def _summary(record: Record) -> dict[str, Any]:
    summary = {
        "TransformJobName": record.name,
        "TransformJobArn": record.arn,
        "CreationTime": when(record.created_at),
        "LastModifiedTime": when(record.modified_at),
        "TransformJobStatus": record.status.value,
    }
    if record.status in SETTLED[Kind.TRANSFORM_JOB]:
        summary["TransformEndTime"] = when(record.state["marks"][-1][1])
    if "failure_reason" in record.state:
        summary["FailureReason"] = record.state["failure_reason"]
    return summary
