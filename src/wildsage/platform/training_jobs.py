"""Training jobs: what create checks, what runs, how the end is settled, what describe tells."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from wildsage.contract import builtins
from wildsage.contract.channels import Channel, Distribution, InputMode, canonical, name_problems, write_channels
from wildsage.contract.errors import ClientError, WildsageError
from wildsage.contract.failure import classify, failure_text, read_failure
from wildsage.contract.hyperparameters import write_hyperparameters
from wildsage.contract.layout import Layout
from wildsage.contract.metrics import MetricDefinition, MetricRecord, check_definitions, read_metrics
from wildsage.contract.resources import Resources, write_resources
from wildsage.engines.base import Cause, Ending, Specification
from wildsage.platform import artifacts, jobs, log_metrics, names, places, runs, shapes
from wildsage.platform.algorithms import resolve_algorithm
from wildsage.platform.context import when
from wildsage.platform.errors import invalid, not_supported
from wildsage.platform.jobs import Jobs
from wildsage.platform.names import Kind
from wildsage.platform.records import Record
from wildsage.platform.runs import Charge, Outcome
from wildsage.platform.states import MESSAGES, SETTLED, Secondary, Status

CHECKPOINT_PATH = "/opt/ml/checkpoints"
DEFAULT_MAX_RUNTIME_S = 86400
DEFAULT_VOLUME_GB = 30
_MOST_METRICS = 40


class TrainingJobs(Jobs):
    kind: ClassVar[Kind] = Kind.TRAINING_JOB
    program: ClassVar[str] = "training program"

    def create_training_job(self, **request: Any) -> dict[str, Any]:
        """Check all of the request, record the job and start it."""
        operation = "CreateTrainingJob"
        request = shapes.check("sagemaker", operation, request)
        algorithm = _checked_algorithm(request, operation)
        problems = [*_unsupported(request), *_channel_problems(request, algorithm, self.context.home)]
        checkpoints, problem = _checkpoint_folder(request, self.context.home)
        problems += [] if problem is None else [problem]
        try:
            output = request.get("OutputDataConfig", {}).get("S3OutputPath", str(self.context.home / "artifacts"))
            places.check_destination(output, self.context.home)
        except ClientError as error:
            problems.append(f"OutputDataConfig.S3OutputPath: {error}")
        try:
            filled = _filled(request, algorithm, self.context.home)
            check_definitions(
                [MetricDefinition(d["Name"], d["Regex"]) for d in filled["AlgorithmSpecification"]["MetricDefinitions"]]
            )
        except ClientError as error:
            problems += str(error).split("\n")
        if problems:
            raise invalid("; ".join(problems), operation=operation)
        record = self.context.new_record(self.kind, request["TrainingJobName"], Status.IN_PROGRESS, filled)
        record = jobs.with_marks(record, [(Secondary.STARTING, record.created_at)])
        more = {"algorithm": algorithm, "checkpoints": None if checkpoints is None else str(checkpoints)}
        self.create(record, request, more, operation)
        return {"TrainingJobArn": record.arn}

    def describe_training_job(self, **request: Any) -> dict[str, Any]:
        request = shapes.check("sagemaker", "DescribeTrainingJob", request)
        return _described(self.get(request["TrainingJobName"], "DescribeTrainingJob"))

    def list_training_jobs(self, **request: Any) -> dict[str, Any]:
        request = shapes.check("sagemaker", "ListTrainingJobs", request)
        if "WarmPoolStatusEquals" in request or "TrainingPlanArnEquals" in request:
            return {"TrainingJobSummaries": []}  # nothing here has a warm pool or a training plan
        records, token = self.context.page(self.kind, request, "ListTrainingJobs", descending=False)
        return {"TrainingJobSummaries": [_summary(record) for record in records], **token}

    def stop_training_job(self, **request: Any) -> dict[str, Any]:
        request = shapes.check("sagemaker", "StopTrainingJob", request)
        self.stop(request["TrainingJobName"], "StopTrainingJob")
        return {}

    def delete_training_job(self, **request: Any) -> dict[str, Any]:
        request = shapes.check("sagemaker", "DeleteTrainingJob", request)
        self.delete(request["TrainingJobName"], "DeleteTrainingJob")
        return {}

    def layout(self, name: str) -> Layout:
        """The folders of a job. Raises ServiceError if there is no such job."""
        self.context.get(self.kind, name, "DescribeTrainingJob")
        return Layout(self.folder(name) / "ml")

    def metrics(self, name: str) -> list[MetricRecord]:
        """Every value that the job has reported, in order; those that only its log has bear the time of its start."""
        record = self.context.get(self.kind, name, "DescribeTrainingJob")
        return _metrics(self.folder(name), record.request, record.created_at)

    def output(self, name: str) -> str | None:
        """Where the job's output data is packed, None if it has none, or has not ended."""
        uri = self.context.get(self.kind, name, "DescribeTrainingJob").state.get("output")
        return None if uri is None else str(uri)

    def lay_out(self, record: Record, folder: Path) -> Specification:
        layout = Layout(folder / "ml")
        layout.create()
        request = record.request
        write_hyperparameters(layout.hyperparameters, request.get("HyperParameters", {}))
        write_channels(layout, _channels(request, layout))
        write_resources(
            layout.resource_config, Resources(current_instance_type=request["ResourceConfig"]["InstanceType"])
        )
        algorithm = Charge.read(folder).more["algorithm"]
        return Specification(
            name=record.name,
            folder=folder,
            command=train_command(algorithm),
            environment={
                "PYTHONUNBUFFERED": "1",
                **request.get("Environment", {}),
                "SAGEMAKER_BASE_DIR": str(layout.base),
                "TRAINING_JOB_NAME": record.name,
                "TRAINING_JOB_ARN": record.arn,
            },
            max_runtime_s=request["StoppingCondition"]["MaxRuntimeInSeconds"],
            prepare="wildsage.platform.hooks:place_inputs",
            finish="wildsage.platform.training_jobs:finish",
        )

    def may_retry(self, record: Record) -> bool:
        return _may_retry(record.request, record.state.get("attempts", 0))

    @staticmethod
    def settle(charge: Charge, folder: Path, ending: Ending) -> Outcome:
        return settle(charge, folder, ending)


