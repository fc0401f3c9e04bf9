"""Requests against the service's shapes."""

from __future__ import annotations

import importlib.util
import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.platform import shapes
from wildsage.platform.errors import ServiceError

ROOT = Path(__file__).parents[2]

GOOD: dict[str, Any] = {
    "TrainingJobName": "job",
    "AlgorithmSpecification": {"TrainingImage": "blazingtext", "TrainingInputMode": "File"},
    "ResourceConfig": {"InstanceType": "local", "InstanceCount": 1},
}


def refused(service: str, operation: str, request: Any) -> str:
    with pytest.raises(ServiceError) as error:
        shapes.check(service, operation, request)
    assert error.value.response["Error"]["Code"] == "ValidationException"
    assert error.value.operation_name == operation
    return str(error.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused(value: float) -> None:
    variant = {"VariantName": "a", "ModelName": "m", "InitialVariantWeight": value}
    request = {"EndpointConfigName": "c", "ProductionVariants": [variant]}
    assert "InitialVariantWeight = " in refused("sagemaker", "CreateEndpointConfig", request)


def test_a_good_request_passes_and_none_means_absent() -> None:
    assert shapes.check("sagemaker", "CreateTrainingJob", {**GOOD, "Tags": None}) == GOOD


def test_every_error_is_said_at_once() -> None:
    bad = {
        "TrainingJobName": "a_b",
        "HyperParameter": {"k": "1"},
        "HyperParameters": {"k": 1},
        "AlgorithmSpecification": {"TrainingImage": 7, "TrainingInputMode": "file"},
        "ResourceConfig": {"InstanceType": "m5.large", "InstanceCount": True, "VolumeSizeInGB": -1},
        "InputDataConfig": {"ChannelName": "train"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 0},
        "Tags": [{"Key": "x"}] * 51,
    }
    text = refused("sagemaker", "CreateTrainingJob", bad)
    for part in (
        'TrainingJobName = "a_b" is not allowed',
        'HyperParameter is not a known member; did you mean "HyperParameters"?',
        "HyperParameters.k = 1 is not allowed: text",
        "AlgorithmSpecification.TrainingImage = 7 is not allowed: text",
        'TrainingInputMode = "file" is not allowed: Pipe, File, FastFile; did you mean "File"?',
        'ResourceConfig.InstanceType = "m5.large" is not allowed: local, local_gpu or ml.',
        "ResourceConfig.InstanceCount = true is not allowed: an integer",
        "InputDataConfig = ",
        "MaxRuntimeInSeconds = 0 is not allowed: an integer, 1 or more",
        "Tags has 51 items: at most 50",
        "Tags[50].Value is missing",
    ):
        assert part in text


def test_what_is_missing_is_named() -> None:
    assert "EndpointConfigName is missing" in refused("sagemaker", "CreateEndpoint", {"EndpointName": "e"})


@pytest.mark.parametrize("kind", ["local", "local_gpu", "ml.m5.large", "ml.p5.48xlarge", "ml.future.9xlarge"])
def test_any_instance_type_of_the_service_is_allowed(kind: str) -> None:
    shapes.check("sagemaker", "CreateTrainingJob", {**GOOD, "ResourceConfig": {"InstanceType": kind}})


@pytest.mark.parametrize("value", [datetime(2026, 1, 2, tzinfo=UTC), 1767312000, "2026-01-02T00:00:00Z"])
def test_times_become_aware_datetimes(value: Any) -> None:
    found = shapes.check("sagemaker", "ListModels", {"CreationTimeAfter": value})
    assert found["CreationTimeAfter"] == datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize("value", [True, "soon", [], 1e30])
def test_what_is_no_time_is_refused(value: Any) -> None:
    assert "CreationTimeAfter" in refused("sagemaker", "ListModels", {"CreationTimeAfter": value})


def test_tags_may_be_in_any_script() -> None:
    arn = "arn:aws:sagemaker:us-east-1:000000000000:model/m"
    shapes.check("sagemaker", "AddTags", {"ResourceArn": arn, "Tags": [{"Key": "équipe Ωμ", "Value": "鳥 7"}]})
    assert "Tags[0].Key" in refused("sagemaker", "AddTags", {"ResourceArn": arn, "Tags": [{"Key": "a#", "Value": ""}]})


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(data=st.data(), operation=st.sampled_from(shapes.operations("sagemaker")))
def test_anything_passes_or_is_refused(data: st.DataObject, operation: str) -> None:
    input_shape = shapes._services()["sagemaker"]["operations"][operation]["input"]
    members = list(shapes._services()["sagemaker"]["shapes"][input_shape]["members"])
    request = data.draw(st.dictionaries(st.sampled_from(members), ANYTHING, max_size=4))
    with suppress(ServiceError):
        assert shapes.check("sagemaker", operation, request).keys() <= request.keys()


def test_shapes_are_cut_from_the_model_that_they_name() -> None:
    """Only with the botocore that the file names; a newer one may have more."""
    path = ROOT / "src" / "wildsage" / "platform" / "shapes.json"
    text = path.read_text("utf-8")
    about = json.loads(text)["about"]
    assert "Apache-2.0" in about
    if f"botocore {botocore.__version__} " not in about:
        pytest.skip(f"the file is not of botocore {botocore.__version__}; run tools/make_shapes.py")
    specification = importlib.util.spec_from_file_location("make_shapes", ROOT / "tools" / "make_shapes.py")
    assert specification is not None
    assert specification.loader is not None
    tool = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(tool)
    assert tool.make() == text
