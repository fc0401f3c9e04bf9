"""A platform of each test's own, with the tests' algorithm installed, and answers held against botocore's model."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from tests.platform.requests import job_request
from tests.runtime.third_party import ROOT, install
from tests.waiting import until
from wildsage.contract.errors import ClientError
from wildsage.engines.local import LocalEngine
from wildsage.platform.service import Platform

SETTLED = ("Completed", "Failed", "Stopped")
_models: dict[str, ServiceModel] = {}


def model(service: str) -> ServiceModel:
    if service not in _models:
        _models[service] = ServiceModel(Loader().load_service_model(service, "service-2"), service)
    return _models[service]


def wire_name(method: str) -> str:
    return "".join(word.capitalize() for word in method.split("_"))


def assert_valid(service: str, method: str, response: dict[str, Any]) -> None:
    """The response is what botocore's model says, with no member that it lacks, enumerations included."""
    shape = model(service).operation_model(wire_name(method)).output_shape
    if shape is None:
        assert response == {}
        return
    body = {key: value.read() if key == "Body" else value for key, value in response.items()}
    if "Body" in response:
        response["Body"].seek(0)
    report = ParamValidator().validate(body, shape)
    assert not report.has_errors(), report.generate_report()
    _assert_enumerations(body, shape, method)


def _assert_enumerations(value: Any, shape: Any, place: str) -> None:
    if shape.type_name == "structure":
        for name, member in value.items():
            _assert_enumerations(member, shape.members[name], f"{place}.{name}")
    elif shape.type_name == "list":
        for member in value:
            _assert_enumerations(member, shape.member, place)
    elif getattr(shape, "enum", None) and not shape.name.endswith("InstanceType"):
        assert value in shape.enum, f"{place} = {value}"


class Checked:
    """A client whose every response is held against botocore's model."""

    def __init__(self, client: Any, service: str) -> None:
        self._client, self._service = client, service

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if wire_name(name) not in model(self._service).operation_names:
            return method

        def call(**request: Any) -> Any:
            response = method(**request)
            assert_valid(self._service, name, response)
            return response

        return call


class CheckedPlatform(Checked):
    def __init__(self, platform: Platform) -> None:
        super().__init__(platform, "sagemaker")
        self.plain = platform
        self.runtime = Checked(platform.runtime, "sagemaker-runtime")
        self.logs = Checked(platform.logs, "logs")
        self.cloudwatch = Checked(platform.cloudwatch, "cloudwatch")


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("packages"))


@pytest.fixture
def installed(packages: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tests' algorithm, for this process and those that it starts."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(packages), str(ROOT / "src"), str(ROOT)]))
    monkeypatch.setattr(sys, "path", [str(packages), *sys.path])
    return packages


@pytest.fixture
def platform(home: Path, installed: Path) -> Iterator[CheckedPlatform]:
    """A platform on an empty home; what runs in it is ended after the test."""
    with Platform(home) as plain:
        yield CheckedPlatform(plain)
    end_all(home)


def end_all(home: Path) -> None:
    engine = LocalEngine()
    for kind in ("jobs", "endpoints", "transforms"):
        for folder in (home / kind).glob("*"):
            with suppress(ClientError):
                engine.stop(folder)
    for kind in ("jobs", "endpoints", "transforms"):
        for folder in (home / kind).glob("*"):
            with suppress(ClientError):
                engine.wait(folder, timeout_s=30)


@pytest.fixture
def words(tmp_path: Path) -> Path:
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "words.txt").write_text("a b a\nc\n")
    return folder


def ended(describe: Callable[[], dict[str, Any]], status: str) -> dict[str, Any]:
    """The description of a job once it has ended."""
    until(lambda: describe()[status] in SETTLED, what="the job's end")
    return describe()


def trained(platform: Any, name: str) -> dict[str, Any]:
    return ended(lambda: platform.describe_training_job(TrainingJobName=name), "TrainingJobStatus")


def train(platform: Any, name: str, path: Path, **more: Any) -> dict[str, Any]:
    platform.create_training_job(**job_request(name, path, **more))
    return trained(platform, name)


def deploy(platform: Any, name: str, archive: str, **more: Any) -> None:
    platform.create_model(ModelName=name, PrimaryContainer={"Image": "counting", "ModelDataUrl": archive, **more})
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "local"}
    platform.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    platform.create_endpoint(EndpointName=name, EndpointConfigName=name)


def in_status(platform: Any, name: str, status: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = platform.describe_endpoint(EndpointName=name)
        return found if found["EndpointStatus"] == status else None

    return until(look, what=f"endpoint {name} {status}")