def train_command(algorithm: str) -> tuple[str, ...]:
    """The program that trains."""
    return (sys.executable, "-m", "wildsage.runtime.train", "--algorithm", algorithm)


def finish(folder: Path, ending: Ending) -> None:
    """The hook after the command: write the artifacts, then the record."""
    jobs.finish(folder, ending, settle, lambda charge: _may_retry(charge.request, 0))


def settle(charge: Charge, folder: Path, ending: Ending) -> Outcome:
    """Pack what the job has made and decide what it comes to. A stopped job keeps the model it has saved."""
    layout = Layout(folder / "ml")
    failure = read_failure(layout.failure)
    secondary, reason = _verdict(folder, ending, failure)
    details: dict[str, Any] = {}
    try:
        if secondary is not Secondary.FAILED:
            kept = secondary is Secondary.COMPLETED or _holds_files(layout.model)
            details["model"] = _write_model(charge, layout) if kept else None
        if _holds_files(layout.output_data):
            details["output"] = _write_output(charge, layout)
    except (WildsageError, OSError) as error:
        secondary = Secondary.FAILED
        reason = runs.shortened(failure_text(_unwritable(error, charge)))
    details["final_metrics"] = _final_metrics(folder, charge)
    status = Status.STOPPED if secondary is Secondary.MAX_RUNTIME_EXCEEDED else Status(secondary.value)
    marks = [*runs.read_marks(folder), (secondary.value, time.time())]
    return Outcome(charge.id, status, secondary, marks, reason, details)


def _verdict(folder: Path, ending: Ending, failure: str | None) -> tuple[Secondary, str | None]:
    if ending.cause is Cause.STOPPED:
        return Secondary.STOPPED, None
    if ending.cause is Cause.MAX_RUNTIME:
        return Secondary.MAX_RUNTIME_EXCEEDED, None
    if ending.cause is Cause.EXITED and ending.exit_code == 0:
        return Secondary.COMPLETED, None
    if ending.cause is Cause.EXITED and failure is not None:
        return Secondary.FAILED, runs.prefixed(failure, "AlgorithmError: ")
    return Secondary.FAILED, runs.reason(folder, ending, TrainingJobs.program)


def _unwritable(error: WildsageError | OSError, charge: Charge) -> Exception:
    known = classify(error)
    place = charge.request["OutputDataConfig"]["S3OutputPath"]
    if isinstance(error, OSError) and not isinstance(known, ClientError):
        return ClientError(f"the model could not be written to {place}: {error.strerror or error}")
    return known


