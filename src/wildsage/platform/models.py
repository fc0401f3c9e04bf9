"""Models: an algorithm and the archive of what it has learnt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wildsage.contract.errors import ClientError
from wildsage.platform import names, places, shapes
from wildsage.platform.algorithms import resolve_algorithm
from wildsage.platform.context import Context, when
from wildsage.platform.errors import invalid, not_supported
from wildsage.platform.names import Kind
from wildsage.platform.records import Record
from wildsage.platform.states import Status


@dataclass(frozen=True)
class Served:
    """What is needed to serve a model. algorithm: None means that the folder itself tells."""

    model_uri: str
    algorithm: str | None
    image: str | None
    environment: Mapping[str, str] = field(default_factory=dict)


class Models:
    def __init__(self, context: Context) -> None:
        self.context = context

    def create_model(self, **request: Any) -> dict[str, Any]:
        operation = "CreateModel"
        request = shapes.check("sagemaker", operation, request)
        container = _one_container(request, operation)
        problems = _container_problems(container)
        uri = container.get("ModelDataUrl")
        if uri is not None:
            try:
                places.check_source(uri, self.context.home)
            except ClientError as error:
                problems.append(f"PrimaryContainer.ModelDataUrl: {error}")
        if problems:
            raise invalid("; ".join(problems), operation=operation)
        if "Image" in container:
            resolve_algorithm(container["Image"], "PrimaryContainer.Image", operation)
        container = {**container, "ModelDataUrl": places.absolute(container["ModelDataUrl"], self.context.home)}
        filled = {
            **{member: value for member, value in request.items() if member not in ("Tags", "ModelName", "Containers")},
            "PrimaryContainer": {"Mode": "SingleModel", "Environment": {}, **container},
            "ExecutionRoleArn": names.role_arn(request.get("ExecutionRoleArn")),
            "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False),
        }
        record = self.context.new_record(Kind.MODEL, request["ModelName"], Status.NONE, filled)
        self.context.insert(record, request, operation)
        return {"ModelArn": record.arn}

    def describe_model(self, **request: Any) -> dict[str, Any]:
        request = shapes.check("sagemaker", "DescribeModel", request)
        record = self.context.get(Kind.MODEL, request["ModelName"], "DescribeModel")
        members = shapes.response_members("sagemaker", "DescribeModel")
        return {
            **{member: value for member, value in record.request.items() if member in members},
            "ModelName": record.name,
            "ModelArn": record.arn,
            "CreationTime": when(record.created_at),
        }

    def list_models(self, **request: Any) -> dict[str, Any]:
        request = shapes.check("sagemaker", "ListModels", request)
        records, token = self.context.page(Kind.MODEL, request, "ListModels", descending=True)
        return {"Models": [_summary(record) for record in records], **token}

    def delete_model(self, **request: Any) -> dict[str, Any]:
        """Forget a model; its archive stays, and so do the endpoints that serve it."""
        request = shapes.check("sagemaker", "DeleteModel", request)
        self.context.store.delete(self.context.get(Kind.MODEL, request["ModelName"], "DeleteModel"))
        return {}

    def served(self, name: str, operation: str) -> Served:
        """What is needed to serve the model. Raises ServiceError if there is no such model."""
        container = self.context.get(Kind.MODEL, name, operation).request["PrimaryContainer"]
        image = container.get("Image")
        algorithm = None if image is None else resolve_algorithm(image, f'model "{name}", Image', operation)
        return Served(container["ModelDataUrl"], algorithm, image, container["Environment"])


def _one_container(request: Mapping[str, Any], operation: str) -> dict[str, Any]:
    containers = request.get("Containers", [])
    if "PrimaryContainer" in request and containers:
        raise invalid("PrimaryContainer and Containers are not allowed together: one of them", operation=operation)
    if len(containers) > 1:
        raise not_supported(f"A pipeline of {len(containers)} containers", "one PrimaryContainer", operation=operation)
    container: dict[str, Any] | None = request.get("PrimaryContainer") or next(iter(containers), None)
    if container is None:
        raise invalid("PrimaryContainer is missing: Image and ModelDataUrl", operation=operation)
    return container


def _container_problems(container: Mapping[str, Any]) -> list[str]:
    problems = [
        f"PrimaryContainer.{member} is not supported yet: Image and ModelDataUrl"
        for member in ("ModelPackageName", "ModelDataSource", "AdditionalModelDataSources", "MultiModelConfig")
        if member in container
    ]
    if container.get("Mode") == "MultiModel":
        problems.append("PrimaryContainer.Mode = MultiModel is not supported yet: SingleModel")
    if not problems and "ModelDataUrl" not in container:
        problems.append("PrimaryContainer.ModelDataUrl is missing: the model.tar.gz of a training job")
    script = [
        name
        for name in ("SAGEMAKER_PROGRAM", "SAGEMAKER_SUBMIT_DIRECTORY")
        if container.get("Environment", {}).get(name)
    ]
    if script:
        problems.append(f"A script of one's own ({', '.join(script)}) is not supported yet: the built-ins alone")
    return problems


def _summary(record: Record) -> dict[str, Any]:
    return {"ModelName": record.name, "ModelArn": record.arn, "CreationTime": when(record.created_at)}
