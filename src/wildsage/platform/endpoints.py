"""Endpoint configurations and endpoints: a server under a supervisor, kept up until it is deleted."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from wildsage.contract.errors import ClientError, WildsageError
from wildsage.contract.failure import EXIT_FINAL
from wildsage.engines.base import Cause, Phase, Specification, State
from wildsage.platform import jobs, locks, runs, shapes
from wildsage.platform.context import Context, when
from wildsage.platform.errors import ServiceError, invalid, not_supported
from wildsage.platform.models import Models
from wildsage.platform.names import Kind
from wildsage.platform.records import Record
from wildsage.platform.runs import Charge
from wildsage.platform.servers import Address, answers
from wildsage.platform.states import Status
from wildsage.platform.supervised import Supervised

HOST = "127.0.0.1"
WORKERS_VARIABLE = "SAGEMAKER_MODEL_SERVER_WORKERS"
DEFAULT_STARTUP_S = 240  # what the service gives a container until its first good /ping
GRACE_S = 30.0
MOST_RESTARTS = 2  # a server that ended so often before it was in service is given up: it would go on so
_DELETE_WAIT_S = 5.0
LIVE = (Status.CREATING, Status.IN_SERVICE, Status.SYSTEM_UPDATING)


class Endpoints(Supervised):
    kind: ClassVar[Kind] = Kind.ENDPOINT

    def __init__(self, context: Context, models: Models) -> None:
        super().__init__(context)
        self._models = models

    # --- configurations

    def create_endpoint_config(self, **request: Any) -> dict[str, Any]:
        operation = "CreateEndpointConfig"
        request = shapes.check("sagemaker", operation, request)
        problems = _config_problems(request)
        if problems:
            raise invalid("; ".join(problems), operation=operation)
        defaults = {"InitialInstanceCount": 1, "InitialVariantWeight": 1.0, "InstanceType": "local"}
        variant: dict[str, Any] = {**defaults, **request["ProductionVariants"][0]}
        self.context.get(Kind.MODEL, variant["ModelName"], operation)
        filled = {member: value for member, value in request.items() if member not in ("Tags", "EndpointConfigName")}
        filled["ProductionVariants"] = [variant]
        record = self.context.new_record(Kind.ENDPOINT_CONFIG, request["EndpointConfigName"], Status.NONE, filled)
        self.context.insert(record, request, operation)
        return {"EndpointConfigArn": record.arn}

    def describe_endpoint_config(self, **request: Any) -> dict[str, Any]:
        operation = "DescribeEndpointConfig"
        request = shapes.check("sagemaker", operation, request)
        record = self.context.get(Kind.ENDPOINT_CONFIG, request["EndpointConfigName"], operation)
        members = shapes.response_members("sagemaker", operation)
        return {
            **{member: value for member, value in record.request.items() if member in members},
            "EndpointConfigName": record.name,
            "EndpointConfigArn": record.arn,
            "CreationTime": when(record.created_at),
        }

    def list_endpoint_configs(self, **request: Any) -> dict[str, Any]:
        request = shapes.check("sagemaker", "ListEndpointConfigs", request)
        records, token = self.context.page(Kind.ENDPOINT_CONFIG, request, "ListEndpointConfigs", descending=True)
        summaries = [
            {"EndpointConfigName": r.name, "EndpointConfigArn": r.arn, "CreationTime": when(r.created_at)}
            for r in records
        ]
        return {"EndpointConfigs": summaries, **token}

    def delete_endpoint_config(self, **request: Any) -> dict[str, Any]:
        """Forget a configuration, even one that an endpoint uses: clients delete it before the endpoint."""
        operation = "DeleteEndpointConfig"
        request = shapes.check("sagemaker", operation, request)
        self.context.store.delete(self.context.get(Kind.ENDPOINT_CONFIG, request["EndpointConfigName"], operation))
        return {}

    # --- endpoints

    def create_endpoint(self, **request: Any) -> dict[str, Any]:
        """Record the endpoint and start its server; describe tells when it answers."""
        operation = "CreateEndpoint"
        request = shapes.check("sagemaker", operation, request)
        if "DeploymentConfig" in request:
            raise not_supported("DeploymentConfig", "leave it out", operation=operation)
        config = self.context.get(Kind.ENDPOINT_CONFIG, request["EndpointConfigName"], operation)
        variant = config.request["ProductionVariants"][0]
        served = self._models.served(variant["ModelName"], operation)
        # All that a restart needs is kept with the endpoint: model and configuration may be deleted under it.
        filled = {
            "EndpointConfigName": config.name,
            "ProductionVariant": variant,
            "Model": {
                "uri": served.model_uri,
                "algorithm": served.algorithm,
                "image": served.image,
                "environment": dict(served.environment),
            },
        }
        name = request["EndpointName"]
        if self.context.store.get(self.kind, name) is not None:
            self.look_at(name)  # one that is being deleted may be gone by now, and its name free
        record = self.context.new_record(self.kind, name, Status.CREATING, filled)
        with locks.held(self._lock(name)):
            self.context.insert(record, request, operation)
            try:
                self._start(record, self._new_folder(name))
            except (WildsageError, OSError) as error:
                text = runs.prefixed(str(error), f"{type(error).__name__}: ")
                self._change(record, LIVE, Status.FAILED, failure_reason=text)
                raise ServiceError("InternalFailure", text, operation=operation, status=500) from error
        return {"EndpointArn": record.arn}

    def describe_endpoint(self, **request: Any) -> dict[str, Any]:
        request = shapes.check("sagemaker", "DescribeEndpoint", request)
        return _described(self.get(request["EndpointName"], "DescribeEndpoint"))

    def list_endpoints(self, **request: Any) -> dict[str, Any]:
        request = shapes.check("sagemaker", "ListEndpoints", request)
        records, token = self.context.page(self.kind, request, "ListEndpoints", descending=True)
        return {"Endpoints": [_summary(record) for record in records], **token}

    def update_endpoint(self, **request: Any) -> dict[str, Any]:
        """Refused: nothing is changed silently."""
        request = shapes.check("sagemaker", "UpdateEndpoint", request)
        self.get(request["EndpointName"], "UpdateEndpoint")
        instead = "create another endpoint with the new configuration, then delete this one"
        raise not_supported("UpdateEndpoint", instead, operation="UpdateEndpoint")

    def delete_endpoint(self, **request: Any) -> dict[str, Any]:
        """Stop the server and forget the endpoint. Returns when it is gone, or draining: then the next look ends it."""
        operation = "DeleteEndpoint"
        request = shapes.check("sagemaker", operation, request)
        record = self.context.get(self.kind, request["EndpointName"], operation)
        self._change(record, (*LIVE, Status.FAILED), Status.DELETING)
        self._remove(record, _DELETE_WAIT_S)
        return {}

    def get(self, name: str, operation: str) -> Record:
        """The record, put right. Raises ServiceError if there is none."""
        record = self.look(self.context.get(self.kind, name, operation))
        if record is None:
            raise self.context.missing(self.kind, name, operation)
        return record

    def look_at(self, name: str) -> None:
        record = self.context.store.get(self.kind, name)
        if record is not None:
            self.look(record)

    def address(self, name: str, operation: str) -> Address:
        """Where the endpoint's server listens, whether or not it answers yet. Raises ServiceError if it has none."""
        record = self.get(name, operation)
        state = self._run_state(record)
        if record.status not in LIVE or state is None or state.address is None:
            raise invalid(f"The endpoint {name} is in status {record.status} and does not listen", operation=operation)
        return state.address

    def listening(self, name: str) -> Address | None:
        """Where the endpoint's server listens, without a look at its record; None if nothing lives there."""
        try:
            state = self.context.engine.state(self.folder(name))
        except ClientError:
            return None
        return state.address if state.alive else None

    def log_lines(self, name: str, operation: str) -> Iterator[str]:
        """The lines of the endpoint's log as they come, until it is deleted."""
        self.get(name, operation)
        return jobs.follow_lines(self.context, self.folder(name))

    # --- what really runs

    def look(self, record: Record) -> Record | None:
        """The record after it was held against what really runs; None if that completed its removal."""
        if record.status is Status.FAILED or record.home != str(self.context.home):
            return record
        if record.status is Status.DELETING:
            return None if self._remove(record, 0) else record
        state = self._run_state(record)
        if state is not None and state.alive:
            return record if record.status is Status.IN_SERVICE else self._watch_start(record, state)
        with locks.held(self._lock(record.name), wait_s=locks.MOMENT_S) as held:
            return self._put_right(record) if held else record

    def _watch_start(self, record: Record, state: State) -> Record | None:
        """A server that lives and is not yet in service: it answers, or it is given up, or it needs more time."""
        if state.phase is Phase.RUNNING and state.address is not None and answers(state.address):
            return self._change(record, (Status.CREATING, Status.SYSTEM_UPDATING), Status.IN_SERVICE)
        reason = None
        seconds = record.request["ProductionVariant"].get(
            "ContainerStartupHealthCheckTimeoutInSeconds", DEFAULT_STARTUP_S
        )
        if state.restarts >= MOST_RESTARTS:
            text = "the model server ended each time that it was started"
            reason = runs.own_reason(self.folder(record.name)) or self._last_words(record, text)
        elif time.time() - max(state.created_at, state.started_at or 0.0) > seconds and state.phase is Phase.RUNNING:
            reason = self._last_words(record, f"the model server did not answer /ping within {seconds} s")
        if reason is None:
            return record
        changed = self._change(record, (Status.CREATING, Status.SYSTEM_UPDATING), Status.FAILED, failure_reason=reason)
        with suppress(ClientError):
            self.context.engine.stop(self.folder(record.name))
        return changed

    def _put_right(self, record: Record) -> Record | None:
        """Under the lock: start again, or fail, an endpoint behind which nothing lives. All is looked at once more."""
        current = self.context.store.get(self.kind, record.name)
        if current is None or current.id != record.id or current.status not in LIVE:
            return current
        state = self._run_state(current)
        if state is not None and state.alive:
            return current
        ending = None if state is None else state.ending
        if ending is not None and ending.cause is not Cause.LOST:
            if ending.cause is Cause.NOT_STARTED:
                text = runs.prefixed(ending.reason, "ClientError: ")
            elif ending.cause is Cause.STOPPED:
                text = "ClientError: the model server was stopped from outside"
            else:
                own = runs.own_reason(self.folder(current.name))
                text = own or self._last_words(current, ending.reason or "the model server ended")
            return self._change(current, LIVE, Status.FAILED, failure_reason=text)
        # Its creator died before it was started, or everything was killed: it is what its user wants to run.
        if current.status is Status.IN_SERVICE:
            changed = self._change(current, (Status.IN_SERVICE,), Status.SYSTEM_UPDATING)
            if changed is None or changed.status is not Status.SYSTEM_UPDATING or changed.id != current.id:
                return changed
            current = changed
        try:
            folder = self.folder(current.name) if state is not None else self._new_folder(current.name)
            self._start(current, folder)
        except (WildsageError, OSError) as error:
            text = runs.prefixed(str(error), f"{type(error).__name__}: ")
            return self._change(current, LIVE, Status.FAILED, failure_reason=text)
        return current

    def _start(self, record: Record, folder: Path) -> None:
        model = record.request["Model"]
        variant = record.request["ProductionVariant"]
        Charge.of(record, self.context.store.url, {"model": model["uri"]}).write(folder)
        self.context.engine.start(
            Specification(
                name=record.name,
                folder=folder,
                command=serve_command(
                    model["algorithm"], folder / runs.MODEL_LINK, _workers(variant, model["environment"])
                ),
                environment={"PYTHONUNBUFFERED": "1", **model["environment"]},
                grace_s=GRACE_S,
                listen=(HOST, 0),  # in a folder that had a run, the engine takes that run's port if it is free
                restart=True,
                final_exit_codes=(EXIT_FINAL,),
                prepare="wildsage.platform.hooks:open_model",
            )
        )

    def _change(self, record: Record, before: tuple[Status, ...], after: Status, **state: Any) -> Record | None:
        """Move the record on, if it is still this one and in one of the states `before`."""

        def moved(old: Record) -> Record | None:
            if old.id != record.id or old.status not in before:
                return None
            return replace(old, status=after, modified_at=time.time(), state={**old.state, **state})

        return self.context.store.change(self.kind, record.name, moved)

    def _last_words(self, record: Record, text: str) -> str:
        lines = runs.last_lines(self.folder(record.name), 1)
        said = f". Last log line: {lines[0]}" if lines and lines[0] not in text else ""
        return runs.prefixed(text + said, "AlgorithmError: ")