def _write_model(charge: Charge, layout: Layout) -> str:
    """Pack the model to its place and remember that it is unpacked here. Returns its URI."""
    uri = _output_uri(charge, "model.tar.gz")
    artifacts.publish(layout.model, uri, charge.home)
    artifacts.remember(uri, layout.model, charge.home)
    return uri


def _write_output(charge: Charge, layout: Layout) -> str:
    uri = _output_uri(charge, "output.tar.gz")
    artifacts.publish(layout.output_data, uri, charge.home)
    return uri


def _output_uri(charge: Charge, name: str) -> str:
    return artifacts.join(charge.request["OutputDataConfig"]["S3OutputPath"], charge.name, "output", name)


def _holds_files(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_file() for path in folder.rglob("*"))


def _metrics(folder: Path, request: Mapping[str, Any], started_at: float) -> list[MetricRecord]:
    records = read_metrics(Layout(folder / "ml").metrics)
    known = {record.name for record in records}
    definitions = request["AlgorithmSpecification"].get("MetricDefinitions", ())
    others = [MetricDefinition(d["Name"], d["Regex"]) for d in definitions if d["Name"] not in known]
    if others:
        records += log_metrics.read(folder, others, trusted=_built_in_metrics(request), at=started_at)
    return records


def _built_in_metrics(request: Mapping[str, Any]) -> list[MetricDefinition]:
    """The metrics that the job's algorithm brings with it; none if it is not a built-in."""
    specification = request["AlgorithmSpecification"]
    try:
        algorithm = builtins.resolve(specification.get("TrainingImage") or specification.get("AlgorithmName") or "")
    except ClientError:
        return []
    facts = builtins.table(algorithm).metric_definitions if algorithm in builtins.names() else []
    return [MetricDefinition(fact.name, fact.regex) for fact in facts]


def _final_metrics(folder: Path, charge: Charge) -> list[dict[str, Any]]:
    """The last value of each metric that the job defines; a value that is not finite is no value."""
    wanted = [definition["Name"] for definition in charge.request["AlgorithmSpecification"]["MetricDefinitions"]]
    last = {r.name: r for r in _metrics(folder, charge.request, charge.created_at) if math.isfinite(r.value)}
    return [
        {"MetricName": name, "Value": last[name].value, "Timestamp": last[name].timestamp}
        for name in dict.fromkeys(wanted)
        if name in last
    ][:_MOST_METRICS]


def _may_retry(request: Mapping[str, Any], attempts: int) -> bool:
    """A lost job is started again if it can resume, and its RetryStrategy has attempts left."""
    most = int(request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0))
    return "CheckpointConfig" in request and attempts < most


def _checked_algorithm(request: Mapping[str, Any], operation: str) -> str:
    specification = request.get("AlgorithmSpecification")
    if specification is None:
        raise invalid("AlgorithmSpecification is missing", operation=operation)
    image = specification.get("TrainingImage") or specification.get("AlgorithmName")
    if image is None:
        raise invalid(
            "AlgorithmSpecification.TrainingImage is missing: the name or image of a built-in", operation=operation
        )
    script = [
        name
        for name in ("sagemaker_program", "sagemaker_submit_directory")
        if name in request.get("HyperParameters", {})
    ]
    entry = [name for name in ("ContainerEntrypoint", "ContainerArguments") if name in specification]
    if script or entry:
        raise not_supported(
            f"A script or command of one's own ({', '.join(script or entry)})",
            f"train one of the built-ins: {', '.join(builtins.installed())}",
            operation=operation,
        )
    return resolve_algorithm(image, "AlgorithmSpecification.TrainingImage", operation)


def _unsupported(request: Mapping[str, Any]) -> list[str]:
    problems = []
    resources = request.get("ResourceConfig", {})
    if "InstanceGroups" in resources:
        problems.append("ResourceConfig.InstanceGroups is not supported yet: InstanceCount 1 and an InstanceType")
    if resources.get("InstanceCount", 1) != 1:
        problems.append(f"ResourceConfig.InstanceCount = {resources['InstanceCount']} is not supported yet: 1")
    if request.get("OutputDataConfig", {}).get("CompressionType") == "NONE":
        problems.append('OutputDataConfig.CompressionType = "NONE" is not supported yet: GZIP')
    stopping = request.get("StoppingCondition", {})
    runtime, wait = stopping.get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME_S), stopping.get("MaxWaitTimeInSeconds")
    if request.get("EnableManagedSpotTraining") and wait is None:
        problems.append("StoppingCondition.MaxWaitTimeInSeconds is missing: EnableManagedSpotTraining needs it")
    if wait is not None and wait < runtime:
        problems.append(
            f"StoppingCondition.MaxWaitTimeInSeconds = {wait} is not allowed: MaxRuntimeInSeconds ({runtime}) or more"
        )
    problems.extend(
        f"{member} is not supported yet: leave it out"
        for member in ("ServerlessJobConfig", "ModelPackageConfig", "SessionChainingConfig")
        if member in request
    )
    return problems


def _channel_problems(request: Mapping[str, Any], algorithm: str, home: Path) -> list[str]:
    channels = request.get("InputDataConfig", [])
    listed = [channel["ChannelName"] for channel in channels]
    problems = name_problems(listed)
    for number, channel in enumerate(channels):
        place = f"InputDataConfig[{number}]"
        name = channel["ChannelName"]
        earlier = next((other for other in listed[:number] if canonical(other) == canonical(name)), None)
        if earlier is not None:
            problems.append(
                f'{place}: channel "{name}" is there twice' + (f' (as "{earlier}")' if earlier != name else "")
            )
        source = channel["DataSource"].get("S3DataSource")
        if source is None:
            problems.append(f"{place}.DataSource must be an S3DataSource: a path on this machine or any fsspec URL")
            continue
        mode = channel.get("InputMode") or request["AlgorithmSpecification"]["TrainingInputMode"]
        if mode == InputMode.PIPE:
            problems.append(f"{place}: input mode Pipe is not supported yet: File or FastFile")
        if channel.get("RecordWrapperType") == "RecordIO":
            problems.append(f"{place}.RecordWrapperType = RecordIO is not supported yet: it belongs to input mode Pipe")
        if "ShuffleConfig" in channel:
            problems.append(f"{place}.ShuffleConfig is not supported yet: leave it out, files come in order of name")
        try:
            places.check_source(source["S3Uri"], home)
        except ClientError as error:
            problems.append(f'{place}, channel "{name}": {error}')
    if algorithm in builtins.names():
        known = {canonical(name) for name in listed}
        needed = dict.fromkeys(fact.name for fact in builtins.table(algorithm).channels if fact.required)
        problems.extend(
            f'InputDataConfig has no channel "{name}", which {algorithm} needs' for name in needed if name not in known
        )
    return problems


def _checkpoint_folder(request: Mapping[str, Any], home: Path) -> tuple[Path | None, str | None]:
    """The folder that checkpoints are kept in, and what is wrong with it."""
    config = request.get("CheckpointConfig")
    if config is None:
        return None, None
    inside = config.get("LocalPath", CHECKPOINT_PATH).rstrip("/")
    if inside != CHECKPOINT_PATH:
        return None, f'CheckpointConfig.LocalPath = "{inside}" is not allowed: the built-ins use {CHECKPOINT_PATH}'
    folder = places.local_path(config["S3Uri"], home)
    if folder is None:
        return None, f'CheckpointConfig.S3Uri = "{config["S3Uri"]}" is not supported yet: a folder on this machine'
    return folder, None


def _filled(request: Mapping[str, Any], algorithm: str, home: Path) -> dict[str, Any]:
    """The request with the service's defaults, as describe tells it."""
    specification = dict(request["AlgorithmSpecification"])
    facts = builtins.table(algorithm).metric_definitions if algorithm in builtins.names() else []
    definitions = {fact.name: {"Name": fact.name, "Regex": fact.regex} for fact in facts}
    definitions |= {entry["Name"]: entry for entry in specification.get("MetricDefinitions", ())}
    specification["MetricDefinitions"] = list(definitions.values())
    specification.setdefault("EnableSageMakerMetricsTimeSeries", False)
    resources = {"InstanceCount": 1, "InstanceType": "local", "VolumeSizeInGB": DEFAULT_VOLUME_GB}
    output = {"KmsKeyId": "", "S3OutputPath": str(home / "artifacts"), "CompressionType": "GZIP"}
    output |= request.get("OutputDataConfig", {})
    output["S3OutputPath"] = places.absolute(output["S3OutputPath"], home)
    flags = ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining")
    channels = [_absolute(channel, home) for channel in request.get("InputDataConfig", ())]
    return {
        **dict.fromkeys(flags, False),
        **{member: value for member, value in request.items() if member not in ("Tags", "TrainingJobName")},
        "InputDataConfig": channels,
        "AlgorithmSpecification": specification,
        "RoleArn": names.role_arn(request.get("RoleArn")),
        "ResourceConfig": {**resources, **request.get("ResourceConfig", {})},
        "OutputDataConfig": output,
        "StoppingCondition": {"MaxRuntimeInSeconds": DEFAULT_MAX_RUNTIME_S, **request.get("StoppingCondition", {})},
    }