def serve_command(algorithm: str | None, model: Path, workers: int | None = None) -> tuple[str, ...]:
    """The program that serves."""
    command = [sys.executable, "-m", "wildsage.runtime.serve", "--model", str(model)]
    command += [] if algorithm is None else ["--algorithm", algorithm]
    return (*command, *([] if workers is None else ["--workers", str(workers)]))


def _workers(variant: Mapping[str, Any], environment: Mapping[str, str]) -> int:
    """As many as the model's environment, then ours, then the variant says."""
    text = environment.get(WORKERS_VARIABLE) or os.environ.get(WORKERS_VARIABLE)
    if text is None:
        return int(variant["InitialInstanceCount"])
    if not text.isdecimal() or int(text) < 1:
        raise ClientError(f'{WORKERS_VARIABLE} = "{text}" is not allowed: an integer, 1 or more')
    return int(text)


def _config_problems(request: Mapping[str, Any]) -> list[str]:
    problems = [
        f"{member} is not supported yet: leave it out"
        for member in (
            "AsyncInferenceConfig",
            "ExplainerConfig",
            "ShadowProductionVariants",
            "CrossRegionTrafficConfig",
        )
        if member in request
    ]
    if request.get("DataCaptureConfig", {}).get("EnableCapture"):
        problems.append("DataCaptureConfig.EnableCapture = true is not supported yet: leave DataCaptureConfig out")
    variants = request["ProductionVariants"]
    if len(variants) != 1:
        problems.append(f"{len(variants)} ProductionVariants are not supported yet: one")
    for number, variant in enumerate(variants):
        place = f"ProductionVariants[{number}]"
        if "ModelName" not in variant:
            problems.append(f"{place}.ModelName is missing")
        problems.extend(
            f"{place}.{member} is not supported yet: leave it out"
            for member in ("ServerlessConfig", "InstancePools", "CapacityReservationConfig")
            if member in variant
        )
    return problems


def _described(record: Record) -> dict[str, Any]:
    variant, image = record.request["ProductionVariant"], record.request["Model"]["image"]
    count = variant["InitialInstanceCount"]
    summary: dict[str, Any] = {
        "VariantName": variant["VariantName"],
        "CurrentWeight": variant["InitialVariantWeight"],
        "DesiredWeight": variant["InitialVariantWeight"],
        "CurrentInstanceCount": count if record.status is Status.IN_SERVICE else 0,
        "DesiredInstanceCount": count,
    }
    if image is not None:
        resolved = {"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": when(record.created_at)}
        summary["DeployedImages"] = [resolved]
    response: dict[str, Any] = {
        **_summary(record),
        "EndpointConfigName": record.request["EndpointConfigName"],
        "ProductionVariants": [summary],
    }
    if "failure_reason" in record.state:
        response["FailureReason"] = record.state["failure_reason"]
    return response


def _summary(record: Record) -> dict[str, Any]:
    return {
        "EndpointName": record.name,
        "EndpointArn": record.arn,
        "CreationTime": when(record.created_at),
        "LastModifiedTime": when(record.modified_at),
        "EndpointStatus": record.status.value,
    }