def _absolute(channel: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """A channel whose path no longer depends on the caller's folder."""
    source = channel["DataSource"].get("S3DataSource")
    if source is None:
        return dict(channel)
    return {**channel, "DataSource": {"S3DataSource": {**source, "S3Uri": places.absolute(source["S3Uri"], home)}}}


def _channels(request: Mapping[str, Any], layout: Layout) -> list[Channel]:
    channels = []
    for channel in request.get("InputDataConfig", ()):
        name = channel["ChannelName"]
        distribution = channel["DataSource"]["S3DataSource"].get(
            "S3DataDistributionType", Distribution.FULLY_REPLICATED
        )
        mode = channel.get("InputMode") or request["AlgorithmSpecification"]["TrainingInputMode"]
        channels.append(
            Channel(name, layout.channel(name), channel.get("ContentType"), InputMode(mode), Distribution(distribution))
        )
    return channels


def _described(record: Record) -> dict[str, Any]:
    state = record.state
    members = shapes.response_members("sagemaker", "DescribeTrainingJob")
    marks = [(step, at) for step, at in state["marks"]]
    settled = record.status in SETTLED[Kind.TRAINING_JOB]
    transitions = []
    for number, (step, at) in enumerate(marks):
        after = marks[number + 1][1] if number + 1 < len(marks) else (at if settled else None)
        message = state.get("failure_reason") if step == Secondary.FAILED else MESSAGES[Secondary(step)]
        entry = {"Status": step, "StartTime": when(at), "StatusMessage": message or MESSAGES[Secondary(step)]}
        transitions.append(entry if after is None else {**entry, "EndTime": when(after)})
    response: dict[str, Any] = {
        **{member: value for member, value in record.request.items() if member in members},
        "TrainingJobName": record.name,
        "TrainingJobArn": record.arn,
        "ModelArtifacts": {"S3ModelArtifacts": state.get("model") or ""},
        "TrainingJobStatus": record.status.value,
        "SecondaryStatus": _secondary(record, marks[-1][0]),
        "SecondaryStatusTransitions": transitions,
        "CreationTime": when(record.created_at),
        "LastModifiedTime": when(record.modified_at),
        "ProfilingStatus": "Disabled",
    }
    if "failure_reason" in state:
        response["FailureReason"] = state["failure_reason"]
    began = next((at for step, at in marks if step == Secondary.TRAINING), None)
    if began is not None:
        response["TrainingStartTime"] = when(began)
    if settled:
        response["TrainingEndTime"] = when(marks[-1][1])
        if began is not None:
            seconds = max(1, round(marks[-1][1] - began))
            response["TrainingTimeInSeconds"] = response["BillableTimeInSeconds"] = seconds
    if state.get("final_metrics"):
        response["FinalMetricDataList"] = [
            {**metric, "Timestamp": when(metric["Timestamp"])} for metric in state["final_metrics"]
        ]
    return response


def _secondary(record: Record, last: str) -> str:
    """The last step; a job that is asked to stop is stopping until its end begins."""
    before = (Secondary.STARTING, Secondary.DOWNLOADING, Secondary.TRAINING)
    return Secondary.STOPPING.value if record.status is Status.STOPPING and last in before else str(last)


def _summary(record: Record) -> dict[str, Any]:
    marks = record.state["marks"]
    summary = {
        "TrainingJobName": record.name,
        "TrainingJobArn": record.arn,
        "CreationTime": when(record.created_at),
        "LastModifiedTime": when(record.modified_at),
        "TrainingJobStatus": record.status.value,
        "SecondaryStatus": _secondary(record, marks[-1][0]),
    }
    return (
        {**summary, "TrainingEndTime": when(marks[-1][1])} if record.status in SETTLED[Kind.TRAINING_JOB] else summary
    )
